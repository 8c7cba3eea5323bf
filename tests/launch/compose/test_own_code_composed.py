"""Own code in what is composed: where its file is looked for, its digest, and jobs that are changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF

from lingotune.config.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import CodeConfig, JobConfig
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.plan.code_bundle import bundle_of
from lingotune.plugins.source import Source, sha256_of, stored_name
from lingotune.preflight import check_job

FILE = "from lingotune.plugins import metric\n@metric\ndef cost(predictions): return 1.0\n"
TYPED = ("code.file=my_code.py", "code.metrics=[cost]")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file of own code."""
    monkeypatch.chdir(tmp_path)
    Path("my_code.py").write_text(FILE)
    return tmp_path


def code_of(*overrides: str, **more: object) -> CodeConfig:
    return composed(*overrides, **more).code


def composed(*overrides: str, **more: object) -> JobConfig:
    found = compose_all(list(overrides), CONF, lambda c: [], multirun=False, **more)  # type: ignore[arg-type]
    return job_of(found[0].config)


def refused(*overrides: str, **more: object) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        compose_all(list(overrides), CONF, lambda c: check_job(job_of(c)), multirun=False, **more)  # type: ignore[arg-type]
    return caught.value.problems


def test_the_digest_of_the_file_is_part_of_the_job() -> None:
    job = composed(*TYPED)
    assert job.code.sha256 == sha256_of(FILE.encode()) and b"\ncode:\n" in dump_job(job)
    Path("my_code.py").write_text(FILE + "#")
    assert job_digest(composed(*TYPED)) != job_digest(job)
    assert b"\ncode:" not in dump_job(composed()), "other jobs stay as they were"


def test_a_typed_path_is_relative_to_the_current_folder_one_of_a_group_file_to_theirs(
    folder: Path,
) -> None:
    groups = folder / "groups"
    (groups / "experiment").mkdir(parents=True)
    (groups / "experiment" / "costs.yaml").write_text(
        "# @package _global_\ncode:\n  file: theirs.py\n  metrics: [cost]\n"
    )
    (groups / "theirs.py").write_text(FILE)
    assert code_of("experiment=costs", extra_dir=groups).file == f"{groups}/theirs.py"
    assert code_of("experiment=costs", TYPED[0], extra_dir=groups).file == "my_code.py"
    (problem,) = refused("code.file=theirs.py", TYPED[1], extra_dir=groups)
    assert "cannot be read: No such file" in problem.what
    assert problem.fix == f"code.file={groups}/theirs.py"
    (groups / "theirs.py").unlink()
    (problem,) = refused("experiment=costs", extra_dir=groups)
    assert problem.fix == f"the path of a Python file, relative to {groups}"
    (problem,) = refused("code.file=no/cost.py", TYPED[1], extra_dir=groups)
    assert problem.fix == "the path of a Python file, relative to the current folder"


def test_a_misspelt_file_and_other_mistakes_come_at_once() -> None:
    problems = refused("code.file=my_cod.py", TYPED[1], "lr=7")
    assert [(p.key, p.fix) for p in problems] == [
        ("code.file", "code.file=my_code.py"), ("lr", "lr=0.001; possible: above 0, at most 1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "where", "fix"),
    [
        (["code.file=my_code.py"], "code.file=my_code.py", "code.metrics=[...]"),
        ([*TYPED, "code.metrics=[cost,cost]"], "code.metrics=[cost,cost]", "code.metrics=[cost]"),
        ([*TYPED, "code.select=cots"], "code.select=cots", "code.select=cost"),
        (
            [*TYPED, "code.select=cost", "training.eval_strategy=none"],
            "code.select=cost",
            "training.eval_strategy=epoch",
        ),
        (
            [*TYPED, "code.select=cost", "evaluation.select=loss"],
            "code.select=cost",
            "evaluation.select=macro_f1, or code.select=null",
        ),
        (["code.requirements=[a]"], "code.requirements=[a]", "code.requirements=[]"),
        (
            [*TYPED, "code.requirements=[a,'torch>=2']"],
            "code.requirements=[a,torch>=2]",
            "code.requirements=['a']",
        ),
        ([*TYPED, "code.requirements=['-r x.txt']"], "code.requirements=[-r x.txt]", "scikit-learn==1.5.0"),
        (["code.sha256=ab"], "code.sha256=ab", "code.sha256=null"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other(overrides: list[str], where: str, fix: str) -> None:
    (problem,) = refused(*overrides)
    assert problem.where == where and fix in problem.fix


@pytest.mark.parametrize("name", ["loss", "macro_f1", "macro_f1_de", "accuracy", "epoch"])
def test_names_that_logs_have_are_taken(name: str) -> None:
    Path("my_code.py").write_text(FILE.replace("cost", name))
    (problem,) = refused(TYPED[0], f"code.metrics=[{name}]")
    assert problem.check == "own-metric-taken"


def test_a_digest_that_is_given_has_to_fit() -> None:
    digest = sha256_of(FILE.encode())
    assert code_of(*TYPED, f"code.sha256={digest}").sha256 == digest
    (problem,) = refused(*TYPED, f"code.sha256={'0' * 64}")
    assert "was changed after" in problem.what and digest in problem.what


# --- a job that ran -----------------------------------------------------------------------------


def test_a_changed_file_under_a_job_that_ran_says_what_to_type(folder: Path) -> None:
    job = composed(*TYPED)
    run = folder / "run"
    Source(Path("my_code.py"), "my_code.py", FILE.encode()).keep_in(run)
    (run / "job.yaml").write_bytes(dump_job(job))
    base = {"base": load_job(run / "job.yaml")[0], "base_dir": run}
    assert code_of("seed=1", **base) == job.code
    Path("my_code.py").write_text(FILE + "#")
    (problem,) = refused("seed=1", **base)
    now, _, before = problem.fix.partition("; ")
    assert now == "as it is now: code.file=my_code.py"
    assert code_of("seed=1", TYPED[0], **base).sha256 == sha256_of(f"{FILE}#".encode())
    kept = before.removeprefix("as it was: ")
    assert code_of("seed=1", kept, **base).sha256 == job.code.sha256
    Path("my_code.py").unlink()
    assert code_of("seed=1", **base).file == str(run / stored_name(str(job.code.sha256)))
    (problem,) = refused("seed=1", base=base["base"])
    assert "cannot be read" in problem.what


# --- what travels -------------------------------------------------------------------------------


def test_the_bundle_carries_the_files_of_all_jobs() -> None:
    Path("other.py").write_text(FILE + "#")
    found = compose_all(
        ["cluster=p3_16xl", "code.file=my_code.py,other.py", "code.metrics=[cost]",
         "code.requirements=['scikit-learn==1.5.0']"],
        CONF, lambda c: [], multirun=True,
    )  # fmt: skip
    bundle = bundle_of([one.config for one in found])
    own = {name: content for name, content in bundle.files.items() if "user_code" in name}
    assert own == {stored_name(sha256_of(c)): c for c in (FILE.encode(), f"{FILE}#".encode())}
    assert b"\nscikit-learn==1.5.0\n" in bundle.files["requirements.txt"]
    assert "user_code" not in str(list(bundle_of([]).files))


def test_a_file_that_changes_between_plan_and_start_stops_it() -> None:
    (one,) = compose_all([*TYPED], CONF, lambda c: [], multirun=False)
    Path("my_code.py").write_text(FILE + "#")
    with pytest.raises(ConfigError, match="was changed after the job was composed"):
        bundle_of([one.config])
