"""python -m lingotune: predict and score with a trained model, fetch prices, account for a job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lingotune.config.console import Parser
from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.compose.config_dirs import shipped_dir

if TYPE_CHECKING:
    from lingotune.evaluation.predict import Given


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to the subcommand."""
    typed = list(sys.argv[1:] if argv is None else argv)
    if typed[:1] == ["prepare"]:
        from lingotune.cli.prepare import main as prepare

        return prepare(typed[1:])
    parser = Parser("python -m lingotune")
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="label texts with the model of a run")
    predict.add_argument("run", help="a run folder, or a folder with a saved model")
    predict.add_argument(
        "texts", nargs="*", help="texts; without any, one a line from standard input"
    )
    predict.add_argument("--file", help="texts of files: lines of .txt, a column of any other")
    predict.add_argument("--column", help="that column; default: the one that was trained on")
    predict.add_argument("--json", action="store_true", help="one JSON object a text")
    evaluate = commands.add_parser("evaluate", help="score the model of a run")
    evaluate.add_argument("run", help="a run folder, or a folder with a saved model")
    evaluate.add_argument(
        "overrides", nargs="*", help="data=... data.KEY=...; default: the run's own test split"
    )
    evaluate.add_argument("--batch", type=_positive, default=32, help="texts at once; default: 32")
    evaluate.add_argument("--output", help="folder for the results; default: RUN/evaluations")
    report = commands.add_parser("report", help="make the page of a run, report.html, anew")
    report.add_argument("run", help="a run folder")
    report.add_argument(
        "--data", help="the prepared data, for the texts of examples; default: where it was"
    )
    publish = commands.add_parser("publish", help="push the model of a run to the Hugging Face Hub")
    publish.add_argument("run", help="a run folder, or a folder with a saved model")
    publish.add_argument(
        "overrides", nargs="*", help="hub=private|public hub.KEY=...; default: the run's own"
    )
    prices = commands.add_parser("prices", help="ask AWS for prices: a file for budget.prices")
    prices.add_argument("--region", required=True, help="AWS region, e.g. eu-west-1")
    prices.add_argument("--instance", nargs="+", default=[], help="instance types; default: all")
    cost = commands.add_parser("cost", help="what a job on SageMaker took and cost")
    cost.add_argument("job", help="name of the training job")
    cost.add_argument("--region", help="AWS region; default: this machine's AWS configuration")
    cost.add_argument("--runs-dir", default="runs", help="folder of throughput.jsonl")
    cost.add_argument("--prices", help="a price list of your own, as for budget.prices")
    options, rest = parser.parse_known_args(argv)
    # argparse takes words for a list only where the first of them stands.
    words = {"predict": "texts", "evaluate": "overrides", "publish": "overrides"}.get(
        options.command
    )
    if rest and (words is None or any(word.startswith("-") for word in rest)):
        parser.error(f"unknown: {' '.join(rest)}")
    if words:
        setattr(options, words, [*getattr(options, words), *rest])
    run = {
        "predict": _predict, "evaluate": _evaluate, "report": _report, "publish": _publish,
        "prices": _prices, "cost": _cost,
    }  # fmt: skip
    return run[options.command](options)


def _positive(typed: str) -> int:
    if not typed.isdecimal() or int(typed) < 1:
        raise argparse.ArgumentTypeError(f"{typed} is not a whole number from 1")
    return int(typed)


def _predict(options: argparse.Namespace) -> int:
    from lingotune.evaluation.classifier import trained_model
    from lingotune.evaluation.predict import predict_lines, read_texts

    trained = trained_model(options.run)
    if options.texts and options.file:
        what = "texts and --file are both given; one of them decides"
        raise ConfigError([Problem("predict", what, f"predict {options.run} --file FILE")])
    if options.column and not options.file:
        what = "has no effect without --file"
        raise ConfigError([Problem(f"--column {options.column}", what, "--file FILE")])
    texts = read_texts(_given(options), trained, options.column)
    first = next(texts, None)
    if first is None:
        fix = f'predict {options.run} "A text"'
        raise ConfigError([Problem("predict", "no text was given", fix)])
    for line in predict_lines(trained, chain([first], texts), as_json=options.json):
        print(line, flush=True)
    return 0


def _given(options: argparse.Namespace) -> Iterator[Given]:
    from lingotune.evaluation.predict import in_files, in_lines

    if options.file:
        return in_files(options.file)
    if options.texts:
        return ((f"text {n} of the command", text) for n, text in enumerate(options.texts, 1))
    return in_lines(_standard_input(), "standard input")


def _standard_input() -> TextIO:
    """UTF-8 whatever the locale says; bytes that are none are found, with their line, later."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdin


def _evaluate(options: argparse.Namespace) -> int:
    from lingotune.cli.evaluate import data_typed, typed_length
    from lingotune.evaluation.evaluate import evaluate
    from lingotune.report.charts import draw_confusion
    from lingotune.report.tables import score_table

    data = data_typed(options.run, options.overrides, shipped_dir())
    done = evaluate(
        options.run,
        data,
        max_length=typed_length(data, options.overrides),
        output=options.output,
        batch=options.batch,
    )
    results = done.results
    try:
        draw_confusion(results, results.labels, done.folder / "confusion_matrix.png")
    except ImportError as error:
        print(f"warning: no picture: {error}")
    for warning in results.warnings:
        print(f"warning: {warning}")
    for name, count in results.inputs.items():
        rejected = sum(count.rejected.values())
        print(
            f"{name}: {count.read} rows read = {count.kept} kept + {rejected} rejected"
            f" + {count.filtered} of other languages"
        )
    print(score_table(results))
    print(f"see {done.folder}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from lingotune.report.run_page import write_run_report

    print(write_run_report(Path(options.run), Path(options.data) if options.data else None))
    return 0


def _publish(options: argparse.Namespace) -> int:
    from lingotune.cli.publish import hub_typed
    from lingotune.hub.publish_run import finished_run, publish_run

    run = finished_run(options.run)
    hub = hub_typed(run.job, options.overrides, shipped_dir())
    print(f"published: {publish_run(run, hub, [options.run, *options.overrides])}")
    return 0


def _prices(options: argparse.Namespace) -> int:
    from lingotune.launch.aws.pricing import fetch_prices
    from lingotune.launch.cost.prices import format_prices

    found = fetch_prices(options.region, options.instance, date.today())
    note = "On-demand list prices of SageMaker training, USD per instance and hour."
    print(format_prices(found, note), end="")
    return 0


def _cost(options: argparse.Namespace) -> int:
    from lingotune.launch.aws.finished_job import account_for

    lines = account_for(options.job, options.region, options.runs_dir, options.prices, date.today())
    print("\n  ".join(lines))
    return 0
