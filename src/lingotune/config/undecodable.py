"""Names whose bytes are not UTF-8: Python keeps each such byte as half a surrogate pair (PEP 383).

No job file, table or page can hold them, so files are to be renamed.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_BYTE = re.compile("[\udc80-\udcff]")


def is_undecodable(text: str) -> bool:
    """Tell whether a text holds bytes that are not UTF-8."""
    return bool(_BYTE.search(text))


def with_bytes(text: str) -> str:
    """Write bytes that are not UTF-8 as `\\xe9`, as `ls` and Python do."""
    return _BYTE.sub(lambda found: f"\\x{_value(found[0]):02x}", text)


def renaming(path: Path) -> str:
    """Write the command that renames a file or folder to what its bytes mean in Windows-1252.

    bash, zsh and ksh read its quotes.
    """
    whole = str(path)
    typed = with_bytes(whole.replace("\\", "\\\\").replace("'", "\\'"))
    return f"mv $'{typed}' {shlex.quote(_BYTE.sub(lambda found: _meant(found[0]), whole))}"


def _value(half: str) -> int:
    return ord(half) - 0xDC00


def _meant(half: str) -> str:
    return bytes([_value(half)]).decode("cp1252", errors="replace").replace("\ufffd", "_")
