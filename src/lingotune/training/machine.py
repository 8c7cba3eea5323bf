"""The machine that a job got, of those that its file lists (`cluster.fallback`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.machines import Job, as_planned, on_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.estimate.batch import plan_batches

_FILE = Path("/opt/ml/input/config/resourceconfig.json")
"""What the container is told of its machines. The toolkit reads it, and sets variables."""


@dataclass(frozen=True)
class Machine:
    """The instances that a container runs on: their type and number."""

    instance_type: str
    nodes: int

    def __str__(self) -> str:
        return f"{self.nodes} x {self.instance_type}"


def machine_here(environment: Mapping[str, str], file: Path = _FILE) -> Machine | None:
    """Find out what this process runs on; None outside a container of SageMaker."""
    named, hosts = environment.get("SM_CURRENT_INSTANCE_TYPE"), environment.get("SM_HOSTS")
    try:
        if named and hosts:
            return Machine(named, len(json.loads(hosts)))
        told = json.loads(file.read_text(encoding="utf-8"))
        return Machine(told["current_instance_type"], len(told["hosts"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def on_its_machine(job: Job, machine: Machine | None, where: str, *, fewer: bool = False) -> Job:
    """Return the job with the batch and processes of the machine that it got.

    machine: None outside a container, where it is the first. where: names the process in errors. fewer:
    a rehearsal has no more than two hosts. ConfigError unless the job's file lists the machine, and with
    the same update.
    """
    rows = job.cluster.fallback
    if not rows or machine is None:
        return job
    wanted = [row for row in rows if row.instance_type == machine.instance_type]
    listed = ", ".join(f"{row.nodes} x {row.instance_type}" for row in rows)
    if not wanted or (machine.nodes != wanted[0].nodes and not fewer):
        what = f"runs on {machine}, and the job's file lists {listed}"
        raise ConfigError(
            [Problem(where, what, "the machines of cluster.fallback", check="machine")]
        )
    chosen = on_machine(job, wanted[0])
    planned, found = plan_batches(as_planned(job)), plan_batches(chosen)
    if (planned.global_batch, planned.learning_rate) != (found.global_batch, found.learning_rate):
        what = (
            f"on {machine} the global batch is {found.global_batch} (lr {found.learning_rate:g}), and the"
            f" plan's {planned.global_batch} (lr {planned.learning_rate:g})"
        )
        fix = "a job file as launch.py writes it"
        raise ConfigError([Problem(where, what, fix, check="machine")])
    return chosen
