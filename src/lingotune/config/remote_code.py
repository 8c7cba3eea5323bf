"""Permission to run the code that a model of the hub brings along: typed for one run, at one commit.

A job file says which commit's code its model needs; that alone permits nothing, as job files are passed on.
The permission travels in the environment of the processes that the typed command starts.
"""

from __future__ import annotations

import os
import re

from lingotune.config.problems import Problem
from lingotune.config.schema import ModelConfig

VARIABLE = "LINGOTUNE_REMOTE_CODE"
"""Environment variable with the commits whose code may run, separated by commas."""
_COMMIT = re.compile("[0-9a-f]{40}")


def is_commit(revision: str) -> bool:
    """Tell whether a revision is a commit, which stands for the same files for ever."""
    return _COMMIT.fullmatch(revision) is not None


def permit(revision: str) -> None:
    """Permit the code of a commit in this process, and in those that it starts."""
    known = os.environ.get(VARIABLE, "").split(",")
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*filter(None, known), revision]))


def is_permitted(model: ModelConfig) -> bool:
    """Tell whether the code that a model names may run in this process."""
    revision = model.remote_code
    return bool(revision) and revision in os.environ.get(VARIABLE, "").split(",")


def not_typed(model: ModelConfig) -> Problem:
    """Say that a file asks for code to be run, which only a command line can."""
    where = f"model.remote_code={model.remote_code}"
    what = "stands in a file; code of a model runs where it is typed for this very run, and nowhere else"
    before = f"{VARIABLE}={model.remote_code} before it"
    fix = f"{where} behind the command, or, for a command without settings, {before}"
    return Problem(where, what, fix, check="remote-code-typed")


def typed_again(model: ModelConfig) -> str:
    """Write what a command that begins with a job file needs to run the code that the file names: '' or an
    override with a blank before it."""
    return f" model.remote_code={model.remote_code}" if model.remote_code else ""
