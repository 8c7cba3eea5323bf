"""Columns of numbers as numpy arrays, without pyarrow's `to_numpy`, which imports pandas."""

from __future__ import annotations

import numpy as np
import pyarrow

from lingotune.system.arrays import Array


def numbers_of(column: pyarrow.ChunkedArray) -> Array:
    """Copy a column of integers or floats, none of them null, to an array of its type."""
    empty = np.zeros(0, column.type.to_pandas_dtype())
    return np.concatenate([empty, *map(view_of, column.chunks)])


def view_of(chunk: pyarrow.Array) -> Array:
    """View a chunk of integers or floats, none of them null, as an array."""
    values: Array = np.frombuffer(chunk.buffers()[1] or b"", chunk.type.to_pandas_dtype())
    return values[chunk.offset : chunk.offset + len(chunk)]
