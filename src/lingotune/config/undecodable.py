"""Names whose bytes are not UTF-8: Python keeps each such byte as half a surrogate pair (PEP 383).

No job file, table or page can hold them, so files are to be renamed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem

UNDECODED = re.compile("[\udc80-\udcff]")
"""A byte that could not be decoded, as half a surrogate pair."""


def is_undecodable(text: str) -> bool:
    """Tell whether a text holds bytes that are not UTF-8."""
    return bool(UNDECODED.search(text))


def with_bytes(text: str) -> str:
    """Write bytes that are not UTF-8 as `\\xe9`, as `ls` and Python do."""
    return UNDECODED.sub(lambda found: f"\\x{_value(found[0]):02x}", text)


def renaming(path: Path) -> str:
    """Write the command that renames a file, or the first folder above it, to what its bytes mean in
    Windows-1252.

    bash, zsh and ksh read its quotes.
    """
    whole = str(next(one for one in (*reversed(path.parents), path) if is_undecodable(one.name)))
    typed = with_bytes(whole.replace("\\", "\\\\").replace("'", "\\'"))
    return f"mv $'{typed}' {shlex.quote(UNDECODED.sub(lambda found: _meant(found[0]), whole))}"


def check_decodable(paths: Iterable[Path], key: str = "") -> None:
    """Raise ConfigError for all paths that no library in C++ or Rust and no table can hold.

    key: setting that names them.
    """
    what = "has a name with bytes that are not UTF-8"
    problems = [
        Problem(with_bytes(str(path)), what, renaming(path), key=key)
        for path in sorted(paths)
        if is_undecodable(str(path))
    ]
    if problems:
        raise ConfigError(problems)


def _value(half: str) -> int:
    return ord(half) - 0xDC00


def _meant(half: str) -> str:
    return bytes([_value(half)]).decode("cp1252", errors="replace").replace("\ufffd", "_")
