"""Plan of a deployment: what would be made, what it costs, and what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

from lingotune.catalog.hardware import Instance
from lingotune.config.problems import Problem, errors_only
from lingotune.config.schema import BudgetConfig, DeployKind, LaunchConfig
from lingotune.launch.checks.deployment import DEPLOYMENT, Wanted
from lingotune.launch.checks.sagemaker import account_names
from lingotune.launch.cost.prices import (
    ASYNC,
    HOSTING,
    TRANSFORM,
    Price,
    find_price,
    load_prices,
    usd_text,
)
from lingotune.launch.deploy.model import DeployedModel
from lingotune.launch.deploy.settings import DeployAction, Wish
from lingotune.launch.render.deployment import (
    INSTANCE,
    Deployment,
    Served,
    describe,
    instance_for,
    needed_mb,
)
from lingotune.launch.render.deployment_requests import to_requests
from lingotune.launch.render.shared_fields import Request

MONTH_HOURS = 730
"""Hours in a month, as AWS counts them."""
USE_OF = {"realtime": HOSTING, "async": ASYNC, "batch": TRANSFORM}
"""Kind of a deployment -> the use by which its instances are priced."""


@dataclass(frozen=True)
class DeployPlan:
    """A deployment as it would be made. run: as typed. price: of an instance; None = unknown, or
    serverless. today: from which the age of the price counts."""

    run: str
    wish: Wish
    model: DeployedModel
    deployment: Deployment
    price: Price | None
    problems: tuple[Problem, ...]
    today: date

    @property
    def config(self) -> LaunchConfig:
        """Settings of the command."""
        return self.wish.config

    @property
    def served(self) -> Served:
        """Description of the model."""
        return self.model.served

    @property
    def instance(self) -> Instance | None:
        """The instance type; None if serverless or unknown."""
        return instance_for(self.config.deploy)

    @property
    def instance_type(self) -> str:
        """Name of the instance type."""
        return self.config.deploy.instance_type or INSTANCE

    @property
    def needed_mb(self) -> int:
        """Megabytes of memory that the container needs."""
        return needed_mb(self.served, self.config.deploy)

    @cached_property
    def requests(self) -> dict[str, Request]:
        """The request of each operation, in their order."""
        return to_requests(self.deployment)

    @property
    def is_serverless(self) -> bool:
        """True if it is billed by the second of its work."""
        return self.config.deploy.kind is DeployKind.serverless

    @property
    def hour_usd(self) -> float | None:
        """USD of an hour of all its instances; None = unknown."""
        return None if self.price is None else self.price.usd_per_hour * self.deployment.count

    @property
    def month_usd(self) -> float | None:
        """USD of a month; None = unknown."""
        return None if self.hour_usd is None else self.hour_usd * MONTH_HOURS


def plan_deployment(run: str, wish: Wish, model: DeployedModel, today: date) -> DeployPlan:
    """Plan what was typed, with all problems that this machine can find."""
    config = wish.config
    deployment = describe(model.served, config.deploy, config.aws, config.attempt)
    plan = DeployPlan(run, wish, model, deployment, None, (), today)
    if not plan.is_serverless:
        plan = replace(plan, price=_price(plan))
    problems = DEPLOYMENT.run(Wanted(model.served, config))
    problems += [*_budget(plan), *_names(wish)]
    return replace(plan, problems=tuple(problems))


def _price(plan: DeployPlan) -> Price | None:
    budget, region = plan.config.budget, plan.config.aws.region
    use = USE_OF[plan.config.deploy.kind.value]
    prices = load_prices(budget.prices)
    return find_price(prices, plan.instance_type, region, budget.usd_per_hour, use)


def _budget(plan: DeployPlan) -> list[Problem]:
    """Compare a month of an endpoint with the budget; what a batch and a serverless endpoint will cost is
    not known."""
    budget: BudgetConfig = plan.config.budget
    if budget.max_usd is None:
        return []
    where = f"budget.max_usd={budget.max_usd:g}"
    if plan.month_usd is None or not plan.deployment.is_endpoint:
        what = "cannot be checked: what the deployment will cost is unknown"
        priced = plan.deployment.is_endpoint and not plan.is_serverless
        rate = ", or budget.usd_per_hour=... of the endpoint's instance" if priced else ""
        fix = f"budget.max_usd=null{rate}"
        return [Problem(where, what, fix, check="budget-unknown-price")]
    if plan.month_usd <= budget.max_usd:
        return []
    what = f"a month of the endpoint costs {usd_text(plan.month_usd)}"
    fix = f"budget.max_usd={math.ceil(plan.month_usd)}, or deploy.kind=serverless"
    why = "an endpoint bills until it is deleted, a month is 730 hours"
    return [Problem(where, what, fix, check="budget-exceeded", why=why)]


def _names(wish: Wish) -> list[Problem]:
    """Find names of the account that a submit lacks."""
    if wish.action not in (DeployAction.submit, DeployAction.register):
        return []
    examples = {
        "aws.role": "arn:aws:iam::111122223333:role/SageMakerRole",
        "aws.bucket": "my-bucket",
    }
    return [
        Problem(key, "is needed to submit", f"{key}={examples[key]}", check="account-name-missing")
        for key, value in account_names(wish.config.aws).items()
        if not value
    ]


def is_sound(plan: DeployPlan) -> bool:
    """Tell whether nothing keeps the deployment from being made, as far as this machine knows."""
    return not errors_only(list(plan.problems))
