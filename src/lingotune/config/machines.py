"""A job on one of the machines that it may get (`cluster.fallback`). Pure; the launcher and workers agree.

A job with a list names its machines in rows, the first of which is `cluster.instance_type`. Its file, and
so its identity, is that of the job on the first of them, whichever it gets: a checkpoint of one machine is
gone on with on another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from lingotune.config.schema import JobConfig, MachineConfig

Job = TypeVar("Job", bound=JobConfig)


def on_machine(job: Job, machine: MachineConfig) -> Job:
    """Return the job as it runs on one of its machines, whose row is filled in; the list of them stays."""
    assert machine.nodes and machine.gpus_per_node is not None and machine.per_device_bs is not None
    cluster = replace(
        job.cluster,
        instance_type=machine.instance_type,
        nodes=machine.nodes,
        gpus_per_node=machine.gpus_per_node,
    )
    return replace(
        job,
        cluster=cluster,
        per_device_bs=machine.per_device_bs,
        scaling=replace(job.scaling, accumulation=machine.accumulation),
    )


def on_type(job: Job, instance_type: str | None) -> Job:
    """Return the job as on this instance type of its list; as it is if the list has it not."""
    rows = [row for row in job.cluster.fallback if row.instance_type == instance_type]
    return on_machine(job, rows[0]) if rows else job


def as_planned(job: Job) -> Job:
    """Return the job on the first of its machines, by which it is identified; without a list as it is."""
    rows = job.cluster.fallback
    return on_machine(job, rows[0]) if rows else job
