"""The rehearsal itself: runs the job that would be billed on this CPU, from its request to a prediction."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import RehearsalConfig
from lingotune.contract.log_lines import UNTESTED
from lingotune.launch.plan.planner import Plan, objects
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.simulator.attempt import Attempt
from lingotune.launch.simulator.capacity import got_here
from lingotune.launch.simulator.container import Container, distribution_of, lay_out
from lingotune.launch.simulator.environments import Environment
from lingotune.launch.simulator.rehearsal.artifact import (
    UNPACKED,
    Predictor,
    check_scores,
    through_archive,
)
from lingotune.launch.simulator.rehearsal.observed import (
    Observed,
    Point,
    as_text,
    compare,
    peak_learning_rate,
)
from lingotune.launch.simulator.rehearsal.stages import Checklist, Stage, StageFailed, problem_of
from lingotune.launch.simulator.scope import (
    environment_of,
    folder_of,
    hosts_of,
    limits_of,
    variables_of_job,
)
from lingotune.training.checkpoints import fault

_INVOKED = "Invoking script with the following command"
"""Line of SageMaker's toolkit as it hands over to the launcher, or to the script."""
_STARTED, _ROWS, _MODEL = "reading ", "rows: (.*)", "model (.*parameters.*)"
"""Lines of the job: it has started, has its data, has loaded its model."""


@dataclass(frozen=True)
class Rehearsal:
    """Outcome of a rehearsal: stages, comparisons, what reached the processes, and problems."""

    name: str
    stages: tuple[Stage, ...]
    points: tuple[Point, ...]
    observed: str
    problems: tuple[Problem, ...]

    @property
    def seconds(self) -> float:
        """Total seconds of all stages."""
        return round(sum(stage.seconds for stage in self.stages), 1)


def rehearse(plan: Plan, bundle: Bundle, tell: Callable[[str], None]) -> Rehearsal:
    """Run a planned SageMaker job here; failures of the job become `problems` of the result."""
    checklist = Checklist(tell)
    with folder_of(plan) as folder:
        stage = _Rehearser(plan, bundle, checklist, folder)
        problems: tuple[Problem, ...] = ()
        try:
            stage.run()
        except StageFailed as failed:
            problems = (problem_of(checklist.failed or "", failed),)
        except ConfigError as error:
            problems = tuple(error.problems)
    return Rehearsal(
        plan.name, tuple(checklist.stages), tuple(stage.points), stage.observed_text, problems
    )


class _Rehearser:
    """Stages of a rehearsal, in order; later ones use the findings of earlier ones."""

    def __init__(self, plan: Plan, bundle: Bundle, checklist: Checklist, folder: Path) -> None:
        self._plan, self._bundle, self._folder = plan, bundle, folder
        self._stage = checklist.stage
        self._tell = checklist.tell
        self._settings: RehearsalConfig = plan.config.rehearsal
        assert plan.request is not None, "a job of this machine is not rehearsed"
        self._request = got_here(plan.request, self._settings.full)
        self._objects = objects(plan, bundle)
        self._hosts = hosts_of(self._request)
        self._limits = limits_of(self._settings, self._request)
        got = self._request["ResourceConfig"]["InstanceType"]
        machine = f" on {got}" if plan.machines else ""
        self._tell(f"rehearsal of {plan.name}{machine}: {self._limits}")
        self.points: list[Point] = []
        self.observed: list[Observed] = []
        self.observed_text = ""

    def run(self) -> None:
        """Run all stages; StageFailed or ConfigError if one of them fails."""
        with self._stage("environment") as note:
            environment = environment_of(self._plan, self._tell)
            note.text = environment.description
        with self._stage("container") as note:
            first = self._lay_out("first", None)
            note.text = self._described(first)
        with self._attempt(first, environment) as attempt:
            self._until_checkpoint(attempt)
            with self._stage("interruption") as note:
                attempt.interrupt()
                step, steps = newest_step(first), self._settings.steps
                note.text = f"killed; newest whole checkpoint: step {step} of {steps}"
        with self._stage("restart") as note:
            restored = self._restored(first)
            second = self._lay_out("second", restored)
            note.text = self._restart_note(restored)
        lines = attempt.lines
        with ExitStack() as held:
            attempt = held.enter_context(self._attempt(second, environment))
            self._until_resumed(attempt, step if restored else None)
            predictor = held.enter_context(self._predictor(second[0], environment))
            self._until_end(attempt)
            with self._stage("package") as note:
                size = through_archive(second[0], self._folder)
                note.text = f"model.tar.gz, {size / 1e6:.1f} MB"
            with self._stage("predict") as note:
                note.text = predictor.predict()
        with self._stage("compare") as note:
            note.text = self._compare(first, [*lines, *attempt.lines])

    def _attempt(self, containers: Sequence[Container], environment: Environment) -> Attempt:
        variables = {**environment.variables, **variables_of_job(self._plan.job, self._limits)}
        return Attempt(containers, environment.python, self._limits.ranks, variables)

    def _predictor(self, container: Container, environment: Environment) -> Predictor:
        model = self._folder / UNPACKED
        return Predictor(environment.python, container, model, environment.variables)

    # --- before the job runs --------------------------------------------------------------------

    def _lay_out(self, name: str, checkpoints: Path | None) -> list[Container]:
        return [
            lay_out(
                self._request, self._objects, self._folder / name / f"host-{number}",
                hosts=self._hosts, current_host=host, checkpoints=checkpoints,
            )
            for number, host in enumerate(self._hosts, 1)
        ]  # fmt: skip

    def _described(self, containers: Sequence[Container]) -> str:
        channels = ", ".join(c["ChannelName"] for c in self._request["InputDataConfig"])
        count = len(containers)
        hosts = "1 host" if count == 1 else f"{count} hosts"
        return f"{hosts}, code of {len(self._bundle.files)} files, channels {channels}"

    # --- while it runs --------------------------------------------------------------------------

    def _until_checkpoint(self, attempt: Attempt) -> None:
        with self._stage("start") as note:
            attempt.wait_for(_STARTED)
            self.observed = attempt.observe()
            found = sum(len(host.ranks) for host in self.observed)
            program = self.observed[0].program or "no launcher"
            note.text = f"{program}, {found} rank{'s' if found != 1 else ''}"
            if (toolkit := attempt.seconds_to(_INVOKED)) > 0:
                note.text += f"; {toolkit:.1f} s of it the toolkit"
            folders = [container.folder for container in attempt.containers]
            launched = distribution_of(self._request)
            self.observed_text = as_text(self.observed, folders, launched)
        with self._stage("data") as note:
            note.text = attempt.wait_for(_ROWS)[1]
        with self._stage("model") as note:
            note.text = attempt.wait_for(_MODEL)[1]
        with self._stage("train") as note:
            note.text = attempt.wait_for("(step 1/.*)")[1]
        with self._stage("checkpoint") as note:
            attempt.wait_for_file("checkpoint-*/manifest.json")
            note.text = "whole, with its manifest"

    def _until_resumed(self, attempt: Attempt, step: int | None) -> None:
        with self._stage("resume") as note:
            if step is None:
                note.text = attempt.wait_for("(step 1/.*)")[1]
            else:
                found = attempt.wait_for(r"resuming at (step (\d+) of \d+)|step \d+/\d+")
                if found[2] != str(step):
                    raise StageFailed(f"the job did not go on at step {step}: {found[0]}")
                note.text = f"{_parts(attempt)}; at {found[1]}"

    def _until_end(self, attempt: Attempt) -> None:
        with self._stage("evaluate") as note:
            note.text = attempt.wait_for(rf"(test: .*macro-F1 [\d.]+|{re.escape(UNTESTED)})")[1]
        with self._stage("finish") as note:
            attempt.wait_for_end()
            note.text = check_scores(attempt.containers[0])

    def _restored(self, containers: Sequence[Container]) -> Path | None:
        """Collect the checkpoints of all hosts in one folder, as in S3."""
        if "CheckpointConfig" not in self._request:
            return None
        union = self._folder / "s3-checkpoints"
        for container in containers:
            shutil.copytree(container.checkpoints, union, dirs_exist_ok=True)
        return union

    def _restart_note(self, restored: Path | None) -> str:
        if restored is None:
            return "cluster.checkpoints=false: an interrupted job starts over"
        return "a new machine, with the checkpoints from S3 and nothing else"

    # --- after the job has run ------------------------------------------------------------------

    def _compare(self, first: Sequence[Container], lines: Sequence[str]) -> str:
        digest, rate = self._plan.digests.job, self._plan.batch.learning_rate
        code = {name: (first[0].folder / "code" / name).read_bytes() for name in self._bundle.files}
        changed = [name for name, content in self._bundle.files.items() if code[name] != content]
        self.points = [
            *compare(first, self.observed, self._limits.ranks, digest, lines),
            Point("learning rate", f"{rate:.3e}", format_rate(peak_learning_rate(lines))),
            Point("changed files of code", "", ", ".join(changed)),
        ]
        wrong = [point for point in self.points if not point.same]
        if wrong:
            raise StageFailed(
                "\n".join(f"{p.what}: planned {p.planned}, found {p.found}" for p in wrong)
            )
        return f"{len(self.points)} of {len(self.points)} points arrived as planned"


def _parts(attempt: Attempt) -> str:
    """Say how long each part of a start took, by the names of the stages that the first one had."""
    start, data, model = map(attempt.seconds_to, (_STARTED, _ROWS, _MODEL))
    return f"start {start:.1f}, data {data - start:.1f}, model {model - data:.1f} s"


def format_rate(rate: float | None) -> str:
    """Format a learning rate with as many digits as in the log."""
    return "none logged" if rate is None else f"{rate:.3e}"


def newest_step(containers: Sequence[Container]) -> int:
    """Find the newest step whose checkpoint is complete on every host; 0 = none."""
    found = []
    for container in containers:
        folders = [p.parent for p in container.checkpoints.rglob("checkpoint-*/manifest.json")]
        found.append({int(f.name.rpartition("-")[2]) for f in folders if fault(f) is None})
    return max(set.intersection(*found), default=0)


def as_dict(rehearsal: Rehearsal) -> Mapping[str, object]:
    """Collect the outcome as plain values, for output=json."""
    return {
        "name": rehearsal.name,
        "passed": not rehearsal.problems,
        "seconds": rehearsal.seconds,
        "stages": [vars(stage) for stage in rehearsal.stages],
        "compared": [{**vars(point), "same": point.same} for point in rehearsal.points],
        "processes": json.loads(rehearsal.observed or "null"),
    }
