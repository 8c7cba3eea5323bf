"""Models of the hub of which nothing is known here: their config.json is read before a job is checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.catalog.models import config_of, model_size
from lingotune.config.problems import ConfigError, Problem, Severity, errors_only
from lingotune.config.schema import Action, LaunchConfig, ModelConfig
from lingotune.launch.checks.architectures import ARCHITECTURES
from lingotune.launch.checks.sagemaker import MEMORY
from lingotune.launch.compose.compose import Composed
from lingotune.launch.overrides.overrides import in_a_line

SECONDS = 10.0
"""Time that the hub has to answer."""


def with_configs(composed: Sequence[Composed]) -> list[Composed]:
    """Read the config.json of models that are not known, once each, into this machine's copy of the hub.

    What could not be read becomes a finding. ConfigError if a job that is to be submitted turns out not to
    run.
    """
    told: dict[tuple[str | None, str | None], Problem | None] = {}
    found = []
    for one in composed:
        model, problem = one.config.model, None
        if _is_unknown(model):
            key = (model.name_or_path, model.revision)
            if key not in told:
                told[key] = _read(model)
            problem = told[key]
            wrong = [] if problem else list(_wrong(one.config))
            if wrong:
                raise ConfigError(wrong, "nothing was started; mend, then submit again")
        found.append(replace(one, findings=(*one.findings, problem)) if problem else one)
    return found


def _is_unknown(model: ModelConfig) -> bool:
    name = model.name_or_path
    if name is None or "://" in name or Path(name).is_dir():
        return False
    return model_size(model) is None and not config_of(model)


def _wrong(config: LaunchConfig) -> Iterator[Problem]:
    """Check again, now that the model is known, what a submit was checked for before."""
    if config.action is Action.submit and config.cluster.instance_type is not None:
        yield from errors_only([*ARCHITECTURES.run(config), *MEMORY.run(config)])


def _read(model: ModelConfig) -> Problem | None:
    """Fetch a model's config.json; returns the warning that it cannot be, or None."""
    try:
        from huggingface_hub import hf_hub_download

        hf_hub_download(
            str(model.name_or_path), "config.json", revision=model.revision, etag_timeout=SECONDS
        )
    except ImportError:
        reason = "huggingface_hub is not installed"
    except Exception as error:  # the library raises many kinds, those of its HTTP client among them
        reason = in_a_line(error)
    else:
        return None
    what = (
        f"its config.json cannot be read, so that size and architecture are not checked: {reason}"
    )
    fix = "the same where the hub answers, or the folder of a copy of the model"
    where = f"model.name_or_path={model.name_or_path}"
    return Problem(where, what, fix, Severity.warning, check="model-unread",
                   why="a model that image or GPU cannot take fails on the paid machine")  # fmt: skip
