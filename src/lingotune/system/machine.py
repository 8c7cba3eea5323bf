"""What this machine's CPU is and can."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def cpu_machine() -> str:
    """This machine, as far as it matters to a run on its CPU: `cpu x86_64, 2 cores`."""
    return f"cpu {platform.machine()}, {os.cpu_count()} cores"


def cpu_has_bf16() -> bool:
    """Tell whether this machine's CPU has instructions for bf16; elsewhere it would be emulated."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return (
        re.search(r"\b(avx512_bf16|amx_bf16)\b|^Features.*\bbf16\b", known, re.MULTILINE)
        is not None
    )
