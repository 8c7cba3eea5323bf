"""Sources that lie elsewhere, fetched into copies on this machine: whole, once, and anew when changed."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DataConfig
from lingotune.config.typed_json import to_json
from lingotune.data.rows.findings import AGAIN, all_or_problems, config_error
from lingotune.data.sources.addresses import is_web, shown_address
from lingotune.data.sources.copies import (
    CHECKSUM,
    CopiedFile,
    Copy,
    copies_folder,
    copy_of,
    folder_of_version,
    place_of,
    record_of,
)
from lingotune.data.sources.patterns import check_settings, elsewhere_in
from lingotune.data.transfer.download import LOCK, connected, held
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import Counted, manager
from lingotune.data.transfer.progress import Tell, progress
from lingotune.data.transfer.s3_sources import S3Object, find_objects
from lingotune.system.hashing import sha256_of

_GZIP = b"\x1f\x8b\x08"


@dataclass(frozen=True)
class SeenSource:
    """What is known of a pattern without fetching it.

    key: the setting that holds it. bytes: None where it is not said. is_here: a copy of just this is on
    this machine.
    """

    key: str
    pattern: str
    files: int
    bytes: int | None
    is_here: bool

    def __str__(self) -> str:
        count = "1 file" if self.files == 1 else f"{self.files} files"
        size = "" if self.bytes is None else f", {_size(self.bytes)}"
        return f"{count}{size}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def fetch_sources(data: DataConfig, tell: Tell) -> None:
    """Fetch what a source names elsewhere and is not here, or has changed since.

    A version of a file is fetched once, and appears whole or not at all. tell: is told of what is fetched.
    ConfigError lists, for all patterns together, what is not there, refused or broken off.
    """
    wanted = [*elsewhere_in(data)]
    if wanted:
        check_settings(data)
    all_or_problems([partial(fetch_source, pattern, key, tell) for key, pattern in wanted])


def look_for_sources(data: DataConfig) -> tuple[list[SeenSource], list[Problem]]:
    """Ask for what a source names elsewhere, without fetching any: what is there, and what is wrong."""
    seen: list[SeenSource] = []
    problems: list[Problem] = []
    for key, pattern in elsewhere_in(data):
        try:
            seen.append(_look_at(pattern, key))
        except ConfigError as error:
            problems += error.problems
    return seen, problems


def fetch_source(pattern: str, key: str, tell: Tell) -> None:
    """Fetch what one pattern names; `key` is the setting that holds it. See `fetch_sources`."""
    with _full_disk_told(f"{key}={shown_address(pattern)}"), _incoming(pattern) as incoming:
        fetch = _from_web if is_web(pattern) else _from_s3
        files = fetch(pattern, key, incoming, tell)
        _write_record(pattern, files, incoming)


def _write_record(pattern: str, files: Sequence[CopiedFile], incoming: Path) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    record = incoming / "record"
    record.write_text(json.dumps(to_json(Copy(now, tuple(files)))), encoding="utf-8")
    record.replace(record_of(pattern))


def _look_at(pattern: str, key: str) -> SeenSource:
    here = copy_of(pattern)
    if is_web(pattern):
        from lingotune.data.transfer.web import look_at_web  # ssl and http take their time

        tag = here.files[0].tag if here else ""
        found = look_at_web(pattern, key, tag)
        if here and (found is None or tag == found.tag != ""):
            return SeenSource(key, pattern, 1, here.files[0].bytes, True)
        return SeenSource(key, pattern, 1, found.bytes if found else None, False)
    with connected(f"{key}={pattern}") as s3:
        objects = find_objects(s3, pattern, key)
    is_here = here is not None and [f.tag for f in here.files] == [o.tag for o in objects]
    return SeenSource(key, pattern, len(objects), sum(o.bytes for o in objects), is_here)


@contextmanager
def _incoming(pattern: str) -> Iterator[Path]:
    """Yield an empty folder for what arrives, which no other process uses meanwhile."""
    folder = copies_folder() / ".incoming" / record_of(pattern).stem
    with held(folder):
        _empty(folder)
        try:
            yield folder
        finally:
            _empty(folder)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            entry.unlink(missing_ok=True)


@contextmanager
def _full_disk_told(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot be kept in {copies_folder()}: {error.strerror or error}"
        raise config_error(where, what, _ELSEWHERE) from error


_ELSEWHERE = "LINGOTUNE_CACHE=FOLDER before the command, on a disk with room"


# --- from S3 ------------------------------------------------------------------------------------


class _Known:
    """Spares a transfer its own look at an object."""

    def __init__(self, one: S3Object) -> None:
        self._one = one

    def on_queued(self, future: Any, **_: Any) -> None:
        """Tell what the listing said."""
        if hasattr(future.meta, "provide_object_etag"):  # s3transfer 0.11 and later
            future.meta.provide_transfer_size(self._one.bytes)
            future.meta.provide_object_etag(self._one.etag)


def _from_s3(pattern: str, key: str, incoming: Path, tell: Tell) -> list[CopiedFile]:
    where = f"{key}={pattern}"
    with connected(where) as s3:
        objects = find_objects(s3, pattern, key)
        lacking = [one for one in objects if _kept(one.uri, one.tag) is None]
        if lacking:
            size = sum(one.bytes for one in lacking)
            _check_room(where, size)
            some = f"{len(lacking)} of {len(objects)} objects, {_size(size)}"
            tell(f"fetch {pattern}: {some}")
            _download(s3, lacking, incoming, tell)
    files = [_kept(one.uri, one.tag) for one in objects]
    return [file for file in files if file]


def _download(s3: Any, objects: Sequence[S3Object], incoming: Path, tell: Tell) -> None:
    arrived = [incoming / str(n) for n in range(len(objects))]
    total = sum(one.bytes for one in objects)
    etags = {(one.key, one.version): one.etag for one in objects}
    s3.meta.events.register("before-parameter-build.s3.GetObject", partial(_only, etags))
    with progress(total, tell) as advance, manager(s3) as transfers:
        futures = [
            transfers.download(one.bucket, one.key, str(path), extra_args=one.arguments,
                               subscribers=[Counted(advance), _Known(one)])
            for one, path in zip(objects, arrived)
        ]  # fmt: skip
        for one, path, future in zip(objects, arrived, futures):
            with explained(one.uri):
                try:
                    future.result()
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        raise config_error(
                            one.uri, f"cannot be kept: {error.strerror}", _ELSEWHERE
                        ) from error
                    raise
            _keep(path, "s3", [one.bucket, *one.key.split("/")], one.uri, one.tag)


def _only(etags: Mapping[tuple[str, str | None], str], params: dict[str, Any], **_: Any) -> None:
    """Have a request refused where another version has come since the listing."""
    params["IfMatch"] = etags[params["Key"], params.get("VersionId")]


def _check_room(where: str, size: int) -> None:
    free = shutil.disk_usage(copies_folder()).free
    if size > free:
        what = f"is {size / 1e6:.0f} MB, and {copies_folder()} has room for {free / 1e6:.0f} MB"
        raise config_error(where, what, _ELSEWHERE)


# --- from the web -------------------------------------------------------------------------------


def _from_web(address: str, key: str, incoming: Path, tell: Tell) -> list[CopiedFile]:
    from lingotune.data.transfer.web import fetch_web  # ssl and http take their time

    before, shown = copy_of(address), shown_address(address)
    tag = before.files[0].tag if before else ""
    arrived = incoming / "0"
    with progress(0, tell) as advance:
        found = fetch_web(address, key, tag, arrived, advance)
    if found is None and before:
        return list(before.files)
    assert found is not None, "without a tag there is an answer"
    tell(f"fetched {shown}: {_size(arrived.stat().st_size)}")
    tag = found.tag or f"SHA-256 {sha256_of(arrived)}"
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    folders = [unquote(part) for part in parts.path.split("/")[1:-1]]
    _keep(arrived, parts.scheme, [host, *folders, found.name], address, tag)
    kept = _kept(address, tag)
    return [kept] if kept else []


# --- what has arrived ---------------------------------------------------------------------------


def _kept(address: str, tag: str) -> CopiedFile | None:
    """Find the copy of a version of a file."""
    root = copies_folder()
    for folder, _, names in os.walk(root / folder_of_version(address, tag)):
        for name in names:
            path = Path(folder, name)
            if name != CHECKSUM or path.parent.parent != root:
                return CopiedFile(path.relative_to(root).as_posix(), tag, path.stat().st_size)
    return None


def _keep(arrived: Path, scheme: str, parts: Sequence[str], address: str, tag: str) -> None:
    """Move a whole file to its place, with its checksum; packed just as its name says."""
    version = folder_of_version(address, tag)
    staging = arrived.with_name(f"{arrived.name}.whole")
    is_gz = parts[-1].lower().endswith(".gz")
    packed = _unpacked(arrived, 1 if is_gz else 0, shown_address(address))
    last = parts[-1] if packed or not is_gz else parts[-1][:-3]
    target = staging / place_of(scheme, [*parts[:-1], last])
    target.parent.mkdir(parents=True)
    arrived.replace(target)
    (staging / CHECKSUM).write_text(sha256_of(target))
    whole = copies_folder() / version
    if whole.is_dir() and _kept(address, tag) is None:  # somebody has removed the file alone
        shutil.rmtree(whole)
    try:
        staging.rename(whole)
    except OSError as error:
        there = error.errno in (
            errno.ENOTEMPTY,
            errno.EEXIST,
        )  # another process has fetched it, too
        if not there:
            raise


def _unpacked(path: Path, layers: int, name: str) -> bool:
    """Unpack a file until at most so many layers of gzip are left; returns whether any is.

    Stores and servers pack on their own (Content-Encoding), and the name does not tell.
    """
    while (depth := _depth(path)) > layers:
        inner = path.with_name(f"{path.name}.inner")
        try:
            with gzip.open(path) as packed, inner.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise config_error(name, f"is packed and cannot be unpacked: {error}", AGAIN) from error
        inner.replace(path)
    return depth > 0


def _depth(path: Path) -> int:
    """Count how many times, up to three, a file is packed."""
    opened: list[Any] = [path.open("rb")]
    try:
        while len(opened) < 4 and opened[-1].peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
            opened.append(gzip.GzipFile(fileobj=opened[-1], mode="rb"))
    except (OSError, EOFError, zlib.error):
        pass  # its reader will say that it is damaged
    finally:
        for file in reversed(opened):
            file.close()
    return len(opened) - 1
