"""What a run prints once it is scored: scores, what the decision changed, and what helps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from lingotune.config.console import terminal_width
from lingotune.contract.log_lines import UNTESTED, format_test_line
from lingotune.evaluation.advice import advice_of
from lingotune.evaluation.decision_text import decision_line, decision_rows
from lingotune.evaluation.teacher_table import teacher_line, teacher_rows
from lingotune.report.tables import aligned, score_table
from lingotune.runs.folder import Folders, train_again_command
from lingotune.runs.results import Advice, RunResults

_USUAL = ("macro_f1", "accuracy", "worst_language_macro_f1")
"""Scores that every line of scores has a place for."""


def print_scores(results: RunResults, folders: Folders) -> None:
    """Print the scores on test, or those on validation of a run without one, and what to know of them."""
    _print_table(results)
    if results.decision:
        print(f"{decision_line(results.decision)}:\n{aligned(_decided(results))}\n")
    if results.teacher:
        print(f"{teacher_line(results)}:\n{aligned(teacher_rows(results))}\n")
    advice = advice_of(results)
    again = train_again_command(folders) if advice else ""
    for _, alike in groupby(advice, lambda advice: advice.helps):
        print(*_lines([*alike], again), sep="\n")


def _print_table(results: RunResults) -> None:
    test, speed, baseline = results.test, results.training.samples_per_second, results.baseline
    if test is None:
        scored = score_table(results.validation, terminal_width(), baseline)
        print(UNTESTED, flush=True)
        print(f"\nvalidation split, by which the checkpoint was chosen:\n{scored}\n")
        return
    values = {"loss": test.loss, **test.headline(), **test.macro_f1_by_language()}
    values |= {} if speed is None else {"samples_per_second": speed}
    further = [name for name in test.headline() if name not in _USUAL]
    print(format_test_line(values, further), flush=True)
    scored = score_table(test, terminal_width(), baseline)
    print(f"\ntest split, best checkpoint by validation:\n{scored}\n")


def _decided(results: RunResults) -> list[list[str]]:
    name, scores = results.scored
    assert results.as_trained is not None, "scores as trained come with a decision"
    return decision_rows(scores, results.as_trained[name])


def _lines(alike: Sequence[Advice], again: str) -> Iterator[str]:
    """Wrap warnings to the terminal; the command that helps against all of them has a line of its own."""
    for advice in alike:
        yield from textwrap.wrap(f"warning: {advice.what}", terminal_width() or 999)
    if command := alike[0].command(again):
        yield f"  what helps: {command}"
