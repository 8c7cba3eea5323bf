"""Space of a sweep: its configurations, as texts of overrides and as numbers for Optuna."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lingotune.launch.overrides.swept import Axis, product_size
from lingotune.launch.sweeps.trial import REPEATED

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = Mapping[str, str]
"""Swept key -> value as text of an override."""


class SearchSpace:
    """Axes of a search, without the seed, whose values are repetitions of each configuration."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axis for axis in axes if axis.key != REPEATED)
        self._seeds = next((axis.texts for axis in axes if axis.key == REPEATED), None)
        self._keys = [axis.key for axis in axes]

    @property
    def size(self) -> int | None:
        """Number of configurations; None if an interval holds more than can be listed."""
        counts = [axis.count for axis in self.axes]
        known = [count for count in counts if count is not None]
        return product_size(known) if len(known) == len(counts) else None

    @property
    def description(self) -> str:
        """Text that is the same for the same space: keys, values, scales."""
        described = [
            [axis.key, axis.interval and [axis.interval.log, axis.interval.whole], axis.texts]
            for axis in sorted(self.axes, key=lambda axis: axis.key)
        ]
        return json.dumps(described)

    def repetitions(self, configuration: Values) -> list[dict[str, str]]:
        """List the swept values of each job of a configuration, one for each seed."""
        if self._seeds is None:
            return [dict(configuration)]
        return [
            {key: seed if key == REPEATED else configuration[key] for key in self._keys}
            for seed in self._seeds
        ]

    def drawn(self, numbers: Mapping[str, Any]) -> dict[str, str]:
        """Write a configuration that Optuna drew as texts."""
        return {axis.key: _text(axis, numbers[axis.key]) for axis in self.axes}

    def numbers(self, configuration: Values) -> dict[str, Any]:
        """Convert a configuration to Optuna's parameters, the inverse of `drawn`."""
        return {axis.key: _number(axis, configuration[axis.key]) for axis in self.axes}

    def holds(self, configuration: Values) -> bool:
        """Tell whether a configuration is one of the space."""
        keys = {axis.key for axis in self.axes}
        return configuration.keys() == keys and all(
            _holds(axis, configuration[axis.key]) for axis in self.axes
        )

    def at_random(self, source: random.Random) -> dict[str, str]:
        """Draw a configuration evenly."""
        return {axis.key: _at_random(axis, source) for axis in self.axes}

    def drawn_first(self) -> dict[str, str]:
        """Return the configuration of the first values."""
        return {axis.key: axis.texts[0] for axis in self.axes}

    def all(self) -> Iterator[dict[str, str]]:
        """Yield every configuration of a space that has a size."""
        texts = [_all_texts(axis) for axis in self.axes]
        for values in itertools.product(*texts):
            yield dict(zip((axis.key for axis in self.axes), values))

    def distributions(self) -> dict[str, BaseDistribution]:
        """Describe the axes to Optuna: lists as categories, ranges by their position."""
        from optuna import distributions as d

        found: dict[str, BaseDistribution] = {}
        for axis in self.axes:
            interval = axis.interval
            if interval and interval.whole:
                low, high = int(interval.low), int(interval.high)
                found[axis.key] = d.IntDistribution(low, high, log=interval.log)
            elif interval:
                found[axis.key] = d.FloatDistribution(interval.low, interval.high, interval.log)
            elif axis.ordered:
                found[axis.key] = d.IntDistribution(0, len(axis.texts) - 1)
            else:
                found[axis.key] = d.CategoricalDistribution(axis.texts)
        return found


def _all_texts(axis: Axis) -> Sequence[str]:
    interval = axis.interval
    if interval:
        return [str(number) for number in range(int(interval.low), int(interval.high) + 1)]
    return axis.texts


def _text(axis: Axis, number: Any) -> str:
    if axis.interval:
        return axis.interval.text(number)
    return axis.texts[number] if axis.ordered else str(number)


def _number(axis: Axis, text: str) -> Any:
    if axis.interval:
        return int(text) if axis.interval.whole else float(text)
    return axis.texts.index(text) if axis.ordered else text


def _at_random(axis: Axis, source: random.Random) -> str:
    interval = axis.interval
    if interval is None:
        return source.choice(axis.texts)
    if interval.log:
        number = math.exp(source.uniform(math.log(interval.low), math.log(interval.high)))
    else:
        number = source.uniform(interval.low, interval.high)
    return interval.text(number)


def _holds(axis: Axis, text: str) -> bool:
    interval = axis.interval
    if interval is None:
        return text in axis.texts
    try:
        return interval.low <= float(text) <= interval.high
    except ValueError:
        return False
