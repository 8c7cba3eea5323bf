"""The input channel of a worker: how local files are laid out in it, and found again there.

Both sides read the same rows in the same order.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lingotune.data.parts import (
    ALL,
    SPLITS,
    Part,
    check_settings,
    expanded,
    given_patterns,
    local_parts,
)
from lingotune.schema import ConfigError, DataConfig, Problem


def channel_layout(data: DataConfig) -> dict[str, list[Path]]:
    """Folder of the input channel -> local files that belong into it, for source=files.

    Folders are `train`, `validation` and `test`, or `all` where one source is carved, then the
    language where the pattern has `{language}`, then a number where the files come from several
    folders: `train/de/00001`.
    """
    check_settings(data)
    layout: dict[str, list[Path]] = {}
    for part in local_parts(data):
        folders = list(dict.fromkeys(file.parent for file in part.files))
        base = "/".join(filter(None, [part.split, part.language]))
        for file in part.files:
            number = f"/{folders.index(file.parent):05d}" if len(folders) > 1 else ""
            layout.setdefault(base + number, []).append(file)
    return layout


def data_digest(data: DataConfig) -> str:
    """SHA-256 over folders, names and bytes of what `channel_layout` lists; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder, files in channel_layout(data).items():
        for file in files:
            # The length keeps the end of one file apart from the start of the next.
            digest.update(f"{folder}/{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


def channel_parts(data: DataConfig, channel: Path) -> list[Part]:
    """What `channel_layout` described, found again in the folder of the channel."""
    parts = []
    for split in (ALL, *SPLITS):
        pattern = data.path if data.path is not None else getattr(data, split, None)
        if not (channel / split).is_dir():
            continue
        for language, _ in expanded(data, pattern or ""):
            found = (channel / split / (language or "")).rglob("*")
            files = sorted((f for f in found if f.is_file()), key=lambda f: (str(f.parent), f.name))
            parts.append(Part(split, language, tuple(files)))
    there = {part.split for part in parts if part.files}
    lacking = sorted({*given_patterns(data)} - there) or ([] if there & {ALL, "train"} else [ALL])
    if lacking:
        what = f"the input channel lacks {', '.join(lacking)}/"
        raise ConfigError([Problem(str(channel), what, "python launch.py ... action=submit")])
    return parts
