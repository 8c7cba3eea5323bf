"""Trials of a sweep with what became of them, and configurations: trials that differ in the seed alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import REPEATED, Evaluation, State
from lingotune.runs.results import Interval


@dataclass(frozen=True)
class TestScores:
    """Scores of a run on its test split. interval: of macro_f1; None if none was drawn.

    languages: code -> macro-F1.
    """

    macro_f1: float
    interval: Interval | None
    rows: int
    languages: Mapping[str, float]

    __test__ = False  # pytest takes classes of this name for tests


@dataclass(frozen=True)
class Entry:
    """A trial of a sweep, or a run of a folder of runs.

    varies: key -> value, of what differs between the entries. name: of its job, or run folder. folder:
    its run folder on this machine; None while it was not fetched. validation: scores of the checkpoint
    that was kept, by name; of evaluations so far where nothing was fetched. test: None if unknown. labels:
    class names by id, where a run folder tells them.
    overrides: all of the job as typed. seconds, usd: of all attempts; None if unknown. expected_usd: by
    the plan, of one attempt. train_rows: rows trained on; None while nothing was fetched.
    """

    number: int
    varies: Mapping[str, str]
    name: str
    state: State
    reason: str = ""
    folder: Path | None = None
    overrides: tuple[str, ...] = ()
    validation: Mapping[str, float] = field(default_factory=dict)
    test: TestScores | None = None
    evaluations: tuple[Evaluation, ...] = ()
    seconds: float | None = None
    usd: float | None = None
    expected_usd: float | None = None
    train_rows: int | None = None
    labels: tuple[str, ...] = ()

    @property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """What varies, except the seed."""
        return tuple((key, value) for key, value in self.varies.items() if key != REPEATED)

    @property
    def completed(self) -> bool:
        """True for a run that came to its end."""
        return self.state is State.completed

    def value(self, metric: Metric) -> float | None:
        """Return the validation score; None if there is none, or it is not a number."""
        value = self.validation.get(metric.name)
        return None if value is None or math.isnan(value) else value


@dataclass(frozen=True)
class Configuration:
    """Entries that differ in the seed alone."""

    entries: tuple[Entry, ...]
    metric: Metric

    @property
    def varies(self) -> dict[str, str]:
        """What varies, except the seed."""
        return dict(self.entries[0].configuration)

    @cached_property
    def scored(self) -> tuple[Entry, ...]:
        """Entries that have completed with a score."""
        return tuple(e for e in self.entries if e.completed and e.value(self.metric) is not None)

    @property
    def whole(self) -> bool:
        """True once every repetition has a score."""
        return len(self.scored) == len(self.entries)

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Validation scores of the repetitions that have one."""
        values = (entry.value(self.metric) for entry in self.scored)
        return tuple(value for value in values if value is not None)

    @property
    def mean(self) -> float | None:
        """Mean of the scores; None without any."""
        return fmean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the scores (n - 1); None for fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None

    @property
    def best_entry(self) -> Entry:
        """The repetition with the best validation score."""
        return min(self.scored, key=lambda e: (self.metric.rank(e.value(self.metric)), e.number))

    @property
    def tests(self) -> tuple[TestScores, ...]:
        """Test scores of the scored repetitions, as far as they are known."""
        return tuple(entry.test for entry in self.scored if entry.test)

    @property
    def test(self) -> float | None:
        """Mean macro-F1 on test; None unless every scored repetition has one."""
        tests = self.tests
        known = tests and len(tests) == len(self.scored)
        return fmean(of.macro_f1 for of in tests) if known else None

    @property
    def languages(self) -> dict[str, float]:
        """Mean macro-F1 of each language on validation."""
        each = [languages_in(entry.validation) for entry in self.scored]
        codes = dict.fromkeys(code for of in each for code in of)
        return {
            code: fmean(of[code] for of in each) for code in codes if all(code in of for of in each)
        }

    @property
    def worst_language(self) -> tuple[str, float] | None:
        """The language with the lowest mean, and that mean; None without languages."""
        means = self.languages
        return min(means.items(), key=lambda item: (item[1], item[0])) if means else None

    @property
    def seconds(self) -> float | None:
        """Seconds of all its entries; None if one that has started is unknown."""
        return total([e.seconds for e in self.entries if e.state is not State.waiting])

    @property
    def usd(self) -> float | None:
        """Money of all its entries; None if one that has started is unknown."""
        return total([e.usd for e in self.entries if e.state is not State.waiting])


@dataclass(frozen=True)
class Leaderboard:
    """Configurations of a sweep, the best first.

    Only validation decides. Those with a score for every repetition come first, as a mean over fewer
    seeds may be a lucky one; those without any score last. keys: what varies. folder: of the sweep; None
    for a folder of runs. notes: facts that the table needs beside it.
    """

    name: str
    metric: Metric
    keys: tuple[str, ...]
    configurations: tuple[Configuration, ...]
    folder: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def ranked(self) -> tuple[Configuration, ...]:
        """Configurations with a score, the best first."""
        return tuple(of for of in self.configurations if of.scores)

    @property
    def best(self) -> Configuration | None:
        """The winner on validation; None if nothing has a score."""
        return next(iter(self.ranked), None)

    @property
    def entries(self) -> list[Entry]:
        """All entries, by number."""
        return sorted((e for of in self.configurations for e in of.entries), key=lambda e: e.number)


def ranked(entries: Sequence[Entry], metric: Metric) -> tuple[Configuration, ...]:
    """Group entries by configuration, and put the best first."""
    groups: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(sorted(entry.configuration)), []).append(entry)
    made = [Configuration(tuple(group), metric) for group in groups.values()]
    most = max((len(of.scores) for of in made), default=0)
    none_whole = not any(of.whole for of in made)

    def place(of: Configuration) -> tuple[bool, bool, float, int]:
        compared = len(of.scores) == most if none_whole else of.whole
        return not of.scores, not compared, metric.rank(of.mean), of.entries[0].number

    return tuple(sorted(made, key=place))


def languages_in(values: Mapping[str, float]) -> dict[str, float]:
    """Select the macro-F1 of each language, by code, from scores by name."""
    stem = "macro_f1_"
    return {name[len(stem) :]: value for name, value in values.items() if name.startswith(stem)}


def total(parts: Sequence[float | None]) -> float | None:
    """Add up; None if a part is unknown, or there is none."""
    known = [part for part in parts if part is not None]
    return sum(known) if parts and len(known) == len(parts) else None
