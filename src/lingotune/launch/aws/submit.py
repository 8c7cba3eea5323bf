"""Starting a planned job on SageMaker."""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.catalog.partitions import console_of
from lingotune.config.console import say, say_aside
from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.connection import Account, connect, refusal
from lingotune.launch.aws.settle import NotKnown, NotStarted, Start, Started, start_once
from lingotune.launch.plan.planner import Plan, objects, planned_digests
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.training_job import TrainingJob


@dataclass(frozen=True)
class Submitted:
    """A job that SageMaker, or the queue in front of it, has accepted."""

    name: str
    region: str
    output: str
    queue: str | None = None

    @property
    def console(self) -> str | None:
        """Address of the job in the AWS console; None where its address is not public."""
        console = console_of(self.region)
        return console and f"{console}/sagemaker/home?region={self.region}#/jobs/{self.name}"

    def next_commands(self) -> list[str]:
        """List the commands that watch, stop, fetch and account for the job."""
        here = f"{self.name} --region {self.region}"
        queued = (
            [f"aws batch list-service-jobs --job-queue {self.queue} --region {self.region}"]
            if self.queue
            else []
        )
        return [
            *queued,
            f"{program('status')} {here} --watch",
            f"{program('logs')} {here} --follow",
            f"{program('stop')} {here}",
            f"{program('fetch')} {here}",
            f"{program('cost')} {here}",
            f"aws sagemaker describe-training-job --training-job-name {here}",
        ]


def submit(plan: Plan, bundle: Bundle) -> Submitted:
    """Upload code, job and data, then start exactly the planned job, or put it into the queue.

    A job whose answer was lost is looked up by its name. ConfigError says what AWS refused, and that
    nothing was started, or that this is not known.
    """
    job, aws = plan.training_job, plan.config.aws
    assert job is not None, "a job of this machine is not submitted"
    account = connect(job.region, aws)
    account.upload(objects(plan, bundle), planned_digests(plan))
    account.notify([job.name])
    try:
        started = start_once(lambda: account.start(job), lambda: account.look_up(job.name))
    except NotStarted as error:
        assert isinstance(error.__cause__, Exception)
        raise refusal(error.__cause__) from error.__cause__
    except NotKnown as error:
        raise ConfigError([_not_known(account, job, str(error))]) from error
    except KeyboardInterrupt:
        say_aside(f"interrupted: {_not_known(account, job, 'the answer was not waited for').what}")
        raise
    _tell_found(started, job, plan.digests.job)
    return Submitted(job.name, job.region, job.output_uri, aws.queue)


def _not_known(account: Account, job: TrainingJob, why: str) -> Problem:
    where = f"--region {job.region}"
    fix = f"{program('status')} {job.name} {where} tells; the same command starts nothing twice"
    if account.aws.queue:
        fix = f"aws batch list-service-jobs --job-queue {account.aws.queue} {where} tells"
    return Problem(
        job.name, f"may have been started: {why}", fix, check="start-unknown", code=CLOUD_FAILED
    )


def _tell_found(started: Started, job: TrainingJob, digest: str) -> None:
    """Tell of a job that is there already; ConfigError if it is another one, or has ended."""
    seen = started.seen
    if seen is None:
        return
    if started.start is Start.found:
        say(f"the answer was lost ({started.said}); the job is there: {seen.status}")
        return
    if seen.status == "InProgress" and seen.digest in ("", digest):
        say(f"{job.name} was started before, and runs; nothing further was started")
        return
    what = f"the same job, code and data were submitted before: {seen.status}"
    fix = "attempt=2 submits it once more (or the next higher number); nothing was started"
    raise ConfigError([Problem(job.name, what, fix, check="name-taken")])
