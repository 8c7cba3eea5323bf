"""python -m lingotune: predict with a trained model, fetch prices, account for a finished job."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from lingotune.messages import exit_code_of
from lingotune.schema import ConfigError, Problem


def main() -> int:
    """Dispatch to the subcommand."""
    parser = argparse.ArgumentParser("python -m lingotune")
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="label texts with the model of a run")
    predict.add_argument("run", help="a run folder, or a folder with a saved model")
    predict.add_argument(
        "texts", nargs="*", help="texts; without any, one a line from standard input"
    )
    prices = commands.add_parser("prices", help="ask AWS for prices: a file for budget.prices")
    prices.add_argument("--region", required=True, help="AWS region, e.g. eu-west-1")
    prices.add_argument("--instance", nargs="+", default=[], help="instance types; default: all")
    cost = commands.add_parser("cost", help="what a job on SageMaker took and cost")
    cost.add_argument("job", help="name of the training job")
    cost.add_argument("--region", help="AWS region; default: this machine's AWS configuration")
    cost.add_argument("--runs-dir", default="runs", help="folder of throughput.jsonl")
    cost.add_argument("--prices", help="a price list of your own, as for budget.prices")
    options = parser.parse_args()
    run = {"predict": _predict, "prices": _prices, "cost": _cost}[options.command]
    return run(options)


def _predict(options: argparse.Namespace) -> int:
    folder = model_folder(options.run)
    texts = options.texts or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise ConfigError(
            [Problem("predict", "no text was given", f'predict {options.run} "A text"')]
        )
    from lingotune.predict import predict_lines

    for line in predict_lines(folder, texts):
        print(line)
    return 0


def _prices(options: argparse.Namespace) -> int:
    from lingotune.billing import fetch_prices
    from lingotune.prices import format_prices

    found = fetch_prices(options.region, options.instance, date.today())
    note = "On-demand list prices of SageMaker training, USD per instance and hour."
    print(format_prices(found, note), end="")
    return 0


def _cost(options: argparse.Namespace) -> int:
    from lingotune.billing import account_for

    lines = account_for(options.job, options.region, options.runs_dir, options.prices, date.today())
    print("\n  ".join(lines))
    return 0


def model_folder(run: str) -> Path:
    """The folder with the saved model: `RUN/model`, or RUN itself; ConfigError if there is none."""
    for folder in (Path(run, "model"), Path(run)):
        if (folder / "config.json").is_file():
            return folder
    what = "holds no trained model (no config.json in it or in its model/)"
    raise ConfigError([Problem(run, what, "a folder that train.py has written: ls runs")])


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
