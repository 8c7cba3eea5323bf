"""Starting a job on one machine after the other, until one has capacity (`cluster.fallback_by=lingotune`).

SageMaker says that it has none only after it has accepted a job; so each step is a job of its own, which is
watched until it has a machine. All have the same job file: whichever runs, it is the same training.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.quoting import override_text
from lingotune.config.schema import FallbackBy, MachineConfig
from lingotune.launch.aws.connection import connect
from lingotune.launch.aws.faults import Fault, errors, fault_of, said_by
from lingotune.launch.aws.submit import Submitted, submit
from lingotune.launch.plan.planner import Plan
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.training_job import job_name, on_machine
from lingotune.launch.sweeps.job_states import state_of
from lingotune.launch.sweeps.trial import JobState

_LOOKS_EVERY = 5.0
"""Seconds between two looks whether a job has its machine."""
_MOST_LOST = 12
"""Looks without an answer, one after the other, after which the job is left alone."""


def walks(plan: Plan) -> bool:
    """Tell whether a submit has to go through the job's list of machines itself."""
    cluster = plan.job.cluster
    return bool(cluster.fallback) and cluster.fallback_by is FallbackBy.lingotune


def walk(
    plan: Plan,
    bundle: Bundle,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Submitted:
    """Start the job on the first machine of its list that has capacity; returns it once it runs.

    ConfigError if none has, with what each said. Ctrl-C leaves the job that was started last.
    """
    assert plan.training_job is not None
    said: list[str] = []
    for number, row in enumerate(plan.job.cluster.fallback):
        name = job_name(plan.job, plan.digests, plan.config.attempt + number)
        job = on_machine(plan.training_job, name, row.instance_type or "", row.nodes or 1)
        tell(f"asking for {row.nodes} x {row.instance_type}: {name}")
        try:
            started = submit(replace(plan, training_job=job), bundle)
        except ConfigError as error:
            cause = error.__cause__
            if not (isinstance(cause, errors()) and fault_of(cause) is Fault.full):
                raise
            said.append(_told(row, said_by(cause), tell))
            continue
        try:
            state = _with_machine(plan, started, tell, sleep)
        except KeyboardInterrupt:
            tell(f"leaving; {name} goes on looking for a machine. {program('stop')} {name} ends it")
            raise
        if state is None or not state.lacked_capacity:
            tell(f"{name} has its machine: {row.nodes} x {row.instance_type}")
            return started
        said.append(_told(row, state.reason or state.secondary, tell))
    again = override_text("attempt", plan.config.attempt + len(said))
    what = "none of the machines has capacity: " + "; ".join(said)
    fix = f"the same with {again} later, or more machines in cluster.fallback"
    raise ConfigError([Problem("cluster.fallback", what, fix, check="no-capacity")])


def _told(row: MachineConfig, reason: str, tell: Callable[[str], None]) -> str:
    tell(f"no capacity of {row.instance_type}: {reason}")
    return f"{row.name}: {reason}"


def _with_machine(
    plan: Plan,
    started: Submitted,
    tell: Callable[[str], None],
    sleep: Callable[[float], None],
) -> JobState | None:
    """Wait until a job runs or has ended; returns its state, None if AWS does not answer any more."""
    account, lost = connect(started.region, plan.config.aws), 0
    while lost < _MOST_LOST:
        try:
            told = account.describe(started.name)
        except errors() as error:
            lost += 1
            tell(f"asked again in a moment: {said_by(error)}")
            sleep(_LOOKS_EVERY)
            continue
        lost = 0
        if told is not None:
            state = state_of(told)
            if state.state.over or state.started is not None:
                return state
        sleep(_LOOKS_EVERY)
    return None
