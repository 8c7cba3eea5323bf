"""The file of own code: found by its digest, and kept with what it made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lingotune
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import CodeConfig

FOLDER = "user_code"
"""Folder of own code in bundles, run folders and models' folders; its files are named by their digests."""


@dataclass(frozen=True)
class Source:
    """A file of own code: where it was read, the name to tell people, and its bytes."""

    path: Path
    name: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return sha256_of(self.content)

    def keep_in(self, folder: Path) -> None:
        """Put a copy below a folder, unless it is there; the file appears only once it is complete."""
        path = folder / stored_name(self.sha256)
        if path.exists() and sha256_of(path.read_bytes()) == self.sha256:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(self.content)
        unfinished.replace(path)


def sha256_of(content: bytes) -> str:
    """Digest of a file's bytes: 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def stored_name(sha256: str) -> str:
    """Path of a copy below a bundle's or a run's folder."""
    return f"{FOLDER}/{sha256}.py"


def bundle_folder() -> Path:
    """Folder that lingotune lies in: on a worker that of the bundle, with its copies of own code."""
    return Path(lingotune.__file__).parents[1]


def find_source(
    code: CodeConfig, folders: Iterable[Path], *, original: bool = True
) -> Source | None:
    """Find the file of a job: where it was named, else a copy below one of the folders.

    original: look where it was named. None for a job without a file. ConfigError if there is none with
    the job's digest, or a copy was changed.
    """
    if code.file is None:
        return None
    if code.sha256 is None:
        what = "has no digest yet: composing the job reads the file"
        fix = f'lt.compose(job, "code.file={code.file}")'
        raise ConfigError([Problem(f"code.file={code.file}", what, fix)])
    named = _read(Path(code.file)) if original else None
    if named is not None and sha256_of(named) == code.sha256:
        return Source(Path(code.file), Path(code.file).name, named)
    for folder in folders:
        path = folder / stored_name(code.sha256)
        content = _read(path)
        if content is not None:
            _check_copy(path, content, code.sha256)
            return Source(path, Path(code.file).name, content)
    raise ConfigError([changed(code, named)])


def changed(code: CodeConfig, found: bytes | None) -> Problem:
    """Tell that a file is not, or no more, the one that the job was composed with."""
    where = f"code.file={code.file}"
    if found is None:
        what = f"there is no such file, and no copy of it: sha256 {code.sha256}"
        return Problem(where, what, "the file as it was, in its place")
    what = (
        f"was changed after the job was composed: sha256 {code.sha256} then, {sha256_of(found)} now"
    )
    fix = f"{where} on top of the job, which makes it another job; or the file as it was"
    return Problem(where, what, fix)


def is_changed(code: CodeConfig, source: Source) -> bool:
    """Tell whether a copy is used because the file itself has other content now."""
    named = _read(Path(str(code.file)))
    return named is not None and named != source.content


def _check_copy(path: Path, content: bytes, sha256: str) -> None:
    found = sha256_of(content)
    if found != sha256:
        what = f"was changed after the job was composed: sha256 {sha256} then, {found} now"
        raise ConfigError([Problem(str(path), what, "the copy as it was, or none")])


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def own_code_lines(code: CodeConfig) -> list[str]:
    """Say which own code a job has, and what a worker installs for it; no line without any."""
    if code == CodeConfig():
        return []
    named = {"metrics": code.metrics, "builder": [code.builder or ""], "callbacks": code.callbacks}
    parts = [f"{kind} {', '.join(names)}" for kind, names in named.items() if any(names)]
    file = f"{code.file} (sha256 {(code.sha256 or '')[:12]})" if code.file else "installed packages"
    lines = [f"{file}: {'; '.join(parts)}"]
    if code.requirements:
        lines.append(f"a worker installs {', '.join(code.requirements)}")
    return lines
