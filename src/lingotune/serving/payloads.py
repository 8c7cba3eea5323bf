"""Requests and answers of an endpoint as bytes: JSON, JSON lines, CSV, plain text."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
Prediction = Mapping[str, Any]
"""Answer for a text: `label` (or `labels`, where there may be several), `probabilities`, and perhaps `id`
and `expected`; or `error` and perhaps `id`."""

JSON, LINES, CSV, TEXT = "application/json", "application/jsonlines", "text/csv", "text/plain"
_ALSO = {
    "application/x-jsonlines": LINES,
    "application/jsonl": LINES,
    "application/x-ndjson": LINES,
}
_ANSWERS = (JSON, LINES, CSV)
_ANY = ("", "*/*", "application/*")
TEXTS = ("inputs", "text")
"""Columns that hold the text of a record, where it lacks the column that was trained on."""
EXPECTED = "expected"
"""Value of ordered classes in answers."""
PAIR = "text_pair"
"""Column that holds the second text of a pair, where a record lacks the column that was trained on."""
MOST_TEXTS = 10_000
"""Texts in a request: a minute of a CPU's work, after which SageMaker waits no longer."""
MOST_TEXTS_VARIABLE = "LINGOTUNE_MOST_TEXTS"
"""Variable of a container that is waited for longer: texts in a request there."""
MOST_CHARACTERS = 1_000_000
"""Characters of a text; a model reads the first few thousand."""
_SHOWN = 10


class BadRequest(ValueError):
    """Request that cannot be answered, with all that is wrong; status: the HTTP status that says so."""

    def __init__(self, what: str, status: int = 400) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True)
class Request:
    """Texts, or records that hold one, in their order.

    row_by_row: an input that cannot be used gets an error in its place, as a batch of rows is to be
    answered; otherwise it fails the request.
    """

    inputs: tuple[str | Record, ...]
    row_by_row: bool


def refused(places: Sequence[str]) -> BadRequest:
    """Make the error for inputs that cannot be used; each place says where, and what is wrong."""
    more = len(places) - _SHOWN
    return BadRequest("; ".join([*places[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]))


# --- requests -----------------------------------------------------------------------------------


def read_request(body: bytes | str, content_type: str | None, columns: Sequence[str]) -> Request:
    """Read the texts of a request; BadRequest if it has none, too many, or another form.

    columns: names that a header of CSV may give the text.
    """
    kind = _kind(content_type)
    if kind is None:
        known = ", ".join((JSON, LINES, CSV, TEXT))
        raise BadRequest(f"Content-Type {content_type!r} is none of {known}", 415)
    inputs = _READERS[kind](_decoded(body), (*columns, *TEXTS))
    if not inputs:
        raise BadRequest("the request holds no text")
    most = int(os.environ.get(MOST_TEXTS_VARIABLE, MOST_TEXTS))
    if len(inputs) > most:
        what = f"{len(inputs)} texts in one request, at most {most}: send them in several"
        raise BadRequest(what, 413)
    return Request(tuple(inputs), kind != JSON)


def _kind(media_type: str | None) -> str | None:
    named = (media_type or JSON).partition(";")[0].strip().lower()
    named = _ALSO.get(named, named)
    return named if named in _READERS else None


def _decoded(body: bytes | str) -> str:
    if isinstance(body, str):
        return body
    try:
        return bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the request is not UTF-8: byte {error.start} is no part of it"
        ) from error


def _from_json(text: str, columns: Sequence[str]) -> list[str | Record]:
    content = _json(text, "the request")
    if isinstance(content, dict) and "inputs" in content:
        parameters = content.get("parameters")
        others = [name for name in content if name not in ("inputs", "parameters")]
        if parameters or (others and isinstance(content["inputs"], list)):
            named = ", ".join(["parameters"] if parameters else others)
            raise BadRequest(f"{named}: has no effect; a request is {_EXAMPLE}")
        content = content if others else content["inputs"]
    inputs = content if isinstance(content, list) else [content]
    wrong = [f"inputs[{n}] is {one!r:.40}" for n, one in enumerate(inputs) if not _is_input(one)]
    if wrong:
        raise refused([*wrong, f"a request is {_EXAMPLE}"])
    return inputs


_EXAMPLE = '{"inputs": ["a text", {"text": "another", "id": "7"}]}'


def _is_input(value: object) -> bool:
    return isinstance(value, (str, dict))


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is no JSON: {error}; it is {_EXAMPLE}") from error


def _from_lines(text: str, columns: Sequence[str]) -> list[str | Record]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            one = _json(line, f"line {number}")
            if not _is_input(one):
                raise BadRequest(f"line {number} is {one!r:.40}, neither a text nor a record")
            found.append(one)
    return found


def _from_csv(text: str, columns: Sequence[str]) -> list[str | Record]:
    csv.field_size_limit(max(csv.field_size_limit(), MOST_CHARACTERS + 1))
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except csv.Error as error:
        raise BadRequest(f"the request is no CSV: {error}") from error
    if not rows or not set(columns) & set(rows[0]):
        if any(len(row) > 1 for row in rows):
            what = f"CSV of several columns needs a header, with the text in {columns[0]!r}"
            raise BadRequest(what)
        return [row[0] for row in rows]  # batch transform cuts files into pieces without a header
    header, *others = rows
    wrong = [
        f"row {number} has {len(row)} cells, the header {len(header)}"
        for number, row in enumerate(others, 2)
        if len(row) != len(header)
    ]
    if wrong:
        raise refused(wrong)
    return [dict(zip(header, row)) for row in others]


def _from_text(text: str, columns: Sequence[str]) -> list[str | Record]:
    return [line for line in text.splitlines() if line.strip()]


_READERS = {JSON: _from_json, LINES: _from_lines, CSV: _from_csv, TEXT: _from_text}

# --- answers ------------------------------------------------------------------------------------


def answer_type(accept: str | None) -> str:
    """Choose the media type of the answer, the first known one that is accepted; BadRequest for none."""
    wanted = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    for one in wanted:
        kind = JSON if one in _ANY else _ALSO.get(one, one)
        if kind in _ANSWERS:
            return kind
    raise BadRequest(f"Accept {accept!r} is none of {', '.join(_ANSWERS)}", 406)


def write_answer(
    predictions: Sequence[Prediction],
    labels: Sequence[str],
    model: str,
    kind: str,
    more: Sequence[str] = (),
) -> str:
    """Write predictions in the form that `answer_type` chose.

    labels: names of all classes. model: digest of the model's files. more: names of further values, columns
    of CSV.
    """
    if kind == CSV:
        return _as_csv(predictions, labels, model, more)
    return _WRITERS[kind](predictions, model)


def _as_json(predictions: Sequence[Prediction], model: str) -> str:
    return _dumped({"model": model, "predictions": predictions})


def _as_lines(predictions: Sequence[Prediction], model: str) -> str:
    return "".join(f"{_dumped({**one, 'model': model})}\n" for one in predictions)


def _as_csv(
    predictions: Sequence[Prediction], labels: Sequence[str], model: str, more: Sequence[str]
) -> str:
    """Write CSV, with the same columns for every piece of a file that batch transform sends.

    Several labels are one cell, a list as JSON.
    """
    columns = {f"probability_{name}": name for name in labels}
    first = ["id"] if any("id" in one for one in predictions) else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*first, "label", *more, *columns, "error", "model"])
    for one in predictions:
        shares = one.get("probabilities", {})
        ids, values = ([one.get(name) for name in names] for names in (first, more))
        probabilities = [shares.get(name) for name in labels]
        said = _dumped(one["labels"]) if "labels" in one else one.get("label")
        writer.writerow([*ids, said, *values, *probabilities, one.get("error"), model])
    return out.getvalue()


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_WRITERS = {JSON: _as_json, LINES: _as_lines}
