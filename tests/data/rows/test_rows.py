"""What columns, labels and languages mean, and every way in which rows can be wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables import Rows, collect, star_labels

from lingotune.config.console import format_error
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import PATTERN_LANGUAGE, ColumnsConfig, DataConfig, LabelConfig, Source
from lingotune.data.rows.labels import format_labels

LABELS = star_labels("negative", "neutral", "positive")
KNOWN = "1, 2, 3, 4, 5, negative, neutral, positive"


def config(**settings: Any) -> DataConfig:
    columns = {"text": "text", "stars": "stars", **settings.pop("columns", {})}
    settings = {"labels": LABELS, **settings}
    return DataConfig("d", Source.files, columns=ColumnsConfig(**columns), **settings)


def row(text: Any = "fine", stars: Any = 5, **more: Any) -> dict[str, Any]:
    return {"text": text, "stars": stars, **more}


def read(records: list[dict[str, Any]], **settings: Any) -> Rows:
    located = ((f"in/r.jsonl:{n}", record) for n, record in enumerate(records, 1))
    return collect(located, config(**settings), "train")


def problems(records: list[dict[str, Any]], **settings: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(records, **settings)
    return caught.value.problems


def problem(records: list[dict[str, Any]], **settings: Any) -> Problem:
    (only,) = problems(records, **settings)
    return only


# --- what is kept -------------------------------------------------------------------------------


def test_columns_become_rows() -> None:
    records = [row("a", 1, lang="en", key=7), row("b", "3", lang=" de ", key="x")]
    rows = read(records, columns={"language": "lang", "id": "key"})
    assert rows == Rows(["a", "b"], [0, 1], ["en", "de"], ["7", "x"], [1, 3])
    assert len(rows) == 2
    assert rows.select([1, 0]) == Rows(["b", "a"], [1, 0], ["de", "en"], ["x", "7"], [3, 1])


def test_without_language_and_id_columns() -> None:
    rows = read([row("a")])
    assert (rows.language, rows.id) == (["und"], ["r.jsonl:1"])


def test_the_language_of_the_pattern() -> None:
    assert read([row(**{PATTERN_LANGUAGE: "fr"})]).language == ["fr"]


def test_titles_stand_before_the_text() -> None:
    records = [row("b", title="t"), row("b", title=None), row("b", title=" ")]
    assert read(records, columns={"title": "title"}).text == ["t\nb", "b", "b"]


@pytest.mark.parametrize(
    "text", ["NA", "null", "None", "nan", "007", "1e5", "True", "\u2028x", "👩‍👧"]
)
def test_texts_that_look_like_something_else_stay_texts(text: str) -> None:
    assert read([row(text)]).text == [text]


@pytest.mark.parametrize("raw", [4, 4.0, "4", "4.0", " 4 "])
def test_ways_to_write_a_star(raw: Any) -> None:
    rows = read([row("a", raw)])
    assert (rows.label, rows.stars) == ([2], [4])


def test_class_names_and_raw_values_in_a_label_column() -> None:
    records = [{"text": "a", "label": raw} for raw in ("negative", "positive", "5", 3)]
    rows = read(records, columns={"label": "label"})
    assert (rows.label, rows.stars) == ([0, 2, 2, 1], [None] * 4)


def test_of_stars_and_label_the_one_that_exists_counts() -> None:
    columns = {"stars": "stars", "label": "label"}
    assert read([row("a", 5)], columns=columns).stars == [5]
    assert read([{"text": "a", "label": "neutral"}], columns=columns).label == [1]


def test_offset_is_added_to_whole_numbers_only() -> None:
    records = [row("a", 0), row("b", "4"), row("c", "neutral")]
    rows = read(records, label_offset=1)
    assert (rows.label, rows.stars) == ([0, 2, 1], [1, 5, None])
    assert read(records[:2], label_offset=1).stars == [1, 5]


def test_languages_are_filtered_before_rows_are_checked() -> None:
    records = [row("a", lang="en"), row(None, lang="de"), row("b", 99, lang="fr")]
    assert read(records, columns={"language": "lang"}, languages=["en"]).text == ["a"]


def test_stars_that_stop_below_the_highest_are_worth_a_warning() -> None:
    assert read([row("a", n) for n in (1, 2, 3, 4)]).warnings == [
        "no row has the value 5 (positive); values seen: 1, 2, 3, 4."
        " If they count from 0: data.label_offset=1"
    ]
    assert read([row("a", 1), row("a", 4)]).warnings == [], "a few rows need not show every star"
    assert read([row("a", "positive")]).warnings == []


# --- columns ------------------------------------------------------------------------------------


def test_missing_columns_name_what_is_there_and_what_to_type() -> None:
    columns = {"text": "review_body", "title": "head", "language": "language", "id": "key"}
    records = [{"Review": "a", "lang": "en", "stars": 5}]
    has = "it has: Review, lang, stars"
    assert problems(records, columns=columns) == [
        Problem(
            "data.columns.text=review_body",
            f"column 'review_body' is not in in/r.jsonl; {has}",
            "data.columns.text=Review",
        ),
        Problem(
            "data.columns.title=head",
            f"column 'head' is not in in/r.jsonl; {has}",
            "data.columns.title=null",
        ),
        Problem(
            "data.columns.language=language",
            f"column 'language' is not in in/r.jsonl; {has}",
            "data.columns.language=lang, or data.columns.language=null",
        ),
        Problem(
            "data.columns.id=key",
            f"column 'key' is not in in/r.jsonl; {has}",
            "data.columns.id=null",
        ),
    ]


def test_no_class_column() -> None:
    records = [{"text": "a", "sentiment": "positive"}]
    assert problem(records, columns={"label": "label"}) == Problem(
        "data.columns.label",
        "neither 'stars' nor 'label' is in in/r.jsonl; it has: text, sentiment",
        "data.columns.label=sentiment",
    )
    assert problem(records) == Problem(
        "data.columns.stars=stars",
        "column 'stars' is not in in/r.jsonl; it has: text, sentiment",
        "data.columns.stars=COLUMN",
    )
    assert problem(records, columns={"stars": None}) == Problem(
        "data.columns",
        "no column of in/r.jsonl is named as the class",
        "data.columns.label=sentiment, or data.columns.stars=COLUMN",
    )


def test_two_class_columns() -> None:
    assert problem([row(label="neutral")], columns={"label": "label"}) == Problem(
        "data.columns.stars",
        "'stars' and 'label' are both in in/r.jsonl; one of them has to decide",
        "data.columns.label=null, or data.columns.stars=null",
    )
    twice = problem([row()], columns={"label": "stars"})
    assert twice.what == "'stars' is named as stars and as label; one of them has to decide"


# --- labels -------------------------------------------------------------------------------------


def test_a_value_outside_the_mapping() -> None:
    records = [row("a", n) for n in (5, 6, 5, 6, 6, 6)]
    assert problem(records) == Problem(
        "in/r.jsonl:2, :4, :5 and 1 more",
        f"value 6 in 'stars' is not in data.labels; known: {KNOWN}",
        "'data.labels=[{name: positive, values: [4, 5]}, {name: 6, values: []}]'",
    )


@pytest.mark.parametrize("raw", [True, 4.5, "04", -100, 10**9, float("nan"), [1, 2], "stars"])
def test_no_value_is_bent_into_a_class(raw: Any) -> None:
    found = problem([row("a", 1), row("b", raw)])
    assert found.where == "in/r.jsonl:2"
    assert "is not in data.labels" in found.what or raw == [1, 2] or raw != raw


def test_bool_after_an_equal_number_is_still_refused() -> None:
    assert problem([row("a", 1), row("b", 1.0), row("c", True)]).where == "in/r.jsonl:3"


@pytest.mark.parametrize("raw", [" positive", "Positive", "positiv"])
def test_a_name_that_is_nearly_right_is_not_accepted(raw: str) -> None:
    found = problem([row("a", 1), row("b", raw)])
    assert found.what == f"value {raw!r} in 'stars' is not in data.labels; known: {KNOWN}"
    value = f'"{raw}"' if raw.startswith(" ") else raw
    assert found.fix == (
        "'data.labels=[{name: negative, values: [1, 2]},"
        f" {{name: positive, values: [4, 5, {value}]}}]'"
    )


@pytest.mark.parametrize("raw", [None, "", " ", "\u200b", [], [""]])
def test_no_value(raw: Any) -> None:
    assert problem([row("a", 1), row("b", raw), row("c", 2)]) == Problem(
        "in/r.jsonl:2", "has no value in 'stars'", "data.on_error=skip data.max_rejected=0.34"
    )
    assert problem([row("a", 1), row("b", raw)]).fix == "fill the values in"


def test_labels_that_count_from_zero() -> None:
    records = [{"text": "a", "label": n} for n in (4, 3, 2, 1, 0, 0)]
    assert problem(records, columns={"label": "label", "stars": None}) == Problem(
        "in/r.jsonl:5, :6",
        "value 0 in 'label' is not in data.labels; with 0, 1, 2, 3, 4 seen, it counts from 0",
        "data.label_offset=1",
    )


def test_an_offset_too_many() -> None:
    assert problem([row("a", n) for n in (1, 4, 5)], label_offset=1) == Problem(
        "in/r.jsonl:3",
        "value 5 in 'stars' with data.label_offset=1 is 6, which is not in data.labels;"
        f" known: {KNOWN}",
        "data.label_offset=0",
    )


def test_a_column_of_texts_does_not_flood_the_screen() -> None:
    assert problem([row("a", f"some text {n}") for n in range(50)]) == Problem(
        "in/r.jsonl:1, :2, :3 and 47 more",
        "50 values in 'stars' are not in data.labels: 'some text 0' (1), 'some text 1' (1),"
        f" 'some text 2' (1), 'some text 3' (1), 'some text 4' (1) and 45 more; known: {KNOWN}",
        "data.columns.label=COLUMN: another column, whose values are classes",
    )


def test_labels_are_quoted_for_the_command_line() -> None:
    classes = [LabelConfig("so so", ["3.5"]), LabelConfig("good", [])]
    assert format_labels(classes) == (
        "'data.labels=[{name: \"so so\", values: [3.5]}, {name: good, values: []}]'"
    )


# --- languages ----------------------------------------------------------------------------------


def test_unknown_languages_name_those_that_are_there() -> None:
    records = [row(lang=code) for code in ("en", "de", "en")]
    found = problem(records, columns={"language": "lang"}, languages=["en", "fr"])
    assert found == Problem(
        "data.languages",
        "no row is in 'fr'; found: de (1), en (2)",
        "'data.languages=[en]'",
    )


def test_languages_without_a_column() -> None:
    assert problem([row(lang="en")], languages=["en"]) == Problem(
        "data.languages",
        "needs to know each row's language, and no column is named",
        "data.columns.language=lang, or data.languages=[]",
    )


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ("", "''"), (" ", "' '")])
def test_rows_without_a_language(value: Any, shown: str) -> None:
    found = problem([row(lang="en"), row(lang=value), row(lang="de")], columns={"language": "lang"})
    assert found == Problem(
        "in/r.jsonl:2",
        f"has no language code in 'lang', but {shown}",
        "data.default_language=und, or data.on_error=skip data.max_rejected=0.34",
    )


# --- texts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", " \n\t", "\u3000"])
def test_rows_without_a_text(text: Any) -> None:
    found = Problem("in/r.jsonl:2, :3", "has no text in 'text'", "mend these rows")
    assert problem([row(), row(text), row(text)]) == found
    most = "data.on_error=skip data.max_rejected=0.02"
    assert problem([row(), row(text), row(text), *[row()] * 97]) == replace(found, fix=most)
    some = [row(), row(text), row(text), *[row()] * 397]
    assert problem(some) == replace(found, fix="data.on_error=skip")
    assert problem(some, max_rejected=0.001).fix == "data.on_error=skip data.max_rejected=0.01"


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200b",
        "\ufeff",
        " \u2060\u00ad ",
        "\u3164",
        "\u2800",
        "\u200f\ufe0f",
        "\x07",
        "\U000e0061",
    ],
)
def test_a_text_that_nobody_sees_is_none(text: str) -> None:
    found = problem([row(), row(text)])
    assert found.where == "in/r.jsonl:2"
    assert found.what == "has no text in 'text', only characters that cannot be seen"


@pytest.mark.parametrize("text", ["👩\u200d👧", "می\u200cخواهم", "\u200bgut", "！", "\u0301"])
def test_what_can_be_seen_stays(text: str) -> None:
    assert read([row(text)], normalize=False).text == [text]


def test_a_title_that_nobody_sees_is_left_out() -> None:
    assert read([row("b", title="\u200b")], columns={"title": "title"}).text == ["b"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (5, "has no text, but 5, in 'text'"),
        (float("nan"), "has no text, but nan, in 'text'"),
        (["a"], "has no text, but ['a'], in 'text'"),
        ("a\0b", "has a NUL character in 'text'"),
        ("a\ud83d", "has half a surrogate pair, U+D83D, in 'text'"),
    ],
)
def test_texts_that_no_tokenizer_takes(text: Any, what: str) -> None:
    assert problem([row(), row(text)]).what == what


def test_a_title_that_is_no_text() -> None:
    found = problem([row(title=3)], columns={"title": "title"})
    assert found.what == "has no text, but 3, in 'title'"


# --- together -----------------------------------------------------------------------------------


def test_all_problems_are_told_at_once() -> None:
    def reader() -> Any:
        yield "r.csv:2", row("", 5, lang="en")
        yield "r.csv:3", row("a", "six", lang="en")
        yield "r.csv:4", row(None, 7, lang="en")
        yield "r.csv:5", row("a", 1, lang=None)
        raise ConfigError([Problem("r.csv:6", "has too few fields: 1, and the header 3")])

    with pytest.raises(ConfigError) as caught:
        collect(reader(), config(columns={"language": "lang"}, languages=["fr"]), "train")
    assert "no row is in 'fr'" in str(caught.value), "the filter leaves nothing to check"
    with pytest.raises(ConfigError) as caught:
        collect(reader(), config(columns={"language": "lang", "id": "id"}), "train")
    assert format_error(caught.value) == (
        "lingotune: 5 problems\n"
        "  r.csv:6\n"
        "      has too few fields: 1, and the header 3\n"
        "  data.columns.id=id\n"
        "      column 'id' is not in r.csv; it has: text, stars, lang\n"
        "      fix: data.columns.id=null\n"
        "  r.csv:2, :4\n"
        "      has no text in 'text'\n"
        "      fix: mend these rows\n"
        "  r.csv:5\n"
        "      has no language code in 'lang', but null\n"
        "      fix: data.default_language=und\n"
        "  r.csv:3, :4\n"
        f"      2 values in 'stars' are not in data.labels: 'six' (1), 7 (1); known: {KNOWN}\n"
        "      fix: 'data.labels=[{name: positive, values: [4, 5]}, {name: 7, values: []},"
        " {name: six, values: []}]'"
    )


def test_no_rows_at_all() -> None:
    assert problem([]) == Problem("data.train", "no rows were read for train")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["1", "5", "positive", 3, 4.0]),
)


@example([{"text": "a", "stars": "4\x1f", "lang": "de"}])  # a blank for strip(), not for float()
@given(st.lists(st.fixed_dictionaries({"text": VALUES, "stars": VALUES, "lang": VALUES})))
def test_any_values_are_mapped_or_explained(records: list[dict[str, Any]]) -> None:
    try:
        rows = read(records, columns={"language": "lang"})
    except ConfigError as error:
        assert all(p.where and p.what for p in error.problems)
    else:
        assert len(rows) == len(records) == len(rows.label) == len(rows.language) == len(rows.id)
        assert all(text.strip() and text.encode() for text in rows.text)
        assert set(rows.label) <= {0, 1, 2}
