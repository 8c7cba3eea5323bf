"""`lingotune publish`: pushes a model to the repository that overrides name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, errors_only
from lingotune.config.schema import HubConfig, JobConfig
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.overrides.overrides import TypedOverride
from lingotune.launch.results.chosen import run_named
from lingotune.preflight import check_job


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("publish", "Push the model of a run to the Hugging Face Hub.")
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument(
        "overrides", nargs="*", help="hub=private|public hub.KEY=...; default: the run's own"
    )
    made.add_argument("--config-dir", metavar="DIR", help="group files of your own")
    return made


def main(argv: Sequence[str]) -> int:
    """Push the model and print its address."""
    options = parsed(parser(), argv, "overrides")
    options.run = run_named(options.run)
    extra = user_dir(options.config_dir, os.environ)
    from lingotune.hub.publish_run import finished_run, publish_run

    run = finished_run(options.run)
    hub = hub_typed(run.job, options.overrides, shipped_dir(), extra)
    given = ["--config-dir", options.config_dir] if options.config_dir else []
    print(f"published: {publish_run(run, hub, [options.run, *options.overrides, *given])}")
    return 0


def hub_typed(
    job: JobConfig, typed: Sequence[str], conf_dir: Path, extra_dir: Path | None = None
) -> HubConfig:
    """Replace the job's hub settings by those that overrides name; ConfigError for other overrides."""
    overrides = {typed.key: typed for typed in map(TypedOverride.read, typed)}
    others = [override for override in overrides.values() if override.section != "hub"]
    if others:
        what = "has no effect here: overrides name the repository"
        fix = "hub=private, hub=public, hub.repo=NAME, hub.license=..."
        raise ConfigError([o.refused(what, fix) for o in others])
    if not typed:
        return job.hub
    composed = compose_all(
        list(typed), conf_dir, lambda config: [], multirun=False, extra_dir=extra_dir
    )
    found: HubConfig = job_of(composed[0].config).hub
    names = {"visibility" if key == "hub" else key.partition(".")[2] for key in overrides}
    hub = replace(job.hub, **{name: getattr(found, name) for name in names})
    # Checks of other sections look at these settings, too: secrets, ranges.
    checked = check_job(replace(job, hub=hub))
    wrong = [p for p in checked if p.section == "hub"]
    if errors_only(wrong):
        raise ConfigError(wrong)
    return hub
