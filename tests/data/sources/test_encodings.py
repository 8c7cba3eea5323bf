"""Encodings are recognised by their bytes, or named; what is in none of them is told with its place."""

from __future__ import annotations

import codecs
import gzip
import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DataConfig, SampleConfig, Source
from lingotune.data.rows.findings import Rejected
from lingotune.data.sources.encodings import detect
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.files import read_file
from lingotune.data.sources.patterns import setting_problems
from lingotune.data.sources.sample import sample_rows

OTHER_TEXTS = {
    "ru": ["Очень хороший товар, рекомендую всем", "Плохое качество, деньги на ветер"],
    "pl": ["Bardzo dobry produkt, polecam każdemu", "Zła jakość, pieniądze wyrzucone w błoto"],
    "el": ["Πολύ καλό προϊόν, το συνιστώ ανεπιφύλακτα", "Κακή ποιότητα, πεταμένα λεφτά"],
    "tr": [
        "Kargo çok hızlı geldi, ürün açıklamadaki gibi", "Beğenmedim, kumaşı çok kötüydü",
        "Fiyatına göre gayet güzel bir ürün", "Şarjı çabuk bitiyor, tavsiye etmiyorum",
        "İki gündür kullanıyorum, başarılı buldum", "Işığı az, görüntüsü de kötü, değmez",
    ],
    "ko": ["아주 좋은 제품입니다 추천합니다", "품질이 나쁘고 돈이 아깝습니다"],
    "he": ["מוצר טוב מאוד, ממליץ לכולם בחום", "איכות גרועה, חבל על הכסף"],
    "ar": ["منتج جيد جدا أنصح به الجميع", "جودة سيئة وخسارة للمال"],
    "sv": ["Mycket bra produkt, jag är nöjd", "Dålig kvalitet, gick sönder på en gång"],
}  # fmt: skip
WRITTEN = [
    *((language, "cp1252") for language in ("de", "fr", "es", "sv")),
    *((language, "cp850") for language in ("de", "fr", "es")),
    *((language, "mac_roman") for language in ("de", "fr")),
    *(("ru", codec) for codec in ("cp1251", "koi8_r", "iso8859_5", "cp866")),
    *(("ja", codec) for codec in ("cp932", "euc_jp", "iso2022_jp")),
    *(("zh", codec) for codec in ("gb18030", "big5")),
    ("ko", "cp949"), ("pl", "cp1250"), ("pl", "iso8859_2"), ("el", "cp1253"), ("tr", "cp1254"),
    ("he", "cp1255"), ("ar", "cp1256"),
    *((language, codec) for language in ("en", "de", "ja", "zh", "ru", "ko", "ar")
      for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def texts(language: str) -> list[str]:
    if language in OTHER_TEXTS:
        return OTHER_TEXTS[language] * 20
    rows = sample_rows(SampleConfig(train_rows=60), "train", [language])
    return [row["review_body"].replace('"', "").replace("\n", " ") for row in rows]


def read(name: str, **how: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Records of a file, and what is told of it."""
    remarks: list[str] = []
    located = read_file(Path(name), how=FileFormat(**how), on_remark=remarks.append)
    return [record for _, record in located], remarks


def problems(name: str, **how: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(name, **how)
    return caught.value.problems


# --- recognised ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "codec"), WRITTEN)
def test_what_people_write_is_read_as_they_wrote_it(language: str, codec: str) -> None:
    # What an encoding has no character for was never in its files.
    given = [text.encode(codec, "ignore").decode(codec) for text in texts(language)]
    given = [text.removeprefix("\ufeff") for text in given]
    content = "text,label\r\n" + "".join(f'"{text}",good\r\n' for text in given)
    Path("a.csv").write_bytes(content.encode(codec))
    records, remarks = read("a.csv")
    assert [record["text"] for record in records] == given
    assert bool(remarks) == (not codec.startswith("utf-8"))


def test_an_encoding_that_was_recognised_is_told_with_the_first_odd_places() -> None:
    lines = [
        "text,label",
        "plain,a",
        "“schön” für 5 €,b",
        "plain,a",
        "déçu,b",
        "très bien,a",
        "ça,b",
    ]
    Path("w.csv").write_bytes("\n".join(lines).encode("cp1252"))
    records, remarks = read("w.csv")
    assert [record["text"] for record in records] == [line[:-2] for line in lines[1:]]
    assert remarks == [
        "w.csv: read as cp1252, since it is not UTF-8 (data.encoding names another):"
        " line 3 '“schön” für 5 €', line 5 'déçu,b', line 6 'très bien,a'"
    ]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".tsv", ".csv.gz"])
def test_every_text_format_is_read_in_every_encoding(ending: str) -> None:
    rows = [{"text": text, "label": "good"} for text in texts("de")[:9]]
    content = {
        ".jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
        ".json": json.dumps(rows, ensure_ascii=False, indent=1),
        ".tsv": "text\tlabel\n" + "".join(f"{row['text']}\tgood\n" for row in rows),
        ".csv.gz": "text|label\n" + "".join(f"{row['text']}|good\n" for row in rows),
    }[ending]
    for codec in ("utf-8", "cp1252", "utf-16", "utf-16-be"):
        encoded = content.encode(codec)
        Path("a" + ending).write_bytes(gzip.compress(encoded) if "gz" in ending else encoded)
        assert read("a" + ending)[0] == rows, codec


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["C"], exclude_characters="\u2028\u2029")),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_texts_survive_an_encoding_that_is_named(given: list[str], codec: str) -> None:
    rows = [{"a": text} for text in given]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path("any.jsonl").write_bytes(content.encode(codec))
    assert read("any.jsonl", encoding=codec)[0] == rows
    if codec != "gb18030":  # a mark, or UTF-8 itself, leaves no doubt
        assert read("any.jsonl")[0] == rows


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_have_an_encoding_or_a_reason(content: bytes) -> None:
    try:
        found = detect(lambda: BytesIO(content), "x")
    except ConfigError as error:
        (problem,) = error.problems
        binary = problem.what.startswith("is a binary file")
        assert binary or problem.fix.startswith("data.encoding=")
        return
    assert codecs.lookup(found.codec)


def test_nul_characters_do_not_make_utf16_of_ascii() -> None:
    for content in (b"a,b\nx\0,1\n", b'{"text": "a\0b"}', b"a,b\n" + b"x\0y\0z,1\n" * 5):
        assert detect(lambda content=content: BytesIO(content), "x").codec == "utf-8"


# --- bad rows -----------------------------------------------------------------------------------


def mixed() -> None:
    """UTF-8, but for the rows 3 and 6."""
    lines = [f"größer {n},a\n".encode("cp1252" if n in (3, 6) else "utf-8") for n in range(40)]
    Path("m.csv").write_bytes(b"text,label\n" + b"".join(lines))


def test_utf8_with_bad_rows_names_them_and_keeps_the_others() -> None:
    mixed()
    assert problems("m.csv") == [
        Problem(
            "m.csv:5, :8",
            "is not UTF-8: byte 0xf6 at offset 52",
            "data.on_error=skip",
        )
    ]
    rejected: list[Rejected] = []
    rows = [row["text"] for _, row in read_file(Path("m.csv"), on_fault=rejected.append)]
    assert rows == [f"größer {n}" for n in range(40) if n not in (3, 6)]
    assert [(r.place, r.reason) for r in rejected] == [(5, "not-utf8"), (8, "not-utf8")]


def test_an_encoding_that_is_named_against_the_bytes_is_told() -> None:
    mixed()
    rows, remarks = read("m.csv", encoding="cp1252")
    assert len(rows) == 40
    assert remarks == [
        "m.csv: most of its lines beyond ASCII are UTF-8, which data.encoding=cp1252 reads as"
        " line 2 'grÃ¶ÃŸer 0,a', line 3 'grÃ¶ÃŸer 1,a', line 4 'grÃ¶ÃŸer 2,a'"
    ]
    Path("w.csv").write_bytes("text,label\nschön,a\n".encode("cp1252"))
    assert read("w.csv", encoding="cp1252")[1] == []


JAPANESE = ["とても良い商品です。", "品質が悪くてがっかりしました", "すぐに壊れました"]


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32"])
def test_utf16_that_is_named_needs_no_mark(codec: str) -> None:
    Path("u.csv").write_bytes("text,label\nschön,a\n日本,b\n".encode(codec))
    rows, _ = read("u.csv", encoding=codec[:6])
    assert [row["text"] for row in rows] == ["schön", "日本"]


def test_utf16_that_is_named_wrongly_is_told() -> None:
    for size in (40, 41):
        Path("u.csv").write_bytes(("text,label\n" + "é" * size).encode("cp1252"))
        assert problems("u.csv", encoding="utf-16")


def test_zeros_at_the_end_make_no_utf16() -> None:
    Path("z.csv").write_bytes("text,label\nschön,a\n".encode() + b"\0" * 64)
    assert problems("z.csv")[0].what == "has too few fields: 1, and the header 2"


SHORT = {
    "cp932": JAPANESE,
    "euc_jp": JAPANESE,
    "iso8859_2": ["zła jakość", "bardzo dobry, polecam każdemu", "żółty", "źle"],
    "cp1250": ["zła jakość", "bardzo dobry, polecam każdemu", "żółty", "źle"],
    "big5": ["品質很好，推薦購買", "太差了，浪費錢", "物流很快，服務好"],
    "gb18030": ["质量很好，推荐购买", "太差了，浪费钱", "物流很快，服务好"],
    "euc_kr": ["아주 좋은 제품입니다", "품질이 나쁩니다", "추천합니다 정말"],
    "koi8_r": ["Очень хороший товар", "Плохое качество", "Не советую"],
    "iso8859_7": ["Άριστο προϊόν, το συνιστώ", "Κακή ποιότητα", "Έσπασε αμέσως"],
}  # fmt: skip


@pytest.mark.parametrize("codec", SHORT)
def test_a_few_short_texts_are_enough(codec: str) -> None:
    rows = [f"{text} {n}" for n, text in enumerate(SHORT[codec] * 10)]
    content = "text,label\n" + "".join(f'"{row}",good\n' for row in rows)
    Path("s.csv").write_bytes(content.encode(codec))
    assert [row["text"] for row in read("s.csv")[0]] == rows


@pytest.mark.parametrize("name", ["b.jsonl", "b.json", "b.tsv"])
def test_rows_that_are_not_in_the_encoding_that_is_named_are_bad_ones(name: str) -> None:
    broken = "日本".encode("cp932")[:-1]
    rows = {
        "b.jsonl": [b'{"a": "x"}', b'{"a": "' + broken + b'"}', b'{"a": "y"}'],
        "b.json": [b'[{"a": "x"},', b'{"a": "' + broken + b'"},', b'{"a": "y"}]'],
        "b.tsv": [b"a\tb", b"x\t1", broken + b"\t2", b"y\t3"],
    }[name]
    Path(name).write_bytes(b"\n".join(rows))
    rejected: list[Rejected] = []
    how = FileFormat(encoding="cp932")
    kept = [row["a"] for _, row in read_file(Path(name), None, rejected.append, how)]
    assert (kept, [r.place for r in rejected]) == (["x", "y"], [3 if name == "b.tsv" else 2])
    assert problems(name, encoding="cp932")[0].fix == "data.on_error=skip, or data.encoding=auto"


def test_a_header_that_is_not_in_the_encoding_stops() -> None:
    Path("h.csv").write_bytes("é,b\nx,1\n".encode("cp1252"))
    (problem,) = problems("h.csv", encoding="utf-8")
    assert problem.where == "h.csv:1" and problem.what.startswith("the header is not UTF-8")


def test_a_picture_is_told_as_a_binary_file() -> None:
    Path("x.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9)
    assert problems("x.csv")[0].what.startswith("is a binary file")


def test_bytes_that_are_no_text_are_told() -> None:
    Path("x.csv").write_bytes(b"\0\1\2\xff\xfe\x80" * 500)
    assert problems("x.csv")[0].what.startswith("is a binary file: 50% of its bytes")
    Path("x.csv").write_bytes(b"\x1b\x1b\xff\xfe\x80\x1a" * 300)
    assert problems("x.csv")[0].what == "is not UTF-8, and in no encoding that is recognised"


# --- named --------------------------------------------------------------------------------------


def encoding_problems(name: str) -> Iterator[Problem]:
    return setting_problems(DataConfig("d", Source.files, path="a.csv", encoding=name))


@pytest.mark.parametrize(
    "name", ["auto", "utf-8", "UTF8", "latin-1", "1252", "windows-1252", "shift_jis", "utf-16"]
)
def test_encodings_are_known_by_their_usual_names(name: str) -> None:
    assert list(encoding_problems(name)) == []


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("lattin1", "latin1"),
        ("utf9", "utf"),
        ("cp125", "cp125"),
        ("base64", ""),
        ("idna", ""),
        ("punycode", ""),
        ("undefined", ""),
        ("unicode_escape", ""),
    ],
)
def test_what_is_no_encoding_is_told_with_one_that_is(name: str, fix: str) -> None:
    (problem,) = encoding_problems(name)
    assert problem.where == f"data.encoding={name}"
    assert list(encoding_problems(problem.fix.removeprefix("data.encoding="))) == []
    assert problem.fix.startswith(f"data.encoding={fix}")


def test_charset_normalizer_is_asked_for_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("c.csv").write_bytes("a,b\ncafé,1\n".encode("cp1252"))
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    (problem,) = problems("c.csv")
    assert problem.fix == "pip install charset-normalizer, or data.encoding=cp1252"
    assert read("c.csv", encoding="cp1252")[0] == [{"a": "café", "b": "1"}]
