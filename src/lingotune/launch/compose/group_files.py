"""Group files on disk: the package of each, and the settings that it sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from lingotune.config.settings import container_of, setting_types
from lingotune.config.yaml_text import decoded, read_yaml, typed_value
from lingotune.launch.overrides.keys import visible_files
from lingotune.launch.overrides.short_forms import spelled_out

_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)\s*(?:#.*)?$")


@dataclass(frozen=True)
class Content:
    """Content of a group file.

    tree: its keys as they are nested. settings: the same by dotted key, with what its package puts
    before. defaults: the entries of its defaults list. lines: line, from 1, of each key as it is
    written, without the package.
    """

    tree: Mapping[str, Any]
    settings: Mapping[str, Any]
    defaults: list[Any] = field(default_factory=list)
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupFile:
    """File of a group's option; the group is the top folder below the root, as in experiment=nlp/deep."""

    root: Path
    path: Path

    @property
    def group(self) -> str:
        """Name of the group; '' for a file outside of groups."""
        return self._parts[0] if len(self._parts) > 1 else ""

    @property
    def folder(self) -> str:
        """Name of the group that Hydra finds it in: experiment/nlp."""
        return "/".join(self._parts[:-1])

    @property
    def option(self) -> str:
        """Name of the option, as it follows the = in an override."""
        return "/".join(self._parts[1:]).removesuffix(self.path.suffix)

    @property
    def package(self) -> str:
        """Dotted key of the section that the file's keys belong to; '' for the root of the config."""
        named = (self.header or "_group_").replace("_group_", ".".join(self._parts[:-1]))
        return "" if named == "_global_" else named.removeprefix("_global_.")

    @property
    def header(self) -> str | None:
        """Package that a comment `# @package ...` at its top names; None without one."""
        found = next(filter(None, map(_PACKAGE.match, self._head())), None)
        return found.group(1) if found else None

    @property
    def says(self) -> str:
        """First sentence of the comment at the start of the file; '' without one."""
        comments = [line for line in self._head() if line.startswith("#")]
        told = [line.lstrip("# ") for line in comments if not _PACKAGE.match(line)]
        return re.split(r"(?<!e\.g)[.:] |; |\.$", " ".join(told))[0]

    def content(self) -> Content:
        """Read the file; texts are as they are written, and numbers what the schema has numbers for.

        Raises OSError, YAMLError; ValueError where the file is no text or holds no mapping.
        """
        content, lines = read_yaml(decoded(self.path.read_bytes()))
        if content is None:
            content = {}
        if not isinstance(content, dict):
            raise ValueError("holds no settings: the form is key: value, a line each")
        defaults = content.pop("defaults", None) or []
        if not self.package:
            content, lines = _with_params(content, lines)
        tree = _typed(spelled_out(self.package, content), self.package)
        entries = defaults if isinstance(defaults, list) else [defaults]
        return Content(tree, dict(_leaves(tree, self.package)), entries, lines)

    def settings(self) -> Mapping[str, Any]:
        """Map the dotted keys that the file sets to their values; raises what `content` raises."""
        return self.content().settings

    @property
    def _parts(self) -> tuple[str, ...]:
        return self.path.relative_to(self.root).parts

    def _head(self) -> Iterator[str]:
        try:
            text = decoded(self.path.read_bytes())
        except (ValueError, OSError):
            return
        for line in text.splitlines():
            if line.startswith(("#", "%", "---")):
                yield line
            elif line.strip():
                return


def group_files(*roots: Path | None) -> list[GroupFile]:
    """List the options of all groups below the roots, root by root."""
    files = [GroupFile(root, path) for root in roots if root for path in visible_files(root)]
    return [file for file in files if file.group and file.path.suffix == ".yaml"]


def _with_params(
    content: dict[str, Any], lines: dict[str, int]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Move what stands under `hydra.sweeper.params` to `sweep.params`, but for keys that are there too."""
    moved = content
    for name in _PARAMS:
        moved = moved.get(name) if isinstance(moved, dict) else None  # type: ignore[assignment]
    section = content.get("sweep") or {}
    if not isinstance(moved, dict) or not isinstance(section, dict):
        return content, lines
    params = section.get("params") or {}
    if not isinstance(params, dict):
        return content, lines
    new = {key: values for key, values in moved.items() if key not in params}
    merged = {**content, "sweep": {**section, "params": {**params, **new}}}
    sweeper = {**content["hydra"]["sweeper"], "params": _missing(moved, new)}
    hydra = {**content["hydra"], "sweeper": {k: v for k, v in sweeper.items() if v != {}}}
    merged["hydra"] = {key: value for key, value in hydra.items() if value != {}}
    before = ".".join(_PARAMS)
    places = {f"sweep.params.{key}": lines.get(f"{before}.{key}", 1) for key in new}
    if not merged["hydra"]:
        del merged["hydra"]
    return merged, {**lines, "sweep.params": lines.get(before, 1), **places}


_PARAMS = ("hydra", "sweeper", "params")
"""Place of what is swept in files for Hydra's own multirun."""


def _missing(all_of_it: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in all_of_it.items() if key not in taken}


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node and not _is_value(prefix):
        for name, value in node.items():
            yield from _leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node


def _is_value(key: str) -> bool:
    """Tell whether a setting holds what stands below it as one value, and not settings of their own."""
    kind = setting_types().get(key)
    return container_of(key) is not None or (kind is not None and not is_dataclass(kind))


def _typed(node: Any, key: str) -> Any:
    if not isinstance(node, dict):
        return typed_value(_kind(key), node)
    return {
        name: _typed(value, f"{key}.{name}" if key else str(name)) for name, value in node.items()
    }


def _kind(key: str) -> Any:
    """Type of a setting; None for what lies in a mapping, whose values are texts, and for no setting."""
    return setting_types().get(key) if container_of(key) in (None, key) else None
