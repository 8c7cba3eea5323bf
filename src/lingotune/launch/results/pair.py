"""Two runs, or two settings with their seeds, row by row on the same rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from lingotune.config.problems import ConfigError, Problem, listed
from lingotune.launch.results.compare import (
    RESAMPLES,
    TEST,
    VALIDATION,
    Difference,
    RowPredictions,
    accuracy_samples,
    by_seed,
    difference,
    enough,
    f1_samples,
    predictions_of,
)
from lingotune.launch.results.entries import Configuration, Entry, Leaderboard
from lingotune.launch.results.mcnemar import mcnemar
from lingotune.launch.results.table import aligned, named, signed

if TYPE_CHECKING:
    from lingotune.evaluation.metrics import FloatArray

_WHERE = "--compare"
_LONGEST = 30
"""Characters of a name that heads a column."""
_SCORES: Mapping[str, Callable[..., FloatArray]] = {
    "macro_f1": f1_samples,
    "accuracy": accuracy_samples,
}


@dataclass(frozen=True)
class PairedScore:
    """A score of both: mean over the seeds, standard deviation (None for one seed), and the difference.

    difference: None for so few rows that an interval says nothing.
    """

    one: float
    one_sd: float | None
    other: float
    other_sd: float | None
    difference: Difference | None


@dataclass(frozen=True)
class RowTest:
    """McNemar's test of two runs of the same seed: rows that one alone has right, and the p-value."""

    seed: str
    only_one: int
    only_other: int
    p: float


@dataclass(frozen=True)
class Pair:
    """Comparison of two configurations. split: of the rows. tests: none where their seeds differ."""

    one: str
    other: str
    split: str
    rows: int
    runs: tuple[int, int]
    scores: Mapping[str, PairedScore]
    tests: tuple[RowTest, ...]


def chosen_pair(board: Leaderboard, typed: Sequence[str]) -> tuple[Configuration, Configuration]:
    """Find the two that were typed: `KEY=VALUE` means a setting with all its seeds, a number or a name one
    run; without any, the best two. ConfigError if they are not two, or have no score.
    """
    if typed and len(typed) != 2:
        what = f"compares two, not {len(typed)}"
        raise ConfigError([Problem(f"{_WHERE} {' '.join(typed)}", what, f"{_WHERE} 1 2")])
    if not typed:
        if len(board.ranked) < 2:
            what = f"needs two that have a score; there is {len(board.ranked)}"
            raise ConfigError([Problem(_WHERE, what, "another folder of runs, or run folders")])
        return board.ranked[0], board.ranked[1]
    problems: list[Problem] = []
    found = [_one(board, word, problems) for word in typed]
    one, other = found
    if one is None or other is None:
        raise ConfigError(problems)
    return one, other


def _one(board: Leaderboard, word: str, problems: list[Problem]) -> Configuration | None:
    entries = [e for of in board.ranked for e in of.scored if word in _names(e)]
    fitting = [Configuration((entries[0],), board.metric)] if entries else []
    if not fitting and "=" in word:
        pairs = [part.partition("=")[::2] for part in word.split()]
        fitting = [of for of in board.ranked if all(of.varies.get(k) == v for k, v in pairs)]
    if len(fitting) == 1:
        return fitting[0]
    there = [named(of) for of in board.ranked]
    what = "is no run or setting with a score" if not fitting else f"are {len(fitting)} settings"
    fix = f"{_WHERE} with two of: {listed(word, there)}"
    problems.append(Problem(f"{_WHERE} {word}", what, fix))
    return None


def _names(entry: Entry) -> set[str]:
    folder = {str(entry.folder), entry.folder.name} if entry.folder else set()
    return {str(entry.number), entry.name, *folder}


def compare_two(one: Configuration, other: Configuration, resamples: int = RESAMPLES) -> Pair:
    """Compare two configurations on their test rows, or on validation where they have no test split.

    ConfigError if not all of their runs have predicted the same rows.
    """
    split = TEST if all(e.test for of in (one, other) for e in of.scored) else VALIDATION
    ours, theirs = _predicted(one, split), _predicted(other, split)
    reference = next(iter(ours.values()))
    if any(not run.same_rows(reference) for run in (*ours.values(), *theirs.values())):
        what = f"their runs have not predicted the same {split} rows"
        fix = "runs of the same data, with the same data.split_seed"
        raise ConfigError([Problem(f"{named(one)} and {named(other)}", what, fix)])
    scores = {
        name: _paired(samples, one, other, ours, theirs, resamples)
        for name, samples in _SCORES.items()
    }
    rows = len(reference.true)
    runs = (len(ours), len(theirs))
    tests = tuple(_tests(by_seed(one, ours), by_seed(other, theirs)))
    return Pair(named(one), named(other), split, rows, runs, scores, tests)


def _predicted(of: Configuration, split: str) -> dict[int, RowPredictions]:
    found = {entry.number: predictions_of(entry, split) for entry in of.scored}
    known = {number: run for number, run in found.items() if run is not None}
    if len(known) < len(found):
        what = f"has {len(found) - len(known)} of {len(found)} runs without predictions on {split}"
        raise ConfigError([Problem(named(of), what, "lingotune fetch, for runs on SageMaker")])
    return known


def _paired(
    samples: Callable[..., FloatArray],
    one: Configuration,
    other: Configuration,
    ours: Mapping[int, RowPredictions],
    theirs: Mapping[int, RowPredictions],
    resamples: int,
) -> PairedScore:
    import numpy as np

    runs = [*ours.values(), *theirs.values()]
    first = runs[0]
    wanted = resamples if enough(len(first.true)) else 0
    predicted = np.stack([run.predicted for run in runs])
    drawn = samples(first.true, predicted, len(first.labels), wanted)
    mine, yours = dict(zip(ours, drawn)), dict(zip(theirs, drawn[len(ours) :]))
    (a, a_sd), (b, b_sd) = (_mean([float(of[0]) for of in each.values()]) for each in (mine, yours))
    gap = difference(by_seed(one, mine), by_seed(other, yours)) if wanted else None
    return PairedScore(a, a_sd, b, b_sd, gap)


def _mean(values: Sequence[float]) -> tuple[float, float | None]:
    return fmean(values), stdev(values) if len(values) > 1 else None


def _tests(
    ours: Mapping[str, RowPredictions], theirs: Mapping[str, RowPredictions]
) -> Iterator[RowTest]:
    """Test each pair of runs of the same seed; two single runs in any case."""
    pairs = [(seed, run, theirs[seed]) for seed, run in ours.items() if seed in theirs]
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = [("", next(iter(ours.values())), next(iter(theirs.values())))]
    for seed, one, other in pairs:
        right, also = one.predicted == one.true, other.predicted == other.true
        only_one, only_other = int((right & ~also).sum()), int((also & ~right).sum())
        yield RowTest(seed, only_one, only_other, mcnemar(only_one, only_other))


# --- for people and programs --------------------------------------------------------------------


def as_text(pair: Pair) -> str:
    """Format a comparison for a terminal; long names stand above the table."""
    names, above = [pair.one, pair.other], []
    if max(map(len, names)) > _LONGEST:
        names = ["the first", "the second"]
        above = [f"{name}: {meant}" for name, meant in zip(names, (pair.one, pair.other))]
    rows = [[f"on {pair.rows} {pair.split} rows", *names, "difference (95 %)"]]
    if pair.runs != (1, 1):
        rows.append(["seeds", *map(str, pair.runs), ""])
    for name, of in pair.scores.items():
        gap = (
            signed(of.difference.value, of.difference.interval) if of.difference else "too few rows"
        )
        rows.append([name, _spread(of.one, of.one_sd), _spread(of.other, of.other_sd), gap])
    lines = [*above, *aligned(rows)]
    if pair.tests:
        lines += ["", "McNemar's test of the rows that one of them alone has right:"]
        lines += aligned([*map(_test_cells, pair.tests)], indent="  ")
    if pair.split == TEST:
        lines += ["", "who chooses by this has no test rows left: choose on validation"]
    return "\n".join(lines)


def _spread(mean: float, deviation: float | None) -> str:
    return f"{mean:.3f}" if deviation is None else f"{mean:.3f} ± {deviation:.3f}"


def _test_cells(test: RowTest) -> list[str]:
    seed = f"seed={test.seed}" if test.seed else "rows"
    return [
        seed,
        f"{test.only_one} only the first",
        f"{test.only_other} only the second",
        f"p = {test.p:.2g}",
    ]


def as_json(pair: Pair) -> str:
    """Format a comparison as JSON."""
    return json.dumps(asdict(pair), indent=2, ensure_ascii=False)
