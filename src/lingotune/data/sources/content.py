"""Files that are of another type than their name says, by the bytes that they begin with."""

from __future__ import annotations

from pathlib import Path

from lingotune.config.problems import DATA_FAILED, Problem
from lingotune.config.quoting import for_shell
from lingotune.data.rows.findings import AGAIN
from lingotune.data.sources.lines import PACKED, STREAMS

_BEGINNINGS = (
    (b"\x1f\x8b", "gzip", ".gz"),
    (b"BZh", "bzip2", ".bz2"),
    (b"\xfd7zXZ\x00", "xz", ".xz"),
    (b"PK\x03\x04", "zip", ".zip"),
    (b"PAR1", "Parquet", ".parquet"),
    (b"ARROW1", "Arrow", ".arrow"),
)
_SHEET = b"[Content_Types].xml"
"""What the first file in a spreadsheet, which is a zip, is called."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGE = (b"<!doctype html", b"<html")
_HEAD = 200


def other_type(path: Path, name: str) -> Problem | None:
    """Find what a file that is read as text really is; None if nothing speaks against it."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_POINTER):
        return Problem(
            name,
            "is a pointer of Git LFS, and not the file that it stands for",
            "git lfs pull",
            code=DATA_FAILED,
        )
    if head.lstrip().lower().startswith(_PAGE):
        return Problem(
            name, "is an HTML page, such as a server sends with an error", AGAIN, code=DATA_FAILED
        )
    for beginning, kind, ending in _BEGINNINGS:
        if head.startswith(beginning) and path.suffix.lower() not in PACKED:
            kind, ending = ("spreadsheet", ".xlsx") if _SHEET in head else (kind, ending)
            copy = path.with_name(path.name + ending if ending in STREAMS else path.stem + ending)
            command = f"cp {for_shell(str(path))} {for_shell(str(copy))}, and that file"
            article = "an" if kind in ("xz", "Arrow") else "a"
            return Problem(
                name, f"is {article} {kind} file by its content", command, code=DATA_FAILED
            )
    if path.suffix.lower() in (".csv", ".tsv") and head.lstrip().startswith(
        (b'{"', b'[{"', b"[\n")
    ):
        copy = path.with_suffix(".jsonl")
        command = f"cp {for_shell(str(path))} {for_shell(str(copy))}, and that file"
        return Problem(name, "is JSON by its content", command, code=DATA_FAILED)
    return None


def is_pointer(path: Path) -> bool:
    """Tell whether a file only stands for one that Git LFS has."""
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER
