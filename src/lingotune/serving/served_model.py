"""A trained model that answers requests, with the digest of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lingotune.config.schema import AUTO, ColumnsConfig, DataConfig
from lingotune.data.rows.cleaner import Texts
from lingotune.data.rows.columns import usual_column
from lingotune.data.rows.findings import Unfit
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.evaluation.classifier import Classifier, Trained
from lingotune.evaluation.language_reader import language_reader
from lingotune.evaluation.text_number import check_number
from lingotune.runs.model_files import is_part
from lingotune.serving.payloads import (
    EXPECTED,
    MOST_CHARACTERS,
    PAIR,
    TEXTS,
    Record,
    answer_type,
    read_request,
    refused,
    write_answer,
)
from lingotune.system.hashing import sha256_of

_UNKNOWN = DataConfig(columns=ColumnsConfig(text="text"))
"""Settings for preparing texts if those of the model's training are unknown."""
_ID = "id"


def model_digest(folder: Path) -> str:
    """Compute the digest of a model: SHA-256 of the files that its answers follow from, and their names.

    OSError if one of them cannot be read.
    """
    files = sorted(path for path in folder.iterdir() if is_part(path))
    lines = "".join(f"{sha256_of(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


class ServedModel:
    """Model that answers requests. digest: that of its files. ConfigError if it cannot be loaded."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self.digest = model_digest(trained.folder)
        self.classifier = Classifier(trained)
        data = trained.job.data if trained.job else _UNKNOWN
        self._column, self._pair = data.columns.text, data.columns.text_pair
        self._id_column = data.columns.id
        self._language_of = language_reader(trained)
        self._nested = nested_columns(data.columns)
        self._texts = Texts(data.columns, normalize=data.normalize)

    @property
    def name(self) -> str:
        """Name of the run, or of the folder."""
        return self.trained.job.name if self.trained.job else self.trained.folder.resolve().name

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, by their ids."""
        return self.trained.labels

    @property
    def pairs(self) -> bool:
        """Whether it classifies pairs of texts."""
        return self._pair is not None

    def answer(
        self, body: bytes | str, content_type: str | None, accept: str | None
    ) -> tuple[str, str]:
        """Answer a request; returns the answer and its media type. BadRequest if it cannot be answered."""
        kind = answer_type(accept)
        request = read_request(body, content_type, [self._column])
        found, prepared = [], []
        for one in request.inputs:
            answer: Record = self._with_id(one)
            try:
                prepared.append((answer, self.prepared(one), self._language(one)))
            except Unfit as fault:
                answer["error"] = fault.what
            found.append(answer)
        wrong = [f"inputs[{n}] {one['error']}" for n, one in enumerate(found) if "error" in one]
        if wrong and (not request.row_by_row or len(found) == 1):
            raise refused(wrong)
        languages = [language for _, _, language in prepared]
        predictions = self.predict([text for _, text, _ in prepared], languages)
        for (answer, _, _), prediction in zip(prepared, predictions):
            answer.update(prediction)
        more = [EXPECTED] if self.trained.scale else []
        return write_answer(found, self.labels, self.digest, kind, more), kind

    def predict(
        self, texts: Sequence[str], languages: Sequence[str | None] | None = None
    ) -> list[Record]:
        """Classify prepared texts: `label`, `expected` of ordered classes, and `probabilities` of all, the
        likeliest first.

        languages: their codes, None where they are not known. The label is that of the model's decision;
        where a text may have several, `labels` is a list of them.
        """
        if not texts:
            return []
        classes, shares = self.classifier.classify(texts, languages)
        several, expected = self.trained.several, self.trained.expected(shares)
        return [
            {
                **({"labels": named} if several else {"label": named[0]}),
                **({} if value is None else {EXPECTED: value}),
                "probabilities": dict(sorted(zip(self.labels, row), key=lambda pair: -pair[1])),
            }
            for named, row, value in zip(self.classifier.named(classes), shares.tolist(), expected)
        ]

    def _language(self, one: str | Record) -> str | None:
        return self._language_of({self._column: one} if isinstance(one, str) else dict(one))

    def prepared(self, one: str | Record) -> str:
        """Prepare a text, or a record's with its title or its pair, as for the training; Unfit if it cannot
        be."""
        text = self._alone(one) if isinstance(one, str) else self._of(dict(one))
        if len(text) > MOST_CHARACTERS:
            raise Unfit(
                "too-long", f"has {len(text)} characters, at most {MOST_CHARACTERS} are read"
            )
        return text

    def _alone(self, text: str) -> str:
        check_number(1, pairs=self.pairs)
        return self._texts.prepared(text)

    def _of(self, record: Record) -> str:
        add_nested(record, self._nested)
        if not self.pairs and PAIR in record:
            check_number(2, pairs=False)
        named = {self._column: _named(record, (self._column, *TEXTS))}
        if self._pair is not None:
            named[self._pair] = _named(record, (self._pair, PAIR))
        try:
            return self._texts.of({**record, **{name: record[of] for name, of in named.items()}})
        except Unfit as fault:
            what = fault.what
            for name, column in named.items():
                what = what.replace(repr(name), repr(column))
            raise Unfit(fault.reason, what, fault.fix) from None

    def _with_id(self, one: Any) -> Record:
        if not isinstance(one, dict):
            return {}
        column = usual_column("id", list(one)) if self._id_column == AUTO else self._id_column
        found = [one[name] for name in (column, _ID) if name in one]
        return {_ID: found[0]} if found else {}


def _named(record: Record, names: Sequence[str]) -> str:
    """Find the first of the columns that a record has; Unfit if it has none."""
    found = next((name for name in names if name in record), None)
    if found is None:
        columns = ", ".join(map(repr, record)) or "none"
        raise Unfit("no-column", f"has no column {names[0]!r}; its columns: {columns:.200}")
    return found
