"""What is known of sweeps and folders of runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_folders import make_run, make_sweep

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.entries import Entry, ranked
from lingotune.launch.results.run_files import varying
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import State

DONE, WAITING, FAILED, PRUNED = State.completed, State.waiting, State.failed, State.pruned
RUNNING = State.running


def entry(number: int, varies: dict[str, str], score: float | None, state: State = DONE) -> Entry:
    values = {} if score is None else {"macro_f1": score}
    return Entry(number, varies, f"job-{number}", state, validation=values)


# --- who wins -------------------------------------------------------------------------------------


def test_the_mean_over_seeds_wins_not_the_lucky_seed() -> None:
    scores = {"a": (0.99, 0.5, 0.5), "b": (0.8, 0.8, 0.8)}
    entries = [
        entry(10 * n + seed, {"lr": lr, "seed": str(seed)}, score)
        for n, (lr, of) in enumerate(scores.items())
        for seed, score in enumerate(of)
    ]
    first, second = ranked(entries, Metric("macro_f1"))
    assert first.varies == {"lr": "b"} and first.mean == pytest.approx(0.8)
    assert second.deviation == pytest.approx(0.2829, abs=1e-3)
    assert first.deviation == pytest.approx(0)


def test_a_configuration_with_seeds_to_come_does_not_lead() -> None:
    whole = [entry(n, {"lr": "a", "seed": str(n)}, 0.6) for n in (1, 2)]
    part = [
        entry(3, {"lr": "b", "seed": "1"}, 0.9),
        entry(4, {"lr": "b", "seed": "2"}, None, WAITING),
    ]
    first, second = ranked([*whole, *part], Metric("macro_f1"))
    assert first.varies == {"lr": "a"} and not second.whole
    alone = ranked(part, Metric("macro_f1"))
    assert alone[0].scores == (0.9,), "as long as none is whole, what there is leads"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.booleans())
def test_the_best_mean_leads(scores: list[float], greater: bool) -> None:
    entries = [entry(n, {"lr": str(n)}, score) for n, score in enumerate(scores, 1)]
    found = ranked(entries, Metric("macro_f1", greater))
    assert found[0].mean == (max if greater else min)(scores)
    assert len(found) == len(scores)


@given(st.permutations(range(6)))
def test_the_order_of_trials_changes_nothing(order: list[int]) -> None:
    entries = [entry(n, {"lr": str(n // 2), "seed": str(n % 2)}, n % 4 / 10) for n in range(6)]
    found = ranked([entries[n] for n in order], Metric("macro_f1"))
    assert [of.varies for of in found] == [of.varies for of in ranked(entries, Metric("macro_f1"))]


def test_a_score_that_is_no_number_is_none() -> None:
    found = ranked(
        [entry(1, {"lr": "a"}, float("nan")), entry(2, {"lr": "b"}, 0.1)], Metric("macro_f1")
    )
    assert [of.mean for of in found] == [0.1, None]


# --- from a ledger --------------------------------------------------------------------------------


def test_a_sweep_is_read_from_its_ledger_and_what_was_fetched(tmp_path: Path) -> None:
    trials = [
        ({"lr": "1e-05", "seed": "1"}, DONE, 0.5),
        ({"lr": "3e-05", "seed": "1"}, DONE, 0.7),
        ({"lr": "5e-05", "seed": "1"}, FAILED, None),
        ({"lr": "1e-04", "seed": "1"}, PRUNED, 0.2),
        ({"lr": "1e-03", "seed": "1"}, WAITING, None),
    ]
    sweep = make_sweep(tmp_path / "runs" / "lrs", trials)
    make_run(tmp_path / "runs" / "job-1", "lr=1e-05", "seed=1", validation=0.5, test=0.9)
    board = leaderboard(["lrs"], str(tmp_path / "runs"))
    assert leaderboard([str(sweep)]) == board
    assert (board.name, board.keys, board.metric.name) == ("lrs", ("lr", "seed"), "macro_f1")
    best = board.best
    assert best is not None and best.varies == {"lr": "3e-05"}, "though its test is unknown"
    assert best.mean == 0.7, "the best evaluation, whose checkpoint is kept"
    assert best.test is None and board.ranked[1].test is not None
    assert best.usd == pytest.approx(1800 / 3600 * 28.152, rel=0.5)
    states = {e.number: (e.state, e.reason) for e in board.entries}
    assert states[3] == (FAILED, "AlgorithmError: loss is nan at step 212")
    assert states[4] == (PRUNED, "") and states[5] == (WAITING, "")
    (note,) = board.notes
    assert note.startswith("1 run is not fetched yet (2)") and note.endswith(" fetch lrs")


def test_money_is_counted_as_the_sweep_was_pinned(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path / "lrs", [({"lr": str(n)}, DONE, 0.5) for n in range(3)])
    listed = [of.usd for of in leaderboard([str(sweep)]).ranked]
    assert listed[0] is not None and listed == [listed[0]] * 3
    trials = [{"number": 1, "usd_per_hour": 8.0}, {"number": 2, "usd_per_hour": None}]
    (sweep / "sweep.json").write_text(json.dumps({"trials": trials}))
    assert [of.usd for of in leaderboard([str(sweep)]).ranked] == [4.0, None, listed[0]]


def test_languages_of_unfetched_runs_are_those_of_their_evaluations(tmp_path: Path) -> None:
    make_sweep(tmp_path / "lrs", [({"lr": "1e-05"}, DONE, 0.5)])
    (of,) = leaderboard([str(tmp_path / "lrs")]).ranked
    assert of.worst_language == ("ja", pytest.approx(0.48))


@pytest.mark.parametrize("select", ["evaluation.select=loss", "evaluation.select=accuracy"])
def test_the_metric_of_the_jobs_chooses(tmp_path: Path, select: str) -> None:
    runs = tmp_path / "runs"
    for name, score in (("job-1", 0.5), ("job-2", 0.7)):
        make_run(runs / name, f"lr={score}e-3", select, validation=score)
    # by loss: both runs have the same final loss, and the first is taken
    board = leaderboard([str(runs)])
    assert board.metric == Metric(select.partition("=")[2], not select.endswith("loss"))
    trials = [({"lr": "1", "evaluation.select": select.partition("=")[2]}, DONE, 0.5)]
    make_sweep(tmp_path / "sweep", trials)
    assert leaderboard([str(tmp_path / "sweep")]).metric == board.metric


def test_costs_are_won_by_the_lowest(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from lingotune.plugins import metric\n\n"
        "@metric(greater_is_better=False)\ndef cost(rows):\n    return 1.0\n"
    )
    typed = [f"code.file={own}", "code.metrics=[cost]", "code.select=cost"]
    for name, cost in (("cheap", 0.1), ("dear", 0.9)):
        folder = make_run(tmp_path / "runs" / name, *typed, f"lr={cost}e-3", validation=1 - cost)
        path = folder / "metrics.json"
        values = json.loads(path.read_text())
        values["validation"]["overall"]["own"] = {"cost": cost}
        path.write_text(json.dumps(values))
    board = leaderboard([str(tmp_path / "runs")])
    assert board.metric == Metric("cost", greater_is_better=False)
    assert board.best is not None and board.best.best_entry.name == "cheap"
    own.unlink()
    for path in (tmp_path / "runs").glob("*/metrics.json"):
        values = json.loads(path.read_text())
        values["training"]["selected_by_cost"] = True
        path.write_text(json.dumps(values))
    assert leaderboard([str(tmp_path / "runs")]) == board


def test_runs_whose_checkpoints_were_chosen_differently_are_told(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "evaluation.select=loss", validation=0.5)
    make_run(tmp_path / "two", "evaluation.select=accuracy", validation=0.7)
    board = leaderboard([str(tmp_path)])
    assert board.metric == Metric("macro_f1")
    assert board.notes == ("checkpoints were chosen by accuracy, loss; runs by macro_f1",)


# --- from folders of runs -------------------------------------------------------------------------


def test_what_differs_between_runs_varies(tmp_path: Path) -> None:
    for n, typed in enumerate(
        [("lr=1e-3",), ("lr=3e-5", "data.max_length=32"), ("lr=3e-5", "seed=2")]
    ):
        make_run(tmp_path / f"run-{n}", *typed, validation=0.5 + n / 10)
    (tmp_path / "throughput.jsonl").touch()
    board = leaderboard([str(tmp_path)])
    assert board.keys == ("seed", "lr", "data.max_length")
    assert board.best is not None
    assert board.best.varies == {"lr": "3e-05", "data.max_length": "64"}


def test_a_group_stands_for_what_it_decides() -> None:
    tiny = {"lr": "1", "model.name": "tiny", "model.scratch.dim": "64", "name": "tiny-sample"}
    small = {"lr": "1", "model.name": "small", "model.scratch.dim": "128", "name": "small-sample"}
    assert varying([tiny, small]) == {"model.name": "model"}
    wide = {**small, "model.scratch.dim": "512"}
    assert varying([tiny, small, wide]) == {
        "model.name": "model", "model.scratch.dim": "model.scratch.dim",
    }  # fmt: skip
    assert varying([tiny, {**tiny, "name": "mine"}]) == {"name": "name"}
    assert varying([tiny, tiny]) == {} == varying([])


def test_runs_that_have_not_ended_or_are_damaged_are_told(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "lr=1e-3", validation=0.5)
    make_run(tmp_path / "b", "lr=1e-4", validation=0.9, finished=False)
    damaged = make_run(tmp_path / "c", "lr=1e-5", validation=0.8)
    (damaged / "metrics.json").write_text('{"seconds": 1}')
    other = make_run(tmp_path / "d", "lr=1e-6", validation=0.8)
    metrics = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps({**metrics, "job_sha256": "0" * 64}))
    board = leaderboard([str(tmp_path)])
    assert [of.best_entry.name for of in board.ranked] == ["a"]
    reasons = {e.name: e.reason for e in board.entries}
    assert reasons["b"] == "has not come to its end" and not reasons["a"]
    assert reasons["c"].startswith("metrics.json cannot be read: job_sha256 is missing")
    assert "written by another job" in reasons["d"]
    assert replace(board.entries[1], number=0).value(board.metric) == 0.9, "so far"


def test_of_runs_of_the_same_job_the_last_counts(tmp_path: Path) -> None:
    for name in ("mine-20260101-000000-abc", "mine-20260202-000000-abc"):
        make_run(tmp_path / name, "lr=1e-3", validation=0.5)
    make_run(tmp_path / "mine-20260303-000000-abc", "lr=1e-3", finished=False)
    make_run(tmp_path / "other", "lr=1e-4", validation=0.4)
    board = leaderboard([str(tmp_path)])
    assert [e.name for e in board.entries] == ["mine-20260202-000000-abc", "other"]
    assert board.notes == ("runs that repeat another's job: 2; the last one counts",)


def test_run_folders_are_taken_one_by_one(tmp_path: Path) -> None:
    for n in range(3):
        make_run(tmp_path / f"run-{n}", f"lr={n + 1}e-3", validation=0.5)
    board = leaderboard([str(tmp_path / "run-0"), str(tmp_path / "run-2")])
    assert [e.name for e in board.entries] == ["run-0", "run-2"] and board.name == "2 runs"


def test_what_is_no_run_and_no_sweep_is_told_at_once(tmp_path: Path) -> None:
    make_sweep(tmp_path / "tickets", [({"lr": "1"}, DONE, 0.5)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        leaderboard(["tikets", str(tmp_path / "empty"), "tickets"], str(tmp_path))
    first, second, third = caught.value.problems
    assert first.what == f"is no sweep in {tmp_path}, no run folder and no folder of runs"
    assert first.fix.endswith(" results tickets") and second.where == str(tmp_path / "empty")
    assert third.what == "is a sweep, which is shown alone"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "job.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"job\.yaml cannot be read"):
        leaderboard([str(tmp_path / "bad")])


def test_a_folder_without_runs_tells_of_its_sweeps(tmp_path: Path) -> None:
    def told() -> Problem:
        with pytest.raises(ConfigError) as caught:
            leaderboard([str(tmp_path)], str(tmp_path))
        return caught.value.problems[0]

    assert told().what == "holds no runs yet" and "train" in told().fix
    make_sweep(tmp_path / "tickets", [({"lr": "1"}, DONE, 0.5)])
    assert told().what.startswith("holds sweeps alone") and told().fix.endswith(" results tickets")


def test_what_a_job_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    make_run(tmp_path / "part", "data.max_rows=20", "baseline=none", validation=0.6)
    make_run(tmp_path / "all", validation=0.5)
    first, second = leaderboard([str(tmp_path)]).ranked
    assert first.varies == {"data.max_rows": "20", "baseline": "none"}
    assert second.varies == {"data.max_rows": "null", "baseline": "auto"}
