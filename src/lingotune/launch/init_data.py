"""A group file for a source that was looked at: `lingotune prepare --init FILE`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from lingotune.config.console import say_aside
from lingotune.config.jobfile import job_of, plain
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.quoting import hydra_value, override_text
from lingotune.config.schema import SPLITS, DataConfig
from lingotune.data.sources.patterns import patterns_in
from lingotune.data.splits.look import Look, described, look
from lingotune.data.transfer import fetch_sources
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.overrides.overrides import TypedOverride
from lingotune.preflight import check_secrets

_YAML = (".yaml", ".yml")
_DEFAULT_FOLDER = "my-conf"
"""Folder of group files that is made where the user has none."""
_SHOWN = 12


def init_data(file: str, typed: Sequence[str], conf_dir: Path, extra_dir: Path | None) -> str:
    """Look at a source and write its group file; returns what to print.

    file: the source, or the .yaml to write for the source that `typed`, overrides, names. ConfigError if
    the file is there already, would not be found as an option, or nothing can be made of the source.
    """
    target, overrides = _target(file, typed, extra_dir)
    keys = [TypedOverride.read(text).key for text in overrides]
    if "data" not in keys:
        overrides = ["data=files", *overrides]
    (one,) = compose_all(overrides, conf_dir, check_secrets, multirun=False, extra_dir=extra_dir)
    (plain_files,) = compose_all(["data=files"], conf_dir, check_secrets, multirun=False)
    data = job_of(one.config).data
    fetch_sources(data, say_aside)
    found = look(data, keys)
    text = "".join(_lines(target.stem, found, job_of(plain_files.config).data))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(f"--init {target}", what)]) from error
    folder = target.parent.parent
    use = ["--config-dir", str(folder), f"data={target.stem}"]
    return f"{text}wrote {target}\nnext: {program('train')} {shlex.join(use)}"


def _target(file: str, typed: Sequence[str], extra_dir: Path | None) -> tuple[Path, list[str]]:
    overrides = list(typed)
    if file.endswith(_YAML):
        target = Path(file).expanduser()
        if target.parent.name != "data" or target.suffix != ".yaml":
            fix = f"--init {target.parent / 'data' / (target.stem + '.yaml')}"
            what = "would not be found: options of data are .yaml files in a folder named data"
            raise ConfigError([Problem(f"--init {file}", what, fix)])
    else:
        name = re.sub(r"[^\w-]+", "-", Path(file.rstrip("/*")).name.partition(".")[0]).strip("-")
        target = (extra_dir or Path(_DEFAULT_FOLDER)) / "data" / f"{name or 'mine'}.yaml"
        overrides.append(f"data.path={hydra_value(file)}")
    if target.exists():
        other = shlex.quote(str(target.with_stem(f"{target.stem}-2")))
        source = "" if file.endswith(_YAML) else f" {override_text('data.path', file)}"
        fix = f"--init {other}{source}"
        raise ConfigError([Problem(f"--init {file}", f"{target} is there already", fix)])
    return target, overrides


def _lines(name: str, found: Look, usual: DataConfig) -> Iterator[str]:
    """The lines of the file: what differs from data=files, with what was counted as comments."""
    data = found.data
    half, most = found.characters
    rows = sum(found.classes.values())
    yield f"# {rows} rows, texts of {half} characters (median), 95% of them at most {most}.\n"
    yield f"# Rows by class: {_counted(found.classes)}.\n"
    if data.columns.language is not None:
        yield f"# Rows by language: {_counted(found.languages)}.\n"
    if found.rejected:
        yield f"# Rows that cannot be used, and are left out: {_counted(found.rejected)}.\n"
    for remark in found.remarks[:_SHOWN]:
        yield f"# {_in_a_line(remark)}\n"
    settings: dict[str, Any] = {"defaults": ["files"], "name": name}
    values, defaults = plain(data), plain(usual)
    for field in fields(DataConfig):
        if field.name in ("name", "source", "columns", "labels"):
            continue
        if values.get(field.name) != defaults.get(field.name):
            settings[field.name] = values[field.name]
    for place in ("path", *SPLITS):
        patterns = [*map(_absolute, patterns_in(settings.get(place)))]
        if patterns:
            settings[place] = patterns[0] if len(patterns) == 1 else patterns
    settings["columns"] = values["columns"]
    if values["labels"] != defaults["labels"]:
        settings["labels"] = list(described(data.labels))
    yield yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, width=98)


def _absolute(pattern: str) -> str:
    return pattern if "://" in pattern else str(Path(pattern).expanduser().absolute())


def _counted(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {rows}" for name, rows in list(counts.items())[:_SHOWN]]
    more = len(counts) - len(shown)
    text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return _in_a_line(text)


def _in_a_line(text: str) -> str:
    """Write a text as one line of a comment."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)
