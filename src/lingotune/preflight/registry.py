"""Tables of checks; each check has an id, a reason, a severity and a function. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Generic, TypeVar

from lingotune.config.problems import Problem, Severity
from lingotune.config.settings import setting_in

Subject = TypeVar("Subject")
Found = tuple[str, str, str]
"""The key as typed, what is wrong with it, and the override that fixes it."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One check; `find` yields nothing if all is well."""

    id: str
    why: str
    severity: Severity
    find: Callable[[Subject], Iterator[Found]]


@dataclass
class Table(Generic[Subject]):
    """Checks of the same kind of subject, in the order in which their problems are reported."""

    checks: dict[str, Check[Subject]] = field(default_factory=dict)

    def check(
        self, id: str, why: str, severity: Severity = Severity.error
    ) -> Callable[[Callable[[Subject], Iterator[Found]]], Callable[[Subject], Iterator[Found]]]:
        """Decorate a function to register it as the check with this id."""

        def enter(
            find: Callable[[Subject], Iterator[Found]],
        ) -> Callable[[Subject], Iterator[Found]]:
            assert id not in self.checks, id
            self.checks[id] = Check(id, why, severity, find)
            return find

        return enter

    def run(self, subject: Subject, only: str | None = None) -> list[Problem]:
        """Run all checks, or the one with the id `only`, and return everything that they find wrong."""
        return [
            Problem(where, what, fix, check.severity, check.id, check.why, *setting_in(where))
            for check in ([self.checks[only]] if only else self.checks.values())
            for where, what, fix in check.find(subject)
        ]


def changed(section: Any, where: str) -> Iterator[tuple[str, object]]:
    """Yield name and value of the settings that the schema marks with `where` and that were changed."""
    for setting in fields(section):
        if setting.metadata.get("where") == where:
            value, factory = getattr(section, setting.name), setting.default_factory
            if value != (setting.default if factory is MISSING else factory()):
                yield setting.name, value


def typed(value: object) -> str:
    """Format a value as it is typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
