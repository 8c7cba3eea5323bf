"""Words of a command line: how a command is called here, and its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lingotune.config.console import Parser
from lingotune.config.program import program


def command_parser(command: str, purpose: str) -> Parser:
    """A parser of the command's arguments, by the name under which the command was started."""
    return Parser(program(command), description=purpose)


def parsed(parser: Parser, argv: Sequence[str], words: str = "") -> argparse.Namespace:
    """Parse the arguments; ConfigError for what is not known.

    `words` names the argument that takes a list of words: argparse takes them only where the first of
    them stands, not between and behind options.
    """
    options, rest = parser.parse_known_args(list(argv))
    if rest and (not words or any(word.startswith("-") for word in rest)):
        parser.error(f"unknown: {' '.join(rest)}")
    if words:
        setattr(options, words, [*getattr(options, words), *rest])
    return options
