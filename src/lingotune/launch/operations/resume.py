"""Starting a job again from its checkpoint, as the next attempt, from what SageMaker and S3 know of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.program import program
from lingotune.config.schema import AwsConfig, JobConfig
from lingotune.contract.container import CONFIG_CHANNEL, JOB_FILE
from lingotune.data.transfer.objects import split_uri
from lingotune.estimate.run_time import duration
from lingotune.launch.aws.account.calls import Refused, Unanswered
from lingotune.launch.aws.account.check import AccountCheck, JobRequirements, check_account
from lingotune.launch.aws.again import code_uri, request_from, start_again
from lingotune.launch.aws.connection import Account as Submitting
from lingotune.launch.aws.connection import connect
from lingotune.launch.aws.finished_job import describe_job, fetch_job
from lingotune.launch.aws.job_logs import JobLog
from lingotune.launch.aws.machines import machines_in
from lingotune.launch.aws.settle import Start
from lingotune.launch.checks.request import REQUEST
from lingotune.launch.operations.account import Account, asked_of
from lingotune.launch.operations.applications import not_resumed
from lingotune.launch.operations.attempts import Attempts, attempts_of, numbered
from lingotune.launch.operations.checkpoints import newest_step
from lingotune.launch.operations.ledgers import KnownSweep, known_sweeps
from lingotune.launch.operations.progress import Progress, progress_of
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.remote_settings import aws_of
from lingotune.launch.operations.spending import Spending
from lingotune.launch.render.shared_fields import Request
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.sagemaker import client_settings
from lingotune.launch.sweeps.trial import State
from lingotune.preflight import check_job

_ABSENT = ("NoSuchKey", "NoSuchBucket", "404", "NotFound")


@dataclass(frozen=True)
class Again:
    """A further attempt of a job, planned.

    step: of the checkpoint that it goes on from; None = it begins anew. progress: of the attempt before, as
    far as its log tells. worst_usd: None if unknown. sweep: whose ledger here has its trial.
    """

    before: Remote
    request: Request
    aws: AwsConfig
    job: JobConfig
    step: int | None
    progress: Progress
    spent_usd: float | None
    worst_usd: float | None
    sweep: KnownSweep | None
    problems: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """Name of the new job."""
        return str(self.request["TrainingJobName"])


@dataclass
class Resumed:
    """What has become of the jobs: names of those started, and of those that run already.

    declined: True if the question before the start was answered with no.
    """

    started: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    declined: bool = False


class Resume:
    """Resume of jobs in one account. prices: file of the user's own. tell: takes lines.

    options: as of `Overview`.
    """

    def __init__(
        self,
        account: Account,
        runs_dir: str,
        tell: Callable[[str], None],
        prices: str | None = None,
        options: str = "",
    ) -> None:
        self._account, self._runs_dir, self._tell = account, Path(runs_dir), tell
        self._options = options
        self._money = Spending(prices, account.region)

    def run(self, names: Sequence[str], agrees: Callable[[float | None, int], bool]) -> Resumed:
        """Plan, check and start the next attempts of jobs.

        agrees: tells whether to start them, by their worst case in USD, None = unknown, and their number.

        All are planned and checked before one is started; ConfigError lists what is in the way.
        """
        found = Resumed()
        found_jobs = [asked_of(name, partial(attempts_of, self._account, name)) for name in names]
        planned = [one for job in found_jobs if (one := self._planned(job, found)) is not None]
        if not planned:
            return found
        problems = [problem for one in planned for problem in one.problems]
        checked = self._checked(planned)
        problems += errors_only(checked.findings)
        for one in planned:
            for line in told(one):
                self._tell(line)
        for line in (
            *checked.skipped,
            *(str(p.what) for p in checked.findings if p not in problems),
        ):
            self._tell(f"  not checked: {line}")
        if errors_only(problems):
            raise ConfigError(errors_only(problems), "nothing was started; mend, then resume again")
        worst = [one.worst_usd for one in planned]
        total = None if None in worst else sum(usd or 0.0 for usd in worst)
        found.declined = not agrees(total, len(planned))
        for one in () if found.declined else planned:
            try:
                self._start(one, found)
            except ConfigError as error:
                found.problems += error.problems
        return found

    # --- planning ---------------------------------------------------------------------------------

    def _planned(self, job: Attempts, found: Resumed) -> Again | None:
        """Plan the next attempt; None, and told, for a job that runs or has completed."""
        running = [one for one in job.jobs.values() if not one.job.state.over]
        done = [one for one in job.jobs.values() if one.job.state is State.completed]
        if running:
            found.there += [one.name for one in running]
            for one in running:
                self._tell(f"runs already: {one.name} ({one.job.state.value}); nothing is started")
            return None
        if done:
            self._tell(
                f"is finished: {done[-1].name} completed {_at(done[-1])}; nothing is started"
            )
            self._tell(f"next: {program('fetch')} {done[-1].name}{self._options}")
            return None
        return self._again(job)

    def _again(self, job: Attempts) -> Again:
        before, calls = job.last, self._account.calls
        if before.of_application:
            raise ConfigError([not_resumed(before.name, "", before.job.state)])
        if before.came_by_queue:
            raise ConfigError([_of_a_queue(before)])
        aws = aws_of(before.raw, self._account.region)
        if aws is None:
            what = "has its output where lingotune puts none: it cannot be started again from here"
            raise ConfigError([Problem(before.name, what, "the command that started it")])
        config = asked_of(before.name, lambda: fetch_job(calls, describe_job(calls, before.name)))
        uri, step = asked_of(before.name, lambda: self._checkpoint(job))
        request = request_from(before.raw, job.next_name, uri, calls.client("sagemaker"))
        now = time.time()
        money = [self._money.spent(one.job, one, None, now) for one in job.jobs.values()]
        problems = [*check_job(config), *REQUEST.run(request), *self._missing(before)]
        return Again(
            before, request, aws, config, step, self._progress(before),
            None if None in money else sum(usd for usd in money if usd is not None),
            self._money.worst(_anew(before), None), self._ledger_of(before), tuple(problems),
        )  # fmt: skip

    def _checkpoint(self, job: Attempts) -> tuple[str | None, int | None]:
        """Find the checkpoints to go on from: those of the newest attempt that has a whole one."""
        newest = job.last.checkpoint_uri
        if newest is None:
            return None, None
        places = [job.jobs[n].checkpoint_uri for n in sorted(job.jobs, reverse=True)]
        for uri in dict.fromkeys(uri for uri in places if uri is not None):
            step = newest_step(self._account.calls, uri)
            if step is not None:
                return uri, step
        return newest, None

    def _progress(self, before: Remote) -> Progress:
        try:
            return progress_of(JobLog(self._account.calls, before.name).last_lines())
        except Unanswered:
            return Progress()  # only an estimate of the time depends on it

    def _missing(self, before: Remote) -> Iterator[Problem]:
        """Find what the job had in S3 and what has gone since; data and model are checked as channels."""
        channels = {c["ChannelName"]: c for c in before.raw.get("InputDataConfig", [])}
        source = channels.get(CONFIG_CHANNEL, {}).get("DataSource", {}).get("S3DataSource", {})
        places = [code_uri(before.raw), source.get("S3Uri") and f"{source['S3Uri']}{JOB_FILE}"]
        for uri in filter(None, places):
            bucket, key = split_uri(uri)
            try:
                self._account.calls.ask("s3", "head_object", _ABSENT, Bucket=bucket, Key=key)
            except Refused:
                what = f"{uri} is not there any more"
                fix = f"the command that started it, with attempt={numbered(before.name)[1] + 1}"
                yield Problem(before.name, what, fix, check="input-missing")
            except Unanswered as reason:
                self._tell(f"  not checked: {uri}: {reason}")

    def _checked(self, planned: Sequence[Again]) -> AccountCheck:
        """Ask the account whether the jobs can run there, as before a submit."""
        needs = [_requirements(one) for one in planned]
        return check_account(needs, planned[0].aws)

    # --- starting ---------------------------------------------------------------------------------

    def _start(self, one: Again, found: Resumed) -> None:
        account = connect(self._account.region, one.aws, client_settings(), bare=True)
        sweep = one.sweep
        if sweep is None:
            self._note(start_again(account, one.request), one, found)
            return
        with lock.held(sweep.folder) as holder:
            if holder:  # its controller finds the job by its name, and writes it down
                self._note(start_again(account, one.request), one, found)
                return
            with Ledger(sweep.folder) as ledger:
                self._start_trial(account, ledger, one, found)

    def _start_trial(self, account: Submitting, ledger: Ledger, one: Again, found: Resumed) -> None:
        trial = next(r.trial for r in ledger.records() if r.trial.number == one.before.number)
        ledger.intend_start(trial, numbered(one.name)[1], one.name, time.time())
        try:
            self._note(start_again(account, one.request), one, found)
        except ConfigError as error:
            if error.problems[0].check == "not-started":
                ledger.not_started(one.name, time.time(), error.problems[0].what)
            raise

    def _ledger_of(self, job: Remote) -> KnownSweep | None:
        """Find the ledger here that has the job's trial."""
        for sweep in known_sweeps(self._runs_dir) if job.sweep else ():
            numbers = {record.trial.number for record in sweep.records}
            if sweep.name == job.sweep and job.number in numbers:
                return sweep
        return None

    def _note(self, how: Start, one: Again, found: Resumed) -> None:
        if how is Start.taken:
            found.there.append(one.name)
            self._tell(f"runs already: {one.name} was started meanwhile, from elsewhere")
            return
        found.started.append(one.name)
        lost = how is Start.found
        self._tell(f"started {one.name}{' (its answer was lost; it is there)' if lost else ''}")


def _of_a_queue(job: Remote) -> Problem:
    """Make the problem of a job that a queue started: under its own name, with no tags of ours."""
    what = (
        "was started by an AWS Batch queue (aws.queue), or by hand: it has none of lingotune's tags;"
        " from here its next attempt would pass by the queue"
    )
    fix = "the command that put it there, with attempt=2 or higher: it goes on from its checkpoint"
    return Problem(job.name, what, fix, check="job-of-a-queue")


def _anew(before: Remote) -> Remote:
    """Describe a job as its next attempt begins: of a list it has no machine yet."""
    if len(before.candidates) < 2:
        return before
    return replace(before, job=replace(before.job, instance_type=None))


def _requirements(one: Again) -> JobRequirements:
    request, machines = one.request, one.request["ResourceConfig"]
    wanted = machines_in(request) or [(one.before.job.instance_type or "", one.before.nodes)]
    channels = {
        channel["ChannelName"]: (channel["DataSource"]["S3DataSource"]["S3Uri"], False)
        for channel in request.get("InputDataConfig", [])
        if "S3DataSource" in channel.get("DataSource", {})
    }
    return JobRequirements(
        name=one.name,
        instance_type=wanted[0][0],
        nodes=wanted[0][1],
        others=tuple(wanted[1:]),
        spot=one.before.spot,
        keep_alive=bool(machines.get("KeepAlivePeriodInSeconds")),
        channels=channels,
        token_secret=one.job.hub.token_secret,
        reserved="TrainingPlanArn" in machines,
    )


# --- telling --------------------------------------------------------------------------------------


def told(one: Again) -> Iterator[str]:
    """Tell a planned attempt: from where it goes on, what was before, and what it can cost."""
    before, total = one.before, one.progress.total_steps
    number = numbered(one.name)[1]
    of = f" of {total}" if total else ""
    if before.checkpoint_uri is None:
        start = "from the beginning: it keeps no checkpoints (cluster.checkpoints=false)"
    elif one.step is None:
        start = f"from the beginning: there is no whole checkpoint in {before.checkpoint_uri}"
    else:
        start = f"from step {one.step}{of}, {one.request['CheckpointConfig']['S3Uri']}"
    yield f"{one.name}: attempt {number}, {start}"
    why = f": {before.job.reason}" if before.job.reason else ""
    usd = "" if one.spent_usd is None else f"; {one.spent_usd:.2f} USD so far"
    yield f"  before: {before.name} {before.job.state.value} {_at(before)}{why}{usd}"
    pace = one.progress.seconds_per_step
    if pace and total:
        left = (total - (one.step or 0)) * pace
        yield f"  about {duration(left)} of training are left, at {pace:.2g} s a step"
    wanted = before.candidates or [(before.job.instance_type or "", before.nodes)]
    machine = f"{' or '.join(f'{n} x {kind}' for kind, n in wanted)} in {one.aws.region}"
    spot = " (spot)" if before.spot else ""
    worst = "unknown: no price is known" if one.worst_usd is None else f"{one.worst_usd:.2f} USD"
    yield f"  {machine}{spot}; worst case {worst}, {_limit(before)} (cluster.max_run)"
    known = one.sweep.attempts().get(before.name) if one.sweep else None
    if known is not None and known[1].job.state is State.pruned:
        yield "  note: its sweep has ended it for its scores"
    if before.job.state is State.failed and not before.job.worth_retrying:
        yield "  note: it failed by itself; with the same code and data it may do so again"


def _limit(job: Remote) -> str:
    return f"at most {duration(job.max_run)}" if job.max_run else "without a limit"


def _at(job: Remote) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(job.job.ended)) if job.job.ended else ""
