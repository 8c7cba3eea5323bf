"""One host of a job: SageMaker's own training toolkit running in a container's folders.

The toolkit is the package that real images run: it fetches the code, installs requirements.txt,
sets the SM_* variables, starts torchrun or mpirun and writes the failure file.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Thread
from types import TracebackType
from typing import TextIO

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Distribution
from lingotune.launch.simulator.container import OPT_ML, Container, distribution_of
from lingotune.launch.simulator.container_environment import variables_of
from lingotune.launch.simulator.init_process import kill_all
from lingotune.launch.simulator.object_server import serve

_HERE = Path(__file__).resolve().parent
LOG = "log.txt"
"""File in the container's folder with all output, each line with the seconds since the start."""

_PORT = 7777
"""Port of the toolkit's rendezvous."""
_PATIENCE = 120.0
"""Seconds to wait for another rehearsal that is using the port."""
_MPI_STAND_INS = ("ssh-daemon", "host-name-library", "last-sleep")


class Host:
    """A running container, which can be started only once.

    python: of an environment with the toolkit. ranks: GPUs that the container seems to have, and so
    processes on CPU if the job is distributed. variables: override the container's environment. on_line:
    called with every printed line, in a thread of its own. address: of AWS's services; without one the
    container is served its own objects and nothing else. As a context manager it leaves no process behind.
    """

    def __init__(
        self,
        container: Container,
        python: Path,
        *,
        ranks: int,
        variables: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = lambda line: None,
        address: str | None = None,
    ) -> None:
        self.container = container
        self.log = container.folder / LOG
        self.stand_ins = stand_ins(container)
        self._python, self._ranks = python, ranks
        self._variables, self._on_line = dict(variables or {}), on_line
        self._address = address
        self._held = ExitStack()
        self._process: subprocess.Popen[str] | None = None
        self._error: Exception | None = None
        self._reader = Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Start the toolkit; ConfigError if the ranks could not connect on this machine.

        Hosts that need the toolkit's only rendezvous port wait for their turn.
        """
        with ExitStack() as held:
            held.enter_context(_meeting(self.container))
            # Not in the container's folder, as names of sockets are limited to 108 characters.
            temporary = Path(held.enter_context(TemporaryDirectory(prefix="lt-")))
            address = self._address or held.enter_context(serve(self.container.objects))
            self._process = self._run(variables_of(self.container, address, temporary))
            self._held = held.pop_all()
        self._reader.start()

    def _run(self, variables: Mapping[str, str]) -> subprocess.Popen[str]:
        programs = _write_programs(self.container.folder, self._python, self._ranks)
        environment = {**variables, **self._variables}
        environment["PATH"] = os.pathsep.join(
            [str(programs), str(self._python.parent), environment.get("PATH", os.defpath)]
        )
        init = [str(self._python), str(_HERE / "init_process.py"), self._folder]
        toolkit = [str(self._python), str(_HERE / "toolkit_main.py"), *self.stand_ins]
        return subprocess.Popen(
            [*init, *toolkit],
            cwd=self.container.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """Return the exit code, None while it runs. The last lines may not have arrived yet."""
        code = self._started.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and for every line; returns the exit code (137: killed).

        TimeoutError if it still runs after `timeout` seconds; it then continues. An exception of `on_line`
        ends the container, and is raised here.
        """
        try:
            self._started.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {timeout} s") from None
        self._clear()
        if self._error is not None:
            raise self._error
        code = self.poll()
        assert code is not None
        return code

    def interrupt(self, grace: float = 1.0) -> int:
        """End it like a spot interruption; returns the exit code.

        SIGTERM goes to the first process and, `grace` seconds later (SageMaker: 120), SIGKILL to all that
        are left.
        """
        self._started.send_signal(signal.SIGTERM)
        try:
            return self.wait(grace)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """Kill all processes at once."""
        kill_all(self._folder)
        return self.wait()

    @property
    def failure(self) -> str | None:
        """Read the failure file; None if there is none."""
        return self.container.failure()

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process is not None:
            kill_all(self._folder)
            self._clear()

    @property
    def _folder(self) -> str:
        return str(self.container.folder.resolve())

    @property
    def _started(self) -> subprocess.Popen[str]:
        assert self._process is not None, "start() comes first"
        return self._process

    def _clear(self) -> None:
        kill_all(self._folder)  # so does the first process, unless it was killed itself
        self._started.wait()
        self._reader.join()
        assert self._started.stdin is not None
        self._started.stdin.close()
        self._held.close()

    def _read(self) -> None:
        assert self._started.stdout is not None
        begin = time.monotonic()
        with self._started.stdout as lines, self.log.open("w", encoding="utf-8") as log:
            for line in lines:
                log.write(f"{time.monotonic() - begin:8.2f} {line}")
                log.flush()
                try:
                    self._on_line(line.rstrip("\n"))
                except Exception as error:
                    self._error, self._on_line = error, lambda line: None
                    kill_all(self._folder)


def wait_for_all(hosts: Sequence[Host], timeout: float, grace: float = 10.0) -> list[int]:
    """Wait for the hosts of one job, all of them started; returns their exit codes.

    Like SageMaker, it ends the others once one has failed, as ranks that are computing would not notice.
    They have `grace` seconds to fail by themselves and say why. TimeoutError if any still runs after
    `timeout` seconds; then all are killed.
    """
    deadline, failing = time.monotonic() + timeout, False
    while any(host.poll() is None for host in hosts):
        if not failing and any(host.poll() for host in hosts):
            failing, deadline = True, min(deadline, time.monotonic() + grace)
        if time.monotonic() > deadline:
            codes = [host.kill() for host in hosts]
            if failing:
                return codes
            raise TimeoutError(f"still running after {timeout} s")
        time.sleep(0.05)
    return [host.wait() for host in hosts]


def stand_ins(container: Container) -> tuple[str, ...]:
    """List the parts of a real container to replace so that its launcher runs here; see toolkit_main.py."""
    request = container.request
    mpi = distribution_of(request) is Distribution.smdistributed
    isolated = OPT_ML in request["HyperParameters"]["sagemaker_submit_directory"]
    return (*(_MPI_STAND_INS if mpi else ()), *(("opt-ml",) if isolated else ()))


def _write_programs(folder: Path, python: Path, ranks: int) -> Path:
    """Write programs that the toolkit calls by name into a folder for PATH."""
    programs = folder.resolve() / "bin"  # the container has another working directory
    programs.mkdir(exist_ok=True)
    listed = "".join(f"echo 'GPU {number}: none, a CPU rank'\n" for number in range(ranks))
    _write_program(programs / "nvidia-smi", listed)
    if not (python.parent / "torchrun").exists():  # torch is from another environment
        _write_program(programs / "torchrun", f'exec "{python}" -m torch.distributed.run "$@"\n')
    return programs


def _write_program(path: Path, lines: str) -> None:
    path.write_text(f"#!/bin/sh\n{lines}", encoding="utf-8")
    path.chmod(0o755)


@contextmanager
def _meeting(container: Container) -> Iterator[None]:
    """Reserve the toolkit's rendezvous port for the first host, if the toolkit uses it."""
    mpi = distribution_of(container.request) is Distribution.smdistributed
    if mpi and len(container.hosts) > 1:
        what = "with smdistributed mpirun reaches the other nodes by ssh, which is not rehearsed"
        fix = "cluster.nodes=1 or cluster.distribution=torch_distributed"
        raise ConfigError([Problem("cluster.nodes", what, fix)])
    first_of_many = len(container.hosts) > 1 and container.current_host == container.hosts[0]
    with _port() if mpi or first_of_many else nullcontext():
        yield


@contextmanager
def _port() -> Iterator[None]:
    path = Path(gettempdir(), f"lingotune-{os.getuid()}-{_PORT}.lock")
    with path.open("w") as file:  # the lock ends with this process, even if it is killed
        deadline = time.monotonic() + _PATIENCE
        while not _free(file):
            if time.monotonic() > deadline:
                what = f"port {_PORT}, where SageMaker's toolkit lets the ranks meet, is taken"
                raise ConfigError([Problem("rehearsal", what, "end what listens there")])
            time.sleep(0.2)
        yield


def _free(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        socket.create_server(("", _PORT)).close()
    except OSError:
        return False
    return True
