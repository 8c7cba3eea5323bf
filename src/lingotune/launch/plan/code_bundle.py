"""The bundle of a command's jobs, with their own code in it."""

from __future__ import annotations

from collections.abc import Sequence

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import LaunchConfig, Tracker
from lingotune.contract.container import TRACKING_URI
from lingotune.launch.render.bundle import Bundle, build_bundle
from lingotune.plugins.source import find_source, stored_name
from lingotune.training.adapters import REQUIREMENT as LORA
from lingotune.training.trackers import BY_ARN, REQUIREMENTS


def bundle_of(configs: Sequence[LaunchConfig]) -> Bundle:
    """Pack the code of all jobs of a command. ConfigError if a file of own code has changed meanwhile."""
    needed = [REQUIREMENTS[name] for config in configs for name in config.training.report_to]
    needed += [BY_ARN for config in configs if _reports_by_arn(config)]
    needed += [LORA for config in configs if config.training.lora.rank is not None]
    own: dict[str, bytes] = {}
    problems: list[Problem] = []
    for config in configs:
        needed += config.code.requirements
        try:
            source = find_source(config.code, [])
        except ConfigError as error:
            problems += error.problems
            continue
        if source:
            own[stored_name(source.sha256)] = source.content
    if problems:
        raise ConfigError(problems, "the same command once more")
    return build_bundle(needed, own_code=own)


def _reports_by_arn(config: LaunchConfig) -> bool:
    """Tell whether MLflow's client is given an ARN of SageMaker's MLflow, which it needs a plugin for."""
    uri = config.aws.mlflow or config.cluster.environment.get(TRACKING_URI, "")
    return Tracker.mlflow in config.training.report_to and uri.startswith("arn:")
