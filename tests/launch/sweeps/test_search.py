"""Sources of trials: every configuration once, whatever ends a controller in between."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Prune, Search, SweepConfig
from lingotune.launch.overrides.overrides import read_overrides
from lingotune.launch.overrides.swept import Axis
from lingotune.launch.sweeps.ledger import Attempt, TrialRecord
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.search import GridSource, SearchSource
from lingotune.launch.sweeps.space import SearchSpace
from lingotune.launch.sweeps.study import JOURNAL, Known, Study
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial

METRIC = Metric("macro_f1", greater_is_better=True)
EVALUATIONS = 9


def axes(*typed: str) -> list[Axis]:
    read, problems = read_overrides(typed, {}, multirun=True)
    assert not problems
    return read


def make(number: int, varies: Mapping[str, str]) -> Trial:
    texts = tuple(f"{key}={value}" for key, value in varies.items())
    return Trial(number, dict(varies), texts, " ".join(texts), f"job-{number}")


def score(varies: Mapping[str, str], evaluation: int) -> float:
    """Best at lr=3e-5, a little luck by seed, and better with each evaluation."""
    distance = abs(math.log10(float(varies["lr"])) - math.log10(3e-5))
    luck = random.Random(str(sorted(varies.items()))).uniform(-0.01, 0.01)
    return 0.9 - 0.2 * distance + luck - 0.3 / evaluation


def evaluated(trial: Trial, count: int) -> list[Evaluation]:
    return [
        Evaluation(n, EVALUATIONS, {"macro_f1": score(trial.varies, n)})
        for n in range(1, count + 1)
    ]


class Controller:
    """Controller of few slots that may be killed after any step; its records are a ledger."""

    def __init__(self, folder: Path, search: SweepConfig, typed: Sequence[str]) -> None:
        self.folder, self.settings, self.axes = folder, search, axes(*typed)
        self.records: dict[str, TrialRecord] = {}
        self.steps: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        space, prunes = SearchSpace(self.axes), self.settings.prune is Prune.asha

        def study(known: Sequence[Known]) -> Study:
            rung = (self.settings.min_evaluations or 1) if prunes else None
            return Study(self.folder, space, self.settings, maximize=True, rung=rung, known=known)

        records = list(self.records.values())
        self.source: GridSource | SearchSource
        if self.settings.search is Search.grid:
            grid = [make(n, v) for n, v in enumerate(every(self.axes), 1)]
            self.source = GridSource(grid, METRIC, records, study if prunes else None)
        else:
            trials = self.settings.trials or 0
            self.source = SearchSource(space, trials, make, METRIC, study, records, prunes=prunes)

    def start(self) -> bool:
        trial = self.source.next()
        if trial is None:
            return False
        assert trial.key not in self.records, "started twice"
        self.save(trial, State.running, 0)
        return True

    def save(self, trial: Trial, state: State, count: int) -> None:
        job = JobState(trial.name, state)
        attempt = Attempt(trial.number, 1, job, 0.0, evaluations=tuple(evaluated(trial, count)))
        self.records[trial.key] = TrialRecord(trial, (attempt,))

    def advance(self, key: str) -> None:
        """Train one of the running jobs to its next evaluation."""
        record = self.records[key]
        assert record.last is not None
        done = len(record.last.evaluations) + 1
        trial = record.trial
        self.save(trial, State.running, done)
        if self.source.tell(trial, evaluated(trial, done)):
            self.save(trial, State.pruned, done)
            self.source.ended(trial, State.pruned, evaluated(trial, done))
        elif done == EVALUATIONS:
            self.save(trial, State.completed, done)
            self.source.ended(trial, State.completed, evaluated(trial, done))

    def running(self) -> list[str]:
        return [key for key, record in self.records.items() if record.state is State.running]

    def run(self, slots: int, chance: random.Random, kills: float) -> None:
        for _ in range(5000):
            while len(self.running()) < slots and self.start():
                pass
            if chance.random() < kills:
                self.restart()
            running = self.running()
            if not running:
                break
            self.advance(chance.choice(running))
        assert self.source.exhausted and self.source.next() is None

    def trained(self) -> int:
        return sum(len(r.last.evaluations) for r in self.records.values() if r.last)


def every(found: Sequence[Axis]) -> list[dict[str, str]]:
    jobs: list[dict[str, str]] = [{}]
    for axis in found:
        jobs = [{**job, axis.key: text} for job in jobs for text in axis.texts]
    return jobs


SPACE = ("lr=tag(log,interval(1e-6,1e-3))", "epochs=choice(1,2,3)")
GRID = ("lr=1e-6,3e-6,1e-5,3e-5,1e-4,3e-4,1e-3", "epochs=1,2", "seed=1,2,3")


@pytest.mark.parametrize("search", [Search.random, Search.tpe])
@pytest.mark.parametrize("prune", [Prune.none, Prune.asha])
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 4))
@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_search_that_is_killed_loses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, search: Search, prune: Prune, seed: int, slots: int
) -> None:
    wanted = SweepConfig(search=search, trials=6, seed=seed, prune=prune, reduction=3)
    folder = tmp_path_factory.mktemp("sweep")
    sweep = Controller(folder, wanted, [*SPACE, "seed=1,2"])
    sweep.run(slots, random.Random(seed), kills=0.2)
    found = [record.trial for record in sweep.records.values()]
    assert len({trial.configuration for trial in found}) == 6
    assert sorted(trial.number for trial in found) == [*range(1, len(found) + 1)]
    ended = {record.state for record in sweep.records.values()}
    assert ended <= {State.completed, State.pruned}
    if prune is Prune.none:
        assert len(found) == 12 and ended == {State.completed}


@given(seed=st.integers(0, 10_000), slots=st.integers(1, 4))
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_pruned_grid_starts_each_configuration_and_keeps_the_best(
    tmp_path_factory: pytest.TempPathFactory, seed: int, slots: int
) -> None:
    wanted = SweepConfig(prune=Prune.asha, reduction=3)
    sweep = Controller(tmp_path_factory.mktemp("sweep"), wanted, GRID)
    sweep.run(slots, random.Random(seed), kills=0.1)
    found = list(sweep.records.values())
    assert len({record.trial.configuration for record in found}) == 14
    completed = [r.trial for r in found if r.state is State.completed]
    assert "3e-05" in {trial.varies["lr"] for trial in completed}
    assert sweep.trained() <= 0.7 * 42 * EVALUATIONS
    for configuration in {r.trial.configuration for r in found if r.state is State.pruned}:
        same = [r for r in found if r.trial.configuration == configuration]
        assert len(same) == 1, "the other seeds of a pruned configuration never start"


@pytest.mark.parametrize("is_told", [False, True], ids=["read at its end", "stopped too late"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_hopeless_job_that_came_to_its_end_is_repeated_as_any_other(
    is_told: bool, restarts: bool, tmp_path: Path
) -> None:
    """What it is in the ledger, completed, decides: a controller that starts anew knows nothing else."""
    wanted = SweepConfig(prune=Prune.asha, min_evaluations=2)
    sweep = Controller(tmp_path, wanted, ("lr=3e-5,1e-5,1e-6", "seed=1,2"))
    while sweep.start():
        pass
    *good, bad = sweep.running()
    for key in good:
        while sweep.records[key].state is State.running:
            sweep.advance(key)
    trial = sweep.records[bad].trial
    stops = [
        sweep.source.tell(trial, evaluated(trial, n)) for n in range(1, EVALUATIONS) if is_told
    ]
    assert any(stops) is is_told
    sweep.save(trial, State.completed, EVALUATIONS)
    sweep.source.ended(trial, State.completed, evaluated(trial, EVALUATIONS))
    if restarts:
        sweep.restart()
    while sweep.start():
        pass
    started = [sweep.records[key].trial for key in sweep.running()]
    assert {**trial.varies, "seed": "2"} in [one.varies for one in started]
    assert not sweep.source.tell(trial, evaluated(trial, EVALUATIONS))


def test_a_grid_without_pruning_keeps_its_order_and_needs_no_study(tmp_path: Path) -> None:
    sweep = Controller(tmp_path, SweepConfig(), GRID)
    while sweep.start():
        pass
    assert [r.trial.number for r in sweep.records.values()] == [*range(1, 43)]
    assert not (tmp_path / JOURNAL).exists()


def test_the_same_seed_and_scores_make_the_same_suggestions(tmp_path: Path) -> None:
    def suggested(name: str, kills: float) -> list[str]:
        wanted = SweepConfig(search=Search.tpe, trials=8, seed=3)
        sweep = Controller(tmp_path / name, wanted, SPACE)
        sweep.run(1, random.Random(0), kills)
        return sorted(sweep.records)

    assert suggested("a", 0) == suggested("b", 0) == suggested("c", 0.5)


def test_a_small_space_is_drawn_without_repetition_to_its_end(tmp_path: Path) -> None:
    for search in (Search.random, Search.tpe):
        wanted = SweepConfig(search=search, trials=99)
        sweep = Controller(tmp_path / search.value, wanted, ["lr=1e-5,3e-5", "epochs=range(1,4)"])
        sweep.run(2, random.Random(1), 0)
        assert len(sweep.records) == 6


def test_the_score_of_a_configuration_is_its_mean_over_seeds(tmp_path: Path) -> None:
    wanted = SweepConfig(search=Search.random, trials=2)
    sweep = Controller(tmp_path, wanted, [*SPACE, "seed=1,2"])
    sweep.run(2, random.Random(0), 0)
    import optuna

    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL))
    )
    study = optuna.load_study(study_name="sweep", storage=storage)
    for trial in study.trials:
        values = trial.user_attrs["configuration"]
        seeds = [score({**values, "seed": seed}, EVALUATIONS) for seed in ("1", "2")]
        assert trial.value == pytest.approx(sum(seeds) / 2)


@pytest.mark.parametrize("damage", ["gone", "torn", "older", "forged"])
def test_a_study_that_disagrees_with_the_ledger_is_made_anew(tmp_path: Path, damage: str) -> None:
    wanted = SweepConfig(search=Search.tpe, trials=5)
    sweep = Controller(tmp_path, wanted, SPACE)
    journal = tmp_path / JOURNAL
    before = journal.read_bytes()
    for _ in range(3):
        sweep.start()
        (key,) = sweep.running()
        while sweep.running():
            sweep.advance(key)
    text = journal.read_bytes()
    if damage == "gone":
        journal.unlink()
    elif damage == "torn":
        journal.write_bytes(text[:-20])
    elif damage == "older":
        journal.write_bytes(before)
    else:
        sweep.records.popitem()  # the study has a trial that was never written to the ledger
    sweep.restart()
    sweep.run(1, random.Random(0), 0)
    assert len(sweep.records) == 5


def test_a_study_of_another_space_is_refused(tmp_path: Path) -> None:
    wanted = SweepConfig(search=Search.tpe, trials=2)
    Controller(tmp_path, wanted, SPACE).run(1, random.Random(0), 0)
    with pytest.raises(ConfigError, match="over other values"):
        Controller(tmp_path, wanted, ["lr=interval(1e-6,1e-3)", SPACE[1]])
    Controller(tmp_path, replace(wanted, trials=4), SPACE).run(1, random.Random(0), 0)


def test_a_configuration_that_does_not_compose_is_passed_over(tmp_path: Path) -> None:
    space = SearchSpace(axes("lr=1e-5,3e-5,1e-4"))

    def refusing(number: int, varies: Mapping[str, str]) -> Trial:
        if varies["lr"] == "3e-05":
            raise ConfigError([Problem("lr=3e-05", "does not go with the rest")])
        return make(number, varies)

    def study(known: Sequence[Known]) -> Study:
        wanted = SweepConfig(search=Search.random)
        return Study(tmp_path, space, wanted, maximize=True, rung=None, known=known)

    source = SearchSource(space, 3, refusing, METRIC, study, prunes=False)
    found = [source.next(), source.next(), source.next()]
    assert found[2] is None and source.exhausted
    assert [trial.number for trial in found if trial] == [1, 2]
    assert [problem.where for problem in source.refused] == ["lr=3e-05"]
