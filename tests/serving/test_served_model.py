"""A model that serves itself: what its folder holds, what it answers, what it refuses."""

from __future__ import annotations

import ast
import errno
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from served import LABELS, job_of_model, make_model
from test_architecture import PACKAGE, imports, modules

from lingotune.cli import package
from lingotune.config.problems import ConfigError
from lingotune.config.schema import CodeConfig
from lingotune.evaluation import classifier
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.evaluation.metrics import probabilities_of
from lingotune.hub.allowlist import contents_of
from lingotune.runs.decision import Decision
from lingotune.runs.decision_file import write_decision
from lingotune.runs.folder import folders_in
from lingotune.serving import code_folder
from lingotune.serving.code_folder import PROGRAM, write_code
from lingotune.serving.endpoint import NotServed, model_fn, transform_fn
from lingotune.serving.payloads import CSV, JSON, LINES, BadRequest
from lingotune.serving.served_model import ServedModel, model_digest
from lingotune.training.finishing import take_inventory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a model that serves itself."""
    model = make_model(tmp_path_factory.mktemp("run") / "model")
    write_code(model, job_of_model())
    return model


@pytest.fixture(scope="module")
def model(folder: Path) -> ServedModel:
    return model_fn(str(folder))


def asked(model: ServedModel, request: object, kind: str = JSON) -> list[dict[str, Any]]:
    """Ask with JSON; returns the predictions."""
    body = json.dumps(request) if kind == JSON else str(request)
    answer = json.loads(transform_fn(model, body.encode(), kind, JSON))
    assert answer["model"] == model.digest
    return list(answer["predictions"])


def test_a_model_that_cannot_be_loaded_is_not_packed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="the model cannot be loaded"):
        package.main([str(tmp_path)])
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_what_the_machine_lacks_is_no_fault_of_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trains it again for a library that memory is too small for, or too many open files."""
    errors = {
        ImportError("libtorch_cpu.so: failed to map segment from shared object"): "enough memory",
        OSError(errno.EMFILE, "Too many open files", "model.safetensors"): "too many files",
    }
    for error, told in errors.items():
        with monkeypatch.context() as patch:
            patch.setattr(classifier, "_load", Mock(side_effect=error))
            with pytest.raises(ConfigError, match=told) as caught:
                Classifier(trained_model(folder))
        assert "train" not in caught.value.problems[0].fix


def test_answers_are_those_of_the_classifier_to_the_last_digit(
    model: ServedModel, folder: Path
) -> None:
    texts = ["gut", "schlecht, a b!", "x " * 40]
    shares = probabilities_of(Classifier(trained_model(folder)).logits(texts))
    found = asked(model, texts)
    assert [[one["probabilities"][name] for name in LABELS] for one in found] == shares.tolist()
    assert [one["label"] for one in found] == [LABELS[n] for n in shares.argmax(axis=1)]


def test_texts_are_prepared_as_for_the_training(model: ServedModel) -> None:
    """In one Unicode form, with their titles, whatever their column is called."""
    whole, *same = asked(
        model,
        ["good\né", "good\ne\u0301", {"body": "é", "head": "good"}, {"text": "é", "head": "good"}],
    )
    assert all(one["probabilities"] == whole["probabilities"] for one in same)
    (alone,) = asked(model, {"inputs": {"body": "é", "head": " "}})
    assert alone["probabilities"] == asked(model, "é")[0]["probabilities"]


def test_ids_are_kept_and_rows_that_are_wrong_get_an_error(model: ServedModel) -> None:
    lines = '{"body": "gut", "id": 7}\n{"body": "", "id": "b"}\n"x"'
    good, bad, bare = asked(model, lines, LINES)
    assert (good["id"], bad, "id" in bare) == (
        7,
        {"id": "b", "error": "has no text in 'body'"},
        False,
    )
    answer = transform_fn(model, "id,inputs\n1,gut\n", CSV, CSV)
    assert (
        answer.splitlines()[0]
        == "id,label,probability_bad,probability_fair,probability_good,error,model"
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('["", "a", "\\ud800", "a\\u0000"]',
         r"inputs\[0\] has no text; inputs\[2\] has half a surrogate.*; inputs\[3\] has a NUL"),
        ('{"inputs": {"other": "a"}}', r"inputs\[0\] has no column 'body'; its columns: 'other'"),
        ('{"inputs": {"text": " "}}', r"inputs\[0\] has no text in 'text'"),
        ('{"inputs": {"body": 5}}', "has no text, but 5"),
        (json.dumps("a" * 1_000_001), "has 1000001 characters, at most 1000000"),
    ],
)  # fmt: skip
def test_texts_that_cannot_be_used_are_all_named(body: str, told: str, model: ServedModel) -> None:
    with pytest.raises(BadRequest, match=told):
        transform_fn(model, body, JSON, None)


# --- the folder ---------------------------------------------------------------------------------


def reached(module: str, found: dict[str, None], *, lazy: bool) -> dict[str, None]:
    """Collect the modules that one imports, at once or inside functions as well."""
    if module not in found:
        found[module] = None
        path = modules()[module]
        names = {*(imports(path) if lazy else names_at_once(path)), module.rpartition(".")[0]}
        for other in names & modules().keys():
            reached(other, found, lazy=lazy)
    return found


def names_at_once(path: Path) -> Iterator[str]:
    """Full names of what a module imports as it is imported."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_the_folder_holds_all_that_the_endpoint_may_import(folder: Path) -> None:
    for module in reached("lingotune.serving.endpoint", {}, lazy=True):
        copy = folder / "code" / "lingotune" / modules()[module].relative_to(PACKAGE)
        assert copy.read_bytes() == modules()[module].read_bytes()


def test_the_endpoint_starts_with_what_its_image_has() -> None:
    """The Hugging Face inference image has no OmegaConf; YAML is read by nobody there."""
    for module in reached("lingotune.serving.endpoint", {}, lazy=False):
        roots = {name.partition(".")[0] for name in names_at_once(modules()[module])}
        assert not roots & {"omegaconf", "yaml", "pyarrow", "hydra", "boto3"}, module
    assert "omegaconf" in imports(modules()["lingotune.config.jobfile"])


def test_a_finished_run_serves_itself_and_the_code_is_none_of_its_results(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """finished.json is the same whatever version serves the model, and the hub gets none of it."""
    model = Path(shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("code")))
    take_inventory(folders_in(tmp_path), job_of_model())
    assert asked(model_fn(str(model)), "gut")
    files = json.loads((tmp_path / "finished.json").read_text())["files"]
    assert "model/config.json" in files and not [name for name in files if "code" in name]
    published, left = contents_of(model)
    assert "model.safetensors" in published and {name.partition("/")[0] for name in left} == {
        "code"
    }
    assert capsys.readouterr().out == ""


def test_a_run_whose_own_code_is_gone_is_finished_all_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "model", ignore=shutil.ignore_patterns("code"))
    code = CodeConfig(file="gone.py", sha256="0" * 64, builder="build")
    take_inventory(folders_in(tmp_path), replace(job_of_model(), code=code))
    assert "no endpoint can serve it as it is: " in capsys.readouterr().out
    assert (tmp_path / "finished.json").exists() and not [*tmp_path.rglob("*code*")]


def test_the_code_is_replaced_as_a_whole(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "code" / "left.py").touch()
    write_code(copy, None)
    names = sorted(path.name for path in (copy / "code").iterdir())
    assert names == [PROGRAM, "lingotune", "packed.json"]
    assert json.loads((copy / "code" / "packed.json").read_text())["job"] is None
    assert asked(model_fn(str(copy)), "gut")


def test_an_export_says_what_its_endpoint_installs(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    write_code(tmp_path, None)
    assert (tmp_path / "code" / code_folder.REQUIREMENTS).read_text() == "onnxruntime\n"


def damage(folder: Path, name: str) -> None:
    """Change a bit in the middle of a file."""
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_model_that_is_not_the_one_that_was_packed_is_not_served(
    name: str, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    damage(copy, name)
    with pytest.raises(
        NotServed, match=r"1 problem(.|\n)*(another model than was packed|cannot be)"
    ):
        model_fn(str(copy))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "packed.json"),
        ("{}", "lingotune is missing"),
        ('{"lingotune": "9", "model": "0", "job": 3}', "job"),
    ],
)
def test_a_packed_file_that_cannot_be_read_is_told(
    text: str, told: str, folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "code" / "packed.json").write_text(text)
    with pytest.raises(NotServed, match=told):
        model_fn(str(copy))


def test_the_digest_follows_from_what_answers_follow_from(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    before = model_digest(copy)
    for name in ("README.md", "metrics.json", "job.yaml"):
        (copy / name).write_text("other")
    assert model_digest(copy) == before
    (copy / "decision.json").write_text("{}")
    assert model_digest(copy) != before


def test_a_decision_that_was_fitted_decides_here_too_by_language(
    folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    offsets = {name: 100.0 * (name == LABELS[0]) for name in LABELS}
    german = {name: 100.0 * (name == LABELS[2]) for name in LABELS}
    write_decision(Decision(decide="macro_f1", offsets=offsets, languages={"de": german}), copy)
    write_code(copy, job_of_model())
    model = model_fn(str(copy))
    found = asked(model, ["gut", {"body": "gut", "language": "de"}])
    assert [one["label"] for one in found] == [LABELS[0], LABELS[2]]
    assert found[0]["probabilities"] == found[1]["probabilities"]
