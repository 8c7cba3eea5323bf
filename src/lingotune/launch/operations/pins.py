"""Pins of sweeps in S3, found through any of their jobs."""

from __future__ import annotations

from collections.abc import Iterable

from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.connection import connect
from lingotune.launch.operations.account import Account, asked_of
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.remote_settings import aws_of
from lingotune.launch.render.sweep_tags import SWEEP_TAG
from lingotune.launch.sweeps import pin
from lingotune.launch.sweeps.pin import Pin
from lingotune.launch.sweeps.sagemaker import client_settings


def account_of_sweep(account: Account, sweep: str) -> AwsConfig | None:
    """Find where a sweep keeps its pin, by its newest job; None if it has no job here."""
    found = asked_of(sweep, lambda: account.search({SWEEP_TAG: sweep}, most=1))
    return aws_of(found[0].raw, account.region) if found else None


def pin_beside(account: Account, sweep: str, jobs: Iterable[Remote]) -> Pin | None:
    """Read the pin of a sweep from where its jobs have their output; None if there is none.

    ConfigError if AWS does not answer, or the pin is damaged.
    """
    for job in jobs:
        aws = aws_of(job.raw, account.region)
        if aws is not None:
            return pin.fetch(connect(account.region, aws, client_settings(), bare=True), sweep)
    return None
