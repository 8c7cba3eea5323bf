"""Pinning a sweep: what its jobs need is uploaded once, its trials are written down before any starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lingotune.config.schema import Prune, Search
from lingotune.contract.container import DATA_CHANNEL, MODEL_CHANNEL
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.aws.connection import Account
from lingotune.launch.cost.prices import find_price, load_prices
from lingotune.launch.plan.planner import Plan, Planner, Sweep, objects, planned_digests, with_data
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.training_job import job_name
from lingotune.launch.sweeps.leaving import Tell
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import OwnCode, Pin, PinnedTrial, put, save, uri_of
from lingotune.launch.sweeps.pinned_code import Renewed
from lingotune.launch.sweeps.running import Running
from lingotune.launch.sweeps.sources import metric_of
from lingotune.launch.sweeps.standing import Standing, member_of, new_pin
from lingotune.launch.sweeps.start_times import place_of
from lingotune.launch.sweeps.trial import Trial


def is_search_of(sweep: Sweep) -> bool:
    """Tell whether a sweep's trials are drawn, so that the plans are not trials themselves."""
    return sweep.plans[0].config.sweep.search is not Search.grid


def pin_sweep(standing: Standing, sweep: Sweep, account: Account, ledger: Ledger, say: Tell) -> Pin:
    """Upload what is missing, then pin the sweep, and write its trials into the ledger."""
    bundle, first, plans = standing.bundle, sweep.plans[0], sweep.plans
    pin = standing.pin or new_pin(
        standing.name, first.words, first.config.sweep, account.aws, bundle.digest
    )
    recoded = bundle.digest != pin.code
    searched = is_search_of(sweep)
    renewed = standing.renewed
    missing = [
        plan for plan in plans
        if plan.digests.job not in pin.by_key or plan.digests.job in renewed
    ]  # fmt: skip
    is_new = bool(missing) and (not searched or standing.pin is None or recoded)
    if is_new:
        missing = with_data(missing, say)
        _upload(missing, bundle, account, say)
        added = [] if searched else [_pinned(plan, renewed) for plan in missing]
        gone = {one.former.key for one in renewed.values()} | {one.key for one in added}
        trials = sorted(
            [*(one for one in pin.trials if one.key not in gone), *added],
            key=lambda one: one.number,
        )
        job = missing[0].training_job
        assert job is not None
        own = [known for plan in missing for known in OwnCode.of(plan.job.code)]
        pin = replace(
            pin, trials=tuple(trials), code=bundle.digest, code_uri=job.code_uri,
            own_code=tuple(dict.fromkeys([*pin.own_code, *own])),
        )  # fmt: skip
    save(pin, bundle, standing.folder)
    if is_new:
        put(account, pin)
        say(
            f"code {pin.code[:8]} and data of {pin.name} are pinned: {uri_of(account.aws, pin.name)}"
        )
    ledger.write_about(name=pin.name, words=list(pin.words), code=pin.code, held="", **_told(sweep))
    ledger.renew(one.trial for one in pin.trials)
    if searched or first.config.sweep.prune is Prune.none:
        ledger.add_trials(one.trial for one in pin.trials)  # others' source has them in its order
    return pin


def _pinned(plan: Plan, renewed: Mapping[str, Renewed]) -> PinnedTrial:
    """Pin a job; one that was started before keeps its name, by which its attempts are counted."""
    pinned, before = pinned_trial(plan), renewed.get(plan.digests.job)
    return replace(pinned, name=before.former.name) if before and before.begun else pinned


def _told(sweep: Sweep) -> dict[str, Any]:
    """Tell readers of the ledger what they would need the plans for: scores, money, place and rungs."""
    first = sweep.plans[0]
    metric, budget = metric_of(first.job), first.config.budget
    nodes = {plan.job.cluster.nodes for plan in sweep.plans}
    place = place_of(first.config, os.environ)
    return {
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "region": first.training_job.region if first.training_job else None,
        "max_usd": budget.max_usd,
        "usd_per_hour": budget.usd_per_hour,
        "warm": place.warm,
        "simulated": place.simulated,
        "first_rung": sweep.facts.first_rung if sweep.facts else None,
        **({"nodes": nodes.pop()} if len(nodes) == 1 else {}),
    }


def drawn_trial(
    standing: Standing,
    sweep: Sweep,
    planner: Planner,
    running: Running,
    number: int,
    varies: Mapping[str, str],
    say: Tell,
) -> Trial:
    """Compose, plan, upload and pin a trial that a search has drawn; ConfigError if it cannot be."""
    assert sweep.space is not None and sweep.name is not None
    first = sweep.plans[0]
    one = replace(
        sweep.space.suggested(varies), options=first.options, config_dir=first.config_dir,
        words=first.words,
    )  # fmt: skip
    key = one.key
    standing.members[key] = member_of(key, number, standing.pin)
    (plan,) = with_data([planner.trial(one, sweep.name, number)], say)
    pinned = pinned_trial(plan)
    if key not in running.pin.by_key:
        _upload([plan], standing.bundle, running.account, _silent)
        running.add(pinned, plan.job)
        save(running.pin, standing.bundle, standing.folder)
        put(running.account, running.pin)
    return pinned.trial


def _upload(plans: Sequence[Plan], bundle: Bundle, account: Account, tell: Tell) -> None:
    """Upload what the jobs of several plans need, what they share once."""
    contents: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for plan in plans:
        contents |= objects(plan, bundle)
        digests |= planned_digests(plan)
    account.upload(contents, digests, tell)


def _silent(line: str) -> None:
    """Say nothing of a single job's file, between the lines about what happens."""


def pinned_trial(plan: Plan) -> PinnedTrial:
    """Pin a planned job as a trial of the sweep."""
    job, cluster, budget = plan.training_job, plan.job.cluster, plan.config.budget
    assert job is not None and plan.number is not None, "a job without a number is none of a sweep"
    channels = dict(job.channels)
    price = find_price(
        load_prices(budget.prices), job.instance_type, job.region, budget.usd_per_hour
    )
    return PinnedTrial(
        number=plan.number,
        varies=dict(plan.varies),
        overrides=tuple(override.text for override in plan.overrides),
        key=plan.digests.job,
        name=job_name(plan.job, plan.digests),
        code=plan.digests.code,
        quota=job_quota(job.instance_type, spot=cluster.spot),
        nodes=job.instance_count,
        data_digest=plan.digests.data,
        data_uri=channels.get(DATA_CHANNEL),
        model_digest=plan.digests.model,
        model_uri=channels.get(MODEL_CHANNEL),
        expected_usd=plan.cost.expected_usd if plan.cost else None,
        worst_usd=plan.cost.worst_usd if plan.cost else None,
        usd_per_hour=price.usd_per_hour * job.instance_count if price else None,
        rates=_rates(plan, job.region),
    )


def _rates(plan: Plan, region: str) -> dict[str, float | None]:
    """Return USD per hour on each machine of a job's list; empty without a list."""
    budget, found = plan.config.budget, {}
    for row in plan.job.cluster.fallback:
        prices = load_prices(budget.prices)
        price = find_price(prices, row.instance_type or "", region, budget.usd_per_hour)
        found[row.instance_type or ""] = price.usd_per_hour * (row.nodes or 1) if price else None
    return found
