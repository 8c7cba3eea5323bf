"""The inventory of a finished run: its files with their digests, written when all of them are there."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.typed_json import from_json, parse_json, sealed, to_json, unsealed
from lingotune.runs.folder import CODE, METRICS, Folders
from lingotune.system.files import replace_file
from lingotune.system.hashing import sha256_of

INVENTORY = "finished.json"
"""File in a run folder, written last of all."""
_IN_MODEL = "model/"
"""How the names of the model's files begin, wherever its folder is."""
_REWRITTEN = "README.md"
"""File of the model that publishing writes anew."""
MISSING = "is missing"
"""What is wrong with a file that is not there."""


@dataclass(frozen=True)
class Inventory:
    """Contents of finished.json. files: name -> size in bytes and SHA-256."""

    job_sha256: str
    files: dict[str, tuple[int, str]]


def write_inventory(folders: Folders, digest: str, names: tuple[str, ...]) -> None:
    """Flush a finished run's files to disk, and list them. names: those that a run folder may hold."""
    files = {}
    for name in sorted({*_model_files(folders), *names, METRICS}):
        path = place_of(folders, name)
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            files[name] = (path.stat().st_size, sha256_of(path))
    text = json.dumps(sealed(to_json(Inventory(digest, files))), indent=1)
    replace_file(folders.run / INVENTORY, text + "\n")


def read_inventory(folders: Folders, digest: str) -> Inventory | None:
    """Read the inventory of a job's run; None if there is none, or it is not as it was written."""
    try:
        text = (folders.run / INVENTORY).read_text(encoding="utf-8")
        found = from_json(Inventory, unsealed(parse_json(text)))
    except (OSError, ValueError):
        return None
    return found if found.job_sha256 == digest else None


def changed_files(
    folders: Folders, inventory: Inventory, by_size: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield name and fault of every file that is not as the inventory has it.

    by_size: suffixes of large files, of which only the size is compared.
    """
    for name, (size, sha) in inventory.files.items():
        path = place_of(folders, name)
        if not path.is_file():
            yield name, MISSING
        elif path.stat().st_size != size or (path.suffix not in by_size and sha256_of(path) != sha):
            yield name, "is damaged"


def place_of(folders: Folders, name: str) -> Path:
    """Return the path of a file by its name in the inventory."""
    if name.startswith(_IN_MODEL):
        return folders.model / name[len(_IN_MODEL) :]
    return folders.run / name


def _model_files(folders: Folders) -> Iterator[str]:
    for path in folders.model.rglob("*"):
        name = path.relative_to(folders.model).as_posix()
        left_out = name == _REWRITTEN or name.startswith((".", f"{CODE}/"))
        if path.is_file() and not left_out:
            yield f"{_IN_MODEL}{name}"
