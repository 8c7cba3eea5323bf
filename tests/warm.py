"""Commands of the project as forks of a process that has imported what they need: a second instead of ten.

`run` is subprocess.run of `python ARGUMENT ...`. The fork has the arguments, the folder, the environment,
the streams and the search path of a new process, ends as one does and is killed as one is. What it cannot
show is how a process begins: `is_warm` tells which commands may be forks.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import process
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
WITH_TORCH = ["train.py", "tests/killing.py", "tests/forked.py"]
WITHOUT_TORCH = ["launch.py"]
"""Scripts, and below commands of `python -m lingotune`, that are run without torch, and go another way
where it is there."""
COMMANDS_WITHOUT_TORCH = ["launch", "prepare", "prices", "cost", "validate", "completion", "--help"]
IMPORTS = {
    True: [
        "datasets", "pandas", "torch.utils.tensorboard", "tensorboard.plugins.hparams.api_pb2",
        "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg",
        "transformers.convert_slow_tokenizer", "transformers.models.distilbert.modeling_distilbert",
        "tokenizers.trainers", "lingotune.cli.train", "lingotune.data.sources.sample",
        "lingotune.report.charts", "lingotune.report.run_charts", "lingotune.report.run_page",
        "lingotune.report.tables", "lingotune.training.fit",
    ],
    False: ["lingotune.cli.launch", "lingotune.cli.prepare", "lingotune.launch.actions"],
}  # fmt: skip
READ_ONCE = (
    "ACCELERATE", "CUDA", "DATASETS", "HF_", "HOME", "HUGGINGFACE", "KMP_", "LANG", "LC_", "LD_", "MALLOC",
    "MKL_", "MPL", "NUMEXPR", "OMP_", "OPENBLAS", "PYTHON", "TMPDIR", "TOKENIZERS", "TORCH", "TRANSFORMERS",
    "TZ", "USE_", "XDG_",
)  # fmt: skip
"""How variables begin that the interpreter or a library reads as it is loaded."""
BEGINNING = dict(os.environ)
"""The environment in which the tests began."""


def is_warm(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether a fork will do: a command of this checkout, in an environment like that of the tests."""
    known = sys.platform == "linux" and _needs_torch(arguments) is not None
    return known and _read_once(environment) == _read_once(BEGINNING)


def _needs_torch(arguments: Sequence[str]) -> bool | None:
    """Whether the imports of `python ARGUMENT ...` are those with torch; None for another's command."""
    first, *rest = arguments
    if first == "-m":
        return rest[1] not in COMMANDS_WITHOUT_TORCH if rest[0] == "lingotune" else None
    path = ROOT / first
    if path in [ROOT / script for script in WITH_TORCH]:
        return True
    return False if path in [ROOT / script for script in WITHOUT_TORCH] else None


def _read_once(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    names = sorted(
        name for name in environment if name.startswith(READ_ONCE) and name != "HF_TOKEN"
    )
    return tuple((name, environment[name]) for name in names)


def run(
    arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENT ...`; TimeoutExpired after `timeout` seconds, when it has been killed."""
    torch = _needs_torch(arguments)
    assert torch is not None, arguments
    return _server(torch, _read_once(environment)).run(arguments, cwd, environment, timeout)


class Server:
    """A process that has imported modules and forks, one command after the other; it ends with this one."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Fork for `python ARGUMENT ...`, and wait for its end."""
        command = {"arguments": [*arguments], "cwd": str(cwd), "environment": dict(environment)}
        with contextlib.ExitStack() as files:
            given, out, err = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            json.dump(command, given)
            given.flush()
            told = [0, out.fileno(), err.fileno(), given.fileno()]
            socket.send_fds(self._socket, [b"fork"], told)
            child = self._answer(None)
            try:
                code = self._answer(timeout)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                self._answer(None)
                expired = [sys.executable, *arguments], timeout, _text(out), _text(err)
                raise subprocess.TimeoutExpired(*expired) from None
            return subprocess.CompletedProcess(
                [sys.executable, *arguments], code, _text(out), _text(err)
            )

    def _answer(self, timeout: float | None) -> int:
        self._socket.settimeout(timeout)
        return int(self._socket.recv(64))


def _text(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read()


@functools.cache
def _server(torch: bool, read_once: tuple[tuple[str, str], ...]) -> Server:
    others = {name: value for name, value in BEGINNING.items() if not name.startswith(READ_ONCE)}
    return Server(IMPORTS[torch], others | dict(read_once))


# --- in the process that forks --------------------------------------------------------------------


def _wait_for_command(client: socket.socket) -> dict[str, Any] | None:
    """Fork for each command; returns it in the fork, and None in this process once the tests are over."""
    while True:
        message, files, *_ = socket.recv_fds(client, 8, 4)
        if not message:
            return None
        child = os.fork()
        if child == 0:
            client.close()
            for number, file in enumerate(files[:3]):
                os.dup2(file, number)
            command: dict[str, Any] = json.loads(os.pread(files[3], 1 << 24, 0))
            for file in files:
                os.close(file)
            return command
        for file in files:
            os.close(file)
        client.send(b"%d" % child)
        client.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _become(command: Mapping[str, Any]) -> None:
    """Make of this fork what a new process would be, and run the command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(command["cwd"])
    process.ORIGINAL_DIR = command["cwd"]
    os.environ.clear()
    os.environ.update(command["environment"])
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own has seen to it
    first, *rest = command["arguments"]
    sys.orig_argv[:] = [sys.executable, first, *rest]
    if first == "-m":
        sys.argv[:] = rest
        sys.path[0] = command["cwd"]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [first, *rest]
        sys.path[0] = str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for module in sys.argv[2:]:
        importlib.import_module(module)
    gc.freeze()  # a collection would copy every page
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begun = _wait_for_command(socket.socket(fileno=int(sys.argv[1])))
    if begun:
        _become(begun)
