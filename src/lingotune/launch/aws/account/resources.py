"""Checks of the account's resources: bucket, channels, job names, secret, network, keys, queue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lingotune.config.problems import Problem, Severity
from lingotune.config.program import program
from lingotune.data.prepared.foreign_code import pickled_alone
from lingotune.hub.token import region_of, service_of
from lingotune.launch.aws.account.calls import Answer, Calls, Refused, Unanswered, each
from lingotune.launch.aws.notify import lets_events_publish
from lingotune.launch.plan.base_model import ARCHIVES, lacking

_ABSENT = re.compile("not found|could not find", re.IGNORECASE)


# --- S3 -----------------------------------------------------------------------------------------


def check_bucket(calls: Calls, bucket: str, account: str | None) -> Iterator[Answer]:
    """Check that the bucket exists, in the job's region and the caller's account (None: unknown)."""
    where, why = f"aws.bucket={bucket}", "a job reads and writes S3 in its own region"
    refused = None
    try:
        answer = calls.ask(
            "s3", "head_bucket", ("404", "NoSuchBucket", "403", "301"), Bucket=bucket
        )
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
    except Refused as refusal:
        refused, headers = refusal.code, refusal.headers
    if refused in ("404", "NoSuchBucket"):
        fix = f"aws s3 mb s3://{bucket} --region {calls.region}"
        yield Problem(where, "does not exist", fix, check="bucket-missing", why=why)
        return
    region = headers.get("x-amz-bucket-region", calls.region)  # sent to other accounts, too
    if region != calls.region:
        what = f"is in {region}, the job in {calls.region}"
        fix = f"aws.region={region}, or a bucket in {calls.region}"
        yield Problem(where, what, fix, check="bucket-region", why=why)
    elif refused == "403":
        raise Unanswered(f"{bucket} is another account's, or you lack s3:ListBucket on it (403)")
    elif account and not _owns(calls, bucket, account):
        what = f"belongs to another account than yours ({account})"
        fix = "a bucket policy that lets the role in, or a bucket of your own"
        why = "the role needs the owner's leave"
        yield Problem(where, what, fix, Severity.warning, "bucket-other-account", why)
    else:
        yield f"{bucket} in {region}"


def _owns(calls: Calls, bucket: str, account: str) -> bool:
    try:
        calls.ask("s3", "head_bucket", ("403",), Bucket=bucket, ExpectedBucketOwner=account)
    except Refused:
        return False
    return True


def check_channels(calls: Calls, channels: Mapping[str, tuple[str, bool]]) -> Iterator[Answer]:
    """Check that each channel has objects, unless submitting uploads them.

    channels: S3 prefix (ending with a slash) -> channel name, and whether submitting uploads it.
    """
    why = "a job whose channel holds nothing fails at its start"
    counted: dict[str, list[bool]] = {}
    there = each(lambda uri: _holds_objects(calls, uri), list(channels))
    for (uri, (channel, uploads)), full in zip(channels.items(), there):
        if full or uploads:
            counted.setdefault(channel, []).append(full)
        else:
            what = f"{uri} holds no object, and the submit uploads none there"
            fix = f"aws s3 cp --recursive FOLDER {uri}"
            yield Problem(f"channel {channel}", what, fix, check="channel-empty", why=why)
    for channel, known in counted.items():
        share = f", {sum(known)} of {len(known)}" if len(known) > 1 else ""
        how = f"uploaded before{share}" if any(known) else "the submit uploads it"
        yield f"{channel}: {how}"


def check_place(calls: Calls, channel: str, uri: str, typed: str) -> Iterator[Answer]:
    """Check that what a channel takes from another bucket is there, in the job's region.

    uri: S3 prefix. typed: setting that names it.
    """
    bucket = uri.removeprefix("s3://").partition("/")[0]
    try:
        answer = calls.ask(
            "s3", "head_bucket", ("404", "NoSuchBucket", "403", "301"), Bucket=bucket
        )
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
    except Refused as refusal:
        if refusal.code in ("404", "NoSuchBucket"):
            what, fix = f"the bucket {bucket} does not exist", "a bucket of: aws s3 ls"
            yield Problem(
                typed, what, fix, check="bucket-missing", why=f"{channel} are read from it"
            )
            return
        headers = refusal.headers
    region = headers.get("x-amz-bucket-region")
    if region and region != calls.region:
        fix = f"aws.region={region}, or a copy in {calls.region}: aws s3 cp --recursive {uri} s3://..."
        what = f"lies in {region}, the job in {calls.region}"
        why = "SageMaker reads a job's channels in its own region alone"
        yield Problem(typed, what, fix, check="channel-region", why=why)
    elif region:
        yield f"{channel}: {bucket} in {region}"


def check_model(calls: Calls, uri: str) -> Iterator[Answer]:
    """Check that a model's prefix in S3, with a slash at its end, holds config, weights and tokenizer."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:
        page = calls.ask(
            "s3", "list_objects_v2", ("NoSuchBucket",), Bucket=bucket, Prefix=prefix, Delimiter="/"
        )
    except Refused as refusal:
        raise Unanswered(f"the bucket {bucket} does not exist") from refusal
    names = [found["Key"][len(prefix) :] for found in page.get("Contents", [])]
    if not any(names) and not page.get("CommonPrefixes"):
        return  # an empty channel is told by another check
    faults = [*lacking(names), *filter(None, [pickled_alone(names)])]
    where, why = (
        f"model.name_or_path={uri.rstrip('/')}",
        "the job would end when it loads the model",
    )
    fix = f"aws s3 cp --recursive FOLDER {uri}, of what save_pretrained has written"
    archive = next((name for name in names if name.endswith(ARCHIVES)), None)
    if faults and archive:
        fix = f"aws s3 cp {uri}{archive} - | tar xz -C FOLDER && aws s3 cp --recursive FOLDER {uri}"
    for what in faults:
        yield Problem(where, what, fix, check="model-in-s3", why=why)
    if not faults:
        yield f"config, weights and tokenizer at {uri}"


def _holds_objects(calls: Calls, uri: str) -> bool:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:  # two: the console marks a folder with an empty object of its name
        page = calls.ask(
            "s3", "list_objects_v2", ("NoSuchBucket",), Bucket=bucket, Prefix=prefix, MaxKeys=2
        )
    except Refused as refusal:
        raise Unanswered(f"the bucket {bucket} does not exist") from refusal
    return page["KeyCount"] > 0 and any(found["Key"] != prefix for found in page["Contents"])


# --- SageMaker, Secrets Manager -----------------------------------------------------------------


def check_names(calls: Calls, names: Sequence[str]) -> Iterator[Answer]:
    """Check that no training job has these names, as a name can never be used again."""
    free = 0
    for name, status in zip(names, each(lambda name: _status(calls, name), names)):
        if status is None:
            free += 1
            continue
        what = f"the same job, code and data were submitted before: {status}"
        if status == "InProgress":
            fix = f"{program('status')} {name} --watch; a submit starts nothing further, and stays with it"
            yield Problem(name, what, fix, Severity.warning, check="job-runs")
            continue
        fix = "attempt=2 submits it once more (or the next higher number)"
        why = "a name can be used once, even after the job's end"
        yield Problem(name, what, fix, check="name-taken", why=why)
    if free:
        yield names[0] if free == len(names) == 1 else f"{free} of {len(names)} are free"


def _status(calls: Calls, name: str) -> str | None:
    """Ask for the status of a training job; None if there is no such job."""
    known = ("ResourceNotFound", "ValidationException")
    try:
        job = calls.ask("sagemaker", "describe_training_job", known, TrainingJobName=name)
    except Refused as refusal:
        if refusal.code == "ValidationException" and not _ABSENT.search(refusal.message):
            raise Unanswered(f"not answered ({refusal})") from refusal
        return None
    return str(job["TrainingJobStatus"])


def check_secret(calls: Calls, secret: str) -> Iterator[Answer]:
    """Check that the secret, or the parameter of an ARN, exists, without reading its value.

    An ARN is asked for in its own region, where the job will read it.
    """
    region = region_of(secret) or calls.region
    if service_of(secret) == "ssm":
        yield from _parameter(calls, secret, region)
        return
    where, why = f"hub.token_secret={secret}", "the job could not sign in to the hub"
    known = ("ResourceNotFoundException",)
    try:
        found = calls.ask(
            "secretsmanager", "describe_secret", known, region=region, SecretId=secret
        )
    except Refused:
        name = secret.partition(":secret:")[2] or secret
        fix = (
            f"aws secretsmanager create-secret --name {name} --region {region}"
            " --secret-string file://TOKEN_FILE"
        )
        yield Problem(where, f"does not exist in {region}", fix, check="secret-missing", why=why)
        return
    if "DeletedDate" in found:
        fix = f"aws secretsmanager restore-secret --secret-id {secret} --region {region}"
        yield Problem(where, "is marked for deletion", fix, check="secret-missing", why=why)
    else:
        yield str(found["Name"]) + (f" in {region}" if region != calls.region else "")


def _parameter(calls: Calls, arn: str, region: str) -> Iterator[Answer]:
    name = arn.partition(":parameter/")[2]
    filters = [{"Key": "Name", "Values": [name, f"/{name}"]}]
    answer = calls.ask("ssm", "describe_parameters", region=region, ParameterFilters=filters)
    found = answer["Parameters"]
    if found:
        yield str(found[0]["Name"])
        return
    fix = (
        f"aws ssm put-parameter --type SecureString --name /{name} --region {region}"
        " --value file://TOKEN_FILE"
    )
    what, why = f"does not exist in {region}", "the job could not sign in to the hub"
    yield Problem(f"hub.token_secret={arn}", what, fix, check="secret-missing", why=why)


# --- needed by some accounts only ---------------------------------------------------------------


def check_network(calls: Calls, subnets: list[str], groups: list[str]) -> Iterator[Answer]:
    """Check that subnets and security groups exist, in the same VPC."""
    why = "the machines join this network at their start"
    vpcs: set[str] = set()
    for setting, plural, field, ids in (
        ("subnets", "Subnets", "SubnetIds", subnets),
        ("security_groups", "SecurityGroups", "GroupIds", groups),
    ):
        operation = f"describe_{setting}"
        named: dict[str, Any] = {field: ids}
        try:
            found = calls.ask("ec2", operation, ("Invalid",), **named)[plural] if ids else []
        except Refused as refusal:
            fix = f"aws ec2 {operation.replace('_', '-')} --region {calls.region}"
            where = f"aws.{setting}=[{','.join(ids)}]"
            yield Problem(where, refusal.message, fix, check="network-missing", why=why)
            return
        vpcs |= {item["VpcId"] for item in found if "VpcId" in item}
    if len(vpcs) > 1:
        what = f"are in {len(vpcs)} VPCs: {', '.join(sorted(vpcs))}"
        fix = "subnets and security groups of one VPC"
        yield Problem("aws.subnets, aws.security_groups", what, fix, check="network-vpcs", why=why)
    else:
        yield f"{len(subnets)} subnets, {len(groups)} security groups in {', '.join(vpcs)}"


def check_key(calls: Calls, setting: str, key: str) -> Iterator[Answer]:
    """Check that the KMS key exists and encrypts. setting: key of the config that names it."""
    where, why = f"{setting}={key}", "the job would fail when it writes"
    try:
        found = calls.ask("kms", "describe_key", ("NotFound", "InvalidArn"), KeyId=key)[
            "KeyMetadata"
        ]
    except Refused:
        fix = f"aws kms list-aliases --region {calls.region}"
        what = f"does not exist in {calls.region}"
        yield Problem(where, what, fix, check="key-missing", why=why)
        return
    state, usage = found.get("KeyState"), found.get("KeyUsage")
    if state != "Enabled":
        fix = f"aws kms enable-key --key-id {found['KeyId']} --region {calls.region}"
        yield Problem(where, f"is {state}", fix, check="key-disabled", why=why)
    elif usage not in ("ENCRYPT_DECRYPT", None):
        fix = "a symmetric encryption key"
        yield Problem(where, f"is made for {usage}", fix, check="key-usage", why=why)
    else:
        yield f"{setting} is enabled"


def check_queue(calls: Calls, queue: str, share: str | None) -> Iterator[Answer]:
    """Check that the AWS Batch queue accepts SageMaker training jobs. share: the job's share identifier."""
    where, why = f"aws.queue={queue}", "the queue is what starts the job"
    found = calls.ask("batch", "describe_job_queues", jobQueues=[queue])["jobQueues"]
    if not found:
        fix = f"aws batch describe-job-queues --region {calls.region}"
        what = f"does not exist in {calls.region}"
        yield Problem(where, what, fix, check="queue-missing", why=why)
        return
    (first, *_) = found
    kind = first.get("jobQueueType")
    if kind != "SAGEMAKER_TRAINING":
        fix = "a queue made with --job-queue-type SAGEMAKER_TRAINING"
        yield Problem(where, f"is a queue of type {kind}", fix, check="queue-type", why=why)
    elif first.get("state") != "ENABLED" or first.get("status", "VALID") != "VALID":
        what = f"is {first.get('state')}, {first.get('status')}: it starts nothing"
        fix = f"aws batch update-job-queue --job-queue {queue} --state ENABLED"
        yield Problem(where, what, fix, check="queue-disabled", why=why)
    elif share and not first.get("schedulingPolicyArn"):
        what = f"has no effect: {queue} has no scheduling policy"
        yield Problem(f"aws.queue_share={share}", what, "aws.queue_share=null", check="queue-share")
    else:
        yield queue


def check_topic(calls: Calls, topic: str) -> Iterator[Answer]:
    """Check that the SNS topic exists, and that EventBridge may publish to it."""
    where, why = f"aws.notify={topic}", "nobody would be told of the end of the job"
    try:
        told = calls.ask("sns", "get_topic_attributes", ("NotFound",), TopicArn=topic)["Attributes"]
    except Refused:
        fix = f"aws sns create-topic --name {topic.rpartition(':')[2]} --region {calls.region}"
        yield Problem(where, "does not exist", fix, check="topic-missing", why=why)
        return
    key = told.get("KmsMasterKeyId", "")
    if not lets_events_publish(json.loads(told.get("Policy") or "{}")):
        what = "its policy does not let EventBridge publish"
        statement = json.dumps({
            "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sns:Publish", "Resource": topic,
        })  # fmt: skip
        fix = f"a further statement in the topic's policy: {statement}"
        yield Problem(where, what, fix, check="topic-policy", why=why)
    elif key.endswith("alias/aws/sns"):
        what = "is encrypted with the key of AWS, which EventBridge may not use"
        fix = "a key of your own that lets events.amazonaws.com use it"
        yield Problem(where, what, fix, check="topic-key", why=why)
    else:
        yield "the topic exists, and EventBridge may publish to it"
