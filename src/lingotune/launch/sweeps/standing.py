"""The sweep that a command is about: its name, and what is known of it before its jobs are planned."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import lingotune
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    AwsConfig,
    Backend,
    LaunchConfig,
    Search,
    SweepCode,
    SweepConfig,
)
from lingotune.launch.aws.connection import Account, connect
from lingotune.launch.compose.compose import Composed
from lingotune.launch.plan.planner import Member
from lingotune.launch.plan.sweep_names import SweepName, name_of
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.training_job import root_uri
from lingotune.launch.sweeps.ledger import LOOPBACK, Ledger, is_sweep
from lingotune.launch.sweeps.pin import (
    OwnCode,
    Pin,
    PinnedTrial,
    code_of,
    fetch,
    found_in_jobs,
    job_of,
    load,
    settings_of,
)
from lingotune.launch.sweeps.pinned_code import Renewed, as_pinned, renewed_of, with_new_code
from lingotune.launch.sweeps.queue import backend_of
from lingotune.launch.sweeps.sagemaker import SageMaker, client_settings
from lingotune.launch.sweeps.trial import JobState, State, Unsure


@dataclass(frozen=True)
class Standing:
    """A sweep as it stands before its jobs are planned.

    folder: of its files. pin: None before it was first submitted, as far as is known. bundle: code for its
    jobs to come. jobs: the command's, with the own code that they were pinned with. members: what its jobs
    have from it, by the digest of their job file; grows as a search adds trials. renewed: trials that get
    the code as it is now, by the same. notes: lines that its owner should see.
    """

    name: SweepName
    folder: Path
    pin: Pin | None
    bundle: Bundle
    jobs: tuple[Composed, ...]
    members: dict[str, Member] = field(default_factory=dict)
    renewed: Mapping[str, Renewed] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def standing_of(composed: Sequence[Composed], bundle: Bundle) -> Standing | None:
    """Find out on this machine what is known of the command's sweep; None for a job of its own.

    ConfigError if the name is that of another sweep.
    """
    name = name_of(composed)
    if name is None:
        return None
    pin = load(folder_of(name, composed[0].config))
    return _standing(name, composed, bundle, pin, None, [])


def folder_of(name: SweepName, config: LaunchConfig) -> Path:
    """Name the folder of a sweep; on the loopback apart, so that AWS is asked for none of its jobs."""
    here = config.cluster.backend is Backend.loopback
    return Path(config.runs_dir, *([LOOPBACK] if here else []), name.name)


def asked_for(
    standing: Standing, composed: Sequence[Composed], bundle: Bundle, aws: AwsConfig
) -> Standing:
    """Ask AWS for what other machines know of the sweep; returns it, or the same if that is nothing new.

    bundle: the code as it is now. aws: the account's settings, with the region. ConfigError if AWS does not
    answer.
    """
    if not aws.bucket or not aws.region:
        return standing
    account, notes = connect(aws.region, aws, client_settings(), bare=True), list[str]()
    pin = _merged(standing.pin, fetch(account, standing.name.name))
    if pin is None:
        pin = _rebuilt(account, standing, composed[0], notes)
    if pin == standing.pin and (pin is None or not _renews(pin, bundle, composed[0].config)):
        return standing
    return _standing(standing.name, composed, bundle, pin, account, notes)


def _standing(
    name: SweepName,
    composed: Sequence[Composed],
    bundle: Bundle,
    pin: Pin | None,
    account: Account | None,
    notes: list[str],
) -> Standing:
    config = composed[0].config
    folder, jobs = folder_of(name, config), list(composed)
    renewed: dict[str, Renewed] = {}
    if pin is not None:
        jobs = [as_pinned(one, pin) for one in composed]
        _check_same(pin, name, [one.key for one in jobs], config, folder)
        if _renews(pin, bundle, config):
            states = _states(pin, folder, account)
            chosen = renewed_of(pin, states, config.sweep.retry)
            jobs, renewed = with_new_code(composed, pin, chosen)
        bundle = _code(pin, bundle, config, folder, account, notes)
    grid = config.sweep.search is Search.grid
    members = _members([one.key for one in jobs], pin, renewed) if grid else {}
    return Standing(name, folder, pin, bundle, tuple(jobs), members, renewed, tuple(notes))


def _renews(pin: Pin, bundle: Bundle, config: LaunchConfig) -> bool:
    """Tell whether new code is asked for, and there is any."""
    return config.sweep.code is SweepCode.new and bundle.digest != pin.code


def _states(pin: Pin, folder: Path, account: Account | None) -> dict[str, State]:
    """Find the states of the sweep's jobs by name: as AWS lists them, or else by the ledger here."""
    here: dict[str, State] = {}
    if is_sweep(folder):
        with Ledger(folder) as ledger:
            here = {a.name: a.job.state for r in ledger.records() for a in r.attempts}
    if account is None:
        return here
    backend = backend_of(account, pin.stem, pin.created)
    try:
        listed = backend.listing()
        pruned = {name for name in listed if here.get(name) is State.pruned}
        told = {name: _told(backend, job) for name, job in listed.items() if name not in pruned}
    except Unsure as lost:
        what, fix = str(lost), "the same command once more; nothing was started"
        raise ConfigError([Problem(f"sweep.name={pin.name}", what, fix)]) from lost
    return {**told, **dict.fromkeys(pruned, State.pruned)}


def _told(backend: SageMaker, listed: JobState) -> State:
    """Tell the state of a listed job: that it was pruned is not in a listing."""
    described = backend.describe(listed.name) if listed.state is State.stopped else None
    return (described or listed).state


def _merged(here: Pin | None, there: Pin | None) -> Pin | None:
    """Combine the pin of this machine with that in S3, of which each may have trials of its own.

    That in S3 tells the code of a trial, which another machine may have renewed.
    """
    if here is None or there is None:
        return there or here
    known = [one.varies for one in there.trials]
    own = [one for one in here.trials if one.varies not in known]
    codes = dict.fromkeys([*here.own_code, *there.own_code])
    return replace(there, trials=(*there.trials, *own), own_code=tuple(codes))


def _members(
    keys: Sequence[str], pin: Pin | None, renewed: Mapping[str, Renewed]
) -> dict[str, Member]:
    """Number the jobs of a grid in their order, except those that have a number."""
    known = dict(pin.by_key) if pin else {}
    known |= {key: one.former for key, one in renewed.items()}
    following = max((one.number for one in known.values()), default=0)
    members: dict[str, Member] = {}
    for key in keys:
        if key in members:
            continue
        following += key not in known
        number = known[key].number if key in known else following
        members[key] = member_of(key, number, pin, renewed.get(key))
    return members


def member_of(key: str, number: int, pin: Pin | None, renewed: Renewed | None = None) -> Member:
    """Tell what a job has from its sweep: a new one gets the data of the others if they agree.

    renewed: the trial as it was, if it gets new code.
    """
    if pin is None or not pin.trials:
        return Member(number)
    known = renewed.former if renewed else pin.by_key.get(key)
    code = None if renewed or known is None else known.code
    if known is None:
        known = pin.trials[0]
        if len({(one.data_digest, one.data_uri) for one in pin.trials}) > 1:
            return Member(number)
    return Member(number, True, known.data_digest, known.data_uri, code)


def _check_same(
    pin: Pin, name: SweepName, keys: Sequence[str], config: LaunchConfig, folder: Path
) -> None:
    """Refuse a sweep that has the name of another one."""
    if config.sweep.search is Search.grid:
        same = bool(pin.by_key.keys() & set(keys))
    else:
        same = pin.identity == name.identity
    if not same:
        what = (
            f"is the name of another sweep, of {len(pin.trials)} jobs, none of which is among these"
        )
        fix = f"sweep.name={pin.name}-2, or another runs_dir and aws.prefix than {folder}'s"
        raise ConfigError([Problem(f"sweep.name={pin.name}", what, fix, check="sweep-other")])


def _code(
    pin: Pin,
    bundle: Bundle,
    config: LaunchConfig,
    folder: Path,
    account: Account | None,
    notes: list[str],
) -> Bundle:
    """Choose the code for the jobs to come: as pinned, unless other code is asked for."""
    if bundle.digest == pin.code:
        return bundle
    if config.sweep.code is SweepCode.new:
        notes.append(f"new code {bundle.digest[:8]} for the jobs that have not started (code=new)")
        return bundle
    told = f"code differs from the sweep's: {pin.code[:8]} is used (code=new for yours)"
    notes.append(told)
    return code_of(pin, folder, account)


def _rebuilt(account: Account, standing: Standing, one: Composed, notes: list[str]) -> Pin | None:
    """Rebuild a lost pin from the account's jobs; None if the sweep has none."""
    name = standing.name
    trials = found_in_jobs(account, name.name)
    if not trials:
        return None
    count = len(trials)
    notes.append(
        f"{count} jobs of {name.name} are in the account already; what it keeps to is rebuilt"
    )
    code = Counter(one.code for one in trials).most_common(1)[0][0]
    pin = new_pin(name, one.words, one.config.sweep, account.aws, code, trials)
    if one.config.code.file is None:
        return pin
    jobs = [job_of(trial, standing.folder, account) for trial in trials]
    own = [known for job in jobs for known in OwnCode.of(job.code)]
    return replace(pin, own_code=tuple(dict.fromkeys(own)))


def new_pin(
    name: SweepName,
    words: Sequence[str],
    settings: SweepConfig,
    aws: AwsConfig,
    code: str,
    trials: Sequence[PinnedTrial] = (),
) -> Pin:
    """Pin a sweep as it is submitted for the first time. words: all that was typed. code: its digest."""
    return Pin(
        name.name, name.identity, tuple(words), code, f"{root_uri(aws)}/code/{code}/sourcedir.tar.gz",
        time.time(), lingotune.__version__, settings_of(aws), settings_of(settings), tuple(trials),
    )  # fmt: skip
