"""Characters of texts: what no tokenizer takes, and Unicode's composed form."""

from __future__ import annotations

import re
import unicodedata

from lingotune.data.rows.findings import Unfit

# They are equal to others by Unicode's rules, but are written in names on purpose.
_COMPATIBILITY_IDEOGRAPHS = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f]+)")
# What Unicode calls default-ignorable, fillers and blanks that it counts among letters and symbols, and
# controls; NUL has a reason of its own.
_VISIBLE = re.compile(
    "[^\\s\x01-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen: white space, controls, zero-width characters."""
    # Most texts begin with an ASCII letter, which takes a tenth of the time to see.
    return not "!" <= text[:1] <= "~" and _VISIBLE.search(text) is None


def visible_part(text: str) -> str:
    """Cut off what cannot be seen at both ends of a text: white space, byte order marks and the like."""
    start = _VISIBLE.search(text)
    if start is None:
        return ""
    end = len(text)
    while _VISIBLE.match(text, end - 1) is None:
        end -= 1
    return text[start.start() : end]


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
