"""Low-rank adapters in a plan: less to compute, to send and to hold, a set-up of its own, and peft."""

from __future__ import annotations

from pathlib import Path

from conftest import CONF, compose

from lingotune.catalog.models import kind_for, kind_of, model_size
from lingotune.config.jobfile import job_of
from lingotune.config.schema import JobConfig, LaunchConfig, Precision
from lingotune.estimate.batch import plan_batches, trains_used_rows
from lingotune.estimate.bucketing import Efficiency
from lingotune.estimate.step_time import operations, paper_lines, trained_rows, update_on_paper
from lingotune.estimate.throughput import setup_of
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.plan.code_bundle import bundle_of

FOUND = Efficiency(53.7, 54.0, 54.8, 1.0, 5000.0)
ADAPTERS = 12 * 8 * (4 * 1536 + 2 * 3840)
"""Beside XLM-R base: 12 layers x rank 8 x (in + out) of each linear layer."""
HEAD = 768 * 768 + 768 + 3 * 769


def config(*typed: str) -> LaunchConfig:
    return compose("cluster=p4d_24xl", "model=xlmr_base", "lr=3e-4", *typed)


def lora(*typed: str) -> JobConfig:
    return job_of(config("training.lora.rank=8", *typed))


def test_an_update_computes_two_thirds_and_sends_the_adapters_alone() -> None:
    whole, job = job_of(config()), lora()
    size = model_size(job.model)
    assert size
    met = size.parameters - size.embeddings
    each = operations(size, 54, 54**2, adapters=ADAPTERS)
    assert each == (4 * met + 6 * ADAPTERS) * 54 + 12 * 12 * 768 * 54**2
    sends, _ = paper_lines(job, plan_batches(job), FOUND, 42_000)
    assert sends == (
        f"each update sends {(ADAPTERS + HEAD) * 4 / 1e6:.0f} MB of gradients: 1.9 of 278.0 M parameters"
        " are trained"
    )
    one, other = (update_on_paper(j, plan_batches(j), FOUND, 42_000) for j in (job, whole))
    assert one and other
    assert 0.6 < one.compute / other.compute < 0.75
    assert one.optimizer < other.optimizer / 50 and one.sending < other.sending / 50


def test_targets_are_counted_alone() -> None:
    job = lora("training.lora.targets=[query,value]")
    (line, _) = paper_lines(job, plan_batches(job), FOUND, 42_000)
    assert f"{(12 * 8 * 2 * 1536 + HEAD) * 4 / 1e6:.0f} MB" in line


def test_word_embeddings_are_not_trained() -> None:
    job, size = lora(), model_size(lora().model)
    assert size and trained_rows(job.training, size, 42_000) == 0
    assert not trains_used_rows(job.training)


def test_a_run_with_adapters_tells_nothing_of_one_without() -> None:
    jobs = [lora(), lora("training.lora.targets=[value,query]"), job_of(config())]
    found = [setup_of(job, plan_batches(job), Precision.bf16).embeddings for job in jobs]
    assert found == ["frozen, LoRA of rank 8", "frozen, LoRA of rank 8 query value", "used"]


def test_its_workers_install_peft_and_others_do_not() -> None:
    plain, more = bundle_of([config()]), bundle_of([config(), config("training.lora.rank=4")])
    name = "requirements.txt"
    assert more.files[name] == plain.files[name] + b"peft==0.18.1\n"


def test_a_file_without_a_rate_gets_one_for_adapters(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "# @package _global_\nmodel: {name: mine, name_or_path: xlm-roberta-base}\n"
    (tmp_path / "model" / "mine.yaml").write_text(text)
    jobs = [
        job_of(one.config)
        for typed in ([], ["training.lora.rank=8"])
        for one in compose_all(
            ["model=mine", *typed], CONF, lambda config: [], multirun=False, extra_dir=tmp_path
        )
    ]
    assert (
        [job.lr for job in jobs]
        == [kind_of(jobs[0].model).lr, kind_for(jobs[1]).lr]
        == [3e-5, 3e-4]
    )
