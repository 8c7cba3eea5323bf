"""The settings that say how a file is read; each is found out from the file unless it is set."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from difflib import get_close_matches
from encodings.aliases import aliases

from lingotune.config.schema import AUTO, DataConfig, Quoting, Separator

_OF_NAMES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem")
"""Codecs of Python that files are not written in."""


@dataclass(frozen=True)
class FileFormat:
    """Encoding, quoting, separator and sheet of files, as `DataConfig` describes them."""

    encoding: str = AUTO
    quoting: Quoting = Quoting.auto
    separator: Separator = Separator.auto
    sheet: str | None = None


def format_of(data: DataConfig) -> FileFormat:
    """Return the format settings of a data section."""
    return FileFormat(data.encoding, data.quoting, data.separator, data.sheet)


def codec_of(encoding: str) -> str | None:
    """Return Python's name of a text encoding; None if there is no such encoding."""
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError):
        return None
    is_text: bool = found._is_text_encoding  # false for base64, zlib and the like
    return found.name if is_text and found.name not in _OF_NAMES else None


def near_encoding(word: str) -> str:
    """Return the known encoding that is spelled most like a word, or `auto`."""
    plain = word.lower().replace("-", "_").replace(" ", "_")
    names = sorted({*aliases, *aliases.values()})
    near = next((n for n in get_close_matches(plain, names, n=3) if codec_of(n)), AUTO)
    return near.replace("_", "-")
