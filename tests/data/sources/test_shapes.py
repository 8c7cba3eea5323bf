"""JSON in other shapes, spreadsheets, packed files and folders of texts are read, or say why not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import feather, parquet
from tables import load_splits

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, Source
from lingotune.data.rows.findings import Rejected
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.files import find_files, read_file

ROWS = [{"text": f"Text {n}, schön", "label": ("neg", "pos")[n % 2]} for n in range(30)]
SHEET = """<?xml version="1.0"?>
<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData>
</worksheet>"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(path: Any, **settings: Any) -> DataConfig:
    named = {"text": "text", "label": "label", **settings.pop("columns", {})}
    labels = [LabelConfig("neg", ["1"]), LabelConfig("pos", ["2"])]
    columns = ColumnsConfig(**named)
    return DataConfig("d", Source.files, path=path, columns=columns, labels=labels, **settings)


def count(path: Any, **settings: Any) -> int:
    return sum(len(rows) for rows in load_splits(config(path, **settings), 1).values())


def problems(path: Any, **settings: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_splits(config(path, **settings), 1)
    return caught.value.problems


def read(name: str, **how: Any) -> list[dict[str, Any]]:
    return [record for _, record in read_file(Path(name), how=FileFormat(**how))]


def places(name: str) -> list[str]:
    return [location for location, _ in read_file(Path(name))]


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("before", ["", "\n \n"])
def test_a_list_is_read_under_any_name(ending: str, indent: int | None, before: str) -> None:
    Path("a" + ending).write_text(before + json.dumps(ROWS, indent=indent))
    assert read("a" + ending) == ROWS
    assert len(set(places("a" + ending))) == (30 if indent else 1)


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
@pytest.mark.parametrize("between", ["\n", "\n\n", " "])
def test_objects_over_several_lines_are_read_one_after_another(ending: str, between: str) -> None:
    Path("a" + ending).write_text(between.join(json.dumps(row, indent=2) for row in ROWS[:3]))
    assert read("a" + ending) == ROWS[:3]
    Path("a" + ending).write_text(json.dumps(ROWS[0], indent=2) + '\n{\n "text": ]')
    with pytest.raises(ConfigError, match=":6"):
        read("a" + ending)


def test_a_file_with_one_object_is_one_row() -> None:
    Path("one").mkdir()
    for n, row in enumerate(ROWS):
        record = {**row, "tags": ["a", "b"], "from": {"shop": {"id": n}}}
        Path(f"one/{n}.json").write_text(json.dumps(record, indent=n % 3 or None))
    assert count("one") == 30
    assert places("one/3.json") == ["one/3.json:1"]


INNER = {name: [row[name] for row in ROWS] for name in ROWS[0]}
TABLES: dict[str, Any] = {
    "lists": INNER,
    "columns": {name: {str(n): v for n, v in enumerate(of)} for name, of in INNER.items()},
    "index": {str(n): row for n, row in enumerate(ROWS)},
    "split": {
        "columns": ["text", "label"],
        "index": [*range(30)],
        "data": [[*r.values()] for r in ROWS],
    },
    "table": {"schema": {"fields": [{"name": "text"}], "pandas_version": "1.4.0"}, "data": ROWS},
}
"""What DataFrame.to_json writes, by its `orient`."""


@pytest.mark.parametrize("orient", TABLES)
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_tables_as_pandas_writes_them_are_read(orient: str, ending: str) -> None:
    Path("a" + ending).write_text(json.dumps(TABLES[orient], indent=1))
    assert read("a" + ending) == ROWS
    assert count("a" + ending) == 30


def test_lines_that_were_taken_out_of_a_list_are_lines() -> None:
    Path("a.jsonl").write_text("".join(json.dumps(row) + ",\n" for row in ROWS))
    assert read("a.jsonl") == ROWS


@pytest.mark.parametrize("table", [{"a": [1, 2], "b": [3]}, {"train": ROWS, "test": ROWS}])
def test_an_object_that_is_a_table_is_no_row(table: dict[str, Any]) -> None:
    Path("a.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match="is one JSON object with: "):
        read("a.json")


def test_a_bad_first_line_is_one_row() -> None:
    Path("a.jsonl").write_text('[1]\n{"text": "a"}\n{"text"\n')
    rejected: list[Rejected] = []
    assert len(list(read_file(Path("a.jsonl"), on_fault=rejected.append))) == 1
    assert [(r.place, r.reason) for r in rejected] == [(1, "not-an-object"), (3, "broken-json")]


# --- nested columns -----------------------------------------------------------------------------


def nested(row: dict[str, Any]) -> dict[str, Any]:
    return {"review": {"text": row["text"], "by": {"lang": "en"}}, "ann": {"label": row["label"]}}


def test_a_dot_leads_deeper_into_a_record() -> None:
    Path("n.jsonl").write_text("".join(json.dumps(nested(row)) + "\n" for row in ROWS))
    columns = {"text": "review.text", "label": "ann.label", "language": "review.by.lang"}
    assert count("n.jsonl", columns=columns) == 30
    found = problems("n.jsonl", columns={"language": "lang"})
    assert found == [
        Problem(
            f"data.columns.{name}={typed}",
            f"column {typed!r} is not in n.jsonl; it has: review.text, review.by.lang, ann.label",
            fix,
        )
        for name, typed, fix in (
            ("text", "text", "data.columns.text=review.text"),
            (
                "language",
                "lang",
                "data.columns.language=review.by.lang, or data.columns.language=null",
            ),
            ("label", "label", "data.columns.label=ann.label"),
        )
    ]


def test_a_column_with_a_dot_in_its_name_is_itself() -> None:
    lines = ["a.text,label", *(f"{n},{('neg', 'pos')[n % 2]}" for n in range(20))]
    Path("d.csv").write_text("\n".join(lines))
    assert count("d.csv", columns={"text": "a.text"}) == 20


# --- spreadsheets -------------------------------------------------------------------------------


def cell(value: Any) -> str:
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, (int, float)):
        return f"<c><v>{value}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


def write_sheets(path: str, sheets: dict[str, list[list[Any]]]) -> None:
    """An .xlsx with as little in it as the format allows."""
    space = "http://schemas.openxmlformats.org"
    numbered = list(enumerate(sheets.items(), 1))
    names = "".join(
        f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, (name, _) in numbered
    )
    relations = "".join(
        f'<Relationship Id="r{n}" Target="worksheets/s{n}.xml"'
        f' Type="{space}/officeDocument/2006/relationships/worksheet"/>'
        for n, _ in numbered
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{space}/package/2006/relationships"><Relationship Id="r1"'
            f' Type="{space}/officeDocument/2006/relationships/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>',
        )
        book.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{space}/spreadsheetml/2006/main"'
            f' xmlns:r="{space}/officeDocument/2006/relationships"><sheets>{names}</sheets></workbook>',
        )
        book.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{space}/package/2006/relationships">{relations}</Relationships>',
        )
        for n, (_, rows) in numbered:
            lines = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            book.writestr(f"xl/worksheets/s{n}.xml", SHEET.format(lines))


TABLE: list[list[Any]] = [
    [" text ", "stars", "", "seen"],
    ["schön", 4, None, True],
    [None, None, None, None],
    ["007", 4.5, None, False],
    ["three", None, None, None],
]


def test_a_spreadsheet_is_read() -> None:
    write_sheets("a.xlsx", {"Tabelle 1": TABLE, "empty": []})
    assert read("a.xlsx") == [
        {"text": "schön", "stars": 4, "seen": True},
        {"text": "007", "stars": 4.5, "seen": False},
        {"text": "three", "stars": None, "seen": None},
    ]
    assert places("a.xlsx") == ["a.xlsx row 2", "a.xlsx row 4", "a.xlsx row 5"]
    write_sheets("b.xlsx", {"s": [["text", "label"], *([r["text"], r["label"]] for r in ROWS)]})
    assert count("b.xlsx") == 30


def test_numbers_among_texts_are_texts() -> None:
    """A spreadsheet makes a number of every text that looks like one."""
    cells = [
        [2024, "neg"],
        [4.5, "pos"],
        [True, "neg"],
        ["text", "pos"],
        [None, "neg"],
        [1e3, "neg"],
    ]
    write_sheets("a.xlsx", {"s": [["text", "label"], *cells]})
    told: list[str] = []
    found = [record["text"] for _, record in read_file(Path("a.xlsx"), on_remark=told.append)]
    assert found == ["2024", "4.5", "TRUE", "text", None, "1000"]
    assert told == ["a.xlsx: 4 values are no text in 'text', and read as written there"]
    write_sheets("a.xlsx", {"s": [["text", "label"], *([f"t {n}", 1 + n % 2] for n in range(30))]})
    assert count("a.xlsx") == 30 and read("a.xlsx")[0]["label"] == 1, (
        "a column of numbers stays one"
    )


def test_of_several_sheets_one_is_named() -> None:
    write_sheets("a.xlsx", {"train": TABLE, "held out": TABLE[:2], "notes": []})
    (problem,) = problems("a.xlsx")
    assert problem.what == "has rows in 2 sheets: 'train', 'held out'; one is read"
    assert problem.fix == "data.sheet=train, or 'data.sheet=\"held out\"'"
    assert len(read("a.xlsx", sheet="held out")) == 1
    (problem,) = problems("a.xlsx", sheet="test")
    assert problem.what == "has no sheet 'test'; it has: 'train', 'held out', 'notes'"


def test_what_is_wrong_with_a_spreadsheet_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    write_sheets("a.xlsx", {"s": [["text", "label"], ["a", "neg", "more"], ["b", "pos"]]})
    rejected: list[Rejected] = []
    assert len(list(read_file(Path("a.xlsx"), on_fault=rejected.append))) == 1
    assert [(r.place, r.reason) for r in rejected] == [(2, "too-many-fields")]
    write_sheets("a.xlsx", {"s": [["text", "text"], ["a", "neg"]]})
    assert problems("a.xlsx")[0].what == "the header names a column twice: 'text'"
    write_sheets("a.xlsx", {"s": [["text", "label"]]})
    assert problems("a.xlsx")[0].what == "has no rows"
    Path("a.xlsx").write_text("text,label\n")
    assert problems("a.xlsx")[0].what.startswith("is not a whole spreadsheet: ")
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    assert problems("a.xlsx")[0].fix == "pip install 'lingotune[xlsx]'"


# --- packed files -------------------------------------------------------------------------------


def write_zip(path: str, files: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize("name", ["a.zip", "a.jsonl.zip"])
def test_the_one_file_in_a_zip_is_read(name: str) -> None:
    write_zip(name, {"in/": "", "in/rows.jsonl": LINES, "__MACOSX/in/._rows.jsonl": "x"})
    assert read(name) == ROWS
    assert places(name)[1] == f"{name}:2"
    assert count(name) == 30
    Path("in").mkdir()
    Path(name).rename(f"in/{name}")
    assert count("in") == 30


def test_a_zip_of_more_or_less_than_one_file_is_told() -> None:
    write_zip("a.zip", {"train.csv": "a", "test.csv": "b"})
    expected = Problem(
        "a.zip", "holds 2 files: train.csv, test.csv", "unzip a.zip -d a, then data.path=a"
    )
    assert problems("a.zip") == [expected]
    write_zip("a.zip", {})
    assert problems("a.zip")[0].what == "holds no file"
    write_zip("a.zip", {"a.parquet": "x"})
    assert problems("a.zip")[0].what == "holds a.parquet, of a type that is not read out of a .zip"
    Path("a.zip").write_bytes(b"PK")
    assert problems("a.zip")[0].what.startswith("is not a whole zip file: ")
    write_zip("a.zip", {"a.jsonl": LINES})
    content = Path("a.zip").read_bytes()
    Path("a.zip").write_bytes(content[:60] + b"\xff\xff" + content[62:])
    assert problems("a.zip")[0].what.startswith("is not a whole zip file: ")


# --- folders of texts ---------------------------------------------------------------------------


def write_texts(root: str, each: int = 15) -> None:
    for label in ("neg", "pos"):
        for n in range(each):
            file = Path(root, label, f"{n}.txt")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{root} {label} {n}\nsecond line\n")


@pytest.mark.parametrize("path", ["in", "in/*/*.txt", ["in/pos/*.txt", "in/neg/*.txt"]])
def test_a_folder_of_texts_for_each_class_is_read(path: Any) -> None:
    write_texts("in")
    splits = load_splits(config(path), 1)
    assert sum(len(rows) for rows in splits.values()) == 30
    assert all(
        text.split()[1] == ("neg", "pos")[label] and text.endswith("second line")
        for rows in splits.values()
        for text, label in zip(rows.text, rows.label)
    )


def test_such_folders_may_lie_in_splits() -> None:
    write_texts("in/train")
    write_texts("in/test", 5)
    Path("in/README.txt").touch()
    splits = load_splits(config("in"), 1)
    assert {text.split()[0] for text in splits["test"].text} == {"in/test"}
    assert (len(splits["test"]), len(splits["train"]) + len(splits["validation"])) == (10, 30)


def test_the_columns_that_are_named_are_filled() -> None:
    write_texts("in")
    assert count("in", columns={"text": "body", "label": "queue"}) == 30
    assert count("in", columns={"text": "body", "stars": "stars", "label": None}) == 30


def test_a_text_file_by_itself_has_no_class() -> None:
    Path("a.txt").write_text("a text")
    assert problems("a.txt")[0].what == "unknown file type '.txt'"


# --- Parquet and folders of Spark ---------------------------------------------------------------


def test_bytes_and_decimals_are_texts_and_numbers() -> None:
    rows = [{"text": f"schön {n}".encode(), "label": Decimal(1 + n % 2)} for n in range(30)]
    rows += [{"text": None, "label": Decimal("1.5")}, {"text": b"\xff", "label": Decimal(1)}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), "b.parquet")
    rejected: list[Rejected] = []
    found = [record for _, record in read_file(Path("b.parquet"), on_fault=rejected.append)]
    assert found[1] == {"text": "schön 1", "label": 2}
    assert found[30] == {"text": None, "label": 1.5}
    assert [(r.place, r.reason) for r in rejected] == [(32, "not-utf8")]


def test_feather_is_arrow() -> None:
    feather.write_feather(pyarrow.Table.from_pylist(ROWS), "a.feather")
    assert read("a.feather") == ROWS


def test_dictionaries_and_large_strings_are_texts() -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    large = table.cast(
        pyarrow.schema([("text", pyarrow.large_string()), ("label", pyarrow.string())])
    )
    parquet.write_table(
        large.set_column(1, "label", large["label"].dictionary_encode()), "a.parquet"
    )
    assert read("a.parquet") == ROWS


def test_folders_that_name_a_value_fill_its_column() -> None:
    for code in ("en", "de"):
        Path(f"in/lang={code}").mkdir(parents=True)
        Path(f"in/lang={code}/part.jsonl").write_text(LINES.replace("Text", code))
    splits = load_splits(config("in/**/*.jsonl", columns={"language": "lang"}), 1)
    assert sum(len(rows) for rows in splits.values()) == 60
    for rows in splits.values():
        assert [text[:2] for text in rows.text] == rows.language


# --- several paths ------------------------------------------------------------------------------


def test_several_paths_are_one_source() -> None:
    for name, rows in (("a.jsonl", ROWS[:10]), ("b.jsonl", ROWS[10:])):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert count(["a.jsonl", "b.jsonl"]) == 30
    assert count(["*.jsonl", "a.jsonl"]) == 30, "a file counts once"
    splits = load_splits(
        DataConfig(
            "d",
            Source.files,
            train=["a.jsonl", "b.jsonl"],
            columns=ColumnsConfig(text="text", label="label"),
            labels=config("").labels,
        ),
        1,
    )
    assert sum(len(rows) for rows in splits.values()) == 30
    assert [p.where for p in problems(["a.jsonl", "x.csv", "y.csv"])] == [
        "data.path=x.csv",
        "data.path=y.csv",
    ]


def test_links_lead_to_each_file_once() -> None:
    Path("in").mkdir()
    Path("in/a.jsonl").write_text(LINES)
    Path("in/loop").symlink_to(".")
    Path("in/b.jsonl").symlink_to("a.jsonl")
    for path in ("in", "in/**/*.jsonl", ["in/a.jsonl", "in/b.jsonl"]):
        assert count(path) == 30, path
    Path("gone.jsonl").symlink_to("nowhere.jsonl")
    assert problems("gone.jsonl")[0].fix == "is a link to nowhere.jsonl, which is not there"


def test_separators_at_the_end_of_rows_are_nothing() -> None:
    lines = [f"text {n},{('neg', 'pos')[n % 2]},," for n in range(30)]
    Path("e.csv").write_text("\n".join(["text,label", *lines]))
    assert count("e.csv") == 30
    Path("e.csv").write_text("\n".join(["text,label", *lines, "a,neg,,more"]))
    assert problems("e.csv")[0].what == "has too many fields: 4, and the header 2"


def test_settings_that_concern_no_file_are_told() -> None:
    Path("a.jsonl").write_text(LINES)
    assert count("a.jsonl", encoding="utf-8") == 30
    found = problems("a.jsonl", sheet="one")
    assert found == [
        Problem("data.sheet=one", "has no effect on .jsonl files", "data.sheet=null"),
    ]
    assert len(find_files("a.jsonl", "data.path")) == 1


@pytest.mark.parametrize("raw", ["1", "1.0", "1,0", " 1,00 "])
def test_labels_with_decimals_are_whole_numbers(raw: str) -> None:
    lines = [f"text {n};{raw if n % 2 else '2,0'}" for n in range(30)]
    Path("l.csv").write_text("\n".join(["text;label", *lines]))
    assert count("l.csv") == 30
    Path("l.csv").write_text("\n".join(["text;label", *lines, "b;1,000"]))
    assert "'1,000' in 'label' is not in data.labels" in problems("l.csv")[0].what


# --- tables without a header --------------------------------------------------------------------

HEADLESS = [[str(1 + n % 5), f"a text, number {n} of all", ("en", "de")[n % 2]] for n in range(40)]
NAMES = ("stars", "review_body", "language")
STARS = [LabelConfig("neg", ["1", "2"]), LabelConfig("pos", ["3", "4", "5"])]


def write_headless(name: str) -> None:
    if name.endswith(".xlsx"):
        write_sheets(name, {"s": [*HEADLESS]})
        return
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if ".tsv" in name else ",").writerows(HEADLESS)
    content = text.getvalue().encode()
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.xlsx"])
def test_names_of_columns_are_given_where_a_table_has_none(name: str) -> None:
    write_headless(name)
    expected = [dict(zip(NAMES, row)) for row in HEADLESS]
    found = read(name, header=NAMES)
    assert [{key: str(value) for key, value in row.items()} for row in found] == expected
    assert places(name) != [
        location for location, _ in read_file(Path(name), how=FileFormat(header=NAMES))
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.xlsx"])
def test_a_first_row_that_is_no_header_is_told_with_the_names_that_work(name: str) -> None:
    write_headless(name)
    columns = ColumnsConfig(text="review_body", stars="stars", language="language")
    settings: dict[str, Any] = {"path": name, "columns": columns, "labels": STARS}
    with pytest.raises(ConfigError) as caught:
        load_splits(DataConfig("d", Source.files, **settings), 1)
    (problem,) = caught.value.problems
    assert problem.where == "data.columns" and "first row is no header: 1 | a text" in problem.what
    assert problem.fix == "'data.header=[stars,review_body,language]'"
    loaded = load_splits(DataConfig("d", Source.files, header=[*NAMES], **settings), 1)
    assert sum(map(len, loaded.values())) == 40
    assert {code for rows in loaded.values() for code in rows.language} == {"en", "de"}


def test_a_header_of_long_names_is_a_header() -> None:
    """A survey's columns are named by questions: the names are offered beside the usual advice."""
    Path("a.csv").write_text("How did you like it here?,Would you come again?\n" + "well,yes\n" * 3)
    problem, *others = problems("a.csv")
    assert problem.where == "data.columns.text=text"
    assert problem.fix.startswith("data.columns.text=COLUMN, or 'data.header=[text,")
    assert others and all("header" not in other.fix for other in others)


def test_names_that_do_not_fit_a_table_are_told() -> None:
    write_headless("a.csv")
    (problem,) = problems("a.csv", header=["stars", "text"])
    assert "has too many fields: 3, and data.header 2" in problem.what
    assert problem.fix.startswith("""'data.header=[stars,text,"column 3"]'""")
    (problem,) = problems("a.csv", header=["a", "a", "b"])
    assert problem.what == "needs a name of its own for each column"
    (Path("b.csv")).write_text("7,seven,7\n")
    with pytest.raises(ConfigError, match="names a column twice: '7'") as caught:
        read("b.csv")
    assert 'data.header=["column 1","column 2","column 3"]' in caught.value.problems[0].fix
    Path("r.jsonl").write_text('{"text": "a", "label": "neg"}\n')
    assert problems("r.jsonl", header=["text"]) == [
        Problem("data.header=[text]", "has no effect on .jsonl files", "data.header=[]")
    ]


def test_a_header_beside_given_names_is_a_bad_row() -> None:
    Path("a.csv").write_text("text,label\na,1\n")
    (problem,) = problems("a.csv", header=["text", "label"])
    assert problem.where == "a.csv:1" and problem.what == "is the header once more"


def test_rows_without_any_column_are_told() -> None:
    Path("a.csv.jsonl").write_text("{}\n" * 3)
    assert "it has no columns" in problems("a.csv.jsonl")[0].what
