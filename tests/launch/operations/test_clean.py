"""Cleaning up in S3: what is listed, what is deleted, and all that is not."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from account_of_jobs import BUCKET, JobAccount, training_lines
from loopback import Front, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.launch.simulator.loopback.jobs import Job


def job_with_objects(account: JobAccount, number: int, score: float | None = None) -> Job:
    """A job that has completed with a score, or failed; it leaves output and a checkpoint."""
    account.leave_inputs()
    job = account.train(account.trial("lrs", number, f"lrs-{number:010x}", lr=f"{number}e-5"))
    account.pass_seconds(60)
    if score is None:
        job.fail("AlgorithmError: loss is nan")
    else:
        account.log(job.name, training_lines(10, 10, macro_f1=score))
        account.complete(job, macro_f1=0.5)
    account.checkpoint(job, 10)
    account.put(f"s3://{BUCKET}/lingotune/output/{job.name}/output/model.tar.gz", b"x" * 200_000)
    # each job has checkpoints of its own, the requests of this account share one place
    return job


def own(account: JobAccount, job: Job) -> list[str]:
    return account.keys(f"output/{job.name}/")


@pytest.fixture
def week(account: JobAccount, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Three jobs of a sweep: the second is the best by its log, the third has failed."""
    request = account._request["CheckpointConfig"]
    jobs = []
    for number, score in ((1, 0.7), (2, 0.9), (3, None)):
        place = f"s3://{BUCKET}/lingotune/checkpoints/lrs-{number:010x}"
        monkeypatch.setitem(account._request, "CheckpointConfig", {**request, "S3Uri": place})
        jobs.append(job_with_objects(account, number, score))
    return jobs


def test_a_listing_deletes_nothing(account: JobAccount, command: Command, week: list[Job]) -> None:
    before = account.keys()
    code, out, err = command("clean")
    assert (code, err) == (0, "") and account.keys() == before
    assert "lrs (3 jobs)" in out and "1 best of lrs" in out and "2 completed, 1 failed" in out
    code, out, _ = command("clean", "lrs")
    assert out.count("lrs-000000000") >= 3 and "needed by lrs-0000000002" in out
    assert "next: lingotune clean lrs --delete" in out
    code, out, _ = command("clean", "lrs", "--json")
    told = json.loads(out)
    assert [job["kept"] for job in told["jobs"] if job["name"].endswith("2")] == ["best of lrs"]


def test_the_best_and_what_it_needs_stay(
    account: JobAccount, command: Command, week: list[Job]
) -> None:
    code, out, _ = command("clean", "lrs", "--delete", "--yes")
    assert code == 0 and "deleted 6 objects" in out
    left = account.keys()
    assert all(
        "lrs-0000000002" in key for key in left if key.split("/")[0] in ("output", "checkpoints")
    )
    assert [key.split("/")[0] for key in left] == [
        "checkpoints",
        "checkpoints",
        "code",
        "jobs",
        "output",
    ]
    assert "note: 1 of the models are not in runs" in out
    code, out, _ = command("clean", "lrs", "--keep-best", "0", "--delete", "--yes")
    left = account.keys()
    assert [key.split("/")[0] for key in left] == ["checkpoints"] * 2, "of the best model"


def test_only_what_is_asked_for(account: JobAccount, command: Command, week: list[Job]) -> None:
    assert command("clean", "lrs", "3", "--only", "checkpoints", "--delete", "--yes")[0] == 0
    assert not account.keys("checkpoints/lrs-0000000003") and own(account, week[2])
    assert account.keys("checkpoints/lrs-0000000001")
    code, out, _ = command("clean", "--older", "30d", "--delete", "--yes")
    assert code == 0 and "nothing was deleted" in out
    code, _, err = command("clean", "--only", "outptu")
    assert code == 2 and "output?" in err


def test_nothing_of_what_runs(account: JobAccount, command: Command, week: list[Job]) -> None:
    job = week[2]
    resumed = account.start(
        f"{job.name}-2", {"lingotune:sweep": "lrs", "lingotune:trial": "3"},
        CheckpointConfig=job.request["CheckpointConfig"],
    )  # fmt: skip
    account.train(resumed)
    before = account.keys("checkpoints/lrs-0000000003")
    assert command("clean", "lrs", "--delete", "--yes", "--keep-best", "0")[0] == 0
    assert account.keys("checkpoints/lrs-0000000003") == before, (
        "its next attempt goes on from them"
    )
    assert account.keys("code") and account.keys("jobs")


def test_nothing_that_is_not_ours(account: JobAccount, command: Command, week: list[Job]) -> None:
    theirs = ["output/another-region/output/model.tar.gz", "reports/2026.csv", "code/README"]
    for key in theirs:
        account.put(f"s3://{BUCKET}/lingotune/{key}")
    account.put(f"s3://{BUCKET}/elsewhere/x")
    account.start("their-job")
    code, out, _ = command("clean", "lrs", "--delete", "--yes", "--keep-best", "0")
    assert code == 0 and set(theirs) < set(account.keys())
    assert "1 jobs beside these are unknown" in out and account.keys("code/c0de"), (
        "it may need them"
    )


def test_a_score_that_is_unknown_keeps_all(
    account: JobAccount, command: Command, week: list[Job], front: Front
) -> None:
    front.tell("DescribeLogStreams", refusal("AccessDeniedException"))
    front.tell("FilterLogEvents", refusal("AccessDeniedException"))
    code, out, _ = command("clean", "lrs")
    assert code == 0 and out.count("score unknown") == 2


def test_it_is_asked_for(
    account: JobAccount, command: Command, week: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account.keys()
    code, _, err = command("clean", "lrs", "--delete")
    assert code == 2 and "fix: lingotune clean lrs --delete --yes" in err
    for words in (["--delete"], ["--yes"], ["lrs", "--json", "--delete"]):
        code, _, err = command("clean", *words)
        assert code == 2, words
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda text: "n")
    assert "nothing was deleted" in command("clean", "lrs", "--delete")[1]

    def end_of_input(text: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end_of_input)
    code, out, err = command("clean", "lrs", "--delete")
    assert (code, err) == (130, "lingotune: stopped\n") and "nothing was deleted" in out
    assert account.keys() == before


def test_one_that_starts_meanwhile_keeps_its_own(
    account: JobAccount, command: Command, week: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(text: str) -> str:
        account.start(f"{week[2].name}-2", {}, CheckpointConfig=week[2].request["CheckpointConfig"])
        return "y"

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answer)
    assert command("clean", "lrs", "--delete")[0] == 0
    assert account.keys("checkpoints/lrs-0000000003") and not account.keys("output/lrs-0000000001")


def test_what_s3_refuses_is_told(
    account: JobAccount, command: Command, week: list[Job], front: Front
) -> None:
    front.tell(f"POST /{BUCKET}", refusal("AccessDenied", status=403))
    code, out, err = command("clean", "lrs", "--delete", "--yes")
    assert code == 6 and "deleted 0 objects" in out and "AccessDenied" in err


def test_an_empty_account(account: JobAccount, command: Command, tmp_path: Path) -> None:
    code, out, err = command("clean")
    assert (code, err) == (0, "") and "nothing lies in S3" in out
