"""Comparison of configurations: paired, by bootstrap.

The same rows are drawn for every run, so that hard rows are hard for all; where a configuration has several
seeds, its runs are drawn, too. What is chosen among is compared on validation; the test rows are looked at
for what was chosen, and for two configurations that somebody asks about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lingotune.launch.results.entries import Configuration
from lingotune.launch.results.row_predictions import (
    TEST,
    VALIDATION,
    RowPredictions,
    predictions_of,
)
from lingotune.launch.results.samples import score_samples
from lingotune.launch.sweeps.metric import METRIC
from lingotune.launch.sweeps.trial import REPEATED
from lingotune.runs.results import Interval

if TYPE_CHECKING:
    from lingotune.evaluation.metrics import FloatArray

_OfRun = TypeVar("_OfRun")
RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """Difference of two means of a score, with its 95 % interval."""

    value: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """True if 0 lies outside of the interval."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Comparison:
    """Configurations on the validation rows, by their places in the ranking.

    differences: to the best configuration, of `score`. Configurations whose predictions are missing, or of
    other rows than the best's, are left out. test: 95 % interval of the best's mean macro-F1 on test, None
    where its predictions are missing or too few. score: the metric of the ranking where it can be computed
    from what was decided for the rows, else macro-F1. greater_is_better: whether a worse configuration has
    a negative difference. elsewhere: places of those that predict other rows, or other classes, than the
    best, so that their scores do not compare.
    """

    differences: Mapping[int, Difference]
    test: Interval | None = None
    score: str = METRIC
    greater_is_better: bool = True
    elsewhere: tuple[int, ...] = ()

    @property
    def clear(self) -> bool:
        """True if the best configuration is better than the second by more than the interval."""
        second = self.differences.get(1)
        if second is None:
            return False
        low, high = second.interval
        return high < 0 if self.greater_is_better else low > 0


def compare(ranked: Sequence[Configuration], resamples: int = RESAMPLES) -> Comparison:
    """Compare ranked configurations by what their runs predicted for the validation rows."""
    if not ranked:
        return Comparison({})
    metric = ranked[0].metric
    runs, others = _on_same_rows(ranked, VALIDATION)
    drawn, score = _samples(runs, metric.name, resamples)
    compared = {
        place: by_seed(of, drawn)
        for place, of in enumerate(ranked)
        if all(entry.number in drawn for entry in of.scored)
    }
    best = compared.pop(0, None)
    differences = {place: difference(of, best) for place, of in compared.items()} if best else {}
    tests, _ = _samples(_on_same_rows(ranked[:1], TEST)[0], METRIC, resamples)
    whole = len(tests) == len(ranked[0].scored) > 0
    return Comparison(
        differences,
        interval_of(list(tests.values())) if whole else None,
        score,
        metric.greater_is_better or score != metric.name,
        tuple(n for n, of in enumerate(ranked) if any(e.number in others for e in of.scored)),
    )


def _on_same_rows(
    ranked: Sequence[Configuration], split: str
) -> tuple[dict[int, RowPredictions], set[int]]:
    """Find the runs that predicted the same rows as the first configuration's first run.

    Returns their predictions by number, and the numbers of those that predicted other rows.
    """
    entries = [entry for of in ranked for entry in of.scored]
    runs = {entry.number: found for entry in entries if (found := predictions_of(entry, split))}
    reference = runs.get(entries[0].number) if entries else None
    if reference is None:
        return {}, set()
    same = {number: run for number, run in runs.items() if run.same_rows(reference)}
    return same, runs.keys() - same.keys()


def _samples(
    runs: Mapping[int, RowPredictions], wanted: str, resamples: int
) -> tuple[dict[int, FloatArray], str]:
    """Draw a score of every run, all on the same rows.

    Returns the samples by number of the run, and the score: macro-F1 if rows do not have the wanted one.
    """
    reference = next(iter(runs.values()), None)
    score = wanted if reference and wanted in reference.scores else METRIC
    if reference is None or not enough(len(reference.true)):
        return {}, score
    return dict(zip(runs, score_samples(score, [*runs.values()], resamples))), score


def enough(rows: int) -> bool:
    """Tell whether an interval of so many rows says anything."""
    from lingotune.evaluation.bootstrap import FEWEST

    return rows >= FEWEST


# --- differences ---------------------------------------------------------------------------------


Samples = Mapping[str, "FloatArray"]
"""Seed -> score of its run: on all rows, then on each resample."""


def difference(one: Samples, other: Samples) -> Difference:
    """Compare the means of two configurations; runs of the same seeds are drawn in pairs."""
    import numpy as np

    paired = one.keys() == other.keys()
    seeds = sorted(one) if paired else list(one)
    ours = np.stack([one[seed] for seed in seeds])
    theirs = np.stack([other[seed] for seed in (seeds if paired else other)])
    gaps = _mean_of_drawn(ours, 1) - _mean_of_drawn(theirs, 1 if paired else 2)
    return Difference(float(ours[:, 0].mean() - theirs[:, 0].mean()), _percentiles(gaps))


def interval_of(runs: Sequence[FloatArray]) -> Interval:
    """Compute the 95 % interval of the mean of runs: rows and runs are drawn."""
    import numpy as np

    return _percentiles(_mean_of_drawn(np.stack(runs), 1))


def _mean_of_drawn(runs: FloatArray, seed: int) -> FloatArray:
    """Draw runs with replacement for each resample: (runs, 1 + resamples) -> (resamples), means."""
    import numpy as np

    count, resamples = len(runs), runs.shape[1] - 1
    drawn = np.random.default_rng(seed).integers(count, size=(count, resamples))
    means: FloatArray = np.take_along_axis(runs[:, 1:], drawn, axis=0).mean(axis=0)
    return means


def _percentiles(values: FloatArray) -> Interval:
    import numpy as np

    from lingotune.evaluation.bootstrap import LEVEL

    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def by_seed(of: Configuration, runs: Mapping[int, _OfRun]) -> dict[str, _OfRun]:
    """Key what is of runs by seed; further runs of a seed, and those without one, by their place."""
    found: dict[str, _OfRun] = {}
    for place, entry in enumerate(of.scored):
        seed = entry.varies.get(REPEATED, "")
        found[seed if seed not in found else f"{seed} {place}"] = runs[entry.number]
    return found
