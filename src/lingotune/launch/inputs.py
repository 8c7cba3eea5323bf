"""Data and models that jobs need from elsewhere, fetched before the plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.console import say_aside
from lingotune.config.problems import ConfigError, Problem, Severity
from lingotune.config.program import program
from lingotune.config.schema import Action, Backend, DataConfig, LaunchConfig, Source, split_seed
from lingotune.data.prepared.manifest import misfits, other_teacher
from lingotune.data.prepared.tokenizer import fetch_tokenizer, is_tokenizer_file
from lingotune.data.sources.addresses import shown_address
from lingotune.data.sources.patterns import elsewhere_in
from lingotune.data.transfer import (
    fetch,
    fetch_manifest,
    fetch_model,
    fetch_sources,
    look_for_sources,
)
from lingotune.launch.checks.prepared_data import PREPARED, DataForImage
from lingotune.launch.compose.compose import Composed
from lingotune.launch.hub_models import with_configs
from lingotune.launch.plan.base_model import is_model_file


def with_inputs(composed: Sequence[Composed]) -> tuple[list[Composed], Mapping[str, Path]]:
    """Fetch what all jobs need; returns the jobs with it, and the folders of whole models by their URI.

    ConfigError lists what cannot be fetched, or is wrong with it.
    """
    composed = with_configs(composed)
    copies = _fetched_models([one.config for one in composed])
    fetched = [_with_fetched(one) for one in composed]
    return _with_sources(fetched, composed[0].config.action), copies


def is_loopback(config: LaunchConfig) -> bool:
    """Tell whether a job runs on a SageMaker that the command itself starts."""
    return config.cluster.backend is Backend.loopback


def runs_here(config: LaunchConfig) -> bool:
    """Tell whether a job runs on this machine."""
    return config.action is Action.rehearse or is_loopback(config)


def _fetched_models(configs: Sequence[LaunchConfig]) -> dict[str, Path]:
    """Fetch models in S3 for jobs that run here; of others the tokenizer, where data is prepared here.

    Returns the folders of whole models by their URI.
    """
    copies: dict[str, Path] = {}
    for config in configs:
        name = config.model.name_or_path or ""
        if not name.startswith("s3://") or name in copies or config.action is Action.check:
            continue
        if runs_here(config):
            print(f"fetching {name}", file=sys.stderr)
            copies[name] = fetch_model(name, is_model_file)
        elif config.data.source is Source.files and config.data.prepared is None:
            fetch_model(name, is_tokenizer_file)
    return copies


def _with_fetched(one: Composed) -> Composed:
    """Fetch what the plan needs from elsewhere: prepared data for a job that runs here, or the tokenizer,
    on which the digest of the prepared data depends."""
    config = one.config
    given = config.data.prepared
    if given is None:
        if config.data.source is Source.files and config.action is not Action.check:
            fetch_tokenizer(config.model)
        return one
    if not given.startswith("s3://"):
        return one
    if not runs_here(config):
        manifest = fetch_manifest(given)
        wrong = [*misfits(manifest, config.data, split_seed(config))]
        wrong += other_teacher(manifest, config.distillation)
        wrong += PREPARED.run(DataForImage(manifest, config.cluster))
        if wrong:
            raise ConfigError(wrong, "nothing was started; mend, then submit again")
        return one
    folder = fetch(given, Path(config.prepared_dir), lambda line: print(line, file=sys.stderr))
    return replace(one, config=replace(config, data=replace(config.data, prepared=str(folder))))


def _with_sources(composed: Sequence[Composed], action: Action) -> list[Composed]:
    """Fetch the data that lies elsewhere, once for all jobs; a check only looks at it, and tells what is
    wrong."""
    told: dict[str, list[Problem]] = {}
    wrong: list[Problem] = []
    for one in composed:
        data = one.config.data
        places = _places(one.config)
        if places in told:
            continue
        told[places] = []
        try:
            if action is Action.check:
                told[places] = _looked_at(data)
            else:
                fetch_sources(data, say_aside)
        except ConfigError as error:
            wrong += error.problems
    if wrong:
        raise ConfigError(wrong, "nothing was started; mend, then submit again")
    return [
        replace(one, findings=(*one.findings, *told.get(_places(one.config), ())))
        for one in composed
    ]


def _places(config: LaunchConfig) -> str:
    """Name what has to be fetched for a job; jobs with the same need it once."""
    data = config.data
    return json.dumps([*elsewhere_in(data)] if data.prepared is None else [])


def _looked_at(data: DataConfig) -> list[Problem]:
    seen, problems = look_for_sources(data)
    for one in seen:
        where = f"{one.key}={shown_address(one.pattern)}"
        if one.is_here:
            say_aside(f"{where}: {one}, the same as the copy here")
            continue
        what = f"is there ({one}); the submit fetches it and checks its rows before anything starts"
        fix = f"{program('prepare')} with the same settings fetches and checks it now"
        problems.append(Problem(where, what, fix, Severity.warning, check="source-not-here"))
    return problems
