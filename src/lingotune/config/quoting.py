"""Values as they are typed: first as Hydra's grammar reads them back, then as a shell does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./*?][\w./*?+-]*|\$\{[\w.]+\}", re.ASCII)
"""Texts that need no quotes in any place of an override."""
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?")
_NAME_ENDS = re.compile(r"[\\()\[\]{}:=,\s]")
_ESCAPED = r"\\\g<0>"
"""Names in mappings have no quotes; a backslash stands before what would end them."""
_WORDS = {"null", "true", "false", "nan", "inf"}


def hydra_value(value: Any) -> str:
    """Write a value so that Hydra's grammar reads the same; rows of the schema without their defaults."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(hydra_value, value))}]"
    if is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    if isinstance(value, dict):
        pairs = (
            f"{_NAME_ENDS.sub(_ESCAPED, name)}: {hydra_value(inner)}"
            for name, inner in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value) if isinstance(value, int) else _text(value)


def is_plain(text: str) -> bool:
    """Tell whether a text needs no quotes in an override: a number, a word or a path."""
    return bool(_PLAIN.fullmatch(text) or _NUMBER.fullmatch(text))


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    # a quote ends the text unless a backslash stands before it, and only there a backslash counts
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', r"\""), text)
    return f'"{escaped}"'


def listing(key: str, texts: Iterable[str]) -> str:
    """Show a setting of texts for people to recognise, without the quotes that pasting needs."""
    return f"{key}=[{','.join(texts)}]"


def override_text(key: str, value: Any) -> str:
    """Write `key=value` to be pasted into a shell."""
    return for_shell(f"{key}={hydra_value(value)}")


_PIECE = re.compile(r"""([^\[\]{},:'"]+)(:?)""")


def repaired(value: str, *, holds_items: bool) -> str:
    """Write a value that Hydra's grammar cannot read as one that it can.

    holds_items: it is a list or a mapping, of which each item is quoted where that is needed; else the
    whole is one text.
    """
    return _PIECE.sub(_quoted_piece, value) if holds_items else _text(value)


def _quoted_piece(found: re.Match[str]) -> str:
    piece, colon = found[1].strip(), found[2]
    if not piece or colon or _NUMBER.fullmatch(piece):
        return _NAME_ENDS.sub(_ESCAPED, piece) + (": " if colon else "")
    return piece if piece.lower() in _WORDS else _text(piece)


def for_shell(word: str) -> str:
    """Quote a word where a shell would read it in another way."""
    if "'" in word and not set('"$`\\!') & set(word):
        return f'"{word}"'
    return shlex.quote(word)
