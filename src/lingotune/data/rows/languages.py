"""From raw languages to codes, which of them are wanted, and what was met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lingotune.config.problems import Problem
from lingotune.config.quoting import override_text
from lingotune.config.schema import DETECT, NO_LANGUAGE, PATTERN_LANGUAGE, DataConfig
from lingotune.data.rows.columns import candidate
from lingotune.data.rows.findings import Record, Unfit, show
from lingotune.data.rows.labels import alone
from lingotune.data.rows.language_detection import LIBRARY, SURE, LanguageDetector, detector_version
from lingotune.data.rows.language_tags import (
    means_nothing,
    primary,
    standard_tag,
    tags_of,
    with_script,
)
from lingotune.data.rows.unicode import check_encodable, is_blank, visible_part

_MOST_CODES = 1000
"""Ways of writing a language that are told apart beside the wanted ones; a text column has no end."""
_SHOWN = 8


@dataclass
class Spelling:
    """One way of writing a language, its code, and its rows. wanted: whether the rows count."""

    written: str
    code: str
    wanted: bool
    is_tag: bool = True
    rows: int = 0


class Languages:
    """Codes of the rows' languages, the choice that `data.languages` makes, and what was met.

    A code is the tag that `data.languages` names and that the row's tag begins with, the longest such;
    without any there, the language alone: en for en-US, EN and English. `data.language_map` comes first.
    """

    def __init__(self, data: DataConfig) -> None:
        column = data.columns.language
        self._detector = LanguageDetector() if column == DETECT else None
        self._column = None if column == DETECT else column
        self._text_column = data.columns.text
        self._key = PATTERN_LANGUAGE if self._column is None else self._column
        default = data.default_language
        self._default = default and (standard_tag(default) or default)
        self._map = {_folded(key): code for key, code in data.language_map.items()}
        self._unused = {_folded(key): key for key in data.language_map}
        self._wanted = tags_of(data.languages)
        self._typed = dict(zip(self._wanted, data.languages))
        self._by_value: dict[Any, Spelling] = {}
        self._defaulted = Spelling("", self._default or NO_LANGUAGE, True)
        self._others = Spelling("others", "", False)

    def read(self, record: Record) -> Spelling:
        """The row's language, its row counted; Unfit if the row names none."""
        value = record.get(self._key) if self._detector is None else self._detected(record)
        try:
            found = self._by_value[value]
        except (KeyError, TypeError):
            found = self._first(value)
        found.rows += 1
        return found

    def _detected(self, record: Record) -> str | None:
        assert self._detector is not None
        text = record.get(self._text_column)
        return (
            self._detector.language(text) if isinstance(text, str) and not is_blank(text) else None
        )

    def _first(self, value: Any) -> Spelling:
        """The language of a value that was not met before."""
        value = alone(value)
        if not isinstance(value, str) or is_blank(value) or self._says_nothing(value):
            return self._unnamed(value)
        written = visible_part(value)
        check_encodable(written, self._column)
        self._unused.pop(_folded(written), None)
        mapped = self._map.get(_folded(written))
        tag = standard_tag(mapped or written)
        code = self._code(tag, mapped) if tag else mapped or written
        known = self._by_value.get(written)
        found = known or Spelling(written, code, self._is_wanted(code), tag is not None)
        if code not in self._wanted and len(self._by_value) >= _MOST_CODES:
            return found if found.wanted else self._others
        self._by_value[value] = self._by_value[written] = found
        return found

    def _says_nothing(self, value: str) -> bool:
        is_meant = _folded(value) in self._map or standard_tag(value) in self._wanted
        return means_nothing(value) and not is_meant

    def _unnamed(self, value: Any) -> Spelling:
        nothing = value is None or value != value or isinstance(value, str)
        if self._column is None and self._default is None:
            # Texts without letters are told as such; a source without languages has none to tell.
            self._defaulted.wanted = not self._wanted or self._detector is not None
            return self._defaulted
        if nothing and self._default is not None:
            self._defaulted.wanted = self._is_wanted(self._defaulted.code)
            return self._defaulted
        what = f"has no language code in {self._column!r}, but {show(value)}"
        default = self._wanted[0] if self._wanted else NO_LANGUAGE
        fix = f"data.default_language={default}, or data.on_error=skip"
        raise Unfit("no-language", what, fix if nothing else "")

    def _code(self, tag: str, mapped: str | None) -> str:
        """Shorten a tag to a wanted one, or else to its language; what was mapped stays as it is."""
        parts = tag.split("-")
        longer = ["-".join(parts[:size]) for size in range(len(parts), 1, -1)]
        options = [*longer, with_script(tag), primary(tag)]
        otherwise = tag if mapped else primary(tag)
        return next((option for option in options if option in self._wanted), otherwise)

    def _is_wanted(self, code: str) -> bool:
        return not self._wanted or code in self._wanted

    # --- what was met ---------------------------------------------------------------------------

    def _met(self, takes: Callable[[Spelling], bool]) -> list[Spelling]:
        unique = {id(found): found for found in self._by_value.values()}.values()
        return [found for found in unique if found.rows and takes(found)]

    def warnings(self) -> Iterator[str]:
        """List what was detected, joined, added and left out, and what is no language."""
        if self._detector is not None and self._detector.read:
            yield self._told_detection(self._detector)
        odd = self._met(lambda found: found.wanted and not found.is_tag)
        if odd:
            yield f"no languages, such as de, pt-BR or French: {_told(odd)}"
        ways: dict[str, list[Spelling]] = defaultdict(list)
        for found in self._met(lambda found: found.wanted and found.is_tag):
            ways[found.code].append(found)
        joined = [
            f"{code} = {_told(found)}"
            for code, found in ways.items()
            if any(spelling.written != code for spelling in found)
        ]
        if joined:
            yield f"languages brought to one code: {'; '.join(joined)}"
        if self._defaulted.rows and self._default is not None:
            rows = _rows(self._defaulted.rows)
            yield f"{rows} without a language: {self._default} (data.default_language)"
        left_out = self._met(lambda found: not found.wanted)
        left_out += [
            other for other in (self._others, self._defaulted) if other.rows and not other.wanted
        ]
        if left_out:
            count = _rows(sum(found.rows for found in left_out))
            wanted = ", ".join(self._typed.values())
            yield f"{count} left out, not in data.languages=[{wanted}]: {_told(left_out)}"
        if self._unused and self._by_value:
            yield f"data.language_map: no row has {', '.join(map(repr, self._unused.values()))}"

    def _told_detection(self, detector: LanguageDetector) -> str:
        counts: dict[str, int] = defaultdict(int)
        for found in self._met(lambda found: True):
            counts[found.code] += found.rows
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = ", ".join(f"{code} ({rows})" for code, rows in ranked[:_SHOWN])
        more = f" and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
        share = detector.sure / detector.read
        by = f"{LIBRARY} {detector_version()}"
        return (
            f"languages detected by {by}, {share:.0%} of {detector.read} rows with a confidence of"
            f" at least {SURE:g}: {shown}{more}"
        )

    def problems(
        self, columns: Sequence[str], needed: Collection[str] | None = None
    ) -> Iterator[Problem]:
        """Wanted languages that no row is in; `columns` are those of the source.

        needed: those of them that rows have to be in; None = all.
        """
        named = self._column is not None or self._detector is not None or self._default is not None
        if self._wanted and not named and PATTERN_LANGUAGE not in columns:
            near = override_text(
                "data.columns.language", candidate("language", "language", columns) or DETECT
            )
            what = "needs to know each row's language, and no column is named"
            fix = f"{near}, or data.languages=[]"
            yield Problem("data.languages", what, fix)
            return
        counts: dict[str, int] = defaultdict(int)
        for found in [*self._met(lambda found: True), self._defaulted]:
            counts[found.code] += found.rows
        due = [code for code in self._wanted if needed is None or code in needed]
        unknown = [self._typed[code] for code in due if not counts.get(code)]
        if unknown:
            known = [code for code in self._wanted if counts.get(code)]
            met = {code: rows for code, rows in sorted(counts.items()) if rows}
            said = ", ".join(f"{code} ({rows})" for code, rows in met.items())
            what = f"no row is in {', '.join(map(repr, unknown))}; found: {said or 'none'}"
            yield Problem("data.languages", what, override_text("data.languages", known or [*met]))


def _folded(written: str) -> str:
    return visible_part(written).casefold().replace("_", "-")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _told(spellings: Sequence[Spelling]) -> str:
    ranked = sorted(spellings, key=lambda found: -found.rows)
    shown = [f"{show(found.written)} ({found.rows})" for found in ranked[:_SHOWN]]
    more = len(spellings) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])
