"""Hydra's own settings: why each has no effect here, and what does the same.

Jobs are composed without Hydra's section (`compose.hydra_groups`): what starts, names and logs them are
settings of lingotune.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.quoting import for_shell, hydra_value, override_text
from lingotune.config.schema import Search
from lingotune.config.secrets import NO_TOKEN, looks_secret

_NOTHING = "leave it out"
_NAME = re.compile(r"[^A-Za-z0-9]+")
_PARAMS = "sweep.params."
_GRID = "lr=1e-5,3e-5"
_INTERVAL = "lr=interval(1e-5,1e-4)"


@dataclass(frozen=True)
class Answer:
    """Reply to a setting of Hydra's.

    overrides: what is set in its place, if anything is. swept: what a sweep needs besides, where the
    command sweeps nothing. otherwise: what works where no setting does.
    """

    because: str
    overrides: tuple[tuple[str, Any], ...] = ()
    swept: str = ""
    otherwise: str = _NOTHING

    @property
    def is_sweep(self) -> bool:
        """Tell whether the values are swept."""
        return any(key.startswith(_PARAMS) for key, _ in self.overrides)

    def fix(self, multirun: bool) -> str:
        """Write what works on the command line. multirun: -m is typed."""
        words = [
            for_shell(f"{key.removeprefix(_PARAMS)}={value}")
            if key.startswith(_PARAMS)
            else override_text(key, value)
            for key, value in self.overrides
        ]
        if self.swept and not multirun:
            words = ["-m", for_shell(self.swept), *words]
        elif self.is_sweep:
            words = ["-m", *words]
        return " ".join(words) or self.otherwise

    def lines(self) -> Iterator[tuple[str, Any]]:
        """Yield the settings that a file has in its place; a group's option stands in a defaults list."""
        yield from ((key, value) for key, value in self.overrides if key != "cluster")


def is_of_hydra(key: str) -> bool:
    """Tell whether a key or group is Hydra's own: hydra.run.dir, hydra/launcher."""
    return re.split(r"[./@]", key)[0] == "hydra"


def hydra_answer(key: str, value: Any) -> Answer:
    """Find the reply to a setting or group of Hydra's with its value; a group's parts join with dots."""
    dotted = key.replace("/", ".")
    if looks_secret(f"{key}={value}"):
        return Answer("a token is never a setting", otherwise=NO_TOKEN)
    for start, reply in _ROWS.items():
        if dotted == start or dotted.startswith(f"{start}."):
            return reply(dotted[len(start) + 1 :], value)
    return Answer("jobs are composed without that section")


def known_names() -> Iterator[str]:
    """Yield the settings and sections that have a reply of their own."""
    yield from _ROWS


_Reply = Callable[[str, Any], Answer]


def _says(because: str, otherwise: str = _NOTHING) -> _Reply:
    return lambda inner, value: Answer(because, otherwise=otherwise)


def _sweeps(key: str, because: str) -> _Reply:
    """Reply with a setting of a sweep that takes the value, if it is a number from 1."""

    def reply(inner: str, value: Any) -> Answer:
        fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return Answer(because, ((key, value),), _GRID) if fits else Answer(because)

    return reply


def _folder(inner: str, value: Any) -> Answer:
    because = "each run has a folder of its own in runs_dir"
    plain = isinstance(value, str) and "${" not in value
    return Answer(because, (("runs_dir", value if plain and value else "runs"),))


def _name(inner: str, value: Any) -> Answer:
    because = "a job is named by its setting, and its folder by the job"
    plain = _NAME.sub("-", re.sub(r"\$\{[^}]*\}", "", str(value or ""))).strip("-")[:40].strip("-")
    return Answer(because, (("name", plain or "my-run"),))


def _mode(inner: str, value: Any) -> Answer:
    because = "an option says whether values are swept"
    return Answer(because, otherwise="-m" if value == "MULTIRUN" else _NOTHING)


def _variables(inner: str, value: Any) -> Answer:
    because = "a job on SageMaker has variables of its own; here they are the shell's"
    if not inner or isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else []
        words = " ".join(for_shell(f"{name}={text}") for name, text in pairs)
        return Answer(because, otherwise=f"export {words}" if words else _NOTHING)
    return Answer(because, otherwise=f"export {inner}={for_shell(str(value))}")


def _copied(inner: str, value: Any) -> Answer:
    because = "variables of this machine stay here; what a job needs is a setting"
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    words = [f'"cluster.environment.{name}=${name}"' for name in names if name.isidentifier()]
    return Answer(because, otherwise=" ".join(["cluster=p4d_24xl", *words]) if words else _NOTHING)


def _launcher(inner: str, value: Any) -> Answer:
    because = "a sweep starts its jobs itself, here one after the other, on SageMaker by free slots"
    if inner == "" and str(value).startswith("sagemaker"):
        because += "; hydra/launcher=sagemaker is for applications of your own"
        return Answer(because, (("cluster", "p4d_24xl"),))
    if inner == "" and value not in ("basic", None) and not isinstance(value, dict):
        return Answer(because, (("sweep.max_parallel", 4),), _GRID)
    if inner in ("n_jobs", "array_parallelism", "max_parallel"):
        return _sweeps("sweep.max_parallel", because)(inner, value)
    if inner == "timeout_min" and isinstance(value, int) and 0 < value < 40_000:
        return Answer(because, (("cluster", "p4d_24xl"), ("cluster.max_run", max(600, value * 60))))
    if inner in ("nodes", "gpus_per_node", "partition", "mem_gb", "instance_type"):
        return Answer(f"{because}; the cluster says on what", (("cluster", "p4d_24xl"),))
    return Answer(because)


def _sweeper(inner: str, value: Any) -> Answer:
    because = "a sweep searches by itself"
    if inner == "params" and isinstance(value, dict):
        return Answer(because, tuple((f"{_PARAMS}{key}", _swept(v)) for key, v in value.items()))
    if inner.startswith("params."):
        return Answer(because, ((f"{_PARAMS}{inner.removeprefix('params.')}", _swept(value)),))
    if inner == "" and value not in ("basic", None):
        return Answer(because, (("sweep.search", "tpe"), ("sweep.trials", 20)), _INTERVAL)
    if inner in ("sampler", "sampler._target_"):
        search = "random" if "random" in str(value).lower() else "tpe"
        assert search in Search.__members__
        return Answer(because, (("sweep.search", search), ("sweep.trials", 20)), _INTERVAL)
    if inner == "n_trials":
        return _as_search(_sweeps("sweep.trials", because)(inner, value))
    if inner in ("n_jobs", "max_batch_size"):
        return _sweeps("sweep.max_parallel", because)(inner, value)
    if inner == "study_name":
        name = _NAME.sub("-", str(value)).strip("-")[:30].strip("-")
        return Answer(because, (("sweep.name", name or "my-sweep"),), _GRID)
    if inner in ("sampler.seed", "seed"):
        return _as_search(_sweeps("sweep.seed", because)(inner, value))
    if inner.startswith("direction"):
        because = "scores are maximised, losses minimised: the metric says which way is better"
    elif inner == "storage":
        because = "a sweep's ledger keeps its jobs and its search"
    return Answer(because)


def _swept(value: Any) -> str:
    """Write the values of a key as they are swept."""
    values = value if isinstance(value, list) else [value]
    return ",".join(one if isinstance(one, str) else hydra_value(one) for one in values)


def _as_search(answer: Answer) -> Answer:
    """Add to a reply what a search needs besides."""
    if not answer.overrides:
        return answer
    extra = tuple(
        (key, value)
        for key, value in (("sweep.search", "tpe"), ("sweep.trials", 20))
        if key != answer.overrides[0][0]
    )
    return Answer(answer.because, (*extra, *answer.overrides), _INTERVAL)


def _search_path(inner: str, value: Any) -> Answer:
    because = "group files lie in the shipped folder and in one of your own"
    first = value[0] if isinstance(value, list) and value else value
    path = str(first).removeprefix("file://")
    local = isinstance(first, str) and Path(path).is_dir()
    return Answer(because, otherwise=f"--config-dir {for_shell(path)}" if local else _NOTHING)


_LOGS = "the log goes to the terminal and into the run folder"
_ROWS: dict[str, _Reply] = {
    "hydra.run.dir": _folder,
    "hydra.sweep.dir": _folder,
    "hydra.sweep.subdir": _says("the folder of each job is named by the job: name and digest"),
    "hydra.job.name": _name,
    "hydra.job.num": _says("jobs of a sweep are numbered by the sweep, as lingotune status shows"),
    "hydra.job.id": _says("a job's name is its id"),
    "hydra.job.chdir": _says("a command stays where it was typed, and paths are relative to it"),
    "hydra.job.env_set": _variables,
    "hydra.job.env_copy": _copied,
    "hydra.job.override_dirname": _says("a folder is named by its job: name and digest"),
    "hydra.job.config": _says("a folder is named by its job: name and digest"),
    "hydra.job.config_name": _says(
        "all jobs are composed from one shipped config", "--info defaults"
    ),
    "hydra.mode": _mode,
    "hydra.verbose": _says(f"{_LOGS}: a line a logged step", "training.logging_steps=10"),
    "hydra.job_logging": _says(_LOGS),
    "hydra.hydra_logging": _says(_LOGS),
    "hydra.launcher": _launcher,
    "hydra.sweeper": _sweeper,
    "hydra.callbacks": _says("callbacks of your own are classes in the file of code.file"),
    "hydra.output_subdir": _says("the composed job lies in the run folder, as job.yaml"),
    "hydra.searchpath": _search_path,
    "hydra.help": _says("help is written from the schema", "--help"),
    "hydra.hydra_help": _says("help is written from the schema", "--help"),
    "hydra.overrides": _says("it is written by Hydra, not read", "--info config"),
    "hydra.runtime": _says("it is written by Hydra, not read", "--info all"),
    "hydra.defaults": _says("the defaults list is that of the shipped config", "--info defaults"),
}
"""Setting or section -> its reply. The longer names stand before their beginnings."""
