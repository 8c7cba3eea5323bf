"""Epochs that were left open, looked up by the number of training rows, so that the job file says them.

What follows from the model alone is filled in as the config is typed; rows are known only once the source
is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.catalog.models import epochs_for
from lingotune.config.console import say_aside
from lingotune.config.jobfile import plain
from lingotune.config.problems import ConfigError
from lingotune.config.schema import LaunchConfig, split_seed
from lingotune.data.sources.patterns import elsewhere_in, not_here
from lingotune.launch.compose.compose import Composed

_EPOCHS = "epochs"


def with_looked_up(composed: Sequence[Composed], *, fetches: bool = True) -> list[Composed]:
    """Fill in the epochs of pretrained models where nothing says them; a source is read once.

    fetches: fetch one that lies elsewhere; else its rows count as unknown. What is wrong with a source is
    left to those who read it next.
    """
    known: dict[str, int | None] = {}
    return [_with_epochs(one, known, fetches=fetches) if _is_open(one) else one for one in composed]


def _is_open(one: Composed) -> bool:
    config = one.config
    by_steps = config.training.max_steps is not None
    return _EPOCHS in one.left_open and config.model.name_or_path is not None and not by_steps


def _with_epochs(one: Composed, known: dict[str, int | None], *, fetches: bool) -> Composed:
    config = one.config
    key = json.dumps([plain(config.data), split_seed(config)], default=str)
    if key not in known:
        known[key] = _training_rows(config, fetches=fetches)
    changed = replace(config, epochs=epochs_for(config.model, known[key]))
    return replace(one, config=changed)


def _training_rows(config: LaunchConfig, *, fetches: bool) -> int | None:
    """Count the training rows; None if that takes what a plan does not do, or something is wrong."""
    data = config.data
    try:
        if data.prepared is not None:
            return None if data.prepared.startswith("s3:") else _prepared(config)
        if fetches and any(elsewhere_in(data)):
            from lingotune.data.transfer import fetch_sources  # slow to import

            fetch_sources(data, say_aside)
        if not_here(data):
            return None
        from lingotune.data.splits.counts import count_rows

        rows = count_rows(data, split_seed(config))[0]
    except ConfigError:
        return None
    return rows["train"] if rows else None


def _prepared(config: LaunchConfig) -> int:
    from lingotune.data.prepared.manifest import load_manifest
    from lingotune.data.rows.training_rows import count_trained

    manifest = load_manifest(Path(str(config.data.prepared)))
    return count_trained(config.data, manifest.training_rows)
