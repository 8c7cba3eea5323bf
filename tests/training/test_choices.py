"""Optimizers, schedules, frozen layers, gradient checkpointing and hours: that they do what they say, and
that a kill changes nothing about it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from conftest import compose, run
from killing import SMALL, metrics, outcome

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import EvalStrategy, JobConfig, Optimizer, Schedule, TrainingConfig
from lingotune.training.arguments import optimizer_name
from lingotune.training.checkpoints import MANIFEST, Checkpoint, read
from lingotune.training.distributed import Rank
from lingotune.training.schedules import shaped_schedule
from lingotune.training.time_limit import TimeLimit

ALL = [
    "model.scratch.layers=2", "training.optimizer=adafactor", "training.gradient_checkpointing=true",
    "training.freeze_layers=1", "training.freeze_embeddings=true", "model.head_dropout=0.3",
    "training.schedule=polynomial", "training.schedule_power=2", "epochs=1.4", "training.layer_decay=1",
]  # fmt: skip
"""21 updates: an epoch of 15, and a part of the next one."""


def trained(folder: Path, *overrides: str) -> str:
    job_file = folder / "job.yaml"
    if not job_file.exists():
        folder.mkdir(exist_ok=True)
        job_file.write_bytes(dump_job(job_of(compose(*SMALL, *overrides))))
    done = run(
        "train.py",
        "--job",
        str(job_file),
        "--run-dir",
        str(folder / "run"),
        **warm.WITHOUT_PICTURES,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- all at once ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("choices")
    return folder, trained(folder, *ALL)


def test_a_part_of_an_epoch_is_trained(everything: tuple[Path, str]) -> None:
    folder, out = everything
    figures = metrics(folder / "run")["training"]
    assert (figures["steps"], figures["epochs"]) == (21, 1.4)
    assert "steps 21 = 15 an epoch x 1.4 epochs" in out


def test_the_log_says_what_is_frozen_and_computed_again(everything: tuple[Path, str]) -> None:
    _, out = everything
    assert "layers: the first 1 of 2 are frozen, and all embeddings" in out
    assert "gradient checkpointing: 2 layers are computed again" in out
    assert "word embeddings: frozen" in out


def test_killed_it_comes_to_the_same_end(everything: tuple[Path, str], tmp_path: Path) -> None:
    """As the checkpoint of every second update has all that it goes on from."""
    folder, _ = everything
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    (moved / "run" / "metrics.json").unlink()
    steps = sorted(int(p.name[11:]) for p in (moved / "run/checkpoints").glob("checkpoint-*"))
    (moved / f"run/checkpoints/checkpoint-{steps[-1]}" / MANIFEST).unlink()
    out = trained(moved)
    assert f"resuming at step {steps[-2]} of 21\n" in out
    assert outcome(moved / "run") == outcome(folder / "run")


def test_computing_again_changes_nothing(everything: tuple[Path, str], tmp_path: Path) -> None:
    """Not a bit, dropout included."""
    folder, _ = everything
    plain = [one for one in ALL if "gradient_checkpointing" not in one]
    trained(tmp_path / "plain", *plain)
    before, after = (outcome(of / "run") for of in (folder, tmp_path / "plain"))
    assert before["weights"] == after["weights"] and before["curves"] == after["curves"]


# --- schedules ------------------------------------------------------------------------------------


def rates(training: TrainingConfig, warmup: int = 2, total: int = 12) -> list[float]:
    """Shares of the learning rate at each update."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    make = shaped_schedule(training)
    assert make is not None
    schedule, found = make(optimizer, warmup, total), []
    for _ in range(total + 1):
        found.append(optimizer.param_groups[0]["lr"] / 0.5)
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_a_polynomial_falls_by_its_power_to_zero(power: float) -> None:
    found = rates(TrainingConfig(schedule=Schedule.polynomial, schedule_power=power))
    left = [1 - n / 10 for n in range(11)]
    assert found == pytest.approx([0, 0.5, *(share**power for share in left)])


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_cosines_begin_anew(cycles: int) -> None:
    found = rates(TrainingConfig(schedule=Schedule.cosine_with_restarts, schedule_cycles=cycles))
    done = [n / 10 * cycles % 1 for n in range(10)]
    assert found[2:-1] == pytest.approx([0.5 * (1 + math.cos(math.pi * one)) for one in done])
    assert found[-1] == 0


@pytest.mark.parametrize("schedule", [Schedule.linear, Schedule.cosine])
def test_others_are_the_trainers(schedule: Schedule) -> None:
    assert shaped_schedule(TrainingConfig(schedule=schedule)) is None


# --- optimizers -----------------------------------------------------------------------------------


def test_the_trainer_knows_the_optimizers() -> None:
    from transformers.training_args import OptimizerNames

    for optimizer in (Optimizer.adamw, Optimizer.adafactor):
        assert OptimizerNames(optimizer_name(optimizer, has_gpu=False))


def test_lion_is_refused_where_nothing_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="computes it on GPUs"):
        optimizer_name(Optimizer.lion, has_gpu=False)
    monkeypatch.setattr("lingotune.training.arguments.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs bitsandbytes"):
        optimizer_name(Optimizer.lion, has_gpu=True)
    monkeypatch.setattr("lingotune.training.arguments.find_spec", lambda name: object())
    assert optimizer_name(Optimizer.lion, has_gpu=True) == "lion_32bit"


# --- hours ----------------------------------------------------------------------------------------


class Control:
    should_training_stop = should_evaluate = should_save = False


class State:
    max_steps = 100

    def __init__(self, step: int) -> None:
        self.global_step = step


def limited(strategy: EvalStrategy = EvalStrategy.epoch, hours: float = 1.0) -> JobConfig:
    job = job_of(compose(f"training.max_hours={hours}"))
    job.training.eval_strategy = strategy
    return job


def asked(limit: TimeLimit, step: int = 5) -> Any:
    control = Control()
    limit.on_step_end(None, State(step), control)
    return control


@pytest.mark.parametrize("strategy", [EvalStrategy.epoch, EvalStrategy.steps])
def test_it_stops_once_the_hours_are_over(strategy: EvalStrategy) -> None:
    now = [0.0]
    limit = TimeLimit(limited(strategy), Rank(0, 0, 1), None, lambda: now[0])
    now[0] = 500.0
    limit.on_train_begin(None, None, None)  # what came before is not training
    now[0] += 3599
    assert not asked(limit).should_training_stop and not limit.reached
    now[0] += 1
    control = asked(limit)
    assert control.should_training_stop and limit.reached and limit.seconds == 3600
    assert control.should_evaluate == control.should_save == (strategy is EvalStrategy.steps)


def test_the_last_update_needs_no_stop() -> None:
    now = [0.0]
    limit = TimeLimit(limited(), Rank(0, 0, 1), None, lambda: now[0])
    now[0] = 4000.0
    assert not asked(limit, step=100).should_training_stop and not limit.reached


@pytest.mark.parametrize(
    ("seconds", "ended", "reached"), [(3000, False, False), (3700, True, True), (900, True, False)]
)
def test_what_was_trained_before_counts(seconds: float, ended: bool, reached: bool) -> None:
    start = Checkpoint(4, Path("checkpoint-4"), None, ended=ended, seconds=seconds)
    now = [0.0]
    limit = TimeLimit(limited(), Rank(0, 0, 1), start, lambda: now[0])
    assert limit.reached == reached
    now[0] = 600.0
    assert limit.seconds == seconds + 600
    assert asked(limit).should_training_stop == (seconds + 600 >= 3600)


OUT_OF_TIME = ["training.max_hours=0.0001", "training.max_steps=900"]
"""A third of a second, in which no machine makes all of the updates."""


@pytest.fixture(scope="module")
def out_of_time(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run whose time is over before its updates are."""
    folder = tmp_path_factory.mktemp("hours")
    return folder, trained(folder, *OUT_OF_TIME)


def test_it_ends_with_the_best_so_far(out_of_time: tuple[Path, str]) -> None:
    folder, out = out_of_time
    figures = metrics(folder / "run")["training"]
    assert "hours are over (training.max_hours)" in out and "at most: it ends after" in out
    assert figures["ended_by"] == "training.max_hours" and figures["steps"] < 900
    lines = (folder / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    scored = [entry["step"] for entry in map(json.loads, lines) if "eval_loss" in entry]
    assert figures["steps"] == scored[-1] and figures["best_step"] in scored
    assert "training ended after 0.0001 h (training.max_hours)" in out
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "ended by training.max_hours" in page and "at most 900" in page


def test_killed_after_its_end_it_does_not_go_on(
    out_of_time: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = out_of_time
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    before = outcome(moved / "run")
    step = metrics(moved / "run")["training"]["steps"]
    manifest = read(moved / f"run/checkpoints/checkpoint-{step}")
    assert manifest.ended and manifest.seconds is not None and manifest.seconds >= 0.36
    (moved / "run" / "metrics.json").unlink()
    assert f"resuming at step {step} of 900, where it was ended" in trained(moved)
    assert outcome(moved / "run") == before
    assert metrics(moved / "run")["training"]["ended_by"] == "training.max_hours"


RANKS = ["cluster.processes=2", "per_device_bs=4"]


def two_ranks(folder: Path, *overrides: str) -> list[str]:
    """Train on two processes; returns what each of them has printed."""
    job_file = folder / "job.yaml"
    job_file.write_bytes(dump_job(job_of(compose(*SMALL, *RANKS, *overrides))))
    given = {**warm.WITHOUT_PICTURES, "OMP_NUM_THREADS": "1"}
    done = run("tests/forked.py", "2", str(job_file), str(folder / "run"), **given)
    logs = [Path(f"{folder / 'run'}.{rank}.log").read_text(encoding="utf-8") for rank in (0, 1)]
    assert "exit codes [0, 0]" in done.stdout, "\n".join([done.stdout, *logs])
    return logs


def test_two_ranks_end_after_the_same_update(tmp_path: Path) -> None:
    first, second = two_ranks(tmp_path, *OUT_OF_TIME)
    step = metrics(tmp_path / "run")["training"]["steps"]
    assert f"stopping at step {step} of 900" in first and "stopping" not in second
    assert metrics(tmp_path / "run")["training"]["ended_by"] == "training.max_hours"


def test_a_sharded_model_can_be_frozen_and_computed_again(tmp_path: Path) -> None:
    chosen = [
        "training.shard=true", "model.scratch.layers=2", "training.freeze_layers=1",
        "training.schedule=cosine_with_restarts", "training.max_steps=4", "training.save_steps=null",
    ]  # fmt: skip
    for name in ("plain", "again"):
        (tmp_path / name).mkdir()
    two_ranks(tmp_path / "plain", *chosen)
    two_ranks(tmp_path / "again", *chosen, "training.gradient_checkpointing=true")
    before, after = (outcome(tmp_path / name / "run") for name in ("plain", "again"))
    assert before["weights"] == after["weights"] and before["scores"] == after["scores"]
