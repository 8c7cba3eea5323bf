"""Languages as people write them become codes; what was joined, added and left out is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tables import Rows, collect

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, Source
from lingotune.data.prepared.manifest import identify
from lingotune.data.rows.language_tags import standard_tag
from lingotune.launch.compose.compose import compose_all
from lingotune.preflight import check_job

LABELS = [LabelConfig("neg"), LabelConfig("pos")]
TEXTS = {
    "de": "Das Gerät funktioniert leider nicht mehr, ich habe es zurückgeschickt",
    "en": "The device does not work any more, so I have sent it back",
    "fr": "Cet appareil ne fonctionne plus, je l'ai renvoyé",
}


def read(codes: list[Any], text: str = "a", **settings: Any) -> Rows:
    columns = ColumnsConfig(text="text", label="label", language=settings.pop("column", "language"))
    data = DataConfig("d", Source.files, columns=columns, labels=LABELS, **settings)
    located = (
        (
            f"r.jsonl:{n}",
            {"text": text, "label": "neg", **({"language": c} if c != "absent" else {})},
        )
        for n, c in enumerate(codes, 1)
    )
    return collect(located, data, "train")


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("en", "en"), ("EN", "en"), ("en-US", "en-US"), ("en_us", "en-US"), ("eng", "en"),
        (" English ", "en"),
        ("de_DE.UTF-8", "de-DE"), ("de_DE@euro", "de-DE"), ("ger", "de"), ("Deutsch", "de"),
        ("français", "fr"),
        ("French (Canada)", "fr-CA"), ("zh-hant-tw", "zh-Hant-TW"),
        ("cmn-Hans", "zh-Hans"), ("日本語", "ja"),
        ("iw", "he"), ("und", "und"), ("\ufeffpt_br", "pt-BR"), ("no", "no"), ("es-419", "es-419"),
        ("Chinese (Simplified)", "zh-Hans"), ("Traditional Chinese", "zh-Hant"),
        ("English (US)", "en-US"), ("English (United States)", "en-US"), ("Deutsch (Schweiz)", "de"),
        ("de (German)", "de"), ("Brazilian Portuguese", "pt-BR"), ("Portuguese (Brazil)", "pt-BR"),
        ("Spanish; Castilian", "es"), ("castellano", "es"), ("Mandarin", "zh"), ("Farsi", "fa"),
        ("ｅｎ", "en"), ("eng_Latn", "en-Latn"), ("in", "id"), ("uk", "uk"), ("sr_RS@latin", "sr-RS"),
        ("jp", None), ("us", None), ("cn_CN", None), ("()", None), (" (", None), ("x (y)", None),
        ("Klingonish", None), ("x", None), ("123", None), ("en US", None),
    ],
)  # fmt: skip
def test_what_people_write(written: str, tag: str | None) -> None:
    assert standard_tag(written) == tag


CODES = ["en", "EN", "en-US", "english", "de", "de_DE", "DE", "fr", "fr-FR"]


def test_a_choice_of_languages_takes_in_their_spellings_and_tells_the_others() -> None:
    rows = read(CODES * 2, languages=["en", "de"])
    assert Counter(rows.language) == {"en": 8, "de": 6}
    assert rows.warnings == [
        "languages brought to one code: en = 'en' (2), 'EN' (2), 'en-US' (2), 'english' (2);"
        " de = 'de' (2), 'de_DE' (2), 'DE' (2)",
        "4 rows left out, not in data.languages=[en, de]: 'fr' (2), 'fr-FR' (2)",
    ]
    assert Counter(read(CODES, languages=["EN", "Deutsch"]).language) == {"en": 4, "de": 3}


def test_regions_stay_apart_where_they_are_named() -> None:
    codes = ["pt", "pt_br", "pt-PT", "PT-br"]
    assert read(codes).language == ["pt"] * 4
    assert read(codes, languages=["pt-BR", "pt"]).language == ["pt", "pt-BR", "pt", "pt-BR"]
    assert read(codes, languages=["pt-BR"]).language == ["pt-BR", "pt-BR"]
    mapped = {"pt-BR": "pt-BR", "simple": "en"}
    assert read([*codes, "simple"], language_map=mapped).language == [
        "pt",
        "pt-BR",
        "pt",
        "pt-BR",
        "en",
    ]


def test_a_map_that_no_row_needs_is_told() -> None:
    assert read(["de"], language_map={"xx": "de"}).warnings == [
        "data.language_map: no row has 'xx'"
    ]


@pytest.mark.parametrize("nothing", [None, "", " ", "\u200b", float("nan"), "absent"])
def test_rows_without_a_language_get_the_default_one(nothing: Any) -> None:
    rows = read(["de", nothing, "fr"], default_language="EN")
    assert rows.language == ["de", "en", "fr"]
    assert rows.warnings == ["1 row without a language: en (data.default_language)"]
    with pytest.raises(ConfigError) as caught:
        read(["de", nothing, "de"], languages=["de"])
    (found,) = caught.value.problems
    assert found.fix == "data.default_language=de, or data.on_error=skip data.max_rejected=0.34"


@pytest.mark.parametrize(
    "nothing", ["None", "nan", "NULL", "N/A", " - ", "?", "Unknown", "<NA>", "unk"]
)
def test_words_for_nothing_are_no_languages(nothing: str) -> None:
    rows = read(["de", nothing, "fr"], default_language="und")
    assert rows.language == ["de", "und", "fr"]
    with pytest.raises(ConfigError) as caught:
        read(["de", nothing, "fr"])
    (found,) = caught.value.problems
    assert found.what == f"has no language code in 'language', but {nothing!r}"
    assert read(["de", nothing], language_map={nothing: "fr"}).language == ["de", "fr"]


def test_a_word_for_nothing_that_is_wanted_is_a_language() -> None:
    assert read(["nan", "de"], languages=["nan"]).language == ["nan"]


def test_scripts_of_chinese_follow_from_regions() -> None:
    codes = ["zh_CN", "zh-TW", "zh-Hans", "Chinese (Traditional)", "zh-Hant-HK", "zh-SG", "zh"]
    wanted = read(codes, languages=["zh-Hans", "zh-Hant"])
    assert wanted.language == ["zh-Hans", "zh-Hant", "zh-Hans", "zh-Hant", "zh-Hant", "zh-Hans"]
    assert read(codes, languages=["zh-TW", "zh"]).language == ["zh", "zh-TW", *["zh"] * 5]
    assert read(codes).language == ["zh"] * 7


def test_codes_of_countries_are_told() -> None:
    rows = read(["jp", "us", "ja", "uk"])
    assert rows.warnings == ["no languages, such as de, pt-BR or French: 'jp' (1), 'us' (1)"]
    assert read(["jp", "ja"], language_map={"jp": "ja"}).language == ["ja", "ja"]


def test_a_list_of_one_language_is_that_one() -> None:
    assert read([["en"], ("de",)]).language == ["en", "de"]
    with pytest.raises(ConfigError):
        read([["en", "de"]])


def test_a_source_without_a_column_has_the_default_language() -> None:
    assert read(["absent"], column=None, default_language="de").language == ["de"]
    assert read(["absent"], column=None, default_language="de", languages=["de"]).language == ["de"]


# --- detection ----------------------------------------------------------------------------------


def test_languages_are_detected_and_told_with_how_sure() -> None:
    data = DataConfig(
        "d",
        Source.files,
        columns=ColumnsConfig(text="text", label="label", language="detect"),
        labels=LABELS,
        languages=["de", "en"],
    )
    located = [
        (f"r:{n}", {"text": text, "label": "neg"}) for n, text in enumerate(TEXTS.values(), 1)
    ]
    rows = collect(located, data, "train")
    assert rows.language == ["de", "en"]
    detected, left_out = rows.warnings
    assert "of 3 rows with a confidence of at least 0.9: de (1), en (1), fr (1)" in detected
    assert left_out == "1 row left out, not in data.languages=[de, en]: 'fr' (1)"
    with pytest.raises(ConfigError, match="has no text"):
        collect([("r:1", {"text": " ", "label": "neg"}), *located], data, "train")


def test_without_the_library_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(ConfigError) as caught:
        read(["de"], column="detect")
    assert caught.value.problems[0].fix == "pip install 'lingotune[detect]'"


# --- settings -----------------------------------------------------------------------------------


def composed(*typed: str) -> tuple[Any, list[Problem]]:
    (one,) = compose_all(
        ["data=files", "data.path=r.csv", *typed], ROOT / "conf", lambda config: [], multirun=False
    )
    return one.config.data, [p for p in check_job(job_of(one.config)) if p.section == "data"]


def test_settings_that_have_no_effect_are_refused() -> None:
    data, found = composed("data.language_map={en-GB: en}", "data.default_language=fr")
    assert (data.language_map, data.default_language, found) == ({"en-GB": "en"}, "fr", [])
    wrong = {
        "data.languages=[en,EN]": "names 'en' 2 times",
        "data.default_language=xx1": "is no language",
        "data.default_language=fr data.languages=[de]": "is not among data.languages=[de]",
        "data.default_language=fr data.columns.language=detect": "has no effect",
        "data.language_map.a=de data.columns.language=null": "has no effect",
    }
    for typed, what in wrong.items():
        (problem,) = composed(*typed.split(" "))[1]
        assert what in problem.what, typed


def test_the_settings_are_part_of_the_identity(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("{}")

    def digest(**settings: Any) -> str:
        return identify(DataConfig("d", Source.files, path=str(path), **settings), 1, "t").digest

    digests = {
        digest(),
        digest(language_map={"a": "de"}),
        digest(default_language="de"),
        digest(columns=ColumnsConfig(language="detect")),
    }
    assert len(digests) == 4
