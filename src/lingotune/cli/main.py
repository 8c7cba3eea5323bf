"""The command `lingotune`, also `python -m lingotune`: runs the command that was typed.

Each command is a module of this package with `main(argv)`; only the module of the typed one is imported.
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Sequence
from types import ModuleType

import lingotune
from lingotune.config.console import exit_code_of
from lingotune.config.problems import (
    USER_ERROR,
    ConfigError,
    Problem,
    listed,
    nearest,
    nearest_option,
)
from lingotune.config.program import program

PURPOSE = (
    "Fine-tune multilingual text classifiers from one Hydra config, on this machine or on Amazon"
    " SageMaker."
)
GROUPS = {
    "train": {
        "train": "train on this machine",
        "launch": "plan, check, rehearse or submit training jobs on Amazon SageMaker",
    },
    "data": {
        "prepare": "read, check, split and tokenise a source, and show what is in it",
    },
    "a finished run": {
        "predict": "label texts with its model",
        "evaluate": "score its model, on its own test split or on other data",
        "distill": "train a smaller model on its probabilities",
        "report": "make its page, report.html, anew",
        "publish": "push its model to the Hugging Face Hub",
    },
    "its model at work": {
        "serve": "answer requests on this machine, with a page to try it",
        "export": "write it as ONNX, smaller and faster, and compare the scores",
        "deploy": "serve it on SageMaker, as an endpoint or for a batch",
        "package": "pack it as model.tar.gz, which serves itself on SageMaker",
        "rehearse-serving": "serve it here as SageMaker's container would, and ask it",
    },
    "jobs and sweeps": {
        "status": "show what runs or ran: state, scores, time left, money",
        "logs": "print the log of a job, as it is or as it comes",
        "wait": "wait until jobs have ended; the exit code tells how",
        "stop": "stop jobs; tells what they have cost, and what stays",
        "resume": "start a job again from its checkpoint, or go on with a sweep",
        "fetch": "bring the results of jobs that have ended into run folders",
        "results": "compare its runs, or those of a folder",
        "clean": "list what jobs have left in S3, and delete what you say",
    },
    "money": {
        "offers": "offer machines for a job: money, time, whether it fits",
        "prices": "ask AWS for prices: a file for budget.prices",
        "cost": "tell what a job on SageMaker took and cost",
    },
    "machines": {
        "loopback": "be a SageMaker account on this machine, until Ctrl-C",
    },
    "settings": {
        "models": "list the models: parameters, languages, memory of a batch, licence",
        "validate": "compose and check every group file, your own included",
        "completion": "write a completion script for bash, zsh or fish",
    },
}
"""Heading -> command -> description."""
COMMANDS = [name for commands in GROUPS.values() for name in commands]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that was typed; returns its exit code. ConfigError for an unknown one."""
    typed = list(sys.argv[1:] if argv is None else argv)
    if not typed:
        print(overview(), file=sys.stderr)
        return USER_ERROR
    if typed[0] in ("-h", "--help"):
        return _help(typed[1:])
    if typed[0] == "--version":
        print(f"lingotune {lingotune.__version__}")
        return 0
    if typed[0] not in COMMANDS:
        raise ConfigError([_unknown(typed[0])], f"{_called()} --help")
    code: int = module_of(typed[0]).main(typed[1:])
    return code


def _unknown(word: str) -> Problem:
    """Describe a first word that is no command, such as another tool's `help`."""
    options = ["--help", "--version"]
    near = nearest_option(word, options)
    if word.startswith("-"):
        return Problem(word, "unknown option", near or " | ".join([*options, "a command"]))
    what = f"is no command{nearest(word, COMMANDS)}"
    return Problem(word, what, near or listed(word, COMMANDS))


def module_of(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"lingotune.cli.{command.replace('-', '_')}")


def entry() -> int:
    """Run the console script; known errors become exit codes."""
    return exit_code_of(main)


def _help(topics: Sequence[str]) -> int:
    """Print the overview, or the help of one command, section, group or setting."""
    if not topics:
        print(overview())
        return 0
    command, *further = topics if topics[0] in COMMANDS else ["launch", *topics]
    return main([command, "--help", *further])


def _called() -> str:
    return program("").rstrip()


def overview() -> str:
    """Write the commands in groups, a line each."""
    lines = textwrap.wrap(PURPOSE, 80)
    lines += ["", f"usage: {_called()} COMMAND ..."]
    for heading, commands in GROUPS.items():
        lines += ["", f"{heading}:", *(f"  {name:10}  {told}" for name, told in commands.items())]
    lines += [
        "",
        "options:",
        "  --version   the version",
        "  -h, --help  this page; with a name, that of a command, section or setting",
    ]
    return "\n".join([*lines, "", f"{_called()} COMMAND --help tells more of one."])
