"""Short forms of `data.labels`: a list of names, and `auto` for the classes that the source holds.

The schema knows lists of classes only. Short forms are spelled out before values reach it, and `auto` is
replaced here, by reading the source, so that the job file says which classes there are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.console import say_aside
from lingotune.config.jobfile import job_of, plain
from lingotune.config.problems import ConfigError, Problem, Severity
from lingotune.config.schema import AUTO, LabelConfig, LabelsMode, LaunchConfig, Source
from lingotune.config.typed_json import from_json
from lingotune.data.rows.labels import format_labels, is_auto
from lingotune.data.rows.scale import numbers_of
from lingotune.data.sources.addresses import shown_address
from lingotune.data.sources.patterns import elsewhere_in, not_here, patterns_in
from lingotune.launch.compose.compose import Composed
from lingotune.preflight.data import DATA

_SHOWN = 8


def with_found_labels(composed: Sequence[Composed], *, fetches: bool = True) -> list[Composed]:
    """Replace `data.labels=auto` by the classes of each job's source, and say so in its findings.

    A source that several jobs share is read once. fetches: fetch one that lies elsewhere; else the copy
    of it is read, if there is one. ConfigError if it cannot be read here.
    """
    known: dict[str, tuple[list[LabelConfig], Problem]] = {}
    for one in composed if fetches else ():
        if (
            is_auto(one.config.data.labels)
            and one.config.data.prepared is None
            and any(elsewhere_in(one.config.data))
        ):
            from lingotune.data.transfer import fetch_sources  # slow to import

            fetch_sources(one.config.data, say_aside)
    return [
        _with_labels(one, known) if is_auto(one.config.data.labels) else one for one in composed
    ]


def _with_labels(one: Composed, known: dict[str, tuple[list[LabelConfig], Problem]]) -> Composed:
    config = one.config
    key = json.dumps(plain(config.data), default=str)
    if key not in known:
        known[key] = _found(config)
    labels, told = known[key]
    changed = replace(config, data=replace(config.data, labels=labels))
    if config.data.labels_mode is LabelsMode.ordinal:
        _check_order(changed)
    return replace(one, config=changed, findings=(*one.findings, told))


def _check_order(config: LaunchConfig) -> None:
    """Make sure that the classes found are a scale: words, sorted by name, are none."""
    labels = config.data.labels
    problems = DATA.run(job_of(config), only="labels-not-ordered")
    if numbers_of(labels) is None:
        names = ", ".join(label.name for label in labels)
        what = f"the order of the classes is not known, as their names are no numbers: {names}"
        fix = f"{format_labels(labels)}, in their order; or data.labels_mode=single"
        problems = [Problem(f"data.labels={AUTO}", what, fix)]
    if problems:
        raise ConfigError(problems)


def _found(config: LaunchConfig) -> tuple[list[LabelConfig], Problem]:
    data = config.data
    if data.prepared is not None and not data.prepared.startswith("s3:"):
        return _prepared(data.prepared)
    unread = _not_read_here(config)
    if unread:
        what = f"the classes are not known before {unread} is read, and a plan does not read it"
        fix = "'data.labels=[a, b]'; lingotune prepare with the same data prints the list"
        raise ConfigError([Problem(f"data.labels={AUTO}", what, fix)])
    from lingotune.data.splits.found_labels import find_labels  # numpy from here on

    found = find_labels(data)
    counts = [f"{label.name} ({found.rows[label.name]})" for label in found.labels[:_SHOWN]]
    more = f" and {len(found.labels) - _SHOWN} more" if len(found.labels) > _SHOWN else ""
    what = f"{len(found.labels)} classes from {found.column!r}: {', '.join(counts)}{more}"
    return found.labels, _told(what, found.labels)


def _not_read_here(config: LaunchConfig) -> str:
    """Name a source that is not here, or that only the machines of the job read; '' for one to read."""
    data = config.data
    absent = not_here(data)
    if absent and data.prepared is None:
        return shown_address(absent[0])
    if config.cluster.instance_type is None:
        return ""
    if data.prepared is not None:
        return data.prepared
    return patterns_in(data.train)[0] if data.source is Source.hub else ""


def _prepared(folder: str) -> tuple[list[LabelConfig], Problem]:
    from lingotune.data.prepared.manifest import load_manifest

    manifest = load_manifest(Path(folder))
    given = manifest.data["labels"]
    labels = [from_json(LabelConfig, label, "data.labels") for label in given]  # type: ignore[attr-defined]
    return labels, _told(f"the {len(labels)} classes of the prepared data", labels)


def _told(what: str, labels: list[LabelConfig]) -> Problem:
    return Problem(f"data.labels={AUTO}", what, format_labels(labels), Severity.warning)
