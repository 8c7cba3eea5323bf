"""Recognition of the encoding of a text file, from all of its bytes."""

from __future__ import annotations

import codecs
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from lingotune.data.rows.findings import config_error

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

UTF8 = "utf-8"
_BLOCK = 2**20
_SAMPLE = 2**16
"""Bytes of lines with characters beyond ASCII that a legacy encoding is recognised by."""
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_WITHOUT_ASCII = dict.fromkeys(_PRINTABLE)
_FIELD_ENDS = re.compile(rb'[,;\t"\r\n]')
"""None of these is half of a character in any encoding; a pipe may be."""
_SHOWN = 3
_CONTEXT = 15
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
    "iso8859_2", "iso8859_5", "iso8859_7", "koi8_r", "koi8_u", "cp866", "cp874", "cp932",
    "shift_jis", "euc_jp", "iso2022_jp", "gb18030", "gbk", "gb2312", "big5", "cp950", "cp949",
    "euc_kr",
]  # fmt: skip
"""What files are written in; charset-normalizer knows more, and takes short texts for them."""
_OF_OLD_SYSTEMS = ("cp850", "cp852", "mac_roman")
"""Excel still writes these on demand. Any bytes are text in them, so they come second."""
_MOST_ODD = 0.15
"""Share of odd characters above which an encoding is doubted; 0 where it is right."""
_NO_TEXT = 0.4
"""The same above which it is none."""
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\x1a\x1b"))
"""Bytes that no text has, but for damage; Japanese encodings switch with ESC, old files end with SUB."""
_MOST_CONTROLS, _FEW_CONTROLS = 0.02, 16
"""Share and number of these above which bytes are no text: of random ones a tenth is."""
_TWINS = {"cp1250": "iso8859_2", "cp1253": "iso8859_7"}
"""Encoding -> another that has the same letters, but for a few in other places."""
_KANA = re.compile("[\u3041-\u3093]")
_JAPANESE = 0.1
"""Share of hiragana among the characters beyond ASCII: all Japanese texts have more, by chance none has."""
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
        told = f"read as {self.codec}"
        if not places:
            return told
        return f"{told}, since it is not UTF-8 (data.encoding names another): {places}"


def detect(open_bytes: Callable[[], IO[bytes]], name: str) -> Detected:
    """Recognise the encoding of a file: by its mark, then as UTF-16, UTF-8, or a legacy one.

    A file of which some lines are UTF-8 is that, with bad rows. ConfigError if nothing fits.
    """
    with open_bytes() as file:
        head = file.read(_SAMPLE)
        for mark, codec in _MARKS:
            if head.startswith(mark):
                return Detected(codec)
        unmarked = _unmarked_codec(head)
        if unmarked is not None:
            return Detected(unmarked)
        if _is_utf8(head, file):
            return Detected(UTF8)
    with open_bytes() as file:
        lines = _OddLines(file)
    if lines.are_mostly_utf8:
        return Detected(UTF8)
    codec = _legacy_codec(lines.sample, name)
    return Detected(codec, tuple((n, _surroundings(raw, codec)) for n, raw in lines.first))


def with_byte_order(codec: str, head: bytes) -> str:
    """Complete UTF-16 or UTF-32 of a file without a mark, which Python does not read, by its order."""
    if codec not in ("utf-16", "utf-32") or any(
        head.startswith(m) and c == codec for m, c in _MARKS
    ):
        return codec
    unmarked = _unmarked_codec(head) or ""
    return unmarked if unmarked.startswith(codec) else f"{codec}-le"


def _unmarked_codec(head: bytes) -> str | None:
    """UTF-16 without a mark, or ISO-2022-JP, which is ASCII all the same."""
    if b"\x1b$" in head and head.isascii() and _decodes(head, "iso2022_jp"):
        return "iso2022_jp"
    head = head[: len(head) // 2 * 2]
    printable = len(head) - len(head.translate(None, _PRINTABLE))
    if not head or head.count(0) * 40 < len(head) or printable * 4 > 3 * len(head):
        return None
    zeros = sorted((head[::2].count(0), head[1::2].count(0)))
    if zeros[1] < 4 * zeros[0]:  # a file that is filled up with zeros has them in both places
        return None
    ascii_characters = {}
    for codec in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(codec)().decode(head)
        except UnicodeDecodeError:
            continue
        ascii_characters[codec] = len(text) - len(text.translate(_WITHOUT_ASCII))
    best = max(ascii_characters, key=lambda codec: ascii_characters[codec], default=None)
    others = [count for codec, count in ascii_characters.items() if codec != best]
    return best if best and ascii_characters[best] > 4 * max(others, default=0) else None


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
                fields = _FIELD_ENDS.split(raw[:_SAMPLE])
                self.sample += b"".join(f + b"\n" for f in fields if not f.isascii())
        self.are_mostly_utf8 = valid > _VALID_SHARE * (valid + invalid)


def _legacy_codec(sample: bytes, name: str) -> str:
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > max(_FEW_CONTROLS, _MOST_CONTROLS * len(sample)):
        share = controls / len(sample)
        what = f"is a binary file: {share:.0%} of its bytes are control characters"
        raise config_error(name, what, "a file of text, or one whose name ends as its format's do")
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        what = "is not UTF-8, and charset-normalizer, which recognises encodings, is not installed"
        fix = "pip install charset-normalizer, or data.encoding=cp1252"
        raise config_error(name, what, fix) from error
    matches = list(from_bytes(sample, cp_isolation=_LEGACY))
    found = _chosen(matches) if matches else "cp1252"
    found = "cp932" if _is_japanese(sample, "cp932") else _better_twin(sample, found)
    if (oddity := _oddity(sample, found)) > _MOST_ODD:
        others = [match.encoding for match in matches] or _LEGACY
        oddities = {codec: _oddity(sample, codec) for codec in (found, *others, *_OF_OLD_SYSTEMS)}
        found = min(oddities, key=lambda codec: oddities[codec])
        oddity = oddities[found]
    if oddity > _NO_TEXT:
        what = "is not UTF-8, and in no encoding that is recognised"
        raise config_error(name, what, "data.encoding=ENCODING, such as cp1252 or utf-16")
    return _WIDER.get(found, found)


def _chosen(matches: Sequence[CharsetMatch]) -> str:
    """The match with the least mess in its text, or one with hardly more that is clearly some language;
    cp1252, which is by far the commonest, where it is as good."""
    best = matches[0]
    for match in matches:
        if match.chaos <= matches[0].chaos + 0.05 and match.coherence >= best.coherence + 0.05:
            best = match
    alike = {
        name
        for match in matches
        if match.chaos <= best.chaos and match.coherence >= best.coherence
        for name in (match.encoding, *match.could_be_from_charset)
    }
    return "cp1252" if "cp1252" in alike else best.encoding


def _is_japanese(content: bytes, codec: str) -> bool:
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        return False
    beyond = sum(ord(character) > 127 for character in text)
    return len(_KANA.findall(text)) > _JAPANESE * beyond


def _better_twin(content: bytes, codec: str) -> str:
    options = [codec, _TWINS.get(codec, codec)]
    return min(options, key=lambda option: _oddity(content, option))


def told_otherwise(open_bytes: Callable[[], IO[bytes]], codec: str) -> str:
    """Tell where a file that is read in a named encoding is mostly UTF-8; '' where it is not."""
    if codec == UTF8 or codec.startswith(("utf", "iso2022")):
        return ""
    shown: list[str] = []
    valid = invalid = 0
    with open_bytes() as file:
        for number, raw in enumerate(file, 1):
            if raw.isascii():
                continue
            if not _decodes(raw, UTF8):
                invalid += 1
                continue
            valid += 1
            if len(shown) < _SHOWN:
                shown.append(f"line {number} {_surroundings(raw, codec)!r}")
    if valid <= invalid:
        return ""
    what = f"most of its lines beyond ASCII are UTF-8, which data.encoding={codec} reads as"
    return f"{what} {', '.join(shown)}"


def _oddity(content: bytes, codec: str) -> float:
    """Odd characters for each one beyond ASCII: symbols and capitals within words, controls, letters of
    two scripts in one word; infinite if the bytes are no text in this encoding."""
    try:
        text = f" {content.decode(codec)} "
    except UnicodeDecodeError:
        return math.inf
    places = [n for n, c in enumerate(text) if ord(c) > 127 or (c < " " and c not in "\t\r\n")]
    return sum(_is_odd(*text[n - 1 : n + 2]) for n in places) / max(1, len(places))


def _is_odd(before: str, character: str, after: str) -> bool:
    category = unicodedata.category(character)
    if category[0] == "C" or "\u2500" <= character < "\u2600":  # box drawing
        return True
    if category[0] == "L":
        foreign = character > "\u024f" and any(c.isascii() and c.isalpha() for c in before + after)
        return foreign or (category == "Lu" and before.islower())
    within = before.isalpha() and after.isalpha()
    return within and (category[0] in "SN" or character in "¿¡¶")


def _decodes(content: bytes, codec: str) -> bool:
    try:
        codecs.getincrementaldecoder(codec)().decode(content)
    except UnicodeDecodeError:
        return False
    return True


def _surroundings(raw: bytes, codec: str) -> str:
    """The first character beyond ASCII of a line, with what stands around it."""
    text = raw.decode(codec, "replace").strip()
    at = next((n for n, character in enumerate(text) if ord(character) > 127), 0)
    return text[max(0, at - _CONTEXT) : at + _CONTEXT]
