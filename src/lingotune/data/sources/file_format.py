"""The settings that say how a file is read; each is found out from the file unless it is set."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from encodings.aliases import aliases

from lingotune.config.quoting import override_text
from lingotune.config.schema import AUTO, DataConfig, Quoting, Separator
from lingotune.data.rows.columns import numbered
from lingotune.data.rows.findings import config_error

_OF_NAMES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem")
"""Codecs of Python that files are not written in."""


@dataclass(frozen=True)
class FileFormat:
    """Encoding, quoting, separator, sheet and column names of files, as `DataConfig` describes them."""

    encoding: str = AUTO
    quoting: Quoting = Quoting.auto
    separator: Separator = Separator.auto
    sheet: str | None = None
    header: tuple[str, ...] = ()


def format_of(data: DataConfig) -> FileFormat:
    """Return the format settings of a data section."""
    return FileFormat(data.encoding, data.quoting, data.separator, data.sheet, tuple(data.header))


def check_once(names: Sequence[str], location: str) -> None:
    """Raise ConfigError if a header, at a location, names a column twice."""
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        what = f"the header names a column twice: {', '.join(map(repr, twice))}"
        fix = override_text("data.header", numbered(len(names)))
        raise config_error(location, what, f"a name for each, or {fix} if it is no header")


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
