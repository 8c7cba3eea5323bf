"""From a source to prepared data: read and checked, split, tokenised, written, described.

The source is read once, to its end: everything that is wrong is found, and the rows wait on disk. Then
their splits are chosen, and they are tokenised and written, shard by shard. Memory is bounded by the
texts of a few shards, the tokenizer's pieces, and about 50 bytes a row (8 more with groups).
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

from lingotune import __version__
from lingotune.config.faults import of_machine
from lingotune.config.problems import DATA_FAILED, DISK_FAILED, ConfigError, Problem
from lingotune.config.schema import SPLITS, DataConfig, LabelsMode, ModelConfig, Source
from lingotune.data.prepared.manifest import (
    FILE,
    FORMAT,
    TOKENIZER,
    FolderFile,
    Identity,
    Manifest,
    TeacherFiles,
    TokenizerFiles,
    class_figures,
    folder_of,
    format_manifest,
    identify,
    length_counts,
    split_shards,
    total_figures,
)
from lingotune.data.prepared.shard_writer import ShardWriter
from lingotune.data.prepared.shards import READERS, Shard
from lingotune.data.prepared.spool import Spool
from lingotune.data.prepared.teacher import Teacher, Teaching
from lingotune.data.prepared.tokenizer import fetch_tokenizer, tokenizer_identity
from lingotune.data.prepared.tokenizer_loading import Loaded, loading
from lingotune.data.rows.pairs import parts_of
from lingotune.data.rows.rejected import RejectedFile
from lingotune.data.splits.carve import removed_of
from lingotune.data.splits.survey import Survey, survey
from lingotune.system.hashing import sha256_of

REJECTED = "rejected.jsonl"
_TAUGHT = 20_000
"""At most about so many texts, from all over train, teach a vocabulary that has to be made."""


def prepare(
    data: DataConfig,
    model: ModelConfig,
    seed: int,
    root: Path,
    tell: Callable[[str], None],
    *,
    trains: bool = False,
    teacher: Teacher | None = None,
) -> tuple[Path, bool]:
    """The folder of the prepared data in `root`, and whether it had to be made.

    trains: this process is going to train on it, and will need the training libraries anyway. teacher: its
    probabilities of the rows become part of the data, and so do its texts without labels.

    A folder of the same digest is used as it is; one that was cut short is finished. Nothing is ever
    overwritten. ConfigError lists what is wrong with the source, before anything is written; what is
    merely odd is in the manifest, for the caller to tell.
    """
    _need("transformers", "tokenizers", "pyarrow")
    fetch_tokenizer(model)
    by = teacher.identity if teacher else None
    identity = identify(data, seed, tokenizer_identity(model) or "", by)
    folder = folder_of(root, data, identity)
    if (folder / FILE).is_file():
        return folder, False
    with _working_folder(folder) as work:
        if work is None:  # another process has made it meanwhile
            return folder, False
        _Preparation(data, model, seed, identity, work, tell, teacher).run(aside=not trains)
        work.replace(folder)
    return folder, True


def _need(*libraries: str) -> None:
    lacking = [name for name in libraries if find_spec(name) is None]
    if lacking:
        what = f"is prepared with {', '.join(lacking)}, not installed here"
        raise ConfigError([Problem("data", what, "pip install 'lingotune[train]'")])


@contextmanager
def _working_folder(folder: Path) -> Iterator[Path | None]:
    """Yield the folder in which the data is made, locked; None if another process has made the data."""
    work = folder.with_name(f".{folder.name}.unfinished")
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock").open("w")
    except OSError as error:
        what = f"no folder can be made there: {error.strerror or error}"
        raise ConfigError(
            [Problem(f"prepared_dir={folder.parent}", what, code=DISK_FAILED)]
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / FILE).is_file():
            yield None
            return
        try:
            work.mkdir(exist_ok=True)
            yield work
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise ConfigError([Problem(str(work), what, _room(error), code=DISK_FAILED)]) from error
    Path(lock.name).unlink(missing_ok=True)


def _room(error: OSError) -> str:
    """Say what helps against an error of the disk; then the same command goes on."""
    known, again = of_machine(error), "the same command"
    if known is None or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{again} once there is room: finished files are kept"
    first = known.problems[0].fix.removesuffix(f", then {again}")
    return f"{first}, then {again}: finished files are kept"


class _Preparation:
    """One folder in the making."""

    def __init__(
        self,
        data: DataConfig,
        model: ModelConfig,
        seed: int,
        identity: Identity,
        work: Path,
        tell: Callable[[str], None],
        teacher: Teacher | None,
    ) -> None:
        self._data, self._model, self._seed = data, model, seed
        self._identity, self._work, self._tell = identity, work, tell
        self._teacher = teacher
        self._seconds: dict[str, float] = {}

    def run(self, *, aside: bool) -> None:
        """Make the folder, its manifest last; `aside`: with the tokenizer in a process of its own."""
        files = self._work / TOKENIZER
        with (
            _killed_helpers_reported(),
            Spool(self._work) as rows,
            Spool(self._work) as unlabelled,
            loading(self._model, self._data.max_length, files, aside=aside) as tokenizer,
        ):
            with self._timed("reading"), RejectedFile(self._work / REJECTED) as rejected:
                found = survey(self._data, self._seed, rejected, rows.add, rows)
            sources = rows.sources.names(self._data.columns)
            self._check_unchanged()
            taught = self._taught(found, rows, unlabelled)
            with self._timed("tokenizer"):
                texts = (row.text for row, split in found.rows(rows) if split == 0)
                every = -(-found.counts[SPLITS[0]] // _TAUGHT)
                some = islice(texts, 0, None, every)
                loaded = tokenizer.finish(chain.from_iterable(map(parts_of, some)))
            with self._timed("tokenising"):
                total = sum(found.counts.values()) + (taught.unlabelled if taught else 0)
                vocabulary = lambda: loaded.result().vocabulary  # noqa: E731
                with ShardWriter(self._work, vocabulary, total, self._tell, sources) as writer:
                    for row, split in found.rows(rows):
                        writer.add(split, row)
                    for row in unlabelled:
                        writer.add(SPLITS.index("train"), row)
                    shards = writer.finish()
        warnings = (*found.warnings, *rows.sources.warnings(self._data.columns))
        self._write_manifest(found, warnings, loaded.result(), shards, taught)

    def _taught(self, found: Survey, rows: Spool, unlabelled: Spool) -> TeacherFiles | None:
        """Ask the teacher, if there is one; its texts without labels go to `unlabelled`."""
        if self._teacher is None:
            return None
        with self._timed("teacher"):
            labels = [label.name for label in self._data.labels]
            total = sum(found.counts.values())
            teaching = Teaching(self._teacher, labels, unlabelled.add, total, self._tell)
            return teaching.run(found.rows(rows), self._work)

    def _check_unchanged(self) -> None:
        """Make sure that the folder is named after what was read."""
        if self._data.source is not Source.files:
            return
        by = self._teacher.identity if self._teacher else None
        now = identify(self._data, self._seed, self._identity.tokenizer, by)
        if now.digest != self._identity.digest:
            what = "the files were changed while they were read"
            raise ConfigError(
                [Problem("data", what, "the same command once more", code=DATA_FAILED)]
            )

    def _write_manifest(
        self,
        found: Survey,
        warnings: tuple[str, ...],
        tokenizer: Loaded,
        shards: dict[str, list[Shard]],
        taught: TeacherFiles | None,
    ) -> None:
        identity = self._identity
        labels = [label.name for label in self._data.labels]
        several = self._data.labels_mode is LabelsMode.multi
        manifest = Manifest(
            format=FORMAT,
            digest=identity.digest,
            lingotune=__version__,
            writer={name: _version(name) for name in _WRITERS},
            readers=READERS,
            source=identity.source,
            data=identity.data,
            seed=identity.seed,
            tokenizer=self._tokenizer_files(tokenizer),
            max_length=self._data.max_length,
            splits={split: split_shards(of) for split, of in shards.items()},
            statistics={split: class_figures(of, labels) for split, of in shards.items()},
            lengths={split: length_counts(of) for split, of in shards.items()},
            inputs=dict(found.scanned.counts),
            duplicates=removed_of(found.scanned.keys, found.chosen),
            warnings=warnings,
            seconds=self._seconds,
            totals={split: total_figures(of) for split, of in shards.items()} if several else None,
            rarest=_rarest(found, labels) if several else None,
            teacher=taught,
        )
        for note in self._work.glob("*.json"):
            note.unlink()
        (self._work / FILE).write_text(format_manifest(manifest), encoding="utf-8")

    def _tokenizer_files(self, tokenizer: Loaded) -> TokenizerFiles:
        return TokenizerFiles(
            name=self._model.name_or_path or self._model.name,
            sha256=self._identity.tokenizer,
            vocabulary=tokenizer.size,
            unknown_id=tokenizer.vocabulary.unknown,
            padding_id=tokenizer.padding_id,
            special=tokenizer.special,
            files=tuple(
                FolderFile(
                    path.relative_to(self._work).as_posix(), path.stat().st_size, sha256_of(path)
                )
                for path in sorted((self._work / TOKENIZER).iterdir())
            ),
        )

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - begun, 3)


def _rarest(found: Survey, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    names = [*labels, ""]
    return {
        language: {names[place]: rows for place, rows in of.items()}
        for language, of in found.training_rows.items()
    }


@contextmanager
def _killed_helpers_reported() -> Iterator[None]:
    """Raise ConfigError where a helper process of the block was killed."""
    try:
        yield
    except BrokenExecutor as error:
        what = "a process that helps to prepare it was ended from outside, as happens where memory is short"
        fix = "the same command once more: finished shards are kept"
        raise ConfigError([Problem("data", what, fix)]) from error


_WRITERS = ("pyarrow", "tokenizers", "transformers", "datasets", "numpy")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
