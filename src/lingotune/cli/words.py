"""Parsing of a command's arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lingotune.config.console import Parser
from lingotune.config.program import program


def command_parser(command: str, purpose: str) -> Parser:
    """Make a parser of the command's arguments, under the name by which the command was started."""
    return Parser(program(command), description=purpose)


def parsed(parser: Parser, argv: Sequence[str], words: str = "") -> argparse.Namespace:
    """Parse the arguments; ConfigError for unknown ones.

    words: name of the argument that takes a list of words, which argparse accepts only in one place, not
    also between and after options.
    """
    options, rest = parser.parse_known_args(list(argv))
    if rest and (not words or any(word.startswith("-") for word in rest)):
        parser.error(f"unknown: {' '.join(rest)}")
    if words:
        setattr(options, words, [*getattr(options, words), *rest])
    return options
