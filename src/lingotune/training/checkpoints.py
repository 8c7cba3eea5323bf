"""Checkpoints that survive a kill at any moment: committing them, and telling complete from damaged ones.

The Trainer writes a checkpoint file by file. It counts once its manifest exists, which is written last
and records the size and SHA-256 of every file, the job and the data. A checkpoint without a manifest was
still being written when the run was killed; one that differs from its manifest is damaged. Neither is
loaded, as libraries read most damaged files without noticing. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.typed_json import from_json, to_json
from lingotune.system.hashing import sha256_of

MANIFEST = "manifest.json"
UNFINISHED = "unfinished"
"""File that marks a folder as being written."""
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Owner:
    """Identity of a training: SHA-256 of the job file and of the rows it trains on."""

    job: str
    data: str


@dataclass(frozen=True)
class _Manifest:
    """Contents of manifest.json. best: a checkpoint's name. files: path -> size in bytes and SHA-256."""

    job: str
    data: str
    best: str | None
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint after `step` updates, and the best one so far, which is complete as well."""

    step: int
    folder: Path
    best: Path | None


def begin(folder: Path) -> None:
    """Create the folder of a checkpoint that is about to be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNFINISHED).touch()


def commit(folder: Path, owner: Owner, best: str | None) -> None:
    """Mark the checkpoint in `folder` as complete. best: name of the best checkpoint so far.

    All files are flushed to disk before the manifest, which appears atomically.
    """
    (folder / UNFINISHED).unlink(missing_ok=True)
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _to_disk(path)
        files[path.relative_to(folder).as_posix()] = (path.stat().st_size, sha256_of(path))
    content = to_json(_Manifest(owner.job, owner.data, best, files))
    unfinished = folder / f"{MANIFEST}.tmp"
    manifest = {**content, "sha256": _seal(content)}
    unfinished.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _to_disk(unfinished)
    unfinished.rename(folder / MANIFEST)
    _to_disk(folder)
    _to_disk(folder.parent)


def whole(root: Path, owner: Owner) -> tuple[dict[int, Checkpoint], dict[int, str]]:
    """Find the checkpoints in `root`; returns, by step, the complete ones and the faults of the others.

    ConfigError if they belong to another job, or if the data has changed since.
    """
    faults = {step: fault(folder) for step, folder in _steps(root).items()}
    good: dict[int, Checkpoint] = {}
    bad = {step: why for step, why in faults.items() if why}
    for step, folder in _steps(root).items():
        if step in bad:
            continue
        manifest = _read(folder)
        _check_owner(root, manifest, owner)
        best = manifest.best
        why = best and faults.get(_step_of(best), "is missing")
        if why:
            bad[step] = f"{best}, the best until then, {why}"
        else:
            good[step] = Checkpoint(step, folder, root / best if best else None)
    return good, bad


def fault(folder: Path) -> str | None:
    """Describe why a checkpoint is not complete; None if it is."""
    try:
        manifest = _read(folder)
    except FileNotFoundError:
        return "was not finished"
    except (ValueError, OSError):
        return f"has a damaged {MANIFEST}"
    for name, (size, sha) in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return f"lacks {name}"
        if path.stat().st_size != size or sha256_of(path) != sha:
            return f"has a damaged {name}"
    return None


def set_aside(root: Path, steps: Iterable[int]) -> None:
    """Move checkpoints out of the way: unfinished ones are deleted, damaged ones renamed."""
    for step in steps:
        folder = root / f"checkpoint-{step}"
        if (folder / MANIFEST).exists():
            aside = root / f"damaged-checkpoint-{step}"
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
        else:
            shutil.rmtree(folder)


def rotate(root: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and the best; call it after a commit only."""
    steps = _steps(root)
    newest = max(steps)
    best = _read(steps[newest]).best
    kept = {*sorted(steps)[-keep:], _step_of(best) if best else newest}
    for step, folder in steps.items():
        if step not in kept and (folder / MANIFEST).exists():
            # The manifest goes first: a half-deleted checkpoint must not count.
            (folder / MANIFEST).unlink()
            shutil.rmtree(folder)


def _steps(root: Path) -> dict[int, Path]:
    """Map step -> folder, sorted by step, as modification times do not survive a copy."""
    found = {
        int(match[1]): path
        for path in (root.iterdir() if root.is_dir() else ())
        if (match := _NAME.fullmatch(path.name)) and path.is_dir()
    }
    return dict(sorted(found.items()))


def _step_of(name: str) -> int:
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else -1


def _read(folder: Path) -> _Manifest:
    """Read the manifest; ValueError if it is not as it was written."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.pop("sha256", None) != _seal(content):
        raise ValueError(f"{folder}: the manifest was changed")
    return from_json(_Manifest, content)


def _seal(content: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_owner(root: Path, manifest: _Manifest, owner: Owner) -> None:
    if manifest.job != owner.job:
        what = f"holds checkpoints of job {manifest.job[:12]}; this is job {owner.job[:12]}"
        fix = "the run's own job.yaml, or another --run-dir"
        raise ConfigError([Problem(str(root), what, fix)])
    if manifest.data != owner.data:
        what = "the reviews are not those that these checkpoints were trained on"
        fix = "the data as it was, or another --run-dir to start over"
        raise ConfigError([Problem(str(root), what, fix)])


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
