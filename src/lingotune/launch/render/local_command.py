"""The command line that trains on this machine. Pure."""

from __future__ import annotations

from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import processes_per_node, world_size
from lingotune.launch.render.shared_fields import PROGRAM


def render_local(job: JobConfig, job_file: str) -> list[str]:
    """The command that trains on this machine, one process or several."""
    if world_size(job.cluster) == 1:
        return ["python", PROGRAM, "--job", job_file]
    count = processes_per_node(job.cluster)
    return ["torchrun", "--standalone", f"--nproc_per_node={count}", PROGRAM, "--job", job_file]
