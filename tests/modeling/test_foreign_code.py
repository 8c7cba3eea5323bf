"""Code that comes with a model's files is never run, and nothing is asked on standard input."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from lingotune.config.problems import ConfigError
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.foreign_code import conversion
from lingotune.data.prepared.tokenizer import load_tokenizer, open_tokenizer, wordpiece_tokenizer
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.launch.plan.base_model import model_faults
from lingotune.modeling.load import load_model

PIECES = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "good": 5}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small classifier with its tokenizer, in safetensors."""
    config = BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    model.save_pretrained(str(tmp_path / "m"), safe_serialization=True)
    wordpiece_tokenizer(PIECES, 16).save_pretrained(str(tmp_path / "m"))
    return tmp_path / "m"


def with_code(folder: Path, file: str, kind: str, **changes: object) -> Path:
    """Name a class of the folder's own, whose module leaves a mark where it is imported."""
    mark = folder / "executed"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: ...\n")
    path = folder / file
    settings = json.loads(path.read_text())
    named = ["evil.Evil", None] if kind == "AutoTokenizer" else "evil.Evil"
    path.write_text(json.dumps({**settings, "auto_map": {kind: named}, **changes}))
    return mark


CODE = {
    "a config": ("config.json", "AutoConfig", {"model_type": "evil"}),
    "a model": ("config.json", "AutoModelForSequenceClassification", {}),
    "a tokenizer": ("tokenizer_config.json", "AutoTokenizer", {"tokenizer_class": "Evil"}),
}
LOADS: dict[str, Callable[[Path], object]] = {
    "training": lambda m: load_model(ModelConfig("m", str(m)), ["bad", "good"], None, 8),
    "its tokenizer": lambda m: load_tokenizer(ModelConfig("m", str(m))),
    "prediction": lambda m: Classifier(trained_model(m)),
}


@pytest.mark.parametrize("code", CODE.values(), ids=list(CODE))
@pytest.mark.parametrize("load", LOADS.values(), ids=list(LOADS))
def test_code_of_a_folder_is_refused_in_one_sentence(
    saved: Path,
    code: tuple[str, str, dict[str, object]],
    load: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file, kind, changes = code
    mark = with_code(saved, file, kind, **changes)
    monkeypatch.setattr("builtins.input", lambda *asked: pytest.fail(f"asked: {asked}"))
    with pytest.raises(ConfigError) as caught:
        load(saved)
    (problem,) = caught.value.problems
    assert (
        problem.what == f"needs code of its own, evil.Evil (auto_map in {file}), which is never run"
    )
    assert not mark.exists()
    assert [p.what for p in model_faults(ModelConfig("m", str(saved)))] == [problem.what]


def test_the_library_itself_runs_no_code_of_a_tokenizer(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a check were missing, no answer on standard input would let it."""
    mark = with_code(saved, *CODE["a tokenizer"][:2], **CODE["a tokenizer"][2])
    monkeypatch.setattr("builtins.input", lambda *asked: "y")
    with suppress(ValueError):
        open_tokenizer(str(saved))
    assert not mark.exists()


@pytest.mark.parametrize("load", [LOADS["training"], LOADS["prediction"]])
def test_pickled_weights_are_refused_and_converted_without_running_them(
    saved: Path, load: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = load_file(str(saved / "model.safetensors"))
    torch.save(weights, saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as caught:
        load(saved)
    (problem,) = caught.value.problems
    assert "holds its weights as a pickle, pytorch_model.bin" in problem.what
    assert problem.fix == conversion(saved)
    _, option, program, *arguments = shlex.split(problem.fix)
    assert option == "-c"
    monkeypatch.setattr("sys.argv", ["-c", *arguments])
    exec(program, {})  # importing torch anew would take seconds
    assert load(saved)
    again = load_file(str(saved / "model.safetensors"))
    assert all(torch.equal(again[name], value) for name, value in weights.items())
