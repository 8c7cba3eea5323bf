"""`lingotune loopback`: serves a SageMaker account on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.cli.words import command_parser, parsed, port, whole_number
from lingotune.config.console import Parser, say, say_aside
from lingotune.config.problems import ConfigError, Problem, closest, nearest
from lingotune.config.schema import RehearsalConfig, RehearsalLane, RehearsalModel

if TYPE_CHECKING:
    from lingotune.launch.simulator.loopback.quotas import Quotas

PORT = 4747
_USUAL_QUOTA = "2"


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    usual = RehearsalConfig()
    made = command_parser("loopback", "Be a SageMaker account on this machine, until Ctrl-C.")
    made.add_argument("--port", type=port, default=PORT, help="0 = any that is free")
    made.add_argument(
        "--quota", action="append", metavar="N|TYPE=N",
        help="instances at a time, of each type or of one (ml.p3.16xlarge=4); default: 2",
    )  # fmt: skip
    made.add_argument("--dir", help="keep everything in this folder for the next start")
    made.add_argument(
        "--ranks", type=whole_number(1), default=usual.ranks, help="CPU processes a node"
    )
    made.add_argument(
        "--steps", type=_positive_or_all, default=usual.steps, help="updates of each job, or 'all'"
    )
    made.add_argument(
        "--rows", type=_positive_or_all, default=usual.rows, help="rows a split, or 'all'"
    )
    made.add_argument(
        "--lane", choices=[lane.value for lane in RehearsalLane], default=usual.lane.value,
        help="libraries: this machine's, or those of each job's image",
    )  # fmt: skip
    made.add_argument("--tiny", action="store_true", help="a tiny model in place of each job's")
    made.add_argument(
        "--stopping", type=_seconds, default=0.0, metavar="SECONDS", help="that a stop takes"
    )
    made.add_argument(
        "--full", action="append", default=[], metavar="TYPE",
        help="no capacity of this instance type: jobs fall back, or fail",
    )  # fmt: skip
    return made


def main(argv: Sequence[str]) -> int:
    """Serve the account; what other terminals need goes to standard output, the rest beside it."""
    options = parsed(parser(), argv)
    try:
        from lingotune.launch.simulator.loopback.standing import Settings, stand
    except ImportError as error:
        what = f"needs moto's server, which is not installed here ({error})"
        fix = "pip install 'lingotune[launch,loopback]'"
        raise ConfigError([Problem("lingotune loopback", what, fix)]) from error
    model = RehearsalModel.tiny if options.tiny else RehearsalModel.same
    extent = RehearsalConfig(
        options.ranks, options.steps, options.rows, model, RehearsalLane(options.lane),
        full=list(map(_trained_on, options.full)),
    )  # fmt: skip
    folder = Path(options.dir) if options.dir else None
    quotas = quotas_of(options.quota or [_USUAL_QUOTA])
    stand(Settings(options.port, quotas, extent, options.stopping, folder), say, say_aside)
    return 0


def quotas_of(typed: Sequence[str]) -> Quotas:
    """Read quotas as typed: N for every instance type, TYPE=N for one. ConfigError for others."""
    from lingotune.launch.simulator.loopback.quotas import Quotas, known_types

    every, by_type, problems = int(_USUAL_QUOTA), {}, []
    known = known_types()
    for text in typed:
        name, _, number = text.rpartition("=")
        if not number.isascii() or not number.isdigit():
            fix = "--quota 2 | --quota ml.p3.16xlarge=4"
            problems.append(Problem(f"--quota {text}", f"{number!r} is no whole number", fix))
        elif not name:
            every = int(number)
        elif name not in known:
            what = f"SageMaker has no such instance type{nearest(name, known)}"
            problems.append(Problem(f"--quota {text}", what, f"--quota ml.p3.16xlarge={number}"))
        else:
            by_type[name] = int(number)
    if problems:
        raise ConfigError(problems)
    return Quotas(every, by_type)


def _trained_on(name: str) -> str:
    from lingotune.launch.render.service_model import choices

    known = choices("TrainingInstanceType")
    if name not in known:
        what = f"SageMaker trains on no such instance type{nearest(name, known)}"
        fix = f"--full {closest(name, known) or 'ml.p3.16xlarge'}"
        raise ConfigError([Problem(f"--full {name}", what, fix)])
    return name


def _positive_or_all(text: str) -> int | None:
    return None if text == "all" else whole_number(1)(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds
