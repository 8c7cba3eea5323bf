"""Parts of a text that are another text in a code: base64, hexadecimal digits, URL's percent signs, and
backslashes before what an override, a shell or JSON takes for syntax."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote

_SHORTEST = 20
"""Fewest letters of a coded part that could hold a token."""
_LETTERS = re.compile(rf"[A-Za-z0-9+/_-]{{{_SHORTEST},}}={{0,2}}")
_PIECE = re.compile(rf"[A-Za-z0-9+]{{{_SHORTEST},}}={{0,2}}")
"""Piece of base64 between the strokes of a path or a name."""
_WORD = re.compile(r"[^\s\"'<>]+")
_ESCAPE = re.compile(r"\\+(?=[^\w\s])")
"""Backslashes before a sign; messages that quote a text double them."""
_SIGN = re.compile("[@=:]")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_STANDARD = str.maketrans("-_", "+/")


def decoded_parts(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start and end of every coded part, and the plain text that it stands for."""
    for found in _LETTERS.finditer(text):
        runs = [found, *_PIECE.finditer(text, *found.span())]
        yield from ((*run.span(), plain) for run in runs if (plain := _plain(run[0])))
    for start, stop in lines_with("%", text):
        words = _WORD.finditer(text, start, stop)
        yield from ((*word.span(), unquote(word[0])) for word in words if "%" in word[0])
    for start, stop in lines_with("\\", text):
        for word in _WORD.finditer(text, start, stop):
            plain = _ESCAPE.sub("", word[0])
            # only an address or an assignment is known by its signs
            if plain != word[0] and _SIGN.search(plain):
                yield *word.span(), plain


def lines_with(part: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the lines that contain a part of a text."""
    at = text.find(part)
    while at >= 0:
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        yield text.rfind("\n", 0, at) + 1, stop
        at = text.find(part, stop)


def _plain(run: str) -> str:
    """Return what base64 or hexadecimal digits stand for; '' if that is no text in ASCII."""
    try:
        if _HEX.fullmatch(run) and len(run) % 2 == 0:
            raw = bytes.fromhex(run)
        else:
            bare = run.rstrip("=").translate(_STANDARD)
            raw = base64.b64decode(bare + "=" * (-len(bare) % 4))
        plain = raw.decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return plain if plain.replace("\n", "").replace("\t", "").isprintable() else ""
