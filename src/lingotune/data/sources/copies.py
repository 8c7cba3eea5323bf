"""Copies on this machine of sources that lie elsewhere: where they are kept, and which there are.

`data/transfer` fetches them. Below `sources/` of the user's cache, every version of a file has a folder of
its own, so that no reader sees a file change, with the path of its address in it. What a pattern names now
is in a record, which is written once all of its files are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lingotune.config.program import program
from lingotune.config.typed_json import from_json, parse_json
from lingotune.data.rows.findings import config_error
from lingotune.data.sources.addresses import shown_address
from lingotune.system.cache import cache_folder

CHECKSUM = ".sha256"
"""File beside a copy with the SHA-256 of its content."""


@dataclass(frozen=True)
class CopiedFile:
    """A file of a copy. path: below the folder of copies. tag: what tells its version. bytes: here."""

    path: str
    tag: str
    bytes: int


@dataclass(frozen=True)
class Copy:
    """The files that a pattern named when they were fetched. fetched: UTC, to the second."""

    fetched: str
    files: tuple[CopiedFile, ...]


def copies_folder() -> Path:
    """Return the folder of all copies."""
    return cache_folder() / "sources"


def record_of(pattern: str) -> Path:
    """Return the path of a pattern's record."""
    return copies_folder() / f"{_digest(pattern)}.json"


def copy_of(pattern: str) -> Copy | None:
    """Find the whole copy of what a pattern names; None if there is none on this machine."""
    try:
        found = from_json(Copy, parse_json(record_of(pattern).read_bytes()))
        whole = all((copies_folder() / f.path).stat().st_size == f.bytes for f in found.files)
    except (OSError, ValueError):
        return None
    return found if whole else None


def copied_files(pattern: str, key: str) -> list[Path]:
    """List the files of the copy of what a pattern names; ConfigError if it was not fetched."""
    found = copy_of(pattern)
    if found is None:
        what = "is not on this machine yet"
        fix = f"{program('prepare')} with the same settings fetches it"
        raise config_error(f"{key}={shown_address(pattern)}", what, fix)
    return [copies_folder() / file.path for file in found.files]


def folder_of_version(address: str, tag: str) -> str:
    """Name the folder of one version of a file."""
    return _digest(f"{address}\0{tag}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def place_of(scheme: str, parts: Sequence[str]) -> Path:
    """Return the path of a file in its version's folder, from which `shown_name` tells its address."""
    return Path(scheme, *map(_quoted, parts))


def _quoted(part: str) -> str:
    """Write a part of a key as a name that a file can have."""
    special = {"": "%", ".": "%2E", "..": "%2E%2E"}
    return special.get(part) or part.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def shown_name(path: Path) -> str:
    """Return what messages call a file: the address of a copy, the path of any other file."""
    try:
        _, scheme, *parts = path.relative_to(copies_folder()).parts
    except ValueError:
        return str(path)
    return f"{scheme}://" + "/".join("" if part == "%" else unquote(part) for part in parts)


def checksum_of(path: Path) -> str | None:
    """Return the SHA-256 that a copy had when it was fetched; None for any other file."""
    try:
        version = path.relative_to(copies_folder()).parts[0]
        return (copies_folder() / version / CHECKSUM).read_text()
    except (ValueError, OSError):
        return None
