"""Machines to fall back on (`cluster.fallback`): names become rows, which the job file holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import fields, replace

from lingotune.catalog.hardware import fill_in, instances
from lingotune.config.problems import Problem, closest, listed, nearest
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import LaunchClusterConfig, LaunchConfig, MachineConfig
from lingotune.estimate.machines import shared_out

_OF_THE_MACHINE = ("name", "instance_type", "nodes", "gpus_per_node", "distribution", "fallback")
"""Settings of a cluster in which the machines of a list may differ."""


def with_machines(
    config: LaunchConfig,
    options: Collection[str],
    option: Callable[[str], LaunchClusterConfig | None],
) -> tuple[LaunchConfig, list[Problem]]:
    """Fill in what follows from the instance types: GPUs, distribution, and the rows of the list.

    options: names in the group cluster. option: composes one of them; None if it cannot be. Returns the
    config, and what is wrong with the list.
    """
    cluster, problems = config.cluster, []
    first = MachineConfig(
        cluster.name, cluster.instance_type, cluster.nodes, cluster.gpus_per_node,
        config.per_device_bs, config.scaling.accumulation,
    )  # fmt: skip
    rows = [first]
    for row in cluster.fallback:
        found = _named(row, cluster, options, option)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            rows.append(found)
    is_list = bool(cluster.fallback) and cluster.instance_type is not None
    if problems or is_list:
        cluster = replace(cluster, fallback=[] if problems else rows)
    config = replace(config, cluster=fill_in(cluster))
    if problems or not is_list:
        return config, problems
    return shared_out(config)


def _named(
    row: MachineConfig,
    cluster: LaunchClusterConfig,
    options: Collection[str],
    option: Callable[[str], LaunchClusterConfig | None],
) -> MachineConfig | Problem:
    """Look up a machine by its name: an option of the group cluster, or an instance type."""
    names = [one.name or one.instance_type or "" for one in cluster.fallback]
    where, others = listing("cluster.fallback", names), [n for n in names if n != row.name]
    without = override_text("cluster.fallback", others)
    if row.instance_type is not None:
        return replace(row, name=row.name or row.instance_type)
    if row.name is None:
        what = "has a row without a name"
        return Problem(where, what, "'cluster.fallback=[g6e_12xl,g5_12xl]'", check="fallback-name")
    if row.name in instances():
        other = _of_another_kind(row.name, cluster.instance_type)
        if other is not None:
            return Problem(where, other, without, check="fallback-without-gpus")
        return replace(row, instance_type=row.name)
    section = option(row.name) if row.name in options else None
    if section is None:
        known = [*options, *instances()]
        near = closest(row.name, known)
        fixed = [near if name == row.name and near else name for name in names]
        what = f"{row.name} is neither an option of cluster nor a known instance type"
        what += nearest(row.name, known)
        fix = (
            override_text("cluster.fallback", fixed) if near else listed(row.name, sorted(options))
        )
        return Problem(where, what, fix, check="fallback-name")
    if section.instance_type is None:
        what = f"cluster={row.name} is this machine, and SageMaker has it not"
        return Problem(where, what, without, check="fallback-name")
    other = _of_another_kind(section.instance_type, cluster.instance_type)
    if other is not None:
        return Problem(where, other, without, check="fallback-without-gpus")
    differing = list(_differing(section, cluster))
    if differing:
        what = (
            f"cluster={row.name} sets {', '.join(differing)}, and a list varies the machine alone"
        )
        types = [section.instance_type if name == row.name else name for name in names]
        fix = override_text("cluster.fallback", types)
        return Problem(where, what, fix, check="fallback-settings")
    nodes = row.nodes if row.nodes is not None or section.nodes == 1 else section.nodes
    return replace(
        row,
        instance_type=section.instance_type,
        nodes=nodes,
        gpus_per_node=row.gpus_per_node or section.gpus_per_node,
    )


def _of_another_kind(instance_type: str, first: str | None) -> str | None:
    """Say that one of two machines has GPUs and the other none: they share no launcher nor precision."""
    one, other = instances().get(instance_type), instances().get(first or "")
    if one is None or other is None or bool(one.gpus) is bool(other.gpus):
        return None
    return f"{instance_type} has {'GPUs' if one.gpus else 'no GPU'}, unlike the first, {first}"


def _differing(section: LaunchClusterConfig, cluster: LaunchClusterConfig) -> Iterator[str]:
    """Yield settings that the option changes, and the job has otherwise."""
    usual = LaunchClusterConfig()
    for item in fields(LaunchClusterConfig):
        value = getattr(section, item.name)
        if item.name in _OF_THE_MACHINE or value == getattr(usual, item.name):
            continue
        if value != getattr(cluster, item.name):
            yield f"cluster.{item.name}"
