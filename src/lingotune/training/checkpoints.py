"""Checkpoints that survive a kill at any moment: committing them, and telling complete from damaged ones.

The Trainer writes a checkpoint file by file. It counts once its manifest exists, which is written last
and records the size and SHA-256 of every file, the step, the run, and the circumstances it was trained
in. A checkpoint without a manifest was still being written when the run was killed; one that differs from
its manifest is damaged. Neither is loaded, as libraries read most damaged files without noticing.

Each checkpoint holds all that a run needs to go on: besides the state of the training the job file and,
unless it is itself the best one so far, the weights of that one. Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lingotune.config.typed_json import (
    UNLESS_NONE,
    from_json,
    parse_json,
    sealed,
    to_json,
    unsealed,
)
from lingotune.contract.container import JOB_FILE
from lingotune.system.hashing import sha256_of
from lingotune.training.aside import set_aside
from lingotune.training.identity import Identity

MANIFEST = "manifest.json"
UNFINISHED = "unfinished"
"""File that marks a folder as being written."""
FORMAT = 2
UNFINISHED_SAVE = "was not finished"
"""Fault of a checkpoint without a manifest."""
BEST = "best"
"""Folder in a checkpoint with the weights of the best one so far, in a folder of that one's name."""
_NAME = re.compile(r"checkpoint-([1-9][0-9]{0,17})")
_UNREADABLE = (errno.ENOENT, errno.EIO, errno.EACCES)
_STATE = re.compile(r"(optimizer|scheduler|rng_state|scaler|trainer_state|training_args|args\b)")
"""Files of a checkpoint that only going on with it needs, by how their names begin."""


@dataclass(frozen=True)
class Manifest:
    """Contents of manifest.json.

    run: digest of `settings`, which say which run it is. world: number of processes. writer: the version
    of lingotune. circumstances: what may change the last digits of a result. best: name of the best
    checkpoint so far. not_exact: where the run has gone on in other circumstances. files: path -> size in
    bytes and SHA-256. ended: a callback ended the training with it, before the last step. seconds: of
    training so far, where training.max_hours limits them. touched_rows_only: how its processes exchange the
    word embeddings' gradient, see `EmbeddingExchange`; None where nothing was decided.
    """

    format: int
    step: int
    run: str
    world: int
    writer: str
    settings: dict[str, str]
    circumstances: dict[str, str]
    best: str | None
    not_exact: tuple[str, ...]
    files: dict[str, tuple[int, str]]
    ended: bool = False
    seconds: float | None = field(default=None, metadata=UNLESS_NONE)
    touched_rows_only: bool | None = field(default=None, metadata=UNLESS_NONE)

    def __post_init__(self) -> None:
        paths = map(PurePosixPath, self.files)
        if any(path.is_absolute() or ".." in path.parts or "\0" in str(path) for path in paths):
            raise ValueError("a file outside of the checkpoint")
        if self.best is not None and not _NAME.fullmatch(self.best):
            raise ValueError(f"best is {self.best!r}")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint after `step` updates. best: folder of the best weights so far.

    not_exact: where the run has gone on in other circumstances than before, one sentence each. ended: the
    training was ended with it, before its last step. seconds: of training up to it, where they are limited.
    touched_rows_only: see `Manifest`; None for another number of processes than then.
    """

    step: int
    folder: Path
    best: Path | None
    not_exact: tuple[str, ...] = ()
    ended: bool = False
    seconds: float = 0.0
    touched_rows_only: bool | None = None


class OtherFormat(ValueError):
    """A manifest that another version of lingotune wrote."""


# --- writing ------------------------------------------------------------------------------------


def name_of(step: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"checkpoint-{step}"


def begin(folder: Path) -> None:
    """Create the folder of a checkpoint that is about to be written; whatever is in its place is set
    aside. OSError if the folder of all checkpoints was deleted: the run has lost what it wrote."""
    if folder.is_symlink() or folder.exists():
        set_aside(folder, "earlier" if (folder / MANIFEST).exists() else "unfinished")
    folder.mkdir(exist_ok=True)
    (folder / UNFINISHED).touch()


def commit(
    folder: Path,
    identity: Identity,
    best: str | None,
    *,
    job_file: bytes = b"",
    not_exact: tuple[str, ...] = (),
    ended: bool = False,
    seconds: float | None = None,
    touched_rows_only: bool | None = None,
) -> Path | None:
    """Mark the checkpoint in `folder` as complete; returns the folder of the best weights so far.

    best: name of the best checkpoint so far, whose weights are copied from the checkpoints beside this one
    unless it is this one. None is returned if all copies of them are damaged. All files are flushed to
    disk before the manifest, which appears atomically.
    """
    if job_file:
        (folder / JOB_FILE).write_bytes(job_file)
    if best and best != folder.name and not _copy_best(folder, best):
        best = None
    (folder / UNFINISHED).unlink(missing_ok=True)
    files = {}
    for name in _files(folder):
        to_disk(folder / name)
        files[name] = ((folder / name).stat().st_size, sha256_of(folder / name))
    manifest = Manifest(
        FORMAT, step_of(folder.name), identity.run, identity.world, identity.writer,
        dict(identity.settings), dict(identity.circumstances), best, not_exact, files,
        ended, seconds, touched_rows_only,
    )  # fmt: skip
    _write(folder, manifest)
    return best_in(folder, manifest)


def _write(folder: Path, manifest: Manifest) -> None:
    unfinished = folder / f"{MANIFEST}.tmp"
    text = json.dumps(sealed(to_json(manifest)), indent=1)
    unfinished.write_text(text, encoding="utf-8")
    to_disk(unfinished)
    unfinished.rename(folder / MANIFEST)
    for changed in {folder, folder.parent, *((folder / name).parent for name in manifest.files)}:
        to_disk(changed)


def _copy_best(folder: Path, best: str) -> bool:
    """Copy the best weights from the newest checkpoint that has them whole; False if none has."""
    place = folder / BEST / best
    for source in reversed(checkpoints_in(folder.parent).values()):
        try:
            manifest = read(source)
        except (OSError, ValueError):
            continue
        held = best_in(source, manifest)
        if held is None or held.name != best:
            continue
        shutil.rmtree(place, ignore_errors=True)
        if _copied(source, held, manifest, place):
            return True
    shutil.rmtree(folder / BEST, ignore_errors=True)
    return False


def _copied(source: Path, held: Path, manifest: Manifest, place: Path) -> bool:
    """Copy the weights in `held`, a folder of the checkpoint `source`; False if one is damaged."""
    inside = held.relative_to(source).as_posix()
    prefix = "" if inside == "." else f"{inside}/"
    for name, (size, sha) in manifest.files.items():
        own = name.removeprefix(prefix)
        if not name.startswith(prefix) or "/" in own or own == JOB_FILE or _STATE.match(own):
            continue
        place.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(held / own, place / own)
        except OSError as error:
            if error.errno in _UNREADABLE:
                return False
            raise  # a full disk
        if (place / own).stat().st_size != size or sha256_of(place / own) != sha:
            return False
    return place.is_dir()


# --- reading ------------------------------------------------------------------------------------


def step_of(name: str) -> int:
    """Return the step that a checkpoint's name tells; 0 for another name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def checkpoints_in(root: Path) -> dict[int, Path]:
    """Map step -> folder, sorted by step, as modification times do not survive a copy."""
    paths = root.iterdir() if root.is_dir() else ()
    found = {step: path for path in paths if (step := step_of(path.name)) and path.is_dir()}
    return dict(sorted(found.items()))


def best_in(folder: Path, manifest: Manifest) -> Path | None:
    """Return the folder of the best weights that a checkpoint holds; None without evaluations."""
    if manifest.best is None:
        return None
    return folder if step_of(manifest.best) == manifest.step else folder / BEST / manifest.best


def read(folder: Path) -> Manifest:
    """Read the manifest. OSError if there is none; ValueError if it is not as it was written, and its
    subclass OtherFormat if another version of lingotune wrote it."""
    content = unsealed(parse_json((folder / MANIFEST).read_bytes()))
    if content.get("format") != FORMAT:
        raise OtherFormat(f"{folder}: the manifest is in another format")
    return from_json(Manifest, content)


def fault(folder: Path) -> str | None:
    """Describe why a checkpoint is not complete; None if it is. OtherFormat for another version's."""
    try:
        manifest = read(folder)
    except FileNotFoundError:
        return UNFINISHED_SAVE
    except OtherFormat:
        raise
    except (ValueError, OSError):
        return f"has a damaged {MANIFEST}"
    if manifest.step != step_of(folder.name):
        return f"is a copy, or was renamed: its manifest says {name_of(manifest.step)}"
    return next(_faults(folder, manifest), None)


def _faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    there = set(_files(folder))
    for name in sorted(there - {*manifest.files, MANIFEST}):
        yield f"holds {name}, which does not belong to it"
    for name, (size, sha) in manifest.files.items():
        path = folder / name
        try:
            if name not in there:
                yield f"lacks {name}"
            elif path.stat().st_size != size or sha256_of(path) != sha:
                yield f"has a damaged {name}"
        except OSError as error:
            yield f"has an unreadable {name} ({error.strerror})"


def _files(folder: Path) -> list[str]:
    """List the files in a checkpoint and below, sorted; hidden ones, which no library reads, are left
    out: file managers and network disks leave such ones."""
    found = []
    for place, _, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


# --- deleting -----------------------------------------------------------------------------------

_DELETED = ".deleted-"


def rotate(root: Path, keep: int, run: str) -> None:
    """Delete all but the newest `keep` checkpoints of a run; call it after a commit only.

    A folder that is no committed checkpoint of this run is left alone.
    """
    ours = [path for path in checkpoints_in(root).values() if _is_of(path, run)]
    for path in ours[: -max(2, keep)]:
        # Renamed first: a half-deleted one must not be taken for a checkpoint.
        path.rename(root / f"{_DELETED}{path.name}")
    for gone in root.glob(f"{_DELETED}checkpoint-*"):  # also by an attempt that was killed here
        (gone / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)


def _is_of(folder: Path, run: str) -> bool:
    try:
        manifest = read(folder)
    except (OSError, ValueError):
        return False
    return manifest.run == run and manifest.step == step_of(folder.name)


def to_disk(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
