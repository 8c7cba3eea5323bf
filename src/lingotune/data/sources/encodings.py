"""Recognition of the encoding of a text file, from all of its bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from lingotune.data.rows.findings import config_error

UTF8 = "utf-8"
_BLOCK = 2**20
_SAMPLE = 2**16
"""Bytes of lines with characters beyond ASCII that a legacy encoding is recognised by."""
_SHOWN = 3
_CONTEXT = 12
"""Characters that are shown on both sides of an odd one."""
_VALID_SHARE = 0.05
"""UTF-8 with bad rows: at least this share of the lines beyond ASCII is valid. By chance hardly any is."""
_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's mark, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LEGACY = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "iso8859_2", "iso8859_5", "iso8859_7", "koi8_r", "koi8_u", "cp866", "cp850", "cp852",
    "mac_roman", "cp874", "cp932", "shift_jis", "euc_jp", "iso2022_jp", "gb18030", "gbk",
    "gb2312", "big5", "cp950", "cp949", "euc_kr",
]  # fmt: skip
"""What files are written in; charset-normalizer knows more, and takes short texts for them."""
_WIDER = {"shift_jis": "cp932", "gbk": "gb18030", "gb2312": "gb18030", "euc_kr": "cp949"}
"""Encoding -> the one that contains it: other rows of the file may need more than the sample."""


@dataclass(frozen=True)
class Detected:
    """An encoding, by Python's name. odd: (line, its surroundings) of the first characters beyond
    ASCII, in a file that is neither UTF-8 nor marked."""

    codec: str
    odd: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        places = ", ".join(f"line {line} {text!r}" for line, text in self.odd)
        return f"read as {self.codec}" + (
            f", which was recognised by its bytes: {places}" * bool(places)
        )


def detect(open_bytes: Callable[[], IO[bytes]], name: str) -> Detected:
    """Recognise the encoding of a file: by its mark, then UTF-16, UTF-8, or a legacy one.

    A file of which some lines are UTF-8 is that, with bad rows. ConfigError if nothing fits.
    """
    with open_bytes() as file:
        head = file.read(_SAMPLE)
        for mark, codec in _MARKS:
            if head.startswith(mark):
                return Detected(codec)
        wide = _wide_codec(head)
        if wide is not None:
            return Detected(wide)
        if _is_utf8(head, file):
            return Detected(UTF8)
    with open_bytes() as file:
        lines = _OddLines(file)
    if lines.are_mostly_utf8:
        return Detected(UTF8)
    codec = _legacy_codec(lines.sample, name)
    return Detected(codec, tuple((n, _surroundings(raw, codec)) for n, raw in lines.first))


def _wide_codec(head: bytes) -> str | None:
    """UTF-16 without a mark: in ASCII characters, such as line ends, every other byte is NUL."""
    head = head[: len(head) // 2 * 2]
    zeros = {"utf-16-le": head[1::2].count(0), "utf-16-be": head[::2].count(0)}
    codec = max(zeros, key=lambda name: zeros[name])
    if zeros[codec] * 40 < len(head) or min(zeros.values()) * 20 > zeros[codec]:
        return None
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else codec


def _is_utf8(head: bytes, rest: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder(UTF8)()
    try:
        decoder.decode(head)
        while block := rest.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


class _OddLines:
    """Lines of a file that are not ASCII: how many are UTF-8, and the first of the others."""

    def __init__(self, lines: IO[bytes]) -> None:
        self.first: list[tuple[int, bytes]] = []
        self.sample = b""
        valid = invalid = 0
        for number, raw in enumerate(lines, 1):
            if raw.isascii():
                continue
            try:
                raw.decode(UTF8)
                valid += 1
                continue
            except UnicodeDecodeError:
                invalid += 1
            if len(self.first) < _SHOWN:
                self.first.append((number, raw))
            if len(self.sample) < _SAMPLE:
                self.sample += raw[:_SAMPLE]
        self.are_mostly_utf8 = valid > _VALID_SHARE * (valid + invalid)


def _legacy_codec(sample: bytes, name: str) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        what = "is not UTF-8, and charset-normalizer, which recognises encodings, is not installed"
        fix = "pip install charset-normalizer, or data.encoding=cp1252"
        raise config_error(name, what, fix) from error
    matches = from_bytes(sample, cp_isolation=_LEGACY)
    best = matches.best()
    if best is None:
        if _decodes(sample, "cp1252"):
            return "cp1252"
        what = "is not UTF-8, and in no encoding that is recognised"
        raise config_error(name, what, "data.encoding=ENCODING, such as cp1252 or utf-16")
    # Of encodings that fit alike, the one that is by far the commonest.
    alike = set(best.could_be_from_charset)
    for match in matches:
        if match.chaos <= best.chaos and match.coherence >= best.coherence:
            alike.update(match.could_be_from_charset)
    found = "cp1252" if "cp1252" in alike else str(best.encoding)
    return _WIDER.get(found, found)


def _decodes(content: bytes, codec: str) -> bool:
    try:
        content.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _surroundings(raw: bytes, codec: str) -> str:
    """The first character beyond ASCII of a line, with what stands around it."""
    text = raw.decode(codec, "replace").strip()
    at = next(_beyond_ascii(text), 0)
    return text[max(0, at - _CONTEXT) : at + _CONTEXT]


def _beyond_ascii(text: str) -> Iterator[int]:
    return (place for place, character in enumerate(text) if ord(character) > 127)
