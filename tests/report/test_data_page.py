"""The page of prepared data: correct figures, all text of the data escaped, no missing glyphs."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tables import TINY, write

from lingotune.config.problems import ConfigError, printable
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, OnError, Source
from lingotune.data.prepared.manifest import ClassFigures, load_manifest
from lingotune.data.prepared.prepare import prepare
from lingotune.report import data_charts as pictures
from lingotune.report import data_statistics as look
from lingotune.report.data_examples import choose_examples
from lingotune.report.data_page import CHARACTERS, PAGE, cut, lines_of, visible, write_report

NAMES = ["差评", "إيجابي", "<b>$x_1$ & _fair_"]
TEXTS = {
    "ar": "هذا المنتج ممتاز جدا وأنصح به (2 نجوم) <b>و</b> iPhone 12. ",
    "ja": "とても良い商品です。配送も早かったです。",
    "zh": "质量很好，物流也快。",
    "en": "</p></body><script>alert(1)</script> & \"quoted\" 'words' \u202edrawn back {{ 7777*7777 }}\n\n",
}
MAX_LENGTH = 16


def rows(count: int) -> list[Any]:
    """Rows of five languages (fr is not wanted, zh has no third class), a fault and duplicates."""
    choose = np.random.default_rng(3)
    languages = [*TEXTS, "fr"]
    made: list[Any] = [
        {
            "id": f"<i>{n}</i>",
            "text": f"{n} {TEXTS.get(languages[n % 5], 'bien ')}"
            * int(choose.choice([1, 1, 3, 20])),
            "label": NAMES[n % 2 if languages[n % 5] == "zh" else int(choose.integers(3))],
            "lang": languages[n % 5],
        }
        for n in range(count)
    ]
    return [*made, "no JSON", {**made[0], "text": "  "}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("look")
    source = rows(400)
    data = DataConfig(
        "look", Source.files, train=str(write(root / "train.jsonl", source)),
        test=str(write(root / "test.jsonl", source[:40])), languages=sorted(TEXTS),
        columns=ColumnsConfig("text", label="label", language="lang", id="id"),
        labels=[LabelConfig(name, [str(n)]) for n, name in enumerate(NAMES)],
        max_length=MAX_LENGTH, on_error=OnError.skip, max_rejected=0.5,
    )  # fmt: skip
    return prepare(data, TINY, 1, root / "prepared", lambda line: None)[0]


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def found(folder: Path, split: str) -> Any:
    parts = [parquet.read_table(path) for path in sorted(folder.glob(f"{split}-*.parquet"))]
    return pa.concat_tables(parts).to_pandas()


# --- figures ------------------------------------------------------------------------------------


def test_figures_are_those_of_the_shards(folder: Path) -> None:
    manifest = load_manifest(folder)
    for split in look.splits_of(manifest):
        table = found(folder, split.name)
        assert split.whole.total == len(table) and split.whole.tokens == table["length"].sum()
        assert [of.name for of in split.languages] == sorted(TEXTS)
        for of in split.languages:
            rows = table[table["language"] == of.name]
            assert of.rows == tuple((rows["label"] == n).sum() for n in range(3))
            unknown = manifest.tokenizer.unknown_id
            assert of.unknown == sum((ids == unknown).sum() for ids in rows["input_ids"])
            assert of.cut == sum(of.lengths[MAX_LENGTH + 1 :])
    assert sum(of.cut for of in split.languages) == split.whole.cut > 0


def test_every_row_that_was_read_is_accounted_for(folder: Path) -> None:
    train, test, together = look.flows_of(load_manifest(folder))
    assert (train.read, train.rejected, train.other) == (402, 2, 80)
    assert (train.duplicates, train.kept) == (32, 288)  # of the 40 rows of test 8 are French
    assert (test.read, test.kept, test.other) == (40, 32, 8)
    assert "442 read = 320 kept + 2 rejected + 88 of other languages + 32 " in together.sentence
    assert "is not" in look.Flow("", 5, 3, 1, 0, 0).sentence


def test_the_lines_say_all_of_it_and_fit_a_terminal(folder: Path) -> None:
    manifest = load_manifest(folder)
    lines = lines_of(manifest)
    text = "\n".join(lines)
    assert look.flows_of(manifest)[-1].sentence in text
    assert manifest.digest in text and str(manifest.tokenizer.sha256) in text
    assert all(f"warning: {warning}" in lines for warning in manifest.warnings)
    for split in look.splits_of(manifest):
        assert f"{split.name}: {split.whole.total:,} rows, {split.whole.tokens:,} tokens" in lines
    assert re.search(r"^  zh +\d+ +[\d.]+ +\S+ +[\d.]+% +\S+ +[\d.]+% +[\d.]+% +-$", text, re.M)
    start = next(n for n, line in enumerate(lines) if line.startswith("train:"))
    (width,) = {look.columns(line) for line in lines[start + 1 : start + 6]}  # aligned
    assert width <= 98


def test_many_languages_are_put_together_and_many_classes_fold(folder: Path) -> None:
    manifest = load_manifest(folder)
    cell = ClassFigures(rows=1, tokens=5, cut=0, unknown=1)
    counts = (*[0] * 5, 2, *[0] * 59)
    names = [f"class {n}" for n in range(40)]
    codes = {n: f"x{n:03}" for n in range(1, 101)}
    manifest = replace(
        manifest,
        data={"labels": [{"name": name} for name in names]},
        statistics={
            "train": {code: {names[0]: cell, names[n % 40]: cell} for n, code in codes.items()}
        },
        lengths={"train": dict.fromkeys(codes.values(), counts)},
    )
    (split,) = look.splits_of(manifest)
    assert len(split.languages) == look.MOST_LANGUAGES and split.languages[-1].name == "71 others"
    assert split.whole.total == sum(of.total for of in split.languages) == 198
    lines = lines_of(manifest)
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("train:")) : -6]
    assert len(table) > 150 and all(look.columns(line) <= 98 for line in table)
    assert all(any(name in line for line in lines) for name in names)
    assert pictures.svg(partial(pictures.class_distribution, [split], names), "x")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.floats(0.01, 1))
def test_percentiles_are_those_of_the_rows(lengths: list[int], share: float) -> None:
    counts = np.bincount(lengths, minlength=31).tolist()
    length = look.percentile(counts, share)
    assert sum(n <= length for n in lengths) >= share * len(lengths)
    assert sum(n < length for n in lengths) < share * len(lengths)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_shares_never_say_nothing_or_all_of_what_is_not(part: int, more: int) -> None:
    text = look.share_text(part, part + more)
    assert (text == "-") == (part == 0)
    assert (text == "100.0%") == (part > 0 and more == 0)
    assert text != "0.0%"


@given(st.text())
def test_names_and_texts_keep_no_character_that_moves_others(text: str) -> None:
    unseen = {*map(chr, range(32)), *"\x7f\u202a\u202e\u2066\u2069"}
    assert not unseen & set(printable(text))
    assert not unseen & set(visible(text)) - {"\t", "\n"}
    assert look.columns(look.brief(printable(text))) <= 18
    assert cut(text) == text if len(text) <= CHARACTERS else len(cut(text)) <= CHARACTERS + 1


# --- examples -----------------------------------------------------------------------------------

LANGUAGES = st.sampled_from(["de", "ja", "zh"])


@given(st.lists(st.tuples(LANGUAGES, st.integers(0, 2)), min_size=1), st.integers(1, 9))
def test_examples_are_of_every_class_wherever_it_stands(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, int]], group: int
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.parquet"
    numbers = [str(n) for n in range(len(kinds))]
    languages, labels = zip(*kinds)
    columns = {"id": numbers, "text": numbers, "language": languages, "label": labels}
    parquet.write_table(pa.table(columns), path, row_group_size=group)
    found = choose_examples([path, path], ["de", "ja"], 2, 7)
    assert set(found) == {kind for kind in kinds if kind[0] != "zh"}
    for kind, examples in found.items():
        assert len(examples) == 2  # a class of one row is there twice: once a file
        assert all(kinds[int(e.id)] == kind and e.id == e.text for e in examples)


def test_examples_depend_on_the_seed_alone(folder: Path) -> None:
    files = sorted(folder.glob("train-*.parquet"))
    drawn = [choose_examples(files, TEXTS, 3, seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


# --- pictures -----------------------------------------------------------------------------------


@given(st.integers(4, 512), st.integers(1, 2048))
def test_bins_hold_every_row_and_part_at_the_cut(max_length: int, shortest: int) -> None:
    lengths = [0] * (4 * max_length + 1)
    lengths[min(shortest, 4 * max_length)] = 1
    edges = pictures._edges(lengths, max_length)
    assert all(a < b for a, b in pairwise(edges)) and len(edges) <= 51
    assert max_length + 1 in edges and edges[-1] == 4 * max_length
    assert edges[0] <= shortest


def drawn(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the languages and of the classes as a PNG writes them."""
    splits = look.splits_of(load_manifest(folder))
    with pictures._style():
        pen = pictures.Pen("black", pictures._is_drawable)
        figure = pictures.class_distribution(splits, [*NAMES[:2], "_$x_1$"], pen)
        ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        return ticks, [text.get_text() for text in figure.legends[0].get_texts()]


def test_without_a_font_a_name_becomes_a_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import ft2font

    monkeypatch.setattr(pictures, "_FONTS", ())  # DejaVu alone, which comes with matplotlib
    monkeypatch.delattr(ft2font, "__libraqm_version__", raising=False)
    languages, classes = drawn(folder)
    assert languages == sorted(TEXTS)
    # The second would be drawn letter by letter from the left.
    assert classes == [
        "class 0 (no font for its name)",
        "class 1 (no font for its name)",
        " _$x_1$",
    ]


def test_settings_of_matplotlib_stay_as_they_were(folder: Path) -> None:
    def settings() -> dict[str, Any]:
        return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}

    before = settings()
    write_report(folder)
    assert settings() == before


# --- the page -----------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Elements, their attributes, and the texts of some; fails where tags do not match."""

    VOID = ("br", "meta")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data


def test_the_page_stands_alone_and_nothing_of_the_data_is_loose_in_it(page: str) -> None:
    reader = Reader(page)
    assert not {"script", "b", "i", "img", "link", "iframe", "object"} & set(reader.tags)
    asks = [value for name, value in reader.attributes if name in ("src", "href", "xlink:href")]
    assert all(value.startswith("#") for value in asks)
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "60481729" not in " ".join(reader.texts["p"])  # of 7777*7777
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in asks} <= set(ids)


def test_the_page_shows_figures_pictures_and_rows(folder: Path, page: str) -> None:
    reader, manifest = Reader(page), load_manifest(folder)
    splits = look.splits_of(manifest)
    assert reader.tags.count("svg") == 2 * len(splits)
    cells = reader.texts["td"] + reader.texts["th"]
    for split in splits:
        for row in look.figure_table(split, NAMES):
            assert all(cell in cells for cell in row)
        assert (
            f"{look.share_text(split.whole.cut, split.whole.total)} beyond" in reader.texts["text"]
        )
    assert set(NAMES) <= {*reader.texts["text"]} and set(NAMES) <= {*reader.texts["h3"]}
    assert "max_length 16" in reader.texts["text"]
    table = found(folder, "train")
    shown = {visible(cut(text)) for text in table["text"]}
    examples = [text for text in reader.texts["p"] if text in shown]
    assert len(examples) == 3 * len({*zip(table["language"], table["label"])})
    assert set(look.origin(manifest).values()) <= {*reader.texts["dd"]}
    assert all(f"Warning: {warning}" in reader.texts["p"] for warning in manifest.warnings)


def test_the_same_folder_gives_the_same_bytes(folder: Path, page: str) -> None:
    names = {"class_distribution.png", "data.html", "lengths.png"}
    report = (folder / PAGE).parent
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    assert set(before) == names and before["lengths.png"].startswith(b"\x89PNG")
    write_report(folder)
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


def test_a_report_that_cannot_be_made_leaves_nothing_and_says_why(
    folder: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy", ignore=lambda *_: {"report"}))
    shard = copy / "train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(ConfigError, match=r"train-00000\.parquet"):
        write_report(copy)
    assert not list((copy / "report").iterdir())
    (copy / "report").rmdir()
    (copy / "report").touch()
    with pytest.raises(ConfigError, match="report"):
        write_report(copy)
    with pytest.raises(ConfigError, match="no folder of prepared data"):
        write_report(tmp_path)
