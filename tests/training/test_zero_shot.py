"""A run that trains on one language and is scored on three, from its log to its report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import compose, run
from killing import SMALL, metrics, outcome

from lingotune.config.jobfile import dump_job, job_of
from lingotune.evaluation.evaluate import evaluate
from lingotune.training.checkpoints import MANIFEST

TYPED = [
    *(word for word in SMALL if not word.startswith("data.language_alpha")),  # of one language
    "data.languages=[de,en,es]", "data.train_languages=[en]", "data.sample.train_rows=60",
    "data.sample.validation_rows=30", "epochs=3", "evaluation.select=unseen_macro_f1",
]  # fmt: skip


def started(folder: Path) -> Any:
    return run("train.py", "--job", str(folder / "job.yaml"), "--run-dir", str(folder / "run"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("zero")
    (folder / "job.yaml").write_bytes(dump_job(job_of(compose(*TYPED))))
    done = started(folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout


def test_the_checkpoint_is_the_best_on_languages_that_were_not_trained_on(
    trained: tuple[Path, str],
) -> None:
    folder, out = trained
    found = metrics(folder)
    assert [*found["data"]["rows"]["train"]] == ["en"]
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    scores = {e["step"]: e["eval_unseen_macro_f1"] for e in lines if "eval_unseen_macro_f1" in e}
    assert len(scores) == 3
    assert scores[found["training"]["best_step"]] == max(scores.values())
    assert (
        out.count("  seen_macro_f1 ") == out.count("  unseen_macro_f1 ") == 4
    )  # of three epochs and test


def test_seen_and_unseen_languages_are_told_everywhere(trained: tuple[Path, str]) -> None:
    folder, out = trained
    zero_shot = metrics(folder)["test"]["zero_shot"]
    assert zero_shot["languages"] == ["de", "es"]
    assert (zero_shot["seen"]["rows"], zero_shot["unseen"]["rows"]) == (10, 20)
    score = f"{zero_shot['unseen']['macro_f1']:.3f}"
    table = [line.split() for line in out.splitlines()]
    assert ["unseen", "20"] in [words[:2] for words in table]
    page = (folder / "report.html").read_text()
    assert f"<td>unseen</td><td>20</td><td>{zero_shot['unseen']['accuracy']:.3f}</td>" in page
    card = (folder / "model/README.md").read_text()
    assert f"| unseen | 20 | {zero_shot['unseen']['accuracy']:.3f} | {score} |" in card
    assert "A classifier of English texts into" in card and "language:\n- en\n" in card
    unseen = f"German, Spanish, whose rows were only scored, with a macro-F1 of {score} together"
    assert f"It was not trained on {unseen}. Its predictions for all other languages" in card
    assert "macro-F1 of the languages not trained on" in card


def test_scored_again_it_is_known_what_was_trained_on(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    again = evaluate(str(folder)).results.zero_shot
    before = metrics(folder)["test"]["zero_shot"]
    assert again and again.languages == ("de", "es")
    assert again.unseen.macro_f1 == pytest.approx(before["unseen"]["macro_f1"])


def test_killed_it_goes_on_to_the_same_scores(trained: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = trained
    moved = shutil.copytree(folder, tmp_path / "run")
    shutil.copy(folder.parent / "job.yaml", tmp_path)
    (moved / "metrics.json").unlink()
    last = max((moved / "checkpoints").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    (last / MANIFEST).unlink()
    done = started(tmp_path)
    assert done.returncode == 0 and "resuming at step" in done.stdout, done.stderr
    assert outcome(moved) == outcome(folder)


def test_a_validation_split_without_them_is_refused(tmp_path: Path) -> None:
    rows = [
        {"text": f"text {n} {code}", "label": ("bad", "good")[n % 2], "language": code}
        for code, count in (("en", 60), ("de", 4))
        for n in range(count)
    ]
    for name, codes in (("train", "en de"), ("dev", "en"), ("test", "en")):
        lines = [json.dumps({**row, "text": f"{name} {row['text']}"}) for row in rows
                 if row["language"] in codes.split()]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    typed = [
        *(one for one in SMALL if not one.startswith(("data.sample", "data.language_alpha"))), "data=files",
        f"data.train={tmp_path}/train.jsonl", f"data.validation={tmp_path}/dev.jsonl",
        f"data.test={tmp_path}/test.jsonl", "data.columns.text=text", "data.labels=[bad,good]",
        "data.columns.stars=null", "data.train_languages=[en]", "evaluation.select=unseen_macro_f1",
    ]  # fmt: skip
    done = run("-m", "lingotune", "launch", *typed, cwd=tmp_path)
    told = "validation has no row in a language that is not trained on; it has en"
    assert done.returncode == 2 and told in done.stdout + done.stderr
    (tmp_path / "job.yaml").write_bytes(dump_job(job_of(compose(*typed))))
    done = run("-m", "lingotune", "train", "--job", "job.yaml", "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / "run/metrics.json").exists()
