"""A model's folder from S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.prepared.tokenizer import copy_of
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import split_uri

_REGULAR = "what `save_pretrained` writes, uploaded: aws s3 cp --recursive FOLDER "


def fetch_model(uri: str, wanted: Callable[[str], bool]) -> Path:
    """Fetch those files of a model's s3:// prefix that are wanted and not here yet; returns their folder.

    A file is taken for the same if its ETag is. ConfigError where the prefix holds none of them, or AWS
    refuses.
    """
    folder = copy_of(uri)
    with explained(f"model.name_or_path={uri}"):
        import boto3

        s3 = boto3.client("s3")
        found = [one for one in _listed(s3, uri) if wanted(one[0])]
        if not found:
            what = "holds no model, or only files in folders below it"
            raise ConfigError([Problem(f"model.name_or_path={uri}", what, _REGULAR + uri)])
        folder.mkdir(parents=True, exist_ok=True)
        for name, key, etag in found:
            _fetch(s3, split_uri(uri)[0], key, etag, folder / name)
    return folder


def _listed(s3: Any, uri: str) -> list[tuple[str, str, str]]:
    """List name, key and ETag of the objects right below a prefix."""
    bucket, prefix = split_uri(uri.rstrip("/") + "/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [one for page in pages for one in page.get("Contents", [])]
    named = [(one["Key"][len(prefix) :], one["Key"], one["ETag"]) for one in found]
    return [one for one in named if one[0] and "/" not in one[0]]


def _fetch(s3: Any, bucket: str, key: str, etag: str, path: Path) -> None:
    known = path.with_name(f".{path.name}.etag")
    if path.is_file() and known.is_file() and known.read_text() == etag:
        return
    unfinished = path.with_name(f".{path.name}.unfinished")
    s3.download_file(bucket, key, str(unfinished))
    known.unlink(missing_ok=True)  # until the file is whole, an old ETag must not vouch for it
    unfinished.replace(path)
    known.write_text(etag)
