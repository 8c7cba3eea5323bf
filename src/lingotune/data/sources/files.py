"""Files and folders to rows: which files a pattern names, and which reader reads them.

Every reader is a generator of (location, record). A record maps the source's column names to its
values as they stand there. A reader goes on after a bad row. The bad rows go to `on_fault`, one by
one; without it, all of them and all that is wrong with whole files are one ConfigError at the end.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from lingotune.config.problems import ConfigError, Problem, closest
from lingotune.config.quoting import override_text
from lingotune.config.typed_json import parse_json
from lingotune.data.rows.findings import (
    AGAIN,
    Faults,
    Located,
    OnReject,
    OnRemark,
    config_error,
)
from lingotune.data.sources.addresses import is_elsewhere
from lingotune.data.sources.arrow_reader import read_arrow, read_parquet
from lingotune.data.sources.content import is_pointer, other_type
from lingotune.data.sources.copies import copied_files, shown_name
from lingotune.data.sources.csv_reader import read_csv, read_tsv, written_with
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.json_reader import read_json, read_jsonl
from lingotune.data.sources.lines import PACKED, STREAMS, zipped_name
from lingotune.data.sources.sheet_reader import read_sheet
from lingotune.data.sources.split_names import words_of
from lingotune.data.sources.text_reader import ENDING, read_text

_Reader = Callable[[Path, str, Faults, FileFormat], Iterator[Located]]
_TEXT_READERS: dict[str, _Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
}
_READERS: dict[str, _Reader] = {
    **_TEXT_READERS,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".xlsx": read_sheet,
    ".xls": read_sheet,
    ".ods": read_sheet,
}
_ARROW_NOTES = ("state.json", "dataset_info.json", "dataset_dict.json")
_PARTITION = re.compile(r"(\w+)=(.+)")
"""Folder that holds the rows of one value of a column, as Spark and pandas write them."""
_AS_FOUND = FileFormat()
_KNOWN_TYPES = (
    f"{' '.join(_READERS)}, the text ones also as {', '.join(STREAMS)} or .zip, a save_to_disk folder,"
    " or a folder of .txt files for each class"
)


# --- which files --------------------------------------------------------------------------------

_Self = TypeVar("_Self", bound="Entry")


class Entry(Protocol):
    """A file or folder, here or in an object store: as much of `Path` as the rules for folders need."""

    @property
    def name(self) -> str:
        """Last part of its path."""

    def is_file(self) -> bool:
        """Tell whether it is a file that is there."""

    def is_dir(self) -> bool:
        """Tell whether it is a folder that is there."""

    def iterdir(self: _Self) -> Iterable[_Self]:
        """Yield what a folder holds."""

    def read_bytes(self) -> bytes:
        """Return the content of a file."""

    def __truediv__(self: _Self, name: str) -> _Self: ...


_E = TypeVar("_E", bound=Entry)


def find_files(pattern: str, key: str, known: Callable[[str], object] | None = None) -> list[Path]:
    """The files that a path or glob names, sorted by folder and name.

    A folder stands for the data files in it and in the folders in it that are called after splits; an
    Arrow folder (`save_to_disk`) for its Arrow files; one whose folders hold .txt files for these.
    `key` is the setting that holds the pattern, for the messages. known: raises ConfigError for the name
    of a file that cannot be read; default: `check_type`. ConfigError if nothing is there. Of s3:// and
    https:// it finds the copies that `data/transfer` has fetched.
    """
    if is_elsewhere(pattern):
        found = copied_files(pattern, key)
        for file in found:
            if known is not None or not is_text(file):
                (known or check_type)(file.name)
        return found
    path = Path(pattern).expanduser()
    if path.is_file():
        found = [path]
        (known or check_type)(path.name)
    elif path.exists():
        found = _expand(path, key)
    elif glob.has_magic(pattern):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**`, hidden files
        found = [f for m in matches for f in _expand_match(Path(m), key)]
        if not found:
            raise config_error(
                f"{key}={pattern}", "no file matches the pattern", _inside(path, key)
            )
        for file in found:
            if known is not None or not is_text(file):
                (known or check_type)(file.name)
    else:
        raise config_error(
            f"{key}={pattern}", "there is no such file or folder", _inside(path, key)
        )
    return once(sorted(set(found), key=lambda f: (str(f.parent), f.name)))


def once(files: Sequence[Path]) -> list[Path]:
    """Leave out files that links lead to once more; the folder of a text, its class, counts too."""
    known: dict[tuple[Path, str], Path] = {}
    for file in files:
        known.setdefault((file.resolve(), file.parent.name if is_text(file) else ""), file)
    return list(known.values())


def _expand_match(path: Path, key: str) -> list[Path]:
    """A folder that a glob happens to match counts only if it is an Arrow folder."""
    if path.is_file():
        return [path]
    return _expand(path, key) if (path / "state.json").is_file() else []


def _expand(folder: Path, key: str) -> list[Path]:
    if (folder / "state.json").is_file():
        return _arrow_files(folder)
    found = data_files(folder)
    if found:
        return found
    names = ", ".join(f.name for f in visible(folder)[:10]) or "nothing"
    deeper = next((f for f in sorted(folder.rglob("*")) if is_data_file(f.name)), None)
    fix = override_text(key, f"{folder}/**/*{deeper.suffix}") if deeper else _KNOWN_TYPES
    raise config_error(str(folder), f"the folder holds no data files; it has: {names}", fix)


def data_files(folder: _E) -> list[_E]:
    """Find the files that a folder stands for, if any.

    Where something in it is called after a split, the folders in it count too: nothing is passed over.
    """
    if (folder / "state.json").is_file():
        return _arrow_files(folder)
    entries = visible(folder)
    files = [f for f in entries if f.is_file() and is_data_file(f.name)]
    folders = [f for f in entries if f.is_dir()]
    if any(words_of(f.name) for f in files + folders):
        return files + [f for inner in folders for f in data_files(inner)]
    return files or [f for inner in folders for f in visible(inner) if is_text(f)]


def is_text(file: Entry) -> bool:
    """Tell whether a file holds one text, whose class is the name of its folder."""
    return file.name.lower().endswith(ENDING)


def visible(folder: _E) -> list[_E]:
    """List the entries of a folder by name, without hidden ones and Excel's marks of open files."""
    shown = (f for f in folder.iterdir() if not f.name.startswith((".", "_", "~$")))
    return sorted(shown, key=lambda f: f.name)


def _arrow_files(folder: _E) -> list[_E]:
    """The files that `save_to_disk` wrote: caches may lie beside them."""
    state = folder / "state.json"
    try:
        names = [entry["filename"] for entry in parse_json(state.read_bytes())["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise config_error(
            str(state), f"is not what save_to_disk writes: {error!r}", AGAIN
        ) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise config_error(str(folder), f"the Arrow folder lacks {', '.join(missing)}", AGAIN)
    if not names:
        raise config_error(str(folder), "the Arrow folder holds no rows")
    return [folder / name for name in names]


def _inside(path: Path, key: str) -> str:
    """A near name, or what lies in the nearest folder that exists."""
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which is not there"
    folder = next(p for p in path.parents if p.is_dir() and not glob.has_magic(str(p)))
    names = [f.name + ("/" if f.is_dir() else "") for f in visible(folder)]
    plain = [name.rstrip("/") for name in names]
    close = closest(path.name, plain)
    if close and folder == path.parent:
        return override_text(key, str(folder / close))
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{folder} holds: {listed}" if names else f"{folder} is empty"


# --- which reader -------------------------------------------------------------------------------


def read_files(
    files: Iterable[Path],
    on_fault: OnReject | None = None,
    how: FileFormat = _AS_FOUND,
    on_remark: OnRemark = lambda text: None,
) -> Iterator[Located]:
    """Read several files, one after another; ConfigError at the end with all their problems.

    on_remark: is told what is odd about a file, such as an encoding that had to be recognised.
    """
    return read_named(((file, shown_name(file)) for file in files), on_fault, how, on_remark)


def read_named(
    files: Iterable[tuple[Path, str]],
    on_fault: OnReject | None = None,
    how: FileFormat = _AS_FOUND,
    on_remark: OnRemark = lambda text: None,
) -> Iterator[Located]:
    """Read files that messages call by another name: (file, name)."""
    problems: list[Problem] = []
    for path, name in files:
        try:
            yield from read_file(path, name, on_fault, how, on_remark)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def read_file(
    path: Path,
    name: str | None = None,
    on_fault: OnReject | None = None,
    how: FileFormat = _AS_FOUND,
    on_remark: OnRemark = lambda text: None,
) -> Iterator[Located]:
    """Read the rows of one file; `name` is what messages call it, by default its path or address."""
    name = name or shown_name(path)
    if is_pointer(path) or _reader_of(path) in _TEXT_READERS.values():
        other = other_type(path, name)
        if other is not None:
            raise ConfigError([other])
    faults = Faults(on_fault, on_remark)
    partitions = [
        match.groups() for part in Path(name).parts[:-1] if (match := _PARTITION.fullmatch(part))
    ]
    empty, problems = True, []
    try:
        for located in _reader_of(path)(path, name, faults, how):
            empty = False
            for column, value in partitions:
                located[1].setdefault(column, value)
            yield located
    except ConfigError as error:
        problems = error.problems
    problems = faults.problems() + problems
    if problems:
        raise ConfigError(problems)
    if empty and not faults.count:
        size = path.stat().st_size
        raise config_error(
            name, "has no rows" if size else "is empty (0 bytes)", "a file with rows"
        )


def is_data_file(name: str) -> bool:
    """Tell whether a reader knows the ending of a name; the files beside Arrow data have none of these."""
    known = _ending(name) in _READERS or name.lower().endswith(".zip")
    return known and name not in _ARROW_NOTES


def uses_setting(name: str, setting: str) -> bool:
    """Tell whether a file of this name may be read by a setting of how files are read."""
    ending = _ending(name)
    if setting == "sheet":
        return _READERS.get(ending) is read_sheet
    if setting == "header" and _READERS.get(ending) is read_sheet:
        return True
    delimited = ending in (".csv", ".tsv", ".zip")
    return delimited or (setting == "encoding" and (ending in _TEXT_READERS or ending == ENDING))


def check_type(name: str) -> None:
    """Raise ConfigError if no reader knows the ending of a name; what is in a .zip shows later."""
    ending = _ending(name)
    if ending not in _READERS and ending != ".zip":
        raise config_error(name, f"unknown file type {ending!r}", _KNOWN_TYPES)


def common_format(files: Sequence[Path], how: FileFormat) -> FileFormat:
    """Return the encoding and separator that all text files are found to have, where they are the same."""
    usual: dict[_Reader, str] = {read_csv: ",", read_tsv: "\t"}
    found = {
        written_with(file, usual.get(reader, ""), how)
        for file in files
        if (reader := _reader_of(file)) in _TEXT_READERS.values()
    }
    return found.pop() if len(found) == 1 else how


def _reader_of(path: Path) -> _Reader:
    """The reader of a file that is there; ConfigError if there is none for it, or what is packed in it."""
    if is_text(path):
        return read_text
    if not path.name.lower().endswith(".zip"):
        check_type(path.name)
        return _READERS[_ending(path.name)]
    inner = zipped_name(path)
    reader = _TEXT_READERS.get(Path(inner.lower()).suffix)
    if reader is None:
        what = f"holds {inner}, of a type that is not read out of a .zip"
        raise config_error(
            shown_name(path), what, f"unzip it; read out of one: {' '.join(_TEXT_READERS)}"
        )
    return reader


def _ending(name: str) -> str:
    """Return the ending that tells the type: that before .gz and such, of types that are read packed."""
    lower = name.lower()
    packed = next((ending for ending in PACKED if lower.endswith(ending)), "")
    inner = Path(lower.removesuffix(packed)).suffix
    if not packed or inner in _TEXT_READERS:
        return inner
    return packed if packed == ".zip" else inner + packed
