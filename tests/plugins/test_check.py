"""Own code is checked without being run: names, marks, arguments, imports, secrets, packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from packages import install

from lingotune.config.problems import Problem
from lingotune.config.schema import CodeConfig
from lingotune.plugins.check import check_code, worker_requirements
from lingotune.plugins.source import own_code_lines

FILE = b"""\
from lingotune.plugins import callback, metric, model_builder
raise SystemExit("nobody runs this")
@metric
def cost(predictions): return 1.0
@metric
def pair(true, predicted): return 1.0
@metric
async def later(predictions): return 1.0
def plain(predictions): return 1.0
@model_builder
def head(task): ...
@callback
class Stop:
    def __init__(self, patience): ...
@callback
def early(): ...
"""


def problems(content: bytes | None = FILE, **code: object) -> list[Problem]:
    named = None if content is None else "my_code.py"
    return check_code(CodeConfig(file=named, **code), content)  # type: ignore[arg-type]


def test_sound_code_has_no_problem() -> None:
    assert not problems(metrics=["cost"], builder="head", callbacks=["early"])


@pytest.mark.parametrize(
    ("code", "what", "fix"),
    [
        ({"metrics": ["cots"]}, "did you mean cost?", "code.metrics=[cost]"),
        ({"metrics": ["zzz"]}, "neither in my_code.py nor in an installed package", "one of: cost"),
        ({"metrics": ["plain"]}, "plain (my_code.py:9) is not marked", "@metric above it"),
        ({"metrics": ["head"]}, "head (my_code.py:11) is a @model_builder", "code.builder=head"),
        ({"builder": "cost"}, "is a @metric", "code.metrics=[cost]"),
        ({"metrics": ["pair"]}, "takes 2 arguments, and is given the predictions", "@metric"),
        ({"metrics": ["later"]}, "later (my_code.py:8) is async", "def without async"),
        ({"callbacks": ["Stop"]}, "takes 1 arguments, and is given nothing", "@callback"),
    ],
)
def test_each_mistake_is_told_with_its_line_and_what_works(
    code: dict[str, object], what: str, fix: str
) -> None:
    (problem,) = problems(**code)
    assert what in problem.what and fix in problem.fix
    assert problem.key == f"code.{next(iter(code))}"


def test_all_mistakes_are_told_at_once() -> None:
    assert len(problems(metrics=["cots", "plain"], builder="nothing", callbacks=["Stop"])) == 4


def test_without_a_file_only_packages_count() -> None:
    (problem,) = problems(None, metrics=["cost"])
    assert "in no installed package (entry points lingotune.metrics)" in problem.what
    assert problem.fix == "a Python file that defines it: code.file=..."


def test_a_file_with_a_secret_or_with_data_is_refused() -> None:
    token = b'TOKEN = "hf_' + b"aB3" * 12 + b'"\n'
    (problem,) = problems(b"# one\n" + token + FILE, metrics=["cost"])
    assert "line 2 holds something that looks like an access token" in problem.what
    assert "aB3" not in problem.what + problem.fix
    (problem,) = problems(FILE + b"#" * 1_000_001, metrics=["cost"])
    assert "data, which would travel with the code" in problem.what


def test_imports_of_files_beside_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("helpers.py").write_text("")
    Path("parts").mkdir()
    Path("parts/__init__.py").write_text("")
    Path("data").mkdir()  # no package
    lines = b"import helpers\nimport parts.more\nimport data\nfrom . import other\nimport json\n"
    found = problems(FILE + lines, metrics=["cost"])
    assert [problem.what.split(",")[0] for problem in found] == [
        "line 17 imports helpers", "line 18 imports parts", "line 20 imports .",
    ]  # fmt: skip


# --- installed packages -------------------------------------------------------------------------

POINTS = {"lingotune.metrics": {"cost": "fair_metrics:cost", "fair": "fair_metrics:fair"}}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_entry_points_are_found_by_their_names(packages: Path) -> None:
    install(packages, "fair-metrics", POINTS)
    code = CodeConfig(metrics=["fair"])
    assert not check_code(code, None)
    assert worker_requirements(code, None) == (["fair-metrics==1.2"], [])
    (problem,) = problems(None, metrics=["fairy"])
    assert problem.fix == "code.metrics=[fair]"


def test_a_name_in_two_places_is_refused(packages: Path) -> None:
    install(packages, "fair-metrics", POINTS)
    (problem,) = problems(metrics=["cost"])
    assert "my_code.py:4 and in the package fair-metrics" in problem.what
    install(packages, "more-metrics", {"lingotune.metrics": {"fair": "more_metrics:fair"}})
    (problem,) = problems(None, metrics=["fair"])
    assert "in the packages fair-metrics and more-metrics" in problem.what


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        ({"url": "file:///home/me/fair", "dir_info": {"editable": True}}, None),
        (
            {"url": "https://g.it/fair", "vcs_info": {"vcs": "git", "commit_id": "ab12"}},
            "fair-metrics @ git+https://g.it/fair@ab12",
        ),
        (None, "fair-metrics==1.2"),
    ],
)
def test_a_worker_gets_the_package_from_where_it_came(
    packages: Path, origin: dict[str, object] | None, requirement: str | None
) -> None:
    install(packages, "fair-metrics", POINTS, origin=origin)
    found, unreachable = worker_requirements(CodeConfig(metrics=["fair"]), None)
    assert found == ([requirement] if requirement else [])
    assert [problem.key for problem in unreachable] == ([] if requirement else ["code.metrics"])
    typed = CodeConfig(metrics=["fair"], requirements=["Fair_Metrics>=1"])
    assert worker_requirements(typed, None) == (["Fair_Metrics>=1"], [])


def test_a_plan_says_what_is_used() -> None:
    code = CodeConfig(
        "a.py", ["cost"], None, "head", ["early"], ["scikit-learn==1.5.0"], sha256="ab" * 32
    )
    assert own_code_lines(CodeConfig()) == []
    assert own_code_lines(code) == [
        "a.py (sha256 abababababab): metrics cost; builder head; callbacks early",
        "a worker installs scikit-learn==1.5.0",
    ]
