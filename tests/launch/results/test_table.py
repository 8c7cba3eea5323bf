"""The leaderboard as text."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import compose
from sweep_folders import make_run, make_sweep

from lingotune.config.problems import ConfigError
from lingotune.config.quoting import override_text
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.compare import compare
from lingotune.launch.results.entries import Leaderboard
from lingotune.launch.results.table import (
    FORMATS,
    as_csv,
    as_markdown,
    best_overrides,
    cells_of,
    for_terminal,
    write_csv,
)
from lingotune.launch.sweeps.trial import State, ranges

TRIALS = [
    *(({"lr": "1e-05", "seed": str(n)}, State.completed, 0.7 + n / 100) for n in (1, 2)),
    *(({"lr": "3e-05", "seed": str(n)}, State.completed, 0.9 + n / 100) for n in (1, 2)),
    ({"lr": "5e-05", "seed": "1"}, State.failed, None),
    ({"lr": "5e-05", "seed": "2"}, State.pruned, 0.3),
    *(({"lr": "1e-04", "seed": str(n)}, State.waiting, None) for n in (1, 2, 3)),
]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    runs = tmp_path_factory.mktemp("home") / "runs"
    make_sweep(runs / "lrs", TRIALS)
    for number, (varies, state, score) in enumerate(TRIALS, 1):
        if state is State.completed and score is not None:
            typed = [f"{key}={value}" for key, value in varies.items()]
            make_run(runs / f"job-{number}", *typed, validation=score, luck=number)
    return leaderboard([str(runs / "lrs")])


def test_a_line_for_each_configuration_the_best_first(board: Leaderboard) -> None:
    head, first, second = cells_of(board, compare(board.ranked))
    assert head[:4] == ["", "lr", "seeds", "validation macro_f1"]
    assert first[:4] == ["*", "3e-05", "2", "0.915 ± 0.0071"]
    assert second[:4] == [" ", "1e-05", "2", "0.715 ± 0.0071"]
    row = dict(zip(head, second))
    assert row["to the best"].startswith("-0.") and " to -0." in row["to the best"]
    assert row["time"] == "1 h 00 min" and float(row["USD"]) > 0
    assert row["run"].endswith("job-2"), "the best of its seeds"
    assert row["lowest language"][:2] in ("de", "en", "ja")


def test_the_score_on_test_is_shown_for_what_was_chosen_alone(board: Leaderboard) -> None:
    comparison = compare(board.ranked)
    head, first, second = cells_of(board, comparison)
    place = head.index("test macro_f1")
    assert first[place].startswith("0.") and second[place] == "-"
    chosen = {str(entry.number) for entry in board.ranked[0].entries}
    for row in csv.DictReader(io.StringIO(as_csv(board, comparison))):
        assert bool(row["test_macro_f1"]) == (row["number"] in chosen)
        assert bool(row["configuration_test_macro_f1"]) == (row["number"] in chosen)


@pytest.mark.parametrize("width", [70, 80, 100, 200, None])
def test_the_table_fits_a_terminal(board: Leaderboard, width: int | None) -> None:
    text = for_terminal(board, compare(board.ranked), width)
    table, *_ = text.split("\n\n")
    columns = "lr seeds validation macro_f1 test macro_f1 lowest language to the best time USD run"
    shown = table.splitlines()[0].split()
    assert max(map(len, table.splitlines())) <= (width or 200)
    if width in (None, 200):
        assert shown == columns.split() and "too wide" not in text
    else:
        told = text.split("too wide for this terminal: ")[1].split(" (in results.csv)")[0]
        assert set(columns.split()) - set(" ".join(told.split(", ")).split()) <= set(shown)
        assert told.startswith("run")


def test_what_is_not_compared_is_told(board: Leaderboard) -> None:
    text = for_terminal(board, compare(board.ranked))
    assert "\nnot compared:\n" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "5 lr=5e-05 seed=1 failed AlgorithmError: loss is nan at step 212" in lines
    assert "6 lr=5e-05 seed=2 pruned macro_f1 0.3 by step 10 of 30" in lines
    assert "7-9 waiting" in lines
    assert "best: lr=3e-05, by the highest mean macro_f1 on validation" in lines
    (told,) = [line for line in lines if line.startswith("its lead over the second")]
    assert told.startswith("its lead over the second, lr=1e-05, is clear: +0.")


def test_columns_without_a_value_are_left_out(tmp_path: Path) -> None:
    for n in (1, 2):
        make_run(tmp_path / f"run-{n}", f"lr={n}e-3", validation=0.5 + n / 10)
    board = leaderboard([str(tmp_path)])
    head, *_ = cells_of(board, compare(board.ranked))
    assert "USD" not in head and "seeds" not in head


def test_runs_without_a_test_split_are_compared_on_validation(tmp_path: Path) -> None:
    for n in (1, 2):
        folder = make_run(tmp_path / f"run-{n}", f"lr={n}e-3", validation=0.5 + n / 10)
        metrics = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps({**metrics, "test": None}))
        (folder / "predictions.parquet").unlink()
        (folder / "validation_predictions.parquet").unlink()
    board = leaderboard([str(tmp_path)])
    head, first, _ = cells_of(board, compare(board.ranked))
    assert first[:3] == [" ", "0.002", "0.7"], "the best, though nothing is marked"
    assert "lowest language" in head and "test macro_f1" not in head
    assert "not compared with the second row by row" in for_terminal(board, compare(board.ranked))


def test_nothing_to_compare_yet(tmp_path: Path) -> None:
    make_sweep(tmp_path / "none", [({"lr": "1"}, State.waiting, None)])
    board = leaderboard([str(tmp_path / "none")])
    text = for_terminal(board, compare(board.ranked))
    assert text.splitlines() == ["1    waiting", "", "nothing has a score yet"]
    with pytest.raises(ConfigError, match="nothing has a score yet: 1 waiting"):
        best_overrides(board)
    make_sweep(tmp_path / "empty", [])
    empty = leaderboard([str(tmp_path / "empty")])
    for form in FORMATS.values():
        form(empty, compare(empty.ranked))


def test_csv_has_a_line_for_each_trial(board: Leaderboard) -> None:
    path = write_csv(board, compare(board.ranked))
    assert path is not None and path.name == "results.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["number"] for row in rows] == [str(n) for n in range(1, 10)]
    assert [row["state"] for row in rows[3:7]] == ["completed", "failed", "pruned", "waiting"]
    assert rows[2]["validation_macro_f1"] == "0.91" and rows[2]["configuration_rank"] == "1"
    assert rows[4]["reason"].startswith("AlgorithmError") and rows[4]["test_macro_f1"] == ""


def test_json_has_configurations_and_their_trials(board: Leaderboard) -> None:
    values = json.loads(FORMATS["json"](board, compare(board.ranked)))
    assert values["metric"] == "macro_f1" and values["clear"] is True
    assert values["best"] == ["lr=3e-05", "seed=2"]
    first, *_ = values["configurations"]
    assert first["rank"] == 1 and [t["number"] for t in first["trials"]] == [3, 4]
    assert set(first["trials"][0]["languages"]) == {"de", "en", "ja"}


def test_markdown_escapes_what_is_typed(tmp_path: Path) -> None:
    make_sweep(tmp_path / "x", [({"data.path": "a|b_c*.csv"}, State.completed, 0.5)])
    board = leaderboard([str(tmp_path / "x")])
    text = as_markdown(board, compare(board.ranked))
    assert "| a\\|b\\_c\\*.csv |" in text
    assert text.splitlines()[1].startswith("| --- |")


def test_the_overrides_of_the_best_work_when_pasted(tmp_path: Path) -> None:
    typed = {"data.path": "my reviews/*.csv", "lr": "3e-05"}
    launch = {"sweep": "x", "action": "submit", "budget.max_usd": "9", "code": "new"}
    make_sweep(tmp_path / "x", [({**launch, **typed}, State.completed, 0.5)])
    words = shlex.split(best_overrides(leaderboard([str(tmp_path / "x")])))
    assert words == [f"{key}={value}" for key, value in typed.items()]
    make_run(tmp_path / "runs" / "a run", "lr=3e-5", validation=0.5)
    line = best_overrides(leaderboard([str(tmp_path / "runs")]))
    option, path = shlex.split(line)
    assert option == "--job" and Path(path).is_file()
    assert override_text("lr", compose("lr=3e-5").lr) == "lr=3e-05"


def test_a_full_disk_is_told(board: Leaderboard, tmp_path: Path) -> None:
    folder = tmp_path / "lrs"
    assert board.folder is not None
    shutil.copytree(board.folder, folder)
    there = leaderboard([str(folder)])
    (folder / "results.csv.tmp").mkdir()
    with pytest.raises(ConfigError, match=r"results\.csv: cannot be written: Is a directory"):
        write_csv(there, compare(there.ranked))


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([1], "1"), ([1, 2, 3], "1-3"), ([1, 3, 4, 9], "1, 3-4, 9")],
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_csv_of_runs_that_vary_in_other_keys_has_all_columns(tmp_path: Path) -> None:
    trials = [({"lr": "1"}, State.completed, 0.5), ({"epochs": "2"}, State.waiting, None)]
    make_sweep(tmp_path / "x", trials)
    board = leaderboard([str(tmp_path / "x")])
    assert as_csv(board, compare(board.ranked)).startswith("number,lr,epochs,state,")
