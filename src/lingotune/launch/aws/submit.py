"""Starting a planned job on SageMaker."""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.catalog.partitions import console_of
from lingotune.config.console import say
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.connection import Account, connect, refusal
from lingotune.launch.aws.faults import Fault, errors, fault_of, said_by, sent_before
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
        account.start(job)
    except errors() as error:
        fault = fault_of(error)
        if fault is Fault.lost or (fault is Fault.taken and sent_before(error)):
            _found(account, job, error)
        else:
            raise refusal(error) from error
    return Submitted(job.name, job.region, job.output_uri, aws.queue)


def _found(account: Account, job: TrainingJob, error: Exception) -> None:
    """Look up a job whose answer was lost; ConfigError unless it is there."""
    try:
        status = account.look_up(job.name)
    except errors() as unknown:
        what = f"may have been started: {said_by(error)}; {said_by(unknown)}"
        fix = f"aws sagemaker describe-training-job --training-job-name {job.name}"
        if account.aws.queue:
            fix = f"aws batch list-service-jobs --job-queue {account.aws.queue}"
        fix = f"{fix} --region {job.region} tells; so does the same command once more"
        raise ConfigError([Problem(job.name, what, fix, check="start-unknown")]) from error
    if status is None:
        raise refusal(error) from error
    say(f"the answer was lost ({said_by(error)}); the job is there: {status}")
