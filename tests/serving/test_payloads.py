"""Requests and answers of an endpoint, in every form."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.serving.payloads import (
    CSV,
    JSON,
    LINES,
    MOST_TEXTS,
    TEXT,
    BadRequest,
    answer_type,
    read_request,
    write_answer,
)

# csv.reader takes no NUL on Python 3.10, and tokenizers none either
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


@pytest.mark.parametrize(
    ("body", "kind", "inputs"),
    [
        ('"one"', JSON, ("one",)),
        ('["one", "two"]', None, ("one", "two")),
        ('{"inputs": "one"}', "application/json; charset=utf-8", ("one",)),
        ('{"inputs": {"body": "one"}}', JSON, ({"body": "one"},)),
        ('{"inputs": ["one"], "parameters": {}}', JSON, ("one",)),
        ('{"body": "one", "head": "h"}', JSON, ({"body": "one", "head": "h"},)),
        ('"one"\n\n{"body": "two"}\n', "application/x-ndjson", ("one", {"body": "two"})),
        ("body,id\none,1\n", CSV, ({"body": "one", "id": "1"},)),
        ('"one, two"\nthree\n', CSV, ("one, two", "three")),
        ("one\n\ntwo\r\n", TEXT, ("one", "two")),
        (b"\xef\xbb\xbf\xc3\xa4", TEXT, ("ä",)),
    ],
)
def test_forms_of_requests(body: str | bytes, kind: str | None, inputs: tuple[object, ...]) -> None:
    assert read_request(body, kind, ["body"]).inputs == inputs


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        ("", JSON, 400, "is no JSON"),
        ("[]", JSON, 400, "holds no text"),
        ("[1, null]", JSON, 400, r"inputs\[0\] is 1; inputs\[1\] is None"),
        ("[" * 100_000, JSON, 400, "is no JSON"),
        ('{"inputs": ["a"], "top_k": 1}', JSON, 400, "top_k: has no effect"),
        ('{"inputs": "a", "parameters": {"top_k": 1}}', JSON, 400, "parameters: has no effect"),
        ('"a"\n7', LINES, 400, "line 2 is 7"),
        ("a,b\nc,d", CSV, 400, "needs a header, with the text in 'body'"),
        ("body,id\na,1\nb\nc,2,3", CSV, 400, "row 3 has 1 cells, the header 2; row 4 has 3"),
        ('body\n"open', CSV, 400, "is no CSV"),
        (b"\xff", TEXT, 400, "not UTF-8: byte 0"),
        ("a", "image/png", 415, "none of application/json"),
        (json.dumps(["a"] * (MOST_TEXTS + 1)), JSON, 413, "at most 10000"),
    ],
)
def test_requests_that_are_refused(body: str | bytes, kind: str, status: int, told: str) -> None:
    with pytest.raises(BadRequest, match=told) as refused:
        read_request(body, kind, ["body"])
    assert refused.value.status == status and len(str(refused.value)) < 600


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_texts_arrive_as_they_were_sent(texts: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["body"], *([text] for text in texts)])
    records = [{"body": text} for text in texts]
    assert read_request(json.dumps(texts), JSON, ["body"]).inputs == (*texts,)
    lines = "".join(f"{json.dumps(text)}\n" for text in texts)
    assert read_request(lines, LINES, ["body"]).inputs == (*texts,)
    found = read_request(out.getvalue(), CSV, ["body"]).inputs
    assert [str(one["body"]).splitlines() for one in found if isinstance(one, dict)] == [
        text["body"].splitlines() for text in records
    ]


@given(st.text(), st.sampled_from([JSON, LINES, CSV, TEXT]))
def test_no_request_causes_anything_but_a_refusal(body: str, kind: str) -> None:
    try:
        assert read_request(body, kind, ["body"]).inputs
    except BadRequest as refused:
        assert refused.status == 400


@pytest.mark.parametrize(
    ("accept", "kind"),
    [(None, JSON), ("*/*", JSON), ("text/html, text/csv;q=0.5", CSV), ("application/jsonl", LINES)],
)
def test_what_is_accepted_is_answered(accept: str | None, kind: str) -> None:
    assert answer_type(accept) == kind


def test_what_nobody_writes_is_refused() -> None:
    with pytest.raises(BadRequest, match="Accept 'text/html' is none of") as refused:
        answer_type("text/html")
    assert refused.value.status == 406


def test_csv_has_the_same_columns_whatever_is_answered() -> None:
    """Batch transform puts the answers for pieces of a file behind each other."""
    good = {"id": 1, "label": "b", "probabilities": {"b": 0.75, "a": 0.25}}
    bad = {"id": 2, "error": "has no text"}
    texts = [write_answer([one], ("a", "b"), "m", CSV).splitlines() for one in (good, bad)]
    assert texts[0] == ["id,label,probability_a,probability_b,error,model", "1,b,0.25,0.75,,m"]
    assert texts[1] == [texts[0][0], "2,,,,has no text,m"]
    assert json.loads(write_answer([bad], ("a", "b"), "m", LINES)) == {**bad, "model": "m"}
