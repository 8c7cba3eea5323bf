"""The user's own code of a saved model: that of its run folder, or one beside the model that is trusted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import CodeConfig, JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.plugins.loading import NO_CODE, OwnCode, load_code
from lingotune.plugins.source import bundle_folder, find_source, stored_name
from lingotune.runs.folder import MODEL

TRUST = "LINGOTUNE_TRUST_CODE"
"""Environment variable that, set to 1, lets code run that came with a model alone."""


def builder_of(folder: Path, job: JobConfig | None) -> OwnCode:
    """Load the builder of a model's job; empty without one. ConfigError where its code is not here."""
    code = job.code if job else CodeConfig()
    if code.builder is None:
        return NO_CODE
    # A metric or a callback that cannot be had any more does not keep a model from being asked.
    return _loaded(folder, replace(code, metrics=[], callbacks=[]))


def metrics_of(folder: Path, job: JobConfig | None) -> OwnCode:
    """Load the metrics of a model's job. ConfigError where their code is not here."""
    code = job.code if job else CodeConfig()
    if not code.metrics:
        return NO_CODE
    return _loaded(folder, replace(code, builder=None, callbacks=[]))


def _loaded(folder: Path, code: CodeConfig) -> OwnCode:
    run = folder.parent
    if folder.name == MODEL and (run / JOB_FILE).is_file():
        return load_code(code, find_source(code, [run, folder, bundle_folder()]))
    if os.environ.get(TRUST) != "1":
        raise ConfigError([_not_trusted(folder, code)])
    return load_code(code, find_source(code, [folder, bundle_folder()], original=False))


def _not_trusted(folder: Path, code: CodeConfig) -> Problem:
    names = ", ".join([*code.metrics, *([code.builder] if code.builder else [])])
    what = f"needs {names} of its own code, which came with the model and is not run unasked"
    held = f" ({folder}/{stored_name(code.sha256)})" if code.sha256 else ""
    return Problem(str(folder), what, f"{TRUST}=1 if you trust it{held}")
