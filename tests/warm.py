"""Commands of the project as forks of a process that has imported what they need: a second instead of ten.

`Server.run` is subprocess.run of `python ARGUMENT ...`. The fork has the arguments, the folder, the
environment, the streams and the search path of a new process, ends as one does and is killed as one is.
What it cannot show is how a process begins: `is_warm` tells which commands may be forks.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import hashlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import process
from pathlib import Path
from typing import IO, Any, TextIO
from uuid import uuid4

from waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
_DATA = ["lingotune.data.prepared.prepare", "matplotlib.figure", "pandas", "pyarrow.parquet"]
IMPORTS = {
    "training": [
        "datasets", "pandas", "torch.utils.tensorboard", "tensorboard.plugins.hparams.api_pb2",
        "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "matplotlib.figure",
        "transformers.convert_slow_tokenizer", "transformers.models.distilbert.modeling_distilbert",
        "tokenizers.trainers", "lingotune.cli.train", "lingotune.data.sources.sample",
        "lingotune.report.charts", "lingotune.report.run_charts", "lingotune.report.run_page",
        "lingotune.report.tables", "lingotune.training.fit",
    ],
    "planning": ["lingotune.cli.launch", "lingotune.cli.prepare", "lingotune.launch.actions", *_DATA],
    "submitting": [
        "lingotune.cli.launch", "lingotune.launch.actions", "sagemaker.huggingface", "boto3", *_DATA,
    ],
}  # fmt: skip
"""What commands of a kind have imported. Those that need no torch must do without it: they go another way
where it is there."""
SCRIPTS = {
    "train.py": "training", "launch.py": "planning", "tests/killing.py": "training",
    "tests/kill_proof.py": "training",
    "tests/forked.py": "training", "tests/stopping.py": "training",
    "tests/loaded.py": "training", "tests/limited.py": "training", "tests/exchanging.py": "training",
}  # fmt: skip
WITHOUT_TORCH = ["launch", "models", "prepare", "prices", "cost", "validate", "completion",
                 "--help"]  # fmt: skip
READ_ONCE = (
    "ACCELERATE", "CUDA", "DATASETS", "HF_", "HOME", "HUGGINGFACE", "KMP_", "LANG", "LC_", "LD_", "MALLOC",
    "MKL_", "MPL", "NUMEXPR", "OMP_", "OPENBLAS", "PYTHON", "TMPDIR", "TOKENIZERS", "TORCH", "TRANSFORMERS",
    "TZ", "USE_", "XDG_",
)  # fmt: skip
"""How variables begin that the interpreter or a library reads as it is loaded."""
WITHOUT_PICTURES = {"WARM_WITHOUT": "matplotlib"}
"""For a command whose pictures nobody looks at, which cost as much as all else of a quick training: its
environment lacks matplotlib, as many training images do."""
WITH_BASELINE = {"WARM_WITH_SKLEARN": "1"}
"""For a command whose baseline is looked at: others do without scikit-learn, as many images do."""
BEGINNING = dict(os.environ)
"""The environment in which the tests began."""
IN_WORKER = "PYTEST_XDIST_WORKER" in os.environ
RUN, OWNER = (
    (os.environ["PYTEST_XDIST_TESTRUNUID"], os.getppid())
    if IN_WORKER
    else (uuid4().hex, os.getpid())
)
"""Name of this run of the tests, which its workers share, and the process with which it ends."""


def is_warm(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether a fork will do: a command of this checkout, in an environment like that of the tests."""
    known = sys.platform == "linux" and _kind(arguments)
    return bool(known) and _read_once(environment) == _read_once(BEGINNING)


def _kind(arguments: Sequence[str]) -> str | None:
    """Return the kind of `python ARGUMENT ...`; None for what is no command of this checkout."""
    first, *rest = arguments
    if {"action=submit", "output=json"} <= {*rest}:
        return None  # the SDK logs to the stdout that it finds as it is imported
    if first == "-m" and rest[0] != "lingotune":
        return None
    if first == "-m":
        kind = "planning" if {*rest[1:2]} <= {*WITHOUT_TORCH} else "training"
    else:
        kind = next((kind for name, kind in SCRIPTS.items() if ROOT / first == ROOT / name), "")
    return "submitting" if kind == "planning" and "action=submit" in rest else kind or None


def _read_once(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    names = sorted(
        name for name in environment if name.startswith(READ_ONCE) and name != "HF_TOKEN"
    )
    return tuple((name, environment[name]) for name in names)


def server_for(arguments: Sequence[str], environment: Mapping[str, str]) -> Server:
    """Return what forks for a command of this checkout; it is kept for the next one."""
    kind = _kind(arguments)
    assert kind, arguments
    return _server(kind, _read_once(environment))


class Process:
    """A fork that runs, as subprocess.Popen has it. It is no child of this process."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.pid = int(answers.recv(64))
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; TimeoutError if there is none within `timeout` seconds."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            self.returncode = int(self._answers.recv(64))
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        with contextlib.suppress(BlockingIOError):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *args: object) -> None:
        self.wait()
        self._answers.close()


class Server:
    """A process that has imported modules, and forks for each command; it ends with the run of the tests.

    name: all that give the same one share a process. Whoever binds the address first starts it.
    """

    def __init__(
        self, modules: Sequence[str], environment: Mapping[str, str], name: str = ""
    ) -> None:
        address = f"\0lingotune-{RUN}-{name or uuid4().hex}"  # of no file: it ends with its sockets
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            with contextlib.suppress(OSError):  # the address is in use
                listener.bind(address)
                listener.listen(64)
                self.process = subprocess.Popen(
                    [sys.executable, __file__, str(listener.fileno()), str(OWNER), *modules],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[listener.fileno()],
                )
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            wait_until(lambda: self._socket.connect_ex(address) == 0)

    def start(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        out: IO[Any],
        err: IO[Any] = sys.__stderr__,
        given: IO[Any] | None = None,
    ) -> Process:
        """Fork for `python ARGUMENT ...` with these streams; by default those of this process."""
        command = {"arguments": [*arguments], "cwd": str(cwd), "environment": dict(environment)}
        answers, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs, tempfile.TemporaryFile("w+") as told:
            json.dump(command, told)
            told.flush()
            first = given.fileno() if given else 0
            files = [first, out.fileno(), err.fileno(), told.fileno(), theirs.fileno()]
            socket.send_fds(self._socket, [b"fork"], files)
            theirs.close()
            return Process(answers)

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        timeout: float,
        given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Fork for `python ARGUMENT ...`, and wait for its end; given: its standard input."""
        command = [sys.executable, *arguments]
        with contextlib.ExitStack() as files:
            text, out, err = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            text.write(given or "")
            text.seek(0)
            streams = out, err, None if given is None else text
            with self.start(arguments, cwd, environment, *streams) as process:
                try:
                    code = process.wait(timeout)
                except TimeoutError:
                    process.kill()
                    process.wait()
                    told = _text(out), _text(err)
                    raise subprocess.TimeoutExpired(command, timeout, *told) from None
            return subprocess.CompletedProcess(command, code, _text(out), _text(err))


def _text(stream: TextIO) -> str:
    stream.seek(0)
    return stream.read()


@functools.cache
def _server(kind: str, read_once: tuple[tuple[str, str], ...]) -> Server:
    others = {name: value for name, value in BEGINNING.items() if not name.startswith(READ_ONCE)}
    seen = hashlib.sha256(repr(read_once).encode()).hexdigest()[:16]
    return Server(IMPORTS[kind], others | dict(read_once), f"{kind}-{seen}")


# --- in the process that forks --------------------------------------------------------------------


def _wait_for_client(listener: socket.socket, owner: int) -> socket.socket | None:
    """Fork for each process that connects; returns its socket in the fork, and None in this process once
    the tests are over."""
    while _is_there(owner):
        if select.select([listener], [], [], 1)[0]:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return client
            client.close()
        while _reap(os.WNOHANG):
            pass
    return None


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_for_command(client: socket.socket) -> dict[str, Any] | None:
    """Fork for each command; returns it in the fork, and None in this process once the tests are over."""
    while True:
        message, files, *_ = socket.recv_fds(client, 8, 5)
        if not message:
            return None
        while _reap(os.WNOHANG):
            pass
        if os.fork() == 0:
            client.close()
            return _fork(files)
        for file in files:
            os.close(file)


def _reap(options: int) -> bool:
    try:
        return os.waitpid(-1, options)[0] != 0
    except ChildProcessError:
        return False


def _fork(files: Sequence[int]) -> dict[str, Any]:
    """Fork once more: this process tells of the end of the other, in which the command is returned."""
    *streams, given, answers = files
    client = socket.socket(fileno=answers)
    child = os.fork()
    if child:
        for file in files[:-1]:
            os.close(file)
        client.send(b"%d" % child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(OSError):  # the tests may be over
            client.send(b"%d" % code)
        os._exit(0)
    client.close()
    for number, file in enumerate(streams):
        os.dup2(file, number)
    with os.fdopen(given) as text:
        text.seek(0)
        command: dict[str, Any] = json.load(text)
    for file in streams:
        os.close(file)
    return command


def _become(command: Mapping[str, Any]) -> None:
    """Make of this fork what a new process would be, and run the command."""
    gc.enable()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(command["cwd"])
    process.ORIGINAL_DIR = command["cwd"]
    os.environ.clear()
    os.environ.update(command["environment"])
    if os.environ.pop("WARM_WITH_SKLEARN", None):
        del sys.modules["sklearn"]
    if lacking := os.environ.pop("WARM_WITHOUT", None):
        for name in [name for name in sys.modules if name.partition(".")[0] == lacking]:
            sys.modules[name] = None  # type: ignore[assignment]
    tempfile.tempdir = None
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # Python's own has seen to it
    first, *rest = command["arguments"]
    sys.orig_argv[:] = [sys.executable, first, *rest]
    code: object = 0
    try:
        if first == "-m":
            sys.argv[:] = rest
            sys.path[0] = command["cwd"]
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = [first, *rest]
            sys.path[0] = str(Path(first).resolve().parent)
            runpy.run_path(first, run_name="__main__")
    except SystemExit as error:
        code = error.code or 0
    if isinstance(code, int):
        _leave(code)
    sys.exit(code)  # type: ignore[arg-type]


def _leave(code: int) -> None:
    """End as a process does, but for taking all modules apart, which takes a third of a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _use_once() -> None:
    """Do what is done on first use: grammars, plugins, models of services, the search of the code."""
    from lingotune.launch.checks import request as checks
    from lingotune.launch.compose import compose
    from lingotune.launch.render.bundle import build_bundle

    conf = ROOT / "conf"
    compose.compose_all(["cluster=p3_16xl", "lr=1e-5"], conf, lambda config: [], multirun=False)
    # The code of all workers is searched for secrets, 1.8 MB, and it is remembered that there are none.
    checks.CODE.run(build_bundle())
    if "boto3" in sys.modules:
        from botocore.loaders import JSONFileLoader

        read = functools.cache(JSONFileLoader().load_file)
        JSONFileLoader.load_file = lambda self, path: read(path)
        session = sys.modules["boto3"].Session("x", "x", region_name="us-east-1")
        for service in ("iam", "s3", "sagemaker", "sagemaker-runtime", "service-quotas", "sts"):
            session.client(service)


if __name__ == "__main__":
    gc.disable()
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # see WITH_BASELINE
    for module in sys.argv[3:]:
        importlib.import_module(module)
    if "lingotune.launch.compose" in sys.modules:
        _use_once()
    gc.freeze()  # a collection would copy every page
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    served = _wait_for_client(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    begun = _wait_for_command(served) if served else None
    if begun is None:
        os._exit(0)
    _become(begun)
