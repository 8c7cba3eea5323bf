"""Progress of a job from the last lines of its log. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lingotune.contract.log_lines import read_line
from lingotune.launch.aws.job_logs import LogLine
from lingotune.launch.sweeps.trial import Evaluation


@dataclass(frozen=True)
class Progress:
    """Progress of a training.

    step, total_steps: None until its first line. at: seconds since 1970 of the last line that told a step.
    seconds_per_step: None if unknown. scores: of the last evaluation. loss: the last on the training set.
    """

    step: int | None = None
    total_steps: int | None = None
    at: float | None = None
    seconds_per_step: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    loss: float | None = None

    def seconds_left(self, now: float) -> float | None:
        """Estimate the seconds until the last step; None if unknown, or if it is later than expected."""
        if self.seconds_per_step is None or self.step is None or self.total_steps is None:
            return None
        left = (self.total_steps - self.step) * self.seconds_per_step - (now - (self.at or now))
        return left if left >= 0 else None

    def since(self, before: Progress) -> Progress:
        """Fill in what these lines did not tell from what was known before."""
        if self.step is None:
            return before
        return Progress(
            self.step,
            self.total_steps,
            self.at,
            self.seconds_per_step or before.seconds_per_step,
            self.scores or before.scores,
            before.loss if self.loss is None else self.loss,
        )


def progress_of(lines: Sequence[LogLine]) -> Progress:
    """Read the progress from lines in order; a job that was started again counts from its last start."""
    steps: list[tuple[int, float]] = []
    total: int | None = None
    scores: Mapping[str, float] = {}
    loss: float | None = None
    for line in lines:
        logged = read_line(line.text)
        if logged is None or logged.step is None:
            continue
        if steps and logged.step < steps[-1][0]:
            steps.clear()
        steps.append((logged.step, line.at))
        total = logged.total_steps
        if logged.split == "validation":
            scores = logged.values
        elif logged.split == "train":
            loss = logged.values.get("loss", loss)
    if not steps:
        return Progress()
    (first, begun), (last, at) = steps[0], steps[-1]
    pace = (at - begun) / (last - first) if last > first and at > begun else None
    return Progress(last, total, at, pace, scores, loss)


def evaluations_in(lines: Iterable[str]) -> list[Evaluation]:
    """Read the evaluations on validation from the lines of a log, by step; the last of a step counts."""
    found = {}
    for line in lines:
        logged = read_line(line)
        if logged is not None and logged.split == "validation" and logged.step is not None:
            total = logged.total_steps or logged.step
            found[logged.step] = Evaluation(logged.step, total, logged.values)
    return [found[step] for step in sorted(found)]
