"""What is in prepared data: the figures of its manifest, as numbers and as tables of text."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lingotune.config.problems import printable
from lingotune.config.schema import ALL, SPLITS

Table = list[list[str]]
"""Rows of cells, the header first; all rows have the same length."""

MOST_LANGUAGES = 30
"""Languages shown by themselves; a column that holds no codes would fill pages."""
_LONGEST_NAME = 18


@dataclass(frozen=True)
class Figures:
    """Rows of one language, or of several, in a split.

    rows: by class. tokens: after the cut at max_length. cut: rows that are longer. unknown: tokens
    that the vocabulary lacks. lengths: rows by their tokens before the cut; the last entry stands for
    all longer ones too.
    """

    name: str
    rows: tuple[int, ...]
    tokens: int
    cut: int
    unknown: int
    lengths: tuple[int, ...]

    @property
    def total(self) -> int:
        """Rows of all classes."""
        return sum(self.rows)


@dataclass(frozen=True)
class Split:
    """A split by language, in the order of the codes, and as a whole."""

    name: str
    languages: tuple[Figures, ...]
    whole: Figures


@dataclass(frozen=True)
class Flow:
    """What became of the rows that were read. other: of languages that are not wanted."""

    name: str
    read: int
    kept: int
    rejected: int
    other: int
    duplicates: int

    @property
    def sentence(self) -> str:
        """Read = kept + rejected + of other languages + duplicates, with the figures."""
        left = self.kept + self.rejected + self.other + self.duplicates
        return (
            f"{self.read:,} read {'=' if self.read == left else 'is not'} {self.kept:,} kept"
            f" + {self.rejected:,} rejected + {self.other:,} of other languages"
            f" + {self.duplicates:,} duplicates"
        )


# --- figures ------------------------------------------------------------------------------------


def labels_of(manifest: Mapping[str, Any]) -> list[str]:
    """Class names in the order of their ids."""
    return [label["name"] for label in manifest["data"]["labels"]]


def splits_of(manifest: Mapping[str, Any]) -> list[Split]:
    """The figures of all splits.

    Every split has the same languages, so that one without rows is seen; beyond `MOST_LANGUAGES` the
    smallest are put together.
    """
    statistics = manifest["statistics"]
    rows: Counter[str] = Counter()
    for languages in statistics.values():
        for language, classes in languages.items():
            rows[language] += sum(figures["rows"] for figures in classes.values())
    largest = sorted(rows, key=lambda language: (-rows[language], language))
    shown = largest if len(largest) <= MOST_LANGUAGES else largest[: MOST_LANGUAGES - 1]
    others = largest[len(shown) :]
    return [_split(manifest, name, sorted(shown), others) for name in SPLITS if name in statistics]


def _split(
    manifest: Mapping[str, Any], name: str, shown: Sequence[str], others: Sequence[str]
) -> Split:
    found = [_language(manifest, name, language) for language in shown]
    if others:
        rest = [_language(manifest, name, language) for language in others]
        found.append(_together(f"{len(others)} others", rest))
    whole = _together("all", found) if found else _language(manifest, name, "all")
    return Split(name, tuple(found), whole)


def _language(manifest: Mapping[str, Any], split: str, language: str) -> Figures:
    classes = manifest["statistics"][split].get(language, {})
    lengths = manifest["lengths"][split].get(language)
    tokens, cut, unknown = (
        sum(figures[key] for figures in classes.values()) for key in ("tokens", "cut", "unknown")
    )
    return Figures(
        language,
        tuple(classes.get(label, {"rows": 0})["rows"] for label in labels_of(manifest)),
        tokens,
        cut,
        unknown,
        tuple(lengths or [0] * (4 * manifest["max_length"] + 1)),
    )


def _together(name: str, parts: Sequence[Figures]) -> Figures:
    return Figures(
        name,
        tuple(map(sum, zip(*(part.rows for part in parts)))),
        sum(part.tokens for part in parts),
        sum(part.cut for part in parts),
        sum(part.unknown for part in parts),
        tuple(map(sum, zip(*(part.lengths for part in parts)))),
    )


def percentile(lengths: Sequence[int], share: float) -> int:
    """The smallest length that this share of the rows does not pass; 0 where there are no rows."""
    total, passed = sum(lengths), 0
    for length, rows in enumerate(lengths):
        passed += rows
        if passed and passed >= share * total:
            return length
    return 0


def flows_of(manifest: Mapping[str, Any]) -> list[Flow]:
    """What became of the rows of each input, and, last, of all: kept of all are the splits' rows."""
    duplicates = manifest["duplicates"]
    flows = []
    for name, counts in manifest["inputs"].items():
        removed = duplicates.get(name, 0)
        rejected = sum(counts["rejected"].values())
        shown = "all rows" if name == ALL else name
        kept, other = counts["kept"] - removed, counts["filtered"]
        flows.append(Flow(shown, counts["read"], kept, rejected, other, removed))
    kept = sum(split["rows"] for split in manifest["splits"].values())
    read, rejected, other, removed = (
        sum(getattr(flow, key) for flow in flows)
        for key in ("read", "rejected", "other", "duplicates")
    )
    return [*flows, Flow("together", read, kept, rejected, other, removed)]


def rejected_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Reason -> rejected rows of all inputs, the most frequent first."""
    sums: Counter[str] = Counter()
    for counts in manifest["inputs"].values():
        sums.update(counts["rejected"])
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


# --- as text ------------------------------------------------------------------------------------


def headline(manifest: Mapping[str, Any]) -> str:
    """What this is, in one line."""
    wholes = [split.whole for split in splits_of(manifest)]
    rows, tokens = sum(w.total for w in wholes), sum(w.tokens for w in wholes)
    cut = share_text(sum(w.cut for w in wholes), rows)
    unknown = share_text(sum(w.unknown for w in wholes), tokens)
    return (
        f"data {manifest['digest'][:12]}: {rows_text(rows)}, {tokens:,} tokens;"
        f" {'none' if cut == '-' else cut} of the rows cut,"
        f" {'none' if unknown == '-' else unknown} of the tokens unknown"
    )


def origin(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What it was made of, and with what."""
    source, tokenizer = manifest["source"], manifest["tokenizer"]
    versions = {"lingotune": manifest["lingotune"], **manifest["writer"]}
    count, size = len(source["files"]), sum(file.get("bytes", 0) for file in source["files"])
    parts = [
        source["kind"] if source["kind"] != "files" else "",
        f"{count:,} file{'s' * (count != 1)}" if count else "",
        f"{size:,} bytes" if size else "",
    ]
    return {
        "digest": manifest["digest"],
        "source": ", ".join(filter(None, parts)),
        "tokenizer": f"{printable(tokenizer['name'])}, {tokenizer['vocabulary']:,} entries",
        "tokenizer SHA-256": tokenizer["sha256"] or "-",
        "max_length": f"{manifest['max_length']:,}",
        "seed": "-" if manifest["seed"] is None else f"{manifest['seed']}",
        "seconds": ", ".join(f"{step} {took:.1f}" for step, took in manifest["seconds"].items()),
        "versions": ", ".join(f"{name} {v}" for name, v in versions.items() if v),
    }


def legend(manifest: Mapping[str, Any]) -> list[str]:
    """What the columns of `figure_table` mean."""
    return [
        "tokens: of a row on average, after the cut",
        "95% within: tokens, before the cut, that 95% of the rows do not pass",
        f"cut: rows longer than {manifest['max_length']:,} tokens (data.max_length)",
        "unknown: tokens that the vocabulary lacks",
    ]


def figure_table(split: Split, labels: Sequence[str]) -> Table:
    """One row a language, and one for all where there are several."""
    header = ["", "rows", "tokens", "95% within", "cut", "unknown", *map(printable, labels)]
    lines = split.languages if len(split.languages) == 1 else (*split.languages, split.whole)
    return [header, *(_figure_cells(line) for line in lines)]


def _figure_cells(figures: Figures) -> list[str]:
    total = figures.total
    cells = [printable(figures.name), f"{total:,}"]
    if not total:
        return cells + ["-"] * (4 + len(figures.rows))
    return [
        *cells,
        f"{figures.tokens / total:.1f}",
        length_text(figures, 0.95),
        share_text(figures.cut, total),
        share_text(figures.unknown, figures.tokens),
        *(share_text(rows, total) for rows in figures.rows),
    ]


def flow_table(flows: Sequence[Flow]) -> Table:
    """One row an input."""
    header = ["", "read", "kept", "rejected", "other languages", "duplicates"]
    figures = [(f.read, f.kept, f.rejected, f.other, f.duplicates) for f in flows]
    return [header, *([f.name, *(f"{n:,}" for n in of)] for f, of in zip(flows, figures))]


def length_text(figures: Figures, share: float) -> str:
    """The percentile, marked where all that is known is that it is longer."""
    length = percentile(figures.lengths, share)
    return f"{length:,}" if length < len(figures.lengths) - 1 else f"≥{length:,}"


def share_text(part: int, whole: int) -> str:
    """Per cent with a decimal; a dash for nothing, and never 0.0% or 100.0% for what is not."""
    if not part or not whole:
        return "-"
    share = 100 * part / whole
    if share < 0.1:
        return "<0.1%"
    return ">99.9%" if part < whole and share > 99.9 else f"{share:.1f}%"


def rows_text(count: int) -> str:
    """The count and its noun."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def brief(name: str) -> str:
    """A name that leaves room for others."""
    if columns(name) <= _LONGEST_NAME:
        return name
    name = name[:_LONGEST_NAME]
    while columns(name) > _LONGEST_NAME - 1:
        name = name[:-1]
    return f"{name}…"


def columns(text: str) -> int:
    """Columns of a text in a terminal: East Asian wide characters take two, combining ones none."""
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )
