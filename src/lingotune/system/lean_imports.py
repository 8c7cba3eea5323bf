"""Imports of torch and transformers in less time, for commands that run nothing but our own code.

transformers and accelerate import further packages wherever these are installed, used or not, and Python
looks for garbage among a million objects that all stay, and again as the process ends: together half of the
time to the first step. Within `lean` such packages seem not to be installed, which transformers remembers
for the rest of the process, and nothing is collected. So only a process that ends with its command allows
it, and not where code runs that may count on those packages.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lingotune.config.schema import CodeConfig, JobConfig

TRANSFORMERS = "transformers"
PACKAGES = ("boto3", "datasets", "peft", "scipy", "sklearn")
"""What transformers and accelerate import, and a plain job never asks them for."""

_left_out: tuple[str, ...] | None = None
"""Packages that this process leaves out; None = nobody has allowed it to import lean."""


def allow_lean(job: JobConfig | None, model: str | None) -> None:
    """Let this process import lean, and end without collecting garbage, if it runs our code alone.

    job: None = that of a saved model that came without one. model: what is loaded, a folder or a name; None
    = made from scratch. Nothing changes where transformers is imported already: it knows what is there.
    """
    global _left_out
    if _left_out is None and TRANSFORMERS not in sys.modules and not _runs_other_code(job):
        _left_out = tuple(unused_by(job, model))
        atexit.register(gc.freeze)  # what is frozen is left to the system


def _runs_other_code(job: JobConfig | None) -> bool:
    """Tell whether a job runs code that is not ours: the user's, a model's, a teacher's, a tracker's."""
    return job is not None and bool(
        job.code != CodeConfig()
        or job.model.remote_code
        or job.distillation.teacher
        or job.training.report_to
    )


def unused_by(job: JobConfig | None, model: str | None) -> Sequence[str]:
    """List the packages that a job leaves out: peft only where neither LoRA nor the model may need it."""
    with_peft = (job and job.training.lora.rank is not None) or _may_be_adapter(model)
    return [name for name in PACKAGES if name != "peft" or not with_peft]


def _may_be_adapter(model: str | None) -> bool:
    """Tell whether a model may be an adapter, which transformers loads by peft: one of the hub may."""
    return model is not None and (
        not Path(model).is_dir() or Path(model, "adapter_config.json").exists()
    )


@contextmanager
def lean() -> Iterator[None]:
    """Import without the packages that are left out, and without collecting garbage, if that is allowed.

    The packages can be imported again after the block; what was made in it is never collected.
    """
    if _left_out is None:
        yield
        return
    hidden = [name for name in _left_out if name not in sys.modules]
    with _uncollected():
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment]
        try:
            yield
            _settle(hidden)
        finally:
            for name in hidden:
                del sys.modules[name]


def _settle(hidden: Sequence[str]) -> None:
    """Have transformers 5 find now that the packages are missing, as older versions do when imported: later
    it would find them, and import what it has done without so far."""
    known = sys.modules.get(f"{TRANSFORMERS}.utils.import_utils")
    for name in hidden:
        if ask := getattr(known, f"is_{name}_available", None):
            ask()


@contextmanager
def _uncollected() -> Iterator[None]:
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
