"""A test leaves nothing in this process's environment, and the longest files of tests come first."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import warm
from conftest import LONGEST, ROOT, pytest_collection_modifyitems


@pytest.mark.parametrize("turn", range(2))
def test_what_a_test_sets_is_undone(turn: int) -> None:
    assert (
        "TORCHINDUCTOR_CACHE_DIR" not in os.environ or "TORCHINDUCTOR_CACHE_DIR" in warm.BEGINNING
    )
    assert sys.platform != "linux" or warm.is_warm(["train.py"], os.environ)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/set/by/the/other/turn"
    assert not warm.is_warm(["train.py"], os.environ)


def test_the_longest_files_come_first() -> None:
    """Each file is there; other files come after them, and tests keep their order within a file."""
    names = ["test_warm.py", *reversed(LONGEST), "test_readme.py"]
    assert [name for name in names if not (ROOT / "tests" / name).is_file()] == []
    items: list[Any] = [
        SimpleNamespace(path=ROOT / "tests" / name, number=n) for name in names for n in range(2)
    ]
    pytest_collection_modifyitems(items)
    ordered = [(item.path.relative_to(ROOT / "tests").as_posix(), item.number) for item in items]
    expected = [*LONGEST, "test_warm.py", "test_readme.py"]
    assert ordered == [(name, n) for name in expected for n in range(2)]
