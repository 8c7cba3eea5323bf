"""Pairs of texts from the sample to an answer, with a model that has token types, as BERT has."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, compose
from pyarrow import parquet
from safetensors.torch import load_file
from segmented import segmented
from transformers import pipeline

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, SampleConfig
from lingotune.data.loader.store import Store
from lingotune.data.sources.sample import sample_rows
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.evaluation.evaluate import evaluate
from lingotune.runs.folder import read_data_folder
from lingotune.serving.code_folder import write_code
from lingotune.serving.endpoint import model_fn, transform_fn
from lingotune.serving.export import export
from lingotune.serving.words import words_that_mattered
from lingotune.training import run as worker

sys.path.insert(0, str(ROOT / "tests" / "modeling"))
from small_models import small

SMALL = ["data=sample_pairs", "model=pretrained", "lr=1e-3", "per_device_bs=8", "training.max_steps=6",
         "training.save_steps=2", "training.precision=fp32", "data.sample.train_rows=16",
         "data.sample.validation_rows=5", "data.sample.test_rows=5", "evaluation.resamples=0",
         "data.max_length=24", "baseline=none"]  # fmt: skip
PAIRS = [("good", "bad"), ("bad", "good"), ("good " * 40, "very good"), ("good", "very " * 40)]


def job_on(model: Path) -> JobConfig:
    return job_of(compose(*SMALL, f"model.name_or_path={model}"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that has not been trained."""
    rows = sample_rows(SampleConfig(train_rows=30), "train")
    folder, tokenizer = (
        tmp_path_factory.mktemp("base"),
        segmented([row["review_body"] for row in rows]),
    )
    small("bert", len(tokenizer)).base_model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    return worker.run(job_on(base), run_dir=str(home / "run"), prepared_dir=str(home / "prepared"))


@pytest.fixture(scope="module")
def prepared(finished: Path) -> Path:
    found = read_data_folder(finished)
    assert found is not None
    return found


def logits_of(run: Path, pairs: list[tuple[str, str]], **given: Any) -> Any:
    classifier = Classifier(trained_model(run), **given)
    return classifier.logits([f"{first}\0{second}" for first, second in pairs])


def test_the_shards_hold_both_texts_and_where_the_second_begins(prepared: Path) -> None:
    store = Store(prepared)
    table = parquet.read_table(prepared / store.manifest.splits["test"].shards[0].file).to_pylist()
    assert len(table) == 30 and all(len(row["input_ids"]) <= 24 for row in table)
    split = store.split("test")
    texts = store.texts("test", split)
    assert texts == [f"{row['text']}\0{row['text_pair']}" for row in table]
    batch = split.batch(range(30), 8)
    types, mask = batch["token_type_ids"], batch["attention_mask"]
    assert types.shape == mask.shape and not (types > mask).any()
    for row, of in zip(table, types):
        tokens = len(row["input_ids"])
        assert of.tolist() == [0] * row["first"] + [1] * (tokens - row["first"]) + [0] * (
            len(of) - tokens
        )
        assert 0 < row["first"] < tokens
    chosen = split.select([3, 1])
    assert (chosen.batch([0])["token_type_ids"] == types[3:4, : chosen.lengths[0]]).all()


def test_segments_are_seen_by_the_model(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(trained_model(finished))
    one, other = classifier.logits(["good\0bad"]), classifier.logits(["bad\0good"])
    assert not np.array_equal(one, other)
    monkeypatch.setattr(classifier.model, "has_segments", False)
    assert not np.allclose(one, classifier.logits(["good\0bad"]), rtol=1e-6)


def test_predictions_are_those_of_transformers_pipeline(finished: Path) -> None:
    serve: Any = pipeline("text-classification", str(finished / "model"), device="cpu", top_k=None)
    logits = torch.tensor(logits_of(finished, PAIRS)).softmax(-1).tolist()
    for (first, second), shares in zip(PAIRS, logits):
        found = serve({"text": first, "text_pair": second}, truncation=True)
        by_name = {one["label"]: one["score"] for one in found}
        assert by_name == pytest.approx(dict(zip(trained_model(finished).labels, shares)), abs=1e-5)


def test_the_runs_own_scores_come_again(finished: Path, tmp_path: Path) -> None:
    done = evaluate(str(finished), output=str(tmp_path))
    trained = json.loads((finished / "metrics.json").read_text())["test"]["overall"]
    assert [list(row) for row in done.results.overall.confusion] == trained["confusion"]
    assert done.results.overall.rows == 30


def test_a_killed_run_goes_on_to_the_same_weights(
    finished: Path, base: Path, tmp_path: Path
) -> None:
    again = tmp_path / "run"
    shutil.copytree(finished, again)
    shutil.rmtree(again / "checkpoints" / "checkpoint-6")
    shutil.rmtree(again / "model")
    (again / "metrics.json").unlink()
    home = finished.parent / "prepared"
    worker.run(job_on(base), run_dir=str(again), prepared_dir=str(home))
    first, second = (load_file(run / "model" / "model.safetensors") for run in (finished, again))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.slow
def test_the_export_takes_token_types(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    target = tmp_path / "onnx"
    export(trained_model(finished), target, quantize=False, max_loss=0.0, tell=lambda line: None)
    trained = trained_model(target, job=trained_model(finished).job)
    assert Classifier(trained).model.has_segments
    found = Classifier(trained).logits([f"{first}\0{second}" for first, second in PAIRS])
    assert np.allclose(found, logits_of(finished, PAIRS), atol=1e-4)


# --- answers --------------------------------------------------------------------------------------


def called(capsys: pytest.CaptureFixture[str], *typed: str) -> tuple[int, str, str]:
    code = exit_code_of(lambda: main(typed))
    return (code, *capsys.readouterr())


def test_pairs_on_the_command_line_and_in_files(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, csv = str(finished), tmp_path / "pairs.csv"
    code, out, _ = called(
        capsys, "predict", run, "good", "bad", "--pair=bad", "--pair=ok", "--json"
    )
    typed = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [(one["text"], one["text_pair"]) for one in typed] == [
        ("good", "bad"), ("bad", "ok"),
    ]  # fmt: skip
    csv.write_text("n,review_body,other\n1,good,bad\n2,bad,ok\n")
    columns = ["--pair-column=other", f"--output={tmp_path / 'out.jsonl'}"]
    assert called(capsys, "predict", run, f"--file={csv}", *columns)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["n"] for row in rows] == ["1", "2"]
    for row, one in zip(rows, typed):
        assert row["predicted"] == one["label"]
        assert row["probability_fits"] == one["probabilities"]["fits"]
    lines = tmp_path / "pairs.txt"
    lines.write_text("good\tbad\nbad\tok\n")
    code, out, _ = called(capsys, "predict", run, f"--file={lines}", "--json")
    assert code == 0 and [json.loads(line) for line in out.splitlines()] == typed
    code, out, _ = called(capsys, "predict", run, "good", "--pair", "bad")
    assert out.endswith("  good ‖ bad\n")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["good"], "has no second text: the model classifies pairs of texts"),
        (["good", "bad", "--pair=ok"], "1 second text for 2 texts"),
        (["--pair=ok"], "1 second text for 0 texts"),
        (
            ["good", "--pair=ok", "--pair-column=x"],
            "--pair-column x\n      has no effect without --file",
        ),
        (["good", "--pair= "], "has no text"),
    ],
)
def test_what_is_no_pair_is_refused(
    typed: list[str], told: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(capsys, "predict", str(finished), *typed)
    assert code == 2 and told in err and not out


def test_other_data_has_to_be_of_pairs(finished: Path, tmp_path: Path) -> None:
    from lingotune.cli.evaluate import data_typed

    file = tmp_path / "a.jsonl"
    rows = [{"review_body": "a", "headline_is": "fits", "headline": "b", "language": "en"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows * 2))
    own = data_typed(str(finished), [f"data.path={file}", "data.columns.id=null"], ROOT / "conf")
    assert own is not None and own.columns.text_pair == "headline"
    assert evaluate(str(finished), own, output=str(tmp_path)).results.overall.rows == 2
    single = ["data=files", f"data.path={file}", "data.columns.label=headline_is"]
    with pytest.raises(ConfigError, match="no column is named for the second"):
        evaluate(str(finished), data_typed(str(finished), single, ROOT / "conf"))


def test_a_served_model_takes_pairs_as_the_pipeline_does(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(finished / "model", folder)
    write_code(folder, trained_model(finished).job)
    model = model_fn(str(folder))
    one = {"text": "good", "text_pair": "bad"}

    def asked(request: object) -> list[dict[str, Any]]:
        answer = transform_fn(model, json.dumps(request), "application/json", None)
        found: list[dict[str, Any]] = json.loads(answer)["predictions"]
        return found

    (answer,) = asked({"inputs": one})
    logits = torch.tensor(logits_of(finished, [("good", "bad")]))
    shares = model.classifier.classify(["good\0bad"])[1][0].tolist()
    assert [answer["probabilities"][name] for name in model.labels] == shares
    assert logits.shape == (1, 3)
    trained_on = {"review_body": "good", "headline": "bad", "id": "7"}
    same, also = asked([one, trained_on])
    assert same["probabilities"] == pytest.approx(answer["probabilities"])
    assert also["id"] == "7" and also["probabilities"] == pytest.approx(same["probabilities"])
    csv = transform_fn(model, "text,text_pair\ngood,bad\n", "text/csv", "text/csv")
    assert csv.splitlines()[1].startswith(answer["label"])
    for wrong, told in (
        ("good", r"inputs\[0\] has no second text"),
        ({"text": "good"}, "has no column 'headline'; its columns: 'text'"),
        ({"text": "good", "text_pair": ""}, "has no text in 'text_pair'"),
    ):
        with pytest.raises(ValueError, match=told):
            asked({"inputs": wrong})


def test_words_of_both_texts_matter(finished: Path) -> None:
    from lingotune.serving.served_model import ServedModel

    model = ServedModel(trained_model(finished))
    words, left_out = words_that_mattered(model, "good and bad\0very good")
    text = "good and bad\0very good"
    assert [text[one.start : one.end] for one in words] == ["good", "and", "bad", "very", "good"]
    assert left_out == 0
    assert [w.start for w in words_that_mattered(model, "good\0very good")[0]] == [5, 10]


def test_the_report_and_the_card_show_pairs(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert " ‖ " in page and "\\x00" not in page
    card = (finished / "model" / "README.md").read_text(encoding="utf-8")
    assert "A classifier of pairs of " in card and "tokens of a pair" in card
