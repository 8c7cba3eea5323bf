"""Output of a training job in S3, packed or not, as a run of this machine leaves it in its folder."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.transfer.objects import Transferred
from lingotune.data.transfer.progress import Tell
from lingotune.launch.aws.objects import (
    Stored,
    fetch_objects,
    link_tree,
    missing_bytes,
    stored_under,
)
from lingotune.runs.folder import MODEL

_PLACES = {"output": "", "data": "", "model": MODEL}
"""Beginning of the names in a job's output -> folder in the run folder. SageMaker packs output.tar.gz from
the folder output/data, which it uploads as data where it does not pack."""
_UNPACKED = 2.0
"""Bytes of an unpacked archive, as a multiple of its own, for the check of the disk."""
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


class JobOutput:
    """Output of one job.

    uri: of the job's output in S3. staging: folder of what has been fetched of it so far.
    """

    def __init__(self, s3: Any, uri: str, staging: Path) -> None:
        self._s3, self.uri, self._staging = s3, uri, staging
        self.objects: Sequence[Stored] = [
            one for one in stored_under(s3, uri) if _place(one.name) is not None
        ]

    def bytes_needed(self) -> int:
        """Estimate the bytes of the disk that fetching and unpacking take."""
        packed = sum(one.size for one in self.objects if one.name.endswith(".tar.gz"))
        return missing_bytes(self.objects, self._staging) + int(packed * _UNPACKED)

    @property
    def bytes(self) -> int:
        """Bytes of all its objects."""
        return sum(one.size for one in self.objects)

    def fetch(self, run: Path, tell: Tell) -> Transferred:
        """Fetch what is missing, then fill an empty folder with it; ConfigError if something is damaged."""
        done = fetch_objects(self._s3, self.objects, self._staging, tell)
        for one in self.objects:
            path, place = self._staging / one.name, _place(one.name)
            assert place is not None
            if one.name.endswith(".tar.gz"):
                _unpack(path, run / place, one.uri)
        for name in ("data", "model"):
            link_tree(self._staging / name, run / _PLACES[name])
        return done


def _place(name: str) -> str | None:
    """Find the folder in the run folder for an object; None if it is none of a run's."""
    head, _, rest = name.partition("/")
    return _PLACES.get(head if rest else head.removesuffix(".tar.gz"))


def _unpack(archive: Path, folder: Path, uri: str) -> None:
    """Unpack an archive to its last byte, where its checksum is; a damaged one is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with gzip.open(archive) as packed:
            with tarfile.open(fileobj=packed, mode="r|") as tar:
                tar.extractall(folder, filter="data")
            while packed.read(1 << 20):
                pass
    except _DAMAGED as error:
        archive.unlink()
        what = f"is damaged: {error}"
        fix = "the same command once more fetches it anew; if it stays so, the job's upload was cut off"
        raise ConfigError([Problem(uri, what, fix, check="archive-damaged")]) from error


def output_uri(description: Any) -> str:
    """Name the output of a job in S3, from its description."""
    base = description["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{base}/{description['TrainingJobName']}/output"
