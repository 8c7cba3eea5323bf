"""Help for the commands that compose a job: an overview, and a page per section and setting."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import shutil
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from lingotune.config import schema
from lingotune.config.problems import ConfigError, Problem, closest, nearest
from lingotune.config.schema import BY_MODEL, MISSING, LaunchConfig, Texts
from lingotune.config.settings import setting_types
from lingotune.launch.compose.group_files import GroupFile, group_files
from lingotune.launch.overrides.keys import config_groups

_WIDEST = 100
_NARROWEST = 40
OPTIONS = {
    "-h, --help [TOPIC]": "this page, or that of a section, group or setting: --help data, --help lr",
    "-m, --multirun": "sweep: every combination of the values given as a=1,2,3",
    "--cfg job|all": "print the composed job, or all settings, and stop; --package SECTION: a part",
    "--info [TOPIC]": "tell how it is composed: searchpath, plugins, defaults, defaults-tree, config",
    "--env NAME": "read ${oc.env:NAME} of files and overrides on this machine, as part of the job",
    "--config-dir DIR": "group files of your own, e.g. DIR/experiment/mine.yaml; default:"
    " LINGOTUNE_CONFIG, else ~/.config/lingotune where it exists",
    "--job FILE": "begin with the settings of a job that ran, RUN/job.yaml; overrides go on top",
}


@dataclass(frozen=True)
class Command:
    """Description of a command, for its help.

    sections: first parts of the settings that it takes; empty = all. options: those besides `OPTIONS`.
    instead: those that do not go with overrides, and the setting that stands for each.
    """

    program: str
    purpose: str
    sections: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)

    def takes(self, key: str) -> bool:
        """Tell whether a setting or group, by its dotted key, has an effect on the command."""
        return not self.sections or key.partition(".")[0] in self.sections


def help_page(
    command: Command, conf_dir: Path, extra_dir: Path | None = None, topic: str = ""
) -> str:
    """Format the help of a command, or of one topic: a section, a group or a setting.

    Lines are at most 100 columns wide, or as wide as the terminal. ConfigError for an unknown topic.
    """
    topic = topic.lstrip("+").partition("=")[0]
    if not topic:
        lines = list(_overview(command, conf_dir, extra_dir))
    else:
        known = [*setting_types(), *_groups(conf_dir, extra_dir)]
        if topic not in known:
            what = f"is no section, group or setting{nearest(topic, known)}"
            near = closest(topic, known)
            fix = f"{command.program} --help {near}" if near else ""
            raise ConfigError([Problem(f"--help {topic}", what, fix)], f"{command.program} --help")
        lines = list(_topic(command, topic, group_files(conf_dir, extra_dir)))
    return "\n".join(line.rstrip() for line in lines)


def _overview(command: Command, conf_dir: Path, extra_dir: Path | None) -> Iterator[str]:
    yield from _wrapped(command.purpose)
    usage = f"usage: {command.program} [options] [group=option ...] [key=value ...]"
    yield from ["", *_wrapped(usage, "       "), "", "options:"]
    yield from _columns({**OPTIONS, **command.options})
    where = f"{conf_dir}" + (f" and {extra_dir}" if extra_dir else "")
    yield from ["", *_wrapped(f"groups, each a choice of files below {where}:")]
    groups = _groups(conf_dir, extra_dir)
    chosen = {name: options for name, options in groups.items() if command.takes(name)}
    new = chosen.keys() - config_groups(conf_dir).keys()
    yield from _columns({
        f"{'+' if name in new else ''}{name}=": " | ".join(options)
        for name, options in chosen.items()
    })  # fmt: skip
    own = [key for key in setting_types() if "." not in key and command.takes(key)]
    yield from ["", "settings of the job:"]
    for key in own:
        if not is_dataclass(setting_types()[key]):
            yield from _entry(key)
    sections = [key for key in own if is_dataclass(setting_types()[key])]
    yield from [
        "",
        *_wrapped(f"sections; {command.program} --help {sections[0]} shows all of one:"),
    ]
    yield from _columns({f"{name}.": _of_section(name) for name in sections})


def _groups(conf_dir: Path, extra_dir: Path | None) -> dict[str, list[str]]:
    """List the groups, without subfolders, which belong to the options of their outer folder."""
    groups = config_groups(conf_dir, extra_dir)
    return {name: options for name, options in groups.items() if "/" not in name}


def _of_section(name: str) -> str:
    count = sum(
        key.startswith(f"{name}.") and not is_dataclass(kind)
        for key, kind in setting_types().items()
    )
    return f"{first_sentence(_section_text(name))} ({count} settings)"


def _topic(command: Command, topic: str, files: Sequence[GroupFile]) -> Iterator[str]:
    kind = setting_types().get(topic)
    if kind is not None and not is_dataclass(kind):
        yield from _whole_setting(topic, files)
        return
    if kind is not None:
        yield from _wrapped(f"{topic}: {_section_text(topic)}")
    options = [file for file in files if file.group == topic]
    if options:
        yield from ["", "options of the group:"] if kind is not None else [f"options of {topic}:"]
        yield from _columns({f"{topic}={file.option}": file.says for file in options})
    inside = [key for key in setting_types() if key.startswith(f"{topic}.")]
    if inside:
        yield from ["", "settings:"]
    for key in inside:
        if is_dataclass(setting_types()[key]):
            yield from _wrapped(f"{key}: {_section_text(key)}", "    ", "  ")
        else:
            yield from _entry(key, _set_by(key, files))
    if inside:
        longer = next((key for key in inside if not is_dataclass(setting_types()[key])), inside[0])
        yield from ["", *_wrapped(f"more on one of them: {command.program} --help {longer}")]


def _whole_setting(key: str, files: Sequence[GroupFile]) -> Iterator[str]:
    yield from _wrapped(f"{key}: {_kind_and_default(key)}", "  ")
    yield from ["", *_wrapped(setting_texts()[key])]
    setters = {
        f"{file.group}={file.option}": f"{_shown(value)}"
        for file in files
        for name, value in _settings(file).items()
        if name == key or name.startswith(f"{key}.")
    }
    if setters:
        yield from ["", "set by:", *_columns(setters)]


def _entry(key: str, setters: str = "") -> Iterator[str]:
    """Format a setting for an overview: name, values and default, and its meaning below."""
    line = _kind_and_default(key) + (f"; set by {setters}" if setters else "")
    yield from _wrapped(f"{key}  {line}", "      ", "  ")
    yield from _wrapped(f"{first_sentence(setting_texts()[key])}.", "      ", "      ")


def _set_by(key: str, files: Sequence[GroupFile]) -> str:
    """Format the options that set a key, several of a group as one: `data=files and hub=...`."""
    setters: dict[str, list[str]] = {}
    for file in files:
        if any(name == key or name.startswith(f"{key}.") for name in _settings(file)):
            setters.setdefault(file.group, []).append(file.option)
    return ", ".join(
        f"{group}={options[0] if len(options) == 1 else '...'}"
        for group, options in setters.items()
    )


@functools.cache
def _settings(file: GroupFile) -> Mapping[str, object]:
    """Read the settings of a file; none if it cannot be read, which is reported elsewhere."""
    try:
        return file.settings()
    except Exception:
        return {}


# --- words of the schema ------------------------------------------------------------------------


def kind_of(kind: Any) -> str:
    """Describe a type in words: `auto | fp32 | fp16 | bf16`, `a whole number or null`."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        choices = choices_of(kind)
        return f"{kind_of(inner[0])}{' | ' if choices else ' or '}null"
    if choices := choices_of(kind):
        return " | ".join(choices)
    if typing.get_origin(kind) is list:
        return f"a list of {_plural(inner[0])}"
    if typing.get_origin(kind) is dict:
        return "texts by name"
    words = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        Texts: "a text or a list of texts",
    }
    return words.get(kind, "settings")


def choices_of(kind: Any) -> list[str]:
    """List the words that a setting of the type takes: an enum's names, or true and false."""
    if typing.get_origin(kind) is typing.Union:
        return choices_of(typing.get_args(kind)[0])
    if kind is bool:
        return ["true", "false"]
    return [choice.name for choice in kind] if _is_enum(kind) else []


def _plural(kind: Any) -> str:
    if is_dataclass(kind):
        return "{" + ", ".join(item.name for item in fields(kind)) + "}"
    return ", ".join(choices_of(kind)) or "texts"


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def default_of(key: str) -> Any:
    """Look up a setting's default in the schema; MISSING if a group file or the user has to give it."""
    item = _field_of(key)
    factory: Any = item.default_factory
    return item.default if factory is NO_DEFAULT else factory()


def _field_of(key: str) -> Field[Any]:
    owner, _, name = key.rpartition(".")
    section = setting_types()[owner] if owner else LaunchConfig
    return next(item for item in fields(section) if item.name == name)


def _kind_and_default(key: str) -> str:
    default = default_of(key)
    told = "no default" if default == MISSING else f"default {_shown(default)}"
    if _field_of(key).metadata == BY_MODEL:
        told = f"default {BY_MODEL['default']}"
    return f"{kind_of(setting_types()[key])}; {told}"


def _shown(value: Any) -> str:
    """Format a value as it would be typed."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(inner)}" for name, inner in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def first_sentence(text: str) -> str:
    """Cut a text at its first full stop, but for those of abbreviations."""
    return re.split(r"(?<!e\.g)(?<!et al)\. ", text)[0].rstrip(".")


@functools.cache
def setting_texts() -> Mapping[str, str]:
    """Map each dotted key, also of sections, to the docstring of its field in the schema."""
    texts = {}
    for key in setting_types():
        owner, _, name = key.rpartition(".")
        for section in (setting_types()[owner] if owner else LaunchConfig).__mro__[:-1]:
            found = _documented(_classes()[section.__name__])
            if name in found:
                texts[key] = found[name]
    return texts


def _section_text(key: str) -> str:
    """Look up a section's own docstring, which says more than that of its field."""
    return " ".join(str(setting_types()[key].__doc__).split())


@functools.cache
def _classes() -> Mapping[str, ast.ClassDef]:
    body = ast.parse(inspect.getsource(schema)).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def _documented(section: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for item, text in zip(section.body, section.body[1:]):
        if isinstance(item, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(item.target, ast.Name) and isinstance(text.value, ast.Constant)
            texts[item.target.id] = " ".join(str(text.value.value).split())
    return texts


# --- lines --------------------------------------------------------------------------------------


def _width() -> int:
    """Choose the columns of a line: the terminal's, or 80 in a pipe, but no more than are easy to read."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns))


def _wrapped(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


def _columns(rows: Mapping[str, str]) -> Iterator[str]:
    """Format two columns; a name that is too long for the first gets a line of its own."""
    room = min(max(map(len, rows)), 26)
    for name, text in rows.items():
        indent = " " * (room + 4)
        if len(name) > room:
            yield from _wrapped(name, "    ", "  ")
            yield from _wrapped(text, indent, indent)
        else:
            yield from _wrapped(text, indent, f"  {name.ljust(room)}  ") or [f"  {name}"]
