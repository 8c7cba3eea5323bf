"""Workers take the batch of the machine that they got, and refuse one that their file does not list."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import compose

from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.problems import ConfigError
from lingotune.contract.rehearsal_limits import Limits
from lingotune.estimate.batch import plan_batches
from lingotune.training.machine import Machine, machine_here, on_its_machine
from lingotune.training.rehearsal import limited

LIST = ["cluster=p3_16xl", "cluster.fallback=[{name: g5_12xl, nodes: 2}]", "per_device_bs=32"]


def test_the_container_tells_its_machine(tmp_path: Path) -> None:
    told = {"SM_CURRENT_INSTANCE_TYPE": "ml.g5.12xlarge", "SM_HOSTS": '["algo-1", "algo-2"]'}
    assert machine_here(told) == Machine("ml.g5.12xlarge", 2)
    file = tmp_path / "resourceconfig.json"
    assert machine_here({}, file) is None, "this machine"
    file.write_text(json.dumps({"current_instance_type": "ml.p3.16xlarge", "hosts": ["algo-1"]}))
    assert machine_here({}, file) == Machine("ml.p3.16xlarge", 1)


def test_a_worker_takes_the_batch_of_its_machine() -> None:
    job = job_of(compose(*LIST))
    there = on_its_machine(job, Machine("ml.g5.12xlarge", 2), "rank 0")
    batch = plan_batches(there)
    assert (batch.world_size, batch.per_device_batch, batch.accumulation) == (8, 32, 1)
    assert (there.cluster.instance_type, there.cluster.nodes) == ("ml.g5.12xlarge", 2)
    assert job_digest(there) == job_digest(job)
    assert on_its_machine(job, None, "rank 0") == job
    alone = job_of(compose("cluster=p3_16xl"))
    assert on_its_machine(alone, Machine("ml.p9.huge", 1), "rank 0") == alone, "without a list"


def test_a_machine_that_is_not_listed_is_refused() -> None:
    job = job_of(compose(*LIST))
    for machine in (Machine("ml.p4d.24xlarge", 1), Machine("ml.g5.12xlarge", 1)):
        with pytest.raises(ConfigError, match=r"lists 1 x ml.p3.16xlarge, 2 x ml.g5.12xlarge"):
            on_its_machine(job, machine, "rank 3")
    fewer = on_its_machine(job, Machine("ml.g5.12xlarge", 1), "rank 0", fewer=True)
    assert limited(fewer, Limits(1, 2, 6, 40, True)).cluster.fallback == []


def test_a_row_with_another_update_is_refused() -> None:
    job = job_of(compose(*LIST))
    job.cluster.fallback[1] = replace(job.cluster.fallback[1], per_device_bs=8)
    with pytest.raises(ConfigError, match="the global batch is 64"):
        on_its_machine(job, Machine("ml.g5.12xlarge", 2), "rank 0")
