"""Where group files lie: those that are shipped, and the user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_dir() -> Path:
    """Find the shipped `conf/`: inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("lingotune")))
    return package.parents[1] / "conf" if in_checkout() else package / "conf"


def in_checkout() -> bool:
    """Tell whether lingotune runs from a checkout, with train.py and launch.py at its top."""
    return not Path(str(resources.files("lingotune")), "conf").is_dir()
