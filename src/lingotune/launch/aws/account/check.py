"""Checks that an AWS account is ready for a job: the read-only calls of `action=check`.

Each check passes, yields findings, or is skipped for a reason: not allowed, not reachable, no
credentials. A skipped check is never a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AwsConfig
from lingotune.contract.container import DATA_CHANNEL, MODEL_CHANNEL
from lingotune.hub.token import READING, service_of
from lingotune.launch.aws.account.calls import (
    WORKERS,
    Answer,
    Calls,
    Refused,
    Unanswered,
    connect,
    unusable,
)
from lingotune.launch.aws.account.quotas import check_quotas, needs_of
from lingotune.launch.aws.account.resources import (
    check_bucket,
    check_channels,
    check_key,
    check_model,
    check_names,
    check_network,
    check_place,
    check_queue,
    check_secret,
    check_topic,
)
from lingotune.launch.aws.account.roles import check_caller, check_role, check_role_access
from lingotune.launch.aws.notify import rule_of

_UNUSABLE = (
    "ExpiredToken", "InvalidClientTokenId", "UnrecognizedClient", "SignatureDoesNotMatch",
    "InvalidSignature", "IncompleteSignature", "MissingAuthenticationToken", "RequestExpired",
)  # fmt: skip
"""STS's error codes for credentials that cannot be used."""


@dataclass(frozen=True)
class JobRequirements:
    """Requirements of one job on the account.

    channels: name -> S3 prefix with a slash at its end, and whether submitting uploads its objects
    (otherwise they have to be there already). reserved: runs in the capacity of a training plan, which
    does not count against the quotas. others: further instance types that the job may get, and how many of
    each: AWS asks for the quota of every one.
    """

    name: str
    instance_type: str
    nodes: int
    spot: bool
    keep_alive: bool
    channels: Mapping[str, tuple[str, bool]]
    token_secret: str | None
    reserved: bool = False
    others: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class AccountCheck:
    """Lines about what is fine, lines about what was skipped and why, and findings.

    quotas: those that AWS has told, by name.
    """

    done: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    findings: tuple[Problem, ...] = ()
    quotas: Mapping[str, float] = field(default_factory=dict)

    @property
    def asked(self) -> bool:
        """True if AWS answered a question about the account, beside that of whose credentials these are."""
        return any(not line.startswith("identity:") for line in self.done) or bool(self.findings)


@dataclass(frozen=True)
class Caller:
    """Owner of the credentials, if AWS has told it, and the calls that use them."""

    calls: Calls
    arn: str | None = None
    account: str | None = None


Check = Callable[[Caller], Iterator[Answer]]
"""Check of an account: yields lines about what is fine, and problems; Unanswered skips it."""


def check_account(
    jobs: Sequence[JobRequirements], aws: AwsConfig, *, controlled: bool = False
) -> AccountCheck:
    """Ask AWS whether the jobs of a sweep can run there. Changes nothing, and no error of AWS is raised.

    controlled: a controller holds jobs back until there is room for them, and attaches to those that are
    there already.
    """
    quotas: dict[str, float] = {}
    return ask_all(_checks(jobs, aws, quotas, controlled), aws.region, quotas)


def ask_all(
    checks: Mapping[str, Check], region: str | None, quotas: Mapping[str, float]
) -> AccountCheck:
    """Run checks, by topic, at the same time, once AWS has told who asks. quotas: filled by them."""
    try:
        caller, identity = _identify(connect(region))
    except Unanswered as reason:
        return AccountCheck(skipped=tuple(f"{topic}: {reason}" for topic in ("identity", *checks)))
    except ConfigError as error:
        reason_not = f"not asked: {error.problems[0].where} {error.problems[0].what}"
        skipped = tuple(f"{topic}: {reason_not}" for topic in checks)
        return AccountCheck(skipped=skipped, findings=tuple(error.problems))
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = [identity, *pool.map(lambda item: _run(item[0], item[1], caller), checks.items())]
    return AccountCheck(
        done=tuple(line for part in parts for line in part.done),
        skipped=tuple(line for part in parts for line in part.skipped),
        findings=tuple(problem for part in parts for problem in part.findings),
        quotas=quotas,
    )


def format_account(check: AccountCheck) -> list[str]:
    """Format the lines of the page: what is fine, then what was skipped and why."""
    return [
        "asked AWS:" if check.done or check.findings else "asked AWS: nothing",
        *(f"  ok       {line}" for line in check.done),
        *(f"  skipped  {line}" for line in check.skipped),
    ]


def _identify(calls: Calls) -> tuple[Caller, AccountCheck]:
    """Ask whose credentials these are; ConfigError if AWS does not accept them."""
    try:
        found = calls.ask("sts", "get_caller_identity", _UNUSABLE)
        arn, account = found["Arn"], found["Account"]
    except Refused as refusal:
        raise ConfigError([unusable(str(refusal))]) from refusal
    except (Unanswered, KeyError) as reason:
        return Caller(calls), AccountCheck(skipped=(_skip("identity", reason),))
    line = f"identity: {arn} (account {account}), region {calls.region}"
    return Caller(calls, arn, account), AccountCheck(done=(line,))


def _skip(topic: str, reason: Unanswered | KeyError) -> str:
    lack = "the answer lacks " if isinstance(reason, KeyError) else ""
    return f"{topic}: {lack}{reason}"


def _run(topic: str, check: Check, caller: Caller) -> AccountCheck:
    """Run one check, until AWS does not answer."""
    done, skipped, findings = [], [], []
    try:
        for answer in check(caller):
            if isinstance(answer, Problem):
                findings.append(answer)
            else:
                done.append(f"{topic}: {answer}")
    except (Unanswered, KeyError) as reason:
        skipped.append(_skip(topic, reason))
    return AccountCheck(tuple(done), tuple(skipped), tuple(findings))


# --- the checks ---------------------------------------------------------------------------------


def _checks(
    jobs: Sequence[JobRequirements], aws: AwsConfig, quotas: dict[str, float], controlled: bool
) -> dict[str, Check]:
    """List the checks by topic, in the order of the page. quotas: takes those that AWS tells."""
    checks: dict[str, Check] = {
        "role": partial(_role, aws),
        "pass the role": partial(_pass_role, aws),
        "start jobs": partial(_start, jobs, aws),
        "the role's permissions": partial(_role_access, jobs, aws),
        "bucket": partial(_bucket, aws),
        "channels": partial(_channels, jobs, aws),
        "quota": partial(_quotas, jobs, aws.queue is not None or controlled, quotas),
    }
    if not controlled:
        names = [job.name for job in jobs]
        checks["names"] = lambda caller: check_names(caller.calls, names)
    if _models(jobs):
        checks["model"] = partial(_model, jobs)
    if _secrets(jobs):
        checks["secret"] = partial(_secret, jobs)
    if aws.subnets or aws.security_groups:
        checks["network"] = partial(_network, aws)
    if aws.kms_key or aws.volume_kms_key:
        checks["keys"] = partial(_keys, aws)
    if aws.notify:
        checks["notify"] = partial(_notify, aws.notify)
    if aws.queue:
        checks["queue"] = partial(_queue, aws)
    return checks


def required(setting: str, value: str | None) -> str:
    """Return the value of a setting; Unanswered if there is none."""
    if not value:
        raise Unanswered(f"no {setting} is set")
    return value


def _secrets(jobs: Sequence[JobRequirements]) -> list[str]:
    return list(dict.fromkeys(job.token_secret for job in jobs if job.token_secret))


def arn_of(caller: Caller, service: str, resource: str) -> str:
    """Format the ARN of a regional resource in the caller's account."""
    partition = (caller.arn or "arn:aws").split(":")[1]
    return f"arn:{partition}:{service}:{caller.calls.region}:{caller.account or '*'}:{resource}"


def _role(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    yield from check_role(caller.calls, required("aws.role", aws.role), caller.account)


def _pass_role(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    role = required("aws.role", aws.role)
    yield from check_caller(caller.calls, caller.arn, ["iam:PassRole"], role, f"aws.role={role}")


def _start(jobs: Sequence[JobRequirements], aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    if aws.queue:
        actions, where = ["batch:SubmitServiceJob"], f"aws.queue={aws.queue}"
        queue = arn_of(caller, "batch", f"job-queue/{aws.queue}")
        resource = aws.queue if aws.queue.startswith("arn:") else queue
    else:  # lingotune's jobs have tags, which need a right of their own
        actions, where = ["sagemaker:CreateTrainingJob", "sagemaker:AddTags"], "AWS credentials"
        resource = arn_of(caller, "sagemaker", f"training-job/{jobs[0].name.lower()}")
    yield from check_caller(caller.calls, caller.arn, actions, resource, where)


REPORTING = tuple(
    f"sagemaker-mlflow:{action}"
    for action in ("GetExperimentByName", "CreateExperiment", "CreateRun", "LogBatch", "UpdateRun")
)
"""What the role does with SageMaker's MLflow when a run reports to it."""


def _role_access(
    jobs: Sequence[JobRequirements], aws: AwsConfig, caller: Caller
) -> Iterator[Answer]:
    role, bucket = required("aws.role", aws.role), required("aws.bucket", aws.bucket)
    if not role.startswith("arn:"):
        raise Unanswered(f"{role} is not the ARN of a role")
    s3 = f"arn:{role.split(':')[1]}:s3:::{bucket}"
    wanted = [
        (("s3:ListBucket",), s3),
        (("s3:GetObject", "s3:PutObject"), f"{s3}/{aws.prefix}/*"),
    ]
    for prefix in _elsewhere(jobs, bucket):  # data or a model that lie in another bucket
        there = f"arn:{role.split(':')[1]}:s3:::{prefix}"
        wanted.append((("s3:GetObject",), f"{there}*"))
        wanted.append((("s3:ListBucket",), there.partition("/")[0]))
    for secret in _secrets(jobs):  # AWS adds six characters of its own to a secret's name
        named = arn_of(caller, "secretsmanager", f"secret:{secret}-AbCdEf")
        resource = secret if secret.startswith("arn:") else named
        wanted.append(((READING[service_of(secret)],), resource))
    if aws.mlflow is not None:
        wanted.append((REPORTING, aws.mlflow))
    if aws.model_group is not None:
        wanted.append((("sagemaker:CreateModelPackage",), aws.model_group))
    yield from check_role_access(caller.calls, role, wanted)


def _elsewhere(jobs: Sequence[JobRequirements], bucket: str) -> list[str]:
    """List the channels' places outside of the job's own bucket: BUCKET/PREFIX/."""
    places = [uri.removeprefix("s3://") for job in jobs for uri, _ in job.channels.values()]
    return list(dict.fromkeys(place for place in places if not place.startswith(f"{bucket}/")))


def _bucket(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    yield from check_bucket(caller.calls, required("aws.bucket", aws.bucket), caller.account)


def _channels(jobs: Sequence[JobRequirements], aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    required("aws.bucket", aws.bucket)
    places = {uri: (name, n) for job in jobs for name, (uri, n) in job.channels.items()}
    yield from check_channels(caller.calls, places)
    for uri, (name, uploads) in places.items():
        if not uploads and not uri.startswith(f"s3://{aws.bucket}/"):
            where = f"{_NAMED_BY[name]}={uri.rstrip('/')}" if name in _NAMED_BY else uri
            yield from check_place(caller.calls, name, uri, where)


_NAMED_BY = {DATA_CHANNEL: "data.prepared", MODEL_CHANNEL: "model.name_or_path"}
"""Channel -> the setting that names a place for it that is in S3 already."""


def _models(jobs: Sequence[JobRequirements]) -> list[str]:
    """List the places in S3 of models that are not uploaded."""
    found = [job.channels.get(MODEL_CHANNEL, ("", True)) for job in jobs]
    return list(dict.fromkeys(uri for uri, uploads in found if not uploads))


def _model(jobs: Sequence[JobRequirements], caller: Caller) -> Iterator[Answer]:
    for uri in _models(jobs):
        yield from check_model(caller.calls, uri)


def _quotas(
    jobs: Sequence[JobRequirements], queued: bool, values: dict[str, float], caller: Caller
) -> Iterator[Answer]:
    counted = [job for job in jobs if not job.reserved]
    wanted = [(job.instance_type, job.nodes, job.spot, job.keep_alive) for job in counted]
    wanted += [
        (name, nodes, job.spot, job.keep_alive) for job in jobs for name, nodes in job.others
    ]
    needs = needs_of(wanted)
    yield from check_quotas(caller.calls, needs, queued, values)
    if len(counted) < len(jobs):
        raise Unanswered("a training plan's capacity is counted apart from the quotas")


def _secret(jobs: Sequence[JobRequirements], caller: Caller) -> Iterator[Answer]:
    for secret in _secrets(jobs):
        yield from check_secret(caller.calls, secret)


def _network(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    yield from check_network(caller.calls, aws.subnets, aws.security_groups)


def _keys(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    for setting, key in (("kms_key", aws.kms_key), ("volume_kms_key", aws.volume_kms_key)):
        if key:
            yield from check_key(caller.calls, f"aws.{setting}", key)


def _notify(topic: str, caller: Caller) -> Iterator[Answer]:
    yield from check_topic(caller.calls, topic)
    actions = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
    rule = arn_of(caller, "events", f"rule/{rule_of(topic)}")
    yield from check_caller(caller.calls, caller.arn, actions, rule, f"aws.notify={topic}")


def _queue(aws: AwsConfig, caller: Caller) -> Iterator[Answer]:
    queue = required("aws.queue", aws.queue)
    yield from check_queue(caller.calls, queue, aws.queue_share)
