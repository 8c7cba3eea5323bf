"""A run that is killed at random moments and started again until it comes to its end.

python tests/killing.py JOB_FILE RUN_DIR KILLS SEED   prints {"kills": ..., "codes": [...]} as JSON

Imports once and forks each attempt, so that a kill costs about a second instead of ten.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def attempt(job_file: str, run_dir: str, seconds: float | None) -> int:
    """Exit code of one attempt, -9 where it was killed after so many seconds."""
    child = os.fork()
    if child == 0:
        with Path(f"{run_dir}.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        from lingotune.messages import exit_code_of
        from lingotune.training.worker import main

        os._exit(exit_code_of(lambda: main(["--job", job_file, "--run-dir", run_dir])))
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_and_resume(job_file: str, run_dir: str, kills: int, seed: int) -> dict[str, object]:
    """At most so many kills, each at a random moment of a run's length; the last one may finish."""
    import lingotune.report
    import lingotune.training.fit  # noqa: F401  imported once, for all attempts

    choose, codes, length = random.Random(seed), [], 2.5
    while codes.count(-9) < kills:
        codes.append(attempt(job_file, run_dir, choose.uniform(0.3, length)))
        if codes[-1] != -9:
            break
    if codes[-1:] != [0]:
        codes.append(attempt(job_file, run_dir, None))
    return {"kills": codes.count(-9), "codes": codes}


if __name__ == "__main__":
    print(json.dumps(kill_and_resume(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
