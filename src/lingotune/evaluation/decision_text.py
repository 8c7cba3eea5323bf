"""What a decision changes, as text: for the terminal, the report page and the model card."""

from __future__ import annotations

import math

from lingotune.config.problems import printable
from lingotune.config.schema import Decide
from lingotune.runs.decision import Decision
from lingotune.runs.results import LanguageScores, Scores

_BY = {
    Decide.macro_f1.value: "for macro-F1",
    Decide.prior.value: "by the class shares",
    Decide.expected.value: "as those nearest to the expected value",
    Decide.median.value: "as the medians",
}
_MOST_LISTED = 15
_NAMES = ("", "accuracy", "macro-F1", "lowest recall", "calibration")
_ON_SCALE = ("MAE", "kappa")


def decision_line(decision: Decision) -> str:
    """Describe a decision in one line without a full stop."""
    parts = []
    if decision.scale is not None:
        parts.append(f"classes decided {_BY[decision.decide]}")
    elif decision.several and decision.shifts:
        limits = ", ".join(
            f"{printable(n)} {_threshold(v):.2f}" for n, v in decision.offsets.items()
        )
        own = ", ".join(map(printable, decision.languages))
        parts.append(
            f"classes given {_BY[decision.decide]} from a probability of their own ({limits}"
            + (f"; others for {own})" if own else ")")
        )
    elif decision.shifts:
        each = [f"{printable(n)} {v:+.2f}" for n, v in decision.offsets.items()]
        offsets = ", ".join(each) if len(each) <= _MOST_LISTED else f"of {len(each)} classes"
        own = ", ".join(map(printable, decision.languages))
        parts.append(
            f"classes decided {_BY[decision.decide]} by offsets ({offsets}"
            + (f"; others for {own})" if own else ")")
        )
    if decision.temperature != 1:
        parts.append(f"probabilities at temperature {decision.temperature:.2f}")
    fitted = f", fitted on {decision.rows} validation rows" if decision.rows else ""
    return f"{', '.join(parts)}{fitted}"


def _threshold(offset: float) -> float:
    """Return the probability from which on a class is given."""
    return 1 / (1 + math.exp(offset))


def decision_rows(decided: LanguageScores, as_trained: LanguageScores) -> list[list[str]]:
    """Tabulate the scores of all rows as trained and as decided, under a row of names."""
    both = {"as trained": as_trained.overall, "as decided": decided.overall}
    names = [*_NAMES, *(_ON_SCALE if decided.overall.on_scale else ())]
    if decided.overall.several:
        names.insert(2, "micro-F1")
    return [names, *([name, *_figures(of)] for name, of in both.items())]


def lowest_recall(of: Scores) -> str:
    """Name the class that is found least, with its recall; only classes with rows count."""
    known = [(c.recall, name) for name, c in of.classes.items() if c.rows]
    return "-" if not known else "{1} {0:.3f}".format(*min(known))


def _figures(of: Scores) -> list[str]:
    values = (of.accuracy, of.micro_f1, of.macro_f1)
    scores = [f"{value:.3f}" for value in values if value is not None]
    on_scale = (f"{value:.3f}" for value in of.on_scale.values())
    return [*scores, printable(lowest_recall(of)), f"{of.calibration_error:.3f}", *on_scale]
