"""Predictions as a Parquet file, one row per scored row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lingotune.evaluation.decisions import expected_values
from lingotune.evaluation.metrics import Classes, Predictions

FILE = "predictions.parquet"
"""Predictions on test, as the model decides."""
VALIDATION_FILE = "validation_predictions.parquet"
"""Predictions on validation as the model was trained: what its decision is fitted on."""


def write_predictions(
    predictions: Predictions, ids: Sequence[str], classes: Classes, path: Path
) -> None:
    """Write predictions to a Parquet file, which appears only once it is complete.

    Columns: id, language, stars (null where there are none), label and predicted (class names), expected
    (value on the scale, float32; of ordered classes alone), and `probability_<class>` (float32) for each
    class.
    """
    names = np.asarray(classes.names, object)
    probabilities = predictions.probabilities.astype(np.float32)
    stars = predictions.stars
    columns = {
        "id": pa.array(list(ids), pa.string()),
        "language": pa.array(predictions.languages.tolist(), pa.string()),
        "stars": pa.array(stars, pa.float32(), mask=np.isnan(stars)),
        "label": pa.array(names[predictions.true].tolist(), pa.string()),
        "predicted": pa.array(names[predictions.predicted].tolist(), pa.string()),
        **_expected(predictions, classes),
        **{
            f"probability_{name}": pa.array(probabilities[:, place])
            for place, name in enumerate(classes.names)
        },
    }
    unfinished = path.with_suffix(".tmp")
    parquet.write_table(pa.table(columns), unfinished, version="2.4")
    unfinished.replace(path)


def _expected(predictions: Predictions, classes: Classes) -> dict[str, pa.Array]:
    if classes.scale is None:
        return {}
    means = expected_values(predictions.probabilities, classes.scale)
    return {"expected": pa.array(means.astype(np.float32))}
