"""Texts to token ids, as the tokenizer gives them, but each word only once.

A fast tokenizer spends its time on words that it has met a thousand times. Where its ids of a text
are those of the text's pieces in a row, the pieces are looked up; pieces that are new are given to
the tokenizer itself. Whether that is so is tried, not assumed: on probes at the start, and on a few
rows of every call. A tokenizer that does not pass gets the texts whole.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

MOST_PIECES = 1_000_000
"""Pieces kept; then the memory (about 150 MB) is given back and filled anew."""
_PATTERNS = (
    # A tokenizer of BERT's kind puts spaces around Chinese characters; these are some of them.
    "[\u4e00-\u9fff]|[^ \u4e00-\u9fff]+",
    # One of SentencePiece's kind takes all white space for one, and that at the end for a token.
    r"\S+(?:\s+$)?",
)
"""What may be a piece, the finest first."""
_CONTROLS = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""Python takes some of them for white space, tokenizers do not."""
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
    """Tokens of texts, one after the other.

    ids: int32, those of all texts, special tokens included. lengths: int32, tokens of each text after
    the cut. uncut: int32, before it. unknown: int32, unknown tokens among a text's ids.
    """

    ids: np.ndarray[Any, np.dtype[np.int32]]
    lengths: np.ndarray[Any, np.dtype[np.int32]]
    uncut: np.ndarray[Any, np.dtype[np.int32]]
    unknown: np.ndarray[Any, np.dtype[np.int32]]


class Encoder:
    """A fast tokenizer of transformers, cutting at `max_length` tokens."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        # A copy: transformers turns its own to cutting and padding whenever it is used.
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_padding()
        self._backend.no_truncation()
        self._unknown = tokenizer.unk_token_id
        self._max_length = max_length
        added = map(re.escape, tokenizer.get_added_vocab())
        self._is_odd = re.compile("|".join([r"\A\s*\Z", _CONTROLS, *added])).search
        self._known: dict[str, list[int]] = {}
        self._first, self._last = self._special_tokens()
        self._split = self._choose_split()

    @property
    def splits(self) -> bool:
        """Whether texts are put together from pieces."""
        return self._split is not None

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The tokens of the texts."""
        if self._split is None:
            rows = self._whole(texts)
        else:
            rows = self._pieced(texts, self._split)
            checked = range(len(texts) // 2 % _CHECKED_EVERY, len(texts), _CHECKED_EVERY)
            if self._whole([texts[i] for i in checked]) != [rows[i] for i in checked]:
                self._split = None
                rows = self._whole(texts)
        return self._cut(rows)

    def _cut(self, rows: list[list[int]]) -> Encoded:
        """Special tokens around each row; a text that is too long loses its end."""
        first, last, room = self._first, self._last, self._room
        uncut = np.fromiter(map(len, rows), np.int32, len(rows)) + (len(first) + len(last))
        for row in rows:
            del row[room:]
            row[:0] = first
            row += last
        lengths = np.minimum(uncut, self._max_length)
        ids = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return Encoded(ids, lengths, uncut, self._count_unknown(ids, lengths))

    def _count_unknown(self, ids: Any, lengths: Any) -> Any:
        if self._unknown is None or not len(lengths):
            return np.zeros(len(lengths), np.int32)
        ends = np.cumsum(lengths)
        counts = np.concatenate([[0], np.cumsum(ids == self._unknown)])
        return (counts[ends] - counts[ends - lengths]).astype(np.int32)

    @property
    def _room(self) -> int:
        return max(0, self._max_length - len(self._first) - len(self._last))

    def _whole(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def _batch(self, texts: list[str], *, add_special_tokens: bool) -> Any:
        # Without offsets where this version of the library can do without.
        encode = getattr(self._backend, "encode_batch_fast", self._backend.encode_batch)
        return encode(texts, add_special_tokens=add_special_tokens)

    def _pieced(self, texts: Sequence[str], split: Callable[[str], list[str]]) -> list[list[int]]:
        pieces = list(map(split, texts))
        if len(self._known) > MOST_PIECES:
            self._known.clear()
        new = list(set(chain.from_iterable(pieces)).difference(self._known))
        self._known.update(zip(new, self._whole(new)))
        ids = self._known.__getitem__
        rows = [list(chain.from_iterable(map(ids, row))) for row in pieces]
        # The name of a special token stands for it, in some tokenizers with the spaces around.
        odd = [i for i, text in enumerate(texts) if self._is_odd(text)]
        for i, row in zip(odd, self._whole([texts[i] for i in odd])):
            rows[i] = row
        return rows

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts before and behind a text."""
        with_them, bare = (
            self._batch(["a"], add_special_tokens=add)[0].ids for add in (True, False)
        )
        for start in range(len(with_them) - len(bare) + 1):
            if with_them[start : start + len(bare)] == bare:
                return with_them[:start], with_them[start + len(bare) :]
        raise AssertionError(f"{with_them} does not hold {bare}")

    def _choose_split(self) -> Callable[[str], list[str]] | None:
        """The finest way to take texts apart that makes no difference on the probes."""
        whole = self._whole(_PROBES)
        for split in (re.compile(pattern).findall for pattern in _PATTERNS):
            self._known.clear()
            if self._pieced(_PROBES, split) == whole:
                return split
        self._known.clear()
        return None
