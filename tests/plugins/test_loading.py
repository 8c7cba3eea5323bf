"""The file of own code: found by its digest, kept, run once, its errors told by name and line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packages import install

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import CodeConfig
from lingotune.plugins.loading import load_code
from lingotune.plugins.source import Source, find_source, is_changed, sha256_of, stored_name

FILE = """\
from lingotune.plugins import metric
def helper(predictions):
    return 1 / predictions
@metric(greater_is_better=False)
def cost(predictions):
    return helper(predictions)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodeConfig:
    """The code of a composed job whose file lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    return written(FILE)


def written(text: str) -> CodeConfig:
    Path("my_code.py").write_text(text)
    return CodeConfig("my_code.py", ["cost"], sha256=sha256_of(text.encode()))


def problem_of(code: CodeConfig, *folders: Path, original: bool = True) -> Problem:
    with pytest.raises(ConfigError) as caught:
        load_code(code, find_source(code, folders, original=original))
    (problem,) = caught.value.problems
    return problem


# --- the file -----------------------------------------------------------------------------------


def test_a_copy_does_where_the_file_is_gone_or_changed(code: CodeConfig, tmp_path: Path) -> None:
    source = find_source(code, [])
    assert source and source.path == Path("my_code.py")
    source.keep_in(tmp_path / "run")
    source.keep_in(tmp_path / "run")
    copy = tmp_path / "run" / stored_name(str(code.sha256))
    assert copy.read_text() == FILE and not list(copy.parent.glob("*.tmp"))
    for spoil in (lambda: Path("my_code.py").write_text("x = 1"), Path("my_code.py").unlink):
        spoil()
        found = find_source(code, [tmp_path / "nowhere", tmp_path / "run"])
        assert found and (found.path, found.name) == (copy, "my_code.py")
        assert is_changed(code, found) == Path("my_code.py").exists()
    copy.write_text("x = 2")
    problem = problem_of(code, tmp_path / "run")
    assert problem.where == str(copy) and "was changed after" in problem.what


def test_a_changed_file_without_a_copy_is_refused_with_both_digests(code: CodeConfig) -> None:
    Path("my_code.py").write_text("raise SystemExit")
    problem = problem_of(code)
    assert str(code.sha256) in problem.what and sha256_of(b"raise SystemExit") in problem.what
    assert problem.fix.startswith("code.file=my_code.py")
    Path("my_code.py").unlink()
    assert "there is no such file, and no copy" in problem_of(code).what


def test_a_job_without_a_digest_is_not_run(code: CodeConfig) -> None:
    assert "has no digest yet" in problem_of(replace(code, sha256=None)).what


def test_the_named_file_is_not_looked_at_where_it_is_not_trusted(code: CodeConfig) -> None:
    assert "no copy" in problem_of(code, original=False).what


# --- what it defines ----------------------------------------------------------------------------


def test_the_bytes_that_were_verified_run_once_and_leave_no_cache(code: CodeConfig) -> None:
    first, second = (load_code(code, find_source(code, [])) for _ in range(2))
    assert first.metrics[0].thing is second.metrics[0].thing
    assert first.metrics[0].mark.greater_is_better is False
    assert [path.name for path in Path().iterdir()] == ["my_code.py"]


def test_an_error_is_told_with_the_innermost_line_of_the_file(code: CodeConfig) -> None:
    (cost,) = load_code(code, find_source(code, [])).metrics
    with pytest.raises(ConfigError) as caught, cost.errors_told("on 3 rows"):
        cost.thing(0)
    (problem,) = caught.value.problems
    assert problem.where == "code.metrics=[cost]"
    what = "cost raised ZeroDivisionError: division by zero on 3 rows (my_code.py:3)"
    assert problem.what == what and problem.fix == "correct my_code.py:3, then start again"


def test_errors_elsewhere_that_passed_through_the_file_are_told_too(code: CodeConfig) -> None:
    own = load_code(code, find_source(code, []))
    with pytest.raises(ConfigError, match=r"ZeroDivisionError.*my_code.py:3"), own.errors_told():
        own.metrics[0].thing(0)
    with pytest.raises(ZeroDivisionError), own.errors_told():
        raise ZeroDivisionError  # not theirs


@pytest.mark.parametrize(
    "error", ["MemoryError()", "RuntimeError('CUDA out of memory')", "OSError('No space left')"]
)
def test_what_the_machine_lacks_is_not_their_mistake(code: CodeConfig, error: str) -> None:
    code = written(f"from lingotune.plugins import metric\n@metric\ndef cost(p): raise {error}\n")
    own = load_code(code, find_source(code, []))
    (cost,) = own.metrics
    wanted = (MemoryError, RuntimeError, OSError)
    with pytest.raises(wanted), own.errors_told(), cost.errors_told():
        cost.thing(0)


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("import no_such_module_x", "ModuleNotFoundError", "pip install no_such_module_x"),
        (
            "1 / 0",
            "cannot be loaded: ZeroDivisionError: division by zero (my_code.py:7)",
            "correct",
        ),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3 (my_code.py:7)", "correct"),
        (
            "globals()['cost'] = 3",
            "cost of my_code.py is no @metric once the file has run",
            "@metric above",
        ),
    ],
)
@pytest.mark.usefixtures("code")
def test_a_file_that_cannot_be_loaded(line: str, what: str, fix: str) -> None:
    problem = problem_of(written(f"{FILE}{line}\n"))
    assert what in problem.what and fix in problem.fix


def test_classes_of_the_file_can_be_pickled(code: CodeConfig) -> None:
    import pickle

    code = written(f"{FILE}class Kept: pass\n")
    own = load_code(code, find_source(code, []))
    kept = own.metrics[0].thing.__globals__["Kept"]()
    assert type(pickle.loads(pickle.dumps(kept))) is type(kept)


# --- packages -----------------------------------------------------------------------------------


def test_a_package_needs_no_mark_and_its_errors_have_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {"lingotune.metrics": {"fair": "fair_metrics_a:fair"}}
    install(tmp_path, "fair-metrics-a", points, "def fair(predictions):\n    return 1 / 0\n")
    code = CodeConfig(metrics=["fair"], requirements=["fair-metrics-a==1.2"])
    (fair,) = load_code(code, None).metrics
    assert fair.mark.greater_is_better
    place = r"fair_metrics_a \(fair_metrics_a.py\):2"
    with pytest.raises(ConfigError, match=place), fair.errors_told():
        fair.thing(None)
    other = replace(code, requirements=["fair-metrics-a==1.3"])
    with pytest.raises(ConfigError, match=r"the job has it in this version; installed is 1.2"):
        load_code(other, None)


def test_a_package_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    points = {"lingotune.metrics": {"fair": "fair_metrics_b:fair"}}
    install(tmp_path, "fair-metrics-b", points, "raise ValueError('no')")
    with pytest.raises(ConfigError, match="fair cannot be loaded from fair_metrics_b:fair"):
        load_code(CodeConfig(metrics=["fair"]), None)


def test_a_source_names_the_file_it_was() -> None:
    assert Source(Path("x/ab.py"), "my_code.py", b"").sha256 == sha256_of(b"")
