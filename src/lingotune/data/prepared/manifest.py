"""The manifest of prepared data, and its identity: a digest of everything that it follows from."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.config.jobfile import plain
from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import DETECT, SPLITS, DataConfig, DistillationConfig, Source
from lingotune.config.typed_json import (
    SEAL,
    UNLESS_NONE,
    from_json,
    parse_json,
    sealed,
    to_json,
    unsealed,
)
from lingotune.data.rows.findings import Counts
from lingotune.data.rows.label_sets import SEVERAL
from lingotune.data.rows.language_detection import detector_version
from lingotune.data.sources.copies import checksum_of, shown_name
from lingotune.data.sources.files import is_text
from lingotune.data.sources.patterns import (
    Part,
    given_patterns,
    hub_patterns,
    local_parts,
    reads_trained_only,
)
from lingotune.data.splits.rules import is_carved
from lingotune.system.hashing import sha256_of
from lingotune.system.verified import known_sha256

if TYPE_CHECKING:
    from lingotune.data.prepared.shards import Shard

FILE = "manifest.json"
"""Name of the manifest; written last, so a folder that has it is complete."""
FORMAT = 2
TOKENIZER = "tokenizer"
"""Folder of the tokenizer's files, beside the shards."""
_TRAINED = "train_languages"
_NO_PART = (
    "name", "rows", "path", "train", "validation", "test", "language_alpha", "balance", _TRAINED,
    "max_rows", "split_seed",
)  # fmt: skip
"""Settings that the rows do not follow from; the files, and the seed of the splits, are parts of their
own."""
_SPLIT_SEED = "split_seed"
_CODE = ("sources", "rows", "splits", "prepared")
"""Packages that turn rows into shards; those that only read shards are left out."""


# --- its parts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceFile:
    """A file that was read. bytes, sha256: None for a file of the hub."""

    name: str
    bytes: int | None = field(default=None, metadata=UNLESS_NONE)
    sha256: str | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True)
class SourceFiles:
    """Source of the rows. kind: `sample`, `hub` or `files`."""

    kind: str
    files: tuple[SourceFile, ...] = ()


@dataclass(frozen=True)
class FolderFile:
    """A file of the folder: path in it, size and digest."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardFile:
    """A Parquet file of prepared rows."""

    file: str
    rows: int
    tokens: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TokenizerFiles:
    """Tokenizer that made the ids.

    sha256: its identity. vocabulary: entries. unknown_id, padding_id: None where it has none.
    special: pad_token and the like -> the token.
    """

    name: str
    sha256: str | None
    vocabulary: int
    unknown_id: int | None
    padding_id: int | None
    special: dict[str, str]
    files: tuple[FolderFile, ...]


@dataclass(frozen=True)
class TeacherIdentity:
    """Everything that a teacher's probabilities follow from, beside the rows.

    sha256: of its files. texts: files of texts without labels.
    """

    sha256: str
    texts: tuple[SourceFile, ...] = ()


@dataclass(frozen=True)
class TeacherFiles:
    """Probabilities of a teacher for all rows.

    name: of its run, or of its folder. parameters: of the model; None where they cannot be counted.
    unlabelled: rows at the end of train that have no label but the teacher's. files: by split, in the
    order of its rows.
    """

    name: str
    identity: TeacherIdentity
    parameters: int | None
    unlabelled: int
    files: dict[str, FolderFile]


@dataclass(frozen=True)
class SplitShards:
    """Rows and tokens of a split, and its shards in the order of their rows."""

    rows: int
    tokens: int
    shards: tuple[ShardFile, ...]


@dataclass(frozen=True)
class ClassFigures:
    """Counts of one class in one language.

    tokens: after truncation. cut: rows that were truncated. unknown: tokens outside the vocabulary.
    """

    rows: int
    tokens: int
    cut: int
    unknown: int


@dataclass(frozen=True)
class _Label:
    name: str


@dataclass(frozen=True)
class Manifest:
    """Everything in manifest.json.

    writer: library -> version, None if it was not installed. readers: library -> oldest version that
    reads the shards. data: settings that the rows follow from. seed: None where no split was carved.
    statistics: split -> language -> class -> figures. lengths: split -> language -> rows by their
    number of tokens before truncation; the last entry counts all longer ones. inputs: rows by input.
    duplicates: rows removed, by input. seconds: by step. totals: split -> language -> figures of all rows,
    where one may count for several classes; else None. rarest: as totals, of the training split:
    language -> class -> texts of whose classes it is the rarest, "" for texts of none; None in data of
    older versions, too. teacher: None unless a model is to learn from one.
    """

    format: int
    digest: str
    lingotune: str
    writer: dict[str, str | None]
    readers: dict[str, str]
    source: SourceFiles
    data: dict[str, object]
    seed: int | None
    tokenizer: TokenizerFiles
    max_length: int
    splits: dict[str, SplitShards]
    statistics: dict[str, dict[str, dict[str, ClassFigures]]]
    lengths: dict[str, dict[str, tuple[int, ...]]]
    inputs: dict[str, Counts]
    duplicates: dict[str, int]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    totals: dict[str, dict[str, ClassFigures]] | None = field(default=None, metadata=UNLESS_NONE)
    rarest: dict[str, dict[str, int]] | None = field(default=None, metadata=UNLESS_NONE)
    teacher: TeacherFiles | None = field(default=None, metadata=UNLESS_NONE)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of their ids; ValueError if the settings hold none."""
        found = self.data.get("labels")
        if not isinstance(found, list):
            raise ValueError("data.labels is no list")
        return tuple(from_json(_Label, label, "data.labels").name for label in found)

    @property
    def training_rows(self) -> dict[str, dict[str, int]]:
        """Rows of the training split by language and class; if one may have several by the rarest, or, of
        older versions, together under ""."""
        if self.rarest is not None:
            return self.rarest
        if self.totals is not None:
            return {language: {"": found.rows} for language, found in self.totals["train"].items()}
        return {
            language: {label: found.rows for label, found in classes.items()}
            for language, classes in self.statistics["train"].items()
        }

    def by_language(self, split: str) -> dict[str, ClassFigures]:
        """Return the figures of all rows of each language of a split."""
        if self.totals is not None:
            return self.totals[split]
        names = [one.name for one in fields(ClassFigures)]
        return {
            language: ClassFigures(
                *(sum(getattr(of, name) for of in classes.values()) for name in names)
            )
            for language, classes in self.statistics[split].items()
        }

    def files(self) -> list[FolderFile | ShardFile]:
        """List every file of the folder except the manifest."""
        shards = [shard for split in self.splits.values() for shard in split.shards]
        taught = self.teacher.files.values() if self.teacher else ()
        return [*self.tokenizer.files, *shards, *taught]


# --- identity -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """Everything that prepared data follows from, and its digest (64 hexadecimal digits)."""

    source: SourceFiles
    data: dict[str, object]
    seed: int | None
    tokenizer: str
    digest: str


def identify(
    data: DataConfig, seed: int, tokenizer: str, teacher: TeacherIdentity | None = None
) -> Identity:
    """Compute the identity of a source prepared for a tokenizer; reads every byte of local files.

    seed: that of the splits. tokenizer: as `tokenizer_identity` returns it. teacher: of the probabilities
    that go with the rows.
    """
    source, settings = _source(data), _settings(data)
    carved_by = seed if is_carved(data) else None
    parts = {
        "format": FORMAT,
        "code": _code_digest(),
        "source": to_json(source),
        "data": settings,
        "seed": carved_by,
        "tokenizer": tokenizer,
    }
    if teacher is not None:
        parts["teacher"] = to_json(teacher)
    if data.columns.language == DETECT:
        parts["detector"] = detector_version()
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Identity(source, settings, carved_by, tokenizer, digest)


def folder_of(root: str | Path, data: DataConfig, identity: Identity) -> Path:
    """Return the folder for data of an identity: `<root>/<name>-<12 digits>`."""
    return Path(root, f"{data.name}-{identity.digest[:12]}")


def misfits(manifest: Manifest, data: DataConfig, seed: int) -> list[Problem]:
    """List the settings of a job that its prepared data was not prepared with.

    A setting that is newer than the data had its default, or what is now its default, then.
    """
    wanted, found = _settings(data), {**_settings(DataConfig()), **manifest.data}
    if _TRAINED in found:
        wanted.setdefault(_TRAINED, [])
    else:
        wanted.pop(_TRAINED, None)  # it has the rows of all languages
    if manifest.seed is not None:
        wanted[_SPLIT_SEED], found[_SPLIT_SEED] = seed, manifest.seed
    problems = []
    for key in sorted({*wanted, *found}):
        ours, theirs = (of.get(key, _default(key)) for of in (wanted, found))
        if ours != theirs:
            what = f"the prepared data {manifest.digest[:12]} was made with {theirs}"
            fix = f"the same settings, or data prepared with these: {program('prepare')} ..."
            if key == _SPLIT_SEED:
                fix = f"data.{key}={theirs}, or data prepared anew: {program('prepare')} ..."
            problems.append(Problem(f"data.{key}={ours}", what, fix))
    if data.max_rows is not None and manifest.totals is not None and manifest.rarest is None:
        what = f"the prepared data {manifest.digest[:12]} is of an older version, without rarest classes"
        fix = f"data.max_rows=null, or data prepared anew: {program('prepare')} ..."
        problems.append(Problem(f"data.max_rows={data.max_rows}", what, fix))
    return problems


def other_teacher(manifest: Manifest, distillation: DistillationConfig) -> list[Problem]:
    """Find out whether prepared data holds the probabilities of a job's teacher, and of no other."""
    found = manifest.teacher.identity.sha256 if manifest.teacher else None
    if found == distillation.sha256:
        return []
    held = f"that of the teacher {found[:12]}" if found else "that of no teacher"
    what = f"the prepared data {manifest.digest[:12]} is {held}"
    fix = f"data prepared with these settings: {program('prepare')} ..."
    return [Problem(f"distillation.teacher={distillation.teacher or 'null'}", what, fix)]


def _default(key: str) -> object:
    """Return the default of a setting that is only written where it is used."""
    value = getattr(DataConfig(), key, None)
    return value.name if isinstance(value, Enum) else value


def _settings(data: DataConfig) -> dict[str, object]:
    settings = plain(data)
    named = [f.name for f in fields(DataConfig) if f.name not in _NO_PART]  # without a launch's own
    known = {name: settings[name] for name in named if name in settings}
    return known | ({_TRAINED: settings[_TRAINED]} if reads_trained_only(data) else {})


def _code_digest() -> str:
    """Digest the modules that prepare data, since other code may make other rows."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    folders = [root / package for package in _CODE]
    paths = [p for of in folders for p in [*of.glob("*.py"), *of.glob("facts/*.json")]]
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _source(data: DataConfig) -> SourceFiles:
    if data.source is Source.sample:
        return SourceFiles("sample")
    if data.source is Source.hub:
        from lingotune.data.sources.hub_reader import hub_files

        patterns = [
            (pattern, f"data.{split}")
            for split in given_patterns(data)
            for _, pattern in hub_patterns(data, split)
        ]
        names = [
            name for pattern, key in patterns for name in hub_files(pattern, key, pool=data.pool)
        ]
        return SourceFiles("hub", tuple(map(SourceFile, names)))
    found = [(part, file) for part in local_parts(data) for file in part.files]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_source_digest, (file for _, file in found))
        sizes = [file.stat().st_size for _, file in found]
        described = list(zip(found, sizes, digests))
    files = [
        SourceFile(_source_name(part, file.name), size, digest)
        for (part, file), size, digest in described
        if not is_text(file)
    ]
    texts: dict[str, list[tuple[str, int, str]]] = {}
    for (part, file), size, digest in described:
        if is_text(file):  # its class is the name of its folder
            name = _source_name(part, f"{file.absolute().parent.name}/*{file.suffix}")
            texts.setdefault(name, []).append((file.name, size, digest))
    return SourceFiles("files", (*files, *(_folder_of_texts(*of) for of in texts.items())))


def _source_name(part: Part, name: str) -> str:
    return "/".join(filter(None, [part.split, part.language, name]))


def _folder_of_texts(name: str, files: Sequence[tuple[str, int, str]]) -> SourceFile:
    """Many files of one text each, as one entry."""
    digest = hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()
    return SourceFile(name, sum(size for _, size, _ in files), digest)


_LARGE = 1 << 20
"""Bytes of a file from which on its digest is kept on this machine: a smaller one is hashed as fast."""


def _source_digest(path: Path) -> str:
    try:
        digest = known_sha256(path) if path.stat().st_size >= _LARGE else sha256_of(path)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise ConfigError([Problem(shown_name(path), what, code=DATA_FAILED)]) from error
    if checksum_of(path) not in (None, digest):
        what = f"its copy on this machine is not what was fetched: {path}"
        fix = f"rm {shlex.quote(str(path))}, then the same command: it is fetched anew"
        raise ConfigError([Problem(shown_name(path), what, fix, code=DATA_FAILED)])
    return digest


# --- its figures --------------------------------------------------------------------------------


def split_shards(shards: Sequence[Shard]) -> SplitShards:
    """Describe the shards of a split."""
    files = (
        ShardFile(shard.file, shard.rows, shard.tokens, shard.bytes, shard.sha256)
        for shard in shards
    )
    return SplitShards(
        sum(shard.rows for shard in shards), sum(shard.tokens for shard in shards), tuple(files)
    )


def class_figures(
    shards: Sequence[Shard], labels: Sequence[str]
) -> dict[str, dict[str, ClassFigures]]:
    """Add up the figures of shards: language -> class -> figures."""
    return {
        language: {labels[n]: of for n, of in classes.items() if n != SEVERAL}
        for language, classes in _summed(shards).items()
    }


def total_figures(shards: Sequence[Shard]) -> dict[str, ClassFigures]:
    """Add up the figures of shards whose rows may have several classes: language -> those of all rows."""
    return {language: classes[SEVERAL] for language, classes in _summed(shards).items()}


def _summed(shards: Sequence[Shard]) -> dict[str, dict[int, ClassFigures]]:
    sums: dict[str, dict[int, list[int]]] = {}
    for shard in shards:
        for language, classes in shard.counts.items():
            for class_id, figures in classes.items():
                before = sums.setdefault(language, {}).get(class_id, [0, 0, 0, 0])
                sums[language][class_id] = [a + b for a, b in zip(before, figures)]
    return {
        language: {n: ClassFigures(*figures) for n, figures in sorted(classes.items())}
        for language, classes in sorted(sums.items())
    }


def length_counts(shards: Sequence[Shard]) -> dict[str, tuple[int, ...]]:
    """Add up the histograms of lengths of shards, by language."""
    sums: dict[str, list[int]] = {}
    for shard in shards:
        for language, counts in shard.lengths.items():
            before = sums.get(language, [0] * len(counts))
            sums[language] = [a + b for a, b in zip(before, counts)]
    return {language: tuple(counts) for language, counts in sorted(sums.items())}


# --- the file -----------------------------------------------------------------------------------


class OtherFormat(ValueError):
    """A manifest of another version of lingotune."""


def parse_manifest(text: str | bytes) -> Manifest:
    """Read a manifest; ValueError if it is none of this format, or damaged."""
    values = parse_json(text)
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} where an object is needed")
    if SEAL in values:  # those of earlier versions have none
        values = unsealed(values)
    if values.get("format") != FORMAT:
        raise OtherFormat(
            f"was prepared in format {values.get('format')}; this version reads {FORMAT}"
        )
    manifest = from_json(Manifest, values)
    if not manifest.labels:
        raise ValueError("data.labels is empty")
    for name in ("splits", "statistics", "lengths"):
        for split in SPLITS:
            if split not in getattr(manifest, name):
                raise ValueError(f"{name}.{split} is missing")
    return manifest


def load_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of prepared data; ConfigError if there is none that this version reads."""
    path, prepare = Path(folder, FILE), f"{program('prepare')} ..."
    try:
        return parse_manifest(path.read_bytes())
    except OtherFormat as error:
        raise ConfigError([Problem(str(folder), str(error), prepare)]) from None
    except FileNotFoundError as error:
        what = f"is no folder of prepared data: {FILE}: {error.strerror}"
        raise ConfigError([Problem(str(folder), what, prepare, code=DATA_FAILED)]) from None
    except NotADirectoryError:
        what = "is a file, and no folder of prepared data"
        fix = f"data=files data.path={shlex.quote(str(folder))}, which prepares the rows of a file"
        raise ConfigError([Problem(str(folder), what, fix, code=DATA_FAILED)]) from None
    except PermissionError as error:
        what, fix = f"cannot be read: {error.strerror}", f"chmod -R u+rX {shlex.quote(str(folder))}"
        raise ConfigError([Problem(str(path), what, fix, code=DATA_FAILED)]) from None
    except (OSError, ValueError) as error:
        what = f"cannot be read: {error}"
        raise ConfigError([Problem(str(path), what, anew(folder), code=DATA_FAILED)]) from error


def anew(folder: str | Path) -> str:
    """Return what makes damaged prepared data anew; it is kept."""
    away = f"mv {shlex.quote(str(folder))} {shlex.quote(f'{folder}.damaged')}"
    return f"{away}, then the same command, or {program('prepare')} ..., makes it anew"


def format_manifest(manifest: Manifest) -> str:
    """Format a manifest as the text of manifest.json."""
    return json.dumps(sealed(to_json(manifest)), indent=1, ensure_ascii=False)
