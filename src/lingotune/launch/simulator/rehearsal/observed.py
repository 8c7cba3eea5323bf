"""Processes of a rehearsed job, observed from outside and compared with the plan.

Linux shows every process's arguments and environment in /proc, without the job's participation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.schema import Distribution
from lingotune.launch.simulator.container import Container
from lingotune.launch.simulator.init_process import processes_in

_RANK = ("RANK", "OMPI_COMM_WORLD_RANK")
_LOCAL_RANK = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
_WORLD_SIZE = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")


_LAUNCHERS = {"torchrun": "torchrun", "torch.distributed.run": "torchrun", "mpirun": "mpirun",
              "prterun": "mpirun"}  # fmt: skip
"""Part of a command by which a launcher is recognised -> the launcher's name."""


@dataclass(frozen=True)
class Process:
    """A process: its id, its arguments and its environment."""

    pid: int
    argv: tuple[str, ...]
    environment: Mapping[str, str]

    def number(self, names: Sequence[str]) -> int | None:
        """Return the first of these variables that is set, as a number."""
        found = [self.environment[name] for name in names if self.environment.get(name)]
        return int(found[0]) if found else None

    @property
    def launches(self) -> bool:
        """True for a process that launches ranks."""
        return _name_of_launcher(self.argv[:3]) is not None

    @property
    def trains(self) -> bool:
        """True for a process that runs train.py, as a rank or alone."""
        runs_it = any(_name(word) == "train.py" for word in self.argv[1:5])
        return runs_it and not self.launches and "python" in _name(self.argv[0])


@dataclass(frozen=True)
class Observed:
    """Launcher of one host, and the processes that train, in the order of their ranks.

    launcher: torchrun or mpirun; None if the toolkit starts the script itself.
    """

    launcher: tuple[str, ...] | None
    ranks: tuple[Process, ...]

    @property
    def program(self) -> str | None:
        """Name of the launcher."""
        return _name_of_launcher(self.launcher or ())


@dataclass(frozen=True)
class Point:
    """One item that has to arrive as planned."""

    what: str
    planned: str
    found: str

    @property
    def same(self) -> bool:
        """True if planned and found are the same."""
        return self.planned == self.found


def observe(container: Container) -> Observed:
    """Observe the processes that are running in a container."""
    running = [p for p in map(_read, processes_in(str(container.folder.resolve()))) if p]
    launchers = [p.argv for p in running if p.launches]
    ranks = sorted((p for p in running if p.trains), key=lambda p: p.number(_RANK) or 0)
    return Observed(min(launchers, key=len, default=None), tuple(ranks))


def _read(number: int) -> Process | None:
    folder = Path(f"/proc/{number}")
    try:
        argv = _texts((folder / "cmdline").read_bytes())
        pairs = (text.partition("=") for text in _texts((folder / "environ").read_bytes()))
        return Process(number, tuple(argv), {name: value for name, _, value in pairs})
    except OSError:
        return None  # it has ended meanwhile


def _name(word: str) -> str:
    return Path(word).name


def _name_of_launcher(words: Sequence[str]) -> str | None:
    return next((_LAUNCHERS[_name(word)] for word in words if _name(word) in _LAUNCHERS), None)


def _texts(content: bytes) -> list[str]:
    return [part.decode("utf-8", "replace") for part in content.split(b"\0") if part]


def compare(
    containers: Sequence[Container],
    observed: Sequence[Observed],
    ranks: int,
    digest: str,
    lines: Iterable[str],
) -> list[Point]:
    """Compare ranks, world size, environment, channels and hyperparameters with the plan.

    ranks: processes per host. digest: SHA-256 of the job file. lines: the job's log.
    """
    request = containers[0].request
    processes = [process for host in observed for process in host.ranks]
    count = ranks * len(containers)
    numbers = [process.number(_RANK) or 0 for process in processes]
    local = [process.number(_LOCAL_RANK) or 0 for process in processes]
    worlds = [process.number(_WORLD_SIZE) or 1 for process in processes]
    points = [
        Point("ranks", _list(range(count)), _list(sorted(numbers))),
        Point("local ranks", _list([*range(ranks)] * len(containers)), _list(local)),
        Point("world size", str(count), _list(set(worlds))),
    ]
    mended = {m[1]: m[2] for line in lines if (m := _MENDED.search(line))}
    for name, value in request.get("Environment", {}).items():
        given = {process.environment.get(name, "not set") for process in processes}
        found = {mended[name]} if name in mended else given
        points.append(Point(f"environment {name}", value, _list(found)))
    points.append(Point("job file", digest, _list({_digest(c) for c in containers})))
    for channel in request["InputDataConfig"]:
        name = f"SM_CHANNEL_{channel['ChannelName'].upper()}"
        where = {str(c.folder / "input/data" / channel["ChannelName"]) for c in containers}
        found = {process.environment.get(name, "not set") for process in processes}
        points.append(Point(name, _list(where), _list(found)))
    users = {process.environment.get("SM_HPS", "not set") for process in processes}
    points.append(Point("free hyperparameters", "{}", _list(users)))
    return points


def _digest(container: Container) -> str:
    first = container.job_file.read_text("utf-8").partition("\n")[0]
    return first.rpartition(" ")[2]


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def peak_learning_rate(lines: Iterable[str]) -> float | None:
    """Find the largest learning rate in the log."""
    found = [float(m[1]) for line in lines if (m := re.search(r"  lr (\d\.\d+e[+-]\d+)", line))]
    return max(found, default=None)


def as_text(
    observed: Sequence[Observed], folders: Sequence[Path], distribution: Distribution
) -> str:
    """Format what reached the processes as stable JSON, without this machine's paths, ports and ids."""
    hosts = []
    for host, folder in zip(observed, folders):
        hosts.append({
            "launcher": [_stable(word, folder) for word in _command(host.launcher or ())],
            "ranks": [
                {
                    "argv": [_stable(word, folder) for word in process.argv],
                    "environment": {
                        name: _stable(value, folder)
                        for name, value in sorted(process.environment.items())
                        if _is_shown(name)
                    },
                }
                for process in host.ranks
            ],
        })  # fmt: skip
    return json.dumps({"distribution": distribution.value, "hosts": hosts}, indent=2) + "\n"


def _command(words: Sequence[str]) -> list[str]:
    """Format a launcher's command with its name, however it was started."""
    places = [n for n, word in enumerate(words) if _name(word) in _LAUNCHERS]
    return [_LAUNCHERS[_name(words[places[0]])], *words[places[0] + 1 :]] if places else []


_MENDED = re.compile(r"environment (\w+)=(.*) \(the launcher had set ")
"""Log line of a worker that has changed a variable set by its launcher."""
_TOLD = re.compile(
    r"SM_|LINGOTUNE_|SAGEMAKER_TRAINING|TRAINING_JOB|(LOCAL_|GROUP_)?RANK$|(LOCAL_)?WORLD_SIZE$"
    r"|MASTER_ADDR$|OMPI_COMM_WORLD_(LOCAL_)?(RANK|SIZE)$|NCCL_|FI_|SMDATAPARALLEL_"
)
_MACHINES = re.compile(r"SM_NUM_CPUS|SM_TRAINING_ENV|SM_NUM_NEURONS|SM_DLC_")


def _is_shown(name: str) -> bool:
    return bool(_TOLD.match(name)) and not _MACHINES.match(name)


def _stable(text: str, folder: Path) -> str:
    text = text.replace(str(folder.resolve()), "/opt/ml")
    text = re.sub(r"/\S*/(python3?(\.\d+)?|torchrun|mpirun)\b", r"<bin>/\1", text)
    text = re.sub(r"[0-9a-f]{64}", "<sha256>", text)
    return re.sub(r"-[0-9a-f]{10}\b", "-<digest>", text)
