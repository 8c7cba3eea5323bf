"""Sweeps of other applications (`hydra/launcher=sagemaker`), with which no command of lingotune goes on."""

from __future__ import annotations

from lingotune.config.problems import Problem
from lingotune.launch.sweeps.trial import State

METRIC = "returned"
"""Score that is shown of their jobs: what the main function returned."""


def again_command(command: str, state: State) -> str:
    """Write the command that starts jobs in a state again. command: of the ledger; '' if it is not here."""
    retry = "stopped" if state is State.stopped else "failed"
    return f"{command or 'the command that started them, with'} hydra.launcher.retry={retry}"


def not_resumed(what: str, command: str, state: State) -> Problem:
    """Make the problem of an application's job or sweep that is to be resumed."""
    told = "is of hydra/launcher=sagemaker: the application's own command goes on with it"
    return Problem(what, told, again_command(command, state), check="job-of-an-application")
