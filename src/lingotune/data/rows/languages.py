"""From raw language codes to wanted and other languages, and which were met."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lingotune.config.problems import Problem
from lingotune.config.schema import NO_LANGUAGE, PATTERN_LANGUAGE, DataConfig
from lingotune.data.rows.columns import candidate
from lingotune.data.rows.findings import Record, Unfit, show
from lingotune.data.rows.unicode import check_encodable

_MOST_CODES = 1000
"""Codes that are told apart beside the wanted ones; a text column has no end."""

_CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
"""RFC 5646, with the underscore that many write; `und`, for none, is one of them."""
_SHOWN = 5


@dataclass
class Language:
    """A language, and how many rows it has. wanted: whether the rows count."""

    code: str
    wanted: bool
    rows: int = 0


class Languages:
    """What `data.languages` wants, and what was met."""

    def __init__(self, data: DataConfig) -> None:
        self._column = data.columns.language
        self._key = PATTERN_LANGUAGE if self._column is None else self._column
        self._default = NO_LANGUAGE if self._column is None else None
        self._wanted = list(data.languages)
        self._by_code: dict[str, Language] = {}
        self._by_value: dict[Any, Language] = {}

    def read(self, record: Record) -> Language:
        """The row's language, its row counted; Unfit if the row names none."""
        value = record.get(self._key, self._default)
        try:
            language = self._by_value[value]
        except (KeyError, TypeError):
            language = self._first(value)
        language.rows += 1
        return language

    def _first(self, value: Any) -> Language:
        """The language of a value that was not met before."""
        if not isinstance(value, str) or not value.strip():
            what = f"has no language code in {self._column!r}, but {show(value)}"
            raise Unfit("no-language", what)
        code = value.strip()
        check_encodable(code, self._column)
        language = self._by_code.get(code) or Language(
            code, not self._wanted or code in self._wanted
        )
        if code in self._wanted or len(self._by_value) < _MOST_CODES:
            self._by_code[code] = self._by_value[value] = language
        return language

    def warnings(self) -> Iterator[str]:
        """Codes that are none, and codes that are written in several ways: each counts as a language."""
        wanted = [found for found in self._by_code.values() if found.wanted]
        odd = [found for found in wanted if not _CODE.fullmatch(found.code)]
        if odd:
            yield f"no language codes, such as de or pt-BR: {_told(odd)}"
        ways: dict[str, list[Language]] = defaultdict(list)
        for found in self._by_code.values():
            ways[found.code.casefold().replace("_", "-")].append(found)
        for same in ways.values():
            if len(same) > 1 and any(found.wanted for found in same):
                yield f"one language written in several ways, taken for several: {_told(same)}"

    def problems(self, columns: Sequence[str]) -> Iterator[Problem]:
        """Wanted languages that no row is in; `columns` are those of the source."""
        if self._wanted and self._column is None and PATTERN_LANGUAGE not in columns:
            near = candidate("language", "language", columns) or "COLUMN"
            what = "needs to know each row's language, and no column is named"
            fix = f"data.columns.language={near}, or data.languages=[]"
            yield Problem("data.languages", what, fix)
            return
        unknown = [code for code in self._wanted if code not in self._by_code]
        if unknown:
            counts = {code: language.rows for code, language in sorted(self._by_code.items())}
            found = ", ".join(f"{code} ({rows})" for code, rows in counts.items())
            what = f"no row is in {', '.join(map(repr, unknown))}; found: {found or 'none'}"
            known = [code for code in self._wanted if code in counts] or list(counts)
            yield Problem("data.languages", what, f"'data.languages=[{','.join(known)}]'")


def _told(languages: Sequence[Language]) -> str:
    shown = [f"{show(found.code)} ({found.rows})" for found in languages[:_SHOWN]]
    more = len(languages) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])
