"""Results of runs and manifests of prepared data, for tests."""

from __future__ import annotations

from typing import Any

from lingotune.evaluation.metrics import Classes, Predictions, scores_by_language
from lingotune.runs.results import (
    DataSummary,
    Environment,
    Measured,
    RunResults,
    SplitScores,
    TrainingFigures,
)


def results_for(
    predictions: Predictions, classes: Classes, resamples: int = 20, **parts: Any
) -> RunResults:
    """Results of a run of 12 steps that scored these predictions; `parts` replace others."""
    scored = scores_by_language(predictions, classes, resamples)
    scores = SplitScores(loss=0.5, **vars(scored))
    codes = sorted(set(predictions.languages.tolist()))
    counts = {code: dict.fromkeys(classes.names, 5) for code in codes}
    given: dict[str, Any] = {
        "name": "tiny-sample",
        "job_sha256": "1" * 64,
        "labels": classes.names,
        "data": DataSummary(
            sha256="0" * 64, rows=dict.fromkeys(("train", "validation", "test"), counts)
        ),
        "training": TRAINING,
        "validation": scores,
        "test": scores,
        "measured": MEASURED,
        "environment": ENVIRONMENT,
        "seconds": 75.0,
        **parts,
    }
    return RunResults(**given)


TRAINING = TrainingFigures(
    steps=12,
    epochs=2.0,
    global_batch=32,
    world_size=1,
    learning_rate=1e-3,
    warmup_steps=1,
    best_step=6,
    precision="fp32",
    samples_per_second=400.0,
)
MEASURED = Measured(
    machine="cpu",
    parameters=1000,
    trained_parameters=700,
    tokens_mean=9.5,
    tokens_p95=20.0,
    padding=0.25,
    tokens_per_second=3800.0,
    padded_tokens_per_second=5066.7,
    utilisation=0.312,
    phases={
        "data": 1.0, "forward_backward": 50.0, "communication": 4.0, "optimizer": 6.0,
        "evaluation": 5.0, "saving": 2.0,
    },
    train_samples=384,
    eval_samples=120,
    train_seconds=60.0,
    eval_seconds=5.0,
    samples_per_second=400.0,
    eval_samples_per_second=24.0,
)  # fmt: skip
ENVIRONMENT = Environment(
    python="3.11.7", system="Linux", libraries={"torch": "2.13.0+cpu"}, device="cpu", cuda=None
)


def manifest_of(
    shards: list[dict[str, Any]], split: str = "train", labels: tuple[str, ...] = ("bad", "good")
) -> dict[str, Any]:
    """The JSON of a manifest with these shards in one split: file, and bytes and sha256 if they matter."""
    empty = {"rows": 0, "tokens": 0, "shards": []}
    filled = [{"rows": 0, "tokens": 0, "bytes": 0, "sha256": "", **shard} for shard in shards]
    splits = dict.fromkeys(("train", "validation", "test"), empty)
    tokenizer = {
        "name": "tiny", "sha256": None, "vocabulary": 5, "unknown_id": 1, "padding_id": 0,
        "special": {}, "files": [],
    }  # fmt: skip
    return {
        "format": 2, "digest": "0" * 64, "lingotune": "0.1.0", "writer": {"numpy": None},
        "readers": {"pyarrow": "6.0.0"}, "source": {"kind": "sample", "files": []},
        "data": {"labels": [{"name": name} for name in labels]}, "seed": 1,
        "tokenizer": tokenizer, "max_length": 16,
        "splits": {**splits, split: {**empty, "shards": filled}},
        "statistics": {name: {} for name in splits}, "lengths": {name: {} for name in splits},
        "inputs": {}, "duplicates": {}, "warnings": [], "seconds": {},
    }  # fmt: skip
