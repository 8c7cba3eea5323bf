"""What a test or a library sets in this process's environment is gone in the next test."""

from __future__ import annotations

import os
import sys

import pytest
import warm


@pytest.mark.parametrize("turn", range(2))
def test_what_a_test_sets_is_undone(turn: int) -> None:
    assert (
        "TORCHINDUCTOR_CACHE_DIR" not in os.environ or "TORCHINDUCTOR_CACHE_DIR" in warm.BEGINNING
    )
    assert sys.platform != "linux" or warm.is_warm(["train.py"], os.environ)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/set/by/the/other/turn"
    assert not warm.is_warm(["train.py"], os.environ)
