"""A finder of canaries: secrets planted to be seen wherever they go, in ten codes and in opened files."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import sqlite3
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

CODES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 after a letter": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64 after two": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "base64 of URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "URL": lambda text: quote(text, safe=""),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal capitals": lambda text: text.encode().hex().upper(),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "HTML": html.escape,
}
"""Code -> a text in it."""


def traces(content: bytes, canary: str) -> Iterator[str]:
    """Yield the codes in which a canary stands in bytes, those in packed and binary files included."""
    for code, write in CODES.items():
        shift = {"base64 after a letter": 2, "base64 after two": 3}.get(code, 0)
        sought = write(canary)[shift:].rstrip("=")[: -2 if "base64" in code else None]
        if sought.encode() in content or sought.encode("utf-16-le") in content:
            yield code
    for inner in _opened(content):
        yield from traces(inner, canary)


def _opened(content: bytes) -> Iterator[bytes]:
    """Yield what a file holds that is packed in it: archives, torch's files, Parquet, SQLite."""
    file = io.BytesIO(content)
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:4] == b"PK\x03\x04":  # torch.save's pickles, too
        with zipfile.ZipFile(file) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=file) as tar:
            yield from (tar.extractfile(one).read() for one in tar if one.isfile())  # type: ignore[union-attr]
    elif content[:4] == b"PAR1":
        from pyarrow import parquet

        table = parquet.read_table(file)
        yield f"{table.schema.metadata}{table.to_pylist()}".encode()
    elif content[:15] == b"SQLite format 3":
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(content)
            copy.flush()
            database = sqlite3.connect(copy.name)
            yield "\n".join(database.iterdump()).encode()
            database.close()


def found_in(folder: Path, canary: str) -> list[str]:
    """List the files of a folder, names included, that hold a canary, with the code that it is in."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes() if path.is_file() else b""
        found += [f"{name}: {code}" for code in traces(name.encode() + b"\n", canary)]
        found += [f"{name}: {code}" for code in traces(content, canary)]
    return found
