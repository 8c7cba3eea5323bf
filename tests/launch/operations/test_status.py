"""Status of jobs and sweeps: from a ledger, from tags alone, and what the calls cost."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import pytest
from account_of_jobs import BUCKET, VARIES, JobAccount, a_week, ledger_of, training_lines
from conftest import ROOT
from documents import blocks_of
from loopback import Front, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.config.typed_json import to_json
from lingotune.launch.operations.account import open_account
from lingotune.launch.operations.live import watch
from lingotune.launch.operations.rows import Overview
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Target
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import Pin, PinnedTrial
from lingotune.launch.sweeps.trial import State

# --- the table -----------------------------------------------------------------------------------


def test_a_sweep_is_told_from_its_tags_alone(account: JobAccount, command: Command) -> None:
    a_week(account)
    account.train(account.start("of-another-tool"))
    code, out, err = command("status", "tickets-lr")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    names = ["#", "lr", "seed", "state", "val", "macro_f1", "step", "time", "USD"]
    assert [name for name in lines[0].split() if name != "left"] == names
    assert lines[1].split()[:6] == ["1", "1e-05", "1", "completed", "0.8710", "24"]
    assert lines[1].split()[7] == "11.26"
    assert lines[3].split()[:4] == ["3", "5e-05", "1", "failed"]
    assert lines[4].split()[:7] == ["4", "1e-05", "2", "training", "0.8680", "62", "%"]
    assert "3: AlgorithmError: loss is nan at step 212" in out
    assert "4 jobs: 1 running, 2 completed, 1 failed" in out and "of-another-tool" not in out
    assert out.splitlines()[-1].endswith("lingotune logs tickets-lr 3")


def test_a_ledger_knows_those_that_wait_and_the_budget(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    names = [f"tickets-lr-{n:010x}" for n in (1, 2, 3, 4)]
    ledger_of(tmp_path / "runs" / "tickets-lr", 12, *names[:2], max_usd=400)
    code, out, _ = command("status", "runs/tickets-lr")
    assert code == 0 and "\n5-12  " in out
    known = "4 of 12 known: 8 waiting, 1 running, 2 completed, 1 failed; "
    (line,) = [line for line in out.splitlines() if line.startswith(known)]
    assert line.endswith(" of 400 USD"), "3 and 4 were started from elsewhere"
    assert out.splitlines()[-2].endswith("lingotune resume tickets-lr")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_names_are_whole_in_any_width(account: JobAccount, command: Command, columns: int) -> None:
    a_week(account)
    name = "distilbert_multilingual-amazon-reviews-0123456789".replace("_", "-")
    account.train(account.start(name, {})).fail("AlgorithmError: " + "many words " * 20)
    for arguments in (["status"], ["status", name], ["status", "tickets-lr"]):
        code, out, err = command(*arguments, columns=columns)
        lines = [line for line in out.splitlines() if not line.startswith("next: ")]
        assert code == 0 and max(map(len, lines)) <= columns, out + err
        if name in arguments or len(arguments) == 1:
            assert name in out.replace("\n", " ").split()
    assert "many words many words" in command("status", columns=columns)[1]


def test_json_has_everything_and_no_nan(account: JobAccount, command: Command) -> None:
    a_week(account)
    account.log("tickets-lr-0000000004", training_lines(630, 1000, macro_f1=float("nan")))
    code, out, _ = command("status", "tickets-lr", "3-4", "--json")
    told = json.loads(out)
    assert code == 0 and [job["number"] for job in told["jobs"]] == [3, 4]
    failed, running = told["jobs"]
    assert failed["reason"] == "AlgorithmError: loss is nan at step 212"
    assert failed["billable_seconds"] == 180 and failed["instance_type"] == "ml.p3.16xlarge"
    assert failed["spent_usd"] == pytest.approx(180 / 3600 * 28.152)
    assert (running["step"], running["total_steps"]) == (630, 1000)
    assert running["validation"]["macro_f1"] is None and running["varies"] == {
        "lr": "1e-05",
        "seed": "2",
    }


def test_time_left_follows_from_the_log(account: JobAccount) -> None:
    job = account.train(account.trial("s", 1))
    account.pass_seconds(90)
    account.log(job.name, training_lines(40, 100))  # one a second
    survey = Survey(Target("s"), open_account(None), clock=account.clock.time)
    (row,) = survey.look().rows
    assert row.progress.seconds_left(account.clock.now) == pytest.approx(60, abs=0.1)
    assert row.progress.seconds_left(account.clock.now + 61) is None, "not `0 s` for ever"
    assert row.seconds(account.clock.now) == pytest.approx(90, abs=0.1)


def test_attempts_of_a_trial_are_one_row_and_all_are_paid(
    account: JobAccount, command: Command
) -> None:
    for name in ("s-0123456789", "s-0123456789-2"):
        job = account.train(account.trial("s", 1, name))
        account.pass_seconds(600)
        job.fail("InternalServerError: we are sorry")
    (job,) = json.loads(command("status", "s", "--json")[1])["jobs"]
    assert (job["name"], job["attempts"]) == ("s-0123456789-2", 2)
    assert job["spent_usd"] == pytest.approx(2 * 600 / 3600 * 28.152)
    assert "attempt 2" in command("status", "s")[1]


def test_spot_interruptions_and_limits_are_told(account: JobAccount, command: Command) -> None:
    spot = account.train(account.trial("s", 1))
    spot.enter("Interrupted", "spot machines were taken back")
    spot.enter("Training", "again")
    over = account.train(account.trial("s", 2))
    over.end("MaxRuntimeExceeded", "Training job stopped")
    out = command("status", "s")[1]
    assert "1 spot interruption" in out and "its time limit was reached (cluster.max_run)" in out


def test_what_was_stopped_is_offered_to_go_on(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    job.end("Stopped", "Training job stopped")
    assert command("status", job.name)[1].splitlines()[-1] == f"next: lingotune resume {job.name}"
    assert command("status", "s")[1].splitlines()[-1] == "next: lingotune resume s --retry stopped"
    account.train(account.trial("s", 2))
    assert command("status", "s")[1].splitlines()[-1] == "next: lingotune status s --watch"


def test_what_was_pruned_is_not_called_stopped(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    job = account.train(account.trial("s", 1))
    folder = tmp_path / "runs" / "s"
    ledger_of(folder, 1, job.name)
    with Ledger(folder) as ledger:
        ledger.intend_stop(job.name, time.time(), State.pruned.value)
    account.jobs.stop(job.name)
    assert " stopping " in command("status", "s")[1]
    job.end("Stopped", "Training job stopped")
    assert " pruned " in command("status", "s")[1]


# --- names ---------------------------------------------------------------------------------------


def test_unique_beginnings_suffice(account: JobAccount, command: Command) -> None:
    a_week(account)
    account.start("tiny-sample-0123456789", {})
    account.start("tiny-sample-0123456789-2", {})
    account.start("tiny-data-0123456789", {})
    assert "tickets-lr-0000000004" in command("status", "tickets-lr-0000000004", "--json")[1]
    assert '"sweep": "tickets-lr"' in command("status", "tick", "--json")[1].replace("null", "")
    code, out, _ = command("status", "tiny-s")
    assert code == 0 and "tiny-sample-0123456789-2" in out, "the last attempt of one job"
    code, _, err = command("status", "tiny")
    assert code == 2 and "name-ambiguous" in err
    assert "tiny-data-0123456789 | tiny-sample-0123456789" in err


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["nobody"], "name-unknown"),
        (["tickets"], "did you mean"),
        (["tickets-lr-0000000001", "3"], "is a job, not a sweep"),
        (["tickets-lr", "three"], "is not the number of a trial"),
        (["tickets-lr", "5-3"], "is not the number of a trial"),
        (["of-another-tool"], "job-of-another-tool"),
        ([""], "names nothing"),
        (["elsewhere/tickets-lr"], "is a path, and neither a run folder nor a sweep's"),
        (["tickets-lr", "--every", "3s"], "--every"),
        (["tickets-lr", "--watch", "--json"], "--json"),
        (["tickets-lr", "--every", "soon"], "no duration"),
    ],
)
def test_what_cannot_be_meant(
    account: JobAccount, command: Command, typed: list[str], found: str
) -> None:
    a_week(account)
    account.start("of-another-tool")
    if typed == ["tickets"]:
        account.start("tickets-other-0123456789", {})
        found = "tickets-other-0123456789"
    code, out, err = command("status", *typed)
    assert (code, out) == (2, "") and found in err and "Traceback" not in err


def test_a_run_folder_is_answered_with_what_it_is(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "job.yaml").write_text("")
    code, _, err = command("logs", "runs/mine")
    assert code == 2 and "is a run of this machine, and no job on SageMaker" in err
    assert "lingotune results runs/mine" in err
    arn = "arn:aws:sagemaker:eu-west-1:111122223333:training-job/tiny-0123456789"
    described = {"TrainingJobName": "tiny-0123456789", "TrainingJobArn": arn}
    (run / "training-job.json").write_text(json.dumps(described))
    code, _, err = command("logs", "runs/mine")
    assert code == 2 and "is the run folder of the job tiny-0123456789" in err
    assert "lingotune logs tiny-0123456789 --region eu-west-1" in err


def test_a_trial_that_is_none(account: JobAccount, command: Command, tmp_path: Path) -> None:
    ledger_of(tmp_path / "runs" / "s", 3)
    code, _, err = command("status", "s", "2-5")
    assert code == 2 and "there are no trials 4, 5" in err and "fix: 1-3" in err


def test_nothing_has_run_yet(account: JobAccount, command: Command) -> None:
    assert command("status")[:2] == (
        0,
        "no jobs of lingotune in us-east-1, and none in a ledger here\n",
    )


# --- what it costs -------------------------------------------------------------------------------


def test_two_hundred_jobs(
    account: JobAccount, command: Command, front: Front, tmp_path: Path
) -> None:
    names = []
    for number in range(1, 201):
        job = account.train(account.trial("big", number, lr=f"{number}e-6"))
        names.append(job.name)
        if number % 40:
            account.complete(job, macro_f1=number / 200)
        else:
            account.log(job.name, training_lines(5, 10))
    ledger_of(tmp_path / "runs" / "big", 200, *names)
    took = []
    for _ in range(3):  # the account's own work, in this process, is counted too
        front.calls.clear()
        begun = time.process_time()
        code, out, _ = command("status", "big")
        took.append(time.process_time() - begun)
        assert code == 0 and out.count(" completed ") == 195 and out.count(" 50 % ") == 5
        calls = front.operations()
        assert calls.count("Search") <= 3 and calls.count("ListTrainingJobs") <= 3
        others = [c for c in calls if c not in ("Search", "ListTrainingJobs")]
        assert len(others) == 2 * 5, "logs alone"
    assert min(took) < 2, took


def test_watching_costs_one_listing_a_look(account: JobAccount, front: Front) -> None:
    a_week(account)
    survey = Survey(Target("tickets-lr"), open_account(None), clock=account.clock.time)
    survey.look()
    running = account.jobs.get("tickets-lr-0000000004")
    front.calls.clear()
    survey.look()
    assert front.operations() == ["ListTrainingJobs", "GetLogEvents"]
    account.complete(running, macro_f1=0.9)
    later = account.train(account.trial("tickets-lr", 5, lr="1e-04"))
    front.calls.clear()
    rows = survey.look().rows
    assert [row.state for row in rows][-2:] == [State.completed, State.running]
    assert rows[-1].name == later.name and rows[-1].varies == {"lr": "1e-04"}
    told = front.operations()
    assert told.count("ListTrainingJobs") == 1 and told.count("DescribeTrainingJob") == 2
    later.end("Stopped", "Training job stopped")
    survey.look()
    front.calls.clear()
    survey.look()
    assert front.operations() == [], "all has ended"


def test_the_watch_ends_with_the_last_job(
    account: JobAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    a_week(account)
    survey = Survey(Target("tickets-lr"), open_account(None), clock=account.clock.time)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            account.complete(account.jobs.get("tickets-lr-0000000004"))

    last: Overview = watch(survey.look, 5.0, until_over=True, sleep=sleep)
    assert pauses == [5.0, 5.0] and all(row.state.over for row in last.rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5, "one for each state, not for each look"
    assert lines[-1].endswith("  4 tickets-lr-0000000004 completed")


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("ExpiredTokenException", "aws sso login"),
        ("ThrottlingException", "in a minute"),
        ("AccessDeniedException", "permission"),
        ("InternalFailure", "aws configure"),
    ],
)
def test_aws_does_not_answer(
    account: JobAccount, command: Command, front: Front, code: str, fix: str
) -> None:
    front.tell("Search", refusal(code))
    front.tell("DescribeTrainingJob", refusal(code))
    exit_code, out, err = command("status", "tickets-lr")
    assert (exit_code, out) == (6, "") and code in err and fix in err


def test_without_answers_the_ledger_is_shown(
    account: JobAccount,
    command: Command,
    front: Front,
    tmp_path: Path,
) -> None:
    ledger_of(tmp_path / "runs" / "s", 3, "job-1")
    for operation in ("Search", "ListTrainingJobs"):
        front.tell(operation, refusal("ExpiredTokenException"))
    code, out, _ = command("status", "s")
    assert code == 0 and "note: shown as last seen; no answer from AWS" in out
    assert "1 of 3 known: 2 waiting, 1 running" in out


def test_without_credentials_the_ledger_is_shown(
    account: JobAccount, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_of(tmp_path / "runs" / "s", 3, "job-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    code, out, _ = command("status", "s")
    assert code == 0 and "no AWS credentials on this machine" in out and "1 of 3 known" in out
    code, out, _ = command("status")
    assert code == 0 and "no AWS credentials on this machine" in out and "job-1" in out
    code, _, err = command("status", "other")
    assert code == 6 and "no AWS credentials on this machine" in err


def test_without_the_right_to_search_the_ledger_is_enough(
    account: JobAccount, command: Command, front: Front, tmp_path: Path
) -> None:
    a_week(account)
    names = [f"tickets-lr-{n:010x}" for n in (1, 2, 3, 4)]
    ledger_of(tmp_path / "runs" / "tickets-lr", 5, *names)
    front.tell("Search", refusal("AccessDeniedException"))
    code, out, _ = command("status", "tickets-lr")
    assert code == 0 and "jobs that no ledger here knows are left out" in out
    assert "4 of 5 known: 1 waiting, 1 running, 2 completed, 1 failed" in out


def test_a_log_that_cannot_be_read_costs_its_column_only(
    account: JobAccount, command: Command, front: Front
) -> None:
    a_week(account)
    front.tell("DescribeLogStreams", refusal("AccessDeniedException"))
    code, out, _ = command("status", "tickets-lr")
    assert code == 0 and "note: steps unknown" in out and " training " in out


def test_a_job_whose_log_has_no_line_yet(account: JobAccount, command: Command) -> None:
    account.train(account.trial("s", 1))
    code, out, err = command("status", "s")
    assert (code, err) == (0, "") and " training " in out and "note" not in out


def test_a_start_that_aws_does_not_know_stays_as_it_is(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "s"
    ledger_of(folder, 2)
    with Ledger(folder) as ledger:
        ledger.intend_start(ledger.records()[0].trial, 1, "job-1", time.time())
    code, out, _ = command("status", "s")
    assert code == 0 and " starting" in out


def test_the_page_shows_what_is_printed(
    account: JobAccount, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_week(account)
    names = [f"tickets-lr-{n:010x}" for n in (1, 2, 3, 4)]
    ledger_of(tmp_path / "runs" / "tickets-lr", 12, *names, max_usd=400)
    frozen = functools.partial(Survey, clock=account.clock.time)
    monkeypatch.setattr("lingotune.launch.operations.status.Survey", frozen)
    printed = command("status", "tickets-lr")[1]
    shown = [b.text for b in blocks_of(ROOT / "docs" / "operations.md") if "5-12" in b.text]
    assert shown == [printed]


# --- another laptop ------------------------------------------------------------------------------


def pinned(account: JobAccount, trials: int) -> None:
    """The pin of the week's sweep in S3."""
    made = [
        PinnedTrial(
            n, VARIES.get(n, {"lr": "1e-4", "seed": str(n)}), (), f"{n:064}",
            f"tickets-lr-{n:010x}", "c0de", "quota", 1, worst_usd=30.0, usd_per_hour=28.152,
        )
        for n in range(1, trials + 1)
    ]  # fmt: skip
    words = ("sweep=tickets-lr", "budget.max_usd=400")
    pin = Pin("tickets-lr", "i", words, "c0de", "s3://x/y", 0.0, "1", {}, {}, tuple(made))
    where = f"s3://{BUCKET}/lingotune/sweeps/tickets-lr/sweep.json"
    account.put(where, json.dumps(to_json(pin)).encode())


def test_trials_that_wait_are_known_by_the_pin_in_s3(account: JobAccount, command: Command) -> None:
    a_week(account)
    pinned(account, 12)
    code, out, err = command("status", "tickets-lr")
    assert (code, err) == (0, "") and "\n5-12 " in out
    assert "4 of 12 known: 8 waiting, 1 running, 2 completed, 1 failed" in out
    assert " of 400 USD" in out
    told = json.loads(command("status", "tickets-lr", "--json")[1])
    assert len(told["jobs"]) == 12


def test_a_pin_that_is_damaged_costs_the_waiting_only(
    account: JobAccount, command: Command
) -> None:
    a_week(account)
    account.put(f"s3://{BUCKET}/lingotune/sweeps/tickets-lr/sweep.json", b"{")
    code, out, _ = command("status", "tickets-lr")
    assert code == 0 and "note: trials that wait are not known: is no pin of a sweep" in out
    assert "4 jobs: 1 running" in out


def test_results_from_tags_pin_and_logs_alone(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    pinned(account, 12)
    for number, score in ((1, 0.871), (2, 0.884)):
        account.log(f"tickets-lr-{number:010x}", training_lines(10, 10, macro_f1=score))
    code, out, err = command("results", "tickets-lr")
    assert code == 0 and "tickets-lr was started elsewhere" in err
    assert "best: lr=3e-05" in out and "5-12" in out
    assert command("results", "tickets-lr")[1] == out, "its ledger is here from now on"
    code, out, _ = command("status", "tickets-lr")
    assert "4 of 12 known: 8 waiting, 1 running, 2 completed, 1 failed" in out
    code, _, err = command("results", "nothing")
    assert code == 2 and "is no sweep in runs" in err


def test_credentials_that_expire_in_the_middle_of_a_watch(
    account: JobAccount, front: Front, capsys: pytest.CaptureFixture[str]
) -> None:
    a_week(account)
    survey = Survey(Target("tickets-lr"), open_account(None), clock=account.clock.time)

    def sleep(seconds: float) -> None:
        if "ListTrainingJobs" in front.answers:
            raise KeyboardInterrupt
        front.tell("ListTrainingJobs", refusal("ExpiredTokenException"))

    last = watch(survey.look, 5.0, until_over=True, sleep=sleep)
    out = capsys.readouterr().out
    assert "note: shown as last seen; no answer from AWS" in out and "ExpiredToken" in out
    assert len(last.rows) == 4, "what was known is still shown"
