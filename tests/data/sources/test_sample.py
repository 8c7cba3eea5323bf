"""The generated reviews: the same bytes everywhere, the shape of the real corpus, no shortcuts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from statistics import median, quantiles
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.config.console import format_error
from lingotune.config.problems import ConfigError
from lingotune.config.schema import SampleConfig
from lingotune.data.sources import sample
from lingotune.data.sources.sample import LANGUAGES, SPLITS, TOPICS, sample_rows, sample_size
from lingotune.data.sources.sample_lexicon import LEXICONS

Row = dict[str, Any]

SMALL = SampleConfig(train_rows=12, validation_rows=6, test_rows=7, seed=3)
# Change it only on purpose: every score that a user has measured on the sample changes with it.
SMALL_DIGEST = "adf78078a7287789d698974311bc7a18e690dad06824fae8d06548c2c4e4bbd4"
TOPICS_DIGEST = "1de6dd71e584739735837e052c928c39a7b5ec0f191cdc303d6b7a46c0c27468"
DIGEST_SCRIPT = """
import hashlib, json
from lingotune.data.sources.sample import SPLITS, sample_rows
from lingotune.config.schema import SampleConfig
config = SampleConfig(train_rows=12, validation_rows=6, test_rows=7, seed=3)
rows = [row for split in SPLITS for row in sample_rows(config, split)]
for row in rows:
    row.pop("topics")
print(hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def default() -> dict[str, list[Row]]:
    """All splits at their default sizes."""
    return {split: list(sample_rows(SampleConfig(), split)) for split in SPLITS}


@pytest.fixture(scope="module")
def everything(default: dict[str, list[Row]]) -> list[Row]:
    return [row for split in SPLITS for row in default[split]]


def of(rows: list[Row], language: str) -> list[Row]:
    return [row for row in rows if row["language"] == language]


def test_bytes_are_pinned() -> None:
    rows = [row for split in SPLITS for row in sample_rows(SMALL, split)]
    topics = json.dumps([row.pop("topics") for row in rows])
    assert hashlib.sha256(topics.encode()).hexdigest() == TOPICS_DIGEST
    text = json.dumps(rows, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == SMALL_DIGEST


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_bytes_do_not_depend_on_the_process(hash_seed: str) -> None:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", DIGEST_SCRIPT]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == SMALL_DIGEST


def test_columns_and_types(everything: list[Row]) -> None:
    texts = ("review_id", "product_id", "reviewer_id", "review_body", "review_title", "language")
    for row in everything:
        assert list(row) == [*texts[:3], "stars", *texts[3:], "product_category", "topics"]
        assert type(row["stars"]) is int and 1 <= row["stars"] <= 5
        for name in (*texts, "product_category"):
            assert type(row[name]) is str and row[name] == row[name].strip() != ""
    assert len({row["product_category"] for row in everything}) == 6


def test_topics_are_the_aspects_that_a_review_speaks_of(everything: list[Row]) -> None:
    spoken, silent = [], []
    for row in everything:
        aspects = LEXICONS[row["language"]].topics[0].aspects[-len(TOPICS) :]
        assert row["topics"] == [name for name in TOPICS if name in row["topics"]]
        text = row["review_body"].casefold()
        for name, aspect in zip(TOPICS, aspects):
            found = aspect.rstrip("*").casefold() in text
            (spoken if name in row["topics"] else silent).append(found)
    assert sum(spoken) / len(spoken) > 0.9  # slips of the keyboard hide some
    assert sum(silent) / len(silent) < 0.01
    counts = Counter(len(row["topics"]) for row in everything)
    assert counts[0] > 500 and counts[2] > 500 and counts[6] > 50


def test_ids_are_unique_and_name_the_language(everything: list[Row]) -> None:
    assert len({row["review_id"] for row in everything}) == len(everything)
    for row in everything:
        code = row["language"]
        assert re.fullmatch(rf"{code}_\d{{7}}", row["review_id"])
        assert re.fullmatch(rf"product_{code}_\d{{7}}", row["product_id"])
        assert re.fullmatch(rf"reviewer_{code}_\d{{7}}", row["reviewer_id"])


@given(
    sizes=st.tuples(*[st.integers(0, 30)] * 3),
    seed=st.integers(0, 2**32),
    split=st.sampled_from(SPLITS),
    languages=st.lists(st.sampled_from(LANGUAGES), unique=True),
)
@settings(max_examples=50)
def test_any_sample(
    sizes: tuple[int, int, int], seed: int, split: str, languages: list[str]
) -> None:
    config = SampleConfig(*sizes, seed=seed)
    rows = list(sample_rows(config, split, languages))
    size = sizes[SPLITS.index(split)]
    assert len(rows) == sample_size(config, split, languages)
    expected = {code: size for code in languages or LANGUAGES if size}
    assert Counter(row["language"] for row in rows) == expected
    for code in expected:
        assert len({row["stars"] for row in of(rows, code)}) == min(size, 5)


@given(seed=st.integers(0, 2**32), language=st.sampled_from(LANGUAGES))
@settings(max_examples=20)
def test_rows_of_a_language_depend_on_nothing_else(seed: int, language: str) -> None:
    small = SampleConfig(5, 1, 1, seed=seed)
    large = SampleConfig(9, 7, 7, seed=seed)
    mixed = of(list(sample_rows(large, "train")), language)
    assert list(sample_rows(large, "train", [language])) == mixed
    assert list(sample_rows(small, "train", [language])) == mixed[:5]


def test_order_of_the_languages_named_is_of_no_matter() -> None:
    assert list(sample_rows(SMALL, "test", ["zh", "en"])) == list(
        sample_rows(SMALL, "test", ["en", "zh"])
    )


def test_languages_are_mixed(default: dict[str, list[Row]]) -> None:
    assert len({row["language"] for row in default["train"][:60]}) == len(LANGUAGES)


def bodies_of(rows: Iterable[Row]) -> list[str]:
    return [row["review_body"] for row in rows]


def test_seeds_differ(default: dict[str, list[Row]]) -> None:
    """A short text may be written for several seeds."""
    other = set(bodies_of(sample_rows(SampleConfig(seed=1), "train")))
    for rows in default.values():
        bodies = set(bodies_of(rows))
        assert len(other & bodies) < 0.02 * min(len(other), len(bodies))


@given(sizes=st.tuples(*[st.integers(0, 60)] * 3), seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_no_text_comes_twice(sizes: tuple[int, int, int], seed: int) -> None:
    """Neither in a split nor across splits and languages."""
    config = SampleConfig(*sizes, seed=seed)
    bodies = [text for split in SPLITS for text in bodies_of(sample_rows(config, split))]
    assert len(set(bodies)) == len(bodies) == sum(sizes) * len(LANGUAGES)


def test_no_text_comes_twice_in_a_large_sample(everything: list[Row]) -> None:
    config = SampleConfig(train_rows=4000, validation_rows=2000, test_rows=2000)
    bodies = [text for s in SPLITS for text in bodies_of(sample_rows(config, s, ["en"]))]
    assert len(set(bodies)) == len(bodies) == 8000
    assert len(set(bodies_of(everything))) == len(everything)


def test_splits_never_share_a_text_whatever_their_seeds_and_sizes() -> None:
    """Which split a text belongs to is told by the text alone."""
    configs = [SampleConfig(150, 150, 150, seed=seed) for seed in range(3)]
    bodies = [{text for c in configs for text in bodies_of(sample_rows(c, s))} for s in SPLITS]
    assert sum(map(len, bodies)) == len(set.union(*bodies))


def test_more_rows_than_there_are_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words suffice for any size in reach; here the writer knows 9 texts of a class."""
    written = "abcdefghi"
    monkeypatch.setattr(sample._Writer, "body", lambda self: sample.pick(self.rng, written))
    with pytest.raises(ConfigError) as caught:
        list(sample_rows(SampleConfig(train_rows=50), "train", ["fr"]))
    (problem,) = caught.value.problems
    assert problem.where == "data.sample.train_rows"
    made = int(problem.what.split()[5])
    assert problem.what == f"the sample can write only {made} different reviews of train in 'fr'"
    assert problem.fix == f"data.sample.train_rows={made}" and 0 < made < len(written)
    assert len(list(sample_rows(SampleConfig(train_rows=made), "train", ["fr"]))) == made


def test_classes_are_40_20_40(default: dict[str, list[Row]]) -> None:
    for rows in default.values():
        for code in LANGUAGES:
            stars = Counter(row["stars"] for row in of(rows, code))
            assert len(set(stars.values())) == 1 and len(stars) == 5


def test_lengths_have_a_long_tail(everything: list[Row]) -> None:
    for code in LANGUAGES:
        lengths = [len(row["review_body"]) for row in of(everything, code)]
        assert 2.5 < quantiles(lengths, n=20)[-1] / median(lengths) < 4.5
        assert max(lengths) > 10 * median(lengths)


def test_bodies_do_not_give_the_title_away(everything: list[Row]) -> None:
    for row in everything:
        body = row["review_body"].casefold()
        for titles in LEXICONS[row["language"]].titles.values():
            assert not any(title.casefold() in body for title in titles)


def test_every_language_has_its_words() -> None:
    assert tuple(LEXICONS) == LANGUAGES


def test_titles_tell_the_stars() -> None:
    for lexicon in LEXICONS.values():
        titles = [title for entries in lexicon.titles.values() for title in entries]
        assert len(titles) == len(set(titles)) >= 20


def test_chinese_and_japanese_have_no_spaces_and_their_own_stops(everything: list[Row]) -> None:
    for row in of(everything, "ja") + of(everything, "zh"):
        assert not re.search(r"[ .,!;:]", row["review_body"])
    for code in ("en", "de", "fr", "es"):
        assert not any(re.search("[。、！，]", row["review_body"]) for row in of(everything, code))


def test_a_negation_turns_a_word_over(everything: list[Row]) -> None:
    """'good' is in bad reviews, and 'bad' in good ones: words alone do not decide."""
    for word, stars in (("good", (1, 2)), ("bad", (4, 5))):
        negated = re.compile(rf"(not|n't)( exactly)? {word}")
        assert any(
            negated.search(row["review_body"])
            for row in of(everything, "en")
            if row["stars"] in stars
        )


def test_every_frame_is_filled(everything: list[Row]) -> None:
    assert not any(re.search(r"[{}*|/]", row["review_body"]) for row in everything)


def test_tables_of_all_languages_have_the_same_shape() -> None:
    slots = {"who", "when", "day", "span", "n"}
    for lexicon in LEXICONS.values():
        categories = [topic.category for topic in lexicon.topics]
        assert categories == ["electronics", "kitchen", "apparel", "toy", "beauty", "sports"]
        for clause in [c for v in lexicon.verdicts.values() for c in v] + list(lexicon.context):
            assert set(re.findall(r"{(\w*)}", clause)) <= slots
        for frames in lexicon.statements.values():
            assert all(set(re.findall(r"{(\w*)}", f)) == {"a", "x"} for f in frames)
        for frame in lexicon.contrasts:
            assert set(re.findall(r"{(\w*)}", frame)) == {"weak", "main"}


def test_unknown_language() -> None:
    for call in (sample_rows, sample_size):
        with pytest.raises(ConfigError) as caught:
            call(SMALL, "train", ["en", "it", "EN"])
        assert format_error(caught.value) == (
            "lingotune: 1 problem\n"
            "  data.languages\n"
            "      the sample has no reviews in 'it', 'EN'\n"
            "      fix: 'data.languages=[en,ja,de,fr,zh,es]', or some of these"
        )
