"""ListTrainingJobs and Search: which jobs, in which order, a page at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from lingotune.launch.simulator.loopback.jobs import Fields, Job
from lingotune.launch.simulator.loopback.refusal import Refusal

T = TypeVar("T")
_PAGE = 10
"""Entries of a page unless MaxResults asks for another number."""
_MOST = 100
_SORTED_BY: dict[str, Callable[[Job], Any]] = {
    "Name": lambda job: job.name,
    "CreationTime": lambda job: job.created,
    "Status": lambda job: job.status,
}
_TIMES: dict[str, Callable[[Job], float]] = {
    "CreationTime": lambda job: job.created,
    "LastModifiedTime": lambda job: job.modified,
}


def list_jobs(jobs: Iterable[Job], asked: Fields) -> Fields:
    """Answer ListTrainingJobs. Without an order the newest come first."""
    by = _choice(asked, "SortBy", [*_SORTED_BY], "CreationTime")
    order = _choice(asked, "SortOrder", ["Ascending", "Descending"], "Descending")
    found = [job for job in jobs if _listed(job, asked)]
    key = _SORTED_BY[by]
    shown, following = page(
        found, asked, lambda job: [key(job), job.created, job.name], order == "Descending"
    )
    return {"TrainingJobSummaries": [job.summary() for job in shown], **following}


def _choice(asked: Fields, name: str, known: Sequence[str], default: str) -> str:
    given: str = asked.get(name, default)
    if given not in known:
        raise Refusal(
            "ValidationException",
            f"1 validation error detected: Value '{given}' at '{name}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(known)}]",
        )
    return given


def _listed(job: Job, asked: Fields) -> bool:
    if asked.get("NameContains", "") not in job.name:
        return False
    if asked.get("StatusEquals", job.status) != job.status:
        return False
    if "WarmPoolStatusEquals" in asked or "TrainingPlanArnEquals" in asked:
        return False  # there are no warm pools and no training plans here
    return all(
        asked.get(f"{name}After", float("-inf")) < time(job) < asked.get(f"{name}Before", _NEVER)
        for name, time in _TIMES.items()
    )


_NEVER = float("inf")


def page(
    found: Sequence[T], asked: Fields, key: Callable[[T], list[Any]], descending: bool = False
) -> tuple[Sequence[T], Fields]:
    """Sort entries by a key and cut out the page that is asked for; returns it, and the NextToken if more
    follow.

    A token is the key after which a page begins, so that entries that come or go meanwhile move none to
    another page.
    """
    size = asked.get("MaxResults", _PAGE)
    if not isinstance(size, int) or not 1 <= size <= _MOST:
        raise Refusal(
            "ValidationException",
            f"1 validation error detected: Value '{size}' at 'maxResults' failed to satisfy "
            f"constraint: Member must have value between 1 and {_MOST}",
        )
    left = sorted(found, key=key, reverse=descending)
    if asked.get("NextToken"):
        last = _read_token(asked["NextToken"])
        left = [one for one in left if (key(one) < last if descending else key(one) > last)]
    shown = left[:size]
    return shown, {"NextToken": _write_token(key(shown[-1]))} if len(left) > size else {}


def _write_token(key: list[Any]) -> str:
    return base64.b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> list[Any]:
    try:
        key: list[Any] = json.loads(base64.b64decode(token, validate=True))
        return key
    except ValueError:
        raise Refusal("ValidationException", "Invalid pagination token given.") from None


# --- Search -------------------------------------------------------------------------------------

_Test = Callable[[Any, str], bool]
_OPERATORS: dict[str, _Test] = {
    "Equals": lambda value, wanted: _text(value) == wanted,
    "NotEquals": lambda value, wanted: _text(value) != wanted,
    "Contains": lambda value, wanted: wanted in _text(value),
    "In": lambda value, wanted: _text(value) in wanted.split(","),
    "Exists": lambda value, wanted: value is not None,
    "NotExists": lambda value, wanted: value is None,
    "GreaterThan": lambda value, wanted: _number(value) > _number(wanted),
    "GreaterThanOrEqualTo": lambda value, wanted: _number(value) >= _number(wanted),
    "LessThan": lambda value, wanted: _number(value) < _number(wanted),
    "LessThanOrEqualTo": lambda value, wanted: _number(value) <= _number(wanted),
}


def search(jobs: Iterable[Job], asked: Fields) -> Fields:
    """Answer Search for training jobs, by their fields and tags. Filters in filters are not known."""
    if asked.get("Resource") != "TrainingJob":
        raise Refusal("ValidationException", "This account has training jobs only.")
    expression = asked.get("SearchExpression", {})
    if expression.keys() - {"Filters", "Operator"}:
        raise Refusal("ValidationException", "The loopback knows Filters and Operator only.")
    combine = any if expression.get("Operator") == "Or" else all
    filters = expression.get("Filters", [])
    found = [_searched(job) for job in jobs]
    if filters:
        found = [fields for fields in found if combine(_passes(fields, f) for f in filters)]
    by, order = asked.get("SortBy", "CreationTime"), asked.get("SortOrder", "Descending")
    shown, following = page(
        found, asked, lambda fields: [str(_field(fields, by)), fields["TrainingJobName"]],
        order == "Descending",
    )  # fmt: skip
    return {"Results": [{"TrainingJob": fields} for fields in shown], **following}


def _searched(job: Job) -> Fields:
    return {**job.describe(), "Tags": [{"Key": k, "Value": v} for k, v in job.tags.items()]}


def _passes(fields: Fields, filter: Fields) -> bool:
    value = _field(fields, filter["Name"])
    operator = filter.get("Operator", "Equals")
    if value is None and operator not in ("NotEquals", "NotExists"):
        return False
    return _OPERATORS[operator](value, filter.get("Value", ""))


def _field(fields: Fields, name: str) -> Any:
    """Find a field by its dotted name; `Tags.KEY` and `HyperParameters.KEY` name entries."""
    head, _, rest = name.partition(".")
    if head == "Tags":
        return next((tag["Value"] for tag in fields["Tags"] if tag["Key"] == rest), None)
    value = fields.get(head)
    return _field(value, rest) if rest and isinstance(value, dict) else value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    """Read a number, or a time as the API writes it: 2026-01-31T12:00:00Z."""
    try:
        return float(value)
    except ValueError:
        try:
            return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
        except ValueError:
            raise Refusal("ValidationException", f"{value} is no number and no time.") from None
