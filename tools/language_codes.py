"""Write the table of language codes and names that data is read with, facts/languages.json.

pip install langcodes language_data && python tools/language_codes.py

Facts of IANA's registry and of CLDR, as `langcodes` has them. A table travels to workers, where a library
would have to be installed.
"""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Iterator
from pathlib import Path

from langcodes import Language, standardize_tag, tag_is_valid

OUTPUT = Path(__file__).parents[1] / "src/lingotune/data/rows/facts/languages.json"
_BIBLIOGRAPHIC = [
    "alb", "arm", "baq", "bur", "chi", "cze", "dut", "fre", "geo", "ger", "gre", "ice", "mac", "mao",
    "may", "per", "rum", "slo", "tib", "wel",
]  # fmt: skip

_MEANT = {
    "cmn": "zh", "arb": "ar", "pes": "fa", "zsm": "ms", "swh": "sw", "ekk": "et", "lvs": "lv",
    "uzn": "uz", "khk": "mn", "azj": "az", "als": "sq", "npi": "ne", "ory": "or",
}  # fmt: skip
"""The one language of a group that is meant where the group's own code is written."""


def codes() -> Iterator[str]:
    """Yield all ISO 639 codes of two and three letters that are in use."""
    for size in (2, 3):
        for letters in itertools.product(string.ascii_lowercase, repeat=size):
            code = "".join(letters)
            if tag_is_valid(code):
                yield code


def main() -> None:
    """Write the table: other codes of a language, and its names in English and in itself."""
    others = dict(_MEANT)
    names: dict[str, str] = {}
    for code in [*codes(), *_BIBLIOGRAPHIC]:
        primary = standardize_tag(code).partition("-")[0]
        if primary != code:
            others[code] = primary
        language = Language.get(primary)
        if len(primary) == 2 or language.speaking_population() > 1_000_000:
            for name in (language.display_name("en"), language.autonym()):
                folded = name.casefold().partition(" (")[0]
                if len(folded) > 3 or not folded.isascii():
                    names.setdefault(folded, primary)
    source = "IANA's language subtag registry and CLDR, by langcodes: tools/language_codes.py"
    table = {
        "source": source,
        "codes": dict(sorted(others.items())),
        "names": dict(sorted(names.items())),
    }
    text = json.dumps(table, ensure_ascii=False, indent=0)
    OUTPUT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
