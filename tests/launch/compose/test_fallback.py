"""cluster.fallback as it is typed: names become rows with the same update on each machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF, compose

from lingotune.catalog.hardware import resolve_image
from lingotune.config.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.config.machines import as_planned, on_machine, on_type
from lingotune.config.problems import ConfigError
from lingotune.config.schema import Distribution, JobConfig, LaunchConfig, Precision
from lingotune.estimate.batch import plan_batches
from lingotune.launch.checks.launch import check_launch, check_planned
from lingotune.launch.compose.compose import compose_all

P3 = "cluster=p3_16xl"


def listed(*overrides: str) -> LaunchConfig:
    return compose(P3, "cluster.fallback=[g5_12xl,p3dn_24xl]", "per_device_bs=32", *overrides)


def batches(job: JobConfig) -> list[tuple[int, int, int, int]]:
    plans = [plan_batches(on_machine(job, row)) for row in job.cluster.fallback]
    return [(p.per_device_batch, p.world_size, p.accumulation, p.global_batch) for p in plans]


def problem_of(*overrides: str) -> tuple[str, str, str]:
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    (problem,) = caught.value.problems
    return problem.where, problem.what, problem.fix


def test_every_machine_has_a_row_with_the_same_global_batch() -> None:
    config = listed()
    assert [row.instance_type for row in config.cluster.fallback] == [
        "ml.p3.16xlarge", "ml.g5.12xlarge", "ml.p3dn.24xlarge",
    ]  # fmt: skip
    assert batches(config) == [(32, 8, 1, 256), (32, 4, 2, 256), (32, 8, 1, 256)]
    assert config.training.precision is Precision.fp16, "the V100 has no bf16"
    image = resolve_image(config.cluster)
    assert image and image.pytorch == "2.5.1", "the newest with kernels for the V100"
    bf16 = compose("cluster=g6e_12xl", "cluster.fallback=[g5_12xl]")
    assert bf16.training.precision is Precision.bf16


def test_nodes_are_those_of_the_job_unless_a_row_or_option_says_otherwise() -> None:
    rows = "cluster.fallback=[{name: g5_48xl, nodes: 3}, ml.p5.48xlarge]"
    config = compose("cluster=p4d_24xl", "cluster.nodes=2", rows, "per_device_bs=12")
    assert [row.nodes for row in config.cluster.fallback] == [2, 3, 2]
    assert batches(config) == [(12, 16, 1, 192), (8, 24, 1, 192), (12, 16, 1, 192)]


def test_what_does_not_fit_the_memory_is_accumulated() -> None:
    typed = ["model=xlmr_base", "data.max_length=512", "per_device_bs=64"]
    config = compose("cluster=p4de_24xl", "cluster.fallback=[p3_16xl]", *typed)
    first, second = batches(config)
    assert first == (64, 8, 1, 512) and second[3] == 512 and second[0] < 64


def test_a_single_gpu_beside_several_is_started_like_them() -> None:
    one = ["cluster=sagemaker", "cluster.instance_type=ml.g5.xlarge"]
    config = compose(*one, "cluster.fallback=[g5_12xl]")
    assert config.cluster.distribution is Distribution.torch_distributed
    alone = compose(*one, "cluster.fallback=[ml.g5.2xlarge]")
    assert alone.cluster.distribution is Distribution.none


@pytest.mark.parametrize("rule", ["linear", "sqrt"])
def test_the_learning_rate_is_the_same_on_all(rule: str) -> None:
    config = listed(f"scaling={rule}", "scaling.base_batch=32")
    rates = {plan_batches(on_machine(config, r)).learning_rate for r in config.cluster.fallback}
    assert len(rates) == 1


def test_a_given_global_batch_stays() -> None:
    config = listed("scaling=fixed_global", "scaling.global_batch=512")
    assert [batch[3] for batch in batches(config)] == [512] * 3


def test_what_cannot_be_split_names_the_nearest_that_can() -> None:
    uneven = ["cluster=g5_12xl", "cluster.fallback=[p3_16xl]"]
    where, what, fix = problem_of(*uneven, "per_device_bs=3")
    assert where == "cluster.fallback=[p3_16xl]" and "12 cannot be split evenly over 8 GPUs" in what
    assert fix == "per_device_bs=2 or per_device_bs=4"
    for one in fix.split(" or "):
        compose(*uneven, one)
    fixed = [*uneven, "scaling=fixed_global", "per_device_bs=1"]
    _, _, fix = problem_of(*fixed, "scaling.global_batch=12")
    for one in fix.split(" or "):
        compose(*fixed, one)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("g5_12x", "did you mean g5_12xl?"),
        ("local", "is this machine"),
        ("{nodes: 2}", "without a name"),
        ("{name: g5_12xl, per_device_bs: 7}", "are not a whole number of passes of 7"),
        ("{name: g5_12xl, per_device_bs: 8, accumulation: 3}", "are not 3 passes of 8"),
    ],
)
def test_a_row_that_cannot_be_used(row: str, what: str) -> None:
    assert what in problem_of(P3, f"cluster.fallback=[{row}]", "per_device_bs=32")[1]


def test_a_row_may_give_its_own_batch() -> None:
    config = compose(
        P3, "cluster.fallback=[{name: g5_12xl, per_device_bs: 16}]", "per_device_bs=32"
    )
    assert batches(config)[1] == (16, 4, 4, 256)


def test_an_option_of_ones_own_varies_the_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    text = "name: mine\ninstance_type: ml.g5.48xlarge\nnodes: 2\n"
    file = tmp_path / "cluster" / "mine.yaml"

    def composed() -> LaunchConfig:
        words = [P3, "cluster.fallback=[mine]", "per_device_bs=32"]
        found = compose_all(words, CONF, lambda one: [], multirun=False, extra_dir=tmp_path)
        return found[0].config

    file.write_text(text)
    assert batches(composed())[1] == (16, 16, 1, 256)
    file.write_text(f"{text}max_run: 600\n")
    with pytest.raises(ConfigError, match=r"cluster=mine sets cluster\.max_run"):
        composed()


def test_a_list_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    text = "defaults: [p3_16xl]\nname: mine\nfallback: [g5_12xl]\n"
    (tmp_path / "cluster" / "mine.yaml").write_text(text)
    words = ["cluster=mine", "per_device_bs=32"]
    (one,) = compose_all(words, CONF, lambda one: [], multirun=False, extra_dir=tmp_path)
    assert [row.instance_type for row in one.config.cluster.fallback] == [
        "ml.p3.16xlarge", "ml.g5.12xlarge",
    ]  # fmt: skip


def test_the_job_is_the_same_whichever_machine_it_gets(tmp_path: Path) -> None:
    job = job_of(listed())
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(job))
    loaded, digest = load_job(path)
    there = on_type(loaded, "ml.g5.12xlarge")
    assert there != loaded == job and job_digest(there) == digest and as_planned(there) == job
    assert dump_job(there) == path.read_bytes()
    assert job_digest(on_type(job, "ml.p3dn.24xlarge")) == digest


def test_a_job_on_top_of_another_has_its_list_and_its_own_batches() -> None:
    base = job_of(listed())
    words = ["per_device_bs=16"]
    (one,) = compose_all(words, CONF, lambda one: [], multirun=False, base=base)
    assert batches(one.config) == [(16, 8, 1, 128), (16, 4, 2, 128), (16, 8, 1, 128)]
    (other,) = compose_all(["cluster=p4d_24xl"], CONF, lambda one: [], multirun=False, base=base)
    assert other.config.cluster.fallback == []


def test_what_is_wrong_on_some_machines_is_told_once_with_what_is_left() -> None:
    config = listed("training.precision=bf16", "aws.sdk=boto3")
    found = [p for p in check_launch(config) if p.check == "bf16-unsupported"]
    assert len(found) == 1 and found[0].fix == "training.precision=fp16", "the first has it, too"
    config = compose(
        "cluster=g6e_12xl", "cluster.fallback=[g5_12xl,p3_16xl,p3dn_24xl]", "aws.sdk=boto3",
        "training.precision=bf16",
    )  # fmt: skip
    (one,) = [p for p in check_launch(config) if p.check == "bf16-unsupported"]
    assert one.what.startswith("on p3_16xl, p3dn_24xl (cluster.fallback): the V100 has no bf16")
    assert one.fix == "training.precision=fp16, or 'cluster.fallback=[g5_12xl]'"
    large = ["model=xlmr_base", "data.max_length=512", "training.precision=fp32"]
    tight = compose("cluster=p4de_24xl", "cluster.fallback=[ml.p3.2xlarge]",
                    "per_device_bs=1", "aws.sdk=boto3", *large)  # fmt: skip
    assert not [p for p in check_planned(tight) if p.check == "memory-exceeded"]
