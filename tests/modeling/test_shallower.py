"""Students of some of a teacher's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import ARCHITECTURES, batch, small
from transformers import AutoModelForSequenceClassification

from lingotune.config.problems import ConfigError
from lingotune.modeling.load import layer_list
from lingotune.modeling.shallower import evenly_spaced, write_shallower

FOUR = {"distilbert": {"n_layers": 4}}


def test_layers_are_evenly_spaced_from_the_first_to_the_last() -> None:
    assert evenly_spaced(12, 6) == [0, 2, 4, 7, 9, 11], "as DistilBERT's"
    assert evenly_spaced(6, 3) == [0, 2, 5]
    assert evenly_spaced(2, 1) == [0]
    for layers in range(2, 30):
        for count in range(1, layers):
            assert len(set(evenly_spaced(layers, count))) == count


def saved(architecture: str, folder: Path) -> Any:
    model = small(architecture, **FOUR.get(architecture, {"num_hidden_layers": 4}))
    model.save_pretrained(str(folder))
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_student_is_the_teacher_without_the_other_layers(
    architecture: str, tmp_path: Path
) -> None:
    teacher = saved(architecture, tmp_path / "teacher").eval()
    assert write_shallower(tmp_path / "teacher", 2, tmp_path / "student") == [0, 3]
    student = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "student")).eval()
    assert student.config.num_hidden_layers == 2
    assert (tmp_path / "student/tokenizer.json").read_text() == "{}"
    layers, mine = layer_list(teacher), layer_list(student)
    assert layers is not None and mine is not None
    for place, layer in zip((0, 3), mine):
        of_teacher = layers[place].state_dict()
        for name, value in layer.state_dict().items():
            torch.testing.assert_close(value, of_teacher[name], rtol=0, atol=0)
    with torch.no_grad():
        assert torch.isfinite(student(**batch()).logits).all()


def test_a_damaged_teacher_is_told(tmp_path: Path) -> None:
    saved("bert", tmp_path / "teacher")
    (tmp_path / "teacher/model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ConfigError, match="teacher: the model cannot be loaded"):
        write_shallower(tmp_path / "teacher", 2, tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_a_student_has_fewer_layers(tmp_path: Path) -> None:
    saved("bert", tmp_path / "teacher")
    for count in (0, 4, 5):
        with pytest.raises(ConfigError, match="the teacher has 4 layers") as raised:
            write_shallower(tmp_path / "teacher", count, tmp_path / "student")
        assert raised.value.problems[0].fix == "student=layers:2"
    assert not (tmp_path / "student").exists()
