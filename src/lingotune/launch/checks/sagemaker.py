"""Checks for everything that SageMaker would refuse or bill needlessly, or that would fail there. Pure.

The subject is the whole launch config of a job with an instance type. A plan shows the findings beside
the request; a submit refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import regex  # the standard library cannot parse \p{L}

from lingotune.catalog.hardware import (
    SHARDING_ACCELERATE,
    instance_of,
    newest_image,
    python_version,
    resolve_image,
    runs_worker,
    version,
)
from lingotune.config.problems import Severity
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import (
    DETECT,
    AwsConfig,
    Backend,
    FallbackBy,
    InputMode,
    LaunchConfig,
    Output,
    Sdk,
    Source,
    Visibility,
)
from lingotune.contract.container import DIGEST_VARIABLE
from lingotune.estimate.memory import (
    ESTIMATED_TO_FAIL,
    ESTIMATED_TO_FIT,
    estimate_memory,
    fitting_micro_batch,
)
from lingotune.estimate.micro_batches import overrides_of
from lingotune.launch.checks.architectures import ARCHITECTURES
from lingotune.launch.checks.lanes import lane_pins
from lingotune.launch.checks.places import BUCKET, PLACES, place_in_s3
from lingotune.launch.checks.services import SERVICES
from lingotune.launch.checks.supply import SUPPLY
from lingotune.preflight.cluster import pin
from lingotune.preflight.job import fit_memory_refused
from lingotune.preflight.registry import Found, Table, typed

SAGEMAKER: Table[LaunchConfig] = Table(
    {**PLACES.checks, **ARCHITECTURES.checks, **SUPPLY.checks, **SERVICES.checks}
)


# --- what the workers need ----------------------------------------------------------------------


@SAGEMAKER.check("needs-newer-torch", "what the image's PyTorch lacks fails on the paid machine")
def _newer_torch(config: LaunchConfig) -> Iterator[Found]:
    image = resolve_image(config.cluster)
    if image is None:
        return
    for key, needed, why in _switches_since_torch(config):
        if version(image.pytorch) < needed:
            what = f"does not work with PyTorch {image.pytorch} of the job's image: {why}"
            yield f"{key}=true", what, f"{key}=false, or a newer image"


def _switches_since_torch(config: LaunchConfig) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield key, first version of PyTorch and reason for each switch that is on and needs a version."""
    for name in ("training", "batching"):
        section = getattr(config, name)
        for setting in fields(section):
            if "torch" in setting.metadata and getattr(section, setting.name):
                yield f"{name}.{setting.name}", setting.metadata["torch"], setting.metadata["why"]


@SAGEMAKER.check("shard-needs-image", "FSDP2 was tried with that accelerate and newer ones")
def _shard(config: LaunchConfig) -> Iterator[Found]:
    image = resolve_image(config.cluster)
    if not config.training.shard or image is None or config.cluster.image.uri is not None:
        return
    accelerate = lane_pins(image).get("accelerate")
    if accelerate is None or version(accelerate) < SHARDING_ACCELERATE:
        has = f"accelerate {accelerate}" if accelerate else f"transformers {image.transformers}"
        needed = ".".join(map(str, SHARDING_ACCELERATE))
        what = f"needs accelerate {needed}; the job's image has {has}"
        fix = "training.shard=false, or an image of transformers 4.56 and a GPU newer than the V100"
        yield "training.shard=true", what, fix


@SAGEMAKER.check("detect-on-worker", "no image holds the library that detects languages")
def _detection(config: LaunchConfig) -> Iterator[Found]:
    data = config.data
    if data.source is Source.hub and data.columns.language == DETECT and data.prepared is None:
        what = "the machines of the job prepare data of the hub, and cannot detect languages"
        fix = "data.prepared=FOLDER, made here by lingotune prepare with the same settings"
        yield f"data.columns.language={DETECT}", what, fix


@SAGEMAKER.check("image-too-old", "it would stop at its first import, on the paid machine")
def _worker_code(config: LaunchConfig) -> Iterator[Found]:
    image, instance = resolve_image(config.cluster), instance_of(config.cluster)
    if image is None or instance is None or runs_worker(image):
        return
    major, minor = python_version(image.python)
    what = (
        f"the image of transformers {image.transformers} has Python {major}.{minor};"
        " the worker code needs Python 3.10 and transformers 4.28"
    )
    yield "cluster.image", what, pin(newest_image(config.cluster))


@SAGEMAKER.check("image-uri-unchecked", "the checks know the listed images only", Severity.warning)
def _image_uri(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.image.uri is not None:
        what = "is an image of your own: whether its versions fit GPU and code is not checked"
        fix = "one made from a Hugging Face training image of Python 3.10 or newer"
        yield "cluster.image.uri", what, fix


@SAGEMAKER.check("hub-token-on-workers", "the token must reach the worker without being in the job")
def _token(config: LaunchConfig) -> Iterator[Found]:
    hub = config.hub
    if hub.visibility is not Visibility.none and not hub.token_secret:
        what = f"hub={hub.visibility.value}: a job on SageMaker finds no token on its machines"
        unpublished = "hub=none" + (" hub.repo=null" if hub.repo else "")
        fix = f"hub.token_secret=NAME of an AWS secret that holds it, or {unpublished}"
        yield "hub.token_secret", what, fix


@SAGEMAKER.check("token-unused", "only the hub asks for it")
def _token_unused(config: LaunchConfig) -> Iterator[Found]:
    hub, model = config.hub, config.model.name_or_path
    at_hub = _on_hub(model) or config.data.source is Source.hub
    if hub.token_secret and model and hub.visibility is Visibility.none and not at_hub:
        what = "has no effect: model and data are your own, and nothing is published"
        yield f"hub.token_secret={hub.token_secret}", what, "hub.token_secret=null"


@SAGEMAKER.check("memory-exceeded", "out of memory stops a job within its first steps")
def _memory(config: LaunchConfig) -> Iterator[Found]:
    yield from _memory_above(config, ESTIMATED_TO_FAIL, float("inf"))


@SAGEMAKER.check("memory-tight", "the estimate may be a quarter off", Severity.warning)
def _memory_tight(config: LaunchConfig) -> Iterator[Found]:
    yield from _memory_above(config, ESTIMATED_TO_FIT, ESTIMATED_TO_FAIL)


MEMORY: Table[LaunchConfig] = Table(
    {name: SAGEMAKER.checks[name] for name in ("memory-exceeded", "memory-tight")}
)
"""Those that need a model's size."""


def _memory_above(config: LaunchConfig, low: float, high: float) -> Iterator[Found]:
    """Find an estimate between the shares `low` and `high` of the memory of GPU or machine."""
    instance, estimate = instance_of(config.cluster), estimate_memory(config)
    if instance is None or estimate is None or not low < estimate.gib / instance.memory_gib <= high:
        return
    smaller = fitting_micro_batch(config)
    if smaller and config.training.fit_memory:
        return
    owner = instance.gpu or instance.instance_type
    what = f"needs about {estimate.gib:.1f} of the {owner}'s {instance.memory_gib:g} GiB"
    where = f"per_device_bs={config.per_device_bs}"
    yield where, f"{what}: {estimate.arithmetic}", _same_update(config, smaller)


def _same_update(config: LaunchConfig, smaller: LaunchConfig | None) -> str:
    """Offer what makes a job fit into memory, and leaves its update as it is."""
    if smaller is None:
        return "a larger machine"
    if fit_memory_refused(config):
        return overrides_of(smaller)
    return f"{overrides_of(smaller)}, or training.fit_memory=true"


# --- capacity: spot, warm pools, storage --------------------------------------------------------


@SAGEMAKER.check("spot-without-checkpoints", "an interrupted job would lose all it has done")
def _spot_checkpoints(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.spot and not config.cluster.checkpoints:
        what = "spot capacity may be taken away, and no checkpoint is copied to S3"
        yield "cluster.checkpoints=false", what, "cluster.checkpoints=true, or cluster.spot=false"


@SAGEMAKER.check("max-wait-too-short", "waiting and running together must have room for the run")
def _max_wait(config: LaunchConfig) -> Iterator[Found]:
    cluster = config.cluster
    if cluster.spot and cluster.max_wait is not None and cluster.max_wait < cluster.max_run:
        what = f"is shorter than cluster.max_run={cluster.max_run}; SageMaker refuses it"
        yield (
            f"cluster.max_wait={cluster.max_wait}",
            what,
            f"cluster.max_wait={2 * cluster.max_run}",
        )


@SAGEMAKER.check("max-wait-without-spot", "only spot jobs wait for capacity; SageMaker refuses it")
def _max_wait_unused(config: LaunchConfig) -> Iterator[Found]:
    if not config.cluster.spot and config.cluster.max_wait is not None:
        where = f"cluster.max_wait={config.cluster.max_wait}"
        yield where, "has no effect without spot", "cluster.spot=true, or cluster.max_wait=null"


@SAGEMAKER.check(
    "warm-pool-with-spot", "SageMaker keeps no spot machines; it refuses both together"
)
def _warm_spot(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.spot and config.cluster.keep_alive is not None:
        where = f"cluster.keep_alive={config.cluster.keep_alive}"
        yield where, "does not go with spot", "cluster.spot=false, or cluster.keep_alive=null"


@SAGEMAKER.check("training-plan-with-spot", "a training plan is capacity already paid for")
def _plan_spot(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.spot and config.cluster.training_plan is not None:
        what = "names reserved capacity, and cluster.spot asks for spare capacity"
        yield "cluster.training_plan", what, "cluster.spot=false, or cluster.training_plan=null"


def _listed_by_sagemaker(config: LaunchConfig) -> bool:
    cluster = config.cluster
    return bool(cluster.fallback) and cluster.fallback_by is FallbackBy.sagemaker


@SAGEMAKER.check(
    "fallback-with-spot", "SageMaker's list takes on-demand capacity and training plans"
)
def _fallback_spot(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.spot and _listed_by_sagemaker(config):
        what = "does not go with a list of machines that SageMaker goes through"
        fix = (
            "cluster.fallback_by=lingotune, which starts one after the other; or cluster.spot=false"
        )
        yield "cluster.spot=true", what, fix


@SAGEMAKER.check("fallback-with-ultra-server", "SageMaker refuses a placement beside a list")
def _fallback_placement(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.ultra_server is not None and config.cluster.fallback:
        where = f"cluster.ultra_server={config.cluster.ultra_server}"
        what = "places the machines, and those of cluster.fallback may be others"
        yield where, what, "cluster.ultra_server=null, or 'cluster.fallback=[]'"


@SAGEMAKER.check("fallback-with-v2", "the SDK v2 has no argument for it, and gets none any more")
def _fallback_v2(config: LaunchConfig) -> Iterator[Found]:
    aws, cluster = config.aws, config.cluster
    if aws.sdk is not Sdk.v2 or aws.queue is not None or config.cluster.backend is Backend.loopback:
        return
    if _listed_by_sagemaker(config):
        what = "cannot ask for cluster.fallback"
        fix = "aws.sdk=boto3, which sends the same request; or cluster.fallback_by=lingotune"
        yield "aws.sdk=v2", what, fix
    elif cluster.max_pending is not None:
        what = "cannot ask for cluster.max_pending"
        yield "aws.sdk=v2", what, "aws.sdk=boto3, which sends the same request"


@SAGEMAKER.check(
    "fallback-with-warm-pool", "AWS says nothing about warm pools beside a list", Severity.warning
)
def _fallback_warm(config: LaunchConfig) -> Iterator[Found]:
    cluster = config.cluster
    if cluster.keep_alive is not None and _listed_by_sagemaker(config):
        where = f"cluster.keep_alive={cluster.keep_alive}"
        what = "keeps the machine that the job gets; the next job may ask for another"
        yield where, what, "cluster.keep_alive=null, or 'cluster.fallback=[]'"


@SAGEMAKER.check(
    "fallback-in-queue", "AWS says nothing about lists in AWS Batch's queues", Severity.warning
)
def _fallback_queue(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.queue is not None and _listed_by_sagemaker(config):
        where, what = (
            f"aws.queue={config.aws.queue}",
            "may refuse cluster.fallback: not known to AWS's pages",
        )
        yield where, what, "aws.queue=null, or 'cluster.fallback=[]'"


@SAGEMAKER.check("fallback-one-price", "each machine of a list has its own")
def _fallback_price(config: LaunchConfig) -> Iterator[Found]:
    usd = config.budget.usd_per_hour
    if usd is not None and config.cluster.fallback:
        what = "is one price, and cluster.fallback names several machines"
        yield f"budget.usd_per_hour={usd:g}", what, "budget.prices=prices.json, with a row for each"


@SAGEMAKER.check("fallback-by-queue", "a queue starts its jobs when this command has long ended")
def _walk_queue(config: LaunchConfig) -> Iterator[Found]:
    cluster = config.cluster
    if config.aws.queue is not None and cluster.fallback and not _listed_by_sagemaker(config):
        what = "starts one machine after the other from here, and aws.queue starts jobs later"
        yield (
            "cluster.fallback_by=lingotune",
            what,
            "aws.queue=null, or cluster.fallback_by=sagemaker",
        )


@SAGEMAKER.check("volume-on-nvme", "these instances store on their own disks, whatever is asked")
def _volume(config: LaunchConfig) -> Iterator[Found]:
    instance = instance_of(config.cluster)
    if instance and instance.nvme_gb and config.cluster.volume_gb is not None:
        what = f"has no effect: {instance.instance_type} has {instance.nvme_gb} GB of its own"
        yield f"cluster.volume_gb={config.cluster.volume_gb}", what, "cluster.volume_gb=null"


@SAGEMAKER.check("volume-key-on-nvme", "their disks encrypt in hardware; SageMaker refuses a key")
def _volume_key(config: LaunchConfig) -> Iterator[Found]:
    instance = instance_of(config.cluster)
    if instance and instance.nvme_gb and config.aws.volume_kms_key is not None:
        what = f"{instance.instance_type} has no volume to encrypt"
        yield "aws.volume_kms_key", what, "aws.volume_kms_key=null"


@SAGEMAKER.check(
    "ultra-server-capacity", "AWS applies it to UltraServer capacity only", Severity.warning
)
def _ultra_server(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.ultra_server is not None:
        what = f"{config.cluster.instance_type} is not known to be part of an UltraServer"
        yield "cluster.ultra_server", what, "cluster.ultra_server=null"


@SAGEMAKER.check("input-mode-unused", "the mode is that of the data channel")
def _input_mode(config: LaunchConfig) -> Iterator[Found]:
    channel = config.data.source is Source.files or config.data.prepared is not None
    if config.cluster.input_mode is not InputMode.File and not channel:
        where = f"cluster.input_mode={config.cluster.input_mode.value}"
        what = f"has no effect: data.source={config.data.source.value} has no data channel"
        yield where, what, "cluster.input_mode=File, or data=files"


@SAGEMAKER.check("encryption-on-one-node", "only nodes have traffic among them", Severity.warning)
def _one_node(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.encrypt_traffic and config.cluster.nodes == 1:
        yield "aws.encrypt_traffic=true", "has no effect on one node", "aws.encrypt_traffic=false"


@SAGEMAKER.check("isolation-of-several-nodes", "the nodes must reach each other over the network")
def _isolated_nodes(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.network_isolation and config.cluster.nodes > 1:
        what = "lets no container reach another one"
        fix = "cluster.nodes=1, or aws.network_isolation=false with aws.subnets"
        yield "aws.network_isolation=true", what, fix


# --- network ------------------------------------------------------------------------------------


@SAGEMAKER.check("vpc-incomplete", "a VPC is named by subnets and security groups together")
def _vpc(config: LaunchConfig) -> Iterator[Found]:
    subnets, groups = config.aws.subnets, config.aws.security_groups
    if bool(subnets) != bool(groups):
        given, lacking, example = (
            ("subnets", "security_groups", "sg-0123456789abcdef0")
            if subnets
            else ("security_groups", "subnets", "subnet-0123456789abcdef0")
        )
        what = f"is needed with aws.{given}"
        yield f"aws.{lacking}", what, f"'aws.{lacking}=[{example}]', or 'aws.{given}=[]'"


@SAGEMAKER.check("network-ids", "EC2 marks by their beginnings what its ids are of")
def _network_ids(config: LaunchConfig) -> Iterator[Found]:
    for name, start in (("subnets", "subnet-"), ("security_groups", "sg-")):
        wrong = [
            id for id in getattr(config.aws, name) if not re.fullmatch(f"{start}[0-9a-z]+", id)
        ]
        if wrong:
            what = f"{', '.join(wrong)}: no {name.replace('_', ' ')} have such ids"
            fix = f"'aws.{name}=[{start}0123456789abcdef0]'"
            yield listing(f"aws.{name}", getattr(config.aws, name)), what, fix


@SAGEMAKER.check("isolation-needs-own-image", "an isolated container installs nothing at its start")
def _isolation(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.network_isolation and config.cluster.image.uri is None:
        what = "keeps the worker from installing omegaconf, which the listed images lack"
        fix = "cluster.image.lane=pinned cluster.image.uri=... with requirements-worker.txt in it"
        yield "aws.network_isolation=true", what, f"{fix}, or aws.network_isolation=false"


@SAGEMAKER.check("isolation-with-hub", "an isolated container reaches neither hub nor secrets")
def _isolation_hub(config: LaunchConfig) -> Iterator[Found]:
    if not config.aws.network_isolation:
        return
    uses = {
        "hub=none": config.hub.visibility is not Visibility.none,
        "data=files": config.data.source is Source.hub,
        "model=tiny": _on_hub(config.model.name_or_path),
    }
    for fix, used in uses.items():
        if used:
            key = fix.split("=")[0]
            what = (
                f"{key} needs the hub, and aws.network_isolation=true keeps the container from it"
            )
            yield key, what, f"{fix}, or aws.network_isolation=false"


def _on_hub(model: str | None) -> bool:
    """Tell a model of the hub; one in a folder or in S3 reaches the job as a channel."""
    return model is not None and not model.startswith("s3://") and not Path(model).is_dir()


@SAGEMAKER.check(
    "efa-security-group", "nodes with EFA talk past the VPC's usual rules", Severity.warning
)
def _efa(config: LaunchConfig) -> Iterator[Found]:
    instance = instance_of(config.cluster)
    if instance and instance.efa and config.cluster.nodes > 1 and config.aws.security_groups:
        what = (
            f"must let all traffic of its own members in and out: {instance.instance_type} has EFA"
        )
        fix = "a rule whose source and target is the group itself"
        yield "aws.security_groups", what, fix


@SAGEMAKER.check("bucket-name", "S3 has lower-case names of 3 to 63 characters; a path is a prefix")
def _bucket(config: LaunchConfig) -> Iterator[Found]:
    bucket = config.aws.bucket
    if bucket is None or BUCKET.fullmatch(bucket):
        return
    name, prefix = place_in_s3(bucket) or bucket.partition("/")[::2]
    fix = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")[:63]
    fix = fix if BUCKET.fullmatch(fix) else "my-bucket"
    prefix_too = f" {override_text('aws.prefix', prefix.strip('/'))}" if prefix.strip("/") else ""
    yield f"aws.bucket={bucket}", "is no name of a bucket", f"aws.bucket={fix}{prefix_too}"


@SAGEMAKER.check("prefix-form", "the prefix is what follows the bucket in an address")
def _prefix(config: LaunchConfig) -> Iterator[Found]:
    prefix = config.aws.prefix
    if "://" in prefix or prefix.startswith("arn:"):
        name, inner = place_in_s3(prefix) or ("my-bucket", "lingotune")
        fix = f"aws.bucket={name} {override_text('aws.prefix', inner.strip('/'))}"
        yield f"aws.prefix={prefix}", "is an address, not a prefix in aws.bucket", fix


@SAGEMAKER.check("names-missing", "what is still to be given cannot be sent", Severity.warning)
def _placeholders(config: LaunchConfig) -> Iterator[Found]:
    names = {**account_names(config.aws), "aws.region": config.aws.region}
    missing = [name for name, value in names.items() if not value]
    if config.output is Output.request and missing:
        what = "not set: the request holds <...> in their place"
        yield ", ".join(missing), what, " ".join(f"{name}=..." for name in missing)


# --- environment, tags, queue -------------------------------------------------------------------

_RESERVED = re.compile(r"SM_|SAGEMAKER_|LINGOTUNE_|AWS_|RANK$|WORLD_SIZE$|LOCAL_RANK$|MASTER_")
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL", re.IGNORECASE)


@SAGEMAKER.check("environment-reserved", "SageMaker's launcher sets these, and the job reads them")
def _environment(config: LaunchConfig) -> Iterator[Found]:
    for name in config.cluster.environment:
        if _RESERVED.match(name) or name == DIGEST_VARIABLE:
            fix = override_text(f"cluster.environment.MY_{name}", config.cluster.environment[name])
            yield f"cluster.environment.{name}", "is set by the launcher", f"another name: {fix}"


@SAGEMAKER.check("environment-secret", "everybody who may describe the job reads its environment")
def _environment_secret(config: LaunchConfig) -> Iterator[Found]:
    for name, value in config.cluster.environment.items():
        is_reference = value.startswith("arn:") or name.endswith(("_ID", "_ARN", "_NAME"))
        if _SECRET_NAME.search(name) and not is_reference:
            fix = "a name or ARN that the job's role may read, e.g. hub.token_secret=NAME"
            yield f"cluster.environment.{name}", "looks like a secret", fix


@SAGEMAKER.check("tags-reserved", "AWS keeps aws: for itself, lingotune: says which run it was")
def _tags(config: LaunchConfig) -> Iterator[Found]:
    for key, value in config.aws.tags.items():
        if key.lower().startswith(("aws:", "lingotune:")):
            fix = override_text("aws.tags", {key.partition(":")[2] or "name": value})
            yield f"aws.tags.{key}", "begins with a reserved prefix", f"another name: {fix}"
        if value.lower().startswith("aws:"):
            fix = override_text("aws.tags", {key: value[4:]})
            yield f"aws.tags.{key}={value}", "begins with a reserved prefix", fix


_TAG = regex.compile(r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*")
_TAG_LENGTHS = {"name": (1, 128), "value": (0, 256)}
_OWN_TAGS = 47
"""Tags of a job that the user may set: lingotune sets three of AWS's fifty."""


@SAGEMAKER.check("tags-form", "AWS takes 50 tags of letters, digits, blanks and _ . : / = + - @")
def _tag_form(config: LaunchConfig) -> Iterator[Found]:
    tags = config.aws.tags
    if len(tags) > _OWN_TAGS:
        what = f"names {len(tags)} tags; {_OWN_TAGS} fit beside lingotune's own three"
        yield "aws.tags", what, f"at most {_OWN_TAGS} tags"
    for key, value in tags.items():
        for (part, (low, high)), text in zip(_TAG_LENGTHS.items(), (key, value)):
            odd = sorted({c for c in text if not _TAG.fullmatch(c)})
            if not low <= len(text) <= high:
                what = f"its {part} has {len(text)} characters; from {low} to {high} are allowed"
                yield f"aws.tags.{key}", what, f"a {part} of at most {high} characters"
            if odd:
                fix = override_text(f"aws.tags.{key}", "".join(c for c in value if c not in odd))
                what = f"its {part} holds {' '.join(odd)}, which AWS refuses"
                yield f"aws.tags.{key}", what, fix if part == "value" else "another name"


@SAGEMAKER.check("queue-setting-unused", "share and priority order the jobs of a queue")
def _queue(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.queue is not None:
        return
    for name in ("queue_share", "queue_quota_share", "queue_priority"):
        value = getattr(config.aws, name)
        if value is not None:
            where = f"aws.{name}={typed(value)}"
            yield where, "has no effect without a queue", f"aws.{name}=null, or aws.queue=..."


@SAGEMAKER.check("queue-priority", "AWS Batch orders by 0 to 9999")
def _priority(config: LaunchConfig) -> Iterator[Found]:
    priority = config.aws.queue_priority
    if priority is not None and not 0 <= priority <= 9999:
        yield (
            f"aws.queue_priority={priority}",
            "is out of range",
            "aws.queue_priority=0; possible: 0 to 9999",
        )


@SAGEMAKER.check("queue-starts-with-boto3", "a queue takes the request, not an SDK's object")
def _queue_sdk(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.queue is not None and config.aws.sdk is Sdk.v3:
        yield "aws.sdk=v3", "has no effect with aws.queue", "aws.sdk=boto3"


@SAGEMAKER.check("sdk-v2-ends", "AWS ends its support on 2027-07-05", Severity.warning)
def _sdk_v2_ends(config: LaunchConfig) -> Iterator[Found]:
    if config.aws.sdk is Sdk.v2 and config.aws.queue is None:
        what = "gets no new images, and no support from 2027-07-05 on"
        yield "aws.sdk=v2", what, "aws.sdk=boto3, which sends the same request"


@SAGEMAKER.check("profiler-without-v3", "ModelTrainer leaves the profiler to SageMaker's default")
def _profiler(config: LaunchConfig) -> Iterator[Found]:
    if config.cluster.profiler and config.aws.sdk is Sdk.v3:
        what = "cannot be asked for through the SDK v3"
        yield "cluster.profiler=true", what, "aws.sdk=boto3, or aws.sdk=v2"


def account_names(aws: AwsConfig) -> dict[str, str | None]:
    """Return the names that are required to submit, with their values."""
    return {"aws.role": aws.role, "aws.bucket": aws.bucket}
