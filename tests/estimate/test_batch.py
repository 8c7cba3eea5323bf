"""Batch and learning-rate arithmetic."""

from __future__ import annotations

import math

import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, ScalingRule
from lingotune.estimate.batch import plan_batches, plan_steps


def job(*overrides: str) -> JobConfig:
    return job_of(compose(*overrides))


def test_the_articles_numbers() -> None:
    blog = job("experiment=blog")
    batch = plan_batches(blog)
    assert (batch.world_size, batch.global_batch) == (8, 128)
    assert batch.learning_rate == pytest.approx(3e-5 * 8)
    assert batch.arithmetic == (
        "global batch 128 = 16 per GPU x 8 GPUs x 1 accumulation",
        "lr 3e-05 x 128/16 (linear) = 0.00024",
    )
    steps = plan_steps(blog, batch, 1_200_000)
    assert (steps.steps_per_epoch, steps.total_steps, steps.warmup_steps) == (9375, 28125, 2812)


def test_sqrt_and_accumulation_and_nodes() -> None:
    batch = plan_batches(
        job("cluster=p3_16xl", "cluster.nodes=2", "scaling=sqrt", "scaling.accumulation=2")
    )
    assert batch.global_batch == 32 * 8 * 2 * 2
    assert batch.learning_rate == pytest.approx(1e-3 * math.sqrt(1024 / 16))
    assert batch.arithmetic[0] == (
        "global batch 1024 = 32 per GPU x 8 GPUs x 2 nodes x 2 accumulation"
    )


def test_fixed_global_derives_the_accumulation() -> None:
    batch = plan_batches(job("cluster=g5_12xl", "scaling=fixed_global", "per_device_bs=8"))
    assert (batch.global_batch, batch.accumulation, batch.learning_rate) == (128, 4, 1e-3)


def test_an_impossible_split_names_the_nearest_that_work() -> None:
    with pytest.raises(ConfigError) as caught:
        plan_batches(
            job(
                "cluster=p3_16xl",
                "scaling=fixed_global",
                "scaling.global_batch=1000",
                "per_device_bs=16",
            )
        )
    (problem,) = caught.value.problems
    assert problem.where == "scaling.global_batch=1000"
    assert problem.what == (
        "cannot be split evenly: one pass is 16 per GPU x 8 GPUs = 128 examples"
    )
    assert problem.fix == (
        "scaling.global_batch=896 or scaling.global_batch=1024, or per_device_bs=5 or per_device_bs=25"
    )


@given(
    wanted=st.integers(1, 5000),
    per_device=st.integers(1, 200),
    processes=st.integers(1, 16),
)
def test_a_split_is_exact_or_refused_with_values_that_work(
    wanted: int, per_device: int, processes: int
) -> None:
    one = JobConfig(name="x", lr=1e-3, per_device_bs=per_device)
    one.cluster.processes = processes
    one.scaling.rule, one.scaling.global_batch = ScalingRule.fixed_global, wanted
    try:
        batch = plan_batches(one)
    except ConfigError as error:
        for override in error.problems[0].fix.replace(",", " ").replace(" or ", " ").split():
            key, value = override.split("=")
            trial = JobConfig(name="x", lr=1e-3, per_device_bs=per_device)
            trial.cluster.processes = processes
            trial.scaling.rule, trial.scaling.global_batch = ScalingRule.fixed_global, wanted
            if key == "per_device_bs":
                trial.per_device_bs = int(value)
            else:
                trial.scaling.global_batch = int(value)
            assert plan_batches(trial).global_batch == trial.scaling.global_batch
    else:
        assert batch.global_batch == wanted == per_device * processes * batch.accumulation


@given(rows=st.integers(1, 10**7), batch=st.integers(1, 512), world=st.integers(1, 64))
def test_steps_equal_what_the_sampler_and_the_loop_make_of_the_rows(
    rows: int, batch: int, world: int
) -> None:
    one = JobConfig(name="x", lr=1e-3, per_device_bs=batch, epochs=1)
    one.cluster.processes = world
    one.scaling.accumulation = 2
    per_rank = math.ceil(rows / world)  # DistributedSampler pads
    loader = math.ceil(per_rank / batch)
    steps = plan_steps(one, plan_batches(one), rows)
    assert steps.total_steps == math.ceil(loader / 2)


def test_max_steps_takes_the_place_of_epochs() -> None:
    one = job("training.max_steps=7")
    steps = plan_steps(one, plan_batches(one), 640)
    assert (steps.total_steps, steps.warmup_steps) == (7, 1)
    assert steps.arithmetic[0] == "steps 7 (training.max_steps; 0.35 epochs)"
