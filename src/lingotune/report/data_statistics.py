"""Statistics of prepared data: the figures of its manifest as numbers and as text tables."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lingotune.config.problems import printable
from lingotune.config.schema import ALL, SPLITS
from lingotune.data.prepared.manifest import ClassFigures, Manifest

Table = list[list[str]]
"""Rows of cells, the header first; all rows have the same length."""
RowsByClass = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Split -> language -> class -> rows."""

MOST_LANGUAGES = 30
"""Maximum number of languages listed; a column that does not hold codes would fill pages."""
_LONGEST_NAME = 18


@dataclass(frozen=True)
class Figures:
    """Figures of one language, or of several, in a split.

    rows: by class. texts: rows of all classes together, where one may have several; None = the sum. tokens:
    after truncation to max_length. cut: rows that are truncated. unknown: tokens
    outside the vocabulary. lengths: number of rows by length in tokens before truncation; the last entry
    includes all longer rows.
    """

    name: str
    rows: tuple[int, ...]
    tokens: int = 0
    cut: int = 0
    unknown: int = 0
    lengths: tuple[int, ...] = ()
    texts: int | None = None

    @property
    def total(self) -> int:
        """Number of rows, all classes together."""
        return sum(self.rows) if self.texts is None else self.texts


@dataclass(frozen=True)
class Split:
    """Figures of a split by language, in the order of the codes, and as a whole."""

    name: str
    languages: tuple[Figures, ...]
    whole: Figures


@dataclass(frozen=True)
class Flow:
    """Number of rows read and their fate. other: rows in languages that were not asked for."""

    name: str
    read: int
    kept: int
    rejected: int
    other: int
    duplicates: int

    @property
    def sentence(self) -> str:
        """The equation read = kept + rejected + in other languages + duplicates, in figures."""
        left = self.kept + self.rejected + self.other + self.duplicates
        return (
            f"{self.read:,} read {'=' if self.read == left else 'is not'} {self.kept:,} kept"
            f" + {self.rejected:,} rejected + {self.other:,} of other languages"
            f" + {self.duplicates:,} duplicates"
        )


# --- figures ------------------------------------------------------------------------------------


def splits_of(manifest: Manifest) -> list[Split]:
    """Collect the figures of all splits.

    Every split lists the same languages, so that one without rows is visible; beyond `MOST_LANGUAGES` the
    smallest are merged.
    """
    rows = {
        split: {
            language: {label: figures.rows for label, figures in classes.items()}
            for language, classes in languages.items()
        }
        for split, languages in manifest.statistics.items()
    }
    return _splits(rows, lambda split, language: _language(manifest, split, language))


def splits_of_rows(
    rows: RowsByClass, labels: Sequence[str], totals: Mapping[str, Mapping[str, int]] | None = None
) -> list[Split]:
    """Collect numbers of rows by split, language and class, without figures of tokens.

    totals: rows by split and language, where a row may count for several classes.
    """

    def figures(split: str, language: str) -> Figures:
        classes = rows[split].get(language, {})
        texts = None if totals is None else totals[split].get(language, 0)
        return Figures(language, tuple(classes.get(label, 0) for label in labels), texts=texts)

    return _splits(rows, figures)


def _splits(rows: RowsByClass, figures: Callable[[str, str], Figures]) -> list[Split]:
    total: Counter[str] = Counter()
    for languages in rows.values():
        for language, classes in languages.items():
            total[language] += sum(classes.values())
    largest = sorted(total, key=lambda language: (-total[language], language))
    shown = largest if len(largest) <= MOST_LANGUAGES else largest[: MOST_LANGUAGES - 1]
    others = largest[len(shown) :]
    splits = []
    for name in (split for split in SPLITS if split in rows):
        found = [figures(name, language) for language in sorted(shown)]
        if others:
            rest = [figures(name, language) for language in others]
            found.append(_together(f"{len(others)} others", rest))
        whole = _together("all", found) if found else figures(name, "all")
        splits.append(Split(name, tuple(found), whole))
    return splits


def _language(manifest: Manifest, split: str, language: str) -> Figures:
    classes = manifest.statistics[split].get(language, {})
    whole = manifest.by_language(split).get(language, ClassFigures(0, 0, 0, 0))
    lengths = manifest.lengths[split].get(language)
    return Figures(
        language,
        tuple(classes[label].rows if label in classes else 0 for label in manifest.labels),
        whole.tokens,
        whole.cut,
        whole.unknown,
        lengths or (0,) * (4 * manifest.max_length + 1),
        None if manifest.totals is None else whole.rows,
    )


def _together(name: str, parts: Sequence[Figures]) -> Figures:
    return Figures(
        name,
        tuple(map(sum, zip(*(part.rows for part in parts)))),
        sum(part.tokens for part in parts),
        sum(part.cut for part in parts),
        sum(part.unknown for part in parts),
        tuple(map(sum, zip(*(part.lengths for part in parts)))),
        sum(part.total for part in parts)
        if any(part.texts is not None for part in parts)
        else None,
    )


def percentile(lengths: Sequence[int], share: float) -> int:
    """Find the smallest length that this share of the rows does not exceed; 0 without rows."""
    total, passed = sum(lengths), 0
    for length, rows in enumerate(lengths):
        passed += rows
        if passed and passed >= share * total:
            return length
    return 0


def flows_of(manifest: Manifest) -> list[Flow]:
    """Count the rows of each input by their fate, and last of all inputs together.

    The total of kept rows is counted from the splits, so that a wrong sum becomes visible.
    """
    flows = []
    for name, counts in manifest.inputs.items():
        removed = manifest.duplicates.get(name, 0)
        rejected = sum(counts.rejected.values())
        shown = "all rows" if name == ALL else name
        kept, other = counts.kept - removed, counts.filtered
        flows.append(Flow(shown, counts.read, kept, rejected, other, removed))
    kept = sum(split.rows for split in manifest.splits.values())
    read, rejected, other, removed = (
        sum(getattr(flow, key) for flow in flows)
        for key in ("read", "rejected", "other", "duplicates")
    )
    return [*flows, Flow("together", read, kept, rejected, other, removed)]


def rejected_of(manifest: Manifest) -> dict[str, int]:
    """Count the rejected rows of all inputs by reason, the most frequent first."""
    sums: Counter[str] = Counter()
    for counts in manifest.inputs.values():
        sums.update(counts.rejected)
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


# --- as text ------------------------------------------------------------------------------------


def headline(manifest: Manifest) -> str:
    """Summarise the data in one line."""
    wholes = [split.whole for split in splits_of(manifest)]
    rows, tokens = sum(w.total for w in wholes), sum(w.tokens for w in wholes)
    cut = share_text(sum(w.cut for w in wholes), rows)
    unknown = share_text(sum(w.unknown for w in wholes), tokens)
    return (
        f"data {manifest.digest[:12]}: {rows_text(rows)}, {tokens:,} tokens;"
        f" {'none' if cut == '-' else cut} of the rows cut,"
        f" {'none' if unknown == '-' else unknown} of the tokens unknown"
    )


def origin(manifest: Manifest) -> dict[str, str]:
    """Name the source, the tokenizer, the settings and the versions of the data."""
    source, tokenizer = manifest.source, manifest.tokenizer
    versions = {"lingotune": manifest.lingotune, **manifest.writer}
    count, size = len(source.files), sum(file.bytes or 0 for file in source.files)
    parts = [
        source.kind if source.kind != "files" else "",
        f"{count:,} file{'s' * (count != 1)}" if count else "",
        f"{size:,} bytes" if size else "",
    ]
    return {
        "digest": manifest.digest,
        "source": ", ".join(filter(None, parts)),
        "tokenizer": f"{printable(tokenizer.name)}, {tokenizer.vocabulary:,} entries",
        "tokenizer SHA-256": tokenizer.sha256 or "-",
        "max_length": f"{manifest.max_length:,}",
        "seed": "-" if manifest.seed is None else f"{manifest.seed}",
        "seconds": ", ".join(f"{step} {took:.1f}" for step, took in manifest.seconds.items()),
        "versions": ", ".join(f"{name} {v}" for name, v in versions.items() if v),
    }


def legend(manifest: Manifest) -> list[str]:
    """Explain the columns of `figure_table`."""
    several = ["classes: share of the rows that have it; a row may have several, or none"]
    return [
        *(several if manifest.totals is not None else []),
        "tokens: mean per row, after truncation",
        "95% within: 95% of the rows have at most this many tokens before truncation",
        f"cut: rows longer than {manifest.max_length:,} tokens (data.max_length)",
        "unknown: tokens outside the vocabulary",
    ]


def figure_table(split: Split, labels: Sequence[str]) -> Table:
    """Tabulate one row per language, and one for all if there are several."""
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
    """Tabulate one row per input."""
    header = ["", "read", "kept", "rejected", "other languages", "duplicates"]
    figures = [(f.read, f.kept, f.rejected, f.other, f.duplicates) for f in flows]
    return [header, *([f.name, *(f"{n:,}" for n in of)] for f, of in zip(flows, figures))]


def length_text(figures: Figures, share: float) -> str:
    """Format the percentile, marked `≥` beyond the longest length that was counted."""
    length = percentile(figures.lengths, share)
    return f"{length:,}" if length < len(figures.lengths) - 1 else f"≥{length:,}"


def share_text(part: int, whole: int) -> str:
    """Format a percentage with one decimal; a dash for nothing, 0.0% and 100.0% only if exact."""
    if not part or not whole:
        return "-"
    share = 100 * part / whole
    if share < 0.1:
        return "<0.1%"
    return ">99.9%" if part < whole and share > 99.9 else f"{share:.1f}%"


def rows_text(count: int) -> str:
    """Format a count with its noun."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def brief(name: str) -> str:
    """Shorten a name that would leave no room for other columns."""
    if columns(name) <= _LONGEST_NAME:
        return name
    name = name[:_LONGEST_NAME]
    while columns(name) > _LONGEST_NAME - 1:
        name = name[:-1]
    return f"{name}…"


def columns(text: str) -> int:
    """Count the terminal columns of a text: East Asian wide characters take two, combining ones none."""
    return sum(
        0
        if unicodedata.category(c) in ("Mn", "Me", "Cf")
        else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )
