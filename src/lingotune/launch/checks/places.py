"""Checks of where the things are that a job names: all in its own region and partition of AWS. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lingotune.catalog.partitions import all_regions, known_partition, partition_of, partitions
from lingotune.config.problems import Severity, closest
from lingotune.config.quoting import override_text
from lingotune.config.schema import LaunchConfig, Source, Visibility
from lingotune.preflight.registry import Found, Table

PLACES: Table[LaunchConfig] = Table()

_ARN = re.compile(
    r"arn:(?P<partition>[^:]*):(?P<service>[^:]*):(?P<region>[^:]*):(?P<account>[^:]*):(?P<resource>.+)"
)
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>[a-z0-9.-]+)"
    r"/[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
BUCKET = re.compile(
    r"(?!xn--|.*\.\.|\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII
)
"""Names that buckets may have."""
_IN_S3 = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        "s3[an]?:/+([^/]+)/?(.*)",
        "arn:[^:]*:s3:::([^/]+)/?(.*)",
        r"https?://[^/]*console[^/]*/s3/buckets/([^/?]+)[^?]*\?(?:.*&)?prefix=([^&]*).*",
        r"https?://[^/]*console[^/]*/s3/buckets/([^/?]+)()(?:\?.*)?",
        r"https?://([^/]+)\.s3[.-][^/]*/?([^?]*)(?:\?.*)?",
        r"https?://s3[.-][^/]*/([^/?]+)/?([^?]*)(?:\?.*)?",
    )
]
"""Addresses of places in S3, each with bucket and key."""
_ACCOUNT = "111122223333"
"""The account of AWS's own examples."""


@dataclass(frozen=True)
class _Kind:
    """What a setting may name.

    resources: service -> pattern of what an ARN of it names. example: service and resource of an ARN that
    works. name: pattern of a name alone; '' where an ARN is needed. anywhere: may be in another region.
    """

    resources: dict[str, str]
    example: tuple[str, str]
    name: str = ""
    anywhere: bool = False


_KEY = _Kind({"kms": "(key|alias)/.+"}, ("kms", "key/ID"), r"[\w-]+|alias/[\w/-]+")
_KINDS = {
    "aws.role": _Kind({"iam": "role/.+"}, ("iam", "role/SageMakerRole")),
    "aws.kms_key": _KEY,
    "aws.volume_kms_key": _KEY,
    "aws.queue": _Kind({"batch": "job-queue/.+"}, ("batch", "job-queue/NAME"), r"[\w-]{1,128}"),
    "aws.notify": _Kind({"sns": r"[\w-]{1,256}"}, ("sns", "topic")),
    # The job reads a token where the ARN says that it is.
    "hub.token_secret": _Kind(
        {"secretsmanager": "secret:.+", "ssm": "parameter/.+"}, ("secretsmanager", "secret:NAME-123456"),
        r"[\w/+=.@-]{1,512}", anywhere=True,
    ),
    "cluster.training_plan": _Kind(
        {"sagemaker": "training-plan/.+"}, ("sagemaker", "training-plan/NAME")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Location of the resource that a setting names. region: '' if it is the same in all of a partition."""

    setting: str
    value: str
    partition: str
    region: str


def place_in_s3(address: str) -> tuple[str, str] | None:
    """Read bucket and key from a place's URI, ARN or web address; None for anything else."""
    found = (pattern.fullmatch(address.strip()) for pattern in _IN_S3)
    matched = next((one for one in found if one), None)
    return (matched[1], matched[2]) if matched else None


def _named(config: LaunchConfig) -> Iterator[tuple[str, str, _Kind]]:
    """Yield setting, value and kind of what a job names of its account."""
    for setting, kind in _KINDS.items():
        section, _, name = setting.partition(".")
        value = getattr(getattr(config, section), name)
        if value is not None:
            yield setting, value, kind


def _places(config: LaunchConfig) -> list[_Place]:
    found = []
    for setting, value, kind in _named(config):
        arn = _ARN.fullmatch(value)
        if arn and arn["partition"] in partitions():
            found.append(
                _Place(setting, value, arn["partition"], "" if kind.anywhere else arn["region"])
            )
    image = _ECR.fullmatch(config.cluster.image.uri or "")
    if image:
        uri, region = image[0], image["region"]
        found.append(_Place("cluster.image.uri", uri, partition_of(region), region))
    return found


@PLACES.check(
    "arn-form", "an ARN says service, region and account: arn:aws:SERVICE:REGION:ACCOUNT:..."
)
def _form(config: LaunchConfig) -> Iterator[Found]:
    for setting, value, kind in _named(config):
        what = _fault(value, kind)
        if what:
            yield f"{setting}={value}", what, _mended(config, setting, value, kind)


def _fault(value: str, kind: _Kind) -> str:
    """Say what is wrong with the name or ARN of a thing; '' if nothing is."""
    services = " or ".join(kind.resources)
    if kind.name and re.fullmatch(kind.name, value, re.ASCII):
        return ""
    arn = _ARN.fullmatch(value)
    if not value.startswith("arn:"):
        return "is neither a name nor an ARN" if kind.name else "is no ARN"
    if arn is None or arn["partition"] not in partitions():
        return "is no ARN"
    if arn["service"] not in kind.resources:
        return f"is of {arn['service']}, not of {services}"
    if not re.fullmatch(r"\d{12}", arn["account"], re.ASCII):
        return "names no account"
    if bool(arn["region"]) is ("iam" in kind.resources):
        return "names a region, but roles have none" if arn["region"] else "names no region"
    pattern = kind.resources[arn["service"]]
    return "" if re.fullmatch(pattern, arn["resource"]) else f"is no {_thing(kind)}"


def _thing(kind: _Kind) -> str:
    return re.split("[/:]", kind.example[1])[0].replace("-", " ")


def _mended(config: LaunchConfig, setting: str, value: str, kind: _Kind) -> str:
    """Write what was meant where that can be told, or else an ARN of the job's region."""
    stripped = value.strip()
    if stripped != value and not _fault(stripped, kind):
        return override_text(setting, stripped)
    arn = _ARN.fullmatch(value)
    session = arn and re.fullmatch(r"assumed-role/([^/]+)/.+", arn["resource"])
    if setting == "aws.role" and arn and session:
        resource = f"role/{session[1]}"
        return f"aws.role=arn:{arn['partition']}:iam::{arn['account']}:{resource}"
    if setting == "aws.role" and re.fullmatch(r"[\w+=,.@-]{1,64}", value, re.ASCII):
        asked = f"aws iam get-role --role-name {value} --query Role.Arn --output text"
        return f'aws.role="$({asked})"'
    if re.fullmatch("(key|secret|job-queue)/[^/]+", value):
        return override_text(setting, value.partition("/")[2])
    return f"{setting}={_example(config, kind)}"


def _example(config: LaunchConfig, kind: _Kind) -> str:
    service, resource = kind.example
    region = config.aws.region or "us-east-1"
    where = "" if service == "iam" else region
    return f"arn:{partition_of(region)}:{service}:{where}:{_ACCOUNT}:{resource}"


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


@PLACES.check("region-form", "AWS has no region of such a name")
def _region_form(config: LaunchConfig) -> Iterator[Found]:
    region = config.aws.region
    if region is not None and known_partition(region) is None:
        near = re.sub(r"[\s_]+", "-", region.strip().lower())
        near = re.sub(r"(?<=\d)[a-z]$", "", near)  # a zone
        near = near if near in all_regions() else closest(near, all_regions())
        yield f"aws.region={region}", "is no region of AWS", f"aws.region={near or 'us-east-1'}"


@PLACES.check(
    "region-unknown", "a request to a region that there is not gets no answer", Severity.warning
)
def _region_unknown(config: LaunchConfig) -> Iterator[Found]:
    region = config.aws.region
    unlisted = region and known_partition(region) and region not in all_regions()
    if region and unlisted and config.cluster.image.uri is not None:  # else no image is known there
        what = "is none of the regions that this version of lingotune knows"
        yield f"aws.region={region}", what, f"aws.region={closest(region, all_regions())}"


@PLACES.check("image-uri-form", "SageMaker pulls a training image from ECR alone")
def _image(config: LaunchConfig) -> Iterator[Found]:
    uri = config.cluster.image.uri
    if uri is None:
        return
    image = _ECR.fullmatch(uri)
    if image is None:
        yield f"cluster.image.uri={uri}", "is no address of an image in ECR", _image_fix(config)
        return
    partition = partitions()[partition_of(image["region"])]
    ends = [partition.suffix, "on." + partition.dual_stack_suffix.removeprefix("api.")]
    if image["suffix"] not in ends:
        rest = uri.partition("/")[2]
        fix = f"cluster.image.uri={image['account']}.dkr.ecr.{image['region']}.{ends[0]}/{rest}"
        what = f"ends its host in {image['suffix']}; those of {image['region']} end in {ends[0]}"
        yield f"cluster.image.uri={uri}", what, fix


def _image_fix(config: LaunchConfig) -> str:
    """Write the address that was meant, or else the form of one in the job's region."""
    uri = (config.cluster.image.uri or "").strip()
    bare = re.sub("^(https?|docker)://", "", uri)
    if bare != config.cluster.image.uri and _ECR.fullmatch(bare):
        return f"cluster.image.uri={bare}"
    arn = _ARN.fullmatch(uri)
    region = (arn and arn["region"]) or config.aws.region or "us-east-1"
    account = (arn and arn["account"]) or _ACCOUNT
    name = arn["resource"].partition("/")[2] if arn and arn["service"] == "ecr" else "NAME"
    suffix = partitions()[partition_of(region)].suffix
    return f"cluster.image.uri={account}.dkr.ecr.{region}.{suffix}/{name or 'NAME'}:TAG"


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
