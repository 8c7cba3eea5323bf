"""A sweep whose command is killed at random moments and typed again, and the loop that people write.

The account is on the wire, with faults on every call, S3's included. What happened is told by the
account's own record. The whole proof, as EXPERIMENTS.md has it:

python tests/driven_sweep.py --jobs 200 --slots 8 --kills 50   prints its findings as JSON
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from accountant import Audit
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from faults import Faults, Rates
from pretend import Account, Asked, Course, pretending

from lingotune.cli.launch import command
from lingotune.config.problems import USER_ERROR, ConfigError
from lingotune.launch import actions
from lingotune.launch.aws import connection
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import Composed
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.code_bundle import bundle_of
from lingotune.launch.plan.planner import Planner
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.sweeps import controller
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State

NAME = "driven"
EVALUATIONS = 60
"""Evaluations of a hopeless job: it takes 18 s where nobody stops it."""
STOPPING = 0.3
"""Seconds of a stop."""
TYPED_AGAIN = 200
"""Times at most that a command without an answer is typed again."""


def hopeless(number: int) -> bool:
    """Whether a trial's scores are so bad from the beginning that it is stopped."""
    return number % 3 == 0


class Courses:
    """Courses of the jobs: each third trial is hopeless, each tenth finds no machine the first time.

    evaluations: of the hopeless ones, which are stopped long before on a slow machine, too.
    """

    def __init__(self, lasts: float, evaluations: int) -> None:
        self._lasts, self._evaluations = lasts, evaluations
        self._seen: set[int] = set()

    def __call__(self, asked: Asked) -> Course:
        number = int(asked.tags["lingotune:trial"])
        first = number not in self._seen
        self._seen.add(number)
        scores = [0.1] * self._evaluations if hopeless(number) else [0.6 + number / 1000] * 5
        return Course(
            scores, evaluation_time=self._lasts / 5, starting=0.3, stopping=STOPPING,
            no_machine=number % 10 == 0 and first,
            reason="CapacityError: Unable to provision requested ML compute capacity.",
        )  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """A proof: so many jobs, at most so many at a time, and so many kills.

    share: of the calls that fail. longest: seconds after which a command that shall be killed is. lasts:
    seconds of a training. room: slots of the account above those that the sweep may take.
    """

    jobs: int
    slots: int
    kills: int
    share: float = 0.3
    seed: int = 7
    longest: float = 6.0
    lasts: float = 1.5
    room: int = 2


@dataclass
class Found:
    """What the account's record says, and how often the command was killed, or had no answer."""

    audit: Audit
    kills: int
    unanswered: int
    seconds: float
    calls: int
    failed: int
    s3: int


@dataclass(frozen=True)
class Moment:
    """When a command is killed: so many seconds after its start, or after it has become the controller.

    holder: file that names the process of the controller; None = after the start.
    """

    seconds: float
    holder: Path | None = None

    def has_begun(self, child: int) -> bool:
        if self.holder is None:
            return True
        return self.holder.exists() and f"process {child} " in self.holder.read_text()


def forked(run: Callable[[], int], log: Path, moment: Moment | None) -> int:
    """Run in a process of its own, which is killed at a moment; returns its exit code, -9 if so."""
    child = os.fork()
    if not child:
        code = 1
        try:
            with log.open("ab") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            code = run()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    until = float("inf")
    while time.monotonic() < until:
        if until == float("inf") and moment is not None and moment.has_begun(child):
            until = time.monotonic() + moment.seconds
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def until_done(
    run: Callable[[], int], settings: Settings, log: Path, moments: Iterator[Moment]
) -> tuple[int, int]:
    """Repeat a command until it has come to its end; returns kills and ends without an answer."""
    kills = unanswered = 0
    while True:
        code = forked(run, log, next(moments) if kills < settings.kills else None)
        if code == 0:
            return kills, unanswered
        kills += code == -signal.SIGKILL
        unanswered += code == USER_ERROR
        if code not in (-signal.SIGKILL, USER_ERROR) or unanswered > TYPED_AGAIN:
            raise AssertionError(f"exit code {code}:\n{log.read_text()[-4000:]}")


def moments(settings: Settings, holder: Path | None) -> Iterator[Moment]:
    """Yield now a moment after the start, while it plans and uploads, now two of the controller's."""
    chance = random.Random(settings.seed)
    while True:
        yield Moment(chance.uniform(0.05, settings.longest))
        for _ in range(2):
            yield Moment(chance.uniform(0.05, settings.longest), holder)


def composed(settings: Settings, runs: Path) -> tuple[list[Composed], Bundle]:
    """Compose the sweep, as its command would each time."""
    rates = ",".join(f"{number}e-6" for number in range(100, 100 + settings.jobs))
    words = [
        "-m", "cluster=p3_16xl", f"lr={rates}", f"sweep.name={NAME}", "action=submit",
        f"sweep.max_parallel={settings.slots}", "sweep.retries=9", f"runs_dir={runs}", "epochs=5",
        "sweep.prune=asha", "sweep.min_evaluations=2", "sweep.reduction=2",
        f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}",
    ]  # fmt: skip
    jobs = composed_jobs(words, command(), shipped_dir(), check_launch, lambda config: False)
    return jobs, bundle_of([one.config for one in jobs])


def as_a_command(jobs: Sequence[Composed], bundle: Bundle) -> Callable[[], int]:
    """Make the command from composing on: rounds follow each other fast, and the controller repeats."""

    def run() -> int:
        controller._SHORTEST, controller._LONGEST, controller._FIRST_REST = 0.1, 0.3, 0.2
        controller._LONGEST_REST = 1.0
        connection.Account.client = _client  # type: ignore[method-assign]
        try:
            return actions.launch(jobs, bundle, follow=True)
        except ConfigError as error:
            print(error)
            return USER_ERROR

    return run


def _client(self: connection.Account, service: str) -> Any:
    """Send uploads again, as they are; all other calls only once, so that the controller has the faults."""
    if service not in self._clients:
        often = {"mode": "legacy", "total_max_attempts": 6 if service == "s3" else 1}
        self._clients[service] = self.session.client(service, config=Config(retries=often))
    return self._clients[service]


def naive(jobs: Sequence[Composed], bundle: Bundle, progress: Path) -> Callable[[], int]:
    """Make the loop that people write: careful, it notes what was submitted, and tries again.

    Its job names are those of the SageMaker SDK: with the time of the call.
    """
    planner = Planner(bundle, CostEstimator(actions.date.today()))
    requests = [to_request(plan.training_job) for plan in planner.sweep(jobs).plans
                if plan.training_job]  # fmt: skip

    def run() -> int:
        client = boto3.client("sagemaker", config=Config(retries={"total_max_attempts": 1}))
        done = len(progress.read_text().split()) if progress.exists() else 0
        for request in requests[done:]:
            name = _until_submitted(client, request)
            with progress.open("a") as file:
                file.write(f"{name}\n")
        return 0

    return run


def _until_submitted(client: Any, request: dict[str, Any]) -> str:
    while True:
        name = f"{request['TrainingJobName'][:40]}-{uuid.uuid4().hex[:8]}"
        try:
            client.create_training_job(**{**request, "TrainingJobName": name})
            return name
        except (ClientError, BotoCoreError):
            time.sleep(0.2)


@contextmanager
def faulty(settings: Settings, evaluations: int) -> Iterator[tuple[Account, Faults]]:
    """Run an account whose calls fail, with room for more jobs than the sweep may take.

    evaluations: of the hopeless ones.
    """
    faults = Faults(settings.seed, Rates.of(settings.share), delay=0.02)
    quotas = Quotas(settings.slots + settings.room)
    with pretending(Courses(settings.lasts, evaluations), quotas=quotas, faults=faults) as account:
        yield account, faults


def prove(settings: Settings, folder: Path, *, naively: bool = False) -> Found:
    """Run the sweep, or the naive loop in its place, to its end, killed as often as asked."""
    begun = time.monotonic()
    jobs, bundle = composed(settings, folder / "runs")
    run = naive(jobs, bundle, folder / "submitted") if naively else as_a_command(jobs, bundle)
    with faulty(settings, 5 if naively else EVALUATIONS) as (account, faults):
        holder = None if naively else folder / "runs" / NAME / "controller"
        kills, unanswered = until_done(run, settings, folder / "log.txt", moments(settings, holder))
        while naively and not all(job.over for job in account.jobs):
            time.sleep(0.1)
        audit = account.audit()
    failed = faults.failed.total()
    s3 = sum(count for (call, _), count in faults.failed.items() if call.endswith("Object"))
    return Found(
        audit, kills, unanswered, time.monotonic() - begun, faults.calls.total(), failed, s3
    )


def states(folder: Path) -> list[State]:
    """The ends of the trials, by the ledger."""
    with Ledger(folder / "runs" / NAME) as ledger:
        return [record.state for record in ledger.records()]


def losses(found: Found, settings: Settings) -> dict[str, int]:
    """Count what went wrong: configurations that were not trained, trainings too many, slots exceeded."""
    trained = found.audit.trained
    return {
        "missing": settings.jobs - len(trained),
        "too many": sum(trained.values()) - len(trained),
        "above the slots": max(0, max(found.audit.peak.values()) - settings.slots),
    }


def main(words: Sequence[str]) -> int:
    """Run the proof and the naive loop, and print both."""
    parser = argparse.ArgumentParser()
    for name, usual in (("jobs", 200), ("slots", 8), ("kills", 50), ("seed", 7)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    settings = Settings(**vars(parser.parse_args(words)))
    for naively in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            found = prove(settings, Path(folder), naively=naively)
        told = asdict(found) | {
            "audit": {
                "jobs": len(found.audit.started),
                "started": sum(found.audit.started.values()),
                "peak": found.audit.peak,
                "running": len(found.audit.running),
                "stopped": len(found.audit.after_stop),
                "longest_after_stop": max(found.audit.after_stop.values(), default=0.0),
            },
            "losses": losses(found, settings),
        }
        print(json.dumps({"loop": "naive" if naively else "lingotune", **told}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
