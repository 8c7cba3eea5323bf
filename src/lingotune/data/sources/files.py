"""Files and folders to rows: which files a pattern names, and which reader reads them.

Every reader is a generator of (location, record). A record maps the source's column names to its
values as they stand there. A reader goes on after a bad row. The bad rows go to `on_fault`, one by
one; without it, all of them and all that is wrong with whole files are one ConfigError at the end.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.rows.findings import AGAIN, Faults, Located, OnReject, closest, config_error
from lingotune.data.sources.arrow_reader import read_arrow, read_parquet
from lingotune.data.sources.csv_reader import read_csv, read_tsv
from lingotune.data.sources.json_reader import read_json, read_jsonl

_Reader = Callable[[Path, str, Faults], Iterator[Located]]
_READERS: dict[str, _Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
_ARROW_NOTES = ("state.json", "dataset_info.json", "dataset_dict.json")
_KNOWN_TYPES = f"{' '.join(_READERS)}, the text ones also as .gz, or a save_to_disk folder"


# --- which files --------------------------------------------------------------------------------


def find_files(pattern: str, key: str, known: Callable[[str], object] | None = None) -> list[Path]:
    """The files that a path or glob names, sorted by folder and name.

    A folder stands for the data files in it, an Arrow folder (`save_to_disk`) for its Arrow files.
    `key` is the setting that holds the pattern, for the messages. known: raises ConfigError for the name
    of a file that cannot be read; default: `reader_for`. ConfigError if nothing is there.
    """
    path = Path(pattern).expanduser()
    if path.exists():
        found = _expand(path)
    elif glob.has_magic(pattern):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**`, hidden files
        found = [f for m in matches for f in _expand_match(Path(m))]
        if not found:
            raise config_error(
                f"{key}={pattern}", "no file matches the pattern", _inside(path, key)
            )
    else:
        raise config_error(
            f"{key}={pattern}", "there is no such file or folder", _inside(path, key)
        )
    for file in found:
        (known or reader_for)(file.name)
    return sorted(set(found), key=lambda f: (str(f.parent), f.name))


def _expand_match(path: Path) -> list[Path]:
    """A folder that a glob happens to match counts only if it is an Arrow folder."""
    return _expand(path) if path.is_file() or (path / "state.json").is_file() else []


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if (path / "state.json").is_file():
        return _arrow_files(path)
    found = [f for f in visible(path) if f.is_file() and is_data_file(f.name)]
    if not found:
        names = ", ".join(f.name for f in visible(path)[:10]) or "nothing"
        deeper = next((f for f in sorted(path.rglob("*")) if is_data_file(f.name)), None)
        fix = f"'{path}/**/*{deeper.suffix}'" if deeper else _KNOWN_TYPES
        raise config_error(str(path), f"the folder holds no data files; it has: {names}", fix)
    return found


def visible(folder: Path) -> list[Path]:
    """Entries of a folder, sorted by name, without hidden ones."""
    return sorted(f for f in folder.iterdir() if not f.name.startswith((".", "_")))


def _arrow_files(folder: Path) -> list[Path]:
    """The files that `save_to_disk` wrote: caches may lie beside them."""
    state = folder / "state.json"
    try:
        names = [entry["filename"] for entry in json.loads(state.read_bytes())["_data_files"]]
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
    folder = next(p for p in path.parents if p.is_dir() and not glob.has_magic(str(p)))
    names = [f.name + ("/" if f.is_dir() else "") for f in visible(folder)]
    plain = [name.rstrip("/") for name in names]
    close = closest(path.name, plain)
    if close and folder == path.parent:
        return f"{key}={folder / close}"
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{folder} holds: {listed}" if names else f"{folder} is empty"


# --- which reader -------------------------------------------------------------------------------


def read_files(files: Iterable[Path], on_fault: OnReject | None = None) -> Iterator[Located]:
    """The rows of several files, one after another; ConfigError at the end with all their problems."""
    return read_named(((file, str(file)) for file in files), on_fault)


def read_named(
    files: Iterable[tuple[Path, str]], on_fault: OnReject | None = None
) -> Iterator[Located]:
    """Read files that messages call by another name: (file, name)."""
    problems: list[Problem] = []
    for path, name in files:
        try:
            yield from read_file(path, name, on_fault)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def read_file(
    path: Path, name: str | None = None, on_fault: OnReject | None = None
) -> Iterator[Located]:
    """The rows of one file; `name` is what messages call it, by default its path."""
    name = name or str(path)
    faults = Faults(on_fault)
    empty, problems = True, []
    try:
        for located in reader_for(path.name)(path, name, faults):
            empty = False
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
    return _ending(name) in _READERS and name not in _ARROW_NOTES


def reader_for(name: str) -> _Reader:
    """The reader of a file name's ending; ConfigError if there is none."""
    try:
        return _READERS[_ending(name)]
    except KeyError:
        raise config_error(name, f"unknown file type {_ending(name)!r}", _KNOWN_TYPES) from None


def _ending(name: str) -> str:
    lower = name.lower()
    ending = Path(lower.removesuffix(".gz")).suffix
    zipped = lower.endswith(".gz")
    return ending + ".gz" if zipped and ending in (".parquet", ".arrow") else ending
