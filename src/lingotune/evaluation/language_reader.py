"""Languages of records, as a model's training read them."""

from __future__ import annotations

from collections.abc import Callable

from lingotune.data.rows.findings import Record, Unfit
from lingotune.data.rows.languages import Languages
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.evaluation.classifier import Trained


def language_reader(trained: Trained) -> Callable[[Record], str | None]:
    """Make a function that tells the language of a record as the training did; None = not known.

    Languages are not looked at unless the model decides by them.
    """
    if not trained.decision.languages or trained.job is None:
        return lambda record: None
    data = trained.job.data
    languages, deep = Languages(data), nested_columns(data.columns)

    def language_of(record: Record) -> str | None:
        row = {data.columns.text: record.get("text"), **record}
        add_nested(row, deep)
        try:
            return languages.read(row).code
        except Unfit:
            return None

    return language_of
