"""The live view of a sweep."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lingotune.contract.log_lines import Logged
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Attempt, TrialRecord
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial, Unsure, ranges
from lingotune.launch.sweeps.view import MOST_LINES, View, spent, summary

NOW = 10_000.0


def record(
    number: int, state: State | None = None, seconds: float = 3600.0, **known: float
) -> TrialRecord:
    trial = Trial(number, {"lr": f"{number}e-05"}, (), f"{number:064}", f"job-{number}")
    if state is None:
        return TrialRecord(trial)
    job = JobState(trial.name, state, "Training", started=NOW - seconds, **known)
    scores = (Evaluation(5, 10, {"loss": 1.0, "macro_f1": 0.8123}),)
    return TrialRecord(trial, (Attempt(number, 1, job, 0.0, evaluations=scores),))


@pytest.mark.parametrize(
    ("given", "text"), [([], ""), ([3], "3"), ([3, 4, 5, 9], "3-5, 9"), ([2, 1], "1-2")]
)
def test_numbers_are_written_with_their_ranges(given: list[int], text: str) -> None:
    assert ranges(given) == text


def test_the_money_is_that_of_billed_seconds_or_of_the_time_so_far() -> None:
    records = [record(1, State.running), record(2, State.completed, billable_seconds=1800)]
    assert spent(records, {1: 10.0, 2: 20.0}, NOW) == pytest.approx(20.0)
    assert spent(records, {1: 10.0, 2: None}, NOW) is None, "no figure is made up"
    told = summary([*records, record(3)], {1: 10.0, 2: 20.0}, NOW)
    assert told == "1 waiting | 1 running | 1 completed | 20.00 USD so far"


def view(said: list[str], **options: object) -> View:
    return View(said.append, {1: 10.0}, clock=lambda: NOW, **options)  # type: ignore[arg-type]


def test_a_line_has_step_loss_score_time_and_money() -> None:
    shown = view([], progress=lambda name: Logged("train", 5, 10, {"loss": 1.25}))
    line, waiting, _ = shown.lines([record(1, State.running), record(2)])
    for part in ("lr=1e-05", "Training", "step 5/10", "loss 1.25", "macro_f1 0.8123",
                 "60 min", "10.00 USD"):  # fmt: skip
        assert part in line.replace("1 h 00 min", "60 min"), part
    assert waiting.split() == ["2", "lr=2e-05", "waiting"]


def test_a_log_that_does_not_answer_hides_nothing_else() -> None:
    def silent(name: str) -> Logged | None:
        raise Unsure("no answer")

    assert "Training" in view([], progress=silent).lines([record(1, State.running)])[0]


def test_many_jobs_are_counted_and_those_with_a_machine_shown() -> None:
    many = [record(n, State.running if n in (3, 90) else None) for n in range(1, 101)]
    lines = view([]).lines(many)
    assert len(lines) == 3 and [line.split()[0] for line in lines[:2]] == ["3", "90"]
    assert lines[-1].startswith("98 waiting | 2 running")
    assert len(view([]).lines([record(n) for n in range(MOST_LINES)])) == MOST_LINES + 1


def test_a_pipe_gets_a_line_where_something_has_changed() -> None:
    said: list[str] = []
    with view(said) as shown:
        for _ in range(3):
            shown.show([record(1, State.running), record(2)])
        shown.show([record(1, State.completed), record(2)])
    assert len(said) == 2 and "1 running" in said[0] and "1 completed" in said[1]


def test_a_terminal_is_drawn_on_and_told_above() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with view([], live=console) as shown:
        shown.show([record(1, State.running)])
        shown.tell("started [1]  job-1")
    assert "lr=1e-05" in output.getvalue() and "started [1]  job-1" in output.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("count", [3, 60])
def test_the_view_keeps_to_the_terminal(width: int, count: int) -> None:
    """60 jobs, of which 30 run, on 24 lines: each line is whole, and so is the summary."""
    told = Logged("train", 5800, 14064, {"loss": 0.52341})
    file = io.StringIO()
    console = Console(file=file, width=width, height=24, force_terminal=True)
    shown = View([].append, dict.fromkeys(range(1, 61), 28.152), clock=lambda: NOW, live=console,
                 progress=lambda name: told)  # fmt: skip
    records = [record(n, State.running if n % 2 else None) for n in range(1, count + 1)]
    long = {"per_device_bs": "16", "training.label_smoothing": "0.05", "lr": "3e-05"}
    records = [replace(r, trial=replace(r.trial, varies=long)) for r in records]
    lines = shown.lines(records)
    assert max(map(len, lines)) <= width and len(lines) < 24
    assert ("loss 0.5234" in lines[0]) == ("step 5800/14064" in lines[0]) == (width == 120)
    assert "41 %" in lines[0] or width == 120
    assert "macro_f1 0.8123" in lines[0] and "28.15 USD" in lines[0] and "Training" in lines[0]
    assert lines[0].find("Training") == lines[-2].find("Training"), "columns are aligned"
    assert lines[-1].startswith(f"{count // 2} waiting | {(count + 1) // 2} running")


def test_what_a_search_will_still_draw_waits_and_its_own_score_is_shown() -> None:
    class Six(Grid):
        planned, metric = 6, "worst_language_macro_f1"

    values = {"macro_f1": 0.8, "worst_language_macro_f1": 0.7}
    running = record(1, State.running)
    (attempt,) = running.attempts
    running = replace(
        running, attempts=(replace(attempt, evaluations=(Evaluation(5, 10, values),)),)
    )
    first, *_, told = view([], source=Six()).lines([running, record(2)])
    assert "worst_language_macro_f1 0.7000" in first
    assert told.startswith("5 waiting | 1 running")


def test_where_nothing_is_billed_nothing_is_said_of_money() -> None:
    said: list[str] = []
    shown = View(said.append, {}, clock=lambda: NOW)
    shown.show([record(1, State.running), record(2)])
    shown.show([record(1, State.running), record(2, State.running)])
    assert [line.partition("  ")[2] for line in said] == ["1 waiting | 1 running", "2 running"]
