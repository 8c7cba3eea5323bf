"""The loop of a sweep: every trial exactly once, never more than fit, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fakecloud import Cloud, Faults, Killed, MortalLedger
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import (
    Evaluation,
    JobState,
    NoSlot,
    Refused,
    State,
    Trial,
    Unsure,
)


def trials(count: int) -> list[Trial]:
    return [
        Trial(n, {"lr": f"{n}e-05"}, (f"lr={n}e-05",), f"{n:064}", f"job-{n:010x}")
        for n in range(1, count + 1)
    ]


def run(
    folder: Path, cloud: Cloud, count: int, limits: Limits | None = None, **options: Any
) -> Outcome:
    detached, source = options.pop("detached", False), options.pop("source", None)
    with Ledger(folder) as ledger:
        if source is None:
            ledger.add_trials(trials(count))
        controller = Controller(
            cloud, source or Grid(), ledger, limits or Limits(), clock=cloud.clock,
            sleep=cloud.sleep, random=Random(1), **options,
        )  # fmt: skip
        return controller.run(detached=detached)


def names(count: int) -> set[str]:
    return {trial.name for trial in trials(count)}


def states(outcome: Outcome) -> list[str]:
    return [record.state.value for record in outcome.records]


# --- slots --------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(slots=3), Limits(quotas={"": 3}), Limits()])
def test_every_trial_runs_once_and_no_more_at_a_time_than_fit(
    tmp_path: Path, limits: Limits
) -> None:
    cloud = Cloud(quota=3)
    outcome = run(tmp_path, cloud, 20, limits)
    assert states(outcome) == ["completed"] * 20
    assert cloud.jobs.keys() == names(20) and cloud.most == 3
    assert outcome.waiting == () and not outcome.halted


def test_trials_that_are_not_wanted_hold_their_slots_and_are_neither_started_nor_awaited(
    tmp_path: Path,
) -> None:
    """Callers that ask for a few trials at a time share one ledger, with what earlier ones have left."""
    cloud = Cloud(quota=2, lasts=lambda name: 1e6 if name == trials(1)[0].name else 100.0)
    run(tmp_path, cloud, 1, Limits(), detached=True)
    outcome = run(tmp_path, cloud, 4, Limits(), wanted=lambda trial: trial.number in (2, 3))
    assert [r.trial.number for r in outcome.records] == [2, 3]
    assert states(outcome) == ["completed"] * 2 and not outcome.waiting
    assert cloud.jobs.keys() == {trials(4)[n].name for n in (0, 1, 2)} and cloud.most == 2


def test_there_is_no_barrier_between_batches(tmp_path: Path) -> None:
    """A long job holds its own slot alone: two slots take as long as the longer half."""
    cloud = Cloud(lasts=lambda name: 1000.0 if name == trials(1)[0].name else 100.0)
    begun = cloud.now
    run(tmp_path, cloud, 11, Limits(slots=2))
    assert cloud.now - begun < 1200


def test_a_full_quota_waits_with_jitter_and_asks_seldom(tmp_path: Path) -> None:
    """The quota is used by somebody else for two hours; AWS says so, and is not asked all the time."""
    cloud = Cloud(quota=0)
    freed = cloud.now + 7200
    asleep = cloud.sleep

    def sleep(seconds: float) -> None:
        asleep(seconds)
        if cloud.now > freed:
            cloud.quota = 2

    with Ledger(tmp_path) as ledger:
        Controller(
            cloud, Grid(trials(2)), ledger, Limits(), clock=cloud.clock, sleep=sleep,
            random=Random(1),
        ).run()  # fmt: skip
    assert cloud.jobs.keys() == names(2)
    assert cloud.calls["start"] < 2 * 7200 / 150


def test_the_limit_that_a_refusal_names_is_learned(tmp_path: Path) -> None:
    class Told(Cloud):
        def start(self, trial: Trial, attempt: int) -> str:
            try:
                return super().start(trial, attempt)
            except NoSlot as full:
                raise NoSlot(str(full), self.quota) from None

    cloud = Told(quota=2)
    run(tmp_path, cloud, 12)
    assert cloud.jobs.keys() == names(12) and cloud.calls["start"] == 13, "refused once"


def test_a_stopping_job_holds_its_slot(tmp_path: Path) -> None:
    class Stopping(Grid):
        def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
            return trial.number == 1

    cloud = Cloud(stops_in=70.0, scores=lambda name, step: 0.1)
    outcome = run(tmp_path, cloud, 4, Limits(slots=1), source=Stopping(trials(4)), watch=True)
    assert states(outcome) == ["pruned", "completed", "completed", "completed"]
    assert cloud.most == 1 and cloud.calls["stop"] == 1


def test_a_job_that_went_on_is_judged_by_all_its_evaluations(tmp_path: Path) -> None:
    """AWS breaks the first attempt after half of its steps; the second one tells of those behind them."""

    class Resumed(Cloud):
        def evaluations(self, name: str) -> Sequence[Evaluation]:
            found = super().evaluations(name)
            return found[5:] if name.endswith("-2") else found[:5]

    class Judged(Grid):
        def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
            told.append([one.step for one in evaluations])
            return False

        def ended(self, trial: Trial, state: State, evaluations: Sequence[Evaluation]) -> None:
            self.tell(trial, evaluations)

    told: list[list[int]] = []
    broken = {trials(1)[0].name: AWS}
    cloud = Resumed(ends=broken, scores=lambda name, step: 0.1)
    run(tmp_path, cloud, 1, source=Judged(trials(1)), watch=True)
    assert told[-1] == list(range(1, 11))
    assert all(steps == list(range(1, len(steps) + 1)) for steps in told)


def test_each_pool_has_its_quota(tmp_path: Path) -> None:
    """A full quota of one instance type keeps none of another from being started."""
    cloud = Cloud()
    first = run(
        tmp_path, cloud, 6, Limits(quotas={"odd": 1, "even": 2}), detached=True,
        pool=lambda trial: "odd" if trial.number % 2 else "even",
    )  # fmt: skip
    assert states(first) == ["running", "running", "waiting", "running", "waiting", "waiting"]


def test_what_fits_is_started_at_once_and_the_rest_is_named(tmp_path: Path) -> None:
    cloud = Cloud(quota=2)
    outcome = run(tmp_path, cloud, 4, detached=True)
    assert states(outcome) == ["running", "running", "waiting", "waiting"]
    assert [trial.number for trial in outcome.waiting] == [3, 4]
    again = run(tmp_path, cloud, 4, detached=True)
    assert states(again) == states(outcome) and cloud.jobs.keys() == names(2)


# --- calls --------------------------------------------------------------------------------------


def test_a_round_asks_with_one_listing_and_describes_what_has_ended(tmp_path: Path) -> None:
    cloud = Cloud()
    run(tmp_path, cloud, 50)
    assert cloud.calls["start"] == 50 and cloud.calls["describe"] == 50
    assert cloud.calls["evaluations"] == 50 and cloud.calls["listing"] < 30


# --- failures -----------------------------------------------------------------------------------

USERS = JobState("", State.failed, reason="AlgorithmError: loss is nan at step 212")
AWS = JobState("", State.failed, reason="InternalServerError: We encountered an internal error.")
CAPACITY = JobState("", State.failed, reason="CapacityError: Unable to provision capacity.")
SPOT = JobState("", State.stopped, secondary="Interrupted")


@pytest.mark.parametrize("fault", [AWS, CAPACITY, SPOT])
def test_a_fault_of_aws_is_retried_and_not_for_ever(tmp_path: Path, fault: JobState) -> None:
    first = trials(3)[1].name
    cloud = Cloud(ends={first: fault})
    outcome = run(tmp_path, cloud, 3)
    assert states(outcome) == ["completed"] * 3
    assert cloud.jobs.keys() == names(3) | {f"{first}-2"}

    for_ever = Cloud(ends=dict.fromkeys([first, f"{first}-2", f"{first}-3"], fault))
    outcome = run(tmp_path / "again", for_ever, 3, Limits(retries=2, max_failures=1))
    assert states(outcome) == ["completed", fault.state.value, "completed"]
    assert len(for_ever.jobs) == 5 and not outcome.halted
    run(tmp_path / "again", for_ever, 3)
    assert len(for_ever.jobs) == 5, "nor by the same command"


def test_an_error_of_the_users_is_not_retried_and_stops_no_other(tmp_path: Path) -> None:
    cloud = Cloud(ends={trials(2)[1].name: USERS})
    outcome = run(tmp_path, cloud, 8, Limits(slots=1))
    assert states(outcome) == ["completed", "failed", *["completed"] * 6]
    assert len(cloud.jobs) == 8


def test_too_many_failures_stop_further_starts_and_nothing_that_runs(tmp_path: Path) -> None:
    cloud = Cloud(
        ends={trial.name: USERS for trial in trials(2)},
        lasts=lambda name: 500.0 if name == trials(3)[2].name else 50.0,
    )
    limits = Limits(slots=3, max_failures=2)
    outcome = run(tmp_path, cloud, 9, limits)
    assert states(outcome)[:3] == ["failed", "failed", "completed"]
    assert "2 jobs failed (1, 2): sweep.max_failures=2" in outcome.halted
    assert [trial.number for trial in outcome.waiting] == [*range(4, 10)]
    assert run(tmp_path, cloud, 9, limits).halted and len(cloud.jobs) == 3
    more = run(tmp_path, cloud, 9, Limits(max_failures=3))
    assert states(more)[3:] == ["completed"] * 6


def test_retry_failed_starts_those_alone_that_had_failed(tmp_path: Path) -> None:
    cloud = Cloud(ends={trials(2)[1].name: USERS})
    run(tmp_path, cloud, 3)
    outcome = run(tmp_path, cloud, 3, Limits(retried=State.failed))
    assert states(outcome) == ["completed"] * 3
    assert cloud.jobs.keys() == names(3) | {f"{trials(2)[1].name}-2"}


@pytest.mark.parametrize("end", [State.failed, State.stopped])
def test_another_laptop_without_a_ledger_retries_those_that_had_ended_so(
    tmp_path: Path, end: State
) -> None:
    second = trials(3)[1].name
    cloud = Cloud(ends={second: JobState(second, end, reason="it broke")})
    run(tmp_path / "a", cloud, 3)
    outcome = run(tmp_path / "b", cloud, 3, Limits(retried=end))
    assert states(outcome) == ["completed"] * 3 and len(cloud.jobs) == 4


def test_stopping_jobs_are_started_again_once_they_have_stopped(tmp_path: Path) -> None:
    cloud = Cloud(lasts=lambda name: 1000.0)
    run(tmp_path, cloud, 2, detached=True)
    first = trials(2)[0].name
    with Ledger(tmp_path) as ledger:
        ledger.intend_stop(first, cloud.now, "stopped by its owner")
    cloud.stop(first)
    outcome = run(tmp_path, cloud, 2, Limits(retried=State.stopped))
    assert states(outcome) == ["completed"] * 2 and len(cloud.jobs) == 3


def test_retry_failed_starts_a_job_that_fails_again_only_once(tmp_path: Path) -> None:
    name = trials(2)[1].name
    cloud = Cloud(ends={name: USERS, f"{name}-2": USERS})
    run(tmp_path, cloud, 3)
    assert states(run(tmp_path, cloud, 3, Limits(retried=State.failed)))[1] == "failed"
    assert len(cloud.jobs) == 4


def test_a_higher_attempt_starts_all_once_more(tmp_path: Path) -> None:
    cloud = Cloud()
    run(tmp_path, cloud, 2)
    for _ in range(2):
        run(tmp_path, cloud, 2, Limits(attempt=2))
    assert cloud.jobs.keys() == names(2) | {f"{name}-2" for name in names(2)}


def test_a_refused_job_is_told_and_asked_for_once(tmp_path: Path) -> None:
    class Refusing(Cloud):
        def start(self, trial: Trial, attempt: int) -> str:
            if trial.number == 2:
                self.calls["refused"] += 1
                raise Refused([Problem("action=submit", "ValidationException: too odd")])
            return super().start(trial, attempt)

    cloud = Refusing()
    outcome = run(tmp_path, cloud, 3)
    assert outcome.refused.keys() == {2} and cloud.calls["refused"] == 1
    assert states(outcome) == ["completed", "waiting", "completed"]


def test_a_source_that_has_nothing_while_nothing_runs_ends_the_sweep(tmp_path: Path) -> None:
    class Starved(Grid):
        exhausted = False

    assert states(run(tmp_path, Cloud(), 2, source=Starved(trials(2)))) == ["completed"] * 2


# --- one ledger, or none ------------------------------------------------------------------------


def test_a_lost_answer_is_looked_up_by_its_name(tmp_path: Path) -> None:
    """Neither told as not started, nor started twice."""

    class Lost(Cloud):
        def start(self, trial: Trial, attempt: int) -> str:
            super().start(trial, attempt)
            raise Unsure("the connection was lost after the call")

    cloud = Lost()
    outcome = run(tmp_path, cloud, 3, Limits(slots=2))
    assert states(outcome) == ["completed"] * 3 and cloud.most == 2
    assert cloud.calls["start"] == 3


def test_an_empty_ledger_attaches_to_the_jobs_that_are_there(tmp_path: Path) -> None:
    """On a second laptop: what the listing names is attached, none is started twice."""
    cloud = Cloud(quota=3)
    run(tmp_path / "a", cloud, 8, detached=True)
    cloud.sleep(150)
    outcome = run(tmp_path / "b", cloud, 8, Limits(slots=3))
    assert states(outcome) == ["completed"] * 8 and cloud.jobs.keys() == names(8)
    assert cloud.most == 3


def test_jobs_of_another_account_are_not_started_again(tmp_path: Path) -> None:
    cloud = Cloud()
    run(tmp_path, cloud, 2, Limits(slots=1), detached=True)
    with pytest.raises(ConfigError, match="no job of this name in this account"):
        other = Cloud()
        other.now = cloud.now
        run(tmp_path, other, 2, Limits(slots=1))
    assert not other.jobs
    deleted = Cloud()
    deleted.now = cloud.now
    run(tmp_path, deleted, 2, Limits(retried=State.failed))
    assert deleted.jobs.keys() == {f"{trials(1)[0].name}-2", trials(2)[1].name}


def test_a_held_sweep_starts_nothing_until_it_is_let_go(tmp_path: Path) -> None:
    cloud = Cloud()
    with Ledger(tmp_path) as ledger:
        ledger.hold("stopped by its owner")
    assert run(tmp_path, cloud, 2).halted == "stopped by its owner" and not cloud.jobs
    with Ledger(tmp_path) as ledger:
        ledger.hold("")
    assert states(run(tmp_path, cloud, 2)) == ["completed"] * 2


def until_done(folder: Path, cloud: Cloud, count: int, limits: Limits) -> Outcome:
    """The same command again after each kill, with the ledger as it was left or without any."""
    random = Random(cloud.faults.random.random())
    for attempt in range(1000):
        if random.random() < 0.1:
            folder = folder.with_name(f"laptop-{attempt}")
        ledger = MortalLedger(folder)
        ledger.faults = cloud.faults
        try:
            with ledger:
                ledger.add_trials(trials(count))
                return Controller(
                    cloud, Grid(), ledger, limits, clock=cloud.clock,
                    sleep=cloud.sleep, random=random,
                ).run()  # fmt: skip
        except Killed:
            continue
    raise AssertionError("never done")


def submit_naively(cloud: Cloud, count: int) -> None:
    """One job after the other as long as nothing is refused; started again, if it is killed."""
    for start in range(50):
        try:
            for trial in trials(count):
                cloud.start(trial, 1 + start)
                cloud.sleep(1)
            return
        except (NoSlot, Unsure):
            return
        except Killed:
            continue


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 5))
def test_killed_throttled_and_unanswered_each_trial_runs_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, slots: int
) -> None:
    folder = tmp_path_factory.mktemp("sweep") / "laptop"
    faults = Faults(throttled=0.15, lost=0.15, kills=10, random=Random(seed))
    cloud = Cloud(quota=slots + 1, faults=faults)
    outcome = until_done(folder, cloud, count, Limits(slots=slots))
    assert cloud.jobs.keys() == names(count), "exactly once, and none forgotten"
    assert states(outcome) == ["completed"] * count
    assert cloud.most <= slots


@pytest.mark.slow
def test_200_jobs_with_30_percent_of_the_calls_failing_and_50_kills(tmp_path: Path) -> None:
    faults = Faults(throttled=0.15, lost=0.15, kills=50, random=Random(7))
    cloud = Cloud(quota=9, faults=faults, lasts=lambda name: 50 + int(name[-10:], 16) * 37 % 400)
    outcome = until_done(tmp_path / "laptop", cloud, 200, Limits(slots=8))
    assert cloud.jobs.keys() == names(200) and cloud.most <= 8 and not faults.kills
    assert states(outcome) == ["completed"] * 200


@pytest.mark.parametrize("fault", ["kills", "lost", "throttled", "quota"])
def test_a_naive_loop_forgets_jobs_or_pays_twice(fault: str) -> None:
    """The harness finds what it looks for: each kind of fault alone is the naive loop's loss."""
    faults = Faults(random=Random(3))
    if fault != "quota":
        setattr(faults, fault, 3 if fault == "kills" else 0.1)
    cloud = Cloud(quota=8 if fault == "quota" else None, faults=faults)
    submit_naively(cloud, 30)
    assert cloud.jobs.keys() != names(30)
    twice = len(cloud.jobs) > len({name[:14] for name in cloud.jobs})
    assert twice if fault == "kills" else len(cloud.jobs) < 30
