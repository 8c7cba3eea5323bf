"""Objects under a prefix of S3, fetched in parts; a fetch that was killed goes on with the next part.

Each object has a file of its final size, and beside it a list of the parts that have been written. What is
here in the end is compared with what S3 says of it: size, and MD5 where its ETag is one.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import AT_ONCE, Transferred, split_uri
from lingotune.data.transfer.progress import Tell, progress

PART = 16 << 20
"""Bytes of a part."""
_TRIES = 4
"""Attempts at a part whose connection breaks."""
_DONE = ".lingotune-parts"
_AGAIN = "the same command once more: what is here already is kept"


@dataclass(frozen=True)
class Stored:
    """An object. name: its key without the prefix."""

    name: str
    bucket: str
    key: str
    size: int
    etag: str

    @property
    def uri(self) -> str:
        """Its s3:// URI."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def parts(self) -> range:
        """Numbers of its parts; an empty object has one."""
        return range(max(1, -(-self.size // PART)))


def stored_under(s3: Any, uri: str) -> list[Stored]:
    """List the objects under a prefix; ConfigError where AWS refuses, or a name leads out of the prefix."""
    bucket, prefix = split_uri(uri.rstrip("/") + "/")
    found = []
    with explained(uri, _mend):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                name = entry["Key"][len(prefix) :]
                if name and not name.endswith("/"):  # consoles make objects for folders
                    etag = entry["ETag"].strip('"')
                    found.append(Stored(name, bucket, entry["Key"], entry["Size"], etag))
    outside = [one for one in found if ".." in PurePosixPath(one.name).parts or one.name[0] == "/"]
    if outside:
        what = "has a name that leads out of its folder; it is not fetched"
        raise ConfigError([Problem(one.uri, what) for one in outside])
    return found


def missing_bytes(objects: Sequence[Stored], folder: Path) -> int:
    """Count the bytes that `fetch_objects` would still fetch."""
    return sum(_size(one, n) for one in objects for n in _File(one, folder).lacking())


def fetch_objects(s3: Any, objects: Sequence[Stored], folder: Path, tell: Tell) -> Transferred:
    """Fetch objects into a folder, under their names: what is missing there.

    ConfigError if AWS refuses, the disk is full, an object has gone or changed meanwhile, or is not what S3
    says of it. The next call goes on with what is here.
    """
    begun = time.monotonic()
    files = [_File(one, folder) for one in objects]
    tasks = [(file, n) for file in files for n in file.lacking()]
    size = sum(_size(file.object, n) for file, n in tasks)
    with explained(str(folder)), progress(size, tell) as advance:
        for file in {id(file): file for file, _ in tasks}.values():
            file.make()
        _in_parallel(lambda task: task[0].fetch(s3, task[1], advance), tasks)
        fetched = {file.object.name: file for file, _ in tasks}
        damaged = [one for one in _checked(s3, files) if one is not None]
    if damaged:
        raise ConfigError(damaged)
    there = len(files) - len(fetched)
    return Transferred(len(fetched), size, there, time.monotonic() - begun)


def _in_parallel(work: Callable[[Any], None], tasks: Sequence[Any]) -> None:
    """Do all tasks; after an error, or Ctrl-C, those that have not begun are left out."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _checked(s3: Any, files: Sequence[_File]) -> Iterator[Problem | None]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda file: file.problem(s3), files)


class _File:
    """Object's file in a folder, whole or in part."""

    def __init__(self, object: Stored, folder: Path) -> None:
        self.object, self.path = object, folder / object.name
        self._done = self.path.with_name(f"{self.path.name}{_DONE}")
        self._lock = Lock()

    def lacking(self) -> list[int]:
        """List the parts that are not here."""
        try:
            etag, *done = self._done.read_text().split()
            whole_size = self.path.stat().st_size == self.object.size
        except (OSError, ValueError):
            return list(self.object.parts)
        if etag != self.object.etag or not whole_size:  # it was replaced in S3 since
            return list(self.object.parts)
        return [n for n in self.object.parts if str(n) not in set(done)]

    def make(self) -> None:
        """Make the file and the list of its parts, unless they are there."""
        if len(self.lacking()) < len(self.object.parts):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("wb") as file:
            file.truncate(self.object.size)
        self._done.write_text(f"{self.object.etag}\n")

    def fetch(self, s3: Any, part: int, advance: Callable[[int], None]) -> None:
        """Fetch a part and note it; a connection that breaks is tried again."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        with explained(self.object.uri, _mend):
            for attempt in range(1, _TRIES + 1):
                try:
                    content = self._read(s3, part)
                    break
                except (HTTPClientError, IncompleteReadError):  # botocore repeats only the request
                    if attempt == _TRIES:
                        raise
                    time.sleep(0.5 * attempt)
            with self.path.open("r+b") as file:
                file.seek(part * PART)
                file.write(content)
        with self._lock, self._done.open("a") as done:
            done.write(f"{part}\n")
        advance(len(content))

    def _read(self, s3: Any, part: int) -> bytes:
        one, begin, size = self.object, part * PART, _size(self.object, part)
        asked = {"Bucket": one.bucket, "Key": one.key, "IfMatch": one.etag}
        if size:
            asked["Range"] = f"bytes={begin}-{begin + size - 1}"
        content: bytes = s3.get_object(**asked)["Body"].read()
        if len(content) != size:
            what = f"{len(content)} of {size} bytes of a part came"
            raise ConfigError([Problem(one.uri, what, _AGAIN, code=CLOUD_FAILED)])
        return content

    def problem(self, s3: Any) -> Problem | None:
        """Compare the file with the object; one that differs is deleted, to be fetched anew."""
        if _agrees(s3, self.object, self.path):
            return None
        self._done.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        what = "arrived damaged: its MD5 is not that of S3"
        return Problem(self.object.uri, what, _AGAIN, check="object-damaged")


def _size(one: Stored, part: int) -> int:
    return min(PART, one.size - part * PART)


def _agrees(s3: Any, one: Stored, path: Path) -> bool:
    """Compare a file's MD5 with an ETag, as far as that is one; a key of KMS makes it something else."""
    if path.stat().st_size != one.size:
        return False
    digest, _, parts = one.etag.partition("-")
    if len(digest) != 32:
        return True
    if not parts:
        return _md5(path) == digest or _is_no_md5(s3, one)
    length = _part_length(s3, one)
    if length is None or -(-one.size // length) != int(parts):
        return True
    with path.open("rb") as file:
        pieces = [hashlib.md5(piece).digest() for piece in iter(lambda: file.read(length), b"")]
    return hashlib.md5(b"".join(pieces)).hexdigest() == digest or _is_no_md5(s3, one)


def _md5(path: Path) -> str:
    found = hashlib.md5()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()


def _is_no_md5(s3: Any, one: Stored) -> bool:
    """Tell whether an object is encrypted with a key, so that its ETag says nothing of its bytes."""
    with explained(one.uri, _mend):
        head = s3.head_object(Bucket=one.bucket, Key=one.key)
    return "kms" in head.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in head


def _part_length(s3: Any, one: Stored) -> int | None:
    """Ask for the length of the parts in which an object was uploaded; None if S3 does not tell."""
    with explained(one.uri, _mend):
        head = s3.head_object(Bucket=one.bucket, Key=one.key, PartNumber=1)
    length: int = head["ContentLength"]
    return length if 0 < length < one.size else None


def _mend(code: str, response: Any) -> str:
    """Find what helps with objects that a job has left."""
    if code in ("NoSuchKey", "404"):
        return "it was deleted meanwhile: the same command fetches what is left"
    if code in ("PreconditionFailed", "412"):
        return "it was replaced meanwhile: the same command fetches the new one"
    if code == "NoSuchBucket":
        return "the bucket of the job is gone, and its results with it"
    return ""


def link_tree(source: Path, target: Path) -> None:
    """Give the files of a folder a second name in another; where that is not possible, copy them."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.name.endswith(_DONE):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            try:
                os.link(path, place)
            except OSError:
                place.write_bytes(path.read_bytes())
