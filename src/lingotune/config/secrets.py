"""Finding and redacting tokens and keys in texts, known by their form or held by this process.

Standard library only. The forms are in facts/secrets.json, which tools/secret_forms.py generates from
gitleaks' rules.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.coded_texts import decoded_parts, lines_with
from lingotune.config.secret_values import HIDDEN, KnownSecrets, known_secrets

_FACTS = Path(__file__).with_name("facts") / "secrets.json"
_BLANK = {code: " " for code in range(128) if not chr(code).isalnum() and chr(code) != "_"}
"""Punctuation -> blanks."""
NO_TOKEN = "set HF_TOKEN in the environment, or hub.token_secret=NAME of an AWS secret"
"""Fix for a token that was typed."""


@dataclass(frozen=True)
class _Form:
    """One form of a token.

    entropy: minimum bits per character; a match with less is ordinary words or a placeholder. many_lines:
    it may extend beyond the line that contains its keyword. random: capitals, small letters and digits
    follow each other as by chance.
    """

    regex: str
    keywords: tuple[str, ...]
    entropy: float = 0.0
    many_lines: bool = False
    random: bool = False

    def spans(self, text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of every secret of this form in a part of the text."""
        pattern = _compiled(self.regex)
        group = "secret" if "secret" in pattern.groupindex else 0
        for match in pattern.finditer(text, start, stop):
            if _entropy(match[group]) >= self.entropy and (
                not self.random or _is_random(match[group])
            ):
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


def _is_random(text: str) -> bool:
    """Tell whether capitals, small letters and digits are mixed as they are in no word and no path.

    In random base64 two thirds of the letters are of another kind than the one before, in CamelCase with
    numbers one third. What is itself a text in base64 is judged by what it says.
    """
    kinds = [
        "A" if c.isupper() else "a" if c.islower() else "1" if c.isdigit() else c for c in text
    ]
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    says = any(stop - start == len(text) for start, stop, _ in decoded_parts(text))
    mixed = {"A", "a", "1"} <= set(kinds) and changes >= _CHANGES * len(text)
    return mixed and not says and not _CAMEL_CASE.fullmatch(text)


_CHANGES = 0.42
_CAMEL_CASE = re.compile(r"[a-z]*(?:[A-Z]?[0-9]+|[A-Z][a-z]+)*")
"""Words and numbers after each other, which may be short. In random letters two capitals follow each other
somewhere, or a small letter a digit."""


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every secret; they may overlap."""
    lower = text.lower() if text.isascii() else _ascii_lower(text)
    words = " ".join(set(_words(lower)))  # a tenth of a program's text
    for keyword, parts, forms in _forms_by_keyword():
        if all(part in words for part in parts):
            for form in forms:
                whole = [(0, len(text))]
                # tokens are searched for nowhere but in lines with their keyword
                for start, stop in whole if form.many_lines else lines_with(keyword, lower):
                    yield from form.spans(text, start, stop)


def _words(text: str) -> list[str]:
    return text.translate(_BLANK).split()


def _ascii_lower(text: str) -> str:
    """Lower ASCII letters only; some others become two letters, which would shift all positions."""
    return text.encode("ascii", "replace").decode().lower()


def looks_secret(text: str, known: KnownSecrets | None = None) -> bool:
    """Tell whether the text contains something in the form of a token or a key, or a known secret.

    known: default: those of this process; whoever has many texts asks for them once.
    """
    return (known or known_secrets()).are_in(text) or _has_form(text)


@functools.lru_cache(maxsize=10_000)
def _has_form(text: str) -> bool:
    """Cached, as a job's texts are checked with the job, again with the whole config, and in every job of
    a sweep."""
    # Together the coded parts of a program are searched in a quarter of the time.
    coded = "\n\n".join(plain for _, _, plain in decoded_parts(text))
    if next(_spans(text), None) is None and next(_spans(coded), None) is None:
        return False
    return next(_all_spans(text), None) is not None


def text_in(content: bytes) -> str:
    """Return what may be text in a file, to search it: all of it, or of a binary one, its runs of ASCII.

    Between other bytes stands an address with a password by chance: in 6 % of files of 60 kB.
    """
    if b"\0" in content:
        content = b"\n".join(_PRINTABLE.findall(content))
    return content.decode(errors="replace")


_PRINTABLE = re.compile(rb"[\t -~]{8,}")
"""As long as the shortest secrets; the program `strings` takes 4."""


def secret_lines(text: str) -> list[int]:
    """List the numbers, from 1, of the lines that contain a secret or begin one."""
    if not looks_secret(text):
        return []
    lines = {text.count("\n", 0, start) + 1 for start, _ in _all_spans(text)}
    known = known_secrets()
    lines |= {at for at, line in enumerate(text.split("\n"), 1) if known.are_in(line)}
    return sorted(lines)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace secrets in the text by stars: those known by their form, and those of an environment.

    environment: default: this process's.
    """
    text = known_secrets(environment).removed_from(text)
    shown, end = [], 0
    for start, stop in sorted(set(_all_spans(text))):
        if start >= end:
            shown += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*shown, text[end:]])


def _all_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of every secret, and of every coded part that holds one."""
    yield from _spans(text)
    for start, stop, plain in decoded_parts(text):
        if next(_spans(plain), None) is not None:
            yield start, stop
