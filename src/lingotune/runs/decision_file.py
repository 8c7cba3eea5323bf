"""decision.json, the file beside a model's weights that says how it decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.typed_json import from_json, to_json
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.remake import remake_command
from lingotune.system.files import replace_file

DECISION = "decision.json"
"""Its name; a model without it decides by its largest probability."""


def write_decision(decision: Decision, folder: Path) -> None:
    """Write the decision beside the model in `folder`, or remove one that decides as it was trained."""
    if decision == AS_TRAINED:
        (folder / DECISION).unlink(missing_ok=True)
    else:
        text = json.dumps(to_json(decision), indent=2, ensure_ascii=False) + "\n"
        replace_file(folder / DECISION, text)


def read_decision(folder: Path, labels: Sequence[str]) -> Decision:
    """Read the decision beside a model; `AS_TRAINED` without one.

    ConfigError if it is damaged, or of other classes than the model's.
    """
    path = folder / DECISION
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        found = from_json(Decision, told)
        if unknown := told.keys() - {one.name for one in fields(Decision)}:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"this version does not know its {names}: a newer lingotune made it")
        found.check_classes(labels)
        return found
    except FileNotFoundError:
        return AS_TRAINED
    except (OSError, ValueError, RecursionError) as error:
        what = f"cannot be used: {error}"
        raise ConfigError([Problem(str(path), what, remake_command(folder))]) from error
