"""A distilled model beside its teacher, and beside itself without one, as rows of text."""

from __future__ import annotations

from lingotune.config.problems import printable
from lingotune.evaluation.score_rows import NONE, score_rows
from lingotune.runs.results import LanguageScores, RunResults

HEADER = ("", "parameters", "accuracy", "macro-F1")


def teacher_line(results: RunResults) -> str:
    """Say what a model was distilled from; '' for one that was not."""
    teacher = results.teacher
    if teacher is None:
        return ""
    more = f", also from {teacher.unlabelled:,} texts without labels" if teacher.unlabelled else ""
    return f"distilled from {printable(teacher.name)} (sha256 {teacher.sha256[:12]}){more}"


def teacher_rows(results: RunResults) -> list[list[str]]:
    """Return a header, then the scores of the teacher, the student and, if it was trained, the student
    alone; empty for a model without a teacher."""
    teacher = results.teacher
    if teacher is None:
        return []
    own = results.measured.parameters
    rows = [
        _row("teacher", teacher.parameters, teacher.scores),
        _row("student", own, results.scored[1]),
    ]
    if teacher.alone:
        rows.append(_row("student alone", own, teacher.alone))
    return [[*HEADER], *rows]


def _row(name: str, parameters: int | None, scores: LanguageScores) -> list[str]:
    overall = score_rows(scores)[0]
    count = NONE if parameters is None else f"{parameters:,}"
    return [name, count, overall.accuracy, overall.macro_f1]
