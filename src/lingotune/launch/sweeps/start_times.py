"""Start-up times of jobs, and times of evaluations, as the ledgers of earlier sweeps have measured them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.config.schema import Backend, LaunchConfig
from lingotune.launch.sweeps.ledger import LOCAL, LOOPBACK, Attempt, Ledger, is_sweep, sweeps_in
from lingotune.launch.sweeps.trial import State

_LATEST = 20
"""Jobs of each place that count: the last ones."""


@dataclass(frozen=True)
class Place:
    """Kind of machine that jobs start on.

    instance_type: None = this machine. warm: of a warm pool. simulated: of an account that is not AWS's.
    """

    instance_type: str | None
    warm: bool = False
    simulated: bool = False


@dataclass(frozen=True)
class Measured:
    """Medians over jobs on record.

    start: seconds from the request of a job to its first line of training. evaluation: seconds of training
    for each evaluation; None if no job of this name came to its end. jobs: how many were measured.
    """

    start: float
    evaluation: float | None
    jobs: int


def first_rung_of(folder: Path | None) -> int | None:
    """Read the first rung that the sweep in a folder was begun with; None if it was not."""
    if folder is None or not is_sweep(folder):
        return None
    with Ledger(folder) as ledger:
        found = ledger.about().get("first_rung")
    return found if isinstance(found, int) else None


def place_of(config: LaunchConfig, environment: Mapping[str, str]) -> Place:
    """Name the place where a job of the config starts. environment: of this process."""
    cluster = config.cluster
    if not cluster.instance_type:
        return Place(None)
    elsewhere = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER")
    simulated = cluster.backend is Backend.loopback or any(environment.get(n) for n in elsewhere)
    return Place(cluster.instance_type, bool(cluster.keep_alive), simulated)


def measured_in(runs: Path, place: Place, name: str) -> Measured | None:
    """Measure by the sweeps in a folder of runs; None if they tell nothing of the place.

    name: of the job, without its digest: only evaluations of such jobs are comparable. A ledger that cannot
    be read tells nothing.
    """
    found: list[tuple[float, float, float | None]] = []
    for folder in [*sweeps_in(runs), *sweeps_in(runs / LOOPBACK)]:
        try:
            with Ledger(folder) as ledger:
                found += _times(ledger, place, name)
        except ConfigError:
            continue
    latest = sorted(found)[-_LATEST:]
    if not latest:
        return None
    evaluations = [seconds for _, _, seconds in latest if seconds is not None]
    starts = [seconds for _, seconds, _ in latest]
    return Measured(median(starts), median(evaluations) if evaluations else None, len(latest))


def _times(ledger: Ledger, place: Place, name: str) -> Iterator[tuple[float, float, float | None]]:
    """Yield of each job its end, and the seconds of its start and of an evaluation."""
    about = ledger.about()
    if not _is_of(about, place):
        return
    firsts = ledger.first_steps()
    for record in ledger.records():
        for attempt in record.attempts:
            first, job = firsts.get(attempt.name), attempt.job
            if first is None or job.ended is None:
                continue
            if place.instance_type is not None and job.instance_type != place.instance_type:
                continue
            alike = record.trial.name.startswith(f"{name}-")
            start = first - (job.created or attempt.asked)
            yield job.ended, max(0.0, start), _evaluation(attempt, first) if alike else None


def _is_of(about: Mapping[str, Any], place: Place) -> bool:
    here = about.get("backend") == LOCAL
    if here or place.instance_type is None:
        return here and place.instance_type is None
    warm, simulated = bool(about.get("warm")), bool(about.get("simulated"))
    return (warm, simulated) == (place.warm, place.simulated)


def _evaluation(attempt: Attempt, first: float) -> float | None:
    """Compute the seconds of an evaluation and the training before it."""
    job, count = attempt.job, len(attempt.evaluations)
    if job.state is not State.completed or not count or job.ended is None:
        return None
    return (job.ended - first) / count
