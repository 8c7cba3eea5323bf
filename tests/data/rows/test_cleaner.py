"""Rows that are wrong are told or skipped, each with its place; good ones come out as they are."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet
from tables import collect, star_labels
from waiting import PATIENCE

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import PATTERN_LANGUAGE, ColumnsConfig, DataConfig, OnError, Source
from lingotune.data.rows.cleaner import Cleaner, Row
from lingotune.data.rows.findings import Located, Rejected
from lingotune.data.rows.ids import IdHashes
from lingotune.data.rows.rejected import RejectedFile
from lingotune.data.rows.unicode import is_blank, to_nfc
from lingotune.data.sources.file_format import format_of
from lingotune.data.sources.files import find_files, read_files

LABELS = star_labels("negative", "neutral", "positive")
COLUMNS = ColumnsConfig(text="text", stars="stars", label=None, language="language", id="id")
# Of a file that has to be UTF-8 each row that is not is a bad one.
STOP = DataConfig(
    "d", Source.files, columns=COLUMNS, labels=LABELS, languages=["en"], encoding="utf-8"
)
SKIP = replace(STOP, on_error=OnError.skip, max_rejected=1.0)
NAMES = ["id", "text", "stars", "language"]
JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(n: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"r{n}", "text": f"text {n}", "stars": 1 + n % 5, "language": "en", **changes}


class Read:
    """What came of files that were read in skip mode."""

    def __init__(self, pattern: str, data: DataConfig = SKIP) -> None:
        self.rejected: list[Rejected] = []
        self.cleaner = Cleaner(data, "train", on_reject=self.rejected.append)
        files = find_files(pattern, "data.path")
        records = read_files(files, self.cleaner.on_fault, format_of(data))
        self.rows = list(self.cleaner.rows(records))

    @property
    def places(self) -> list[tuple[int, str]]:
        return [(rejected.place, rejected.reason) for rejected in self.rejected]


def stopped(pattern: str, data: DataConfig = STOP) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        files = find_files(pattern, "data.path")
        collect(read_files(files, how=format_of(data)), data, "train")
    return caught.value.problems


# --- files with faults --------------------------------------------------------------------------

# What is wrong with the record of a row.
RECORDS: dict[str, dict[str, Any]] = {
    "empty-text": {"text": ""},
    "unknown-label": {"stars": 9},
    "no-label": {"stars": None},
    "no-language": {"language": None},
    "nul-character": {"text": "a\0b"},
    "duplicate-id": {"id": "r0"},
}
JSON_RECORDS: dict[str, dict[str, Any]] = {
    **RECORDS,
    "not-text": {"text": ["a"]},
    "half-surrogate": {"text": "a\ud83d"},
}
# Lines that are no record, and what they lack.
JSON_LINES = {
    "broken-json": b'{"id": "r", "text": "a"',
    "not-an-object": b'["a", 5]',
    "not-utf8": '{"id": "x", "text": "café", "stars": 5, "language": "en"}'.encode("latin1"),
}
CSV_LINES = {
    "too-few-fields": "r,{0}a",
    "too-many-fields": "r{0}a{0}5{0}en{0}more",
    "not-utf8": 'x{0}"ca\nfé"{0}5{0}en',
}
FILTERED = "filtered"
GOOD = "good"
Item = tuple[str, str]


def json_object(n: int, kind: str, text: str) -> bytes:
    changes = JSON_RECORDS.get(kind, {"text": text})
    language = "de" if kind == FILTERED else "en"
    return json.dumps({**record(n), "language": language, **changes}).encode()


def jsonl(items: list[Item]) -> tuple[bytes, list[int]]:
    lines = [JSON_LINES.get(kind) or json_object(n, kind, t) for n, (kind, t) in enumerate(items)]
    return b"\r\n".join(lines), list(range(1, len(items) + 1))


def json_list(items: list[Item]) -> tuple[bytes, list[int]]:
    lines = [JSON_LINES.get(kind) or json_object(n, kind, t) for n, (kind, t) in enumerate(items)]
    return b"[\n" + b",\n".join(lines) + b"\n]\n", list(range(2, len(items) + 2))


def wrapped(items: list[Item]) -> tuple[bytes, list[int]]:
    lines = [JSON_LINES.get(kind) or json_object(n, kind, t) for n, (kind, t) in enumerate(items)]
    return b'{"data": [' + b",".join(lines) + b"]}", list(range(1, len(items) + 1))


def delimited(delimiter: str) -> Callable[[list[Item]], tuple[bytes, list[int]]]:
    def write(items: list[Item]) -> tuple[bytes, list[int]]:
        content, places = delimiter.join(NAMES).encode() + b"\n", []
        for n, (kind, text) in enumerate(items):
            places.append(content.count(b"\n") + 1)
            if kind in CSV_LINES:
                content += CSV_LINES[kind].format(delimiter).encode("latin1") + b"\n"
                continue
            language = "de" if kind == FILTERED else "en"
            changes = RECORDS.get(kind, {"text": text})
            row = io.StringIO()
            writer = csv.DictWriter(row, NAMES, delimiter=delimiter, quoting=csv.QUOTE_ALL)
            writer.writerow({**record(n), "language": language, **changes})
            content += row.getvalue().encode()
        return content, places

    return write


def parquet_bytes(items: list[Item]) -> tuple[bytes, list[int]]:
    rows = []
    for n, (kind, text) in enumerate(items):
        language = "de" if kind == FILTERED else "en"
        rows.append({**record(n), "language": language, **RECORDS.get(kind, {"text": text})})
    table = pyarrow.Table.from_pylist(rows)
    texts = [
        b"caf\xe9" if k == "not-utf8" else r["text"].encode() for (k, _), r in zip(items, rows)
    ]
    binary = pyarrow.array(texts, pyarrow.binary())
    column = pyarrow.Array.from_buffers(pyarrow.string(), len(texts), binary.buffers())
    table = table.set_column(1, "text", column)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink, row_group_size=3)
    return bytes(sink.getvalue()), list(range(1, len(items) + 1))


def zipped(
    write: Callable[[list[Item]], tuple[bytes, list[int]]],
) -> Callable[[list[Item]], tuple[bytes, list[int]]]:
    def write_zipped(items: list[Item]) -> tuple[bytes, list[int]]:
        content, places = write(items)
        return gzip.compress(content), places

    return write_zipped


IN_LIST = {k: v for k, v in JSON_LINES.items() if k != "broken-json"}
FORMATS: dict[str, tuple[Callable[[list[Item]], tuple[bytes, list[int]]], list[str]]] = {
    "a.jsonl": (jsonl, [*JSON_RECORDS, *JSON_LINES]),
    "a.jsonl.gz": (zipped(jsonl), [*JSON_RECORDS, *JSON_LINES]),
    "lines.json": (jsonl, [*JSON_RECORDS, *JSON_LINES]),
    "a.json": (json_list, [*JSON_RECORDS, *IN_LIST]),
    "wrapped.json": (wrapped, [*JSON_RECORDS, *IN_LIST]),
    "a.csv": (delimited(","), [*RECORDS, *CSV_LINES]),
    "a.csv.gz": (zipped(delimited(",")), [*RECORDS, *CSV_LINES]),
    "a.tsv": (delimited("\t"), [*RECORDS, *CSV_LINES]),
    "a.parquet": (parquet_bytes, [*RECORDS, "not-utf8"]),
}
TEXTS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    .filter(lambda text: not is_blank(text))
    .map(to_nfc)
)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, list[Item]]:
    """The name of a file and what is in its rows; the first is good."""
    name = draw(st.sampled_from(list(FORMATS)))
    kinds = st.one_of(st.just(GOOD), st.sampled_from([FILTERED, *FORMATS[name][1]]))
    return name, [(GOOD, draw(TEXTS)), *draw(st.lists(st.tuples(kinds, TEXTS), max_size=12))]


@given(planted())
@settings(max_examples=300)
def test_every_row_is_kept_rejected_or_filtered(file: tuple[str, list[Item]]) -> None:
    name, items = file
    content, places = FORMATS[name][0](items)
    Path(name).write_bytes(content)
    read = Read(name)
    kinds = [kind for kind, _ in items]
    good = [text for kind, text in items if kind == GOOD]
    faults = [(p, kind) for p, kind in zip(places, kinds) if kind not in (GOOD, FILTERED)]
    assert [row.text for row in read.rows] == good
    assert [row.id for row in read.rows] == [
        f"r{n}" for n, kind in enumerate(kinds) if kind == GOOD
    ]
    assert read.places == faults
    assert {rejected.file for rejected in read.rejected} <= {name}
    assert all(len(r.raw) <= 2000 and r.raw.encode() and r.message for r in read.rejected)
    cleaner = read.cleaner
    assert cleaner.rejected == Counter(kind for _, kind in faults)
    assert (cleaner.read, cleaner.kept) == (len(items), len(good))
    assert cleaner.filtered == kinds.count(FILTERED)
    assert cleaner.read == cleaner.kept + cleaner.filtered + sum(cleaner.rejected.values())
    assert cleaner.problems() == []
    told = {kind for _, kind in faults} - {"duplicate-id"}
    with suppress(ConfigError):
        collect(read_files([Path(name)], how=format_of(STOP)), STOP, "train")
        assert not told, "stop mode would have kept them"


@given(st.sampled_from(list(FORMATS)), st.lists(TEXTS, min_size=1, max_size=8))
@settings(max_examples=60)
def test_a_clean_file_is_the_same_in_both_modes(name: str, texts: list[str]) -> None:
    Path(name).write_bytes(FORMATS[name][0]([(GOOD, text) for text in texts])[0])
    rows = collect(read_files([Path(name)]), STOP, "train")
    read = Read(name)
    assert [row.text for row in read.rows] == rows.text == texts
    assert [row.id for row in read.rows] == rows.id
    assert [row.stars for row in read.rows] == rows.stars
    assert (read.rejected, read.cleaner.problems()) == ([], [])


# --- the list of bad input ----------------------------------------------------------------------

BAD: dict[str, tuple[Any, str, str]] = {
    "broken JSON line": (b'{"text": "a', "broken-json", "is not JSON: Unterminated string"),
    "no object": (b"7", "not-an-object", "is a JSON number, not an object"),
    "mixed encodings": (JSON_LINES["not-utf8"], "not-utf8", "is not UTF-8: byte 0xe9 at offset "),
    "NUL in a line": (b'{"text": "a\0b"}', "broken-json", "is not JSON: Invalid control character"),
    "NUL": ({"text": "a\0b"}, "nul-character", "has a NUL character in 'text'"),
    "half a pair": ({"text": "\udc00"}, "half-surrogate", "has half a surrogate pair, U+DC00, in"),
    "half a pair in the id": ({"id": "\ud83d"}, "half-surrogate", "U+D83D, in 'id'"),
    "half a pair in the language": ({"language": "e\ud83d"}, "half-surrogate", "in 'language'"),
    "wrong type": ({"text": 5}, "not-text", "has no text, but 5, in 'text'"),
    "wrong type of title": ({"title": 5}, "title-not-text", "has no text, but 5, in 'title'"),
    "None": ({"text": None}, "empty-text", "has no text in 'text'"),
    "empty": ({"text": ""}, "empty-text", "has no text in 'text'"),
    "whitespace": ({"text": " \u3000\n"}, "empty-text", "has no text in 'text'"),
    "label": ({"stars": 6}, "unknown-label", "value 6 in 'stars' is not in data.labels"),
    "no label": ({"stars": None}, "no-label", "has no value in 'stars'"),
    "language": ({"language": 5}, "no-language", "has no language code in 'language', but 5"),
    "key missing": (
        {"language": ...},
        "no-language",
        "has no language code in 'language', but null",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_skipped_with_place_and_reason(name: str) -> None:
    bad, reason, message = BAD[name]
    if not isinstance(bad, bytes):
        fields = {**record(7), "title": "t", **bad}
        bad = json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()
    lines = [json.dumps({**record(n), "title": None}).encode() for n in range(100)]
    lines[6:6] = [bad]
    Path("bad.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    data = replace(SKIP, columns=replace(COLUMNS, title="title"), max_rejected=0.01)
    read = Read("bad.jsonl", data)
    (rejected,) = read.rejected
    assert (rejected.file, rejected.place, rejected.reason) == ("bad.jsonl", 7, reason)
    assert message in rejected.message
    assert [row.id for row in read.rows] == [f"r{n}" for n in range(100)]
    assert read.cleaner.problems() == []
    assert read.cleaner.warnings() == [f"1 row is rejected (1 {reason}) of the 101 read"]
    (told,) = stopped("bad.jsonl", replace(data, on_error=OnError.stop))
    assert told.where == "bad.jsonl:7"
    assert message in told.what


def test_raw_is_the_line_or_the_record() -> None:
    long = json.dumps({**record(1), "stars": 9, "text": "é" * 3000}, ensure_ascii=False)
    lines = [json.dumps(record(0)).encode(), JSON_LINES["not-utf8"], long.encode()]
    Path("r.jsonl").write_bytes(b"\n".join(lines))
    located = iter([("x:1", {**record(2, text=""), PATTERN_LANGUAGE: "en", "at": b"\xff"})])
    latin, cut = Read("r.jsonl").rejected
    assert latin.raw == '{"id": "x", "text": "caf\\xe9", "stars": 5, "language": "en"}\n'
    assert cut.raw == long[:2000]
    kept: list[Rejected] = []
    list(Cleaner(SKIP, "train", on_reject=kept.append).rows(located))
    assert json.loads(kept[0].raw) == {**record(2, text=""), "at": repr(b"\xff")}


def test_stop_mode_lists_all_kinds_at_once() -> None:
    lines = [
        json.dumps(record(0)),
        '{"id"',
        json.dumps(record(1, text=" ")),
        "[1]",
        json.dumps(record(2, stars="six")),
        json.dumps(record(3, language=None)),
        json.dumps(record(4, text="\0")),
        "x",
    ]
    Path("b.jsonl").write_text("\n".join(lines))
    Path("c.csv").write_text("id,text,stars,language\na,b\n")
    assert [(p.where, p.what) for p in stopped("*.*")] == [
        ("b.jsonl:2, :8", "is not JSON: Expecting ':' delimiter at column 6"),
        ("b.jsonl:4", "is a JSON list, not an object"),
        ("c.csv:2", "has too few fields: 2, and the header 4"),
        ("b.jsonl:3", "has no text in 'text'"),
        ("b.jsonl:6", "has no language code in 'language', but null"),
        ("b.jsonl:7", "has a NUL character in 'text'"),
        (
            "b.jsonl:5",
            "value 'six' in 'stars' is not in data.labels;"
            " known: 1, 2, 3, 4, 5, negative, neutral, positive",
        ),
    ]


def test_an_unreadable_line_does_not_hide_the_broken_ones_before_it() -> None:
    Path("b.jsonl").write_bytes(b'{"id"\n' + JSON_LINES["not-utf8"])
    assert [p.where for p in stopped("b.jsonl")][:2] == ["b.jsonl:1", "b.jsonl:2"]


# --- what always stops --------------------------------------------------------------------------


def write(name: str, records: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def a_truncated_gzip() -> None:
    Path("a.jsonl.gz").write_bytes(gzip.compress(jsonl([(GOOD, "a")] * 50)[0])[:-20])


def a_truncated_parquet() -> None:
    Path("a.parquet").write_bytes(parquet_bytes([(GOOD, "a")] * 50)[0][:-20])


def a_broken_json_list() -> None:
    Path("a.json").write_bytes(json_list([(GOOD, "a"), (GOOD, "b"), ("broken-json", "")])[0])


def a_header_in_latin1() -> None:
    Path("a.csv").write_bytes("id,text,stars,language,é\na,b,1,en,x\n".encode("latin1"))


def a_missing_column() -> None:
    write(
        "a.jsonl", [{"id": str(n), "review": "a", "stars": 5, "language": "en"} for n in range(3)]
    )


def an_unknown_language() -> None:
    write("a.jsonl", [record(n, language="fr") for n in range(3)])


def labels_from_zero() -> None:
    write("a.jsonl", [record(n, stars=n % 5) for n in range(50)])


def an_empty_file() -> None:
    Path("a.jsonl").touch()


WHOLE: dict[Callable[[], None], str] = {
    a_truncated_gzip: "is not a whole gzip file",
    a_truncated_parquet: "is not a whole Parquet file",
    a_broken_json_list: "is not JSON: Expecting ',' delimiter",
    a_header_in_latin1: "is not UTF-8: byte 0xe9 at offset 23",
    a_missing_column: "column 'text' is not in a.jsonl; it has: id, review, stars, language",
    an_unknown_language: "no row is in 'en'; found: fr (3)",
    labels_from_zero: "value 0 in 'stars' is not in data.labels; with 0, 1, 2, 3, 4 seen",
    an_empty_file: "is empty (0 bytes)",
}


@pytest.mark.parametrize("make", WHOLE, ids=lambda make: make.__name__)
def test_faults_of_a_whole_file_stop_in_both_modes(make: Callable[[], None]) -> None:
    make()
    (problem,) = Read("a.*", replace(SKIP, max_rejected=0.01)).cleaner.problems()
    assert WHOLE[make] in problem.what
    assert any(WHOLE[make] in told.what for told in stopped("a.*"))


def test_a_glob_without_a_match_stops() -> None:
    with pytest.raises(ConfigError, match="no file matches the pattern"):
        Read("*.jsonl")


@pytest.mark.parametrize("column", ["text", "language", "stars"])
def test_a_column_that_one_file_lacks_stops(column: str) -> None:
    lacking = {key: value for key, value in record(0).items() if key != column}
    write("a.jsonl", [record(n) for n in range(50)])
    write("b.jsonl", [lacking] * 3)
    write("c.jsonl", [record(n) for n in range(50, 60)])
    (problem,) = Read("*.jsonl").cleaner.problems()
    assert problem.where == f"data.columns.{column}={column}"
    assert f"column {column!r} is not in b.jsonl; it has:" in problem.what


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("language", ["en", "de"])
def test_rows_that_lack_a_column_which_others_of_their_file_have_are_skipped(
    at: int, language: str
) -> None:
    others = [record(60 + n, language=language) for n in range(3)]
    write("a.jsonl", [record(n) for n in range(10)])
    write("b.jsonl", [*others[:at], {"id": "x", "stars": 1, "language": "en"}, *others[at:]])
    write("c.jsonl", [record(n) for n in range(10, 20)])
    read = Read("*.jsonl")
    assert read.cleaner.problems() == []
    assert [(r.file, *place) for r, place in zip(read.rejected, read.places)] == [
        ("b.jsonl", at + 1, "empty-text")
    ]


def test_what_a_listener_cannot_write_is_told() -> None:
    write("a.jsonl", [record(0), record(1, text="")])

    def full(_: Rejected) -> None:
        raise ConfigError([Problem("rejected.jsonl", "cannot be written")])

    cleaner = Cleaner(SKIP, "train", on_reject=full)
    assert len(list(cleaner.rows(read_files([Path("a.jsonl")], cleaner.on_fault)))) == 1
    assert cleaner.problems() == [Problem("rejected.jsonl", "cannot be written")]


@pytest.mark.parametrize("mode", [STOP, SKIP])
def test_a_column_of_groups_that_is_not_there_stops(mode: DataConfig) -> None:
    write("a.jsonl", [{**record(n), "asin": "B1"} for n in range(3)])
    data = replace(mode, columns=replace(COLUMNS, group="product"))
    (problem,) = Read("a.jsonl", data).cleaner.problems()
    assert problem == Problem(
        "data.columns.group=product",
        "column 'product' is not in a.jsonl; it has: id, text, stars, language, asin",
        "data.columns.group=asin, or data.columns.group=null",
    )


def test_a_column_that_is_something_else_already_is_not_offered() -> None:
    write("a.jsonl", [{"review_body": f"text {n}", "stars": 1, "language": "en"} for n in range(3)])
    columns = replace(COLUMNS, text="review_body", id="review_id")
    (problem,) = Read("a.jsonl", replace(STOP, columns=columns)).cleaner.problems()
    assert (problem.where, problem.fix) == ("data.columns.id=review_id", "data.columns.id=null")


# --- how many -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "limit"), [(1, 0.01), (29, 0.29), (7, 0.07), (0, 0.0), (99, 1.0)])
def test_as_many_as_allowed_are_rejected(bad: int, limit: float) -> None:
    write("a.jsonl", [record(n, **({"text": ""} if n < bad else {})) for n in range(100)])
    assert Read("a.jsonl", replace(SKIP, max_rejected=limit)).cleaner.problems() == []


def test_more_than_allowed_stop_with_reasons_places_and_what_works() -> None:
    write(
        "a.jsonl", [record(n, **({"text": ""} if n in (3, 9, 11, 12) else {})) for n in range(90)]
    )
    with Path("a.jsonl").open("a") as file:
        file.write("x\n" + json.dumps(record(91, stars=9)) + "\n")
    assert Read("a.jsonl", replace(SKIP, max_rejected=0.065)).cleaner.problems() == [
        Problem(
            "data.max_rejected=0.065",
            "6 rows are rejected (4 empty-text, 1 broken-json, 1 unknown-label)"
            " of the 92 read for train: 6.52%",
            "data.max_rejected=0.07, or mend these rows",
        ),
        Problem(
            "a.jsonl:4, :10, :12 and 1 more",
            "has no text in 'text'",
            "mend these rows",
        ),
        Problem("a.jsonl:91", "is not JSON: Expecting value at column 1", JSON_LINE),
        Problem(
            "a.jsonl:92",
            "value 9 in 'stars' is not in data.labels;"
            " known: 1, 2, 3, 4, 5, negative, neutral, positive",
            "'data.labels=[{name: negative, values: [1, 2]}, {name: neutral, values: [3]},"
            " {name: positive, values: [4, 5]}, {name: 9, values: []}]'",
        ),
    ]
    assert Read("a.jsonl", replace(SKIP, max_rejected=0.07)).cleaner.problems() == []


def test_a_file_of_another_encoding_passes_no_limit() -> None:
    Path("a.jsonl").write_bytes(b"\n".join([JSON_LINES["not-utf8"]] * 9))
    limit, reason = Read("a.jsonl", replace(SKIP, max_rejected=0.5)).cleaner.problems()
    assert limit.what.startswith(
        "9 rows are rejected (9 not-utf8) of the 9 read for train: 100.00%"
    )
    assert limit.fix == "mend these rows"
    assert reason.fix == "data.encoding=auto"


# --- ids ----------------------------------------------------------------------------------------


def test_later_rows_of_an_id_are_skipped_or_warned_of() -> None:
    ids = ["a", "b", "a", 7, "7", "", "", None]
    write("a.jsonl", [record(n, id=value) for n, value in enumerate(ids)])
    read = Read("a.jsonl")
    assert read.places == [(3, "duplicate-id"), (5, "duplicate-id")]
    assert read.rejected[0].message == "has the id 'a' of an earlier row"
    named = ["a", "b", "7", "a.jsonl:6", "a.jsonl:7", "a.jsonl:8"]
    assert [row.id for row in read.rows] == named, "rows without an id have their place for one"
    rows = collect(read_files([Path("a.jsonl")]), STOP, "train")
    assert len(rows) == 8
    assert rows.warnings == ["the same id as an earlier row: a.jsonl:3, :5"]


def test_languages_are_brought_to_one_code_and_told() -> None:
    codes = ["de", "DE", "de", "English", "zh-Hant", "zh_hant", "x", "en", "und", "fil"]
    write("a.jsonl", [record(n, language=code) for n, code in enumerate(codes)])
    every = collect(read_files([Path("a.jsonl")]), replace(STOP, languages=[]), "train")
    assert every.language == ["de", "de", "de", "en", "zh", "zh", "x", "en", "und", "fil"]
    assert every.warnings == [
        "no languages, such as de, pt-BR or French: 'x' (1)",
        "languages brought to one code: de = 'de' (2), 'DE' (1); en = 'English' (1), 'en' (1);"
        " zh = 'zh-Hant' (1), 'zh_hant' (1)",
    ]
    some = collect(read_files([Path("a.jsonl")]), replace(STOP, languages=["de", "en"]), "train")
    assert some.language == ["de", "de", "de", "en", "en"]
    assert some.warnings == [
        "no row has the value 5 (positive); values seen: 1, 2, 3, 4."
        " If they count from 0: data.label_offset=1",
        "languages brought to one code: de = 'de' (2), 'DE' (1); en = 'English' (1), 'en' (1)",
        "5 rows left out, not in data.languages=[de, en]: 'zh-Hant' (1), 'zh_hant' (1), 'x' (1),"
        " 'und' (1), 'fil' (1)",
    ]


def test_a_row_that_is_rejected_leaves_its_id_to_others() -> None:
    write("a.jsonl", [record(0), record(1, text=""), record(1), record(1, language="de")])
    read = Read("a.jsonl")
    assert [row.id for row in read.rows] == ["r0", "r1"]
    assert read.places == [(2, "empty-text")]


@given(st.lists(st.text(max_size=2)), st.integers(0, 3000))
@settings(max_examples=50)
def test_id_hashes_are_a_set(names: list[str], more: int) -> None:
    hashes, known = IdHashes(), set[str]()
    for name in [*names, *(f"x{n % 2000}" for n in range(more))]:
        assert hashes.add(name) == (name not in known)
        known.add(name)


def test_id_hashes_take_a_few_bytes_each() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        hashes = IdHashes()
        for n in range(30_000):
            hashes.add(f"id {n}")
        assert tracemalloc.get_traced_memory()[0] - before < 25 * 30_000
    finally:
        tracemalloc.stop()


# --- normal form --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("A\u030angstro\u0308m \u212b", "Ångström Å"),
        ("か\u3099き\u3099", "がぎ"),  # as macOS writes file names
        ("\u1112\u1161\u11ab", "한"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("塚\uf9d0 e\u0301 \ufa19", "塚\uf9d0 é \ufa19"),
        ("e\u0301\U0002f800e\u0301", "é\U0002f800é"),
    ],
)
def test_texts_are_composed(given: str, expected: str) -> None:
    located = [("a:1", record(0, text=given))]
    assert [row.text for row in Cleaner(SKIP, "train").rows(located)] == [expected]
    plain = replace(SKIP, normalize=False)
    assert [row.text for row in Cleaner(plain, "train").rows(located)] == [given]


@pytest.mark.parametrize(
    "text",
    [
        "この商品はとても良いです。ﾊﾝｶｸｶﾀｶﾅ ﾞﾟ 全角ＡＢＣ１２３！？〜～ーｰ",
        "㈱ ㍿ ① Ⅳ ㌔ ㎏ ½ ﬁ",  # compatibility forms: NFKC would take them apart
        "这个产品非常好，质量不错！「」『』【】…——　",
        "髙﨑 神\ufa19 都\ufa26 塚\ufa10 海\ufa45 \uf900\ufad9\U0002f800\U0002fa1d",
        "葛\U000e0100城 辻\ufe00",  # variation sequences
        "👨‍👩‍👧‍👦 👍🏽 🇯🇵 ❤️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    ],
)
def test_japanese_chinese_and_emoji_stay_as_they_are(text: str) -> None:
    assert [row.text for row in Cleaner(SKIP, "train").rows([("a:1", record(0, text=text))])] == [
        text
    ]


def test_every_character_of_chinese_and_japanese_stays() -> None:
    ranges = [(0x2E80, 0x2FDF), (0x3001, 0x30FF), (0x31F0, 0xA4CF), (0xF900, 0xFAFF)]
    ranges += [(0xFE10, 0xFE4F), (0xFF00, 0xFFEF), (0x20000, 0x2FA1F), (0x30000, 0x323AF)]
    text = " ".join(chr(code) for first, last in ranges for code in range(first, last + 1))
    assert to_nfc(text) == text


@given(
    st.text(st.one_of(st.characters(), st.characters(min_codepoint=0xF900, max_codepoint=0xFAFF)))
)
def test_only_compatibility_ideographs_are_not_composed(text: str) -> None:
    composed = to_nfc(text)
    assert to_nfc(composed) == composed
    assert unicodedata.normalize("NFC", composed) == unicodedata.normalize("NFC", text)
    marks = "\uf900", "\ufaff", "\U0002f800", "\U0002fa1f"
    if not any(marks[0] <= c <= marks[1] or marks[2] <= c <= marks[3] for c in text):
        assert composed == unicodedata.normalize("NFC", text)


# --- other files --------------------------------------------------------------------------------


def test_arrow_values_that_python_does_not_have_are_one_row() -> None:
    columns = {name: [record(n)[name] for n in range(3)] for name in NAMES}
    far = pyarrow.array([0, 2**62, 0], pyarrow.timestamp("s"))
    table = pyarrow.table({**columns, "at": far})
    feather.write_feather(table, "a.arrow", compression="uncompressed")
    read = Read("a.arrow")
    assert read.places == [(2, "unreadable-value")]
    assert [row.id for row in read.rows] == ["r0", "r2"]
    assert [p.where for p in stopped("a.arrow")] == ["a.arrow row 2"]


def test_undecoded_bytes_of_one_file_do_not_taint_the_next() -> None:
    Path("a.jsonl").write_bytes(JSON_LINES["not-utf8"] + b"\n" + json.dumps(record(0)).encode())
    write("b.jsonl", [record(1, text="café")])
    read = Read("*.jsonl")
    assert [row.text for row in read.rows] == ["text 0", "café"]
    assert [(r.file, r.place) for r in read.rejected] == [("a.jsonl", 1)]


def test_a_quote_that_swallows_the_file_is_found_before_memory_is_full() -> None:
    with Path("a.csv").open("w") as file:
        file.write('id,text,stars,language\na,"b,1,en\n')
        file.writelines(["x" * 10_000 + "\n"] * 1700)
    problem = stopped("a.csv")[0]
    assert problem.where == "a.csv:2"
    assert problem.what.endswith(
        "of more than 16 million characters: a quote that is never closed?"
    )
    places = Read("a.csv").places
    assert places[:2] == [(2, "quote-out-of-place"), (3, "too-few-fields")]
    assert len(places) == 1701, "each line by itself"


# --- memory -------------------------------------------------------------------------------------


def peak(located: Iterator[Located], data: DataConfig) -> int:
    cleaner = Cleaner(data, "train", on_reject=lambda rejected: None)
    tracemalloc.start()
    try:
        for _ in cleaner.rows(located):
            pass
        cleaner.problems()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_what_is_met() -> None:
    data = replace(SKIP, columns=replace(COLUMNS, id=None))

    def odd(rows: int) -> Iterator[Located]:
        """Another column, another language and another label in every row, and some that are good."""
        for n in range(rows):
            yield f"a.jsonl:{4 * n}", record(n)
            yield f"a.jsonl:{4 * n + 1}", {**record(n), f"column {n}": 1}
            yield f"a.jsonl:{4 * n + 2}", record(n, language=f"language {n}")
            yield f"a.jsonl:{4 * n + 3}", record(n, stars=f"a text {n}")

    few, many = peak(odd(2_000), data), peak(odd(8_000), data)
    assert many < 1.1 * few


# --- rejected.jsonl -----------------------------------------------------------------------------


def test_rejected_rows_are_written_one_a_line() -> None:
    Path("a.jsonl").write_bytes(
        b"\n".join([json.dumps(record(0)).encode(), JSON_LINES["not-utf8"], b'{"text": "\\ud83d"'])
    )
    with RejectedFile(Path("rejected.jsonl")) as reject:
        cleaner = Cleaner(SKIP, "train", on_reject=reject)
        list(cleaner.rows(read_files([Path("a.jsonl")], cleaner.on_fault, format_of(SKIP))))
        reject(Rejected("b.parquet row 3", "empty-text", "最高 has no text", "{}"))
        assert not Path("rejected.jsonl").exists()
    lines = Path("rejected.jsonl").read_bytes().decode().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "file": "a.jsonl",
            "line": 2,
            "reason": "not-utf8",
            "message": "is not UTF-8: byte 0xe9 at offset 85",
            "raw": '{"id": "x", "text": "caf\\xe9", "stars": 5, "language": "en"}\n',
        },
        {
            "file": "a.jsonl",
            "line": 3,
            "reason": "broken-json",
            "message": "is not JSON: Expecting ',' delimiter at column 18",
            "raw": '{"text": "\\ud83d"',
        },
        {
            "file": "b.parquet",
            "line": 3,
            "reason": "empty-text",
            "message": "最高 has no text",
            "raw": "{}",
        },
    ]
    assert "最高" in lines[2]
    assert sorted(path.name for path in Path().iterdir()) == ["a.jsonl", "rejected.jsonl"]


def test_a_file_name_that_is_not_utf8_can_be_written() -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    write(name, [record(0, id=None), record(1, text="")])
    with RejectedFile(Path("rejected.jsonl")) as reject:
        cleaner = Cleaner(SKIP, "train", on_reject=reject)
        rows = list(cleaner.rows(read_files([Path(name)], cleaner.on_fault)))
    assert [row.id for row in rows] == ["caf\\xe9.jsonl:1"]
    assert json.loads(Path("rejected.jsonl").read_bytes())["file"] == "caf\\xe9.jsonl"


def test_an_interrupted_file_is_not_there() -> None:
    with suppress(KeyboardInterrupt), RejectedFile(Path("rejected.jsonl")) as reject:
        reject(Rejected("a:1", "empty-text", "has no text", "{}"))
        raise KeyboardInterrupt
    assert list(Path().iterdir()) == []


def test_a_folder_that_is_not_there_is_told() -> None:
    with (
        pytest.raises(ConfigError, match="cannot be written: No such file"),
        RejectedFile(Path("no/rejected.jsonl")),
    ):
        pass


FULL = """
import resource, signal, sys
from pathlib import Path
from lingotune.data.rows.rejected import RejectedFile
from lingotune.data.rows.findings import Rejected
from lingotune.config.problems import ConfigError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with RejectedFile(Path("rejected.jsonl")) as reject:
        for n in range(int(sys.argv[1])):
            reject(Rejected(f"a:{n}", "empty-text", "has no text", "x" * 100))
except ConfigError as error:
    print(error.problems[0].what)
print([path.name for path in Path().iterdir()])
"""


@pytest.mark.parametrize("rows", [300, 10_000])
def test_a_full_disk_is_told_and_leaves_nothing_behind(rows: int) -> None:
    """A limit on the file's size, in place of a full disk; it is met at the end, or on the way."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(rows)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout.splitlines() == ["cannot be written: File too large", "[]"], done.stderr


def test_groups_are_named_by_values_of_any_type_and_may_be_missing() -> None:
    values = ["B1", " B1 ", "7", 7, "高い", "nan", None, "", "  ", float("nan"), ...]
    fields = [{**record(n), "product": value} for n, value in enumerate(values)]
    del fields[-1]["product"]
    data = replace(SKIP, columns=replace(COLUMNS, group="product"))
    cleaner = Cleaner(data, "train")
    rows = list(cleaner.rows((f"a:{n}", row) for n, row in enumerate(fields, 1)))
    assert [row.group for row in rows] == ["B1", "B1", "7", "7", "高い", "nan", *[None] * 5]
    assert cleaner.problems() == []


def test_a_group_that_has_no_utf8_is_a_row_that_cannot_be_used() -> None:
    write("a.jsonl", [record(0, product="a"), record(1, product="\ud83d"), record(2, product="")])
    read = Read("a.jsonl", replace(SKIP, columns=replace(COLUMNS, group="product")))
    assert read.places == [(2, "half-surrogate")]
    assert read.rejected[0].message == "has half a surrogate pair, U+D83D, in 'product'"


def test_rows_are_plain_tuples() -> None:
    (row,) = Cleaner(STOP, "train").rows([("a:1", record(0, stars="4.0"))])
    assert row == Row("text 0", 2, "en", "r0", 4, source="a")
    assert isinstance(row, Row)
