"""Learning curves of a sweep over `data.max_rows`: a power law, and what twice the rows would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lingotune.config.problems import printable
from lingotune.launch.results.entries import Leaderboard
from lingotune.launch.results.table import value_text
from lingotune.launch.sweeps.metric import LOSS, Metric
from lingotune.launch.sweeps.trial import REPEATED
from lingotune.runs.results import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

KEY = "data.max_rows"
"""Setting whose values make the points of a learning curve."""
FEWEST_SIZES = 4
"""Minimum of different numbers of rows for a power law, which has three parameters."""
FEWEST_RUNS = 6
"""Minimum of runs for it: the uncertainty comes from what they leave over."""
_RESAMPLES = 1000
_EXPONENTS = (0.05, 2.0, 60)
_POINTS = 40
_LITTLE = 0.005
"""Gain in a score that is next to nothing."""


@dataclass(frozen=True)
class PowerLaw:
    """Error = floor + scale * rows ** -exponent, fitted by least squares.

    rows: where the curve is drawn, up to twice the most. middle, low, high: the score there, with its 95 %
    interval. gain: improvement of the score by twice the most rows, with its interval.
    """

    exponent: float
    rows: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    gain: float
    gain_interval: Interval


@dataclass(frozen=True)
class Curve:
    """Training rows and scores of runs that differ in them and the seed alone.

    name: what else varies, as overrides. fit: None for too few runs. told: what twice the rows would
    bring, or why that is not said.
    """

    name: str
    rows: tuple[int, ...]
    scores: tuple[float, ...]
    fit: PowerLaw | None
    told: str


def with_told(board: Leaderboard) -> Leaderboard:
    """Add to the notes what more rows would bring, if that is what varies."""
    return replace(board, notes=(*board.notes, *(of.told for of in curves_of(board))))


def curves_of(board: Leaderboard) -> list[Curve]:
    """Fit a curve to the runs of each configuration apart from the rows; none if the rows do not vary."""
    if KEY not in board.keys:
        return []
    groups: dict[tuple[tuple[str, str], ...], dict[tuple[int, str], float]] = {}
    for entry in board.entries:
        value = entry.value(board.metric)
        if entry.completed and value is not None and entry.train_rows:
            rest = tuple((key, text) for key, text in entry.configuration if key != KEY)
            # A limit above what there is trains the same model again.
            groups.setdefault(rest, {})[entry.train_rows, entry.varies.get(REPEATED, "")] = value
    return [_curve(rest, known, board.metric) for rest, known in groups.items()]


def _curve(
    rest: Sequence[tuple[str, str]], known: Mapping[tuple[int, str], float], metric: Metric
) -> Curve:
    rows, scores = tuple(size for size, _ in known), tuple(known.values())
    name = " ".join(f"{printable(key)}={value_text(text)}" for key, text in rest)
    sizes, runs = len(set(rows)), len(rows)
    start = f"{name}: " if name else ""
    if sizes < FEWEST_SIZES or runs < FEWEST_RUNS:
        told = (
            f"{start}what more rows would bring is not said: that takes {FEWEST_SIZES} numbers of training"
            f" rows and {FEWEST_RUNS} runs, and there are {sizes} and {runs}"
        )
        return Curve(name, rows, scores, None, told)
    fit = fit_power_law(rows, scores, metric)
    return Curve(name, rows, scores, fit, start + _told(max(rows), fit, metric))


def _told(most: int, fit: PowerLaw, metric: Metric) -> str:
    sign = 1 if metric.greater_is_better else -1
    change = sign * fit.gain
    low, high = sorted(sign * end for end in fit.gain_interval)
    return (
        f"twice the training rows, {2 * most:,} for {most:,}, would change {metric.name} by {change:+.3f}"
        f" (95% interval {low:+.3f} to {high:+.3f}): {_meaning(fit.gain_interval)}"
    )


def _meaning(gain: Interval) -> str:
    low, high = gain
    if low > _LITTLE:
        return "more rows help"
    if high < _LITTLE:
        return "more rows would hardly help"
    return "whether more rows would help cannot be told from these runs"


# --- the fit --------------------------------------------------------------------------------------


def fit_power_law(
    rows: Sequence[int], scores: Sequence[float], metric: Metric, seed: int = 0
) -> PowerLaw:
    """Fit error = floor + scale * rows ** -exponent to runs, of which rows and scores are given.

    The error is 1 - score, or the loss; of those the floor is not below 0. The intervals are percentiles of
    a wild bootstrap (Wu 1986): the residuals of the runs, which may differ in spread, times numbers drawn
    from Student's t, as they are few. They cover the seeds and the fit, not other validation rows.
    """
    import numpy as np

    sizes, known = np.array(rows, np.float64), np.array(scores, np.float64)
    known = 1 - known if metric.greater_is_better else known
    lowest = 0.0 if _has_floor(metric, known) else -np.inf
    drawn_at = np.geomspace(sizes.min(), 2 * sizes.max(), _POINTS)
    at = np.concatenate([sizes, drawn_at, [sizes.max(), 2 * sizes.max()]]) / sizes.max()
    exponents, fitted = _least_squares(at, known[None], lowest)
    left = (known - fitted[0, : len(sizes)]) * np.sqrt(len(sizes) / (len(sizes) - 3))
    signs = np.random.default_rng(seed).standard_t(len(sizes) - 3, (_RESAMPLES, len(sizes)))
    _, again = _least_squares(at, fitted[0, : len(sizes)] + left * signs, lowest)
    low, high = np.quantile(again[:, len(sizes) : -2], [0.025, 0.975], axis=0)
    gains = again[:, -2] - again[:, -1]
    ends = np.quantile(gains, [0.025, 0.975]).tolist()
    middle = fitted[0, len(sizes) : -2]
    if metric.greater_is_better:
        middle, low, high = 1 - middle, 1 - high, 1 - low
    return PowerLaw(
        exponent=float(exponents[0]),
        rows=tuple(drawn_at.tolist()),
        middle=tuple(middle.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        gain=float(fitted[0, -2] - fitted[0, -1]),
        gain_interval=(ends[0], ends[1]),
    )


def _has_floor(metric: Metric, errors: FloatArray) -> bool:
    """Tell whether the error cannot be below 0; of a metric of the user's own that is not known."""
    known = metric.name in ("accuracy", LOSS) or metric.name.endswith("macro_f1")
    return known and bool((errors >= 0).all())


def _least_squares(
    at: FloatArray, errors: FloatArray, lowest: float
) -> tuple[FloatArray, FloatArray]:
    """Fit each row of errors (fits, runs), of runs at the first places of `at`; returns the exponents, and
    the fitted errors at all places.

    For a given exponent floor and scale follow in closed form; the best of many exponents is taken.
    """
    import numpy as np

    count = errors.shape[1]
    best = np.full(len(errors), np.inf)
    exponents, fitted = np.zeros(len(errors)), np.zeros((len(errors), len(at)))
    for exponent in np.geomspace(*_EXPONENTS):
        shape = at**-exponent
        x = shape[:count]
        off = x - x.mean()
        scale = errors @ off / (off @ off)
        floor = errors.mean(axis=1) - scale * x.mean()
        below = floor < lowest
        floor[below], scale[below] = lowest, (errors[below] - lowest) @ x / (x @ x)
        found = floor[:, None] + scale[:, None] * shape
        squares = ((errors - found[:, :count]) ** 2).sum(axis=1)
        better = squares < best
        best[better], exponents[better], fitted[better] = squares[better], exponent, found[better]
    return exponents, fitted
