"""Group files on disk: the package of each, and the settings that it sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lingotune.launch.compose.keys import visible_files

_PACKAGE = re.compile(r"^\s*#\s*@package\s+(\S+)\s*$")


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
    def option(self) -> str:
        """Name of the option, as it follows the = in an override."""
        return "/".join(self._parts[1:]).removesuffix(self.path.suffix)

    @property
    def package(self) -> str:
        """Dotted key of the section that the file's keys belong to; '' for the root of the config."""
        header = next(filter(None, map(_PACKAGE.match, self._head())), None)
        if header is None:
            return ".".join(self._parts[:-1])
        named = header.group(1).replace("_group_", ".".join(self._parts[:-1]))
        return "" if named == "_global_" else named.removeprefix("_global_.")

    @property
    def says(self) -> str:
        """First sentence of the comment at the start of the file; '' without one."""
        told = [line.lstrip("# ") for line in self._head() if not _PACKAGE.match(line)]
        return re.split(r"(?<!e\.g)[.:] |; |\.$", " ".join(told))[0]

    def settings(self) -> dict[str, object]:
        """Map the dotted keys that the file sets to their values, as they are written.

        Raises the errors of OmegaConf and YAML for a file that cannot be read, and ValueError for one
        that is not a mapping.
        """
        content = OmegaConf.to_container(OmegaConf.load(self.path), resolve=False)
        if not isinstance(content, dict):
            raise ValueError("holds no settings: the form is key: value, a line each")
        content.pop("defaults", None)
        return dict(_leaves(content, self.package))

    @property
    def _parts(self) -> tuple[str, ...]:
        return self.path.relative_to(self.root).parts

    def _head(self) -> Iterator[str]:
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            if not line.startswith("#"):
                return
            yield line


def group_files(*roots: Path | None) -> list[GroupFile]:
    """List the options of all groups below the roots, root by root."""
    files = [GroupFile(root, path) for root in roots if root for path in visible_files(root)]
    return [file for file in files if file.group and file.path.suffix == ".yaml"]


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from _leaves(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, node
