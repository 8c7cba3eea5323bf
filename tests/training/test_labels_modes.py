"""Runs whose texts have several classes, or shares of them: trained, killed, scored, asked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import warm
from conftest import ROOT, compose, run
from killing import SMALL, metrics, outcome
from pyarrow import parquet

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.schema import LabelsMode
from lingotune.data.loader.store import Store
from lingotune.runs.folder import read_data_folder
from lingotune.training.checkpoints import MANIFEST
from lingotune.training.trainer import ClassifierTrainer

TOPICS = ("quality", "price", "delivery", "packaging", "design", "service")
_REFUSED = ("data.balance=", "training.label_smoothing=")
SMALLER = [word for word in SMALL if not word.startswith(_REFUSED)]
MULTI = [
    "data=sample_topics", *SMALLER, "data.balance=weights", "lr=5e-3", "epochs=3",
    "data.sample.validation_rows=30", "evaluation.select=micro_f1",
]  # fmt: skip
TEXTS = ["The delivery was slow and the price is high", "Der Preis ist gut"]


def trained(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    (folder / "job.yaml").write_bytes(dump_job(job_of(compose(*typed))))
    given = ["--job", str(folder / "job.yaml"), "--run-dir", str(folder / "run")]
    done = run(str(ROOT / "train.py"), *given, cwd=folder, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder, and what was printed."""
    folder = tmp_path_factory.mktemp("several")
    return folder / "run", trained(folder, *MULTI).stdout


def test_a_run_tells_the_scores_of_several_classes(several: tuple[Path, str]) -> None:
    folder, printed = several
    found = metrics(folder)
    overall = found["test"]["overall"]
    assert "micro-F1" in printed and "always giving the most frequent set of classes" in printed
    assert "micro_f1 0." in next(line for line in printed.splitlines() if line[:6] == "test: ")
    assert overall["confusion"] == [] and {*overall["classes"]} == {*TOPICS}
    assert {*found["test"]["languages"]} == {"en", "ja", "de", "fr", "zh", "es"}
    assert 0 < overall["micro_f1"] < 1 and {"micro_f1", "macro_f1"} <= overall["intervals"].keys()
    rows, totals = found["data"]["rows"]["train"], found["data"]["totals"]["train"]
    assert set(totals.values()) == {40} and sum(rows["de"].values()) != 40
    assert "best checkpoint" not in printed or "by micro_f1" in (folder / "report.html").read_text()


def test_predictions_are_those_that_were_scored(several: tuple[Path, str]) -> None:
    folder, _ = several
    table = parquet.read_table(folder / "predictions.parquet").to_pylist()
    found = metrics(folder)["test"]["overall"]
    exact = np.mean([row["label"] == row["predicted"] for row in table])
    assert exact == pytest.approx(found["accuracy"]) and len(table) == found["rows"] == 60
    for name in TOPICS:
        true, said = (
            np.array([name in row[column] for row in table]) for column in ("label", "predicted")
        )
        one = found["classes"][name]
        assert (one["rows"], one["predicted"]) == (true.sum(), said.sum())
        assert one["f1"] == pytest.approx(
            2 * (true & said).sum() / max(1, (true.sum() + said.sum()))
        )
    data = read_data_folder(folder)
    assert data is not None
    store = Store(data)
    split = store.split("test")
    assert split.several and split.targets is not None
    ids, _ = store.ids_and_stars("test", split)
    names = np.array(TOPICS, object)
    assert {row["id"]: row["label"] for row in table} == {
        id: names[row].tolist() for id, row in zip(ids, split.true)
    }


def test_the_model_says_what_it_is(several: tuple[Path, str]) -> None:
    from transformers import pipeline

    from lingotune.evaluation.classifier import Classifier, trained_model

    folder, _ = several
    config = json.loads((folder / "model/config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert list(config["id2label"].values()) == [*TOPICS]
    classify = pipeline("text-classification", model=str(folder / "model"), top_k=None)
    model = Classifier(trained_model(folder).as_trained())
    _, shares = model.classify(TEXTS)
    for answer, row in zip(classify(TEXTS), shares):
        theirs = {one["label"]: one["score"] for one in answer}
        assert [theirs[name] for name in TOPICS] == pytest.approx(row.tolist(), abs=1e-5)
    assert not np.allclose(shares.sum(axis=1), 1)


def test_the_report_and_the_card_have_classes_and_no_matrix(several: tuple[Path, str]) -> None:
    folder, _ = several
    page, card = (folder / "report.html").read_text(), (folder / "model/README.md").read_text()
    assert "F1 of class" in page and "Confusion matrices" not in page and "micro-F1" in page
    assert "Stars off" not in page and "set of classes" in page and "no class" in page
    assert "any number of them for each text" in card and "| micro-F1 |" in card
    assert "Micro-F1" in card and "top_k=None" not in card  # it was not published
    assert "| train | de |" in card and "| 40 |" in card


def test_predict_and_evaluate_agree_with_the_run(several: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = several
    said = run("-m", "lingotune", "predict", str(folder), "--json", *TEXTS)
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert all(isinstance(one["labels"], list) and "label" not in one for one in answers)
    output = str(tmp_path / "labelled.csv")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    done = run("-m", "lingotune", "predict", str(folder), "--file", str(texts), "--output", output)
    assert done.returncode == 0, done.stderr
    assert json.dumps(answers[0]["labels"]).replace('"', '""') in Path(output).read_text()
    done = run("-m", "lingotune", "evaluate", str(folder), "--output", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "again").glob("*/metrics.json")
    scores = json.loads(again.read_text())["overall"]
    before = metrics(folder)["test"]["overall"]
    for name in ("accuracy", "micro_f1", "macro_f1", "majority"):
        assert scores[name] == pytest.approx(before[name], abs=1e-6)
    assert scores["intervals"]["micro_f1"] == pytest.approx(before["intervals"]["micro_f1"])
    assert not list((tmp_path / "again").glob("*/*.png"))


def test_rows_of_one_class_are_refused(several: tuple[Path, str], tmp_path: Path) -> None:
    lines = [{"review_body": f"t {n}", "topics": "price", "language": "de"} for n in range(9)]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    typed = [
        f"data.path={tmp_path}/r.jsonl",
        "data.labels_mode=single",
        "data.columns.label=topics",
    ]
    done = run("-m", "lingotune", "evaluate", str(several[0]), *typed)
    assert done.returncode == 2 and "fix: data.labels_mode=multi" in done.stderr


def test_it_is_served(several: tuple[Path, str]) -> None:
    from lingotune.evaluation.classifier import trained_model
    from lingotune.serving.served_model import ServedModel
    from lingotune.serving.words import words_that_mattered

    model = ServedModel(trained_model(several[0]))
    answer, _ = model.answer(json.dumps({"inputs": TEXTS}), None, None)
    found = json.loads(answer)["predictions"]
    assert found == model.predict(TEXTS) and {*found[0]} == {"labels", "probabilities"}
    answer, _ = model.answer(json.dumps({"inputs": TEXTS}), None, "text/csv")
    header, first = answer.splitlines()[:2]
    assert header.startswith("label,probability_quality") and first[:2] in ('"[', "[]")
    words, _ = words_that_mattered(model, TEXTS[0])
    assert len(words) == 9


def test_killed_before_its_end_the_result_is_the_same(
    several: tuple[Path, str], tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(several[0], tmp_path / "run"))
    (moved / "metrics.json").unlink()
    last = max((moved / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name[11:]))
    (last / MANIFEST).unlink()
    given = ["--job", str(moved / "job.yaml"), "--run-dir", str(moved)]
    done = run(str(ROOT / "train.py"), *given, cwd=several[0].parent, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0 and "resuming at step" in done.stdout, done.stderr
    assert outcome(moved) == outcome(several[0])


@pytest.mark.slow
def test_two_ranks_train_what_one_does(several: tuple[Path, str], tmp_path: Path) -> None:
    typed = [*MULTI, "cluster.processes=2", "per_device_bs=4"]
    (tmp_path / "job.yaml").write_bytes(dump_job(job_of(compose(*typed))))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "train.py"), "--job", str(tmp_path / "job.yaml"), "--run-dir"]
    done = subprocess.run(
        [*command, str(tmp_path / "run")], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found, before = (
        metrics(folder)["test"]["overall"] for folder in (tmp_path / "run", several[0])
    )
    # dropout draws other numbers on each rank: the scores are near, not the same
    assert found["rows"] == before["rows"]
    assert found["micro_f1"] == pytest.approx(before["micro_f1"], abs=0.15)


@pytest.mark.slow
def test_it_is_exported(several: tuple[Path, str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = run("-m", "lingotune", "export", str(several[0]), f"output={tmp_path}/onnx")
    assert done.returncode == 0, done.stderr
    assert "same class for 100.00% of the rows" in done.stdout
    said = run("-m", "lingotune", "predict", str(tmp_path / "onnx"), "--json", TEXTS[0])
    theirs = run("-m", "lingotune", "predict", str(several[0]), "--json", TEXTS[0])
    assert json.loads(said.stdout)["labels"] == json.loads(theirs.stdout)["labels"]


# --- losses ---------------------------------------------------------------------------------------


def loss_of(mode: LabelsMode, logits: Any, targets: Any, weights: Any = None) -> float:
    """The training loss of a batch, by a model that computes its own as transformers does."""

    class Model(torch.nn.Module):
        training = True

        def forward(self, labels: Any = None) -> dict[str, Any]:
            return {"logits": logits}

    given: Any = SimpleNamespace(
        _labels_mode=mode, _class_weights=weights, _label_smoothing=0.0, _soft_loss=None
    )
    given._soft_loss = lambda *of: ClassifierTrainer._soft_loss(given, *of)
    return float(ClassifierTrainer._loss(given, Model(), {"labels": targets}, False))


def test_a_class_is_weighted_by_the_texts_that_have_it() -> None:
    logits, targets = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    weights = torch.tensor([1.0, 3.0, 0.5])
    said = torch.sigmoid(logits)
    by_hand = -(weights * targets * said.log() + (1 - targets) * (1 - said).log()).mean()
    assert loss_of(LabelsMode.multi, logits, targets, weights) == pytest.approx(float(by_hand))


def test_shares_are_the_targets_of_the_cross_entropy() -> None:
    logits, targets = torch.randn(5, 3), torch.rand(5, 3)
    targets /= targets.sum(dim=1, keepdim=True)
    by_hand = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert loss_of(LabelsMode.soft, logits, targets) == pytest.approx(float(by_hand))


# --- shares ---------------------------------------------------------------------------------------


def test_a_run_on_shares(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    words = ["bad", "fair", "good"]
    with (tmp_path / "votes.jsonl").open("w") as file:
        for n in range(300):
            votes = draw.multinomial(5, draw.dirichlet([0.5] * 3))
            text = " ".join(np.repeat(words, votes)) + f" {n}"
            row = {"review_body": text, "votes": votes.tolist(), "language": "en"}
            file.write(json.dumps(row) + "\n")
    typed = [
        "data=files", f"data.path={tmp_path}/votes.jsonl", "data.labels_mode=soft",
        "data.columns.label=votes", "data.labels=[bad,fair,good]", "lr=5e-3", "epochs=6",
        *[w for w in SMALLER if not w.startswith(("data.sample", "epochs", "data.language_alpha"))],
    ]  # fmt: skip
    trained(tmp_path, *typed)
    found = metrics(tmp_path / "run")
    assert found["test"]["overall"]["accuracy"] > 0.7 and "totals" not in found["data"]
    table = parquet.read_table(tmp_path / "run/predictions.parquet").to_pydict()
    data = read_data_folder(tmp_path / "run")
    assert data is not None
    split = Store(data).split("test")
    assert split.targets is not None and not split.several
    # probabilities come near the shares, which the largest class alone would not teach
    shares = np.array([table[f"probability_{name}"] for name in words]).T
    order = np.argsort(split.place)
    assert np.abs(shares - split.targets[order]).mean() < 0.15
