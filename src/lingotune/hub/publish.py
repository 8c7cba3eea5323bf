"""Publishing a run's model: the repository opened before training, the pushes after it or later.

What is pushed is the model's folder of a run, in one commit: main never holds half of it. The same job
has one repository; what a push that has failed would have sent is sent by the next.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path
from typing import Any, TypeVar

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job, job_digest
from lingotune.config.problems import ConfigError, Problem, PublishError
from lingotune.config.schema import HubConfig, JobConfig, Visibility
from lingotune.hub.allowlist import contents_of
from lingotune.hub.model_card import hub_model, write_card
from lingotune.hub.repository import HubError, Target, commit_files, open_repository
from lingotune.hub.token import find_token
from lingotune.runs.folder import METRICS, MODEL, finished, folders_in
from lingotune.system.helper_processes import helpers

PUBLISHED = "published.json"
"""In a run's folder, once its model is on the hub: `repo`, `link`, `commit`."""
OPENING = 120
"""Seconds that opening a repository may take; the client itself tries a dead hub for about 50."""

_T = TypeVar("_T")


def prepare(job: JobConfig, hub: HubConfig, results: Mapping[str, Any]) -> Target | None:
    """Find the token, make the repository or find it to be this job's; None for hub=none.

    results: what is known of the run, `base_model` at least. ConfigError if that fails. Runs before
    training: six hours are too long to wait for the news that a token has expired.
    """
    if hub.visibility is Visibility.none:
        return None
    token, private = find_token(hub), hub.visibility is Visibility.private
    asked = (token, repo_name(job, hub), private, dump_job(job), hub_model(job, results))
    try:
        return within(OPENING, open_repository, *asked)
    except HubError as error:
        where = f"hub.repo={hub.repo}" if hub.repo else f"hub={hub.visibility.value}"
        raise ConfigError([Problem(where, error.reason, error.fix)]) from None


def repo_name(job: JobConfig, hub: HubConfig) -> str:
    """`owner/name`, or `name` of the token's user: as it was given, or the run's name and the first
    digits of its job."""
    return hub.repo or f"{job.name}-{job_digest(job)[:6]}"


def publish(
    target: Target, job: JobConfig, hub: HubConfig, model: Path, words: Sequence[str]
) -> str:
    """Push a trained model and all that belongs to it, in one commit; returns the link.

    model: its folder. words: what `python -m lingotune publish` does the same by, once more. PublishError
    if that fails, or a file holds a secret.
    """
    try:
        results = json.loads((model / METRICS).read_text(encoding="utf-8"))
        write_card(model, job, results, repo=target.repo, licence=hub.license or target.licence)
        commit = push(target, model, "Add the trained model", hub.timeout)
        record = {"repo": target.repo, "link": target.link, "commit": commit}
        text = json.dumps(record, indent=2) + "\n"
        (model.parent if model.name == MODEL else model).joinpath(PUBLISHED).write_text(text)
    except (HubError, OSError, ValueError) as error:
        lines = [f"the push to {target.repo} failed: {error}"]
        lines.append(f"nothing is lost: the model is in {model}")
        if isinstance(error, HubError) and error.fix:
            lines.append(f"fix: {error.fix}")
        lines.append(f"next: {command_of(*words)}")
        raise PublishError("\n".join(lines)) from None
    return target.link


def command_of(*words: str) -> str:
    """The command that publishes later, as it is typed."""
    return shlex.join(["python", "-m", "lingotune", "publish", *words])


def push(target: Target, folder: Path, message: str, seconds: float) -> str:
    """The files of a folder that are published, as one commit; its id. HubError if that fails."""
    files, left = contents_of(folder)
    left = [name for name in left if name != PUBLISHED]
    if left:
        say(f"not published, as it is no file of a model: {', '.join(left)}")
    return within(seconds, commit_files, target, files, message)


def within(seconds: float, function: Callable[..., _T], *arguments: Any) -> _T:
    """What the function returns or raises, in a process of its own; HubError if it takes too long."""
    with helpers(1) as pool:
        try:
            return pool.submit(function, *arguments).result(timeout=seconds)
        except TooLate:
            raise HubError(f"the hub did not answer within {seconds:g} s") from None
        except BrokenExecutor:
            raise HubError("the process that spoke to the hub was ended from outside") from None


def not_published(job: JobConfig, run: Path) -> bool:
    """Whether a run has come to its end, but for the push that it was to end with."""
    ended = finished(folders_in(run), job_digest(job)) is not None
    return ended and job.hub.visibility is not Visibility.none and not (run / PUBLISHED).exists()
