"""Each shipped architecture, trained as a user trains it: on from a checkpoint, scored and exported."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, compose
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, TrainingArguments, pipeline

from lingotune.catalog.architectures import skips_padding
from lingotune.config.jobfile import job_of
from lingotune.config.problems import CheckpointError
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.training import run as worker
from lingotune.training.trainer import ClassifierTrainer

sys.path.insert(0, str(ROOT / "tests" / "modeling"))
from small_models import ARCHITECTURES, small, write_model

SMALL = ["model=pretrained", "lr=1e-3", "per_device_bs=8", "training.max_steps=6", "training.save_steps=2",
         "training.precision=fp32", "training.logging_steps=1", "data.sample.train_rows=16",
         "data.sample.validation_rows=5", "data.sample.test_rows=5", "evaluation.resamples=0",
         "data.max_length=64"]  # fmt: skip
LORA = ["training.lora.rank=4", "training.lora.dropout=0.1", "lr=1e-2"]
TEXTS = ["Sehr gut, gerne wieder", "mauvais", "No me gusta nada este producto", "とても良い"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_is_taken_as_it_was_saved(architecture: str, tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    trainer = ClassifierTrainer(tokenizer=None, model=small(architecture), args=args)
    saved = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer._save(str(tmp_path / "checkpoint-1"))
    with torch.no_grad():
        for value in trainer.model.parameters():
            value.add_(1)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, saved[name]), name
    pushed = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "checkpoint-1"))
    assert all(torch.equal(value, saved[name]) for name, value in pushed.state_dict().items())
    weights = load_file(tmp_path / "checkpoint-1" / "model.safetensors")
    lost = next(name for name in weights if "layer" in name)
    rest = {name: value for name, value in weights.items() if name != lost}
    save_file(rest, tmp_path / "checkpoint-1" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="lack 1 of the model's weights"):
        trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))


def trained(folder: Path, model: Path, *overrides: str) -> Path:
    typed = [*SMALL, f"model.name_or_path={model}", *overrides]
    return worker.run(job_of(compose(*typed)), run_dir=str(folder),
                      prepared_dir=str(folder.parent / "prepared"))  # fmt: skip


def went_on(run: Path, model: Path, *overrides: str) -> Path:
    """The same run, killed after its fourth update, and started again."""
    again = run.with_name(f"{run.name}-again")
    shutil.copytree(run, again)
    shutil.rmtree(again / "checkpoints" / "checkpoint-6")
    shutil.rmtree(again / "model")
    (again / "metrics.json").unlink()
    return trained(again, model, *overrides)


def same_weights(one: Path, other: Path) -> None:
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def is_served(run: Path) -> None:
    """transformers' pipeline gives the probabilities that lingotune gives."""
    serve: Any = pipeline("text-classification", str(run / "model"), device="cpu", top_k=None)
    classifier = Classifier(trained_model(run))
    logits = torch.tensor(classifier.logits(TEXTS))
    for found, expected in zip(serve(TEXTS), logits.softmax(-1).tolist()):
        by_name = {one["label"]: one["score"] for one in found}
        ours = dict(zip(trained_model(run).labels, expected))
        assert by_name == pytest.approx(ours, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["modernbert", "eurobert"])
def test_a_pooling_is_part_of_what_is_saved(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    model, losses = write_model(architecture, tmp_path / "model"), set()
    for pooling in ("first", "mean"):
        run = trained(tmp_path / pooling, model, f"model.pooling={pooling}")
        said = json.loads((run / "model" / "config.json").read_text())["classifier_pooling"]
        assert said == {"first": {"modernbert": "cls", "eurobert": "bos"}[architecture]}.get(
            pooling, "mean"
        )
        losses.add(json.loads((run / "metrics.json").read_text())["test"]["loss"])
        is_served(run)
    assert len(losses) == 2


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_trained_on_from_a_checkpoint_scored_and_served(
    architecture: str, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # nobody looks at the pictures
    model = write_model(architecture, tmp_path / "model")
    more = LORA if way == "lora" else []
    run = trained(tmp_path / "run", model, *more)
    told = capsys.readouterr().out
    lean = "for the first token alone" if skips_padding(architecture) else "for all tokens"
    assert f"last layer: {lean}" in told
    assert ("word embeddings: frozen" if more else "rows, those that occur") in told
    measured = json.loads((run / "metrics.json").read_text())["measured"]
    assert measured["trained_parameters"] < (0.6 if more else 1) * measured["parameters"]
    again = went_on(run, model, *more)
    assert "resuming at step 4 of 6" in capsys.readouterr().out
    same_weights(run, again)
    is_served(run)
    listed = json.loads((run / "finished.json").read_text())["files"]
    assert ("adapter/adapter_model.safetensors" in listed) is bool(more)
    if way == "whole" and skips_padding(architecture):
        packed = trained(tmp_path / "packed", model, "batching.padding_free=true")
        losses = [
            json.loads((one / "metrics.json").read_text())["test"]["loss"] for one in (run, packed)
        ]
        assert losses[0] == pytest.approx(losses[1], abs=0.05)  # dropout draws otherwise
