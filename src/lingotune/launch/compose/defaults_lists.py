"""Defaults lists of group files: entries that choose nothing, and what works in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from yaml import YAMLError

from lingotune.config.problems import closest, listed, nearest
from lingotune.config.schema import MISSING
from lingotune.launch.compose.group_files import GroupFile
from lingotune.launch.overrides.grammar import Groups
from lingotune.launch.overrides.hydra_names import hydra_answer

_SELF = "_self_"
_FORM = "an entry is the name of a file in the same folder, or: override /GROUP: option"


def wrong_defaults(
    file: GroupFile, entries: Sequence[Any], groups: Groups, shipped: Groups
) -> Iterator[tuple[int, str, str]]:
    """Yield place, what is wrong and a fix for each entry that cannot be used.

    groups: those of all folders. shipped: those that every job has.
    """
    if not file.group:
        return  # conf/config.yaml
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        told = _entry(file, entry, groups, shipped)
        place = str(next(iter(entry)) if isinstance(entry, dict) and entry else entry)
        if not told and place in seen:
            told = "stands in the list twice", "leave one of them out"
        seen.add(place)
        if told:
            yield number, *told


def _entry(file: GroupFile, entry: Any, groups: Groups, shipped: Groups) -> tuple[str, str] | None:
    pairs = [*entry.items()] if isinstance(entry, dict) else [("", entry)]
    if len(pairs) != 1:
        lines = "; ".join(f"- {typed}: {option}" for typed, option in pairs)
        return "holds several entries; each has a line of its own", lines
    (typed, option), *_ = pairs
    if isinstance(option, (list, dict)) or (not typed and option in (None, "")):
        many = isinstance(option, list) and typed
        what = "chooses several options, and a job has one" if many else "is no entry of the list"
        return what, f"{typed}: {option[0]}" if many and option else _FORM
    words = str(typed).split()
    name, _, package = words[-1].partition("@") if words else ("", "", "")
    overrides, optional = "override" in words, "optional" in words
    group = name.strip("/") or str(option).strip("/").rpartition("/")[0]
    if group.startswith("hydra/"):
        answer = hydra_answer(group, option if name else str(option).rpartition("/")[2])
        return f"hydra's own settings have no effect here: {answer.because}", "leave it out"
    if package and name.startswith("/"):
        what = "a group's place in the config is fixed"
        return what, f"{'override ' if overrides else ''}{name}: {option}"
    if option in (None, _SELF, MISSING) or "$" in f"{option}{name}":
        return None
    return _choice(file, name, str(option), overrides, optional, groups, shipped)


def _choice(
    file: GroupFile, group: str, typed: str, overrides: bool, optional: bool, groups: Groups,
    shipped: Groups,
) -> tuple[str, str] | None:  # fmt: skip
    """Say what is wrong with choosing an option, and what works."""
    option = typed.partition("@")[0]
    full = group[1:] if group.startswith("/") else "/".join(filter(None, [file.folder, group]))
    if not group and "=" in option:
        name, _, chosen = option.removeprefix("override ").partition("=")
        return "is not of the form group: option", f"override /{name.strip(' /')}: {chosen}"
    if not group and option.startswith("/"):
        full, _, option = option[1:].rpartition("/")
    known, bare = groups.get(full), group.lstrip("/")
    if known is None and bare in shipped and not group.startswith("/"):
        what = f"chooses of {full}, and there is no such group"
        return what, f"override /{bare}: {option}"
    if known is None:
        near = closest(full, list(groups))
        fix = f"{'override ' if overrides else ''}/{near}: {option}" if near else _FORM
        return f"there is no group {full!r}{nearest(full, list(groups))}", fix
    if group and not overrides and full in shipped and full != file.group:
        return f"{full} is chosen already", f"override /{full}: {option}"
    if option not in known:
        return None if optional else _no_option(full, group, option, overrides, groups)
    if full == file.folder and not group and (circle := _circle(file, option)):
        return f"leads back to this file: {' -> '.join(circle)}", "leave it out"
    return None


def _no_option(
    full: str, group: str, option: str, overrides: bool, groups: Groups
) -> tuple[str, str]:
    known = groups[full]
    what = f"{full} has no option {option!r}{nearest(option, known)}"
    plain = option.removesuffix(".yaml").removesuffix(".yml")
    of_others = [name for name, options in groups.items() if option.split("/")[-1] in options]
    if not group and of_others:
        return what, f"override /{of_others[0]}: {option.split('/')[-1]}"
    if not group and closest(option, [_SELF]):
        return what, _SELF
    before = f"{'override ' if overrides else ''}{group}: " if group else ""
    return what, f"{before}{plain if plain in known else listed(option, known)}"


def _circle(file: GroupFile, option: str, path: tuple[str, ...] = ()) -> list[str]:
    """Find the way by which an option's defaults lead back to a file of the same folder."""
    here = file.path.parent / f"{option}.yaml"
    if here == file.path:
        return [*path, option]
    if option in path or not here.is_file():
        return []
    try:
        entries = GroupFile(file.root, here).content().defaults
    except (OSError, ValueError, YAMLError):
        return []
    ways = (_circle(file, one, (*path, option)) for one in entries if isinstance(one, str))
    return next(filter(None, ways), [])
