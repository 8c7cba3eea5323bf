"""Folders of group files: the shipped one, and the user's own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import in_checkout
from lingotune.launch.overrides.keys import visible_files

VARIABLE = "LINGOTUNE_CONFIG"
"""Environment variable that names the user's own folder; empty = none, not even the default one."""
_HOLDS = "it should hold group folders such as experiment/"


def shipped_dir() -> Path:
    """Find the shipped `conf/`: inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("lingotune")))
    return package.parents[1] / "conf" if in_checkout() else package / "conf"


def user_dir(typed: str | Path | None, environment: Mapping[str, str]) -> Path | None:
    """Find the user's own folder of group files; None if there is none.

    The first of: --config-dir as typed, LINGOTUNE_CONFIG, and if it exists, lingotune/ in the user's
    folder for configuration (XDG_CONFIG_HOME, or ~/.config). ConfigError if one of the first two is not
    a folder.
    """
    if typed is not None:
        return existing("--config-dir ", typed)
    named = environment.get(VARIABLE)
    if named is not None:
        return existing(f"{VARIABLE}=", named) if named else None
    found = _configuration_home(environment)
    return found / "lingotune" if found and (found / "lingotune").is_dir() else None


def existing(before: str, typed: str | Path) -> Path:
    """Return the folder that was typed; ConfigError if it is none. before: what stands before it there."""
    folder = Path(typed).expanduser()
    if folder.is_dir():
        return folder
    fix = f"mkdir -p {shlex.quote(str(folder / 'experiment'))}"
    if folder.exists():
        fix = f"{before}{shlex.quote(str(folder.parent))}"
    raise ConfigError([Problem(f"{before}{typed}", f"is not a folder; {_HOLDS}", fix)])


def moved_into_place(folder: Path, group: str, option: str) -> str:
    """Write the command that makes an option of a file of its name, which lies elsewhere or ends in .yml.

    '' where there is none.
    """
    name = Path(option).name
    suffixes = (".yaml", ".yml")
    files = (f for f in visible_files(folder) if f.suffix.lower() in suffixes and f.stem == name)
    target = folder / group / f"{option}.yaml"
    for file in files:
        move = shlex.join(["mv", str(file), str(target)])
        parent = shlex.quote(str(target.parent))
        return move if target.parent.is_dir() else f"mkdir -p {parent} && {move}"
    return ""


def _configuration_home(environment: Mapping[str, str]) -> Path | None:
    """Locate the user's folder for configuration; XDG ignores a relative path in the variable."""
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    if named.is_absolute():
        return named
    home = environment.get("HOME")
    return Path(home, ".config") if home else None
