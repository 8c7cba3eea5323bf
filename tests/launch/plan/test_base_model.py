"""Base models of the user's own: what the plan says of them, and how they reach a job on SageMaker."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import compose

from lingotune.config.jobfile import job_of
from lingotune.config.problems import Severity, errors_only
from lingotune.config.schema import ModelConfig
from lingotune.contract.container import MODEL_CHANNEL
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import Composed
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.base_model import deliver_model, model_faults, model_files
from lingotune.launch.plan.planner import Plan, Planner, objects, planned_digests
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.service_model import mistakes
from lingotune.system.hashing import sha256_of
from lingotune.training.base_model import located

OWN = ("cluster=p3_16xl", "model=pretrained", "aws.bucket=mine")
BUNDLE = Bundle(b"code", "c" * 64, {})
Parts = dict[str, Any]
CONFIG = {"model_type": "bert", "hidden_size": 8}


def folder(place: Path, **changed: str | None) -> Path:
    """Write the files of a model by name, dots as underscores; None leaves one out."""
    files = {"config_json": json.dumps(CONFIG), "model_safetensors": "weights",
             "tokenizer_json": "{}"} | changed  # fmt: skip
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        if text is not None:
            (place / name.replace("_", ".", 1)).write_text(text)
    return place


def planned(*overrides: str, copies: dict[str, Path] | None = None) -> Plan:
    config = compose(*OWN, *overrides)
    found = tuple(check_launch(config))
    planner = Planner(BUNDLE, CostEstimator(date(2026, 11, 1)), copies=copies)
    return planner.sweep([Composed((), config, found)]).plans[0]


def of_the_model(plan: Plan) -> list[str]:
    return [p.what for p in errors_only(list(plan.problems)) if p.key.startswith("model.")]


def test_a_folder_is_uploaded_by_digest_and_arrives_as_a_channel(tmp_path: Path) -> None:
    model = folder(tmp_path / "m", training_args_bin="x", README_md="x", pytorch_model_bin="x")
    (tmp_path / "m" / "training_args.bin").write_text("x")
    plan = planned(f"model.name_or_path={model}")
    assert not of_the_model(plan) and plan.training_job and plan.digests.model
    uri = dict(plan.training_job.channels)[MODEL_CHANNEL]
    assert uri == f"s3://mine/lingotune/models/{plan.digests.model}/"
    sent = {k.removeprefix(uri): v for k, v in objects(plan, BUNDLE).items() if k.startswith(uri)}
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    assert sent == {name: model / name for name in names}
    assert planned_digests(plan) == {uri + name: sha256_of(model / name) for name in names}
    assert plan.huggingface and plan.huggingface["fit"]["inputs"][MODEL_CHANNEL] == uri


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_model_is_copied_whatever_the_mode_of_the_data(tmp_path: Path, mode: str) -> None:
    """Every process maps the weights into memory, and reads all of them."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(60)))
    data = ["data=files", f"data.path={rows}", "data.columns.text=text", "data.columns.label=label",
            "data.columns.stars=null", "data.columns.language=null", "data.labels=[a,b]"]  # fmt: skip
    model = folder(tmp_path / "m")
    plan = planned(f"model.name_or_path={model}", f"cluster.input_mode={mode}", *data)
    assert plan.request and plan.huggingface and plan.model_trainer
    assert plan.request["AlgorithmSpecification"]["TrainingInputMode"] == mode
    assert {m.path for m in mistakes(plan.request)} == {"RoleArn"}  # which is not set
    alone = {"model": "File"} if mode == "FastFile" else {}
    channels = plan.request["InputDataConfig"]
    assert {c["ChannelName"]: c["InputMode"] for c in channels if "InputMode" in c} == alone
    given = plan.huggingface["fit"]["inputs"]
    assert {n: v["input_mode"] for n, v in given.items() if isinstance(v, dict)} == alone
    inputs = plan.model_trainer["trainer"]["input_data_config"]
    assert {c["channel_name"]: c["input_mode"] for c in inputs if "input_mode" in c} == alone


def test_other_weights_make_another_job(tmp_path: Path) -> None:
    model = folder(tmp_path / "m")
    first = planned(f"model.name_or_path={model}")
    again = planned(f"model.name_or_path={model}")
    folder(tmp_path / "m", model_safetensors="others")
    other = planned(f"model.name_or_path={model}")
    assert first.name == again.name != other.name
    assert first.digests.job == other.digests.job


def test_a_prefix_in_s3_is_a_channel_as_it_is() -> None:
    plan = planned("model.name_or_path=s3://theirs/models/mine")
    assert not of_the_model(plan) and plan.training_job and plan.digests.model is None
    assert dict(plan.training_job.channels)[MODEL_CHANNEL] == "s3://theirs/models/mine/"
    assert not [uri for uri in objects(plan, BUNDLE) if uri.startswith("s3://theirs")]


def test_what_runs_here_finds_the_copy_of_a_model_in_s3(tmp_path: Path) -> None:
    uri = "s3://theirs/models/mine"
    plan = planned(f"model.name_or_path={uri}", copies={uri: folder(tmp_path)})
    assert objects(plan, BUNDLE)[f"{uri}/config.json"] == tmp_path / "config.json"
    assert not of_the_model(plan)
    lacking = folder(tmp_path / "other", tokenizer_json=None)
    plan = planned(f"model.name_or_path={uri}", copies={uri: lacking})
    assert of_the_model(plan) == ["holds no tokenizer"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config_json": None}, "holds no model: there is no config.json"),
        ({"config_json": "{}"}, "names no model_type"),
        ({"config_json": "{"}, "cannot be read"),
        ({"model_safetensors": None}, "holds no weights"),
        ({"tokenizer_json": None}, "holds no tokenizer"),
    ],
)
def test_a_folder_that_no_model_comes_of_is_an_error(
    tmp_path: Path, changed: Parts, said: str
) -> None:
    plan = planned(f"model.name_or_path={folder(tmp_path / 'm', **changed)}")
    (what,) = of_the_model(plan)
    assert said in what


def test_a_lacking_part_of_the_weights_is_named(tmp_path: Path) -> None:
    model = folder(tmp_path)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    _, (problem,) = deliver_model(ModelConfig("m", str(model)))
    assert problem.what == "lacks model-2.safetensors, which its model.safetensors.index.json names"
    assert "model.safetensors.index.json" in {path.name for path in model_files(model)}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "no folder of this machine"),
        ("runs/x/model", "no folder of this machine"),
        ("~/models/mine", "no folder of this machine"),
        ("s3://bucket", "names no folder in a bucket"),
        ("s3://bucket/x/output/model.tar.gz", "is an archive"),
        ("s3://bucket/x/model.safetensors", "is one file of a model"),
    ],
)
def test_names_that_lead_nowhere_are_errors(name: str, said: str) -> None:
    (what,) = of_the_model(planned(f"model.name_or_path='{name}'"))
    assert said in what


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("S3://theirs/mine", "'model.name_or_path=\"s3://theirs/mine\"'"),
        ("s3:/theirs/mine/", "'model.name_or_path=\"s3://theirs/mine\"'"),
        ("arn:aws:s3:::theirs/mine", "'model.name_or_path=\"s3://theirs/mine\"'"),
        (
            "https://theirs.s3.eu-west-1.amazonaws.com/a/b",
            "'model.name_or_path=\"s3://theirs/a/b\"'",
        ),
        ("https://huggingface.co/me/mine/tree/main", "model.name_or_path=me/mine"),
        ("https://huggingface.co/mine", "model.name_or_path=mine"),
        ("hf://me/mine", "model.name_or_path=me/mine"),
        ("bert-base-multilingual-cased/", "model.name_or_path=bert-base-multilingual-cased"),
        ("s3://theirs/mine/checkpoint.pt", "model.name_or_path=s3://theirs/mine"),
        ("models/mine/config.json", "model.name_or_path=models/mine"),
        ("models/./mne", "model.name_or_path=models/mine"),
        (
            "models/old.tar.gz",
            "mkdir -p models/old && tar xf models/old.tar.gz -C models/old, then"
            " model.name_or_path=models/old",
        ),
        ("runs/first", "model.name_or_path=runs/first/model"),
        ("runs/second", "model.name_or_path=runs/second/checkpoint-9"),
    ],
)
def test_what_was_meant_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(Path("models", "mine"))
    Path("models", "old.tar.gz").touch()
    folder(Path("runs", "first", "model"))
    folder(Path("runs", "second", "checkpoint-9"))
    folder(Path("runs", "second", "checkpoint-5"), tokenizer_json=None)
    (problem,) = model_faults(ModelConfig("m", name))
    assert problem.fix == fix and problem.severity is Severity.error


def test_an_id_of_the_hub_that_looks_like_a_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(Path("models", "mine"))
    (problem,) = model_faults(ModelConfig("m", "models/mne"))
    assert problem.severity is Severity.warning and problem.fix == "model.name_or_path=models/mine"
    assert "is taken for an id of the hub" in problem.what
    assert model_faults(ModelConfig("m", "owner/mine")) == []


def test_only_what_a_model_is_loaded_from_is_sent(tmp_path: Path) -> None:
    """A folder of training may hold reviews, states of the optimizer, other formats and checkpoints."""
    model = folder(tmp_path / "m", vocab_txt="[UNK]", spiece_model="x", **{"source_spm": "x"})
    for name in ("train.txt", "reviews.jsonl", "README.md", "optimizer.pt", "rng_state.pth",
                 "trainer_state.json", "eval_results.json", "training_args.bin", "tf_model.h5",
                 "pytorch_model.bin", ".hidden.json"):  # fmt: skip
        (model / name).write_text("x")
    folder(model / "checkpoint-5")
    (model / "broken.json").symlink_to(tmp_path / "nowhere")
    elsewhere = tmp_path / "blob"
    (model / "model.safetensors").rename(elsewhere)
    (model / "model.safetensors").symlink_to(elsewhere)  # as the hub's cache has it
    assert [path.name for path in model_files(model)] == [
        "config.json", "model.safetensors", "source.spm", "spiece.model", "tokenizer.json", "vocab.txt",
    ]  # fmt: skip


def test_a_revision_of_a_folder_is_told(tmp_path: Path) -> None:
    plan = planned(f"model.name_or_path={folder(tmp_path)}", "model.revision=main")
    assert of_the_model(plan) == ["has no effect: only models of the hub have revisions"]


def test_a_model_of_the_hub_has_no_channel_and_may_have_a_token() -> None:
    plan = planned("model.name_or_path=me/private", "hub.token_secret=hf-token")
    assert {p.check for p in errors_only(list(plan.problems))} == {"requirements-missing"}
    assert plan.training_job
    assert MODEL_CHANNEL not in dict(plan.training_job.channels)


def test_an_isolated_container_takes_a_model_that_comes_as_a_channel(tmp_path: Path) -> None:
    isolated = ["aws.network_isolation=true", "cluster.image.lane=pinned",
                "cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"]  # fmt: skip
    own = planned(f"model.name_or_path={folder(tmp_path)}", *isolated)
    assert "isolation-with-hub" not in {problem.check for problem in own.problems}
    hub = planned("model.name_or_path=me/mine", *isolated)
    assert "isolation-with-hub" in {problem.check for problem in hub.problems}


def test_the_worker_loads_from_the_channel() -> None:
    model = job_of(compose(*OWN, "model.name_or_path=s3://theirs/models/mine")).model
    there = located(model, {"SM_CHANNEL_MODEL": "/opt/ml/input/data/model"})
    assert there.name_or_path == "/opt/ml/input/data/model"
    assert located(model, {}) == model
    tiny = ModelConfig("tiny", None)
    assert located(tiny, {"SM_CHANNEL_MODEL": "/opt/ml/input/data/model"}) == tiny
