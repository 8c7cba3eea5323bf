"""LoRA in a run: what it needs installed, and what is left of its adapters at the end."""

from __future__ import annotations

from importlib.util import find_spec

from lingotune.config.problems import Problem
from lingotune.config.schema import LoraConfig

REQUIREMENT = "peft==0.18.1"
"""What a worker installs for LoRA: the version of the newest image."""
FOLDER = "adapter"
"""Folder of a run with the adapters and the head alone, as peft saves them."""
FILES = (f"{FOLDER}/adapter_config.json", f"{FOLDER}/adapter_model.safetensors")
"""Files in it."""


def missing_peft(lora: LoraConfig) -> list[Problem]:
    """Find that peft is asked for and not installed."""
    if lora.rank is None or find_spec("peft"):
        return []
    fix = f"pip install '{REQUIREMENT}', or training.lora.rank=null"
    return [Problem(f"training.lora.rank={lora.rank}", "peft is not installed", fix)]
