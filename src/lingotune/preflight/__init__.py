"""What is wrong with a job, found before anything runs or is billed. Pure, table-driven.

Each check has an id, a severity, a reason and the override that mends what it finds; all are run,
so that the user sees everything at once. `check_job` is what every entry runs, workers too;
launch.py adds `sagemaker` (what a training job on SageMaker needs) and `rendered` (the code and the
request that would be sent).
"""

from __future__ import annotations

from lingotune.messages import errors_only
from lingotune.preflight import data as data
from lingotune.preflight import machines as machines
from lingotune.preflight import speed as speed
from lingotune.preflight.settings import JOB
from lingotune.scaling import plan_batches
from lingotune.schema import ConfigError, JobConfig, Problem


def check_job(job: JobConfig) -> list[Problem]:
    """Everything wrong with the job, errors and warnings."""
    problems = JOB.run(job)
    if not errors_only(problems):  # the arithmetic needs sane numbers
        try:
            plan_batches(job)
        except ConfigError as error:
            problems += error.problems
    return problems
