"""Parsing of a command's arguments."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence

from lingotune.config.console import Parser
from lingotune.config.problems import Problem
from lingotune.config.program import program


def command_parser(command: str, purpose: str) -> Parser:
    """Make a parser of the command's arguments, under the name by which the command was started."""
    return Parser(program(command), description=purpose)


def parsed(parser: Parser, argv: Sequence[str], words: str = "") -> argparse.Namespace:
    """Parse the arguments; ConfigError for unknown ones.

    words: name of the argument that takes a list of words, which argparse accepts only in one place, not
    also between and after options.
    """
    options: argparse.Namespace
    options, rest = parser.parse_known_args(list(argv))
    if unknown := parser.unknown_options(rest):
        parser.refuse(unknown)
    if rest and not words:
        parser.refuse([Problem(shlex.join(rest), "is more than the command takes", "leave it out")])
    if words:
        setattr(options, words, [*getattr(options, words), *rest])
    return options


def whole_number(least: int) -> Callable[[str], int]:
    """Make the type of an argument that is a whole number from `least` on."""

    def read(typed: str) -> int:
        if not _is_number(typed) or int(typed) < least:
            raise argparse.ArgumentTypeError(f"{typed} is not a whole number from {least}")
        return int(typed)

    return read


def port(typed: str) -> int:
    """Read an argument that is a port; 0 = one that is free."""
    if not _is_number(typed) or int(typed) > 65_535:
        raise argparse.ArgumentTypeError(f"{typed} is no port from 0 to 65535")
    return int(typed)


def _is_number(typed: str) -> bool:
    return typed.isascii() and typed.isdigit() and len(typed) < 19
