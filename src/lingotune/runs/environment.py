"""What a run was made with: Python, the libraries that decide its numbers, and the machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lingotune import __version__
from lingotune.system.machine import cpu_machine

LIBRARIES = (
    "torch", "transformers", "accelerate", "tokenizers", "datasets", "numpy", "pyarrow",
    "huggingface_hub",
)  # fmt: skip


def environment_of() -> dict[str, Any]:
    """`{"python", "system", "libraries": {name: version}, "device", "cuda"}`; None where there is none.

    No name of a host, a user or a folder: it is published with the model.
    """
    import torch

    gpu = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": {
            "lingotune": __version__,
            **{name: found for name in LIBRARIES if (found := _version(name))},
        },
        "device": torch.cuda.get_device_name() if gpu else cpu_machine(),
        "cuda": torch.version.cuda if gpu else None,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
