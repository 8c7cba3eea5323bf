"""Sweeps through the command line, the real SDK and HTTP, on an account whose jobs pretend to train."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from faults import Faults, Rates
from pretend import Account, Course, pretending
from submitting import (  # noqa: F401  fixtures
    FOUR,
    LONG,
    NAMES,
    SHORT,
    account,
    brisk,
    busy,
    names,
    other_code,
    states,
    stop_all,
    submitted,
    tags_of,
)
from waiting import wait_until

from lingotune.cli import launch, resume
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws import connection
from lingotune.launch.aws.faults import errors
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import LostAnswer
from lingotune.launch.sweeps.running import View
from lingotune.launch.sweeps.sagemaker import SageMaker
from lingotune.launch.sweeps.trial import Trial, Unsure

pytestmark = pytest.mark.usefixtures("brisk")


# --- what went wrong with a quota of two ---------------------------------------------------------


def test_a_quota_of_two_runs_all_four(
    account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(tmp_path)
    told = capsys.readouterr()
    assert states(tmp_path) == ["completed"] * 4 and len(names(account)) == 4
    assert account.audit().peak == {"ml.p3.16xlarge": 2}
    assert "waiting   3-4 for a slot" in told.out and "nothing was started" not in told.err
    assert told.out.count("sourcedir.tar.gz (") == 1, "uploaded once"
    marks = [tags_of(job) for job in account.jobs]
    assert [mark["lingotune:trial"] for mark in marks] == ["1", "2", "3", "4"]
    assert {mark["lingotune:sweep"] for mark in marks} == {"four"}
    assert [mark["lingotune:varies"] for mark in marks][:2] == ["lr=0.0001", "lr=0.0002"]


def test_json_names_what_was_started_though_others_wait(
    busy: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(tmp_path, *FOUR, "--detach", "output=json")
    told = json.loads(capsys.readouterr().out)
    assert sorted(job["name"] for job in told["submitted"]) == names(busy)
    assert [one["state"] for one in told["trials"]] == [*["running"] * 2, *["waiting"] * 2]
    assert told["exit_code"] == 0
    with Ledger(tmp_path / "four") as ledger:
        about = ledger.about()
    assert (about["metric"], about["greater_is_better"], about["nodes"]) == ("macro_f1", True, 1)
    assert about["region"] == "us-east-1" and about["max_usd"] is None


def test_the_same_command_attaches_skips_and_goes_on(
    busy: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(tmp_path, *FOUR, "--detach")
    assert "2 wait (3-4)" in capsys.readouterr().out
    submitted(tmp_path, *FOUR, "--detach")
    told = capsys.readouterr()
    assert "name-taken" not in told.out + told.err and "attempt=2" not in told.out + told.err
    assert len(names(busy)) == 2, "there is no slot"
    stop_all(busy)
    submitted(tmp_path, *FOUR, "--detach")
    assert len(names(busy)) == 4 and busy.audit().twice == {}


def test_a_refusal_in_the_middle_names_what_runs(
    busy: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The third job is refused for good: the others run, and are named; nothing else is claimed."""
    start, asked = connection.Account.start, []

    def refusing(self: connection.Account, job: TrainingJob) -> None:
        asked.append(job.name)
        if len(asked) == 2:
            said = {"Error": {"Code": "ValidationException", "Message": "too odd"}}
            raise ClientError(said, "CreateTrainingJob")  # type: ignore[arg-type]
        start(self, job)

    monkeypatch.setattr(connection.Account, "start", refusing)
    submitted(tmp_path, *FOUR, "--detach", "output=json", code=2)
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (
        sorted(job["name"] for job in found["submitted"]) == names(busy) and len(names(busy)) == 2
    )
    assert "ValidationException: too odd" in told.err and "nothing was started" not in told.err


def test_a_quota_of_none_is_told_and_nothing_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pretending(lambda asked: SHORT, quotas=Quotas(0)) as account:
        submitted(tmp_path, code=2)
        assert names(account) == []
    assert "is 0, below 1" in capsys.readouterr().out


# --- the code and data of then -------------------------------------------------------------------


def test_an_edit_of_the_code_renames_no_job_and_repeats_none(
    busy: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submitted(tmp_path, *FOUR, "--detach")
    before = names(busy)
    monkeypatch.setattr(launch, "bundle_of", lambda configs: other_code())
    submitted(tmp_path, *FOUR, "--detach")
    told = capsys.readouterr()
    assert names(busy) == before
    assert told.err.count("(code=new for yours)") == 1
    stop_all(busy)
    submitted(tmp_path, *FOUR, "--detach", "sweep.code=new")
    codes = [tags_of(job)["lingotune:code-sha256"] for job in busy.jobs]
    assert codes == [build_bundle().digest] * 2 + [other_code().digest] * 2
    assert busy.audit().twice == {}


def test_an_edit_of_own_code_is_the_sweep_still_and_new_code_is_for_those_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 2 fails by the user's code, which is mended; another laptop without a ledger goes on."""
    mine = "from lingotune.plugins import metric\n\n\n@metric\ndef mine(given):\n    return {}\n"
    monkeypatch.chdir(tmp_path)
    file = Path("mine.py")
    file.write_text(mine.format("0.5"))
    words = [*FOUR, "code.file=mine.py", "code.metrics=[mine]"]

    def course(asked: Any) -> Course:
        is_broken = asked.tags["lingotune:trial"] == "2" and not asked.name.endswith("-2")
        return replace(SHORT, fails_after=1) if is_broken else LONG

    with pretending(course, quotas=Quotas(2)) as account:
        submitted(tmp_path / "a", *words, "--detach")
        wait_until(lambda: [job.over for job in account.jobs] == [False, True])
        file.write_text(mine.format("0.25"))
        submitted(tmp_path / "a", *words, "--detach", code=6)  # one has failed
        assert len(names(account)) == 3, "the same sweep: trial 3 has come to its slot"
        stop_all(account)
        submitted(tmp_path / "b", *words, "--detach", "retry=failed", "code=new")
        assert account.audit().twice == {}
        jobs = {tags_of(job)["lingotune:trial"] + job.name[-2:]: job for job in account.jobs}
        codes = [tags_of(job)["lingotune:code-sha256"] for job in account.jobs]
        assert len(names(account)) == 5 and len(set(codes[:3])) == 1 == len(set(codes[3:]))
        assert codes[0] != codes[3] and "2-2" in jobs
        stop_all(account)
        submitted(tmp_path / "a", *words, "--detach")
        assert len(names(account)) == 5 and states(tmp_path / "a")[1] == "stopped"


def forgotten(account: Account) -> None:
    boto3.client("s3").delete_object(Bucket=BUCKET, Key="lingotune/sweeps/four/sweep.json")


@pytest.mark.parametrize("lose", [lambda account: None, forgotten], ids=["pin in S3", "tags alone"])
def test_a_second_laptop_attaches_with_other_code_even(
    busy: Account,
    tmp_path: Path,
    lose: Callable[[Account], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submitted(tmp_path / "a", *FOUR, "--detach")
    lose(busy)
    monkeypatch.setattr(launch, "bundle_of", lambda configs: other_code())
    submitted(tmp_path / "b", *FOUR, "--detach")
    assert len(names(busy)) == 2 and states(tmp_path / "b") == states(tmp_path / "a")
    stop_all(busy)
    submitted(tmp_path / "b", *FOUR, "--detach")
    codes = {tags_of(job)["lingotune:code-sha256"] for job in busy.jobs}
    assert len(names(busy)) == 4 and busy.audit().twice == {}
    assert codes == {build_bundle().digest}


@pytest.mark.slow
def test_the_name_of_another_sweep_is_refused(
    busy: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(tmp_path, *FOUR, "--detach")
    with pytest.raises(ConfigError, match="is the name of another sweep, of 4 jobs"):
        submitted(tmp_path, *FOUR, "epochs=7", "--detach")
    assert len(names(busy)) == 2


@pytest.mark.slow
def test_a_longer_grid_of_the_same_name_adds_its_jobs(account: Account, tmp_path: Path) -> None:
    submitted(tmp_path)
    submitted(tmp_path, *[w.replace("4e-4", "4e-4,5e-4") for w in FOUR], "--follow")
    assert states(tmp_path) == ["completed"] * 5 and account.audit().twice == {}


# --- leaving and going on ------------------------------------------------------------------------


def test_ctrl_c_leaves_the_jobs_running_and_says_what_bills(
    busy: Account,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[int] = []

    def interrupted(self: View, records: Any) -> None:
        shown.append(1)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(View, "show", interrupted)
    submitted(tmp_path, code=130)
    told = capsys.readouterr().out
    assert "leaving; 2 jobs go on at AWS and bill at 56.30 USD/h" in told
    assert all(name in told.partition("leaving; ")[2] for name in names(busy))
    assert "2 wait (3-4) and are not started without you" in told
    folder = tmp_path / "four"  # its name alone would be looked for in runs/
    assert f"lingotune resume {folder}" in told and f"lingotune stop {folder}" in told
    assert not any(job.over for job in busy.jobs)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_resume_goes_on_from_what_was_pinned_alone(
    account: Account, tmp_path: Path, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(tmp_path / "a", *FOUR, "--detach")
    where = tmp_path / ("b" if elsewhere else "a")
    options = ["--bucket", BUCKET, "--region", REGION] if elsewhere else []
    assert resume.main(["four", "--runs-dir", str(where), "--follow", *options]) == 0
    assert states(where) == ["completed"] * 4
    assert len(names(account)) == 4 and account.audit().twice == {}


def test_two_commands_at_once_start_nothing_twice(
    account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock.held(tmp_path / "four") as holder:
        assert holder == ""
        submitted(tmp_path, *FOUR, "--detach")
    assert names(account) == [] and "is run already, by process" in capsys.readouterr().out


ONE = ["cluster=p3_16xl", *NAMES, "action=submit"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*FOUR, "--detach"], "goes with action=submit to SageMaker"),
        ([*ONE, "cluster.backend=loopback", "--follow"], "goes with action=submit to SageMaker"),
        ([*ONE, "cluster.backend=loopback", "wait=false"], "wait=false: goes with action=submit"),
        ([*ONE, "wait=true", "--detach"], "stay with the job, and do not stay"),
        ([*ONE, "aws.queue=q", "wait=true"], "does not know the job while it waits in the queue q"),
    ],
)
def test_options_where_nothing_can_be_stayed_with(
    words: list[str], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        launch.main([*words, f"runs_dir={tmp_path}"])


def test_an_answer_of_s3_that_was_lost_is_asked_for_again() -> None:
    def unanswered(trial: Trial, attempt: int) -> TrainingJob:
        raise LostAnswer([Problem("s3://bucket/job.yaml", "cannot be read: no answer from AWS")])

    backend = SageMaker(connection.Account(boto3.Session(), AwsConfig()), unanswered, "four", 0.0)
    with pytest.raises(Unsure, match="cannot be read: no answer"):
        backend.start(Trial(1, {}, (), "0" * 64, "four-1"), 1)


def test_a_full_disk_takes_the_lock_and_leaves_the_word_to_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with lock.held(tmp_path / "four") as holder:
        assert holder == ""
        with lock.held(tmp_path / "four") as other:
            assert other == "another process"


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no AWS credentials"):  # it is looked for in the account
        resume.main(["nothing", "--runs-dir", str(tmp_path)])
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "sweep.json").write_text("{")
    with pytest.raises(ConfigError, match="is no pin of a sweep"):
        resume.main(["odd", "--runs-dir", str(tmp_path)])
    (tmp_path / "odd" / "sweep.json").write_text('{"version": 99}')
    with pytest.raises(ConfigError, match="it is of version 99"):
        resume.main(["odd", "--runs-dir", str(tmp_path)])


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_failed_job_is_told_and_started_again_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(SHORT, fails_after=1)

    def course(asked: Any) -> Course:
        first = not asked.name.endswith("-2")
        return broken if first and asked.tags["lingotune:trial"] == "2" else SHORT

    with pretending(course, quotas=Quotas(2)) as account:
        submitted(tmp_path, *FOUR, "--follow", code=6)
        told = capsys.readouterr()
        assert "AlgorithmError: rank 0, training: it broke" in told.err
        assert "retry=failed" in told.err
        submitted(tmp_path, *FOUR, "--follow", "sweep.retry=failed")
        assert states(tmp_path) == ["completed"] * 4 and len(names(account)) == 5


@pytest.mark.parametrize(
    "kind",
    [
        "lost",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("dropped", "unavailable", "throttled")),
    ],
)
def test_a_job_whose_answer_fails_is_neither_lost_nor_doubled(kind: str, tmp_path: Path) -> None:
    faults = Faults(3, rates={"CreateTrainingJob": Rates(**{kind: 0.5})})
    with pretending(lambda asked: SHORT, quotas=Quotas(2), faults=faults) as account:
        submitted(tmp_path, *FOUR, "--follow")
        assert states(tmp_path) == ["completed"] * 4
        found = account.audit()
        assert found.twice == {} and found.peak["ml.p3.16xlarge"] <= 2
    assert faults.failed["CreateTrainingJob", kind]


@pytest.mark.parametrize("kind", ["lost", "dropped"])
def test_a_single_job_whose_answer_was_lost_is_looked_up(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs, and is not told as not started; what has not arrived is."""
    faults = Faults(3, rates={"CreateTrainingJob": Rates(**{kind: 1.0})})
    one = ["cluster=p3_16xl", *NAMES, "aws.sdk=boto3"]
    with pretending(lambda asked: LONG, faults=faults) as account:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        if kind == "lost":
            submitted(tmp_path, *one)
            (name,) = names(account)
            told = capsys.readouterr().out
            assert f"submitted {name}" in told and "the answer was lost" in told
            faults.rates = {}
            submitted(tmp_path, *one)
            told = capsys.readouterr().out
            assert "was started before, and runs; nothing further was started" in told
            assert names(account) == [name] and "[job-runs]" in told and "attempt=2" not in told
            return
        monkeypatch.setattr("lingotune.launch.aws.settle.PAUSE", 0.0)
        with pytest.raises(ConfigError) as raised:
            submitted(tmp_path, *one)
        assert names(account) == [] and "nothing was started" in raised.value.problems[0].fix
        assert isinstance(raised.value.__cause__, errors()), (
            "from which a walk through machines goes on"
        )


@pytest.mark.parametrize("sdk", ["boto3", pytest.param("v2", marks=pytest.mark.slow)])
def test_a_start_that_was_repeated_and_refused_is_ours(
    sdk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore sends a call without an answer once more, and the name is taken by the first."""
    faults = Faults(3, rates={"CreateTrainingJob": Rates(lost=0.5)})
    with pretending(lambda asked: LONG, faults=faults) as account:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
        submitted(tmp_path, "cluster=p3_16xl", *NAMES, f"aws.sdk={sdk}")
        (name,) = names(account)
        told = capsys.readouterr().out
    assert faults.calls["CreateTrainingJob"] == 2
    assert f"submitted {name}" in told and "the answer was lost (AWS refused" in told


def test_a_lost_connection_has_no_code() -> None:
    from botocore.exceptions import ConnectionClosedError

    from lingotune.launch.aws.faults import Fault, error_of, fault_of

    lost = ConnectionClosedError(endpoint_url="https://s3", request=None, response=None)
    assert error_of(lost) == {} and fault_of(lost) is Fault.lost
