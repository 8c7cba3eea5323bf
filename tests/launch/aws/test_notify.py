"""Notifications by EventBridge and SNS, against moto: one rule for a topic, and the topic's policy."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest
from account_of_jobs import JobAccount
from conftest import compose
from operating import account, standing  # noqa: F401  fixtures

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.account.calls import connect
from lingotune.launch.aws.account.resources import check_topic
from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.notify import lets_events_publish, rule_of
from lingotune.launch.checks.places import PLACES
from lingotune.launch.simulator.loopback.fake_account import REGION

PUBLISH = {
    "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish",
    "Resource": "*",
}  # fmt: skip


@pytest.fixture
def topic(account: JobAccount) -> str:
    sns = account.session.client("sns")
    name = f"ended-{uuid.uuid4().hex}"  # tests share an account, and a topic has one rule
    return str(sns.create_topic(Name=name)["TopicArn"])


def submitting(account: JobAccount, topic: str) -> Account:
    return Account(account.session, AwsConfig(region=REGION, notify=topic))


def named(account: JobAccount, topic: str) -> list[str]:
    """The beginnings of names in the only rule of the topic."""
    events = account.session.client("events")
    rules = events.list_rule_names_by_target(TargetArn=topic)["RuleNames"]
    assert rules == [rule_of(topic)]
    pattern = json.loads(events.describe_rule(Name=rules[0])["EventPattern"])
    assert pattern["source"] == ["aws.sagemaker"]
    assert pattern["detail"]["TrainingJobStatus"] == ["Completed", "Failed", "Stopped"]
    return [one["prefix"] for one in pattern["detail"]["TrainingJobName"]]


def test_a_topic_has_one_rule_with_all_jobs(account: JobAccount, topic: str) -> None:
    mine = submitting(account, topic)
    for names in (["a-1"], ["a-1"], ["b-1", "b-2"]):
        mine.notify(names)
    assert named(account, topic) == ["a-1", "b-1", "b-2"]
    nobody = Account(account.session, AwsConfig(region=REGION))
    nobody.notify(["c"])
    assert named(account, topic) == ["a-1", "b-1", "b-2"]


def test_a_full_rule_keeps_those_that_run(account: JobAccount, topic: str) -> None:
    account.train(account.start("runs-0123456789", {}))
    mine = submitting(account, topic)
    mine.notify(["runs-0123456789", *(f"ended-{n:010}" for n in range(50))])
    assert len(named(account, topic)) == 51
    mine.notify([f"new-{n:010}" for n in range(20)])
    assert len(named(account, topic)) == 21 and "runs-0123456789" in named(account, topic)
    mine.notify([f"sweep-{n:010}" for n in range(100)], "sweep-")
    assert named(account, topic)[-1] == "sweep-" and len(named(account, topic)) == 22


def test_too_many_names_without_a_stem(account: JobAccount, topic: str) -> None:
    with pytest.raises(ConfigError, match="holds no more jobs"):
        submitting(account, topic).notify([f"{n:020}" for n in range(100)])


@pytest.mark.parametrize(
    ("statement", "lets"),
    [
        (PUBLISH, True),
        ({**PUBLISH, "Principal": "*", "Action": ["SNS:*"]}, True),
        ({**PUBLISH, "Principal": {"AWS": "*"}}, False),
        ({**PUBLISH, "Effect": "Deny"}, False),
        ({**PUBLISH, "Action": "sns:Subscribe"}, False),
    ],
)
def test_policies_of_topics(statement: dict[str, object], lets: bool) -> None:
    assert lets_events_publish({"Statement": [statement]}) is lets


def test_the_topic_is_checked(account: JobAccount, topic: str) -> None:
    calls, sns = connect(REGION), account.session.client("sns")

    def found(arn: str) -> object:
        (answer,) = check_topic(calls, arn)
        return answer.check if isinstance(answer, Problem) else answer

    assert found(topic.replace("ended", "absent")) == "topic-missing"
    assert found(topic) == "topic-policy"
    policy = json.dumps({"Version": "2012-10-17", "Statement": [PUBLISH]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    assert "EventBridge may publish" in str(found(topic))
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="KmsMasterKeyId", AttributeValue="alias/aws/sns"
    )
    assert found(topic) == "topic-key"


@pytest.mark.parametrize(
    ("arn", "check"),
    [
        ("arn:aws:sns:us-east-1:111122223333:ended", ""),
        ("ended", "arn-form"),
        ("arn:aws:sns:us-east-1:111122223333:ended.fifo", "arn-form"),
        ("arn:aws:sqs:us-east-1:111122223333:ended", "arn-form"),
        ("arn:aws:sns:us-east-1:1111:ended", "arn-form"),
        ("arn:aws:sns:eu-west-1:111122223333:ended", "other-region"),
        ("arn:aws-cn:sns:cn-north-1:111122223333:ended", "other-partition"),
    ],
)
def test_the_arn_is_checked_without_asking(arn: str, check: str) -> None:
    config = compose("cluster=p3_16xl", "aws.region=us-east-1")
    config = replace(config, aws=replace(config.aws, notify=arn))
    assert [p.check for p in PLACES.run(config)] == ([check] if check else [])
