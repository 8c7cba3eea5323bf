"""Words that mattered to an answer, by occlusion: how the probability changes when a word is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lingotune.data.rows.pairs import parts_of
from lingotune.data.rows.unicode import is_blank
from lingotune.serving.served_model import ServedModel

MOST_WORDS = 200
"""Words that are left out one by one; the model is asked once for each."""
# Chinese, Japanese and Thai write no spaces: each of their characters counts as a word.
_WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+|[^\w\s\0]+"
)


@dataclass(frozen=True)
class Word:
    """Word from `start` to `end` of a text. change: what leaving it out takes from the probability."""

    start: int
    end: int
    change: float


def words_that_mattered(model: ServedModel, text: str) -> tuple[list[Word], int]:
    """Leave out each word of a prepared text, or pair; returns the words, and how many were not tried.

    The probability is that of the class the whole text gets, or of the likeliest where it may get several.
    A text of one word, alone or in a pair, has none to leave out.
    """
    found = [match.span() for match in _WORD.finditer(text)]
    tried = found[:MOST_WORDS]
    without = [text[:start] + text[end:] for start, end in tried]
    kept = [
        (span, rest) for span, rest in zip(tried, without) if not any(map(is_blank, parts_of(rest)))
    ]
    classes, shares = model.classifier.classify([text, *(rest for _, rest in kept)])
    label = int(shares[0].argmax() if model.trained.several else classes[0])
    changes = (shares[0, label] - shares[1:, label]).tolist()
    words = [Word(*span, change) for (span, _), change in zip(kept, changes)]
    return words, len(found) - len(tried)
