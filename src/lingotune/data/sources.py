"""Readers: files, folders and hub repositories to rows that know where they stand.

Every reader is a generator of (location, record). A location is `reviews.jsonl:17` (the line, from
1, on which the row starts) or `reviews.parquet row 17`. A record maps the source's column names to
its values as they stand there: text formats are strict UTF-8, and CSV values stay strings.

A reader goes on after a bad row and raises one ConfigError at its end, so that all problems of all
files can be reported at once. Text formats need the standard library only; pyarrow is imported
for Parquet and Arrow, huggingface_hub for `hf://` patterns.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
import re
import shlex
import time
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

from lingotune.schema import ConfigError, Problem

Record = dict[str, Any]
Located = tuple[str, Record]

HUB_PREFIX = "hf://"
"""Start of a pattern that names files of a hub repository."""

_SHOWN = 3
_KEPT = 20
_LOCATION = re.compile(r"(.*?)(:\d+| row \d+)", re.DOTALL)


# --- where rows stand ---------------------------------------------------------------------------


def split_location(location: str) -> tuple[str, str]:
    """File and place within it: `a/b.jsonl:17` is (`a/b.jsonl`, `:17`)."""
    match = _LOCATION.fullmatch(location)
    return (match[1], match[2]) if match else (location, "")


def summarise(locations: Sequence[str], count: int) -> str:
    """The first three locations and how many more there are: `a.jsonl:3, :17, :20 and 5 more`."""
    shown: list[str] = []
    previous = None
    for location in locations[:_SHOWN]:
        file, place = split_location(location)
        shown.append(place.strip() if file == previous and place else location)
        previous = file
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


class Findings:
    """Problems of rows: each kind once, with its first locations and its count."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, tuple[str, str, list[str]]] = {}
        self._counts: Counter[Hashable] = Counter()

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def note(self, kind: Hashable, location: str, what: str, works: str = "") -> None:
        """One more row of a kind; the kind's first row gives the wording."""
        self._counts[kind] += 1
        _, _, locations = self._kinds.setdefault(kind, (what, works, []))
        if len(locations) < _KEPT:
            locations.append(location)

    def without(self, kinds: Sequence[Hashable]) -> list[Problem]:
        """The problems of all other kinds."""
        rest = Findings()
        rest._kinds = {kind: found for kind, found in self._kinds.items() if kind not in kinds}
        rest._counts = self._counts
        return rest.problems()

    def problems(self) -> list[Problem]:
        """One problem a kind, in the order of their first rows."""
        return [
            Problem(summarise(locations, self._counts[kind]), what, works or self._removal(kind))
            for kind, (what, works, locations) in self._kinds.items()
        ]

    def _removal(self, kind: Hashable) -> str:
        """How to be rid of the rows; a command where a few lines of one file have to go."""
        locations = self._kinds[kind][2]
        files = {split_location(location)[0] for location in locations}
        file = next(iter(files))
        lines = [split_location(location)[1] for location in locations]
        by_line = len(files) == 1 and file.endswith((".jsonl", ".ndjson"))
        if not by_line or self._counts[kind] > len(locations) or file.startswith(HUB_PREFIX):
            return "remove these rows from the file"
        script = ";".join(f"{line[1:]}d" for line in lines)
        return f"remove these rows: sed -i.bak '{script}' {shlex.quote(file)}"


def closest(word: str, known: Sequence[str]) -> str:
    """The known word that is spelled most like this one, or nothing."""
    return next(iter(get_close_matches(word, known, n=1)), "")


def _error(where: str, what: str, works: str = "") -> ConfigError:
    return ConfigError([Problem(where, what, works)])


# --- which files --------------------------------------------------------------------------------


def find_files(pattern: str, key: str) -> list[Path]:
    """The files that a path or glob names, sorted by folder and name.

    A folder stands for the data files in it, an Arrow folder (`save_to_disk`) for its Arrow files.
    `key` is the setting that holds the pattern, for the messages. ConfigError if nothing is there.
    """
    path = Path(pattern).expanduser()
    if path.exists():
        found = _expand(path)
    elif glob.has_magic(pattern):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**`, hidden files
        found = [f for m in matches for f in _expand_match(Path(m))]
        if not found:
            raise _error(f"{key}={pattern}", "no file matches the pattern", _inside(path, key))
    else:
        raise _error(f"{key}={pattern}", "there is no such file or folder", _inside(path, key))
    for file in found:
        reader_for(file.name)
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
        works = f"'{path}/**/*{deeper.suffix}'" if deeper else _KNOWN_TYPES
        raise _error(str(path), f"the folder holds no data files; it has: {names}", works)
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
        raise _error(str(state), f"is not what save_to_disk writes: {error!r}", _AGAIN) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise _error(str(folder), f"the Arrow folder lacks {', '.join(missing)}", _AGAIN)
    if not names:
        raise _error(str(folder), "the Arrow folder holds no rows")
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


def read_files(files: Iterable[Path]) -> Iterator[Located]:
    """The rows of several files, one after another; ConfigError at the end with all their problems."""
    return _chain((file, str(file)) for file in files)


def _chain(files: Iterable[tuple[Path, str]]) -> Iterator[Located]:
    problems: list[Problem] = []
    for path, name in files:
        try:
            yield from read_file(path, name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def read_file(path: Path, name: str | None = None) -> Iterator[Located]:
    """The rows of one file; `name` is what messages call it, by default its path."""
    name = name or str(path)
    empty = True
    for located in reader_for(path.name)(path, name):
        empty = False
        yield located
    if empty:
        size = path.stat().st_size
        raise _error(name, "has no rows" if size else "is empty (0 bytes)", "a file with rows")


def is_data_file(name: str) -> bool:
    """Whether the name's ending is one that a reader knows; the files beside Arrow data are not."""
    return _ending(name) in _READERS and name not in _ARROW_NOTES


def reader_for(name: str) -> Callable[[Path, str], Iterator[Located]]:
    """The reader of a file name's ending; ConfigError if there is none."""
    try:
        return _READERS[_ending(name)]
    except KeyError:
        raise _error(name, f"unknown file type {_ending(name)!r}", _KNOWN_TYPES) from None


def _ending(name: str) -> str:
    lower = name.lower()
    ending = Path(lower.removesuffix(".gz")).suffix
    zipped = lower.endswith(".gz")
    return ending + ".gz" if zipped and ending in (".parquet", ".arrow") else ending


# --- text formats -------------------------------------------------------------------------------


def _lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines with their ends; only a newline ends a line, not U+2028."""
    offset = 0
    with _unreadable_named(name), _open(path) as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(name, number, offset + error.start, raw, error.start) from error
            yield number, line.removeprefix("\ufeff") if number == 1 else line
            offset += len(raw)


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # reads like a binary file
    return path.open("rb")


@contextmanager
def _unreadable_named(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _error(name, f"is not a whole gzip file: {error}", _AGAIN) from error
    except OSError as error:
        raise _error(name, f"cannot be read: {error.strerror or error}") from error


def _not_utf8(name: str, line: int, offset: int, raw: bytes, at: int) -> ConfigError:
    utf16 = line == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    what = f"is not UTF-8: byte 0x{raw[at]:02x} at offset {offset}"
    target = Path(name.removesuffix(".gz"))
    source = f"<(gunzip -c {shlex.quote(name)})" if name.endswith(".gz") else shlex.quote(name)
    encoding = "utf-16" if utf16 else "latin1"
    new = shlex.quote(str(target.with_suffix(f".utf8{target.suffix}")))
    return _error(f"{name}:{line}", what, f"iconv -f {encoding} -t utf-8 {source} > {new}")


def _read_jsonl(path: Path, name: str) -> Iterator[Located]:
    return _json_lines(_lines(path, name), name)


def _json_lines(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Located]:
    found = Findings()
    for number, line in lines:
        if not line.strip():
            continue
        location = f"{name}:{number}"
        try:
            record = json.loads(line.rstrip("\r\n"))
        except (ValueError, RecursionError) as error:
            found.note("json", location, f"is not JSON: {_reason(error)}", _JSON_LINE)
            continue
        if isinstance(record, dict):
            yield location, record
        else:
            what = f"is a JSON {_json_kind(record)}, not an object"
            found.note("object", location, what, _JSON_LINE)
    if found:
        raise ConfigError(found.problems())


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error).splitlines()[0]


def _json_kind(value: Any) -> str:
    kinds = {list: "list", str: "string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "number")


def _read_json(path: Path, name: str) -> Iterator[Located]:
    """A list of objects, an object that holds one such list, or JSON lines under another name."""
    text = "".join(line for _, line in _lines(path, name))
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _json_list(text, start + 1, name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    if lists and len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]):
        return ((f"{name} row {n}", row) for n, row in enumerate(lists[0], 1))
    if lists or (isinstance(value, dict) and any(isinstance(v, dict) for v in value.values())):
        raise _error(name, f"is one JSON object with: {', '.join(value or {})}", _JSON_LIST)
    return _json_lines(enumerate(text.split("\n"), 1), name) if text.strip() else iter(())


def _json_list(text: str, at: int, name: str) -> Iterator[Located]:
    """Elements of the list that opens just before `at`, each with the line on which it starts."""
    found, line, counted = Findings(), text.count("\n", 0, at) + 1, at
    try:
        for begin, element in _elements(text, at):
            line, counted = line + text.count("\n", counted, begin), begin
            if isinstance(element, dict):
                yield f"{name}:{line}", element
            else:
                what = f"is a JSON {_json_kind(element)}, not an object"
                found.note("object", f"{name}:{line}", what, _JSON_LIST)
    except json.JSONDecodeError as error:
        what = f"is not JSON: {_reason(error)}"
        found.note("json", f"{name}:{error.lineno}", what, _JSON_LIST)
    except (ValueError, RecursionError) as error:
        found.note("json", f"{name}:{line}", f"is not JSON: {_reason(error)}", _JSON_LIST)
    if found:
        raise ConfigError(found.problems())


def _elements(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Start and value of each element; JSONDecodeError where the text departs from a list."""
    decode, blank = json.JSONDecoder().raw_decode, re.compile(r"\s*")

    def skip(start: int) -> int:
        return blank.match(text, start).end()  # type: ignore[union-attr]  # matches anything

    at = skip(at)
    while text[at : at + 1] != "]":
        value, end = decode(text, at)
        yield at, value
        at = skip(end)
        if text[at : at + 1] == ",":
            at = skip(at + 1)
        elif text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
    if skip(at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)


def _read_csv(path: Path, name: str) -> Iterator[Located]:
    return _delimited(path, name, ",")


def _read_tsv(path: Path, name: str) -> Iterator[Located]:
    return _delimited(path, name, "\t")


def _delimited(path: Path, name: str, delimiter: str) -> Iterator[Located]:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 131 072 characters
    found = Findings()
    rows = csv.reader((line for _, line in _lines(path, name)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in rows:
            start, line = line, rows.line_num + 1
            if not fields:
                continue
            if header is None:
                header = _checked_header(fields, f"{name}:{start}", delimiter)
            elif len(fields) == len(header):
                yield f"{name}:{start}", dict(zip(header, fields))
            else:
                _note_ragged(found, f"{name}:{start}", fields, header)
    except csv.Error as error:
        found.note("csv", f"{name}:{line}", _csv_reason(error), _QUOTING)
    if found:
        raise ConfigError(found.problems())


def _checked_header(fields: list[str], location: str, delimiter: str) -> list[str]:
    twice = [column for column, count in Counter(fields).items() if count > 1]
    if twice:
        what = f"the header names a column twice: {', '.join(map(repr, twice))}"
        raise _error(location, what, "a name for each column")
    others = [c for c in ",;\t|" if c != delimiter and c in fields[0]] if len(fields) == 1 else []
    if others:
        what = f"the header is one column, {fields[0]!r}: {others[0]!r} looks like the separator"
        raise _error(location, what, "commas in .csv, tabs in .tsv")
    return fields


def _note_ragged(found: Findings, location: str, fields: list[str], header: list[str]) -> None:
    many = len(fields) > len(header)
    what = (
        f"has too {'many' if many else 'few'} fields: {len(fields)}, and the header {len(header)}"
    )
    found.note("many" if many else "few", location, what, _QUOTING)


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "the row that starts here has a quote that is never closed"
    return f"is not CSV: {error}"


# --- Parquet and Arrow --------------------------------------------------------------------------


def _read_parquet(path: Path, name: str) -> Iterator[Located]:
    with _arrow_errors(name, "Parquet"):
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            yield from _batches(file.schema_arrow, file.iter_batches(), name)


def _read_arrow(path: Path, name: str) -> Iterator[Located]:
    """The stream format that `datasets` writes, or the file format (Feather)."""
    with _arrow_errors(name, "Arrow"):
        import pyarrow

        with pyarrow.memory_map(str(path)) as source:
            if source.read(6) == b"ARROW1":
                file = pyarrow.ipc.open_file(source)
                batches = (file.get_batch(n) for n in range(file.num_record_batches))
                yield from _batches(file.schema, batches, name)
            else:
                source.seek(0)
                stream = pyarrow.ipc.open_stream(source)
                yield from _batches(stream.schema, stream, name)


def _batches(schema: Any, batches: Iterable[Any], name: str) -> Iterator[Located]:
    twice = [column for column, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise _error(name, f"names a column twice: {', '.join(map(repr, twice))}")
    classes = _class_names(schema)
    number = 0
    for batch in batches:
        for record in batch.to_pylist():
            number += 1
            for column, names in classes.items():
                value = record[column]
                if isinstance(value, int) and 0 <= value < len(names):
                    record[column] = names[value]
            yield f"{name} row {number}", record


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Columns that `datasets` stores as numbers of named classes (ClassLabel).

    Without their names the numbers would be taken for stars.
    """
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {
            column: feature["names"]
            for column, feature in features.items()
            if feature.get("_type") == "ClassLabel" and column in schema.names
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


@contextmanager
def _arrow_errors(name: str, kind: str) -> Iterator[None]:
    try:
        import pyarrow
    except ImportError as error:
        raise _error(name, f"{kind} files need pyarrow", "pip install pyarrow") from error
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _error(name, f"is not a whole {kind} file: {reason}", _AGAIN) from error


# --- the hub ------------------------------------------------------------------------------------

_HUB_PATTERN = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?/(?P<path>.+)"
)


def read_hub(pattern: str, key: str) -> Iterator[Located]:
    """Rows of the hub files that `hf://datasets/OWNER/NAME[@REVISION]/PATH` names; PATH may be a glob.

    The files go through the same readers as local ones. All come from the one commit that the
    revision stands for now. ConfigError if the hub cannot be reached or has no such file.
    """
    match = _HUB_PATTERN.fullmatch(pattern)
    if match is None:
        works = f"{key}=hf://datasets/OWNER/NAME/train.jsonl"
        raise _error(f"{key}={pattern}", "does not name files of a hub dataset", works)
    repo, path = match["repo"], match["path"]
    revision = (match["revision"] or "main").replace("%2F", "/")
    listing = _listing(repo, revision)
    if isinstance(listing, Problem):
        raise ConfigError([listing])
    sha, known = listing
    names = [name for name in known if _matches(name, path)]
    if not names:
        listed = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        what = f"{repo} has no file {path}; it has: {listed or 'none'}"
        raise _error(f"{key}={pattern}", what, _LOCAL_INSTEAD)
    for name in names:
        reader_for(name)
    return _chain(_downloaded(repo, sha, names))


@cache  # once for all splits and languages, and the same commit for all of them
def _listing(repo: str, revision: str) -> tuple[str, list[str]] | Problem:
    """The commit that a revision stands for and its files, or why the hub does not tell."""
    where = f"{HUB_PREFIX}datasets/{repo}@{revision}"
    try:
        from huggingface_hub import HfApi
    except ImportError:
        return Problem(where, "needs huggingface_hub", "pip install huggingface_hub")
    try:
        info = _tried(lambda: HfApi().dataset_info(repo, revision=revision, timeout=10))
    except Exception as error:  # what a dead line raises depends on the version: requests, httpx
        return _no_hub(repo, where, error)
    return str(info.sha), sorted(file.rfilename for file in info.siblings or [])


def _downloaded(repo: str, sha: str, names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    from huggingface_hub import hf_hub_download

    for name in names:
        fetch = partial(hf_hub_download, repo, name, repo_type="dataset", revision=sha)
        try:
            local = _tried(fetch)
        except Exception as error:  # as above
            problem = _no_hub(repo, f"{HUB_PREFIX}datasets/{repo}@{sha}/{name}", error)
            raise ConfigError([problem]) from error
        yield Path(local), f"{HUB_PREFIX}datasets/{repo}/{name}"


def _tried(call: Callable[[], Any]) -> Any:
    """The call's result; where the line or the server fails, it is asked three times."""
    for pause in (1, 3):
        try:
            return call()
        except Exception as error:
            status = _status(error)
            passing = status is None or status == 429 or status >= 500
            if not passing or type(error).__name__ == "OfflineModeIsEnabled":
                raise
            time.sleep(pause)
    return call()


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _matches(name: str, pattern: str) -> bool:
    """Glob over a repository's paths: a star stays within a folder, `**` does not."""
    if "**" in pattern:
        return fnmatchcase(name, pattern.replace("**/", "*"))
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _no_hub(repo: str, where: str, error: Exception) -> Problem:
    status, kind = _status(error), type(error).__name__
    if kind == "GatedRepoError":
        what = f"{repo} is gated: it needs HF_TOKEN of an account that was given access"
    elif kind == "RevisionNotFoundError":
        what = "there is no such revision"
    elif kind == "RepositoryNotFoundError":
        what = f"the hub shows no dataset {repo}: it is gone, or private and needs HF_TOKEN"
    elif kind == "OfflineModeIsEnabled":
        what = "needs a network line to the hub, and HF_HUB_OFFLINE forbids it"
    elif status is not None:
        what = f"the hub answered {status}"
    else:
        reason = next(iter(str(error).splitlines()), "") or kind
        what = f"needs a network line to the hub: {reason}"
    return Problem(where, what, _LOCAL_INSTEAD)


_READERS: dict[str, Callable[[Path, str], Iterator[Located]]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
_ARROW_NOTES = ("state.json", "dataset_info.json", "dataset_dict.json")
_KNOWN_TYPES = f"{' '.join(_READERS)}, the text ones also as .gz, or a save_to_disk folder"
_JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'
_JSON_LIST = 'one list of objects: [{"review_body": "...", "stars": 5}, ...]'
_QUOTING = 'texts with commas, quotes or line ends in "...", quotes in them doubled'
_AGAIN = "write, copy or download it again"
_LOCAL_INSTEAD = "local files in its place: data=files data.path=reviews.jsonl"
