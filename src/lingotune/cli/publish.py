"""Entry of `lingotune publish`: the repository is named by overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, errors_only
from lingotune.config.schema import HubConfig, JobConfig
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.overrides import TypedOverride
from lingotune.preflight import check_job


def hub_typed(job: JobConfig, typed: Sequence[str], conf_dir: Path) -> HubConfig:
    """Replace the job's hub settings by those that overrides name; ConfigError for other overrides."""
    overrides = {typed.key: typed for typed in map(TypedOverride.read, typed)}
    others = [override for override in overrides.values() if override.section != "hub"]
    if others:
        what = "has no effect here: overrides name the repository"
        fix = "hub=private, hub=public, hub.repo=NAME, hub.license=..."
        raise ConfigError([o.refused(what, fix) for o in others])
    if not typed:
        return job.hub
    found: HubConfig = job_of(
        compose_all(list(typed), conf_dir, lambda config: [], multirun=False)[0].config
    ).hub
    names = {"visibility" if key == "hub" else key.partition(".")[2] for key in overrides}
    hub = replace(job.hub, **{name: getattr(found, name) for name in names})
    # Where a check is called otherwise, it looks at these settings too: secrets, ranges.
    checked = check_job(replace(job, hub=hub))
    wrong = [p for p in checked if p.section == "hub"]
    if errors_only(wrong):
        raise ConfigError(wrong)
    return hub
