"""Damaged Arrow files, found in a process of its own: they kill whoever trusts them, as pyarrow does."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lingotune.system.helper_processes import LastingHelper

_helper = LastingHelper()
"""Kept between files, as starting it takes longer than most files."""
atexit.register(_helper.close)


def arrow_fault(path: Path) -> str:
    """Say what is wrong with an Arrow file, '' if nothing is; once for each state of a file.

    OSError if the file cannot be read, or no process can be started.
    """
    found = path.stat()
    return _fault(str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=1000)
def _fault(path: str, *state: int) -> str:
    try:
        return _helper.submit(_read_through, path).result()
    except BrokenExecutor:
        return "reading it ends the process that reads"


def _read_through(path: str) -> str:
    """Read and check every value; returns the reason if that fails, for errors may not be picklable."""
    from pyarrow import ArrowException

    try:
        with opened_arrow(Path(path)) as (_, batches):
            for batch in batches:
                batch.validate(full=True)
    except (ArrowException, OSError, MemoryError) as error:
        return next(iter(str(error).splitlines()), "") or type(error).__name__
    return ""


@contextmanager
def opened_arrow(path: Path) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Yield schema and record batches of a file in the stream format, which `datasets` writes, or in the
    file format (Feather)."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        if source.read(6) == b"ARROW1":
            file = pyarrow.ipc.open_file(source)
            yield file.schema, (file.get_batch(n) for n in range(file.num_record_batches))
        else:
            source.seek(0)
            stream = pyarrow.ipc.open_stream(source)
            yield stream.schema, stream
