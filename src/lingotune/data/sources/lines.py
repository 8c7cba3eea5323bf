"""Lines of text files, unpacked and decoded.

`name` is what messages call a file. A line that is not in the file's encoding comes with what is
wrong with it; readers pass it on as a row that cannot be read.
"""

from __future__ import annotations

import codecs
import gzip
import re
import shlex
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from lingotune.config.quoting import override_text
from lingotune.config.schema import AUTO
from lingotune.data.rows.findings import AGAIN, SKIP, Faults, config_error
from lingotune.data.sources.copies import shown_name
from lingotune.data.sources.encodings import UTF8, detect
from lingotune.data.sources.file_format import FileFormat, codec_of

_AS_FOUND = FileFormat()
_HEAD = 2**16
_KEEP = "lingotune.undecoded"
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")
UNDECODED = re.compile("[\udc80-\udcff]")
"""What stands in a line for bytes that are not in the encoding."""

Line = tuple[int, str, str]
"""Number from 1; text with its end; what keeps it from being decoded, or nothing."""


class TextFile:
    """A text file whose encoding is known.

    An encoding that had to be recognised is told to `faults`. ConfigError if none fits, or the file
    cannot be read.
    """

    def __init__(self, path: Path, name: str, faults: Faults, how: FileFormat) -> None:
        self._name, self._open = name, partial(open_unpacked, path)
        with unreadable_named(name):
            if how.encoding == AUTO:
                detected = detect(self._open, name)
                self._codec = detected.codec
                if self._codec != UTF8:
                    faults.remark(f"{name}: {detected}")
            else:
                self._codec = codec_of(how.encoding) or UTF8
            with self._open() as file:
                self._end = _line_end(file.read(_HEAD).decode(self._codec, "replace"))

    def lines(self) -> Iterator[Line]:
        """Yield the lines; only a newline ends one, not U+2028. In a file without newlines a carriage
        return does."""
        with unreadable_named(self._name), self._open() as file:
            if self._codec == UTF8 and self._end == "\n":
                yield from _utf8_lines(file)
            else:
                yield from _decoded_lines(file, self._codec, self._end)


def read_lines(
    path: Path, name: str, faults: Faults, how: FileFormat = _AS_FOUND
) -> Iterator[Line]:
    """Yield the lines of a file in the encoding that it is found to have, or `how` names."""
    return TextFile(path, name, faults, how).lines()


def undecoded_fix(how: FileFormat) -> str:
    """Return the overrides that get past rows that are not in their file's encoding."""
    other = "cp1252" if how.encoding == AUTO else AUTO
    return f"{SKIP}, or data.encoding={other}"


def _utf8_lines(file: IO[bytes]) -> Iterator[Line]:
    offset = 0
    for number, raw in enumerate(file, 1):
        fault = ""
        try:
            line = raw.decode(UTF8)
        except UnicodeDecodeError as error:
            fault = f"is not UTF-8: byte 0x{raw[error.start]:02x} at offset {offset + error.start}"
            line = raw.decode(UTF8, "surrogateescape")
        if number == 1:
            line = line.removeprefix("\ufeff")
        yield number, line, fault
        offset += len(raw)


def _decoded_lines(file: IO[bytes], codec: str, end: str) -> Iterator[Line]:
    for number, line in enumerate(TextIOWrapper(file, codec, _KEEP, newline=end), 1):
        undecoded = not line.isascii() and UNDECODED.search(line)
        if number == 1:
            line = line.removeprefix("\ufeff")
        yield number, line, f"is not {codec}" if undecoded else ""


def _kept(error: UnicodeError) -> tuple[str, int]:
    """Keep what cannot be decoded as half surrogates, as `surrogateescape` does, from any encoding."""
    assert isinstance(error, UnicodeDecodeError)
    undecoded = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + max(byte, 0x80)) for byte in undecoded), error.end


codecs.register_error(_KEEP, _kept)


def _line_end(head: str) -> str:
    return "\r" if "\r" in head and "\n" not in head else "\n"


# --- packed files -------------------------------------------------------------------------------


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file, or what is packed in it: .gz, or the one file in a .zip."""
    lower = path.name.lower()
    if lower.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # reads like a binary file
    if lower.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            return archive.open(zipped_name(path))  # stays open without the archive
    return path.open("rb")


def zipped_name(path: Path) -> str:
    """Return the name of the one file in a .zip; ConfigError if there is not just one."""
    with unreadable_named(str(path)), zipfile.ZipFile(path) as archive:
        names = [
            entry.filename
            for entry in archive.infolist()
            if not entry.is_dir() and not any(part in entry.filename for part in _CLUTTER)
        ]
    if len(names) == 1:
        return names[0]
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    what = f"holds {len(names)} files: {listed}" if names else "holds no file"
    name = shown_name(path)
    target = path.with_suffix("").name if name != str(path) else str(path.with_suffix(""))
    command = f"unzip {shlex.quote(str(path))} -d {shlex.quote(target)}"
    raise config_error(name, what, f"{command}, then {override_text('data.path', target)}")


@contextmanager
def unreadable_named(name: str) -> Iterator[None]:
    """Raise ConfigError, named after the file, where it is damaged or cannot be read."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        kind = "zip" if name.lower().endswith(".zip") else "gzip"
        raise config_error(name, f"is not a whole {kind} file: {error}", AGAIN) from error
    except (RuntimeError, NotImplementedError) as error:  # a password, a method of compression
        if not name.lower().endswith(".zip"):
            raise
        raise config_error(name, f"cannot be unpacked: {error}", "unzip it") from error
    except OSError as error:
        raise config_error(name, f"cannot be read: {error.strerror or error}") from error
