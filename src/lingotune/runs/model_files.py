"""Whether the files of a model are those that its run has written, told in the time of a glance."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import JobConfig
from lingotune.config.typed_json import parse_json
from lingotune.runs.decision_file import DECISION
from lingotune.runs.folder import EXPORT, METRICS, MODEL, folders_in
from lingotune.runs.inventory import MISSING, changed_files, read_inventory
from lingotune.runs.remake import remake_command

_PARTS = (".json", ".safetensors", ".onnx", ".txt", ".model", ".codes")
"""Suffixes of files that answers depend on, in the folder of a model."""
_OTHERS = (METRICS, EXPORT)
_WEIGHTS = (".safetensors", ".onnx")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""Vocabulary of a tokenizer, and how long its texts may be: written together."""


def is_part(path: Path) -> bool:
    """Tell whether a file of a model's folder is one that its answers follow from."""
    return path.suffix in _PARTS and path.name not in _OTHERS


def check_model_files(folder: Path, labels: Sequence[str], job: JobConfig | None) -> Iterator[str]:
    """Yield a warning for each file of a model that is not as its run has written it.

    labels: the classes that it names. ConfigError if a file is missing without which the model would answer
    otherwise: transformers and `read_decision` do without some of them. A run's model is compared with its
    inventory, weights by their size alone; one that was copied elsewhere with the results beside it.
    """
    missing, changed = _by_inventory(folder, job) or _by_results(folder, labels)
    if missing:
        raise ConfigError([_missing(folder, name) for name in missing])
    yield from (f"{folder / name}: {what}" for name, what in changed.items())


_Faults = tuple[list[str], dict[str, str]]
"""Names of files that are missing; name -> what has changed."""


def _by_inventory(folder: Path, job: JobConfig | None) -> _Faults | None:
    run = folders_in(folder.parent)
    written = read_inventory(run, job_digest(job)) if job and folder.name == MODEL else None
    if written is None:
        return None
    parts = {
        name: of
        for name, of in written.files.items()
        if Path(name).parent == Path(MODEL) and is_part(Path(name))
    }
    found = dict(changed_files(run, replace(written, files=parts), _WEIGHTS))
    missing = [Path(name).name for name, what in found.items() if what == MISSING]
    told = "was changed after the run had finished"
    return missing, {Path(n).name: told for n, what in found.items() if what != MISSING}


def _by_results(folder: Path, labels: Sequence[str]) -> _Faults:
    """Compare a model with the results that lie beside it; nothing is known of one without."""
    results = _results(folder / METRICS)
    if not results:
        return [], {}
    vocabulary, settings = _TOKENIZER
    needed = {
        DECISION: bool(results.get("decision")),
        settings: (folder / vocabulary).is_file(),
    }
    missing = [name for name, is_needed in needed.items() if is_needed]
    missing = [name for name in missing if not (folder / name).is_file()]
    trained = [str(one) for one in results.get("labels") or labels]
    if trained == [*labels]:
        return missing, {}
    what = f"names the classes {', '.join(labels)}, which were {', '.join(trained)} in training"
    return missing, {"config.json": what}


def _results(path: Path) -> Mapping[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _missing(folder: Path, name: str) -> Problem:
    what = "is missing, and the model would answer otherwise without it"
    fix = remake_command(folder)
    if folder.name == MODEL and (folder.parent / METRICS).is_file():
        if name == DECISION:  # follows from the results
            fix = f"{program('resume')} {shlex.quote(str(folder.parent))}"
    else:
        fix = f"cp RUN/{MODEL}/{name} {shlex.quote(str(folder))}, of the run that made the model"
    return Problem(str(folder / name), what, fix)
