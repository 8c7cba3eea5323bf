"""Slots of a sweep: how many of its jobs run at a time, by its own limit and the account's quotas. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lingotune.config.schema import Backend, ClusterConfig, FallbackBy, Search, SweepConfig
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.plan.planner import Plan


@dataclass(frozen=True)
class Slots:
    """Jobs at a time; None = unknown, as many as the account's quota allows. lines: say why."""

    count: int | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Pool:
    """Jobs that count against the same quota. nodes: machines of the largest. value: None = unknown."""

    instance: str
    jobs: int
    nodes: int
    value: float | None

    @property
    def room(self) -> int | None:
        """Jobs that the quota lets run at a time."""
        return None if self.value is None else int(self.value) // self.nodes

    def __str__(self) -> str:
        machines = f", and a job takes {self.nodes}" if self.nodes > 1 else ""
        return f"the account's quota of {self.instance} is {self.value:g}{machines}"


def slots_of(
    settings: SweepConfig, plans: Sequence[Plan], quotas: Mapping[str, float] | None = None
) -> Slots:
    """Find out how many jobs of a sweep run at a time.

    quotas: of the account by name, as AWS has told them; None if it was not asked.
    """
    most, first = settings.max_parallel, plans[0]
    own = f"at most {most} at a time (sweep.max_parallel)"
    if _runs_here(first):
        return Slots(most or 1, (own if most else "one at a time (sweep.max_parallel)",))
    if first.config.aws.queue is not None:
        return Slots(None, (f"as many at a time as the queue {first.config.aws.queue} takes",))
    pools = _pools(plans, quotas or {}, searched=settings.search is not Search.grid)
    unknown = ", ".join(pool.instance for pool in pools if pool.room is None)
    if unknown:
        why = "action=check asks for it" if quotas is None else "AWS has not told it"
        if most is None:
            own = (
                f"as many at a time as the account's quota of {unknown} allows (sweep.max_parallel)"
            )
            return Slots(None, (own, f"that quota is not known: {why}"))
        quota = f"or fewer: the account's quota of {unknown} is not known: {why}"
        return Slots(most, (own, quota))
    room = sum(min(pool.room or 0, pool.jobs) for pool in pools)
    if most is None or room < most:
        more = f", fewer than sweep.max_parallel={most}" if most else ""
        return Slots(room, (f"at most {room} at a time{more}", *map(str, pools)))
    return Slots(most, (own, *map(str, pools)))


def _runs_here(plan: Plan) -> bool:
    """Tell whether a job runs on this machine, which is no more at a time than it is told."""
    return plan.training_job is None or plan.config.cluster.backend is Backend.loopback


def _pools(plans: Sequence[Plan], quotas: Mapping[str, float], *, searched: bool) -> list[_Pool]:
    """Sort jobs by the quotas that they count against. searched: the plans are corners of a space, so
    that the jobs of each pool are not known."""
    found: dict[str, _Pool] = {}
    for plan in plans:
        instance, count, quota = tightest(plan.job.cluster, quotas)
        before = found.get(quota, _Pool(instance, 0, 1, quotas.get(quota)))
        jobs = 10**6 if searched else before.jobs + 1
        nodes = max(before.nodes, count)
        found[quota] = _Pool(instance, jobs, nodes, before.value)
    return list(found.values())


def tightest(cluster: ClusterConfig, quotas: Mapping[str, float]) -> tuple[str, int, str]:
    """Find the quota that lets the fewest jobs of a list of machines run at a time, an unknown one first.

    SageMaker asks for the quota of every machine of a list that it walks itself. Returns the instance type,
    its number in a job, and the quota's name.
    """
    machines = [(cluster.instance_type or "", cluster.nodes)]
    if cluster.fallback and cluster.fallback_by is FallbackBy.sagemaker:
        machines = [(row.instance_type or "", row.nodes or 1) for row in cluster.fallback]
    named = [(kind, nodes, job_quota(kind, spot=cluster.spot)) for kind, nodes in machines]
    return min(named, key=lambda one: quotas.get(one[2], -1) // one[1])
