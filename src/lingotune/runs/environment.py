"""Environment of a run: Python, the libraries that affect its numbers, and the machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from lingotune import __version__
from lingotune.runs.results import Environment
from lingotune.system.machine import cpu_machine

LIBRARIES = (
    "torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy", "pyarrow",
    "huggingface_hub",
)  # fmt: skip


def environment_of() -> Environment:
    """Describe the interpreter, the libraries and the device of this process.

    Names no host, user or folder: the result is published with the model.
    """
    import torch

    gpu = torch.cuda.is_available()
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        libraries={
            "lingotune": __version__,
            **{name: found for name in LIBRARIES if (found := _version(name))},
        },
        device=torch.cuda.get_device_name() if gpu else cpu_machine(),
        cuda=torch.version.cuda if gpu else None,
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
