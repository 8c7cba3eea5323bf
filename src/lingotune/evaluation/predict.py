"""Classification of texts with a saved model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.schema import ColumnsConfig, DataConfig
from lingotune.data.rows.cleaner import Texts
from lingotune.data.rows.findings import Faults, OnRemark, Record, Unfit, config_error
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.data.sources.file_format import FileFormat, format_of
from lingotune.data.sources.files import check_type, find_files, read_files
from lingotune.data.sources.lines import read_lines
from lingotune.evaluation.classifier import Classifier, Trained
from lingotune.evaluation.language_reader import language_reader
from lingotune.evaluation.predictions import NO_CLASS

_FIRST, _LARGEST = 256, 8_192
"""Texts that are classified together, at first and at most: each block is twice as large as the one before.
Results appear after each; of more texts, those of a batch are closer in length."""
_LINES = ".txt"
"""Suffix of files that hold one text per line."""
_UNKNOWN = DataConfig(columns=ColumnsConfig(text="text"))
"""Settings for preparing texts if those of the model's training are unknown."""
_USABLE = "a text of whole characters; --file FILE reads other encodings than UTF-8, too"
Given = tuple[str, "str | Record"]
"""A location, and the text there or the record that contains it."""


def predict_lines(
    trained: Trained,
    rows: Iterable[tuple[Record, str]],
    *,
    as_json: bool = False,
    bar: Progress | None = None,
) -> Iterator[str]:
    """Yield one line per text: the label, every class with its probability, and the text.

    rows: records with their texts, see `read_rows`; of the record only the language matters. as_json: lines
    are JSON objects with label, probabilities (class -> 0 to 1) and text; with labels, a list, in place of
    label where a text may have several. bar: shows how far it is. ConfigError if the model cannot be
    loaded.
    """
    for _, text, classes, shares in _classified(trained, rows, bar):
        ranked = sorted(zip(trained.labels, shares), key=lambda pair: -pair[1])
        if as_json:
            said = {"labels": classes} if trained.several else {"label": classes[0]}
            answer = {**said, "probabilities": dict(ranked), "text": text}
            yield json.dumps(answer, ensure_ascii=False)
        else:
            others = "  ".join(f"{name} {share:.3f}" for name, share in ranked)
            yield f"{', '.join(classes) or NO_CLASS:10} ({others})  {printable(text)}"


def predict_rows(
    trained: Trained, rows: Iterable[tuple[Record, str]], bar: Progress | None = None
) -> Iterator[Record]:
    """Yield each record with `predicted`, the class, and `probability_<class>` (0 to 1) of every class.

    Where a text may have several classes, `predicted` is a list of them. bar: shows how far it is.
    ConfigError if a record has such a column already, or the model cannot be loaded.
    """
    names = trained.labels
    new = ["predicted", *(f"probability_{name}" for name in names)]
    for record, _, classes, shares in _classified(trained, rows, bar):
        taken = [name for name in new if name in record]
        if taken:
            what = f"the rows have a column {taken[0]!r} already"
            raise ConfigError([Problem("predict", what, "another name for it in the file")])
        said = classes if trained.several else classes[0]
        yield {**record, **dict(zip(new, [said, *shares]))}


@dataclass(frozen=True)
class Progress:
    """A bar on standard error with rate and time left. total: texts; None = not known."""

    total: int | None


def _classified(
    trained: Trained, rows: Iterable[tuple[Record, str]], bar: Progress | None
) -> Iterator[tuple[Record, str, list[str], list[float]]]:
    """Yield each record and text with its classes, one or several, and the probabilities of all."""
    model, waiting, language_of = Classifier(trained), iter(rows), language_reader(trained)
    with _shown(bar) as on_done:
        for size in _block_sizes():
            block = list(islice(waiting, size))
            if not block:
                return
            languages = [language_of(record) for record, _ in block]
            classes, shares = model.classify([text for _, text in block], languages, on_done)
            for (record, text), named, of in zip(block, model.named(classes), shares.tolist()):
                yield record, text, named, of


def _block_sizes() -> Iterator[int]:
    size = _FIRST
    while True:
        yield size
        size = min(2 * size, _LARGEST)


@contextmanager
def _shown(bar: Progress | None) -> Iterator[Callable[[int], object]]:
    """Show a bar during the block; yields what is told of texts as they are classified."""
    if bar is None:
        yield lambda count: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=bar.total, unit=" texts", leave=False, dynamic_ncols=True) as shown:
        yield shown.update


def read_texts(given: Iterable[Given], trained: Trained, column: str | None) -> Iterator[str]:
    """Prepare texts as they were prepared for training; ConfigError locates one that cannot be used.

    column: field of records that holds the text; None = the run's.
    """
    return (text for _, text in read_rows(given, trained, column))


def read_rows(
    given: Iterable[Given], trained: Trained, column: str | None
) -> Iterator[tuple[Record, str]]:
    """Prepare texts as `read_texts` does, each with its record: all of its columns, or `text` alone."""
    data = trained.job.data if trained.job else _UNKNOWN
    columns = replace(data.columns, text=column or data.columns.text)
    texts, deep = Texts(columns, normalize=data.normalize), nested_columns(columns)
    for place, one in given:
        try:
            if isinstance(one, str):
                yield {"text": one}, texts.prepared(one)
            else:
                record = dict(one)  # what is added is no column of the source
                add_nested(record, deep)
                yield one, texts.of(record)
        except Unfit as fault:
            raise ConfigError([_unusable(place, one, columns.text, fault)]) from None


def text_files(pattern: str, key: str) -> list[Path]:
    """Find files of texts: lines of .txt, or data files; ConfigError as `find_files`."""
    return find_files(pattern, key, _check_readable)


def in_files(
    pattern: str,
    trained: Trained,
    on_remark: OnRemark = lambda text: None,
    key: str = "--file",
) -> Iterator[Given]:
    """Yield the lines of .txt files that are not empty, and the records of other files.

    Encoding, separator and quoting are those that the run's data has been read with; a sheet that was named
    is one of another file.
    on_remark: is told what is odd about a file, such as an encoding that had to be recognised. key: the
    option that holds the pattern, for messages.
    ConfigError if no file matches, or one cannot be read.
    """
    data = trained.job.data if trained.job else _UNKNOWN
    how = replace(format_of(data), sheet=None)
    for file in text_files(pattern, key):
        if _has_lines(file.name):
            yield from in_lines(_lines(file, how, on_remark), str(file))
        else:
            yield from read_files([file], how=how, on_remark=on_remark)


def in_lines(lines: Iterable[str], name: str) -> Iterator[Given]:
    """Yield lines that are not empty, located by `name` and line number."""
    numbered = enumerate(lines, 1)
    return ((f"{name}:{n}", line.rstrip("\r\n")) for n, line in numbered if line.strip())


def _lines(file: Path, how: FileFormat, on_remark: OnRemark) -> Iterator[str]:
    for number, line, fault in read_lines(file, str(file), Faults(remark=on_remark), how):
        if fault:
            raise config_error(f"{file}:{number}", fault, "a file in one encoding")
        yield line


def _has_lines(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(_LINES)


def _check_readable(name: str) -> None:
    if not _has_lines(name):
        check_type(name)


def _unusable(place: str, one: str | Record, column: str, fault: Unfit) -> Problem:
    if isinstance(one, str) or column in one:
        return Problem(place, fault.what, fault.fix or _USABLE)
    what = f"{fault.what}; its columns: {', '.join(map(str, one))}"
    return Problem(place, what, "--column NAME")
