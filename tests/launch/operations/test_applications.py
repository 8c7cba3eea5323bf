"""Operations on sweeps of `hydra/launcher=sagemaker`, which the application's own command goes on with."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

from pathlib import Path

import pytest
from account_of_jobs import BUCKET, JobAccount
from operating import Command, account, command, standing  # noqa: F401  fixtures

from lingotune.launch.simulator.loopback.jobs import Job
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import JobState, State, Trial

SWEEP = "train-e20eac0f"
TYPED = "python train.py -m hydra/launcher=sagemaker 'lr=0.1,0.5 , 0.9'"


@pytest.fixture
def jobs(account: JobAccount) -> list[Job]:
    """Two jobs of an application, numbered from 0: one has completed, one trains."""
    made = []
    for number in (0, 1):
        uri = f"s3://{BUCKET}/hydra/jobs/{number:064}/"
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        tags = {"lingotune:sweep": SWEEP, "lingotune:trial": str(number),
                "lingotune:varies": f"lr=0.{number}"}  # fmt: skip
        job = account.start(
            f"train-{number:010x}", tags, Environment={},
            InputDataConfig=[{"ChannelName": "hydra", "DataSource": source}],
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/hydra/output"},
        )  # fmt: skip
        del job.request["CheckpointConfig"]
        job.tags["lingotune:job-sha256"] = f"{number:064}"
        made.append(account.train(job))
    account.pass_seconds(60)
    account.complete(made[0], returned=0.935)
    return made


@pytest.fixture
def ledger(jobs: list[Job], tmp_path: Path) -> Path:
    """The ledger of the sweep, with a third job that waits."""
    folder = tmp_path / "runs" / SWEEP
    with Ledger(folder) as made:
        words = ["-m", "hydra/launcher=sagemaker", "lr=0.1,0.5 , 0.9"]
        made.write_about(name=SWEEP, application="train.py", words=words, region="us-east-1",
                         metric="returned")  # fmt: skip
        trials = [Trial(n, {"lr": f"0.{n}"}, (), str(n), f"train-{n:010x}") for n in range(3)]
        made.add_trials(trials)
        for trial in trials[:2]:
            made.intend_start(trial, 1, trial.name, 0.0)
    return folder


def test_what_comes_next_is_the_applications_command(
    ledger: Path, account: JobAccount, command: Command
) -> None:
    code, out, err = command("status", SWEEP, columns=160)
    assert (code, err) == (0, "") and "val returned" in out and "0.9350" in out
    assert out.splitlines()[-1] == f"next: {TYPED}"
    code, _, err = command("resume", SWEEP, columns=300)
    assert code == 2 and f"fix: {TYPED} hydra.launcher.retry=failed" in err
    out = command("stop", SWEEP, "--yes")[1]
    assert "train-0000000001 keeps no checkpoint (hydra.launcher.checkpoints=false)" in out
    assert out.splitlines()[-1] == f"next: {TYPED} hydra.launcher.retry=stopped"
    assert "1 trial waits and is not started" in out
    account.jobs.get("train-0000000001").end("Stopped", "")
    with Ledger(ledger) as made:
        made.saw([JobState("train-0000000001", State.stopped)], 1.0)
    assert f"{TYPED} hydra.launcher.retry=stopped" in command("resume", SWEEP, columns=300)[2]


def test_another_laptop_knows_them_without_tags_too(
    jobs: list[Job], account: JobAccount, command: Command
) -> None:
    code, out, _ = command("status", SWEEP)
    assert code == 0 and "val returned" in out and "resume" not in out
    assert "training" in command("status", jobs[1].name)[1], "described without its tags"
    assert command("results", SWEEP)[0] == 0, "makes a ledger of it"
    out = command("status", SWEEP)[1]
    assert "val returned" in out and "0.9350" in out and "resume" not in out
    jobs[1].fail("AlgorithmError: ValueError: the data has no spirals")
    for typed in ([SWEEP], [SWEEP, "1"], [jobs[1].name]):
        code, _, err = command("resume", *typed, columns=200)
        assert code == 2 and "the application's own command goes on with it" in err, err
        assert "with hydra.launcher.retry=failed" in err


def test_results_without_a_model_are_fetched(
    jobs: list[Job], account: JobAccount, command: Command, tmp_path: Path
) -> None:
    account.put(f"s3://{BUCKET}/hydra/output/{jobs[0].name}/output/data/sagemaker-return.json")
    code, out, err = command("fetch", SWEEP, "0")
    assert (code, err) == (0, "") and "1 run" in out and "next" not in out
    assert len(list((tmp_path / "runs" / jobs[0].name).glob("*"))) >= 2
    assert "0" in command("status", SWEEP, "0")[1].splitlines()[1].split()
    assert "1 still to come: 1" in command("fetch", SWEEP)[1]
