"""Status where there is much to tell: large accounts, screens that are too small, machines that vary."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import copy
import json
import sqlite3
from pathlib import Path

import pytest
from account_of_jobs import P3, JobAccount, a_week, ledger_of
from loopback import Front
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.launch.operations.account import open_account
from lingotune.launch.operations.live import _fitting
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Target
from lingotune.launch.sweeps.ledger import LEDGER, Ledger
from lingotune.launch.sweeps.trial import JobState, State

G5 = "ml.g5.12xlarge"


def crowd(account: JobAccount, number: int) -> None:
    """Jobs of another tool, newer than all others, that ended some time ago."""
    first = account.start("crowd-0000")
    first.end("Completed", "")
    for n in range(1, number):
        job = copy.copy(first)
        job.request = {**first.request, "TrainingJobName": f"crowd-{n:04}"}
        account.jobs._jobs[job.name] = job
    account.pass_seconds(3 * 3600)


# --- large accounts -----------------------------------------------------------------------------


def test_jobs_of_others_cost_no_call(account: JobAccount, front: Front) -> None:
    a_week(account)
    crowd(account, 450)
    for target in (None, Target("tickets-lr")):
        front.calls.clear()
        survey = Survey(target, open_account(None), clock=account.clock.time)
        assert len(survey.look().rows) == 4
        survey.look()
        calls = front.operations()
        assert (calls.count("Search"), calls.count("ListTrainingJobs")) == (1, 2)
        assert "DescribeTrainingJob" not in calls
        account.pass_seconds(60)


def test_a_change_between_two_looks_is_seen(account: JobAccount) -> None:
    a_week(account)
    survey = Survey(None, open_account(None), clock=account.clock.time)
    survey.look()
    account.pass_seconds(7200)  # a laptop that slept
    account.jobs.get("tickets-lr-0000000004").fail("InternalServerError: sorry")
    short = account.train(account.trial("tickets-lr", 5))
    account.complete(short)
    account.pass_seconds(7200)
    states = {row.number: row.state for row in survey.look().rows}
    assert states[4] is State.failed and states[5] is State.completed


def test_of_many_jobs_the_newest_are_shown_and_all_that_run(
    account: JobAccount, command: Command
) -> None:
    running = account.train(account.trial("old", 1))
    for number in range(3):
        account.pass_seconds(60)
        account.complete(account.train(account.start(f"tiny-sample-000000000{number}", {})))
    code, out, _ = command("status", "--limit", "2")
    assert code == 0 and running.name in out and "tiny-sample-0000000000" not in out
    assert "note: 2 newest jobs, and all that run; older ones: --limit 20" in out
    assert "note" not in command("status", "--limit", "4")[1]


def test_a_beginning_that_fits_hundreds(account: JobAccount, command: Command) -> None:
    crowd(account, 300)
    code, _, err = command("status", "crowd")
    assert code == 2 and "fits 300 names; one is needed" in err
    assert "crowd-0000 | " in err and "... (300 in all)" in err and "crowd-0100" not in err


def test_another_region(account: JobAccount, command: Command) -> None:
    account.start("tiny-sample-0123456789", {})
    code, _, err = command("status", "tiny-sample-9876543210", "--region", "eu-west-1")
    assert code == 2 and "no job or sweep in eu-west-1" in err
    assert "--region with another one" in " ".join(err.split())


# --- ledgers ------------------------------------------------------------------------------------


def test_a_ledger_of_a_newer_version_costs_its_sweep_only(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    ledger_of(tmp_path / "runs" / "tomorrow", 2)
    with sqlite3.connect(tmp_path / "runs" / "tomorrow" / LEDGER) as db:
        db.execute("PRAGMA user_version = 99")
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / LEDGER).write_bytes(b"no database at all")
    code, out, err = command("status", columns=200)
    assert (code, err) == (0, "") and "tickets-lr-0000000004" in out
    notes = [line for line in out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2 and "broken" in notes[0]
    assert "is of version 99" in notes[1] and "pip install --upgrade lingotune" in notes[1]
    assert command("status", "tickets-lr")[0] == 0, "another sweep"
    code, _, err = command("status", "tomorrow")
    assert code == 2 and "is of version 99" in err
    assert "is of version 99" in command("status", "nobody", columns=300)[2]


def test_a_ledger_of_what_is_over_hides_no_other_job(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    other = account.complete(account.train(account.start("tiny-sample-0123456789", {})))
    done = account.complete(account.train(account.trial("s", 1)))
    account.pass_seconds(7200)
    ledger_of(tmp_path / "runs" / "s", 1, done.name)
    with Ledger(tmp_path / "runs" / "s") as ledger:
        ledger.saw([JobState(done.name, State.completed, billable_seconds=60)], 1.0)
    out = command("status")[1]
    assert other.name in out and done.name in out


def test_further_commands_look_in_the_same_places(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    names = [f"tickets-lr-{n:010x}" for n in (1, 2, 3, 4)]
    ledger_of(tmp_path / "my runs" / "tickets-lr", 12, *names)
    where = ["--region", "us-east-1", "--runs-dir", "my runs"]
    told = json.loads(command("status", "tickets-lr", "--json", *where)[1])["next"]
    assert len(told) == 2
    assert all(one.endswith(" --region us-east-1 --runs-dir 'my runs'") for one in told)
    for typed in (["logs", "tickets-lr"], ["stop", "tickets-lr"], ["fetch", names[3]]):
        code, _, err = command(*typed, *where, columns=300)
        assert code == 2 and "--runs-dir 'my runs'" in err, err
    account.complete(account.train(account.start("tiny-sample-0123456789", {})))
    done = command("resume", "tiny-sample-0123456789", *where)[1]
    assert done.endswith("fetch tiny-sample-0123456789 --region us-east-1 --runs-dir 'my runs'\n")
    out = command("stop", "tickets-lr", "4", "--yes", *where)[1]
    assert out.splitlines()[-1].endswith(
        "resume tickets-lr 4 --region us-east-1 --runs-dir 'my runs'"
    )
    assert command("status", "tickets-lr", "--json")[1].count("my runs") == 0


# --- machines -----------------------------------------------------------------------------------


def test_machines_are_shown_where_they_vary(account: JobAccount, command: Command) -> None:
    a_week(account)
    assert "instance" not in command("status", "tickets-lr", columns=140)[1]
    machines = {"InstanceType": G5, "InstanceCount": 2}
    account.train(account.start("s-1", {"lingotune:sweep": "tickets-lr", "lingotune:trial": "5"},
                                ResourceConfig=machines))  # fmt: skip
    out = command("status", "tickets-lr", columns=140)[1]
    assert "instance" in out.splitlines()[0] and f"2 x {G5}" in out and out.count(P3) == 4
    jobs = json.loads(command("status", "tickets-lr", "--json")[1])["jobs"]
    assert [(job["instance_type"], job["instances"]) for job in jobs][3:] == [(P3, 1), (G5, 2)]


def test_a_second_choice_is_shown(account: JobAccount, command: Command) -> None:
    job = account.train(account.start("tiny-sample-0123456789", {}))
    rows = [{"InstanceType": kind, "InstanceCount": 1} for kind in (P3, G5)]
    job.request = {**job.request, "ResourceConfig": {"InstancePreferences": rows}}
    job.select({"InstanceType": G5, "InstanceCount": 1})
    out = command("status", job.name)[1]
    assert "instance" in out and G5 in out
    (told,) = json.loads(command("status", job.name, "--json")[1])["jobs"]
    assert told["asked_for"] == [[P3, 1], [G5, 1]] and told["instance_type"] == G5
    job.select({"InstanceType": P3, "InstanceCount": 1})
    assert "instance" not in command("status", job.name)[1]


# --- the screen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep", ["a-sweep-with-a-long-name", ""])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30), (140, 50), (60, 12)])
def test_two_hundred_rows_fit_any_screen(width: int, height: int, sweep: str) -> None:
    def row(n: int) -> Row:
        state = [State.completed, State.failed, State.running, State.waiting][n // 51]
        reason = "AlgorithmError: CUDA out of memory at step 1200; see the log" * 2
        job = JobState(f"xlmr-base-reviews-{n:010x}", state, reason=reason * (state is State.failed),
                       created=0.0, started=10.0, instance_type=(P3, G5)[n % 2])  # fmt: skip
        return Row(job.name, job, sweep, n, {"lr": f"{n}e-6"}, spent_usd=1.25, worst_usd=30.0)

    rows = tuple(row(n) for n in range(200))
    overview = Overview(
        rows, 900.0, sweep, notes=("no answer " * 40,), options=" --runs-dir some/where/else/runs"
    )
    lines = _fitting(overview, width, height).plain.splitlines()
    assert sum(-(-len(line) // width) for line in lines) <= height
    assert all(len(line) < width for line in lines if not line.startswith("next: "))
    (rest,) = [line for line in lines if line.startswith("... and ")]
    assert " waiting" in rest and any("training" in line or " running " in line for line in lines)
    left = sum(int(word) for word in rest.split() if word.isdecimal())
    named = [line for line in lines if "1.25" in line]
    assert left + len(named) == 200, "each is shown or counted"
