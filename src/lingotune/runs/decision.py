"""How a model's probabilities become a class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lingotune.config.schema import Decide
from lingotune.config.typed_json import UNLESS_NONE

_BY_SCALE = (Decide.expected.value, Decide.median.value)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What has been fitted on the validation split, and is applied wherever the model predicts.

    A class is decided by the largest `log(probability) / temperature + offset`, or on a scale; the
    probabilities given are those of the temperature alone. decide: how it is decided, and how offsets were
    found. offsets: by class, for texts of languages that have none of their own. languages: offsets by
    language and class. rows: of validation that it was fitted on. scale: points of ordered classes by name,
    for `expected` and `median`; None for others.

    several: a text may have several classes: those whose `log-odds / temperature + offset` is above 0,
    which is a threshold of the probability for each.
    """

    decide: str
    temperature: float = 1.0
    offsets: dict[str, float] = field(default_factory=dict)
    languages: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: int = 0
    scale: dict[str, float] | None = field(default=None, metadata=UNLESS_NONE)
    several: bool | None = field(default=None, metadata=UNLESS_NONE)

    def __post_init__(self) -> None:
        if self.decide not in Decide.__members__:
            raise ValueError(f"decide is {self.decide!r}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}")
        if not all(math.isfinite(offset) for of in self._all() for offset in of.values()):
            raise ValueError("an offset is no finite number")
        if (self.decide in _BY_SCALE) != bool(self.scale):
            raise ValueError(
                f"decide is {self.decide!r}, and the classes have a scale: {self.scale}"
            )
        if not all(map(math.isfinite, (self.scale or {}).values())):
            raise ValueError("a point of the scale is no finite number")

    def _all(self) -> Iterator[dict[str, float]]:
        yield self.offsets
        yield from self.languages.values()

    @property
    def shifts(self) -> bool:
        """Whether a class other than the likeliest may be decided."""
        return bool(self.scale) or any(offset for of in self._all() for offset in of.values())

    def offsets_of(self, language: str | None, labels: Sequence[str]) -> list[float]:
        """Return the offset of each class, in the order of the labels, for texts of a language."""
        found: Mapping[str, float] = self.languages.get(language or "", self.offsets)
        return [found.get(label, 0.0) for label in labels]

    def check_classes(self, labels: Sequence[str]) -> None:
        """Raise ValueError if offsets or scale are those of other classes."""
        for of in (*self._all(), self.scale):
            if of and of.keys() != set(labels):
                raise ValueError(f"its classes are {', '.join(of)}")


AS_TRAINED = Decision(decide=Decide.argmax.value)
"""The likeliest class, with the probabilities that the model gives."""
