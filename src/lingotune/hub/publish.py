"""Publishing a run's model: opening the repository before training, pushing after it or later.

A push commits a run's model folder as a whole, so that main never contains half of it. A job has one
repository; the next push makes up for one that failed.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from typing import Any, TypeVar

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job, job_digest
from lingotune.config.problems import ConfigError, Problem, PublishError
from lingotune.config.program import program
from lingotune.config.schema import HubConfig, JobConfig, Visibility
from lingotune.hub.allowlist import contents_of
from lingotune.hub.model_card import hub_model, write_card
from lingotune.hub.repository import HubError, Target, commit_files, open_repository
from lingotune.hub.token import find_token
from lingotune.runs.folder import CODE, MODEL, finished, folders_in, read_results
from lingotune.runs.results import RunDescription
from lingotune.system.helper_processes import helpers

PUBLISHED = "published.json"
"""File in a run folder whose model is on the hub: `repo`, `link`, `commit`."""
OPENING = 120
"""Seconds that opening a repository may take; the client retries a dead hub for about 50."""

_T = TypeVar("_T")


def prepare(job: JobConfig, hub: HubConfig, known: RunDescription) -> Target | None:
    """Find the token, and create the repository or check that it is this job's; None for hub=none.

    Call it before training, since hours later is too late to learn that a token has expired. ConfigError
    if the token or the repository cannot be used.
    """
    if hub.visibility is Visibility.none:
        return None
    token, private = find_token(hub), hub.visibility is Visibility.private
    asked = (token, repo_name(job, hub), private, dump_job(job), hub_model(job, known))
    try:
        return within(OPENING, open_repository, *asked)
    except HubError as error:
        where = f"hub.repo={hub.repo}" if hub.repo else f"hub={hub.visibility.value}"
        raise ConfigError([Problem(where, error.reason, error.fix)]) from None


def repo_name(job: JobConfig, hub: HubConfig) -> str:
    """Return the repository's `owner/name`, or `name` under the token's user.

    It is the given one, or else the run's name with the first digits of its job.
    """
    return hub.repo or f"{job.name}-{job_digest(job)[:6]}"


def publish(
    target: Target, job: JobConfig, hub: HubConfig, model: Path, words: Sequence[str]
) -> str:
    """Push a trained model with everything that belongs to it, in one commit; returns the link.

    model: its folder. words: arguments of `lingotune publish` that retry this push.
    PublishError if the push fails, or a file contains a secret.
    """
    try:
        write_card(
            model, job, read_results(model), repo=target.repo, licence=hub.license or target.licence
        )
        commit = push(target, model, "Add the trained model", hub.timeout)
        record = {"repo": target.repo, "link": target.link, "commit": commit}
        text = json.dumps(record, indent=2) + "\n"
        (model.parent if model.name == MODEL else model).joinpath(PUBLISHED).write_text(text)
    except (HubError, ConfigError, OSError, ValueError) as error:
        lines = [f"the push to {target.repo} failed: {error}"]
        lines.append(f"nothing is lost: the model is in {model}")
        lines += [f"fix: {fix}" for fix in _fixes(error)]
        lines.append(f"next: {command_of(*words)}")
        raise PublishError("\n".join(lines)) from None
    return target.link


def _fixes(error: Exception) -> list[str]:
    if isinstance(error, ConfigError):
        return [problem.fix for problem in error.problems if problem.fix]
    return [error.fix] if isinstance(error, HubError) and error.fix else []


def command_of(*words: str) -> str:
    """Return the command to type for publishing later."""
    return f"{program('publish')} {shlex.join(words)}"


def push(target: Target, folder: Path, message: str, seconds: float) -> str:
    """Commit the publishable files of a folder; returns the commit's id. HubError if that fails."""
    files, left = contents_of(folder)
    left = [name for name in left if name != PUBLISHED and not name.startswith(f"{CODE}/")]
    if left:
        say(f"not published, as it is no file of a model: {', '.join(left)}")
    return within(seconds, commit_files, target, files, message)


def within(seconds: float, function: Callable[..., _T], *arguments: Any) -> _T:
    """Run a function in a process of its own; HubError if it takes longer than `seconds`."""
    with helpers(1) as pool:
        try:
            return pool.submit(function, *arguments).result(timeout=seconds)
        except TooLate:
            raise HubError(f"the hub did not answer within {seconds:g} s") from None
        except BrokenExecutor:
            raise HubError("the process that spoke to the hub was ended from outside") from None


def not_published(job: JobConfig, run: Path) -> bool:
    """Tell whether a run has finished except for the push that it should have ended with."""
    ended = finished(folders_in(run), job_digest(job)) is not None
    return ended and job.hub.visibility is not Visibility.none and not (run / PUBLISHED).exists()
