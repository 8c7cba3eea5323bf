"""Endpoints of the loopback: the model behind AWS's toolkit, asked as on SageMaker, to the last digit."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from deployed import ACCOUNT, Command, command  # noqa: F401  fixtures
from served import job_of_model, make_model
from waiting import wait_until

from lingotune.config.jobfile import dump_job
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION
from lingotune.launch.simulator.loopback.standing import Settings, account

pytestmark = pytest.mark.slow
TEXTS = ["gut", "schlecht, a b!", "good é x"]
SUBMIT = (*ACCOUNT, "action=submit", "--follow")


@dataclass(frozen=True)
class Clients:
    """Clients of the account, as a user makes them."""

    runtime: Any
    s3: Any
    logs: Any


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    """A whole account with containers, for all tests of the module."""
    with account(Settings(), print):
        session = boto3.Session(region_name=REGION)
        services = ("sagemaker-runtime", "s3", "logs")
        yield Clients(*(session.client(service) for service in services))


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a random model of two layers, which can be loaded."""
    run = tmp_path_factory.mktemp("runs") / "small-run"
    make_model(run / "model")
    (run / "job.yaml").write_bytes(dump_job(job_of_model()))
    return run


@pytest.fixture
def run_folder(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That run, from where it is named."""
    monkeypatch.chdir(small_run.parent)
    return small_run


def predicted(run: Path) -> list[dict[str, Any]]:
    """What `lingotune predict` says, with as many threads as the endpoint has."""
    done = subprocess.run(
        [sys.executable, "-m", "lingotune", "predict", str(run), "--json"],
        input="".join(f"{text}\n" for text in TEXTS), capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"},
    )  # fmt: skip
    return [_answer(json.loads(line)) for line in done.stdout.splitlines()]


def _answer(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("label", "probabilities")}


def answers(body: bytes) -> list[dict[str, Any]]:
    return [_answer(one) for one in json.loads(body)["predictions"]]


def test_answers_are_those_of_predict(run_folder: Path, command: Command, clients: Clients) -> None:
    code, out, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert code == 0 and "shop: InService" in out, err
    asked = {"EndpointName": "shop", "ContentType": "application/json"}
    body = json.dumps({"inputs": TEXTS})
    answer = clients.runtime.invoke_endpoint(**asked, Body=body)
    assert answers(answer["Body"].read()) == predicted(run_folder)
    with pytest.raises(ClientError, match="has no text"):
        clients.runtime.invoke_endpoint(**asked, Body=b'{"inputs": ""}')
    with pytest.raises(ClientError, match="at most 6291456"):
        clients.runtime.invoke_endpoint(**asked, Body=b"a" * 7_000_000)
    code, out, _ = command("logs", "shop", "--region", REGION)
    assert code == 0 and "i-loopback | endpoint at port" in out
    assert command("deploy", "shop", "action=delete", f"aws.region={REGION}", "--yes")[0] == 0
    with pytest.raises(ClientError, match="not found"):
        clients.runtime.invoke_endpoint(**asked, Body=body)


def test_a_serverless_endpoint_takes_four_megabytes(
    run_folder: Path, command: Command, clients: Clients
) -> None:
    code, _, err = command("deploy", "small-run", "name=small", "kind=serverless", *SUBMIT)
    assert code == 0, err
    asked = {"EndpointName": "small", "ContentType": "text/plain"}
    answer = clients.runtime.invoke_endpoint(**asked, Body="\n".join(TEXTS))
    assert answers(answer["Body"].read()) == predicted(run_folder)
    with pytest.raises(ClientError, match="at most 4194304"):
        clients.runtime.invoke_endpoint(**asked, Body=b"a" * 5_000_000)


def test_an_asynchronous_endpoint_answers_in_s3(
    run_folder: Path, command: Command, clients: Clients
) -> None:
    code, _, err = command("deploy", "small-run", "name=later", "kind=async", *SUBMIT)
    assert code == 0, err
    many = "".join(json.dumps({"text": "gut", "id": n}) + "\n" for n in range(12_000))
    clients.s3.put_object(Bucket=BUCKET, Key="many.jsonl", Body=many.encode())
    queued = clients.runtime.invoke_endpoint_async(
        EndpointName="later", InputLocation=f"s3://{BUCKET}/many.jsonl",
        ContentType="application/jsonlines", Accept="application/jsonlines",
    )  # fmt: skip
    lines = _lines(clients, queued["OutputLocation"])
    assert [line["id"] for line in lines] == list(range(12_000)), (
        "more than an endpoint takes at once"
    )


def test_a_batch_keeps_the_ids_of_its_rows(
    run_folder: Path, command: Command, clients: Clients
) -> None:
    rows = "".join(json.dumps({"text": t, "id": f"r{n}"}) + "\n" for n, t in enumerate(TEXTS))
    clients.s3.put_object(Bucket=BUCKET, Key="in/texts.jsonl", Body=rows.encode())
    table = "id,text\n7,gut\n8,\n"
    clients.s3.put_object(Bucket=BUCKET, Key="in/table.csv", Body=table.encode())
    out = f"answers=s3://{BUCKET}/out"
    for name in ("texts.jsonl", "table.csv"):
        typed = ("kind=batch", f"input=s3://{BUCKET}/in/{name}", out)
        code, told, err = command("deploy", "small-run", *typed, *SUBMIT)
        assert code == 0 and "Completed" in told, err
    lines = _lines(clients, f"s3://{BUCKET}/out/texts.jsonl.out")
    assert [line["id"] for line in lines] == ["r0", "r1", "r2"]
    assert list(map(_answer, lines)) == predicted(run_folder)
    good, bad = _lines(clients, f"s3://{BUCKET}/out/table.csv.out")
    assert good["id"] == "7" and good["label"] and "has no text" in bad["error"]


def test_a_damaged_archive_fails_with_its_reason(
    run_folder: Path, command: Command, clients: Clients
) -> None:
    words = ("name=broken", "kind=serverless")
    _, out, _ = command("deploy", "small-run", *words, *ACCOUNT, "output=request")
    uri = json.loads(out)["CreateModel"]["PrimaryContainer"]["ModelDataUrl"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    clients.s3.put_object(Bucket=bucket, Key=key, Body=b"no archive")
    code, _, err = command("deploy", "small-run", *words, *SUBMIT)
    assert code == 6 and "[deploy-failed]" in err and "logs broken" in err
    assert command("deploy", "broken", "action=delete", f"aws.region={REGION}", "--yes")[0] == 0
    clients.s3.delete_object(Bucket=bucket, Key=key)


def _lines(clients: Clients, uri: str) -> list[dict[str, Any]]:
    """Read JSON lines in S3, once they are there."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")

    def there() -> str | None:
        try:
            return str(clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode())
        except clients.s3.exceptions.NoSuchKey:
            return None

    return [json.loads(line) for line in wait_until(there).splitlines()]
