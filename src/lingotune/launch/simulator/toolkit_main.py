"""SageMaker's training toolkit with stand-ins; `host.py` has the container's Python run this file.

    python toolkit_main.py [STAND_IN ...]

Without stand-ins this is the command `train` that a container is started with. Each stand-in
replaces one thing that only the real container holds.
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
    """mpirun starts ranks on this machine without ssh; the toolkit insists on /usr/sbin/sshd."""
    _module("smdataparallel")._start_sshd_daemon = lambda: None


def no_host_name_library() -> None:
    """The library that gives every rank its container's host name ends programs elsewhere."""
    _module("smdataparallel").getfile = lambda module: ""


def no_last_sleep() -> None:
    """The toolkit sleeps 30 seconds once the ranks have ended."""
    _module("smdataparallel").time = SimpleNamespace(sleep=lambda seconds: None)


def no_opt_ml() -> None:
    """An isolated job names its code by the path in a real container."""
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
    """Put the stand-ins in place and train; ends the process."""
    for name in names:
        STAND_INS[name]()
    _module("cli.train").main()


if __name__ == "__main__":
    # The folder of this file is no place to import from.
    sys.path[:] = [
        path for path in sys.path if Path(path or ".").resolve() != Path(__file__).parent
    ]
    main(sys.argv[1:])
