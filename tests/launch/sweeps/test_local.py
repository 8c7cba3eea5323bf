"""Sweeps on this machine: processes that only look like trainings, and a few that train."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF
from results import results_for
from sweep_folders import LABELS, predictions_of
from trainings import fake, forked
from waiting import PATIENCE

from lingotune.cli import results
from lingotune.cli.train import check_train, command
from lingotune.config.problems import ConfigError
from lingotune.evaluation.metrics import Classes
from lingotune.launch import local_sweep
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.local_sweep import sweep_here
from lingotune.launch.sweeps import local
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Ledger, TrialRecord
from lingotune.launch.sweeps.local import LocalBackend
from lingotune.launch.sweeps.trial import Evaluation, State, Trial
from lingotune.runs.folder import as_metrics
from lingotune.runs.results import RunResults

LRS = "lr=1e-4,2e-4,3e-4,4e-4"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    plan_for(tmp_path)
    return tmp_path


def plan_for(home: Path, pause: float = 0.02, **words: object) -> None:
    """Say what becomes of the jobs, by learning rate: `lr_0001="fail"` for 1e-4."""
    results: RunResults = results_for(predictions_of(0.5), Classes(LABELS))
    jobs = {str(float(f"0.{name[3:]}")): word for name, word in words.items()}
    plan = {"jobs": jobs, "metrics": json.loads(as_metrics(results)), "pause": pause}
    (home / "plan.json").write_text(json.dumps(plan))


def sweep(*typed: str, start: local.Spawn = fake) -> int:
    composed = composed_jobs(["-m", *typed], command(), CONF, check_train)
    return sweep_here(composed, f"python train.py -m {' '.join(typed)}", start)


def starts(home: Path) -> list[str]:
    path = home / "plan.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith("start")]


def most_at_once(home: Path) -> int:
    running = most = 0
    for line in (home / "plan.log").read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


def folder_of(home: Path) -> Path:
    (found,) = (home / "runs").glob("sweep-*")
    return found


def records(home: Path) -> list[TrialRecord]:
    with Ledger(folder_of(home)) as ledger:
        return ledger.records()


# --- from the first job to the table --------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_every_job_runs_once_and_no_more_at_a_time_than_there_are_slots(
    slots: int, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan_for(home, lr_0001=0.4, lr_0002=0.6, lr_0003=0.9, lr_0004=0.5)
    assert sweep(LRS, f"sweep.max_parallel={slots}") == 0
    told = capfd.readouterr().out
    assert len(starts(home)) == len(set(starts(home))) == 4
    assert most_at_once(home) <= slots
    assert [r.state for r in records(home)] == [State.completed] * 4
    assert "\nbest: lr=0.0003, by the highest macro_f1 on validation\n" in told
    assert "look further:" in told and (folder_of(home) / "results.csv").is_file()
    if slots == 1:
        assert "\n=== 2 of 4: lr=0.0002\ntraining" in told
    else:
        assert "started     2  tiny-sample-" in told and "training with" not in told
        logs = [p.read_text() for p in (home / "runs").glob("*/log.txt")]
        assert sorted(logs)[1] == "training with 0.0002\n"


def test_the_same_command_again_starts_nothing(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sweep(LRS) == 0
    capfd.readouterr()
    assert sweep(LRS) == 0
    assert len(starts(home)) == 4
    assert "skipped, as they have finished: 1-4" in capfd.readouterr().out


def test_jobs_of_another_sweep_are_not_trained_again(home: Path) -> None:
    assert sweep("lr=1e-4,2e-4") == 0
    assert sweep("lr=2e-4,3e-4") == 0
    assert len(starts(home)) == 3


def test_a_run_that_was_removed_is_trained_again(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sweep("lr=1e-4,2e-4") == 0
    removed = home / "runs" / starts(home)[0]
    shutil.rmtree(removed)
    assert results.main([str(folder_of(home))]) == 0
    assert "1 run is not in " in capfd.readouterr().out
    assert sweep("lr=1e-4,2e-4") == 0
    assert len(starts(home)) == 3 and (removed / "metrics.json").is_file()


def test_a_named_sweep_grows(home: Path) -> None:
    assert sweep("lr=1e-4,2e-4", "sweep.name=mine") == 0
    assert sweep("lr=1e-4,2e-4,3e-4", "sweep.name=mine") == 0
    with Ledger(home / "runs" / "mine") as ledger:
        assert [r.trial.number for r in ledger.records()] == [1, 2, 3]
    assert len(starts(home)) == 3


def test_values_that_are_left_out_stay_in_the_table_and_other_settings_do_not(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def numbers() -> list[int]:
        with Ledger(home / "runs" / "mine") as ledger:
            return [record.trial.number for record in ledger.records()]

    assert sweep("lr=1e-4,2e-4", "sweep.name=mine") == 0
    assert sweep("lr=2e-4,3e-4", "sweep.name=mine") == 0
    told = capfd.readouterr().out
    assert numbers() == [1, 2, 3] and len(starts(home)) == 3 and "left out" not in told
    assert told.rpartition("best: ")[0].count("runs/tiny-sample-") >= 3, "all are in its table"
    assert sweep("lr=1e-4,2e-4", "epochs=2", "sweep.name=mine") == 0
    told = capfd.readouterr().out
    assert "left out, as this command does not ask for them: 1-3 of before" in told
    assert numbers() == [1, 2] and len(starts(home)) == 5


def test_a_search_with_other_settings_begins_anew(home: Path) -> None:
    typed = ["lr=1e-4,2e-4,3e-4", "sweep.search=random", "sweep.trials=2", "sweep.name=mine"]
    assert sweep(*typed) == 0
    assert sweep(*typed, "epochs=2") == 0
    with Ledger(home / "runs" / "mine") as ledger:
        assert [r.state for r in ledger.records()] == [State.completed] * 2
    assert len(starts(home)) == 4


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2])
def test_a_job_that_fails_ends_no_sweep(
    slots: int, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan_for(home, lr_0002="fail")
    assert sweep(LRS, f"sweep.max_parallel={slots}") == 2
    told = capfd.readouterr().out
    states = [r.state for r in records(home)]
    assert states == [State.completed, State.failed, State.completed, State.completed]
    assert "failed training: it failed for a reason" in " ".join(told.split())
    assert ("/log.txt" in told) == (slots > 1)
    assert "failed: 2; start them again with:\n  python train.py -m " in told
    # again: what has failed stays failed, unless it is asked for
    assert sweep(LRS) == 2 and len(starts(home)) == 4
    plan_for(home)
    assert sweep(LRS, "sweep.retry=failed") == 0
    assert len(starts(home)) == 5 and starts(home)[-1].endswith("-2")
    assert sweep(LRS) == 0 and len(starts(home)) == 5


def test_too_many_failures_halt_it(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan_for(home, lr_0001="fail", lr_0002="fail")
    assert sweep(LRS, "sweep.max_failures=2") == 2
    assert len(starts(home)) == 2
    assert "not started: 3-4; 2 jobs failed (1, 2): sweep.max_failures=2" in capfd.readouterr().out


def test_its_exit_code_is_the_lowest_of_the_jobs_that_failed(home: Path) -> None:
    plan_for(home, lr_0001="fail8", lr_0003="fail5")
    assert sweep(LRS) == 5
    plan_for(home, lr_0001="fail8")
    assert sweep(LRS, "sweep.retry=failed") == 8


def test_a_process_that_is_killed_has_failed(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def killed(*given: Any) -> local.Process:
        process = fake(*given)
        process.send_signal(signal.SIGKILL)
        return process

    assert sweep("lr=1e-4,2e-4", start=killed) == 9
    assert "was ended by signal 9" in capfd.readouterr().out


# --- interrupts -----------------------------------------------------------------------------------


def interrupt_after(monkeypatch: pytest.MonkeyPatch, ready: Callable[[], bool]) -> None:
    """Press Ctrl-C in the controller's sleep, once something is ready."""
    wait = LocalBackend.wait

    def waits(self: LocalBackend, seconds: float) -> None:
        wait(self, min(seconds, 0.1))
        if ready():
            raise KeyboardInterrupt

    monkeypatch.setattr(LocalBackend, "wait", waits)


def test_ctrl_c_ends_the_processes_and_tells_how_to_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan_for(home, lr_0002="hang", lr_0003="hang")
    with monkeypatch.context() as patch:
        interrupt_after(patch, lambda: len(starts(home)) == 3)
        assert sweep(LRS, "sweep.max_parallel=2") == 130
    told = capfd.readouterr().out
    assert "interrupted; go on with:\n  python train.py -m lr=1e-4,2e-4,3e-4,4e-4" in told
    assert "\n  2-4    waiting\n" in told
    states = [r.state for r in records(home)]
    assert states == [State.completed, State.waiting, State.waiting, State.waiting]
    cut = set(starts(home)) - {records(home)[0].trial.name}
    (home / "plan.go").touch()
    assert sweep(LRS, "sweep.max_parallel=2") == 0
    assert [r.state for r in records(home)] == [State.completed] * 4
    again = starts(home)[3:]
    assert cut <= set(again) and len(cut) == 2 and len(again) == 3, "in their own folders"


def test_a_killed_controller_leaves_processes_that_the_next_one_finds(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan_for(home, lr_0001="hang", lr_0002="hang")
    child = os.fork()
    if child == 0:
        try:
            sweep("lr=1e-4,2e-4", "sweep.max_parallel=2")
        finally:
            os._exit(1)
    until = time.monotonic() + PATIENCE
    while len(starts(home)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (home / "plan.go").touch()
    assert sweep("lr=1e-4,2e-4", "sweep.max_parallel=2") == 0
    assert len(starts(home)) == 2, "no job twice"
    assert [r.state for r in records(home)] == [State.completed] * 2
    told = capfd.readouterr().out
    assert "still running from before: " in told or "skipped, as they have finished: 1-2" in told


def test_one_controller_at_a_time(home: Path) -> None:
    assert sweep("lr=1e-4,2e-4", "sweep.name=mine") == 0
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from lingotune.launch.sweeps.lock import held\n"
        "with held(Path('runs/mine')):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=r"is run already, by process [0-9]+ on"):
            sweep("lr=1e-4,2e-4", "sweep.name=mine")
        assert other.stdin is not None
        other.stdin.close()


# --- pruning --------------------------------------------------------------------------------------


class Impatient(Grid):
    """Stops the trials of a learning rate after their first evaluation."""

    def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
        return trial.varies["lr"] == "0.0002"


def test_a_hopeless_job_is_ended_and_was_evaluated(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan_for(home, lr_0002="hang")
    monkeypatch.setattr(local_sweep, "Grid", Impatient)
    assert sweep(LRS) == 0
    pruned = records(home)[1]
    assert pruned.state is State.pruned and pruned.last is not None
    assert [(e.step, round(e.values["macro_f1"], 3)) for e in pruned.last.evaluations] == [
        (10, 0.167)
    ]
    assert "pruned" in capfd.readouterr().out
    assert sweep(LRS) == 0 and len(starts(home)) == 4, "what was pruned stays so"


# --- searches ---------------------------------------------------------------------------------------


def test_a_search_draws_and_goes_on_where_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    typed = ["lr=tag(log,interval(1e-4,1e-3))", "seed=1,2", "sweep.search=random", "sweep.trials=4",
             "sweep.name=drawn"]  # fmt: skip
    with monkeypatch.context() as patch:
        interrupt_after(patch, lambda: len(starts(home)) >= 3)
        assert sweep(*typed) == 130
    before = set(starts(home))
    assert sweep(*typed) == 0
    with Ledger(home / "runs" / "drawn") as ledger:
        found = ledger.records()
    assert [r.state for r in found] == [State.completed] * 8
    assert len({r.trial.varies["lr"] for r in found}) == 4 and before <= {
        r.trial.name for r in found
    }
    assert "4 configurations x 2 seeds = 8 jobs: drawn at random" in capfd.readouterr().out
    count = len(starts(home))
    assert sweep(*typed) == 0 and len(starts(home)) == count


def test_halving_ends_the_worse_ones_early(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lrs = {f"lr_000{n}": 0.9 - n / 10 for n in range(1, 7)}
    plan_for(home, 0.3, **lrs)
    typed = ["lr=1e-4,2e-4,3e-4,4e-4,5e-4,6e-4", "sweep.prune=asha", "sweep.min_evaluations=1"]
    assert sweep(*typed, "sweep.name=halved", "sweep.max_parallel=2") == 0
    with Ledger(home / "runs" / "halved") as ledger:
        states = [record.state for record in ledger.records()]
    assert states[0] is State.completed and State.pruned in states[2:]
    assert {*states} == {State.completed, State.pruned}
    assert "\nbest: lr=0.0001, by the highest macro_f1 on validation\n" in capfd.readouterr().out


# --- GPUs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processes", "gpus", "shown"),
    [
        (1, "0,1,2,3", ["0", "1", "2", "3"]),
        (2, "0,1,2,3", ["0,1", "2,3", "0,1"]),
        (1, "4,7", ["4", "7", "4"]),
        (1, "0", [None, None]),
        (4, "0,1,2,3", [None]),
        (3, "0,1,2,3", ["0,1,2", "0,1,2"]),
        (1, "", [None]),
    ],
)
def test_jobs_at_the_same_time_have_gpus_of_their_own(
    processes: int, gpus: str, shown: list[str | None]
) -> None:
    visible = local.visible_gpus({"CUDA_VISIBLE_DEVICES": gpus})
    for place, expected in enumerate(shown):
        found = local.own_gpus(place, processes, visible)
        assert found.get("CUDA_VISIBLE_DEVICES") == expected


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["sweep.retries=5", "sweep.code=new"])
def test_settings_of_sagemaker_are_refused(home: Path, typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep("lr=1e-4,2e-4", typed)
    problems = [p for p in caught.value.problems if p.where == typed.partition("=")[0]]
    assert problems and "has no effect in" in problems[0].what and not starts(home)


# --- real trainings -------------------------------------------------------------------------------

QUICK = ["training.max_steps=6", "training.eval_strategy=steps", "training.eval_steps=2",
         "data.sample.train_rows=20", "data.sample.validation_rows=5", "data.sample.test_rows=5",
         "data.max_length=16"]  # fmt: skip


def test_trainings_that_are_interrupted_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        log = lambda: [p for p in (home / "runs").glob("*/history.jsonl") if p.stat().st_size]  # noqa: E731
        interrupt_after(patch, lambda: len(log()) == 1)
        assert sweep("lr=1e-4,1e-3", *QUICK, start=forked) == 130
    assert sweep("lr=1e-4,1e-3", *QUICK, start=forked) == 0
    first, second = records(home)
    assert first.state is second.state is State.completed
    assert second.last is not None
    assert [(e.step, e.total_steps) for e in second.last.evaluations] == [(2, 6), (4, 6), (6, 6)]
    results = [json.loads(p.read_text()) for p in (home / "runs").glob("*/metrics.json")]
    assert {of["training"]["learning_rate"] for of in results} == {1e-4, 1e-3}
    assert all((home / "runs").glob("*/command.txt"))
    assert not list((home / "runs").glob("*/process.lock"))
