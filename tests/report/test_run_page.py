"""The page of a run: complete, self-contained, and safe whatever the data contains."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from chromium import in_chromium, needs_chromium
from conftest import compose, run
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from results import TRAINING, manifest_of, results_for

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import LabelConfig
from lingotune.evaluation.label_errors import LabelError
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.evaluation.predictions import FILE, VALIDATION_FILE, write_predictions
from lingotune.report import likely_label_errors
from lingotune.report import run_page as runpage
from lingotune.report.run_examples import chosen
from lingotune.report.run_page import write_run_report
from lingotune.runs.folder import as_metrics, write_data_folder

NAMES = ("negative", "neutral", "positive")
CODES = ("de", "en", "ja")
HOSTILE = "</p><script>alert(1)</script> $x^2$ **b** {{ 7777*7777 }} \u202etxt\x07 &amp; <img src=http://x>"


class Reader(HTMLParser):
    """Elements, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = defaultdict(list)
        self.texts: list[str] = []
        self._table, self._in_cell = "", False
        self._stack: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self._table = dict(attrs).get("id") or "confusion"
        if tag == "tr" and self._table:
            self.tables[self._table].append([])
        if tag in ("td", "th") and self._table:
            self.tables[self._table][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_cell:
            self.tables[self._table][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def predictions_of(rows: int, names: tuple[str, ...], codes: tuple[str, ...]) -> Predictions:
    random = np.random.default_rng(3)
    true = random.integers(len(names), size=rows)
    languages = np.array([codes[n % len(codes)] for n in range(rows)], object)
    shares = random.dirichlet(np.ones(len(names)), rows)
    return Predictions(true, shares, languages, np.full(rows, np.nan))


finished_predictions = predictions_of
"""What the test rows are predicted as."""


def finished(
    folder: Path,
    *,
    rows: int = 60,
    names: tuple[str, ...] = NAMES,
    codes: tuple[str, ...] = CODES,
    text: str = "a text",
    steps: int = 12,
) -> tuple[Path, Path]:
    """The folder of a run, and of its data, as a training leaves them."""
    run, data = folder / "runs" / "mine", folder / "prepared"
    run.mkdir(parents=True)
    (data / "test").mkdir(parents=True)
    labels = [LabelConfig(name) for name in names]
    job = job_of(compose())
    job.data.labels = labels
    (run / "job.yaml").write_bytes(dump_job(job))
    predictions, classes = finished_predictions(rows, names, codes), Classes(names)
    ids = [f"id{n}" for n in range(rows)]
    write_predictions(predictions, ids, classes, run / FILE)
    results = results_for(
        predictions,
        classes,
        name=job.name,
        job_sha256=job_digest(job),
        training=replace(TRAINING, steps=steps, best_step=steps),
    )
    (run / "metrics.json").write_text(as_metrics(results))
    log: list[dict[str, float]] = []
    for step in range(1, steps + 1):
        figures = {
            "loss": 1 / step,
            "learning_rate": 0.1,
            "samples_per_second": 400,
            "padding": 0.5,
        }
        log.append({"step": step, **figures})
    log.append({"step": steps, "eval_loss": 1.0, "eval_macro_f1": 0.5, "eval_accuracy": 0.5})
    (run / "history.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in log))
    table = pa.table({
        "id": ids, "language": predictions.languages.tolist(),
        "text": [f"{text} number {n}" for n in range(rows)],
        "length": pa.array([5 + n % 20 for n in range(rows)], pa.int32()),
    })  # fmt: skip
    parquet.write_table(table, data / "test" / "0.parquet")
    manifest = manifest_of([{"file": "test/0.parquet"}], "test")
    (data / "manifest.json").write_text(json.dumps(manifest))
    return run, data


def read(run: Path, data: Path | None) -> Reader:
    html = write_run_report(run, data).read_text(encoding="utf-8")
    assert len(html) < 1_500_000
    return Reader(html)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Reader]:
    run, data = finished(tmp_path_factory.mktemp("whole"))
    return run, data, read(run, data)


def check_alone(page: Reader) -> None:
    """No script, nothing from elsewhere, no handler."""
    assert not {"script", "iframe", "object", "embed", "link", "img", "form", "base"} & set(
        page.tags
    )
    for _, name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "action")
        assert name not in ("href", "xlink:href") or (value or "").startswith("#")
        assert name != "style" or "url(" not in (value or "").replace("url(#", "")


def test_it_stands_alone(whole: Any) -> None:
    check_alone(whole[2])
    assert "alert" not in whole[2].text and len(whole[2].tables) >= 6


def test_plan_and_actual(whole: Any) -> None:
    plan = {row[0]: row[1:] for row in whole[2].tables["plan"]}
    assert plan["updates"] == ["10", "12"]  # 45 rows, batches of 32, 5 epochs
    assert plan["learning rate"] == ["0.001", "0.001"]
    assert plan["training samples per second"] == ["unknown", "400"]
    assert plan["training"] == ["unknown", "1 min 00 s"] and plan["total"][1] == "1 min 15 s"
    assert plan["start-up, reading, saving"][1] == "10.0 s" and plan["padding"][1] == "25.0%"
    assert plan["tokens per second"][1] == "3,800 (with padding 5,067)"
    assert plan["GPU utilisation"][1] == "31.2%"
    assert plan["first process: forward and backward pass"] == ["", "50.0 s"]
    assert plan["first process: of that, waiting for gradients"] == ["", "4.0 s"]
    assert len([name for name in plan if name.startswith("first process: ")]) == 6
    # A long cell would push the last column out of a narrow window.
    assert max(len(cell) for row in plan.values() for cell in row) < 30


def test_the_scores_are_those_of_the_run(whole: Any) -> None:
    run, _, page = whole
    test = json.loads((run / "metrics.json").read_text())["test"]
    rows = {row[0]: row for row in page.tables["languages-test"]}
    low, high = test["overall"]["intervals"]["macro_f1"]
    assert rows["all"][3] == f"{test['overall']['macro_f1']:.3f} ({low:.3f}-{high:.3f})"
    assert [code for code, row in rows.items() if row[-1] == "lowest"] == [
        test["worst_language"]["code"]
    ]
    assert [row[0] for row in page.tables["classes-test"][1:]] == list(NAMES)
    assert page.tags.count("caption") == 2 * (1 + len(CODES))


def test_what_is_odd_about_data_and_scores_is_told(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["data"]["warnings"] = ["all: 2 rows share 1 text <b>"]
    (run / FILE).unlink()
    overall, column = metrics["test"]["overall"], len(NAMES) - 1
    overall["confusion"] = [
        [sum(row) if n == column else 0 for n in range(len(NAMES))] for row in overall["confusion"]
    ]
    (run / "metrics.json").write_text(json.dumps(metrics))
    text = read(run, data).text
    assert "Warning: all: 2 rows share 1 text <b>" in text
    assert (
        f"Warning: the model names one class only: {list(overall['classes'])[-1]}, for 60 of 60"
        in text
    )


def test_without_a_test_split_nothing_is_called_test(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    results = json.loads((run / "metrics.json").read_text())
    results["test"] = None
    (run / "metrics.json").write_text(json.dumps(results))
    (run / FILE).unlink()
    page = write_run_report(run, data).read_text(encoding="utf-8")
    assert "There is no test split, so nothing is scored on test." in page
    assert "validation rows" in page and "test rows" not in page
    assert "Scores: validation" in page and "Scores: test" not in page


def test_the_pictures_are_named(whole: Any) -> None:
    names = {
        value for tag, name, value in whole[2].attributes if (tag, name) == ("svg", "aria-label")
    }
    assert names == {
        "Loss", "Validation", "Learning rate", "Training samples per second", "Share of padding",
        "Confidence against accuracy",
    }  # fmt: skip


def test_the_examples_are_the_worst_and_the_closest(whole: Any) -> None:
    predictions = predictions_of(60, NAMES, CODES)
    worst, uncertain = chosen(predictions)
    said = predictions.probabilities.max(axis=1)
    wrong = predictions.predicted != predictions.true
    assert said[worst[0]] == said[wrong].max() and all(wrong[worst])
    ordered = np.sort(predictions.probabilities, axis=1)
    assert uncertain[0] == int(np.argmin(ordered[:, -1] - ordered[:, -2]))
    for place in (worst[0], worst[-1], uncertain[0]):
        assert f"a text number {place}" in whole[2].text


def test_rows_of_a_rehearsal_are_found_by_their_ids(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    path = data / "test/0.parquet"
    more = pa.table({"id": ["other"], "language": ["de"], "text": ["not scored"],
                     "length": pa.array([9], pa.int32())})  # fmt: skip
    parquet.write_table(pa.concat_tables([more, parquet.read_table(path)]), path)
    page = read(run, data)
    assert f"a text number {chosen(predictions_of(60, NAMES, CODES))[0][0]}" in page.text
    assert "not scored" not in page.text


def test_without_the_data_there_are_ids(whole: Any, tmp_path: Path) -> None:
    run, _ = finished(tmp_path)
    page = read(run, None)
    assert "a text number" not in page.text and "id1" in page.text
    assert "report RUN --data FOLDER" in page.text


def test_what_is_hostile_stays_text(tmp_path: Path) -> None:
    names = (HOSTILE, "neutral", "positive")
    run, data = finished(tmp_path, names=names, codes=("de", "<b>x</b>"), text=HOSTILE)
    page = read(run, data)
    check_alone(page)
    assert "<b>x</b>" in page.text and "60481729" not in page.text
    assert "\u202e" not in page.text and "\x07" not in page.text and "\\u202e" in page.text
    assert "$x^2$" in page.text and "&amp;" in page.text


@settings(max_examples=15)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_stays_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    run, data = finished(tmp_path_factory.mktemp("any"), text=text, rows=6, steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runpage, "_pictures", lambda *_: {"course": [], "reliability": []})
        page = read(run, data)
    check_alone(page)
    assert not [tag for tag in page.tags if tag not in KNOWN], text


KNOWN = {
    "html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "small", "p", "code", "div",
    "table", "thead", "tbody", "tr", "th", "td", "caption", "span", "details", "summary", "b", "dl", "dt",
    "dd", "pre",
}  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        {"rows": 1, "steps": 1},
        {"codes": ("de",), "rows": 3},
        {"codes": tuple(f"l{n}" for n in range(40)), "rows": 80},
        {"names": tuple(f"class {n} " * 8 for n in range(12)), "rows": 40},
        {"names": tuple(f"intent {n}" for n in range(30)), "rows": 400},
        {"names": tuple(f"intent {n}" for n in range(150)), "rows": 3000},
        {"names": ("no", "yes")},
        {"codes": ("עברית", "😀", "x" * 200), "rows": 9},
    ],
    ids=[
        "one row",
        "one language",
        "40 languages",
        "12 classes",
        "30 classes",
        "150 classes",
        "2 classes",
        "odd names",
    ],
)
def test_runs_of_every_shape(shape: dict[str, Any], tmp_path: Path) -> None:
    page = read(*finished(tmp_path, **shape))
    check_alone(page)
    assert len(page.tables["languages-test"]) == 2 + min(
        len(shape.get("codes", CODES)), shape.get("rows", 60)
    )


@needs_chromium
def test_long_names_of_classes_leave_room_for_their_scores(tmp_path: Path) -> None:
    run, data = finished(tmp_path, names=("a " * 80 + "x", "b" * 200))
    html = write_run_report(run, data).read_text(encoding="utf-8")
    told = "<script>document.title = [document.querySelector('#classes-test').parentElement]"
    told += ".map(e => `${e.scrollWidth} of ${e.clientWidth}`)[0]</script>"
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    (tmp_path / "told.html").write_text(html + told, encoding="utf-8")
    dom, _ = in_chromium(tmp_path / "told.html", tmp_path, "--window-size=1100,900")
    found = re.search(r"<title>(\d+) of (\d+)</title>", dom)
    assert found and found[1] == found[2], found and found[0]


def test_it_is_told_where_the_model_fails(whole: Any) -> None:
    run, _, page = whole
    results = json.loads((run / "metrics.json").read_text())["test"]
    head, *rows = page.tables["heat"]
    assert head == ["language", *NAMES] and [row[0] for row in rows] == list(CODES)
    for code, *cells in rows:
        classes = results["languages"][code]["classes"]
        assert cells == [f"{classes[name]['f1']:.2f}" for name in NAMES]
    pairs = page.tables["pairs"]
    errors = np.array(results["overall"]["confusion"])
    counts = {tuple(row[:2]): row for row in pairs[1:]}
    first = counts[max(counts, key=lambda pair: float(counts[pair][4].rstrip("%")))]
    a, b = (NAMES.index(name) for name in first[:2])
    assert first[2].startswith(f"{errors[a, b]} of ") and first[3].startswith(f"{errors[b, a]} of ")
    head, *quarters = page.tables["by-length"]
    assert head == ["tokens", "rows", "accuracy", "macro-F1"]
    assert [row[0] for row in quarters] == ["5-9", "10-14", "15-19", "20-24"]
    assert sum(int(row[1]) for row in quarters) == results["overall"]["rows"]
    assert "by-stars" not in page.tables and "by-source" not in page.tables


def test_an_interval_stays_whole_where_a_wide_table_wraps(whole: Any) -> None:
    html = (whole[0] / "report.html").read_text(encoding="utf-8")
    (score,) = {row[2] for row in whole[2].tables["languages-test"] if row[0] == "all"}
    value, opens, rest = score.partition(" (")
    assert opens and f"<td>{value} <span>({rest}</span></td>" in html
    assert '<table id="languages-test" class="wraps">' in html


def test_ratings_and_sources_have_tables_where_there_are_any(tmp_path: Path) -> None:
    run, _ = finished(tmp_path, rows=40)
    job = job_of(compose("data=files", "data.path=reviews.jsonl"))
    job.data.labels = [LabelConfig(name) for name in NAMES]
    (run / "job.yaml").write_bytes(dump_job(job))
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "job_sha256": job_digest(job)}))
    predictions = predictions_of(40, NAMES, CODES)
    stars = replace(predictions, stars=np.array([1.0, 2.0, np.nan, 5.0] * 10))
    ids = [f"{'ab'[n % 2]}.jsonl:{n + 1}" for n in range(40)]
    write_predictions(stars, ids, Classes(NAMES), run / FILE)
    page = read(run, None)
    assert [row[:2] for row in page.tables["by-stars"][1:]] == [
        ["1", "10"],
        ["2", "10"],
        ["5", "10"],
    ]
    assert page.tables["by-stars"][0][3:] == [f"as {name}" for name in NAMES]
    shares = [int(cell.rstrip("%")) for cell in page.tables["by-stars"][1][3:]]
    assert 99 <= sum(shares) <= 101
    assert [row[:2] for row in page.tables["by-source"][1:]] == [
        ["a.jsonl", "20"],
        ["b.jsonl", "20"],
    ]
    assert "by-length" not in page.tables  # the prepared data is not there
    shops = np.array([[None, "app", "shop"][min(n % 4, 2)] for n in range(40)], object)
    named = replace(stars, sources=shops)
    write_predictions(named, [f"id{n}" for n in range(40)], Classes(NAMES), run / FILE)
    assert "by-source" not in read(run, None).tables  # only one has 20 rows
    named = replace(stars, sources=np.where(np.arange(40) % 2, "app", "shop").astype(object))
    write_predictions(named, [f"id{n}" for n in range(40)], Classes(NAMES), run / FILE)
    assert [row[:2] for row in read(run, None).tables["by-source"][1:]] == [
        ["app", "20"],
        ["shop", "20"],
    ]
    by_language = replace(stars, sources=np.array([f"{c}.csv" for c in stars.languages], object))
    write_predictions(by_language, [f"id{n}" for n in range(40)], Classes(NAMES), run / FILE)
    assert "by-source" not in read(run, None).tables  # the languages by other names


def test_a_matrix_of_many_classes_is_a_picture_with_what_matters_told(tmp_path: Path) -> None:
    names = tuple(f"intent {n}" for n in range(30))
    run, data = finished(tmp_path, names=names, rows=900)
    html = write_run_report(run, data).read_text(encoding="utf-8")
    page = Reader(html)
    confusion = np.array(
        json.loads((run / "metrics.json").read_text())["test"]["overall"]["confusion"]
    )
    widths = [value for tag, name, value in page.attributes if (tag, name) == ("rect", "width")]
    assert widths.count("1") == 2 * (confusion > 0).sum()  # of test and validation
    a, b = np.argwhere(confusion == confusion.max())[0]
    assert re.search(rf"intent {a} as intent {b}: {confusion[a, b]} \(\d+%\)", html)
    assert "confusion" not in page.tables and "stars off" not in page.text
    assert page.tables["rows"][0] == ["class", "train", "validation", "test"]


def test_of_several_classes_lengths_are_told_and_no_pairs(
    tmp_path: Path, suspects: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def several(rows: int, names: tuple[str, ...], codes: tuple[str, ...]) -> Predictions:
        found = predictions_of(rows, names, codes)
        return replace(found, true=found.probabilities > 0.3)

    monkeypatch.setitem(globals(), "finished_predictions", several)
    page = read(*finished(tmp_path, names=tuple(f"topic {n}" for n in range(20)), rows=90))
    assert len(page.tables["by-length"]) == 5 and page.tables["f1-test"]
    assert not {"pairs", "heat", "by-stars"} & {*page.tables}
    assert "They are looked for where a text has one class" in page.text


def test_columns_without_a_value_are_left_out(whole: Any, tmp_path: Path) -> None:
    assert "stars off" not in whole[2].tables["languages-test"][0]
    assert "remarks" in whole[2].tables["languages-test"][0]  # of the lowest language
    page = read(*finished(tmp_path, codes=("de",)))
    assert "remarks" not in page.tables["languages-test"][0] and "heat" not in page.tables


def test_without_cleanlab_it_is_told_how_label_errors_are_found(whole: Any) -> None:
    run, _, page = whole
    assert "pip install cleanlab, then lingotune report RUN" in page.text
    assert not (run / "label_errors.csv").exists()


@pytest.fixture
def suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes every row which is wrong for an error of its label, without cleanlab."""

    def found(predictions: Predictions) -> list[LabelError]:
        likely = predictions.probabilities.argmax(axis=1)
        wrong = np.flatnonzero(likely != predictions.true).tolist()
        return [LabelError(place, int(likely[place]), 0.1, 0.8) for place in wrong]

    monkeypatch.setattr(likely_label_errors, "is_installed", lambda: True)
    monkeypatch.setattr(likely_label_errors, "version", lambda: "2.9.0")
    monkeypatch.setattr(likely_label_errors, "find_label_errors", found)


def test_likely_label_errors_are_shown_and_listed_to_be_mended(
    tmp_path: Path, suspects: None
) -> None:
    run, data = finished(tmp_path, text="=1+1 <b>")
    validation = predictions_of(9, NAMES, CODES)
    ids = [f"v{n}" for n in range(9)]
    write_predictions(validation, ids, Classes(NAMES), run / VALIDATION_FILE)
    page = read(run, data)
    with (run / "label_errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    predictions = predictions_of(60, NAMES, CODES)
    wrong = [f"id{n}" for n in range(60) if predictions.predicted[n] != predictions.true[n]]
    assert [row["id"] for row in rows if row["split"] == "test"] == wrong
    assert {row["id"] for row in rows if row["split"] == "validation"} < {*ids}
    for row in rows:
        assert row["label"] != row["likely"] and {row["label"], row["likely"]} <= {*NAMES}
    assert rows[0]["text"] == f"'=1+1 <b> number {wrong[0][2:]}"  # no formula of a spreadsheet
    assert f"Likely label errors {len(rows)}" in page.text
    assert "cleanlab 2.9.0) over the 9 validation and 60 test rows, each by models" in page.text
    check_alone(page)


def test_a_table_that_was_changed_is_kept(tmp_path: Path, suspects: None) -> None:
    run, data = finished(tmp_path)
    table = run / "label_errors.csv"
    write_run_report(run, data)
    made = table.read_text()
    write_run_report(run, data)
    assert not list(run.glob("label_errors.csv.*"))
    table.write_text("mended")
    write_run_report(run, data)
    assert table.read_text() == made
    assert (run / "label_errors.csv.earlier").read_text() == "mended"


def test_what_goes_wrong_with_label_errors_keeps_no_page(
    tmp_path: Path, suspects: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = finished(tmp_path)
    (run / VALIDATION_FILE).write_bytes(b"x")
    page = read(run, data)
    assert "They were not found: ConfigError" in page.text and page.tables["languages-test"]


def test_a_run_without_its_log_or_predictions(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    (run / "history.jsonl").unlink()
    (run / FILE).unlink()
    page = read(run, data)
    assert "svg" not in page.tags and page.tables["languages-test"]


def test_without_matplotlib_there_are_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = finished(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    page = read(run, data)
    assert "svg" not in page.tags and page.tables["languages-test"]


# --- bad input ----------------------------------------------------------------------------------


def problem_of(run: Path, data: Path | None = None) -> Any:
    with pytest.raises(ConfigError) as caught:
        write_run_report(run, data)
    (problem,) = caught.value.problems
    return problem


def test_no_run_folder(tmp_path: Path) -> None:
    assert "is no run folder" in problem_of(tmp_path).what


def test_a_run_that_has_not_ended(tmp_path: Path) -> None:
    run, _ = finished(tmp_path)
    (run / "metrics.json").unlink()
    problem = problem_of(run)
    assert "has not come to its end" in problem.what and "--run-dir" in problem.fix


@pytest.mark.parametrize("content", ["{", "{}", '{"job_sha256": "x"}'])
def test_damaged_scores(content: str, tmp_path: Path) -> None:
    run, _ = finished(tmp_path)
    (run / "metrics.json").write_text(content)
    assert problem_of(run).where == str(run / "metrics.json")


def test_damaged_predictions_and_data(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    (data / "test/0.parquet").write_bytes(b"x")
    assert problem_of(run, data).where == str(data / "test/0.parquet")
    assert "is no folder of prepared data" in problem_of(run, tmp_path).what
    (run / FILE).write_bytes(b"x")
    assert problem_of(run).where == str(run / FILE)


def test_data_of_another_run(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    manifest = json.loads((data / "manifest.json").read_text())
    (data / "manifest.json").write_text(json.dumps({**manifest, "digest": "1" * 64}))
    problem = problem_of(run, data)
    assert problem.where == f"--data {data}"
    assert problem.what == "is other data (111111111111) than the run was trained on (000000000000)"


def test_predictions_of_another_run(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    other, _ = finished(tmp_path / "other", rows=61)
    (run / FILE).write_bytes((other / FILE).read_bytes())
    problem = problem_of(run, data)
    assert problem.where == str(run / FILE) and "is of another run: 61 rows" in problem.what


@pytest.mark.parametrize(
    ("key", "inner"),
    [
        ("measured", None),
        ("test", None),
        ("test", "overall"),
        ("measured", "train_seconds"),
        ("data", "sha256"),
    ],
)
def test_scores_with_a_part_missing(key: str, inner: str | None, tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    results = json.loads((run / "metrics.json").read_text())
    del (results[key] if inner else results)[inner or key]
    (run / "metrics.json").write_text(json.dumps(results))
    problem = problem_of(run, data)
    assert problem.where == str(run / "metrics.json") and "python train.py --job" in problem.fix


def test_the_texts_are_found_again(tmp_path: Path) -> None:
    run, data = finished(tmp_path)
    write_data_folder(data, run)
    assert "a text number" in read(run, None).text
    data.rename(tmp_path / "elsewhere")
    page = read(run, None)
    assert "a text number" not in page.text and "report RUN --data FOLDER" in page.text
    (run / "prepared.json").write_text("{")
    assert "a text number" not in read(run, None).text


def test_the_command(tmp_path: Path) -> None:
    folder, data = finished(tmp_path)
    done = run("-m", "lingotune", "report", str(folder), "--data", str(data), cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == f"{folder}/report.html\n", done.stderr
    done = run("-m", "lingotune", "report", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
