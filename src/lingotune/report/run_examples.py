"""Rows of the test split that the model got wrong with the most confidence, or could not decide."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import ArrowException, parquet

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.prepared.shards import read_texts
from lingotune.data.rows.pairs import TEXTS
from lingotune.evaluation.metrics import Predictions
from lingotune.evaluation.predictions import NO_CLASS, SOURCE, class_ids
from lingotune.runs.folder import moved_away

SHOWN = 12
"""Number of examples of each kind."""


@dataclass(frozen=True)
class Example:
    """A scored row: true and predicted class with their probabilities; text: None without the data.

    Where a row may have several classes, true and predicted name all of them, probability is that of the
    class that is surest and wrong, or else least sure, which `about` names; true_probability is 0.
    """

    id: str
    language: str
    true: str
    predicted: str
    probability: float
    true_probability: float
    text: str | None
    about: str = ""


def read_predictions(path: Path, labels: Sequence[str]) -> tuple[Predictions, list[str]]:
    """Read predictions.parquet: predictions and ids.

    The classes were decided before the probabilities were rounded to float32. ConfigError if the file
    cannot be read.
    """
    try:
        table = parquet.read_table(path).to_pydict()
        predictions = Predictions(
            class_ids(table["label"], labels),
            np.array([table[f"probability_{name}"] for name in labels], np.float64).T,
            np.array(table["language"], object),
            np.array([np.nan if s is None else s for s in table["stars"]], np.float64),
        )
        predictions = replace(
            predictions,
            decided=class_ids(table["predicted"], labels),
            sources=np.array(table[SOURCE], object) if SOURCE in table else None,
        )
    except (OSError, ArrowException, KeyError) as error:
        what = f"cannot be read: {error}"
        raise ConfigError([Problem(str(path), what, without(path))]) from error
    return predictions, list(table["id"])


def without(path: Path) -> str:
    """Return the command that makes a run's page without its predictions, which scores can be told from."""
    return f"{moved_away(path)} && {program('report')} {shlex.quote(str(path.parent))}"


def chosen(predictions: Predictions) -> tuple[list[int], list[int]]:
    """Choose the worst rows (wrong with the highest probability) and the most uncertain ones.

    Uncertain rows have the smallest margin between their two likeliest classes, or a class whose
    probability is the nearest to 0.5, where a row may have several. Returns row indices.
    """
    if predictions.several:
        return _chosen_of_several(predictions)
    said = predictions.confidence
    wrong = np.flatnonzero(predictions.predicted != predictions.true)
    worst = wrong[np.argsort(-said[wrong], kind="stable")][:SHOWN]
    ordered = np.sort(predictions.probabilities, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    return worst.tolist(), np.argsort(margin, kind="stable")[:SHOWN].tolist()


def _chosen_of_several(predictions: Predictions) -> tuple[list[int], list[int]]:
    sure = np.abs(predictions.probabilities - 0.5)
    wrong = predictions.predicted != predictions.true
    surest = np.where(wrong, sure, -1).max(axis=1)
    worst = [row for row in np.argsort(-surest, kind="stable").tolist() if surest[row] >= 0]
    unsure = np.argsort(sure.min(axis=1), kind="stable")
    return worst[:SHOWN], unsure[:SHOWN].tolist()


def _of_several(
    place: int, predictions: Predictions, id: str, labels: Sequence[str], text: str | None
) -> Example:
    shares = predictions.probabilities[place]
    true, said = predictions.true[place], predictions.predicted[place]
    sure = np.abs(shares - 0.5)
    about = int(
        np.where(true != said, sure, -1).argmax() if (true != said).any() else sure.argmin()
    )
    names = np.array(labels, object)
    of_true, of_said = (", ".join(names[of].tolist()) or NO_CLASS for of in (true, said))
    language = str(predictions.languages[place])
    return Example(id, language, of_true, of_said, float(shares[about]), 0.0, text, labels[about])


def examples_at(
    places: Sequence[int],
    predictions: Predictions,
    ids: Sequence[str],
    labels: Sequence[str],
    texts: Mapping[int, str],
) -> list[Example]:
    """Collect the examples at these rows."""
    found = []
    for place in places:
        if predictions.several:
            text = texts.get(place)
            found.append(_of_several(place, predictions, ids[place], labels, text))
            continue
        shares, true = predictions.probabilities[place], int(predictions.true[place])
        said = int(predictions.predicted[place])
        found.append(
            Example(
                ids[place], str(predictions.languages[place]), labels[true], labels[said],
                float(shares[said]), float(shares[true]), texts.get(place),
            )
        )  # fmt: skip
    return found


def texts_at(
    data: Path,
    places: Sequence[int],
    ids: Sequence[str],
    languages: Sequence[str],
    split: str = "test",
) -> dict[int, str]:
    """Read the texts of rows of a split, as `values_at`."""
    return values_at(data, "text", places, ids, languages, split)


def values_at(
    data: Path,
    column: str,
    places: Sequence[int],
    ids: Sequence[str],
    languages: Sequence[str],
    split: str = "test",
) -> dict[int, Any]:
    """Read a column of rows of a split, keyed by their index among the predictions.

    Predictions are in the order of the split; those of a rehearsal, which scores only some rows, are
    matched by language and id. ConfigError if the data cannot be read.
    """
    columns = (read_column(data, name, split) for name in ("language", "id", column))
    rows = [*zip(*columns)]
    if len(rows) == len(ids) and all(rows[n][:2] == (languages[n], ids[n]) for n in places):
        return {place: rows[place][2] for place in places}
    by_id = {row[:2]: row[2] for row in rows}
    keys = {place: (languages[place], ids[place]) for place in places}
    return {place: by_id[key] for place, key in keys.items() if key in by_id}


def read_column(data: Path, column: str, split: str) -> list[Any]:
    """Read a column of all rows of a split in their order, `text` as the text or pair of texts.

    ConfigError if the data cannot be read.
    """
    values: list[Any] = []
    wanted = TEXTS if column == TEXTS[0] else (column,)
    for shard in load_manifest(data).splits[split].shards:
        try:
            # By its file, for pyarrow knows no path with bytes that are not UTF-8.
            with (data / shard.file).open("rb") as opened, parquet.ParquetFile(opened) as file:
                table = file.read(columns=[*wanted])  # those that it has
        except (OSError, ArrowException) as error:
            what = f"cannot be read: {error}"
            raise ConfigError([Problem(str(data / shard.file), what)]) from error
        values += read_texts(table) if column == TEXTS[0] else table[column].to_pylist()
    return values
