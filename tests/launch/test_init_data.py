"""`lingotune prepare --init` looks at a source and writes a group file with which it works."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from lingotune.cli.prepare import main
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import DataConfig, LabelConfig, OnError, Separator
from lingotune.data.splits.counts import count_rows
from lingotune.launch.compose.compose import compose_all
from lingotune.preflight import check_job


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINGOTUNE_CONFIG", "")


def write(path: str, rows: list[dict[str, Any]]) -> None:
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        if path.endswith(".csv"):
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def made(name: str) -> DataConfig:
    """The data of the option that was written, which has to be sound as a whole."""
    (one,) = compose_all(
        [f"data={name}"], ROOT / "conf", lambda config: check_job(job_of(config)),
        multirun=False, extra_dir=Path("my-conf"),
    )  # fmt: skip
    data = job_of(one.config).data
    rows, _ = count_rows(data, 1)
    assert rows and rows["train"] > 0
    return data


def problem(*typed: str) -> str:
    with pytest.raises(ConfigError) as caught:
        main(typed)
    return str(caught.value)


def test_pairs_are_recognised_by_the_names_of_their_columns() -> None:
    rows = [
        {"id": n, "premise": f"a text {n}", "hypothesis": f"a much longer text than that, {n}",
         "label": ("yes", "no")[n % 2], "lang": "en"}
        for n in range(40)
    ]  # fmt: skip
    write("nli.jsonl", rows)
    assert main(["--init", "nli.jsonl"]) == 0
    columns = made("nli").columns
    assert (columns.text, columns.text_pair, columns.label) == ("premise", "hypothesis", "label")
    main(["--init", "my-conf/data/one.yaml", "data.path=nli.jsonl", "data.columns.text=hypothesis"])
    columns = made("one").columns
    assert (columns.text, columns.text_pair) == ("hypothesis", None)
    main(
        ["--init", "my-conf/data/two.yaml", "data.path=nli.jsonl", "data.columns.text_pair=premise"]
    )
    columns = made("two").columns
    assert (columns.text, columns.text_pair) == ("hypothesis", "premise")


def test_columns_are_recognised_by_their_names_or_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes = ["en-US", "DE", "french"]
    write("Support tickets.csv", [
        {"nr": n, "Kommentar": f"a text of some length, number {n}", "queue": "no" if n % 3 else "yes",
         "locale": codes[n % 3]}
        for n in range(60)
    ])  # fmt: skip
    assert main(["--init", "Support tickets.csv"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("next: python train.py --config-dir my-conf data=Support-tickets\n")
    assert (
        "# Rows by class: no 40, yes 20." in said
        and "# Rows by language: en 20, de 20, fr 20." in said
    )
    data = made("Support-tickets")
    assert (data.columns.text, data.columns.label) == ("Kommentar", "queue")
    assert (data.columns.language, data.columns.stars) == ("locale", None)
    assert data.labels == [LabelConfig("no"), LabelConfig("yes")]
    assert data.max_length == 32 and data.path == str(Path("Support tickets.csv").absolute())


def test_spellings_are_joined_and_what_cannot_be_used_is_left_out() -> None:
    labels = ["Good", "good ", "BAD", "bad"] * 10
    rows = [{"text": f"t{n}", "label": label} for n, label in enumerate(labels)]
    write(
        "r.jsonl", [*rows, {"text": " ", "label": "bad"}, {"text": "x", "label": ["bad", "Good"]}]
    )
    main(["--init", "my-conf/data/mine.yaml", "data.path=r.jsonl"])
    data = made("mine")
    assert data.labels == [LabelConfig("BAD", ["bad"]), LabelConfig("Good", ["good "])]
    assert (data.on_error, data.max_rejected) == (OnError.skip, 0.05)


def test_stars_keep_their_classes_and_what_is_typed_stays() -> None:
    rows = [{"review": f"t{n}", "rating": n % 5 + 1, "sub": "xy"[n % 2]} for n in range(50)]
    write("s.jsonl", rows)
    main(["--init", "my-conf/data/stars.yaml", "data.path=s.jsonl"])
    stars = made("stars")
    assert stars.columns.stars == "rating" and stars.labels[0].name == "negative"
    typed = ["data.columns.label=sub", "data.columns.stars=null", "data.max_length=77"]
    main(["--init", "my-conf/data/sub.yaml", "data.path=s.jsonl", *typed])
    sub = made("sub")
    assert (sub.columns.label, sub.columns.stars, sub.max_length) == ("sub", None, 77)


def test_what_would_not_be_found_or_is_there_is_refused() -> None:
    write("r.jsonl", [{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(20)])
    assert "in a folder named data" in problem("--init", "mine.yaml", "data.path=r.jsonl")
    main(["--init", "r.jsonl"])
    assert "is there already" in problem("--init", "r.jsonl")
    write("one.jsonl", [{"text": f"t{n}"} for n in range(20)])
    assert "no column looks like it; there are: text" in problem("--init", "one.jsonl")


def test_encoding_and_separator_that_were_seen_are_written() -> None:
    lines = ["text;label", *(f"schön {n};{'ab'[n % 2]}" for n in range(40))]
    Path("old.csv").write_bytes("\n".join(lines).encode("cp1252"))
    main(["--init", "old.csv"])
    data = made("old")
    assert (data.encoding, data.separator) == ("cp1252", Separator.semicolon)
    Path("new.csv").write_text("\n".join(lines).replace(";", ","), encoding="utf-8")
    main(["--init", "new.csv"])
    data = made("new")
    assert (data.encoding, data.separator) == ("auto", Separator.auto), (
        "nothing out of the ordinary"
    )
    for name in ("old", "new"):
        Path("in").mkdir(exist_ok=True)
        Path(f"{name}.csv").rename(f"in/{name}.csv")
    main(["--init", "my-conf/data/both.yaml", "data.path=in"])
    data = made("both")
    assert (data.encoding, data.separator) == ("auto", Separator.auto), "each file for itself"


def test_columns_within_objects_are_recognised() -> None:
    rows = [
        {"review": {"text": f"a text, number {n}", "lang": "en"}, "ann": {"label": "ab"[n % 2]}}
        for n in range(40)
    ]
    write("n.jsonl", rows)
    main(["--init", "n.jsonl"])
    columns = made("n").columns
    assert (columns.text, columns.label) == ("review.text", "ann.label")
    assert columns.language == "review.lang"


def test_rows_that_cannot_be_read_are_told_in_place_of_columns() -> None:
    Path("r.csv").write_text("text,label\n" + "".join(f"a, b {n},x\n" for n in range(9)))
    assert "has too many fields: 3, and the header 2" in problem("--init", "r.csv")


@pytest.mark.parametrize("classes", ["431", ["good", "bad"]])
def test_a_table_without_a_header_loses_no_row(classes: Sequence[str]) -> None:
    languages = itertools.cycle(["en", "de"])
    rows = [[classes[n % len(classes)], f"a text, number {n}", next(languages)] for n in range(60)]
    with Path("r.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert main(["--init", "r.csv"]) == 0
    data = made("r")
    assert data.header == [data.columns.stars or data.columns.label, "review_body", "language"]
    rows_by_split, _ = count_rows(data, 1)
    assert sum(rows_by_split.values()) == 60
