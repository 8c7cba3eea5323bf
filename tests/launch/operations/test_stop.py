"""Stopping jobs: asked once, told what was spent and what stays; too late, not allowed, not answered."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from account_of_jobs import BUCKET, JobAccount, a_week, ledger_of
from loopback import Call, Front, Reply, answer, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State

RUNNING = "tickets-lr-0000000004"


def test_nothing_is_stopped_unasked(account: JobAccount, command: Command) -> None:
    a_week(account)
    code, out, err = command("stop", "tickets-lr")
    assert (code, out) == (2, "") and "would stop 1 job, and there is no terminal to ask" in err
    assert "fix: lingotune stop tickets-lr --yes" in err
    assert not account.jobs.get(RUNNING).stop_asked


@pytest.mark.parametrize("answer", ["y", "", "no"])
def test_a_terminal_is_asked_once(
    account: JobAccount, command: Command, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_week(account)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = command("stop", "tickets-lr")
    assert code == 0 and asked == ["stop it? [y/N] "]
    assert f"  4  {RUNNING}  training, 62 %, " in out and " USD so far" in out
    assert account.jobs.get(RUNNING).stop_asked is (answer == "y")
    assert ("nothing was stopped" in out) is (answer != "y")


def test_what_stays_is_told_and_the_ledger_is_written(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    names = [f"tickets-lr-{n:010x}" for n in (1, 2, 3, 4)]
    ledger_of(tmp_path / "runs" / "tickets-lr", 12, *names)
    uri = account.jobs.get(RUNNING).request["CheckpointConfig"]["S3Uri"]
    prefix = uri.removeprefix(f"s3://{BUCKET}/").rstrip("/")
    for step in (9, 120, 60):
        account.s3.put_object(
            Bucket=BUCKET, Key=f"{prefix}/checkpoint-{step}/manifest.json", Body=b""
        )
    account.s3.put_object(Bucket=BUCKET, Key=f"{prefix}/checkpoint-180/model", Body=b"unfinished")
    code, out, err = command("stop", "tickets-lr", "--yes")
    assert (code, err) == (0, "") and account.jobs.get(RUNNING).stop_asked
    assert f"stopping   4  {RUNNING}  training, 62 %, " in out
    assert f"checkpoint of {RUNNING}: step 120, {uri}" in out
    assert "8 trials wait and are not started" in out
    assert out.splitlines()[-1] == "next: lingotune resume tickets-lr --retry stopped"
    assert f"nothing to stop: {names[0]} completed 20" in out
    with Ledger(tmp_path / "runs" / "tickets-lr") as ledger:
        record = ledger.records()[3]
        assert "stopped by its owner" in ledger.about()["held"]
    assert record.state is State.stopping and record.last is not None
    assert record.last.stop_reason == "stopped by its owner"


def test_one_trial_leaves_the_others(account: JobAccount, command: Command, tmp_path: Path) -> None:
    jobs = [account.train(account.trial("s", n)) for n in (1, 2)]
    ledger_of(tmp_path / "runs" / "s", 3, *(job.name for job in jobs))
    code, out, _ = command("stop", "s", "2", "--yes")
    assert code == 0 and [job.stop_asked for job in jobs] == [False, True]
    assert "it would begin anew" in out
    with Ledger(tmp_path / "runs" / "s") as ledger:
        assert not ledger.about().get("held"), "the sweep goes on"


def test_what_has_ended_is_told(account: JobAccount, command: Command) -> None:
    a_week(account)
    code, out, err = command("stop", "tickets-lr", "1-3", "--yes")
    assert (code, err) == (0, "") and out.count("nothing to stop: ") == 3
    assert "tickets-lr-0000000003 failed 20" in out


def test_a_stop_that_comes_too_late(account: JobAccount, command: Command, front: Front) -> None:
    a_week(account)
    message = "The request was rejected because the training job is in status Completed."
    front.tell("StopTrainingJob", refusal("ValidationException", message))
    code, out, err = command("stop", RUNNING, "--yes")
    assert (code, err) == (0, "") and f"nothing to stop: {RUNNING} ended meanwhile" in out


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("AccessDeniedException", "sagemaker:StopTrainingJob"),
        ("InternalFailure", "still runs and bills"),
    ],
)
def test_a_stop_that_is_refused(
    account: JobAccount, command: Command, front: Front, code: str, fix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    a_week(account)
    front.tell("StopTrainingJob", refusal(code))
    exit_code, _, err = command("stop", RUNNING, "--yes")
    assert exit_code == 6 and code in err and fix in err and "Traceback" not in err


@pytest.mark.parametrize("arrives", [True, False])
def test_a_stop_whose_answer_is_lost(
    arrives: bool, account: JobAccount, command: Command, front: Front
) -> None:
    """The job is looked at, and asked for once more if it runs on."""
    a_week(account)
    job = account.jobs.get(RUNNING)

    def lose(call: Call) -> Reply:
        if arrives:
            account.jobs.stop(RUNNING)
        return refusal("InternalFailure", "no", 500)

    front.tell("StopTrainingJob", lose, *([] if arrives else [answer()]))
    code, out, err = command("stop", RUNNING, "--yes")
    assert (code, err) == (0, "") and f"stopping   4  {RUNNING}" in out
    assert job.stop_asked is arrives
    assert front.operations().count("StopTrainingJob") == (1 if arrives else 2)


def test_jobs_of_other_tools_are_left_alone(account: JobAccount, command: Command) -> None:
    job = account.train(account.start("theirs"))
    code, _, err = command("stop", "theirs", "--yes")
    assert code == 2 and "job-of-another-tool" in err and not job.stop_asked


def test_a_sweep_of_this_machine(command: Command, account: JobAccount, tmp_path: Path) -> None:
    ledger_of(tmp_path / "runs" / "here", 2, "run-1", backend="local")
    code, out, _ = command("status", "here")
    assert code == 0 and "1 of 2 known" in out and "USD" not in out and "price" not in out
    for verb in ("stop", "fetch", "wait", "logs"):
        code, _, err = command(verb, "here")
        assert code == 2 and "runs on this machine" in err
