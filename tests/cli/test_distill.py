"""`lingotune distill`: what it makes of what was typed, what it refuses, and a student from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import warm
from conftest import compose, run
from served import make_model

from lingotune.cli import distill
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig
from lingotune.evaluation.classifier import trained_model

LABELS = "data.labels=[bad,fair,good]"


def job_of_teacher(*more: str) -> JobConfig:
    return job_of(compose("data=files", "data.path=a.csv", "name=small", LABELS, "lr=2e-4", *more))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("teacher"), job_of_teacher("hub=private"))


def words(teacher: Path, *typed: str) -> distill._Wanted:
    return distill._wanted(teacher, trained_model(teacher), typed)


def test_a_student_of_the_teachers_layers(teacher: Path) -> None:
    wanted = words(teacher, "student=layers:1", "epochs=2")
    made = dict(word.split("=", 1) for word in [*wanted.teacher, *wanted.others])
    folder = Path(made["model.name_or_path"].strip('"'))
    assert folder.parent == teacher / distill.FOLDER
    assert json.loads((folder / "config.json").read_text())["n_layers"] == 1
    assert wanted.base == ("--job", str(teacher / "job.yaml"))
    assert (made["lr"], made["epochs"], made["hub"]) == ("0.0002", "2", "none")
    assert wanted.others.count("epochs=2") == 1 and not wanted.launches
    assert wanted.alone == [*wanted.base, *wanted.others]


def test_students_by_name_and_place(teacher: Path, tmp_path: Path) -> None:
    named = words(teacher, "student=mmbert_small", "distillation.alpha=0.2")
    assert "model=mmbert_small" in named.others
    assert not any(word.startswith("distillation") for word in named.alone)
    placed = words(teacher, "student=org/Some_Model").others
    assert {"model=pretrained", "model.name=Some-Model", "model.name_or_path=org/Some_Model"} <= {
        *placed
    }


@pytest.mark.parametrize(
    ("typed", "launches"),
    [
        (["cluster=p3_16xl"], True),
        (["action=plan"], True),
        (["cluster=local"], False),
        ([], False),
    ],
)
def test_another_machine_is_launched(teacher: Path, typed: list[str], launches: bool) -> None:
    assert words(teacher, "student=mmbert_small", *typed).launches is launches


@pytest.mark.parametrize(
    ("updates", "typed", "named"),
    [
        ("null", [], ["epochs=5"]),
        ("9", [], []),
        ("9", ["training.max_steps=null"], ["epochs=5"]),
        ("null", ["training.max_steps=4"], []),
        ("9", ["epochs=2", "training.max_steps=null"], ["epochs=2"]),
    ],
)
def test_a_student_has_the_epochs_of_a_teacher_that_counted_them(
    updates: str, typed: list[str], named: list[str], tmp_path: Path
) -> None:
    run = make_model(tmp_path / "run", job_of_teacher(f"training.max_steps={updates}"))
    found = words(run, "student=layers:1", *typed).others
    assert [word for word in found if word.startswith("epochs")] == named


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([], "which smaller model is to be trained"),
        (["student=layers:1", "student=layers:2"], "there is one student"),
        (["student=layers:2"], "student=layers:2: the teacher has 2 layers"),
        (["student=mmbert_smal"], "is no model to start from; did you mean mmbert_small"),
        (["student=tiny"], "is no model to start from"),
    ],
)
def test_what_is_no_student_is_told(teacher: Path, typed: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        words(teacher, *typed)


def test_an_exported_teacher_has_no_layers_to_take(teacher: Path, tmp_path: Path) -> None:
    export = Path(shutil.copytree(teacher, tmp_path / "onnx"))
    (export / "model.safetensors").rename(export / "model.onnx")
    with pytest.raises(ConfigError, match="is an exported model, whose layers cannot be taken"):
        words(export, "student=layers:1")


@pytest.mark.parametrize("typed", [[], ["student=nope"]])
def test_the_student_that_a_message_offers_can_be_made(teacher: Path, typed: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        words(teacher, *typed)
    (problem,) = raised.value.problems
    assert words(teacher, problem.fix.partition(",")[0])


def test_the_run_comes_first(teacher: Path) -> None:
    with pytest.raises(ConfigError, match="the run comes first"):
        distill.main(["student=layers:1", str(teacher)])
    with pytest.raises(ConfigError, match="trains on this machine"):
        distill.main([str(teacher), "student=layers:1", "cluster=p3_16xl", "--alone"])


@pytest.mark.slow
def test_a_student_from_end_to_end(tmp_path: Path) -> None:
    """The teacher is a run of the sample; then its student, alone and with it, and a plan for SageMaker."""
    small = ["data.sample.train_rows=40", "data.sample.validation_rows=10",
             "data.sample.test_rows=10", "training.max_steps=10"]  # fmt: skip
    done = run("-m", "lingotune", "train", *small, cwd=tmp_path, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    (teacher,) = (path.parent for path in (tmp_path / "runs").glob("*/job.yaml"))
    typed = ["-m", "lingotune", "distill", str(teacher), "student=layers:1"]
    done = run(*typed, "--alone", cwd=tmp_path, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    assert "\nteacher " in done.stdout and "\nstudent alone " in done.stdout
    done = run(*typed, "cluster=g5_xl", "output=json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (plan,) = json.loads(done.stdout)["jobs"]
    assert (tmp_path / plan["prepared"]["folder"] / "teacher-train.parquet").is_file()
    settings = plan["settings"]
    assert settings["distillation"]["teacher"] == str(teacher)
    assert len(settings["distillation"]["sha256"]) == 64
