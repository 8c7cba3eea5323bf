"""Write the generated documentation: docs/settings.md from the schema and conf/, and the tables of
docs/architecture.md from tests/test_architecture.py and of docs/models.md from the facts about models.

`python tools/reference.py` writes; tests/test_docs.py says when a page is stale.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from machines_page import machines_page
from omegaconf import OmegaConf

from lingotune.config import schema
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.models import ModelRow, options, row_of

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
CONFIG = "config.yaml"
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
ARCHITECTURE_PAGE = ROOT / "docs" / "architecture.md"
MACHINES_PAGE = ROOT / "docs" / "machines.md"
MANY = 30
"""Options of a group above which a page of their own lists them."""
MODELS_PAGE = ROOT / "docs" / "models.md"
INTRODUCTION = """\
# Settings

Every setting, as you type it: `python train.py lr=2e-5 data.columns.text=comment`. `train.py` and
`launch.py` take the same ones. Choose an option of a group with `group=option`; type `null` for no
value. `python train.py --help` lists the settings in the terminal, `--cfg job` prints the composed job.

The settings of [aws](#aws), [budget](#budget), [deploy](#deploy), [sweep](#sweep) and
[rehearsal](#rehearsal), and those marked *launch*, belong to this machine. All others are part of
the job and travel with it.

This page is generated from `src/lingotune/config/schema.py` and `conf/`; do not edit it.
"""


@dataclass(frozen=True)
class Section:
    """A dataclass of the schema and the prefix of its settings, '' for the job itself."""

    prefix: str
    kind: type
    text: str
    """What the section is for: the string under its field."""


def settings_page() -> str:
    """Render docs/settings.md."""
    chosen = values_of_groups(CONF)
    parts = [INTRODUCTION, _groups_table()]
    parts += [_section(section, chosen) for section in sections()]
    return "\n".join(parts)


def sections(kind: type = schema.LaunchConfig, prefix: str = "", text: str = "") -> list[Section]:
    """List the sections of the schema, outer ones first."""
    found = [Section(prefix, kind, text)]
    for item, inner in _fields(kind):
        if is_dataclass(inner):
            name = f"{prefix}.{item.name}".lstrip(".")
            found += sections(typing.cast(type, inner), name, documented(kind)[item.name])
    return found


@functools.cache
def documented(kind: type) -> dict[str, str]:
    """Map field names to the string under each field, inherited fields included."""
    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        (node,) = ast.parse(inspect.getsource(owner)).body
        assert isinstance(node, ast.ClassDef)
        for field, below in zip(node.body, node.body[1:]):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(field.target, ast.Name) and isinstance(below.value, ast.Constant)
                texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts


def values_of_groups(conf: Path) -> dict[str, dict[str, list[str]]]:
    """Map each setting to the values that group files give it: key -> value -> [group=option]."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in [conf / CONFIG, *group_files(conf)]:
        group, option = group_and_option(path, conf)
        is_global = not group or "@package _global_" in path.read_text(encoding="utf-8")
        for key, value in _flat(OmegaConf.to_container(OmegaConf.load(path))):
            if not key.startswith("defaults") and value != schema.MISSING:
                full = key if is_global else f"{group}.{key}"
                source = f"{group}={option}" if group else CONFIG
                found.setdefault(full, {}).setdefault(value, []).append(source)
    return found


def group_files(conf: Path) -> list[Path]:
    """List the YAML files of all groups, options in subfolders included."""
    return sorted(conf.glob("*/**/*.yaml"))


def group_and_option(path: Path, conf: Path) -> tuple[str, str]:
    """Split the path of a group file: conf/experiment/nlp/deep.yaml -> experiment, nlp/deep."""
    parts = path.relative_to(conf).with_suffix("").parts
    return (parts[0], "/".join(parts[1:])) if len(parts) > 1 else ("", parts[0])


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield key, "[" + ", ".join(str(row["name"]) for row in value if "name" in row) + "]"
        else:
            yield key, _typed(value)


def _section(section: Section, chosen: dict[str, dict[str, list[str]]]) -> str:
    title = section.prefix or "The job"
    texts = documented(section.kind)
    intro = section.text or "Settings outside of any section."
    lines = [
        f"## {title}\n",
        f"{intro}\n",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for item, kind in _fields(section.kind):
        if is_dataclass(kind):
            continue
        key = f"{section.prefix}.{item.name}".lstrip(".")
        meaning = texts[item.name]
        if _is_launch(section, item.name) and not meaning.startswith("launch.py"):
            meaning = f"*launch*: {meaning}"
        by_group = "; ".join(
            f"`{value}` by " + ", ".join(f"`{option}`" for option in options)
            for value, options in chosen.get(key, {}).items()
        )
        if len(chosen.get(key, {})) > MANY:
            meaning += f"<br>Each [machine]({MACHINES_PAGE.name}) has its own."
            by_group = ""
        if by_group:
            meaning += f"<br>Set to {by_group}."
        cells = (f"`{key}`", type_in_words(kind), _default(item), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _is_launch(section: Section, name: str) -> bool:
    """Whether a setting is added to the job's by a class for the launching machine only."""
    job = next((k for k in section.kind.__mro__[1:] if is_dataclass(k)), None)
    return job is not None and name not in {item.name for item in fields(job)}


def _fields(kind: type) -> list[tuple[Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(item, hints[item.name]) for item in fields(kind)]


def type_in_words(kind: Any) -> str:
    """Describe a type of the schema: 'whole number or null', or the choices of an Enum."""
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    origin = typing.get_origin(kind)
    if origin is typing.Union:
        return f"{type_in_words(options[0])} or null"
    if origin is list and is_dataclass(options[0]):
        row = ", ".join(item.name for item in fields(options[0]))
        return f"list of {{{row}}}"
    if origin is list:
        return (
            "list: " + type_in_words(options[0])
            if issubclass(options[0], Enum)
            else "list of texts"
        )
    if origin is dict:
        return "texts by name"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{choice.name}`" for choice in kind)
    words = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}
    return {**words, schema.Texts: "text or list of texts"}[kind]


def _default(item: Field[Any]) -> str:
    if item.metadata == schema.BY_MODEL:
        return schema.BY_MODEL["default"]
    if item.default_factory is not MISSING:
        return "empty"
    return "required" if item.default == schema.MISSING else f"`{_typed(item.default)}`"


def _typed(value: Any) -> str:
    """Write a value as one types it."""
    if isinstance(value, Enum):
        return str(value.name)
    if isinstance(value, float):
        return format(value, "g")
    if isinstance(value, list):
        return "[" + ", ".join(map(_typed, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _groups_table() -> str:
    groups: dict[str, list[str]] = {}
    for path in group_files(CONF):
        group, option = group_and_option(path, CONF)
        groups.setdefault(group, []).append(option)
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / CONFIG), resolve=False)
    entries = [entry for entry in config["defaults"] if isinstance(entry, dict)]
    chosen = {group: option for entry in entries for group, option in entry.items()}
    rows = [
        f"| `{group}` | {_options(options)} | "
        + (f"`{chosen[group]}`" if chosen.get(group) else "none")
        + " |"
        for group, options in groups.items()
    ]
    head = "## Groups\n\n| group | options | default |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _options(options: Sequence[str]) -> str:
    if len(options) > MANY:
        return f"{len(options)}, among them one for each [machine]({MACHINES_PAGE.name})"
    return ", ".join(f"`{option}`" for option in options)


def filled(page: str, tables: dict[str, str]) -> str:
    """Fill the generated parts of a page anew."""
    for name, text in tables.items():
        mark = f"<!-- generated by tools/reference.py: {name} -->"
        before, found, rest = page.partition(mark)
        _, end, after = rest.partition("<!-- end -->")
        assert found and end, f"the page has no place for {name}"
        page = before + mark + text + end + after
    return page


def architecture_tables() -> dict[str, str]:
    """Render the tables of the architecture test in Markdown."""
    sys.path.insert(0, str(ROOT / "tests"))
    test = importlib.import_module("test_architecture")
    ours, third_party = test.OURS, test.THIRD_PARTY
    outer = [room for room in ours if "." not in room]
    packages = [(room, ordered(ours[room], outer), ordered(third_party[room])) for room in outer]
    rooms = [(room, ordered(ours[room], list(ours))) for room in ours if room not in outer]
    return {
        "packages": _table(("package", "holds", "may import", "third party"), packages),
        "rooms": _table(("room", "holds", "may import beside it"), rooms),
        "pure": ", ".join(f"`{name}`" for name in sorted(test.PURE)),
    }


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    return _rows(head, [(f"`{room}`", purpose(room), *cells) for room, *cells in rows])


def models_tables() -> dict[str, str]:
    """Render the tables of models and of their architectures in Markdown."""
    names = options(CONF, None)
    jobs = compose_all([f"model={','.join(names)}"], CONF, lambda config: [], multirun=True)
    rows = [row_of(name, one.config) for name, one in zip(names, jobs)]
    head = (
        "`model=`",
        "parameters",
        "languages",
        "longest text",
        "`lr`",
        "batch",
        "GiB",
        "licence",
    )
    shown = [
        (
            f"`{row.model}`", f"{(row.parameters or 0) / 1e6:.3g} M", _or_none(row.languages),
            _or_none(row.tokens), f"{row.lr:g}", str(row.per_device_bs), str(row.memory_gib),
            row.licence or "-",
        )
        for row in rows
    ]  # fmt: skip
    return {"models": _rows(head, shown), "architectures": _architectures_table(rows)}


def _or_none(value: int | None) -> str:
    return "any" if value is None else str(value)


def _architectures_table(rows: Sequence[ModelRow]) -> str:
    head = ("architecture", "`model=`", "`model.pooling`", "padding-free, first token alone",
            "LoRA's layers", "fp16", "in transformers")  # fmt: skip
    by_name: dict[str, list[ModelRow]] = {}
    for row in rows:
        if not row.needs_code:
            by_name.setdefault(row.architecture or "", []).append(row)
    shown = [
        (
            name,
            ", ".join(f"`{row.model}`" for row in found),
            ", ".join(f"`{one}`" for one in found[0].poolings),
            "yes" if found[0].padding_free else "-",
            ", ".join(
                dict.fromkeys(f"`{one.rpartition('.')[2]}`" for one in found[0].lora_targets)
            ),
            "breaks" if found[0].breaks_in_fp16 else "yes",
            f"from {found[0].since}",
        )
        for name, found in sorted(by_name.items())
    ]
    return _rows(head, shown)


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *map(" | ".join, rows)]
    return "\n" + "".join(f"| {line} |\n" for line in lines)


def ordered(found: set[str], order: Sequence[str] = ()) -> str:
    """Join names in the order given, else alphabetically; - for none."""
    names = [name for name in order if name in found] if order else sorted(found)
    return ", ".join(names) or "-"


def purpose(package: str) -> str:
    """Take the first sentence of a package's docstring."""
    path = ROOT / "src" / "lingotune" / package.replace(".", "/") / "__init__.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(re.split(r"(?<=\.)\s", text.strip())[0].split())


def pages() -> dict[Path, str]:
    """Map each generated page to its content as it should be."""
    architecture = ARCHITECTURE_PAGE.read_text(encoding="utf-8")
    models = MODELS_PAGE.read_text(encoding="utf-8")
    return {
        SETTINGS_PAGE: settings_page(),
        MACHINES_PAGE: machines_page(),
        ARCHITECTURE_PAGE: filled(architecture, architecture_tables()),
        MODELS_PAGE: filled(models, models_tables()),
    }


def main() -> None:
    """Write the generated pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
