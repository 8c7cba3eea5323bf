"""The definitions of a Python file, found without running it: names, decorators and imports."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lingotune.config.problems import ConfigError, Problem
from lingotune.plugins.marks import Kind

_PACKAGE = "lingotune.plugins"
_KINDS = {kind.value: kind for kind in Kind}
_FROM_ANYWHERE = ("lingotune", _PACKAGE, f"{_PACKAGE}.marks")


@dataclass(frozen=True)
class Definition:
    """A name that the file defines at its top level.

    kind: that of its decorator; None without one. arguments: how many it has to be called with, and how
    many it can be at most; None where that cannot be read from the file. greater_is_better: False for a
    metric that is marked as a cost.
    """

    name: str
    line: int
    kind: Kind | None
    is_async: bool = False
    arguments: tuple[int, float] | None = None
    greater_is_better: bool = True


@dataclass(frozen=True)
class Contents:
    """Definitions of a file by name, and the modules that it imports as (name, line), with leading dots."""

    definitions: dict[str, Definition]
    imports: tuple[tuple[str, int], ...]


def contents_of(content: bytes, where: str) -> Contents:
    """Parse a file; ConfigError, with the line, if it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes, which the run shows
            tree = ast.parse(content)
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        raise ConfigError([Problem(where, f"{line}is no Python: {error.msg}")]) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError([Problem(where, f"is no Python: {error}")]) from error
    meanings = dict(_meanings(tree))
    found: dict[str, Definition] = {}
    for node in _top_level(tree.body):
        found |= {one.name: one for one in _defined(node, meanings)}
    return Contents(found, tuple(_imported(tree)))


def _top_level(nodes: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those within if, try and with included."""
    for node in nodes:
        yield node
        for block in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from _top_level(getattr(node, block, ()))
        for handler in getattr(node, "handlers", ()):
            yield from _top_level(handler.body)


def _meanings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each name that an import binds, with the full name of what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.module in _FROM_ANYWHERE and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), node.lineno


def _defined(node: ast.stmt, meanings: dict[str, str]) -> Iterator[Definition]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        is_async = isinstance(node, ast.AsyncFunctionDef)
        kind = _kind(node.decorator_list, meanings)
        # another decorator may change what the function takes
        takes = _takes(node.args) if len(node.decorator_list) < 2 else None
        better = _greater_is_better(node.decorator_list)
        yield Definition(node.name, node.lineno, kind, is_async, takes, better)
    elif isinstance(node, ast.ClassDef):
        kind, better = _kind(node.decorator_list, meanings), _greater_is_better(node.decorator_list)
        yield Definition(
            node.name, node.lineno, kind, arguments=_init(node), greater_is_better=better
        )
    elif isinstance(node, ast.Assign):
        called = [node.value] if isinstance(node.value, ast.Call) else []
        for target in node.targets:
            if isinstance(target, ast.Name):
                kind, better = _kind(called, meanings), _greater_is_better(called)
                yield Definition(target.id, node.lineno, kind, greater_is_better=better)


def _kind(decorators: Iterable[ast.expr], meanings: dict[str, str]) -> Kind | None:
    """Find which of ours is among the decorators, or is called: @metric, @plugins.metric(...)."""
    for decorator in decorators:
        while isinstance(decorator, ast.Call):
            decorator = decorator.func
        first, dot, rest = ast.unparse(decorator).partition(".")
        full = meanings.get(first, first) + dot + rest
        package, _, name = full.rpartition(".")
        if package in (_PACKAGE, f"{_PACKAGE}.marks") and name in _KINDS:
            return _KINDS[name]
    return None


def _greater_is_better(decorators: Iterable[ast.expr]) -> bool:
    """Read `greater_is_better=False` from a decorator; also where it is called twice: metric(...)(f)."""
    calls = (node for of in decorators for node in ast.walk(of) if isinstance(node, ast.Call))
    keywords = (keyword for call in calls for keyword in call.keywords)
    return not any(
        k.arg == "greater_is_better" and isinstance(k.value, ast.Constant) and not k.value.value
        for k in keywords
    )


def _takes(arguments: ast.arguments) -> tuple[int, float] | None:
    if any(default is None for default in arguments.kw_defaults):
        return None  # keyword-only ones, which we never give
    positional = len(arguments.posonlyargs) + len(arguments.args)
    most = float("inf") if arguments.vararg else positional
    return positional - len(arguments.defaults), most


def _init(node: ast.ClassDef) -> tuple[int, float] | None:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            takes = _takes(inner.args)
            return takes and (takes[0] - 1, takes[1] - 1)
    return None  # a base's
