"""Damage of all kinds to all that a run reads and leaves, and what lingotune and stock loaders make of it.

python tests/damaging.py RUN_DIR COUNT SEED   prints what was seen, harmless and wrong as JSON

The run is finished, has two checkpoints and knows its prepared data; all is copied. Each piece of damage is
undone before the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lingotune.config.jobfile import load_job
from lingotune.config.problems import CheckpointError, ConfigError
from lingotune.config.schema import SPLITS, JobConfig, ModelConfig
from lingotune.config.typed_json import SEAL, sealed
from lingotune.data.loader.store import Store
from lingotune.data.loader.tokenizer import tokenizer_of
from lingotune.runs.folder import Folders, finished, folders_in, read_data_folder
from lingotune.runs.inventory import INVENTORY, place_of, read_inventory
from lingotune.training.checkpoints import MANIFEST, checkpoints_in, read
from lingotune.training.finishing import complete
from lingotune.training.identity import Identity
from lingotune.training.resume import survey
from lingotune.training.run import _load_job as load_or_recover


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


def deep(path: Path, choose: random.Random) -> None:
    """Nest a list more deeply than any parser goes."""
    path.write_bytes(b"[" * 200_000)


KINDS: list[Callable[[Path, random.Random], None]] = [
    flip, flip, flip, flip, cut, zeros, longer, gone, deep,
]  # fmt: skip
OF_CHECKPOINTS = [*KINDS, extra, from_before]


def reshaped(path: Path, choose: random.Random, *, seal: bool = False) -> None:
    """Change a place in a JSON file: another type, key, number or depth; sealed anew with `seal`."""
    content = json.loads(path.read_bytes())
    inside: Any = content
    while isinstance(inside, (dict, list)) and inside and choose.random() < 0.8:
        keys = [*inside] if isinstance(inside, dict) else [*range(len(inside))]
        key, holder = choose.choice(keys), inside
        inside = holder[key]
    else:
        change = choose.randrange(4)
        if inside is content or change == 0:
            content[choose.choice(["x", "", "step", "sha256", "files"])] = choose.choice(ODD)
        elif change == 1:
            del holder[key]
        else:
            holder[key] = choose.choice(ODD)
    if seal:
        content = sealed({key: value for key, value in content.items() if key != SEAL})
    path.write_text(json.dumps(content))


ODD: list[Any] = [
    None, True, 0, -1, 1e308, 10**30, "", "x", "../x", "\0", [], {}, [[]], {"x": {}}, [None],
    "checkpoint-1", json.loads("[" * 500 + "]" * 500),
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


# --- what is damaged ------------------------------------------------------------------------------


def damage_checkpoints(run: Path, count: int, choose: random.Random) -> Counter[str]:
    """Damage the newest checkpoint so many times: the one before is used; stock loaders as a control."""
    found, root = Counter[str](), run / "checkpoints"
    before_last, newest = list(checkpoints_in(root).values())[-2:]
    identity = _identity(newest)
    before, right = contents(newest), stock(newest)
    files = sorted(before)
    for _ in range(count):
        choose.choice(OF_CHECKPOINTS)(newest / choose.choice(files), choose)
        same = contents(newest) == before
        whole = {one.folder for one in survey(root, identity).whole.values()}
        good = [path for path in (before_last, newest) if path in whole]
        found["harmless" if same else "seen"] += good == [before_last] + [newest] * same
        found["wrong"] += good != [before_last] + [newest] * same
        read_as = stock(newest)
        found["stock: other values, silently"] += read_as not in (None, right)
        found["stock: raised"] += read_as is None
        restore(newest, before)
    return found


def damage_manifests(run: Path, count: int, choose: random.Random) -> Counter[str]:
    """Give the newest manifest other shapes, half of them sealed anew: the one before stays whole."""
    found, root = Counter[str](), run / "checkpoints"
    before_last, newest = list(checkpoints_in(root).values())[-2:]
    identity, before = _identity(newest), contents(newest)
    for number in range(count):
        reshaped(newest / MANIFEST, choose, seal=bool(number % 2))
        same = json.loads((newest / MANIFEST).read_bytes()) == json.loads(before[MANIFEST])
        try:
            whole = {one.folder for one in survey(root, identity).whole.values()}
            found["harmless" if newest in whole else "seen"] += before_last in whole
            # What nobody sealed must be seen.
            found["wrong"] += before_last not in whole or (
                newest in whole and not (number % 2 or same)
            )
        except CheckpointError:  # sealed settings of another run
            found["seen" if number % 2 else "wrong"] += 1
        restore(newest, before)
    return found


def damage_job_files(run: Path, count: int, choose: random.Random) -> Counter[str]:
    """Damage the run's job file: the same job comes from a copy, or is refused."""
    found, path = Counter[str](), run / "job.yaml"
    right, before = load_job(path), path.read_bytes()
    for _ in range(count):
        choose.choice(KINDS)(path, choose)
        with contextlib.redirect_stdout(None):
            try:
                found["seen" if load_or_recover(path) == right else "wrong"] += 1
            except ConfigError:
                found["seen"] += 1
        path.write_bytes(before)
    return found


def damage_finished(run: Path, count: int, choose: random.Random) -> Counter[str]:
    """Damage any file of a finished run: made again, told, or gone on with; never taken as it is."""
    found, folders = Counter[str](), folders_in(run)
    job, digest = load_job(run / "job.yaml")
    results = finished(folders, digest)
    assert results is not None
    with contextlib.redirect_stdout(None):
        (run / "report.html").unlink()  # it names the folder that the run was copied from
        complete(job, folders, results)
        inventory = read_inventory(folders, digest)
        assert inventory is not None
        before = _without_checkpoints(run)
        listed = [place_of(folders, name) for name in inventory.files] + [run / INVENTORY]
        for number in range(count):
            path = choose.choice(listed)
            if number % 4 or path.suffix != ".json":
                choose.choice(KINDS)(path, choose)
            else:
                reshaped(path, choose)
            found[_seen(job, digest, folders, before)] += 1
            restore(run, before)
    return found


def _seen(job: JobConfig, digest: str, folders: Folders, before: dict[str, bytes]) -> str:
    """What comes of a finished run that is opened: `seen`, `harmless`, or `wrong`."""
    same = _without_checkpoints(folders.run) == before
    try:
        results = finished(folders, digest)
        if results is None:
            return "seen"  # it goes on from its last checkpoint
        complete(job, folders, results)
    except ConfigError:
        return "seen"
    if same:
        return "harmless"
    return "seen" if _without_checkpoints(folders.run) == before else "wrong"


def _without_checkpoints(run: Path) -> dict[str, bytes]:
    return {k: v for k, v in contents(run).items() if not k.startswith("checkpoints/")}


def damage_data(data: Path, count: int, choose: random.Random) -> Counter[str]:
    """Damage prepared data: refused, or read as it was."""
    found, before = Counter[str](), contents(data)
    right, files = read_data(data), [name for name, content in before.items() if content]
    for number in range(count):
        path = data / choose.choice(files)
        if number % 4 or path.suffix != ".json":
            choose.choice(KINDS)(path, choose)
        else:
            reshaped(path, choose)
        same = contents(data) == before
        try:
            there = read_data(data)
            found["harmless" if same else "made again"] += there == right
            found["wrong"] += there != right
        except ConfigError:
            found["seen"] += 1
        restore(data, before)
    return found


def read_data(folder: Path) -> Any:
    """All that a training takes from prepared data."""
    store, found = Store(folder), []
    for name in SPLITS:
        split = store.split(name)
        ids, stars = store.ids_and_stars(name, split)
        found += [split.digest(), split.padding_id, ids, stars.tolist(), store.digest(name)]
    tokenizer = tokenizer_of(ModelConfig(name="tiny", name_or_path=None), store)
    return [*found, store.manifest.labels, tokenizer.backend_tokenizer.to_str(), len(tokenizer)]


def _identity(checkpoint: Path) -> Identity:
    manifest = read(checkpoint)
    return Identity(manifest.settings, manifest.circumstances, manifest.world)


OF_A_RUN: dict[str, Callable[[Path, int, random.Random], Counter[str]]] = {
    "checkpoints": damage_checkpoints,
    "manifests": damage_manifests,
    "job files": damage_job_files,
    "finished runs": damage_finished,
}


def damage(run: Path, count: int, seed: int) -> dict[str, dict[str, int]]:
    """Damage each part of a run, and its prepared data, so many times."""
    choose = random.Random(seed)
    data = read_data_folder(run)
    assert data is not None
    with tempfile.TemporaryDirectory() as place:
        os.environ["LINGOTUNE_CACHE"] = f"{place}/cache"
        shutil.copytree(run, f"{place}/run")
        shutil.copytree(data, f"{place}/data")
        found = {name: part(Path(place, "run"), count, choose) for name, part in OF_A_RUN.items()}
        found["prepared data"] = damage_data(Path(place, "data"), count, choose)
    return {name: dict(counts) for name, counts in found.items()}


if __name__ == "__main__":
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # pictures take a second each
    print(json.dumps(damage(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), indent=1))
