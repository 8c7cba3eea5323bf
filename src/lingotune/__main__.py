"""python -m lingotune predict RUN TEXT...: what a trained model says of texts."""

from __future__ import annotations

import argparse
import sys
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
    options = parser.parse_args()
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


def model_folder(run: str) -> Path:
    """The folder with the saved model: `RUN/model`, or RUN itself; ConfigError if there is none."""
    for folder in (Path(run, "model"), Path(run)):
        if (folder / "config.json").is_file():
            return folder
    what = "holds no trained model (no config.json in it or in its model/)"
    raise ConfigError([Problem(run, what, "a folder that train.py has written: ls runs")])


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
