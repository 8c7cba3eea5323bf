"""`lingotune offers`: machines for a job, with money, time and whether it fits."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs

PURPOSE = (
    "Offer machines for a job: gpus=8, max_usd=50 (its worst case) and memory_gb=40 (of a GPU) choose,"
    " all other words are overrides of the job."
)
OPTIONS = {
    "--json": "one JSON object",
    "--quota": "ask AWS how many of each machine the account may use",
}
_CHOSEN = ("cluster", "cluster.instance_type", "cluster.nodes", "cluster.gpus_per_node",
           "cluster.fallback", "cluster.distribution")  # fmt: skip
_WISHES = ("gpus", "max_usd", "memory_gb")
_ANY = ("cluster=sagemaker", "cluster.instance_type=ml.g5.12xlarge")
"""Some machine, for the job to be composed with."""
_SUBMIT = ("aws.role=arn:aws:iam::111122223333:role/training", "aws.bucket=a-bucket",
           "aws.region=us-east-1", "action=submit")  # fmt: skip
"""Some account, for a job to be checked as it would be at its submit."""


def command() -> Command:
    """Describe the command, for its help."""
    return Command(program("offers"), PURPOSE, options=OPTIONS)


def main(argv: Sequence[str]) -> int:
    """Print the offers, the one to take marked."""
    typed = [word for word in argv if word not in OPTIONS]
    wishes = [word for word in typed if word.partition("=")[0] in _WISHES]
    words = [word for word in typed if word not in wishes]
    wanted, problems = _wanted(wishes)
    problems += _refused(words)
    if problems:
        raise ConfigError(problems)
    from lingotune.launch.offers import (
        Wanted,
        as_dict,
        fallback_for,
        lines_of,
        machines_for,
        offers_for,
        taken,
    )  # fmt: skip

    asked = Wanted(**wanted)
    found = machines_for(asked)
    some = () if {"-h", "--help"} & set(words) else _ANY
    composed = composed_jobs([*words, *some], command(), shipped_dir(), lambda config: [])
    if len(composed) > 1:
        what = "makes several jobs, and machines are offered for one"
        raise ConfigError([Problem(" ".join(words), what, "one value for each setting")])
    one = composed[0]
    folders = [shipped_dir(), *([one.config_dir] if one.config_dir else [])]
    quotas = None
    if "--quota" in argv:
        from lingotune.launch.aws.account.quotas import quotas_of

        types = [instance.instance_type for instance, _ in found]
        quotas = quotas_of(one.config.aws.region, types, spot=one.config.cluster.spot)
    offers = offers_for(one.config, asked, folders, date.today(), quotas)
    shown, best = list(map(for_shell, words)), taken(offers, asked)
    further = fallback_for(best, offers, asked, partial(_works, words)) if best else ()
    if "--json" in argv:
        print(json.dumps(as_dict(offers, asked, shown, further), indent=2))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    print("\n".join(lines_of(offers, asked, shown, further, asked=quotas is not None, width=width)))
    return 0


def _works(words: Sequence[str], further: Sequence[str]) -> bool:
    """Tell whether a job can be submitted with these overrides, as far as this machine can tell."""
    from lingotune.launch.checks.launch import check_launch

    typed = {word.partition("=")[0] for word in words}
    submit = [word for word in _SUBMIT if word.partition("=")[0] not in typed]
    try:
        composed_jobs(
            [*words, *further, *submit],
            command(),
            shipped_dir(),
            check_launch,
            lambda config: False,
        )
    except ConfigError:
        return False
    return True


def _wanted(wishes: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Read what machines are to have; returns it, and what is no number above 0."""
    found: dict[str, Any] = {}
    problems = []
    for word in wishes:
        name, _, text = word.partition("=")
        kind = int if name == "gpus" else float
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < math.inf:
            what = "is no " + (
                "whole number of GPUs from 1" if name == "gpus" else "number above 0"
            )
            examples = {"gpus": "gpus=8", "max_usd": "max_usd=50", "memory_gb": "memory_gb=40"}
            problems.append(Problem(word, what, examples[name], check="offers-number"))
        if name in found:
            problems.append(Problem(word, "is typed twice", f"{name}={found[name]}"))
        found[name] = value
    return found, problems


def _refused(words: Sequence[str]) -> list[Problem]:
    """Refuse what the command chooses itself, and name what says the same."""
    problems = []
    for word in words:
        key = word.partition("=")[0]
        if key in _CHOSEN:
            what = "is what is offered: the machines are chosen by gpus=, max_usd= and memory_gb="
            fix = f"{program('launch')} {for_shell(word)}, or gpus=8"
            problems.append(Problem(word, what, fix, check="offers-machine"))
        if key == "action":
            what = "is of launch; here nothing is planned nor started"
            problems.append(Problem(word, what, f"{program('launch')} ... {word}"))
    return problems
