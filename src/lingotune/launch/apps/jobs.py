"""Jobs of an application: composed by Hydra here, and written down so that a worker composes the same.

`job.yaml` is the composed config. What only this machine knows (`${hydra:...}`, `${now:...}`) is resolved
in it; what belongs to the worker (`${oc.env:...}`, its folders, resolvers of the application) is left.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import filter_overrides
from hydra.types import HydraContext
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.secrets import secret_lines
from lingotune.launch.apps.code import Entry
from lingotune.launch.apps.settings import WHERE

_RESOLVERS = "hydra|now"
_ITS_OWN = re.compile(r"\$\{hydra:(?:runtime\.(?:output_dir|cwd)|run\.dir|sweep\.(?:dir|subdir))\}")
"""Folders, which are others on the worker."""
_OF_HYDRA = ("job_logging", "hydra_logging", "verbose", "callbacks")
"""Parts of Hydra's own config that hold for the job, too."""


@dataclass(frozen=True)
class AppJob:
    """One job of the application.

    config: as composed, with Hydra's own part. overrides: as swept. key: SHA-256 of what it computes.
    files: of its input channel, by name. output_dir: where its output is brought.
    """

    config: DictConfig
    overrides: tuple[str, ...]
    key: str
    files: Mapping[str, bytes]
    output_dir: Path

    @property
    def number(self) -> int:
        """Its `hydra.job.num`."""
        return int(self.config.hydra.job.num)

    @property
    def varies(self) -> dict[str, str]:
        """Swept keys and values, as texts."""
        pairs = (override.partition("=") for override in filter_overrides(list(self.overrides)))
        return {key: value for key, _, value in pairs}


def compose_jobs(
    context: HydraContext,
    master: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    entry: Entry,
    identity: Mapping[str, Any],
) -> list[AppJob]:
    """Compose all jobs; ConfigError with the problems of all. identity: what else makes a job another."""
    jobs: list[AppJob] = []
    problems: list[Problem] = []
    for number, overrides in enumerate(job_overrides, first):
        where = f"job {number}: {' '.join(filter_overrides(list(overrides)))}"
        try:
            config = context.config_loader.load_sweep_config(master, list(overrides))
        except Exception as error:  # Hydra's, of many classes
            said = str(error.__cause__ or error).strip().splitlines()
            problems.append(Problem(where, said[0] if said else type(error).__name__))
            continue
        with read_write(config), open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, f"{config.hydra.job.name}-{number}"
        try:
            jobs.append(_job(config, overrides, entry, identity))
        except OmegaConfBaseException as error:
            what = f"cannot be resolved: {str(error).splitlines()[0]}"
            problems.append(Problem(where, what))
        except ConfigError as error:
            problems += [Problem(f"{where}: {p.where}", p.what, p.fix) for p in error.problems]
    if problems:
        raise ConfigError(problems)
    return jobs


def _job(
    config: DictConfig, overrides: Sequence[str], entry: Entry, identity: Mapping[str, Any]
) -> AppJob:
    HydraConfig.instance().set_config(config)
    output_dir = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir)).absolute()
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(output_dir)
    HydraConfig.instance().set_config(config)
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    raw.pop("hydra")
    # The time of the command, and where output goes, make no other job.
    text = OmegaConf.to_yaml(OmegaConf.create(_Resolver(config, "hydra").resolved(raw)))
    same = json.dumps([text, entry.start, dict(identity)], sort_keys=True, default=str)
    written = {"hydra": _hydra_of(config), **_Resolver(config).resolved(raw)}
    yaml = OmegaConf.to_yaml(OmegaConf.create(written))
    _refuse_secrets(yaml)
    about = {**entry.start, "types": [*_types(config)], "overrides": ["hydra.output_subdir=null"]}
    files = {"job.yaml": yaml.encode(), "job.json": json.dumps(about, indent=1).encode()}
    key = hashlib.sha256(same.encode()).hexdigest()
    return AppJob(config, tuple(overrides), key, files, output_dir)


def _hydra_of(config: DictConfig) -> dict[str, Any]:
    """Select of Hydra's own config what the job shall find on the worker."""
    hydra, resolver = config.hydra, _Resolver(config)
    raw = {
        name: OmegaConf.to_container(hydra[name], resolve=False)
        if OmegaConf.is_config(hydra[name])
        else hydra[name]
        for name in _OF_HYDRA
        if name in hydra
    }
    job = {
        name: hydra.job[name]
        for name in ("name", "num", "id", "chdir")
        if name in hydra.job and not OmegaConf.is_missing(hydra.job, name)
    }
    job["env_set"] = OmegaConf.to_container(hydra.job.env_set, resolve=False)
    choices = {
        name: choice
        for name, choice in hydra.runtime.choices.items()
        if not str(name).startswith("hydra/")
    }
    chosen = {"job": job, "runtime": {"choices": choices}, "sweep": {"subdir": "."}}
    found: dict[str, Any] = resolver.resolved({**raw, **chosen})
    return found


class _Resolver:
    """Resolver of what only this machine knows in a config."""

    def __init__(self, config: DictConfig, resolvers: str = _RESOLVERS) -> None:
        self._config = config
        self._here = re.compile(rf"\$\{{(?:{resolvers}):[^${{}}]*\}}")
        self._nested = re.compile(rf"\$\{{(?:{resolvers}):")

    def resolved(self, value: Any) -> Any:
        """Resolve it in all texts of a container."""
        if isinstance(value, dict):
            return {key: self.resolved(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.resolved(one) for one in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> Any:
        kept: list[str] = []

        def keep(match: re.Match[str]) -> str:
            kept.append(match[0])
            return f"\0{len(kept) - 1}\0"

        text = _ITS_OWN.sub(keep, text)
        whole = self._here.fullmatch(text)
        if whole:
            return self._value(text)
        text = self._here.sub(lambda match: str(self._value(match[0])), text)
        if self._nested.search(text):  # the name of what it asks for is itself an interpolation
            if "${oc.env:" in text:
                what = "depends on this machine and on a variable of the worker at once"
                raise ConfigError([Problem(text, what, "a value without ${oc.env:...}")])
            text = str(self._value(text))
        return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)

    def _value(self, text: str) -> Any:
        asked = OmegaConf.create({"asked": text})
        OmegaConf.copy_cache(self._config, asked)  # the same `${now:...}` in all jobs
        asked._set_parent(self._config)
        value = asked.asked
        OmegaConf.copy_cache(asked, self._config)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _refuse_secrets(yaml: str) -> None:
    for number in secret_lines(yaml):
        key = yaml.split("\n")[number - 1].partition(":")[0].strip()
        what = "holds something in the form of a token or a key, and would be written to S3"
        fix = f"${{oc.env:NAME}} in the config, and {WHERE}.environment or a secret of AWS"
        raise ConfigError([Problem(key, what, fix, check="secret")])


def _types(config: DictConfig) -> Iterator[tuple[list[str], str, str]]:
    """Yield the nodes that have a dataclass: path, module and name of the class; parents come first."""
    yield from _typed(config, [])


def _typed(node: Any, path: list[Any]) -> Iterator[tuple[list[Any], str, str]]:
    kind = OmegaConf.get_type(node)
    if kind is not None and kind not in (dict, list):
        yield path, kind.__module__, kind.__qualname__
    for key in node:
        if key == "hydra" and not path:
            continue
        inner = node._get_node(key)
        if isinstance(inner, ListConfig) or not isinstance(inner, DictConfig):
            continue
        if not (inner._is_none() or inner._is_missing() or inner._is_interpolation()):
            yield from _typed(inner, [*path, key])


def write_hydra_files(job: AppJob) -> None:
    """Write config, Hydra's config and overrides into the job's folder, as for a job of this machine."""
    subdir = job.config.hydra.output_subdir
    job.output_dir.mkdir(parents=True, exist_ok=True)
    if subdir is None:
        return
    folder = job.output_dir / subdir
    folder.mkdir(parents=True, exist_ok=True)
    task = task_config(job.config)
    hydra = OmegaConf.masked_copy(job.config, "hydra")
    texts: dict[str, Callable[[], str]] = {
        "config.yaml": lambda: OmegaConf.to_yaml(task),
        "hydra.yaml": lambda: OmegaConf.to_yaml(hydra),
        "overrides.yaml": lambda: OmegaConf.to_yaml(job.config.hydra.overrides.task),
    }
    for name, text in texts.items():
        (folder / name).write_text(text(), encoding="utf-8")


def task_config(config: DictConfig) -> DictConfig:
    """Return the application's config, without Hydra's."""
    import copy

    task = copy.deepcopy(config)
    with read_write(task), open_dict(task):
        del task["hydra"]
    return task
