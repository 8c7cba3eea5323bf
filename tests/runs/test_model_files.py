"""Files of a model that were deleted or changed after its run, in the run and in a copy elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import compose

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.problems import ConfigError
from lingotune.runs.folder import folders_in
from lingotune.runs.inventory import write_inventory
from lingotune.runs.model_files import check_model_files

LABELS = ("bad", "good")
PARTS = ("config.json", "decision.json", "model.safetensors", "tokenizer.json")
PARTS += ("tokenizer_config.json",)
JOB = job_of(compose())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A finished run's model; its files are not read."""
    model = tmp_path / "run" / "model"
    (model / "code").mkdir(parents=True)
    for name in (*PARTS, "README.md", "code/packed.json", "confusion_matrix.png"):
        (model / name).write_text(f"{name} as written")
    (model.parent / "job.yaml").write_bytes(dump_job(JOB))
    results = json.dumps({"labels": LABELS, "decision": {"decide": "argmax"}})
    for folder in (model, model.parent):
        (folder / "metrics.json").write_text(results)
    write_inventory(folders_in(model.parent), job_digest(JOB), ())
    return model


def test_a_whole_model_is_told_nothing_of(model: Path, tmp_path: Path) -> None:
    (model / "README.md").write_text("published")
    (model / "confusion_matrix.png").unlink()
    assert [*check_model_files(model, LABELS, JOB)] == []
    assert [*check_model_files(Path(shutil.copytree(model, tmp_path / "a")), LABELS, None)] == []


@pytest.mark.parametrize("name", PARTS)
def test_what_is_missing_is_refused_and_what_was_changed_is_told(name: str, model: Path) -> None:
    (model / name).write_text(f"{name} as changed")
    (told,) = check_model_files(model, LABELS, JOB) if name != "model.safetensors" else [name]
    assert name in told
    (model / name).unlink()
    with pytest.raises(ConfigError) as caught:
        [*check_model_files(model, LABELS, JOB)]
    (problem,) = caught.value.problems
    assert problem.where == str(model / name)
    again = "lingotune resume " if name == "decision.json" else "metrics.json.damaged && "
    assert again in problem.fix


def test_weights_of_another_size_are_told(model: Path) -> None:
    (model / "model.safetensors").write_text("short")
    (told,) = check_model_files(model, LABELS, JOB)
    assert "was changed after the run had finished" in told


@pytest.mark.parametrize("name", ["decision.json", "tokenizer_config.json"])
def test_a_copy_is_compared_with_the_results_beside_it(
    name: str, model: Path, tmp_path: Path
) -> None:
    alone = Path(shutil.copytree(model, tmp_path / "alone"))
    (told,) = check_model_files(alone, LABELS[::-1], None)
    assert "names the classes good, bad, which were bad, good in training" in told
    (alone / name).unlink()
    with pytest.raises(ConfigError, match=f"{name}: is missing"):
        [*check_model_files(alone, LABELS, None)]
    (alone / "metrics.json").unlink()
    assert [*check_model_files(alone, LABELS[::-1], None)] == []
