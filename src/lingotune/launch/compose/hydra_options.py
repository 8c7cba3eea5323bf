"""Options of Hydra's commands: those that work here, and what works in place of the others."""

from __future__ import annotations

import argparse
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lingotune.config.problems import Problem, closest
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.launch.compose.information import TOPICS
from lingotune.launch.overrides.hydra_names import hydra_answer, known_names

_KINDS = ("job", "all")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add Hydra's options to a command's parser, with the short names that Hydra gives them."""
    parser.add_argument("-h", "--help", nargs="?", const="", metavar="TOPIC")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-r", "--run", action="store_true")
    parser.add_argument("-c", "--cfg", nargs="?", const="")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-p", "--package", metavar="SECTION")
    parser.add_argument("-i", "--info", nargs="?", const="all", metavar="TOPIC")
    parser.add_argument("-cd", "--config-dir", metavar="DIR")
    parser.add_argument("--version", action="store_true")
    for words in (("--hydra-help",), ("-cn", "--config-name"), ("-cp", "--config-path"),
                  ("-sc", "--shell-completion"), ("--experimental-rerun",)):  # fmt: skip
        switch = {"action": "store_true"} if words[-1] in _SWITCHES else {"nargs": "?", "const": ""}
        parser.add_argument(*words, **switch, help=argparse.SUPPRESS)  # type: ignore[arg-type]


_SWITCHES = ("--hydra-help", "--shell-completion")


def misplaced(options: argparse.Namespace) -> Iterator[Problem]:
    """Refuse options of Hydra's that do not go together, or with such a value."""
    if options.cfg is not None and options.cfg not in _KINDS:
        yield _unknown_choice("--cfg", options.cfg, _KINDS, "prints the config: job or all")
    if options.info is not None and options.info not in TOPICS:
        yield _unknown_choice("--info", options.info, TOPICS, f"tells of {', '.join(TOPICS)}")
    if options.cfg is not None and options.info is not None:
        yield Problem("--cfg --info", "are two questions", "--info config")
    if options.package is not None and options.cfg is None:
        where = f"--package {options.package}"
        yield Problem(where, "goes with --cfg", f"--cfg job {where}")
    if options.resolve and options.cfg is None and options.info is None:
        yield Problem("--resolve", "goes with --cfg", "--cfg job --resolve")
    if options.run and options.multirun:
        yield Problem("--run --multirun", "run one job, and run several", "-m | --run")


def _unknown_choice(option: str, value: str, known: Sequence[str], what: str) -> Problem:
    if value == "hydra":
        what = "jobs are composed without Hydra's section"
        return Problem(f"{option} hydra", what, f"{option} all")
    if "=" in value:
        return Problem(f"{option} {value}", what, f"{for_shell(value)} {option} {known[0]}")
    near = closest(value, known) or known[0]
    return Problem(f"{option} {value}".rstrip(), what, f"{option} {near}")


def refused(
    options: argparse.Namespace, overrides: Sequence[str], conf_dir: Path,
    groups: Mapping[str, Sequence[str]],
) -> Iterator[Problem]:  # fmt: skip
    """Refuse options that have no effect here. groups: option files of all folders, by group."""
    if options.config_name is not None:
        name = options.config_name.removesuffix(".yaml").removesuffix(".yml")
        what = "every job is composed from one shipped config; a file of yours is chosen in a group"
        found = [f"{group}={name}" for group, known in groups.items() if name in known]
        own = found[0] if found else "--help experiment"
        fix = "leave it out" if name in ("config", "") else own
        yield Problem(f"--config-name {options.config_name}".rstrip(), what, fix)
    if options.config_path is not None:
        yield _config_path(options.config_path, conf_dir)
    if options.shell_completion:
        shells = [word.partition("=")[2] for word in overrides if word.startswith(_COMPLETION)]
        shell = shells[0] if shells and shells[0] in ("bash", "zsh", "fish") else "bash"
        what = "completion is a command, whose script knows groups, settings and choices"
        yield Problem("--shell-completion", what, f"{program('completion')} {shell}")
    if options.experimental_rerun is not None:
        yield _rerun(options.experimental_rerun)


def hydra_page() -> Iterator[str]:
    """Yield the lines of --hydra-help: Hydra's settings, and what does the same here."""
    yield "Hydra's own settings have no effect here. In their place:"
    for name in known_names():
        answer = hydra_answer(name, None)
        yield from ("", f"  {name}")
        yield from textwrap.wrap(answer.because, 90, initial_indent=_IN, subsequent_indent=_IN)
        if answer.fix(multirun=False) != "leave it out":
            yield f"{_IN}{answer.fix(multirun=False)}"


_IN = " " * 6
_COMPLETION = ("install=", "uninstall=", "query=")


def without_completion(options: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Leave out the words that belong to --shell-completion."""
    return [o for o in overrides if not (options.shell_completion and o.startswith(_COMPLETION))]


def _config_path(typed: str, conf_dir: Path) -> Problem:
    what = "the shipped config stays where it is; a folder of yours stands beside it"
    folder = Path(typed)
    fix = f"--config-dir {shlex.quote(typed)}"
    if folder.name in ("", conf_dir.name) and not _is_own(folder, conf_dir):
        fix = "leave it out"
    elif not folder.is_dir():
        what += "; there is no such folder"
        fix = f"mkdir -p {shlex.quote(str(folder / 'experiment'))}"
    return Problem(f"--config-path {typed}".rstrip(), what, fix)


def _is_own(folder: Path, conf_dir: Path) -> bool:
    return folder.name != "" and folder.is_dir() and folder.resolve() != conf_dir.resolve()


def _rerun(typed: str) -> Problem:
    what = "a run's job is read from its job.yaml"
    parents = Path(typed).parents if typed else []
    job = next((p / "job.yaml" for p in list(parents)[:3] if (p / "job.yaml").is_file()), None)
    fix = f"--job {shlex.quote(str(job))}" if job else "--job runs/RUN/job.yaml"
    return Problem(f"--experimental-rerun {typed}".rstrip(), what, fix)
