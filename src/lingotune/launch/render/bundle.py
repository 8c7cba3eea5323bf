"""The code that travels: one archive, the same bytes for the same code, named by its digest.

The archive holds train.py, the worker's part of the installed package and a requirements.txt, laid
out as the training toolkit expects a source directory. One bundle serves every job of a sweep: the
job itself travels as a file of its own.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

PROGRAM = "train.py"
"""Name of the script that the toolkit starts; it equals `python -m lingotune.training`."""
REQUIREMENTS = "requirements.txt"
"""Name of the file with requirements, which the toolkit installs before the job starts."""
LAPTOP_ONLY = ("api", "cli", "launch", "__main__")
"""Parts of the package that no worker needs; everything else travels."""


def stays(name: str) -> bool:
    """Tell whether a path in the package, such as `launch/cost/prices`, is left out of the bundle."""
    return name.partition("/")[0] in LAPTOP_ONLY


@dataclass(frozen=True)
class Bundle:
    """Archive (tar) of the worker's code, the digest of its contents, and its files by name."""

    tar: bytes
    digest: str
    files: Mapping[str, bytes]

    @functools.cached_property
    def content(self) -> bytes:
        """Archive as it is uploaded (tar.gz); a plan has no use for it, and compressing takes its time."""
        # Level 9 would make it half a percent smaller, in twice the time.
        return gzip.compress(self.tar, compresslevel=6, mtime=0)


def build_bundle(
    requirements: Sequence[str] = (),
    package: Path | None = None,
    own_code: Mapping[str, bytes] = MappingProxyType({}),
) -> Bundle:
    """Pack the worker's code; `requirements` are those of its jobs, besides its own.

    package: folder of lingotune; default: the one that runs here, from a wheel or a checkout. own_code:
    files of the user's own, by their names in the archive.
    """
    package = package or Path(str(resources.files("lingotune")))
    files = {name: path.read_bytes() for name, path in sorted(_worker_files(package).items())}
    files[REQUIREMENTS] += "".join(f"{line}\n" for line in sorted(set(requirements))).encode()
    files |= sorted(own_code.items())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes on every machine
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    # Take the digest of the tar, as compressed bytes differ between versions of zlib.
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    return Bundle(archive.getvalue(), digest, files)


def _worker_files(package: Path) -> dict[str, Path]:
    files = {
        PROGRAM: package / "training" / "__main__.py",
        REQUIREMENTS: package / "launch" / "render" / "requirements-worker.txt",
    }
    for path in package.rglob("*"):
        relative = path.relative_to(package)
        if path.suffix in (".py", ".json", ".j2") and not stays(
            relative.with_suffix("").as_posix()
        ):
            files[f"lingotune/{relative.as_posix()}"] = path
    return files
