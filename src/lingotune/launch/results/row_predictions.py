"""What runs decided for the rows of a split, read from their prediction files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingotune.config.problems import ConfigError
from lingotune.contract.container import JOB_FILE
from lingotune.launch.results.entries import Entry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class RowPredictions:
    """True and predicted classes of the rows of a split, sorted by the rows' ids.

    true, predicted: class ids, int64; where a row may have several classes, whether it has each, bool,
    (rows, classes). points: of ordered classes on their scale; None of others.
    """

    ids: tuple[str, ...]
    true: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    labels: tuple[str, ...]
    points: tuple[float, ...] | None = None

    @property
    def several(self) -> bool:
        """Whether a row may have several classes."""
        return self.true.ndim == 2

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each row is right: all of its classes, and none besides."""
        import numpy as np

        same = np.asarray(self.predicted == self.true, bool)
        return np.asarray(same.all(axis=1)) if self.several else same

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that these rows have."""
        if self.several:
            return "macro_f1", "micro_f1", "accuracy"
        scaled = ("mean_absolute_error", "quadratic_kappa") if self.points else ()
        return "macro_f1", "accuracy", *scaled

    @property
    def task(self) -> str:
        """What there is to decide for a row, in words."""
        if self.several:
            return f"any of {len(self.labels)} classes"
        return f"one of {len(self.labels)} {'ordered ' if self.points else ''}classes"

    def same_task(self, other: RowPredictions) -> bool:
        """Tell whether the same is to be decided: as many of the same classes, in the same order."""
        return (self.several, self.labels, self.points) == (
            other.several,
            other.labels,
            other.points,
        )

    def same_rows(self, other: RowPredictions) -> bool:
        """Tell whether both are of the same rows with the same classes."""
        same = self.same_task(other) and self.ids == other.ids
        return same and bool((self.true == other.true).all())


def predictions_of(entry: Entry, split: str = TEST) -> RowPredictions | None:
    """Read what a run's model decided for the rows of a split; None if there is nothing to be read."""
    if entry.folder is None or not entry.labels:
        return None
    from lingotune.evaluation.predictions import FILE, VALIDATION_FILE

    path = entry.folder / (FILE if split == TEST else VALIDATION_FILE)
    return _read(path, entry.labels) if path.is_file() else None


def _read(path: Path, labels: tuple[str, ...]) -> RowPredictions | None:
    from pyarrow import ArrowException, parquet

    from lingotune.evaluation.predictions import DECIDED, EXPECTED, class_ids

    try:
        with parquet.ParquetFile(path) as file:  # read_table imports pandas
            names = file.schema_arrow.names
            columns = ["id", "label", DECIDED if DECIDED in names else "predicted"]
            found = file.read(columns=columns).to_pydict()
        ids, true, predicted = (found[name] for name in columns)
        order = sorted(range(len(ids)), key=ids.__getitem__)
        return RowPredictions(
            tuple(ids[n] for n in order),
            class_ids(true, labels)[order],
            class_ids(predicted, labels)[order],
            labels,
            _points(path.parent, labels) if EXPECTED in names else None,
        )
    except (ArrowException, OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def _points(run: Path, labels: tuple[str, ...]) -> tuple[float, ...] | None:
    """Read the points of ordered classes from a run's job."""
    from lingotune.data.rows.scale import scale_of
    from lingotune.runs.remake import load_job_of

    scale = scale_of(load_job_of(run / JOB_FILE)[0].data)
    return tuple(scale[name] for name in labels) if scale else None
