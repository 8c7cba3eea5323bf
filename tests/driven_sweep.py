"""A sweep on an account on the wire, whose controller is killed at random moments and started again.

python tests/driven_sweep.py SETTINGS   prints {"kills": ..., "codes": [...]} as JSON

SETTINGS is a JSON object: folder of the ledger, count of trials, slots, kills, seed, and the account's
clock. Imports once and forks each controller, so that a kill costs no start of Python.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from accountant import DIGEST
from botocore.config import Config
from described import described

from lingotune.config.schema import AwsConfig, Sdk
from lingotune.launch.aws.submit import Account
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.fake_account import REGION
from lingotune.launch.sweeps.controller import Controller, Limits
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.sagemaker import SageMaker
from lingotune.launch.sweeps.trial import Evaluation, Trial

STEM = "swept"
LONGEST = 0.8
"""Seconds after which a controller that shall be killed is killed at the latest."""
HOPELESS = 0.3
"""Macro-F1 below which a trial is stopped."""


def trials(count: int) -> list[Trial]:
    """The trials of the sweep, told apart by their numbers."""
    return [
        Trial(number, {"lr": f"{number}e-05"}, (), f"{number:064}", f"{STEM}-{number:010x}")
        for number in range(1, count + 1)
    ]


class Pruned(Grid):
    """Grid that stops the trials whose scores are hopeless."""

    def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
        return evaluations[-1].values["macro_f1"] < HOPELESS


def control(settings: dict[str, Any], job: TrainingJob) -> None:
    """Run the sweep's controller until all trials are done."""
    clock = Clock(**settings["clock"])
    once = Config(retries={"total_max_attempts": 1})  # the controller repeats, not botocore
    account = Account(boto3.Session(region_name=REGION), AwsConfig(sdk=Sdk.boto3), once)

    def job_of(trial: Trial, attempt: int) -> TrainingJob:
        name = trial.job_name(attempt)
        return replace(job, name=name, tags=((DIGEST, trial.key), ("lingotune:name", STEM)))

    backend = SageMaker(account, job_of, STEM, settings["clock"]["start"])
    with Ledger(Path(settings["folder"])) as ledger:
        ledger.add_trials(trials(settings["count"]))
        Controller(
            backend, Pruned(), ledger, Limits(slots=settings["slots"]), watch=True,
            clock=clock.time, sleep=clock.sleep,
        ).run()  # fmt: skip


def forked(settings: dict[str, Any], job: TrainingJob) -> int:
    """Start a controller; its process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        control(settings, job)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Kill controllers as often as asked, and let the last one come to its end."""
    choose, job, codes, kills = random.Random(settings["seed"]), described("cluster=p3_16xl"), [], 0
    for _ in range(settings["kills"]):
        child = forked(settings, job)
        time.sleep(choose.uniform(0.05, LONGEST))
        os.kill(child, signal.SIGKILL)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        kills += codes[-1] == -signal.SIGKILL
    child = forked(settings, job)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return {"kills": kills, "codes": codes}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
