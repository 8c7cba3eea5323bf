"""Trainings that end early: where they do, and that a kill changes nothing about it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import warm
from conftest import compose, run
from hypothesis import given
from hypothesis import strategies as st
from killing import SMALL, metrics, outcome

from lingotune.config.jobfile import dump_job, job_of
from lingotune.training.checkpoints import MANIFEST
from lingotune.training.early_stopping import EarlyStopping, has_stalled


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, float("nan")]), max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.06]),
)
def test_it_ends_where_the_last_evaluations_brought_no_gain(
    scores: list[float], patience: int, min_delta: float
) -> None:
    gains = [
        n
        for n, score in enumerate(scores)
        if not any(score <= one + min_delta for one in bests_before(scores, n, min_delta))
        and score == score
    ]
    last = gains[-1] + 1 if gains else 0
    assert has_stalled(scores, patience, min_delta) == (len(scores) - last >= patience)


def bests_before(scores: list[float], n: int, min_delta: float) -> list[float]:
    """The scores that counted as a gain before number n."""
    found: list[float] = []
    for score in scores[:n]:
        if score == score and all(score > one + min_delta for one in found):
            found.append(score)
    return found


def test_its_last_step_ends_a_training_not_its_patience() -> None:
    """The run would otherwise be told that it was ended, where it has been trained to its end."""
    stopping = EarlyStopping(job_of(compose("training.patience=1")), show=False)
    args = SimpleNamespace(greater_is_better=True)
    scores = [{"eval_macro_f1": 0.5}, {"eval_macro_f1": 0.4}]
    for step, stops in [(20, True), (30, False)]:
        state = SimpleNamespace(log_history=scores, global_step=step, max_steps=30)
        control = SimpleNamespace(should_training_stop=False)
        stopping.on_evaluate(args, state, control)
        assert control.should_training_stop is stops


def trained(job_file: Path, folder: Path) -> str:
    done = run(
        "train.py", "--job", str(job_file), "--run-dir", str(folder), **warm.WITHOUT_PICTURES
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early")
    settings = ["training.patience=1", "training.min_delta=0.9", "epochs=3"]
    (folder / "job.yaml").write_bytes(dump_job(job_of(compose(*SMALL, *settings))))
    out = trained(folder / "job.yaml", folder / "run")
    why = "macro_f1 has not improved by more than 0.9 for 1 evaluation (training.patience)"
    assert f"stopping at step 30 of 45: {why}" in out
    assert "step 31" not in out
    return folder / "run"


def test_the_best_of_what_was_trained_is_kept(stopped: Path) -> None:
    figures = metrics(stopped)["training"]
    assert (figures["steps"], figures["epochs"]) == (30, 2.0)
    assert figures["best_step"] in (15, 30)
    assert figures["ended_by"] == "training.patience"
    assert (stopped / "checkpoints/checkpoint-30" / MANIFEST).exists()


def test_killed_after_its_end_it_is_not_trained_further(stopped: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(stopped, tmp_path / "moved")
    (moved / "metrics.json").unlink()
    out = trained(moved / "job.yaml", moved)
    assert "resuming at step 30 of 45, where it was ended" in out
    assert "step 31" not in out and outcome(moved) == outcome(stopped)


def test_killed_before_its_end_it_ends_at_the_same_step(stopped: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(stopped, tmp_path / "moved")
    (moved / "metrics.json").unlink()
    (moved / "checkpoints/checkpoint-30" / MANIFEST).unlink()
    out = trained(moved / "job.yaml", moved)
    assert "resuming at step 28 of 45\n" in out and "stopping at step 30 of 45" in out
    assert outcome(moved) == outcome(stopped)


def test_a_callback_of_the_users_own_ends_it_once_and_for_all(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from transformers import EarlyStoppingCallback\n"
        "from lingotune.plugins import callback\n"
        "@callback\n"
        "def stop() -> EarlyStoppingCallback:\n"
        "    return EarlyStoppingCallback(1, 0.9)\n"
    )
    typed = ["epochs=3", f"code.file={code}", "code.callbacks=[stop]"]
    (tmp_path / "job.yaml").write_bytes(dump_job(job_of(compose(*SMALL, *typed))))
    assert "step 31" not in trained(tmp_path / "job.yaml", tmp_path / "run")
    before = outcome(tmp_path / "run")
    (tmp_path / "run/metrics.json").unlink()
    out = trained(tmp_path / "job.yaml", tmp_path / "run")
    assert "resuming at step 30 of 45, where it was ended" in out
    assert "step 31" not in out and outcome(tmp_path / "run") == before
