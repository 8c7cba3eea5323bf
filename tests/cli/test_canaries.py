"""Canaries: secrets of the environment, planted in ten codes, appear in nothing that a command writes."""

from __future__ import annotations

import gzip
import io
import json
import logging
import pickle
import random
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pytest
from canaries import CODES, found_in, traces
from conftest import CONF, ROOT, run
from hubserver import Hub, hubs_at_one_address
from loopback import ROLE, Front, moto_server, point_boto_at, ready_account, refusal
from pyarrow import parquet

import lingotune as lt
from lingotune.config.console import exit_code_of, format_error
from lingotune.config.jobfile import dump_job
from lingotune.config.problems import BUG, ConfigError
from lingotune.config.secret_values import known_secrets, secrets_of
from lingotune.config.secrets import looks_secret, redacted
from lingotune.config.settings import setting_types
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.plan.page import problems_json
from lingotune.training import failure

LETTERS = "".join(
    random.Random(20).choices("abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ2346789", k=18)
)
CANARY = f"Qu1et&{LETTERS}/+<9>"
"""With what URLs, JSON, HTML and base64 write in another way."""
TOKEN = "hf_" + "canary" * 6


# --- the finder, as a control ---------------------------------------------------------------------


def packed(text: str, path: Path) -> dict[str, bytes]:
    """A text in files of all kinds."""
    tar, zipped, table, database = io.BytesIO(), io.BytesIO(), io.BytesIO(), path / "data.sqlite"
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        member = tarfile.TarInfo("inner.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", pickle.dumps({"args": text}))
    parquet.write_table(pa.table({"a": [text]}), table, compression="zstd")
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (a)")
        connection.execute("insert into t values (?)", [text])
    connection.close()
    return {
        "log": f"error: {text}!".encode(),
        "gz": gzip.compress(text.encode()),
        "tar.gz": tar.getvalue(),
        "pt": zipped.getvalue(),
        "parquet": table.getvalue(),
        "sqlite": database.read_bytes(),
        "tfevents": b"\x18\x00\x00\n\x07" + text.encode() + b"\x15",
    }


@pytest.mark.parametrize("code", CODES)
def test_the_finder_finds(code: str, tmp_path: Path) -> None:
    for kind, content in packed(f"a {CODES[code](CANARY)} b", tmp_path).items():
        assert code in list(traces(content, CANARY)), kind
        assert not list(traces(content, CANARY[::-1])), kind
    (tmp_path / f"of-{LETTERS}").touch()
    assert f"of-{LETTERS}: plain" in found_in(tmp_path, LETTERS)


# --- one scanner, one redactor --------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_a_value_is_seen_and_removed(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", CANARY)
    text = f"could not reach db as {CODES[code](CANARY)}, tried twice"
    assert looks_secret(text) and not looks_secret(text.replace(CODES[code](CANARY), "me"))
    shown = redacted(text)
    assert not list(traces(shown.encode(), CANARY)), shown
    assert shown.startswith("could not reach db as ") and "***" in shown


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("WANDB_API_KEY", "0123456789abcdef", True),
        ("DB_PASSWD", "hunter2x", True),
        ("STRIPE_KEY", "0123456789abcdef", True),
        ("SLACK_PAT", "0123456789abcdef", True),
        ("A_TOKEN", "reviews", False),  # a word, which stands in many texts
        ("A_TOKEN", "classifier", False),
        ("HF_TOKEN_PATH", "/nowhere/huggingface/token", False),
        ("MY_SECRET_NAME", "prod/hugging-face", False),
        ("MY_SECRET_ARN", "arn:aws:secretsmanager:eu-west-1:1:secret:hf", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("PATH", "/usr/local/bin:/usr/bin", False),
    ],
)
def test_which_variables_hold_secrets(name: str, value: str, is_secret: bool) -> None:
    assert secrets_of({name: value}) == ({value} if is_secret else set())


def test_a_short_value_counts_as_a_word_alone() -> None:
    known = known_secrets({"DB_PASSWORD": "hunter2x"})
    assert known.are_in("name=hunter2x") and known.removed_from("as hunter2x.") == "as ***."
    assert not known.are_in("hunter2xyz") and known.removed_from("hunter2xyz") == "hunter2xyz"


def typed() -> Iterator[str]:
    """The canary as the value of every text that can be set, each in the next code."""
    codes = cycle(CODES.values())
    for key, kind in setting_types().items():
        if kind in (str, str | None):
            yield f"{key}='{next(codes)(CANARY)}'"


@pytest.mark.parametrize("output", ["page", "json", "request"])
def test_a_typed_value_of_the_environment_is_refused_in_every_code(
    output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", CANARY)
    overrides = list(typed())
    assert len(overrides) > 40
    with pytest.raises(ConfigError) as caught:
        composed_jobs(
            [*overrides, f"output={output}"], Command("launch.py", ""), CONF, check_launch
        )
    problems = caught.value.problems
    said = "".join([*capsys.readouterr(), format_error(caught.value), problems_json(problems, 2)])
    assert not list(traces(said.encode(), CANARY)), said
    told = {problem.key for problem in problems if problem.check == "secret-in-config"}
    elsewhere = {problem.key for problem in problems if "has no effect here" in problem.what}
    assert {override.partition("=")[0] for override in overrides} <= told | elsewhere
    assert all(key.startswith("deploy.") for key in elsewhere)
    assert any(p.what.startswith("repeats a secret of this environment") for p in problems)


def test_a_variable_that_is_called_like_a_secret_is_no_setting() -> None:
    with pytest.raises(ConfigError) as caught:
        composed_jobs(
            ["cluster.environment.DB_PASSWORD=correct-horse-battery"],
            Command("train.py", ""), CONF, check_launch,
        )  # fmt: skip
    told = [p for p in caught.value.problems if p.check == "secret-in-config"]
    assert [problem.key for problem in told] == ["cluster.environment.DB_PASSWORD"]


def test_an_error_that_repeats_a_secret_is_redacted_everywhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def body() -> int:
        logging.getLogger("a.library").warning("signing in with %s", CANARY)
        print("user", CANARY, flush=True)
        with failure.reporting(0, {"SM_OUTPUT_DIR": str(tmp_path)}):
            return {"a": 1}[CANARY]

    assert exit_code_of(body) == BUG
    said = "".join(capsys.readouterr())
    assert "KeyError" in said and "user ***" in said
    assert not list(traces(said.encode(), CANARY)), said
    (report,) = tmp_path.glob("lingotune-bug-*")
    assert "KeyError" in report.read_text() and "KeyError" in (tmp_path / "failure").read_text()
    assert found_in(tmp_path, CANARY) == []


# --- whole commands -------------------------------------------------------------------------------

CODE = """
import logging, os, sys, warnings
from transformers import TrainerCallback
from lingotune.plugins import callback, metric

sys.path.append(os.environ["OF_THE_TESTS"])
from canaries import CODES

NAMES = ("HF_TOKEN", "DATABASE_PASSWORD")
SECRET = " ".join(code(os.environ[name]) for name in NAMES for code in CODES.values())

@metric
def talkative(predictions):
    print("scoring with", SECRET)
    return 1.0

@callback
class Talks(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        print("step", SECRET, file=sys.stderr)
        logging.getLogger("mine").error("step %s", SECRET)
        warnings.warn(SECRET)

@callback
class Crashes(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        raise KeyError(SECRET)
"""
QUICK = (
    "data.sample.train_rows=20", "data.sample.validation_rows=6", "data.sample.test_rows=6",
    "training.max_steps=2", "model.scratch.layers=1", "code.file=my_code.py", "evaluation.resamples=0",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_code.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hubs_at_one_address(TOKEN) as new:
        yield new()


def train(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    secret = {
        "HF_TOKEN": TOKEN,
        "DATABASE_PASSWORD": CANARY,
        "LINGOTUNE_CACHE": str(folder / "cache"),
        "OF_THE_TESTS": str(ROOT / "tests"),
    }
    done = run(str(ROOT / "train.py"), *words, cwd=folder, **{**secret, **environment})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("pushed", [True, False])
def test_a_run_that_is_published_leaves_no_trace(folder: Path, hub: Hub, pushed: bool) -> None:
    if not pushed:
        hub.fail("PUT /lfs/", 403)
    code, said = train(
        folder, *QUICK, "code.callbacks=[Talks]", "code.metrics=[talkative]", "hub=private",
        HF_ENDPOINT=hub.endpoint, HF_HOME=str(folder / "hf"), HF_HUB_DISABLE_XET="1",
    )  # fmt: skip
    assert code == (0 if pushed else 7), said
    for canary in (TOKEN, CANARY):
        assert not list(traces(said.encode(), canary)), said
        assert found_in(folder, canary) == []
        for repo in hub.repos.values():
            assert not [n for n, content in repo.files.items() if list(traces(content, canary))]
        assert not list(traces("\n".join(hub.requests).encode(), canary))
    assert hub.authorization == {f"Bearer {TOKEN}"}


@pytest.mark.slow
def test_a_crash_in_a_container_leaves_no_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    job = lt.compose(*QUICK, "code.callbacks=[Crashes]")
    (folder / "job.yaml").write_bytes(dump_job(job))
    output = folder / "output"
    output.mkdir()
    code, said = train(
        folder, "--job", str(folder / "job.yaml"), "--run-dir", str(folder / "crash"),
        SM_OUTPUT_DIR=str(output),
    )  # fmt: skip
    assert code not in (0, None) and "KeyError" in said, said
    assert "KeyError" in (output / "failure").read_text()
    for canary in (TOKEN, CANARY):
        assert not list(traces(said.encode(), canary)), said
        assert found_in(folder, canary) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["output=page"], ["output=json"], ["-m", "lr=1e-5,3e-5", "sweep.name=two"]],
    ids=["page", "json", "sweep"],
)
def test_a_submit_that_fails_leaves_no_trace(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = " ".join(code(canary) for canary in (TOKEN, CANARY) for code in CODES.values())
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": CANARY, "HF_TOKEN": TOKEN}
    with moto_server() as upstream:
        front = Front(upstream)
        point_boto_at(front.address, monkeypatch, folder, **keys)
        ready_account(front, upstream, "example-bucket")
        front.tell("CreateTrainingJob", refusal("ValidationException", f"bad request of {told}"))
        done = run(
            str(ROOT / "launch.py"), "cluster=p3_16xl", f"aws.role={ROLE}", "aws.bucket=example-bucket",
            "aws.region=us-east-1", "aws.sdk=boto3", "action=submit", *words, cwd=folder,
        )  # fmt: skip
        sent = json.dumps([(c.operation, str(c.parameters)) for c in front.calls])
        front.close()
    assert done.returncode and "CreateTrainingJob" in sent, done.stdout + done.stderr
    for canary in (TOKEN, CANARY):
        assert not list(traces(f"{done.stdout}{done.stderr}{sent}".encode(), canary))
        assert found_in(folder, canary) == []
