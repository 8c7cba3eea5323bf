"""The bill of a finished job: time, cost, error of the estimate, scaling. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lingotune.catalog.hardware import instances
from lingotune.estimate.run_time import TimeEstimate
from lingotune.estimate.throughput import Setup, Throughput
from lingotune.launch.cost.cost import HOUR
from lingotune.launch.cost.prices import Price, rate_text, usd_text


@dataclass(frozen=True)
class Bill:
    """AWS's figures for a job's time: wall-clock seconds, and seconds billed per node."""

    training_seconds: float
    billable_seconds: float
    nodes: int
    spot: bool


def after_run(
    bill: Bill,
    price: Price | None,
    estimate: TimeEstimate | None,
    record: Throughput | None,
    records: Sequence[Throughput],
) -> list[str]:
    """Format time and cost of a finished job, the error of the estimate, and how well it scaled."""
    nodes = f"{bill.nodes} node{'' if bill.nodes == 1 else 's'}"
    lines = [
        f"billed {bill.billable_seconds:.0f} s of {bill.training_seconds:.0f} s on each of {nodes}"
    ]
    if bill.spot and bill.training_seconds:
        saved = 1 - bill.billable_seconds / bill.training_seconds
        lines.append(f"managed spot saved {saved:.1%}")
    if price is None:
        lines.append("cost unknown: the price is unknown")
    else:
        usd = bill.billable_seconds * bill.nodes * price.usd_per_hour / HOUR
        lines.append(
            f"cost {usd_text(usd)} = {bill.billable_seconds:.0f} s x {rate_text(price, bill.nodes)}"
        )
    lines.append(_estimate_error(bill, estimate))
    lines.append(_scaling(record, records))
    return lines


def _estimate_error(bill: Bill, estimate: TimeEstimate | None) -> str:
    if estimate is None or not bill.training_seconds:
        return "estimate: none, no run of this set-up was measured before"
    error = estimate.seconds / bill.training_seconds - 1
    return (
        f"estimate {estimate.seconds:.0f} s, {error:+.1%} of the {bill.training_seconds:.0f} s that"
        f" it took ({estimate.basis})"
    )


def _scaling(record: Throughput | None, records: Sequence[Throughput]) -> str:
    if record is None:
        return "throughput unknown: the job has left no record"
    speed = f"throughput {record.samples_per_second:.4g} samples/s"
    single = single_gpu_speed(record, records)
    if record.world_size == 1:
        return f"{speed} on one {'GPU' if record.setup.gpus_per_node else 'process'}"
    if single is None:
        return f"{speed}, scaling efficiency unknown: no run on one such GPU was measured"
    efficiency = record.samples_per_second / (record.world_size * single)
    return (
        f"{speed}, scaling efficiency {efficiency:.1%} = {record.samples_per_second:.4g} /"
        f" ({record.world_size} GPUs x {single:.4g} samples/s of one)"
    )


def single_gpu_speed(record: Throughput, records: Sequence[Throughput]) -> float | None:
    """Compute the median samples/s of runs on one such GPU: same GPU, model, batch, precision and length.

    If some of them trained on the same data, only these count. None if there are none.
    """
    wanted = _gpu_setup(record.setup)
    alone = [
        r
        for r in records
        if wanted and r.world_size == r.setup.gpus_per_node == 1 and _gpu_setup(r.setup) == wanted
    ]
    same = [r for r in alone if (r.data, r.languages) == (record.data, record.languages)]
    return median(r.samples_per_second for r in same or alone) if alone else None


def _gpu_setup(setup: Setup) -> tuple[str | int | None, ...] | None:
    """Select the properties that runs on one GPU and on several can share; None for a run on CPUs."""
    if not setup.gpus_per_node:
        return None
    known = instances().get(setup.instance_type or "")
    gpu = known.gpu if known else setup.machine or setup.instance_type
    return gpu, setup.model, setup.per_device_bs, setup.precision, setup.max_length
