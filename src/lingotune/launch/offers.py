"""Machines that a job could take: what each costs, how long the job takes there, and whether it fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

from lingotune.catalog.hardware import Instance, fill_in, gpu_instances, instances
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.program import program
from lingotune.config.quoting import override_text
from lingotune.config.schema import LaunchConfig
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.memory import estimate_memory
from lingotune.estimate.run_time import duration
from lingotune.estimate.throughput import FILE, read_records
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.compose.group_files import group_files
from lingotune.launch.cost.cost import spot_share
from lingotune.launch.cost.prices import find_price, load_prices, usd_text
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.data_delivery import deliver
from lingotune.preflight import check_job

MOST_NODES = 16
_EXPENDABLE = ("GiB", "USD/h", "spot saves")
"""Columns that are left out, in this order, where the width does not hold all."""
_FURTHER, _TRIED = 2, 5
"""Machines that are suggested behind the first for want of capacity, and offers that are tried for them."""


@dataclass(frozen=True)
class Wanted:
    """Wishes about machines; None = any. memory_gb: GiB of one GPU. max_usd: the job's worst case."""

    gpus: int | None = None
    max_usd: float | None = None
    memory_gb: float | None = None


@dataclass(frozen=True)
class Offer:
    """A machine for a job.

    typed: overrides that take it. usd_per_hour: of all nodes, on demand. spot_saving: share that measured
    spot runs saved. memory_gib: that the job needs on a GPU. reasons: why the job does not run there;
    empty = it does. quota: instances that the account may use at a time. All amounts: None = unknown.
    """

    instance_type: str
    nodes: int
    gpus: int
    gpu: str
    gpu_gib: float
    typed: tuple[str, ...]
    usd_per_hour: float | None
    seconds: float | None
    expected_usd: float | None
    worst_usd: float | None
    memory_gib: float | None
    spot_saving: float | None
    reasons: tuple[str, ...] = ()
    quota: float | None = None

    @property
    def name(self) -> str:
        """Option of the group cluster, or else the instance type, by which a list names it."""
        option = self.typed[0].removeprefix("cluster=")
        return self.instance_type if option == "sagemaker" else option

    @property
    def fits(self) -> bool:
        """True if the job runs there, as far as is known."""
        return not self.reasons and (self.quota is None or self.quota >= self.nodes)

    def within(self, wanted: Wanted) -> bool:
        """Tell whether the job is sure to cost no more than is wanted."""
        if wanted.max_usd is None:
            return True
        return self.worst_usd is not None and self.worst_usd <= wanted.max_usd


def machines_for(wanted: Wanted) -> list[tuple[Instance, int]]:
    """List instances and their numbers with these GPUs; ConfigError if there are none, with the nearest.

    A single instance where there is one, else several of the largest that divide the number.
    """
    known = [one for one in gpu_instances().values() if one.sold]
    roomy = [one for one in known if one.gpu_gib >= (wanted.memory_gb or 0)]
    if not roomy:
        most = max(one.gpu_gib for one in known)
        what = f"no GPU has that much; the largest has {most:g} GiB"
        raise ConfigError([Problem(f"memory_gb={wanted.memory_gb:g}", what, f"memory_gb={most:g}")])
    if wanted.gpus is None:
        return [(one, 1) for one in roomy]
    parts = {one.gpus for one in roomy}
    nodes = {part: _nodes(wanted.gpus, part, parts) for part in parts}
    found = [(one, count) for one in roomy if (count := nodes[one.gpus])]
    if found:
        return found
    possible = [
        n for n in range(1, MOST_NODES * max(parts) + 1) if any(_nodes(n, p, parts) for p in parts)
    ]
    below = [n for n in possible if n < wanted.gpus][-1:]
    above = [n for n in possible if n > wanted.gpus][:1]
    near = " | ".join(f"gpus={n}" for n in [*below, *above])
    room = f" of at least {wanted.memory_gb:g} GiB" if wanted.memory_gb else ""
    what = f"no SageMaker machine has that many GPUs{room}, nor do several of one kind"
    raise ConfigError([Problem(f"gpus={wanted.gpus}", what, near)])


def _nodes(gpus: int, part: int, parts: set[int]) -> int:
    """Count instances with `part` GPUs that have `gpus` together; 0 if these are not the ones to take."""
    if gpus == part:
        return 1
    divisors = [p for p in parts if p > 1 and gpus % p == 0]
    if gpus in parts or not divisors or part != max(divisors) or gpus // part > MOST_NODES:
        return 0
    return gpus // part


def offers_for(
    config: LaunchConfig,
    wanted: Wanted,
    folders: Sequence[Path],
    today: date,
    quotas: Mapping[str, float] | None = None,
) -> list[Offer]:
    """Offer machines for a composed job, the one to take first. folders: of group files.

    quotas: by the name of the instance type; None = not asked for. ConfigError if none exists, or if the
    job has errors on all of them.
    """
    known, options = load_prices(config.budget.prices), _options(folders)
    records, _ = read_records(Path(config.runs_dir) / FILE)
    rows, estimator = deliver(config).rows, CostEstimator(today)
    offers, wrong = [], []
    for instance, nodes in machines_for(wanted):
        there = _on(config, instance, nodes)
        problems = errors_only([*check_job(job_of(there)), *SAGEMAKER.run(there)])
        wrong.append(problems)
        ready = not errors_only(check_job(job_of(there)))
        quote = estimator.quote(there, plan_batches(there), rows) if ready else None
        price = find_price(
            known, instance.instance_type, config.aws.region, config.budget.usd_per_hour
        )
        share, memory = spot_share(there.cluster, records), estimate_memory(there)
        offers.append(Offer(
            instance.instance_type, nodes, nodes * instance.gpus, instance.processor, instance.gpu_gib,
            _typed(instance, nodes, options),
            price.usd_per_hour * nodes if price else None,
            quote.time.seconds if quote and quote.time else None,
            quote.cost.expected_usd if quote and quote.cost else None,
            quote.cost.worst_usd if quote and quote.cost else None,
            memory.gib if memory else None, None if share is None else 1 - share,
            tuple(dict.fromkeys(_reason(p) for p in problems)),
            (quotas or {}).get(instance.instance_type),
        ))  # fmt: skip
    common = [p for p in wrong[0] if all(p in others for others in wrong)]
    if common:
        raise ConfigError(common)
    return sorted(offers, key=lambda one: _order(one, wanted))


def _on(config: LaunchConfig, instance: Instance, nodes: int) -> LaunchConfig:
    cluster = replace(
        config.cluster, instance_type=instance.instance_type, nodes=nodes,
        gpus_per_node=None, distribution=None,
    )  # fmt: skip
    return replace(config, cluster=fill_in(cluster))


def _reason(problem: Problem) -> str:
    return problem.what.partition(":")[0]


def _order(one: Offer, wanted: Wanted) -> tuple[object, ...]:
    """Order by what can be taken, then by the money that is expected, or else by the price of an hour."""
    expected = math.inf if one.expected_usd is None else one.expected_usd
    hourly = math.inf if one.usd_per_hour is None else one.usd_per_hour
    return not one.fits, not one.within(wanted), expected, hourly, one.gpus, one.instance_type


def _options(folders: Sequence[Path]) -> dict[str, str]:
    """Map instance types to the options of the group cluster that name them, and nothing else."""
    found: dict[str, str] = {}
    for file in group_files(*folders):
        if file.group != "cluster":
            continue
        try:
            content = file.content()
        except (OSError, ValueError):
            continue
        kind = content.settings.get("cluster.instance_type")
        alone = {"cluster.name", "cluster.instance_type"} >= content.settings.keys()
        if kind in instances() and alone and not content.defaults:
            found.setdefault(str(kind), file.option)
    return found


def _typed(instance: Instance, nodes: int, options: Mapping[str, str]) -> tuple[str, ...]:
    option = options.get(instance.instance_type)
    machine = (
        (f"cluster={option}",)
        if option
        else ("cluster=sagemaker", f"cluster.instance_type={instance.instance_type}")
    )
    return (*machine, *([f"cluster.nodes={nodes}"] if nodes > 1 else []))


# --- as text ------------------------------------------------------------------------------------


def taken(offers: Sequence[Offer], wanted: Wanted) -> Offer | None:
    """Choose the offer that would be taken: the first that fits; None if none does."""
    return next((one for one in offers if one.fits and one.within(wanted)), None)


def fallback_for(
    best: Offer, offers: Sequence[Offer], wanted: Wanted, works: Callable[[Sequence[str]], bool]
) -> tuple[str, ...]:
    """Find overrides for a list of machines, the best offer first; empty if none goes with it.

    works: tells whether the job can be submitted with overrides.
    """
    others = [one for one in offers if one.fits and one.within(wanted) and one.nodes == best.nodes]
    names: list[str] = []
    found: tuple[str, ...] = ()
    for one in [one for one in others if one is not best][:_TRIED]:
        listed = override_text("cluster.fallback", [*names, one.name])
        for more in ([], ["aws.sdk=boto3"]):  # the SDK v2 knows no list
            if works([*best.typed, f"cluster.fallback=[{','.join([*names, one.name])}]", *more]):
                names, found = [*names, one.name], (listed, *more)
                break
        if len(names) == _FURTHER:
            break
    return found


def command_for(
    offer: Offer, wanted: Wanted, words: Sequence[str], further: Sequence[str] = ()
) -> str:
    """Write the command that plans the job on the machine.

    words, further: overrides, quoted for the shell.
    """
    limit = [f"budget.max_usd={wanted.max_usd:g}"] if wanted.max_usd is not None else []
    return " ".join([program("launch"), *words, *offer.typed, *further, *limit])


def lines_of(
    offers: Sequence[Offer],
    wanted: Wanted,
    words: Sequence[str],
    further: Sequence[str] = (),
    *,
    asked: bool,
    width: int = 120,
) -> list[str]:
    """Write the table, in so many columns of text, and what follows from it.

    further: as of `fallback_for`. asked: the account was asked for its quotas.
    """
    best = taken(offers, wanted)
    rows = [_cells(one, best, wanted, asked=asked) for one in offers]
    kept = [name for name in rows[0] if any(row[name] not in ("", "unknown") for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in kept}
    for name in _EXPENDABLE:
        if name in kept and sum(widths[one] + 2 for one in kept) - 2 > width:
            kept.remove(name)
    lines = ["  ".join(name.ljust(widths[name]) for name in kept).rstrip()]
    lines += ["  ".join(row[name].ljust(widths[name]) for name in kept).rstrip() for row in rows]
    absent = [name for name in ("time", "USD") if name not in kept]
    lines.append("")
    if absent:
        lines.append("time and expected money unknown: no run of this set-up is on record")
    lines.append(
        "worst USD = cluster.max_run at the price of an hour, which is a list price on demand"
    )
    if not any(one.spot_saving is not None for one in offers):
        lines.append("spot saving unknown: no measured run; spot never costs more than on demand")
    if not asked:
        lines.append("quota not asked for: --quota asks AWS")
    lines += ["", *_conclusion(offers, wanted, words, best)]
    if best is not None and further:
        lines += ["or, where that has no capacity, the next ones of this table:"]
        lines += [f"  {command_for(best, wanted, words, further)}"]
    return lines


def _conclusion(
    offers: Sequence[Offer], wanted: Wanted, words: Sequence[str], best: Offer | None
) -> list[str]:
    if best is not None:
        return [f"take *: {command_for(best, wanted, words)}"]
    fitting = [one for one in offers if one.fits]
    if not fitting:
        return ["none of them runs this job"]
    priced = [one for one in fitting if one.worst_usd is not None]
    if not priced:
        return [f"max_usd={wanted.max_usd:g} cannot be checked: the prices are unknown"]
    cheapest = min(priced, key=lambda one: one.worst_usd or 0)
    usd = math.ceil(cheapest.worst_usd or 0)
    return [
        f"none costs at most {wanted.max_usd:g} USD in the worst case; the nearest is"
        f" {cheapest.instance_type}: max_usd={usd}, or a shorter cluster.max_run"
    ]


def _cells(one: Offer, best: Offer | None, wanted: Wanted, *, asked: bool) -> dict[str, str]:
    count = "" if one.nodes == 1 else f"{one.nodes} x "
    memory = "" if one.memory_gib is None else f"{one.memory_gib:.1f} of "
    lacks = one.quota is not None and one.quota < one.nodes
    short = f"quota {one.quota:g}" if lacks else ""
    dear = "price unknown" if one.worst_usd is None else "above max_usd"
    dear = "" if one.within(wanted) else dear
    return {
        " ": "*" if one is best else "",
        "machine": f"{count}{one.instance_type}",
        "GPUs": f"{one.gpus} x {one.gpu}",
        "GiB": f"{memory}{one.gpu_gib:g}",
        "USD/h": usd_text(one.usd_per_hour, unit=""),
        "time": "unknown" if one.seconds is None else duration(one.seconds),
        "USD": usd_text(one.expected_usd, unit=""),
        "worst USD": usd_text(one.worst_usd, unit=""),
        "spot saves": "" if one.spot_saving is None else f"{one.spot_saving:.0%}",
        "quota": ("unknown" if one.quota is None else f"{one.quota:g}") if asked else "",
        "fits": "; ".join(filter(None, [*one.reasons, short, dear])) or "yes",
    }


def as_dict(
    offers: Sequence[Offer], wanted: Wanted, words: Sequence[str], further: Sequence[str] = ()
) -> dict[str, object]:
    """Collect the offers as plain values. further: as of `fallback_for`."""
    best = taken(offers, wanted)
    return {
        "taken": best and best.instance_type,
        "command": best and command_for(best, wanted, words),
        "command_with_fallback": command_for(best, wanted, words, further)
        if best and further
        else None,
        "offers": [
            {**asdict(one), "fits": one.fits, "within": one.within(wanted), "taken": one is best}
            for one in offers
        ],
    }
