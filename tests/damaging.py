"""Damage to a run's newest checkpoint, of all kinds, and what lingotune and the stock loaders make of it.

python tests/damaging.py RUN_DIR COUNT SEED   prints {"seen": ..., "harmless": ..., ...} as JSON

The run needs two checkpoints; it is copied. Each piece of damage is undone before the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lingotune.training.checkpoints import checkpoints_in, read
from lingotune.training.identity import Identity
from lingotune.training.resume import survey


def flip(path: Path, choose: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
    path.write_bytes(content)


def cut(path: Path, choose: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: choose.randrange(path.stat().st_size)])


def zeros(path: Path, choose: random.Random) -> None:
    content = path.read_bytes()
    start = choose.randrange(len(content))
    path.write_bytes(content[:start] + b"\0" * (len(content) - start))


def longer(path: Path, choose: random.Random) -> None:
    path.write_bytes(path.read_bytes() + choose.randbytes(1 + choose.randrange(9)))


def gone(path: Path, choose: random.Random) -> None:
    path.unlink()


def extra(path: Path, choose: random.Random) -> None:
    path.with_name(choose.choice(["pytorch_model.bin", "scaler.pt", "x.json"])).write_bytes(b"x")


def from_before(path: Path, choose: random.Random) -> None:
    """Take the file of the checkpoint before: a torn mix of two."""
    inside = path.relative_to(newest := folder_of(path))
    older = newest.parent / next(iter(checkpoints_in(newest.parent).values())).name / inside
    path.write_bytes(older.read_bytes() if older.is_file() else b"")


KINDS: list[Callable[[Path, random.Random], None]] = [
    flip, flip, flip, cut, zeros, longer, gone, extra, from_before,
]  # fmt: skip


def folder_of(path: Path) -> Path:
    return next(p for p in path.parents if p.parent.name == "checkpoints")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def restore(folder: Path, before: dict[str, bytes]) -> None:
    for name in contents(folder).keys() - before.keys():
        (folder / name).unlink()
    for name, content in before.items():
        (folder / name).write_bytes(content)


def stock(folder: Path) -> str | None:
    """Digest of what the stock loaders read of a checkpoint; None where one of them raises."""
    import torch
    from safetensors.torch import load_file

    digest = hashlib.sha256()
    with contextlib.suppress(Exception):
        for name, tensor in sorted(load_file(folder / "model.safetensors").items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        for name in ("optimizer.pt", "scheduler.pt"):  # the Trainer goes on without them
            if (folder / name).is_file():
                found = torch.load(folder / name, weights_only=True)
                digest.update(repr(_plain(found)).encode())
        digest.update(repr(json.loads((folder / "trainer_state.json").read_text())).encode())
        return digest.hexdigest()
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def damage(run: Path, count: int, seed: int) -> dict[str, int]:
    """Damage the newest checkpoint so many times; returns how often what came of it."""
    choose, found = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "checkpoints")
        shutil.copytree(run / "checkpoints", root)
        before_last, newest = list(checkpoints_in(root).values())[-2:]
        manifest = read(newest)
        identity = Identity(manifest.settings, manifest.circumstances, manifest.world)
        before, right = contents(newest), stock(newest)
        files = sorted(before)
        for _ in range(count):
            choose.choice(KINDS)(newest / choose.choice(files), choose)
            same = contents(newest) == before
            whole = survey(root, identity).whole
            good = [path.name for path in (before_last, newest) if path.name in _names(whole)]
            expected = [before_last.name] + [newest.name] * same
            found["harmless" if same else "seen"] += good == expected
            found["wrong"] += good != expected
            read_as = stock(newest)
            found["stock: other values, silently"] += read_as not in (None, right)
            found["stock: raised"] += read_as is None
            restore(newest, before)
    return dict(found)


def _names(whole: dict[int, Any]) -> set[str]:
    return {one.folder.name for one in whole.values()}


if __name__ == "__main__":
    print(json.dumps(damage(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
