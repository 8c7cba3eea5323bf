"""Going on with a sweep from its ledger and pin alone: nothing is composed or planned again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import AwsConfig, Retry
from lingotune.launch.aws.connection import connect, with_machine_region
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import Pin, code_of, fetch, load, save
from lingotune.launch.sweeps.sagemaker import client_settings
from lingotune.launch.sweeps.submission import Running, Wish, run_sweep, watch


def resume(
    pin: Pin,
    folder: Path,
    say: Callable[[str], None],
    *,
    follow: bool | None = None,
    retry: Retry = Retry.none,
    max_parallel: int | None = None,
) -> int:
    """Go on with a grid, all of whose trials are pinned; returns the exit code.

    follow: as of `Wish`. retry, max_parallel: instead of what it was submitted with.
    """
    settings = replace(pin.sweep, retry=retry)
    if max_parallel is not None:
        settings = replace(settings, max_parallel=max_parallel)
    account = connect(pin.account.region or "", pin.account, client_settings(), bare=True)
    wish = Wish(follow)
    with lock.held(folder) as holder:
        if holder:
            return watch(folder, holder, wish, say)[1]
        save(pin, code_of(pin, folder, account), folder)
        with Ledger(folder) as ledger:
            ledger.write_about(name=pin.name, words=list(pin.words), code=pin.code, held="")
            ledger.add_trials(one.trial for one in pin.trials)
            return run_sweep(Running(pin, account, ledger, pin.stem), settings, wish, say)[1]


def pin_of(folder: Path, aws: AwsConfig) -> Pin:
    """Find the pin in the sweep's folder, or else in S3; ConfigError if nothing is known of it.

    aws: names bucket and region where the folder is not on this machine.
    """
    pin = load(folder)
    if pin is not None:
        return pin
    aws = with_machine_region(aws)
    if aws.bucket is None:
        what = "is no sweep on this machine, and no bucket is named to look for it"
        fix = f"{program('resume')} {folder.name} --bucket my-bucket"
        raise ConfigError([Problem(str(folder), what, fix)])
    if aws.region is None:
        what = "is needed: this machine names no AWS region"
        raise ConfigError([Problem("--region", what, "--region us-east-1")])
    found = fetch(connect(aws.region, aws, client_settings(), bare=True), folder.name)
    if found is None:
        what = f"is no sweep of s3://{aws.bucket}/{aws.prefix}/sweeps/"
        fix = "the command that submitted it: it finds the jobs by their tags"
        raise ConfigError([Problem(folder.name, what, fix)])
    return found
