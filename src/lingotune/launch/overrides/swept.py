"""Swept overrides in Hydra's grammar: the values of one key, or an interval that a search draws from."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
    Transformer,
)

from lingotune.config.problems import ConfigError, Problem, listed
from lingotune.config.quoting import for_shell
from lingotune.config.settings import setting_types
from lingotune.launch.overrides.grammar import Groups, parse
from lingotune.launch.overrides.keys import OptionGroups
from lingotune.launch.overrides.values import first_type

MOST = 1000
"""Jobs of a sweep, and values of one key; more are refused before anything is composed."""
_DIGITS = 4
"""Significant digits of a number that is drawn from an interval."""


@dataclass(frozen=True)
class Interval:
    """Numbers from low to high, both included. log: drawn evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def text(self, number: float) -> str:
        """Write a number of the interval as the value of an override, with four significant digits."""
        if self.whole:
            return str(round(number))
        rounded = min(max(float(f"{number:.{_DIGITS}g}"), self.low), self.high)
        return f"{rounded:g}" if float(f"{rounded:g}") == rounded else repr(rounded)


@dataclass(frozen=True)
class Axis:
    """An override and its values: one where it is not swept, both ends of an interval.

    ordered: they are the steps of a range. place: the key that holds it in a file, e.g. sweep.params.lr;
    '' for one that was typed.
    """

    override: Override
    values: tuple[Override, ...]
    interval: Interval | None = None
    ordered: bool = False
    place: str = ""

    @property
    def key(self) -> str:
        """Dotted key or group."""
        return self.override.key_or_group

    @property
    def text(self) -> str:
        """Override as it was typed."""
        return self.override.input_line or ""

    @property
    def is_swept(self) -> bool:
        """Tell whether the override stands for several values."""
        return self.override.is_sweep_override()

    @property
    def texts(self) -> tuple[str, ...]:
        """Values as texts; those of an interval are its ends."""
        return tuple(value_of(one) for one in self.values)

    @property
    def count(self) -> int | None:
        """Number of values; None for an interval of numbers that are not whole."""
        if self.interval is None:
            return len(self.values)
        whole = self.interval.whole
        return int(self.interval.high - self.interval.low) + 1 if whole else None

    @property
    def ends(self) -> tuple[Override, ...]:
        """Values between which all others lie: first and last of an interval or a range, else all."""
        few = self.values[:1] + self.values[1:][-1:]
        return few if self.interval or self.ordered else self.values

    def at(self, text: str) -> Override:
        """Return the override that gives the key one value."""
        known = dict(zip(self.texts, self.values))
        return known.get(text) or parse(f"{self.override.get_key_element()}={text}")


def value_of(override: Override) -> str:
    """Return the value of an override as text."""
    return (override.input_line or "").partition("=")[2]


def axis_of(override: Override, groups: Groups) -> Axis:
    """Expand an override to its values; ConfigError says why it has none."""
    if not override.is_sweep_override():
        return Axis(override, (override,))
    swept: Any = override._value
    if isinstance(swept, IntervalSweep):
        interval = _interval(override, swept)
        texts = [interval.text(interval.low), interval.text(interval.high)]
        return Axis(override, _parsed(override, texts), interval)
    texts = _texts(override, swept, groups)
    if not texts:
        raise _wrong("is empty: there is nothing to sweep", _example(override))
    return Axis(override, _parsed(override, texts), ordered=isinstance(swept, RangeSweep))


def corners(axes: Sequence[Axis], most: int = 100) -> Iterator[tuple[Override, ...]]:
    """Yield combinations that hold every choice and both ends of every interval.

    All of them if they are at most `most`; else each value beside the first ones of all others.
    """
    if product_size([len(axis.ends) for axis in axes]) <= most:
        yield from itertools.product(*(axis.ends for axis in axes))
        return
    first = tuple(axis.ends[0] for axis in axes)
    yield first
    for place, axis in enumerate(axes):
        for value in axis.ends[1:]:
            yield (*first[:place], value, *first[place + 1 :])


def product_size(counts: Sequence[int]) -> int:
    """Multiply the counts of values."""
    size = 1
    for count in counts:
        size *= count
    return size


def swept_twice(axes: Sequence[Axis]) -> list[Problem]:
    """Find keys that are given twice, of which one is swept: jobs would be the same."""
    by_key: dict[str, list[Axis]] = {}
    for axis in axes:
        by_key.setdefault(axis.key, []).append(axis)
    return [
        Problem(same[1].text, f"is given twice: also {same[0].text}", "leave one out", key=key)
        for key, same in by_key.items()
        if len(same) > 1 and any(axis.is_swept for axis in same)
    ]


def _texts(override: Override, swept: Any, groups: Groups) -> list[str]:
    if isinstance(swept, Glob):
        return _matching(override, swept, groups)
    if isinstance(swept, RangeSweep):
        return _steps(override, swept)
    if isinstance(swept, ChoiceSweep):
        if any(isinstance(value, Sweep) for value in swept.list):
            raise _wrong("is a sweep inside of a sweep", _example(override))
        texts = [str(Transformer.str(value)) for value in swept.list]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            once = ",".join(dict.fromkeys(texts))
            fix = for_shell(f"{override.get_key_element()}={once}")
            raise _wrong(f"has {twice} twice, which is the same job", fix, "same-job-twice")
        if len(texts) > MOST:
            raise _wrong(f"has {len(texts)} values, and a sweep at most {MOST} jobs")
        return _shuffled(texts, override) if swept.shuffle else texts
    raise _wrong("cannot be swept", _example(override))


def _steps(override: Override, swept: RangeSweep) -> list[str]:
    if not swept.step:
        raise _wrong("has steps of 0", f"{override.key_or_group}=range(1,4)")
    numbers = [float(n) for n in (swept.start or 0, swept.stop or 0, swept.step)]
    if not all(map(_is_finite, numbers)):
        raise _wrong("is not a range of numbers", f"{override.key_or_group}=range(1,4)")
    steps = [*itertools.islice(iter(swept.range()), MOST + 1)]
    if len(steps) > MOST:
        raise _wrong(f"has more than {MOST} values, and a sweep at most {MOST} jobs")
    texts = [str(Transformer.str(step)) for step in steps]
    return _shuffled(texts, override) if swept.shuffle else texts


def _is_finite(number: float) -> bool:
    return Decimal(number).is_finite()


def _matching(override: Override, swept: Glob, groups: Groups) -> list[str]:
    group = override.key_or_group
    if group not in groups:
        what = "glob() chooses options of a group, and this is none"
        raise _wrong(what, _example(override))
    found = swept.filter(list(groups[group]))
    if not found:
        raise _wrong(f"matches no option of {group}", f"{group}={listed('', groups[group])}")
    if not isinstance(groups, OptionGroups):
        return found
    # A machine has a short name and a long one, and each job is wanted once.
    return [option for option in found if groups.named_again(group, option) not in found]


def _shuffled(texts: list[str], override: Override) -> list[str]:
    """Shuffle values in the same way each time, as the same command means the same jobs."""
    random.Random(override.input_line).shuffle(texts)
    return texts


def _interval(override: Override, swept: IntervalSweep) -> Interval:
    key, kind = override.key_or_group, first_type(setting_types().get(override.key_or_group))
    low, high = swept.start, swept.end
    if kind not in (int, float) or low is None or high is None:
        raise _wrong("interval() is for a setting that is a number", _example(override))
    whole = kind is int or (isinstance(low, int) and isinstance(high, int))
    if not (_is_finite(low) and _is_finite(high)):
        raise _wrong("has an end that is no finite number", f"'{key}=interval(1,2)'")
    if not low < high:
        ends = f"{high:g},{low:g}" if high < low else "1,2"
        raise _wrong("is empty: the second number is the larger one", f"'{key}=interval({ends})'")
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise _wrong("has ends that are no whole numbers", f"'{key}=interval(8,64)'")
    unknown = swept.tags - {"log"}
    if unknown:
        what = f"has a tag that means nothing for an interval: {sorted(unknown)[0]}"
        raise _wrong(what, for_shell(f"{key}=tag(log,interval({low:g},{high:g}))"))
    if "log" in swept.tags and low <= 0:
        ends = f"{1 if whole else high / 1000:g},{high:g}" if high > 1 or not whole else "1,2"
        ends = ends if high > 0 else "1,2"
        raise _wrong("has no logarithm: its ends are above 0", f"'{key}=tag(log,interval({ends}))'")
    number = int if whole else float
    return Interval(number(low), number(high), "log" in swept.tags, whole)


def _parsed(override: Override, texts: Sequence[str]) -> tuple[Override, ...]:
    key = override.get_key_element()
    return tuple(parse(f"{key}={text}") for text in texts)


def _example(override: Override) -> str:
    key = override.key_or_group
    kind = first_type(setting_types().get(key))
    return f"{key}={'1,2,3' if kind is int else '1e-5,3e-5' if kind is float else 'a,b,c'}"


def _wrong(what: str, fix: str = "", check: str = "") -> ConfigError:
    return ConfigError([Problem("sweep", what, fix, check=check)])
