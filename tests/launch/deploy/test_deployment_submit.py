"""Making, looking at and deleting deployments, in an account on loopback."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from deployed import (  # noqa: F401  fixtures
    ACCOUNT,
    Command,
    ServingAccount,
    command,
    run_folder,
    serving_account,
    small_run,
)
from loopback import Call, Front, Reply, refusal
from served import job_of_model
from waiting import wait_until

from lingotune.config.jobfile import dump_job
from lingotune.launch.simulator.loopback.fake_account import BUCKET, ROLE
from lingotune.launch.simulator.loopback.hosting import Containers
from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.resources import Resource
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving.endpoint import Endpoint

SUBMIT = (*ACCOUNT, "action=submit")
REGION = "aws.region=us-east-1"


@pytest.fixture
def account() -> Iterator[ServingAccount]:
    with serving_account() as made:
        yield made


@pytest.fixture
def front(account: ServingAccount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """A proxy before the account that counts the calls and can refuse them."""
    monkeypatch.setattr("lingotune.launch.aws.account.calls._RETRIES", {"total_max_attempts": 1})
    monkeypatch.setattr("lingotune.launch.aws.settle.PAUSE", 0.01)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    host, port = account.address.removeprefix("http://").split(":")
    found = Front((host, int(port)))
    monkeypatch.setenv("AWS_ENDPOINT_URL", found.address)
    yield found
    found.close()


def in_service(account: ServingAccount, name: str) -> Resource:
    def there() -> Resource | None:
        found = [one for one in account.hosting if (one.kind, one.name) == ("endpoint", name)]
        return found[0] if found and found[0].status == "InService" else None

    return wait_until(there)


def names(account: ServingAccount) -> list[str]:
    return sorted(f"{one.kind} {one.name}" for one in account.hosting)


def test_an_endpoint_from_its_submit_to_its_deletion(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    code, out, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert (code, err) == (0, ""), out + err
    assert "ok       quota:" in out and "submitted endpoint shop" in out
    assert "the endpoint bills 0.23 USD an hour until it is deleted" in out
    made = in_service(account, "shop")
    assert made.tags["lingotune:endpoint"] == "shop"
    parts = names(account)
    assert [part.partition(" ")[0] for part in parts] == ["endpoint", "endpoint-config", "model"]
    # the same once more makes nothing
    code, out, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert code == 0 and "is there already" in out and names(account) == parts
    # status, stop and delete
    code, out, err = command("status", "--region", "us-east-1")
    assert code == 0 and "shop" in out and "0.23" in out and "delete it: " in out
    code, out, err = command("status", "shop", "--region", "us-east-1", "--json")
    (told,) = json.loads(out)["endpoints"]
    assert (told["kind"], told["capacity"], told["usd_per_hour"]) == (
        "realtime",
        "1 x ml.m5.xlarge",
        0.23,
    )
    code, out, err = command("stop", "shop", "--region", "us-east-1")
    assert code == 2 and "deploy shop action=delete aws.region=us-east-1" in err
    code, out, err = command("deploy", "shop", "action=delete", REGION)
    assert code == 2 and "[not-confirmed]" in err and names(account) == parts
    assert "fix: lingotune deploy shop action=delete aws.region=us-east-1 --yes" in err
    code, out, err = command("deploy", "shop", "action=delete", REGION, "--yes")
    assert code == 0, err
    assert "delete endpoint shop, InService, 1 x ml.m5.xlarge, 0.23 USD an hour" in out
    assert names(account) == []
    code, out, err = command("deploy", "shop", "action=delete", REGION, "--yes")
    assert code == 2 and "[name-unknown]" in err


def test_the_request_that_is_shown_has_what_the_model_reads(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    _, out, _ = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert """--body '{"inputs": ["Sehr gut"]}'""" in out
    job = job_of_model()
    job.data.columns.text_pair = "other"
    (run_folder / "job.yaml").write_bytes(dump_job(job))
    code, out, err = command("deploy", "small-run", "name=pairs", *SUBMIT)
    assert code == 0, err
    assert """--body '{"inputs": [{"text": "Sehr gut", "text_pair": "Gerne wieder"}]}'""" in out


def test_another_size_moves_the_endpoint(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    before = in_service(account, "shop").request["EndpointConfigName"]
    code, out, err = command("deploy", "small-run", "name=shop", "count=2", *SUBMIT)
    assert code == 0 and "[deploy-updates]" in err and "it is updated" in out
    now = wait_until(lambda: in_service(account, "shop").request["EndpointConfigName"])
    assert now != before
    assert command("deploy", "shop", "action=delete", REGION, "--yes")[0] == 0
    assert names(account) == [], "the former configuration, too"


class Broken(Containers):
    """Containers that do not start."""

    def start(self, model: Fields, batch: Fields | None) -> AbstractContextManager[Endpoint]:
        raise StageFailed("The primary container did not pass the ping health check.")

    def log(self, group: str, stream: str, lines: list[str]) -> None:
        pass


def status_of(command: Command, name: str, *options: str) -> tuple[dict[str, Any], str]:
    """Show an endpoint or a batch, as JSON and as a table."""
    words = ("status", name, "--region", "us-east-1", *options)
    shown = [command(*words, *more) for more in (["--json"], [])]
    (told,) = json.loads(shown[0][1])["endpoints"]
    return told, shown[1][1]


@pytest.mark.parametrize(
    "count, rate, per_hour", [(3, 0.69, "0.69"), (0, 0.0, "0.00"), (1, 0.23, "0.23")]
)
def test_money_follows_the_instances_of_a_scaled_endpoint(
    run_folder: Path,
    command: Command,
    account: ServingAccount,
    count: int,
    rate: float,
    per_hour: str,
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    in_service(account, "shop").count = count  # as UpdateEndpointWeightsAndCapacities does
    in_service(account, "shop").created -= 3600
    told, table = status_of(command, "shop")
    assert told["capacity"] == f"{count} x ml.m5.xlarge"
    assert told["usd_per_hour"] == pytest.approx(rate) and f" {per_hour} " in table
    if count == 1:
        assert told["usd"] == pytest.approx(0.23, rel=0.01)
        assert "USD so far: as if it had been at this rate since it was made" in table
    else:
        assert told["usd"] is None, "it is not known when it was scaled"
        assert (
            "shop: was made with 1 x ml.m5.xlarge and then scaled: what it has cost is unknown"
            in table
        )
    _, out, _ = command("deploy", "shop", "action=delete", REGION)
    assert f"{count} x ml.m5.xlarge, {per_hour} USD an hour" in out


def test_an_endpoint_bills_whatever_became_of_an_update_or_its_configuration(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    made = in_service(account, "shop")
    made.status = "UpdateRollbackFailed"
    assert status_of(command, "shop")[0]["usd_per_hour"] == 0.23
    made.status = "InService"
    account.sagemaker.delete_endpoint_config(EndpointConfigName=made.request["EndpointConfigName"])
    told, table = status_of(command, "shop")
    assert told["usd_per_hour"] is None and "unknown: its configuration is gone" in table


def test_what_a_serverless_endpoint_has_cost_is_unknown(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", "kind=serverless", *SUBMIT)[0] == 0
    in_service(account, "shop")
    told, table = status_of(command, "shop")
    assert (told["usd_per_hour"], told["usd"]) == (0.0, None), "it bills while it answers"
    assert "  0.00     unknown  " in table and "USD so far:" not in table


def test_status_names_the_model_that_serves(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    in_service(account, "shop")
    before = status_of(command, "shop")[0]["model"]
    (run_folder / "model" / "tokenizer.json").write_text('{"other": 1}')
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    in_service(account, "shop")
    _, out, _ = command("deploy", "small-run", "name=shop", *ACCOUNT, "output=json")
    now = json.loads(out)["model"]["model"][:12]
    assert status_of(command, "shop")[0]["model"] == now != before


def test_an_update_that_was_rolled_back_is_no_success(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    serving = in_service(account, "shop").request["EndpointConfigName"]
    account.hosting.containers = Broken()
    code, out, err = command("deploy", "small-run", "name=shop", "count=2", *SUBMIT, "--follow")
    assert code == 6 and "[deploy-failed]" in err, out + err
    assert f"serves {serving} as before" in err and "did not pass the ping health check" in err


def test_an_update_under_way_is_not_started_again(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    made, typed = in_service(account, "shop"), ("small-run", "name=shop", "count=2")
    _, out, _ = command("deploy", *typed, *ACCOUNT, "output=request")
    made.status = "Updating"  # which lasts minutes on AWS
    made.pending = json.loads(out)["CreateEndpoint"]["EndpointConfigName"]
    code, out, err = command("deploy", *typed, *ACCOUNT, "action=check")
    assert code == 0 and "shop is there with the same model, Updating" in out, err
    code, out, err = command("deploy", *typed, *SUBMIT, "--detach")
    assert code == 0 and "Updating; nothing was started" in out, err


def test_an_endpoint_that_has_failed_can_only_be_deleted(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    account.hosting.containers = Broken()
    assert command("deploy", "small-run", "name=shop", *SUBMIT, "--follow")[0] == 6
    for action in ("check", "submit"):
        words = (*ACCOUNT, f"action={action}")
        code, _, err = command("deploy", "small-run", "name=shop", "count=2", *words)
        assert code and "[deploy-failed]" in err and "deploy shop action=delete aws.region=" in err


def test_a_deletion_that_scaling_forbids_names_who_can(
    run_folder: Path, command: Command, account: ServingAccount, front: Front
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    in_service(account, "shop")
    what = (
        "An Application AutoScaling scalable target exists for a variant being deleted, and the IAM"
        " identity used to invoke DeleteEndpoint does not have"
        " application-autoscaling:DeregisterScalableTarget permission to deregister the scalable target."
    )
    front.tell("DeleteEndpoint", refusal("ValidationException", what))
    code, _, err = command("deploy", "shop", "action=delete", REGION, "--yes")
    assert code == 6 and "[not-deleted]" in err, err
    assert "deregister-scalable-target" in err and "endpoint/shop/variant/AllTraffic" in err
    assert "endpoint shop" in names(account)


def test_an_endpoint_of_another_tool_is_left_alone(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    client = account.sagemaker
    client.create_model(
        ModelName="other", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "a/b:c"}
    )
    variant = {"VariantName": "a", "ModelName": "other", "InstanceType": "ml.m5.xlarge",
               "InitialInstanceCount": 1}  # fmt: skip
    client.create_endpoint_config(EndpointConfigName="other", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="shop", EndpointConfigName="other")
    code, _, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert code == 2 and "[deploy-name-taken]" in err and "deploy.name=shop-2" in err
    code, _, err = command("deploy", "shop", "action=delete", REGION, "--yes")
    assert code == 2 and "[deploy-not-ours]" in err
    assert "endpoint shop" in names(account)
    code, out, _ = command("status", "--region", "us-east-1")
    assert "shop" not in out, "what is not ours is not listed"


def test_a_quota_of_zero(run_folder: Path, command: Command) -> None:
    with serving_account(Quotas(2, {"ml.g5.xlarge": 0})) as account:
        code, _, err = command("deploy", "small-run", "instance_type=ml.g5.xlarge", *SUBMIT)
        assert code == 2 and "deploy.count=1" in err and "ml.g5.xlarge for endpoint usage" in err
        assert "request-service-quota-increase" in err and names(account) == []


def test_a_check_without_credentials_is_no_success(
    run_folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    code, out, err = command("deploy", "small-run", *ACCOUNT, "action=check")
    assert code == 6 and "skipped  quota" in out and "[nothing-asked]" in err
    code, _, err = command("deploy", "small-run", *SUBMIT)
    assert code == 6 and "credentials" in err and "nothing was started" in err


def test_a_quota_that_is_used_up_is_told_by_the_refusal(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    assert command("deploy", "small-run", "name=one", "count=2", *SUBMIT)[0] == 0
    code, _, err = command("deploy", "small-run", "name=two", "count=1", *SUBMIT)
    assert code == 6 and "ResourceLimitExceeded" in err and "nothing of it was started" in err


LOST = Reply("", 503, "ServiceUnavailable")


def done_but_lost(account: ServingAccount, operation: str) -> Callable[[Call], Reply]:
    """An answer to an operation: it is carried out, and the answer is lost."""

    def answer(call: Call) -> Reply:
        account.hosting.operations[f"SageMaker.{operation}"](dict(call.parameters), "us-east-1")
        return LOST

    return answer


def test_a_lost_answer_is_looked_up(
    run_folder: Path, command: Command, account: ServingAccount, front: Front
) -> None:
    front.tell("CreateEndpoint", done_but_lost(account, "CreateEndpoint"))
    code, out, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert code == 0 and "the answer was lost; endpoint shop is there" in out, err
    # an answer that is lost before anything was made
    front.tell("CreateEndpoint", LOST)
    code, _, err = command("deploy", "small-run", "name=next", *SUBMIT)
    assert code == 6 and "[not-started]" in err
    # nobody answers at all
    front.tell("DescribeEndpoint", refusal("ValidationException", "Could not find endpoint"),
               refusal("ValidationException", "Could not find endpoint"),
               refusal("ValidationException", "Could not find endpoint"), LOST)  # fmt: skip
    code, _, err = command("deploy", "small-run", "name=third", *SUBMIT)
    assert (
        code == 6
        and "[start-unknown]" in err
        and "may have been made or changed, and bills then" in err
    )


def test_a_lost_answer_to_an_update_is_looked_up(
    run_folder: Path, command: Command, account: ServingAccount, front: Front
) -> None:
    assert command("deploy", "small-run", "name=shop", *SUBMIT)[0] == 0
    in_service(account, "shop")
    front.tell("UpdateEndpoint", done_but_lost(account, "UpdateEndpoint"))
    code, out, err = command("deploy", "small-run", "name=shop", "count=2", *SUBMIT)
    assert code == 0 and "it is updated" in out, err
    assert in_service(account, "shop").count == 2
    front.tell("UpdateEndpoint", LOST)  # before anything was changed
    code, _, err = command("deploy", "small-run", "name=shop", *SUBMIT)
    assert code == 6 and "[not-started]" in err


def test_money_is_asked_for(
    run_folder: Path, command: Command, account: ServingAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "budget.confirm_usd=50"
    code, _, err = command("deploy", "small-run", limit, *SUBMIT)
    assert code == 2 and "[not-confirmed]" in err and names(account) == []
    assert "a month of the endpoint costs 167.90 USD, and there is no terminal to ask" in err
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = command("deploy", "small-run", limit, *SUBMIT)
    assert code == 130 and "nothing was started" in out and "bills 0.23 USD an hour" in asked[0]
    assert names(account) == []
    assert command("deploy", "small-run", "budget.confirm_usd=500", "--detach", *SUBMIT)[0] == 0


def test_ctrl_c_tells_what_bills(
    run_folder: Path, command: Command, account: ServingAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(account.hosting, "_serve", lambda *_: time.sleep(0))  # it stays Creating
    monkeypatch.setattr("lingotune.launch.aws.deployments.time.sleep", interrupted)
    code, out, err = command("deploy", "small-run", "name=shop", "--follow", *SUBMIT)
    assert code == 130 and "shop: Creating" in out
    assert "shop goes on; the endpoint bills 0.23 USD an hour until it is deleted" in err
    assert "deploy shop action=delete aws.region=us-east-1" in err


def test_a_batch_runs_once(run_folder: Path, command: Command, account: ServingAccount) -> None:
    import boto3

    s3 = boto3.client("s3", region_name="us-east-1")
    words = ("kind=batch", f"input=s3://{BUCKET}/in/texts.jsonl", *SUBMIT)
    code, _, err = command("deploy", "small-run", *words)
    assert code == 2 and "[texts-missing]" in err
    nowhere = ("kind=batch", "input=s3://no-such-bucket/texts.jsonl", *SUBMIT)
    code, _, err = command("deploy", "small-run", *nowhere)
    assert code == 2 and "[bucket-missing]" in err and names(account) == []
    s3.put_object(Bucket=BUCKET, Key="in/texts.jsonl", Body=b'{"text": "gut"}\n')
    code, out, err = command("deploy", "small-run", *words)
    assert code == 0 and "submitted batch small-" in out, err
    (job,) = [one for one in account.hosting if one.kind == "transform-job"]
    code, out, _ = command("deploy", "small-run", *words)
    assert code == 0 and "InProgress; nothing was started" in out
    code, out, _ = command("stop", job.name, "--region", "us-east-1", "--yes")
    assert code == 0 and job.status == "Stopped"
    job.ended = job.created + 1800
    price = {"instance_type": "ml.m5.xlarge", "region": "us-east-1", "usd_per_hour": 0.3,
             "use": "transform", "source": "me", "date": "2026-11"}  # fmt: skip
    Path("prices.json").write_text(json.dumps({"prices": [price]}))
    told, _ = status_of(command, job.name, "--prices", "prices.json")
    assert (told["usd_per_hour"], told["usd"]) == (0.0, pytest.approx(0.15)), "it has ended"
    code, _, err = command("deploy", "small-run", *words)
    assert code == 2 and "[name-taken]" in err and "attempt=2" in err
    assert command("deploy", "small-run", "attempt=2", *words)[0] == 0


def test_a_model_is_registered_once_and_approved(
    run_folder: Path, command: Command, account: ServingAccount
) -> None:
    arn = account.sagemaker.create_model_package_group(ModelPackageGroupName="reviews")
    group = f"aws.model_group={arn['ModelPackageGroupArn']}"
    code, _, err = command("deploy", "small-run", "action=approve", group, *ACCOUNT)
    assert code == 2 and "[not-registered]" in err
    code, out, err = command("deploy", "small-run", "action=register", group, *ACCOUNT)
    assert code == 0 and "registered: arn:" in out, err
    code, out, _ = command("deploy", "small-run", "action=register", group, *ACCOUNT)
    assert code == 0 and "is registered already: arn:" in out
    (version,) = account.sagemaker.list_model_packages(ModelPackageGroupName="reviews")[
        "ModelPackageSummaryList"
    ]
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    code, out, _ = command("deploy", "small-run", "action=approve", group, *ACCOUNT)
    assert code == 0 and out.splitlines()[-1].startswith("approved: arn:")
    told = account.sagemaker.describe_model_package(ModelPackageName=version["ModelPackageArn"])
    assert told["ModelApprovalStatus"] == "Approved"
