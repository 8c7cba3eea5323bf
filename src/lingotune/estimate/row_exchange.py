"""Exchanging the word embeddings' gradient: all its rows, or only those that an update touches. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.config.schema import Distribution, JobConfig, TrainingConfig
from lingotune.estimate.batch import trains_no_rows

WORTH = 0.005
"""Seconds to save per update at least: picking the rows and putting them back takes time as well, and on a
GPU the host waits for their number."""
FP32 = 4
"""Bytes of a number in fp32."""


@dataclass(frozen=True)
class Traffic:
    """What an update exchanges of the word embeddings' gradient.

    rows: that are trained. touched: those that occur in an update's texts. dim: numbers in a row. width:
    bytes of a number.
    """

    rows: int
    touched: int
    dim: int
    width: int = FP32

    @property
    def whole_bytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.dim * self.width

    @property
    def touched_bytes(self) -> int:
        """Bytes of the touched rows, and a mark for each row."""
        return self.touched * self.dim * self.width + self.rows


@dataclass(frozen=True)
class Link:
    """How fast the processes sum up numbers. latency: seconds for a single one. bandwidth: bytes of each
    process's numbers per second, which is half of what it sends, or less."""

    latency: float
    bandwidth: float

    def seconds(self, size: int) -> float:
        """Estimate the seconds to sum up so many bytes."""
        return self.latency + size / self.bandwidth


def pays(traffic: Traffic, link: Link) -> bool:
    """Tell whether exchanging the touched rows only saves a time worth it."""
    return touched_seconds(traffic, link) + WORTH <= link.seconds(traffic.whole_bytes)


def touched_seconds(traffic: Traffic, link: Link) -> float:
    """Estimate the seconds to exchange the marks and the touched rows."""
    return 2 * link.latency + traffic.touched_bytes / link.bandwidth


def asked_for(training: TrainingConfig) -> bool | None:
    """Tell whether a job asks for exchanging the touched rows only; None = it leaves that open."""
    return True if training.sparse_exchange else training.row_exchange


def as_typed(training: TrainingConfig) -> tuple[str, str]:
    """Return the setting that asks for one of the ways, as typed, and as it leaves that open."""
    if training.sparse_exchange:
        return "training.sparse_exchange=true", "training.sparse_exchange=false"
    value = {None: "null", True: "true", False: "false"}[training.row_exchange]
    return f"training.row_exchange={value}", "training.row_exchange=null"


def unproven(job: JobConfig) -> str | None:
    """Describe why a job that does not ask for the touched rows exchanges all; None if nothing is in the
    way of measuring."""
    if job.code.builder or job.model.remote_code:
        return "what a model with code of its own does with them cannot be told"
    if job.training.compile:
        return "the model is compiled"
    if job.cluster.instance_type and job.cluster.distribution is Distribution.smdistributed:
        return "smdistributed has a way of its own"
    return None


def is_open(job: JobConfig) -> bool:
    """Tell whether the start of the training decides, if it has several processes."""
    training = job.training
    whole = trains_no_rows(training) or training.shard or unproven(job)
    return asked_for(training) is None and not whole
