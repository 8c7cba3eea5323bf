"""Rows whose label is likely wrong: a section of a run's page, and a table to mend the data by."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lingotune.config.problems import ConfigError
from lingotune.evaluation.decisions import tempered
from lingotune.evaluation.label_errors import LabelError, find_label_errors, is_installed, version
from lingotune.evaluation.metrics import Predictions
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.evaluation.predictions import VALIDATION_FILE
from lingotune.report.run_examples import Example, examples_at, read_predictions, texts_at
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.folder import write_whole
from lingotune.system.files import unused

CSV = "label_errors.csv"
"""Name of the table in a run folder."""
_FILES = {"test": PREDICTIONS, "validation": VALIDATION_FILE}
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
    """Predictions of all splits, as the model is calibrated; split, id: of each row."""

    predictions: Predictions
    splits: list[str]
    ids: list[str]


def likely_errors(
    run: Path, labels: Sequence[str], decision: Decision | None, data: Path | None
) -> LikelyErrors:
    """Find rows of validation and test whose label is likely wrong, with their texts if `data` is there.

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
    if not parts:
        return None
    fields = ("true", "probabilities", "languages", "stars")
    joined = Predictions(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))
    return _Rows(joined, splits, ids)


def _note(rows: _Rows) -> str:
    counts = [f"{rows.splits.count(split):,} {split}" for split in _FILES if split in rows.splits]
    return (
        f"By confident learning (cleanlab {version()}) over the {' and '.join(counts)} rows, none of which"
        " was trained on. A weak model takes its own errors for those of labels: look at each."
    )


def _with_texts(
    rows: _Rows, found: Sequence[LabelError], labels: Sequence[str], data: Path | None
) -> list[tuple[str, Example]]:
    texts: dict[int, str] = {}
    for split in _FILES if data is not None else ():
        start = rows.splits.index(split) if split in rows.splits else 0
        ids = [id for id, of in zip(rows.ids, rows.splits) if of == split]
        languages = rows.predictions.languages[start : start + len(ids)].tolist()
        places = sorted(one.place - start for one in found if rows.splits[one.place] == split)
        assert data is not None
        try:
            read = texts_at(data, places, ids, languages, split) if places else {}
        except ConfigError:
            continue
        texts |= {place + start: text for place, text in read.items()}
    likely = rows.predictions.probabilities.argmax(axis=1).astype(np.int64)
    said = replace(rows.predictions, decided=likely)
    examples = examples_at([one.place for one in found], said, rows.ids, labels, texts)
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
