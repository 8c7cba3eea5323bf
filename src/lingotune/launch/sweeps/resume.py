"""Going on with a sweep from its ledger and pin alone: nothing is composed or planned again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.program import program
from lingotune.config.schema import AwsConfig, Retry
from lingotune.launch.aws.account.calls import Answer, Unanswered
from lingotune.launch.aws.account.calls import connect as calls_of
from lingotune.launch.aws.account.quotas import Need, check_quotas
from lingotune.launch.aws.connection import connect, with_machine_region
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import Pin, code_of, fetch, load, save
from lingotune.launch.sweeps.running import Running, Wish, run_sweep, watch
from lingotune.launch.sweeps.sagemaker import client_settings


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
    with lock.held(folder) as holder:
        if holder:
            return watch(folder, holder, Wish(follow), say)[1]
        wish = Wish(follow, quotas=_quotas(pin))
        save(pin, code_of(pin, folder, account), folder)
        with Ledger(folder) as ledger:
            ledger.write_about(name=pin.name, words=list(pin.words), code=pin.code, held="")
            ledger.add_trials(one.trial for one in pin.trials)
            return run_sweep(Running(pin, account, ledger, pin.stem), settings, wish, say)[1]


def _quotas(pin: Pin) -> dict[str, float]:
    """Ask for the quotas that the sweep's jobs count against, by name; none where AWS does not tell.

    ConfigError for one that no job fits.
    """
    nodes: dict[str, list[int]] = {}
    for trial in pin.trials:
        nodes.setdefault(trial.quota, []).append(trial.nodes)
    needs = [Need(quota, tuple(counts), by_instance=True) for quota, counts in nodes.items()]
    found: dict[str, float] = {}
    answers: list[Answer] = []
    if pin.account.queue is None:
        with contextlib.suppress(Unanswered):
            answers += check_quotas(calls_of(pin.account.region), needs, True, found)
    wrong = errors_only([one for one in answers if isinstance(one, Problem)])
    if wrong:
        raise ConfigError(wrong, "nothing was started")
    return found


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
