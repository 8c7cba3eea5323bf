"""References to variables of this machine, `${oc.env:NAME}`: read where --env NAME allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.secret_values import secrets_of
from lingotune.config.secrets import NO_TOKEN, looks_secret
from lingotune.config.settings import container_of, setting_types
from lingotune.config.yaml_text import typed_value
from lingotune.launch.overrides.keys import describe_type

REFERENCE = re.compile(r"\$\{(?:oc\.)?env:\s*(\w+)\s*(?:,([^${}]*))?\}")
"""A reference to a variable, with its default; of nested ones the inner."""
_QUOTED = re.compile(r"\s*(['\"])(.*)\1\s*")


@dataclass
class Variables:
    """Variables of this machine that a command may read, and those that its configs refer to.

    allowed: the names of --env. Each value becomes part of the job, so secrets are refused.
    """

    allowed: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, names: Iterable[str], environment: Mapping[str, str]) -> Variables:
        """Read the variables of --env; ConfigError for secrets and what cannot be a value."""
        names = list(names)
        problems = [p for name in names for p in _unfit(name, environment)]
        if problems:
            raise ConfigError(problems)
        values = {name: environment[name] for name in names if name in environment}
        return cls(frozenset(names), values)

    def put_into(self, config: DictConfig) -> list[Problem]:
        """Replace the references of a config by values; those of other variables stay."""
        problems = []
        for key, value in list(_texts(config)) if self.allowed else ():
            try:
                filled = self.filled(key, value)
                if filled != value:
                    OmegaConf.update(config, key, filled)
            except ConfigError as error:
                problems += error.problems
            except (OmegaConfBaseException, ValueError, TypeError):
                known = container_of(key) or key
                name, fix = describe_type(setting_types()[known], known)
                problems.append(Problem(key, f"{value} is {filled!r}, not {name}", fix, key=key))
        return problems

    def filled(self, key: str, value: Any) -> Any:
        """Replace the references in the value of a setting. ConfigError for a variable that is not set."""
        if not isinstance(value, str):
            return value
        text: str | None = value
        while text is not None and (found := self._first(text)):
            self.used.add(found[1])
            text = self._replaced(key, text, found)
        if text == value:
            return value
        kind = setting_types().get(container_of(key) or key)
        return typed_value(kind, text)

    def unused(self) -> list[Problem]:
        """Tell of each variable that nothing refers to."""
        return [
            Problem(
                f"--env {name}",
                "nothing refers to it",
                f"'name=${{oc.env:{name}}}', or without --env {name}",
            )
            for name in sorted(self.allowed - self.used)
        ]

    def _first(self, text: str) -> re.Match[str] | None:
        return next((m for m in REFERENCE.finditer(text) if m[1] in self.allowed), None)

    def _replaced(self, key: str, text: str, found: re.Match[str]) -> str | None:
        name, default = found[1], found[2]
        if name in self.values:
            value: str | None = self.values[name]
        elif default is None:
            what = f"refers to {name}, which is not set on this machine"
            raise ConfigError([Problem(key, what, f"export {name}=value", key=key)])
        else:
            quoted = _QUOTED.fullmatch(default)
            value = quoted[2] if quoted else default.strip()
            value = None if value == "null" and not quoted else value
        if value is None and found[0] == text:
            return None
        return f"{text[: found.start()]}{value or ''}{text[found.end() :]}"


def _unfit(name: str, environment: Mapping[str, str]) -> list[Problem]:
    """Refuse a variable that cannot be part of a job."""
    where = f"--env {name}"
    if not name.isidentifier():
        plain = name.partition("=")[0].strip("${} ")
        plain = plain if plain.isidentifier() and not looks_secret(name) else "NAME"
        return [Problem(where, "is not the name of a variable", f"--env {plain}")]
    value = environment.get(name, "")
    if looks_secret(value) or secrets_of({name: "x" * 20}):
        return [Problem(where, "holds a secret, and a job's settings are public", NO_TOKEN)]
    if "${" in value:
        what = "its value would be read as a reference to a setting"
        return [Problem(where, what, f"export {name}=value")]
    return []


def _texts(config: DictConfig) -> Iterable[tuple[str, str]]:
    """List the texts of a config that refer to variables, by key: data.labels[0]."""
    stack: list[tuple[str, Any]] = [("", OmegaConf.to_container(config, resolve=False))]
    while stack:
        key, node = stack.pop()
        if isinstance(node, dict):
            stack += [
                (f"{key}.{name}" if key else str(name), inner) for name, inner in node.items()
            ]
        elif isinstance(node, list):
            stack += [(f"{key}[{index}]", inner) for index, inner in enumerate(node)]
        elif isinstance(node, str) and REFERENCE.search(node):
            yield key, node
