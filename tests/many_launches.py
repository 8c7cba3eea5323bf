"""Jobs submitted one by one to an account that throttles and loses answers, by launchers that are killed.

python tests/many_launches.py --launches 1000 --seed 1 [--naive]   prints what became of them as JSON

Each command is typed again until it ends well. The account's own record says how many jobs there are, and
whether each message was true. No pause takes time. --naive: the loop that people write, as a control.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import gzip
import io
import itertools
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import killing
from accountant import audit
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session
from botocore.loaders import JSONFileLoader
from botocore.retries.bucket import TokenBucket
from conftest import chosen_once
from faults import Faults, FaultyFront, Rates
from killing import KILLED, Moment

from lingotune.cli import launch
from lingotune.config.console import exit_code_of
from lingotune.launch.compose import compose as composing
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.simulator.loopback.fake_account import (
    BUCKET,
    REGION,
    ROLE,
    furnish,
    only_aws,
    variables,
)
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.service import serve

RATES = Rates(throttled=0.3, lost=0.05)
KILLS = 0.1
"""Share of the launchers that are killed."""
CALLS = 12
"""Calls of AWS that a launch makes, about: at one of them it is killed."""
AGAIN = 60
"""Times at most that a command is typed."""
NAMES = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}", "aws.sdk=boto3"]


# --- the account, in a process of its own ---------------------------------------------------------


@contextmanager
def account(seed: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Run an account whose jobs go on for ever; yields its address without faults, and what asks for its
    record. This process knows the address with faults, and keeps free of threads."""
    (reading, telling), (waiting, ending) = os.pipe(), os.pipe()
    server = os.fork()
    if server == 0:
        os.close(ending)
        _serve(seed, telling, waiting)
    os.close(telling)
    os.close(waiting)
    with os.fdopen(reading) as told:
        faulty, behind = json.loads(told.readline())

        def record() -> dict[str, Any]:
            os.write(ending, b"?")
            found: dict[str, Any] = json.loads(told.readline())
            return found

        with mock.patch.dict(os.environ, {**variables(faulty), "AWS_DEFAULT_REGION": REGION}):
            yield behind, record
    os.close(ending)
    os.waitpid(server, 0)


def _serve(seed: int, telling: int, waiting: int) -> None:
    faults, jobs = Faults(seed, RATES), Jobs()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what it says of clients that were killed
    with ExitStack() as held, os.fdopen(telling, "w") as told:
        behind = held.enter_context(serve(jobs))
        with only_aws(behind):
            furnish(boto3.Session(region_name=REGION))
        host, _, port = behind.removeprefix("http://").partition(":")
        front = FaultyFront((host, int(port)), faults)
        print(json.dumps([front.address, behind]), file=told, flush=True)
        while os.read(waiting, 1):
            found = audit(jobs)
            calls = {"calls": faults.calls.total(), "failed": faults.failed.total()}
            record = {"jobs": sum(found.started.values()), "twice": len(found.twice), **calls}
            print(json.dumps(record), file=told, flush=True)
    os._exit(0)


# --- launchers ------------------------------------------------------------------------------------


def at_call(number: int, *, answered: bool) -> Moment:
    """The moment of a call of AWS: before it is sent, or once it has been answered."""
    send, left = URLLib3Session.send, itertools.count(number - 1, -1)

    def counted(self: URLLib3Session, request: Any) -> Any:
        last = next(left) == 0
        if last and not answered:
            killing.kill()
        reply = send(self, request)
        if last:
            killing.kill()
        return reply

    return lambda: setattr(URLLib3Session, "send", counted)


def warm_up() -> None:
    """Do once, for all launchers, what they do alike: read AWS's models, choose groups, pack the code."""
    read = functools.cache(JSONFileLoader().load_file)
    mock.patch.object(JSONFileLoader, "load_file", lambda self, path: read(path)).start()
    mock.patch.object(composing, "_chosen_groups", chosen_once).start()
    session = boto3.Session("x", "x", region_name=REGION)
    for service in ("iam", "s3", "sagemaker", "service-quotas", "sts"):
        session.client(service)
    mock.patch.object(gzip, "compress", functools.cache(gzip.compress)).start()
    mock.patch.object(TokenBucket, "acquire", lambda self, amount=1, block=True: True).start()
    mock.patch.object(time, "sleep", lambda seconds: None).start()  # pauses between tries
    assert build_bundle().content
    with contextlib.redirect_stdout(io.StringIO()):
        launch.main(["cluster=p4d_24xl", *NAMES])
    gc.collect()
    gc.freeze()


def launching(number: int, runs: Path) -> int:
    """Submit a job as the command does; returns its exit code."""
    typed = [f"name=launch-{number:05}", "cluster=p4d_24xl", f"runs_dir={runs}", "action=submit"]
    return exit_code_of(lambda: launch.main([*typed, *NAMES]))


def naive(number: int, runs: Path) -> int:
    """Submit a job as people do: under a name with the time, and again where there was an error."""
    name = f"launch-{number:05}-{uuid.uuid4().hex[:8]}"
    request = json.loads((runs / "request.json").read_text())
    try:
        boto3.client("sagemaker").create_training_job(**{**request, "TrainingJobName": name})
    except (ClientError, BotoCoreError) as error:
        print(error)
        return 1
    return 0


@dataclass
class Found:
    """What was found. typed: commands; untrue: messages that were not true, with their commands."""

    launches: int = 0
    typed: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    untrue: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)


STARTED = ("submitted ", "the job is there", "was started before")
NOTHING = "nothing was started"
UNKNOWN = "may have been started"


def is_true(code: int, said: str, before: int, after: int) -> bool:
    """Tell whether a command has told what the account's record says of its job."""
    if code in KILLED:
        return True
    if code == 0:
        return after == 1 and any(words in said for words in STARTED)
    if NOTHING in said:
        return before == after
    return UNKNOWN in said


def until_done(
    launcher: Callable[[], int],
    log: Path,
    count: Callable[[], int],
    chance: random.Random,
    found: Found,
) -> None:
    """Type a command until it ends well, and compare what it says with the record each time."""
    before = count()
    for _ in range(AGAIN):
        killed = chance.random() < KILLS
        number, answered = chance.randint(1, CALLS), chance.random() < 0.5
        log.unlink(missing_ok=True)
        when = at_call(number, answered=answered) if killed else None
        code = killing.ended(killing.begin(launcher, log, when))
        found.typed, found.codes[code] = found.typed + 1, found.codes[code] + 1
        said, after = log.read_text(encoding="utf-8"), count()
        if not is_true(code, said, before, after) or "Traceback" in said:
            found.untrue.append(f"{code}, jobs {before} then {after}: {said[-1500:]}")
        if code == 0:
            return
        before = after
    found.untrue.append(f"not submitted after {AGAIN} commands: {said[-1500:]}")


def prove(launches: int, seed: int, folder: Path, *, naively: bool = False) -> Found:
    """Submit so many jobs."""
    found, chance = Found(launches), random.Random(seed)
    launcher = naive if naively else launching
    warm_up()
    if naively:
        (folder / "request.json").write_text(json.dumps(request(folder)))
    with account(seed) as (behind, record):
        client = boto3.client("sagemaker", endpoint_url=behind)
        for number in range(launches):
            named = f"launch-{number:05}-"

            def count(named: str = named) -> int:
                return len(client.list_training_jobs(NameContains=named)["TrainingJobSummaries"])

            until_done(partial(launcher, number, folder), folder / "log.txt", count, chance, found)
            if number % 50 == 49:
                print(number + 1, found.codes, len(found.untrue), file=sys.stderr, flush=True)
        found.record = record()
    if naively:  # it tells nothing that could be true
        found.untrue.clear()
    return found


def request(folder: Path) -> Any:
    """The request of a job, as the plan prints it."""
    log = folder / "request.txt"
    typed = ["cluster=p4d_24xl", "output=request", *NAMES]
    assert killing.ended(killing.begin(lambda: launch.main(typed), log, None)) == 0
    return json.loads(log.read_text())


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--launches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--naive", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = prove(options.launches, options.seed, Path(folder), naively=options.naive)
    print(json.dumps(vars(found), indent=1))
    return int(found.record["jobs"] != options.launches or bool(found.untrue))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
