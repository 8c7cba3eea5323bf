"""A rehearsed job: smaller, but the same in everything that a rehearsal has to prove."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.jobfile import job_of
from lingotune.config.problems import errors_only
from lingotune.config.schema import EvalStrategy, Visibility
from lingotune.contract.rehearsal_limits import VARIABLE, Limits, read_limits, write_limits
from lingotune.estimate.batch import plan_batches, world_size
from lingotune.preflight import check_job
from lingotune.training.rehearsal import limited, spread

LIMITS = Limits(nodes=1, ranks=2, steps=6, rows=40, tiny=True)


def test_the_limits_travel_in_a_variable() -> None:
    assert read_limits(write_limits(LIMITS)) == LIMITS
    assert read_limits({}) is None
    assert VARIABLE.startswith("LINGOTUNE_"), "cluster.environment may not hold these"


@pytest.mark.parametrize(
    "overrides",
    [
        ["scaling=none"],
        ["scaling=linear", "scaling.base_batch=16"],
        ["scaling=sqrt", "scaling.base_batch=24", "scaling.accumulation=4"],
        ["scaling=linear", "scaling.base_batch=7", "cluster.nodes=3"],
        ["scaling=fixed_global", "scaling.global_batch=1024", "per_device_bs=16"],
    ],
)
def test_the_worker_derives_the_clusters_learning_rate(overrides: list[str]) -> None:
    job = job_of(compose("cluster=p3_16xl", "lr=3e-5", *overrides))
    small = limited(job, LIMITS)
    assert small.lr == job.lr, "not scaled yet: that is the worker's work, and what is rehearsed"
    assert plan_batches(small).learning_rate == pytest.approx(plan_batches(job).learning_rate)
    assert plan_batches(small).accumulation == min(plan_batches(job).accumulation, 2)
    assert world_size(small.cluster) == 2
    if overrides[-1] == "scaling.base_batch=16":
        assert type(small.scaling.base_batch) is int, "a job file holds whole numbers"


def test_what_is_cut_down_and_what_is_not() -> None:
    job = job_of(compose("cluster=p4d_24xl", "model=distilbert_multilingual", "hub=private",
                         "hub.token_secret=x", "training.warmup_steps=100"))  # fmt: skip
    small = limited(job, LIMITS)
    assert small.hub.visibility is Visibility.none
    assert small.model.name_or_path is None
    assert limited(job, Limits(1, 2, 6, 40, tiny=False)).model == job.model
    assert small.training.max_steps == 6 and small.training.warmup_steps == 1
    assert small.training.eval_strategy is EvalStrategy.steps
    assert small.data == job.data and small.per_device_bs == job.per_device_bs
    assert small.cluster.instance_type == job.cluster.instance_type
    assert errors_only(check_job(job)) == []


def test_a_job_without_evaluations_is_rehearsed_without() -> None:
    job = job_of(compose("cluster=p3_2xl", "training.eval_strategy=none"))
    training = limited(job, LIMITS).training
    assert training.eval_strategy is EvalStrategy.none and training.save_steps == 2


def test_a_whole_job_keeps_its_steps_but_not_its_machines() -> None:
    typed = ["cluster=p3_16xl", "hub=private", "hub.token_secret=x", "training.report_to=[wandb]"]
    job = job_of(compose(*typed, "training.warmup_steps=7", "epochs=3"))
    limits = Limits(1, 2, None, None, tiny=False)
    assert "all steps, all rows a split" in str(limits)
    assert read_limits(write_limits(limits)) == limits
    small = limited(job, limits)
    assert small.training == replace(job.training, report_to=[]) and small.epochs == job.epochs
    assert world_size(small.cluster) == 2 and small.hub.visibility is Visibility.none


@given(
    kinds=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=60),
    count=st.integers(1, 70),
)
def test_rows_are_spread_over_languages_and_classes(
    kinds: list[tuple[str, int]], count: int
) -> None:
    places = spread([(ord(language), label) for language, label in kinds], count)
    chosen = [kinds[place] for place in places]
    assert len(chosen) == min(count, len(kinds))
    assert places == sorted(set(places)), "in their order, each once"
    taken = [chosen.count(kind) for kind in set(kinds)]
    there = [kinds.count(kind) for kind in set(kinds)]
    most = max(taken)
    assert all(t >= min(most - 1, all_) for t, all_ in zip(taken, there)), "in turn"
