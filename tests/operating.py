"""Fixtures of tests of operations: an account with jobs, and the command line in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from account_of_jobs import JobAccount, job_account
from loopback import Front

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def standing() -> Iterator[JobAccount]:
    """The account of a module, which is emptied before each test: clients take long to make."""
    with job_account() as made:
        yield made


@pytest.fixture
def account(standing: JobAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobAccount:
    """An account without jobs, objects and logs, and a folder to stand in."""
    monkeypatch.chdir(tmp_path)
    standing.empty()
    return standing


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`lingotune ...` in this process: exit code, output, errors."""

    def call(*arguments: str, columns: int = 100) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["lingotune", *arguments])
        code = exit_code_of(main)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def front(account: JobAccount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A proxy before the account that counts the calls and can refuse them."""
    monkeypatch.setattr("lingotune.launch.aws.account.calls._RETRIES", {"total_max_attempts": 1})
    host, port = account.address.removeprefix("http://").split(":")
    found = Front((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
    yield found
    found.close()
