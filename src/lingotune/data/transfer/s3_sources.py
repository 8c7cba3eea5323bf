"""Objects that a source in S3 names: one, those of a pattern, or those of a prefix as a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from lingotune.config.problems import ConfigError, closest
from lingotune.config.quoting import override_text
from lingotune.data.rows.findings import config_error
from lingotune.data.sources.files import data_files, is_data_file
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import split_uri

MOST = 100_000
"""Objects below a prefix; whoever has more has to name the ones that are meant."""
_VERSION = re.compile(r"(.+)\?versionId=([^?&]+)")
_MAGIC = re.compile(r"[*?[]")
_SHOWN = 8


@dataclass(frozen=True)
class S3Object:
    """An object. version: its id, where one was named."""

    bucket: str
    key: str
    etag: str
    bytes: int
    version: str | None = None

    @property
    def uri(self) -> str:
        """Address without the version."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def tag(self) -> str:
        """Identity of its version: ETag, size and, where one was named, an id."""
        return " ".join(filter(None, [self.etag, str(self.bytes), self.version]))

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of calls beside bucket and key."""
        return {"VersionId": self.version} if self.version else {}


def find_objects(s3: Any, pattern: str, key: str) -> list[S3Object]:
    """Find the objects that a pattern names, by their keys; the rules are those for local files.

    s3: a boto3 client. key: the setting that holds the pattern, for messages. ConfigError where there
    are none, or AWS does not let this caller see them.
    """
    return _Search(s3, pattern, key).found()


class _Search:
    def __init__(self, s3: Any, pattern: str, key: str) -> None:
        self._s3, self._pattern, self._key = s3, pattern, key
        self._where = f"{key}={pattern}"
        versioned = _VERSION.fullmatch(pattern)
        self._version = versioned[2] if versioned else None
        self._bucket, self._path = split_uri(versioned[1] if versioned else pattern)

    def found(self) -> list[S3Object]:
        with explained(self._where, self._mend):
            if self._version:
                return [self._head(VersionId=self._version)]
            magic = _MAGIC.search(self._path)
            return self._matching(magic.start()) if magic else self._object_or_folder()

    def _matching(self, plain: int) -> list[S3Object]:
        """Objects of a pattern whose first `plain` characters are no pattern."""
        listed = self._listed(self._path[:plain])
        if self._path in listed:
            return [listed[self._path]]
        found = [one for key, one in listed.items() if matches(key, self._path)]
        if not found:
            raise self._nothing("no object matches the pattern", listed)
        return found

    def _object_or_folder(self) -> list[S3Object]:
        denied = False
        if self._path and not self._path.endswith("/"):
            one, denied = self._seen()
            if one:
                return [one]
        folder = self._path.rstrip("/") + "/" if self._path.strip("/") else ""
        listed = self._listed(folder)
        if not listed and denied:
            raise config_error(self._where, "AWS refused HeadObject: 403", self._mend("403", {}))
        if not listed:
            raise self._nothing("there is no such object, and no objects below it", {})
        return self._in_folder(folder, listed)

    def _in_folder(self, folder: str, listed: Mapping[str, S3Object]) -> list[S3Object]:
        tree = _tree(self._bucket, folder, listed, self._read)
        found = [listed[one.key] for one in data_files(tree) if one.key in listed]
        if not found:
            names = ", ".join(sorted(tree.entries)[:_SHOWN]) or "nothing"
            deeper = next((key for key in listed if is_data_file(PurePosixPath(key).name)), None)
            whole = f"s3://{self._bucket}/{folder}"
            fix = f"{whole}**/*{PurePosixPath(deeper).suffix}" if deeper else f"{whole}FILE"
            what = f"the prefix holds no data files; it has: {names}"
            raise config_error(self._where, what, override_text(self._key, fix))
        return found

    # --- calls ---

    def _head(self, **version: str) -> S3Object:
        head = self._s3.head_object(Bucket=self._bucket, Key=self._path, **version)
        size = head["ContentLength"]
        return S3Object(self._bucket, self._path, head["ETag"], size, version.get("VersionId"))

    def _seen(self) -> tuple[S3Object | None, bool]:
        """Return the object of this very key, if there is one, and whether AWS does not tell that."""
        from botocore.exceptions import ClientError

        try:
            return self._head(), False
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status not in (403, 404):
                raise
            return None, status == 403

    def _listed(self, prefix: str) -> dict[str, S3Object]:
        """Objects by key, without those that stand for folders."""
        found: dict[str, S3Object] = {}
        pages = self._s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                key = one["Key"]
                if not key.endswith(("/", "_$folder$")):
                    found[key] = S3Object(self._bucket, key, one["ETag"], one["Size"])
            if len(found) > MOST:
                what = f"has more than {MOST} objects below it"
                fix = override_text(self._key, f"s3://{self._bucket}/{prefix}FOLDER/")
                raise config_error(self._where, what, fix)
        return found

    def _read(self, key: str) -> bytes:
        content: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return content

    # --- what helps ---

    def _nothing(self, what: str, listed: Iterable[str]) -> ConfigError:
        """Name what there is in place of an object or pattern that names nothing."""
        magic = _MAGIC.search(self._path)
        folder, _, _ = self._path[: magic.start() if magic else None].rpartition("/")
        names = sorted({key[len(folder) :].lstrip("/") for key in listed})
        while not names:
            names = self._names(folder and f"{folder}/")
            if names or not folder:
                break
            folder = folder.rpartition("/")[0]
        near = "" if magic else self._nearest(folder and f"{folder}/", names)
        whole = f"s3://{self._bucket}/{folder and folder + '/'}"
        if near:
            fix = override_text(self._key, f"s3://{self._bucket}/{near}")
            return config_error(self._where, what, fix)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        holds = f"{whole} holds: {', '.join(names[:_SHOWN])}{more}"
        return config_error(self._where, what, holds if names else f"{whole} is empty")

    def _nearest(self, folder: str, names: Sequence[str]) -> str:
        """Follow the path from a folder as far as something is called much like it; '' = nowhere."""
        found = ""
        for part in self._path[len(folder) :].strip("/").split("/"):
            plain = {name.rstrip("/"): name for name in names}
            near = closest(part, [n for n in plain if found or folder + n != self._path.strip("/")])
            if not near:
                break
            found = (found or folder) + plain[near]
            names = self._names(found) if found.endswith("/") else []
        return found

    def _names(self, folder: str) -> list[str]:
        page = self._s3.list_objects_v2(
            Bucket=self._bucket, Prefix=folder, Delimiter="/", MaxKeys=1000
        )
        keys = [one["Key"] for one in page.get("Contents", [])]
        keys += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
        return sorted(key[len(folder) :] for key in keys if key != folder)

    def _mend(self, code: str, response: Mapping[str, Any]) -> str:
        """Return what helps where AWS refuses, in terms of a source."""
        if code == "NoSuchBucket":
            near = closest(self._bucket, self._buckets())
            named = f"s3://{near}/{self._path}"
            return override_text(self._key, named) if near else "aws s3 ls shows your buckets"
        if code in ("403", "AccessDenied", "Forbidden"):
            return (
                f"s3:ListBucket on {self._bucket} and s3:GetObject on its objects for this caller"
                " (aws sts get-caller-identity names it), or AWS_PROFILE=<one that may>"
            )
        if code in ("404", "NoSuchVersion"):
            uri = f"s3://{self._bucket}/{self._path}"
            return f"{override_text(self._key, uri)} for its newest version"
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or response["Error"].get("Region")
        return f"AWS_DEFAULT_REGION={region} before the command" if region else ""

    def _buckets(self) -> list[str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return [one["Name"] for one in self._s3.list_buckets()["Buckets"]]
        except (ClientError, BotoCoreError):
            return []


def matches(key: str, pattern: str) -> bool:
    """Tell whether a key matches a glob as a path would: a star stays within a folder, `**` does not, and
    neither finds names that begin with a dot."""
    return _match(key.split("/"), pattern.split("/"))


def _match(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        if not wanted[1:]:
            return not any(part.startswith(".") for part in parts)
        deep = next((n for n, part in enumerate(parts) if part.startswith(".")), len(parts))
        return any(_match(parts[n:], wanted[1:]) for n in range(min(deep + 1, len(parts))))
    if not parts or (parts[0].startswith(".") and not wanted[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], wanted[0]) and _match(parts[1:], wanted[1:])


# --- a prefix as a folder -----------------------------------------------------------------------


@dataclass
class _Node:
    """An object, or a prefix with what is below it; see `lingotune.data.sources.files.Entry`."""

    name: str
    uri: str
    key: str
    read: Callable[[str], bytes]
    entries: dict[str, _Node] = field(default_factory=dict)
    is_object: bool = False

    def is_file(self) -> bool:
        return self.is_object

    def is_dir(self) -> bool:
        return bool(self.entries)

    def iterdir(self) -> Iterator[_Node]:
        yield from self.entries.values()

    def read_bytes(self) -> bytes:
        return self.read(self.key)

    def __truediv__(self, name: str) -> _Node:
        absent = _Node(name, f"{self.uri}/{name}", f"{self.key}{name}", self.read)
        return self.entries.get(name, absent)

    def __str__(self) -> str:
        return self.uri


def _tree(bucket: str, folder: str, listed: Iterable[str], read: Callable[[str], bytes]) -> _Node:
    root = _Node(folder, f"s3://{bucket}/{folder}".rstrip("/"), folder, read)
    for key in listed:
        node = root
        *folders, last = key[len(folder) :].split("/")
        for part in folders:
            fresh = _Node(part, f"{node.uri}/{part}", f"{node.key}{part}/", read)
            node = node.entries.setdefault(part, fresh)
        fresh = _Node(last, f"{node.uri}/{last}", key, read)
        node.entries.setdefault(last, fresh).is_object = True  # a folder may be called like it
    return root
