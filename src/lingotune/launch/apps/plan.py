"""Plan of an application's jobs: what would start, and what it costs at most. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lingotune.config.problems import Problem
from lingotune.estimate.run_time import duration
from lingotune.launch.apps.jobs import AppJob
from lingotune.launch.apps.settings import WHERE, Settings
from lingotune.launch.cost.prices import usd_text
from lingotune.launch.sweeps.ledger import TrialRecord
from lingotune.launch.sweeps.trial import Trial

_SHOWN = 30
"""Jobs that are listed; the others are counted."""
_WIDTH = 50


@dataclass(frozen=True)
class Planned:
    """Jobs that Hydra asks for, and what is known of them.

    trials: of the jobs, in their order. records: of the ledger. spent_usd: so far. files, bytes, digest:
    of the code. pinned: digest of the code that further jobs get.
    """

    sweep: str
    app: str
    settings: Settings
    jobs: Sequence[AppJob]
    trials: Sequence[Trial]
    records: Sequence[TrialRecord]
    spent_usd: float
    files: int
    bytes: int
    digest: str
    pinned: str

    @property
    def states(self) -> list[str]:
        """State of each job; `new` if it was never started, or `same as N` in this call."""
        known = {record.trial.key: record for record in self.records if record.attempts}
        seen: dict[str, int] = {}
        found = []
        for job, trial in zip(self.jobs, self.trials):
            if trial.key in seen:
                found.append(f"same as {seen[trial.key]}")
                continue
            seen[trial.key] = job.number
            record = known.get(trial.key)
            again = record is not None and record.state.value == self.settings.retry.value
            found.append("again" if again else record.state.value if record else "new")
        return found

    @property
    def starting(self) -> int:
        """Number of jobs that are to be started."""
        return sum(state in ("new", "again") for state in self.states)

    @property
    def running(self) -> int:
        """Number of jobs that run, of earlier calls, too."""
        return sum(record.state.holds_slot for record in self.records)

    @property
    def worst_usd(self) -> float | None:
        """USD at most, with what has been spent; None if the price is unknown."""
        one = self.settings.worst_usd
        return None if one is None else self.spent_usd + one * (self.starting + self.running)


def plan_lines(plan: Planned) -> Iterator[str]:
    """Write the plan, at most 100 columns wide."""
    settings, count = plan.settings, len(plan.jobs)
    machines = f"{settings.instance_count} x {settings.instance_type}"
    place = f"{settings.aws.region}{', spot' if settings.spot else ''}"
    jobs = "1 job" if count == 1 else f"{count} jobs"
    yield f"{plan.sweep}: {jobs} of {plan.app} on {machines} in {place}"
    states = plan.states
    rows = list(zip(plan.jobs, plan.trials, states))[:_SHOWN]
    told = [" ".join(f"{key}={value}" for key, value in job.varies.items()) for job, *_ in rows]
    width = min(_WIDTH, max(map(len, told), default=0))
    for varies, (job, trial, state) in zip(told, rows):
        shown = varies if len(varies) <= width else f"{varies[: width - 3]}..."
        yield f"  {job.number:3}  {shown:{width}}  {trial.name}  {state}".rstrip()
    if count > _SHOWN:
        yield f"  ... and {count - _SHOWN} more"
    yield f"code: {plan.files} files, {max(1, plan.bytes // 1000)} kB packed ({plan.digest[:8]})"
    if plan.pinned != plan.digest:
        first = plan.pinned[:8]
        yield f"  not used: the jobs of this command keep to the code of its first start ({first});"
        yield f"  {WHERE}.code=new takes it for those that neither run nor have completed"
    yield from _money(plan)


def _money(plan: Planned) -> Iterator[str]:
    settings = plan.settings
    if not (plan.starting or plan.running):
        yield f"nothing is to be started; {usd_text(plan.spent_usd)} so far"
        return
    one, rate = settings.worst_usd, settings.usd_per_hour_of_a_job
    if one is None or rate is None:
        yield f"price unknown: {WHERE}.usd_per_hour=... tells it; each job runs at most" + (
            f" {duration(settings.max_run)}"
        )
        return
    jobs = plan.starting + plan.running
    sum_text = f"{jobs} x {duration(settings.max_run)} x {rate:.2f} USD/h = {usd_text(one * jobs)}"
    before = f", after {usd_text(plan.spent_usd)} so far" if plan.spent_usd else ""
    cap = "" if settings.budget_usd is None else f" (budget {usd_text(settings.budget_usd)})"
    yield f"worst case: {sum_text}{before}{cap}"
    if settings.retries:
        yield f"a fault of AWS starts a job again, up to {settings.retries} times (retries)"


def check_money(plan: Planned) -> list[Problem]:
    """Refuse a plan whose worst case exceeds the budget."""
    budget, worst = plan.settings.budget_usd, plan.worst_usd
    if budget is None or worst is None or worst <= budget or not plan.starting:
        return []
    what = f"the worst case is {usd_text(worst)}"
    fix = f"{WHERE}.budget_usd={int(worst) + 1}, a smaller max_run, or fewer jobs"
    return [Problem(f"{WHERE}.budget_usd={budget:g}", what, fix, check="budget")]
