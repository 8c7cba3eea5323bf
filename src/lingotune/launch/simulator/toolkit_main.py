"""SageMaker's training toolkit with stand-ins; `host.py` runs this file with the container's Python.

    python toolkit_main.py [STAND_IN ...]

Without stand-ins this is the command `train` that starts a container. Each stand-in replaces one thing
that only a real container has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def _module(name: str) -> Any:
    return import_module(f"sagemaker_training.{name}")


def no_ssh_daemon() -> None:
    """Do without /usr/sbin/sshd, which the toolkit insists on: mpirun needs no ssh on one machine."""
    _module("smdataparallel")._start_sshd_daemon = lambda: None


def no_host_name_library() -> None:
    """Do without the library that gives ranks their container's host name: it crashes programs here."""
    _module("smdataparallel").getfile = lambda module: ""


def no_last_sleep() -> None:
    """Skip the 30 seconds that the toolkit sleeps after the ranks have ended."""
    _module("smdataparallel").time = SimpleNamespace(sleep=lambda seconds: None)


def no_opt_ml() -> None:
    """Find the code of an isolated job, which names it by the path in a real container."""
    files, base_dir = _module("files"), _module("environment").base_dir
    fetch = files.download_and_extract

    def fetch_here(uri: str, path: str) -> None:
        fetch(uri=uri.replace("/opt/ml", base_dir, 1), path=path)

    files.download_and_extract = fetch_here


STAND_INS: dict[str, Callable[[], None]] = {
    "ssh-daemon": no_ssh_daemon,
    "host-name-library": no_host_name_library,
    "last-sleep": no_last_sleep,
    "opt-ml": no_opt_ml,
}


def main(names: Sequence[str]) -> None:
    """Install the stand-ins and train; exits the process."""
    for name in names:
        STAND_INS[name]()
    _module("cli.train").main()


if __name__ == "__main__":
    # Do not import from the folder of this file.
    sys.path[:] = [
        path for path in sys.path if Path(path or ".").resolve() != Path(__file__).parent
    ]
    main(sys.argv[1:])
