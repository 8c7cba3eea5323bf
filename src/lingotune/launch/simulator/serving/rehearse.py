"""The rehearsal of an endpoint: the packed model, behind SageMaker's own toolkit, asked in every form."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.evaluation.classifier import Trained, takes_pairs
from lingotune.launch.simulator.container import pack
from lingotune.launch.simulator.rehearsal.stages import Checklist, Stage, StageFailed, problem_of
from lingotune.launch.simulator.serving.endpoint import Answer, Endpoint, endpoint, lay_out
from lingotune.launch.simulator.serving.environment import TOOLKIT, inference_python
from lingotune.launch.simulator.serving.questions import (
    SECOND,
    TEXTS,
    BadQuestion,
    as_records,
    as_request,
    bad_questions,
    huge_questions,
)
from lingotune.runs.folder import CODE

_WORDS = (5, 20, 80, 320)
"""Words of the texts by whose length the speed is measured."""
_BATCH = 32
_ROUNDS = 15
Predictions = list[dict[str, Any]]


@dataclass(frozen=True)
class Speed:
    """Speed for texts of a length: median milliseconds for one text alone, texts a second in batches."""

    words: int
    milliseconds: float
    texts_per_second: float


@dataclass(frozen=True)
class ServingRehearsal:
    """Outcome of a rehearsal: stages, the speed by length, and problems."""

    stages: tuple[Stage, ...]
    speeds: tuple[Speed, ...]
    problems: tuple[Problem, ...]

    @property
    def seconds(self) -> float:
        """Total seconds of all stages."""
        return round(sum(stage.seconds for stage in self.stages), 1)


def rehearse_serving(trained: Trained, tell: Callable[[str], None]) -> ServingRehearsal:
    """Serve a model here as SageMaker would; what fails becomes `problems` of the result."""
    checklist = Checklist(tell)
    problems: tuple[Problem, ...] = ()
    with TemporaryDirectory(prefix="lingotune-") as root:
        rehearser = _Rehearser(trained, checklist, Path(root))
        try:
            rehearser.run()
        except StageFailed as failed:
            problems = (problem_of(checklist.failed or "", failed),)
        except ConfigError as error:
            problems = tuple(error.problems)
    return ServingRehearsal(tuple(checklist.stages), tuple(rehearser.speeds), problems)


class _Rehearser:
    def __init__(self, trained: Trained, checklist: Checklist, root: Path) -> None:
        self._trained, self._root, self._pairs = trained, root, takes_pairs(trained)
        self._stage, self._tell = checklist.stage, checklist.tell
        self.speeds: list[Speed] = []

    def run(self) -> None:
        """Run all stages; StageFailed or ConfigError if one of them fails."""
        with self._stage("environment") as note:
            python = inference_python(self._tell)
            note.text = ", ".join(one.replace("==", " ") for one in TOOLKIT[:2])
        with self._stage("package") as note:
            archive = self._root / "model.tar.gz"
            pack(self._trained.folder, archive)
            model = lay_out(archive, self._root)
            note.text = f"model.tar.gz, {archive.stat().st_size / 1e6:.1f} MB"
        with ExitStack() as running:
            with self._stage("start") as note:
                served = running.enter_context(endpoint(python, model, self._root))
                note.text = self._started(served, model)
            self._ask(served)

    def _started(self, served: Endpoint, model: Path) -> str:
        if not served.is_healthy():
            raise StageFailed("the health check, GET /ping, fails")
        if not served.code.startswith(str(model / CODE)):
            raise StageFailed(f"it runs lingotune of {served.code}, not the model's own")
        added = f"; added for the toolkit: {served.added}" if served.added else ""
        return f"healthy, with no network{added}"

    def _ask(self, served: Endpoint) -> None:
        with self._stage("single") as note:
            (one,) = predictions_in(served.ask(as_request(TEXTS[0], pairs=self._pairs)))
            said = _said(one)
            note.text = f"{said if isinstance(said, str) else ', '.join(said)}  {TEXTS[0]}"
        with self._stage("batch") as note:
            batch = predictions_in(served.ask(as_request(TEXTS, pairs=self._pairs)))
            note.text = f"{len(batch)} texts"
        with self._stage("csv") as note:
            note.text = _same(batch, self._by_csv(served), "CSV")
        with self._stage("json-lines") as note:
            note.text = _same(batch, self._by_lines(served), "JSON lines")
        for name, questions in (("bad", bad_questions), ("huge", huge_questions)):
            with self._stage(name) as note:
                note.text = _refused(served, questions(pairs=self._pairs))
        with self._stage("compare") as note:
            note.text = _same(self._command(TEXTS), batch, "lingotune predict")
            note.text += ", to the last digit"
        with self._stage("speed") as note:
            self.speeds += [_measured(served, words, pairs=self._pairs) for words in _WORDS]
            note.text = "one thread"

    def _by_csv(self, served: Endpoint) -> Predictions:
        out = io.StringIO()
        records = as_records(TEXTS, pairs=self._pairs)
        writer = csv.DictWriter(out, [*records[0]])
        writer.writeheader()
        writer.writerows(records)
        answer = served.ask(out.getvalue().encode(), "text/csv", "text/csv")
        labels, several = self._trained.labels, self._trained.several
        return [
            {
                **({"labels": json.loads(row["label"])} if several else {"label": row["label"]}),
                "probabilities": {one: float(row[f"probability_{one}"]) for one in labels},
            }
            for row in csv.DictReader(io.StringIO(_content(answer)))
        ]

    def _by_lines(self, served: Endpoint) -> Predictions:
        records = as_records(TEXTS, pairs=self._pairs)
        body = "".join(f"{json.dumps(record)}\n" for record in records)
        kind = "application/jsonlines"
        return [*map(json.loads, _content(served.ask(body.encode(), kind, kind)).splitlines())]

    def _command(self, texts: Sequence[str]) -> Predictions:
        """Predict with the command, with as many threads as the endpoint."""
        command = [sys.executable, "-m", "lingotune", "predict", str(self._trained.folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
        second = f"\t{SECOND}" if self._pairs else ""
        lines = "".join(f"{text}{second}\n" for text in texts)
        done = subprocess.run(
            [*command, "--json"],
            input=lines,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        if done.returncode:
            raise StageFailed("lingotune predict fails", tuple(done.stderr.splitlines()[-15:]))
        return [*map(json.loads, done.stdout.splitlines())]


def predictions_in(answer: Answer) -> Predictions:
    """Read the predictions of an answer in JSON; StageFailed for another."""
    found: Predictions = json.loads(_content(answer))["predictions"]
    return found


def _content(answer: Answer) -> str:
    text = answer.body.decode()
    if answer.status != 200:
        raise StageFailed(f"status {answer.status}: {text[:500]}")
    return text


def _said(one: Mapping[str, Any]) -> Any:
    """Return the label of an answer, or its labels where there may be several."""
    return one["labels"] if "labels" in one else one["label"]


def _same(expected: Predictions, found: Predictions, name: str) -> str:
    """Compare labels and probabilities exactly; StageFailed names the first text that differs."""
    if len(expected) != len(found):
        raise StageFailed(f"{name}: {len(found)} answers for {len(expected)} texts")
    for text, one, other in zip(TEXTS, expected, found):
        if (_said(one), one["probabilities"]) != (_said(other), other["probabilities"]):
            raise StageFailed(f"{name}: {text[:40]!r}: {one} and {other}")
    return (
        f"{len(found)} answers as of {name}" if name[0].islower() else f"{len(found)} same answers"
    )


def _refused(served: Endpoint, questions: Iterable[BadQuestion]) -> str:
    questions = list(questions)
    for one in questions:
        answer = served.ask(one.body, one.kind, one.accept)
        told = answer.body.decode(errors="replace")
        if answer.status != one.status or one.told not in told:
            what = (
                f"{one.name}: {one.status} with {one.told!r} expected, {answer.status} came: {told}"
            )
            raise StageFailed(what[:500])
    if not served.is_healthy():
        raise StageFailed("the health check fails after these requests")
    return f"{len(questions)} refused, each with its reason, such as {questions[0].name}"


def _measured(served: Endpoint, words: int, *, pairs: bool) -> Speed:
    text = " ".join((TEXTS[1].split() * words)[:words])
    single, batch = (as_request(of, pairs=pairs) for of in (text, (text,) * _BATCH))
    alone = [_seconds(served, single) for _ in range(_ROUNDS)]
    together = [_seconds(served, batch) for _ in range(max(3, _ROUNDS // 5))]
    return Speed(words, statistics.median(alone) * 1e3, _BATCH / statistics.median(together))


def _seconds(served: Endpoint, body: bytes) -> float:
    started = time.perf_counter()
    _content(served.ask(body))
    return time.perf_counter() - started


def speed_table(speeds: Iterable[Speed]) -> str:
    """Format the speed by length as lines of a table."""
    lines = [f"{'words':>8}{'ms, one text':>15}{f'texts/s, {_BATCH} together':>24}"]
    for one in speeds:
        lines.append(f"{one.words:>8}{one.milliseconds:>15.1f}{one.texts_per_second:>24.1f}")
    return "\n".join(lines)


def as_dict(done: ServingRehearsal) -> dict[str, object]:
    """Collect the outcome as plain values, for --json."""
    return {
        "passed": not done.problems,
        "seconds": done.seconds,
        "stages": [vars(stage) for stage in done.stages],
        "speeds": [vars(speed) for speed in done.speeds],
    }
