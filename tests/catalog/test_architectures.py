"""Which transformers knows which architecture, and what the plan says where the image's does not."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT, compose

from lingotune.catalog.architectures import Architecture, architectures, model_type
from lingotune.catalog.hardware import images, runs_worker, version
from lingotune.config.jobfile import job_of
from lingotune.config.problems import Problem, Severity
from lingotune.config.schema import ModelConfig
from lingotune.launch.checks.architectures import ARCHITECTURES
from lingotune.preflight import check_job

EURO = "EuroBERT/EuroBERT-210m"
OLDER = ["cluster.image.lane=pinned", "cluster.image.transformers=4.56.2",
         "cluster.image.pytorch=2.8.0", "cluster.image.python=py312"]  # fmt: skip


def found(model: str | Path, *overrides: str) -> list[Problem]:
    typed = ["model=pretrained", f"model.name_or_path={model}", *overrides]
    return ARCHITECTURES.run(compose(*typed))


def saved(folder: Path, architecture: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": architecture}))
    return folder


def test_the_table_is_that_of_the_installed_transformers() -> None:
    """After an upgrade: python tools/architectures.py"""
    spec = importlib.util.spec_from_file_location("made", ROOT / "tools" / "architectures.py")
    assert spec and spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    release = metadata.version("transformers")
    table = Path(str(metadata.distribution("transformers").locate_file(tool.TABLE)))
    ours = {name for name, one in architectures().items() if one.is_in(release)}
    assert ours == tool.classifiers(table.read_text(encoding="utf-8"))
    assert {one.transformers for one in images() if runs_worker(one)} < {*tool.releases()}


def test_a_few_rows_by_hand() -> None:
    known = architectures()
    assert (known["modernbert"].first, known["eurobert"].first) == ("4.48.0", "5.3.0")
    assert known["nezha"].last == "4.56.2" and known["bert"].last is None


def test_a_release_between_two_is_as_the_older() -> None:
    one = Architecture("one", "4.36.0", "4.56.2")
    answers = {release: one.is_in(release) for release in ("4.28.1", "4.36.0", "4.50.0", "5.3.0")}
    assert answers == {"4.28.1": False, "4.36.0": True, "4.50.0": True, "5.3.0": False}
    assert sorted(answers, key=version) == list(answers)


def test_the_folder_says_more_than_the_name(tmp_path: Path) -> None:
    assert model_type(ModelConfig("x", EURO)) == "eurobert"
    assert model_type(ModelConfig("x", str(saved(tmp_path / "m", "bert")))) == "bert"
    assert model_type(ModelConfig("x", "nobody/knows-it")) is None
    assert model_type(ModelConfig("x", None)) is None


def test_an_image_that_lacks_the_model_is_answered_with_one_that_has_it() -> None:
    (problem,) = found(EURO, "cluster=g5_12xl", *OLDER)
    assert problem.check == "image-lacks-architecture" and "eurobert" in problem.what
    assert "transformers=5.3.0" in problem.fix
    assert not found(EURO, "cluster=g5_12xl", *problem.fix.split())


def test_a_gpu_whose_images_are_too_old_is_answered_with_another(tmp_path: Path) -> None:
    (problem,) = found(EURO, "cluster=p3_16xl")
    assert problem.fix.startswith("cluster=g5_12xl,") and not found(EURO, "cluster=g5_12xl")
    gone = saved(tmp_path / "m", "nezha")
    (problem,) = found(gone, "cluster=g5_12xl")
    assert "transformers=4.56.2" in problem.fix and not found(gone, *OLDER, "cluster=g5_12xl")


def test_an_architecture_without_a_classifier_has_its_like(tmp_path: Path) -> None:
    (problem,) = found(saved(tmp_path / "m", "modernbrt"), "cluster=g5_12xl")
    assert "no classifier of texts; did you mean modernbert?" in problem.what
    own = "cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    assert not found(tmp_path / "m", "cluster=g5_12xl", "cluster.image.lane=pinned", own)


@pytest.mark.parametrize(
    ("overrides", "fix"),
    [
        (["cluster=p3_16xl"], "training.precision=fp32"),
        (["cluster=g5_12xl", "training.precision=fp16"], "training.precision=bf16"),
        (["cluster=g5_12xl"], ""),
        (["cluster=p3_16xl", "training.precision=fp32"], ""),
    ],
)
def test_a_model_that_breaks_in_fp16_is_told(overrides: list[str], fix: str) -> None:
    problems = found("microsoft/mdeberta-v3-base", *overrides)
    assert [(one.fix, one.severity) for one in problems] == [(fix, Severity.warning)] * bool(fix)
    assert not problems or not found("microsoft/mdeberta-v3-base", *overrides, fix)


def test_lora_needs_an_image_that_peft_runs_with() -> None:
    lora = ["model=xlmr_base", "training.lora.rank=8", "lr=2e-4"]
    oldest = ["cluster.image.lane=pinned", "cluster.image.transformers=4.36.0",
              "cluster.image.pytorch=2.1.0", "cluster.image.python=py310"]  # fmt: skip
    (problem,) = ARCHITECTURES.run(compose(*lora, "cluster=p3_16xl", *oldest))
    assert problem.check == "lora-image" and "transformers 4.36.0" in problem.what
    assert not ARCHITECTURES.run(compose(*lora, "cluster=p3_16xl", *problem.fix.split()))
    old = ["cluster=p3_16xl", "cluster.distribution=smdistributed"]
    (problem,) = ARCHITECTURES.run(compose(*lora, *old))
    assert problem.fix == "cluster=g5_12xl, or training.lora.rank=null"
    assert not ARCHITECTURES.run(compose(*lora, "cluster=g5_12xl"))


def needing_code(*overrides: str) -> list[Problem]:
    problems = check_job(job_of(compose(*overrides)))
    return [one for one in problems if one.check == "model-needs-code"]


def test_code_of_a_repository_is_told_before_a_machine_is_paid(tmp_path: Path) -> None:
    (problem,) = needing_code("model=gte_multilingual_base")
    assert "NewConfig" in problem.what
    assert "never run" in problem.what and "code.builder" in problem.fix


def test_code_that_has_become_transformers_own_is_not_missed(tmp_path: Path) -> None:
    """EuroBERT's repositories still name theirs."""
    problems = {}
    for name in ("EuroBertConfig", "MyConfig"):
        folder = saved(tmp_path / name, "eurobert")
        named = {"AutoConfig": f"configuration_eurobert.{name}"}
        settings = {"model_type": "eurobert", "auto_map": named}
        (folder / "config.json").write_text(json.dumps(settings))
        problems[name] = needing_code("model=pretrained", f"model.name_or_path={folder}")
        assert not found(folder, "cluster=g5_12xl")
    assert not problems["EuroBertConfig"] and problems["MyConfig"]
