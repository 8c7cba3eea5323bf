"""The account check: real boto3 over HTTP with an AWS on loopback, where nothing is ever changed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Call, Front, Reply, answer, moto_server, point_boto_at, refusal

from lingotune.config.problems import Problem, Severity
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.account import check as account
from lingotune.launch.aws.account.calls import WORKERS, Calls, connect
from lingotune.launch.aws.account.check import (
    AccountCheck,
    JobRequirements,
    check_account,
    format_account,
)
from lingotune.launch.aws.account.quotas import PER_JOB, needs_of
from lingotune.launch.aws.account.roles import SAGEMAKER, trust_of

REGION, ACCOUNT = "us-east-1", "123456789012"
BUCKET, SECRET, ROLE_NAME = "example-bucket", "hub/token", "TrainingRole"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{ROLE_NAME}"
TRUST: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"Service": SAGEMAKER},
    "Action": "sts:AssumeRole",
}
JOB = JobRequirements(
    name="tiny-sample-0123456789",
    instance_type="ml.p3.16xlarge",
    nodes=1,
    spot=False,
    keep_alive=False,
    channels={"config": (f"s3://{BUCKET}/lingotune/config/new/", 1)},
    token_secret=None,
)
TRAINING = "ml.p3.16xlarge for training job usage"
SPOT = "ml.p3.16xlarge for spot training job usage"
POOL = "ml.p3.16xlarge for training warm pool usage"


@dataclass(frozen=True)
class World:
    """The AWS on loopback: who calls it, and what is in it beside role, bucket and secret."""

    front: Front
    user: dict[str, str]
    subnet: str
    group: str
    other_group: str
    key: str

    def client(self, service: str) -> Any:
        """A client that may change things, past boto3's environment."""
        return _client(self.front, service)


def _client(front: Front, service: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=front.address,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    with moto_server() as upstream:
        front = Front(upstream)
        iam, s3, ec2, kms = (_client(front, name) for name in ("iam", "s3", "ec2", "kms"))
        iam.create_user(UserName="dev")
        key = iam.create_access_key(UserName="dev")["AccessKey"]
        iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=policy(TRUST))
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="lingotune/data/full/rows.jsonl", Body=b"{}")
        s3.put_object(Bucket=BUCKET, Key="lingotune/data/marked/", Body=b"")
        _client(front, "secretsmanager").create_secret(Name=SECRET, SecretString="hf_secret")
        subnet = ec2.describe_subnets()["Subnets"][0]
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        groups = [
            ec2.create_security_group(GroupName="g", Description="g", VpcId=v)["GroupId"]
            for v in (subnet["VpcId"], vpc)
        ]
        yield World(
            front,
            {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            },
            subnet["SubnetId"],
            *groups,
            kms.create_key()["KeyMetadata"]["KeyId"],
        )
        front.close()


@pytest.fixture
def wire(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Front:
    """The world as boto3 finds it, nothing recorded, ready for one eight-GPU job."""
    point_boto_at(world.front.address, monkeypatch, tmp_path, **world.user)
    world.front.answers.clear()
    world.front.tell("ListServiceQuotas", quotas({TRAINING: 1}))
    world.front.tell("ListAWSDefaultServiceQuotas", quotas({}))
    world.front.tell("SimulatePrincipalPolicy", simulated())
    world.front.calls.clear()
    return world.front


@pytest.fixture
def front(wire: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    """The same with clients that earlier tests have made: making them takes most of the time."""
    monkeypatch.setattr(account, "connect", shared_calls)
    return wire


@cache
def shared_calls(region: str) -> Calls:
    return connect(region)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def quotas(values: dict[str, float], token: str | None = None, **more: Any) -> Reply:
    """A page of Service Quotas' answer."""
    listed = [
        {"QuotaName": name, "QuotaCode": f"L-{n:08X}", "Value": value, "Adjustable": True, **more}
        for n, (name, value) in enumerate(values.items())
    ]
    return answer(Quotas=listed, **({"NextToken": token} if token else {}))


def simulated(
    denied: tuple[str, ...] = (), missing: tuple[str, ...] = ()
) -> Callable[[Call], Reply]:
    """IAM's simulation, which moto lacks: all is allowed but `denied`."""

    def reply(call: Call) -> Reply:
        actions = [v for k, v in call.parameters.items() if k.startswith("ActionNames.member.")]
        keys = "".join(f"<member>{key}</member>" for key in missing)
        members = "".join(
            f"<member><EvalActionName>{action}</EvalActionName>"
            f"<EvalDecision>{'implicitDeny' if action in denied else 'allowed'}</EvalDecision>"
            "<ResourceSpecificResults><member><EvalResourceName>*</EvalResourceName>"
            f"<MissingContextValues>{keys}</MissingContextValues></member></ResourceSpecificResults>"
            "</member>"
            for action in actions
        )
        result = f"<EvaluationResults>{members}</EvaluationResults>"
        name = "SimulatePrincipalPolicy"
        return Reply(f"<{name}Response><{name}Result>{result}</{name}Result></{name}Response>")

    return reply


def aws(**settings: Any) -> AwsConfig:
    return AwsConfig(**{"region": REGION, "role": ROLE, "bucket": BUCKET, **settings})


def check(*jobs: JobRequirements, **settings: Any) -> AccountCheck:
    return check_account(jobs or (JOB,), aws(**settings))


def only(found: AccountCheck, id: str, severity: Severity = Severity.error) -> Problem:
    """The single finding, which is this one."""
    assert [(p.check, p.severity) for p in found.findings] == [(id, severity)]
    (problem,) = found.findings
    assert problem.why or id == "queue-share"
    return problem


def skipped(found: AccountCheck, topic: str) -> str:
    """Why the topic was skipped; it says nothing else."""
    assert not [line for line in found.done if line.startswith(f"{topic}: ")]
    (line,) = [line for line in found.skipped if line.startswith(f"{topic}: ")]
    return line.removeprefix(f"{topic}: ")


# --- nothing wrong, nothing changed ---------------------------------------------------------------


def test_a_ready_account_has_no_findings(wire: Front) -> None:
    found = check()
    assert found.findings == () and found.skipped == ()
    dev = f"arn:aws:iam::{ACCOUNT}:user/dev"
    assert found.done == (
        f"identity: {dev} (account {ACCOUNT}), region us-east-1",
        f"role: {ROLE} trusts sagemaker.amazonaws.com",
        f"pass the role: {dev} may iam:PassRole",
        f"start jobs: {dev} may sagemaker:CreateTrainingJob and sagemaker:AddTags",
        f"the role's permissions: may s3:ListBucket on arn:aws:s3:::{BUCKET}",
        "the role's permissions: may s3:GetObject and s3:PutObject on"
        f" arn:aws:s3:::{BUCKET}/lingotune/*",
        f"bucket: {BUCKET} in us-east-1",
        "channels: config: the submit uploads it",
        f"quota: the quota '{TRAINING}' in us-east-1 is 1, enough for 1",
        f"names: {JOB.name}",
    )


def test_every_call_is_read_only_and_no_secret_is_read(front: Front, world: World) -> None:
    full = {"data": (f"s3://{BUCKET}/lingotune/data/full/", 0)}
    queue = {"jobQueueName": "q", "jobQueueType": "SAGEMAKER_TRAINING", "state": "ENABLED"}
    front.tell("DescribeJobQueues", answer(jobQueues=[queue]))
    front.tell("ListServiceQuotas", quotas({}))
    front.tell("ListAWSDefaultServiceQuotas", quotas({TRAINING: 1, POOL: 1}))
    found = check(
        replace(JOB, channels=full, keep_alive=True, token_secret=SECRET),
        subnets=[world.subnet],
        security_groups=[world.group],
        kms_key=world.key,
        volume_kms_key=world.key,
        queue="q",
    )
    assert found.findings == () and found.skipped == ()
    called = set(front.operations())
    assert called == {
        "GetCallerIdentity", "GetRole", "SimulatePrincipalPolicy", "HeadBucket", "ListObjectsV2",
        "ListServiceQuotas", "ListAWSDefaultServiceQuotas", "DescribeTrainingJob", "DescribeSecret",
        "DescribeSubnets", "DescribeSecurityGroups", "DescribeKey", "DescribeJobQueues",
    }  # fmt: skip
    assert all(name.startswith(("Get", "List", "Describe", "Head", "Simulate")) for name in called)
    topics = {line.partition(":")[0] for line in found.done}
    assert {"secret", "network", "keys", "queue"} <= topics
    assert not any("hf_secret" in line for line in found.done)


def test_an_operation_that_changes_something_cannot_be_asked(wire: Front) -> None:
    calls = connect(REGION)
    for operation in ("create_bucket", "delete_object", "put_object", "assume_role"):
        with pytest.raises(AssertionError, match=operation):
            calls.ask("s3", operation)
    assert wire.calls == []


def test_the_page_tells_what_was_asked_and_what_was_not(front: Front) -> None:
    lines = format_account(check(role=None))
    assert lines[:2] == [
        "asked AWS:",
        f"  ok       identity: arn:aws:iam::{ACCOUNT}:user/dev (account {ACCOUNT}), region us-east-1",
    ]
    assert "  skipped  role: no aws.role is set" in lines


# --- credentials and region -----------------------------------------------------------------------

TOPICS = [
    "role", "pass the role", "start jobs", "the role's permissions", "bucket", "channels", "quota",
    "names",
]  # fmt: skip


@pytest.mark.parametrize("region", [REGION, None])
def test_without_credentials_nothing_is_asked_and_all_of_it_is_named(
    wire: Front, monkeypatch: pytest.MonkeyPatch, region: str | None
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    job = replace(JOB, token_secret=SECRET)
    found = check(job, region=region, subnets=["s"], kms_key="k", queue="q")
    reason = "no AWS credentials on this machine"
    topics = ["identity", *TOPICS, "secret", "network", "keys", "queue"]
    assert found.skipped == tuple(f"{topic}: {reason}" for topic in topics)
    assert found.done == () and found.findings == ()
    assert wire.calls == []
    assert format_account(found)[0] == "asked AWS: nothing"


def test_without_a_region_nothing_is_asked(wire: Front) -> None:
    found = check(region=None)
    assert only(found, "region-missing").fix == "aws.region=us-east-1"
    assert [line.partition(":")[0] for line in found.skipped] == TOPICS
    assert wire.calls == []


def test_the_machines_own_region_counts(wire: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert check(region=None).findings == ()


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
def test_credentials_that_aws_does_not_accept(wire: Front, code: str) -> None:
    wire.tell("GetCallerIdentity", refusal(code, "of no use", status=403))
    found = check()
    problem = only(found, "credentials")
    assert problem.where == "AWS credentials" and f"{code}: of no use" in problem.what
    assert "aws sso login" in problem.fix
    assert wire.operations() == ["GetCallerIdentity"]
    assert len(found.skipped) == len(TOPICS)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_PROFILE": "nobody"}, "nobody"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "Partial credentials"),
    ],
)
def test_credentials_that_are_incomplete(
    wire: Front, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said in only(check(), "credentials").what
    assert wire.calls == []


def test_without_the_aws_libraries_all_is_skipped(
    wire: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    found = check()
    assert found.findings == () and found.done == ()
    assert all("pip install 'lingotune[launch]'" in line for line in found.skipped)
    assert len(found.skipped) == 1 + len(TOPICS)


# --- the role ---------------------------------------------------------------------------------------


def test_a_role_that_does_not_exist(front: Front) -> None:
    found = check(role=f"arn:aws:iam::{ACCOUNT}:role/Nobody")
    assert only(found, "role-missing").what == "does not exist"


def test_a_role_whose_path_was_left_out(front: Front, world: World) -> None:
    with_path = f"arn:aws:iam::{ACCOUNT}:role/service-role/Pathed"
    world.client("iam").create_role(
        Path="/service-role/", RoleName="Pathed", AssumeRolePolicyDocument=policy(TRUST)
    )
    problem = only(check(role=f"arn:aws:iam::{ACCOUNT}:role/Pathed"), "role-missing")
    assert problem.fix == f"aws.role={with_path}"
    assert check(role=with_path).findings == ()


def test_a_role_of_another_account(front: Front) -> None:
    problem = only(check(role="arn:aws:iam::999988887777:role/TrainingRole"), "role-other-account")
    assert "999988887777" in problem.what and ACCOUNT in problem.fix
    asked = [call for call in front.calls if call.operation == "GetRole"]
    assert asked == [], "the role of that name here is another one"


def test_a_role_that_does_not_trust_sagemaker(front: Front, world: World) -> None:
    other = {**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}}
    world.client("iam").create_role(RoleName="Ec2Role", AssumeRolePolicyDocument=policy(other))
    problem = only(check(role=f"arn:aws:iam::{ACCOUNT}:role/Ec2Role"), "role-trust")
    assert SAGEMAKER in problem.what and SAGEMAKER in problem.fix


def test_conditions_of_the_trust_are_told(front: Front, world: World) -> None:
    limited = {**TRUST, "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}
    world.client("iam").create_role(RoleName="Limited", AssumeRolePolicyDocument=policy(limited))
    found = check(role=f"arn:aws:iam::{ACCOUNT}:role/Limited")
    assert found.findings == ()
    assert any(line.endswith("under conditions on aws:SourceAccount") for line in found.done)


OTHER = {**TRUST, "Principal": {"Service": "ec2.amazonaws.com"}}
DENY = {**TRUST, "Effect": "Deny"}
IF = {"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}


@pytest.mark.parametrize(
    ("statements", "granted", "conditions"),
    [
        ([TRUST], True, ()),
        ([{**TRUST, "Action": ["sts:TagSession", "sts:Assume*"]}], True, ()),
        ([{**TRUST, "Action": "STS:ASSUMEROLE"}], True, ()),
        ([{**TRUST, "Action": "sts:TagSession"}], False, ()),
        ([{**TRUST, "Principal": {"Service": ["ec2.amazonaws.com", SAGEMAKER]}}], True, ()),
        ([{**TRUST, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}], False, ()),
        ([{**TRUST, "Principal": "*"}], True, ()),
        ([OTHER], False, ()),
        ([], False, ()),
        ([TRUST, DENY], False, ()),
        ([TRUST, {**OTHER, "Effect": "Deny"}], True, ()),
        ([TRUST, {**DENY, **IF}], True, ("aws:SourceAccount",)),
        ([{**TRUST, **IF}], True, ("aws:SourceAccount",)),
        ([{**TRUST, **IF}, TRUST], True, ()),
    ],
)
def test_what_a_trust_policy_grants(
    statements: list[dict[str, Any]], granted: bool, conditions: tuple[str, ...]
) -> None:
    trust = trust_of({"Statement": statements})
    assert (trust.granted, trust.conditions) == (granted, conditions)


@given(st.lists(st.sampled_from([TRUST, OTHER, DENY, {**TRUST, **IF}, {**DENY, **IF}]), max_size=4))
def test_a_trust_policy_means_the_same_in_every_form(statements: list[dict[str, Any]]) -> None:
    document = {"Version": "2012-10-17", "Statement": statements}
    expected = trust_of(document)
    assert trust_of(json.dumps(document)) == expected
    assert trust_of(quote(json.dumps(document))) == expected
    assert trust_of({"Statement": statements[::-1]}) == expected
    if len(statements) == 1:
        assert trust_of({"Statement": statements[0]}) == expected
    assert expected.granted is (DENY not in statements and any(
        s["Effect"] == "Allow" and s is not OTHER for s in statements
    ))  # fmt: skip


# --- permissions ------------------------------------------------------------------------------------


def test_a_caller_who_may_not_pass_the_role(front: Front) -> None:
    front.tell("SimulatePrincipalPolicy", simulated(denied=("iam:PassRole",)))
    problem = only(check(), "caller-permission")
    assert problem.where == f"aws.role={ROLE}"
    assert f"may not iam:PassRole on {ROLE}" in problem.what


def test_a_caller_who_may_not_start_jobs(front: Front) -> None:
    front.tell("SimulatePrincipalPolicy", simulated(denied=("sagemaker:AddTags",)))
    problem = only(check(), "caller-permission")
    assert f"may not sagemaker:AddTags on arn:aws:sagemaker:us-east-1:{ACCOUNT}:" in problem.what


def test_with_a_queue_the_caller_needs_the_right_to_batch(front: Front) -> None:
    queue = {"jobQueueName": "q", "jobQueueType": "SAGEMAKER_TRAINING", "state": "ENABLED"}
    front.tell("DescribeJobQueues", answer(jobQueues=[queue]))
    front.tell("SimulatePrincipalPolicy", simulated(denied=("batch:SubmitServiceJob",)))
    problem = only(check(queue="q"), "caller-permission")
    assert f"on arn:aws:batch:us-east-1:{ACCOUNT}:job-queue/q" in problem.what


def test_a_role_without_rights_on_bucket_and_secret_is_a_warning(front: Front) -> None:
    denied = ("s3:GetObject", "secretsmanager:GetSecretValue")
    front.tell("SimulatePrincipalPolicy", simulated(denied=denied))
    found = check(replace(JOB, token_secret=SECRET))
    assert [(p.check, p.severity) for p in found.findings] == [
        ("role-permission", Severity.warning)
    ] * 2
    assert f"s3:GetObject on arn:aws:s3:::{BUCKET}/lingotune/*" in found.findings[0].what
    assert f":{ACCOUNT}:secret:hub/token-" in found.findings[1].what


def test_a_denial_that_a_condition_decides_is_no_error(front: Front) -> None:
    told = simulated(denied=("iam:PassRole",), missing=("aws:RequestTag/team",))
    front.tell("SimulatePrincipalPolicy", told)
    found = check()
    assert found.findings == ()
    assert skipped(found, "pass the role") == "it depends on aws:RequestTag/team"


def test_a_session_is_simulated_as_its_role(front: Front, world: World) -> None:
    world.client("iam").create_role(
        Path="/team/", RoleName="Dev", AssumeRolePolicyDocument=policy(TRUST)
    )
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/Dev/me"
    name = "GetCallerIdentity"
    said = f"<Arn>{session}</Arn><Account>{ACCOUNT}</Account>"
    body = f"<{name}Response><{name}Result>{said}</{name}Result></{name}Response>"
    front.tell(name, Reply(body))
    assert check().findings == ()
    sources = {
        call.parameters["PolicySourceArn"]
        for call in front.calls
        if call.operation == "SimulatePrincipalPolicy"
    }
    assert sources == {f"arn:aws:iam::{ACCOUNT}:role/team/Dev", ROLE}


# --- S3 -----------------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist(front: Front) -> None:
    found = check(replace(JOB, channels={"config": ("s3://no-such/x/", 1)}), bucket="no-such")
    assert only(found, "bucket-missing").fix == "aws s3 mb s3://no-such --region us-east-1"
    assert skipped(found, "channels") == "the bucket no-such does not exist"


def test_a_bucket_in_another_region(front: Front, world: World) -> None:
    where = {"LocationConstraint": "eu-central-1"}
    client = boto3.client("s3", region_name="eu-central-1", endpoint_url=front.address)
    client.create_bucket(Bucket="far-bucket", CreateBucketConfiguration=where)
    problem = only(check(bucket="far-bucket"), "bucket-region")
    assert problem.what == "is in eu-central-1, the job in us-east-1"
    assert problem.fix.startswith("aws.region=eu-central-1")


@pytest.mark.parametrize("status", [301, 403])
def test_the_region_is_told_with_a_refusal_too(front: Front, status: int) -> None:
    front.tell("HeadBucket", refusal("", status=status, x_amz_bucket_region="eu-west-1"))
    assert "eu-west-1" in only(check(), "bucket-region").what


def test_a_bucket_that_is_closed_to_the_caller(front: Front) -> None:
    front.tell("HeadBucket", refusal("", status=403, x_amz_bucket_region=REGION))
    found = check()
    assert found.findings == ()
    assert "another account's, or you lack s3:ListBucket" in skipped(found, "bucket")


def test_a_bucket_of_another_account(front: Front) -> None:
    mine = Reply(headers={"x-amz-bucket-region": REGION})
    front.tell("HeadBucket", mine, refusal("", status=403))
    assert ACCOUNT in only(check(), "bucket-other-account", Severity.warning).what


def channel(folder: str, files: int) -> JobRequirements:
    return replace(JOB, channels={"data": (f"s3://{BUCKET}/lingotune/data/{folder}/", files)})


@pytest.mark.parametrize("folder", ["empty", "marked"])
def test_a_channel_that_holds_nothing(front: Front, folder: str) -> None:
    problem = only(check(channel(folder, 0)), "channel-empty")
    assert problem.where == "channel data"
    assert problem.fix.endswith(f"s3://{BUCKET}/lingotune/data/{folder}/")


def test_channels_that_hold_objects_or_will(front: Front) -> None:
    assert "channels: data: uploaded before" in check(channel("full", 0)).done
    assert "channels: data: uploaded before" in check(channel("full", 3)).done
    assert "channels: data: the submit uploads it" in check(channel("empty", 3)).done
    both = check(channel("full", 1), replace(channel("empty", 1), name="second"))
    assert "channels: data: uploaded before, 1 of 2" in both.done


# --- quotas -------------------------------------------------------------------------------------------


def test_a_quota_below_one_jobs_machines(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 1}))
    problem = only(check(replace(JOB, nodes=2)), "quota")
    assert problem.where == "cluster.nodes=2"
    assert problem.what == f"the quota '{TRAINING}' in us-east-1 is 1, below 2"
    assert problem.fix == (
        "aws service-quotas request-service-quota-increase --service-code sagemaker"
        " --quota-code L-00000000 --desired-value 2 --region us-east-1"
    )


def test_spot_jobs_have_a_quota_of_their_own(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 9, SPOT: 0}))
    assert SPOT in only(check(replace(JOB, spot=True)), "quota").what


def test_without_a_warm_pool_the_job_still_runs(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 1, POOL: 0}))
    problem = only(check(replace(JOB, keep_alive=True)), "quota", Severity.warning)
    assert problem.where == "cluster.keep_alive" and POOL in problem.what


def test_a_sweep_beyond_the_quota_is_warned_of(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 2}))
    jobs = [replace(JOB, name=f"job-{i}") for i in range(3)]
    problem = only(check(*jobs), "quota-sweep", Severity.warning)
    assert "is 2; all 3 need 3" in problem.what and "--desired-value 3" in problem.fix
    queue = {"jobQueueName": "q", "jobQueueType": "SAGEMAKER_TRAINING", "state": "ENABLED"}
    front.tell("DescribeJobQueues", answer(jobQueues=[queue]))
    assert check(*jobs, queue="q").findings == (), "a queue holds them back"


def test_the_accounts_own_value_goes_before_the_default_and_pages_are_read(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({"a": 1}, token="p2"), quotas({"b": 1}))
    front.tell("ListAWSDefaultServiceQuotas", quotas({"c": 1}, token="d2"), quotas({TRAINING: 4}))
    found = check()
    assert f"quota: the quota '{TRAINING}' in us-east-1 is 4, enough for 1" in found.done
    asked = [c.parameters.get("NextToken") for c in front.calls if c.service == "servicequotas"]
    assert asked == [None, "p2", None, "d2"]
    front.tell("ListServiceQuotas", quotas({TRAINING: 0}))
    front.tell("ListAWSDefaultServiceQuotas", quotas({TRAINING: 9, POOL: 9}))
    found = check(replace(JOB, keep_alive=True))
    assert only(found, "quota").what.endswith("is 0, below 1"), "not the default of 9"


def test_quotas_over_all_instances_are_warnings(front: Front) -> None:
    values = {TRAINING: 30, "Number of instances across all training jobs": 4, PER_JOB: 20}
    front.tell("ListServiceQuotas", quotas(values))
    found = check(replace(JOB, nodes=21))
    assert [(p.check, p.severity) for p in found.findings] == [("quota", Severity.warning)] * 2


def test_a_quota_that_aws_does_not_raise(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 0}, Adjustable=False))
    assert "does not raise" in only(check(), "quota").fix


def test_a_quota_that_aws_does_not_list(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({}))
    found = check()
    assert found.findings == ()
    assert skipped(found, "quota") == f"AWS lists no quota '{TRAINING}' in us-east-1"


def test_a_listing_without_end_is_left(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({}, token="again"))
    assert "AWS lists no quota" in skipped(check(), "quota")
    assert front.operations().count("ListServiceQuotas") == 2


def test_a_training_plans_capacity_is_not_held_against_quotas(front: Front) -> None:
    front.tell("ListServiceQuotas", quotas({TRAINING: 0}))
    found = check(replace(JOB, reserved=True))
    assert found.findings == () and "training plan" in skipped(found, "quota")


@given(st.lists(st.tuples(st.sampled_from(["ml.a", "ml.b"]), st.integers(1, 9), st.booleans(),
                          st.booleans()), min_size=1))  # fmt: skip
def test_every_machine_counts_once_against_its_instances_quota(
    jobs: list[tuple[str, int, bool, bool]],
) -> None:
    needs = needs_of(jobs)
    enforced = [need for need in needs if need.enforced]
    assert sum(need.together for need in enforced) == sum(nodes for _, nodes, _, _ in jobs)
    assert len({need.quota for need in needs}) == len(needs)
    kept = sum(need.together for need in needs if need.pool)
    assert kept == sum(nodes for _, nodes, _, keep in jobs if keep)


# --- names and secret -----------------------------------------------------------------------------


def test_a_name_that_is_taken(front: Front, world: World) -> None:
    world.client("sagemaker").create_training_job(
        TrainingJobName="taken",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": "image", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/o"},
        ResourceConfig={"InstanceType": "ml.p3.16xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    front.tell("ListServiceQuotas", quotas({TRAINING: 2}))
    found = check(JOB, replace(JOB, name="taken"))
    problem = only(found, "name-taken")
    assert problem.where == "taken" and problem.fix.startswith("attempt=2")
    assert "names: 1 of 2 are free" in found.done


@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFound"])
def test_how_sagemaker_says_that_there_is_no_such_job(front: Front, code: str) -> None:
    front.tell("DescribeTrainingJob", refusal(code, "Requested resource not found."))
    assert f"names: {JOB.name}" in check().done


def test_another_validation_error_does_not_make_a_name_free(front: Front) -> None:
    front.tell("DescribeTrainingJob", refusal("ValidationException", "1 validation error detected"))
    assert "1 validation error" in skipped(check(), "names")


def test_a_hundred_names_are_asked_together(front: Front) -> None:
    together, most, two = [0], [0], Event()

    def slow(_: Call) -> Reply:
        together[0] += 1
        most[0] = max(most[0], together[0])
        if together[0] > 1:
            two.set()
        if front.operations().count("DescribeTrainingJob") > 1:  # the first is asked alone
            two.wait(10)  # less than the client waits; only calls one after the other need it
            two.set()
        together[0] -= 1
        return refusal("ValidationException", "Requested resource not found.")

    front.tell("DescribeTrainingJob", slow)
    front.tell("ListServiceQuotas", quotas({TRAINING: 100}))
    found = check(*(replace(JOB, name=f"job-{i}") for i in range(100)))
    assert "names: 100 of 100 are free" in found.done
    assert front.operations().count("DescribeTrainingJob") == 100
    assert 1 < most[0] <= WORKERS


def test_a_secret_that_does_not_exist_or_is_to_be_deleted(front: Front, world: World) -> None:
    problem = only(check(replace(JOB, token_secret="nobody/token")), "secret-missing")
    assert problem.where == "hub.token_secret=nobody/token"
    secrets = world.client("secretsmanager")
    secrets.create_secret(Name="old/token", SecretString="x")
    secrets.delete_secret(SecretId="old/token")
    problem = only(check(replace(JOB, token_secret="old/token")), "secret-missing")
    assert "restore-secret" in problem.fix


@pytest.mark.parametrize("operation", ["DescribeSecret", "DescribeParameters"])
def test_a_secret_is_asked_for_in_the_region_of_its_arn(front: Front, operation: str) -> None:
    parts = {"DescribeSecret": "secretsmanager:eu-west-1:1:secret:hf",
             "DescribeParameters": "ssm:eu-west-1:1:parameter/hf"}  # fmt: skip
    secret = f"arn:aws:{parts[operation]}"
    front.tell(operation, answer(Name="hf", Parameters=[{"Name": "hf"}]))
    assert not check(replace(JOB, token_secret=secret)).findings
    assert {call.region for call in front.calls if call.operation == operation} == {"eu-west-1"}
    front.tell(operation, answer(Parameters=[]) if "ssm" in secret
               else refusal("ResourceNotFoundException"))  # fmt: skip
    problem = only(check(replace(JOB, token_secret=secret)), "secret-missing")
    assert problem.what == "does not exist in eu-west-1" and "--region eu-west-1" in problem.fix


# --- a model in S3 --------------------------------------------------------------------------------

WHOLE = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (WHOLE, ""),
        (("config.json", "pytorch_model.bin", "vocab.txt"), "holds its weights as a pickle"),
        (("model.tar.gz",), "holds no model: there is no config.json"),
        (("sub/config.json",), "holds no model: there is no config.json"),
        (WHOLE[:2], "holds no tokenizer"),
        (WHOLE[::2], "holds no weights"),
    ],
)
def test_a_model_in_s3_is_looked_at(
    front: Front, world: World, files: tuple[str, ...], said: str
) -> None:
    prefix = f"models/{abs(hash(files))}"
    for name in files:
        world.client("s3").put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"x")
    uri = f"s3://{BUCKET}/{prefix}/"
    found = check(replace(JOB, channels={"model": (uri, False)}))
    if not said:
        assert f"model: config, weights and tokenizer at {uri}" in found.done
        assert found.findings == ()
        return
    problem = only(found, "model-in-s3")
    assert problem.where == f"model.name_or_path={uri[:-1]}" and said in problem.what
    assert ("tar xz" in problem.fix) is ("model.tar.gz" in files)


def test_a_model_in_another_region(front: Front, world: World) -> None:
    s3 = world.client("s3")
    s3.create_bucket(
        Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    for name in WHOLE:
        s3.put_object(Bucket="far-away", Key=f"m/{name}", Body=b"x")
    found = check(replace(JOB, channels={"model": ("s3://far-away/m/", False)}))
    problem = only(found, "channel-region")
    assert problem.where == "model.name_or_path=s3://far-away/m"
    assert problem.what == "lies in eu-west-1, the job in us-east-1"
    assert problem.fix.startswith("aws.region=eu-west-1, or ")


def test_a_role_that_is_no_arn_is_skipped(front: Front) -> None:
    found = check(role="SageMakerRole")
    assert skipped(found, "the role's permissions") == "SageMakerRole is not the ARN of a role"


# --- network, keys, queue ---------------------------------------------------------------------------


def test_a_network_that_does_not_exist(front: Front, world: World) -> None:
    assert "subnet-1" in only(check(subnets=["subnet-1"]), "network-missing").where
    groups = {"subnets": [world.subnet], "security_groups": ["sg-1"]}
    assert "sg-1" in only(check(**groups), "network-missing").where


def test_a_network_of_two_vpcs(front: Front, world: World) -> None:
    found = check(subnets=[world.subnet], security_groups=[world.other_group])
    assert "are in 2 VPCs" in only(found, "network-vpcs").what


def test_a_key_that_does_not_exist_or_does_not_encrypt(front: Front, world: World) -> None:
    kms = world.client("kms")
    off = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=off)
    signs = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")["KeyMetadata"]["KeyId"]
    missing = check(kms_key="00000000-0000-0000-0000-000000000000")
    assert only(missing, "key-missing").where.startswith("aws.kms_key=")
    problem = only(check(volume_kms_key=off), "key-disabled")
    assert problem.where == f"aws.volume_kms_key={off}" and "enable-key" in problem.fix
    assert only(check(kms_key=signs), "key-usage").what == "is made for SIGN_VERIFY"


@pytest.mark.parametrize(
    ("queue", "id"),
    [
        (None, "queue-missing"),
        ({"jobQueueType": "ECS", "state": "ENABLED"}, "queue-type"),
        ({"jobQueueType": "SAGEMAKER_TRAINING", "state": "DISABLED"}, "queue-disabled"),
        (
            {"jobQueueType": "SAGEMAKER_TRAINING", "state": "ENABLED", "status": "INVALID"},
            "queue-disabled",
        ),
        ({"jobQueueType": "SAGEMAKER_TRAINING", "state": "ENABLED"}, "queue-share"),
    ],
)
def test_a_queue_that_takes_no_such_jobs(front: Front, queue: Any, id: str) -> None:
    front.tell("DescribeJobQueues", answer(jobQueues=[queue] if queue else []))
    only(check(queue="q", queue_share="team"), id)


# --- no answer is never a finding, and never a crash -------------------------------------------------

ASKED = {
    "GetRole": "role",
    "SimulatePrincipalPolicy": "pass the role",
    "ListObjectsV2": "channels",
    "ListServiceQuotas": "quota",
    "DescribeTrainingJob": "names",
    "DescribeSecret": "secret",
    "DescribeSubnets": "network",
    "DescribeKey": "keys",
    "DescribeJobQueues": "queue",
}


def every_check(world: World) -> AccountCheck:
    job = replace(JOB, token_secret=SECRET)
    return check(job, subnets=[world.subnet], kms_key=world.key, queue="q")


def test_what_may_not_be_asked_is_skipped(front: Front, world: World) -> None:
    for operation in [*ASKED, "HeadBucket", "GetCallerIdentity"]:
        code = (
            "UnauthorizedOperation" if operation == "DescribeSubnets" else "AccessDeniedException"
        )
        front.tell(operation, refusal(code, "User is not authorized", status=403))
    found = every_check(world)
    assert found.findings == () and found.done == ()
    for operation, topic in ASKED.items():
        if operation != "SimulatePrincipalPolicy":  # whose permissions, without an identity?
            right = "ListBucket" if operation == "ListObjectsV2" else operation
            assert "not allowed to ask" in skipped(found, topic) and right in skipped(found, topic)


def test_answers_that_make_no_sense_are_skipped(front: Front, world: World) -> None:
    for operation in [*ASKED, "GetCallerIdentity"]:
        front.tell(operation, Reply("<!doctype html><p>Sign in to the hotel's network"))
    found = every_check(world)
    assert found.findings == ()
    assert {line.partition(":")[0] for line in found.done} == {"bucket"}


def test_empty_answers_are_skipped(front: Front, world: World) -> None:
    for operation in [*ASKED, "GetCallerIdentity"]:
        front.tell(operation, answer())
    found = every_check(world)
    assert found.findings == ()
    assert {line.partition(":")[0] for line in found.done} == {"bucket"}


def test_a_dead_service_is_left_after_some_seconds(
    wire: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SERVICE_QUOTAS", "http://127.0.0.1:9")
    found = check()
    assert found.findings == ()
    assert "Could not connect to the endpoint URL" in skipped(found, "quota")
    limits = connect(REGION).client("sts").meta.config
    assert (limits.connect_timeout, limits.read_timeout) == (5, 15)
    assert limits.retries == {"mode": "adaptive", "total_max_attempts": 3}


def test_a_dead_service_is_not_waited_for_once_a_job(front: Front) -> None:
    front.tell("DescribeTrainingJob", refusal("AccessDeniedException", status=400))
    found = check(*(replace(JOB, name=f"job-{i}", reserved=True) for i in range(50)))
    assert skipped(found, "names").endswith("sagemaker:DescribeTrainingJob)")
    assert front.operations().count("DescribeTrainingJob") == 1


def test_throttled_calls_are_repeated(wire: Front) -> None:
    busy = refusal("TooManyRequestsException", "Rate exceeded", status=429)
    wire.tell("ListServiceQuotas", busy, quotas({TRAINING: 1}))
    found = check()
    assert found.skipped == () and found.findings == ()
    assert wire.operations().count("ListServiceQuotas") == 2
