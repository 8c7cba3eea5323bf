"""Scores of runs on the same rows drawn anew, from counts of the kinds of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lingotune.launch.results.row_predictions import RowPredictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lingotune.evaluation.metrics import FloatArray

    Float32Array = npt.NDArray[np.float32]

_CELLS = 20_000_000
"""Weights of rows that are held at a time."""


@dataclass(frozen=True)
class _Drawn:
    """Rows that were drawn: how often there is a row of each kind, float32, (resamples, kinds).

    whole: the same of all rows, (1, kinds). true, and for each run what it predicted, by kind: as in
    `RowPredictions`. points: of the classes on their scale.
    """

    weights: Float32Array
    whole: Float32Array
    true: npt.NDArray[Any]
    runs: Sequence[npt.NDArray[Any]]
    classes: int
    points: tuple[float, ...] | None


def score_samples(
    score: str, runs: Sequence[RowPredictions], resamples: int, seed: int = 0
) -> FloatArray:
    """Compute a score of runs on all rows, then on resampled rows, the same for every run.

    runs: predictions of the same rows. Returns (runs, 1 + resamples).
    """
    import numpy as np

    first = runs[0]
    table = np.stack([first.true, *(run.predicted for run in runs)])
    # Rows that every run classifies alike are of one kind, and only the counts of kinds matter.
    kinds, counts = np.unique(table, axis=1, return_counts=True)
    true, *predicted = kinds
    whole = counts[None].astype(np.float32)

    def scored(weights: npt.NDArray[Any]) -> FloatArray:
        drawn = weights.astype(np.float32)
        found = _Drawn(drawn, whole, true, predicted, len(first.labels), first.points)
        return np.array([*_SCORES[score](found)], np.float64)

    rows, random = int(counts.sum()), np.random.default_rng(seed)
    parts = [scored(counts[None])]
    step = max(1, _CELLS // len(counts))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        parts.append(scored(random.multinomial(rows, counts / rows, size=size)))
    return np.concatenate(parts, axis=1)


def _macro_f1(of: _Drawn) -> Iterator[FloatArray]:
    from lingotune.evaluation.bootstrap import macro_f1, ratio

    wholes = _counts(replace(of, weights=of.whole))
    for (rows, said, hits), (all_rows, all_said, all_hits) in zip(_counts(of), wholes):
        whole = ratio(2 * all_hits, all_rows + all_said)
        yield macro_f1(ratio(2 * hits, rows + said), rows, whole)


def _micro_f1(of: _Drawn) -> Iterator[FloatArray]:
    from lingotune.evaluation.bootstrap import ratio

    for rows, said, hits in _counts(of):
        yield ratio(2 * hits.sum(axis=1), (rows + said).sum(axis=1))


def _counts(of: _Drawn) -> Iterator[tuple[Float32Array, Float32Array, Float32Array]]:
    """Yield for each run how many rows have a class, are given it, and both: (resamples, classes)."""
    import numpy as np

    identity = np.eye(of.classes, dtype=np.float32)

    def members(ids: npt.NDArray[Any]) -> Float32Array:
        return ids.astype(np.float32) if ids.ndim == 2 else identity[ids]

    true = members(of.true)
    support = of.weights @ true
    for predicted in map(members, of.runs):
        yield support, of.weights @ predicted, of.weights @ (predicted * true)


def _accuracy(of: _Drawn) -> Iterator[FloatArray]:
    """Compute the accuracy, where rows may have several classes that of whole rows."""
    for predicted in of.runs:
        right = predicted == of.true
        yield _mean(of, right.all(axis=1) if right.ndim == 2 else right)


def _mean_absolute_error(of: _Drawn) -> Iterator[FloatArray]:
    import numpy as np

    points = np.array(of.points)
    for predicted in of.runs:
        yield _mean(of, np.abs(points[predicted] - points[of.true]))


def _quadratic_kappa(of: _Drawn) -> Iterator[FloatArray]:
    """Compute Cohen's kappa with quadratic weights: the weighted sums over a confusion matrix are those of
    squares of places, which need no matrix."""
    import numpy as np

    from lingotune.evaluation.bootstrap import ratio

    for predicted in of.runs:
        observed, one, other, first, second = (
            _mean(of, values)
            for values in (
                np.square(predicted - of.true), np.square(of.true), np.square(predicted), of.true,
                predicted,
            )
        )  # fmt: skip
        expected = one + other - 2 * first * second
        # Differences of sums are 0 up to rounding, where all rows are of one class and named so.
        yield np.where(expected > 1e-9, 1 - ratio(observed, expected), 0.0)


def _mean(of: _Drawn, values: npt.NDArray[Any]) -> FloatArray:
    """Average values of the kinds over the rows that were drawn: (kinds) -> (resamples)."""
    import numpy as np

    weights = of.weights.astype(np.float64)
    mean: FloatArray = weights @ values.astype(np.float64) / weights.sum(axis=1)
    return mean


_SCORES: Mapping[str, Callable[[_Drawn], Iterator[FloatArray]]] = {
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "accuracy": _accuracy,
    "mean_absolute_error": _mean_absolute_error,
    "quadratic_kappa": _quadratic_kappa,
}
"""Score by name, for each run (resamples)."""
