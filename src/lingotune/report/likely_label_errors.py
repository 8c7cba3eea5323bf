"""Rows whose label is likely wrong: a section of a run's page, and a table to mend the data by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lingotune.config.problems import ConfigError
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.rows.pairs import TEXTS, parts_of
from lingotune.evaluation.decisions import tempered
from lingotune.evaluation.label_errors import LabelError, find_label_errors, is_installed, version
from lingotune.evaluation.metrics import Predictions
from lingotune.evaluation.out_of_fold import FOLDS, out_of_fold, reason_against
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.evaluation.predictions import VALIDATION_FILE
from lingotune.report.run_examples import (
    Example,
    examples_at,
    read_column,
    read_predictions,
    texts_at,
)
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.folder import write_whole
from lingotune.system.files import unused

CSV = "label_errors.csv"
"""Name of the table in a run folder."""
_FILES = {"test": PREDICTIONS, "validation": VALIDATION_FILE}
_TRAIN = "train"
_SPLITS = {_TRAIN: "training", "validation": "validation", "test": "test"}
_COLUMNS = ("split", "id", "language", "label", "likely", "label_probability", "likely_probability")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would compute."""


@dataclass(frozen=True)
class LikelyErrors:
    """Rows whose label is likely wrong, the most suspicious first, with their splits.

    note: what they were found in, or why nothing was looked for.
    """

    rows: tuple[tuple[str, Example], ...]
    note: str


@dataclass(frozen=True)
class _Rows:
    """Rows of all splits with their probabilities; split, id: of each row. texts: None if not known.

    left_out: why there are no training rows; None if there are.
    """

    predictions: Predictions
    splits: list[str]
    ids: list[str]
    texts: list[str] | None = None
    left_out: str | None = None


def likely_errors(
    run: Path,
    labels: Sequence[str],
    decision: Decision | None,
    data: Path | None,
    *,
    training_rows: bool = True,
) -> LikelyErrors:
    """Find rows whose label is likely wrong: of validation and test by the model's predictions; of training
    too, out of fold, if the prepared `data` is there and not too large.

    Nothing that goes wrong here keeps a page from being written: the note then tells it.
    """
    if not is_installed():
        what = "They are looked for where cleanlab is installed: pip install cleanlab"
        return LikelyErrors((), f"{what}, then lingotune report RUN.")
    try:
        rows = _read(run, labels, decision or AS_TRAINED)
        if rows is None:
            return LikelyErrors((), "The predictions of the run are not there.")
        if rows.predictions.several:
            return LikelyErrors((), "They are looked for where a text has one class.")
        if training_rows and data is not None:
            rows = _with_training_rows(rows, labels, data)
        found = find_label_errors(rows.predictions)
        return LikelyErrors(tuple(_with_texts(rows, found, labels, data)), _note(rows))
    except Exception as error:
        return LikelyErrors((), f"They were not found: {type(error).__name__}: {error}")


def _read(run: Path, labels: Sequence[str], decision: Decision) -> _Rows | None:
    parts, splits, ids = [], [], []
    for split, file in _FILES.items():
        if not (run / file).is_file():
            continue
        predictions, own = read_predictions(run / file, labels)
        if split == "validation":  # they were written as trained
            probabilities = tempered(predictions.probabilities, decision.temperature)
            predictions = replace(predictions, probabilities=probabilities)
        parts.append(predictions)
        splits += [split] * len(own)
        ids += own
    return _Rows(_joined(parts), splits, ids) if parts else None


def _joined(parts: Sequence[Predictions]) -> Predictions:
    fields = ("true", "probabilities", "languages", "stars")
    return Predictions(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))


def _with_training_rows(rows: _Rows, labels: Sequence[str], data: Path) -> _Rows:
    """Add the training rows if they can be; the others are looked at in any case."""
    try:
        return _out_of_fold(rows, labels, data)
    except Exception as error:
        return replace(rows, left_out=f"{type(error).__name__}: {error}")


def _out_of_fold(rows: _Rows, labels: Sequence[str], data: Path) -> _Rows:
    """Add the training rows, with probabilities of models that were not trained on them; those of the other
    rows become the mean of the model's and of these."""
    train, ids, texts = _training_rows(data, labels)
    if not ids:
        return rows
    held_out = _texts(rows, range(len(rows.ids)), data)
    if len(held_out) < len(rows.ids):
        return replace(rows, left_out="the texts of the others are not in the prepared data")
    texts = [*(held_out[place] for place in range(len(rows.ids))), *texts]
    if against := reason_against(texts, len(labels)):
        return replace(rows, left_out=against)
    both = _joined([rows.predictions, train])
    found = out_of_fold(["\n".join(parts_of(text)) for text in texts], both.true, len(labels))
    known = slice(0, len(rows.ids))
    found[known] = (found[known] + rows.predictions.probabilities) / 2
    splits = [*rows.splits, *[_TRAIN] * len(ids)]
    return _Rows(replace(both, probabilities=found), splits, [*rows.ids, *ids], texts)


def _training_rows(data: Path, labels: Sequence[str]) -> tuple[Predictions, list[str], list[str]]:
    """Read the training rows that have a label: without probabilities yet, their ids and texts."""
    manifest = load_manifest(data)
    columns = ("label", "language", "id", TEXTS[0])
    label, languages, ids, texts = (read_column(data, name, _TRAIN) for name in columns)
    labelled = len(ids) - (manifest.teacher.unlabelled if manifest.teacher else 0)
    places = np.array([labels.index(name) for name in manifest.labels])
    true = places[np.array(label[:labelled], np.int64)]
    shares, stars = np.zeros((labelled, len(labels))), np.full(labelled, np.nan)
    rows = Predictions(true, shares, np.array(languages[:labelled], object), stars)
    return rows, ids[:labelled], texts[:labelled]


def _note(rows: _Rows) -> str:
    counts = [
        f"{rows.splits.count(split):,} {name}"
        for split, name in _SPLITS.items()
        if split in rows.splits
    ]
    beginning = (
        f"By confident learning (cleanlab {version()}) over the {_listed(counts)} rows, each by models that"
        " were not trained on it"
    )
    ending = "A weak model takes its own errors for those of labels: look at each."
    if rows.texts is None:
        why = f"; training rows are left out: {rows.left_out}" if rows.left_out else ""
        return f"{beginning}{why}. {ending}"
    return (
        f"{beginning}: TF-IDF with logistic regression on the other {FOLDS - 1} of {FOLDS} parts of the"
        f" rows, and for validation and test the mean of that and this model. {ending}"
    )


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _texts(rows: _Rows, places: Sequence[int], data: Path) -> dict[int, str]:
    """Read the texts of rows of validation and test, by place, as far as they are there."""
    texts: dict[int, str] = {}
    for split in _FILES:
        start = rows.splits.index(split) if split in rows.splits else 0
        ids = [id for id, of in zip(rows.ids, rows.splits) if of == split]
        languages = rows.predictions.languages[start : start + len(ids)].tolist()
        own = [place - start for place in places if rows.splits[place] == split]
        try:
            read = texts_at(data, own, ids, languages, split) if own else {}
        except ConfigError:
            continue
        texts |= {place + start: text for place, text in read.items()}
    return texts


def _with_texts(
    rows: _Rows, found: Sequence[LabelError], labels: Sequence[str], data: Path | None
) -> list[tuple[str, Example]]:
    places = [one.place for one in found]
    if rows.texts is not None:
        texts = {place: rows.texts[place] for place in places}
    else:
        texts = _texts(rows, sorted(places), data) if data is not None else {}
    likely = rows.predictions.probabilities.argmax(axis=1).astype(np.int64)
    said = replace(rows.predictions, decided=likely)
    examples = examples_at(places, said, rows.ids, labels, texts)
    return [(rows.splits[one.place], example) for one, example in zip(found, examples)]


# --- the table ------------------------------------------------------------------------------------


def write_label_errors(found: LikelyErrors, run: Path) -> Path | None:
    """Write the table into the run folder; None where there is nothing to write.

    A table there that was changed since is kept beside it, under another name.
    """
    path = run / CSV
    if not found.rows:
        return None
    text = _as_csv(found.rows)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        path.rename(unused(path.with_name(f"{path.name}.earlier")))
    return write_whole(path, text)


def _as_csv(rows: Sequence[tuple[str, Example]]) -> str:
    has_texts = any(example.text is not None for _, example in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(["text"] if has_texts else [])])
    for split, of in rows:
        shares = f"{of.true_probability:.4f}", f"{of.probability:.4f}"
        text = [_not_computed(of.text or "")] if has_texts else []
        writer.writerow([split, of.id, of.language, of.true, of.predicted, *shares, *text])
    return out.getvalue()


def _not_computed(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
