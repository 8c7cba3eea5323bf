"""The part of a job that runs on this machine: its size, folder, libraries and names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lingotune.catalog.hardware import resolve_image
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    AwsConfig,
    Distribution,
    JobConfig,
    RehearsalConfig,
    RehearsalLane,
    RehearsalModel,
    Source,
)
from lingotune.contract.rehearsal_limits import Limits, write_limits
from lingotune.launch.plan.planner import Plan
from lingotune.launch.render.shared_fields import Request
from lingotune.launch.simulator.container import distribution_of, host_names
from lingotune.launch.simulator.environments import Environment, cache_folder, prepare_environment

_MOST_NODES = 2
"""Two hosts show everything that is different with several."""
_NAMES = {
    "role": "arn:aws:iam::111122223333:role/rehearsal",
    "bucket": "rehearsal",
    "region": "us-east-1",
}
"""Names in place of those that the account's settings do not give, as the toolkit needs valid ones."""


def complete(aws: AwsConfig) -> AwsConfig:
    """Fill in every name that a job needs but the account's settings do not give."""
    return replace(
        aws,
        role=aws.role or _NAMES["role"],
        bucket=aws.bucket or _NAMES["bucket"],
        region=aws.region or _NAMES["region"],
    )


def hosts_of(request: Request) -> tuple[str, ...]:
    """Choose names for the hosts that run for a CreateTrainingJob request."""
    return host_names(request)[:_MOST_NODES]


def limits_of(settings: RehearsalConfig, request: Request) -> Limits:
    """Decide how much of a job is run; the toolkit starts one process if it is not distributed."""
    alone = distribution_of(request) is Distribution.none
    ranks = 1 if alone else settings.ranks
    tiny = settings.model is RehearsalModel.tiny
    return Limits(len(hosts_of(request)), ranks, settings.steps, settings.rows, tiny)


def variables_of_job(job: JobConfig, limits: Limits) -> dict[str, str]:
    """Return the limits, and access to the hub for a job whose model or data come from there."""
    own_model = job.model.name_or_path is not None and not limits.tiny
    online = {"HF_HUB_OFFLINE": "0"} if job.data.source is Source.hub or own_model else {}
    return {**online, **write_limits(limits)}


def environment_of(plan: Plan, tell: Callable[[str], None]) -> Environment:
    """Prepare the containers' Python, with this machine's libraries or those of the job's image."""
    image = None
    if plan.config.rehearsal.lane is RehearsalLane.image:
        image = resolve_image(plan.job.cluster)
        assert image is not None, "preflight requires it"
    return prepare_environment(image, cache_folder(os.environ), tell)


@contextmanager
def folder_of(plan: Plan) -> Iterator[Path]:
    """Yield a folder for the job's containers: a temporary one, or the job's own in `rehearsal.keep`."""
    keep = plan.config.rehearsal.keep
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="lingotune-") as temporary:
            folder = Path(temporary, plan.name)
            folder.mkdir()
            yield folder
        return
    folder = Path(keep, plan.name)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        what = f"holds this job's folder already: {plan.name}"
        raise ConfigError(
            [Problem(f"rehearsal.keep={keep}", what, f"rehearsal.keep={keep}-2")]
        ) from None
    except OSError as error:
        what = f"no folder can be made there: {error.strerror}"
        raise ConfigError([Problem(f"rehearsal.keep={keep}", what, "a new folder")]) from error
    yield folder
