"""Starts whose answer was lost, refused or late: what is said of them is true."""

from __future__ import annotations

import pytest
from botocore.exceptions import ReadTimeoutError
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
