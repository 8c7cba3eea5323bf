"""`lingotune deploy`: plans, checks, makes or deletes an endpoint or a batch transform of a run's model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say
from lingotune.config.problems import (
    INTERRUPTED,
    ConfigError,
    Problem,
    errors_only,
    exit_code_for,
)
from lingotune.config.program import program
from lingotune.config.schema import BudgetConfig, LaunchConfig, Output
from lingotune.launch.confirm import YES, ask, can_ask, needs_answer, require_answer
from lingotune.launch.deploy.plan import DeployPlan, plan_deployment
from lingotune.launch.deploy.settings import DeployAction, Wish, read_wish
from lingotune.launch.results.chosen import run_named
from lingotune.runs.folder import MODEL


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    purpose = "Serve a run's model on SageMaker: as an endpoint, or for a file of texts."
    made = command_parser("deploy", purpose)
    made.add_argument(
        "run", help="a run folder, SWEEP:best, a model's folder; to delete also an endpoint's name"
    )
    made.add_argument(
        "settings",
        nargs="*",
        help="action=plan|check|submit|delete|register|approve; kind=realtime|serverless|async|batch,"
        " instance_type=, count=, name= and others of deploy; aws.KEY=..., budget.KEY=...",
    )
    made.add_argument("--follow", action="store_true", help="stay until it serves, or has ended")
    made.add_argument("--detach", action="store_true", help="leave once it was submitted")
    made.add_argument(YES, action="store_true", help="do not ask before it bills, or is deleted")
    made.add_argument("--config-dir", metavar="DIR", help="group files of your own")
    return made


def main(argv: Sequence[str]) -> int:
    """Do what was asked; returns the exit code."""
    options = parsed(parser(), argv, "settings")
    if options.follow and options.detach:
        what = "stay, and do not stay"
        raise ConfigError([Problem("--follow --detach", what, "--follow | --detach")])
    wish = read_wish(options.settings, options.config_dir)
    if wish.action is DeployAction.delete:
        return _delete(options.run, wish, yes=options.yes)
    from lingotune.launch.deploy.model import deployed_model

    run = run_named(options.run, wish.config.runs_dir)
    follow = options.follow or (not options.detach and sys.stdout.isatty())
    with deployed_model(run) as model:
        located = _with_region(wish)
        plan = plan_deployment(options.run, located, model, date.today())
        return _carry_out(plan, follow=follow, yes=options.yes)


def _with_region(wish: Wish) -> Wish:
    """Fill in this machine's region where AWS is asked; a plan asks nobody."""
    if wish.action is DeployAction.plan:
        return wish
    from dataclasses import replace

    from lingotune.launch.aws.connection import with_machine_region

    config: LaunchConfig = replace(wish.config, aws=with_machine_region(wish.config.aws))
    return replace(wish, config=config)


def _carry_out(plan: DeployPlan, *, follow: bool, yes: bool) -> int:
    from lingotune.launch.deploy.page import as_dict, page_of
    from lingotune.launch.plan.page import show, to_json

    output, action = plan.config.output, plan.wish.action
    if action is DeployAction.approve:
        from lingotune.launch.deploy.registry import approve

        say(approve(plan))
        return 0
    if output is Output.request:
        print(to_json(plan.requests))
        return _told(plan)
    if output is Output.json:
        print(to_json(as_dict(plan)))
    else:
        show(page_of(plan))
    code = exit_code_for(plan.problems)
    if action is DeployAction.plan:
        return code
    if code:
        wrong = errors_only(list(plan.problems))
        raise ConfigError(wrong, "nothing was started; mend, then submit again")
    from lingotune.launch.deploy.account import check_deployment, show_account

    checked = check_deployment(plan)
    code = show_account(checked)
    if action is DeployAction.check and not checked.asked:
        from lingotune.launch.execution import NOTHING_ASKED

        raise ConfigError([NOTHING_ASKED])
    _refresh_price(plan)
    if code or action is DeployAction.check:
        return code
    if action is DeployAction.register:
        from lingotune.launch.deploy.registry import register

        register(plan, say)
        return 0
    if not _agreed(plan, yes=yes):
        return INTERRUPTED
    return _submit(plan, follow=follow)


def _refresh_price(plan: DeployPlan) -> None:
    """Keep AWS's price of an endpoint's instance for the plans to come; others take many pages to find."""
    from lingotune.launch.aws.pricing import refresh_prices
    from lingotune.launch.cost.prices import HOSTING
    from lingotune.launch.deploy.plan import USE_OF

    if USE_OF.get(plan.config.deploy.kind.value) == HOSTING:
        refresh_prices(plan.config.aws.region, [plan.instance_type], plan.today, HOSTING)


def _told(plan: DeployPlan) -> int:
    from lingotune.config.console import say_problems

    if plan.problems:
        say_problems(plan.problems)
    return exit_code_for(plan.problems)


def _agreed(plan: DeployPlan, *, yes: bool) -> bool:
    """Ask where the budget wants it; ConfigError where nobody can be asked."""
    budget: BudgetConfig = plan.config.budget
    at_stake = plan.month_usd if plan.deployment.is_endpoint else None
    if yes or not needs_answer(budget, at_stake):
        return True
    from lingotune.launch.cost.prices import usd_text
    from lingotune.launch.deploy.page import money_lines
    from lingotune.launch.deploy.submit import bills_line

    if not can_ask():
        month = None if at_stake is None else f"a month of the endpoint costs {usd_text(at_stake)}"
        require_answer(budget, month or money_lines(plan)[0])
    return ask(f"{bills_line(plan)}\nstart it?", "nothing was started")


def _submit(plan: DeployPlan, *, follow: bool) -> int:
    from lingotune.launch.deploy.page import ask_lines
    from lingotune.launch.deploy.submit import bills_line, submit
    from lingotune.launch.deploy.submit import follow as stay

    if plan.config.aws.model_group:
        from lingotune.launch.deploy.registry import register

        register(plan, say)
    submit(plan, say)
    one = plan.deployment
    if follow:
        stay(plan, say)
    else:
        say(f"  {program('status')} {one.name} --region {one.region}")
    lines = [f"answers: {one.output_uri}"]
    if one.is_endpoint:
        lines = [*ask_lines(plan), bills_line(plan)]
    for line in lines:
        say(f"  {line}")
    return 0


def _delete(typed: str, wish: Wish, *, yes: bool) -> int:
    """Show what there is of an endpoint, ask, and delete it."""
    from lingotune.launch.deploy.delete import deletable, delete_all, lines_of
    from lingotune.launch.deploy.standing import Rates, open_deployments
    from lingotune.launch.deploy.words import delete_of

    name = _named(typed, wish)
    made = open_deployments(wish.config.aws.region)
    found = deletable(made, name)
    for line in lines_of(found, Rates(made, wish.config.budget.prices)):
        say(line)
    if not yes:
        if not can_ask():
            what = f"would be deleted with its {len(found)} parts, and there is no terminal to ask"
            fix = delete_of(name, made.region, YES)
            raise ConfigError([Problem(name, what, fix, check="not-confirmed")])
        if not ask("delete it? what was uploaded to S3 stays", "nothing was deleted"):
            return 0
    delete_all(made, found)
    say(f"deleted: {name}; nothing of it bills any more")
    return 0


_CONFIGS = (("config.json",), (MODEL, "config.json"))
"""Files of which a folder with a model has one; another folder may have an endpoint's name."""


def _named(typed: str, wish: Wish) -> str:
    """Return the endpoint's name: as typed, that of the run's deployment, or the word itself."""
    if wish.config.deploy.name:
        return wish.config.deploy.name
    if ":" not in typed and not any(Path(typed, *parts).is_file() for parts in _CONFIGS):
        return typed
    from lingotune.evaluation.classifier import trained_model
    from lingotune.launch.render.deployment import LONGEST_NAME

    job = trained_model(run_named(typed, wish.config.runs_dir)).job
    return job.name[:LONGEST_NAME].rstrip("-") if job else Path(typed).resolve().name
