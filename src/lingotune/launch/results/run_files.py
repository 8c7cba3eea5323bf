"""The few fields of a run's files that results need, read in a fraction of a millisecond."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lingotune.config.jobfile import digest_in
from lingotune.config.typed_json import from_json, parse_json
from lingotune.contract.container import JOB_FILE
from lingotune.launch.results.entries import TestScores
from lingotune.launch.sweeps.metric import LOSS
from lingotune.launch.sweeps.trial import REPEATED, Evaluation
from lingotune.runs.folder import METRICS, read_history
from lingotune.runs.results import Interval

# --- metrics.json -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Intervals:
    macro_f1: Interval


@dataclass(frozen=True, kw_only=True)
class _Scores:
    rows: int
    macro_f1: float
    micro_f1: float | None = None
    accuracy: float
    mean_absolute_error: float | None = None
    quadratic_kappa: float | None = None
    intervals: _Intervals | None = None
    own: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class _Worst:
    code: str
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class _ZeroShot:
    seen: _Scores | None = None
    unseen: _Scores


@dataclass(frozen=True, kw_only=True)
class _Split:
    loss: float
    overall: _Scores
    languages: dict[str, _Scores]
    worst_language: _Worst | None = None
    zero_shot: _ZeroShot | None = None

    def kinds(self) -> dict[str, float]:
        """Map `seen_macro_f1` and `unseen_macro_f1` to their values, as far as there are any."""
        kinds = vars(self.zero_shot) if self.zero_shot else {}
        return {f"{name}_macro_f1": of.macro_f1 for name, of in kinds.items() if of}


@dataclass(frozen=True, kw_only=True)
class _Training:
    steps: int
    selected_by_cost: bool | None = None


@dataclass(frozen=True, kw_only=True)
class _Data:
    rows: dict[str, dict[str, dict[str, int]]]

    @property
    def train_rows(self) -> int:
        """Number of rows that were trained on."""
        return sum(sum(of.values()) for of in self.rows.get("train", {}).values())


@dataclass(frozen=True, kw_only=True)
class RunScores:
    """Part of metrics.json; the fields are those of `RunResults`."""

    job_sha256: str
    labels: tuple[str, ...]
    data: _Data
    training: _Training
    validation: _Split
    test: _Split | None = None
    seconds: float
    finished: bool = True

    def on_validation(self) -> dict[str, float]:
        """Return the scores on validation, named as those of evaluations."""
        of = self.validation
        worst = of.worst_language
        return {
            LOSS: of.loss,
            "macro_f1": of.overall.macro_f1,
            "accuracy": of.overall.accuracy,
            **({"worst_language_macro_f1": worst.macro_f1} if worst else {}),
            **of.kinds(),
            **({} if of.overall.micro_f1 is None else {"micro_f1": of.overall.micro_f1}),
            **self._on_scale(),
            **(of.overall.own or {}),
            **{f"macro_f1_{code}": one.macro_f1 for code, one in of.languages.items()},
        }

    def _on_scale(self) -> dict[str, float]:
        of = self.validation.overall
        if of.quadratic_kappa is None or of.mean_absolute_error is None:
            return {}
        return {
            "mean_absolute_error": of.mean_absolute_error,
            "quadratic_kappa": of.quadratic_kappa,
        }

    def on_test(self) -> TestScores | None:
        """Return the scores on test; None where there is no test split."""
        if self.test is None:
            return None
        overall = self.test.overall
        return TestScores(
            overall.macro_f1,
            overall.intervals.macro_f1 if overall.intervals else None,
            overall.rows,
            {code: of.macro_f1 for code, of in self.test.languages.items()},
        )


def scores_in(folder: Path) -> RunScores | str:
    """Read the scores of a run; a text tells why there are none."""
    try:
        values = parse_json((folder / METRICS).read_bytes())
        found = from_json(RunScores, values)
    except FileNotFoundError:
        return "has not come to its end"
    except (OSError, ValueError) as error:
        return f"{METRICS} cannot be read: {error}"
    return found if found.finished else "has not come to its end"


# --- history.jsonl ------------------------------------------------------------------------------

_EVAL = "eval_"


def evaluations_in(folder: Path, total_steps: int | None = None) -> tuple[Evaluation, ...]:
    """Read the evaluations of a run, by step; of one that has not ended the last step is the total."""
    entries = [entry for entry in read_history(folder) if f"{_EVAL}{LOSS}" in entry]
    total = total_steps or int(max((entry["step"] for entry in entries), default=0))
    return tuple(
        Evaluation(
            int(entry["step"]),
            total,
            {key[len(_EVAL) :]: v for key, v in entry.items() if key.startswith(_EVAL)},
        )
        for entry in entries
    )


# --- job.yaml -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobText:
    """Settings of a job file as texts, by dotted key, and its digest."""

    settings: Mapping[str, str]
    digest: str
    labels: tuple[str, ...] = field(default=())

    @property
    def seed(self) -> str:
        """The seed, as text."""
        return self.settings.get("seed", "")


def job_text(folder: Path) -> JobText | str:
    """Read the job file of a run; a text tells what is wrong with it."""
    try:
        content = (folder / JOB_FILE).read_bytes()
        values = yaml.load(content, _LOADER)
        settings = dict(_flat(values))
        settings.setdefault(_SPLIT_SEED, settings.get(REPEATED, ""))  # where nothing else is said
        return JobText(settings, digest_in(content))
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        return f"{JOB_FILE} cannot be read: {error}"


_SPLIT_SEED = "data.split_seed"
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Leaves every value the text that it is in the file."""


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, dict) and value:
            yield from _flat(value, name)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def varying(jobs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Find the settings that differ between jobs: key -> name to show it by.

    What the choice of a group decides (`model.name`) is shown by the group alone, and the job's name not
    at all, unless nothing else differs.
    """
    keys = list(dict.fromkeys(key for job in jobs for key in job))
    values = {key: [job.get(key, "") for job in jobs] for key in keys}
    differing = [key for key in keys if len(set(values[key])) > 1]
    if values.get(_SPLIT_SEED) == values.get(REPEATED):  # as before the splits had their own
        differing = [key for key in differing if key != _SPLIT_SEED]
    groups = {
        key.partition(".")[0]: values[key] for key in differing if key == f"{_section(key)}.name"
    }
    shown = {}
    for key in differing:
        group = groups.get(_section(key)) if "." in key else None
        if group is None:
            shown[key] = key
        elif key == f"{_section(key)}.name":
            shown[key] = _section(key)
        elif not _decides(group, values[key]):
            shown[key] = key
    return {k: v for k, v in shown.items() if k != "name"} or shown


def _section(key: str) -> str:
    return key.partition(".")[0]


def _decides(group: Sequence[str], values: Sequence[str]) -> bool:
    """Tell whether a value follows from the group's option."""
    return len(set(zip(group, values))) == len(set(group))
