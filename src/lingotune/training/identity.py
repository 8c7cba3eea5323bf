"""Which run a checkpoint is of, and the circumstances it was trained in.

What a run is follows from its settings, its data and its base model: a checkpoint of another run is
refused. What it runs on (processes, threads, libraries, devices) may change while it is interrupted: it
goes on in samples, as the global batch is the same, but its result is no longer the same to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune import __version__
from lingotune.config.machines import as_planned
from lingotune.config.run_settings import differences, settings_of
from lingotune.config.schema import JobConfig, ModelConfig
from lingotune.estimate.batch import BatchPlan, plan_batches
from lingotune.runs.environment import environment_of

WORLD = "world size"
"""Key of the number of processes among the circumstances."""
SPLIT = "batch per process"
"""Key of `examples x accumulation` among them."""
GLOBAL, _RATE = "global batch", "learning rate"
_NUMERIC = ("lingotune", "torch", "transformers", "accelerate", "numpy")
"""Libraries that decide about the digits of a result."""
_WHOLE = 1 << 20
"""Bytes of a file of the base model that are hashed at each end."""


@dataclass(frozen=True)
class Identity:
    """A run, and the circumstances of this attempt at it.

    settings: what makes it this run, by key. circumstances: what may change. world: number of processes.
    writer: version of lingotune.
    """

    settings: Mapping[str, str]
    circumstances: Mapping[str, str]
    world: int = 1
    writer: str = __version__

    @property
    def run(self) -> str:
        """SHA-256 of the settings, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(dict(self.settings), sort_keys=True).encode()).hexdigest()


def identify(job: JobConfig, batch: BatchPlan, data: str, base: str) -> Identity:
    """Identify a run here. data: digest of the tokens it trains on. base: digest of its base model."""
    settings = {**settings_of(job), "data": data, "base model": base, **_update(batch)}
    circumstances = {
        WORLD: str(batch.world_size),
        "nodes": str(job.cluster.nodes),
        SPLIT: f"{batch.per_device_batch} x {batch.accumulation}",
        **_machine(),
    }
    return Identity(settings, circumstances, batch.world_size)


def _update(batch: BatchPlan) -> dict[str, str]:
    return {GLOBAL: str(batch.global_batch), _RATE: f"{batch.learning_rate:.10g}"}


def changes_of(before: JobConfig, now: JobConfig) -> tuple[list[str], str]:
    """List what makes two jobs different runs, nothing if they differ in their machines only; and what
    makes them the same run, if it is known."""
    was, batch = plan_batches(as_planned(before)), plan_batches(as_planned(now))
    one, other = {**settings_of(before), **_update(was)}, {**settings_of(now), **_update(batch)}
    changes = differences(one, other)
    return changes, same_batch(changes, was.global_batch, batch.world_size, batch.per_device_batch)


def same_batch(changes: Sequence[str], wanted: int, world: int, per_device: int) -> str:
    """Find the settings that give a global batch on this many processes; '' if there are none, or if more
    than the batch and its learning rate have changed."""
    if not changes or not all(one.startswith((GLOBAL, _RATE)) for one in changes):
        return ""
    share, left = divmod(wanted, world * per_device)
    if share and not left:
        return f"scaling.accumulation={share}, for the global batch of {wanted}"
    if wanted % world == 0:
        return (
            f"per_device_bs={wanted // world} scaling.accumulation=1,"
            f" for the global batch of {wanted}"
        )
    return ""


def base_of(model: ModelConfig, config: Any) -> str:
    """Digest of the base model; '' for one from scratch, which the settings describe.

    A folder's files are told apart by their sizes and ends, as hashing gigabytes takes seconds. config:
    that of the loaded model, which knows the commit it has on the hub.
    """
    name = model.name_or_path
    if name is None:
        return ""
    if not Path(name).is_dir():
        return str(getattr(config, "_commit_hash", None) or "")
    digest = hashlib.sha256()
    for path in sorted(p for p in Path(name).iterdir() if p.is_file()):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(_ends(path))
    return digest.hexdigest()


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        begin = file.read(_WHOLE)
        file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - _WHOLE))
        return begin + file.read(_WHOLE)


def _machine() -> dict[str, str]:
    """Describe threads, device and libraries of this process, as far as they decide about digits."""
    import torch

    found = environment_of()
    libraries = {name: found.libraries.get(name, "none") for name in _NUMERIC}
    if found.cuda:
        return {"device": found.device, "cuda": found.cuda, **libraries}
    ability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    device = f"cpu {platform.machine()} {ability}".strip()
    return {"threads": str(torch.get_num_threads()), "device": device, **libraries}
