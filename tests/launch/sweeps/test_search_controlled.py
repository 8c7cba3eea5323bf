"""Searches and early ends under the real controller: killed, throttled, and never a job too many."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest
from fakecloud import Cloud, Faults, Killed, MortalLedger
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lingotune.config.schema import Prune, Search, SweepConfig
from lingotune.launch.overrides.overrides import read_overrides
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.search import GridSource, SearchSource
from lingotune.launch.sweeps.space import SearchSpace
from lingotune.launch.sweeps.study import Known, Study
from lingotune.launch.sweeps.taking_up import TakingUp
from lingotune.launch.sweeps.trial import Source, State, Trial

METRIC = Metric("macro_f1", greater_is_better=True)


def made(number: int, varies: Mapping[str, str]) -> Trial:
    texts = tuple(f"{key}={varies[key]}" for key in sorted(varies))
    digest = hashlib.sha256(" ".join(texts).encode()).hexdigest()
    return Trial(number, dict(varies), texts, digest, f"job-{digest[:10]}")


class Sweep:
    """A sweep of pretended jobs, whose scores follow from the learning rate."""

    def __init__(
        self, typed: Sequence[str], wanted: SweepConfig, taking_up: TakingUp | None = None
    ) -> None:
        self.taking_up = taking_up
        self.axes, _ = read_overrides(typed, {}, multirun=True)
        self.wanted, self.space = wanted, SearchSpace(self.axes)
        self.lr: dict[str, float] = {}

    def made(self, number: int, varies: Mapping[str, str]) -> Trial:
        trial = made(number, varies)
        self.lr[trial.name] = float(varies["lr"])
        return trial

    def score(self, name: str, evaluation: int) -> float:
        distance = abs(math.log10(self.lr[name]) - math.log10(3e-5))
        return 0.9 - 0.2 * distance - 0.3 / evaluation

    def source(self, folder: Path, ledger: Ledger) -> Source:
        prunes = self.wanted.prune is Prune.asha

        def study(known: Sequence[Known]) -> Study:
            rung = 2 if prunes else None
            return Study(folder, self.space, self.wanted, maximize=True, rung=rung, known=known)

        records = ledger.records()
        if self.wanted.search is Search.grid:
            found: list[dict[str, str]] = [{}]
            for axis in self.axes:
                found = [{**job, axis.key: text} for job in found for text in axis.texts]
            trials = [self.made(n, varies) for n, varies in enumerate(found, 1)]
            return GridSource(trials, METRIC, records, study if prunes else None, self.taking_up)
        count = self.wanted.trials or 0
        return SearchSource(self.space, count, self.made, METRIC, study, records,
                            prunes=prunes, taking_up=self.taking_up)  # fmt: skip

    def run(self, folder: Path, cloud: Cloud, slots: int) -> Outcome:
        """Run it, and again after each kill."""
        for _ in range(500):
            ledger = MortalLedger(folder)
            ledger.faults = cloud.faults
            try:
                with ledger:
                    return Controller(
                        cloud, self.source(folder, ledger), ledger, Limits(slots=slots),
                        clock=cloud.clock, sleep=cloud.sleep, random=Random(1), watch=True,
                    ).run()  # fmt: skip
            except Killed:
                continue
        raise AssertionError("never done")


TYPED = ("lr=tag(log,interval(1e-6,1e-3))", "epochs=1,2", "seed=1,2")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.sampled_from([Search.random, Search.tpe]),
    st.sampled_from(list(Prune)),
)
@example(225523, 2, Search.random, Prune.asha)  # scores of a job are first read once it has ended
def test_a_search_that_is_killed_and_throttled_starts_each_job_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int, slots: int, search: Search, prune: Prune
) -> None:
    sweep = Sweep(TYPED, SweepConfig(search=search, trials=6, prune=prune, seed=seed % 1000))
    faults = Faults(throttled=0.15, lost=0.15, kills=10, random=Random(seed))
    cloud = Cloud(faults=faults, lasts=lambda name: 400.0, scores=sweep.score)
    outcome = sweep.run(tmp_path_factory.mktemp("sweep"), cloud, slots)
    trials = [record.trial for record in outcome.records]
    assert len({trial.configuration for trial in trials}) == 6, "none lost, none twice"
    assert cloud.jobs.keys() == {trial.name for trial in trials} and cloud.most <= slots
    assert {record.state for record in outcome.records} <= {State.completed, State.pruned}
    for record in outcome.records:
        repeated = [
            r for r in outcome.records if r.trial.configuration == record.trial.configuration
        ]
        assert record.state is State.pruned or len(repeated) == 2
        assert record.state is not State.pruned or len(repeated) == 1


def test_a_grid_with_early_ends_costs_less_and_keeps_the_best(tmp_path: Path) -> None:
    typed = ["lr=1e-6,3e-6,1e-5,3e-5,1e-4,3e-4", "epochs=1,2"]
    billed = {}
    for prune in Prune:
        sweep = Sweep(typed, SweepConfig(prune=prune))
        cloud = Cloud(lasts=lambda name: 400.0, scores=sweep.score, stops_in=1.0)
        outcome = sweep.run(tmp_path / prune.value, cloud, slots=2)
        completed = {r.trial.varies["lr"] for r in outcome.records if r.state is State.completed}
        assert "3e-05" in completed
        billed[prune] = sum((j.ended or 0) - (j.created or 0) for j in cloud.jobs.values())
    # typed from bad to good: the worst order, as each is the best so far
    assert billed[Prune.asha] < 0.75 * billed[Prune.none]


class Late(Sweep):
    """The second best at the first rung is the best in the end; its job goes on where it was ended."""

    curves: Mapping[float, Sequence[float]] = {
        lr: [first] * 3 + [last] * 7
        for lr, first, last in [(1e-6, 0.3, 0.3), (2e-6, 0.5, 0.5), (3e-6, 0.4, 0.9),
                                (4e-6, 0.2, 0.2), (5e-6, 0.1, 0.1), (6e-6, 0.1, 0.1)]
    }  # fmt: skip

    def score(self, name: str, evaluation: int) -> float:
        first = name.removesuffix("-2")
        return self.curves[self.lr[first]][evaluation - 1]


@pytest.mark.parametrize("search", [Search.grid, Search.tpe])
@pytest.mark.parametrize("kills", [0, 12])
def test_an_ended_job_among_the_best_goes_on_once_no_others_are_left(
    tmp_path: Path, search: Search, kills: int
) -> None:
    typed = ["lr=1e-6,2e-6,3e-6,4e-6,5e-6,6e-6"]
    wanted = SweepConfig(prune=Prune.asha, search=search, trials=6, seed=3)
    ended = {}
    for rule in (None, TakingUp(2, 3, METRIC)):
        sweep = Late(typed, wanted, rule)
        cloud = Cloud(faults=Faults(kills=kills, random=Random(kills)), scores=sweep.score,
                      lasts=lambda name: 400.0, stops_in=1.0)  # fmt: skip
        outcome = sweep.run(tmp_path / str(rule is None), cloud, slots=2)
        ended[rule] = {r.trial.varies["lr"]: r for r in outcome.records}
        assert cloud.most <= 2 and not cloud.held
    before, after = (found["3e-06"] for found in ended.values())
    assert before.state is State.pruned or search is Search.tpe
    assert after.state is State.completed and len(after.attempts) == 1 + (
        before.state is State.pruned
    )
    hopeless = [ended[rule][lr] for rule in ended for lr in ("4e-06", "5e-06", "6e-06")]
    assert all(len(record.attempts) == 1 for record in hopeless)
