"""Two runs, or two settings with their seeds, row by row on the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

from lingotune.config.problems import ConfigError, Problem, listed
from lingotune.launch.results.compare import (
    RESAMPLES,
    Difference,
    by_seed,
    difference,
    enough,
)
from lingotune.launch.results.entries import Configuration, Entry, Leaderboard
from lingotune.launch.results.mcnemar import mcnemar
from lingotune.launch.results.row_predictions import (
    TEST,
    VALIDATION,
    RowPredictions,
    predictions_of,
)
from lingotune.launch.results.samples import score_samples
from lingotune.launch.results.table import aligned, named, signed

_WHERE = "--compare"
_LONGEST = 30
"""Characters of a name that heads a column."""


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
    """Comparison of two configurations.

    split: of the rows. tests: none where their seeds differ. several: whether a row may have several
    classes, so that it is right if all of them are.
    """

    one: str
    other: str
    split: str
    rows: int
    runs: tuple[int, int]
    scores: Mapping[str, PairedScore]
    tests: tuple[RowTest, ...]
    several: bool = False


def chosen_pair(board: Leaderboard, typed: Sequence[str]) -> tuple[Configuration, Configuration]:
    """Find the two that were typed: `KEY=VALUE` means a setting with all its seeds, a number or a name one
    run; without any, the best two settings, or the two runs of a single one. ConfigError if they are not
    two, or have no score.
    """
    if typed and len(typed) != 2:
        what = f"compares two, not {len(typed)}"
        raise ConfigError([Problem(f"{_WHERE} {' '.join(typed)}", what, f"{_WHERE} 1 2")])
    if not typed:
        return _best_two(board)
    problems: list[Problem] = []
    found = [_one(board, word, problems) for word in typed]
    one, other = found
    if one is None or other is None:
        raise ConfigError(problems)
    return one, other


def _best_two(board: Leaderboard) -> tuple[Configuration, Configuration]:
    if len(board.ranked) > 1:
        return board.ranked[0], board.ranked[1]
    runs = [entry for of in board.ranked for entry in of.scored]
    if len(runs) != 2:
        what = f"needs two settings that have a score; there is {len(board.ranked)}"
        raise ConfigError([Problem(_WHERE, what, "another folder of runs, or run folders")])
    one, other = (Configuration((entry,), board.metric) for entry in runs)
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

    The scores are those of what there is to decide: one class, several, or one of an order. ConfigError if
    not all of their runs have decided the same of the same rows.
    """
    split = TEST if all(e.test for of in (one, other) for e in of.scored) else VALIDATION
    ours, theirs = _predicted(one, split), _predicted(other, split)
    first, *others = *ours.values(), *theirs.values()
    if problem := _not_comparable(f"{named(one)} and {named(other)}", split, first, others):
        raise ConfigError([problem])
    scores = {name: _paired(name, one, other, ours, theirs, resamples) for name in first.scores}
    runs = (len(ours), len(theirs))
    tests = tuple(_tests(by_seed(one, ours), by_seed(other, theirs)))
    return Pair(
        named(one), named(other), split, len(first.true), runs, scores, tests, first.several
    )


def _not_comparable(
    where: str, split: str, first: RowPredictions, others: Sequence[RowPredictions]
) -> Problem | None:
    """Say why runs cannot be compared row by row; None if they can."""
    for run in others:
        if not run.same_task(first):
            what = f"there is nothing to compare row by row: {apart(first, run)}"
            fix = "two runs with the same data.labels and data.labels_mode"
            return Problem(where, what, fix)
    if all(run.same_rows(first) for run in others):
        return None
    what = f"their runs have not predicted the same {split} rows"
    return Problem(where, what, "runs of the same data, with the same data.split_seed")


def apart(first: RowPredictions, other: RowPredictions) -> str:
    """Say in what the tasks of two runs differ."""
    if first.task != other.task:
        return f"a text has {first.task} in one, {other.task} in the other"
    unshared = sorted({*first.labels} ^ {*other.labels})
    if unshared:
        return f"only one of them has {listed('', unshared)}"
    return "their classes are in another order, or at other points of the scale"


def _predicted(of: Configuration, split: str) -> dict[int, RowPredictions]:
    found = {entry.number: predictions_of(entry, split) for entry in of.scored}
    known = {number: run for number, run in found.items() if run is not None}
    if len(known) < len(found):
        what = f"has {len(found) - len(known)} of {len(found)} runs without predictions on {split}"
        raise ConfigError([Problem(named(of), what, "lingotune fetch, for runs on SageMaker")])
    return known


def _paired(
    score: str,
    one: Configuration,
    other: Configuration,
    ours: Mapping[int, RowPredictions],
    theirs: Mapping[int, RowPredictions],
    resamples: int,
) -> PairedScore:
    runs = [*ours.values(), *theirs.values()]
    wanted = resamples if enough(len(runs[0].true)) else 0
    drawn = score_samples(score, runs, wanted)
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
        right, also = one.right, other.right
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
        whole = ", all classes of a row and none besides" if pair.several else ""
        lines += ["", f"McNemar's test of the rows that one of them alone has right{whole}:"]
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
