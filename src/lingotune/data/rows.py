"""The rows of a split in lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lingotune.data.clean import Cleaner
from lingotune.data.columns import NO_LANGUAGE as NO_LANGUAGE
from lingotune.data.columns import PATTERN_LANGUAGE as PATTERN_LANGUAGE
from lingotune.data.findings import Located
from lingotune.schema import ConfigError, DataConfig


@dataclass
class Rows:
    """Labelled texts by column; all lists have the same length.

    label: class ids, places in `data.labels`. language: codes, `und` where the source has none.
    id: the id column, or file and line. stars: ratings after the offset; None where the source
    rates otherwise. warnings: what is odd, for the caller to print.
    """

    text: list[str]
    label: list[int]
    language: list[str]
    id: list[str]
    stars: list[int] | None = None
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.text)

    def select(self, indices: Sequence[int]) -> Rows:
        """The rows of these places, in this order, without the warnings."""
        return Rows(
            [self.text[i] for i in indices],
            [self.label[i] for i in indices],
            [self.language[i] for i in indices],
            [self.id[i] for i in indices],
            None if self.stars is None else [self.stars[i] for i in indices],
        )


def collect(
    records: Iterable[Located], data: DataConfig, split: str, cleaner: Cleaner | None = None
) -> Rows:
    """Map, filter and check the records of one split, by default stopping at whatever is wrong.

    ConfigError names everything wrong with them, each kind of problem once, and what the reader
    itself found at its end.
    """
    cleaner = cleaner or Cleaner(data, split)
    rows, stars = Rows([], [], [], []), list[int | None]()
    for text, label, language, name, star in cleaner.rows(records):
        rows.text.append(text)
        rows.label.append(label)
        rows.language.append(language)
        rows.id.append(name)
        stars.append(star)
    problems = cleaner.problems()
    if problems:
        raise ConfigError(problems)
    known = [star for star in stars if star is not None]
    rows.stars = known if len(known) == len(stars) else None
    rows.warnings = cleaner.warnings()
    return rows
