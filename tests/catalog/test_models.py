"""Kinds of models, and the learning rates, batches and epochs that suit them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CONF, compose

from lingotune.catalog.models import kind_of, model_kinds
from lingotune.config.jobfile import job_of
from lingotune.config.problems import Severity, errors_only
from lingotune.config.schema import CodeConfig, ModelConfig
from lingotune.launch.compose.compose import compose_all
from lingotune.preflight import check_job


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (None, "scratch"),
        ("distilbert-base-multilingual-cased", "base"),
        ("FacebookAI/xlm-roberta-base", "base"),
        ("FacebookAI/xlm-roberta-large", "large"),
        ("intfloat/multilingual-e5-small", "small"),
        ("mine/deberta-v3-large", "large"),
        ("mine/enlarged", "base"),
    ],
)
def test_the_kind_follows_from_the_size_or_the_name(name: str | None, kind: str) -> None:
    assert kind_of(ModelConfig("x", name)) is model_kinds()[kind]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"hidden_size": 384}, "small"),
        ({"dim": 768}, "base"),
        ({"d_model": 1024}, "large"),
        ({"d_model": 512, "model_type": "t5"}, "t5"),
        ({"d_model": 4096, "model_type": "umt5"}, "t5"),
        ({"emb_dim": 2048, "model_type": "xlm"}, "large"),
        ({"hidden_size": 768, "model_type": "modernbert"}, "base"),
        ({}, "base"),
        ([], "base"),
    ],
)
def test_the_size_of_a_folder_is_read(tmp_path: Path, config: object, kind: str) -> None:
    folder = tmp_path / "a-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    assert kind_of(ModelConfig("x", str(folder))) is model_kinds()[kind]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("microsoft/deberta-v2-xlarge", "large"),
        ("albert-xxlarge-v2", "large"),
        ("answerdotai/ModernBERT-base", "base"),
        ("sentence-transformers/all-MiniLM-L6-v2", "small"),
        ("nreimers/MiniLMv2-L6-H384-distilled-from-RoBERTa-Large", "small"),
        ("google/bert_uncased_L-2_H-128_A-2", "small"),
        ("google/bert_uncased_L-12_H-768_A-12", "base"),
        ("huawei-noah/TinyBERT_General_4L_312D", "small"),
        ("Qwen/Qwen2.5-0.5B", "large"),
        ("mistralai/Mistral-7B-v0.1", "large"),
        ("HuggingFaceTB/SmolLM2-135M", "base"),
        ("EuroBERT/EuroBERT-610m", "large"),
        ("google-t5/t5-small", "t5"),
        ("google/mt5-xl", "t5"),
        ("google/flan-t5-base", "t5"),
        ("google/byt5-small", "t5"),
        ("me/est5bert", "base"),
    ],
)
def test_the_kind_of_a_hub_model_follows_from_its_name(name: str, kind: str) -> None:
    assert kind_of(ModelConfig("x", name)) is model_kinds()[kind]


def test_a_builders_model_may_learn_at_other_rates() -> None:
    """It may train a head alone, on an encoder that stays as it is."""
    for typed in ("lr=0.1", "lr=2e-4"):
        job = job_of(compose("model=xlmr_base", "cluster=p3_16xl", typed, "scaling=linear",
                             "scaling.base_batch=1"))  # fmt: skip
        own = replace(job, code=CodeConfig(file="mine.py", builder="head"))
        assert errors_only(check_job(job))
        assert not {"lr-destroys", "scaled-lr-destroys"} & {p.check for p in check_job(own)}
    (found,) = [p for p in check_job(replace(own, lr=0.1)) if p.key == "lr"]
    assert (found.check, found.severity) == ("lr-for-model", Severity.warning)


def test_a_model_file_without_numbers_gets_those_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "# @package _global_\nmodel: {name: mine, name_or_path: bert-base-multilingual-cased}\n"
    (tmp_path / "model" / "mine.yaml").write_text(text)

    def composed(*typed: str) -> tuple[float, int, int]:
        found = compose_all(
            ["model=mine", *typed], CONF, lambda config: [], multirun=False, extra_dir=tmp_path
        )
        job = job_of(found[0].config)
        return job.lr, job.per_device_bs, job.epochs

    assert composed() == (3e-5, 16, 3)
    assert composed("lr=1e-5", "epochs=9") == (1e-5, 16, 9)


@pytest.mark.parametrize("option", ["tiny", "distilbert_multilingual", "xlmr_base"])
def test_no_shipped_model_is_outside_of_its_range(option: str) -> None:
    found = check_job(job_of(compose(f"model={option}")))
    assert not [problem for problem in found if problem.key == "lr"]


def test_a_scaled_rate_that_destroys_is_an_error() -> None:
    typed = ["model=xlmr_base", "cluster=p3_16xl", "lr=2e-4", "scaling=linear"]
    (problem,) = check_job(job_of(compose(*typed, "scaling.base_batch=1")))
    assert problem.severity is Severity.error and problem.check == "scaled-lr-destroys"
    assert problem.what.startswith("makes 0.0256 of lr=0.0002")
    assert not check_job(job_of(compose(*typed, "scaling.base_batch=16")))
