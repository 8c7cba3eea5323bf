"""Encoding texts exactly as the tokenizer does, but each distinct word only once.

A fast tokenizer spends most of its time on words that it has already encoded. If its ids for a text are
the concatenated ids of the text's pieces, the pieces are looked up, and only new pieces go to the
tokenizer. This property is verified, not assumed: on probes at the start and on a few rows of every
call. A tokenizer that fails the check is given whole texts, and every tokenizer whole pairs of texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np

from lingotune.data.rows.pairs import columns_of
from lingotune.system.arrays import Array

MOST_PIECES = 1_000_000
"""Pieces kept; then the memory (about 150 MB) is given back and filled anew."""
_PATTERNS = (
    # A tokenizer of BERT's kind puts spaces around Chinese characters and punctuation: some of them.
    "[\u4e00-\u9fff,.!?、。！，？]|[^ \u4e00-\u9fff,.!?、。！，？]+",
    "[\u4e00-\u9fff]|[^ \u4e00-\u9fff]+",
    # One of SentencePiece's kind takes all white space for one, and that at the end for a token.
    r"\S+(?:\s+$)?",
)
"""What may be a piece, the finest first."""
_CONTROLS = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""Python takes some of them for white space, tokenizers do not."""
_CONTROL = re.compile(_CONTROLS)
_PROBES = (
    "Das Gerät funktioniert nach 3 Tagen nicht mehr, leider!  Doppelt  leer.",
    "C'est très-bien ; l'écran n'est pas cassé… ça marche (enfin) à 100 %",
    "ありがとうございます。とても良い商品でした！ﾊﾝｶｸ　全角スペース ABC１２３",
    "这个产品非常好，质量不错。物流也快！！ 价格 便宜",
    "¡No lo compréis! Tiene mala calidad¿verdad?\ttab\nline end\r\n",
    "[MASK] <mask> </s> [SEP]tail ## ##ing e\u0301 \u0301x \u200b\u00ad\u00a0nbsp \ufeffbom",
    "👍🏽👨‍👩‍👧 ok 😀😀 http://example.com/a?b=c&d=é #tag @user 3.14159 1,000",
    " leading and trailing ",
    "\r mixed \n\t white\u2003 space\n",
    "",
)
_CHECKED_EVERY = 500
"""Of so many rows one is compared with what the tokenizer makes of it whole."""


@dataclass(frozen=True)
class Encoded:
    """Concatenated tokens of several texts.

    ids: int32, (tokens of all texts,), special tokens included. lengths: int32, (texts,), tokens of each
    text after truncation. uncut: int32, (texts,), before it. unknown: int32, (texts,), unknown tokens.
    first: int32, (texts,), tokens before the second text of a pair, which has other token types; None for
    texts alone, and where the tokenizer has no types.
    """

    ids: Array
    lengths: Array
    uncut: Array
    unknown: Array
    first: Array | None = None


@dataclass(frozen=True)
class Vocabulary:
    """The part of a tokenizer that encodes text, in a form that can be sent to another process.

    backend: the `tokenizers` object, as JSON. unknown: id of the unknown token, if there is one. added:
    special and added tokens. max_length: maximum tokens per text. types: whether the tokenizer tells the
    texts of a pair apart by token types, as BERT's does.
    """

    backend: str
    unknown: int | None
    added: tuple[str, ...]
    max_length: int
    types: bool = False


def vocabulary_of(tokenizer: Any, max_length: int) -> Vocabulary:
    """Read the vocabulary of a fast tokenizer of transformers."""
    added = tuple(tokenizer.get_added_vocab())
    return Vocabulary(
        tokenizer.backend_tokenizer.to_str(),
        tokenizer.unk_token_id,
        added,
        max_length,
        "token_type_ids" in tokenizer.model_input_names,
    )


class Encoder:
    """Encoder of texts that remembers the ids of their pieces."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from tokenizers import Tokenizer

        self._backend, self._unknown = Tokenizer.from_str(vocabulary.backend), vocabulary.unknown
        self._backend.no_padding()
        self._backend.no_truncation()
        self._added, self.max_length = vocabulary.added, vocabulary.max_length
        self._has_types = vocabulary.types
        self._is_odd = re.compile("|".join([_CONTROLS, *map(re.escape, self._added)])).search
        self._known = _Pieces()
        self._first, self._last = self._special_tokens()
        self._split = self._choose_split()

    @property
    def splits(self) -> bool:
        """Return True if texts are encoded piece by piece."""
        return self._split is not None

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode the texts, or pairs of texts."""
        firsts, seconds = columns_of(texts)
        if seconds is not None:
            return self._pairs(list(zip(firsts, seconds)))
        if self._split is None:
            return self._cut(*self._whole(texts))
        ids, counts = self._pieced(texts, self._split)
        checked = range(len(texts) // 2 % _CHECKED_EVERY, len(texts), _CHECKED_EVERY)
        if not _same(self._whole([texts[i] for i in checked]), _of_rows(ids, counts, checked)):
            self._split = None
            ids, counts = self._whole(texts)
        return self._cut(ids, counts)

    def _cut(self, ids: Array, counts: Array) -> Encoded:
        """Add special tokens around each row, and truncate rows that are too long at their end."""
        first, last = len(self._first), len(self._last)
        kept = np.minimum(counts, max(0, self.max_length - first - last))
        lengths = kept + (first + last)
        ends = np.cumsum(lengths)
        out = np.empty(int(ends[-1]) if len(ends) else 0, np.int32)
        for place, token in enumerate(self._first):
            out[ends - lengths + place] = token
        for place, token in enumerate(self._last):
            out[ends - last + place] = token
        inside = np.arange(int(kept.sum())) - np.repeat(np.cumsum(kept) - kept, kept)
        source = np.repeat(np.cumsum(counts) - counts, kept) + inside
        out[np.repeat(ends - lengths + first, kept) + inside] = ids[source]
        uncut = counts + (first + last)
        return Encoded(out, lengths, uncut, self._count_unknown(out, lengths))

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> Encoded:
        """Encode pairs; of one that is too long, the library takes tokens from the longer text first."""
        whole = self._batch(pairs, add_special_tokens=True)
        uncut = np.fromiter((len(one.ids) for one in whole), np.int32, len(whole))
        long = np.flatnonzero(uncut > self.max_length).tolist()
        self._backend.enable_truncation(self.max_length, strategy="longest_first")
        for place, cut in zip(long, self._batch([pairs[place] for place in long])):
            whole[place] = cut
        self._backend.no_truncation()
        ids, lengths = _flat([one.ids for one in whole])
        first = np.fromiter((one.type_ids.count(0) for one in whole), np.int32, len(whole))
        segments = first if self._has_types else None
        return Encoded(ids, lengths, uncut, self._count_unknown(ids, lengths), segments)

    def _count_unknown(self, ids: Array, lengths: Array) -> Array:
        if self._unknown is None:
            return np.zeros(len(lengths), np.int32)
        ends = np.cumsum(lengths)
        counts = np.concatenate([[0], np.cumsum(ids == self._unknown)])
        unknown: Array = (counts[ends] - counts[ends - lengths]).astype(np.int32)
        return unknown

    def _whole(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Encode whole texts: concatenated ids, and the number of each; no special tokens."""
        return _flat([encoding.ids for encoding in self._batch(texts, add_special_tokens=False)])

    def _batch(self, texts: Sequence[Any], *, add_special_tokens: bool = True) -> Any:
        # Without offsets where this version of the library can do without.
        encode = getattr(self._backend, "encode_batch_fast", self._backend.encode_batch)
        return encode(list(texts), add_special_tokens=add_special_tokens)

    def _pieced(
        self, texts: Sequence[str], split: Callable[[str], list[str]]
    ) -> tuple[Array, Array]:
        """Encode as `_whole` does, from the ids of the pieces."""
        pieces = list(map(split, texts))
        for row in self._odd(texts, pieces):
            pieces[row] = [texts[row]]
        if len(self._known) > MOST_PIECES:
            self._known = _Pieces()
        counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
        place = self._known.__getitem__  # a new piece gets the next place
        places = np.fromiter(map(place, chain.from_iterable(pieces)), np.int64, int(counts.sum()))
        new = self._known.without_ids()
        if new:
            self._known.add_ids(*self._whole(new))
        return self._known.gather(places, counts)

    def _odd(self, texts: Sequence[str], pieces: Sequence[list[str]]) -> list[int]:
        """Rows whose text is one piece: the name of a special token stands for it, in some
        tokenizers with the spaces around; control characters are white space to Python alone."""
        odd = [row for row, found in enumerate(pieces) if not found]
        together = "\n".join(texts)
        if _CONTROL.search(together) or any(name in together for name in self._added):
            odd += [row for row, text in enumerate(texts) if self._is_odd(text)]
        return odd

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Return the ids that the tokenizer puts before and after a text."""
        with_them, bare = (
            self._batch(["a"], add_special_tokens=add)[0].ids for add in (True, False)
        )
        for start in range(len(with_them) - len(bare) + 1):
            if with_them[start : start + len(bare)] == bare:
                return with_them[:start], with_them[start + len(bare) :]
        raise AssertionError(f"{with_them} does not hold {bare}")

    def _choose_split(self) -> Callable[[str], list[str]] | None:
        """Choose the finest way of splitting texts that makes no difference on the probes."""
        whole = self._whole(_PROBES)
        for split in (re.compile(pattern).findall for pattern in _PATTERNS):
            self._known = _Pieces()
            if _same(self._pieced(_PROBES, split), whole):
                return split
        return None


class _Pieces(dict[str, int]):
    """Piece -> its place, and the ids of the piece at each place."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = np.zeros(0, np.int32)
        self._ends = np.zeros(0, np.int64)

    def __missing__(self, piece: str) -> int:
        self[piece] = place = len(self)
        return place

    def without_ids(self) -> list[str]:
        """List the pieces added since the last `add_ids`, in order."""
        new = len(self) - len(self._ends)
        return list(islice(reversed(self), new))[::-1]

    def add_ids(self, ids: Array, counts: Array) -> None:
        """Add the ids of those pieces, concatenated, and the number of each."""
        self._ends = np.concatenate([self._ends, len(self._ids) + np.cumsum(counts)])
        self._ids = np.concatenate([self._ids, ids])

    def gather(self, places: Array, counts: Array) -> tuple[Array, Array]:
        """Concatenate the ids of rows with the given numbers of pieces; also the number of ids per row."""
        ends = self._ends[places]
        sizes = ends - np.concatenate([[0], self._ends])[places]
        total = np.cumsum(sizes)
        source = np.arange(int(total[-1]) if len(total) else 0) + np.repeat(ends - total, sizes)
        of_rows = np.concatenate([[0], total])[np.cumsum(counts)]
        return self._ids[source], np.diff(of_rows, prepend=0).astype(np.int32)


def _flat(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    counts = np.fromiter(map(len, rows), np.int32, len(rows))
    return np.fromiter(chain.from_iterable(rows), np.int32, int(counts.sum())), counts


def _of_rows(ids: Array, counts: Array, rows: Sequence[int]) -> tuple[Array, Array]:
    ends = np.cumsum(counts)
    parts = [ids[ends[row] - counts[row] : ends[row]] for row in rows]
    return np.concatenate([ids[:0], *parts]), counts[list(rows)]


def _same(one: tuple[Array, Array], other: tuple[Array, Array]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other))
