"""Checks of a composed job before any data is read; each runs once per job."""

from __future__ import annotations

from dataclasses import asdict

from lingotune.config.jobfile import job_of
from lingotune.config.problems import Problem, errors_only
from lingotune.config.program import program
from lingotune.config.schema import Action, Backend, LaunchConfig, Output, Resume
from lingotune.launch.checks.machines import on_each_machine
from lingotune.launch.checks.rehearsal import REHEARSAL, UNUSED
from lingotune.launch.checks.sagemaker import SAGEMAKER, account_names
from lingotune.launch.checks.sweep import SWEEP
from lingotune.launch.cost.cost import check_budget_settings
from lingotune.preflight import check_job, check_secrets


def check_launch(config: LaunchConfig) -> list[Problem]:
    """Find the problems that prevent planning a config, or submitting it if that was asked.

    Everything is reported at once: if the job itself has errors, so is everything that SageMaker would
    refuse. Otherwise that is part of the plan's findings, which `check_planned` returns.
    """
    problems = on_each_machine(config, lambda one: check_job(job_of(one)))
    problems += check_secrets(config)
    if config.attempt < 1:
        problems.append(Problem(f"attempt={config.attempt}", "is out of range", "attempt=1"))
    if config.resume is not Resume.auto:
        what = "is about a run folder of this machine; a job of SageMaker goes on by itself"
        fix = f"{program('resume')} JOB, or {program('train')} --run-dir RUN with it"
        problems.append(Problem(f"resume={config.resume.value}", what, fix))
    if config.output is Output.request and config.action is not Action.plan:
        what = f"prints a request, and action={config.action.value} does something with it"
        problems.append(Problem("output=request", what, "output=json, or action=plan"))
    problems += [*SWEEP.run(config), *REHEARSAL.run(config)]
    if config.cluster.instance_type is None:
        return problems + _needs_sagemaker(config)
    if errors_only(problems) or config.action is Action.submit:
        problems += on_each_machine(config, SAGEMAKER.run)
        problems += check_budget_settings(config.budget)
    if config.action is Action.submit and config.cluster.backend is Backend.aws:
        problems += _names(config)
    return problems


def check_planned(config: LaunchConfig) -> list[Problem]:
    """Find the problems to show with the plan of a job for SageMaker, besides those of `check_launch`."""
    refused = [] if config.action is Action.submit else on_each_machine(config, SAGEMAKER.run)
    return [*UNUSED.run(config), *refused]


def check_later(config: LaunchConfig) -> list[Problem]:
    """Find what `check_planned` will of a job for SageMaker; nothing of others."""
    return check_planned(config) if config.cluster.instance_type is not None else []


def _needs_sagemaker(config: LaunchConfig) -> list[Problem]:
    what = "cluster=local runs on this machine; there is nothing to "
    fix = "cluster=p4d_24xl"
    wanted = {
        f"action={config.action.value}": config.action is not Action.plan and config.action.value,
        "output=request": config.output is Output.request and "request",
        **{
            f"budget.{name}": value is not None and "pay for"
            for name, value in asdict(config.budget).items()
            if name != "confirm_usd"  # may stand in one's own files for all jobs
        },
    }
    return [Problem(where, what + verb, fix) for where, verb in wanted.items() if verb]


def _names(config: LaunchConfig) -> list[Problem]:
    examples = {
        "aws.role": "arn:aws:iam::111122223333:role/SageMakerRole",
        "aws.bucket": "my-bucket",
    }
    return [
        Problem(key, "is needed to submit", f"{key}={examples[key]}", check="account-name-missing")
        for key, value in account_names(config.aws).items()
        if not value
    ]
