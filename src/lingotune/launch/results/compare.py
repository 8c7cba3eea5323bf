"""Comparison of configurations: paired, by bootstrap.

The same rows are drawn for every run, so that hard rows are hard for all; where a configuration has several
seeds, its runs are drawn, too. What is chosen among is compared on validation; the test rows are looked at
for what was chosen, and for two configurations that somebody asks about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lingotune.launch.results.entries import Configuration, Entry
from lingotune.launch.sweeps.trial import REPEATED
from lingotune.runs.results import Interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lingotune.evaluation.metrics import FloatArray, IntArray

    Float32Array = npt.NDArray[np.float32]

_OfRun = TypeVar("_OfRun")
RESAMPLES = 1000
_CELLS = 20_000_000
"""Weights of rows that are held at a time."""


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

    differences: to the best configuration, negative for what is worse. Configurations whose predictions are
    missing, or of other rows than the best's, are left out. test: 95 % interval of the best's mean macro-F1
    on test, None where its predictions are missing or too few.
    """

    differences: Mapping[int, Difference]
    test: Interval | None = None

    @property
    def clear(self) -> bool:
        """True if the best configuration is better than the second by more than the interval."""
        second = self.differences.get(1)
        return second is not None and second.interval[1] < 0


def compare(ranked: Sequence[Configuration], resamples: int = RESAMPLES) -> Comparison:
    """Compare ranked configurations by what their runs predicted for the validation rows."""
    if not ranked:
        return Comparison({})
    drawn = _samples(ranked, VALIDATION, resamples)
    compared = {
        place: by_seed(of, drawn)
        for place, of in enumerate(ranked)
        if all(entry.number in drawn for entry in of.scored)
    }
    best = compared.pop(0, None)
    differences = {place: difference(of, best) for place, of in compared.items()} if best else {}
    tests = _samples(ranked[:1], TEST, resamples)
    whole = len(tests) == len(ranked[0].scored) > 0
    return Comparison(differences, interval_of(list(tests.values())) if whole else None)


def _samples(ranked: Sequence[Configuration], split: str, resamples: int) -> dict[int, FloatArray]:
    """Draw macro-F1 of every run that predicted the same rows as the first configuration's first run."""
    entries = [entry for of in ranked for entry in of.scored]
    runs = {entry.number: found for entry in entries if (found := predictions_of(entry, split))}
    reference = runs.get(entries[0].number) if entries else None
    if reference is None or not enough(len(reference.true)):
        return {}
    import numpy as np

    same = {number: run.predicted for number, run in runs.items() if run.same_rows(reference)}
    predicted = np.stack([*same.values()])
    return dict(zip(same, f1_samples(reference.true, predicted, len(reference.labels), resamples)))


def enough(rows: int) -> bool:
    """Tell whether an interval of so many rows says anything."""
    from lingotune.evaluation.bootstrap import FEWEST

    return rows >= FEWEST


# --- predictions --------------------------------------------------------------------------------

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class RowPredictions:
    """True and predicted classes (int64) of the rows of a split, sorted by the rows' ids."""

    ids: tuple[str, ...]
    true: IntArray
    predicted: IntArray
    labels: tuple[str, ...]

    def same_rows(self, other: RowPredictions) -> bool:
        """Tell whether both are of the same rows with the same classes."""
        same = (self.ids, self.labels) == (other.ids, other.labels)
        return same and bool((self.true == other.true).all())


def predictions_of(entry: Entry, split: str = TEST) -> RowPredictions | None:
    """Read what a run's model decided for the rows of a split; None if there is nothing to be read."""
    if entry.folder is None or not entry.labels:
        return None
    from lingotune.evaluation.predictions import FILE, VALIDATION_FILE

    path = entry.folder / (FILE if split == TEST else VALIDATION_FILE)
    return _read(path, entry.labels) if path.is_file() else None


def _read(path: Path, labels: tuple[str, ...]) -> RowPredictions | None:
    import numpy as np
    from pyarrow import ArrowException, parquet

    from lingotune.evaluation.predictions import DECIDED

    try:
        with parquet.ParquetFile(path) as file:  # read_table imports pandas
            named = DECIDED if DECIDED in file.schema_arrow.names else "predicted"
            columns = ["id", "label", named]
            found = file.read(columns=columns).to_pydict()
        ids, true, predicted = (found[name] for name in columns)
        places = {label: place for place, label in enumerate(labels)}
        order = sorted(range(len(ids)), key=ids.__getitem__)
        return RowPredictions(
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
    return _on_samples(_macro_f1, true, predicted, classes, resamples, seed)


def accuracy_samples(
    true: IntArray, predicted: IntArray, classes: int, resamples: int, seed: int = 0
) -> FloatArray:
    """Compute the accuracy of runs on the same samples as `f1_samples`."""
    return _on_samples(_accuracy, true, predicted, classes, resamples, seed)


_Score = Callable[["Float32Array", "IntArray", "Float32Array"], "FloatArray"]


def _on_samples(
    score: _Score, true: IntArray, predicted: IntArray, classes: int, resamples: int, seed: int
) -> FloatArray:
    import numpy as np

    # Rows that every run classifies alike are of one kind, and only the counts of kinds matter.
    kinds, counts = np.unique(np.vstack([true, predicted]), axis=1, return_counts=True)
    rows, random = int(counts.sum()), np.random.default_rng(seed)
    identity = np.eye(classes, dtype=np.float32)
    parts = [score(counts[None].astype(np.float32), kinds, identity)]
    step = max(1, _CELLS // len(counts))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = random.multinomial(rows, counts / rows, size=size).astype(np.float32)
        parts.append(score(weights, kinds, identity))
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


def _accuracy(weights: Float32Array, kinds: IntArray, identity: Float32Array) -> FloatArray:
    """Compute the accuracy, in the shapes of `_macro_f1`."""
    import numpy as np

    true, *runs = kinds
    hits = np.array([predicted == true for predicted in runs], np.float64)
    shares: FloatArray = hits @ weights.T.astype(np.float64) / weights.sum(axis=1, dtype=np.float64)
    return shares


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
