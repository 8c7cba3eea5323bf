"""Prices and finished jobs: real boto3 with an AWS on loopback."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import compose
from loopback import Front, Reply, answer, moto_server, point_boto_at, refusal
from moto.backends import get_backend

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.schema import Precision
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.throughput import (
    Throughput,
    append_record,
    format_record,
    read_records,
    setup_of,
)
from lingotune.launch.aws.pricing import fetch_prices, price_in, refresh_prices
from lingotune.launch.cost.prices import Price, find_price, load_prices

TODAY = date(2026, 11, 23)
BUCKET = "example-bucket"
NAME = "tiny-sample-0123456789"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    with moto_server() as address:
        yield address


@pytest.fixture
def aws(moto: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Front]:
    """An AWS on loopback, this machine's credentials and region, and a folder to stand in."""
    front = Front(moto)
    point_boto_at(front.address, monkeypatch, tmp_path, **KEYS, AWS_DEFAULT_REGION="us-east-1")
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield front
    front.close()


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`python -m lingotune ...` in this process: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lingotune", *arguments])
        code = exit_code_of(main)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


# --- prices -------------------------------------------------------------------------------------


def product(instance_type: str, usd: str, **attributes: str) -> str:
    """A product as the Price List API writes it, with a training instance's attributes."""
    named = {
        "instanceName": instance_type,
        "instanceType": f"{instance_type}-Training",
        "component": "Training",
        "regionCode": "eu-west-1",
        "usagetype": f"EU-Train:{instance_type}",
        "operation": "RunInstance",
        **attributes,
    }
    term = {"unit": "Hrs", "pricePerUnit": {"USD": usd}, "beginRange": "0", "endRange": "Inf"}
    return json.dumps({
        "product": {"productFamily": "ML Instance", "attributes": named, "sku": "ABC"},
        "serviceCode": "AmazonSageMaker",
        "terms": {"OnDemand": {"ABC.DEF": {"priceDimensions": {"ABC.DEF.GHI": term}}}},
    })  # fmt: skip


def page(*products: str, token: str | None = None) -> Reply:
    more = {"NextToken": token} if token else {}
    return answer(FormatVersion="aws_v1", PriceList=list(products), **more)


def test_the_price_list_is_read_to_its_last_page(
    aws: Front, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    aws.tell(
        "GetProducts",
        page(
            product("ml.g5.12xlarge", "7.9010000000"), product("ml.p3.2xlarge", "4.1"), token="t2"
        ),
        page(product("ml.p6-b200.48xlarge", "99.5"), token="t3"),
        page(),
    )
    code, out, err = command("prices", "--region", "eu-west-1")
    assert code == 0 and err.startswith("plans on this machine take these prices from now on")
    kept = load_prices()
    assert find_price(kept, "ml.p6-b200.48xlarge", "eu-west-1") == Price(
        "ml.p6-b200.48xlarge", "eu-west-1", 99.5, "AWS Pricing API", date.today().isoformat()
    )
    (tmp_path / "cache" / "prices.json").write_text("{damaged")
    assert len(load_prices()) == len(kept) - 3, "AWS tells them again"
    listed = json.loads(out)["prices"]
    assert [(p["instance_type"], p["usd_per_hour"]) for p in listed] == [
        ("ml.g5.12xlarge", 7.901),
        ("ml.p3.2xlarge", 4.1),
        ("ml.p6-b200.48xlarge", 99.5),
    ]
    assert {(p["region"], p["source"], p["date"]) for p in listed} == {
        ("eu-west-1", "AWS Pricing API", date.today().isoformat())
    }
    (tmp_path / "prices.json").write_text(out)
    assert load_prices("prices.json")[0].usd_per_hour == 7.901, "the plan reads what was printed"
    assert [c.parameters.get("NextToken") for c in aws.calls] == [None, "t2", "t3"]
    first = aws.calls[0]
    assert (first.service, first.region) == ("pricing", "us-east-1"), "the API is not in eu-west-1"
    assert first.parameters["ServiceCode"] == "AmazonSageMaker"
    assert {f["Field"]: f["Value"] for f in first.parameters["Filters"]} == {
        "regionCode": "eu-west-1",
        "component": "Training",
    }


def test_a_command_that_asks_aws_keeps_the_prices_of_its_machines(aws: Front) -> None:
    today = date.today()
    refresh_prices("eu-west-1", ["ml.g5.12xlarge"], today)  # AWS lists none: nothing is told
    assert find_price(load_prices(), "ml.g5.12xlarge", "eu-west-1") is None
    aws.tell("GetProducts", page(product("ml.g5.12xlarge", "7.5")))
    refresh_prices("eu-west-1", ["ml.g5.12xlarge"], today)
    found = find_price(load_prices(), "ml.g5.12xlarge", "eu-west-1")
    assert found and (found.usd_per_hour, found.date) == (7.5, today.isoformat())
    asked = len(aws.calls)
    refresh_prices("eu-west-1", ["ml.g5.12xlarge"], today)
    refresh_prices(None, ["ml.g5.12xlarge"], today)
    assert len(aws.calls) == asked, "it is fresh, or no region is known"


def test_one_instance(aws: Front) -> None:
    aws.tell("GetProducts", page(product("ml.g5.12xlarge", "7.9"), product("ml.p3.2xlarge", "4.1")))
    found = fetch_prices("eu-west-1", ["ml.p3.2xlarge"], TODAY)
    assert found == [Price("ml.p3.2xlarge", "eu-west-1", 4.1, "AWS Pricing API", "2026-11-23")]


@pytest.mark.parametrize(
    "other",
    [
        product("ml.g5.xlarge", "1.0", component="Hosting", usagetype="EU-Host:ml.g5.xlarge"),
        product("ml.g5.xlarge", "1.0", component="Cluster", usagetype="EU-Cluster:ml.g5.xlarge"),
        product("ml.g5.xlarge", "1.0", usagetype="EU-TrainingPlanUpfrontFee:ml.g5.xlarge"),
        product("ml.g5.xlarge", "0.0000000000"),
        product("", "1.0", instanceType="", usagetype=""),
        json.dumps({"product": {"attributes": {"component": "Training"}}, "terms": {}}),
        "{}",
        product("ml.g5.xlarge", "1.0").replace("USD", "CNY"),
        product("ml.g5.xlarge", "1.0").replace("Hrs", "Quantity"),
    ],
)
def test_what_is_no_price_of_training(other: str) -> None:
    assert price_in(json.loads(other)) is None


def test_prices_of_endpoints(aws: Front, command: Callable[..., tuple[int, str, str]]) -> None:
    hosting = product("ml.g5.xlarge", "1.7", component="Hosting", usagetype="EU-Host:ml.g5.xlarge")
    aws.tell("GetProducts", page(product("ml.g5.xlarge", "1.5"), hosting))
    asked = ("--region", "eu-west-1", "--instance", "ml.g5.xlarge", "--use", "hosting")
    code, out, _ = command("prices", *asked)
    assert code == 0 and json.loads(out)["prices"][0]["use"] == "hosting"
    kept = load_prices()
    found = find_price(kept, "ml.g5.xlarge", "eu-west-1", use="hosting")
    assert found is not None and found.usd_per_hour == 1.7
    assert find_price(kept, "ml.g5.xlarge", "eu-west-1") is None, "which is for training"


def test_products_that_lack_an_attribute() -> None:
    for lacking in ("instanceName", "instanceType", "usagetype"):
        partial = json.loads(product("ml.g5.xlarge", "1.5"))
        del partial["product"]["attributes"][lacking]
        assert price_in(partial) == ("ml.g5.xlarge", 1.5), lacking


def test_an_instance_that_aws_does_not_list_is_an_error(
    aws: Front, command: Callable[..., tuple[int, str, str]]
) -> None:
    aws.tell("GetProducts", page())
    code, out, err = command("prices", "--region", "mars-1")
    assert (code, out) == (2, "")
    assert "--region mars-1" in err and "no price of training on any instance" in err
    aws.tell("GetProducts", page(product("ml.g5.xlarge", "1.5")))
    asked = ("--instance", "ml.g5.xlarge", "ml.p9.new")
    code, out, err = command("prices", "--region", "eu-west-1", *asked)
    assert (code, out) == (2, "") and "no price of training on ml.p9.new there" in err


def test_without_the_right_to_ask(aws: Front, command: Callable[..., tuple[int, str, str]]) -> None:
    aws.tell("GetProducts", refusal("AccessDeniedException", "User is not authorized"))
    code, out, err = command("prices", "--region", "eu-west-1")
    assert (code, out) == (6, "")
    assert "not allowed to ask (AccessDeniedException pricing:GetProducts)" in err


@pytest.mark.parametrize("arguments", [("prices", "--region", "eu-west-1"), ("cost", NAME)])
def test_without_credentials(
    aws: Front,
    arguments: tuple[str, ...],
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    code, out, err = command(*arguments)
    assert (code, out) == (6, "")
    assert "no AWS credentials on this machine" in err and "aws configure" in err
    assert aws.calls == []


def test_an_answer_that_is_none(aws: Front, command: Callable[..., tuple[int, str, str]]) -> None:
    aws.tell("GetProducts", page("not json"))
    code, _, err = command("prices", "--region", "eu-west-1")
    assert code == 6 and "no answer from AWS" in err


# --- finished jobs ------------------------------------------------------------------------------

JOB = job_of(compose("cluster=g5_12xl", "epochs=3"))
RECORD = Throughput(
    schema=1,
    date="2026-11-22T10:00:00Z",
    lingotune="0.1.0",
    job_sha256=job_digest(JOB),
    setup=setup_of(JOB, plan_batches(JOB), Precision.bf16),
    world_size=4,
    parameters=1,
    data="sample",
    languages=("de", "en"),
    rows={"train": 1000, "validation": 100, "test": 50},
    tokens_mean=40.0,
    tokens_p95=100.0,
    padding=None,
    train_samples=3000,
    eval_samples=450,
    train_seconds=10.0,
    eval_seconds=0.9,
    other_seconds=60.0,
    samples_per_second=300.0,
    eval_samples_per_second=500.0,
)


def packed(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for member, data in (("metrics.json", b"{}"), (name, content)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


@pytest.fixture
def job(aws: Front) -> Any:
    """A finished job of lingotune's in that AWS, as moto keeps it: what it loses is put back."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="jobs/1/job.yaml", Body=dump_job(JOB))
    boto3.client("sagemaker").create_training_job(
        TrainingJobName=NAME,
        AlgorithmSpecification={"TrainingImage": "image", "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::111122223333:role/SageMakerRole",
        InputDataConfig=[
            {
                "ChannelName": "config",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/jobs/1/"}
                },
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={
            "InstanceType": "ml.g5.12xlarge",
            "InstanceCount": 2,
            "VolumeSizeInGB": 30,
        },
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    kept = get_backend("sagemaker")["123456789012"]["us-east-1"].training_jobs[NAME]
    kept.training_time_in_seconds = kept.billable_time_in_seconds = 400
    kept.final_metric_data_list = [
        {"MetricName": "test:accuracy", "Value": 0.75, "Timestamp": kept.creation_time}
    ]
    yield kept
    s3.delete_object(Bucket=BUCKET, Key=f"out/{NAME}/output/output.tar.gz")
    s3.delete_object(Bucket=BUCKET, Key=f"out/{NAME}/output/data/throughput.jsonl")
    s3.delete_object(Bucket=BUCKET, Key="jobs/1/job.yaml")


def leave(key: str, content: bytes) -> None:
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"out/{NAME}/output/{key}", Body=content)


LINE = format_record(RECORD).encode() + b"\n"
PRICED = "7.09 USD/h (us-east-1, list price of 2025-02-03, source PyPI fmbench 2.1.1"


def test_the_account_of_a_job(
    aws: Front, job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    leave("output.tar.gz", packed("./throughput.jsonl", LINE))
    path = tmp_path / "runs" / "throughput.jsonl"
    earlier = dataclasses.replace(RECORD, date="2026-11-01T00:00:00Z", other_seconds=350.0)
    later = dataclasses.replace(RECORD, date="2999-01-01T00:00:00Z", samples_per_second=1.0)
    append_record(path, earlier)
    append_record(path, later)
    before = len(aws.calls)
    code, out, err = command("cost", NAME)
    assert (code, err) == (0, "")
    lines = [line.strip() for line in out.splitlines()]
    assert lines[:3] == [
        f"{NAME}: Completed, 2 x ml.g5.12xlarge in us-east-1",
        "metrics: test:accuracy 0.75",
        lines[2],
    ]
    assert lines[2].startswith(PRICED)
    assert lines[3:] == [
        "billed 400 s of 400 s on each of 2 nodes",
        "cost 1.58 USD = 400 s x 7.09 USD/h x 2 nodes",
        "estimate 361 s, -9.8% of the 400 s that it took (1 run of 2026-11-01, 300 samples/s)",
        "throughput 300 samples/s, scaling efficiency unknown: no run on one such GPU was measured",
        "added the record to runs/throughput.jsonl",
    ]
    records, _ = read_records(path)
    assert records == [earlier, later, dataclasses.replace(RECORD, job_seconds=400.0)]
    assert {c.operation for c in aws.calls[before:]} == {
        "DescribeTrainingJob",
        "ListObjectsV2",
        f"GET /{BUCKET}/jobs/1/job.yaml",
        f"GET /{BUCKET}/out/{NAME}/output/output.tar.gz",
    }, "nothing is changed"


def test_the_record_is_added_once(
    job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    leave("output.tar.gz", packed("throughput.jsonl", LINE))
    assert command("cost", NAME, "--runs-dir", "elsewhere")[0] == 0
    code, out, _ = command("cost", NAME, "--runs-dir", "elsewhere")
    assert code == 0 and "elsewhere/throughput.jsonl has the record already" in out
    assert len(read_records(tmp_path / "elsewhere" / "throughput.jsonl")[0]) == 1


def test_a_spot_job_keeps_what_it_was_billed(
    job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    job.enable_managed_spot_training = True
    job.billable_time_in_seconds = 100
    leave("data/throughput.jsonl", LINE)  # cluster.compress_output=false
    code, out, _ = command("cost", NAME)
    assert code == 0
    assert f"{NAME}: Completed, 2 x ml.g5.12xlarge in us-east-1, spot" in out
    assert "managed spot saved 75.0%" in out
    (record,), _ = read_records(tmp_path / "runs" / "throughput.jsonl")
    assert (record.job_seconds, record.spot_billable_share) == (400, 0.25)


def test_the_users_prices_and_an_unknown_one(
    job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    row = {"instance_type": "ml.g5.12xlarge", "region": "us-east-1", "usd_per_hour": 9,
           "source": "my contract", "date": "2026"}  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps({"prices": [row]}))
    out = command("cost", NAME, "--prices", "mine.json")[1]
    assert "cost 2.00 USD = 400 s x 9 USD/h x 2 nodes" in out and "source my contract" in out
    job.resource_config["InstanceType"] = "ml.p9.new"
    code, out, _ = command("cost", NAME)
    assert code == 0
    assert "price unknown: no list has ml.p9.new in us-east-1" in out
    assert "cost unknown: the price is unknown" in out
    code, _, err = command("cost", NAME, "--prices", "nowhere.json")
    assert code == 2 and "nowhere.json" in err


def test_what_is_missing_is_named_and_the_rest_is_told(
    job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    boto3.client("s3").delete_object(Bucket=BUCKET, Key="jobs/1/job.yaml")
    code, out, _ = command("cost", NAME)
    assert code == 0
    assert "job file unknown: not answered (NoSuchKey s3:GetObject: " in out
    assert f"s3://{BUCKET}/out/{NAME}/output/ holds neither throughput.jsonl nor output.tar" in out
    assert "cost 1.58 USD" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("output.tar.gz", b"no archive"),
        ("output.tar.gz", packed("throughput.jsonl", LINE)[:-40]),
        ("output.tar.gz", packed("throughput.jsonl", b"")),
        ("output.tar.gz", packed("throughput.jsonl", b"{}")),
        ("output.tar.gz", packed("other", b"")),
        ("data/throughput.jsonl", b"\xff"),
    ],
)
def test_an_output_without_a_readable_record(
    job: Any, command: Callable[..., tuple[int, str, str]], key: str, content: bytes
) -> None:
    leave(key, content)
    code, out, err = command("cost", NAME)
    assert (code, err) == (0, "")
    assert "throughput record unknown: " in out and "cost 1.58 USD" in out


def test_a_job_that_is_not_lingotunes(
    job: Any, command: Callable[..., tuple[int, str, str]]
) -> None:
    job.input_data_config[0]["ChannelName"] = "train"
    code, out, _ = command("cost", NAME)
    assert code == 0 and "job file unknown: the job has no channel config" in out


def test_a_changed_job_file_is_not_believed(
    job: Any, command: Callable[..., tuple[int, str, str]]
) -> None:
    body = dump_job(JOB).replace(b"epochs: 3", b"epochs: 4")
    boto3.client("s3").put_object(Bucket=BUCKET, Key="jobs/1/job.yaml", Body=body)
    code, out, _ = command("cost", NAME)
    assert code == 0 and "job file unknown: was changed after it was written" in out


def test_a_failed_job_without_seconds(
    job: Any, command: Callable[..., tuple[int, str, str]]
) -> None:
    job.training_job_status, job.failure_reason = "Failed", "CapacityError: none left"
    del job.training_time_in_seconds, job.billable_time_in_seconds
    code, out, _ = command("cost", NAME)
    assert code == 0
    assert f"{NAME}: Failed, ml.g5.12xlarge in us-east-1" in out
    assert "reason: CapacityError: none left" in out
    assert "billed seconds unknown: AWS has not told them yet" in out


def test_broken_lines_are_told_and_not_fatal(
    job: Any, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "throughput.jsonl").write_text("broken\n")
    code, out, _ = command("cost", NAME)
    assert code == 0 and "runs/throughput.jsonl:1" in out and "cost 1.58 USD" in out


def test_an_unknown_job(aws: Front, command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = command("cost", "no-such-job")
    assert (code, out) == (2, "")
    assert "no-such-job" in err and "no job or sweep in us-east-1" in err


def test_a_job_that_may_not_be_described(
    aws: Front, command: Callable[..., tuple[int, str, str]]
) -> None:
    aws.tell("DescribeTrainingJob", refusal("AccessDeniedException"))
    code, _, err = command("cost", NAME)
    assert code == 6
    assert "not allowed to ask (AccessDeniedException sagemaker:DescribeTrainingJob)" in err


def test_without_a_region(
    aws: Front,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    code, _, err = command("cost", NAME)
    assert code == 2 and "--region" in err and "this machine names no AWS region" in err
    assert aws.calls == []
    code, _, err = command("cost", NAME, "--region", "eu-west-1")
    assert code == 2 and "no job or sweep in eu-west-1" in err
