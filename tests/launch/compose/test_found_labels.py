"""Short forms of the classes, typed and in group files, and classes that are taken from the data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import ROOT

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import LabelConfig
from lingotune.data.splits.counts import count_rows
from lingotune.launch.compose.compose import Composed, compose_all
from lingotune.launch.compose.labels import with_found_labels
from lingotune.preflight import check_job

COLUMNS = ["data.columns.text=text", "data.columns.language=null"]


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def composed(*typed: str, multirun: bool = False, extra: Path | None = None) -> list[Composed]:
    found = compose_all(
        list(typed),
        ROOT / "conf",
        lambda config: check_job(job_of(config)),
        multirun=multirun,
        extra_dir=extra,
    )
    return with_found_labels(found)


def labels(*typed: str, extra: Path | None = None) -> list[LabelConfig]:
    return composed(*typed, extra=extra)[0].config.data.labels


def names(*typed: str, extra: Path | None = None) -> list[str]:
    assert not any(label.values for label in labels(*typed, extra=extra))
    return [label.name for label in labels(*typed, extra=extra)]


def problem(*typed: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        composed(*typed)
    (only,) = caught.value.problems
    return only


def write(values: list[str], path: str = "r.csv", column: str = "label") -> list[str]:
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["text", column], *([f"text {n}", v] for n, v in enumerate(values))])
    return ["data=files", f"data.path={path}", *COLUMNS, f"data.columns.label={column}"]


# --- short forms --------------------------------------------------------------------------------


def test_a_list_of_names_is_short_for_classes_without_values() -> None:
    typed = ["data=files", "data.path=r.csv"]
    assert names(*typed, 'data.labels=[Billing, "top-up, failed", 3]') == [
        "Billing",
        "top-up, failed",
        "3",
    ]
    mixed = labels(*typed, "data.labels=[{name: a, values: [x]}, b]")
    assert mixed == [LabelConfig("a", ["x"]), LabelConfig("b")]
    assert names(*typed, "data.labels=[true, false]") == ["true", "false"]


def test_short_forms_in_group_files() -> None:
    folder = Path("mine/data")
    folder.mkdir(parents=True)
    (folder / "short.yaml").write_text("defaults: [files]\nlabels: [Billing, Account]\n")
    (folder / "found.yaml").write_text("defaults: [files]\nlabels: auto\n")
    (folder.parent / "experiment").mkdir()
    (folder.parent / "experiment" / "e.yaml").write_text(
        "# @package _global_\ndata:\n  labels: [c, {name: d, values: [x]}]\n"
    )
    typed = write(["b", "a"] * 5)
    assert names("data=short", "data.path=r.csv", extra=Path("mine")) == ["Billing", "Account"]
    assert names("data=found", *typed[1:], extra=Path("mine")) == ["a", "b"]
    experiment = labels("experiment=e", *typed, extra=Path("mine"))
    assert experiment == [LabelConfig("c"), LabelConfig("d", ["x"])]


def test_a_text_is_no_list() -> None:
    found = problem("data=files", "data.path=r.csv", "data.labels=Billing")
    assert found.where == "data.labels=Billing"


# --- classes from the data ----------------------------------------------------------------------


def test_classes_from_the_data_are_sorted_frozen_and_told() -> None:
    typed = write(["top-up", "Q&A: other", "card", "card", " "] * 4, column="intent")
    (one,) = composed(*typed, "data.labels=auto")
    Path("job.yaml").write_bytes(dump_job(job_of(one.config)))
    frozen = load_job("job.yaml")[0].data.labels
    assert [label.name for label in frozen] == ["card", "Q&A: other", "top-up"]
    assert one.findings[-1].what == "3 classes from 'intent': card (8), Q&A: other (4), top-up (4)"
    assert one.findings[-1].fix == "'data.labels=[card, \"Q&A: other\", top-up]'"
    again = composed(*typed, one.findings[-1].fix[1:-1])
    assert again[0].config.data.labels == frozen


def test_numbers_are_sorted_as_numbers() -> None:
    assert names(*write(["10", "9", "2.0", "2"] * 3), "data.labels=auto") == ["2", "9", "10"]
    assert names(*write(["1", "0"] * 3), "data.labels=auto", "data.label_offset=1") == ["1", "2"]


def test_spellings_are_joined_by_what_is_offered() -> None:
    typed = write(["No", "no ", "yes"] * 3)
    found = problem(*typed, "data.labels=auto")
    assert found.what == "values in 'label' differ by case or blanks only: 'No', 'no '"
    assert labels(*typed, found.fix[1:-1]) == [LabelConfig("No", ["no "]), LabelConfig("yes")]


def test_a_column_of_texts_or_of_one_class_gives_no_classes() -> None:
    many = problem(*write([f"v{n}" for n in range(101)]), "data.labels=auto")
    assert many.what == "'label' has more than 100 values, such as 'v0', 'v1', 'v2'"
    assert "or all classes by name in data.labels" in many.fix
    assert len(names(*write([f"v{n}" for n in range(100)]), "data.labels=auto")) == 100
    assert "finds one class in 'label', 'a'" in problem(*write(["a"] * 9), "data.labels=auto").what
    missing = problem(*write(["a", "b"], column="x")[:-1], "data.labels=auto")
    assert missing.key == "data.columns.label"


def test_classes_only_in_other_languages_are_none() -> None:
    rows = [("de", "a"), ("de", "b"), ("fr", "c")]
    records = [{"text": f"t{n}", "language": code, "label": v} for n, (code, v) in enumerate(rows)]
    Path("r.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    typed = ["data=files", "data.path=r.jsonl", "data.columns.text=text", "data.labels=auto"]
    assert names(*typed, "data.languages=[de]") == ["a", "b"]


def test_jobs_of_a_sweep_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from lingotune.data.splits import found_labels

    asked = []
    find = found_labels.find_labels
    monkeypatch.setattr(found_labels, "find_labels", lambda data: asked.append(1) or find(data))
    jobs = composed(*write(["a", "b"] * 5), "data.labels=auto", "lr=1e-5,3e-5", multirun=True)
    assert [[label.name for label in one.config.data.labels] for one in jobs] == [["a", "b"]] * 2
    assert len(asked) == 1


def test_a_source_that_only_the_cluster_reads_is_told() -> None:
    found = problem("data=amazon_reviews_multi", "data.labels=auto", "cluster=p3_16xl")
    assert "the classes are not known before hf://datasets/mteb" in found.what
    assert found.fix.startswith("'data.labels=[a, b]'; lingotune prepare")


def problems_of_lines(lines: list[str], name: str) -> list[Problem]:
    Path(name).write_text("\n".join(lines) + "\n")
    typed = ["data=files", f"data.path={name}", *COLUMNS, "data.columns.label=label"]
    with pytest.raises(ConfigError) as caught:
        composed(*typed, "data.labels=auto")
    return caught.value.problems


def test_what_keeps_rows_from_having_classes_is_told_in_place_of_the_classes() -> None:
    found = problems_of_lines(["text,label", *(f"a, b {n},pos" for n in range(9))], "r.csv")
    assert [p.what for p in found] == ["has too many fields: 3, and the header 2"]
    good = ["x,neg", *(f"t {n},neg" for n in range(9))]
    found = problems_of_lines(["text,label", *good, "a, b,pos"], "r.csv")
    assert [(p.where, p.what) for p in found] == [
        ("r.csv:12", "has too many fields: 3, and the header 2")
    ]
    assert problems_of_lines(["text,label", *good], "r.csv") == [
        Problem(
            "data.labels=auto",
            "finds one class in 'label', 'neg'; a classifier needs two",
            "data.columns.label=COLUMN",
        )
    ]


@pytest.mark.parametrize(
    ("value", "shown", "fix"),
    [
        ({"name": "pos"}, "{'name': 'pos'} (9)", "data.columns.label=label.name"),
        ([["pos"]], "['pos'] (9)", "data.columns.label=COLUMN"),
        ("${pos}", "'${pos}' (9)", "data.columns.label=COLUMN"),
    ],
)
def test_values_that_name_no_class_are_told(value: object, shown: str, fix: str) -> None:
    rows = [json.dumps({"text": f"t {n}", "label": value}) for n in range(9)]
    found = problems_of_lines(rows, "r.jsonl")
    what = f"values in 'label' that name no class: {shown}"
    assert found == [Problem("data.labels=auto", what, fix)]


def test_not_a_number_is_no_label() -> None:
    values = ['"a"', '"b"', "NaN"]
    rows = [f'{{"text": "t {n}", "label": {value}}}' for n, value in enumerate(values * 9)]
    Path("n.jsonl").write_text("\n".join(rows))
    typed = ["data=files", "data.path=n.jsonl", *COLUMNS, "data.columns.label=label"]
    assert names(*typed, "data.labels=auto") == ["a", "b"]
    data = job_of(composed(*typed, "data.labels=[a,b]")[0].config).data
    with pytest.raises(ConfigError) as caught:
        count_rows(data, 1)
    assert [p.what for p in caught.value.problems] == ["has no value in 'label'"]
