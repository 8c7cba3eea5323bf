"""Choosing the Python of an environment: the training image's, if this machine has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lingotune.catalog.hardware import WORKER_PYTHON, version
from lingotune.config.problems import ConfigError, Problem

_VERSION = "import sys; print('.'.join(map(str, sys.version_info[:3])))"


@dataclass(frozen=True)
class Interpreter:
    """A Python to make environments with, and its full version, e.g. 3.10.13."""

    path: Path
    version: str


def choose_interpreter(
    wanted: tuple[int, int], newest: tuple[int, int], environment: Mapping[str, str]
) -> Interpreter:
    """Choose the wanted Python, else this one, else another up to the `newest` that the libraries allow.

    ConfigError if the machine has none of them.
    """
    allowed = [(3, minor) for minor in range(newest[1], WORKER_PYTHON[1] - 1, -1)]
    for candidate in (wanted, sys.version_info[:2], *allowed):
        found = find_interpreter(candidate, environment) if candidate in allowed else None
        if found:
            return found
    what = f"its libraries need Python {dotted(allowed[-1])} to {dotted(newest)}; none is here"
    fix = f"python{dotted(wanted)} on PATH, e.g. by pyenv install {dotted(wanted)}"
    raise ConfigError([Problem("rehearsal.lane=image", what, fix)])


def find_interpreter(wanted: tuple[int, int], environment: Mapping[str, str]) -> Interpreter | None:
    """Find a working Python of a version: this one, one of pyenv's, or python3.X on PATH."""
    for path in _interpreters(wanted, environment):
        if os.access(path, os.X_OK):
            # A shim of pyenv fails if its Python is not activated.
            done = subprocess.run([path, "-c", _VERSION], capture_output=True, text=True)
            found = done.stdout.strip()
            if done.returncode == 0 and version(found)[:2] == wanted:
                return Interpreter(path, found)
    return None


def _interpreters(wanted: tuple[int, int], environment: Mapping[str, str]) -> Iterator[Path]:
    if sys.version_info[:2] == wanted:
        yield Path(sys.executable)
    home = environment.get("PYENV_ROOT") or Path(environment.get("HOME", "~"), ".pyenv")
    versions = Path(home).expanduser().glob(f"versions/{dotted(wanted)}.*/bin/python")
    yield from sorted(versions, key=lambda p: (len(p.parts[-3]), p.parts[-3]), reverse=True)
    for folder in environment.get("PATH", "").split(os.pathsep):
        yield Path(folder, f"python{dotted(wanted)}")


def dotted(numbers: Sequence[int]) -> str:
    """Format (3, 10) as `3.10`."""
    return ".".join(map(str, numbers))
