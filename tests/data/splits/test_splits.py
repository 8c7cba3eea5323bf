"""Train, validation and test: given, carved, counted, sent to a worker."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from tables import Rows, keys_of, load_splits, places, star_labels

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    SPLITS,
    ColumnsConfig,
    DataConfig,
    RowCounts,
    SampleConfig,
    Source,
)
from lingotune.data.rows.cleaner import Row
from lingotune.data.sources.patterns import local_parts
from lingotune.data.sources.split_names import words_of
from lingotune.data.splits.carve import choose_splits, contradictory_rows
from lingotune.data.splits.counts import count_rows
from lingotune.data.splits.survey import survey

LABELS = star_labels("bad", "fair", "good")
SHARES = {"validation": 0.1, "test": 0.1}
POOLED = " or data.pool=true to read them as one source"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def config(source: Source = Source.files, **settings: Any) -> DataConfig:
    columns = {"text": "text", "stars": "stars", "language": "lang", **settings.pop("columns", {})}
    return DataConfig(
        "d", source, **{"labels": LABELS, "columns": ColumnsConfig(**columns), **settings}
    )


def write(path: str, name: str, count: int = 40, language: str = "en") -> None:
    """Rows sorted by star, as review files often are."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    stars = sorted(n % 5 + 1 for n in range(count))
    rows = [
        {"text": f"{name} {n}", "stars": star, "lang": language} for n, star in enumerate(stars)
    ]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def problems(data: DataConfig) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_splits(data, 1)
    return caught.value.problems


def problem(data: DataConfig) -> Problem:
    (only,) = problems(data)
    return only


def sizes(splits: dict[str, Rows]) -> list[int]:
    assert tuple(splits) == SPLITS
    return [len(rows) for rows in splits.values()]


# --- carving ------------------------------------------------------------------------------------


def rows_of(strata: list[tuple[str, int, int]]) -> Rows:
    """Rows of (language, class, count), with texts of their own."""
    expanded = [(lang, label) for lang, label, count in strata for _ in range(count)]
    texts = [f"{lang} {label} {n}" for n, (lang, label) in enumerate(expanded)]
    return Rows(texts, [label for _, label in expanded], [lang for lang, _ in expanded], texts)


def carve(rows: Rows, shares: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Places of the rows of each split."""
    chosen = choose_splits(keys_of({"all": rows}), shares, seed, unique=True)
    return {split: places(chosen, split) for split in SPLITS}


STRATA = st.lists(
    st.tuples(st.sampled_from(["de", "en", "ja"]), st.integers(0, 2), st.integers(1, 60)),
    min_size=1,
    max_size=9,
    unique_by=lambda stratum: stratum[:2],
)
SHARE = st.floats(0.01, 0.45)


@given(STRATA, SHARE, SHARE, st.integers(0, 2**32))
def test_every_row_is_in_one_split_and_every_stratum_has_its_share(
    strata: list[tuple[str, int, int]], validation: float, test: float, seed: int
) -> None:
    rows = rows_of(strata)
    carved = carve(rows, {"validation": validation, "test": test}, seed)
    assert sorted(i for indices in carved.values() for i in indices) == list(range(len(rows)))
    assert all(indices == sorted(indices) for indices in carved.values())
    for split, share in (("validation", validation), ("test", test)):
        counts = Counter((rows.language[i], rows.label[i]) for i in carved[split])
        for lang, label, count in strata:
            got, exact = counts[lang, label], count * share
            assert exact - 1.001 < got < exact + 1.001
            assert got >= 1 or exact < 1
        if all(count >= 20 for *_, count in strata):
            assert abs(len(carved[split]) - len(rows) * share) <= 0.501
    in_train = {(rows.language[i], rows.label[i]) for i in carved["train"]}
    assert in_train == {(lang, label) for lang, label, _ in strata}


@given(STRATA, st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_the_order_of_the_source_does_not_matter(
    strata: list[tuple[str, int, int]], shuffler: random.Random, seed: int
) -> None:
    rows = rows_of(strata)
    order = list(range(len(rows)))
    shuffler.shuffle(order)
    shuffled = rows.select(order)
    first, second = carve(rows, SHARES, seed), carve(shuffled, SHARES, seed)
    for split in SPLITS:
        assert {rows.text[i] for i in first[split]} == {shuffled.text[i] for i in second[split]}


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1), st.integers(0, 99))
def test_identical_texts_stay_together(pairs: list[tuple[int, int]], seed: int) -> None:
    texts = [f"text {number}" for number, _ in pairs]
    rows = Rows(texts, [label for _, label in pairs], ["en"] * len(pairs), texts)
    carved = carve(rows, {"validation": 0.3, "test": 0.2}, seed)
    assert sorted(i for indices in carved.values() for i in indices) == list(range(len(rows)))
    found = [{rows.text[i] for i in indices} for indices in carved.values()]
    assert sum(map(len, found)) == len(set(texts))


def test_a_stratum_of_large_groups_is_still_represented() -> None:
    texts = [f"text {n // 10}" for n in range(50)]
    rows = Rows(texts, [0] * 50, ["en"] * 50, texts)
    carved = carve(rows, SHARES, 1)
    assert {split: len(indices) for split, indices in carved.items()} == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }


def test_another_seed_draws_others_and_another_process_the_same() -> None:
    rows = rows_of([("en", 0, 100), ("de", 1, 100)])
    first = carve(rows, SHARES, 1)
    assert first != carve(rows, SHARES, 2)
    code = (
        "import json, sys; sys.path[:0] = sys.argv[1:]; import test_splits as t;"
        "print(json.dumps(t.carve(t.rows_of([('en', 0, 100), ('de', 1, 100)]), t.SHARES, 1)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(ROOT / "tests")]
    assert json.loads(subprocess.check_output(command, env=environment)) == first


# --- where splits come from ---------------------------------------------------------------------


def test_one_file_is_carved_evenly_although_it_is_sorted_by_star() -> None:
    write("r.jsonl", "en", 100)
    splits = load_splits(config(path="r.jsonl"), 1)
    assert sizes(splits) == [80, 10, 10]
    assert Counter(splits["test"].label) == {0: 4, 1: 2, 2: 4}
    assert load_splits(config(path="r.jsonl"), 1) == splits


def test_given_splits_are_kept_and_missing_ones_carved_from_train() -> None:
    write("a.jsonl", "a", 50)
    write("b.jsonl", "b", 20)
    data = config(train="a.jsonl", validation="b.jsonl", test_share=0.2)
    splits = load_splits(data, 1)
    assert sizes(splits) == [40, 20, 10]
    assert {text.split()[0] for text in splits["test"].text} == {"a"}


def test_the_language_of_a_pattern_counts_where_there_is_no_column() -> None:
    for code in ("en", "de", "fr"):
        write(f"in/{code}/train.jsonl", code, 50)
        write(f"in/{code}/test.jsonl", code + " test", 10)
    settings: dict[str, Any] = {"languages": ["de", "fr"], "columns": {"language": None}}
    given_files = config(
        train="in/{language}/train.jsonl", test="in/{language}/test.jsonl", **settings
    )
    splits = load_splits(given_files, 1)
    assert sizes(splits) == [90, 10, 20]
    assert Counter(splits["test"].language) == {"de": 10, "fr": 10}
    assert sizes(load_splits(config(path="in/{language}", **settings), 1)) == [90, 10, 20]


@pytest.mark.parametrize("validation", ["validation", "dev", "valid", "val"])
def test_a_folder_that_names_its_splits(validation: str) -> None:
    write("in/train-00000-of-00002.jsonl", "a")
    write("in/train-00001-of-00002.jsonl", "b")
    write(f"in/{validation}.jsonl", "c", 10)
    write("in/test_en.jsonl", "d", 15)
    Path("in/README.md").touch()
    assert sizes(load_splits(config(path="in"), 1)) == [80, 10, 15]


def test_a_share_of_a_split_that_a_folder_has_is_told() -> None:
    write("in/train.jsonl", "a", 80)
    write("in/test.jsonl", "b", 15)
    told = count_rows(config(path="in", test_share=0.3, validation_share=0.2), 1)
    unused = "test: data.test_share=0.3 has no effect: there are files of this split"
    assert told == ({"train": 64, "validation": 16, "test": 15}, (unused,))
    assert count_rows(config(path="in", validation_share=0.2), 1)[1] == ()


def test_a_saved_dataset_dict() -> None:
    for split, size in (("train", 40), ("validation", 10)):
        folder = Path("saved") / split
        folder.mkdir(parents=True)
        rows = [{"text": f"{split} {n}", "stars": n % 5 + 1, "lang": "en"} for n in range(size)]
        table = pyarrow.Table.from_pylist(rows)
        name = "data-00000-of-00001.arrow"
        with pyarrow.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    Path("saved/dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    data = config(path="saved")
    assert sizes(load_splits(data, 1)) == [36, 10, 4]
    shutil.copytree("saved/train", "saved/unsupervised")
    assert problem(data) == Problem(
        "data.path=saved",
        "holds train, unsupervised, validation: which split is which is not plain",
        "data.path=null data.train=saved/train data.validation=saved/validation," + POOLED,
    )
    fix = config(train="saved/train", validation="saved/validation")
    assert sizes(load_splits(fix, 1)) == [36, 10, 4]


def test_a_folder_with_files_that_name_no_split_is_one_source() -> None:
    write("in/a.jsonl", "a", 50)
    write("in/b.jsonl", "b", 50)
    assert sizes(load_splits(config(path="in"), 1)) == [80, 10, 10]


# A tree of files, and where their rows go. In each, nothing official is trained on.
TREES: dict[str, tuple[list[str], list[int]]] = {
    "dotted": (["en.train.jsonl", "en.test.jsonl"], [36, 4, 40]),
    "underscored": (["en_train.jsonl", "de_train.jsonl", "en_dev.jsonl"], [72, 40, 8]),
    "dashed": (["reviews-train-de.jsonl", "reviews-test-de.jsonl"], [36, 4, 40]),
    "deep": (["en/train.jsonl", "en/test.jsonl", "de/train.jsonl", "de/dev.jsonl"], [80, 40, 40]),
    "folders": (["training/a.jsonl", "training/b.jsonl", "holdout/a.jsonl"], [72, 8, 40]),
    "capitals": (["TRAIN.jsonl", "Test.jsonl", "Validation.jsonl"], [40, 40, 40]),
    "camel case": (["trainSet.jsonl", "reviewsTest.jsonl"], [36, 4, 40]),
    "glued": (["trainset.jsonl", "testdata.jsonl"], [36, 4, 40]),
    "numbered": (["train1.jsonl", "train2.jsonl", "eval1.jsonl"], [72, 8, 40]),
    "eval is validation": (["train.jsonl", "eval.jsonl", "test.jsonl"], [40, 40, 40]),
    "hold-out": (["train.jsonl", "hold-out.jsonl"], [36, 4, 40]),
    "a word in all names": (["dev-kit_train.jsonl", "dev-kit_test.jsonl"], [36, 4, 40]),
    "testing": (["training.jsonl", "testing.jsonl"], [36, 4, 40]),
    "abbreviated": (["trn.jsonl", "tst.jsonl"], [36, 4, 40]),
    "part of a word": (["mytrain.jsonl", "mytest.jsonl"], [36, 4, 40]),
    "part of every word": (
        ["reviewstrain.jsonl", "reviewsval.jsonl", "reviewstest.jsonl"],
        [40, 40, 40],
    ),
    "parts in folders": (["xtrain/a.jsonl", "xtrain/b.jsonl", "xtest/a.jsonl"], [72, 8, 40]),
    "folder and name": (["train/x.train.jsonl", "test/x.test.jsonl"], [36, 4, 40]),
}
# Names without split words, whatever they look like, or with the same in all.
ONE_SOURCE = [
    ["testimonials.jsonl", "devices.jsonl", "trainer.jsonl", "contest.jsonl", "latest.jsonl"],
    ["evaluation_texts.jsonl", "invalid.jsonl", "medieval.jsonl", "développement.jsonl"],
    ["a_test.jsonl", "b_test.jsonl"],
    ["test/a.jsonl", "test/b.jsonl"],
    ["valence.jsonl", "Trainé.jsonl", "protest-2024.jsonl"],
]
SPLIT_WORDS = """
train training trn dev validation validate valid val test testing tst devtest eval holdout
""".split()  # noqa: SIM905
NOT_PLAIN = [
    ["a.jsonl", "b.jsonl", "test.jsonl"],
    ["dev.jsonl", "test.jsonl"],
    ["mytrain.jsonl", "mytest.jsonl", "more.jsonl"],
    ["train.jsonl", "dev.jsonl", "val.jsonl"],
    ["train/a.jsonl", "train/dev.jsonl", "b.jsonl"],
    ["train.jsonl", "test.jsonl", "extra/more.jsonl"],
]


def plant(names: list[str]) -> list[str]:
    for number, name in enumerate(names):
        write(f"in/{name}", f"source {number}")
    return [f"in/{name}" for name in names]


@pytest.mark.parametrize("name", TREES)
def test_split_words_anywhere_in_a_path_make_splits(name: str) -> None:
    names, expected = TREES[name]
    files = plant(names)
    for path in ("in/**/*.jsonl", files):
        assert sizes(load_splits(config(path=path), 1)) == expected, path
    if all("/" not in file for file in names):
        assert sizes(load_splits(config(path="in"), 1)) == expected
    pooled = sizes(load_splits(config(path="in/**/*.jsonl", pool=True), 1))
    assert pooled[1:] == [4 * len(names)] * 2, "pooled where it is said"


@pytest.mark.parametrize("names", ONE_SOURCE, ids=str)
def test_other_names_are_one_source(names: list[str]) -> None:
    plant(names)
    assert sum(sizes(load_splits(config(path="in/**/*.jsonl"), 1))) == 40 * len(names)
    assert [part.split for part in local_parts(config(path="in/**/*.jsonl"))] == ["all"]


@pytest.mark.parametrize("names", NOT_PLAIN, ids=str)
@pytest.mark.parametrize("path", ["in/**/*.jsonl", "in"])
def test_names_that_leave_it_open_stop_and_tell_what_was_seen(names: list[str], path: str) -> None:
    plant(names)
    found = problem(config(path=path))
    assert found.where == f"data.path={path}"
    assert found.fix.endswith("data.pool=true to read them as one source")
    assert all(name.split("/")[0] in found.what for name in names if "dev" in name)
    assert sum(sizes(load_splits(config(path=path, pool=True), 1))) >= 40


def test_files_that_name_no_split_are_offered_for_train() -> None:
    plant(["a.jsonl", "my b.jsonl", "test.jsonl"])
    assert problem(config(path="in")).fix == (
        """data.path=null 'data.train=[in/a.jsonl,"in/my b.jsonl"]' data.test=in/test.jsonl,"""
        + POOLED
    )


def test_a_folder_above_all_files_says_nothing() -> None:
    plant(["test/reviews/a.jsonl", "test/reviews/b.jsonl"])
    assert sum(sizes(load_splits(config(path="in/test/reviews"), 1))) == 80
    assert sum(sizes(load_splits(config(path=str(Path("in/test/reviews").absolute())), 1))) == 80
    assert sum(sizes(load_splits(config(path="in/test/reviews/a.jsonl"), 1))) == 40


def test_the_pattern_of_a_split_names_no_other_split_unsaid() -> None:
    plant(["train.jsonl", "test.jsonl"])
    found = problem(config(train="in/*.jsonl", test="in/test.jsonl"))
    assert found == Problem(
        "data.train=in/*.jsonl",
        "also names test.jsonl: called after another split than train",
        "a pattern without them, or data.pool=true to read them as train",
    )
    pooled = load_splits(config(train="in/*.jsonl", test="in/test.jsonl", pool=True), 1)
    assert len(pooled["test"]) == 40
    named_otherwise = config(train="in/test.jsonl", test="in/train.jsonl")
    assert sizes(load_splits(named_otherwise, 1))[2] == 40, "what is typed in full is meant"


@given(st.text(st.sampled_from("abtesrinvldTESR_-. 1é"), max_size=12))
def test_split_words_are_bounded_by_what_is_no_letter(name: str) -> None:
    found = words_of(name)
    words = re.split(r"[^a-zé]+", re.sub(r"(?<=[a-zé])(?=[A-Z])", "_", name).lower())
    glued = {f"{word}{end}": word for word in SPLIT_WORDS for end in ("", "set", "split", "data")}
    assert found == {glued[word] for word in words if word in glued}


def test_the_sample() -> None:
    columns = {"text": "review_body", "language": "language", "id": "review_id"}
    small = SampleConfig(train_rows=60, validation_rows=12, test_rows=15)
    data = config(Source.sample, columns=columns, sample=small, languages=["en", "ja"])
    splits = load_splits(data, 1)
    assert sizes(splits) == [120, 24, 30]
    assert count_rows(data, 1) == ({"train": 120, "validation": 24, "test": 30}, ())
    assert splits["train"].stars is not None
    assert load_splits(data, 2) == splits, "the job's seed does not change the sample"
    data.languages = ["en", "xx"]
    found = problem(data)
    assert found.what.startswith("the sample has no 'xx'; it has: ")
    assert found.fix == "'data.languages=[en]'"


# --- what is wrong ------------------------------------------------------------------------------


def test_settings_that_contradict_each_other() -> None:
    both = config(path="a.jsonl", train="b.jsonl", test="c.jsonl")
    what = "and data.train, data.test are both set; one of them decides"
    assert problem(both) == Problem("data.path=a.jsonl", what, "data.path=null")
    fix = "data.path=..., or data.train=..."
    assert problem(config()) == Problem("data.path", "no file is named", fix)
    assert problem(config(test="c.jsonl")).where == "data.train"
    assert problem(config(path="in/{language}.jsonl")) == Problem(
        "data.path=in/{language}.jsonl",
        "has {language}, and data.languages names none",
        "'data.languages=[en,de]'",
    )
    assert problem(config(path=["hf://datasets/a/b/c.csv", "d.csv"])).fix == "data.source=hub"
    assert problem(config(Source.hub, train="c.csv")).fix == (
        "data.train=hf://datasets/OWNER/NAME/train.jsonl, or data=files"
    )


def test_empty_splits() -> None:
    write("r.jsonl", "a", 6)
    data = config(path="r.jsonl", validation_share=0.0, test_share=0.05)
    assert problems(data) == [
        Problem(
            "data.validation_share=0",
            "empty split validation: data.validation_share=0 leaves it no rows",
            "data.validation_share=0.1, or more rows",
        ),
        Problem(
            "data.test_share=0.05",
            "empty split test: a share of 0.05 of 6 rows is less than one row",
            "data.test_share=0.17, or more rows",
        ),
    ]
    data.validation_share, data.test_share = 0.2, 0.17
    assert sizes(load_splits(data, 1)) == [4, 1, 1]


def test_rows_that_stay_together_leave_a_split_empty_and_are_told_as_the_reason() -> None:
    rows = [{"text": "the same", "stars": 1 + n % 5, "lang": "en"} for n in range(60)]
    Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(problems(config(path="r.jsonl"))) == 2
    for found in problems(config(path="r.jsonl")):
        assert "a share of 0.1 of 60 rows, but those of one text stay together" in found.what
        assert found.fix == "more different texts of each language and class"


def test_without_a_test_split_and_told() -> None:
    write("r.jsonl", "a", 60)
    data = config(path="r.jsonl", test_share=0.0)
    assert count_rows(data, 1) == (
        {"train": 54, "validation": 6, "test": 0},
        ("test: has no rows (data.test_share=0): nothing is scored on test",),
    )
    write("t.jsonl", "b", 10)
    data = config(train="r.jsonl", test="t.jsonl", test_share=0.0)
    assert count_rows(data, 1)[0] == {"train": 54, "validation": 6, "test": 10}
    write("d/train.jsonl", "c", 60)
    write("d/test.jsonl", "c", 60)
    assert "empty split train" in problems(config(path="d", test_share=0.0))[0].what


def test_a_class_that_train_lacks() -> None:
    rows = [{"text": f"t{n}", "stars": n % 2 * 4 + 1, "lang": "en"} for n in range(40)]
    Path("two.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert problem(config(path="two.jsonl")) == Problem(
        "data.labels",
        "no row of train has the class fair",
        "rows that have it, or 'data.labels=[{name: bad, values: [1, 2]},"
        " {name: good, values: [4, 5]}]'",
    )
    write("r.jsonl", "a")
    splits = load_splits(config(train="r.jsonl", test="two.jsonl"), 1)
    assert splits["test"].warnings == ["no row of test has the class fair"]


def test_texts_of_the_test_are_left_out_of_train_and_told() -> None:
    write("a.jsonl", "a", 60)
    rows = Path("a.jsonl").read_text().splitlines()
    Path("b.jsonl").write_text("\n".join(rows[::3]))
    splits = load_splits(config(train="a.jsonl", test="b.jsonl"), 1)
    warning = "20 rows are left out: the same text is in validation or test (data.unique_texts)"
    assert splits["train"].warnings == [warning]
    assert sizes(splits) == [36, 4, 20]
    assert not {*splits["train"].text, *splits["validation"].text} & {*splits["test"].text}


def test_texts_that_may_stand_in_two_splits_are_worth_a_warning() -> None:
    write("a.jsonl", "a", 50)
    Path("b.jsonl").write_text(Path("a.jsonl").read_text())
    data = config(train="a.jsonl", validation="b.jsonl", test="b.jsonl", unique_texts=False)
    splits = load_splits(data, 1)
    warning = "50 of its 50 texts are also in train: its scores flatter the model"
    assert splits["validation"].warnings == [warning]
    assert splits["test"].warnings[0] == warning
    assert count_rows(data, 1)[0] == {"train": 50, "validation": 50, "test": 50}


def test_problems_of_all_splits_are_told_at_once() -> None:
    Path("a.jsonl").write_text('{"text": "", "stars": 1, "lang": "en"}')
    Path("b.jsonl").write_text('{"text": "x", "stars": 9, "lang": "en"}')
    found = problems(config(train="a.jsonl", validation="b.jsonl", test="a.jsonl"))
    assert [p.where for p in found] == ["a.jsonl:1", "b.jsonl:1"]
    found = problems(config(train="x.jsonl", validation="b.jsonl", test="y.jsonl"))
    assert [p.where for p in found] == ["data.train=x.jsonl", "data.test=y.jsonl"]


def test_a_folder_whose_splits_are_not_plain() -> None:
    write("in/train.jsonl", "a")
    write("in/more.jsonl", "b")
    assert problem(config(path="in")) == Problem(
        "data.path=in",
        "holds more.jsonl, train.jsonl: which split is which is not plain",
        "data.path=null data.train=in/train.jsonl," + POOLED,
    )
    Path("in/more.jsonl").rename("in/dev.jsonl")
    write("in/val.jsonl", "c")
    assert problem(config(path="in")).what == (
        "names the validation split twice: dev.jsonl, val.jsonl"
    )


# --- the hub, counted ---------------------------------------------------------------------------


def test_files_on_the_hub_are_a_hub_source() -> None:
    data = config(path="hf://datasets/a/b/c.csv", validation="hf://datasets/a/b/d.csv")
    assert (data.source, data.path, data.train) == (Source.hub, None, "hf://datasets/a/b/c.csv")
    assert config(path="c.csv").source is Source.files


def test_hub_rows_are_counted_without_reading() -> None:
    root = "hf://datasets/me/reviews/{language}"
    settings: dict[str, Any] = {"languages": ["en", "de"], "train": f"{root}/train.jsonl"}
    data = config(Source.hub, **settings, rows=RowCounts(train=1000))
    assert count_rows(data, 1) == ({"train": 1600, "validation": 200, "test": 200}, ())
    data = config(Source.hub, **settings, test=f"{root}/test.jsonl", rows=RowCounts(train=1000))
    assert count_rows(data, 1) == (None, ())
    data.rows.test = 50
    assert count_rows(data, 1) == ({"train": 1800, "validation": 200, "test": 100}, ())


def test_a_split_whose_texts_all_stand_in_another_is_told() -> None:
    for name in ("a", "b", "c"):
        write(f"{name}.jsonl", "the same")
    found = problems(config(train="a.jsonl", validation="b.jsonl", test="c.jsonl"))
    assert [problem.where for problem in found] == ["data.train", "data.validation"]
    assert "validation or test holds the same texts" in found[0].what
    assert found[0].fix == "other rows for train, or data.unique_texts=false"
    fix = config(train="a.jsonl", validation="b.jsonl", test="c.jsonl", unique_texts=False)
    assert sizes(load_splits(fix, 1)) == [40, 40, 40]


def test_a_text_with_several_classes_is_told_with_its_rows() -> None:
    write("all.jsonl", "r")
    same = [{"text": "same", "stars": star, "lang": "en"} for star in (1, 3, 5, 5, 2)]
    alike = [{"text": "alike", "stars": star, "lang": "en"} for star in (4, 5)]  # one class
    with Path("all.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in [*same, *alike]))
    kept: list[Row] = []
    found = survey(config(path="all.jsonl"), 1, lambda rejected: None, kept.append, kept)
    told = "all: 5 rows share 1 text and have different classes"
    assert found.warnings == (f"{told}: 'same' is bad in all.jsonl:41 and fair in all.jsonl:42",)
    assert count_rows(config(path="all.jsonl"), 1)[1] == (told,)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_contradictory_rows_are_those_of_a_text_with_two_classes(
    pairs: list[tuple[int, int]],
) -> None:
    rows = Rows(
        [f"t{text}" for text, _ in pairs], [label for _, label in pairs], ["en"] * len(pairs)
    )
    classes: dict[int, set[int]] = {}
    for text, label in pairs:
        classes.setdefault(text, set()).add(label)
    expected = [n for n, (text, _) in enumerate(pairs) if len(classes[text]) > 1]
    assert contradictory_rows(keys_of({"train": rows})).tolist() == expected


UNLABELLED: dict[str, Any] = {
    "no column": {},
    "empty": {"stars": None},
    "placeholder": {"stars": -1},
}


@pytest.mark.parametrize("kind", UNLABELLED)
def test_a_split_without_labels_is_told_as_such(kind: str) -> None:
    write("train.jsonl", "r")
    rows = [{"text": f"new {n}", "lang": "en", **UNLABELLED[kind]} for n in range(5)]
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = problem(config(train="train.jsonl", test="test.jsonl"))
    assert given == Problem(
        "data.test=test.jsonl",
        "has no labels, so nothing can be scored on it",
        "data.test=null; after the training: lingotune predict RUN --file test.jsonl",
    )
    assert load_splits(config(train="train.jsonl"), 1)["test"].text
    Path("folder").mkdir()
    for name in ("train", "test"):
        Path(f"{name}.jsonl").rename(f"folder/{name}.jsonl")
    in_folder = problem(config(path="folder"))
    assert in_folder.where == "the test split of data.path=folder"
    assert in_folder.fix.startswith("data.path=null data.train=folder/train.jsonl; after")


def test_one_list_for_the_unknown_values_of_all_splits() -> None:
    for name, stars in {"train": ["a", "b"], "validation": ["a", "c"], "test": ["b", None]}.items():
        rows = [{"text": f"{name} {n}", "lang": "en", "stars": s} for n, s in enumerate(stars * 5)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {split: f"{split}.jsonl" for split in SPLITS}
    unknown, empty = sorted(problems(config(**given)), key=lambda found: found.what, reverse=False)
    assert unknown.what.startswith(
        "3 values in 'stars' are not in data.labels: 'a' (10), 'b' (10), 'c' (5)"
    )
    assert unknown.fix == "'data.labels=[a, b, c]', or data.labels=auto"
    assert empty.what == "has no value in 'stars'" and empty.where.startswith("test.jsonl:2")
