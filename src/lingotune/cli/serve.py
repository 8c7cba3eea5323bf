"""`lingotune serve`: answers requests to a run's model on this machine, with a page to try it."""

from __future__ import annotations

import argparse
import errno
import socket
from collections.abc import Sequence

from lingotune.cli.words import command_parser, parsed, port
from lingotune.config.console import Parser, say, say_aside
from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.results.chosen import run_named

_PORT = 8080


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    purpose = "Answer requests to a run's model as its endpoint would, and show a page to try it."
    made = command_parser("serve", purpose)
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    text = f"default: {_PORT}; 0: one that is free"
    made.add_argument("--port", type=port, default=_PORT, help=text)
    text = "address to listen at; default: 127.0.0.1, this machine alone"
    made.add_argument("--host", default="127.0.0.1", help=text)
    text = "requests a second, twice as many at once; default: 20"
    made.add_argument("--rate", type=_rate, default=20.0, help=text)
    return made


def _rate(typed: str) -> float:
    try:
        value = float(typed)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{typed} is no number of requests a second such as 20")
    return value


def main(argv: Sequence[str]) -> int:
    """Load the model and serve it until Ctrl-C."""
    options = parsed(parser(), argv)
    from lingotune.evaluation.classifier import trained_model
    from lingotune.serving.served_model import ServedModel
    from lingotune.serving.server import LOOPBACK, ModelServer

    trained = trained_model(run_named(options.run))
    model = ServedModel(trained)
    try:
        server = ModelServer((options.host, options.port), model, options.rate, say_aside)
    except OSError as error:
        what = f"cannot be listened at: {error.strerror or error}"
        where = f"--host {options.host} --port {options.port}"
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        fix = (
            "--host 127.0.0.1, or an address of this machine"
            if is_host
            else "--port 0, one that is free"
        )
        raise ConfigError([Problem(where, what, fix)]) from error
    with server:
        if options.host not in LOOPBACK:
            say_aside(f"warning: whoever reaches {options.host} can ask the model; nobody signs in")
        say(f"{model.name}, model {model.digest[:12]}: http://{options.host}:{server.server_port}/")
        say("POST /invocations answers as the endpoint does; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say_aside("ended")
    return 0
