"""Offers of a fix: the overrides that it names to be typed, parted as a shell parts them.

A fix is a text for people. Its alternatives stand side by side (`a=1, or b=2`), the choices of one key
behind it (`a=x | y`); what is no override is prose, and `...` stands for what only the user knows.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lingotune.config.quoting import for_shell
from lingotune.launch.overrides.grammar import key_of_word

LEAVE_OUT = "leave it out"
_OVERRIDE = re.compile(r"(?:[~+]{0,2}[A-Za-z_][^\s=]*=|~[A-Za-z_])")
_BETWEEN = re.compile(r"((?:,|;)(?: or)? )(?=['\"]?~?[a-z_][\w./]*=|-m |or one )")
_NAMED = re.compile(r"(or one (?:list|text|number): )(.*)")
_OPEN = re.compile(r"\.\.\.|\$[A-Z(]|\b(?:FILE|FOLDER|NAME|COLUMN|OWNER)\b")
_POSSIBLE = "; possible: "


@dataclass(frozen=True)
class Offer:
    """Alternative of a fix. text: as it stands; choices: words to be typed, for each choice of its key;
    none for prose."""

    text: str
    choices: tuple[tuple[str, ...], ...] = ()

    def only(self, chosen: Sequence[tuple[str, ...]]) -> Offer:
        """Keep some of the choices."""
        if len(chosen) == len(self.choices):
            return self
        first, *others = [part for part, words in self._parts() if words in chosen]
        key = self.text.partition("=")[0]
        first = first if "=" in first else f"{key}={first}"
        return Offer(" | ".join([first, *others]), tuple(chosen))

    def _parts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        known = iter(self.choices)
        yield from ((part, next(known)) for part in self.text.split(" | ")[: len(self.choices)])


def offers_in(fix: str) -> tuple[list[Offer], str]:
    """Part a fix into its alternatives; returns them, and what it tells of possible values behind them."""
    told, possible, values = fix.partition(_POSSIBLE)
    pieces = _BETWEEN.split(told)
    return [_offer(piece) for piece in pieces[::2]], f"{possible}{values}"


def in_words(offers: Sequence[Offer]) -> str:
    """Write alternatives as one fix."""
    texts = dict.fromkeys(offer.text for offer in offers)
    return "".join(
        text if not number else f"; {text}" if _NAMED.match(text) else f", or {text}"
        for number, text in enumerate(texts)
    )


def pasted(words: Sequence[str]) -> Offer:
    """Make the offer of words, written for the shell."""
    return Offer(" ".join(map(for_shell, words)), (tuple(words),))


def merged(words: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Add words to others, of which those that set the same key count no more; options come first."""
    new = {key_of_word(word) for word in others}
    both = [word for word in words if key_of_word(word) not in new] + list(others)
    return tuple(sorted(both, key=lambda word: not word.startswith("-")))


def _offer(piece: str) -> Offer:
    named = _NAMED.match(piece)
    first, *others = (named[2] if named else piece).split(" | ")
    words = _words(first)
    if not words:
        return Offer(piece)
    key = words[-1].partition("=")[0]
    choices = [
        words,
        *((*words[:-1], f"{key}={other}") for other in others if _OPEN.search(other) is None),
    ]
    return Offer(piece, tuple(choices))


def _words(text: str) -> tuple[str, ...]:
    """Return the words at the start of a text that are typed, up to the prose behind them."""
    if _OPEN.search(text):
        return ()
    try:
        words = shlex.split(text)
    except ValueError:
        return ()
    taken: list[str] = []
    for word in words:
        if word != "-m" and not _OVERRIDE.match(word):
            break
        taken.append(word)
    if taken and len(taken) < len(words):
        taken[-1] = taken[-1].rstrip(",;:")
    return tuple(taken)
