"""Out of memory, for real: a training below a limit of its memory is told what fits, or fits by itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import warm
from conftest import compose, run

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.micro_batches import overrides_of, smaller_micro_batches
from lingotune.training.memory import fits

SMALL = [
    "model.scratch.dim=128", "model.scratch.layers=4", "model.scratch.hidden_dim=512",
    "model.scratch.vocab_size=400",
    "model.scratch.dropout=0", "data.sample.train_rows=40", "data.sample.validation_rows=5",
    "data.sample.test_rows=5", "per_device_bs=240", "training.max_steps=2", "training.logging_steps=1",
    "training.save_steps=1", "training.eval_strategy=none", "evaluation.resamples=0",
    # In half precision oneDNN computes, which does not recover from what it could not allocate.
    "training.precision=fp32",
]  # fmt: skip
"""Two updates of 240 texts of up to 128 tokens, for which `LEAST` is too little memory, and `LITTLE` if
some is to stay free; for 120 it is enough."""
ENOUGH, LITTLE, LEAST = "4000", "520", "370"


def job_file(folder: Path, *typed: str) -> Path:
    path = folder / f"job-{hashlib.sha256(repr(typed).encode()).hexdigest()[:8]}.yaml"
    path.write_bytes(dump_job(job_of(compose(*SMALL, *typed))))
    return path


def limited(
    mib: str, job: Path, folder: Path, processes: int = 1
) -> subprocess.CompletedProcess[str]:
    words = ["tests/limited.py", mib, str(processes), str(job), str(folder)]
    return run(*words, **warm.WITHOUT_PICTURES)


def log(folder: Path, rank: int = 0) -> str:
    return Path(f"{folder}.{rank}.log").read_text(encoding="utf-8")


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
    return found


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def losses(folder: Path) -> list[float]:
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for line in lines if "loss" in (entry := json.loads(line))]


HALF = ["per_device_bs=120", "scaling.accumulation=2"]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in halves, as the message offers it, with all the memory that it likes."""
    folder = tmp_path_factory.mktemp("halves")
    done = limited(ENOUGH, job_file(folder, *HALF), folder / "run")
    assert done.returncode == 0, log(folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_out_of_memory_is_told_with_what_fits(tmp_path: Path) -> None:
    folder, job = tmp_path / "run", job_file(tmp_path)
    for size in (240, 120, 60):
        if limited(LEAST, job, folder).returncode == 0:
            break
        told = log(folder).rpartition("reading sample")[2]
        assert f"not enough memory for {size} texts at a time" in told and "Traceback" not in told
        offered = re.search(r"fix: (per_device_bs=\d+ scaling.accumulation=\d+), (.*)", told)
        assert offered, told
        assert told.rstrip().endswith(f"--run-dir {folder} {offered[1]}")
        job = job_file(tmp_path, *offered[1].split())
        if offered[2].startswith("which fits"):  # it could be tried, as nearly always
            # It works where it failed, in the same folder.
            assert limited(LEAST, job, folder).returncode == 0, log(folder)
    assert results(folder)["training"]["global_batch"] == 240


@pytest.mark.slow
def test_what_fits_is_found_before_the_first_update_and_is_the_same_update(
    by_hand: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    done = limited(LITTLE, job_file(tmp_path, "training.fit_memory=true"), folder)
    assert done.returncode == 0, log(folder)
    assert "memory: 240 of the longest texts at a time do not fit, global batch 240 = 120" in log(
        folder
    )
    assert weights(folder) == weights(by_hand) and losses(folder) == losses(by_hand)
    assert results(folder)["training"]["fitted"] == {"size": 120, "accumulation": 2}
    assert "fitted" not in results(by_hand)["training"]
    (record,) = (tmp_path / "throughput.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(record)["setup"]["per_device_bs"]) == 120
    assert "240 x 1" in (page := (folder / "report.html").read_text(encoding="utf-8"))
    assert "120 x 2 (training.fit_memory)" in page
    resumed(folder)


def resumed(folder: Path) -> None:
    """Resumed with more memory, it goes on as before, and it stays the same run."""
    shutil.rmtree(folder / "checkpoints" / "checkpoint-2")
    (folder / "metrics.json").unlink()
    (folder / "finished.json").unlink()
    before, job = weights(folder), (folder / "job.yaml").read_bytes()
    assert limited(ENOUGH, folder / "job.yaml", folder).returncode == 0, log(folder)
    assert "memory: as before, global batch 240 = 120" in log(folder)
    assert "resuming at step 1 of 2" in log(folder) and "not exact" not in log(folder)
    assert weights(folder) == before and (folder / "job.yaml").read_bytes() == job


@pytest.mark.slow
def test_in_whole_the_update_is_the_same_up_to_rounding(by_hand: Path, tmp_path: Path) -> None:
    done = limited(ENOUGH, job_file(tmp_path, "training.fit_memory=true"), tmp_path / "run")
    assert done.returncode == 0, log(tmp_path / "run")
    assert "memory: 240 of the longest texts at a time fit" in log(tmp_path / "run")
    assert "fitted" not in results(tmp_path / "run")["training"]
    assert losses(tmp_path / "run") == pytest.approx(losses(by_hand), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed",
    [["batching.padding_free=true", "batching.mode=iid_balanced"], ["batching.mode=window"]],
)
def test_batches_of_any_kind_are_fitted(typed: list[str], tmp_path: Path) -> None:
    both = []
    for memory, more in ((LITTLE, ["training.fit_memory=true"]), (ENOUGH, [])):
        folder = tmp_path / memory
        done = limited(memory, job_file(tmp_path, *typed, *more), folder)
        assert done.returncode == 0, log(folder)
        both.append(losses(folder))
    assert both[0] == pytest.approx(both[1], abs=1e-5)


@pytest.mark.slow
def test_two_processes_agree(by_hand: Path, tmp_path: Path) -> None:
    typed = ["training.fit_memory=true", "cluster.processes=2", "data.sample.train_rows=80"]
    folder = tmp_path / "run"
    done = limited(f"{ENOUGH},{LITTLE}", job_file(tmp_path, *typed), folder, processes=2)
    assert done.returncode == 0, log(folder) + log(folder, 1)
    assert "global batch 480 = 120 per process x 2 processes x 2 accumulation" in log(folder)


class NeedsTooMuch:
    """A trainer whose backward pass asks for more memory than there is, once `hidden` is computed."""

    def __init__(self) -> None:
        self.model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 1))
        self.args, self.optimizer = SimpleNamespace(world_size=1), None
        self.accelerator = SimpleNamespace(autocast=contextlib.nullcontext)
        self.hidden: Callable[[], Any] = lambda: None

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> tuple[Any, None]:
        hidden = model[0](torch.ones(4, 8)).exp()
        self.hidden = weakref.ref(hidden)
        loss = model[1](hidden).sum()
        far = model[1].bias.expand(1 << 45)[0]  # first in the backward pass; it has as many numbers
        return loss + far, None


def test_a_failed_trial_holds_nothing_of_its_pass() -> None:
    """Otherwise no smaller size fits either: autograd's queue kept what a backward pass did not come to."""
    trainer: Any = NeedsTooMuch()
    batches: Any = SimpleNamespace(longest=lambda size: {})
    assert not fits(trainer, batches, 4)
    assert trainer.hidden() is None
    assert all(weight.grad is None for weight in trainer.model.parameters())


# --- the sizes that are tried --------------------------------------------------------------------


def sizes(*typed: str) -> list[int]:
    return [one.per_device_bs for one in smaller_micro_batches(job_of(compose(*typed)))]


def test_each_micro_batch_is_about_half_and_divides_the_update() -> None:
    assert sizes("per_device_bs=32") == [16, 8, 4, 2, 1]
    assert sizes("per_device_bs=12") == [6, 3, 1]
    assert sizes("per_device_bs=5", "scaling.accumulation=4") == [2, 1]
    assert sizes("per_device_bs=1") == []


@pytest.mark.parametrize(
    "typed",
    [
        ["per_device_bs=24", "scaling.accumulation=3", "cluster.processes=2"],
        ["scaling=linear", "scaling.base_batch=16", "per_device_bs=24"],
        ["scaling=fixed_global", "scaling.global_batch=48", "per_device_bs=24"],
    ],
)
def test_what_is_offered_is_the_same_update_when_it_is_typed(typed: list[str]) -> None:
    def update(job: JobConfig) -> tuple[int, float]:
        return plan_batches(job).global_batch, plan_batches(job).learning_rate

    whole = job_of(compose(*typed))
    kept = [
        word for word in typed if not word.startswith(("per_device_bs", "scaling.accumulation"))
    ]
    for smaller in smaller_micro_batches(whole):
        again = job_of(compose(*kept, *overrides_of(smaller).split()))
        assert again == smaller and update(again) == update(whole)
