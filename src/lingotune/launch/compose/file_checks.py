"""Checking the content of a group file: all problems at once, each with its line and key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse as parse_reference
from yaml import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from lingotune.config.problems import Problem, closest, listed, nearest
from lingotune.config.quoting import for_shell, hydra_value
from lingotune.config.settings import container_of, is_setting, mapping_of, setting_types
from lingotune.config.yaml_text import NotRead, decoded
from lingotune.launch.compose.defaults_lists import wrong_defaults
from lingotune.launch.compose.file_lines import (
    as_lines,
    line_for,
    mended,
    nested,
    sweep_of,
)
from lingotune.launch.compose.group_files import Content, GroupFile
from lingotune.launch.overrides.grammar import Groups
from lingotune.launch.overrides.hydra_names import hydra_answer
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.overrides import in_a_line
from lingotune.launch.overrides.unknown_names import unknown_name
from lingotune.launch.overrides.values import is_reference, misfits, refusal

GLOBAL = "# @package _global_ as its first line"
SECTIONS = ", ".join(
    key for key, kind in setting_types().items() if "." not in key and is_dataclass(kind)
)


@dataclass(frozen=True)
class CheckedFile:
    """Content of a file without what is wrong with it, and the problems."""

    content: Content
    problems: Sequence[Problem]


def read_checked(file: GroupFile, groups: Groups, shipped: Groups) -> CheckedFile:
    """Read a file and check its content; `where` of a problem is file:line: key.

    groups: those of all folders. shipped: those that every job has.
    """
    try:
        content = file.content()
    except ReaderError as error:  # a control character
        before = decoded(file.path.read_bytes())[: error.position]
        what = f"is not YAML: it holds {chr(error.character)!r}"
        return _unread(file, what, before.count("\n") + 1, "leave the character out")
    except MarkedYAMLError as error:
        line = error.problem_mark and error.problem_mark.line + 1
        what = error.problem or error.context or "cannot be read"
        kind = "is not read" if isinstance(error, NotRead) else "is not YAML"
        return _unread(file, f"{kind}: {what}", line, mended(what))
    except (YAMLError, ValueError, OSError) as error:
        return _unread(file, in_a_line(error))
    check = _Check(file, content, groups, shipped)
    problems = [*check.settings(), *check.defaults()]
    return CheckedFile(check.sound(problems), problems)


def _unread(file: GroupFile, what: str, line: int | None = None, fix: str = "") -> CheckedFile:
    where = f"{file.path}:{line}" if line else f"{file.path}"
    return CheckedFile(Content({}, {}), [Problem(where, what, fix)])


class _Check:
    def __init__(self, file: GroupFile, content: Content, groups: Groups, shipped: Groups) -> None:
        self._file, self._content = file, content
        self._groups, self._shipped = groups, shipped
        self._unfit: set[int] = set()

    def settings(self) -> Iterator[Problem]:
        """Yield a problem for each key that sets nothing, and each value that does not fit."""
        package, settings = self._file.package, self._content.settings
        hydra = {key: value for key, value in settings.items() if key.split(".")[0] == "hydra"}
        if hydra:
            yield self._hydra(hydra)
        own = {
            key: value
            for key, value in settings.items()
            if key not in hydra and (key != package or value)  # else a file of comments
        }
        if own and package and not _is_section(package):
            yield self._no_section()
            return
        tree = {name: value for name, value in self._content.tree.items() if name != "hydra"}
        dotted = dict(_dotted(tree, package))
        for key, (name, value) in dotted.items():
            what = f"{name!r} is no name in a file: a section holds its settings"
            yield self._problem(key, what, nested(name, value))
        for key, value in own.items():
            if any(key == one or key.startswith(f"{one}.") for one in dotted):
                continue
            if key not in setting_types() and not container_of(key):
                yield self._unknown(key, value)
            elif key in self._shipped and isinstance(value, str):
                yield self._choice_of(key, value)
            elif wrong := next(filter(_is_broken, _texts(value)), ""):
                what = f"{wrong!r} cannot be read as a reference: the form is ${{other.setting}}"
                fixed = wrong + "}"
                fix = f"leave out the ${{ of {wrong!r}"
                if not _is_broken(fixed) and is_setting(fixed[2:-1]):
                    fix = f"{key.rpartition('.')[2]}: {fixed}"
                yield self._problem(key, what, fix)
            elif not is_reference(value):
                yield from self._misfit(key, value)

    def defaults(self) -> Iterator[Problem]:
        """Yield a problem for each entry of the defaults list that chooses nothing."""
        for number, what, fix in wrong_defaults(
            self._file, self._content.defaults, self._groups, self._shipped
        ):
            self._unfit.add(number)
            yield self._problem(f"defaults[{number}]", what, fix)

    def sound(self, problems: Sequence[Problem]) -> Content:
        """Return the content without what was found wrong, so that the rest can still be composed."""
        package, content = self._file.package, self._content
        nowhere = package and not _is_section(package)
        unfit = {p.key for p in problems}
        tree = {} if nowhere else _without(content.tree, unfit, package)
        defaults = [entry for n, entry in enumerate(content.defaults) if n not in self._unfit]
        return replace(content, tree=tree, defaults=defaults)

    def _problem(self, key: str, what: str, fix: str = "", part: str = "") -> Problem:
        """Make a problem of a setting, or of a part of its value: data.labels[1].name."""
        shown = part or key
        written = shown.removeprefix(f"{self._file.package}.")
        line = self._content.lines.get(written)
        if line is None and part:
            line = self._content.lines.get(key.removeprefix(f"{self._file.package}."))
        place = f"{self._file.path}:{line}" if line else f"{self._file.path}"
        return Problem(f"{place}: {shown}" if shown else place, what, fix, key=key)

    def _hydra(self, settings: Mapping[str, Any]) -> Problem:
        what = "hydra's own settings have no effect here"
        answers = [hydra_answer(key, value) for key, value in settings.items()]
        lines = [nested(key, value) for answer in answers for key, value in answer.lines()]
        reasons = "; ".join(dict.fromkeys(answer.because for answer in answers))
        fix = "; ".join(["leave it out", *dict.fromkeys(lines)])
        return replace(self._problem("hydra", f"{what}: {reasons}", fix), key="hydra")

    def _no_section(self) -> Problem:
        package = self._file.package
        what = f"its settings are put below {package}, and there is no such section"
        if self._file.group in self._shipped:
            return self._problem("", what, GLOBAL)
        near = nearest(self._file.group, list(self._shipped))
        fix = f"{GLOBAL}, or a folder named like a section: {SECTIONS}"
        return self._problem("", f"{what}{near}", fix)

    def _unknown(self, key: str, value: Any) -> Problem:
        if (section := _section_meant(key)) is not None:
            written, meant = section
            what = f"unknown section {written!r}; did you mean {meant}?"
            return self._problem(key, what, f"{meant.rpartition('.')[2]}:", part=written)
        typed = hydra_value(value) if not isinstance(value, str) else value
        what, fix = unknown_name(key, typed, self._groups)
        inside = key.removeprefix(f"{self._file.package}.")
        if self._file.package and (inside in setting_types() or container_of(inside)):
            return self._problem(key, what, GLOBAL)
        if closest(inside.lower(), ["defaults"]):
            return self._problem(
                key, f"unknown setting {key!r}; did you mean defaults?", "defaults:"
            )
        return self._problem(key, what, as_lines(fix, key))

    def _choice_of(self, group: str, option: str) -> Problem:
        """Refuse `cluster: p3_16xl`, by which a group's option is chosen on the command line only."""
        what = "holds settings; an option is chosen in the defaults list"
        known = self._groups[group]
        chosen = option if option in known else listed(option, known)
        return self._problem(group, what, f"defaults: [override /{group}: {chosen}]")

    def _misfit(self, key: str, value: Any) -> Iterator[Problem]:
        """Try the value on the schema's own types."""
        kind = setting_types()[container_of(key) or key]
        several = sweep_of(value, kind)
        found = list(misfits(kind, value, key)) if key in setting_types() else []
        if found and several:
            what = f"{several} are several values, and a file holds one"
            sweep = for_shell(f"{key}={several}")
            yield self._problem(key, what, f"leave it out, and sweep as it is typed: -m {sweep}")
            return
        for one in found:
            yield self._problem(key, one.what, line_for(one, key), part=one.key)
        compound = isinstance(value, (list, dict))
        if not found and compound and (error := refusal(key, value)):
            fix = describe_type(kind, container_of(key) or key)[1]
            yield self._problem(key, in_a_line(error), as_lines(fix, key))


def _section_meant(key: str) -> tuple[str, str] | None:
    """Find the section that a key was meant to lie in: sweep for swep.seed, sweep.params for sweep.parms.

    Returns it as it is written, and as it is called.
    """
    outer, *rest = key.split(".")
    if outer not in setting_types():
        near = closest(outer, _sections_in(""))
        return (outer, near) if near and is_setting(".".join([near, *rest])) else None
    if len(rest) < 2:
        return None
    inner = f"{outer}.{rest[0]}"
    if not is_dataclass(setting_types()[outer]) or inner in setting_types():
        return None
    near = closest(rest[0], _sections_in(outer))
    return (inner, f"{outer}.{near}") if near else None


def _sections_in(outer: str) -> list[str]:
    """List the sections and mappings that lie in a section; '' = at the top."""
    return [
        name.rpartition(".")[2]
        for name, kind in setting_types().items()
        if name.rpartition(".")[0] == outer and (is_dataclass(kind) or mapping_of(name))
    ]


def _dotted(node: Any, prefix: str, written: str = "") -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield the key of each name with dots, the name from the root of the file, and its value."""
    if not isinstance(node, dict) or container_of(prefix):
        return
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        place = f"{written}.{name}" if written else str(name)
        if "." in str(name):
            yield key, (place, value)
        else:
            yield from _dotted(value, key, place)


def _without(tree: Mapping[str, Any], keys: Collection[str], prefix: str) -> dict[str, Any]:
    kept = {}
    for name, value in tree.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if key not in keys:
            kept[name] = _without(value, keys, key) if isinstance(value, dict) else value
    return kept


def _is_section(key: str) -> bool:
    return is_dataclass(setting_types().get(key)) or container_of(key) is not None


def _texts(value: Any) -> Iterator[str]:
    items = [*value.values()] if isinstance(value, dict) else value
    if isinstance(items, list):
        for item in items:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _is_broken(text: str) -> bool:
    if "${" not in text:
        return False
    try:
        parse_reference(text)
    except GrammarParseError:
        return True
    return False
