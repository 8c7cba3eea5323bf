"""Characters of texts: what no tokenizer takes, and Unicode's composed form."""

from __future__ import annotations

import re
import unicodedata

from lingotune.data.rows.findings import Unfit

# They are equal to others by Unicode's rules, but are written in names on purpose.
_COMPATIBILITY_IDEOGRAPHS = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f]+)")


def check_encodable(text: str, column: str | None) -> None:
    """Unfit if a character has no UTF-8: half a surrogate pair. column: None where it is in none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"has half a surrogate pair, U+{ord(text[error.start]):04X}{in_column(column, ',')}"
        raise Unfit("half-surrogate", what) from None


def in_column(column: str | None, mark: str = "") -> str:
    """`, in 'text'`: where a message is about; nothing where that is no column."""
    return "" if column is None else f"{mark} in {column!r}"


def to_nfc(text: str) -> str:
    """Unicode's composed form (NFC), but CJK compatibility ideographs stay what they are.

    NFC alone would write U+FA19 as U+795E: for Unicode the same character, for the bearer of a name
    another. Widths (half-width katakana, full-width letters) are nothing that NFC touches.
    """
    parts = _COMPATIBILITY_IDEOGRAPHS.split(text)
    parts[::2] = [unicodedata.normalize("NFC", part) for part in parts[::2]]
    return "".join(parts)
