"""A model sharded over processes: the same training, and whole models on disk."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, compose, run
from gradients import models
from killing import metrics, outcome
from safetensors.torch import load_file

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import Precision, TrainingConfig
from lingotune.estimate.batch import plan_batches, plan_steps, trains_used_rows
from lingotune.estimate.throughput import setup_of
from lingotune.modeling.load import layer_classes
from lingotune.training.arguments import training_arguments
from lingotune.training.building import _trainer_class
from lingotune.training.checkpoints import MANIFEST
from lingotune.training.fsdp import ShardedTrainer

SHARD = "training.shard=true"
SMALL = ["model.scratch.dim=32", "model.scratch.layers=2", "model.scratch.hidden_dim=64",
         "model.scratch.vocab_size=400", "data.sample.train_rows=40", "data.max_length=32",
         "data.sample.validation_rows=10", "data.sample.test_rows=10", "per_device_bs=4",
         "scaling.accumulation=2", "training.max_steps=8", "training.eval_strategy=steps",
         "training.eval_steps=4", "training.save_steps=2", "training.logging_steps=1",
         "training.layer_decay=0.8", "cluster.processes=2"]  # fmt: skip
"""Eight updates of two parts on two processes; three classes, which do not halve."""


def job_file(folder: Path, name: str, *overrides: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_bytes(dump_job(job_of(compose(*SMALL, *overrides))))
    return path


def trained(*pairs: tuple[Path, Path]) -> None:
    """Run jobs in run folders, one after the other, each on two processes."""
    words = [str(path) for pair in pairs for path in pair]
    done = run(str(ROOT / "tests/forked.py"), "2", *words)
    logs = [Path(f"{folder}.{rank}.log").read_text() for _, folder in pairs for rank in (0, 1)]
    assert done.returncode == 0, logs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`whole` and `sharded`: the same job, without dropout, clipped in every step.

    In fp32: CPUs that compute in bf16 use it by default, and its rounding depends on the order of sums.
    """
    folder = tmp_path_factory.mktemp("runs")
    same = ["model.scratch.dropout=0", "training.max_grad_norm=0.05", "training.weight_decay=0.01",
            "training.precision=fp32"]  # fmt: skip
    trained(*(
        (job_file(folder, name, *same, *typed), folder / name)
        for name, typed in (("whole", []), ("sharded", [SHARD]))
    ))  # fmt: skip
    return folder


@pytest.mark.slow
def test_losses_norms_scores_and_weights_are_those_of_whole_models(runs: Path) -> None:
    whole, sharded = outcome(runs / "whole"), outcome(runs / "sharded")
    for tag, points in whole["curves"].items():
        found = dict(sharded["curves"][tag])
        assert found == pytest.approx(dict(points), rel=1e-5), tag
    norms = dict(whole["curves"]["train/grad_norm"])
    assert len(norms) == 8 and min(norms.values()) > 0.05, "every gradient was clipped"
    for name, value in whole["weights"].items():
        expected, got = torch.tensor(value), torch.tensor(sharded["weights"][name])
        assert torch.allclose(got, expected, rtol=1e-5, atol=1e-6), name
    assert sharded["best"] == whole["best"]
    for split in ("validation", "test"):
        scores, expected = (found["scores"][split] for found in (sharded, whole))
        assert scores["overall"]["confusion"] == expected["overall"]["confusion"]
        assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert scores["overall"]["rows"] == 60, "no row is lost or counted twice"


@pytest.mark.slow
def test_models_and_checkpoints_are_whole_and_load_anywhere(runs: Path) -> None:
    from transformers import AutoModelForSequenceClassification as Classifier

    model = Classifier.from_pretrained(runs / "sharded/model")
    assert type(model).__name__ == "DistilBertForSequenceClassification"
    step = metrics(runs / "sharded")["training"]["best_step"]
    checkpoints = runs / "sharded/checkpoints"  # the best weights may be inside a newer one
    weights, *_ = checkpoints.glob(f"**/checkpoint-{step}/model.safetensors")
    best = load_file(weights)
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    whole = load_file(runs / "whole/model/model.safetensors")
    assert {k: v.shape for k, v in best.items()} == {k: v.shape for k, v in whole.items()}
    config = json.loads((runs / "sharded/model/config.json").read_text())
    assert config["architectures"] == ["DistilBertForSequenceClassification"]


@pytest.mark.slow
def test_each_process_holds_its_part_of_the_optimizers_state(runs: Path) -> None:
    folder = runs / "sharded/checkpoints/checkpoint-8"
    parts = [torch.load(folder / f"optimizer_{rank}.pt", weights_only=True) for rank in (0, 1)]
    sizes = [sum(state["exp_avg"].numel() for state in part["state"].values()) for part in parts]
    assert sum(sizes) == metrics(runs / "sharded")["measured"]["parameters"]
    assert abs(sizes[0] - sizes[1]) < 0.01 * sum(sizes)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert {"model.safetensors", "optimizer_0.pt", "optimizer_1.pt"} <= set(files)


@pytest.mark.slow
def test_a_run_says_that_it_is_sharded(runs: Path) -> None:
    told = (runs / "sharded.0.log").read_text()
    assert "rows (sharded: also those that do not occur), 0.05 M parameters are trained" in told
    assert "sharded over 2 processes, which gather a layer at a time" in told
    assert "sharded over" not in (runs / "sharded.1.log").read_text()


@pytest.mark.slow
def test_going_on_changes_no_bit(tmp_path: Path) -> None:
    """With dropout; from the middle, and after the last step."""
    job = job_file(tmp_path, "job", SHARD)
    trained((job, tmp_path / "straight"))
    for name, undone in (("middle", True), ("end", False)):
        folder = tmp_path / name
        shutil.copytree(tmp_path / "straight", folder)
        for path in (folder / "metrics.json", folder / "model/metrics.json"):
            path.unlink()
        if undone:
            (folder / "checkpoints/checkpoint-8" / MANIFEST).unlink()
    trained((job, tmp_path / "middle"), (job, tmp_path / "end"))
    for name, step in (("middle", 6), ("end", 8)):
        assert metrics(tmp_path / name)["resumed_from_step"] == step
        assert outcome(tmp_path / name) == outcome(tmp_path / "straight")


@pytest.mark.slow
def test_half_precision_three_processes_and_frozen_embeddings(tmp_path: Path) -> None:
    """As a user starts it; 400 words and three classes on three processes, of which no part is equal."""
    path = tmp_path / "job.yaml"
    typed = [SHARD, "cluster.processes=3", "training.precision=bf16", "model.scratch.heads=4",
             "training.freeze_embeddings=true", "training.eval_strategy=none",
             "training.eval_steps=null"]  # fmt: skip
    done = run("launch.py", *SMALL, *typed, f"job_file={path}", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    done = run("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3",
               str(ROOT / "train.py"), "--job", str(path), "--run-dir", str(tmp_path / "run"),
               cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "run")["training"]["precision"] == "bf16"
    weights = load_file(tmp_path / "run/model/model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


# --- without processes ----------------------------------------------------------------------------


def arguments(*typed: str) -> Any:
    job = job_of(compose(*typed))
    batch = plan_batches(job)
    return training_arguments(
        job, batch, plan_steps(job, batch, 100), Precision.fp32, Path("checkpoints"),
        capability=None, show_progress=False, layers=["BertLayer"],
    )  # fmt: skip


def test_the_trainer_is_told_by_its_own_arguments() -> None:
    args = arguments(SHARD, "cluster.processes=2")
    assert args.fsdp and args.fsdp_config["transformer_layer_cls_to_wrap"] == ["BertLayer"]
    assert args.fsdp_plugin_args["fsdp_version"] == 2
    assert args.accelerator_config.gradient_accumulation_kwargs == {"sync_each_batch": True}
    assert not arguments().fsdp


@pytest.mark.parametrize("kind", models())
def test_a_model_is_cut_by_its_layers(kind: str) -> None:
    cls, config = models()[kind]
    found = {
        "distilbert": "TransformerBlock",
        "bert": "BertLayer",
        "xlm-roberta": "XLMRobertaLayer",
    }
    assert layer_classes(cls(config)) == [found[kind]]


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no list of layers to shard by"):
        layer_classes(torch.nn.Linear(2, 2))


def test_libraries_that_are_too_old_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _trainer_class(TrainingConfig(shard=True)) is ShardedTrainer
    monkeypatch.setitem(sys.modules, "lingotune.training.fsdp", None)
    assert _trainer_class(TrainingConfig()) is not ShardedTrainer, "other jobs need nothing of it"
    with pytest.raises(ConfigError, match="the libraries here are too old for it"):
        _trainer_class(TrainingConfig(shard=True))


def test_speeds_of_sharded_and_whole_models_are_not_compared() -> None:
    jobs = [job_of(compose("cluster.processes=2", *typed)) for typed in ([], [SHARD])]
    setups = [setup_of(job, plan_batches(job), Precision.fp32, "cpu") for job in jobs]
    assert [setup.distribution for setup in setups] == ["local", "local sharded"]
    assert trains_used_rows(jobs[0].training) and not trains_used_rows(jobs[1].training)
