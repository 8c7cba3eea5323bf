"""Heads of classifiers that are trained further: their rows go to the classes of their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from lingotune.config.problems import ConfigError
from lingotune.config.schema import ModelConfig
from lingotune.modeling.class_names import rows_by_name
from lingotune.modeling.load import load_model

IDS = torch.tensor([[2, 7, 11, 23, 3], [2, 19, 31, 5, 3]])
SMALL = {
    "vocab_size": 60, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 8, "max_position_embeddings": 32, "pad_token_id": 1,
}  # fmt: skip
ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": SMALL,
    "XLMRoberta": SMALL,
    "Electra": SMALL | {"embedding_size": 8},
    "DebertaV2": SMALL | {"pooler_hidden_size": 8},
    "DistilBert": {"vocab_size": 60, "dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2},
    "MPNet": SMALL,
    "ModernBert": SMALL | {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "XLNet": {"vocab_size": 60, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8},
    "GPT2": {"vocab_size": 60, "n_embd": 8, "n_layer": 1, "n_head": 2, "pad_token_id": 1},
}  # fmt: skip
KNOWN = ["negative", "neutral", "positive"]
Parts = dict[str, Any]


def saved(folder: Path, labels: list[str], kind: str = "Bert", **more: Any) -> ModelConfig:
    """Save a tiny classifier of that kind with a head that no initialisation gives."""
    if not hasattr(transformers, f"{kind}Config"):
        pytest.skip(f"this transformers has no {kind}")
    torch.manual_seed(1)
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    config = getattr(transformers, f"{kind}Config")(**{**ENCODERS[kind], **names, **more})
    model = AutoModelForSequenceClassification.from_config(config)
    for value in model.parameters():
        if value.shape[0] == len(labels):
            torch.nn.init.normal_(value.data, mean=3.0)
    model.save_pretrained(str(folder))
    return ModelConfig("model", str(folder))


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


def load(model: ModelConfig, labels: list[str]) -> tuple[Any, str]:
    """Load it as a rank does: from the seed of its job."""
    transformers.set_seed(42)
    loaded, line = load_model(model, labels, None, 16)
    assert line is not None
    assert loaded.config.id2label == dict(enumerate(labels))
    assert logits(loaded).shape == (2, len(labels))
    return loaded, line


def reference(model: ModelConfig) -> torch.Tensor:
    return logits(AutoModelForSequenceClassification.from_pretrained(model.name_or_path))


@pytest.mark.parametrize("kind", ENCODERS)
def test_rows_of_any_kind_of_model_follow_the_names(tmp_path: Path, kind: str) -> None:
    model = saved(tmp_path, KNOWN, kind)
    found, line = load(model, ["positive", "negative", "neutral"])
    torch.testing.assert_close(logits(found), reference(model)[:, [2, 0, 1]])
    assert line == (
        "head: kept for positive, negative, neutral, by name:"
        " the model's order is negative, neutral, positive"
    )


def test_a_head_for_the_same_classes_stays_bit_for_bit(tmp_path: Path) -> None:
    model = saved(tmp_path, KNOWN)
    found, line = load(model, KNOWN)
    assert torch.equal(logits(found), reference(model))
    assert line == "head: kept for negative, neutral, positive"


@pytest.mark.parametrize("labels", [["politics", "sports", "weather"], ["politics", "sports"]])
def test_a_head_for_other_classes_is_left_out(tmp_path: Path, labels: list[str]) -> None:
    model = saved(tmp_path, KNOWN)
    found, line = load(model, labels)
    again, _ = load(model, labels)
    assert found.classifier.weight.abs().max() < 0.5  # the saved head lies around 3
    assert found.classifier.bias.abs().max() < 0.5
    assert torch.equal(logits(found), logits(again))  # every rank makes the same
    assert line == (
        f"head: new for {', '.join(labels)}; the model's is for negative, neutral, positive"
    )


@pytest.mark.parametrize("labels", [["positive", "mixed", "negative"], ["positive", "negative"],
                                    ["angry", "negative", "neutral", "positive"]])  # fmt: skip
def test_classes_that_the_model_knows_keep_their_rows(tmp_path: Path, labels: list[str]) -> None:
    model = saved(tmp_path, KNOWN)
    found, line = load(model, labels)
    new = [place for place, name in enumerate(labels) if name not in KNOWN]
    kept = [place for place, name in enumerate(labels) if name in KNOWN]
    rows = [KNOWN.index(labels[place]) for place in kept]
    torch.testing.assert_close(logits(found)[:, kept], reference(model)[:, rows])
    for place in new:
        assert found.classifier.weight[place].abs().max() < 0.5
        assert f"; new for {labels[place]}" in line
    gone = [name for name in KNOWN if name not in labels]
    assert line.endswith(f"; without the model's {', '.join(gone)}") == bool(gone)


def test_names_that_differ_by_case_and_blanks_are_the_same(tmp_path: Path) -> None:
    model = saved(tmp_path, ["Negative ", "Very Positive"])
    found, line = load(model, ["very  positive", "negative"])
    torch.testing.assert_close(logits(found), reference(model)[:, [1, 0]])
    assert "takes 'Very Positive' as 'very  positive', 'Negative ' as 'negative'" in line


def test_classes_without_names_are_told(tmp_path: Path) -> None:
    model = saved(tmp_path, ["LABEL_0", "LABEL_1", "LABEL_2"])
    found, line = load(model, KNOWN)
    assert found.classifier.weight.abs().max() < 0.5
    assert line == (
        "head: new for negative, neutral, positive; the model's classes have no names"
        " (LABEL_0, LABEL_1, LABEL_2): id2label in its config.json can give them"
    )
    same, line = load(model, ["LABEL_0", "LABEL_1", "LABEL_2"])
    assert torch.equal(logits(same), reference(model))


def test_an_encoder_without_a_head_gets_a_new_one(tmp_path: Path) -> None:
    torch.manual_seed(1)
    transformers.BertModel(transformers.BertConfig(**SMALL)).save_pretrained(str(tmp_path))
    model = ModelConfig("encoder", str(tmp_path))
    _, line = load(model, KNOWN)
    assert line == "head: new for negative, neutral, positive; the model brings none"


@pytest.mark.parametrize("wanted", [KNOWN[::-1], KNOWN[:2]])
def test_a_head_that_its_config_contradicts_is_left_out(tmp_path: Path, wanted: list[str]) -> None:
    model = saved(tmp_path, KNOWN)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = {"0": "negative", "1": "positive"}
    config["label2id"] = {"negative": 0, "positive": 1}
    path.write_text(json.dumps(config))
    found, line = load(model, wanted)
    assert found.classifier.weight.abs().max() < 0.5
    assert "has other rows than its config.json names: negative, positive" in line


def test_a_head_of_another_task_trains_on_one_class_for_each_text(tmp_path: Path) -> None:
    model = saved(tmp_path, KNOWN, problem_type="multi_label_classification")
    found, _ = load(model, KNOWN)
    found(input_ids=IDS, labels=torch.tensor([0, 2])).loss.backward()
    assert found.config.problem_type == "single_label_classification"


def rewritten(model: ModelConfig, change: Callable[[Parts], Parts]) -> None:
    """Change the content of a model's config.json."""
    path = Path(str(model.name_or_path), "config.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def kept_weights(model: ModelConfig, renamed: Callable[[str], str | None]) -> None:
    """Rename the weights of a saved model; None leaves one out."""
    path = Path(str(model.name_or_path), "model.safetensors")
    if path.exists():
        weights = load_file(str(path))
    else:  # transformers 4
        weights = torch.load(path.with_name("pytorch_model.bin"))
        path.with_name("pytorch_model.bin").unlink()
    found = {renamed(name): value for name, value in weights.items()}
    save_file({k: v for k, v in found.items() if k}, str(path), metadata={"format": "pt"})


UNNAMED = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
BY_LABEL = {"negative": 0, "neutral": 1, "positive": 2}


@pytest.mark.parametrize(
    ("changed", "remark"),
    [
        ({"num_labels": 5}, ""),  # transformers would call them LABEL_0 to LABEL_4
        ({"id2label": UNNAMED, "label2id": BY_LABEL}, ""),
        ({"id2label": None, "label2id": BY_LABEL}, ""),
        ({"label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}}, ""),
        (
            {"label2id": {"positive": 0, "neutral": 1, "negative": 2}},
            "; its config.json says otherwise in label2id, which is left out",
        ),
        (
            {"problem_type": "multi_label_classification"},
            "; it was trained to give a text several classes",
        ),
    ],
)
def test_names_count_wherever_the_config_has_them(
    tmp_path: Path, changed: Parts, remark: str
) -> None:
    model = saved(tmp_path, KNOWN)
    rewritten(model, lambda config: config | changed)
    found, line = load(model, KNOWN[::-1])
    kept = AutoModelForSequenceClassification.from_pretrained(
        str(tmp_path), num_labels=3, problem_type=None
    )
    torch.testing.assert_close(logits(found), logits(kept)[:, [2, 1, 0]])
    assert line == (
        "head: kept for positive, neutral, negative, by name:"
        f" the model's order is negative, neutral, positive{remark}"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"id2label": {"1": "negative", "2": "neutral", "3": "positive"}},
            "the model's classes have the ids 1, 2, 3, not 0 to 2",
        ),
        (
            {"id2label": {"0": "negative", "1": "neutral", "4": "positive"}},
            "the model's classes have the ids 0, 1, 4, not 0 to 2",
        ),
        ({"problem_type": "regression"}, "the model's is for one number"),
        (
            {"architectures": ["BertForTokenClassification"]},
            "the model's is for TokenClassification",
        ),
        ({"architectures": ["BertForMultipleChoice"]}, "the model's is for MultipleChoice"),
    ],
)
def test_a_head_that_is_not_for_these_classes_is_left_out(
    tmp_path: Path, changed: Parts, said: str
) -> None:
    model = saved(tmp_path, KNOWN)
    rewritten(model, lambda config: config | changed)
    for wanted in (KNOWN, KNOWN[:2]):
        found, line = load(model, wanted)
        assert found.classifier.weight.abs().max() < 0.5
        assert line == f"head: new for {', '.join(wanted)}; {said}"


def test_a_head_for_one_number_is_left_out(tmp_path: Path) -> None:
    _, line = load(saved(tmp_path, ["score"]), ["score", "other"])
    assert line == "head: new for score, other; the model's is for one number"


@pytest.mark.parametrize("damaged", [{"id2label": KNOWN}, {"id2label": {"a": "negative"}}])
def test_a_damaged_list_of_classes_is_an_error(tmp_path: Path, damaged: Parts) -> None:
    model = saved(tmp_path, KNOWN)
    rewritten(model, lambda config: config | damaged)
    with pytest.raises(ConfigError, match=r"id2label in its config\.json is no mapping"):
        load(model, KNOWN)


@pytest.mark.parametrize(
    ("renamed", "lack"),
    [
        (lambda name: f"module.{name}", "21 of the 23 parameters"),
        (lambda name: f"_orig_mod.{name}", "they hold _orig_mod.bert."),
        (lambda name: name if "classifier" in name else None, "21 of the 23 parameters"),
        (lambda name: None if "self.query.weight" in name else name, "attention.self.query.weight"),
        (lambda name: None if "word_embeddings" in name else name, "1 of the 23 parameters"),
    ],
)
def test_weights_without_a_part_of_the_encoder_are_refused(
    tmp_path: Path, renamed: Callable[[str], str | None], lack: str
) -> None:
    """Those of DataParallel and torch.compile, e.g.: the model would start from random weights."""
    model = saved(tmp_path, KNOWN)
    kept_weights(model, renamed)
    with pytest.raises(
        ConfigError, match=f"{lack}|is corrupted"
    ):  # transformers 4 itself says that
        load(model, KNOWN)


@pytest.mark.parametrize(
    ("kind", "gone"),
    [("Bert", "classifier.bias"), ("Bert", "bert.pooler.dense.bias"),
     ("DistilBert", "pre_classifier.bias"), ("XLMRoberta", "classifier.dense.weight")],
)  # fmt: skip
def test_a_head_of_which_a_part_is_missing_is_left_out(
    tmp_path: Path, kind: str, gone: str
) -> None:
    model = saved(tmp_path, KNOWN, kind)
    kept_weights(model, lambda name: None if name == gone else name)
    found, line = load(model, KNOWN)
    last = getattr(found.classifier, "out_proj", found.classifier)
    assert last.weight.abs().max() < 0.5  # the saved head lies around 3
    assert line == f"head: new for negative, neutral, positive; the model's lacks {gone}"


def test_layers_that_the_config_leaves_out_are_told(tmp_path: Path) -> None:
    model = saved(tmp_path, KNOWN, num_hidden_layers=2)
    rewritten(model, lambda config: config | {"num_hidden_layers": 1})
    _, line = load(model, KNOWN)
    head, left_out = line.splitlines()
    assert head == "head: kept for negative, neutral, positive"
    assert left_out.startswith(
        "left out: 16 weights of layers that its config.json does not describe"
    )


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path: Path) -> None:
    model = saved(tmp_path, KNOWN)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 16}))
    with pytest.raises(ConfigError, match=r"intermediate\.dense\.bias is 8 there, 16 by the file"):
        load(model, KNOWN)


def test_looking_for_the_head_draws_no_random_number(tmp_path: Path) -> None:
    from lingotune.modeling.head import class_axes

    model = AutoModelForSequenceClassification.from_pretrained(saved(tmp_path, KNOWN).name_or_path)
    before = torch.get_rng_state()
    assert class_axes(model) == {"classifier.weight": 0, "classifier.bias": 0}
    assert torch.equal(torch.get_rng_state(), before)


def test_two_classes_of_one_name_are_nobodys() -> None:
    assert rows_by_name(["a", "a", "b"], ["a", "b"]) == [None, 2]
    assert rows_by_name(["Good", "good"], ["good", "GOOD"]) == [1, 0]
    assert rows_by_name(["Good", "GOOD"], ["good"]) == [None]
    assert rows_by_name(["LABEL_0"], ["negative"]) == [None]
