"""Prepared data as a trainer reads it: flat files of tokens and rows, and padded batches cut from them.

The flat files of a split are written from its Parquet shards by the first process that needs them, and
mapped into memory by all: eight ranks on a machine hold them once.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow
from pyarrow import parquet

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.schema import ONE_CLASS
from lingotune.data.loader.columns import view_of
from lingotune.data.loader.flat_files import FlatFiles, rows_table
from lingotune.data.prepared.manifest import (
    TOKENIZER,
    FolderFile,
    ShardFile,
    SplitShards,
    anew,
    load_manifest,
)
from lingotune.data.prepared.shards import read_texts
from lingotune.data.prepared.teacher import PREDICTED
from lingotune.data.rows.ids import rows_digest, targets_text
from lingotune.data.rows.pairs import TEXTS
from lingotune.system.arrays import Array
from lingotune.system.verified import is_as_written

TEACHER = "teacher"
"""Key of a teacher's probabilities in a batch, which the model does not take."""
UNLABELLED = -100
"""Label of a row that has none; torch's cross_entropy leaves it out."""


@dataclass(frozen=True)
class Split:
    """Rows of one split, in the order of its shards or as selected.

    tokens: (tokens of all rows of the split,), mapped from a file. Each is an index into `ids`, which saves
    half of the space: the ids that occur mostly fit into uint16 where a vocabulary does not; otherwise
    the indices are uint32. ids: int64, ascending, (ids that occur,).
    All other arrays are (rows,). starts, lengths: int64, where in `tokens` a row begins, and how many it
    has. label: int64. language: int16, index into `languages`. place: int64, number of the row in the
    shards. targets: float32, (rows, classes), the value of every class where a text may have several, or
    shares of them; else None. several: True for the former; then label is the first class of each row, or
    their number for none. teacher: float32, (rows, classes), probabilities of a teacher; None without one.
    labelled: bool, (rows,), False for rows whose label is the teacher's; None = all are labelled. first:
    int64, tokens of each row before its second segment; None where rows have no second one. known: what
    `digest` was before for the same arrays, if it is kept.
    """

    tokens: Array
    ids: Array
    starts: Array
    lengths: Array
    label: Array
    language: Array
    place: Array
    languages: tuple[str, ...]
    padding_id: int
    targets: Array | None = None
    several: bool = False
    teacher: Array | None = None
    labelled: Array | None = None
    first: Array | None = None
    known: KnownDigest | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def true(self) -> Array:
        """What predictions are compared with: class ids, or, bool, (rows, classes), which a text has."""
        return self.targets > 0 if self.several and self.targets is not None else self.label

    @property
    def taught(self) -> Array:
        """What a model is trained on: class ids, or the value of every class."""
        return self.label if self.targets is None else self.targets

    @cached_property
    def longest(self) -> int:
        """Number of tokens of the longest row; 0 if there is no row."""
        return int(self.lengths.max(initial=0))

    def class_rows(self, classes: int) -> Array:
        """Count the rows by language and class, int64, (languages, classes); one may have several."""
        if self.several:
            counts = np.zeros((len(self.languages), classes), np.int64)
            np.add.at(counts, self.language, self.true)
            return counts
        kinds = self.language.astype(np.int64) * classes + self.label
        return np.bincount(kinds, minlength=len(self.languages) * classes).reshape(-1, classes)

    @property
    def codes(self) -> list[str]:
        """Language code of each row."""
        named: list[str] = self.codes_array.tolist()
        return named

    @property
    def codes_array(self) -> Array:
        """The same as an array of objects, (rows,)."""
        return np.array(self.languages, object)[self.language]

    @property
    def language_rows(self) -> dict[str, int]:
        """Number of rows of each language that has any, in the order of the codes."""
        counts = np.bincount(self.language, minlength=len(self.languages)).tolist()
        return {code: count for code, count in zip(self.languages, counts) if count}

    def select(self, rows: Sequence[int] | Array) -> Split:
        """Select rows, in this order; the tokens are not copied."""
        at = np.asarray(rows, np.int64)
        return replace(
            self,
            starts=self.starts[at],
            lengths=self.lengths[at],
            label=self.label[at],
            language=self.language[at],
            place=self.place[at],
            targets=None if self.targets is None else self.targets[at],
            teacher=None if self.teacher is None else self.teacher[at],
            labelled=None if self.labelled is None else self.labelled[at],
            first=None if self.first is None else self.first[at],
        )

    def longest_first(self) -> Split:
        """Sort the rows by length: neighbours need little padding, the first batch most memory."""
        return self.select(np.argsort(-self.lengths, kind="stable"))

    def batch(self, rows: Sequence[int] | Array, multiple: int = 1) -> dict[str, Array]:
        """Make a padded batch: input_ids and attention_mask, int64, (rows, width); labels as `taught`,
        `UNLABELLED` for rows without one; with a teacher, `TEACHER`, float32, (rows, classes).

        Of rows with a second segment also token_type_ids, int64, (rows, width): 1 in it, 0 elsewhere.
        Rows are padded at their end. The width is that of the longest row, rounded up to `multiple` but not
        beyond the longest row of the split: the model may have no positions for more.
        """
        return self.batches(rows, [len(rows)], multiple)[0]

    def batches(
        self, rows: Sequence[int] | Array, sizes: Sequence[int] | Array, multiple: int = 1
    ) -> list[dict[str, Array]]:
        """Make consecutive batches, as `batch` does, of `sizes` (1 or more) rows each.

        All are made at once, without a loop over rows: the overhead of numpy's calls weighs most where
        batches are small, see benchmarks/reader.py. The arrays are views of larger ones.
        """
        # The cells of all batches, read batch by batch and row by row, form one flat array; `cell` numbers
        # them. A row owns `width` cells from `first` on, and its tokens fill the first `length` of these.
        # at, starts, lengths, labels, width, first: (rows,), labels perhaps (rows, classes).
        # counts, ends, longest, widths: (batches,).
        at, counts = np.asarray(rows, np.int64), np.asarray(sizes, np.int64)
        starts, lengths, labels = self.starts[at], self.lengths[at], self.taught[at]
        if self.labelled is not None:
            labels = np.where(self.labelled[at], labels, UNLABELLED)
        teacher = None if self.teacher is None else self.teacher[at]
        ends = np.cumsum(counts)
        longest = np.maximum.reduceat(lengths, ends - counts)  # of each batch
        widths = np.minimum(-(-longest // multiple) * multiple, self.longest)
        width = np.repeat(widths, counts)
        first = np.cumsum(width) - width
        cell = np.arange(int(width.sum()))
        real = cell < np.repeat(first + lengths, width)
        # Cell `first + k` of a row reads token `start + k`. Behind a short row that is a token of the next
        # one (clipped at the end of the file), which is overwritten by padding: faster than leaving it out.
        place = self.tokens.take(cell + np.repeat(starts - first, width), mode="clip")
        ids = self.ids.take(place, mode="clip")
        if not real.all():
            ids[~real] = self.padding_id
        mask = real.astype(np.int64)
        types = None
        if self.first is not None:
            types = (real & (cell >= np.repeat(first + self.first[at], width))).astype(np.int64)
        cells = np.append(0, np.cumsum(counts * widths)).tolist()  # where each batch begins
        return [
            {
                "input_ids": ids[begin:end].reshape(count, -1),
                "attention_mask": mask[begin:end].reshape(count, -1),
                **(
                    {} if types is None else {"token_type_ids": types[begin:end].reshape(count, -1)}
                ),
                "labels": labels[last - count : last],
                **({} if teacher is None else {TEACHER: teacher[last - count : last]}),
            }
            for begin, end, count, last in zip(cells, cells[1:], counts.tolist(), ends.tolist())
        ]

    def digest(self) -> str:
        """Hash everything that a model sees of these rows: SHA-256, 64 hexadecimal digits.

        That of a split as it lies in its store is computed once on a machine.
        """
        if self.known is not None and self.known.is_of(self.content):
            return self.known.files.known("tokens", list(self.languages), self._digest)
        return self._digest()

    @property
    def content(self) -> tuple[Array | None, ...]:
        """Arrays that the digest is of."""
        return (
            self.tokens, self.ids, self.starts, self.lengths, self.label, self.language, self.targets,
            self.teacher, self.labelled, self.first,
        )  # fmt: skip

    def _digest(self) -> str:
        digest = hashlib.sha256("\n".join(self.languages).encode())
        segments = () if self.first is None else (self.first,)
        for values in (self.lengths, self.label, self.language, *segments):
            digest.update(np.ascontiguousarray(values).astype(np.int64).tobytes())
        if self.targets is not None:
            digest.update(np.ascontiguousarray(self.targets).tobytes())
        for first in range(0, len(self), _DIGESTED):
            rows = slice(first, first + _DIGESTED)
            at = _places(self.starts[rows], self.lengths[rows])
            digest.update(self.ids[self.tokens[at]].astype(np.uint32).tobytes())
        for given in (self.teacher, self.labelled):
            if given is not None:
                digest.update(np.ascontiguousarray(given).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class KnownDigest:
    """Files that keep the digest of a split, and the arrays that it is of."""

    content: tuple[Array | None, ...]
    files: FlatFiles

    def is_of(self, content: tuple[Array | None, ...]) -> bool:
        """Tell whether these are the very arrays, none of them selected from, added or left out."""
        return all(one is other for one, other in zip(self.content, content))


_DIGESTED = 50_000
"""Number of rows whose tokens the digest holds in memory at a time."""


def _read(path: Path, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """Read those of the columns that a file has, all by default."""
    with parquet.ParquetFile(path) as file:  # read_table imports pandas
        there = [name for name in file.schema_arrow.names if columns is None or name in columns]
        return file.read(columns=there)


def _places(starts: Array, lengths: Array) -> Array:
    """Indices of all tokens of these rows: arange(start, start + length) of each row in turn."""
    # One arange over all tokens, with each row's stretch shifted to begin at the row's start.
    ends = np.cumsum(lengths)
    places: Array = np.repeat(starts - (ends - lengths), lengths) + np.arange(int(lengths.sum()))
    return places


class Store:
    """Splits of a folder of prepared data.

    cache: a writable folder of this machine for the flat files; by default the data's own folder, or a
    temporary one if that is read-only.
    """

    def __init__(self, folder: str | Path, cache: Path | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = load_manifest(self.folder)
        self._cache = cache

    def split(self, name: str) -> Split:
        """ConfigError where a shard is missing, or holds other rows than the manifest says."""
        found = self.manifest.splits[name]
        if not found.rows:
            return self._empty()
        for shard in found.shards:
            with self._reading(shard):
                pass
        flat = FlatFiles(self._writable(), name, self.manifest.digest)
        flat.make_unless_there(
            found.rows, found.tokens, partial(self._rows, found.shards),
            partial(self._token_chunks, found),
        )  # fmt: skip
        (tokens, ids), (columns, languages) = flat.tokens(), flat.rows()
        starts, lengths, label, language, place = (
            columns[column] for column in ("starts", "lengths", "label", "language", "place")
        )
        split = Split(
            tokens, ids, starts, lengths, label, language, place, languages, self._padding_id(),
            columns.get("targets"), self.manifest.totals is not None, first=columns.get("first"),
        )  # fmt: skip
        return replace(split, known=KnownDigest(split.content, flat))

    def _empty(self) -> Split:
        none, targets = np.zeros(0, np.int64), None
        if self._has_targets:
            targets = np.zeros((0, len(self.manifest.labels)), np.float32)
        return Split(
            none.astype(np.uint16), np.zeros(1, np.int64), none, none, none, none.astype(np.int16),
            none, (), self._padding_id(), targets, several=self.manifest.totals is not None,
        )  # fmt: skip

    @property
    def _has_targets(self) -> bool:
        mode = self.manifest.data.get("labels_mode")  # data of older versions has none
        return mode not in (None, *(one.name for one in ONE_CLASS))

    def ids_and_stars(self, name: str, split: Split) -> tuple[list[str], Array]:
        """Read the ids of a split's rows, and their ratings: float64, (rows,), NaN if there is none."""
        ids: list[str] = []
        stars: list[Array] = [np.zeros(0)]
        for shard in self.manifest.splits[name].shards:
            table = self._read(shard, ["id", "stars"])
            ids += table["id"].to_pylist()
            if "stars" in table.column_names:
                stars.append(table["stars"].cast("float64").to_numpy())
            else:
                stars.append(np.full(table.num_rows, np.nan))
        return [ids[place] for place in split.place.tolist()], np.concatenate(stars)[split.place]

    def sources(self, name: str, split: Split) -> Array | None:
        """Read where a split's rows come from: object, (rows,), None for rows without a source.

        None where all have the same one, or the data does not say, as that of older versions.
        """
        sources: list[str | None] = []
        for shard in self.manifest.splits[name].shards:
            table = self._read(shard, ["source"])
            if "source" not in table.column_names:
                return None
            sources += table["source"].to_pylist()
        return np.array(sources, object)[split.place] if len(set(sources)) > 1 else None

    def teacher(self, name: str, split: Split) -> tuple[Array, Array]:
        """Read a teacher's classes, int64, (rows,), and probabilities, float32, (rows, classes), of a
        split's rows. KeyError without a teacher."""
        found = self.manifest.teacher
        if found is None:
            raise KeyError(name)
        file = found.files[name]
        with self._reading(file):
            table = _read(self.folder / file.file)
        columns = [table[f"probability_{label}"].to_numpy() for label in self.manifest.labels]
        shares = np.stack(columns, axis=1).astype(np.float32, copy=False)
        return table[PREDICTED].to_numpy().astype(np.int64)[split.place], shares[split.place]

    def with_teacher(self, name: str, split: Split) -> Split:
        """Add a teacher's probabilities to a split, if the data has them, and which rows have no label."""
        found = self.manifest.teacher
        if found is None:
            return split
        labelled = split.place < self.manifest.splits[name].rows - found.unlabelled
        return replace(
            split,
            teacher=self.teacher(name, split)[1],
            labelled=None if labelled.all() else labelled,
        )

    def texts(self, name: str, split: Split) -> list[str]:
        """Read the texts of a split's rows, or their pairs of texts."""
        texts = [
            text
            for shard in self.manifest.splits[name].shards
            for text in read_texts(self._read(shard, [*TEXTS]))
        ]
        return [texts[place] for place in split.place.tolist()]

    def probe(self, name: str, count: int) -> tuple[list[str], list[list[int]]]:
        """The first texts of a split, and their token ids as prepared."""
        for shard in self.manifest.splits[name].shards:
            with (
                self._reading(shard),
                parquet.ParquetFile(self.folder / shard.file) as file,
            ):
                rows = next(file.iter_batches(count, columns=[*TEXTS, "input_ids"]))
                batch = pyarrow.Table.from_batches([rows])
                return read_texts(batch), batch["input_ids"].to_pylist()
        return [], []

    def digest(self, name: str) -> str:
        """Hash the rows of a split, see `rows_digest`; computed once on a machine."""
        found = self.manifest.splits[name]
        if not found.rows:
            return self._digest(name)
        flat = FlatFiles(self._writable(), name, self.manifest.digest)
        of = [shard.sha256 for shard in found.shards]
        return flat.known("texts", of, partial(self._digest, name))

    def _digest(self, name: str) -> str:
        names = ["id", "language", "targets" if self._has_targets else "label"]
        tables = (
            self._read(shard, [*names, *TEXTS]) for shard in self.manifest.splits[name].shards
        )
        columns = (
            (*(table[one].to_pylist() for one in names), read_texts(table)) for table in tables
        )
        rows = chain.from_iterable(zip(*of) for of in columns)
        if not self._has_targets:
            return rows_digest(rows)
        return rows_digest((id, code, targets_text(of), text) for id, code, of, text in rows)

    @property
    def tokenizer_file(self) -> Path:
        """Tokenizer file as the `tokenizers` library reads it; ConfigError if it was changed."""
        for file in self.manifest.tokenizer.files:
            with self._reading(file):
                pass
        return self.folder / TOKENIZER / "tokenizer.json"

    def _rows(self, shards: Sequence[ShardFile]) -> pyarrow.Table:
        """Read the columns of the rows of all shards, see `rows_table`."""
        names = ["length", "label", "language", "first"]
        names += ["targets"] if self._has_targets else []
        tables = [self._read(shard, names) for shard in shards]
        for shard, table in zip(shards, tables):
            if table.num_rows != shard.rows:
                what = f"holds {table.num_rows} rows; the manifest says {shard.rows}"
                raise self._damaged(shard.file, what)
        return rows_table(tables, len(self.manifest.labels))

    def _token_chunks(self, split: SplitShards) -> Iterator[Array]:
        for shard in split.shards:
            ids = self._read(shard, ["input_ids"])["input_ids"]
            for chunk in ids.chunks:
                values = view_of(chunk.flatten())
                if len(values):
                    yield values

    def _writable(self) -> Path:
        if self._cache is None:
            self._cache = self.folder / "flat"
            try:
                self._cache.mkdir(exist_ok=True)
            except OSError:  # an input channel
                self._cache = Path(tempfile.gettempdir(), f"lingotune-{self.manifest.digest}")
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    def _padding_id(self) -> int:
        found = self.manifest.tokenizer
        if found.padding_id is None:
            what = f"its tokenizer, {found.name}, has no padding token"
            raise ConfigError([Problem(str(self.folder), what, "a model whose tokenizer has one")])
        return found.padding_id

    def _read(self, shard: ShardFile, columns: list[str]) -> pyarrow.Table:
        """Read those of the columns that the shard has."""
        with self._reading(shard):
            return _read(self.folder / shard.file, columns)

    @contextmanager
    def _reading(self, shard: ShardFile | FolderFile) -> Iterator[None]:
        """Raise ConfigError for a file that is not as it was prepared, or that the block cannot read."""
        try:
            if not is_as_written(self.folder / shard.file, shard.sha256):
                raise self._damaged(shard.file, "is not as it was prepared: its sha256 is another")
            yield
        except (OSError, pyarrow.ArrowException) as error:
            raise self._damaged(shard.file, f"cannot be read: {error}") from error

    def _damaged(self, file: str, what: str) -> ConfigError:
        path = str(self.folder / file)
        return ConfigError([Problem(path, what, anew(self.folder), code=DATA_FAILED)])
