"""Following logs and waiting for the end: lines once and whole, exit codes, answers that are missing."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from account_of_jobs import JobAccount, a_week, ledger_of
from loopback import Front, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.config.problems import ConfigError
from lingotune.launch.operations.account import open_account
from lingotune.launch.operations.logs import LogReader
from lingotune.launch.operations.selection import select
from lingotune.launch.operations.wait import wait
from lingotune.launch.sweeps.trial import State

RUNNING = "tickets-lr-0000000004"


def test_a_log_with_hosts(account: JobAccount, command: Command) -> None:
    a_week(account)
    account.log(RUNNING, ["of the second"], host=2)
    code, out, err = command("logs", "tickets-lr", "4")
    assert (code, err) == (0, "")
    assert "algo-2 | of the second" in out and "algo-1 | step 620/1000" in out
    assert command("logs", RUNNING, "--rank", "1")[1] == "algo-2 | of the second\n"
    code, out, err = command("logs", RUNNING, "--rank", "7")
    assert (code, out) == (0, "") and "without --rank" in err


def test_since(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    account.log(job.name, ["old"], at=time.time() - 3600)
    account.log(job.name, ["new"], at=time.time() - 60)
    assert command("logs", "s", "--since", "10m")[1] == "algo-1 | new\n"
    assert "no such lines" in command("logs", "s", "--since", "30s")[2]


def test_colours_and_bars_and_control_characters(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    account.log(job.name, ["\x1b[31mred\x1b[0m", " 10%|#  |\r 20%|## |", "a\tb\x07"])
    lines = command("logs", "s")[1].splitlines()
    assert lines == ["algo-1 | red", "algo-1 |  20%|## |", "algo-1 | a\tb\\x07"]


def test_variables_of_the_container_are_one_line(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    variables = [f"SM_VARIABLE_{n}=x" for n in range(120)]
    account.log(job.name, ["Training Env:", "{", "}", *variables, "step 1"])
    lines = command("logs", "s")[1].splitlines()
    assert len(lines) == 2 and lines[1] == "algo-1 | step 1"
    assert (
        "(123 lines of the container's variables: " in lines[0]
        and f"{job.name} --full)" in lines[0]
    )
    assert len(command("logs", "s", "--full")[1].splitlines()) == 124


def test_one_job_is_needed(account: JobAccount, command: Command) -> None:
    a_week(account)
    code, _, err = command("logs", "tickets-lr")
    assert code == 2 and "has many jobs, one is needed" in err
    assert "lingotune logs tickets-lr 1 | tickets-lr 2" in err


def test_there_is_no_log_yet(account: JobAccount, command: Command) -> None:
    account.start("tiny-sample-0123456789", {})
    code, out, err = command("logs", "tiny")
    assert (code, out) == (0, "") and "no lines yet" in err


def reader(
    account: JobAccount, steps: list[Callable[[], object]]
) -> tuple[LogReader, list[str], list[str]]:
    """A reader whose pauses do the next step."""
    told: list[str] = []
    noted: list[str] = []

    def sleep(seconds: float) -> None:
        account.clock.now += 60
        if steps:
            steps.pop(0)()

    made = LogReader(
        open_account(None), RUNNING, tell=told.append, note=noted.append, sleep=sleep,
        clock=account.clock.time,
    )  # fmt: skip
    return made, told, noted


def test_followed_to_the_end(account: JobAccount) -> None:
    a_week(account)
    job = account.jobs.get(RUNNING)
    steps: list[Callable[[], object]] = [
        lambda: account.log(RUNNING, ["more"]),
        lambda: job.enter("Uploading", "Uploading"),
        lambda: account.complete(job),
        lambda: account.log(RUNNING, ["the last line, a moment later"]),
    ]
    following, told, noted = reader(account, steps)
    assert following.follow() is State.completed
    assert told[-2:] == ["algo-1 | more", "algo-1 | the last line, a moment later"]
    assert len(told) == len(set(told)) == 623
    assert [line.rpartition(": ")[2] for line in noted] == ["training", "uploading", "completed"]


def test_throttling_is_waited_for(account: JobAccount, front: Front) -> None:
    a_week(account)
    front.tell("GetLogEvents", refusal("ThrottlingException"))
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: front.answers.clear(),
        lambda: account.complete(account.jobs.get(RUNNING)),
    ]
    following, told, noted = reader(account, steps)
    assert following.follow() is State.completed and len(told) == 621
    assert sum(line.startswith("no answer, asked again") for line in noted) == 1


@pytest.mark.parametrize("code", ["ThrottlingException", "ExpiredTokenException"])
def test_silence_ends(account: JobAccount, front: Front, code: str) -> None:
    a_week(account)
    front.tell("DescribeTrainingJob", refusal(code))
    following, _, noted = reader(account, [])
    begun = account.clock.now
    with pytest.raises(ConfigError, match=code):
        following.follow()
    assert len(noted) == (0 if code.startswith("Expired") else 1), "told once"
    minutes = (account.clock.now - begun) / 60
    assert minutes == (0 if code.startswith("Expired") else 6)


# --- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["Completed", "Completed"], 0),
        (["Completed", "Failed"], 6),
        (["Stopped", "Completed"], 75),
        (["Stopped", "Failed"], 6),
    ],
)
def test_exit_codes(account: JobAccount, command: Command, ends: list[str], expected: int) -> None:
    for number, end in enumerate(ends, 1):
        account.train(account.trial("s", number)).end(end, "over")
    code, out, _ = command("wait", "s")
    assert code == expected and f"{len(ends)} jobs: " in out


def test_waiting_until_the_last_has_ended(account: JobAccount) -> None:
    jobs = [account.train(account.trial("s", number)) for number in (1, 2)]
    chosen = select("wait", "s", [], "runs", None)
    told: list[str] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        account.complete(jobs[len(pauses) - 1])

    last, code = wait(chosen.survey.look, 15.0, None, told.append, sleep=sleep)
    assert (code, pauses) == (0, [15.0, 15.0])
    assert all(row.state is State.completed for row in last.rows) and len(told) == 4


def test_the_time_is_over(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    code, out, err = command("wait", "s", "--timeout", "1s", "--every", "1s")
    assert code == 124 and "the jobs go on" in err and "1 running" in out
    assert not job.stop_asked


def test_trials_that_nobody_starts(account: JobAccount, command: Command, tmp_path: Path) -> None:
    job = account.train(account.trial("s", 1))
    account.complete(job)
    ledger_of(tmp_path / "runs" / "s", 2, job.name)
    code, out, _ = command("wait", "s", "--every", "1s")
    assert code == 75 and "1 waiting, 1 completed" in out


def test_missing_answers_are_waited_for_and_expired_credentials_told(
    account: JobAccount, front: Front
) -> None:
    job = account.train(account.trial("s", 1))
    chosen = select("wait", "s", [], "runs", None)
    told: list[str] = []
    steps: list[Callable[[], object]] = [
        lambda: front.tell("ListTrainingJobs", refusal("ThrottlingException")),
        lambda: front.answers.clear(),
        lambda: front.tell("ListTrainingJobs", refusal("ExpiredTokenException")),
    ]
    with pytest.raises(ConfigError, match="ExpiredTokenException"):
        wait(chosen.survey.look, 1.0, None, told.append, sleep=lambda s: steps.pop(0)())
    assert not steps and sum(line.startswith("asked again") for line in told) == 1
    assert not job.over
