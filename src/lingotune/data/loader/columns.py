"""Columns of numbers as numpy arrays and back, without pyarrow's own conversions, which import pandas."""

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


def column_of(values: Array) -> pyarrow.Array:
    """View an array of integers or floats, of one dimension and contiguous, as a column without nulls."""
    kind = pyarrow.from_numpy_dtype(values.dtype)
    return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(values)])
