"""Classification of texts with a saved model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.schema import ColumnsConfig, DataConfig
from lingotune.data.rows.cleaner import Texts
from lingotune.data.rows.columns import candidate
from lingotune.data.rows.findings import Faults, OnRemark, Record, Unfit, config_error
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.data.rows.pairs import TEXTS, displayed, joined, parts_of
from lingotune.data.sources.file_format import FileFormat, format_of
from lingotune.data.sources.files import check_type, find_files, read_files
from lingotune.data.sources.lines import read_lines
from lingotune.evaluation.classifier import Classifier, Trained, takes_pairs
from lingotune.evaluation.language_reader import language_reader
from lingotune.evaluation.predictions import NO_CLASS
from lingotune.evaluation.text_number import check_number

_FIRST, _LARGEST = 256, 8_192
"""Texts that are classified together, at first and at most: each block is twice as large as the one before.
Results appear after each; of more texts, those of a batch are closer in length."""
_LINES = ".txt"
"""Suffix of files that hold one text per line."""
_UNKNOWN = DataConfig(columns=ColumnsConfig(text="text"))
"""Settings for preparing texts if those of the model's training are unknown."""
EXPECTED = "expected"
"""Name of the expected value in answers."""
_USABLE = "a text of whole characters; --file FILE reads other encodings than UTF-8, too"
Given = tuple[str, "str | tuple[str, str] | Record"]
"""A location, and the text or pair of texts there, or the record that contains it."""


def predict_lines(
    trained: Trained,
    rows: Iterable[tuple[Record, str]],
    *,
    as_json: bool = False,
    bar: Progress | None = None,
    bf16: bool = False,
) -> Iterator[str]:
    """Yield one line per text: the label, every class with its probability, and the text.

    rows: records with their texts, see `read_rows`; of the record only the language matters. as_json: lines
    are JSON objects with label, expected (value, of ordered classes), probabilities (class -> 0 to 1), text
    and text_pair (of pairs); with labels, a list, in place of label where a text may have several. bar:
    shows how far it is. bf16: as of `Classifier`. ConfigError if the model cannot be loaded.
    """
    for _, text, classes, shares, expected in _classified(trained, rows, bar, bf16):
        ranked = sorted(zip(trained.labels, shares), key=lambda pair: -pair[1])
        if as_json:
            said = {"labels": classes} if trained.several else {"label": classes[0]}
            more = {} if expected is None else {EXPECTED: expected}
            texts = dict(zip(TEXTS, parts_of(text)))
            answer = {**said, **more, "probabilities": dict(ranked), **texts}
            yield json.dumps(answer, ensure_ascii=False)
        else:
            value = "" if expected is None else f"expected {expected:.2f}  "
            others = "  ".join(f"{name} {share:.3f}" for name, share in ranked)
            named = ", ".join(classes) or NO_CLASS
            yield f"{named:10} ({value}{others})  {printable(displayed(text))}"


def predict_rows(
    trained: Trained,
    rows: Iterable[tuple[Record, str]],
    bar: Progress | None = None,
    *,
    bf16: bool = False,
) -> Iterator[Record]:
    """Yield each record with `predicted`, the class, and `probability_<class>` (0 to 1) of every class; of
    ordered classes also with `expected`, the expected value.

    Where a text may have several classes, `predicted` is a list of them. bar: shows how far it is. bf16: as
    of `Classifier`. ConfigError if a record has such a column already, or the model cannot be loaded.
    """
    names = trained.labels
    scaled = [EXPECTED] if trained.scale else []
    new = ["predicted", *scaled, *(f"probability_{name}" for name in names)]
    for record, _, classes, shares, expected in _classified(trained, rows, bar, bf16):
        taken = [name for name in new if name in record]
        if taken:
            what = f"the rows have a column {taken[0]!r} already"
            raise ConfigError([Problem("predict", what, "another name for it in the file")])
        said = classes if trained.several else classes[0]
        values = [said, *([expected] if scaled else []), *shares]
        yield {**record, **dict(zip(new, values))}


@dataclass(frozen=True)
class Progress:
    """A bar on standard error with rate and time left. total: texts; None = not known."""

    total: int | None


def _classified(
    trained: Trained, rows: Iterable[tuple[Record, str]], bar: Progress | None, bf16: bool
) -> Iterator[tuple[Record, str, list[str], list[float], float | None]]:
    """Yield each record and text with its classes, one or several, the probabilities of all and, if they
    are ordered, the expected value."""
    model = Classifier(trained, bf16=bf16)
    waiting, language_of = iter(rows), language_reader(trained)
    with _shown(bar) as on_done:
        for size in _block_sizes():
            block = list(islice(waiting, size))
            if not block:
                return
            languages = [language_of(record) for record, _ in block]
            classes, shares = model.classify([text for _, text in block], languages, on_done)
            answers = zip(model.named(classes), shares.tolist(), trained.expected(shares))
            for (record, text), answer in zip(block, answers):
                yield record, text, *answer


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
    given: Iterable[Given], trained: Trained, column: str | None, pair_column: str | None = None
) -> Iterator[tuple[Record, str]]:
    """Prepare texts as `read_texts` does, each with its record: all of its columns, or its texts alone.

    pair_column: field of records that holds the second text of pairs; None = the run's.
    """
    data = trained.job.data if trained.job else _UNKNOWN
    columns = replace(
        data.columns,
        text=column or data.columns.text,
        text_pair=pair_column or data.columns.text_pair,
    )
    texts, deep = Texts(columns, normalize=data.normalize), nested_columns(columns)
    for place, one in given:
        try:
            if isinstance(one, dict):
                record = dict(one)  # what is added is no column of the source
                add_nested(record, deep)
                yield one, texts.of(record)
            else:
                parts = [one] if isinstance(one, str) else [*one]
                check_number(len(parts), pairs=columns.text_pair is not None)
                yield dict(zip(TEXTS, parts)), joined(*map(texts.prepared, parts))
        except Unfit as fault:
            raise ConfigError([_unusable(place, one, columns, fault)]) from None


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
        if holds_lines(file.name):
            lines = _lines(file, how, on_remark)
            yield from in_lines(lines, str(file), pairs=takes_pairs(trained))
        else:
            yield from read_files([file], how=how, on_remark=on_remark)


def in_lines(lines: Iterable[str], name: str, *, pairs: bool = False) -> Iterator[Given]:
    """Yield lines that are not empty, located by `name` and line number.

    pairs: the texts of a pair have a tab between them.
    """
    for n, line in enumerate(lines, 1):
        if line.strip():
            text = line.rstrip("\r\n")
            first, tab, second = text.partition("\t")
            yield f"{name}:{n}", (first, second) if pairs and tab else text


def _lines(file: Path, how: FileFormat, on_remark: OnRemark) -> Iterator[str]:
    for number, line, fault in read_lines(file, str(file), Faults(remark=on_remark), how):
        if fault:
            raise config_error(f"{file}:{number}", fault, "a file in one encoding")
        yield line


def holds_lines(name: str) -> bool:
    """Tell whether a file of this name is read by lines, each a text, and has no columns."""
    return name.lower().removesuffix(".gz").endswith(_LINES)


def _check_readable(name: str) -> None:
    if not holds_lines(name):
        check_type(name)


def _unusable(
    place: str, one: str | tuple[str, str] | Record, columns: ColumnsConfig, fault: Unfit
) -> Problem:
    lacking = [] if not isinstance(one, dict) else _lacking(one, columns)
    if not lacking:
        return Problem(place, fault.what, fault.fix or _USABLE)
    what = f"{fault.what}; its columns: {', '.join(map(str, one))}"
    return Problem(place, what, " ".join(lacking))


def _lacking(record: Record, columns: ColumnsConfig) -> list[str]:
    """List the options that name the columns which a record lacks: by their usual names, or the longest
    text."""
    named = {"text": ("--column", columns.text), "text_pair": ("--pair-column", columns.text_pair)}
    taken = {column for _, column in named.values()}
    texts = {name: of for name, of in record.items() if isinstance(of, str) and name not in taken}
    free, options = sorted(texts, key=lambda name: -len(texts[name])), []
    for field, (option, column) in named.items():
        if column and column not in record:
            near = candidate(field, column, free) or next(iter(free), "NAME")
            options.append(f"{option} {shlex.quote(near)}")
            free = [name for name in free if name != near]
    return options
