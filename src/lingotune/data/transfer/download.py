"""Prepared data from S3."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.data.prepared.manifest import (
    FILE,
    FolderFile,
    Manifest,
    OtherFormat,
    ShardFile,
    load_manifest,
    parse_manifest,
)
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import (
    AT_ONCE,
    Counted,
    Transferred,
    manager,
    split_uri,
)
from lingotune.data.transfer.progress import Tell, progress
from lingotune.system.hashing import sha256_of

_ANEW = "prepare and upload it anew"
_INCOMING = ".incoming"
LOCK = ".lock"
"""File that processes lock which fetch into a folder."""


def download(s3: Any, uri: str, folder: Path, tell: Tell) -> Transferred:
    """Fetch prepared data from its s3:// prefix into a folder: what is missing there or not the same.

    Every file is compared with the manifest, and appears whole; the manifest itself appears last.
    Processes that fetch into the same folder take turns. ConfigError if something is not what the
    manifest says (all that is, at once), if there is none, where AWS refuses or the folder cannot be
    written.
    """
    begun = time.monotonic()
    prefix = uri.rstrip("/")
    with explained(str(folder)), held(folder):
        content = _manifest(s3, prefix)
        files = _files(content, f"{prefix}/{FILE}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            here = list(pool.map(lambda file: _is_whole(folder / file.file, file), files))
        lacking = [file for file, found in zip(files, here) if not found]
        if lacking:  # a folder with a manifest is whole
            (folder / FILE).unlink(missing_ok=True)
            _fetch(s3, prefix, lacking, folder, tell)
        _appear(folder / f".{FILE}", content, folder / FILE)
    size = sum(file.bytes for file in lacking)
    return Transferred(len(lacking), size, sum(here), time.monotonic() - begun)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder that no other process fetches into meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _appear(unfinished: Path, content: bytes, path: Path) -> None:
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _manifest(s3: Any, prefix: str) -> bytes:
    from botocore.exceptions import ClientError

    bucket, key = split_uri(f"{prefix}/{FILE}")
    with explained(f"{prefix}/{FILE}"):
        try:
            content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return content
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            what = f"holds no prepared data: there is no {FILE}"
            fix = (
                "the prefix that an earlier submit has filled: s3://bucket/lingotune/data/<digest>"
            )
            raise ConfigError([Problem(prefix, what, fix)]) from error


def _files(content: bytes, where: str) -> Sequence[FolderFile | ShardFile]:
    """List the files of a manifest; ConfigError if it is damaged, or names a file outside its folder."""
    try:
        files = parse_manifest(content).files()
    except OtherFormat as error:
        raise ConfigError([Problem(where, str(error), _ANEW)]) from None
    except ValueError as error:
        what = f"is no manifest of prepared data: {error}"
        raise ConfigError([Problem(where, what, _ANEW, code=DATA_FAILED)]) from error
    parts = [PurePosixPath(file.file).parts for file in files]
    if not all(part and part[0] != "/" and ".." not in part for part in parts):
        raise ConfigError(
            [Problem(where, "lists a file outside of its folder", _ANEW, code=DATA_FAILED)]
        )
    return files


def _is_whole(path: Path, file: FolderFile | ShardFile) -> bool:
    is_as_long = path.is_file() and path.stat().st_size == file.bytes
    return is_as_long and sha256_of(path) == file.sha256


def _fetch(
    s3: Any, prefix: str, files: Sequence[FolderFile | ShardFile], folder: Path, tell: Tell
) -> None:
    """Each file goes to a place of its own first, which a killed fetch leaves to the next."""
    incoming = folder / _INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    uris = [f"{prefix}/{file.file}" for file in files]
    arrived = [incoming / str(n) for n in range(len(files))]
    problems: list[Problem] = []
    try:
        with progress(sum(f.bytes for f in files), tell) as advance, manager(s3) as transfers:
            futures = [
                transfers.download(*split_uri(uri), str(path), subscribers=[Counted(advance)])
                for uri, path in zip(uris, arrived)
            ]
            for file, uri, path, future in zip(files, uris, arrived, futures):
                with explained(uri):
                    future.result()
                    if _is_whole(path, file):
                        (folder / file.file).parent.mkdir(parents=True, exist_ok=True)
                        path.replace(folder / file.file)
                    else:  # the others may be sound, and are kept
                        what = "is not what its manifest says: other bytes"
                        problems.append(Problem(uri, what, _ANEW, code=DATA_FAILED))
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    if problems:
        raise ConfigError(problems)


def fetch(uri: str, root: Path, tell: Tell) -> Path:
    """The folder in `root` of prepared data in S3, fetched unless it is there, as whoever this machine
    is to AWS.

    ConfigError where AWS refuses, or the prefix holds no sound data.
    """
    folder = root / uri.rstrip("/").rpartition("/")[2][:12]
    if not (folder / FILE).is_file():
        with connected(f"data.prepared={uri}") as s3:
            tell(f"fetched {download(s3, uri, folder, tell)}")
    return folder


def fetch_manifest(uri: str) -> Manifest:
    """The manifest of prepared data in S3; ConfigError as `fetch`."""
    with connected(f"data.prepared={uri}") as s3, TemporaryDirectory() as folder:
        Path(folder, FILE).write_bytes(_manifest(s3, uri.rstrip("/")))
        return load_manifest(folder)


@contextmanager
def connected(where: str) -> Iterator[Any]:
    """A client of S3; ConfigError, of the setting `where`, if this machine cannot have one."""
    try:
        import boto3
    except ImportError as error:
        what = f"the AWS libraries are not installed ({error})"
        raise ConfigError([Problem(where, what, "pip install 'lingotune[launch]'")]) from error
    with explained(where):
        yield boto3.client("s3")
