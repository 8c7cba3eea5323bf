"""Checks of the settings of `action=rehearse` and `cluster.backend=loopback`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from lingotune.config.problems import Severity, closest, nearest
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import Action, Backend, LaunchConfig, RehearsalConfig, RehearsalLane
from lingotune.launch.render.service_model import choices
from lingotune.preflight.registry import Found, Table, typed

REHEARSAL: Table[LaunchConfig] = Table()
UNUSED: Table[LaunchConfig] = Table()
"""Warnings about settings that the action ignores; shown with the plan of a job for SageMaker."""

_RANGES = {
    "ranks": (1, 64, "CPU processes of a node, from 1 to 64"),
    "steps": (2, 10_000, "updates, from 2: one before the interruption and one after it"),
    "rows": (10, 1_000_000, "rows of a split, from 10"),
}


@REHEARSAL.check("rehearsal-out-of-range", "no rehearsal can come of the value")
def _ranges(config: LaunchConfig) -> Iterator[Found]:
    for name, (low, high, meaning) in _RANGES.items():
        value = getattr(config.rehearsal, name)
        if value is None:
            continue
        if not low <= value <= high:
            yield f"rehearsal.{name}={value}", "is out of range", meaning


@REHEARSAL.check("rehearsal-full", "a job that gets no machine shows nothing")
def _full(config: LaunchConfig) -> Iterator[Found]:
    full, cluster = config.rehearsal.full, config.cluster
    known = choices("TrainingInstanceType")
    unknown = [name for name in full if name not in known]
    wanted = [row.instance_type for row in cluster.fallback] or [cluster.instance_type]
    where = listing("rehearsal.full", full)
    if unknown:
        what = f"SageMaker trains on no {unknown[0]}{nearest(unknown[0], known)}"
        near = closest(unknown[0], known)
        fixed = [near if name in unknown and near else name for name in full]
        yield where, what, override_text("rehearsal.full", fixed if near else [])
    elif full and all(name in full for name in wanted):
        what = f"leaves the job no machine: it may get {', '.join(map(str, wanted))}"
        yield where, what, override_text("rehearsal.full", wanted[:-1])


@REHEARSAL.check("rehearsal-endless", "a rehearsal interrupts the job after a third of its steps")
def _whole(config: LaunchConfig) -> Iterator[Found]:
    if config.action is Action.rehearse and config.rehearsal.steps is None:
        yield "rehearsal.steps=null", "is for cluster.backend=loopback", "rehearsal.steps=6"


@UNUSED.check("rehearsal-unused", "only a rehearsal and a loopback job run here", Severity.warning)
def _unused(config: LaunchConfig) -> Iterator[Found]:
    if config.action is Action.rehearse or _submits_here(config):
        return
    usual = RehearsalConfig()
    for field in fields(RehearsalConfig):
        value = getattr(config.rehearsal, field.name)
        if value != getattr(usual, field.name):
            where = f"rehearsal.{field.name}={typed(getattr(value, 'value', value))}"
            yield where, f"has no effect with action={config.action.value}", "action=rehearse"


@UNUSED.check(
    "loopback-unused", "the loopback account is made for a job that is submitted", Severity.warning
)
def _backend_unused(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.backend is Backend.loopback and config.action in (
        Action.plan,
        Action.rehearse,
    ):
        what = f"has no effect with action={config.action.value}"
        yield "cluster.backend=loopback", what, "action=submit"


@REHEARSAL.check("loopback-asked", "an account that is made anew for each command has no answers")
def _backend_asked(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.backend is Backend.loopback and config.action is Action.check:
        what = "action=check asks your AWS account"
        yield "cluster.backend=loopback", what, "cluster.backend=aws, or action=submit"


@REHEARSAL.check("loopback-queue", "AWS Batch is no part of the loopback account")
def _queue(config: LaunchConfig) -> Iterator[Found]:
    if _submits_here(config) and config.aws.queue is not None:
        where = f"aws.queue={config.aws.queue}"
        yield where, "cluster.backend=loopback has no queue", "aws.queue=null"


def _submits_here(config: LaunchConfig) -> bool:
    return config.cluster.backend is Backend.loopback and config.action is Action.submit


@REHEARSAL.check("rehearsal-shard-alone", "a model is sharded over several processes")
def _shard(config: LaunchConfig) -> Iterator[Found]:
    here = config.action is Action.rehearse or _submits_here(config)
    alone = config.cluster.nodes * config.rehearsal.ranks == 1
    if here and alone and config.training.shard:
        yield "rehearsal.ranks=1", "leaves nothing to shard", "rehearsal.ranks=2"


@REHEARSAL.check("rehearsal-lane-unknown", "the libraries of the lane are taken from a known image")
def _lane(config: LaunchConfig) -> Iterator[Found]:
    if config.rehearsal.lane is RehearsalLane.image and config.cluster.image.uri is not None:
        what = "what an image of your own holds is not known here"
        yield "rehearsal.lane=image", what, "rehearsal.lane=here"
