"""An update's time on paper, and what a job's plan says about it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from conftest import compose
from results import manifest_of

from lingotune.catalog.gpus import find_gpu
from lingotune.catalog.models import model_size
from lingotune.config.jobfile import job_of
from lingotune.config.schema import ModelConfig, Precision, TrainingConfig
from lingotune.config.typed_json import from_json
from lingotune.data.prepared.manifest import Manifest
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.bucketing import Efficiency
from lingotune.estimate.step_time import (
    ShardingPlan,
    operations,
    paper_lines,
    paper_step,
    trained_rows,
    update_on_paper,
    utilisation,
)
from lingotune.launch.plan.lengths import estimate_batching, published

SIZE = model_size(ModelConfig("m", "distilbert-base-multilingual-cased"))
FOUND = Efficiency(53.7, 54.0, 54.8, 1.0, 5000.0)


def step(**changes: Any) -> Any:
    v100 = find_gpu("Tesla V100-SXM2-16GB")
    assert v100 and SIZE
    given = {"per_gpu": 16, "gpus": 8, "tokens": 54.0, "squares": 54.0**2, **changes}
    return paper_step(SIZE, v100, given.pop("precision", Precision.fp16), **given)


def test_the_arithmetic_of_the_articles_model() -> None:
    """By hand: 135.33 M parameters, of them 91.81 M words and 0.39 M positions; 6 layers of 768."""
    assert SIZE and SIZE.parameters == 135_326_979
    met = 135_326_979 - (119_547 + 512) * 768
    assert operations(SIZE, 54, 54**2) == 6 * met * 54 + 12 * 6 * 768 * 54**2
    found = step()
    assert found.compute == pytest.approx(16 * operations(SIZE, 54, 54**2) / (125e12 * 0.36))
    assert found.optimizer == pytest.approx(135_326_979 * 40 / 800e9)
    assert found.sending == pytest.approx(119_547 * 768 * 4 * 2 * 7 / 8 / 120e9)
    assert found.texts_per_second == pytest.approx(128 / found.seconds)
    assert step(gpus=1).sending == 0
    assert step(straggler=2.0).compute == pytest.approx(2 * found.compute)


def test_fewer_trained_embeddings_are_less_to_send_and_to_update() -> None:
    found = step(trained_rows=42_000)
    assert found.sending == pytest.approx(42_000 * 768 * 4 * 2 * 7 / 8 / 120e9)
    assert found.optimizer == pytest.approx((135_326_979 - 77_547 * 768) * 40 / 800e9)


def test_between_nodes_the_network_decides() -> None:
    one, two = step(), step(nodes=2, efa=1)
    assert two.texts == 2 * one.texts
    ring = 2 * 15 / 16 / 10e9 * 4
    rest = (135_326_979 - 119_547 * 768) * ring - two.compute * 2 / 3
    assert two.sending == pytest.approx(119_547 * 768 * ring + rest)
    assert step(nodes=2, efa=0) is None, "nothing is known of the network"


def test_shards_are_gathered_twice_and_scattered_once_in_each_part() -> None:
    """By hand: of 135.33 M parameters, 91.81 M are words; whole models send 2 x 4 bytes of each."""
    words, second = 119_547 * 768, 7 / 8 / 120e9
    found = step(shards=ShardingPlan(4, 1))
    assert found.sending == pytest.approx(words * 8 * second), "one gathering, one scattering"
    assert found.optimizer == pytest.approx(135_326_979 * 40 / 800e9 / 8)
    assert found.compute == step().compute
    assert step(shards=ShardingPlan(2, 1)).sending == pytest.approx(words * 6 * second)
    assert step(shards=ShardingPlan(2, 3)).sending == pytest.approx(words * 18 * second)
    frozen = step(shards=ShardingPlan(4, 1), trained_rows=0)
    assert frozen.sending == pytest.approx(words * 4 * second), "what is frozen is gathered too"
    two, bare = step(shards=ShardingPlan(4, 1), nodes=2, efa=1), words * 8
    over = 15 / 16 / 10e9
    rest = (135_326_979 * 12 - bare) * over - two.compute
    assert two.sending == pytest.approx(bare * over + rest)


def test_a_plan_tells_what_shards_send() -> None:
    typed = ["cluster=p4d_24xl", "model=distilbert_multilingual", "training.shard=true"]
    job = job_of(compose(*typed))
    sends, _ = paper_lines(job, plan_batches(job), FOUND, 42_000)
    assert sends == (
        "each update sends 541 MB of weights and 541 MB of gradients, 1.0 times as much as without"
        " shards: 135.3 of 135.3 M parameters are trained"
    )
    job.training.precision = Precision.fp32
    assert (
        "1083 MB of weights and 541 MB of gradients, 1.5 times"
        in (paper_lines(job, plan_batches(job), FOUND, 42_000)[0])
    )


def test_what_is_not_known_is_not_guessed() -> None:
    assert find_gpu("Radeon Pro") is None and find_gpu("NVIDIA A1000") is None
    assert step(precision=Precision.bf16) is None, "a V100 does not compute in it"
    names = {"NVIDIA H100 80GB HBM3": "H100", "NVIDIA A100-SXM4-40GB": "A100", "Tesla T4": "T4",
             "NVIDIA L40S": "L40S", "NVIDIA L4": "L4", "NVIDIA A10G": "A10G"}  # fmt: skip
    for told, short in names.items():
        assert find_gpu(told) == find_gpu(short) is not None
    t4 = find_gpu("T4")
    assert t4 and SIZE
    given: dict[str, Any] = {"per_gpu": 1, "tokens": 9, "squares": 81}
    alone = paper_step(SIZE, t4, Precision.fp16, gpus=1, **given)
    assert alone and alone.sending == 0, "one sends nothing"
    assert paper_step(SIZE, t4, Precision.fp16, gpus=4, **given) is None, "over an unknown bus"


def test_utilisation_counts_texts_alone() -> None:
    assert SIZE
    each = operations(SIZE, 54, 54**2)
    assert utilisation(each, 1000, each * 4000) == pytest.approx(0.25)


def test_a_last_layer_for_the_first_token_is_a_sixth_of_the_work_less_of_six_layers() -> None:
    """By hand; with adapters, keys and values have two of its 12 x 768 squared parameters."""
    assert SIZE
    whole, first = (operations(SIZE, 54, 54**2, first_token_only=only) for only in (False, True))
    assert 1 - first / whole == pytest.approx(1 / 6, rel=0.02)
    whole_lora, first_lora = (
        operations(SIZE, 54, 54**2, first_token_only=only, adapters=9) for only in (False, True)
    )
    assert 1 - first_lora / whole_lora == pytest.approx(10 / 12 / 6, rel=0.02)
    assert step(first_token_only=True).compute == pytest.approx(step().compute * first / whole)


@pytest.mark.parametrize(
    ("settings", "pieces", "rows"),
    [
        ({}, 42_000, 42_000),
        ({}, None, 119_547),
        ({"weight_decay": 0.01}, 42_000, 119_547),
        ({"compact_vocabulary": False}, 42_000, 119_547),
        ({"freeze_embeddings": True}, 42_000, 0),
        ({"shard": True}, 42_000, 119_547),
        ({}, 200_000, 119_547),
    ],
)
def test_rows_that_a_job_trains(settings: dict[str, Any], pieces: Any, rows: int) -> None:
    assert SIZE and trained_rows(TrainingConfig(**settings), SIZE, pieces) == rows


def test_a_plan_tells_bytes_and_milliseconds() -> None:
    job = job_of(compose("experiment=blog"))
    sends, takes = paper_lines(job, plan_batches(job), FOUND, 42_000)
    assert sends == "each update sends 303 MB of gradients: 75.8 of 135.3 M parameters are trained"
    assert takes.startswith("on paper an update takes 9.9 ms = 4.2 computing + 3.8 optimizer + 1.9")
    job.training.compress_gradients = True
    assert "sends 152 MB" in paper_lines(job, plan_batches(job), FOUND, 42_000)[0]
    alone = job_of(compose("experiment=blog", "cluster=p3_2xl"))
    (takes,) = paper_lines(alone, plan_batches(alone), FOUND, None)
    assert "+ 0.0 sending" in takes
    unknown = job_of(compose("cluster=g5_12xl", "model=distilbert_multilingual"))
    sends, _ = paper_lines(unknown, plan_batches(unknown), FOUND, None)
    assert sends.startswith("each update sends 541 MB")
    here = job_of(compose())
    assert paper_lines(here, plan_batches(here), FOUND, None) == ()


TWO_WAYS = (
    "of these the word embeddings' are 129 MB, or at most 21 MB for the rows that an update touches"
)
ONE_WAY = "of these the word embeddings' are at most 21 MB for the rows that an update touches"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ((), [f"{TWO_WAYS}: decided by measuring, at the start"]),
        (("training.row_exchange=true",), [f"{ONE_WAY} (training.row_exchange=true)"]),
        (("training.sparse_exchange=true",), [f"{ONE_WAY} (training.sparse_exchange=true)"]),
        (("training.row_exchange=false",), []),
        (("training.freeze_embeddings=true",), []),
        (("training.compile=true",), []),
        (("training.shard=true",), []),
        ((f"model.remote_code={20 * '0a'}",), []),
        (("cluster.distribution=smdistributed",), []),
    ],
)  # fmt: skip
def test_a_plan_tells_both_ways_of_exchanging_the_embeddings(
    typed: tuple[str, ...], told: list[str]
) -> None:
    job = job_of(compose("experiment=blog", "cluster.distribution=torch_distributed", *typed))
    lines = paper_lines(job, plan_batches(job), FOUND, 42_000)
    assert [line for line in lines if "the word embeddings' are" in line] == told


def test_touched_rows_shorten_the_paper_where_they_pay() -> None:
    def sending(**changes: Any) -> float:
        found: float = step(trained_rows=42_000, touched_rows=6874, **changes).sending
        return found

    whole, touched = 42_000 * 768 * 4, 6874 * 768 * 4 + 42_000
    one_machine, slower = 2 * 7 / 8 / 120e9, 2 * 15 / 16 / 10e9
    assert sending() == pytest.approx(whole * one_machine), "1.6 ms are not worth it"
    asked = TrainingConfig(row_exchange=True)
    assert sending(training=asked) == pytest.approx(touched * one_machine)
    with_nodes = {"nodes": 2, "efa": 1, "per_gpu": 256}  # enough work to hide the other gradients
    assert sending(**with_nodes) == pytest.approx(touched * slower)
    refused = TrainingConfig(row_exchange=False)
    assert sending(**with_nodes, training=refused) == pytest.approx(whole * slower)


def test_a_model_too_small_for_the_formula_gets_no_figure() -> None:
    job = job_of(compose("cluster=p3_16xl"))
    assert update_on_paper(job, plan_batches(job), FOUND, None) is None
    assert all("on paper" not in line for line in paper_lines(job, plan_batches(job), FOUND, None))


def test_lengths_of_the_articles_data_are_those_published() -> None:
    lengths = published("amazon_reviews_multi", 60_000)
    assert 53 < lengths.mean() < 55
    japanese = published("amazon_reviews_multi", 60_000, ["ja"])
    found = np.percentile(japanese, [50, 95, 99]).tolist()
    assert found == pytest.approx([60, 213, 404], rel=0.02)
    job = job_of(compose("experiment=blog"))
    batch = plan_batches(job)
    estimate = estimate_batching(job, batch, None)
    assert estimate and estimate.word_pieces == 42_000
    assert estimate.random.critical / estimate.planned.critical > 5.5
    assert "amazon_reviews_multi" in estimate.arithmetic[-1]
    job.data.languages = ["en", "xx"]
    assert estimate_batching(job, batch, None) is None


def manifest_with(lengths: dict[str, list[int]]) -> Manifest:
    """A manifest of training texts of these lengths: language -> rows by their number of tokens."""
    return from_json(Manifest, {**manifest_of([]), "lengths": {"train": lengths}})


@pytest.mark.parametrize(
    ("overrides", "width"),
    [
        (["cluster=p3_2xl"], 40),
        (["cluster=p3_2xl", "training.compile=true"], 48),
        (["cluster=p3_2xl", "batching.pad_to_multiple_of=1"], 33),
        (["cluster=p3_2xl", "training.compile=true", "batching.pad_to_multiple_of=64"], 64),
        (["cluster=p3_2xl", "batching.pad_to_multiple_of=100"], 90),
        (["cluster=p3_2xl", "batching.padding_free=true"], 33),
        ([], 33),
    ],
)
def test_widths_are_rounded_up_for_a_gpu_or_as_asked_for(overrides: list[str], width: int) -> None:
    """But not beyond the longest text."""
    job = job_of(compose("per_device_bs=32", "data.max_length=128", *overrides))
    manifest = manifest_with({"de": [0] * 33 + [64] + [0] * 56 + [32]})
    estimate = estimate_batching(job, plan_batches(job), manifest)
    assert estimate and estimate.planned.padded == pytest.approx((2 * width + 90) / 3)


def test_prepared_data_tells_its_lengths() -> None:
    counts = {"de": [0, 0, 3, 0, 5], "fr": [0, 0, 0, 2]}
    manifest = manifest_with(counts)
    job = job_of(compose("per_device_bs=4"))
    estimate = estimate_batching(job, plan_batches(job), manifest)
    assert estimate and estimate.planned.real == pytest.approx((3 * 2 + 2 * 3 + 5 * 4) / 10)
    assert "the 10 prepared texts" in estimate.arithmetic[-1]
    job.data.max_length = 8
    assert estimate_batching(job, plan_batches(job), manifest_with({})) is None
    assert dataclasses.asdict(estimate)["planned"]["straggler"] == 1.0
