"""Predictions as a Parquet file, one row per scored row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from lingotune.evaluation.decisions import expected_values
from lingotune.evaluation.metrics import Classes, IntArray, Predictions

FILE = "predictions.parquet"
"""Predictions on test, as the model decides."""
VALIDATION_FILE = "validation_predictions.parquet"
"""Predictions on validation as the model was trained: what its decision is fitted on."""
DECIDED = "decided"
"""Column of the classes that a decision names which was fitted on other rows of validation."""
SOURCE = "source"
"""Column of the sources of rows."""
EXPECTED = "expected"
"""Column of the expected value on the scale of ordered classes."""


NO_CLASS = "no class"
"""Text for a row that has none of the classes."""


def class_ids(column: Sequence[str | Sequence[str]], labels: Sequence[str]) -> npt.NDArray[Any]:
    """Read a column of class names, or of lists of them, as in `Predictions.true`; KeyError for others."""
    places = {name: place for place, name in enumerate(labels)}
    if not any(isinstance(names, list) for names in column):
        return np.array([places[str(name)] for name in column], np.int64)
    found = np.zeros((len(column), len(labels)), bool)
    for row, names in enumerate(column):
        found[row, [places[name] for name in names]] = True
    return found


def _names(ids: npt.NDArray[Any], labels: Sequence[str]) -> pa.Array:
    names = np.asarray(labels, object)
    if ids.ndim == 2:
        return pa.array([names[row].tolist() for row in ids], pa.list_(pa.string()))
    return pa.array(names[ids].tolist(), pa.string())


def write_predictions(
    predictions: Predictions,
    ids: Sequence[str],
    classes: Classes,
    path: Path,
    decided: IntArray | None = None,
) -> None:
    """Write predictions to a Parquet file, which appears only once it is complete.

    Columns: id, language, source (where rows have several), stars (null where there are none), label
    and predicted (class names, or lists of them where a row may have several), expected (value on the
    scale, float32; of ordered classes alone), and `probability_<class>` (float32) for each class; with
    class ids that were `decided`, their names.
    """
    probabilities = predictions.probabilities.astype(np.float32)
    stars = predictions.stars
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "language": pa.array(predictions.languages.tolist(), pa.string()),
        **_sources(predictions),
        "stars": pa.array(stars, pa.float32(), mask=np.isnan(stars)),
        "label": _names(predictions.true, classes.names),
        "predicted": _names(predictions.predicted, classes.names),
        **_expected(predictions, classes),
        **{
            f"probability_{name}": pa.array(probabilities[:, place])
            for place, name in enumerate(classes.names)
        },
    }
    if decided is not None:
        columns[DECIDED] = _names(decided, classes.names)
    unfinished = path.with_suffix(".tmp")
    parquet.write_table(pa.table(columns), unfinished, version="2.4")
    unfinished.replace(path)


def _sources(predictions: Predictions) -> dict[str, pa.Array]:
    if predictions.sources is None:
        return {}
    return {SOURCE: pa.array(predictions.sources.tolist(), pa.string())}


def _expected(predictions: Predictions, classes: Classes) -> dict[str, pa.Array]:
    if classes.scale is None:
        return {}
    means = expected_values(predictions.probabilities, classes.scale)
    return {EXPECTED: pa.array(means.astype(np.float32))}
