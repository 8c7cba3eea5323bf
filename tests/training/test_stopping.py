"""Two ranks of which one is told to end, becomes NaN, hangs or dies: what both of them do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import warm
from conftest import compose, run
from killing import outcome

from lingotune.config.jobfile import dump_job, job_of
from lingotune.training.checkpoints import MANIFEST

SMALL = [
    "model.scratch.dim=16", "model.scratch.layers=1", "model.scratch.hidden_dim=16",
    "model.scratch.vocab_size=300", "data.languages=[de,en]", "data.sample.train_rows=40",
    "data.sample.validation_rows=10", "data.sample.test_rows=10", "data.max_length=32",
    "evaluation.resamples=0", "cluster.processes=2", "per_device_bs=4", "training.logging_steps=1",
    "training.save_steps=4", "epochs=2", "code.callbacks=[Breaks]",
]  # fmt: skip
"""20 updates; a checkpoint every fourth and after each epoch's evaluation."""
BREAKS = '''
import ctypes, os, signal, time
import torch
from transformers import TrainerCallback
from lingotune.plugins import callback

def nan(model):
    with torch.no_grad():
        next(p for p in model.parameters() if p.ndim > 1).fill_(float("nan"))

WHAT = {
    "term": lambda model: os.kill(os.getpid(), signal.SIGTERM),
    "stop": lambda model: os.kill(os.getpid(), signal.SIGSTOP),
    "kill": lambda model: os.kill(os.getpid(), signal.SIGKILL),
    "sleep": lambda model: time.sleep(3600),
    "hold": lambda model: ctypes.PyDLL(None).sleep(3600),
    "nan": nan,
}

@callback
class Breaks(TrainerCallback):
    """Does on one rank, as an update begins, what BREAK says: RANK:STEP:WHAT."""

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        rank, step, what = os.environ.get("BREAK", "0:0:").split(":")
        if os.environ["RANK"] == rank and state.global_step + 1 == int(step):
            WHAT[what](model)
'''


def job_file(folder: Path, *overrides: str) -> Path:
    (folder / "breaks.py").write_text(BREAKS)
    path = folder / "job.yaml"
    composed = compose(*SMALL, f"code.file={folder / 'breaks.py'}", *overrides)
    path.write_bytes(dump_job(job_of(composed)))
    return path


def two_ranks(job: Path, folder: Path, broken: str) -> tuple[list[int], list[str]]:
    """The exit codes of a run's two ranks, and what they printed."""
    given = {**warm.WITHOUT_PICTURES, "BREAK": broken, "OMP_NUM_THREADS": "1"}
    done = run("tests/forked.py", "2", str(job), str(folder), **given)
    logs = [Path(f"{folder}.{rank}.log").read_text(encoding="utf-8") for rank in (0, 1)]
    codes = [
        int(code)
        for code in re.findall(r"^exit codes \[(-?\d+), (-?\d+)\]$", done.stdout, re.M)[-1]
    ]
    return codes, logs


def checkpoints(folder: Path) -> Sequence[int]:
    found = (folder / "checkpoints").glob(f"checkpoint-*/{MANIFEST}")
    return sorted(int(path.parent.name.split("-")[1]) for path in found)


def test_a_signal_to_one_rank_has_both_save_after_the_same_update(tmp_path: Path) -> None:
    job, folder = job_file(tmp_path), tmp_path / "run"
    codes, logs = two_ranks(job, folder, "1:6:term")
    assert codes == [75, 75], logs
    at = {
        re.findall(r"preempted at step (\d+) of 20: checkpoint-\1 is saved", log)[0] for log in logs
    }
    assert len(at) == 1 and "go on with: " in logs[0], logs
    assert checkpoints(folder)[-1] == int(*at) in (6, 7, 8)
    assert not (folder / "metrics.json").exists() and not list((folder / "model").iterdir())
    assert "Traceback" not in logs[0] + logs[1]


def test_what_one_rank_finds_not_finite_stops_both_before_the_update(tmp_path: Path) -> None:
    job, folder = job_file(tmp_path), tmp_path / "run"
    codes, logs = two_ranks(job, folder, "1:6:nan")
    assert codes == [8, 8], logs
    for log in logs:
        assert "training, step 6 of 20" in log and "the loss is nan on rank 1, rows " in log
        assert "lr=" in log and "Traceback" not in log
    assert checkpoints(folder) == [4], "the one before, which is finite"


@pytest.mark.slow
def test_a_run_that_was_told_to_end_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    job = job_file(tmp_path)
    assert two_ranks(job, tmp_path / "straight", "0:0:")[0] == [0, 0]
    for rank, step in ((0, 3), (1, 9), (0, 15), (1, 20)):  # 10 and 20 end an epoch
        codes, logs = two_ranks(job, tmp_path / "run", f"{rank}:{step}:term")
        assert codes == [75, 75], logs
    assert two_ranks(job, tmp_path / "run", "0:0:")[0] == [0, 0]
    assert outcome(tmp_path / "run") == outcome(tmp_path / "straight")


LOST = {
    "0:6:stop": ([(9,), (9,)], "rank 0 does not answer"),
    "1:6:stop": ([(9,), (9,)], "rank 1 on .* has given no sign of life"),
    "0:6:kill": ([(-9,), (9,)], "rank 0 has died without a message"),
    "1:6:kill": ([(9,), (-9,)], "rank 1 has died without a message"),
    "0:6:sleep": ([(9,), (9,)], "all wait for rank 0"),
    "1:6:sleep": ([(9,), (9,)], "all wait for rank 1 .*breaks.py"),
    # Being asked for its stacks may end the sleep: the process then ends itself, or else is killed.
    "1:6:hold": ([(9,), (9, -9)], "rank 1 on .* has given no sign of life|all wait for rank 1"),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("broken", LOST)
def test_a_rank_that_is_lost_is_named_and_ends_the_job(broken: str, tmp_path: Path) -> None:
    limits = ["training.peer_timeout=15", "training.hang_timeout=15"]
    codes, logs = two_ranks(job_file(tmp_path, *limits), tmp_path / "run", broken)
    expected, named = LOST[broken]
    assert all(code in ends for code, ends in zip(codes, expected)), (codes, logs)
    there = [log for log, code in zip(logs, codes) if code == 9]
    assert any(re.search(named, log) for log in there), logs
    assert all("Traceback" not in log for log in logs)
    if broken.endswith("stop"):
        woken = logs[int(broken[0])]  # it may still read the verdict of the others
        assert re.search(rf"process was stopped for \d+ s, so that rank|{named}", woken), logs
        assert all("where its threads are" in log for log in logs), "the stacks of both"
    elif not broken.endswith("kill"):
        asked = [log for log, code in zip(logs, codes) if code == 9]  # a killed one may be too slow
        assert all("on_step_begin" in log for log in asked), "the stacks of both"
