"""Starts whose answer was lost, refused or late: what is said of them is true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from conftest import ROOT, run
from test_faults import told

from lingotune.launch.aws import settle
from lingotune.launch.aws.settle import NotKnown, NotStarted, Seen, Start, Started, start_once

LOST = ReadTimeoutError(endpoint_url="https://aws")
NOW = 1e9
OURS, BEFORE = Seen("InProgress", NOW + 1), Seen("Completed", NOW - 86400)


def outcome(error: Exception | None, *looks: Seen | Exception | None) -> Started | type[Exception]:
    """What becomes of a start that ends so, if the looks for the job find this; the last one lasts."""
    left = list(looks)

    def start() -> None:
        if error is not None:
            raise error

    def look_up() -> Seen | None:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    try:
        return start_once(start, look_up, lambda: NOW)
    except (NotStarted, NotKnown) as refused:
        return type(refused)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "PAUSE", 0.0)


@pytest.mark.parametrize(
    ("error", "looks", "expected"),
    [
        (None, [], Start.done),
        (LOST, [OURS], Start.found),
        (LOST, [None, None, OURS], Start.found),  # the call was still under way
        (LOST, [None], NotStarted),
        (LOST, [told("AccessDeniedException", operation="DescribeTrainingJob")], NotKnown),
        (LOST, [BEFORE], Start.taken),  # an older job of the same name
        (told("InternalFailure", 500), [OURS], Start.found),
        (told("AccessDeniedException", operation="DescribeTrainingJob"), [OURS], Start.found),
        (told("ResourceInUse"), [OURS], Start.taken),  # somebody else's call, at the same time
        (told("ResourceInUse", again=1), [OURS], Start.found),
        (told("ResourceInUse", again=1), [BEFORE], Start.taken),
        (told("ResourceLimitExceeded"), [], NotStarted),
        # the first call took the last place of the quota
        (told("ResourceLimitExceeded", again=1), [OURS], Start.found),
        (told("ResourceLimitExceeded", again=1), [None], NotStarted),
        (told("ValidationException"), [], NotStarted),
        (told("AccessDeniedException", again=1), [LOST], NotKnown),
    ],
)
def test_every_end_of_a_start(
    error: Exception | None,
    looks: list[Seen | Exception | None],
    expected: Start | type[Exception],
) -> None:
    found = outcome(error, *looks)
    assert (found.start if isinstance(found, Started) else found) is expected


def test_other_errors_pass() -> None:
    def broken() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="ours"):
        start_once(broken, lambda: None)


def launched(*words: str) -> dict[str, Any]:
    done = run(str(ROOT / "tests/many_launches.py"), *words)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_launchers_that_are_killed_and_lose_answers_start_each_job_once() -> None:
    found = launched("--launches", "25", "--seed", "2")
    assert found["record"]["jobs"] == 25 and not found["record"]["twice"], found
    assert not found["untrue"] and found["typed"] > 25, found


@pytest.mark.slow
def test_the_loop_that_people_write_starts_some_twice() -> None:
    """The control."""
    assert launched("--launches", "60", "--seed", "3", "--naive")["record"]["jobs"] > 60
