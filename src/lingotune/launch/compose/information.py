"""Answers to Hydra's questions about a composition: --cfg, --info, --package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.default_element import DefaultsTreeNode, InputDefault
from omegaconf import OmegaConf

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError, Problem, closest, nearest
from lingotune.config.settings import setting_types
from lingotune.launch.compose.compose import Composed
from lingotune.launch.compose.file_source import reading
from lingotune.launch.compose.from_job import PRIMARY
from lingotune.launch.compose.hydra_groups import SCHEMA, defaults_of
from lingotune.launch.overrides.keys import config_groups

TOPICS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""Topics of --info; all of them are Hydra's."""


def config_text(one: Composed, kind: str, package: str | None) -> str:
    """Write the config of a job: kind `job` what travels, `all` with what only the launch reads.

    package: a section or setting of it alone. ConfigError where there is no such one.
    """
    if package in (None, "", "_global_"):
        if kind == "job":
            return dump_job(job_of(one.config)).decode()
        return str(OmegaConf.to_yaml(OmegaConf.structured(one.config)))
    part = _part(one, kind, package)
    text = yaml.safe_dump(part, sort_keys=False, allow_unicode=True, width=10_000)
    return f"# @package {package}\n{text}" if isinstance(part, dict) else text.removesuffix("...\n")


def _part(one: Composed, kind: str, package: str) -> Any:
    config = one.config if kind == "all" else job_of(one.config)
    node: Any = OmegaConf.structured(config)
    plain = yaml.safe_load(OmegaConf.to_yaml(node))
    for name in package.split("."):
        if not isinstance(plain, dict) or name not in plain:
            raise ConfigError([_no_package(package, kind)])
        plain = plain[name]
    return plain


def _no_package(package: str, kind: str) -> Problem:
    where = f"--package {package}"
    if package in setting_types() and kind == "job":
        what = "is not part of the job: only the launch reads it"
        return Problem(where, what, f"--cfg all --package {package}")
    if package.partition(".")[0] == "hydra":
        return Problem(where, "jobs are composed without Hydra's section", "--cfg all")
    near = closest(package, [*setting_types()])
    what = f"there is no such section or setting{nearest(package, [*setting_types()])}"
    return Problem(where, what, f"--cfg {kind}" + (f" --package {near}" if near else ""))


class Information:
    """Facts about how a command's jobs are composed.

    typed_dir: the folder of --config-dir, as typed. is_onto_job: settings change a job file.
    """

    def __init__(
        self, conf_dir: Path, extra_dir: Path | None, typed_dir: str | None, is_onto_job: bool
    ) -> None:
        self._conf_dir, self._extra_dir = conf_dir, extra_dir
        self._typed_dir, self._is_onto_job = typed_dir, is_onto_job

    def lines(self, topic: str, composed: Sequence[Composed]) -> Iterator[str]:
        """Yield the lines of a topic; that of a sweep's first job."""
        parts = {
            "searchpath": self._search_path,
            "plugins": self._plugins,
            "defaults": self._defaults,
            "defaults-tree": self._tree,
            "config": self._config,
        }
        for name in parts if topic == "all" else (topic,):
            if topic == "all":
                yield from ("", f"# {name}") if name != "searchpath" else (f"# {name}",)
            yield from parts[name](composed[0])

    def _config(self, one: Composed) -> Iterator[str]:
        yield from config_text(one, "all", None).splitlines()

    def _search_path(self, one: Composed) -> Iterator[str]:
        yield from self.search_path()

    def search_path(self) -> Iterator[str]:
        """Yield the folders in which group files are looked for, in their order."""
        own = "--config-dir" if self._typed_dir else "LINGOTUNE_CONFIG or ~/.config/lingotune"
        rows = [("lingotune", str(self._conf_dir))]
        rows += [(own, str(self._extra_dir))] if self._extra_dir else []
        yield from _table([("from", "folder"), *rows, (SCHEMA, "structured://")])

    def _plugins(self, one: Composed) -> Iterator[str]:
        yield "Hydra's plugins are not loaded: launchers, sweepers and callbacks have no effect."
        yield f"code.file, your own code: {job_of(one.config).code.file or 'none'}"
        yield f"sweep.search: {one.config.sweep.search.name}"

    def _defaults(self, one: Composed) -> Iterator[str]:
        rows = [("config", "package", "chosen by")]
        for default in self._found(one).defaults:
            path = f"{default.config_path}" + (" (itself)" if default.is_self else "")
            rows.append((path, default.package or "_global_", default.parent or ""))
        yield from _table(rows)

    def _tree(self, one: Composed) -> Iterator[str]:
        for child in self._found(one).defaults_tree.children or ():
            yield from _branch(child, "")

    def _found(self, one: Composed) -> Any:
        groups = config_groups(self._conf_dir, self._extra_dir)
        folders = [self._conf_dir, *([self._extra_dir] if self._extra_dir else [])]
        choices = [
            o.text for o in one.overrides
            if o.key in groups and o.value != "null" and not o.value.startswith("{")
        ]  # fmt: skip
        with reading(groups, config_groups(self._conf_dir)):
            return defaults_of(folders, PRIMARY if self._is_onto_job else "config", choices)


def _branch(node: Any, indent: str) -> Iterator[str]:
    default: InputDefault = node.node if isinstance(node, DefaultsTreeNode) else node
    children = (node.children or ()) if isinstance(node, DefaultsTreeNode) else ()
    if default.is_self():
        name = "_self_"
    elif default.is_virtual():
        name = "<root>"
    else:
        path = default.get_config_path() if default.get_name() is not None else None
        name = path or f"{default.get_group_path()}: null"
    yield f"{indent}{name}" + (":" if children else "")
    for child in children:
        yield from _branch(child, f"{indent}  ")


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
