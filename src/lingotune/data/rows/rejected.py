"""The file that keeps rows which were left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lingotune.config.problems import DISK_FAILED, ConfigError, Problem
from lingotune.data.rows.findings import Rejected, shortened


class RejectedFile:
    """`rejected.jsonl`, for `on_reject`: one object a row with file, line, reason, message and raw.

    The file appears, whole, once the block has ended; if an exception ends it, there is none.
    ConfigError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")

    def __enter__(self) -> RejectedFile:
        with self._errors():
            self._file = self._part.open("w", encoding="utf-8", newline="\n")
        return self

    def __call__(self, rejected: Rejected) -> None:
        """Write one row."""
        content = {
            "file": shortened(rejected.file),
            "line": rejected.place,
            "reason": rejected.reason,
            "message": rejected.message,
            "raw": rejected.raw,
        }
        with self._errors():
            self._file.write(json.dumps(content, ensure_ascii=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._errors(), self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            problem = Problem(str(self._path), what, "more room there", code=DISK_FAILED)
            raise ConfigError([problem]) from error
