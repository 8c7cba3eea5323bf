"""The model card: metadata that the hub accepts, the run's figures, and no text taken for markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, compose
from hubserver import faults_of
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from results import results_for

from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.schema import JobConfig, LabelConfig, ModelConfig
from lingotune.config.typed_json import from_json
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.hub.model_card import base_model, card, hub_model, markdown, write_card
from lingotune.runs.folder import as_metrics
from lingotune.runs.results import BaseModel, RunProgress, RunResults

JOB = job_of(compose())
NAMES = ("negative", "neutral", "positive")


def results_of(
    names: tuple[str, ...] = NAMES, codes: tuple[str, ...] = ("de", "en"), **parts: Any
) -> RunResults:
    """What a run leaves, of a model that is right about half of the time."""
    random = np.random.default_rng(1)
    rows = 40 * len(codes)
    true = random.integers(len(names), size=rows)
    probabilities = random.dirichlet(np.ones(len(names)), rows)
    languages = np.array([codes[n % len(codes)] for n in range(rows)], object)
    predictions = Predictions(true, probabilities, languages, np.full(rows, np.nan))
    return results_for(predictions, Classes(names), 50, **parts)


def written(job: JobConfig = JOB, results: Any = None, **settings: Any) -> str:
    settings = {"pictures": [], "repo": None, "licence": None, **settings}
    return card(job, results or results_of(), **settings)


def metadata(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def tables(text: str) -> list[list[list[str]]]:
    """Cells of every table, the header first; each row must have as many as its header."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()
        ]
        assert {len(row) for row in rows} == {len(rows[0])}, block
        assert all(re.fullmatch("-+", cell) for cell in rows[1])
        found.append([rows[0], *rows[2:]])
    return found


def test_the_hub_takes_its_metadata() -> None:
    job = job_of(compose("model=distilbert_multilingual", "data=amazon_reviews_multi"))
    text = written(job, repo="me/mine", licence="apache-2.0")
    assert faults_of(text) == []
    found = metadata(text)
    assert found["language"] == ["de", "en"] and found["license"] == "apache-2.0"
    assert found["base_model"] == "distilbert-base-multilingual-cased"
    assert found["datasets"] == ["mteb/amazon_reviews_multi"]
    assert found["pipeline_tag"] == "text-classification"
    assert [example["example_title"] for example in found["widget"]] == ["German", "English"]


def test_the_librarys_own_reader_finds_every_score() -> None:
    results = results_of()
    data = ModelCard(written(results=results, repo="me/mine")).data
    assert data.model_name == "mine"
    found = {
        (result.dataset_config, result.metric_type): result.metric_value
        for result in data.eval_results
    }
    wanted = {None: results.test.overall, **results.test.languages}
    assert found == {
        (code, kind): round(getattr(scores, key), 4)
        for code, scores in wanted.items()
        for kind, key in (("accuracy", "accuracy"), ("f1", "macro_f1"))
    }


def test_the_tables_hold_the_figures() -> None:
    results = results_of()
    by_language, classes, settings, rows = tables(written(results=results))
    assert [row[0] for row in by_language[1:]] == ["**all**", "de", "en"]
    overall = results.test.overall
    assert overall.intervals is not None and results.test.worst_language is not None
    low, high = overall.intervals.accuracy
    accuracy = overall.accuracy
    assert by_language[1][2] == f"{accuracy:.3f} ({low:.3f}-{high:.3f})"
    lowest = results.test.worst_language.code
    assert [row[-1] for row in by_language if row[0] == lowest] == ["lowest"]
    assert [row[0] for row in classes[1:]] == list(NAMES)
    assert ["learning rate", "0.001"] in settings and ["updates", "12 (2 epochs)"] in settings
    assert rows[0] == ["split", "language", *NAMES, "all"] and rows[1][-1] == "15"


def test_it_says_how_to_make_it_again_and_what_it_is_not_for() -> None:
    text = written(repo="me/mine", pictures=["confusion_matrix.png"])
    assert f"job `{job_digest(JOB)}`" in text
    assert "lingotune train --job job.yaml" in text and 'model="me/mine"' in text
    assert "![confusion matrix](confusion_matrix.png)" in text
    assert "## Intended use and limits" in text and "first 64 tokens" in text
    assert "torch 2.13.0+cpu" in text


def test_without_a_test_split_it_says_so_and_has_no_scores_for_the_hub() -> None:
    text = written(results=replace(results_of(), test=None))
    assert "It was not scored on a test split." in text
    assert "expect less on new texts" in text
    assert "## Scores" not in text and "Training is in progress" not in text
    assert "model-index" not in metadata(text)


def test_while_it_trains_it_says_so() -> None:
    whole = results_of()
    results = RunProgress(
        name=whole.name, job_sha256=whole.job_sha256, labels=whole.labels, data=whole.data,
        step=4, total_steps=12, validation={"macro_f1": 0.5},
    )  # fmt: skip
    text = written(results=results)
    assert "step 4 of 12" in text and "macro&#95;f1 on the validation split: 0.5000" in text
    assert "## Scores" not in text and "model-index" not in metadata(text)
    assert faults_of(text) == []


def test_one_language_an_absent_class_and_no_code(tmp_path: Path) -> None:
    results = results_of(codes=("unknown",))
    overall = replace(results.test.overall, absent=("neutral",))
    results = replace(results, test=replace(results.test, overall=overall))
    text = written(results=results)
    assert "language" not in metadata(text) and faults_of(text) == []
    assert tables(text)[0][1][-1] == "no neutral"
    assert "It is not equally good" not in text
    (tmp_path / "learning_curves.png").touch()
    write_card(tmp_path, JOB, from_json(RunResults, json.loads(as_metrics(results))))
    assert "](learning_curves.png)" in (tmp_path / "README.md").read_text(encoding="utf-8")


HOSTILE = "<script>alert(1)</script> | **x** [a](http://b) `c` $d$ \n# e {{ f }} \\(g\\) ![h](i)"


@pytest.mark.parametrize("code", ["de", "a|b", "$x$", "<b>"])
def test_names_mean_nothing_but_themselves(code: str) -> None:
    names = (HOSTILE, "neutral", "positive")
    data = replace(JOB.data, name="<img src=x>", labels=[LabelConfig(name) for name in names])
    text = written(replace(JOB, data=data), results_of(names, (code, "en")))
    body = text.split("---\n", 2)[2]
    assert "<" not in body and "$" not in body and "](http" not in body and "{{" not in body
    assert len(tables(body)) == 4
    assert faults_of(text) == []


@given(st.text())
def test_any_text_is_one_line_without_markup(text: str) -> None:
    line = markdown(text)
    assert not set(re.sub(r"&#\d+;", "", line)) & set('\n\r<>&|*_`[]{}#$\\!~"@^=')
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("distilbert-base-multilingual-cased", "distilbert-base-multilingual-cased"),
        ("FacebookAI/xlm-roberta-base", "FacebookAI/xlm-roberta-base"),
        (None, None), ("/models/mine", None), ("../mine", None), ("a/b/c", None), ("src", None),
        ("~/model", None),
    ],
)  # fmt: skip
def test_only_what_is_on_the_hub_is_a_base_model(
    name: str | None, base: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    job = replace(JOB, model=ModelConfig("x", name))
    told = base_model(job.model)
    assert bool(told and told.on_hub) is (base is not None)
    assert hub_model(job, results_of(base_model=told)) == hub_model(job, results_of()) == base


def test_the_base_model_is_what_it_was_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(JOB, model=ModelConfig("pretrained", "models/mine_*"))
    (tmp_path / "models" / "mine_*").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    local = results_of(base_model=base_model(job.model))
    hub = results_of(base_model=BaseModel(name="models/mine", on_hub=True))
    for place in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(place)
        text = written(job, local)
        assert "fine-tuned from mine&#95;&#42;, which is not on the hub" in text
        assert "base_model" not in metadata(text)
        assert metadata(written(job, hub))["base_model"] == "models/mine"
