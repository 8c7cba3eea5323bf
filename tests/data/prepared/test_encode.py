"""Token ids from pieces: the same as the tokenizer's own, whatever the text and the tokenizer."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from segmented import segmented
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from lingotune.config.schema import SampleConfig
from lingotune.data.prepared.encode import MOST_PIECES, Encoder, vocabulary_of
from lingotune.data.prepared.tokenizer import train_vocabulary, wordpiece_tokenizer
from lingotune.data.rows.pairs import joined
from lingotune.data.sources.sample import sample_rows

TEXTS = [record["review_body"] for record in sample_rows(SampleConfig(train_rows=40), "train", [])]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def trained(model: Any, trainer: Any, normalizer: Any, splitter: Any) -> Any:
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    names = dict(zip(("bos", "pad", "eos", "unk", "mask"), SPECIAL))
    named = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def wordpiece() -> Any:
    return wordpiece_tokenizer(train_vocabulary(TEXTS, 3_000), 64)


def sentencepiece() -> Any:
    """Of XLM-R's kind."""
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    return trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=900, special_tokens=SPECIAL, unk_token="<unk>"),
        normalizers.Sequence([normalizers.NFKC(), spaces]),
        pre_tokenizers.Metaspace(),
    )


def bytes_of_words() -> Any:
    """Of RoBERTa's kind: a space belongs to the word behind it."""
    return trained(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=900, special_tokens=SPECIAL),
        None,
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    )


KINDS = {"wordpiece": wordpiece, "sentencepiece": sentencepiece, "bytes": bytes_of_words}
MADE = {kind: make() for kind, make in KINDS.items()}


def whole(tokenizer: Any, texts: list[str], max_length: int) -> list[list[int]]:
    rows: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    return rows


def rows_of(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    encoded = encoder.encode(texts)
    ends = encoded.lengths.cumsum()
    return [encoded.ids[end - n : end].tolist() for end, n in zip(ends, encoded.lengths)]


words = st.sampled_from([w for text in TEXTS for w in text.split(" ")])
odd = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")  # which stands between pairs
    | st.sampled_from(" \t\n\r\u3000\xa0\u200b\u0301。、！[]<>#"),
    max_size=12,
)  # fmt: skip
special = st.sampled_from([*SPECIAL, "[MASK]", "[SEP]", "[UNK]", "[mask]", "<mask"])
texts = st.lists(words | odd | special, max_size=12).map(lambda parts: " ".join(parts)) | odd


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(st.lists(texts, min_size=1, max_size=4), st.integers(2, 12))
@example(["a b", " a", "a ", "a  b", ""], 128)
@example(["质量 很好。不错", "とても 良い商品", "x<mask> y [MASK]z"], 128)
def test_the_ids_are_the_tokenizers(kind: str, found: list[str], max_length: int) -> None:
    encoder = Encoder(vocabulary_of(MADE[kind], max_length))
    expected = whole(MADE[kind], found, max_length)
    assert rows_of(encoder, found) == expected
    assert rows_of(encoder, found) == expected  # now from the pieces that it knows
    uncut = [len(row) for row in whole(MADE[kind], found, 1_000_000)]
    assert encoder.encode(found).uncut.tolist() == uncut


visible = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(st.lists(st.tuples(visible, visible), min_size=1, max_size=4), st.integers(6, 24))
@example([("质量 很好。不错", "とても 良い"), ("a b c d e f g h i j k l", "x")], 8)
def test_the_ids_of_pairs_are_the_tokenizers(
    kind: str, found: list[tuple[str, str]], max_length: int
) -> None:
    """Of the two texts the longer one is cut, as transformers cuts them."""
    encoded = Encoder(vocabulary_of(MADE[kind], max_length)).encode([*starmap(joined, found)])
    firsts, seconds = map(list, zip(*found))
    expected = MADE[kind](firsts, seconds, truncation=True, max_length=max_length)["input_ids"]
    ends = encoded.lengths.cumsum()
    assert [encoded.ids[e - n : e].tolist() for e, n in zip(ends, encoded.lengths)] == expected
    whole = MADE[kind](firsts, seconds)["input_ids"]
    assert encoded.uncut.tolist() == [*map(len, whole)]


def test_where_the_second_segment_begins() -> None:
    """A tokenizer of BERT's kind has token types; another has one type for both texts."""
    typed, plain = segmented(TEXTS), MADE["wordpiece"]
    pairs = [("good good good", "good"), ("good", "good " * 30)]
    texts = [*starmap(joined, pairs)]
    encoded = Encoder(vocabulary_of(typed, 8)).encode(texts)
    expected = typed(*map(list, zip(*pairs)), truncation=True, max_length=8)["token_type_ids"]
    assert encoded.first is not None
    assert encoded.first.tolist() == [types.count(0) for types in expected] == [5, 3]
    assert encoded.lengths.tolist() == [7, 8]
    whole = Encoder(vocabulary_of(plain, 8)).encode(texts)
    assert whole.first is None
    assert (vocabulary_of(typed, 8).types, vocabulary_of(plain, 8).types) == (True, False)


def test_which_kinds_are_put_together_from_pieces() -> None:
    assert {kind: Encoder(vocabulary_of(MADE[kind], 64)).splits for kind in KINDS} == {
        "wordpiece": True,
        "sentencepiece": True,
        "bytes": False,
    }


def test_a_tokenizer_that_turns_out_to_see_neighbours_gets_whole_texts() -> None:
    """It passes the probes, but makes one token of a pair of words that no probe holds."""
    tokenizer = wordpiece()
    joined = normalizers.Replace("very good", "good")
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [joined, tokenizer.backend_tokenizer.normalizer]
    )
    encoder = Encoder(vocabulary_of(tokenizer, 64))
    assert encoder.splits
    found = ["a very good one"] * 3
    assert rows_of(encoder, found) == whole(tokenizer, found, 64)
    assert not encoder.splits


def test_unknown_tokens_are_counted() -> None:
    encoded = Encoder(vocabulary_of(MADE["wordpiece"], 8)).encode(
        ["good ☃ ☃", "", "good", "☃ " * 20]
    )
    assert encoded.unknown.tolist() == [2, 0, 0, 6]
    assert encoded.lengths.tolist()[3] == 8 and encoded.uncut.tolist()[3] == 22


def test_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lingotune.data.prepared.encode.MOST_PIECES", 50)
    encoder = Encoder(vocabulary_of(MADE["wordpiece"], 64))
    for start in range(0, len(TEXTS), 10):
        part = TEXTS[start : start + 10]
        assert rows_of(encoder, part) == whole(MADE["wordpiece"], part, 64)
        assert len(encoder._known) < 400
    assert MOST_PIECES > 50
