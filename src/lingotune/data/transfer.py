"""Objects to S3 and prepared data from it: in parallel, only what is missing, whole or not there.

The transfers are s3transfer's, which boto3 brings: large objects go up in parts, and what fails or is
interrupted is aborted. An object is known by its size and by the SHA-256 that is kept as its metadata.
"""

from __future__ import annotations

import hashlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from lingotune.data.manifest import FILE, folder_files, load_manifest
from lingotune.schema import ConfigError, Problem

MOST_TAGS = 10
"""Tags that S3 takes for an object."""
_AT_ONCE = 8
_PART = 16 << 20
"""Bytes from which an object goes up in parts: a shard seldom does, so that little is left half-sent."""
_PAUSE = 5.0
"""Seconds between two lines where there is no terminal for a bar."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Transferred:
    """What was sent or fetched, and what was there already. seconds: of the whole."""

    objects: int
    bytes: int
    there: int
    seconds: float

    def __str__(self) -> str:
        rate = f", {self.bytes / self.seconds / 1e6:.1f} MB/s" if self.objects else ""
        return (
            f"{self.objects} objects, {self.bytes / 1e6:.1f} MB in {self.seconds:.1f} s{rate};"
            f" {self.there} were there"
        )


@dataclass(frozen=True)
class _Object:
    bucket: str
    key: str
    content: bytes | Path
    size: int
    sha256: str


def upload(
    s3: Any,
    contents: Mapping[str, bytes | Path],
    tell: Tell,
    *,
    kms_key: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Transferred:
    """Send each content to its s3:// URI, unless the same is there; the last one once all others are.

    s3: a boto3 client. kms_key: encrypts the objects; None = the bucket's own way. tags: of the
    objects, at most `MOST_TAGS`. botocore's errors are raised as they come; what was sent until then
    is not sent again by the next call.
    """
    begun = time.monotonic()
    objects = [_object(uri, content) for uri, content in contents.items()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        there = list(pool.map(lambda one: _is_there(s3, one), objects))
    lacking = [one for one, found in zip(objects, there) if not found]
    _abort_left_over(s3, lacking)
    extra: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"}
    if kms_key:
        extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    if tags:
        extra["Tagging"] = urlencode(tags)
    for one in lacking:
        tell(f"upload s3://{one.bucket}/{one.key} ({one.size} bytes)")
    ends = lacking[-1:] if lacking and lacking[-1] is objects[-1] else []
    with _progress(sum(one.size for one in lacking), tell) as advance:
        for part in (lacking[: len(lacking) - len(ends)], ends):
            _send(s3, part, extra, advance)
    size = sum(one.size for one in lacking)
    return Transferred(len(lacking), size, sum(there), time.monotonic() - begun)


def _object(uri: str, content: bytes | Path) -> _Object:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if isinstance(content, bytes):
        return _Object(bucket, key, content, len(content), hashlib.sha256(content).hexdigest())
    return _Object(bucket, key, content, content.stat().st_size, _sha256(content))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_there(s3: Any, one: _Object) -> bool:
    from botocore.exceptions import ClientError

    try:
        head = s3.head_object(Bucket=one.bucket, Key=one.key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return False
    return bool(head["ContentLength"] == one.size and head["Metadata"].get("sha256") == one.sha256)


def _abort_left_over(s3: Any, lacking: Sequence[_Object]) -> None:
    """Parts of a killed upload are stored, and billed, until somebody aborts it."""
    from botocore.exceptions import ClientError

    for one in lacking:
        if one.size < _PART:
            continue
        try:
            found = s3.list_multipart_uploads(Bucket=one.bucket, Prefix=one.key)
        except ClientError:  # not everybody may list them
            return
        for upload in found.get("Uploads", []):
            if upload["Key"] == one.key:
                s3.abort_multipart_upload(
                    Bucket=one.bucket, Key=one.key, UploadId=upload["UploadId"]
                )


def _send(
    s3: Any, objects: Sequence[_Object], extra: Mapping[str, Any], advance: Callable[[int], None]
) -> None:
    from s3transfer.manager import TransferConfig, TransferManager
    from s3transfer.subscribers import BaseSubscriber

    class Counted(BaseSubscriber):
        def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
            advance(bytes_transferred)

    config = TransferConfig(
        multipart_threshold=_PART, multipart_chunksize=_PART // 2, max_request_concurrency=_AT_ONCE
    )
    with TransferManager(s3, config) as manager:
        futures = [
            manager.upload(
                io.BytesIO(one.content) if isinstance(one.content, bytes) else str(one.content),
                one.bucket,
                one.key,
                extra_args={**extra, "Metadata": {"sha256": one.sha256}},
                subscribers=[Counted()],
            )
            for one in objects
        ]
        for future in futures:
            future.result()


# --- from S3 ------------------------------------------------------------------------------------


def download(s3: Any, uri: str, folder: Path, tell: Tell) -> Transferred:
    """Fetch prepared data from its s3:// prefix into a folder: what is missing there or not the same.

    Every file is compared with the manifest, which appears last. ConfigError if it is not what the
    manifest says, or there is none; botocore's errors are raised as they come.
    """
    begun = time.monotonic()
    bucket, _, prefix = uri.rstrip("/").removeprefix("s3://").partition("/")
    content = _manifest(s3, uri)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{FILE}"
    unfinished.write_bytes(content)
    files = folder_files(load_manifest(folder, unfinished.name))
    lacking = [file for file in files if not _is_here(folder / file["file"], file)]
    size = sum(file["bytes"] for file in lacking)
    with _progress(size, tell) as advance, ThreadPoolExecutor(_AT_ONCE) as pool:
        done = [
            pool.submit(_fetch, s3, bucket, f"{prefix}/{file['file']}", folder, file, advance)
            for file in lacking
        ]
        for one in done:
            one.result()
    unfinished.replace(folder / FILE)
    return Transferred(len(lacking), size, len(files) - len(lacking), time.monotonic() - begun)


def fetch(uri: str, root: Path, tell: Tell) -> Path:
    """The folder in `root` of prepared data in S3, fetched unless it is there, as whoever this machine
    is to AWS.

    ConfigError where AWS refuses, or the prefix holds no sound data.
    """
    folder = root / uri.rstrip("/").rpartition("/")[2][:12]
    if not (folder / FILE).is_file():
        with _answered(uri) as s3:
            tell(f"fetched {download(s3, uri, folder, tell)}")
    return folder


def fetch_manifest(uri: str) -> dict[str, Any]:
    """The manifest of prepared data in S3; ConfigError as `fetch`."""
    with _answered(uri) as s3, TemporaryDirectory() as folder:
        Path(folder, FILE).write_bytes(_manifest(s3, uri))
        return load_manifest(folder)


@contextmanager
def _answered(uri: str) -> Iterator[Any]:
    """A client of S3, whose refusals are told as what is wrong with the setting."""
    where = f"data.prepared={uri}"
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        what = f"the AWS libraries are not installed ({error})"
        raise ConfigError([Problem(where, what, "pip install 'lingotune[launch]'")]) from error
    try:
        yield boto3.client("s3")
    except ClientError as error:
        said = error.response["Error"]
        what = f"AWS refused {error.operation_name}: {said['Code']}: {said['Message']}"
        works = "a prefix that s3:GetObject is allowed for; a folder of this machine"
        raise ConfigError([Problem(where, what, works)]) from error
    except BotoCoreError as error:
        works = "aws configure, or AWS_PROFILE=..."
        raise ConfigError([Problem(where, f"no answer from AWS: {error}", works)]) from error


def _manifest(s3: Any, uri: str) -> bytes:
    from botocore.exceptions import ClientError

    bucket, _, prefix = uri.rstrip("/").removeprefix("s3://").partition("/")
    try:
        content: bytes = s3.get_object(Bucket=bucket, Key=f"{prefix}/{FILE}")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        what = f"holds no prepared data: there is no {FILE}"
        works = "the prefix that an earlier submit has filled: s3://bucket/lingotune/data/<digest>"
        raise ConfigError([Problem(uri, what, works)]) from error
    return content


def _is_here(path: Path, file: Mapping[str, Any]) -> bool:
    return (
        path.is_file() and path.stat().st_size == file["bytes"] and _sha256(path) == file["sha256"]
    )


def _fetch(
    s3: Any,
    bucket: str,
    key: str,
    folder: Path,
    file: Mapping[str, Any],
    advance: Callable[[int], None],
) -> None:
    path = folder / file["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.tmp")
    s3.download_file(bucket, key, str(unfinished), Callback=advance)
    if not _is_here(unfinished, file):
        unfinished.unlink()
        what = "is not what its manifest says: other bytes"
        raise ConfigError([Problem(f"s3://{bucket}/{key}", what, "prepare and upload it anew")])
    unfinished.replace(path)


# --- how far it is ------------------------------------------------------------------------------


@contextmanager
def _progress(total: int, tell: Tell) -> Iterator[Callable[[int], None]]:
    """Told of bytes as they go: a bar with rate and time left on a terminal, else a line now and then."""
    if not total:
        yield lambda count: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _Lines(total, tell)


class _Lines:
    """Progress as lines."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total, self._tell, self._lock = total, tell, Lock()
        self._done, self._begun = 0, time.monotonic()
        self._next = self._begun + _PAUSE

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + _PAUSE
            rate = self._done / (now - self._begun)
            left = max(0, self._total - self._done) / rate
            done, total = self._done / 1e6, self._total / 1e6
            self._tell(f"  {done:.0f} of {total:.0f} MB, {rate / 1e6:.1f} MB/s, {left:.0f} s left")
