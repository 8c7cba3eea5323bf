"""`lingotune prepare`: prepares a source for a model, once, and shows what is in it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.config.console import Parser, say
from lingotune.config.jobfile import job_of
from lingotune.config.private_files import allow_readers
from lingotune.config.problems import ConfigError, Problem, format_problems
from lingotune.config.program import program
from lingotune.config.schema import LaunchConfig
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.overrides.overrides import TypedOverride
from lingotune.preflight import check_job, check_secrets

PURPOSE = "Prepare data: read, check, split and tokenise a source, once, and show what is in it."
_SECTIONS = (
    "data",
    "model",
    "distillation",
    "experiment",
    "seed",
    "prepared_dir",
    "runs_mode",
    "name",
)
"""Sections of the settings that prepared data depends on."""
_OPTIONS = {
    "--init FILE": "look at a source, FILE or data.path=..., and write a group file for it: FILE.yaml",
}
_OF_THE_TRAINING = (
    *("data.prepared", "data.language_alpha", "data.balance"),
    *("distillation.alpha", "distillation.temperature"),
)


def main(argv: Sequence[str]) -> int:
    """Prepare the data of every job that was typed."""
    own = Parser(command().program, add_help=False, allow_abbrev=False)
    own.add_argument("--init", metavar="FILE")
    own.add_argument("--config-dir", metavar="DIR")
    options, typed = own.parse_known_args(list(argv))
    if options.init is not None and not {"-h", "--help"} & set(typed):
        from lingotune.launch.init_data import init_data  # numpy from here on

        extra = user_dir(options.config_dir, os.environ)
        print(init_data(options.init, typed, shipped_dir(), extra))
        return 0
    composed = composed_jobs(list(argv), command(), shipped_dir(), check_data)
    for one in composed:
        _refuse_others(one.overrides)
    for one in composed:
        if one.findings:
            print(format_problems(one.findings))
        _prepare(one.config)
    return 0


def command() -> Command:
    """Describe the command, for its help."""
    return Command(program("prepare"), PURPOSE, _SECTIONS, _OPTIONS)


def check_data(config: LaunchConfig) -> list[Problem]:
    """Check the settings that prepared data depends on."""
    return [
        problem
        for problem in [*check_job(job_of(config)), *check_secrets(config)]
        if problem.section in _SECTIONS
    ]


def _refuse_others(overrides: Sequence[TypedOverride]) -> None:
    what = "has no effect on prepared data"
    problems = [
        typed.refused(what, "leave it out")
        for typed in overrides
        if typed.section not in _SECTIONS or typed.key in _OF_THE_TRAINING
    ]
    if problems:
        raise ConfigError(problems)


def _prepare(config: LaunchConfig) -> None:
    from lingotune.data.prepared.manifest import load_manifest
    from lingotune.data.transfer import fetch_sources
    from lingotune.report.data_page import PAGE, lines_of, write_report
    from lingotune.serving.teacher import prepare_job

    begun = time.monotonic()
    allow_readers(config.runs_mode)
    job = job_of(config)
    fetch_sources(job.data, say)
    folder, made = prepare_job(job, Path(config.prepared_dir), say)
    manifest = load_manifest(folder)
    print("\n".join(lines_of(manifest)))
    page = folder / PAGE
    if not page.is_file():
        write_report(folder)
    rows = sum(split.rows for split in manifest.splits.values())
    took = f"prepared {rows} rows in {time.monotonic() - begun:.1f} s"
    print(f"{took if made else 'prepared already'}: {folder}; see {page}")
