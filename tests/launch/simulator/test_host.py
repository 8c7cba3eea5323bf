"""A running container: what the ranks see, how a job ends, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import ROOT, compose
from containers import PLAIN, STUBBORN, TORCHRUN, containers, packed
from waiting import PATIENCE, wait_until

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError
from lingotune.launch.free_port import free_port
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.simulator.host import Host, _meeting, _write_programs, wait_for_all
from lingotune.launch.simulator.init_process import BASE_DIR, kill_all, processes_in

MPIRUN = ("cluster=p4d_24xl", "cluster.distribution=smdistributed")
TWO_NODES = ("cluster=p3_16xl", "cluster.nodes=2")
ISOLATED = (
    "cluster=g5_12xl", "aws.network_isolation=true", "cluster.image.lane=pinned",
    "cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1",
)  # fmt: skip


@pytest.fixture(scope="session")
def python() -> Path:
    """Of an environment with the toolkit, made once."""
    from lingotune.launch.simulator.environments import cache_folder, prepare_environment

    return prepare_environment(None, cache_folder(os.environ), print).python


class Lines(list[str]):
    """What a host printed, and waiting for a line of it."""

    def until(self, text: str, count: int = 1) -> list[str]:
        def found() -> list[str]:
            return [line for line in self if text in line]

        wait_until(lambda: len(found()) >= count)
        return found()


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def start(tmp_path: Path, python: Path, lines: Lines) -> Iterator[Callable[..., list[Host]]]:
    """Starts the hosts of a job whose train.py is given; ends them with the test."""
    started: list[Host] = []

    def begin(
        train: str, overrides: tuple[str, ...] = TORCHRUN, ranks: int = 2, **files: str
    ) -> list[Host]:
        for container in containers(tmp_path, overrides, packed(train=train, **files)):
            started.append(Host(container, python, ranks=ranks, on_line=lines.append))
            started[-1].start()
        return started

    yield begin
    for host in started:
        host.__exit__(None, None, None)


SEEN = """
import json, os, sys
from pathlib import Path
rank = os.environ.get("RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or "0"
seen = {"environment": dict(os.environ), "argv": sys.argv, "code": sorted(os.listdir())}
Path(os.environ["SM_MODEL_DIR"], rank).write_text(json.dumps(seen))
"""


def seen(host: Host) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in host.container.model.iterdir()}


@pytest.mark.slow
def test_what_the_ranks_see(
    start: Callable[..., list[Host]], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hf_" + "s3cr3t" * 5
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "MINE"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("HF_HOME", "/the/cache")
    (host,) = start(SEEN, (*TORCHRUN, "cluster.environment={NCCL_DEBUG_SUBSYS: ALL}"))
    assert host.wait(PATIENCE) == 0 and host.failure is None
    assert host.stand_ins == ()
    ranks = seen(host)
    assert sorted(ranks) == ["0", "1"]
    folder = str(host.container.folder)
    for rank, found in ranks.items():
        variables = found["environment"]
        assert found["argv"] == ["train.py"] and found["code"] == ["train.py"]
        assert (variables["LOCAL_RANK"], variables["WORLD_SIZE"]) == (rank, "2")
        assert secret not in json.dumps(found), "nothing of the user's accounts"
        assert variables["HF_HOME"] == "/the/cache"
        assert variables["NCCL_DEBUG_SUBSYS"] == "ALL"
        assert variables["SM_HPS"] == "{}" and variables["SM_NUM_GPUS"] == "2"
        assert variables["SM_CHANNEL_CONFIG"] == f"{folder}/input/data/config"
        assert variables["SM_CURRENT_HOST"] == "algo-1"
        assert variables["TRAINING_JOB_NAME"] == host.container.request["TrainingJobName"]
        assert not Path(variables["TMPDIR"]).exists()
    logged = host.log.read_text().splitlines()
    assert [line[9:] for line in logged] == lines
    times = [float(line[:8]) for line in logged]
    assert times == sorted(times) and times[-1] > 0.5


def test_programs_are_found_from_a_container_in_a_relative_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept").mkdir()
    programs = _write_programs(Path("kept"), Path(sys.executable), 2)
    environment = {"PATH": os.pathsep.join([str(programs), os.defpath])}
    shell = ["sh", "-c", "nvidia-smi"]
    listed = subprocess.check_output(shell, cwd="kept", env=environment, text=True)
    assert len(listed.splitlines()) == 2


@pytest.mark.slow
def test_mpirun_starts_the_ranks_of_smdistributed(start: Callable[..., list[Host]]) -> None:
    (host,) = start(SEEN, MPIRUN)
    assert host.wait(PATIENCE) == 0, host.failure
    found = {rank: entry["environment"] for rank, entry in seen(host).items()}
    assert {rank: entry["OMPI_COMM_WORLD_SIZE"] for rank, entry in found.items()} == {
        "0": "2",
        "1": "2",
    }
    framework = json.loads(found["0"]["SM_FRAMEWORK_PARAMS"])
    assert framework["sagemaker_distributed_dataparallel_enabled"] is True
    assert host.stand_ins == ("ssh-daemon", "host-name-library", "last-sleep")


@pytest.mark.slow
def test_an_isolated_job_finds_its_code_in_its_channel(start: Callable[..., list[Host]]) -> None:
    (host,) = start(SEEN, ISOLATED, ranks=1)
    assert host.wait(PATIENCE) == 0, host.failure
    assert host.stand_ins == ("opt-ml",) and sorted(seen(host)) == ["0"]


@pytest.mark.slow
def test_a_requirement_that_cannot_be_met_fails_the_job(
    tmp_path: Path, python: Path, start: Callable[..., list[Host]]
) -> None:
    code = packed(train=SEEN, requirements="no-such-package-at-all==1\n")
    (container,) = containers(tmp_path, PLAIN, code)
    with Host(container, python, ranks=1, variables={"PIP_NO_INDEX": "1"}) as host:
        host.start()
        assert host.wait(PATIENCE) == 1
    assert host.failure and host.failure.startswith("InstallRequirementsError")


# --- how a job fails ----------------------------------------------------------------------------

OWN = """
import os
with open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w") as file:
    file.write("rank 0, training: what went wrong; what to do")
raise ValueError("the last line of a traceback")
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, PLAIN, MPIRUN])
def test_the_script_s_own_failure_file_is_kept(
    start: Callable[..., list[Host]], launcher: tuple[str, ...]
) -> None:
    (host,) = start(OWN, launcher)
    assert host.wait(PATIENCE) == 1
    assert host.failure == "rank 0, training: what went wrong; what to do"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "code"), [(TORCHRUN, "ExitCode 1"), (PLAIN, "ExitCode 7"), (MPIRUN, "ExitCode 7")]
)
def test_without_one_an_exit_code_and_a_message_say_nothing(
    start: Callable[..., list[Host]], launcher: tuple[str, ...], code: str
) -> None:
    """Why the worker writes the file: the toolkit looks for names of Python's exceptions only."""
    (host,) = start(
        "import sys; print('lr: nan; fix: 1e-5', file=sys.stderr); sys.exit(7)", launcher
    )
    assert host.wait(PATIENCE) == 1
    assert host.failure and host.failure.startswith(
        f'ExecuteUserScriptError:\n{code}\nErrorMessage ""'
    )


# --- how it ends --------------------------------------------------------------------------------


def nothing_left(host: Host) -> bool:
    return wait_until(lambda: not processes_in(str(host.container.folder)))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, MPIRUN])
def test_an_interruption_ends_everything_and_tells_no_rank(
    start: Callable[..., list[Host]], lines: Lines, launcher: tuple[str, ...]
) -> None:
    (host,) = start(STUBBORN, launcher)
    lines.until("at work", 2)
    assert host.poll() is None
    with pytest.raises(TimeoutError):
        host.wait(0.1)
    assert host.interrupt(grace=0.5) == 137
    assert processes_in(str(host.container.folder)) == []
    assert list(host.container.model.iterdir()) == [] and host.failure is None
    assert any("SIGTERM" in line for line in lines)


@pytest.mark.slow
def test_nothing_is_left_when_the_first_process_is_killed(
    start: Callable[..., list[Host]], lines: Lines
) -> None:
    (host,) = start(STUBBORN)
    lines.until("at work", 2)
    assert host._process
    host._process.kill()
    assert host.wait(PATIENCE) == 137
    assert processes_in(str(host.container.folder)) == []


STARTER = """
import sys
sys.path.insert(0, sys.argv[4])
from pathlib import Path
from lingotune.launch.simulator.host import Host
from containers import STUBBORN, TORCHRUN, containers, packed
(container,) = containers(Path(sys.argv[1]), TORCHRUN, packed(train=STUBBORN))
host = Host(container, Path(sys.argv[2]), ranks=2, on_line=lambda line: print(line, flush=True))
host.start()
if sys.argv[3] == "raise":
    with host:
        while "at work" not in host.log.read_text():
            pass
        raise KeyboardInterrupt
host.wait()
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "raise"])
def test_nothing_is_left_when_its_starter_is_gone(tmp_path: Path, python: Path, end: str) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), str(python), end, str(ROOT / "tests")],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # a killed process leaves its files
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    folder = str(tmp_path / "algo-1")
    assert starter.stdout is not None
    for line in starter.stdout:
        if "at work" in line:
            break
    if end == "killed":
        assert len(processes_in(folder)) >= 4, "first process, toolkit, torchrun, rank"
        starter.kill()
    starter.wait(PATIENCE)
    assert wait_until(lambda: not processes_in(folder))


LEFT_BEHIND = """
import os, time
if os.fork() == 0:
    os.setsid()
    parent = os.getpid()  # the one that is left might see it gone already
    if os.fork() == 0:
        os.write(1, str(os.getpid()).encode())
        while os.getppid() == parent:
            time.sleep(0.01)
        os.close(1)
        time.sleep(3600)
"""


def test_every_process_of_a_container_is_found_and_ended(tmp_path: Path) -> None:
    """Also one whose parents have gone and that leads a session of its own."""
    environment = {**os.environ, BASE_DIR: str(tmp_path / "one")}
    other = {**os.environ, BASE_DIR: str(tmp_path / "one-more")}
    # Its output ends once nobody holds it any more but the one that is left.
    left = subprocess.run(
        [sys.executable, "-c", LEFT_BEHIND], env=environment, check=True, stdout=subprocess.PIPE
    )
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], env=other)
    try:
        found = processes_in(str(tmp_path / "one"))
        assert found == [int(left.stdout)] and os.getsid(found[0]) not in (os.getsid(0), found[0])
        kill_all(str(tmp_path / "one"))
        assert processes_in(str(tmp_path / "one")) == [] and bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.slow
def test_a_listener_that_fails_ends_the_container(tmp_path: Path, python: Path) -> None:
    def listen(line: str) -> None:
        raise RuntimeError("the listener's own")

    (container,) = containers(tmp_path, PLAIN, packed(train=STUBBORN))
    with Host(container, python, ranks=1, on_line=listen) as host:
        host.start()
        with pytest.raises(RuntimeError, match="the listener's own"):
            host.wait(PATIENCE)


# --- several hosts ------------------------------------------------------------------------------

TOGETHER = """
import os, time
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
line = f"rank {os.environ['RANK']} of {int(total)}, pid {os.getpid()}\\n"
os.write(1, line.encode())  # one write: unbuffered print() makes two, and lines of ranks run together
time.sleep(SECONDS)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_hosts_train_together(start: Callable[..., list[Host]], lines: Lines) -> None:
    hosts = start(TOGETHER.replace("SECONDS", "0"), TWO_NODES)
    assert wait_for_all(hosts, timeout=PATIENCE) == [0, 0]
    assert sorted(line.split(",")[0] for line in lines.until("of 4", 4)) == [
        f"rank {rank} of 4" for rank in range(4)
    ]


@pytest.mark.slow
def test_a_killed_rank_ends_both_hosts_soon(start: Callable[..., list[Host]], lines: Lines) -> None:
    """Even where the others compute for long before they would notice."""
    hosts = start(TOGETHER.replace("SECONDS", "3600"), TWO_NODES)
    (last,) = [line for line in lines.until("of 4", 4) if line.startswith("rank 3")]
    os.kill(int(last.rpartition(" ")[2]), signal.SIGKILL)
    assert wait_for_all(hosts, timeout=PATIENCE, grace=2) == [137, 1]
    assert hosts[1].failure and nothing_left(hosts[0]) and nothing_left(hosts[1])


@pytest.mark.slow
def test_a_job_that_takes_too_long_is_ended(start: Callable[..., list[Host]], lines: Lines) -> None:
    hosts = start(STUBBORN, PLAIN)
    lines.until("at work")
    with pytest.raises(TimeoutError):
        wait_for_all(hosts, timeout=0.2)
    assert processes_in(str(hosts[0].container.folder)) == []


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Where ranks meet for the time of a test: not where those of other tests do."""
    free = free_port()
    monkeypatch.setattr("lingotune.launch.simulator.host._PORT", free)
    monkeypatch.setattr("lingotune.launch.simulator.host._PATIENCE", 0.3)
    monkeypatch.setattr("lingotune.launch.simulator.host.gettempdir", lambda: str(tmp_path))
    return free


def test_hosts_that_could_not_meet_are_refused(tmp_path: Path, port: int) -> None:
    first, _ = containers(tmp_path / "a", (*MPIRUN, "cluster.nodes=2"), b"")
    with pytest.raises(ConfigError, match="ssh"):
        Host(first, Path(sys.executable), ranks=2).start()
    first, _ = containers(tmp_path / "b", TWO_NODES, b"")
    with socket.create_server(("", port)), pytest.raises(ConfigError, match="is taken"):
        Host(first, Path(sys.executable), ranks=2).start()


def test_jobs_meet_one_after_the_other(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lingotune.launch.simulator.host._PATIENCE", PATIENCE)
    first, _ = containers(tmp_path, TWO_NODES, b"")
    left: list[str] = []

    def meet(name: str) -> None:
        with _meeting(first):
            left.append(f"{name} in")
            time.sleep(0.3)
            left.append(f"{name} out")

    threads = [Thread(target=meet, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.split()[1] for entry in left] == ["in", "out", "in", "out"]


# --- the real thing -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_real_bundle_trains_in_a_container(tmp_path: Path, python: Path, lines: Lines) -> None:
    overrides = (*PLAIN, "training.max_steps=2", "data.sample.train_rows=20")
    job = dump_job(job_of(compose(*overrides)))
    (container,) = containers(tmp_path, overrides, build_bundle().content, job)
    with Host(container, python, ranks=1, on_line=lines.append) as host:
        host.start()
        assert host.wait(PATIENCE) == 0, "\n".join(lines[-40:])
    assert {"model.safetensors", "metrics.json"} <= {p.name for p in container.model.iterdir()}
    assert (container.output / "job.yaml").read_bytes() == job
