"""Generated reviews in six languages with the word statistics of real ones, and a tokenizer for them.

Words follow Zipf's law (exponent 1.1) over a large vocabulary, lengths a log-normal law. Japanese has
no spaces, and kana behind ideographs; Chinese has ideographs alone. Nothing here is anybody's text.
"""

from __future__ import annotations

import json
import random
from itertools import accumulate
from pathlib import Path
from typing import Any

ENTRIES = 119_547
"""Of the vocabulary of multilingual BERT."""
SPACED = ("de", "en", "es", "fr")
_WORDS = 60_000
_SYLLABLES = [
    c + v + e for c in "bcdfghjklmnprstvwz" for v in "aeiouäéó" for e in ("", "n", "r", "s", "t")
]
_KANA = [chr(n) for n in range(0x3042, 0x3093)]
_IDEOGRAPHS = [chr(n) for n in range(0x4E00, 0x4E00 + 3000)]


def words_of(language: str) -> list[str]:
    """The vocabulary of a language, the most frequent word first."""
    choose = random.Random(language)
    if language == "zh":
        return choose.sample(_IDEOGRAPHS, len(_IDEOGRAPHS))
    if language == "ja":  # a stem of ideographs, and its ending in kana
        endings = ["".join(choose.choices(_KANA, k=choose.randint(1, 4))) for _ in range(800)]
        stems = [
            "".join(choose.choices(_IDEOGRAPHS[:1500], k=choose.choice((1, 2))))
            for _ in range(20_000)
        ]
        return [stem + choose.choice(endings) for stem in stems]
    words = {
        "".join(choose.choices(_SYLLABLES, k=choose.choice((1, 1, 2, 2, 3))))
        for _ in range(2 * _WORDS)
    }
    return sorted(words, key=lambda word: (len(word) > 5, choose.random()))[:_WORDS]


class Reviews:
    """A source of reviews; the same seed gives the same ones."""

    def __init__(self, seed: int = 0) -> None:
        self._choose = random.Random(seed)
        self._words = {code: words_of(code) for code in (*SPACED, "ja", "zh")}
        self._weights = {
            code: list(accumulate(rank**-1.1 for rank in range(1, len(words) + 1)))
            for code, words in self._words.items()
        }

    def review(self, number: int) -> dict[str, Any]:
        """One review as a record."""
        language = (*SPACED, "ja", "zh")[number % 6]
        spaced = language in SPACED
        count = max(
            3,
            round(
                self._choose.lognormvariate(3.2, 0.8)
                * (1 if spaced else 0.8 if language == "ja" else 1.3)
            ),
        )
        weights = self._weights[language]
        words = self._choose.choices(self._words[language], cum_weights=weights, k=min(count, 600))
        for place in range(6, len(words), 9):
            words[place] += self._choose.choice(",.!") if spaced else self._choose.choice("、。！")
        text = (" " if spaced else "").join(words)
        return {
            "review_id": f"r{number}",
            "review_body": text,
            "stars": number // 6 % 5 + 1,
            "language": language,
        }


def write_reviews(path: Path, rows: int, seed: int = 0) -> None:
    """So many reviews as JSON lines."""
    reviews = Reviews(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write(json.dumps(reviews.review(number), ensure_ascii=False) + "\n")


def write_tokenizer(folder: Path) -> None:
    """A WordPiece tokenizer of multilingual BERT's kind and size, for these words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted({*"".join(_SYLLABLES), *_KANA, *_IDEOGRAPHS, *",.!、。！"})
    pieces = [
        *special,
        *characters,
        *(f"##{c}" for c in characters),
        *(f"##{s}" for s in _SYLLABLES),
    ]
    words = [word for rank in zip(*(words_of(code)[:30_000] for code in SPACED)) for word in rank]
    vocabulary = list(dict.fromkeys([*pieces, *words]))[:ENTRIES]
    vocabulary += [f"[unused{n}]" for n in range(ENTRIES - len(vocabulary))]
    tokenizer = Tokenizer(
        models.WordPiece({p: n for n, p in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in names.items()}
    ).save_pretrained(str(folder))
