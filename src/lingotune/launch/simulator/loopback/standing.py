"""`lingotune loopback`: a SageMaker account on this machine that stands until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import boto3

from lingotune.catalog.hardware import Image, resolve_image
from lingotune.config.jobfile import load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import JobConfig, RehearsalConfig, RehearsalLane, RehearsalModel
from lingotune.contract.container import CONFIG_CHANNEL, JOB_FILE
from lingotune.contract.rehearsal_limits import Limits, write_limits
from lingotune.launch.interrupts import interrupted_by
from lingotune.launch.simulator.environments import (
    Environment,
    cache_folder,
    prepare_environment,
)
from lingotune.launch.simulator.loopback.driver import Driver
from lingotune.launch.simulator.loopback.fake_account import (
    BUCKET,
    REGION,
    ROLE,
    furnish,
    only_aws,
    theirs,
    variables,
)
from lingotune.launch.simulator.loopback.hosting import Hosting
from lingotune.launch.simulator.loopback.jobs import Fields, Jobs
from lingotune.launch.simulator.loopback.keeping import Keeper, kept_in
from lingotune.launch.simulator.loopback.machines import Found, Machines, Share
from lingotune.launch.simulator.loopback.model_containers import ModelContainers
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.service import serve
from lingotune.launch.simulator.scope import limits_of, variables_of_job

_PAUSE = 0.2
"""Seconds between looks at the jobs."""


@dataclass(frozen=True)
class Settings:
    """Properties of an account.

    port: 0 = any that is free. rehearsal: how much of each job is run, and with which libraries. stopping:
    seconds that a stop takes at least. folder: keeps what the account holds; None = it is lost.
    containers: keeps the jobs' containers, in folders by their names; None = in a folder of each start
    below `folder`, or they are lost. region: of its logs. buckets: made beside the account's own. goes_on:
    jobs that ran when the account ended are forgotten, so that they can be started again by their names;
    otherwise they have failed.
    """

    port: int = 0
    quotas: Quotas = field(default_factory=Quotas)
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig)
    stopping: float = 0.0
    folder: Path | None = None
    containers: Path | None = None
    region: str = REGION
    buckets: tuple[str, ...] = ()
    goes_on: bool = False


def stand(settings: Settings, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Serve an account until Ctrl-C or SIGTERM; the jobs that run then end with it.

    show: prints the lines that another terminal needs, as shell commands. tell: prints all others.
    ConfigError if the port is taken or the containers' libraries cannot be installed.
    """
    stale = theirs(dict(os.environ))
    with interrupted_by(signal.SIGINT, signal.SIGTERM), account(settings, tell) as (address, jobs):
        _introduce(settings, address, stale, show, tell)
        why = _report(jobs, tell)
        running = [job.name for job in jobs if not job.over]
        tell(f"{why}: the account ends{', and with it ' if running else ''}{', '.join(running)}")


@contextmanager
def account(settings: Settings, tell: Callable[[str], None]) -> Iterator[tuple[str, Jobs]]:
    """Run an account, during the block the only AWS that this process knows; yields address and jobs.

    All accepted jobs run at once, as the quotas are the limit. ConfigError as of `stand`.
    """
    with ExitStack() as held:
        kept = settings.folder
        keeper = held.enter_context(kept_in(kept)) if kept else None
        jobs = Jobs(quotas=settings.quotas, keep=keeper.keep_job if keeper else lambda job: None)
        if keeper:
            keeper.restore_jobs(jobs, goes_on=settings.goes_on)
        folder = held.enter_context(_containers(settings))
        hosting = Hosting(jobs.clock, jobs.quotas)
        address = held.enter_context(_served(jobs, settings, keeper, hosting))
        if keeper and keeper.lost:
            tell(f"{keeper.lost} of the kept calls are refused now: what they made is missing")
        session = boto3.Session(region_name=settings.region)
        furnish(session, settings.buckets)
        shares = _Shares(settings.rehearsal, tell)  # may take minutes, in which it answers already
        s3, logs = session.client("s3"), session.client("logs")
        hosting.containers = ModelContainers(s3, logs, tell)
        held.callback(hosting.close)
        machines = Machines(
            s3, logs, address, shares.of, folder, settings.stopping, settings.rehearsal.full
        )
        with Driver(jobs, machines.run, parallel=sys.maxsize):
            try:
                yield address, jobs
            finally:
                if keeper and settings.goes_on:
                    keeper.keeps_jobs = False  # those that end now with the account had not ended


class _Shares:
    """What each job gets of this machine, decided as by `cluster.backend=loopback`.

    The libraries of this machine are made ready at once, those of images when the first job needs them.
    """

    def __init__(self, settings: RehearsalConfig, tell: Callable[[str], None]) -> None:
        self._settings, self._tell = settings, tell
        self._environments: dict[Image | None, Environment] = {}
        self._lock = Lock()
        if settings.lane is RehearsalLane.here:
            self._environment(None)

    def of(self, request: Fields, found: Found) -> Share:
        """Decide on a job; ConfigError if its image's libraries cannot be installed."""
        limits = limits_of(self._settings, request)
        job = _job_of(request, found)
        image = None
        if job is not None and self._settings.lane is RehearsalLane.image:
            image = resolve_image(job.cluster)
        environment = self._environment(image)
        own = write_limits(limits) if job is None else variables_of_job(job, limits)
        return Share(environment.python, limits.ranks, {**environment.variables, **own})

    def _environment(self, image: Image | None) -> Environment:
        with self._lock:
            if image not in self._environments:
                made = prepare_environment(image, cache_folder(os.environ), self._tell)
                self._environments[image] = made
            return self._environments[image]


def _job_of(request: Fields, found: Found) -> JobConfig | None:
    """Read the job file of a request; None if the job is another tool's."""
    for channel in request.get("InputDataConfig", []):
        file = found.get(f"{channel['DataSource']['S3DataSource']['S3Uri']}{JOB_FILE}")
        if channel["ChannelName"] == CONFIG_CHANNEL and isinstance(file, Path):
            return load_job(file)[0]
    return None


@contextmanager
def _containers(settings: Settings) -> Iterator[Path]:
    """Yield the folder for the jobs' containers."""
    kept = settings.folder
    if settings.containers is None and (kept is None or settings.goes_on):
        with tempfile.TemporaryDirectory(prefix="lingotune-") as temporary:
            yield Path(temporary)
        return
    if settings.containers is not None:
        yield settings.containers
        return
    assert kept is not None
    yield dated_folder(kept / "containers", f"--dir {kept}", "--dir with a new folder")


def dated_folder(parent: Path, typed: str, fix: str) -> Path:
    """Make a folder named by the time, as names of jobs come again; ConfigError names what was typed."""
    folder = parent / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        what = f"no folder can be made there: {error.strerror}"
        raise ConfigError([Problem(typed, what, fix)]) from error
    return folder


@contextmanager
def _served(
    jobs: Jobs, settings: Settings, keeper: Keeper | None, hosting: Hosting
) -> Iterator[str]:
    try:
        held = serve(jobs, settings.port, keeper, hosting)
        address = held.__enter__()
    except (OSError, SystemExit) as error:  # werkzeug exits where a port is taken
        what = f"cannot be listened on: {getattr(error, 'strerror', None) or 'it is taken'}"
        raise ConfigError([Problem(f"--port {settings.port}", what, "--port 0")]) from error
    try:
        with only_aws(address):
            yield address
    finally:
        held.__exit__(None, None, None)


def _introduce(
    settings: Settings, address: str, stale: list[str], show: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Say how other terminals use the account."""
    tell(f"a SageMaker account on this machine, until Ctrl-C: {address}; nothing is billed")
    tell(f"{settings.quotas}; each job runs as a rehearsal: {_size(settings.rehearsal)}")
    if settings.rehearsal.full:
        tell(f"without capacity: {', '.join(settings.rehearsal.full)}")
    where = f"is kept in {settings.folder}" if settings.folder else "is lost when it ends (--dir)"
    tell(f"what it holds {where}\n\nin another terminal:")
    unset = [name for name in stale if name not in variables(address)]
    known = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION")
    show(f"unset {' '.join(dict.fromkeys([*known, *unset]))}")
    for name, value in {**variables(address), "AWS_DEFAULT_REGION": REGION}.items():
        show(f"export {name}={shlex.quote(value)}")
    names = f"aws.role={ROLE} aws.bucket={BUCKET}"
    tell(f"\nthen, e.g.: {program('launch')} cluster=p4d_24xl {names} action=submit\n")


def _size(rehearsal: RehearsalConfig) -> str:
    tiny = rehearsal.model is RehearsalModel.tiny
    return str(Limits(1, rehearsal.ranks, rehearsal.steps, rehearsal.rows, tiny))


def _report(jobs: Jobs, tell: Callable[[str], None]) -> str:
    """Tell what happens to the jobs, until a signal ends that; returns its name."""
    shown = {job.name: job.secondary for job in jobs if job.over}  # of an account before
    try:
        while True:
            for job in jobs:
                now = "Stopping" if job.status == "Stopping" else job.secondary
                if shown.get(job.name) != now:
                    shown[job.name] = now
                    tell(f"{time.strftime('%H:%M:%S')} {job.name}: {now}")
            time.sleep(_PAUSE)
    except KeyboardInterrupt as interrupt:
        return str(interrupt)
