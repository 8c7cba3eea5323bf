"""Copying between folders and S3 prefixes with a boto3 client."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def split_uri(uri: str) -> tuple[str, str]:
    """Split an s3:// URI into bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def download(s3: Any, uri: str, folder: Path) -> dict[str, Path]:
    """Download every object whose URI starts with this one; returns full URI -> file.

    Files are named in `folder` by the rest of their keys; an object with exactly this URI, by its name.
    """
    bucket, prefix = split_uri(uri)
    found: dict[str, Path] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            key: str = entry["Key"]
            path = folder / (key[len(prefix) :].lstrip("/") or Path(key).name)
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, key, str(path))
            found[f"s3://{bucket}/{key}"] = path
    return found


def upload(s3: Any, folder: Path, uri: str) -> None:
    """Upload every file in a folder, under the prefix `uri`."""
    bucket, prefix = split_uri(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = f"{prefix.rstrip('/')}/{path.relative_to(folder).as_posix()}"
            s3.upload_file(str(path), bucket, key)
