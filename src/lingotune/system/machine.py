"""This machine's CPU: its name and its abilities."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def cpu_machine() -> str:
    """Describe this machine's CPU, as far as it affects a run's speed: `cpu x86_64, 2 cores`."""
    return f"cpu {platform.machine()}, {os.cpu_count()} cores"


def cpu_has_bf16() -> bool:
    """Tell whether this machine's CPU has instructions for bf16; without them it would be emulated."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return (
        re.search(r"\b(avx512_bf16|amx_bf16)\b|^Features.*\bbf16\b", known, re.MULTILINE)
        is not None
    )
