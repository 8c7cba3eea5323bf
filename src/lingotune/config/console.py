"""Output and exit codes of the commands."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import shlex
import shutil
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from lingotune.config.private_files import private_files
from lingotune.config.problems import (
    BUG,
    INTERRUPTED,
    PIPE_CLOSED,
    PREEMPTED,
    PUBLISH_FAILED,
    ConfigError,
    Preempted,
    Problem,
    PublishError,
    closest,
    format_problems,
    listed,
    nearest_option,
)
from lingotune.config.secrets import redacted
from lingotune.config.standard_streams import prepare_streams


def say(line: str) -> None:
    """Print a line and flush it, as somebody may be waiting for it."""
    _write(sys.stdout, line)


def say_aside(line: str) -> None:
    """Print a line to standard error, beside the results of a command, and flush it.

    Where nothing can be written, such as on a full disk, the exit code has to say it all.
    """
    with contextlib.suppress(OSError):
        _write(sys.stderr, line)


def _write(stream: TextIO | None, line: str) -> None:
    """Write a line, or several, with their end at once: other processes may write to the same pipe.

    stream: None in a process without such output, which `print` allows, too.
    """
    if stream is None:
        return
    stream.write(f"{line}\n")
    stream.flush()


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is; None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say_folded(line: str, indent: str) -> None:
    """Print a line: folded between words on a terminal, where further pieces are indented."""
    width = terminal_width()
    pieces = textwrap.wrap(
        line, width or sys.maxsize, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False, drop_whitespace=True,
    )  # fmt: skip
    say("\n".join(pieces) if width and pieces else line)


def say_problems(problems: Sequence[Problem]) -> None:
    """Print problems to standard error: in colour on a terminal."""
    say_aside(_coloured(format_problems(problems)))


def _coloured(text: str) -> str:
    """Colour a text of problems where a person looks on: the place of each, and what works instead.

    None with NO_COLOR (https://no-color.org), on a terminal without colours, and elsewhere.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    if plain or not sys.stderr.isatty():
        return text
    lines, in_fix = [], False
    for line in text.splitlines():
        in_fix = line.startswith(_FIX) or (in_fix and line.startswith(" " * 11))
        style = _GREEN if in_fix else _style(line)
        lines.append(f"\x1b[{style}m{line}\x1b[0m" if style else line)
    return "\n".join(lines)


_FIX = "      fix: "
_BOLD, _RED, _YELLOW, _GREEN = "1", "1;31", "33", "32"


def _style(line: str) -> str:
    if line.startswith("lingotune: "):
        return _RED
    if line.startswith("  warning: "):
        return _YELLOW
    is_place = line.startswith("  ") and line[2:3] not in ("", " ")
    return _BOLD if is_place or line.startswith("next: ") else ""


def format_error(error: ConfigError) -> str:
    """Format the number of an error's problems, all of them, and the next command."""
    count = len(error.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    text = f"lingotune: {head}\n{format_problems(error.problems)}"
    following = redacted(error.next_command, os.environ)
    return f"{text}\nnext: {following}" if following else text


_NO_CHOICE = re.compile(r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)")
_NO_NUMBER = re.compile(r"argument (.+?): invalid (int|float) value: '(.*)'")
_OF_ARGUMENT = re.compile(r"argument (.+?): (.*)")
_REQUIRED = "the following arguments are required: "


class Parser(argparse.ArgumentParser):
    """Parser of a command's options; what is wrong with them is reported like any other problem."""

    _typed: Sequence[str] = ()

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """Add an argument; a list that may be empty is not called required."""
        if settings.get("nargs") == "*" and not names[0].startswith("-"):
            settings.setdefault("default", [])
        return super().add_argument(*names, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments as argparse does, and keep them for messages."""
        self._typed = [*(sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of exiting: for options that there are not, and for the message."""
        unknown = self.unknown_options(self._typed)
        self.refuse([*unknown, self._told(message, [] if unknown else self._typed)])

    def _told(self, message: str, typed_well: Sequence[str]) -> Problem:
        """Turn argparse's own words into a problem with what works, where they name it."""
        if found := _NO_CHOICE.fullmatch(message):
            name, typed, rest = found.groups()
            choices = re.findall(r"[\w.-]+", rest)  # quoted or not, as the version of Python has it
            before = f"{name} " if name.startswith("-") else ""
            fix = f"{before}{closest(typed, choices) or listed(typed, choices)}"
            return Problem(f"{name} {typed}", f"is none of {', '.join(choices)}", fix)
        if found := _NO_NUMBER.fullmatch(message):
            name, kind, typed = found.groups()
            what = "is no whole number" if kind == "int" else "is no number"
            return Problem(f"{name} {typed}", what, f"{name} 2")
        if found := _OF_ARGUMENT.fullmatch(message):
            name, what = found.groups()
            needs_value = name.startswith("-") and what.startswith("expected")
            return Problem(name, what, f"{name} {_metavar(name)}" if needs_value else "")
        required = message.removeprefix(_REQUIRED)
        if required == message:
            return Problem("command line", message)
        names = required.split(", ")
        words = [f"{name} {_metavar(name)}" if name[0] == "-" else name.upper() for name in names]
        fix = " ".join([self.prog, *map(shlex.quote, typed_well), *words])
        return Problem("command line", message, fix)

    def refuse(self, problems: list[Problem]) -> NoReturn:
        """Raise ConfigError for problems with the arguments."""
        raise ConfigError(problems, f"{self.prog} --help")

    def unknown_options(self, words: Sequence[str]) -> list[Problem]:
        """List the words that are options, and none of this command."""
        known = [name for action in self._actions for name in action.option_strings]
        typed = itertools.takewhile(lambda word: word != "--", words)
        return [_unknown_option(word, known) for word in typed if _is_option(word)
                and not any(name.startswith(word.partition("=")[0]) for name in known)]  # fmt: skip


def _metavar(name: str) -> str:
    """Name the value of an option as argparse does."""
    return name.partition("/")[0].lstrip("-").replace("-", "_").upper()


def _is_option(word: str) -> bool:
    """Tell whether argparse takes a word for an option: no negative number, and nothing with blanks."""
    return bool(re.fullmatch(r"-(?!\d*\.?\d+$)[^ ]+", word))


def _unknown_option(word: str, known: Sequence[str]) -> Problem:
    name, equals, value = word.partition("=")
    near = nearest_option(name, known)
    long = [one for one in known if one.startswith("--")]
    return Problem(word, "unknown option", f"{near}{equals}{value}" if near else " | ".join(long))


def exit_code_of(body: Callable[[], int]) -> int:
    """Run a command's body; prints errors to stderr and returns the exit code.

    No traceback is printed: what the machine has caused is told as a problem (see `faults`), anything else
    as a fault of lingotune. Nothing that is printed from then on holds a secret, and files are this
    user's alone.
    """
    threading.excepthook = _thread_ended
    prepare_streams()
    try:
        with private_files():
            return body()
    except ConfigError as error:
        return _tell(error)
    except Preempted as error:
        say_aside(_coloured(f"lingotune: {redacted(str(error), os.environ)}"))
        return PREEMPTED
    except PublishError as error:
        say_aside(_coloured(f"lingotune: {redacted(str(error), os.environ)}"))
        return PUBLISH_FAILED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("lingotune: stopped", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from lingotune.config.faults import bug_report, understood

        if known := understood(error):
            return _tell(known)
        told, trace = bug_report(error)
        # Of a container only the log is left.
        say_aside(f"lingotune: {told}" + (f"\n{trace}" if "SM_OUTPUT_DIR" in os.environ else ""))
        return BUG


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """Say in a line why a library's thread has ended, such as TensorBoard's for a full disk."""
    from lingotune.config.faults import understood

    known = understood(args.exc_value) if args.exc_value else None
    if known is None:
        threading.__excepthook__(args)
        return
    problem = known.problems[0]
    say_aside(redacted(f"warning: a thread has ended: {problem.where}: {problem.what}", os.environ))


def _tell(error: ConfigError) -> int:
    say_aside(_coloured(format_error(error)))
    return error.exit_code
