"""Exit codes follow from problems: in the documentation's table, and in every command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config import problems
from lingotune.config.problems import (
    BUG,
    USER_ERROR,
    ConfigError,
    Problem,
    Severity,
    exit_code_for,
    exit_code_told,
)

SOURCE = ROOT / "src" / "lingotune"
SAYS_2 = {
    "config/problems.py": "it is defined there",
    "config/faults.py": "memory",
    "cli/main.py": "nothing was typed",
    "launch/simulator/rehearsal/stages.py": "a stage that tells no code",
    "launch/apps/launching.py": "a default, by what is typed",
    "launch/sweeps/ledger.py": "a file that is no ledger, or another version's",
}
"""Modules that name the code of settings; all others take that of their problems."""


def returned(path: Path) -> Iterator[ast.AST]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and node.id == "USER_ERROR":
            yield node


def test_no_command_has_a_code_of_its_own_for_what_went_wrong() -> None:
    naming = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if any(returned(path))
    }
    assert naming == set(SAYS_2)


def test_the_documented_table_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = text.partition("### Exit codes")[2].partition("\n\n`lingotune wait`")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == {0, *problems._CODES}


codes = st.sampled_from(sorted(problems._CODES))


@given(st.lists(st.tuples(codes, st.sampled_from(Severity))))
def test_the_lowest_code_of_an_error_counts(found: list[tuple[int, Severity]]) -> None:
    told = [
        Problem(f"x{place}", "y", severity=severity, code=code)
        for place, (code, severity) in enumerate(found)
    ]
    errors = [code for code, severity in found if severity is Severity.error]
    assert exit_code_for(told) == min(errors, default=0)
    assert ConfigError(told).exit_code == min(errors, default=USER_ERROR)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("rank 0, training, step 3 of 9: /x: the disk is full (exit code 5)", 5),
        ("it says (exit code 8) of another (exit code 9); runs/x/log.txt", 9),
        ("it failed (exit code 1)", BUG),  # torchrun's, of any failure
        ("it failed", BUG),
        ("(exit code 4711)", BUG),
    ],
)
def test_the_code_of_another_process_is_the_last_that_it_tells(text: str, code: int) -> None:
    assert exit_code_told(text, BUG) == code
