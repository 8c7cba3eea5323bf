"""Staying with a submitted job: its end, its failure, leaving it, answers that are missing."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import os
import pty
import sys
import termios
import time
from collections.abc import Callable
from functools import partial

import pytest
from account_of_jobs import JobAccount, training_lines
from loopback import Front, refusal
from operating import account, command, front, standing  # noqa: F401  fixtures

from lingotune.config.problems import INTERRUPTED, ConfigError
from lingotune.contract.log_lines import format_test_line
from lingotune.launch.operations import after_submit
from lingotune.launch.operations.account import Account, open_account
from lingotune.launch.operations.after_submit import Planned, stay_with
from lingotune.launch.operations.card import card_of
from lingotune.launch.operations.keys import Keys
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Target
from lingotune.launch.sweeps.trial import State

NAME, REGION = "tiny-sample-0123456789", "us-east-1"
Stay = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def asked(standing: JobAccount) -> Account:
    """The account as asked, for all tests: clients take long to make."""
    return open_account(REGION)


@pytest.fixture
def stay(account: JobAccount, asked: Account) -> Stay:
    """Stay with the job; each pause does the next step. Returns the exit code and what was said."""
    return partial(_stay, account, asked)


def _stay(
    account: JobAccount,
    asked: Account,
    planned: Planned | None = None,
    *steps: Callable[[], object],
) -> tuple[int, str]:
    said: list[str] = []
    left = list(steps)

    def sleep(seconds: float) -> None:
        if left:
            left.pop(0)()

    code = stay_with(
        NAME, REGION, planned or Planned(), said.append, account=asked, clock=account.clock.time,
        sleep=sleep,
    )  # fmt: skip
    return code, "\n".join(said)


def job_that_trains(account: JobAccount) -> object:
    job = account.train(account.start(NAME, {}))
    account.pass_seconds(600)
    account.log(NAME, training_lines(62, 100, macro_f1=0.868))
    return job


def interrupted() -> None:
    raise KeyboardInterrupt


def test_scores_time_and_money_at_the_end(
    account: JobAccount, stay: Stay, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_that_trains(account)

    def complete() -> None:
        account.log(NAME, [format_test_line({"loss": 0.4, "accuracy": 0.9, "macro_f1": 0.85})])
        account.complete(job)  # type: ignore[arg-type]

    code, said = stay(Planned(seconds=540, usd=4.22, worst_usd=112.61), complete)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == f"{NAME} completed after 10 min"
    assert lines[1].split() == ["validation", "(last)", "test"]
    assert "  macro_f1             0.8680    0.8500" in lines
    assert [line.split() for line in lines[5:10]] == [
        ["planned", "actual"],
        ["time", "9", "min", "00", "s", "10", "min", "00", "s"],
        ["billed", "-", "10", "min", "00", "s"],
        ["USD", "4.22", "4.69"],
        ["USD", "at", "most", "112.61"],
    ]
    assert f"fetch {NAME} --region {REGION}" in lines[10] and lines[10].startswith("next: ")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2, "a line for each state where there is no terminal"
    assert f"{NAME} training  62 %  step 62/100  loss 1  val macro_f1 0.8680" in shown[0]
    assert "USD so far, at most 337.82" in shown[0]


def test_a_failure_with_reason_last_lines_and_next_command(account: JobAccount, stay: Stay) -> None:
    job = job_that_trains(account)
    own = "lingotune: rank 3, training, step 62 of 100: ValueError: loss is nan (fit.py:9). What helps"
    account.log(NAME, [own, *(f"line {n}" for n in range(20))])
    job.fail("AlgorithmError: ExecuteUserScriptError, exit code: 1")  # type: ignore[attr-defined]
    code, said = stay(Planned(again="python launch.py attempt=2 action=submit"))
    assert code == 6
    assert f"{NAME} failed after 10 min\n  AlgorithmError: ExecuteUserScriptError, exit" in said
    assert "\n  rank 3, training, step 62 of 100: ValueError: loss is nan (fit.py:9)." in said
    assert "algo-1 | line 19" in said and "line 7" not in said
    assert "4.69" in said and f"logs {NAME} --region {REGION}" in said
    assert said.splitlines()[-1].strip().startswith("python launch.py attempt=2 action=submit")


def test_of_the_log_the_jobs_own_lines_are_shown(account: JobAccount, stay: Stay) -> None:
    """Pages of torchrun's and the toolkit's come after the reason."""
    job = job_that_trains(account)
    torchrun = "W1129 torch/distributed/api.py:1028] Sending process 7 closing signal SIGTERM"
    account.log(NAME, ["step 61/100", "lingotune: 1 problem", torchrun, *["Traceback"] * 60])
    job.fail("AlgorithmError: rank 0: loss is nan, exit code: 1")  # type: ignore[attr-defined]
    said = stay()[1]
    assert "its log until the process failed:" in said and "Traceback" not in said
    assert "algo-1 | lingotune: 1 problem\n" in said and "step 61/100" in said


def test_what_the_first_process_wrote_is_told_once(account: JobAccount, stay: Stay) -> None:
    job = job_that_trains(account)
    own = "rank 0, training: ValueError: loss is nan (fit.py:9). What helps: less"
    account.log(NAME, [f"lingotune: {own}", *["more"] * 20])
    job.fail(f"AlgorithmError: {own}, exit code: 1")  # type: ignore[attr-defined]
    assert stay()[1].replace("\n  ", " ").count("loss is nan") == 1


def test_leaving_says_what_bills_and_how_to_stop(
    account: JobAccount, asked: Account, stay: Stay
) -> None:
    job_that_trains(account)
    code, said = stay(Planned(), interrupted)
    assert code == INTERRUPTED
    assert said.startswith(
        f"leaving; {NAME} goes on at AWS and bills; 4.69 USD so far, at most 337.82"
    )
    for command_ in ("status", "stop", "fetch"):
        assert f"lingotune {command_} {NAME}" in said
    assert asked.describe(NAME).job.state is State.running  # type: ignore[union-attr]


def test_leaving_before_it_has_machines(account: JobAccount, stay: Stay) -> None:
    account.start(NAME, {})
    code, said = stay(Planned(), interrupted)
    assert code == INTERRUPTED and "it bills once it has its machines, at most 337.82 USD" in said


def test_an_own_price(account: JobAccount, stay: Stay) -> None:
    job_that_trains(account)
    assert "6.00 USD so far, at most 432.00" in stay(Planned(usd_per_hour=36.0), interrupted)[1]


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ThrottlingException"])
def test_answers_that_are_missing(
    code: str, account: JobAccount, front: Front, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Throttling is waited out for a while; without valid credentials the job is said to be started."""
    monkeypatch.setattr(after_submit, "PATIENCE", 0.0 if code.startswith("Exp") else 60.0)
    job_that_trains(account)

    def refuse() -> None:
        front.tell("DescribeTrainingJob", refusal(code, "no"))

    def answer() -> None:
        front.answers.pop("DescribeTrainingJob")

    if code.startswith("Expired"):
        with pytest.raises(ConfigError) as raised:
            _stay(account, open_account(REGION), None, refuse)
        assert "ExpiredToken" in raised.value.problems[0].what
        assert raised.value.next_command.endswith("# the job was started")
        return
    assert _stay(account, open_account(REGION), None, refuse, answer, interrupted)[0] == INTERRUPTED
    assert "note: as last seen, asked again: no answer from AWS" in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_card_cuts_no_name(width: int, account: JobAccount, asked: Account) -> None:
    job_that_trains(account)
    survey = Survey(Target(job=NAME), asked, clock=account.clock.time)
    lines = card_of(survey.look(), width)
    assert all(len(line) <= width for line in lines)
    assert NAME in lines[0] and "62 %" in " ".join(lines) and "loss 1" in " ".join(lines)


def test_keys_without_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal has its settings back afterwards."""
    controller, terminal = pty.openpty()
    monkeypatch.setattr("lingotune.launch.operations.keys._in_front", lambda: True)
    before = termios.tcgetattr(terminal)
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with Keys() as keys:
            assert keys.work and not termios.tcgetattr(terminal)[3] & termios.ICANON
            os.write(controller, b"l")
            assert keys.typed(5.0) == "l" and keys.typed(0.0) == ""
        assert termios.tcgetattr(terminal) == before
    os.close(controller)


def test_the_log_is_shown_on_demand(
    account: JobAccount,
    stay: Stay,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job_that_trains(account)
    typed = iter(["", "l", "", "l"])

    def next_key(keys: Keys, seconds: float) -> str:
        account.log(NAME, [f"line {account.clock.now:.0f}"], at=time.time())
        account.pass_seconds(1)
        if (key := next(typed, None)) is None:
            raise KeyboardInterrupt
        return key

    monkeypatch.setattr(Keys, "typed", next_key)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert stay()[0] == INTERRUPTED
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("algo-1")]
    assert len(shown) == 3, "all lines of the last minute, then new ones until it is switched off"
