"""The command line of train.py and launch.py: options, help, and what each refuses."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lingotune.config import schema
from lingotune.config.console import Parser
from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import LaunchConfig, Visibility
from lingotune.config.settings import setting_types
from lingotune.launch.compose.compose import Composed, compose_all
from lingotune.launch.compose.keys import config_groups, describe_type


def composed_jobs(
    argv: list[str],
    program: str,
    purpose: str,
    conf_dir: Path,
    check: Callable[[LaunchConfig], list[Problem]],
) -> list[Composed]:
    """Every job that the command line describes, checked; ConfigError lists all that is wrong.

    `--help` and `--cfg job` print and end the program with exit code 0.
    """
    parser = Parser(f"python {program}", description=purpose, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--cfg", choices=["job"])
    parser.add_argument("--config-dir", type=Path)
    options, overrides = parser.parse_known_args(argv)
    extra = options.config_dir
    if extra and not extra.is_dir():
        what = "is not a folder; it should hold group folders such as experiment/"
        raise ConfigError([Problem(f"--config-dir {extra}", what)])
    if options.help:
        print(help_page(program, purpose, conf_dir, extra))
        raise SystemExit(0)
    composed = compose_all(overrides, conf_dir, check, multirun=options.multirun, extra_dir=extra)
    problems = _same_repository(composed)
    if problems:
        raise ConfigError(problems)
    if options.cfg:
        print("\n".join(dump_job(job_of(c.config)).decode() for c in composed), end="")
        raise SystemExit(0)
    return composed


def _same_repository(composed: Sequence[Composed]) -> list[Problem]:
    """Jobs of a sweep that would publish to one repository: the second would be refused, in the end."""
    jobs = [job_of(one.config) for one in composed]
    named = {job.hub.repo for job in jobs if job.hub.visibility is not Visibility.none}
    shared = [
        repo for repo in named
        if repo and len({job_digest(job) for job in jobs if job.hub.repo == repo}) > 1
    ]  # fmt: skip
    what = "several jobs of the sweep would publish to it; a repository holds one job's model"
    fix = "without hub.repo each job has its own"
    return [Problem(f"hub.repo={repo}", what, fix) for repo in shared]


def help_page(program: str, purpose: str, conf_dir: Path, extra: Path | None = None) -> str:
    """Groups with their options, settings with their types, and examples."""
    groups = config_groups(conf_dir, extra)
    lines = [
        purpose,
        "",
        f"usage: python {program} [-m] [--cfg job] [--config-dir DIR] [group=option ...] [key=value ...]",
        "",
        "  -m, --multirun    sweep: every combination of the values given as a=1,2,3",
        "  --cfg job         print the composed config and stop",
        "  --config-dir DIR  group files of your own, e.g. DIR/experiment/mine.yaml",
        "",
        "groups (conf/):",
        *(f"  {group}={' | '.join(options)}" for group, options in groups.items()),
        "",
        "settings (more on each in src/lingotune/config/schema.py):",
    ]
    meanings = setting_meanings()
    for key, kind in setting_types().items():
        name, fix = describe_type(kind, key)
        if " | " in fix:
            name = fix.split("=", 1)[1]
        if not name.startswith("a mapping"):
            lines.append(f"  {key:30} {name:25} {meanings[key]}")
    return "\n".join(lines)


def setting_meanings() -> dict[str, str]:
    """Dotted key -> the first sentence of the string under the field in the schema."""
    sections = {
        node.name: node
        for node in ast.parse(inspect.getsource(schema)).body
        if isinstance(node, ast.ClassDef)
    }
    meanings = {}
    for key in setting_types():
        owner, _, name = key.rpartition(".")
        classes = (setting_types()[owner] if owner else LaunchConfig).__mro__[:-1]
        for section in classes:
            found = _documented(sections[section.__name__])
            if name in found:
                meanings[key] = found[name]
    return meanings


def _documented(section: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for field, text in zip(section.body, section.body[1:]):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(text.value, ast.Constant)
            whole = " ".join(str(text.value.value).split())
            texts[field.target.id] = re.split(r"(?<!e\.g)\. |; ", whole)[0].rstrip(".")
    return texts
