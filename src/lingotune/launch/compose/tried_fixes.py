"""Fixes tried on the command that they are for: what is offered works when it is pasted.

An override that fits its setting need not fit the rest of the command: `scaling.global_batch=128` has no
effect without `scaling=fixed_global`. So each alternative of a fix is composed in place of what it is for.
One that leads to another problem of the same setting is offered with what solves that one, too, or not at
all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from lingotune.config.problems import Problem, errors_only, printable
from lingotune.config.settings import is_setting
from lingotune.launch.overrides.grammar import Groups, key_of_word
from lingotune.launch.overrides.offers import LEAVE_OUT, Offer, in_words, merged, offers_in, pasted

Words = tuple[str, ...]
Compose = Callable[[list[str], bool], list[Problem]]
"""Problems of overrides, with -m or without."""
MOST = 60
"""Commands that are tried; of more problems the fixes stay as they are."""
_LONGEST = 8
"""Words of one setting that a shell has parted."""
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|[\d.]+")
_INDEX = re.compile(r"\[(\d+)\]")


def with_tried_fixes(
    problems: Sequence[Problem],
    overrides: Sequence[str],
    compose: Compose,
    groups: Groups,
    *,
    multirun: bool,
) -> list[Problem]:
    """Return the problems of a command with fixes that work there."""
    typed = (*(["-m"] if multirun else []), *overrides)
    trial = _Trial(typed, errors_only(problems), compose, groups)
    return [trial.mended(one) if one in trial.before else one for one in problems]


_IN_FILE = re.compile(r".+\.ya?ml:")


class _Trial:
    def __init__(
        self, typed: Words, before: Sequence[Problem], compose: Compose, groups: Groups
    ) -> None:
        self.before = list(before)
        self._typed, self._compose, self._groups = typed, compose, groups
        self._known = Counter(map(_identity, before))
        self._seen: dict[Words, list[Problem]] = {}

    def mended(self, problem: Problem) -> Problem:
        """Keep what works of the fix of a problem, and tell why where none of it does as it stands."""
        offers, possible = offers_in(problem.fix)
        if _IN_FILE.match(problem.where) or not any(offer.choices for offer in offers):
            return problem  # what is mended in a file is not typed
        sound = [one for offer in offers if (one := self._sound(problem, offer))]
        if sound == offers:
            return problem
        if sound:
            return replace(
                problem, fix=in_words(sound) + (possible if sound[0] == offers[0] else "")
            )
        tried = next(offer.choices[0] for offer in offers if offer.choices)
        left = self._left(problem, tried)[:1]
        fix = next(self._with_more(problem, offers, left), "")
        if not fix and self._is_well_without(problem):
            fix = LEAVE_OUT
        others = (one for one in left if _identity(one) != _identity(problem))
        reason = next((f"{one.where} would not do: {one.what}" for one in others), "")
        return replace(problem, fix=fix, why=problem.why or reason)

    def _sound(self, problem: Problem, offer: Offer) -> Offer | None:
        """Keep the choices of an offer that work, and prose; None if none is left."""
        sound = [words for words in offer.choices if not self._left(problem, words)]
        if offer.choices and not sound:
            return None
        return offer.only(sound)

    def _with_more(
        self, problem: Problem, offers: Sequence[Offer], left: Sequence[Problem]
    ) -> Iterator[str]:
        """Yield an offer with what solves the problem that it leads to, where both together work."""
        first = next(offer.choices[0] for offer in offers if offer.choices)
        for one in left:
            for other in offers_in(one.fix)[0]:
                for words in other.choices[:2]:
                    both = merged(first, words)
                    if both != first and not self._left(problem, both):
                        yield pasted(both).text

    def _left(self, problem: Problem, words: Words) -> list[Problem]:
        """List what is wrong with the settings concerned once words are typed for a problem; [] if nothing
        is in one of the commands that may be meant."""
        first: list[Problem] = []
        for command in self._commands(problem, words):
            touched = {key_of_word(word).lstrip("~") for word in (*words, problem.key)} - {"", "-m"}
            after = errors_only(self._problems(command))
            counts = Counter(map(_identity, after))
            same = counts[_identity(problem)] >= self._known[_identity(problem)]
            left = [
                one for one in after
                if (_identity(one) == _identity(problem) and same)
                or (_identity(one) not in self._known and any(self._concerns(one, key) for key in touched))
            ]  # fmt: skip
            if not left:
                return []
            first = first or left
        return first

    def _is_well_without(self, problem: Problem) -> bool:
        wrong = self._wrong(problem)
        keys = {key_of_word(self._typed[n]) for n in wrong} & {problem.key}
        wrong += [n for n, word in enumerate(self._typed) if key_of_word(word) in keys]
        rest = tuple(word for n, word in enumerate(self._typed) if n not in wrong)
        after = Counter(map(_identity, errors_only(self._problems(rest))))
        return bool(wrong) and after[_identity(problem)] < self._known[_identity(problem)]

    def _problems(self, command: Words) -> list[Problem]:
        if command not in self._seen:
            if len(self._seen) >= MOST:
                return []
            overrides = [word for word in command if word != "-m"]
            self._seen[command] = self._compose(overrides, "-m" in command)
        return self._seen[command]

    def _commands(self, problem: Problem, words: Words) -> Iterator[Words]:
        """Yield the command with words in place of what is wrong, or beside it."""
        wrong, new = self._wrong(problem), {key_of_word(word) for word in words}
        others = [(n, word) for n, word in enumerate(self._typed) if key_of_word(word) not in new]
        replaces = any(key_of_word(self._typed[n]) in new for n in wrong)
        beside = (*(word for _, word in others), *words)
        if not problem.check or replaces:
            yield (*(word for n, word in others if n not in wrong), *words)
        if not replaces and (problem.check or is_setting(problem.key)):
            yield beside

    def _wrong(self, problem: Problem) -> list[int]:
        """Find the typed words that a problem is about, by their text, else by their key."""
        where, typed = problem.where, self._typed
        spans = (
            range(start, start + size)
            for size in range(1, min(len(typed), _LONGEST) + 1)
            for start in range(len(typed) - size + 1)
        )
        for span in spans:
            text = " ".join(typed[n] for n in span)
            if where in (text, printable(text)):
                return list(span)
        key = _INDEX.sub(r".\1", problem.key)
        keys = [key_of_word(word).removeprefix("~") for word in typed] if key else []
        return [n for n, own in enumerate(keys) if own == key or own.startswith(f"{key}.")]

    def _concerns(self, problem: Problem, key: str) -> bool:
        """Tell whether a problem is about a key or a part of it; an option may need settings."""
        own = _INDEX.sub(r".\1", problem.key or key_of_word(problem.where))
        inside = own.startswith(f"{key}.") and key not in self._groups
        return own == key or inside or (is_setting(own) and key.startswith(f"{own}."))


def _identity(problem: Problem) -> tuple[str, str]:
    """Tell a problem from others, whatever the values in it."""
    return problem.key or problem.where, problem.check or _VALUES.sub("", problem.what)
