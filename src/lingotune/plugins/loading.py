"""Own code in memory: loaded once its digest is verified, and called so that its errors read as its own."""

from __future__ import annotations

import re
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import CodeConfig
from lingotune.plugins.check import Named, check_code, names_of
from lingotune.plugins.installed import installed, other_versions
from lingotune.plugins.marks import Kind, Mark, mark_of
from lingotune.plugins.source import Source

_NOT_THEIRS = re.compile(
    r"out of memory|no space left|connection (closed|reset|refused)|nccl|gloo|broken pipe", re.I
)
"""Errors that are raised in own code, and are none of its own: training/failure.py knows what helps."""
_LONGEST = 300


@dataclass(frozen=True)
class OwnFunction:
    """A function or class of the user's own. module_file: the file it is in."""

    named: Named
    thing: Any
    mark: Mark
    module_file: Path
    shown_as: str

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self.named.name

    @contextmanager
    def errors_told(self, when: str = "") -> Iterator[None]:
        """Turn an exception of the block into a ConfigError with the name and the line.

        when: what was done, such as 'on the validation rows'.
        """
        try:
            yield
        except (Exception, SystemExit) as error:
            if isinstance(error, ConfigError) or _is_foreign(error):
                raise
            raise ConfigError([self.problem_of(error, when)]) from error

    def problem_of(self, error: BaseException, when: str = "") -> Problem:
        """Tell an exception of its own in one line."""
        place = place_in(error, self.module_file, self.shown_as) or self.shown_as
        what = f"{self.name} raised {described(error)}{f' {when}' if when else ''} ({place})"
        return Problem(self.named.setting, what, f"correct {place}, then start again")


@dataclass(frozen=True)
class OwnCode:
    """All own code of a job; empty for a job without any. source: its file."""

    metrics: tuple[OwnFunction, ...] = ()
    builder: OwnFunction | None = None
    callbacks: tuple[OwnFunction, ...] = ()
    source: Source | None = None

    def keep_in(self, folder: Path) -> None:
        """Put a copy of the file below a folder."""
        if self.source:
            self.source.keep_in(folder)

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turn an exception that passed through the user's file into a ConfigError with its line."""
        try:
            yield
        except Exception as error:
            if isinstance(error, ConfigError) or _is_foreign(error) or not self.source:
                raise
            place = place_in(error, self.source.path, self.source.name)
            if place is None:
                raise
            what = f"its code raised {described(error)} ({place})"
            fix = f"correct {place}, then start again"
            raise ConfigError([Problem("code.file", what, fix)]) from error


NO_CODE = OwnCode()
"""That of a job without any."""


def load_code(code: CodeConfig, source: Source | None) -> OwnCode:
    """Run the file and import the packages of a job's own code; ConfigError lists what is wrong.

    The bytes that are run are those whose digest was compared.
    """
    content = source.content if source else None
    problems = [*check_code(code, content), *other_versions(code.requirements)]
    if problems:
        raise ConfigError(problems)
    names = names_of(code)
    module = _run(source) if source else None
    found: dict[Kind, list[OwnFunction]] = {kind: [] for kind in Kind}
    for named in names:
        if module is not None and source is not None and named.name in vars(module):
            found[named.kind].append(_of_file(named, module, source))
        else:
            found[named.kind].append(_of_package(named))
    builders = found[Kind.builder]
    return OwnCode(
        tuple(found[Kind.metric]),
        builders[0] if builders else None,
        tuple(found[Kind.callback]),
        source,
    )


def place_in(error: BaseException, file: Path, shown_as: str) -> str | None:
    """Find the innermost line of a file in a traceback, as `my_code.py:12`; None if it has none."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{shown_as}:{error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    return f"{shown_as}:{lines[-1]}" if lines else None


def described(error: BaseException) -> str:
    """Name an exception and its message, in one line that is not too long."""
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} ..."
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _is_foreign(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or bool(
        _NOT_THEIRS.search(f"{type(error).__name__} {error}")
    )


def _run(source: Source) -> types.ModuleType:
    """Run a file as a module of its own, without a cache beside it; the same content runs once."""
    name = f"lingotune_user_code_{source.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(source.path)
    sys.modules[name] = module  # where pickle and dataclasses look
    try:
        exec(compile(source.content, str(source.path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if _is_foreign(error):
            raise
        place = place_in(error, source.path, source.name) or source.name
        what = f"cannot be loaded: {described(error)} ({place})"
        fix = f"correct {place}, then start again"
        if isinstance(error, ModuleNotFoundError):
            fix = f"pip install {error.name}; for a worker: code.requirements=[{error.name}]"
        raise ConfigError([Problem(f"code.file={source.path}", what, fix)]) from error
    return module


def _of_file(named: Named, module: types.ModuleType, source: Source) -> OwnFunction:
    thing = vars(module)[named.name]
    mark = mark_of(thing)
    if mark is None or mark.kind is not named.kind:
        what = f"{named.name} of {source.name} is no @{named.kind.value} once the file has run"
        raise ConfigError([Problem(named.setting, what, f"{named.example}, as the outermost")])
    return OwnFunction(named, thing, mark, Path(str(module.__file__)), source.name)


def _of_package(named: Named) -> OwnFunction:
    (point,) = installed(named.kind)[named.name]
    try:
        thing = point.load()
    except (Exception, SystemExit) as error:
        what = f"{named.name} cannot be loaded from {point.value}: {described(error)}"
        raise ConfigError([Problem(named.setting, what)]) from error
    # The group says what it is: a package need not import lingotune to mark it.
    mark = mark_of(thing) or Mark(named.kind)
    if mark.kind is not named.kind or not callable(thing):
        what = f"{named.name}, {point.value}, is no @{named.kind.value}"
        raise ConfigError([Problem(named.setting, what, "another entry point")])
    module = sys.modules[point.module]
    file = Path(getattr(module, "__file__", None) or point.module)
    return OwnFunction(named, thing, mark, file, f"{point.module} ({file.name})")
