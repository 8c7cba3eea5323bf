"""The code that travels: one archive, the same bytes for the same code, named by its digest.

The archive holds train.py, the worker's part of the package and a requirements.txt, laid out as the
training toolkit expects a source directory. One bundle serves every job of a sweep: the job itself
travels as a file of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

LAPTOP_ONLY = frozenset({"bundle", "command", "compose", "local", "plan", "render", "submit"})
"""Modules of the package that no worker imports; a test holds this against the imports."""


@dataclass(frozen=True)
class Bundle:
    """Archive bytes (tar.gz), the digest of what is in it, and the names of the files."""

    content: bytes
    digest: str
    files: tuple[str, ...]


def build_bundle(root: Path) -> Bundle:
    """Pack the worker's code of the checkout at `root`."""
    files = _worker_files(root)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            content = files[name].read_bytes()
            member = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes on every machine
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    # The digest is of the tar: compressed bytes differ between zlib versions.
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    return Bundle(gzip.compress(archive.getvalue(), mtime=0), digest, tuple(sorted(files)))


def _worker_files(root: Path) -> dict[str, Path]:
    package = root / "src" / "lingotune"
    files = {
        "train.py": root / "train.py",
        "requirements.txt": root / "requirements-worker.txt",
    }
    for path in package.rglob("*"):
        relative = path.relative_to(package)
        if (
            path.suffix in (".py", ".json")
            and relative.with_suffix("").as_posix() not in LAPTOP_ONLY
        ):
            files[f"lingotune/{relative.as_posix()}"] = path
    return files
