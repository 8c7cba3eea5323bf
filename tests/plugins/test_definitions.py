"""What a file defines is read from its text: decorators under any name, lines, arguments, imports."""

from __future__ import annotations

import pytest

from lingotune.config.problems import ConfigError
from lingotune.plugins.definitions import Contents, contents_of
from lingotune.plugins.marks import Kind


def contents(text: str) -> Contents:
    return contents_of(text.encode(), "code.file=x.py")


@pytest.mark.parametrize(
    ("before", "decorator"),
    [
        ("from lingotune.plugins import metric", "metric"),
        ("from lingotune.plugins import metric", "metric()"),
        ("from lingotune.plugins import metric", "metric(greater_is_better=False)"),
        ("from lingotune.plugins import metric as m", "m"),
        ("from lingotune import plugins", "plugins.metric"),
        ("from lingotune import plugins as p", "p.metric(greater_is_better=False)"),
        ("import lingotune.plugins", "lingotune.plugins.metric"),
        ("import lingotune.plugins as lp", "lp.metric"),
        ("import lingotune as lt", "lt.plugins.metric"),
        ("from lingotune.plugins.marks import metric", "metric"),
    ],
)
def test_a_decorator_is_known_under_every_name_it_is_imported_by(
    before: str, decorator: str
) -> None:
    found = contents(f"{before}\n\n@{decorator}\ndef cost(predictions): return 1.0\n")
    cost = found.definitions["cost"]
    assert (cost.kind, cost.line, cost.arguments) == (Kind.metric, 4, (1, 1))


@pytest.mark.parametrize(
    "text",
    [
        "def metric(f): return f\n@metric\ndef cost(p): ...",
        "from elsewhere import metric\n@metric\ndef cost(p): ...",
        "import numpy as lingotune\n@lingotune.metric\ndef cost(p): ...",
        "def cost(p): ...",
    ],
)
def test_another_decorator_of_the_name_is_not_taken_for_ours(text: str) -> None:
    assert contents(text).definitions["cost"].kind is None


def test_definitions_in_branches_count_and_those_in_functions_do_not() -> None:
    found = contents(
        "from lingotune.plugins import callback, metric\n"
        "try:\n    import sklearn\nexcept ImportError:\n    @metric\n    def cost(p): ...\n"
        "else:\n    @metric\n    def other(p): ...\n"
        "def outer():\n    @metric\n    def inner(p): ...\n"
        "made = metric(lambda p: 1.0)\n"
        "@callback\nclass Stop:\n    def __init__(self, patience, more=1): ...\n"
    )
    kinds = {name: one.kind for name, one in found.definitions.items() if one.kind}
    assert kinds == {
        "cost": Kind.metric, "other": Kind.metric, "made": Kind.metric, "Stop": Kind.callback,
    }  # fmt: skip
    assert found.definitions["Stop"].arguments == (1, 2)
    assert "inner" not in found.definitions


def test_imports_come_with_their_lines() -> None:
    found = contents("import a.b\nfrom .c import d\ndef f():\n    from g import h\n")
    assert set(found.imports) == {("a.b", 1), (".c", 2), ("g", 4)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"def f(:\n", "line 1: is no Python: "),
        (b"x = 1\n  y = 2\n", "line 2: is no Python: "),
        (b"a = '\xff'\n", "is no Python: "),
        (b"\x00", "is no Python: "),
        (b"(" * 100_000, "is no Python: "),
    ],
)
def test_a_file_that_is_no_python_is_told_with_its_line(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        contents_of(content, "code.file=x.py")
    assert said in caught.value.problems[0].what


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("@metric\ndef cost(r): ...", True),
        ("@metric(greater_is_better=True)\ndef cost(r): ...", True),
        ("@metric(greater_is_better=False)\ndef cost(r): ...", False),
        ("def of(r): ...\ncost = metric(of, greater_is_better=False)", False),
        ("def of(r): ...\ncost = metric(greater_is_better=False)(of)", False),
    ],
)
def test_a_metric_tells_which_way_is_better(text: str, better: bool) -> None:
    content = f"from lingotune.plugins import metric\n{text}\n".encode()
    found = contents_of(content, "own.py").definitions["cost"]
    assert found.kind is Kind.metric and found.greater_is_better is better
