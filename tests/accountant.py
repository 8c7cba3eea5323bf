"""What really happened in an account, from the service's own record of its jobs.

Nothing here asks a client, a ledger or a log: a controller that is wrong about its jobs is found out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lingotune.launch.simulator.loopback.jobs import Job, Jobs
from lingotune.launch.simulator.loopback.quotas import instances

DIGEST = "lingotune:job-sha256"
"""Tag that is the same for all attempts at one job."""


@dataclass(frozen=True)
class Audit:
    """Findings about all jobs of an account.

    started: number of jobs by the digest of their job file (their name without one). asked_again: names
    for which a start was asked for although they were taken. peak: instances at a time at most, by type,
    from the acceptance of a job to its end. after_stop: seconds billed after a stop was asked for, by name.
    billed: instance seconds in all. running: names that have not ended.
    trained: number of jobs that did not fail, by digest.
    """

    started: Mapping[str, int]
    asked_again: Mapping[str, int]
    peak: Mapping[str, int]
    after_stop: Mapping[str, float]
    billed: float
    running: tuple[str, ...]
    trained: Mapping[str, int]

    @property
    def twice(self) -> dict[str, int]:
        """The jobs that were started more than once, and how often."""
        return {key: count for key, count in self.started.items() if count > 1}


def audit(jobs: Jobs) -> Audit:
    """Go through an account's jobs as they are now."""
    known = list(jobs)
    now = jobs.clock.time()
    taken = Counter(name for _, name, code in jobs.refused if code == "ResourceInUse")
    return Audit(
        started=Counter(job.tags.get(DIGEST, job.name) for job in known),
        asked_again=taken,
        peak=_peak(known, now),
        after_stop={
            job.name: _billed(job, now, since=job.stop_asked_at)
            for job in known
            if job.stop_asked_at is not None
        },
        billed=sum(_billed(job, now) * sum(instances(job.request).values()) for job in known),
        running=tuple(job.name for job in known if not job.over),
        trained=Counter(job.tags.get(DIGEST, job.name) for job in known if job.status != "Failed"),
    )


def _billed(job: Job, now: float, since: float | None = None) -> float:
    """Seconds for which a job's machines are billed, from a time on."""
    if job.started is None:
        return 0.0
    first = job.started if since is None else max(since, job.started)
    return max(0.0, (now if job.ended is None else job.ended) - first)


def _peak(jobs: Iterable[Job], now: float) -> dict[str, int]:
    changes: list[tuple[float, int, str]] = []
    for job in jobs:
        for instance_type, count in instances(job.request).items():
            changes.append((job.created, count, instance_type))
            changes.append((now if job.ended is None else job.ended, -count, instance_type))
    peak: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for _, change, instance_type in sorted(changes):  # at the same time, ends come first
        used[instance_type] += change
        peak[instance_type] = max(peak[instance_type], used[instance_type])
    return dict(peak)
