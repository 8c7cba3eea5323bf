"""The embedded sample: generated product reviews in six languages. Standard library only.

The columns are those of amazon_reviews_multi, the corpus of the article, which may no longer be
distributed; every word is from `phrases.py`. A review is written for its stars: opinions on aspects
and verdicts, negations that turn a word over, contrasts in which one side decides, sentences beside
the point, careless spelling. Some writers give a star more or less than they write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import SampleConfig

if TYPE_CHECKING:
    from lingotune.data.sources.sample_lexicon import Lexicon, Topic

LANGUAGES = ("en", "ja", "de", "fr", "zh", "es")
"""Codes of the languages that can be generated, in the order of the corpus that inspired the columns."""
SPLITS = ("train", "validation", "test")
"""Names of the splits."""
TOPICS = ("quality", "price", "delivery", "packaging", "design", "service")
"""Names of the aspects that suit every product, in the order of the lexicons, which list them last."""

T = TypeVar("T")

# The shares are such that a small model learns the sample in a few epochs, and not perfectly.
_NOISE = 0.04
"""Reviews written for a star more or less than given."""
_CONTEXT = 0.22
"""Sentences beside the point."""
_CONTRAST = 0.12
"""Sentences that weigh two clauses."""
_JOIN = 0.20
"""Sentences of two clauses that agree."""
_VERDICT = 0.25
"""Clauses on the whole product, not on an aspect."""
_NEGATION = 0.12
"""Clauses on an aspect that negate a word of the other side."""
_CARELESS = 0.25
"""Reviews with slips of the keyboard."""
_SENTENCES = 1.8
"""Scale of the number of sentences: its median is 1.4 times this."""
_LONGEST = 40
"""Sentences of a review at most."""

_OWNERS = ("train", "train", "validation", "test")
"""The split that a text belongs to, by its hash: whatever their sizes, no two splits share a text.
Train is the largest as a rule, and a text of another split has to be drawn again."""
_DRAWS = 1000
"""Draws of one review before the language counts as exhausted: 1 in 10^124 fails by bad luck."""

_GRADES = {
    1: (-2, -2, -2, -1, -1, -1),
    2: (-2, -1, -1, -1, -1, -1, -1, 0),
    3: (-1, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    4: (0, 1, 1, 1, 1, 1, 1, 2),
    5: (1, 1, 1, 2, 2, 2),
}
"""Grades of the clauses of a review of that many stars, equally likely."""
_FRAMES = {
    (False, 0): "so_so",
    (False, 1): "mild",
    (False, 2): "extreme",
    (True, 1): "not",
    (True, 2): "not_at_all",
}
"""Statements by negation and strength."""


def sample_size(config: SampleConfig, split: str, languages: Sequence[str] = ()) -> int:
    """Rows of `sample_rows`, by arithmetic."""
    return _rows_per_language(config, split) * len(chosen(languages))


def sample_rows(
    config: SampleConfig, split: str, languages: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the reviews of a split, languages mixed; none named = all.

    The rows of a language depend on seed, split and language only, and a smaller size is the
    beginning of a larger one. Raises ConfigError for a language that cannot be generated.
    """
    return mixed_rows(config, split, chosen(languages), reviews)


def _rows_per_language(config: SampleConfig, split: str) -> int:
    sizes = (config.train_rows, config.validation_rows, config.test_rows)
    return dict(zip(SPLITS, sizes))[split]


def chosen(languages: Sequence[str]) -> list[str]:
    """Select the languages named, in the order of LANGUAGES; none named = all. ConfigError for another."""
    unknown = [code for code in languages if code not in LANGUAGES]
    if unknown:
        what = f"the sample has no reviews in {', '.join(map(repr, unknown))}"
        fix = f"'data.languages=[{','.join(LANGUAGES)}]', or some of these"
        raise ConfigError([Problem("data.languages", what, fix)])
    return [code for code in LANGUAGES if code in languages or not languages]


def mixed_rows(
    config: SampleConfig,
    split: str,
    languages: Sequence[str],
    rows: Callable[[int, str, str], Iterator[dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split, languages mixed. rows: seed, split and language -> rows without end."""
    size, seed = _rows_per_language(config, split), config.seed
    sources = {code: rows(seed, split, code) for code in languages}
    order = [code for code in languages for _ in range(size)]
    for code in shuffled(Random(f"{seed}/{split}/order"), order):
        yield next(sources[code])


def reviews(seed: int, split: str, language: str) -> Iterator[dict[str, Any]]:
    """Yield reviews of a language without end. Ids and texts of different splits never meet, whatever
    the sizes, and no text comes twice."""
    from lingotune.data.sources.sample_lexicon import LEXICONS  # a plan counts rows without it

    rng = Random(f"{seed}/{split}/{language}")
    lexicon = LEXICONS[language]
    seen: set[int] = set()
    number = SPLITS.index(split)
    while True:
        for stars in shuffled(rng, [1, 2, 3, 4, 5]):  # every class early, even in a tiny sample
            topic = pick(rng, lexicon.topics)
            drafts = _drafts(rng, lexicon, topic, stars)
            product = f"product_{language}_{_below(rng, 10**7):07d}"
            reviewer = f"reviewer_{language}_{_below(rng, 10**7):07d}"
            draft = _first_new(drafts, split, language, seen)
            yield {
                "review_id": f"{language}_{number:07d}",
                "product_id": product,
                "reviewer_id": reviewer,
                "stars": stars,
                "review_body": draft.text,
                "review_title": pick(rng, lexicon.titles[stars]),
                "language": language,
                "product_category": topic.category,
                "topics": list(draft.topics),
            }
            number += len(SPLITS)


class _Draft(NamedTuple):
    """Text of a review, and which of `TOPICS` it speaks of, in their order."""

    text: str
    topics: tuple[str, ...]


def _drafts(rng: Random, lexicon: Lexicon, topic: Topic, stars: int) -> Iterator[_Draft]:
    """Yield texts for one review, without end. None contains a title, not even by a slip."""
    while True:
        writer = _Writer(rng, lexicon, topic, _written_for(rng, stars))
        text = writer.body()
        folded = text.casefold()
        if not any(title in folded for title in lexicon.folded_titles):
            yield _Draft(text, writer.topics())


def _first_new(drafts: Iterable[_Draft], split: str, language: str, seen: set[int]) -> _Draft:
    """Return the first draft whose text belongs to the split and is not in `seen` (hashes); add it there.

    Raises ConfigError if `_DRAWS` texts hold none.
    """
    for draft in islice(drafts, _DRAWS):
        key = int.from_bytes(blake2b(draft.text.encode(), digest_size=8).digest(), "big")
        if _OWNERS[key % len(_OWNERS)] == split and key not in seen:
            seen.add(key)
            return draft
    what = f"the sample can write only {len(seen)} different reviews of {split} in {language!r}"
    fix = f"data.sample.{split}_rows={len(seen)}"
    raise ConfigError([Problem(f"data.sample.{split}_rows", what, fix)])


# Of Random, only random() is promised to repeat its numbers in every version of Python.


def _below(rng: Random, end: int) -> int:
    return int(rng.random() * end)


def pick(rng: Random, items: Sequence[T]) -> T:
    """Draw one of some items."""
    return items[int(rng.random() * len(items))]


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """Bring items into a random order."""
    keys = [rng.random() for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


def _written_for(rng: Random, stars: int) -> int:
    """The stars that the text is about: sometimes one off the stars given."""
    if rng.random() >= _NOISE:
        return stars
    return min(5, max(1, stars + pick(rng, (-1, 1))))


class _Writer:
    """Somebody who writes one review about one product."""

    def __init__(self, rng: Random, lexicon: Lexicon, topic: Topic, stars: int) -> None:
        self.rng = rng
        self.lexicon = lexicon
        self.topic = topic
        self.grades = _GRADES[stars]
        self.slots = {name: pick(rng, words) for name, words in lexicon.fillers.items()}
        self.slots["n"] = pick(rng, topic.products)
        self.said: set[str] = set()

    def body(self) -> str:
        """Text of the review; its length has a long tail, as lengths of real reviews have."""
        # A Pareto law of index 2. Division and root are exact on every machine, powers are not.
        count = int(_SENTENCES / math.sqrt(1 - self.rng.random()))
        left = range(min(max(count, 1), _LONGEST) - 1, -1, -1)
        text = (" " if self.lexicon.spaced else "").join(self.sentence(last=not n) for n in left)
        return _careless(self.rng, self.lexicon, text) if self.rng.random() < _CARELESS else text

    def topics(self) -> tuple[str, ...]:
        """Name the common aspects that were spoken of."""
        common = self.topic.aspects[-len(TOPICS) :]
        return tuple(name for name, aspect in zip(TOPICS, common) if aspect in self.said)

    def sentence(self, last: bool) -> str:
        """One sentence; the last one is always to the point."""
        kind = _CONTEXT + self.rng.random() * (1 - _CONTEXT) if last else self.rng.random()
        if kind < _CONTEXT:
            grade, text = 0, self.fresh(self.lexicon.context).format(**self.slots)
        else:
            grade = pick(self.rng, self.grades)
            text = self.judgement(grade, kind - _CONTEXT)
        excited = self.rng.random() < (0.4 if abs(grade) == 2 else 0.1)
        text = text[0].upper() + text[1:] if self.lexicon.spaced else text
        return self.lexicon.stops[excited].format(text)

    def judgement(self, grade: int, kind: float) -> str:
        """One clause of that grade, or two that agree, or two that do not."""
        main = self.clause(grade)
        if kind < _CONTRAST:
            weak = self.opinion(-1 if grade > 0 else 1 if grade < 0 else pick(self.rng, (-1, 1)))
            return pick(self.rng, self.lexicon.contrasts).format(weak=weak, main=main)
        if kind < _CONTRAST + _JOIN:
            return pick(self.rng, self.lexicon.joins).format(one=main, two=self.clause(grade))
        return main

    def clause(self, grade: int) -> str:
        """A verdict on the product, or an opinion."""
        if self.rng.random() < _VERDICT:
            return self.fresh(self.lexicon.verdicts[grade]).format(**self.slots)
        return self.opinion(grade)

    def opinion(self, grade: int) -> str:
        """Write what one aspect is like, e.g. -1: 'the sound is poor' or 'the sound is not good'."""
        negated = grade != 0 and self.rng.random() < _NEGATION
        word = (-1 if grade > 0 else 1) if negated else grade
        frame = _FRAMES[negated, abs(grade)]
        if frame == "extreme" and self.rng.random() < 0.5:
            frame, word = "very", grade // 2
        aspect, star, _ = self.fresh(self.topic.aspects).partition("*")
        forms = pick(self.rng, self.lexicon.adjectives[word]).split("/")
        second = bool(star) or (negated and not self.lexicon.spaced)
        statement = pick(self.rng, self.lexicon.statements[frame])
        return statement.format(a=aspect, x=forms[-1] if second else forms[0])

    def fresh(self, items: Sequence[str]) -> str:
        """An item not used in this review yet, unless luck or the supply runs out."""
        for _ in range(6):
            item = pick(self.rng, items)
            if item not in self.said:
                break
        self.said.add(item)
        return item


def _careless(rng: Random, lexicon: Lexicon, text: str) -> str:
    """The text as somebody in a hurry types it."""
    for usual, other in lexicon.spellings:
        if rng.random() < 0.4:
            text = text.replace(usual, other)
    for _ in range(1 + len(text) // 60):
        text = _slip(rng, text)
    if lexicon.spaced:
        case = rng.random()
        text = text.lower() if case < 0.25 else text.upper() if case < 0.3 else text
    return text.rstrip(lexicon.stops[0][2:]) if rng.random() < 0.3 else text


def _slip(rng: Random, text: str) -> str:
    """Swap, drop or double one letter; spaces and punctuation stay."""
    at = _below(rng, len(text) - 1)
    pair = text[at : at + 2]
    if not pair.isalpha():
        return text
    return text[:at] + pick(rng, (pair[::-1], pair[1], pair[0] + pair)) + text[at + 2 :]
