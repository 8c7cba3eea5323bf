"""`lingotune predict`: labels texts with the model of a run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import TextIOWrapper
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say_aside
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.data.sources.addresses import is_elsewhere
from lingotune.launch.results.chosen import run_named
from lingotune.system.lean_imports import allow_lean

if TYPE_CHECKING:
    from lingotune.data.rows.findings import Record
    from lingotune.evaluation.classifier import Trained
    from lingotune.evaluation.predict import Given, Progress


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("predict", "Label texts with the model of a run.")
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument(
        "texts", nargs="*", help="texts; without any, or -, one a line from standard input"
    )
    made.add_argument("--file", help="texts of files: lines of .txt, a column of any other")
    made.add_argument("--column", help="that column; default: the one that was trained on")
    made.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="TEXT",
        help="second text of a pair, one for each text; lines have a tab between the two",
    )
    made.add_argument(
        "--pair-column", metavar="COLUMN", help="column of the second text, as --column"
    )
    made.add_argument(
        "--output",
        metavar="FILE",
        help="write .csv, .jsonl or .parquet: all columns of the rows, the class, the probabilities",
    )
    made.add_argument(
        "--argmax", action="store_true", help="the likeliest class, without the run's decision"
    )
    made.add_argument("--json", action="store_true", help="one JSON object a text")
    made.add_argument(
        "--bf16",
        action="store_true",
        help="compute in bf16: quicker, and probabilities are rounded",
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Label the texts: a line for each as soon as its class is known, or a file of all."""
    options = parsed(parser(), argv, "texts")
    options.run = run_named(options.run)
    if options.texts == ["-"]:  # as with other commands: standard input
        options.texts = []
    from lingotune.evaluation.classifier import trained_model
    from lingotune.evaluation.decision_text import decision_line
    from lingotune.evaluation.predict import predict_lines, read_rows

    trained = trained_model(options.run)
    allow_lean(trained.job, str(trained.folder))
    if options.argmax:
        trained = trained.as_trained()
    if options.texts and options.file:
        what = "texts and --file are both given; one of them decides"
        raise ConfigError([Problem("predict", what, _again(options.run, "--file", options.file))])
    if problems := [*_columns_unused(options, trained), *_pairs_wrong(options, trained)]:
        raise ConfigError(problems)
    if options.output and options.json:
        what = "has no effect with --output, whose suffix says the format"
        raise ConfigError([Problem("--json", what, "--output FILE.jsonl")])
    write = _writer(options.output, options.bf16) if options.output else None
    rows = read_rows(_given(options, trained), trained, options.column, options.pair_column)
    first = next(rows, None)
    if first is None:
        fix = _again(options.run, "A text")
        raise ConfigError([Problem("predict", "no text was given", fix)])
    rows, bar = chain([first], rows), _bar(options, trained)
    if options.file and not options.bf16 and _is_quicker_in_bf16(trained):
        say_aside("note: this machine computes in bf16: --bf16 is quicker, and less exact")
    if write is not None:
        write(trained, rows, bar)
        return 0
    if trained.decision.shifts and not options.json:
        plain = "those above 0.5" if trained.several else "the likeliest"
        say_aside(f"note: {decision_line(trained.decision)}; --argmax: {plain}")
    for line in predict_lines(trained, rows, as_json=options.json, bar=bar, bf16=options.bf16):
        print(line, flush=True)
    return 0


def _columns_unused(options: argparse.Namespace, trained: Trained) -> Iterator[Problem]:
    from lingotune.evaluation.classifier import takes_pairs
    from lingotune.evaluation.predict import holds_lines

    named = {"--column": options.column, "--pair-column": options.pair_column}
    for option, column in named.items():
        if column and not options.file:
            yield Problem(f"{option} {column}", "has no effect without --file", "--file FILE")
        elif column and holds_lines(options.file):
            what = "has no effect: each line of a .txt file is a text"
            yield Problem(f"{option} {column}", what, "a file with columns, or no column")
    if options.pair_column and not takes_pairs(trained):
        what = "the model classifies single texts"
        yield Problem(f"--pair-column {options.pair_column}", what, "--column COLUMN")


def _pairs_wrong(options: argparse.Namespace, trained: Trained) -> Iterator[Problem]:
    """Find second texts that have no first one, or that the model has no use for."""
    from lingotune.evaluation.classifier import takes_pairs

    texts, seconds = len(options.texts), len(options.pair)
    if not seconds:
        return
    where = f"--pair {shlex.quote(options.pair[0])}"
    if not takes_pairs(trained):
        yield Problem(where, "the model classifies single texts", "no --pair")
    elif texts != seconds:
        what = f"{seconds} second text{'s' * (seconds > 1)} for {texts} text{'s' * (texts != 1)}"
        fix = _again(options.run, "The text", "--pair", "The second text")
        yield Problem(where, what, fix)


def _writer(
    typed: str, bf16: bool
) -> Callable[[Trained, Iterable[tuple[Record, str]], Progress | None], None]:
    """Check the output that was typed; returns what writes the rows there, with their classes."""
    from lingotune.evaluation.predict import predict_rows
    from lingotune.evaluation.prediction_files import check_output, write_rows

    output = check_output(typed)

    def write(trained: Trained, rows: Iterable[tuple[Record, str]], bar: Progress | None) -> None:
        count = write_rows(predict_rows(trained, rows, bar, bf16=bf16), output)
        print(f"{count} rows with their classes: {output}")

    return write


def _is_quicker_in_bf16(trained: Trained) -> bool:
    from lingotune.evaluation.classifier import computes_bf16

    return not trained.is_exported and computes_bf16()


def _bar(options: argparse.Namespace, trained: Trained) -> Progress | None:
    """Make a bar where a person looks on, and no line of results would run into it."""
    to_terminal = sys.stdout.isatty() and not options.output
    if options.texts or to_terminal or not sys.stderr.isatty():
        return None
    from lingotune.evaluation.predict import Progress, in_files

    if not options.file:
        return Progress(None)
    return Progress(sum(1 for _ in in_files(options.file, trained)))  # fast beside the model


def _again(*words: str) -> str:
    return f"{program('predict')} {shlex.join(words)}"


def _given(options: argparse.Namespace, trained: Trained) -> Iterator[Given]:
    from lingotune.data.transfer import fetch_source
    from lingotune.evaluation.classifier import takes_pairs
    from lingotune.evaluation.predict import in_files, in_lines

    if options.file:
        if is_elsewhere(options.file):
            fetch_source(options.file, "--file", say_aside)
        return in_files(options.file, trained, lambda text: say_aside(f"note: {text}"))
    if options.texts:
        given = zip(options.texts, options.pair) if options.pair else options.texts
        return ((f"text {n} of the command", text) for n, text in enumerate(given, 1))
    return in_lines(_standard_input(), "standard input", pairs=takes_pairs(trained))


def _standard_input() -> TextIO:
    """Read standard input as UTF-8, whatever the locale; invalid bytes are reported later, by line."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdin
