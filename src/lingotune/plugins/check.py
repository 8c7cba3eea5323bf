"""Checks of the own code that a job names, without running any of it: a plan needs no torch for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, closest, nearest
from lingotune.config.quoting import listing
from lingotune.config.schema import CodeConfig
from lingotune.config.secrets import secret_lines
from lingotune.plugins.definitions import Contents, Definition, contents_of
from lingotune.plugins.installed import (
    GROUPS,
    installed,
    package_of,
    project_of,
    requirement_of,
)
from lingotune.plugins.marks import Kind

LARGEST = 1_000_000
"""Bytes of a file of code; more is data."""
_ARGUMENTS = {
    Kind.metric: (1, "the predictions"),
    Kind.builder: (1, "the task"),
    Kind.callback: (0, "nothing"),
}
_SETTINGS = {Kind.metric: "metrics", Kind.builder: "builder", Kind.callback: "callbacks"}


@dataclass(frozen=True)
class Named:
    """A name of own code as the config has it."""

    kind: Kind
    name: str
    setting: str

    @property
    def example(self) -> str:
        """How the definition begins."""
        arguments = {Kind.metric: "predictions", Kind.builder: "task", Kind.callback: ""}
        return f"@{self.kind.value} above def {self.name}({arguments[self.kind]}):"


def names_of(code: CodeConfig) -> list[Named]:
    """List what a job names, each with the setting as it is typed."""
    metrics = listing("code.metrics", code.metrics)
    callbacks = listing("code.callbacks", code.callbacks)
    return [
        *(Named(Kind.metric, name, metrics) for name in code.metrics),
        *([Named(Kind.builder, code.builder, f"code.builder={code.builder}")] if code.builder else []),
        *(Named(Kind.callback, name, callbacks) for name in code.callbacks),
    ]  # fmt: skip


def check_code(code: CodeConfig, content: bytes | None) -> list[Problem]:
    """Find what is wrong with the file and the names of own code. content: of the file; None = no file."""
    where = f"code.file={code.file}"
    contents = Contents({}, ())
    if content is not None:
        problems = [*_check_file(code, content)]
        try:
            contents = contents_of(content, where)
        except ConfigError as error:  # which names it has is not known then
            return [*problems, *error.problems]
        problems += _check_imports(where, Path(str(code.file)), contents)
    else:
        problems = []
    for named in names_of(code):
        problems += _check_name(named, code, contents)
    return problems


def _check_file(code: CodeConfig, content: bytes) -> Iterator[Problem]:
    where = f"code.file={code.file}"
    if len(content) > LARGEST:
        yield Problem(
            where, f"has {len(content)} bytes: data, which would travel with the code", "code alone"
        )
        return  # fmt: skip
    for number in secret_lines(content.decode(errors="replace")):
        what = f"line {number} holds something that looks like an access token"
        yield Problem(where, what, 'read it where it is needed: os.environ["NAME"]')


def _check_imports(where: str, path: Path, contents: Contents) -> Iterator[Problem]:
    """Find imports of files beside this one: they do not travel."""
    for module, line in contents.imports:
        first = module.partition(".")[0]
        beside = path.parent / first
        if module.startswith("."):
            what = f"line {line} imports {module}, from a package that it is not part of"
        elif first in ("lingotune", path.stem) or first in sys.stdlib_module_names:
            continue
        elif beside.with_suffix(".py").is_file() or (beside / "__init__.py").is_file():
            what = f"line {line} imports {first}, which lies beside it and would not travel with it"
        else:
            continue
        yield Problem(where, what, "all code in one file, or a package: code.requirements=[...]")


# --- names --------------------------------------------------------------------------------------


def _check_name(named: Named, code: CodeConfig, contents: Contents) -> Iterator[Problem]:
    points = installed(named.kind).get(named.name, [])
    defined = contents.definitions.get(named.name)
    if defined is None and not points:
        yield _unknown(named, code, contents)
    elif defined is not None and points:
        what = f"{named.name} is in {code.file}:{defined.line} and in the package {package_of(points[0])}"
        yield Problem(named.setting, what, "another name in the file")
    elif len(points) > 1:
        packages = " and ".join(sorted(map(package_of, points)))
        what = f"{named.name} is in the packages {packages}"
        yield Problem(named.setting, what, "uninstall one of them")
    elif defined is not None:
        yield from _check_definition(named, code, defined)


def _unknown(named: Named, code: CodeConfig, contents: Contents) -> Problem:
    marked = [one.name for one in contents.definitions.values() if one.kind is named.kind]
    known = [*marked, *installed(named.kind)]
    near = nearest(named.name, known)
    places = [str(code.file)] if code.file else []
    places.append(f"an installed package (entry points {GROUPS[named.kind]})")
    what = f"{named.name} is neither in {' nor in '.join(places)}{near}"
    if len(places) == 1:
        what = f"{named.name} is in no {places[0].removeprefix('an ')}{near}"
    if near:
        return Problem(
            named.setting, what, named.setting.replace(named.name, closest(named.name, known))
        )
    if known:
        return Problem(named.setting, what, f"one of: {', '.join(known)}")
    fix = (
        f"{named.example} in {code.file}"
        if code.file
        else "a Python file that defines it: code.file=..."
    )
    return Problem(named.setting, what, fix)


def _check_definition(named: Named, code: CodeConfig, defined: Definition) -> Iterator[Problem]:
    place = f"{Path(str(code.file)).name}:{defined.line}"
    if defined.kind is None:
        what = f"{named.name} ({place}) is not marked as one"
        yield Problem(named.setting, what, f"@{named.kind.value} above it, from lingotune.plugins")
        return
    if defined.kind is not named.kind:
        what = f"{named.name} ({place}) is a @{defined.kind.value}"
        setting = f"code.{_SETTINGS[defined.kind]}"
        value = named.name if defined.kind is Kind.builder else f"[{named.name}]"
        yield Problem(named.setting, what, f"{setting}={value}, or @{named.kind.value} above it")
        return
    count, what_is_given = _ARGUMENTS[named.kind]
    if defined.is_async:
        yield Problem(named.setting, f"{named.name} ({place}) is async", "def without async")
    elif defined.arguments and not defined.arguments[0] <= count <= defined.arguments[1]:
        least, most = defined.arguments
        takes = f"{least:g}" if least == most else f"{least:g} to {most:g}"
        what = f"{named.name} ({place}) takes {takes} arguments, and is given {what_is_given}"
        yield Problem(named.setting, what, named.example)


# --- what a worker needs -----------------------------------------------------------------------


def worker_requirements(code: CodeConfig, content: bytes | None) -> tuple[list[str], list[Problem]]:
    """Add the packages whose entry points a job names to its requirements, in their versions here.

    Returns the requirements, and a problem for each package that a worker cannot install.
    """
    contents = contents_of(content, "").definitions if content is not None else {}
    found, problems = list(code.requirements), []
    for named in names_of(code):
        points: list[EntryPoint] = (
            [] if named.name in contents else installed(named.kind).get(named.name, [])
        )
        for point in points[:1]:
            if project_of(package_of(point)) in map(project_of, found):
                continue
            requirement = requirement_of(point)
            if requirement is not None:
                found.append(requirement)
                continue
            package = package_of(point)
            what = (
                f"{package} is installed from a folder of this machine, which a worker cannot reach"
            )
            fix = f"'code.requirements=[\"{package} @ git+https://...\"]', or code.file=..."
            problems.append(Problem(named.setting, what, fix))
    return found, problems
