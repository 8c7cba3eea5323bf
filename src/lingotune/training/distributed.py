"""The processes of a job: identifying this one, and checking that all are present and agree.

torchrun sets RANK, LOCAL_RANK and WORLD_SIZE; mpirun (SageMaker's data parallel launcher) sets
OMPI_COMM_WORLD_*. torch is imported only once the counts have been checked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import Any, TypeVar

from lingotune.config.problems import PEER_LOST, ConfigError, Problem
from lingotune.config.schema import Distribution, JobConfig
from lingotune.estimate.batch import processes_per_node, world_size
from lingotune.system.allocator import keep_freed_memory
from lingotune.training import failure

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""Longest wait for other processes: one rank reads and tokenises while the rest wait."""

_MEETING = 600.0
"""Seconds in which all processes have to come: the machines of a job start within minutes of each other."""
_MPI_NAMES = {
    "RANK": "OMPI_COMM_WORLD_RANK",
    "LOCAL_RANK": "OMPI_COMM_WORLD_LOCAL_RANK",
    "WORLD_SIZE": "OMPI_COMM_WORLD_SIZE",
}


@dataclass(frozen=True)
class Rank:
    """A process: its number in the job, its number on the node, and the total number of processes."""

    rank: int
    local_rank: int
    world_size: int

    @property
    def first(self) -> bool:
        """True in the process that writes the run folder."""
        return self.rank == 0


def read_rank(environment: Mapping[str, str]) -> Rank:
    """Read the rank from a launcher's environment; without one the process is alone.

    ConfigError if no launcher sets the variables so: they are left from something else.
    """
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    used = {name: name if environment.get(name) else _MPI_NAMES[name] for name in alone}
    typed = {name: environment.get(used[name]) or alone[name] for name in alone}
    numbers = [int(value) if value.isdecimal() else -1 for value in typed.values()]
    rank = Rank(*numbers)
    if not 0 <= min(numbers) <= max(rank.rank, rank.local_rank) < rank.world_size:
        left = [name for name in used.values() if environment.get(name)]
        where = " ".join(f"{name}={environment[name]}" for name in left)
        what = "is not what torchrun or mpirun sets: ranks are numbers from 0 on, below the size"
        raise ConfigError([Problem(where, what, f"unset {' '.join(left)}")])
    return rank


def check_world(job: JobConfig, rank: Rank) -> None:
    """Raise ConfigError unless the number of processes is the planned one."""
    planned = world_size(job.cluster)
    if planned == rank.world_size:
        return
    count = processes_per_node(job.cluster)
    nodes = f" ({count} on each of {job.cluster.nodes} nodes)" if job.cluster.nodes > 1 else ""
    processes = "1 process" if planned == 1 else f"{planned} processes"
    runs = "1 is" if rank.world_size == 1 else f"{rank.world_size} are"
    what = f"the plan counts on {processes}{nodes}, {runs} running (WORLD_SIZE)"
    if job.cluster.instance_type is None:
        fix = f"torchrun --standalone --nproc_per_node={planned} -m lingotune.training --job ..."
    else:
        fix = f"{job.cluster.nodes} x {job.cluster.instance_type}, or a job for this machine"
    raise ConfigError([Problem(f"rank {rank.rank}", what, fix)])


def choose_devices(job: JobConfig) -> None:
    """Make only the GPUs that the job asks for visible to this process, before torch looks for them.

    A single process that sees several GPUs would use them as DataParallel, and one planned for the CPU
    would take a GPU: either way the batch would not be the planned one.
    """
    cluster = job.cluster
    if cluster.gpus_per_node == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif world_size(cluster) == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[0] or "0"


def join(job: JobConfig, rank: Rank) -> None:
    """Set up torch for this process, and join the process group if there are other processes."""
    import torch

    if job.cluster.threads:
        torch.set_num_threads(job.cluster.threads)
    has_gpu = torch.cuda.is_available()
    if not has_gpu and not job.training.fit_memory:  # its trials would leave the heap in pieces
        keep_freed_memory()
    if job.cluster.gpus_per_node and job.cluster.instance_type is None and not has_gpu:
        where = f"cluster.gpus_per_node={job.cluster.gpus_per_node}"
        raise ConfigError([Problem(where, "this machine shows no GPU", "cluster.gpus_per_node=0")])
    if rank.world_size == 1 or torch.distributed.is_initialized():
        return
    for name, mpi_name in _MPI_NAMES.items():
        os.environ.setdefault(name, os.environ.get(mpi_name, ""))
    backend = "nccl" if has_gpu else "gloo"
    if has_gpu:
        torch.cuda.set_device(rank.local_rank)
        if job.cluster.distribution is Distribution.smdistributed and job.cluster.instance_type:
            import smdistributed.dataparallel.torch.torch_smddp  # noqa: F401  registers it

            backend = "smddp"
    with _meeting(rank):
        torch.distributed.init_process_group(backend, timeout=TIMEOUT)


@contextmanager
def _meeting(rank: Rank) -> Iterator[None]:
    """End this process if the block, in which it meets the others, takes too long.

    One that died before would be waited for in silence, as long as for one that reads the data.
    """
    met = Event()
    Thread(target=_give_up, args=(rank, met), daemon=True, name="meeting").start()
    try:
        yield
    finally:
        met.set()


def _give_up(rank: Rank, met: Event) -> None:
    if met.wait(_MEETING):
        return
    what = f"not all {rank.world_size} processes have come within {_MEETING / 60:.0f} minutes"
    said = f"{what}: one has died, or its machine has not started; its own log says why"
    text = failure.told(said, rank.rank, PEER_LOST)
    print(f"lingotune: {text}", file=sys.stderr, flush=True)
    failure.write(os.environ, text)
    os._exit(PEER_LOST)


def agree(rank: Rank, what: str, value: str) -> None:
    """Raise ConfigError, with the differing values, on every rank unless all ranks hold the same value."""
    values = gather(rank, value)
    for other, theirs in enumerate(values):
        if theirs != values[0]:
            text = f"{what} differs between ranks: {values[0]} on rank 0, {theirs} on rank {other}"
            fix = "give every rank the same file"
            raise ConfigError([Problem(f"rank {rank.rank}", text, fix)])


def gather(rank: Rank, value: Any) -> list[Any]:
    """Gather every rank's value, in the order of the ranks."""
    if rank.world_size == 1:
        return [value]
    import torch

    values: list[Any] = [None] * rank.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def from_first(rank: Rank, value: Any) -> Any:
    """Broadcast rank 0's value; returns it on every rank."""
    if rank.world_size == 1:
        return value
    import torch

    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def computed_by_first(rank: Rank, compute: Callable[[], T]) -> T:
    """Compute on rank 0 alone; returns its result, or raises its ConfigError, on every rank."""
    value: Any = None
    error: ConfigError | None = None
    if rank.first:
        try:
            value = compute()
        except ConfigError as raised:
            error = raised
    value, error = from_first(rank, (value, error))
    if error is not None:
        raise error
    result: T = value
    return result


def barrier(rank: Rank) -> None:
    """Wait until every rank is here."""
    if rank.world_size > 1:
        import torch

        torch.distributed.barrier()


@contextmanager
def leaving(rank: Rank) -> Iterator[None]:
    """Leave the process group at the end of the block, so that the launcher sees a clean exit."""
    try:
        yield
    finally:
        if rank.world_size > 1:
            import torch

            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
