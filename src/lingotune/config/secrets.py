"""Finding and redacting tokens and keys in texts, known by their form or from the environment.

Standard library only; the environment is passed as an argument. The forms are in facts/secrets.json,
which tools/secret_forms.py generates from gitleaks' rules.
"""

from __future__ import annotations

import functools
import json
import math
import os.path
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FACTS = Path(__file__).with_name("facts") / "secrets.json"
_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|ACCESS_KEY", re.IGNORECASE)
_BLANK = {code: " " for code in range(128) if not chr(code).isalnum() and chr(code) != "_"}
"""Punctuation -> blanks."""
_SHORTEST = 12
"""Shortest value of a variable to look for; shorter ones occur by chance."""
HIDDEN = "***"
NO_TOKEN = "set HF_TOKEN in the environment, or hub.token_secret=NAME of an AWS secret"
"""Fix for a token that was typed."""


@dataclass(frozen=True)
class _Form:
    """One form of a token.

    entropy: minimum bits per character; a match with less is ordinary words or a placeholder. many_lines:
    it may extend beyond the line that contains its keyword.
    """

    regex: str
    keywords: tuple[str, ...]
    entropy: float = 0.0
    many_lines: bool = False

    def spans(self, text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of every secret of this form in a part of the text."""
        pattern = _compiled(self.regex)
        group = "secret" if "secret" in pattern.groupindex else 0
        for match in pattern.finditer(text, start, stop):
            if not self.entropy or _entropy(match[group]) >= self.entropy:
                yield match.span(group)


@functools.cache
def _forms_by_keyword() -> list[tuple[str, list[str], list[_Form]]]:
    """List each keyword, in lower case, with its words and the forms that no text without it can hold."""
    found: dict[str, list[_Form]] = {}
    for form in json.loads(_FACTS.read_text(encoding="utf-8"))["forms"].values():
        for keyword in form["keywords"]:
            found.setdefault(keyword, []).append(_Form(**form))
    return [(keyword, _words(keyword), forms) for keyword, forms in found.items()]


@functools.cache
def _compiled(regex: str) -> re.Pattern[str]:
    """Compile a form when its keyword first occurs in a text; compiling all would take a tenth of a second.

    ASCII only, as in Go, for which the rules were written.
    """
    return re.compile(regex, re.ASCII)


def _entropy(text: str) -> float:
    """Return Shannon's entropy in bits per character."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every secret; they may overlap."""
    lower = text.lower() if text.isascii() else _ascii_lower(text)
    words = " ".join(set(_words(lower)))  # a tenth of a program's text
    for keyword, parts, forms in _forms_by_keyword():
        if all(part in words for part in parts):
            for form in forms:
                whole = [(0, len(text))]
                for start, stop in whole if form.many_lines else _lines_with(keyword, lower):
                    yield from form.spans(text, start, stop)


def _words(text: str) -> list[str]:
    return text.translate(_BLANK).split()


def _lines_with(keyword: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the lines that contain the keyword; tokens are searched for nowhere else."""
    at = text.find(keyword)
    while at >= 0:
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        yield text.rfind("\n", 0, at) + 1, stop
        at = text.find(keyword, stop)


def _ascii_lower(text: str) -> str:
    """Lower ASCII letters only; some others become two letters, which would shift all positions."""
    return text.encode("ascii", "replace").decode().lower()


@functools.lru_cache(maxsize=10_000)
def looks_secret(text: str) -> bool:
    """Tell whether the text contains something in the form of a token or a key.

    Cached, as a job's texts are checked with the job, again with the whole config, and in every job of a
    sweep.
    """
    return next(_spans(text), None) is not None


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Return the values of variables with names of secrets, except paths of files."""
    return {
        value
        for name, value in environment.items()
        if _NAME.search(name) and len(value) >= _SHORTEST and not os.path.exists(value)  # noqa: PTH110 - any text
    }


def without(secrets: Iterable[str], text: str) -> str:
    """Replace secrets in the text by stars, the longest first: one may be part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """Replace secrets in the text by stars, those of the environment and those known by their form."""
    text = without(secrets_of(environment), text)
    shown, end = [], 0
    for start, stop in sorted(set(_spans(text))):
        if start >= end:
            shown += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*shown, text[end:]])
