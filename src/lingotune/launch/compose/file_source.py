"""Hydra's view of group files: read as they are written, and checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from lingotune.config.problems import Problem
from lingotune.launch.compose.file_checks import CheckedFile, read_checked
from lingotune.launch.compose.group_files import GroupFile
from lingotune.launch.compose.typed_config import NO_VALUE
from lingotune.launch.overrides.grammar import Groups

_SCHEME = "lingotune"
_PARAMS = "sweep.params"


@dataclass
class Reading:
    """Problems of the files that Hydra has read. groups, shipped: see `read_checked`.

    places: file:line of each setting, in every file of the user's own that sets it. unread: sections of
    files that cannot be read at all. chosen: the user's own file of each group.
    """

    groups: Groups
    shipped: Groups
    problems: list[Problem] = field(default_factory=list)
    places: dict[str, set[str]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)
    chosen: dict[str, str] = field(default_factory=dict)

    def note(self, checked: CheckedFile, file: GroupFile) -> None:
        """Keep the problems of a file and the places of its settings."""
        self.problems += checked.problems
        if checked.problems and not checked.content.tree:
            self.unread.add(file.group)
        if not file.group or file.option in self.shipped.get(file.group, ()):
            return  # the user's own files alone
        self.chosen[file.group] = str(file.path)
        params = checked.content.settings.get(_PARAMS)
        inside = [f"{_PARAMS}.{name}" for name in params] if isinstance(params, dict) else []
        for key in [*checked.content.settings, *inside]:
            line = checked.content.lines.get(key.removeprefix(f"{file.package}."))
            self.places.setdefault(key, set()).add(
                f"{file.path}:{line}" if line else f"{file.path}"
            )

    def placed(self, problem: Problem) -> Problem:
        """Name file and line of a setting that one file has set."""
        key = problem.key if problem.key in self.places else problem.key.partition("[")[0]
        if not key or problem in self.problems:
            return problem
        place, *others = self.places.get(key, ()) or [""]
        if problem.what == NO_VALUE:
            place = self.chosen.get(problem.section, "")
        return (
            replace(problem, where=f"{place}: {problem.where}") if place and not others else problem
        )


_READING: ContextVar[Reading] = ContextVar("reading")


@contextmanager
def reading(groups: Groups, shipped: Groups) -> Iterator[Reading]:
    """Gather what is wrong with the files that are read in the block."""
    token = _READING.set(Reading(groups, shipped))
    try:
        yield _READING.get()
    finally:
        _READING.reset(token)


def problems_so_far() -> list[Problem]:
    """Return what was found wrong with the files that were read so far in a block of `reading`."""
    return _READING.get().problems


class GroupFileSource(FileConfigSource):
    """A folder of group files. What is wrong in a file is left out, and told by `reading`."""

    @classmethod
    def of(cls, folder: Path) -> GroupFileSource:
        """Make the source of a folder."""
        return cls("main", f"{_SCHEME}://{folder.resolve()}")

    @staticmethod
    def scheme() -> str:
        """Name at the start of its path."""
        return _SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file by its path without .yaml."""
        path = Path(self.path, self._normalize_file_name(config_path))
        file, now = GroupFile(Path(self.path), path), _READING.get()
        checked = read_checked(file, now.groups, now.shipped)
        now.note(checked, file)
        content = dict(checked.content.tree)
        if checked.content.defaults:
            content["defaults"] = checked.content.defaults
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=OmegaConf.create(content),
            header={"package": file.header if content else "_global_"},
        )
