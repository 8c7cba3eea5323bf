"""How the commands are called on this machine, for texts that tell what to type next."""

from __future__ import annotations

import shlex
import sys
from importlib import resources
from pathlib import Path

_SCRIPTS = ("train", "launch")
"""Commands that a checkout also has as scripts of their own, at its top."""


def in_checkout() -> bool:
    """Tell whether lingotune runs from a checkout, with train.py and launch.py at its top."""
    return not Path(str(resources.files("lingotune")), "conf").is_dir()


def program(command: str) -> str:
    """Tell how a command is called, the way this process was started: 'python train.py', 'lingotune train'.

    From elsewhere (a notebook, a test) a checkout's own scripts are named, where there are some. A text
    that other machines will show, a failure message or a page, names the console script instead.
    """
    started = Path(sys.argv[0])
    if started.name == "lingotune":
        return f"lingotune {command}"
    as_module = started.name == "__main__.py" and started.parent.name == "lingotune"
    if command in _SCRIPTS and in_checkout() and not as_module:
        own = started.stem in _SCRIPTS and started.suffix == ".py"
        script = started.with_name(f"{command}.py") if own else f"{command}.py"
        return f"python {shlex.quote(str(script))}"
    return f"python -m lingotune {command}"
