"""Errors on the terminal: coloured where a person looks on, and only there."""

from __future__ import annotations

import re
import sys

import pytest

from lingotune.cli.main import COMMANDS, module_of
from lingotune.cli.words import parsed
from lingotune.config.console import Parser, exit_code_of, say_problems
from lingotune.config.problems import ConfigError, Problem, Severity, format_problems

PROBLEMS = [
    Problem("lr=9", "is too high", "lr=1e-3", why="it diverges"),
    Problem("aws.role", "is old", "a, " * 60 + "b", Severity.warning),
]


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    def fail() -> int:
        raise ConfigError(PROBLEMS, "the next command")

    assert exit_code_of(fail) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "variables", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),  # set and not empty, says no-color.org
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours(
    terminal: bool, variables: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    plain = printed(capsys)
    assert "\x1b" not in plain, "captured output is no terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    shown = printed(capsys)
    assert ("\x1b[" in shown) is coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", shown) == plain, "colours change no letter"
    if coloured:
        assert "\x1b[1;31mlingotune: 2 problems\x1b[0m" in shown
        assert "\x1b[32m      fix: lr=1e-3\x1b[0m" in shown and "\x1b[1m  lr=9\x1b[0m" in shown
        assert "\x1b[33m  warning: aws.role\x1b[0m" in shown
        folded = [line for line in shown.splitlines() if "a, a" in line]
        assert len(folded) > 1 and all(line.startswith("\x1b[32m") for line in folded)


def test_problems_beside_results(capsys: pytest.CaptureFixture[str]) -> None:
    say_problems(PROBLEMS)
    assert capsys.readouterr() == ("", f"{format_problems(PROBLEMS)}\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["run", "--jsn"], {"--jsn": "--json"}),
        (["run", "--out_put=a.csv"], {"--out_put=a.csv": "--output=a.csv"}),
        (["run", "--foo"], {"--foo": "--help | --output | --json | --rate | --form"}),
        (["--jsn"], {"--jsn": "--json", "command line": "predict RUN"}),
        (["run", "--rate", "x", "--jsn"], {"--jsn": "--json", "--rate x": "--rate 2"}),
        (["--output", "a b"], {"command line": "predict --output 'a b' RUN"}),
        (["run", "--form", "tabel"], {"--form tabel": "--form table"}),
        (["run", "--form", "xml"], {"--form xml": "--form table | csv"}),
        (["run", "--output"], {"--output": "--output OUTPUT"}),
        (["run", "a text", "-5", "-.5", "-5 stars", "--js"], {}),
        (["run", "--", "--jsn"], {}),
    ],
)
def test_unknown_options_are_all_told_with_the_nearest(
    typed: list[str], said: dict[str, str]
) -> None:
    parser = Parser("predict")
    parser.add_argument("run")
    parser.add_argument("texts", nargs="*")
    parser.add_argument("--output")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rate", type=int)
    parser.add_argument("--form", choices=["table", "csv"])
    try:
        parsed(parser, typed, "texts")
        found = {}
    except ConfigError as error:
        assert error.next_command == "predict --help"
        found = {problem.where: problem.fix for problem in error.problems}
    assert found == said


def test_a_list_that_may_be_empty_is_not_required() -> None:
    parsers = [module.parser() for name in COMMANDS if hasattr(module := module_of(name), "parser")]
    lists = [action for parser in parsers for action in parser._actions if action.nargs == "*"]
    assert len(lists) > 5 and not [action.dest for action in lists if action.required]
