"""Objects to S3."""

from __future__ import annotations

import hashlib
import io
import os.path
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.transfer.errors import explained, mending
from lingotune.data.transfer.objects import (
    AT_ONCE,
    PART,
    Counted,
    Transferred,
    manager,
    split_uri,
)
from lingotune.data.transfer.progress import Tell, progress
from lingotune.system.hashing import sha256_once

MOST_TAGS = 10
"""Tags that S3 takes for an object."""


@dataclass(frozen=True)
class _Object:
    uri: str
    content: bytes | Path
    size: int
    sha256: str
    is_there: bool


def upload(
    s3: Any,
    contents: Mapping[str, bytes | Path],
    tell: Tell,
    *,
    kms_key: str | None = None,
    tags: Mapping[str, str] | None = None,
    planned: Mapping[str, str] | None = None,
) -> Transferred:
    """Send each content to its s3:// URI, unless the same is there; the last one once all others are.

    s3: a boto3 client. kms_key: encrypts the objects; None = the bucket's own way. tags: of the
    objects, at most `MOST_TAGS`. Neither is looked at in objects that are there. planned: URI -> SHA-256
    of contents that must not have changed. ConfigError where one has, a file cannot be read, or AWS
    refuses; what was sent until then is not sent again by the next call.
    """
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        objects = list(pool.map(lambda item: _look(s3, *item), contents.items()))
    _check_unchanged(objects, contents, planned or {})
    lacking = [one for one in objects if not one.is_there]
    for one in lacking:
        tell(f"upload {one.uri} ({one.size} bytes)")
    size = sum(one.size for one in lacking)
    extra = _arguments(kms_key, tags)
    with progress(size, tell) as advance:
        _send(s3, [one for one in lacking if one is not objects[-1]], extra, advance)
        _send(s3, [one for one in lacking if one is objects[-1]], extra, advance)
    _abort_left_over(s3, [one.uri for one in objects if one.size >= PART], tell)
    there = len(objects) - len(lacking)
    return Transferred(len(lacking), size, there, time.monotonic() - begun)


def _check_unchanged(
    objects: Sequence[_Object], contents: Mapping[str, bytes | Path], planned: Mapping[str, str]
) -> None:
    """Refuse files that have changed since their place in S3 was named by the digest of their contents."""
    changed = [one for one in objects if planned.get(one.uri, one.sha256) != one.sha256]
    if changed:
        what = "was changed after it had been planned with"
        fix = "the same command once more"
        raise ConfigError([Problem(str(contents[one.uri]), what, fix) for one in changed])


def _arguments(kms_key: str | None, tags: Mapping[str, str] | None) -> dict[str, str]:
    arguments = {"ChecksumAlgorithm": "SHA256"}
    if kms_key:
        arguments |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    if tags:
        arguments["Tagging"] = urlencode(tags)
    return arguments


def _look(s3: Any, uri: str, content: bytes | Path) -> _Object:
    with explained(uri):
        if isinstance(content, bytes):
            size, sha256 = len(content), hashlib.sha256(content).hexdigest()
        else:
            size, sha256 = content.stat().st_size, sha256_once(content)
        return _Object(uri, content, size, sha256, _is_there(s3, uri, size, sha256))


def _is_there(s3: Any, uri: str, size: int, sha256: str) -> bool:
    """Compare by metadata: S3's own checksums of encrypted objects need kms:Decrypt, and are none of the
    whole content where it went in parts."""
    from botocore.exceptions import ClientError

    bucket, key = split_uri(uri)
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return False
    return bool(head["ContentLength"] == size and head["Metadata"].get("sha256") == sha256)


def _send(
    s3: Any,
    objects: Sequence[_Object],
    extra: Mapping[str, Any],
    advance: Callable[[int], None],
) -> None:
    from botocore.exceptions import ClientError

    with manager(s3) as transfers:
        futures = [
            transfers.upload(
                io.BytesIO(one.content) if isinstance(one.content, bytes) else str(one.content),
                *split_uri(one.uri),
                extra_args={**extra, "Metadata": {"sha256": one.sha256}},
                subscribers=[Counted(advance)],
            )
            for one in objects
        ]
        for one, future in zip(objects, futures):
            with explained(one.uri):
                try:
                    future.result()
                except ClientError as error:
                    # Whoever has sent the same meanwhile has aborted what was unfinished of it.
                    ours = error.response["Error"]["Code"] != "NoSuchUpload"
                    if ours or not _is_there(s3, one.uri, one.size, one.sha256):
                        raise


def _abort_left_over(s3: Any, uris: Sequence[str], tell: Tell) -> None:
    """Parts of a killed upload are stored, and billed, until somebody aborts it.

    Once the objects are there: whoever is sending the same at the moment finds them, and is content.
    """
    from botocore.exceptions import ClientError

    for bucket in {split_uri(uri)[0] for uri in uris}:
        keys = [key for found, key in map(split_uri, uris) if found == bucket]
        pages = s3.get_paginator("list_multipart_uploads")
        try:
            # A prefix of characters, as S3 means it.
            shared = os.path.commonprefix(keys)  # noqa: RUF071
            for page in pages.paginate(Bucket=bucket, Prefix=shared):
                for left in page.get("Uploads", []):
                    if left["Key"] in keys:
                        named = {"Key": left["Key"], "UploadId": left["UploadId"]}
                        s3.abort_multipart_upload(Bucket=bucket, **named)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchUpload":  # ended meanwhile
                continue
            tell(
                f"warning: parts that a killed upload may have left in s3://{bucket} are billed until"
                f" they are aborted; {error.operation_name} was refused: {code}:"
                f" {mending(error.operation_name, code)}"
            )
