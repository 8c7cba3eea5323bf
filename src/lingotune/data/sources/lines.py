"""Lines of text files, unpacked and decoded.

`name` is what messages call a file. A line that is not in the file's encoding comes with what is
wrong with it; readers pass it on as a row that cannot be read.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import shlex
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from lingotune.config.quoting import override_text
from lingotune.config.schema import AUTO
from lingotune.config.undecodable import UNDECODED
from lingotune.data.rows.findings import AGAIN, SKIP, Faults, config_error
from lingotune.data.sources.copies import shown_name
from lingotune.data.sources.encodings import UTF8, detect, told_otherwise, with_byte_order
from lingotune.data.sources.file_format import FileFormat, codec_of

_AS_FOUND = FileFormat()
_HEAD = 2**16
_BLOCK = 2**20
_OPEN_QUOTES = (b'\t"', b'\n"', b'\r"')
_QUOTED = re.compile(r'"[^"]*"')
_KEEP = "lingotune.undecoded"
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")

Line = tuple[int, str, str]
"""Number from 1; text with its end; what keeps it from being decoded, or nothing."""


class TextFile:
    """A text file whose encoding is known. codec: Python's name of it.

    An encoding that had to be recognised is told to `faults`. ConfigError if none fits, or the file
    cannot be read.
    """

    def __init__(self, path: Path, name: str, faults: Faults, how: FileFormat) -> None:
        self._name, self._open = name, partial(open_unpacked, path)
        with unreadable_named(name):
            if how.encoding == AUTO:
                detected = detect(self._open, name)
                self.codec = detected.codec
                if self.codec != UTF8:
                    faults.remark(f"{name}: {detected}")
            else:
                with self._open() as file:
                    head = file.read(_HEAD)
                self.codec = with_byte_order(codec_of(how.encoding) or UTF8, head)
                if otherwise := told_otherwise(self._open, self.codec):
                    faults.remark(f"{name}: {otherwise}")
            with self._open() as file:
                self._end = _line_end(file.read(_HEAD).decode(self.codec, "replace"))

    def may_open_quotes(self) -> bool:
        """Tell whether a quote stands where a field between tabs begins; its bytes alone are looked at."""
        with unreadable_named(self._name), self._open() as file:
            wide = self.codec.startswith(("utf-16", "utf-32"))
            before = b"\n"
            while block := file.read(_BLOCK):
                around = before + block
                if b'"' in around and (wide or any(map(around.__contains__, _OPEN_QUOTES))):
                    return True
                before = block[-1:]
        return False

    def lines(self) -> Iterator[Line]:
        """Yield the lines; only a newline ends one, not U+2028. In a file with hardly any newlines a
        carriage return does."""
        with unreadable_named(self._name), self._open() as file:
            if self.codec == UTF8 and self._end == "\n":
                yield from _utf8_lines(file)
            else:
                yield from _decoded_lines(file, self.codec, self._end)


def read_lines(
    path: Path, name: str, faults: Faults, how: FileFormat = _AS_FOUND
) -> Iterator[Line]:
    """Yield the lines of a file in the encoding that it is found to have, or `how` names."""
    return TextFile(path, name, faults, how).lines()


def undecoded_fix(how: FileFormat) -> str:
    """Return the overrides that get past rows that are not in their file's encoding.

    Another encoding than the one that was recognised would read most of the others wrongly.
    """
    return SKIP if how.encoding == AUTO else f"{SKIP}, or data.encoding={AUTO}"


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
    if "\r" in head and "\n" in head:
        head = _QUOTED.sub("", head)  # texts hold line ends of their own
    alone = head.count("\r") - head.count("\r\n")
    return "\r" if alone > head.count("\n") else "\n"


# --- packed files -------------------------------------------------------------------------------

_OPENERS: Mapping[str, Callable[[Path, str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
STREAMS = tuple(_OPENERS)
"""Endings of files that hold one packed file, whose own ending stands before."""
PACKED = (*STREAMS, ".zip")
"""Endings of files that are unpacked as they are read."""
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


def open_unpacked(path: Path) -> IO[bytes]:
    """Open a file, or what is packed in it: .gz, .bz2, .xz, or the one file in a .zip."""
    ending = path.suffix.lower()
    if ending in _OPENERS:
        opened: IO[bytes] = _OPENERS[ending](path, "rb")
        return opened
    if ending == ".zip":
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
    except _DAMAGED as error:
        kind = Path(name.lower()).suffix.removeprefix(".")
        kind = kind if kind in ("zip", "bz2", "xz") else "gzip"
        raise config_error(name, f"is not a whole {kind} file: {error}", AGAIN) from error
    except (RuntimeError, NotImplementedError) as error:  # a password, a method of compression
        if not name.lower().endswith(".zip"):
            raise
        raise config_error(name, f"cannot be unpacked: {error}", "unzip it") from error
    except OSError as error:
        raise config_error(name, f"cannot be read: {error.strerror or error}") from error
