"""The C library's allocator, told to keep what is freed."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Parameters of mallopt, from malloc.h."""


def keep_freed_memory() -> bool:
    """Keep the memory of freed tensors for the next ones, instead of giving it back; False if that cannot
    be set here.

    By default glibc maps each large tensor anew and unmaps it when it is freed, so that each training step
    pays for the kernel's zeroing of the same pages: 4 to 12 % of a step's processor time with DistilBERT
    multilingual (EXPERIMENTS.md, "Where the time of a step goes" and "On a CPU with bf16").
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
