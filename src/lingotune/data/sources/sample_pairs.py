"""The embedded sample of pairs: a generated review and a headline, which fits it, is too kind or too harsh.

The reviews are those of `sample.py`, the headlines its titles for as many stars, or for two or more off.
Neither text alone tells the class: a headline of five stars is too kind for some reviews, and fits others.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from lingotune.config.schema import SampleConfig
from lingotune.data.sources.sample import chosen, mixed_rows, pick, reviews, shuffled

HEADLINES: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "fits": {stars: (stars,) for stars in range(1, 6)},
    "too_kind": {1: (3, 4, 5), 2: (4, 5), 3: (5,)},
    "too_harsh": {3: (1,), 4: (1, 2), 5: (1, 2, 3)},
}
"""Class -> stars of a review that it is possible for -> stars of the headline, equally likely."""


def pair_rows(
    config: SampleConfig, split: str, languages: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a split: rows of `sample_rows` with `headline`, and its class, `headline_is`.

    As many as `sample_rows` yields, in equal shares of the three classes.
    """
    return mixed_rows(config, split, chosen(languages), _pairs)


def _pairs(seed: int, split: str, language: str) -> Iterator[dict[str, Any]]:
    """Yield the pairs of a language without end."""
    from lingotune.data.sources.sample_lexicon import LEXICONS

    rng, titles = Random(f"{seed}/{split}/{language}/headlines"), LEXICONS[language].titles
    written, waiting = reviews(seed, split, language), list[dict[str, Any]]()
    while True:
        for name in shuffled(rng, [*HEADLINES]):
            possible = HEADLINES[name]
            while not any(row["stars"] in possible for row in waiting):
                waiting.append(next(written))
            place = next(n for n, row in enumerate(waiting) if row["stars"] in possible)
            row = waiting.pop(place)
            headline = pick(rng, titles[pick(rng, possible[row["stars"]])])
            yield {**row, "headline": headline, "headline_is": name}
