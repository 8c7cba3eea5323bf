"""`lingotune export`: writes a run's model as ONNX, beside a comparison with the original."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lingotune.cli.evaluate import data_typed
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_aside
from lingotune.config.problems import ConfigError, Problem, listed
from lingotune.config.quoting import for_shell
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.results.chosen import run_named
from lingotune.launch.results.ending import try_command
from lingotune.runs.folder import EXPORTS

_MAX_LOSS = 0.005


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "export", "Write a run's model as ONNX, and compare it with the original."
    )
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument(
        "settings",
        nargs="*",
        help=f"format=onnx; quantize=int8; export.max_loss={_MAX_LOSS}, of macro-F1; output=DIR, default: "
        f"RUN/{EXPORTS}/onnx or onnx-int8; data.KEY=... to score other data than the test split",
    )
    return made


@dataclass(frozen=True)
class Settings:
    """What was typed: settings of the export, and overrides of the data that is scored."""

    quantize: bool
    max_loss: float
    output: Path | None
    data: tuple[str, ...]


def read_settings(typed: Sequence[str]) -> Settings:
    """Read the settings; ConfigError lists all that are wrong."""
    known = {"format": "onnx", "quantize": "", "export.max_loss": str(_MAX_LOSS), "output": ""}
    data = tuple(word for word in typed if word.startswith(("data=", "data.")))
    problems = []
    for word in typed:
        key, _, value = word.partition("=")
        if word in data:
            continue
        wrong = (
            _fault(key, value)
            if key in known and "=" in word
            else ("is no setting of an export", "")
        )
        known[key] = value
        if wrong:
            fix = wrong[1] or f"{listed(key, [*known][:4])} or data.path=FILE"
            problems.append(Problem(word, wrong[0], fix, key=key))
    if problems:
        raise ConfigError(problems)
    output = Path(known["output"]).expanduser() if known["output"] else None
    quantize = known["quantize"] == "int8"
    return Settings(quantize, float(known["export.max_loss"]), output, data)


def _fault(key: str, value: str) -> tuple[str, str] | None:
    """Return what is wrong with a setting, and one that works."""
    if key == "format" and value != "onnx":
        return f"{value} is no format that can be exported", "format=onnx"
    if key == "quantize" and value not in ("", "int8", "null", "none"):
        return f"{value} is none of int8, null", "quantize=int8"
    if key == "output" and (not value or Path(value).expanduser().exists()):
        return "names a folder that is there already" if value else "names no folder", "output=NEW"
    if key == "export.max_loss" and not _is_share(value):
        return f"{value or 'nothing'} is no macro-F1 from 0 to 1", f"export.max_loss={_MAX_LOSS}"
    return None


def _is_share(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False


def main(argv: Sequence[str]) -> int:
    """Export, and print what it costs and brings."""
    options = parsed(parser(), argv, "settings")
    settings = read_settings(options.settings)
    run = run_named(options.run)
    from lingotune.evaluation.classifier import trained_model
    from lingotune.serving.export import export, export_tables

    trained = trained_model(run)
    name = "onnx-int8" if settings.quantize else "onnx"
    target = settings.output or Path(run, EXPORTS, name)
    if target.exists():
        what = "is there already"
        raise ConfigError([Problem(str(target), what, f"output={for_shell(f'{target}-2')}")])
    data = data_typed(run, settings.data, shipped_dir(), user_dir(None, os.environ))
    done = export(
        trained, target, quantize=settings.quantize, max_loss=settings.max_loss, data=data, tell=say_aside
    )  # fmt: skip
    say(export_tables(done))
    say(f"\n{target}\nask it: {try_command(str(target), trained.job)}")
    return 0
