"""What the controller of a sweep takes of a core while its jobs run, and which calls it makes.

python benchmarks/controller.py [--jobs 200] [--seconds 60]

The jobs pretend to train, each with an evaluation a minute, on the SageMaker of this machine; all run at
once. Counted are the processor time of `launch.py -m ... action=submit --follow` and the calls that reach
the account, for as many seconds, once for a grid and once with early ends, which need the jobs' logs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the jobs that pretend

from faults import Faults  # noqa: E402
from pretend import Account, Course, pretending  # noqa: E402

from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE  # noqa: E402

COURSE = Course([0.5 + n / 1000 for n in range(60)], evaluation_time=60.0, starting=5.0)


def seconds_of(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def running(account: Account) -> int:
    """Jobs that train now."""
    return sum(job.secondary == "Training" for job in account.jobs)


def measure(account: Account, faults: Faults, jobs: int, seconds: float, *typed: str) -> str:
    """Start a sweep, wait until all of its jobs train, and measure its controller; a line of text."""
    rates = ",".join(f"{n}e-6" for n in range(1, jobs + 1))
    names = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}"]
    command = [sys.executable, str(ROOT / "launch.py"), "-m", "cluster=p3_16xl", f"lr={rates}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*command, *names, *typed, "action=submit", "--follow"],
            cwd=folder, stdout=subprocess.DEVNULL,
        ) as controller,
    ):  # fmt: skip
        while running(account) < jobs:
            if controller.poll() is not None:
                raise SystemExit("the controller has ended")
            time.sleep(1)
        time.sleep(10)
        before, calls = seconds_of(controller.pid), Counter(faults.calls)
        time.sleep(seconds)
        share = (seconds_of(controller.pid) - before) / seconds
        made = faults.calls - calls
        controller.terminate()
    told = ", ".join(f"{count} {name}" for name, count in made.most_common())
    return f"{share:.2%} of a core; calls in {seconds:.0f} s: {told}"


def main() -> None:
    """Measure a grid, and the same with early ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    for typed in ([], ["sweep.prune=asha"]):
        faults = Faults()
        with pretending(lambda asked: COURSE, faults=faults) as account:
            told = measure(account, faults, options.jobs, options.seconds, *typed)
        print(f"{options.jobs} jobs {' '.join(typed) or 'grid'}: {told}", flush=True)


if __name__ == "__main__":
    main()
