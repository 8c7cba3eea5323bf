"""Language tags as BCP 47 has them, whatever people write: en_us, EN, eng, English, de_DE.UTF-8."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from lingotune.data.rows.unicode import visible_part

_TAG = re.compile(r"([a-z]{2,3})((?:-[a-z0-9]{1,8})*)")
_LOCALE_END = re.compile(r"[.@].*")
"""Encoding and variant of a POSIX locale: de_DE.UTF-8@euro."""


def standard_tag(written: str) -> str | None:
    """Write a language as a tag: `pt-BR` for pt_br, por-BR or PT-BR; `pt` for Portuguese or português.

    None for what is neither a tag nor a name in English or in the language itself.
    """
    word = visible_part(written).casefold()
    codes, names = _table()
    named = names.get(word) or names.get(word.partition(" (")[0])
    if named is not None:
        return named
    found = _TAG.fullmatch(_LOCALE_END.sub("", word).replace("_", "-"))
    if found is None:
        return None
    language = codes.get(found[1], found[1])
    return "-".join([language, *map(_cased, filter(None, found[2].split("-")))])


def _cased(subtag: str) -> str:
    """Write a script as Hant and a region as TW; all else stays in small letters."""
    if len(subtag) == 4 and subtag.isalpha():
        return subtag.title()
    return subtag.upper() if len(subtag) == 2 else subtag


def primary(tag: str) -> str:
    """Return the language of a tag without script and region."""
    return tag.partition("-")[0]


@functools.cache
def _table() -> tuple[dict[str, str], dict[str, str]]:
    """Other codes of languages, and their names; made by tools/language_codes.py."""
    path = Path(__file__).with_name("facts") / "languages.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    return table["codes"], table["names"]
