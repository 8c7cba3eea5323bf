"""`lingotune package`: writes the model.tar.gz of a run, ready for an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.config.problems import DISK_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.launch.results.chosen import run_named


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("package", "Pack a run's model, with this version's code that serves it.")
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument("--output", metavar="FILE", help="default: model.tar.gz in the run folder")
    return made


def main(argv: Sequence[str]) -> int:
    """Write the folder `code` of the model anew, and the archive."""
    options = parsed(parser(), argv)
    from lingotune.evaluation.classifier import Classifier, trained_model
    from lingotune.launch.simulator.container import pack
    from lingotune.serving.code_folder import write_code

    run = run_named(options.run)
    trained = trained_model(run)
    archive = Path(options.output or Path(run, "model.tar.gz")).expanduser()
    unfinished = archive.with_name(f".{archive.name}.tmp")
    if archive.resolve().parent == trained.folder.resolve():
        what = "lies in the folder that it would pack"
        raise ConfigError([Problem(f"--output {archive}", what, "--output model.tar.gz")])
    Classifier(trained)  # a model that cannot be loaded would fail on its endpoint
    try:
        write_code(trained.folder, trained.job, [Path(run)])
        pack(trained.folder, unfinished)
        unfinished.replace(archive)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(str(archive), what, code=DISK_FAILED)]) from error
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    print(f"try it here: {program('rehearse-serving')} {for_shell(run)}")
    return 0
