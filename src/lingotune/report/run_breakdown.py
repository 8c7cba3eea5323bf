"""Section of a run's page: where the model fails, by language, class, length, rating and source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lingotune.config.problems import printable
from lingotune.config.schema import AUTO, JobConfig, Source
from lingotune.evaluation.breakdown import (
    Groups,
    by_length,
    by_value,
    hardest_pairs,
    similar_together,
    wilson,
)
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.report.data_statistics import Table
from lingotune.report.run_examples import values_at
from lingotune.runs.results import ClassScores, LanguageScores, Scores

MOST_COUNTED = 15
"""Classes up to which a confusion matrix has its numbers, and one for each language."""
_MOST_NAMED = 60
"""Classes up to which the matrix of many has names at its sides."""
_MOST_CELLS = 6_000
_TOLD = 0.02
"""Share of a class from which a cell of the matrix of many tells its numbers."""
_PAIRS = 10
_MOST_GROUPS = 30
_LONGEST_NAME = 22
_FEWEST_OF_SOURCE = 20
"""Rows that at least two sources need for scores by source."""
_LOCATION = re.compile(r"(.+\.\w+.*):\d+")
"""Id of a row that has none of its own: file and line."""


def breakdown(
    job: JobConfig,
    scores: LanguageScores,
    found: tuple[Predictions, list[str]] | None,
    labels: Sequence[str],
    data: Path | None,
) -> dict[str, Any]:
    """Tabulate where the model fails; tables without anything to tell are empty.

    found: predictions of the scored rows with their ids; None if they are not there. data: folder of the
    prepared data, for the lengths. ConfigError if the data cannot be read.
    """
    classes = Classes(tuple(labels))
    tables: dict[str, Table] = {"length": [], "stars": [], "source": []}
    if found:
        predictions, ids = found
        tables["length"] = _lengths(predictions, ids, classes, data)
        tables["stars"] = _stars(predictions, classes)
        tables["source"] = _sources(job, predictions, ids, classes)
    return {
        "pairs": _pairs(scores.overall, labels),
        "heat": _heat(scores, labels),
        "tables": tables,
    }


# --- groups of rows -------------------------------------------------------------------------------


def _lengths(
    predictions: Predictions, ids: Sequence[str], classes: Classes, data: Path | None
) -> Table:
    if data is None or not len(ids):
        return []
    every, languages = range(len(ids)), predictions.languages.tolist()
    lengths = values_at(data, "length", every, ids, languages)
    places = np.array([*lengths], np.int64)
    if not len(places):
        return []
    known = by_length(predictions.select(places), np.array([*lengths.values()], np.int64), classes)
    return _grouped("tokens", known) if len(known) > 1 else []


def _sources(
    job: JobConfig, predictions: Predictions, ids: Sequence[str], classes: Classes
) -> Table:
    """Tabulate by source, if two have enough rows and they are more than the languages by other names.

    Predictions of older versions have none: there it is the file, with which the ids of rows without an id
    of their own begin.
    """
    if predictions.sources is not None:
        sources = [source or "" for source in predictions.sources.tolist()]
    elif job.data.columns.id in (None, AUTO) and job.data.source is not Source.sample:
        sources = [found[1] if (found := _LOCATION.fullmatch(id)) else "" for id in ids]
    else:
        return []
    known = by_value(predictions, sources, classes)
    languages = predictions.languages.tolist()
    pairs = {pair for pair in zip(sources, languages) if pair[0]}
    if len(known) == len(pairs) == len({language for _, language in pairs}):
        return []
    enough = sum(of.rows >= _FEWEST_OF_SOURCE for of in known.values())
    return _grouped("source", known) if enough > 1 else []


def _grouped(name: str, groups: Groups) -> Table:
    """Tabulate the scores of groups of rows, of many the largest."""
    largest = sorted(groups, key=lambda group: -groups[group].rows)[:_MOST_GROUPS]
    rows = [
        [printable(group), f"{of.rows:,}", _accuracy(of), f"{of.macro_f1:.3f}"]
        for group, of in groups.items()
        if group in largest
    ]
    return [[name, "rows", "accuracy", "macro-F1"], *rows]


def _accuracy(of: Scores) -> str:
    low, high = wilson(of.accuracy * of.rows, of.rows)
    return f"{of.accuracy:.3f} ({low:.3f}-{high:.3f})"


def _stars(predictions: Predictions, classes: Classes) -> Table:
    """Tabulate by rating, with what was predicted: rows of one rating mostly have one class."""
    values = ["" if np.isnan(star) else f"{star:g}" for star in predictions.stars.tolist()]
    known = by_value(predictions, values, classes)
    if len(known) < 2 or len(classes.names) > MOST_COUNTED or predictions.several:
        return []
    head = ["stars", "rows", "accuracy", *(f"as {printable(name)}" for name in classes.names)]
    return [
        head,
        *([star, f"{of.rows:,}", _accuracy(of), *_predicted(of)] for star, of in known.items()),
    ]


def _predicted(of: Scores) -> Iterator[str]:
    for column in zip(*of.confusion):
        yield f"{sum(column) / max(of.rows, 1):.0%}"


# --- classes --------------------------------------------------------------------------------------


def _pairs(of: Scores, labels: Sequence[str]) -> Table:
    """Tabulate the pairs of classes that are confused most; empty for two classes, which
    are one pair, and where a row may have several."""
    if len(labels) < 3 or of.several:
        return []
    rows, names = [sum(row) for row in of.confusion], [*map(printable, labels)]
    table = [
        [
            names[pair.first], names[pair.second],
            _part(pair.as_second, rows[pair.first]), _part(pair.as_first, rows[pair.second]),
            f"{pair.share:.0%}",
        ]
        for pair in hardest_pairs(of.confusion, _PAIRS)
    ]  # fmt: skip
    head = ["class", "other class", "class as other", "other as class", "of all errors"]
    return [head, *table] if table else []


def _part(count: int, rows: int) -> str:
    return f"{count:,} of {rows:,} ({count / rows:.0%})" if rows else f"{count:,}"


Heat = dict[str, Any]
"""`head`: names of columns. `rows`: name, cells of (text, share from 0 to 1, what to tell)."""


def _heat(scores: LanguageScores, labels: Sequence[str]) -> Heat:
    """Tabulate F1 by language and class, the longer of the two downwards; empty for one language.

    Classes that stand downwards begin with the lowest F1 of all rows.
    """
    codes = sorted(scores.languages)
    if len(codes) < 2 or scores.overall.several:  # those have the table beside their classes
        return {"head": [], "rows": []}
    cells = {
        code: [_heat_cell(of) for of in scores.languages[code].classes.values()] for code in codes
    }
    names, tags = [*map(printable, labels)], [*map(printable, codes)]
    if len(labels) > len(codes):
        every = [*scores.overall.classes.values()]
        worst = sorted(range(len(names)), key=lambda n: every[n].f1)
        rows = [(names[n], [cells[code][n] for code in codes]) for n in worst]
        return {"head": ["class", *tags], "rows": rows}
    return {
        "head": ["language", *names],
        "rows": [(printable(code), cells[code]) for code in codes],
    }


def _heat_cell(of: ClassScores) -> tuple[str, float, str]:
    if not of.rows:
        return "", 0.0, "no rows"
    told = f"precision {of.precision:.3f}, recall {of.recall:.3f}, {of.rows:,} rows"
    return f"{of.f1:.2f}", round(of.f1, 3), told


# --- the matrix of many classes -------------------------------------------------------------------


def matrix(of: Scores, labels: Sequence[str]) -> dict[str, Any]:
    """Lay out a confusion matrix without numbers as cells of an SVG, similar classes beside each other.

    Of very many cells the smallest are left out. Returns names (empty for too many), the width in units
    that they need, and cells: column, row, darkness from 0 to 1, and a text ("" for small ones).
    """
    order = similar_together(of.confusion)
    counts = np.asarray(of.confusion)[np.ix_(order, order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [printable(labels[place]) for place in order]
    rows, columns = np.nonzero(counts)
    largest = np.argsort(-shares[rows, columns], kind="stable")[:_MOST_CELLS]
    cells = [
        (j, i, round(float(shares[i, j]) ** 0.5, 2), _told(names, i, j, counts, shares))
        for i, j in zip(rows[largest].tolist(), columns[largest].tolist())
    ]
    shown = [_short(name) for name in names] if len(names) <= _MOST_NAMED else []
    margin = round(0.55 * max(map(len, shown), default=0) + 0.5, 1)
    return {"size": len(names), "names": shown, "margin": margin, "cells": cells}


def _told(names: Sequence[str], i: int, j: int, counts: Any, shares: Any) -> str:
    if shares[i, j] < _TOLD:
        return ""
    return f"{names[i]} as {names[j]}: {counts[i, j]:,} ({shares[i, j]:.0%})"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def without_empty(table: Table) -> Table:
    """Leave out the columns that have no value in any row."""
    head, *rows = table
    shown = [n for n in range(len(head)) if n == 0 or any(row[n] not in ("", "-") for row in rows)]
    return [[row[n] for n in shown] for row in table]
