"""What a rehearsal asks an endpoint: good requests of each form, bad ones, huge ones.

A model of pairs of texts is asked about the same texts, each with the same second one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from lingotune.data.rows.pairs import TEXTS as PAIR

TEXTS = (
    "Great product, works perfectly",
    "Sehr enttäuschend, nach zwei Tagen kaputt.",
    "Une catastrophe : le vendeur ne répond pas",
    "No está mal, pero tampoco es lo que esperaba; \"regular\", diría yo",
    "すぐに壊れました。二度と買いません。",
    "质量很好，物流很快，非常满意",
    "جيد جدا",
    "Cafe\u0301 e\u0301patant",
    "👍👍👍",
    "a" * 3_000,
    "Der Ton ist gut, das Bild auch, aber die Fernbedienung reagiert nicht. " * 40,
    "ok",
)  # fmt: skip
"""Texts in several languages: decomposed letters, emoji, a word without an end, more than a model reads."""


SECOND = "Das Gerät ist gut; it works."
"""Second text of pairs."""


@dataclass(frozen=True)
class BadQuestion:
    """Request that must be refused. told: what the message contains."""

    name: str
    body: bytes
    kind: str
    status: int
    told: str
    accept: str = "*/*"


def as_request(texts: tuple[str, ...] | str, *, pairs: bool) -> bytes:
    """Write texts, or one alone, as a JSON request."""
    if isinstance(texts, str):
        return json.dumps({"inputs": _input(texts, pairs=pairs)}).encode()
    return json.dumps({"inputs": [_input(text, pairs=pairs) for text in texts]}).encode()


def _input(text: str, *, pairs: bool) -> str | Mapping[str, str]:
    return dict(zip(PAIR, (text, SECOND))) if pairs else text


def as_records(texts: tuple[str, ...], *, pairs: bool) -> list[Mapping[str, str]]:
    """Make a record of each text, with an id."""
    more = {PAIR[1]: SECOND} if pairs else {}
    return [{"id": str(number), "text": text, **more} for number, text in enumerate(texts)]


_JSON = "application/json"


def bad_questions(*, pairs: bool) -> tuple[BadQuestion, ...]:
    """List requests of every kind that is refused."""
    ask = partial(as_request, pairs=pairs)
    return (
        BadQuestion("an empty text", ask(""), _JSON, 400, "has no text"),
        BadQuestion("a blank text", ask((" \n\t", "ok")), _JSON, 400, "inputs[0] has no text"),
        BadQuestion("no text", b'{"inputs": []}', _JSON, 400, "holds no text"),
        BadQuestion("an empty body", b"", _JSON, 400, "is no JSON"),
        BadQuestion("half a surrogate pair", ask("a\ud800"), _JSON, 400, "surrogate"),
        BadQuestion("a number", b'{"inputs": [7]}', _JSON, 400, "inputs[0] is 7"),
        BadQuestion("bytes that are no UTF-8", b'\xff"a"', "application/jsonlines", 400, "not UTF-8"),
        BadQuestion("broken JSON", b'{"inputs": ', _JSON, 400, "is no JSON"),
        BadQuestion("a parameter", b'{"inputs": "a", "parameters": {"top_k": 1}}', _JSON, 400, "no effect"),
        BadQuestion("an image", b"\x89PNG", "image/png", 400, "Content-Type"),
        BadQuestion("an answer as HTML", ask("ok"), _JSON, 400, "Accept", accept="text/html"),
        BadQuestion("CSV with a short row", b"id,text\n1,a\n2\n", "text/csv", 400, "row 3 has 1 cell"),
        BadQuestion("one text of two", b'{"inputs": "ok"}', _JSON, 400, "no second text") if pairs
        else BadQuestion("a text too many", as_request("ok", pairs=True), _JSON, 400, "single ones"),
    )  # fmt: skip


def huge_questions(*, pairs: bool) -> tuple[BadQuestion, ...]:
    """List requests that are refused for their size."""
    ask = partial(as_request, pairs=pairs)
    return (
        BadQuestion(
            "100 000 texts", as_request(("ok",) * 100_000, pairs=False), _JSON, 400, "at most 10000"
        ),
        BadQuestion("a text of 2 MB", ask("a" * 2_000_000), _JSON, 400, "at most 1000000"),
        BadQuestion("a request of 10 MB", ask("a" * 10_000_000), _JSON, 413, ""),
    )
