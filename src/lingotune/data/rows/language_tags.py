"""Language tags as BCP 47 has them, whatever people write: en_us, EN, eng, English, de_DE.UTF-8."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from lingotune.data.rows.unicode import visible_part

_TAG = re.compile(r"([a-z]{2,3})((?:-[a-z0-9]{1,8})*)")
_LOCALE_END = re.compile(r"[.@].*")
"""Encoding and variant of a POSIX locale: de_DE.UTF-8@euro."""
_DETAIL = re.compile(r"(.+?) \((.+)\)|(.+?); .+")
"""A name with a script or a region, as in Chinese (Simplified), or with others: Spanish; Castilian."""
_DETAILS = {
    "simplified": "Hans", "traditional": "Hant", "cyrillic": "Cyrl", "latin": "Latn",
    "us": "US", "usa": "US", "united states": "US", "uk": "GB", "united kingdom": "GB",
    "brazil": "BR", "portugal": "PT", "mexico": "MX", "spain": "ES", "canada": "CA",
}  # fmt: skip
_SCRIPT_OF = {
    "zh-CN": "zh-Hans", "zh-SG": "zh-Hans", "zh-TW": "zh-Hant", "zh-HK": "zh-Hant", "zh-MO": "zh-Hant",
}  # fmt: skip
_NAMES = {
    "simplified chinese": "zh-Hans", "traditional chinese": "zh-Hant", "brazilian portuguese": "pt-BR",
    "mandarin": "zh", "mandarin chinese": "zh", "castilian": "es", "castellano": "es", "farsi": "fa",
    "flemish": "nl-BE", "tagalog": "fil",
}  # fmt: skip
"""Names that CLDR has under another one."""
_NOTHING = {
    "none", "null", "nan", "n/a", "<na>", "-", "--", "?", "unk", "unknown", "undefined", "undetermined",
    "missing", "not available",
}  # fmt: skip


def tags_of(written: Iterable[str]) -> list[str]:
    """Write languages as tags; what is no language stays as it is."""
    return [standard_tag(one) or one for one in written]


def standard_tag(written: str) -> str | None:
    """Write a language as a tag: `pt-BR` for pt_br, por-BR or PT-BR; `pt` for Portuguese or português.

    None for what is neither a tag nor a name in English or in the language itself.
    """
    word = unicodedata.normalize("NFKC", visible_part(written)).casefold()
    codes, names = _table()
    named = _NAMES.get(word) or names.get(word)
    if named is not None:
        return named
    detail = _DETAIL.fullmatch(word)
    if detail is not None:
        whole = standard_tag(detail[1] or detail[3])
        more = _DETAILS.get(detail[2] or "")
        return f"{whole}-{more}" if whole and more and "-" not in whole else whole
    found = _TAG.fullmatch(_LOCALE_END.sub("", word).replace("_", "-"))
    if found is None or (len(found[1]) == 2 and found[1] not in _two_letters()):
        return None
    language = codes.get(found[1], found[1])
    return "-".join([language, *map(_cased, filter(None, found[2].split("-")))])


def means_nothing(written: str) -> bool:
    """Tell whether a word stands where no language is known, such as unknown, N/A or pandas' nan."""
    return visible_part(written).casefold() in _NOTHING


def with_script(tag: str) -> str:
    """Write a Chinese region as the script that is used there: zh-Hant for zh-TW; others as they are."""
    return _SCRIPT_OF.get("-".join(tag.split("-")[:2]), tag)


def _cased(subtag: str) -> str:
    """Write a script as Hant and a region as TW; all else stays in small letters."""
    if len(subtag) == 4 and subtag.isalpha():
        return subtag.title()
    return subtag.upper() if len(subtag) == 2 else subtag


def primary(tag: str) -> str:
    """Return the language of a tag without script and region."""
    return tag.partition("-")[0]


@functools.cache
def _two_letters() -> frozenset[str]:
    """The codes of ISO 639-1, and those that it had once: jp, cn or us are none."""
    codes, names = _table()
    return frozenset(code for code in (*codes, *codes.values(), *names.values()) if len(code) == 2)


@functools.cache
def _table() -> tuple[dict[str, str], dict[str, str]]:
    """Other codes of languages, and their names; made by tools/language_codes.py."""
    path = Path(__file__).with_name("facts") / "languages.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    return table["codes"], table["names"]
