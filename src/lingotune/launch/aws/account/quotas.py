"""Checks of the account's quotas: how many machines of a kind it may use at once."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from lingotune.config.problems import Problem, Severity
from lingotune.launch.aws.account.answers import answered, connected
from lingotune.launch.aws.account.calls import Answer, Calls, Response, Unanswered

PER_JOB = "Maximum number of instances per training job"
"""Quota for each single job, whatever else runs."""
_WHY = "AWS refuses jobs beyond the quota; an increase can take days"
_WHY_POOL = "without the quota the machines are not kept, and the next job waits for new ones"


@dataclass(frozen=True)
class Need:
    """A sweep's demand on one quota.

    quota: its name. nodes: machines of each job. by_instance: whether AWS has one quota per instance type.
    pool: whether it is about machines kept for the next job, without which jobs still run. where: setting
    of the number of machines.
    """

    quota: str
    nodes: tuple[int, ...]
    by_instance: bool = False
    pool: bool = False
    where: str = "cluster.nodes"

    @property
    def enforced(self) -> bool:
        """True if AWS refuses jobs beyond the quota, as far as is known."""
        return self.by_instance and not self.pool

    @property
    def together(self) -> int:
        """Number of machines if all jobs run at once."""
        return max(self.nodes) if self.quota == PER_JOB else sum(self.nodes)


def job_quota(instance: str, *, spot: bool) -> str:
    """Name the quota of an instance type that training jobs count against."""
    return f"{instance} for {'spot training' if spot else 'training'} job usage"


def quotas_of(
    region: str | None, instance_types: Sequence[str], *, spot: bool = False
) -> dict[str, float]:
    """Ask for the quotas of instance types, those that the account has; ConfigError without an answer."""
    names = {job_quota(name, spot=spot): name for name in instance_types}

    def ask() -> dict[str, float]:
        calls = connected(region)
        known = _listed(calls, "list_service_quotas", set(names))
        missing = names.keys() - known.keys()
        if missing:  # an account without its own value has AWS's default
            known = {**_listed(calls, "list_aws_default_service_quotas", missing), **known}
        return {names[quota]: entry["Value"] for quota, entry in known.items()}

    return answered("--quota", ask)


def needs_of(jobs: Sequence[tuple[str, int, bool, bool]]) -> list[Need]:
    """List the quotas that jobs need; each job is instance type, nodes, spot, keep alive.

    A warm pool's machines count against the quota of training jobs, too.
    """
    nodes: dict[tuple[str, bool, bool], list[int]] = {}
    for instance, count, spot, keep in jobs:
        kind = "spot training" if spot else "training"
        names = [(job_quota(instance, spot=spot), True, False)]
        if keep:
            names.append((f"{instance} for training warm pool usage", True, True))
        names.append((f"Number of instances across all {kind} jobs", False, False))
        if not spot:
            names.append((PER_JOB, False, False))
        for name in names:
            nodes.setdefault(name, []).append(count)
    return [Need(name, tuple(n), required, pool) for (name, required, pool), n in nodes.items()]


def check_quotas(
    calls: Calls, needs: Sequence[Need], queued: bool, values: dict[str, float] | None = None
) -> Iterator[Answer]:
    """Check that each quota is enough for every single job, and for all of them at once.

    queued: an AWS Batch queue, or the controller of a sweep, holds jobs back, so that they need not all fit
    at once. values: takes the quotas that are known, by name.
    """
    known = _listed(calls, "list_service_quotas", {need.quota for need in needs})
    missing = {need.quota for need in needs if need.by_instance} - known.keys()
    if missing:  # an account without its own value has AWS's default
        known = {**_listed(calls, "list_aws_default_service_quotas", missing), **known}
    for need in needs:
        quota = known.get(need.quota)
        if quota is not None:
            if values is not None:
                values[need.quota] = quota["Value"]
            yield _judge(calls.region, need, quota, queued)
    unknown = [need.quota for need in needs if need.by_instance and need.quota not in known]
    if unknown:
        raise Unanswered(f"AWS lists no quota '{unknown[0]}' in {calls.region}")


def _listed(calls: Calls, operation: str, names: Set[str]) -> dict[str, Response]:
    """List quotas by name, reading pages until all are found."""
    found: dict[str, Response] = {}
    token: dict[str, str] = {}
    while True:
        page = calls.ask(
            "service-quotas", operation, (), ServiceCode="sagemaker", MaxResults=100, **token
        )
        for quota in page.get("Quotas", []):
            if quota.get("QuotaName") in names and "Value" in quota:
                found[quota["QuotaName"]] = quota
        following = page.get("NextToken")
        if found.keys() == names or not following or following == token.get("NextToken"):
            return found
        token = {"NextToken": following}


def _judge(region: str, need: Need, quota: Response, queued: bool) -> Answer:
    value, largest, count = quota["Value"], max(need.nodes), len(need.nodes)
    fits = f"the quota '{need.quota}' in {region} is {value:g}"
    if value < largest:
        severity = Severity.error if need.enforced else Severity.warning
        fix = _raise(region, quota, largest)
        where = "cluster.keep_alive" if need.pool else f"{need.where}={largest}"
        why = _WHY_POOL if need.pool else _WHY
        return Problem(where, f"{fits}, below {largest}", fix, severity, "quota", why)
    if value < need.together and not queued:
        what = f"{fits}; all {count} need {need.together}: those beyond it are refused"
        fix = f"{_raise(region, quota, need.together)}; or fewer jobs at a time, or aws.queue=..."
        return Problem("the sweep", what, fix, Severity.warning, "quota-sweep", _WHY)
    return f"{fits}, enough for {largest if queued else need.together}"


def _raise(region: str, quota: Response, value: int) -> str:
    if not quota.get("Adjustable", True):
        return "another instance type or fewer machines: AWS does not raise this quota"
    command = [
        "aws", "service-quotas", "request-service-quota-increase", "--service-code", "sagemaker",
        "--quota-code", str(quota.get("QuotaCode", "")), "--desired-value", str(value),
        "--region", region,
    ]  # fmt: skip
    return shlex.join(command)
