"""Logs of jobs: hosts in the order of time, ranks, and what is new since the last look."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

from account_of_jobs import JobAccount
from operating import account, standing  # noqa: F401  fixtures

from lingotune.launch.aws.account.calls import Calls
from lingotune.launch.aws.job_logs import Folding, JobLog, LogLine, of_rank


def log_of(account: JobAccount, name: str, **options: float) -> JobLog:
    return JobLog(Calls(account.session), name, **options)


def test_hosts_are_merged_by_time_and_nothing_comes_twice(account: JobAccount) -> None:
    now = account.clock.now
    account.log("job", ["b1"], host=2, at=now)
    account.log("job", ["a1", "a2"], host=1, at=now + 2)
    account.log("job-2", ["of another job"])
    log = log_of(account, "job")
    assert [*map(str, log.new_lines())] == ["algo-2 | b1", "algo-1 | a1", "algo-1 | a2"]
    assert log.new_lines() == []
    account.log("job", ["b2"], host=2, at=now + 9)
    account.log("job", ["c1"], host=3, at=now + 8)
    assert [*map(str, log.new_lines())] == ["algo-3 | c1", "algo-2 | b2"]


def test_there_is_no_log_yet(account: JobAccount) -> None:
    log = log_of(account, "job")
    assert log.new_lines() == [] and log.last_lines() == []
    account.log("job", ["first"])
    assert [line.text for line in log.last_lines()] == ["first"]
    assert [line.text for line in log.new_lines()] == ["first"]


def test_lines_of_long_logs_all_come(account: JobAccount) -> None:
    for part in range(3):
        lines = [f"line {part * 5000 + n}" for n in range(5000)]
        account.log("job", lines, at=account.clock.now + part * 5000)
    found = [line.text for line in log_of(account, "job").new_lines()]
    assert found == [f"line {n}" for n in range(15000)]
    assert log_of(account, "job").last_lines(10)[-1].text == "line 14999"


def test_since(account: JobAccount) -> None:
    account.log("job", ["old", "new"])
    log = log_of(account, "job", since=account.clock.now - 0.5)
    assert [line.text for line in log.new_lines()] == ["new"]


def test_ranks(account: JobAccount) -> None:
    marked = ["[1,mpirank:0,algo-1]<stdout>:zero", "[1,mpirank:9,algo-2]<stderr>:nine", "launcher"]
    account.log("mpi", marked)
    lines = log_of(account, "mpi").new_lines()
    assert [*map(str, lines)] == [
        "algo-1 rank 0 | zero",
        "algo-1 rank 9 | nine",
        "algo-1 | launcher",
    ]
    assert [line.text for line in of_rank(lines, 9)] == ["nine"]
    account.log("plain", ["one"], host=1)
    account.log("plain", ["two"], host=2)
    assert [line.text for line in of_rank(log_of(account, "plain").new_lines(), 1)] == ["two"]


def test_the_variables_of_containers_are_folded() -> None:
    """By host, wherever the lines of hosts are mixed; what follows them is all there."""
    variables = [
        "Training Env:",
        "{",
        '    "a": 1',
        "}",
        "",
        "Environment variables:",
        "SM_X={}",
        "PYTHONPATH=x",
    ]
    lines = [LogLine(0.0, host, text) for text in variables for host in (1, 2)]
    after = [LogLine(1.0, 1, "Invoking script"), LogLine(1.0, 1, "SM_Y=1"), LogLine(1.0, 2, "died")]
    folding = Folding("log.txt")
    shown = [str(line) for line in [*folding(lines[:5]), *folding([*lines[5:], *after])]]
    told = "(8 lines of the container's variables: log.txt)"
    assert shown == [
        f"algo-1 | {told}", "algo-1 | Invoking script", "algo-1 | SM_Y=1", f"algo-2 | {told}",
        "algo-2 | died",
    ]  # fmt: skip
