"""Sweeps and run folders as trainings leave them, made in milliseconds, for tests of results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import compose
from results import TRAINING, results_for

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.schema import LabelConfig
from lingotune.evaluation.metrics import Predictions, classes_of
from lingotune.evaluation.predictions import FILE, VALIDATION_FILE, write_predictions
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial
from lingotune.runs.folder import as_metrics

LABELS = ("negative", "neutral", "positive")
CODES = ("de", "en", "ja")
START = 1_800_000_000.0


def predictions_of(skill: float, rows: int = 120, seed: int = 0) -> Predictions:
    """Predictions of a model that knows this share of the rows: the same rows, whatever the skill."""
    random = np.random.default_rng(7)
    true, luck = random.integers(len(LABELS), size=rows), random.random(rows)
    noise = np.random.default_rng(100 + seed)
    predicted = np.where(luck < skill, true, noise.integers(len(LABELS), size=rows))
    shares = np.full((rows, len(LABELS)), 0.1)
    shares[np.arange(rows), predicted] = 0.8
    languages = np.array([CODES[n % len(CODES)] for n in range(rows)], object)
    return Predictions(true, shares, languages, np.full(rows, np.nan))


def make_run(
    folder: Path,
    *typed: str,
    validation: float = 0.5,
    test: float | None = None,
    rows: int = 120,
    luck: int = 0,
    finished: bool = True,
    trained: int = 5,
    error: float | None = None,
    predictions: Predictions | None = None,
) -> Path:
    """Make the folder of a run of this job that scored `validation` there.

    test: share of the rows that its model knows, of either split; by default as on validation. trained:
    rows of each language and class that it was trained on. error: of ordered classes, on validation.
    predictions: of the rows of either split, in place of such a model's.
    """
    folder.mkdir(parents=True)
    job = job_of(compose(*typed))
    job.data.labels = [LabelConfig(label) for label in LABELS]
    (folder / "job.yaml").write_bytes(dump_job(job))
    write_history(folder, validation)
    if not finished:
        return folder
    predictions = predictions or predictions_of(validation if test is None else test, rows, luck)
    classes = classes_of(job.data)
    results = results_for(
        predictions,
        classes,
        name=job.name,
        job_sha256=job_digest(job),
        training=replace(TRAINING, steps=30, best_step=20),
    )
    overall = replace(results.validation.overall, macro_f1=validation)
    if error is not None:
        overall = replace(overall, mean_absolute_error=error)
    counts = {code: dict.fromkeys(LABELS, trained) for code in CODES}
    results = replace(
        results,
        validation=replace(results.validation, overall=overall),
        data=replace(results.data, rows={**results.data.rows, "train": counts}),
    )
    (folder / "metrics.json").write_text(as_metrics(results))
    ids = [f"id{n}" for n in range(len(predictions.true))]
    for file in (FILE, VALIDATION_FILE):
        write_predictions(predictions, ids, classes, folder / file)
    return folder


def write_history(folder: Path, validation: float) -> None:
    """Write the log of a run of three evaluations, of which the second is the best."""
    entries = [
        {"step": e.step, **{f"eval_{name}": value for name, value in e.values.items()}}
        for e in evaluations_to(validation)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))


def evaluations_to(validation: float, steps: Sequence[int] = (10, 20, 30)) -> list[Evaluation]:
    """Evaluations of which the second, or the only one, has the score."""
    shares = [0.7, 1.0, 0.9] if len(steps) > 1 else [1.0]
    return [
        Evaluation(
            step,
            30,
            {"loss": 1 - share * validation, "macro_f1": share * validation,
             "accuracy": share * validation,
             **{f"macro_f1_{code}": share * validation - n / 100 for n, code in enumerate(CODES)}},
        )
        for step, share in zip(steps, shares)
    ]  # fmt: skip


def make_sweep(
    folder: Path, trials: Sequence[tuple[Mapping[str, str], State, float | None]], **about: object
) -> Path:
    """Make the ledger of a sweep: what varies, state and validation score of each trial.

    No run folder is made; those of completed trials may be, by the names `job-NUMBER`.
    """
    with Ledger(folder) as ledger:
        ledger.write_about(name=folder.name, **about)
        for number, (varies, state, score) in enumerate(trials, 1):
            overrides = tuple(f"{key}={value}" for key, value in varies.items())
            name = f"job-{number}"
            trial = Trial(number, varies, overrides, f"{number:064}", name, 4.0, 9.0)
            ledger.add_trials([trial])
            if state is not State.waiting:
                _live(ledger, trial, state, score)
    return folder


def _live(ledger: Ledger, trial: Trial, state: State, score: float | None) -> None:
    name, at = trial.name, START + 100 * trial.number
    ledger.intend_start(trial, 1, name, at)
    if score is not None:
        steps = (10,) if state in (State.pruned, State.running) else (10, 20, 30)
        ledger.add_evaluations(name, evaluations_to(score, steps))
    if state is State.pruned:
        ledger.intend_stop(name, at + 20, State.pruned.value)
    over = state.over
    told = State.stopped if state is State.pruned else state
    reason = "AlgorithmError: loss is nan at step 212" if state is State.failed else ""
    job = JobState(
        name, told, reason=reason, created=at, started=at + 10, ended=at + 1810 if over else None,
        billable_seconds=1800.0 if over else None, instance_type="ml.p3.16xlarge",
    )  # fmt: skip
    ledger.saw([job], at + 1810)
