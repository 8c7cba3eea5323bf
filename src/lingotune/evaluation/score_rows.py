"""Scores as rows of text: the one table behind the terminal, the report page and the model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lingotune.config.problems import printable
from lingotune.evaluation.bootstrap import FEWEST
from lingotune.runs.results import BaselineScores, Interval, LanguageScores, Scores

_HARDLY = 0.25
"""A class that is named for a smaller part of its number of rows is hardly ever named."""
_FEWEST_OF_CLASS = 10
_MOST_LISTED = 5
"""Classes that are listed by name."""
INTERVALS_NOTE = (
    f"in brackets: 95% bootstrap intervals over rows, given at least {FEWEST}; another seed of the training"
    " may lie outside"
)
BASELINE_NOTE = "TF-IDF of character n-grams with logistic regression, trained on the same rows"
ON_SCALE_NOTE = (
    "MAE: mean distance between the predicted and the true class on their scale; kappa: Cohen's kappa with"
    " quadratic weights"
)
ZERO_SHOT_NOTE = (
    "seen, unseen: the rows in languages that were trained on, and those in the others, on which neither"
    " decision nor temperature was fitted"
)
SETS_NOTE = (
    "accuracy: share of the rows whose classes are all right, and none besides; majority: that of"
    " always giving the most frequent set of classes"
)
NONE = "-"
"""Text for a score that does not exist."""


@dataclass(frozen=True)
class ScoreRow:
    """Scores of all rows or of one language, as texts.

    stars_off: also the error of ordered classes, which alone have a kappa. remark: names the lowest
    language, those that were not trained on, classes without rows, and what is a baseline. micro_f1: where
    a row may have several classes.
    """

    name: str
    rows: int
    accuracy: str
    macro_f1: str
    majority: str
    calibration_error: str
    stars_off: str
    remark: str
    micro_f1: str = NONE
    kappa: str = NONE


def score_rows(scores: LanguageScores, baseline: BaselineScores | None = None) -> list[ScoreRow]:
    """Return a row named `all`, where languages were not trained on one of them and one of the others, one
    per language by code, and those of a baseline on all rows."""
    lowest = scores.lowest.code if scores.lowest else None
    (_, overall), *languages = scores.sections()
    unseen = scores.zero_shot.languages if scores.zero_shot else ()
    return [
        _row("all", overall),
        *(_row(*of) for of in (scores.zero_shot.sections() if scores.zero_shot else ())),
        *(
            _row(code, of, "lowest" if code == lowest else "", "unseen" if code in unseen else "")
            for code, of in languages
        ),
        *(_baseline_row(*of) for of in (baseline.by_name().items() if baseline else ())),
    ]


def _baseline_row(name: str, scores: LanguageScores) -> ScoreRow:
    return replace(_row(name, scores.overall), remark="baseline")


def score_warnings(scores: LanguageScores) -> list[str]:
    """List what a table of scores hides: a model that names one class only, or one hardly ever.

    A language is told by itself only where the model as a whole names several classes.
    """
    if (
        scores.overall.several
    ):  # a class is told by itself, and need not be given to any row of a language
        return [*_hardly_named(scores.overall)]
    if _named_alone(scores.overall):
        return [_one_class("", scores.overall)]
    warnings = [*_hardly_named(scores.overall)]
    return warnings + [
        _one_class(f" in {printable(code)}", of)
        for code, of in sorted(scores.languages.items())
        if of.rows >= _FEWEST_OF_CLASS and _named_alone(of)
    ]


def _hardly_named(of: Scores) -> Iterator[str]:
    """Tell of classes that are never named, and of those that are named for few of so many rows."""
    named = dict(zip(of.classes, _named(of)))
    never = [
        f"{printable(name)} ({one.rows} rows)"
        for name, one in of.classes.items()
        if one.rows and not named[name]
    ]
    hardly = [
        f"{printable(name)} ({named[name]} times, for {one.rows} rows)"
        for name, one in of.classes.items()
        if 0 < named[name] < one.rows * _HARDLY and one.rows >= _FEWEST_OF_CLASS
    ]
    if never:
        yield f"the model never names {_first(never)}"
    if hardly:
        yield f"the model hardly ever names {_first(hardly)}"


def _first(names: Sequence[str]) -> str:
    """List names, of many only some."""
    more = [f"and {len(names) - _MOST_LISTED} more"] if len(names) > _MOST_LISTED else []
    return ", ".join([*names[:_MOST_LISTED], *more])


def _named(of: Scores) -> list[int]:
    """Count how often the model names each class."""
    if of.several:
        return [one.predicted or 0 for one in of.classes.values()]
    return [sum(column) for column in zip(*of.confusion)]


def _named_alone(of: Scores) -> bool:
    """Tell whether the model names one class only, where the rows have several."""
    return sum(map(bool, _named(of))) == 1 and sum(bool(c.rows) for c in of.classes.values()) > 1


def _one_class(where: str, of: Scores) -> str:
    names = [name for name, count in zip(of.classes, _named(of)) if count]
    return f"the model names one class only{where}: {printable(names[0])}, for {of.rows} of {of.rows} rows"


def own_rows(scores: LanguageScores) -> dict[str, dict[str, str]]:
    """Map each of the user's metrics to its values as text: on `all` rows, then of each language."""
    names = dict.fromkeys(name for _, of in scores.sections() for name in of.own or ())
    return {
        name: {
            printable(code): NONE if (value := (of.own or {}).get(name)) is None else f"{value:.4g}"
            for code, of in scores.sections()
        }
        for name in names
    }


def _row(name: str, of: Scores, *remarks: str) -> ScoreRow:
    between = of.intervals
    absent = f"no {_first([*map(printable, of.absent)])}" if of.absent else ""
    return ScoreRow(
        printable(name),
        of.rows,
        _with_interval(of.accuracy, between.accuracy if between else None),
        _with_interval(of.macro_f1, between.macro_f1 if between else None),
        f"{of.majority:.3f}",
        _with_interval(of.calibration_error, between.calibration_error if between else None),
        _with_interval(of.mean_absolute_error, between.mean_absolute_error if between else None),
        ", ".join(filter(None, [*remarks, absent])),
        _with_interval(of.micro_f1, between.micro_f1 if between else None),
        _with_interval(of.quadratic_kappa, between.quadratic_kappa if between else None),
    )


def error_name(scores: LanguageScores) -> str:
    """Name the mean absolute error: it is that of stars, or of ordered classes."""
    return "MAE" if scores.overall.on_scale else "stars off"


def _with_interval(value: float | None, between: Interval | None) -> str:
    """Format a score as `0.713 (0.690-0.735)`."""
    if value is None:
        return NONE
    return f"{value:.3f}" + (f" ({between[0]:.3f}-{between[1]:.3f})" if between else "")
