"""`lingotune logs` and `lingotune stop` on jobs and sweeps that others have started."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from account_of_jobs import JobAccount, job_account
from loopback import Front, refusal
from waiting import wait_until

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.launch.operations.log_lines import Logs, Shown
from lingotune.launch.operations.named import named_jobs
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State, Trial

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobAccount]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lingotune.launch.operations.log_lines._PAUSE", 0.01)
    with job_account() as made:
        yield made


@pytest.fixture
def front(account: JobAccount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A proxy before the account that can refuse calls."""
    monkeypatch.setattr("lingotune.launch.aws.account.calls._RETRIES", {"total_max_attempts": 1})
    host, port = account.address.removeprefix("http://").split(":")
    found = Front((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
    yield found
    found.close()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`lingotune ...` in this process: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lingotune", *arguments])
        code = exit_code_of(main)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def sweep(account: JobAccount, count: int, started: int) -> None:
    """A sweep `week` with a ledger in runs/week, of whose trials the first are training."""
    with Ledger(Path("runs", "week")) as ledger:
        ledger.write_about(name="week", region="us-east-1")
        trials = [Trial(n, {}, (), f"{n:064}", f"week-{n}") for n in range(1, count + 1)]
        ledger.add_trials(trials)
        for trial in trials[:started]:
            account.train(account.trial("week", trial.number, trial.name))
            ledger.intend_start(trial, 1, trial.name, account.clock.now)


# --- logs ----------------------------------------------------------------------------------------


def test_a_job_s_log_is_printed_by_the_beginning_of_its_name(
    account: JobAccount, command: Command
) -> None:
    account.train(account.start("tickets-1234567890", {}))
    account.log("tickets-1234567890", ["one", "two"], host=1)
    account.log("tickets-1234567890", ["three"], host=2)
    code, out, err = command("logs", "tickets-12")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["algo-1 | one", "algo-1 | two", "algo-2 | three"]
    assert command("logs", "tickets-12", "--rank", "1")[1] == "algo-2 | three\n"
    code, out, err = command("logs", "tickets-12", "--rank", "7")
    assert (code, out) == (0, "") and "no lines of rank 7" in err


def test_lines_of_the_last_minutes(account: JobAccount, command: Command) -> None:
    account.train(account.start("job", {}))
    account.log("job", ["old"], at=account.clock.now - 3600)  # the clock is an hour slow
    account.log("job", ["new"])
    assert command("logs", "job", "--since", "90m")[1] == "algo-1 | new\n"
    code, out, err = command("logs", "job", "--since", "1s")
    assert (code, out) == (0, "") and "no lines of that time" in err


def test_trials_of_a_sweep_are_told_apart(account: JobAccount, command: Command) -> None:
    sweep(account, 12, 3)
    for number in (1, 2, 3):
        account.log(f"week-{number}", [f"line of {number}"])
    assert command("logs", "week", "2")[1] == "algo-1 | line of 2\n"
    code, out, _ = command("logs", "week", "1-2")
    assert code == 0 and out.splitlines() == [
        "  1 algo-1 | line of 1",
        "  2 algo-1 | line of 2",
    ]
    code, _, err = command("logs", "week", "7")
    assert code == 2 and "no job of it was started" in err


def test_a_sweep_without_a_ledger_is_found_by_its_tags(
    account: JobAccount, command: Command
) -> None:
    account.train(account.trial("theirs", 4))
    account.log(f"theirs-{4:010x}", ["theirs"])
    assert command("logs", "theirs", "4")[1] == "algo-1 | theirs\n"


def test_logs_are_followed_to_the_end_of_their_jobs(account: JobAccount) -> None:
    """The log group does not exist at first; the last lines come with the end."""
    sweep(account, 2, 0)
    one, two = (account.trial("week", n, f"week-{n}") for n in (1, 2))
    shown: list[str] = []
    told: list[str] = []

    def train() -> None:
        account.train(one)
        account.log("week-1", ["first"])

    def end() -> None:
        account.log("week-1", ["last"])
        one.fail("AlgorithmError: it broke")
        two.end("Completed", "Training job completed")

    steps = iter([train, end])
    named = named_jobs("logs", "week", (), "runs", None)
    Logs(named, Shown(), shown.append, told.append, lambda seconds: next(steps)()).follow()
    assert shown == ["  1 algo-1 | first", "  1 algo-1 | last"]
    assert told == [
        "week-1: Starting",
        "week-2: Starting",
        "week-1: Training",
        "week-1: Failed: AlgorithmError: it broke",
        "week-2: Completed",
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (refusal("ExpiredTokenException", "the token is over"), "ExpiredTokenException"),
        (refusal("AccessDeniedException"), "not allowed to ask"),
    ],
)
def test_following_ends_where_no_answer_will_come(
    call: object, said: str, front: Front, account: JobAccount, command: Command
) -> None:
    account.train(account.start("job", {}))
    account.log("job", ["line"])
    front.tell("GetLogEvents", call)  # type: ignore[arg-type]
    code, _, err = command("logs", "job", "--follow")
    assert code == 2 and said in err and "Traceback" not in err


def test_throttled_looks_are_made_again(
    front: Front, account: JobAccount, command: Command
) -> None:
    job = account.train(account.start("job", {}))
    account.log("job", ["line"])
    front.tell("GetLogEvents", refusal("ThrottlingException", "Rate exceeded"))
    done: list[tuple[int, str, str]] = []
    thread = threading.Thread(target=lambda: done.append(command("logs", "job", "--follow")))
    thread.start()
    wait_until(lambda: front.operations().count("GetLogEvents") > 2)
    del front.answers["GetLogEvents"]
    job.end("Completed", "Training job completed")
    thread.join()
    code, out, err = done[0]
    assert code == 0 and out == "algo-1 | line\n" and "asked again in a moment" in err


# --- stop ----------------------------------------------------------------------------------------


def test_a_job_is_stopped_without_a_question_only_if_so_told(
    account: JobAccount, command: Command
) -> None:
    job = account.train(account.start("tickets-1", {}))
    account.start("other", {})
    account.pass_seconds(1800)
    code, _, err = command("stop", "tickets")
    assert code == 2 and "fix: --yes" in err and not job.stop_asked
    code, out, err = command("stop", "tickets", "--yes")
    assert (code, err) == (0, "") and job.stop_asked
    assert (
        out.startswith("tickets-1: Stopping, ")
        and " USD so far; its checkpoints stay in s3://" in out
    )
    assert not account.jobs.get("other").stop_asked
    assert command("stop", "tickets-1", "--yes")[1] == "tickets-1: nothing runs, nothing was done\n"


@pytest.mark.parametrize(("answer", "stopped"), [("y", True), ("", False)])
def test_a_terminal_is_asked_once(
    answer: str, stopped: bool, account: JobAccount, command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = account.train(account.start("job", {}))
    questions = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or answer)
    code, out, _ = command("stop", "job")
    assert questions == ["stop? [y/N] "] and "  job: Training, 28." in out
    assert job.stop_asked == stopped and code == (0 if stopped else 2)


def test_of_a_whole_sweep_nothing_more_is_started(account: JobAccount, command: Command) -> None:
    sweep(account, 12, 3)
    account.jobs.get("week-1").end("Completed", "Training job completed")
    code, out, _ = command("stop", "week", "--yes")
    assert code == 0 and len(out.splitlines()) == 2
    assert [j.stop_asked for j in account.jobs] == [False, True, True]
    with Ledger(Path("runs", "week")) as ledger:
        assert "resume week goes on" in ledger.about()["held"]
        states = [record.state for record in ledger.records()][:4]
        assert states[1:] == [State.stopping, State.stopping, State.waiting]


def test_single_trials_leave_the_rest_of_the_sweep_alone(
    account: JobAccount, command: Command
) -> None:
    sweep(account, 12, 3)
    assert command("stop", "week", "2", "--yes")[0] == 0
    assert [j.name for j in account.jobs if j.stop_asked] == ["week-2"]
    with Ledger(Path("runs", "week")) as ledger:
        assert not ledger.about().get("held")


def test_a_stop_that_comes_too_late_tells_the_end(
    front: Front, account: JobAccount, command: Command
) -> None:
    job = account.train(account.start("job", {}))

    def end_meanwhile(call: object) -> object:
        job.end("Completed", "Training job completed")
        return refusal("ValidationException", "the training job is in status Completed.")

    front.tell("StopTrainingJob", end_meanwhile)  # type: ignore[arg-type]
    code, out, err = command("stop", "job", "--yes")
    assert (code, err) == (0, "") and out.startswith("job: Completed")


def test_a_stop_that_is_refused_says_that_the_job_is_billed_on(
    front: Front, account: JobAccount, command: Command
) -> None:
    for name in ("week-a", "week-b"):
        account.train(account.trial("week", 1 + (name == "week-b"), name))
    refused = refusal("AccessDeniedException", "no")
    front.tell("StopTrainingJob", refused)
    code, out, err = command("stop", "week", "--yes")
    assert code == 2 and out == "" and err.count("it is billed on") == 2
    assert "sagemaker:StopTrainingJob" in err and "Traceback" not in err
