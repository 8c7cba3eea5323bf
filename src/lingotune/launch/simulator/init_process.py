"""The first process of a rehearsed container; `host.py` runs this file with the container's Python.

    python init_process.py FOLDER PROGRAM [ARGUMENT ...]

Like the first process of a real container it takes all others down with it: when the program ends, and
when its parent is gone, which closes standard input. It does not pass on SIGTERM, like the shell that
SageMaker's images start with, so that no training script ever sees it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

BASE_DIR = "SAGEMAKER_BASE_DIR"
"""Variable with the container's folder. Every process of the container inherits it, and is recognised by
it even if its parent has gone or it leads a session of its own, as torchrun's ranks do."""
KILLED = 128 + signal.SIGKILL
"""Exit code of a container that was killed."""


def processes_in(folder: str) -> list[int]:
    """List the ids of the processes, other than this one, of the container with this folder."""
    mark = f"{BASE_DIR}={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:  # ended, or another user's
            continue
    return [number for number in found if number != os.getpid()]


def kill_all(folder: str) -> None:
    """Kill every process of a container, including those that start meanwhile."""
    while running := processes_in(folder):
        for number in running:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def main(argv: Sequence[str]) -> int:
    """Run the program; returns its exit code."""
    folder, *program = argv

    def end_with_the_starter() -> None:
        os.read(0, 1)
        kill_all(folder)
        os._exit(KILLED)

    def keep(number: int, frame: object) -> None:
        print("SIGTERM: the container shall stop; no process of the job is told", flush=True)

    signal.signal(signal.SIGTERM, keep)  # a handler rather than SIG_IGN, which would be inherited
    Thread(target=end_with_the_starter, daemon=True).start()
    code = subprocess.Popen(program, stdin=subprocess.DEVNULL).wait()
    kill_all(folder)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
