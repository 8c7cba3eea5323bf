"""`lingotune rehearse-serving`: serves a run's model here as SageMaker's inference container would."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_problems
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.results.chosen import run_named
from lingotune.runs.folder import CODE


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    purpose = "Serve a run's model here behind SageMaker's own inference toolkit, and ask it."
    made = command_parser("rehearse-serving", purpose)
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument("--json", action="store_true", help="the outcome as one JSON object")
    return made


def main(argv: Sequence[str]) -> int:
    """Rehearse, print each stage as it ends; 1 if one has failed."""
    options = parsed(parser(), argv)
    from lingotune.evaluation.classifier import trained_model
    from lingotune.launch.simulator.serving.rehearse import as_dict, rehearse_serving, speed_table

    trained = trained_model(run_named(options.run))
    if not (trained.folder / CODE).is_dir():
        what = "holds no code/ that could serve it: the run is of an earlier version"
        fix = f"{program('package')} {options.run}"
        raise ConfigError([Problem(str(trained.folder), what, fix)])
    tell = (lambda line: print(line, file=sys.stderr)) if options.json else say
    tell(f"rehearsal of an endpoint for {trained.folder}")
    done = rehearse_serving(trained, tell)
    if options.json:
        print(json.dumps(as_dict(done), indent=2))
    if done.problems:
        say_problems(done.problems)
        return 1
    tell(f"passed in {done.seconds:.0f} s")
    if not options.json:
        say(f"\n{speed_table(done.speeds)}")
    return 0
