"""How often a run on spot capacity should save: the interval that loses least, and what another one loses.

Saving takes S seconds each time, and an interruption loses half an interval on average. With M seconds
between interruptions, an interval of T loses the share S / T + T / 2M of the time, which is least at
T = sqrt(2 S M): Young 1974, "A first order approximation to the optimum checkpoint interval". The price of
a second is the same for both, so it does not move the optimum. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lingotune.catalog.models import model_size
from lingotune.config.problems import Problem, Severity
from lingotune.config.schema import EvalStrategy, JobConfig
from lingotune.estimate.batch import StepPlan
from lingotune.estimate.run_time import TimeEstimate, duration

BETWEEN_INTERRUPTIONS = 8 * 3600.0
"""Seconds between two interruptions of a spot machine: assumed, as AWS publishes none for SageMaker."""
DISK_RATE = 200e6
"""Bytes per second that a volume takes, hashed and flushed: assumed where no run has measured it."""
_BYTES = 4 + 8 + 4
"""Bytes of a checkpoint for each parameter: weights, AdamW's moments, and the best weights so far."""
_TOLERATED = 0.02
"""Share of the time that an interval may lose more than the best one without being told."""


@dataclass(frozen=True)
class SaveInterval:
    """Checkpoints of a job. save_seconds: for each. update_seconds: of training. between: seconds between
    interruptions of any of its machines. now: updates between two checkpoints as planned. basis: where
    save_seconds is from."""

    save_seconds: float
    update_seconds: float
    between: float
    now: int
    basis: str

    @property
    def best(self) -> int:
        """Updates between two checkpoints that lose least."""
        seconds = math.sqrt(2 * self.save_seconds * self.between)
        return max(1, round(seconds / self.update_seconds))

    def lost(self, updates: int) -> float:
        """Compute the share of the time that saving and interruptions take with this interval."""
        seconds = updates * self.update_seconds
        return self.save_seconds / seconds + seconds / (2 * self.between)

    def lines(self, usd: float | None) -> tuple[str, ...]:
        """Format what is planned and what loses least. usd: expected cost of the job; None = unknown."""
        money = "" if usd is None else f", {usd * self.lost(self.now):.2f} USD"
        return (
            f"checkpoints every {self.now} updates ({duration(self.now * self.update_seconds)}): saving and"
            f" interruptions take about {self.lost(self.now):.1%} of the time{money}",
            f"least: {self.lost(self.best):.1%} at training.save_steps={self.best} ="
            f" sqrt(2 x {self.save_seconds:.1f} s to save ({self.basis}) x {duration(self.between)} between"
            f" interruptions (assumed)) / {self.update_seconds:.3g} s an update",
        )


def save_interval(
    job: JobConfig, steps: StepPlan, time: TimeEstimate | None, paper_seconds: float | None
) -> SaveInterval | None:
    """Plan the checkpoints of a spot job; None for another, or if the time of an update or of a save is
    unknown.

    time: from measured runs. paper_seconds: an update on paper, used without measured runs.
    """
    update = time.train_seconds / steps.total_steps if time else paper_seconds
    size = model_size(job.model)
    if not job.cluster.spot or not update:
        return None
    if time and time.save_seconds:
        save, basis = time.save_seconds, "measured"
    elif size:
        save = _BYTES * size.parameters / DISK_RATE
        basis = f"{_BYTES * size.parameters / 1e9:.1f} GB at {DISK_RATE / 1e6:.0f} MB/s"
    else:
        return None
    between = BETWEEN_INTERRUPTIONS / job.cluster.nodes
    return SaveInterval(save, update, between, _planned(job, steps), basis)


def _planned(job: JobConfig, steps: StepPlan) -> int:
    by_steps = job.training.eval_strategy is EvalStrategy.steps
    scored = (job.training.eval_steps if by_steps else None) or steps.steps_per_epoch
    return min(scored, job.training.save_steps or scored, steps.total_steps)


def check_interval(job: JobConfig, found: SaveInterval | None, steps: StepPlan) -> list[Problem]:
    """Judge the interval that was set, or that follows from evaluations, by what the best one loses."""
    if found is None or found.best >= steps.total_steps:
        return []
    more, save = found.lost(found.now) - found.lost(found.best), job.training.save_steps
    if more <= _TOLERATED or (found.now < found.best and found.now != save):
        return []  # fine, or saved as often as it is scored
    what = (
        f"a checkpoint every {found.now} updates loses about {found.lost(found.now):.0%} of the time to"
        f" saving and interruptions; every {found.best} about {found.lost(found.best):.0%}"
    )
    where = f"training.save_steps={'null' if save is None else save}"
    return [
        Problem(
            where, what, f"training.save_steps={found.best}", Severity.warning, check="save-interval",
            why="a spot run goes on from its last checkpoint, and each takes time to save",
        )
    ]  # fmt: skip
