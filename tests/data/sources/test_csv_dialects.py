"""Separators and quotes of CSV and TSV as people write them; rows that quotes melt together are told."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Quoting, Separator
from lingotune.data.rows.findings import Rejected
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.files import read_file

CHARACTERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
QUIET = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, lines: list[str]) -> None:
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def read(name: str, **how: Any) -> list[dict[str, Any]]:
    return [record for _, record in read_file(Path(name), how=FileFormat(**how))]


def remarks(name: str) -> list[str]:
    told: list[str] = []
    assert list(read_file(Path(name), on_remark=told.append))
    return told


def problems(name: str, **how: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(name, **how)
    return caught.value.problems


def skipped(name: str) -> tuple[list[str], list[tuple[int, str]]]:
    """Texts of the rows that are kept, and places and reasons of the others."""
    rejected: list[Rejected] = []
    kept = [record["text"] for _, record in read_file(Path(name), on_fault=rejected.append)]
    return kept, [(r.place, r.reason) for r in rejected]


def rows(count: int, separator: str = ",", start: int = 0) -> list[str]:
    """Lines of text, label and language; the labels are sorted, as in many files."""
    labels = ["neg", "neu", "pos"]
    return [
        separator.join([f"text {n}", labels[(n - start) * 3 // count], ("en", "de")[n % 2]])
        for n in range(start, start + count)
    ]


# --- separators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", CHARACTERS)
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_the_separator_is_that_of_the_header_and_the_rows(separator: str, ending: str) -> None:
    others = "".join(c for c in ",;|" if c != separator)
    cells = [["text", "label"], *([f"a{others} {n}", "4"] for n in range(9))]
    write("a" + ending, [separator.join(row) for row in cells])
    assert read("a" + ending) == [dict(zip(cells[0], row)) for row in cells[1:]]


def test_a_header_with_several_separators_is_split_as_the_rows_are() -> None:
    write("a.csv", ["text, whole;label", *(f"one{',' * (n % 3)} text;{n}" for n in range(6))])
    assert read("a.csv")[1] == {"text, whole": "one, text", "label": "1"}


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\ufeffsep=;\r", "sep=^"])
def test_the_first_line_may_name_the_separator(first: str) -> None:
    separator = first.strip('"\r')[-1]
    write("a.csv", [first, f"text{separator}label", f"a, b{separator}1"])
    located = list(read_file(Path("a.csv")))
    assert located == [("a.csv:3", {"text": "a, b", "label": "1"})]


def test_one_column_of_texts_with_commas_is_one_column() -> None:
    write("a.csv", ["text", "good", "also good"])
    assert read("a.csv") == [{"text": "good"}, {"text": "also good"}]
    write("a.csv", ["text", "good, really"])
    assert problems("a.csv")[0].what == "has too many fields: 2, and the header 1"


def test_a_separator_that_is_named_decides() -> None:
    write("a.csv", ["a;b,c", "1;2,3"])
    assert read("a.csv", separator=Separator.comma) == [{"a;b": "1;2", "c": "3"}]
    assert read("a.csv", separator=Separator.semicolon) == [{"a": "1", "b,c": "2,3"}]


def test_blanks_around_names_and_after_separators_belong_to_nothing() -> None:
    write("a.csv", ["text, label , language", '"one, two", neg , en', "three, pos, de"])
    assert read("a.csv") == [
        {"text": "one, two", "label": "neg ", "language": "en"},
        {"text": "three", "label": "pos", "language": "de"},
    ]
    write("a.csv", ["text,label", " one, neg"])
    assert read("a.csv") == [{"text": " one", "label": " neg"}], "here they are the values'"


def test_columns_without_a_name_do_not_stop() -> None:
    write("a.csv", ["text,label,,", "a,1,,", "b,2,,x"])
    assert read("a.csv")[1] == {"text": "b", "label": "2", "column 3": "", "column 4": "x"}


def test_lines_of_old_macs_are_lines() -> None:
    Path("a.csv").write_bytes("text;label\rschön;1\rgut;2\r".encode("mac_roman"))
    located = list(read_file(Path("a.csv"), how=FileFormat(encoding="mac_roman")))
    assert located == [
        ("a.csv:2", {"text": "schön", "label": "1"}),
        ("a.csv:3", {"text": "gut", "label": "2"}),
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)


@given(
    st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["1", "2", "3"])), min_size=1, max_size=12),
    st.sampled_from([".csv", ".tsv"]),
    st.sampled_from(list(CHARACTERS)),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
@QUIET
def test_what_a_csv_writer_writes_is_read(
    cells: list[tuple[str, str, str]], ending: str, separator: str, quoting: Any
) -> None:
    table = io.StringIO()
    writer = csv.writer(table, delimiter=separator, quoting=quoting)
    writer.writerows([["text", "title", "label"], *cells])
    Path("any" + ending).write_text(table.getvalue(), encoding="utf-8", newline="")
    how = {"separator": Separator[CHARACTERS[separator]], "quoting": Quoting.standard}
    expected = [dict(zip(["text", "title", "label"], row)) for row in cells]
    assert read("any" + ending, **how) == expected
    try:
        found = read("any" + ending)
    except ConfigError as error:  # it may look melted; never is it read otherwise
        assert all("quoting" in problem.fix for problem in error.problems)
    else:
        if separator != "\t" or quoting != csv.QUOTE_MINIMAL:
            assert found == expected


@given(
    st.lists(
        st.tuples(st.text(st.sampled_from('ab" ,;|'), max_size=8), st.sampled_from(["neg", "pos"])),
        min_size=1,
        max_size=30,
    )
)
@QUIET
def test_every_line_of_a_tsv_without_quoting_is_a_row_or_the_file_stops(
    cells: list[tuple[str, str]],
) -> None:
    write("any.tsv", ["text\tlabel", *("\t".join(row) for row in cells)])
    assert [tuple(row.values()) for row in read("any.tsv", quoting=Quoting.none)] == cells
    try:
        found = read("any.tsv")
    except ConfigError as error:
        assert all("quoting" in problem.fix for problem in error.problems)
    else:
        assert len(found) == len(cells)


# --- quotes -------------------------------------------------------------------------------------


def unbalanced(separator: str, begin: int, end: int, count: int = 60) -> list[str]:
    """Rows of which one begins with a quote and a later one ends its text with one."""
    lines = rows(count, separator)
    lines[begin] = '"' + lines[begin]
    lines[end] = lines[end].replace(separator, '"' + separator, 1)
    return [separator.join(["text", "label", "language"]), *lines]


@pytest.mark.parametrize(("begin", "end"), [(3, 4), (3, 30), (20, 40), (0, 59)])
def test_a_tsv_whose_quotes_do_not_balance_keeps_every_row(begin: int, end: int) -> None:
    write("a.tsv", unbalanced("\t", begin, end))
    found = read("a.tsv")
    assert len(found) == 60
    assert found[begin]["text"] == f'"text {begin}' and found[end]["text"] == f'text {end}"'
    assert remarks("a.tsv") == [
        "a.tsv: its quotes do not balance, and are read as characters like others"
        f" (data.quoting=none); the first is in line {begin + 2}"
    ]


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize(("begin", "end"), [(30, 31), (31, 35), (20, 50)])
def test_rows_that_quotes_melt_together_are_told(separator: str, begin: int, end: int) -> None:
    write("a.csv", unbalanced(separator, begin, end))
    lines = "1 line" if end - begin == 1 else f"{end - begin} lines"
    what = f"opens a quote that is closed {lines} further, and each line looks like a row"
    fix = "data.quoting=none, or data.on_error=skip, or data.quoting=standard if it is one text"
    assert problems("a.csv") == [Problem(f"a.csv:{begin + 2}", what, fix)]
    assert len(read("a.csv", quoting=Quoting.none)) == 60
    assert len(read("a.csv", quoting=Quoting.standard)) == 60 - (end - begin)
    kept, left_out = skipped("a.csv")
    assert left_out == [(begin + 2, "quote-out-of-place")]
    assert [text.strip('"') for text in kept] == [f"text {n}" for n in range(60) if n != begin]


def test_texts_of_several_lines_are_texts() -> None:
    lines = rows(40)
    poem = ['"Roses, they say,', "are red, en", 'violets, are ""blue""",pos,en']
    write("a.csv", ["text,label,language", *lines, *poem, *rows(20, start=40)])
    found = read("a.csv")
    assert len(found) == 61
    assert found[40]["text"] == 'Roses, they say,\nare red, en\nviolets, are "blue"'
    table = io.StringIO()
    cells = [[f"a\n{n}, b", "x" * (n % 2), f'"{n}"'] for n in range(50)]
    csv.writer(table, delimiter="\t").writerows([["a", "b", "c"], *cells])
    Path("a.tsv").write_text(table.getvalue(), newline="")
    assert [list(row.values()) for row in read("a.tsv")] == cells
    assert remarks("a.tsv") == []


@pytest.mark.parametrize("bad", ['"open,pos,en', '"shut" too early,pos,en'])
def test_a_row_with_a_quote_out_of_place_is_left_out_alone(bad: str) -> None:
    write("a.csv", ["text,label,language", *rows(20), bad, *rows(20, start=20)])
    (problem,) = problems("a.csv")
    assert (problem.where, problem.fix) == ("a.csv:22", "data.quoting=none, or data.on_error=skip")
    kept, left_out = skipped("a.csv")
    assert kept == [f"text {n}" for n in range(40)]
    assert left_out == [(22, "quote-out-of-place")]
    assert len(read("a.csv", quoting=Quoting.none)) == 41


def test_where_other_rows_need_quotes_the_row_is_left_out_first() -> None:
    write("a.csv", ["text,label,language", '"good, really",pos,en', "a,pos,en", '"open,pos,en'])
    assert problems("a.csv")[0].fix == "data.on_error=skip, or data.quoting=none"


def test_many_rows_with_open_quotes_are_left_out_in_one_go() -> None:
    write("a.csv", ["text,label,language", *(f'"open {n},pos,en' for n in range(3000))])
    kept, left_out = skipped("a.csv")
    assert len(kept) + len(left_out) == 3000
    assert {reason for _, reason in left_out} == {"quote-out-of-place"}


def test_quotes_within_fields_are_characters() -> None:
    write("a.tsv", ["text\tlabel", 'the 5" phone\tpos', 'a "good" one\tneg', 'x\t"pos"'])
    assert [row["text"] for row in read("a.tsv")] == ['the 5" phone', 'a "good" one', "x"]
    assert read("a.tsv")[2]["label"] == "pos"


@pytest.mark.parametrize("every", [1, 7])
def test_a_backslash_marks_quotes_as_part_of_a_text(every: int) -> None:
    """As MySQL and Spark write them, and what a standard reader stops at."""
    texts = [f"row {n}" + (' said "no", and "yes"' if n % every == 0 else "") for n in range(30)]
    lines = [
        '"' + text.replace('"', '\\"') + f'",{("neg", "pos")[n % 2]}'
        for n, text in enumerate(texts)
    ]
    write("a.csv", ["text,label", *lines])
    assert [row["text"] for row in read("a.csv")] == texts
    told = '\\" is read as a quote within a text; the first is in line 2'
    assert remarks("a.csv") == [f"a.csv: {told}"]
    assert problems("a.csv", quoting=Quoting.standard)[0].where == "a.csv:2"


def test_a_backslash_at_the_end_of_a_text_marks_nothing() -> None:
    write("a.csv", ["text,label", *rows(20), '"C:\\",neg', '"C:\\\\",pos', '"a ""b""\\",neg'])
    Path("a.csv").write_text(Path("a.csv").read_text().replace(",en", "").replace(",de", ""))
    found = [row["text"] for row in read("a.csv")]
    assert found[20:] == ["C:\\", "C:\\\\", 'a "b"\\']
    assert remarks("a.csv") == []


def test_texts_may_stand_in_apostrophes() -> None:
    write("a.csv", ["'text','label'", "'it''s good, really','pos'", "'a\nb','neg'"])
    assert read("a.csv") == [
        {"text": "it's good, really", "label": "pos"},
        {"text": "a\nb", "label": "neg"},
    ]
    assert remarks("a.csv") == ["a.csv: its texts stand in ', as the header's names do"]
    write("a.csv", ["'text','label'", "'good','pos'"])
    assert read("a.csv", quoting=Quoting.none) == [{"'text'": "'good'", "'label'": "'pos'"}]


@pytest.mark.parametrize("separator", CHARACTERS)
def test_rows_that_melt_together_are_told_by_their_numbers(separator: str) -> None:
    """No value comes twice, as in regression data; which columns hold numbers shows what a row is."""
    lines = [separator.join([str(n), f"text {n}", f"{n / 7:.3f}"]) for n in range(60)]
    lines[20] = lines[20].replace("text", '"text')
    lines[22] = lines[22].replace("22" + separator + "3", '22"' + separator + "3")
    write("a.csv", [separator.join(["id", "text", "score"]), *lines])
    if separator == "\t":
        assert len(read("a.csv")) == 60
    else:
        assert [p.where for p in problems("a.csv")] == ["a.csv:22"]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_header_of_a_file_that_was_joined_is_no_row(mark: str) -> None:
    write("a.csv", [f"{mark}text,label,language", *rows(5), f"{mark}text,label,language", *rows(5)])
    assert problems("a.csv") == [
        Problem("a.csv:7", "is the header once more", "data.on_error=skip")
    ]
    kept, left_out = skipped("a.csv")
    assert (len(kept), left_out) == (10, [(7, "header-again")])


def test_a_header_with_two_byte_order_marks_is_one() -> None:
    write("a.csv", ["\ufeff\ufefftext,label", "a,1"])
    assert read("a.csv") == [{"text": "a", "label": "1"}]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("within", ["\r", "\n", "\r\n"])
def test_line_ends_within_texts_may_be_others_than_between_rows(end: str, within: str) -> None:
    lines = ["text,label", *(f'"row {n}{within}second{within}third",pos' for n in range(9))]
    Path("a.csv").write_text(end.join([*lines, ""]), newline="")
    assert [row["text"] for row in read("a.csv")] == [
        f"row {n}{within}second{within}third" for n in range(9)
    ]


def test_a_carriage_return_in_a_field_without_quotes_is_one_bad_row() -> None:
    Path("a.csv").write_text("text,label\na\rb,1\nc,2\n", newline="")
    (problem,) = problems("a.csv")
    assert (problem.where, problem.fix) == ("a.csv:2", "data.on_error=skip")
    assert skipped("a.csv")[0] == ["c"]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_quotes_that_open_fields_are_seen_in_every_encoding(codec: str) -> None:
    Path("a.tsv").write_bytes("\n".join(unbalanced("\t", 3, 30)).encode(codec))
    assert len(read("a.tsv", encoding=codec)) == 60
