"""What was typed after `lingotune deploy RUN`: the action, and the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from lingotune.config.problems import ConfigError, Problem, listed, nearest
from lingotune.config.program import program
from lingotune.config.schema import DeployConfig, LaunchConfig
from lingotune.config.settings import field_types
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.cost.cost import check_budget_settings
from lingotune.launch.overrides.overrides import TypedOverride

SECTION = "deploy"
_SECTIONS = (SECTION, "aws", "budget")
_OTHERS = ("attempt", "output", "runs_dir")
_TRAINING_ONLY = (
    "aws.encrypt_traffic", "aws.mlflow", "aws.queue", "aws.queue_share", "aws.queue_quota_share",
    "aws.queue_priority", "aws.notify", "aws.sdk",
)  # fmt: skip
_OF_DELETE = ("deploy.name", "aws.region", "budget.prices", "runs_dir", "output")


class DeployAction(Enum):
    """What is done: show the plan, ask AWS too, make it, delete it, register the model, approve it."""

    plan = "plan"
    check = "check"
    submit = "submit"
    delete = "delete"
    register = "register"
    approve = "approve"


@dataclass(frozen=True)
class Wish:
    """What was typed. words: the settings, to be pasted into further commands."""

    action: DeployAction
    config: LaunchConfig
    words: tuple[str, ...]


def read_wish(typed: Sequence[str], config_dir: str | None = None) -> Wish:
    """Read the words of the command; ConfigError lists all that are wrong.

    Settings of the deployment need no prefix: `kind=serverless` is `deploy.kind=serverless`.
    """
    actions = [word for word in typed if word.startswith("action=")]
    words = [_prefixed(word) for word in typed if word not in actions]
    action, problems = _action(actions)
    problems += _refused(words)
    problems += _without_effect(action, words)
    if problems:
        raise ConfigError(problems)
    composed = compose_all(
        words, shipped_dir(), _check, multirun=False, sweeps=False,
        extra_dir=user_dir(config_dir, os.environ), help_command=f"{program('deploy')} --help",
        deploys=True,
    )  # fmt: skip
    return Wish(action, composed[0].config, tuple(words))


def _prefixed(word: str) -> str:
    return f"{SECTION}.{word}" if word.partition("=")[0] in field_types(DeployConfig) else word


def _action(words: Sequence[str]) -> tuple[DeployAction, list[Problem]]:
    known = [one.value for one in DeployAction]
    given = [word.partition("=")[2] for word in words]
    wrong = [value for value in given if value not in known]
    problems = [
        Problem(
            f"action={one}", f"is no action{nearest(one, known)}", f"action={listed(one, known)}"
        )
        for one in wrong
    ]
    if len(given) > 1:
        problems.append(Problem(" ".join(words), "are several actions", words[0]))
    return DeployAction(given[0]) if given and not problems else DeployAction.plan, problems


def _refused(words: Sequence[str]) -> Iterator[Problem]:
    """Refuse settings that a deployment does not have: those of the job, and of its training."""
    for one in map(TypedOverride.read, words):
        known = [*field_types(DeployConfig), *_OTHERS, "action"]
        if one.key.partition(".")[0] not in (*_SECTIONS, *_OTHERS):
            what = f"is no setting of a deployment{nearest(one.key, known)}"
            yield one.refused(what, f"{listed(one.key, known)}; or of aws and budget")
        elif one.key in _TRAINING_ONLY:
            yield one.refused(
                "is of training jobs: a deployment has no use for it", f"without {one}"
            )


def _without_effect(action: DeployAction, words: Sequence[str]) -> Iterator[Problem]:
    """Refuse settings that the action does not look at."""
    for one in map(TypedOverride.read, words):
        if action is DeployAction.delete and one.key not in _OF_DELETE:
            what = "has no effect: a deletion is of all that an endpoint has"
            yield one.refused(what, f"without {one}")
        if action is not DeployAction.plan and one.key == "output":
            what = f"goes with action=plan, and action={action.value} does something"
            yield one.refused(what, f"action=plan {one}, or without it")


def _check(config: LaunchConfig) -> list[Problem]:
    problems = check_budget_settings(config.budget)
    if config.attempt < 1:
        problems.append(Problem(f"attempt={config.attempt}", "is out of range", "attempt=1"))
    return problems
