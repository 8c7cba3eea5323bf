"""Comparison of configurations on the test rows: paired, by bootstrap.

The same rows are drawn for every run, so that hard rows are hard for all; where a configuration has several
seeds, its runs are drawn, too. Nothing here chooses a winner: that is validation's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.launch.results.entries import Configuration, Entry
from lingotune.launch.sweeps.trial import REPEATED
from lingotune.runs.results import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lingotune.evaluation.metrics import FloatArray, IntArray

    Float32Array = npt.NDArray[np.float32]

RESAMPLES = 1000
_CELLS = 20_000_000
"""Weights of rows that are held at a time."""


@dataclass(frozen=True)
class Difference:
    """Difference of two means of macro-F1 on test, with its 95 % interval."""

    value: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """True if 0 lies outside of the interval."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Comparison:
    """Configurations on the test rows, by their places in the ranking.

    intervals: 95 % intervals of mean macro-F1. differences: to the best configuration, negative for what is
    worse. Configurations whose predictions are missing, or of other rows than the best's, are in neither.
    """

    intervals: Mapping[int, Interval]
    differences: Mapping[int, Difference]

    @property
    def clear(self) -> bool:
        """True if the best configuration is better than the second by more than the interval."""
        second = self.differences.get(1)
        return second is not None and second.interval[1] < 0


def compare(ranked: Sequence[Configuration], resamples: int = RESAMPLES) -> Comparison:
    """Compare ranked configurations by the predictions of their runs."""
    runs = {e.number: found for of in ranked for e in of.scored if (found := predictions_of(e))}
    best = ranked[0].scored if ranked else ()
    reference = runs.get(best[0].number) if best else None
    if reference is None or not _enough(len(reference.true)):
        return Comparison({}, {})
    same = {number: run.predicted for number, run in runs.items() if run.same_rows(reference)}
    compared = {
        place: of
        for place, of in enumerate(ranked)
        if all(entry.number in same for entry in of.scored)
    }
    wanted = [entry.number for of in compared.values() for entry in of.scored]
    if 0 not in compared:
        return Comparison({}, {})
    import numpy as np

    predicted = np.stack([same[number] for number in wanted])
    drawn = f1_samples(reference.true, predicted, len(reference.labels), resamples)
    samples = dict(zip(wanted, drawn))
    return Comparison(
        {place: interval_of([*_own(of, samples)]) for place, of in compared.items()},
        {
            place: difference(_by_seed(of, samples), _by_seed(compared[0], samples))
            for place, of in compared.items()
            if place
        },
    )


def _enough(rows: int) -> bool:
    from lingotune.evaluation.bootstrap import FEWEST

    return rows >= FEWEST


# --- predictions --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TestPredictions:
    """True and predicted classes (int64) of the test rows, sorted by the rows' ids."""

    ids: tuple[str, ...]
    true: IntArray
    predicted: IntArray
    labels: tuple[str, ...]

    __test__ = False

    def same_rows(self, other: TestPredictions) -> bool:
        """Tell whether both are of the same rows with the same classes."""
        same = (self.ids, self.labels) == (other.ids, other.labels)
        return same and bool((self.true == other.true).all())


def predictions_of(entry: Entry) -> TestPredictions | None:
    """Read the predictions of a run; None if there are none, or they cannot be read."""
    if entry.folder is None or entry.test is None:
        return None
    from lingotune.evaluation.predictions import FILE

    path = entry.folder / FILE
    return _read(path, entry.test.labels) if path.is_file() else None


def _read(path: Path, labels: tuple[str, ...]) -> TestPredictions | None:
    import numpy as np
    from pyarrow import ArrowException, parquet

    try:
        columns = ["id", "label", "predicted"]
        with parquet.ParquetFile(path) as file:  # read_table imports pandas
            ids, true, predicted = file.read(columns=columns).to_pydict().values()
        places = {label: place for place, label in enumerate(labels)}
        order = sorted(range(len(ids)), key=ids.__getitem__)
        return TestPredictions(
            tuple(ids[n] for n in order),
            np.array([places[true[n]] for n in order], np.int64),
            np.array([places[predicted[n]] for n in order], np.int64),
            labels,
        )
    except (ArrowException, OSError, ValueError, KeyError, TypeError):
        return None


# --- bootstrap ----------------------------------------------------------------------------------


def f1_samples(
    true: IntArray, predicted: IntArray, classes: int, resamples: int, seed: int = 0
) -> FloatArray:
    """Compute macro-F1 of runs on all rows, then on resampled rows, the same for every run.

    true: class ids of the rows. predicted: (runs, rows). Returns (runs, 1 + resamples).
    """
    import numpy as np

    # Rows that every run classifies alike are of one kind, and only the counts of kinds matter.
    kinds, counts = np.unique(np.vstack([true, predicted]), axis=1, return_counts=True)
    rows, random = int(counts.sum()), np.random.default_rng(seed)
    identity = np.eye(classes, dtype=np.float32)
    parts = [_macro_f1(counts[None].astype(np.float32), kinds, identity)]
    step = max(1, _CELLS // len(counts))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = random.multinomial(rows, counts / rows, size=size).astype(np.float32)
        parts.append(_macro_f1(weights, kinds, identity))
    return np.concatenate(parts, axis=1)


def _macro_f1(weights: Float32Array, kinds: IntArray, identity: Float32Array) -> FloatArray:
    """Compute macro-F1: weights (resamples, kinds), kinds (1 + runs, kinds) -> (runs, resamples)."""
    import numpy as np

    true, *runs = kinds
    support = weights @ identity[true]
    found = []
    for predicted in runs:
        named = weights @ identity[predicted]
        hits = weights @ (identity[predicted] * (predicted == true)[:, None])
        total = support + named
        f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
        found.append(f1.mean(axis=1, dtype=np.float64))
    return np.array(found)


Samples = Mapping[str, "FloatArray"]
"""Seed -> macro-F1 of its run: on all rows, then on each resample."""


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


def _own(of: Configuration, samples: Mapping[int, FloatArray]) -> list[FloatArray]:
    return [samples[entry.number] for entry in of.scored]


def _by_seed(of: Configuration, samples: Mapping[int, FloatArray]) -> dict[str, FloatArray]:
    """Key the samples by seed; further runs of a seed, and those without one, by their place."""
    found: dict[str, FloatArray] = {}
    for place, entry in enumerate(of.scored):
        seed = entry.varies.get(REPEATED, "")
        found[seed if seed not in found else f"{seed} {place}"] = samples[entry.number]
    return found
