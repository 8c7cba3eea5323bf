"""Training jobs made from overrides, with fixed names of an account and fixed digests."""

from __future__ import annotations

from typing import Any

from conftest import compose

from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.schema import JobConfig
from lingotune.launch.render.training_job import Digests, TrainingJob, describe

ACCOUNT = [
    "aws.role=arn:aws:iam::111122223333:role/SageMakerRole",
    "aws.bucket=example-bucket",
    "aws.region=us-east-1",
]


def described(*overrides: str, **changed: Any) -> TrainingJob:
    """The training job of overrides, with the account's names and digests that do not move."""
    config = compose(*ACCOUNT, *overrides)
    job = job_of(config)
    return describe(job, config.aws, digests(job, **changed))


def digests(of: JobConfig, **changed: Any) -> Digests:
    # The code's own digest changes with every edit; a golden file must not.
    data = "da7a" * 16 if of.data.path else None
    return Digests(**{"job": job_digest(of), "code": "c0de" * 16, "data": data, **changed})
