"""Checks of a job before anything runs or is billed. Pure, table-driven.

Each check has an id, a severity, a reason and an override that fixes what it finds. All of them run,
so that the user sees everything at once. Every command runs `check_job`, and so does every worker;
launch.py adds the checks of `launch/checks`, about the requirements of a training job on SageMaker, the
code, and the request that would be sent.
"""

from __future__ import annotations

from lingotune.catalog.models import kind_for
from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import plan_batches
from lingotune.preflight.cluster import CLUSTER
from lingotune.preflight.code import OWN_CODE
from lingotune.preflight.data import DATA
from lingotune.preflight.distillation import DISTILLATION
from lingotune.preflight.job import JOB
from lingotune.preflight.lora import LORA
from lingotune.preflight.performance import PERFORMANCE
from lingotune.preflight.training import TRAINING

TABLES = (JOB, OWN_CODE, CLUSTER, DATA, PERFORMANCE, LORA, TRAINING, DISTILLATION)
"""Tables of checks, in the order in which their problems are reported."""


def check_secrets(config: JobConfig) -> list[Problem]:
    """Find texts that look like secrets, in a job or in everything that launch.py composes."""
    return JOB.run(config, only="secret-in-config")


def check_job(job: JobConfig) -> list[Problem]:
    """Find everything wrong with the job, errors and warnings."""
    problems = [problem for table in TABLES for problem in table.run(job)]
    if not errors_only(problems):  # the arithmetic needs valid numbers
        try:
            problems += _scaled_lr(job, plan_batches(job).learning_rate)
        except ConfigError as error:
            problems += error.problems
    return problems


def _scaled_lr(job: JobConfig, rate: float) -> list[Problem]:
    """Find a learning rate that only its scaling takes beyond what the model's kind bears."""
    kind, rule = kind_for(job), job.scaling.rule.value
    if not rate > kind.limit or job.code.builder:
        return []
    what = f"makes {rate:.3g} of lr={job.lr:g}; {kind.said} learns at {kind.low:g} to {kind.high:g}"
    return [
        Problem(
            f"scaling.rule={rule}",
            what,
            "scaling=sqrt, scaling=none, or a larger scaling.base_batch",
            check="scaled-lr-destroys",
            why="the first updates would destroy the model",
        )
    ]
