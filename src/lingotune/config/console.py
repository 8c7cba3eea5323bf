"""Output and exit codes of the commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lingotune.config.problems import (
    INTERRUPTED,
    PIPE_CLOSED,
    PUBLISH_FAILED,
    USER_ERROR,
    ConfigError,
    Problem,
    PublishError,
    format_problems,
)
from lingotune.config.secrets import redacted


def say(line: str) -> None:
    """Print a line and flush it, as somebody may be waiting for it."""
    print(line, flush=True)


def say_aside(line: str) -> None:
    """Print a line to standard error, beside the results of a command, and flush it."""
    print(line, file=sys.stderr, flush=True)


def format_error(error: ConfigError) -> str:
    """Format the number of an error's problems, all of them, and the next command."""
    count = len(error.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    text = f"lingotune: {head}\n{format_problems(error.problems)}"
    following = redacted(error.next_command, os.environ)
    return f"{text}\nnext: {following}" if following else text


class Parser(argparse.ArgumentParser):
    """Parser of a command's options; unknown ones are reported like any other problem."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of exiting."""
        raise ConfigError([Problem("command line", message)], f"{self.prog} --help")


def exit_code_of(body: Callable[[], int]) -> int:
    """Run a command's body; prints known errors to stderr and returns the exit code."""
    try:
        return body()
    except ConfigError as error:
        print(format_error(error), file=sys.stderr)
        return USER_ERROR
    except PublishError as error:
        print(f"lingotune: {redacted(str(error), os.environ)}", file=sys.stderr)
        return PUBLISH_FAILED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("lingotune: stopped", file=sys.stderr)
        return INTERRUPTED
