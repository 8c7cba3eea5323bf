"""Checks of where the things are that a job names: all in its own region and partition of AWS. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lingotune.config.problems import Severity
from lingotune.config.schema import LaunchConfig, Source, Visibility
from lingotune.preflight.registry import Found, Table

PLACES: Table[LaunchConfig] = Table()

_PARTITIONS = {
    "cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f", "eu-isoe-": "aws-iso-e", "eusc-": "aws-eusc",
}  # fmt: skip
"""Beginning of a region's name -> its partition; all others are of `aws`."""
_ARN = re.compile(
    r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):.+"
)
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(amazonaws\.com(\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn|c2s\.ic\.gov|sc2s\.sgov\.gov)"
    r"/[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_OWN_IMAGE = "cluster.image.uri=ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG"


@dataclass(frozen=True)
class _Place:
    """Location of the resource that a setting names. region: '' if it is the same in all of a partition."""

    setting: str
    value: str
    partition: str
    region: str


def partition_of(region: str) -> str:
    """Name the partition of AWS that a region is part of."""
    return next((p for start, p in _PARTITIONS.items() if region.startswith(start)), "aws")


def _arns(config: LaunchConfig) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield setting, value and the services that it may be of, where an ARN was given."""
    aws = config.aws
    for setting, value, services in (
        ("aws.role", aws.role, ("iam",)),
        ("aws.kms_key", aws.kms_key, ("kms",)),
        ("aws.volume_kms_key", aws.volume_kms_key, ("kms",)),
        ("aws.queue", aws.queue, ("batch",)),
        ("hub.token_secret", config.hub.token_secret, ("secretsmanager", "ssm")),
        ("cluster.training_plan", config.cluster.training_plan, ("sagemaker",)),
    ):
        if value is not None and value.startswith("arn:"):
            yield setting, value, services


def _places(config: LaunchConfig) -> list[_Place]:
    found = []
    for setting, value, _ in _arns(config):
        arn = _ARN.fullmatch(value)
        if arn:
            found.append(_Place(setting, value, arn["partition"], arn["region"]))
    image = _ECR.fullmatch(config.cluster.image.uri or "")
    if image:
        uri, region = image[0], image["region"]
        found.append(_Place("cluster.image.uri", uri, partition_of(region), region))
    return found


@PLACES.check(
    "arn-form", "an ARN says service, region and account: arn:aws:SERVICE:REGION:ACCOUNT:..."
)
def _form(config: LaunchConfig) -> Iterator[Found]:
    for setting, value, services in _arns(config):
        arn, wanted = _ARN.fullmatch(value), " or ".join(services)
        global_ = services == ("iam",)
        if arn is None or not arn["partition"].startswith("aws"):
            yield f"{setting}={value}", "is no ARN", _example(services[0])
        elif arn["service"] not in services:
            yield (
                f"{setting}={value}",
                f"is of {arn['service']}, not of {wanted}",
                _example(services[0]),
            )
        elif not re.fullmatch(r"\d{12}", arn["account"]) or bool(arn["region"]) is global_:
            yield f"{setting}={value}", "names no account or no region", _example(services[0])


def _example(service: str) -> str:
    return {
        "iam": "arn:aws:iam::111122223333:role/NAME",
        "kms": "arn:aws:kms:REGION:111122223333:key/ID",
        "batch": "arn:aws:batch:REGION:111122223333:job-queue/NAME",
        "secretsmanager": "the secret's name alone, or its ARN",
        "sagemaker": "arn:aws:sagemaker:REGION:111122223333:training-plan/NAME",
    }[service]


@PLACES.check(
    "other-partition", "partitions of AWS (aws, aws-cn, aws-us-gov) know nothing of each other"
)
def _partition(config: LaunchConfig) -> Iterator[Found]:
    places, region = _places(config), config.aws.region
    if not region and not places:
        return
    home = partition_of(region) if region else places[0].partition
    said = f"aws.region={region}" if region else places[0].setting
    for place in places:
        if place.partition != home:
            what = f"is of the partition {place.partition}, {said} of {home}"
            yield f"{place.setting}={place.value}", what, f"one of the partition {home}"


@PLACES.check("other-region", "a job reaches what is in its own region only")
def _region(config: LaunchConfig) -> Iterator[Found]:
    places = [place for place in _places(config) if place.region]
    if not config.aws.region and not places:
        return
    home = config.aws.region or places[0].region
    said = f"the job in {home}" if config.aws.region else f"{places[0].setting} in {home}"
    for place in places:
        if place.region != home and place.partition == partition_of(home):
            fix = f"one in {home}, or aws.region={place.region}"
            yield f"{place.setting}={place.value}", f"is in {place.region}, {said}", fix


@PLACES.check("image-uri-form", "SageMaker pulls a training image from ECR alone")
def _image(config: LaunchConfig) -> Iterator[Found]:
    uri = config.cluster.image.uri
    if uri is None:
        return
    image = _ECR.fullmatch(uri)
    if image is None:
        yield f"cluster.image.uri={uri}", "is no address of an image in ECR", _OWN_IMAGE
    elif partition_of(image["region"]) == "aws-cn" and not uri.partition("/")[0].endswith(".cn"):
        host, _, rest = uri.partition("/")
        fix = f"cluster.image.uri={host}.cn/{rest}"
        yield f"cluster.image.uri={uri}", "lacks the .cn of addresses in China", fix


def _hub_uses(config: LaunchConfig) -> list[str]:
    """List what of a job is at the hub; a model in a folder or in S3 is not."""
    return [
        name
        for name, used in {
            "model": _on_hub(config),
            "data": config.data.source is Source.hub,
            "hub": config.hub.visibility is not Visibility.none,
        }.items()
        if used
    ]


def _on_hub(config: LaunchConfig) -> bool:
    model = config.model.name_or_path
    return model is not None and bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", model))


def _home(config: LaunchConfig) -> str:
    """Find the partition of a job, by its region or else by its role."""
    if config.aws.region:
        return partition_of(config.aws.region)
    return next((place.partition for place in _places(config)), "aws")


_MENDS = {
    "model": "a model in a folder or s3://, or model=tiny",
    "data": "data=files",
    "hub": "hub=none",
}


def _hub_from(config: LaunchConfig, partitions: tuple[str, ...], what: str) -> Iterator[Found]:
    if _home(config) in partitions and "HF_ENDPOINT" not in config.cluster.environment:
        for name in _hub_uses(config):
            fix = f"{_MENDS[name]}; or a mirror: cluster.environment.HF_ENDPOINT=https://..."
            yield name, f"needs the hub, {what}", fix


@PLACES.check("hub-out-of-reach", "huggingface.co cannot be reached from there")
def _no_hub(config: LaunchConfig) -> Iterator[Found]:
    closed = ("aws-cn", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f")
    yield from _hub_from(config, closed, f"which the partition {_home(config)} does not reach")


@PLACES.check(
    "hub-from-govcloud", "many accounts of GovCloud have no way out of it", Severity.warning
)
def _gov_hub(config: LaunchConfig) -> Iterator[Found]:
    yield from _hub_from(config, ("aws-us-gov",), "and GovCloud may not let the job out to it")
