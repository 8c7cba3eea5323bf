"""Learning from a teacher: the loss, what travels with the data, the run, and its resuming."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm
from conftest import compose, run
from killing import SMALL, metrics, outcome

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import DistillationConfig, JobConfig
from lingotune.data.loader.open_store import open_store
from lingotune.data.loader.store import TEACHER, UNLABELLED, Store
from lingotune.data.prepared.manifest import load_manifest
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.evaluation.metrics import probabilities_of
from lingotune.serving.served_model import model_digest
from lingotune.serving.teacher import prepare_job
from lingotune.training.checkpoints import MANIFEST
from lingotune.training.distillation import mixed_loss

TEXTS = ["Das Gerät ist wunderbar", "Ganz schlecht, leider", "Das Gerät ist wunderbar", "ça marche"]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits)
    found: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return found


def test_the_loss_is_hintons() -> None:
    drawn = np.random.default_rng(0)
    logits, of_teacher = drawn.normal(size=(4, 3)), drawn.normal(size=(4, 3))
    labels = np.array([0, 2, UNLABELLED, 1])
    hard = np.array([0.5, 0.25, 0.0, 2.0])
    alpha, heat = 0.3, 2.5
    teacher, student = softmax(of_teacher / heat), softmax(logits / heat)
    divergence = (teacher * np.log(teacher / student)).sum(axis=1) * heat**2
    share = np.array([alpha, alpha, 0, alpha])  # a text without a label has the teacher alone
    found = mixed_loss(
        torch.tensor(hard),
        torch.tensor(logits),
        torch.tensor(labels),
        torch.tensor(softmax(of_teacher)),
        DistillationConfig(alpha=alpha, temperature=heat),
    )
    np.testing.assert_allclose(found.numpy(), share * hard + (1 - share) * divergence, rtol=1e-5)


def test_a_class_that_the_teacher_rules_out_leaves_the_loss_finite() -> None:
    sure = torch.tensor([[1.0, 0.0, 0.0]])
    logits = torch.zeros(1, 3, requires_grad=True)
    given = (torch.zeros(1), logits, torch.tensor([0]), sure)
    mixed_loss(*given, DistillationConfig(alpha=0.0, temperature=1.0)).sum().backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, [[-2 / 3, 1 / 3, 1 / 3]], rtol=1e-5)


# --- a teacher, and jobs that learn from it -------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a classifier of the sample's classes, in another order."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from lingotune.data.prepared.tokenizer import SPECIAL_TOKENS, wordpiece_tokenizer

    folder = tmp_path_factory.mktemp("teacher")
    pieces = [*SPECIAL_TOKENS.values(), *"abcdefghijklmnopqrstuvwxyz", "##e", "##n"]
    torch.manual_seed(1)
    names = ("positive", "negative", "neutral")
    config = DistilBertConfig(
        vocab_size=len(pieces), dim=16, hidden_dim=32, n_layers=2, n_heads=2, pad_token_id=0,
        max_position_embeddings=64, id2label=dict(enumerate(names)), initializer_range=0.5,
        label2id={name: n for n, name in enumerate(names)},
    )  # fmt: skip
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    wordpiece_tokenizer({piece: n for n, piece in enumerate(pieces)}, 64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "more.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def job_with(teacher: Path, *more: str) -> JobConfig:
    """In fp32: CPUs that compute in bf16 use it by default, and round two parts of a batch differently."""
    small = [one for one in SMALL if not one.startswith("data.balance")]
    small.append("training.precision=fp32")
    return job_of(compose(*small, f"distillation.teacher={teacher}", *more))


@pytest.fixture(scope="module")
def job(teacher: Path, texts: Path) -> JobConfig:
    return job_with(teacher, f"distillation.texts={texts}", "distillation.alpha=0.3")


@pytest.fixture(scope="module")
def prepared(job: JobConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_job(job, tmp_path_factory.mktemp("prepared"), print, trains=True)[0]


def test_composing_fills_in_the_teachers_digest(teacher: Path, job: JobConfig) -> None:
    assert job.distillation.sha256 == model_digest(teacher)
    plain = job_of(compose(*SMALL))
    assert b"distillation" not in dump_job(plain), "jobs without a teacher are as they were"


def test_the_data_holds_what_the_teacher_says_of_each_row(teacher: Path, prepared: Path) -> None:
    store = Store(prepared)
    model = trained_model(teacher)
    order = [model.labels.index(name) for name in store.manifest.labels]
    for name in ("train", "test"):
        split = store.split(name).select([3, 0, 11])  # in any order
        classes, shares = store.teacher(name, split)
        expected = probabilities_of(Classifier(model).logits(store.texts(name, split)))[:, order]
        np.testing.assert_allclose(shares, expected, atol=1e-6)
        assert classes.tolist() == expected.argmax(axis=1).tolist()


def test_texts_without_labels_are_learnt_once_and_have_no_label(prepared: Path) -> None:
    store = Store(prepared)
    found = store.manifest.teacher
    assert found is not None and found.unlabelled == 3, "one text is there twice"
    train = store.with_teacher("train", store.split("train"))
    assert store.texts("train", train)[-3:] == [TEXTS[0], TEXTS[1], TEXTS[3]]
    batch = train.batch([0, len(train) - 1])
    assert batch["labels"].tolist() == [train.label[0], UNLABELLED]
    assert batch[TEACHER].shape == (2, 3)
    np.testing.assert_allclose(batch[TEACHER].sum(axis=1), 1, rtol=1e-5)
    assert TEACHER not in store.split("validation").batch([0])


def test_texts_of_another_split_are_left_out(teacher: Path, prepared: Path, tmp_path: Path) -> None:
    store = Store(prepared)
    known = [store.texts(name, store.split(name))[0] for name in ("train", "test")]
    file = tmp_path / "more.jsonl"
    rows = [{"review_body": text, "language": "de"} for text in [*known, "ganz neu"]]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    folder, made = prepare_job(
        job_with(teacher, f"distillation.texts={file}"), prepared.parent, print, trains=True
    )
    found = load_manifest(folder).teacher
    assert made and found is not None and found.unlabelled == 1


def test_data_of_another_teacher_is_refused(job: JobConfig, prepared: Path) -> None:
    assert open_store(job, str(prepared), prepared.parent, print).folder == prepared
    others = [
        replace(job, distillation=DistillationConfig()),
        replace(job, distillation=replace(job.distillation, sha256="0" * 64)),
    ]
    for other in others:
        with pytest.raises(ConfigError, match="that of the teacher"):
            open_store(other, str(prepared), prepared.parent, print)


def test_prepared_data_needs_its_teacher_no_more(job: JobConfig, prepared: Path) -> None:
    gone = replace(job, distillation=replace(job.distillation, teacher="/not/here"))
    assert prepare_job(gone, prepared.parent, print)[0] == prepared
    with pytest.raises(ConfigError, match=r"distillation.teacher=/not/here.*no trained model"):
        prepare_job(
            replace(gone, seed=7, data=replace(gone.data, max_length=16)), prepared.parent, print
        )


def test_a_teacher_that_cannot_be_used_is_told_as_the_job_is_composed(
    teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="knows the classes positive, negative, neutral; the job"):
        compose(f"distillation.teacher={teacher}", "data.labels=[good, bad]")
    with pytest.raises(ConfigError, match="holds no trained model"):
        compose(f"distillation.teacher={tmp_path}")
    before = f"distillation.sha256={'0' * 64}"
    with pytest.raises(ConfigError, match="was changed after the job was composed"):
        compose(f"distillation.teacher={teacher}", before)


# --- the run --------------------------------------------------------------------------------------


def trained(job: JobConfig, folder: Path, *more: str) -> Any:
    folder.mkdir(exist_ok=True)
    path = folder.parent / f"{folder.name}.yaml"
    path.write_bytes(dump_job(job))
    given = ["--job", str(path), "--run-dir", str(folder), *more]
    done = run("train.py", *given, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def student(job: JobConfig, prepared: Path) -> tuple[Path, str]:
    home = prepared.parent
    alone = replace(job, distillation=DistillationConfig())
    trained(alone, home / "alone", "--prepared-dir", str(home))
    done = trained(job, home / "student", "--data", str(prepared))
    return home / "student", done.stdout


def test_a_run_tells_of_its_teacher_and_of_the_student_alone(
    student: tuple[Path, str], teacher: Path
) -> None:
    folder, printed = student
    found = metrics(folder)
    told = found["teacher"]
    assert told["sha256"] == model_digest(teacher) and told["unlabelled"] == 3
    assert told["alone_run"] == "alone"
    assert told["alone"]["overall"] == metrics(folder.parent / "alone")["test"]["overall"]
    assert found["test"] != metrics(folder.parent / "alone")["test"], "the teacher has an effect"
    first = [
        line.split()[0] for line in printed.splitlines() if line.startswith(("teacher", "student"))
    ]
    assert first == ["teacher", "student", "student"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    card = (folder / "model/README.md").read_text(encoding="utf-8")
    for text in (page, card):
        assert "istilled from" in text and "student alone" in text
    assert "labels 0.3, teacher 0.7, at temperature 2" in card


def test_the_teachers_scores_are_those_of_its_own_predictions(
    student: tuple[Path, str], teacher: Path, prepared: Path
) -> None:
    store = Store(prepared)
    test = store.split("test")
    model = trained_model(teacher)
    classes = Classifier(model).classify(store.texts("test", test))[0]
    names = np.array(model.labels)[classes]
    true = np.array(store.manifest.labels)[test.label]
    told = metrics(student[0])["teacher"]["scores"]["overall"]["accuracy"]
    assert told == pytest.approx(float((names == true).mean()))


def test_a_distilled_run_goes_on_to_the_last_bit(
    student: tuple[Path, str], job: JobConfig, prepared: Path
) -> None:
    moved = prepared.parent / "moved"
    shutil.copytree(student[0], moved)
    (moved / "metrics.json").unlink()
    (moved / "model/metrics.json").unlink()
    newest = max(moved.glob("checkpoints/checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    (newest / MANIFEST).unlink()
    done = trained(job, moved, "--data", str(prepared))
    assert "resuming at step" in done.stdout
    assert outcome(moved) == outcome(student[0])


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(
    student: tuple[Path, str], job: JobConfig, prepared: Path
) -> None:
    two = replace(
        job, cluster=replace(job.cluster, processes=2), per_device_bs=job.per_device_bs // 2
    )
    folder = prepared.parent / "two"
    path = prepared.parent / "two.yaml"
    path.write_bytes(dump_job(two))
    done = run("train.py", "--job", str(path), "--run-dir", str(folder), "seed=42",
               f"data.prepared={prepared}", **warm.WITHOUT_PICTURES)  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, both = metrics(student[0])["validation"], metrics(folder)["validation"]
    assert both["loss"] == pytest.approx(one["loss"], rel=1e-3)
