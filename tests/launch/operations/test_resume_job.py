"""Starting a job again from its checkpoint: from tags, job file and S3 alone, once, and told."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from account_of_jobs import JobAccount, a_week, ledger_of, training_lines
from conftest import compose
from loopback import Call, Front, Reply, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.problems import INTERRUPTED
from lingotune.config.schema import BudgetConfig, LaunchConfig, Retry
from lingotune.launch import confirm
from lingotune.launch.agreement import at_stake, budget_of
from lingotune.launch.operations.rows import Row
from lingotune.launch.simulator.loopback.jobs import Job
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import Pin, PinnedTrial
from lingotune.launch.sweeps.trial import JobState, State
from lingotune.runs.folder import folders_in
from lingotune.runs.inventory import write_inventory

NAME = "tiny-sample-0123456789"


def stopped(account: JobAccount, name: str = NAME, sweep: str = "") -> Job:
    """A job that was stopped at step 62 of 100, with two whole checkpoints."""
    account.leave_inputs()
    job = account.trial(sweep, 4, name) if sweep else account.start(name, {})
    account.train(job)
    account.pass_seconds(300)
    account.log(name, training_lines(62, 100))
    job.end("Stopped", "Training job stopped")
    account.checkpoint(job, 20, 60)
    return job


def test_the_next_attempt_goes_on_from_the_checkpoint_once(
    account: JobAccount, command: Command
) -> None:
    job = stopped(account)
    account.put(f"{job.request['CheckpointConfig']['S3Uri']}/checkpoint-80/model.safetensors")
    code, out, err = command("resume", "tiny-sample", "--plan")
    assert (code, err) == (0, "") and "from step 60 of 100" in out, "80 is not whole"
    assert len(account.jobs._jobs) == 1, "it was only planned"
    code, out, err = command("resume", "tiny-sample")
    assert (code, err) == (0, "") and f"started {NAME}-2" in out
    assert "worst case 337.82 USD, at most 12 h 00 min" in out
    assert f"before: {NAME} stopped" in out and "2.35 USD so far" in out
    assert out.splitlines()[-1] == f"next: lingotune logs {NAME}-2 --follow"
    again = account.jobs.get(f"{NAME}-2").request
    assert json.loads(again["HyperParameters"]["sagemaker_job_name"]) == f"{NAME}-2"
    same = ("CheckpointConfig", "InputDataConfig", "ResourceConfig", "StoppingCondition", "Tags")
    assert {key: again[key] for key in same} == {key: job.request[key] for key in same}
    code, out, _ = command("resume", NAME)
    assert code == 0 and f"runs already: {NAME}-2 (running); nothing is started" in out
    account.complete(account.train(account.jobs.get(f"{NAME}-2")))
    code, out, _ = command("resume", NAME)
    assert code == 0 and f"is finished: {NAME}-2 completed" in out
    assert f"next: lingotune fetch {NAME}-2" in out and len(account.jobs._jobs) == 2


def test_the_newest_attempt_with_a_checkpoint_counts(account: JobAccount, command: Command) -> None:
    first = stopped(account)
    fields = {"CheckpointConfig": {"S3Uri": f"{first.request['CheckpointConfig']['S3Uri']}-2",
                                   "LocalPath": "/opt/ml/checkpoints"}}  # fmt: skip
    account.start(f"{NAME}-2", {}, **fields).fail("AlgorithmError: out of memory")
    code, out, _ = command("resume", NAME)
    assert code == 0 and f"{NAME}-3: attempt 3, from step 60" in out
    assert "note: it failed by itself" in out
    again = account.jobs.get(f"{NAME}-3").request
    assert again["CheckpointConfig"] == first.request["CheckpointConfig"]


def test_without_a_checkpoint_it_says_so(account: JobAccount, command: Command) -> None:
    account.leave_inputs()
    job = account.start(NAME, {})
    job.fail("InternalServerError: try again")
    code, out, _ = command("resume", NAME)
    uri = job.request["CheckpointConfig"]["S3Uri"]
    assert code == 0 and f"from the beginning: there is no whole checkpoint in {uri}" in out
    assert "failed by itself" not in out


def test_inputs_that_vanished_are_told_before(account: JobAccount, command: Command) -> None:
    stopped(account)
    for key in account.keys("code"):
        account.s3.delete_object(Bucket="lingotune-loopback", Key=f"lingotune/{key}")
    code, _, err = command("resume", NAME)
    assert code == 2 and "sourcedir.tar.gz is not there any more" in err
    assert "nothing was started" in err and len(account.jobs._jobs) == 1


def test_a_start_that_is_refused(account: JobAccount, command: Command, front: Front) -> None:
    stopped(account)
    front.tell("CreateTrainingJob", refusal("ResourceLimitExceeded"))
    code, out, err = command("resume", NAME)
    assert code == 6 and "once a job has ended" in err and "nothing was started" in err
    assert "started" not in out


def test_a_start_whose_answer_was_lost_is_looked_up(
    account: JobAccount, command: Command, front: Front
) -> None:
    stopped(account)

    def lose(call: Call) -> Reply:
        if f"{NAME}-2" not in account.jobs._jobs:
            account.clock.now = time.time()  # an older job would be somebody else's
            account.start(f"{NAME}-2", {})
        return refusal("InternalFailure", status=500)

    front.tell("CreateTrainingJob", lose)
    code, out, err = command("resume", NAME)
    assert (code, err) == (0, "")
    assert f"started {NAME}-2 (its answer was lost; it is there)" in out


def test_a_trial_is_written_into_its_ledger(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    stopped(account, sweep="lrs")
    ledger_of(tmp_path / "runs" / "lrs", 5, "a", "b", "c", NAME)
    with Ledger(tmp_path / "runs" / "lrs") as ledger:
        ledger.saw([r.last.job for r in ledger.records()[:1] if r.last], 0)
    code, out, _ = command("resume", "lrs", "4")
    assert code == 0 and f"started {NAME}-2" in out
    with Ledger(tmp_path / "runs" / "lrs") as ledger:
        record = ledger.records()[3]
    assert [a.name for a in record.attempts] == [NAME, f"{NAME}-2"]
    assert record.state is State.starting
    code, _, err = command("resume", "lrs", "5")
    assert code == 2 and "never-started" in err and "fix: lingotune resume lrs" in err


def test_a_sweep_that_another_process_runs_is_left_to_it(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    stopped(account, sweep="lrs")
    ledger_of(tmp_path / "runs" / "lrs", 5, "a", "b", "c", NAME)
    with lock.held(tmp_path / "runs" / "lrs"):
        code, out, _ = command("resume", "lrs", "4")
    assert code == 0 and f"started {NAME}-2" in out, "its controller finds the job by its name"
    with Ledger(tmp_path / "runs" / "lrs") as ledger:
        assert len(ledger.records()[3].attempts) == 1


def test_what_has_no_effect_is_refused(account: JobAccount, command: Command) -> None:
    stopped(account)
    code, _, err = command("resume", NAME, "--retry", "failed", "--max-parallel", "2")
    assert code == 2 and err.count("has no effect on a job") == 2 and len(account.jobs._jobs) == 1


def test_names_that_are_none(account: JobAccount, command: Command) -> None:
    account.start("theirs")
    names = (("nothing", "name-unknown"), ("theirs", "job-of-another-tool"), ("", "names nothing"))
    for typed, told in (*names, (".", "name-unknown"), ("runs/x", "name-unknown")):
        code, _, err = command("resume", typed)
        assert code == 2 and told in err


def test_a_run_of_this_machine(account: JobAccount, command: Command, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "tiny"
    run.mkdir(parents=True)
    job = job_of(compose())
    (run / "job.yaml").write_bytes(dump_job(job))
    (run / "metrics.json").write_text("{}")
    write_inventory(folders_in(run), job_digest(job), ())
    code, out, _ = command("resume", "tiny")
    assert code == 0 and "is finished: runs/tiny; nothing is started" in out
    code, _, err = command("resume", "runs/tiny", "--plan")
    assert code == 2 and "has no effect on a run of this machine" in err
    (run / "job.yaml").write_text("nonsense")
    code, _, err = command("resume", "runs/tiny")
    assert code == 2 and "job.yaml" in err, "the trainer reads it"


def test_the_next_attempt_may_get_the_dearest_of_a_list(
    account: JobAccount, command: Command
) -> None:
    job = stopped(account)
    kinds = ("ml.p3.16xlarge", "ml.g5.12xlarge")
    rows = [{"InstanceType": kind, "InstanceCount": 1} for kind in kinds]
    job.request = {**job.request, "ResourceConfig": {"InstancePreferences": rows}}
    job.select(rows[1])
    out = command("resume", NAME, "--plan", columns=200)[1]
    assert "1 x ml.p3.16xlarge or 1 x ml.g5.12xlarge in us-east-1" in out
    assert "worst case 337.82 USD" in out, "although the one before had the cheaper"


# --- the question before money is spent ---------------------------------------------------------


def answering(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    """A terminal on which a question is answered; returns the questions."""
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr(confirm, "can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", ask)
    return asked


def test_above_the_limit_it_asks_once(
    account: JobAccount, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(account)
    code, out, err = command("resume", NAME, "--confirm-usd", "100")
    assert code == 2 and "337.82 USD, and there is no terminal to ask" in err and "--yes" in err
    assert command("resume", NAME, "--confirm-usd", "100", "--plan")[0] == 0
    asked = answering(monkeypatch, "n")
    code, out, _ = command("resume", NAME, "--confirm-usd", "100")
    assert code == INTERRUPTED and "nothing was started" in out and len(asked) == 1
    assert len(account.jobs._jobs) == 1
    asked = answering(monkeypatch, "y")
    assert command("resume", NAME, "--confirm-usd", "400")[0] == 0 and asked == []
    account.jobs.get(f"{NAME}-2").end("Stopped", "")
    assert command("resume", NAME, "--confirm-usd", "1", "--yes")[0] == 0 and asked == []
    account.jobs.get(f"{NAME}-3").end("Stopped", "")
    assert command("resume", NAME, "--confirm-usd", "1")[0] == 0 and len(asked) == 1


def test_the_limit_of_this_machines_configuration_counts(
    account: JobAccount, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(account)
    budget = BudgetConfig(confirm_usd=20.0)
    composed = [SimpleNamespace(config=LaunchConfig(budget=budget))]
    monkeypatch.setattr("lingotune.launch.agreement.compose_all", lambda *_, **__: composed)
    code, _, err = command("resume", NAME)
    assert code == 2 and "budget.confirm_usd=20" in err and len(account.jobs._jobs) == 1


def test_the_limit_that_a_sweep_was_submitted_with() -> None:
    assert budget_of(None, ["lr=1", "budget.confirm_usd=7.5"]).confirm_usd == 7.5
    assert budget_of(None, ["budget.confirm_usd=7", "budget.confirm_usd=null"]).confirm_usd is None
    assert budget_of(3.0, ["budget.confirm_usd=7"]).confirm_usd == 3.0
    assert budget_of(None).confirm_usd == LaunchConfig().budget.confirm_usd


def test_only_trials_that_would_start_are_at_stake() -> None:
    trials = [PinnedTrial(n, {}, (), str(n), f"s-{n}", "c", "q", 1, worst_usd=10.0 * n)
              for n in (1, 2, 3, 4)]  # fmt: skip
    pin = Pin("s", "i", (), "c", "s3://x/y", 0.0, "1", {}, {}, tuple(trials))
    states = (State.completed, State.failed, State.running)
    rows = [Row(f"s-{n}", JobState(f"s-{n}", state), "s", n) for n, state in enumerate(states, 1)]
    assert at_stake(pin, rows, Retry.none) == (40.0, 1), "4 waits, unknown to SageMaker"
    assert at_stake(pin, rows, Retry.failed) == (60.0, 2)


def test_a_job_that_a_queue_started_is_left_to_it(account: JobAccount, command: Command) -> None:
    job = stopped(account)
    job.tags.clear()
    job.request = {**job.request, "Tags": []}
    code, _, err = command("resume", NAME)
    assert code == 2 and "job-of-a-queue" in err and "attempt=2" in err
    assert len(account.jobs._jobs) == 1


def test_a_trial_that_waits_in_a_queue(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    a_week(account)
    ledger_of(tmp_path / "runs" / "tickets-lr", 6, *(f"queued-{n}" for n in range(5)))
    code, _, err = command("resume", "tickets-lr", "5-6", columns=300)
    assert code == 2 and "is no job that SageMaker knows" in err and "never-started" in err
    assert "resume tickets-lr --retry failed" in err
