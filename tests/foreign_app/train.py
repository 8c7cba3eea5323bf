"""A small application of somebody else: logistic regression or a perceptron on two spirals, in numpy."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

log = logging.getLogger(__name__)


class Shape(Enum):
    moons = "moons"
    spirals = "spirals"


@dataclass
class Data:
    shape: Shape = Shape.moons
    points: int = 200
    noise: float = 0.1


@dataclass
class Config:
    data: Data = field(default_factory=Data)
    model: dict[str, Any] = field(default_factory=dict)
    lr: float = 0.5
    epochs: int = 300
    seed: int = 0
    run: str = ""
    user: str = ""
    breaks: bool = False


ConfigStore.instance().store(name="schema", node=Config)


def points(data: Data, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    label = np.repeat([0, 1], data.points // 2)
    angle = random.uniform(0, np.pi, len(label))
    if data.shape is Shape.spirals:
        radius = angle + np.pi * label
        found = np.stack([radius * np.cos(angle * 2), radius * np.sin(angle * 2)], 1)
    else:
        found = np.stack(
            [np.cos(angle) + label, np.where(label == 1, -np.sin(angle), np.sin(angle))], 1
        )
    return found + random.normal(0, data.noise, found.shape), label


def fit(config: DictConfig) -> float:
    """Train and return the accuracy on points that were not trained on."""
    data: Data = OmegaConf.to_object(config.data)  # type: ignore[assignment]
    assert isinstance(data, Data) and isinstance(data.shape, Shape), "the config has lost its types"
    random = np.random.default_rng(config.seed)
    (x, y), (x_test, y_test) = points(data, random), points(data, random)
    hidden = config.model.hidden
    first = random.normal(0, 1, (2, hidden))
    bias, second = np.zeros(hidden), random.normal(0, 0.1, hidden)
    offset = 0.0
    for _ in range(config.epochs):
        middle = np.tanh(x @ first + bias)
        error = 1 / (1 + np.exp(-(middle @ second + offset))) - y
        back = np.outer(error, second) * (1 - middle**2)
        second -= config.lr * middle.T @ error / len(y)
        offset -= config.lr * error.mean()
        if config.model.trains_all:
            first -= config.lr * x.T @ back / len(y)
            bias -= config.lr * back.mean(0)
    score = np.tanh(x_test @ first + bias) @ second + offset
    np.savez(Path(HydraConfig.get().runtime.output_dir) / "weights.npz", first, bias, second)
    return float(((score > 0) == y_test).mean())


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    log.info("training on %s as %s", config.data.shape.name, config.user or "nobody")
    Path(HydraConfig.get().runtime.output_dir, "facts.txt").write_text(
        f"{config.run} {HydraConfig.get().runtime.choices['model']} {os.environ.get('TOKEN', '')}"
    )
    if config.breaks:
        raise ValueError("the data has no spirals")
    accuracy = fit(config)
    log.info("accuracy %.4f", accuracy)
    return accuracy


if __name__ == "__main__":
    main()
