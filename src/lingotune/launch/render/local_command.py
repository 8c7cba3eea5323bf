"""The command line that trains on this machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import processes_per_node, world_size
from lingotune.launch.render.bundle import PROGRAM

MODULE = ("-m", "lingotune.training")
"""Arguments by which Python runs a job file wherever lingotune is installed."""


def render_local(job: JobConfig, job_file: str, program: Sequence[str] = (PROGRAM,)) -> list[str]:
    """Build the command that trains on this machine, in one process or several.

    program: arguments that tell Python what to run: train.py of a checkout, or `MODULE`.
    """
    words = [*program, "--job", job_file]
    if world_size(job.cluster) == 1:
        return ["python", *words]
    count = processes_per_node(job.cluster)
    return ["torchrun", "--standalone", f"--nproc_per_node={count}", *words]
