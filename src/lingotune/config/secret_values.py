"""The secrets that this process holds, and every form in which a text may repeat them.

Standard library only. They are the values of variables that are called like secrets, and what was read
from elsewhere and handed to `remember`.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

_NAME = re.compile(
    r"TOKEN|SECRET|PASSW(OR)?D|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    r"|_(KEY|PWD|PAT|DSN)$",
    re.IGNORECASE,
)
_ABOUT_ONE = re.compile(r"_(NAME|ARN|PATH|FILE|DIR|URI|TYPE|EXPIRATION|REGION|HOST)S?$", re.I)
"""Ends of the names of variables that tell where a secret is, not what it is."""
_SHORTEST = 12
"""Shortest value to look for anywhere; shorter ones occur by chance."""
_SHORTEST_WORD = 8
"""Shortest value to look for as a word by itself."""
HIDDEN = "***"
_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Note a secret that was read from elsewhere, such as AWS: from now on nothing repeats it."""
    if len(secret) >= _SHORTEST_WORD:
        _remembered.add(secret)


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Return the values of variables with names of secrets, except paths of files and short ones."""
    values = (environment[name] for name in environment if _is_of_secret(name))
    return {value.strip() for value in values if _may_be_secret(value.strip())}


@functools.lru_cache(maxsize=10_000)
def _is_of_secret(name: str) -> bool:
    return bool(_NAME.search(name)) and not _ABOUT_ONE.search(name)


def _may_be_secret(value: str) -> bool:
    """Tell whether a value can be looked for: long ones, and shorter ones that are no plain word."""
    if len(value) < _SHORTEST_WORD or os.path.exists(value):  # noqa: PTH110 - any text
        return False
    return len(value) >= _SHORTEST or not (value.isalpha() or value.isdigit())


@dataclass(frozen=True)
class KnownSecrets:
    """Secrets to look for. forms: texts that repeat one, the longest first, as one may be part of
    another. words: those that are too short to be looked for within words."""

    forms: tuple[str, ...]
    words: re.Pattern[str] | None

    def are_in(self, text: str) -> bool:
        """Tell whether a text repeats one of them in any form."""
        return any(form in text for form in self.forms) or bool(
            self.words and self.words.search(text)
        )

    def removed_from(self, text: str) -> str:
        """Replace all of them in a text by stars."""
        for form in self.forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return self.words.sub(HIDDEN, text) if self.words else text


def known_secrets(environment: Mapping[str, str] | None = None) -> KnownSecrets:
    """Return the secrets of an environment, by default this process's, and those remembered."""
    found = secrets_of(os.environ if environment is None else environment)
    return _looked_for(frozenset(found | _remembered))


@functools.lru_cache(maxsize=64)
def _looked_for(secrets: frozenset[str]) -> KnownSecrets:
    long = {form for one in secrets if len(one) >= _SHORTEST for form in forms_of(one)}
    short = sorted((one for one in secrets if len(one) < _SHORTEST), key=len, reverse=True)
    alternatives = "|".join(map(re.escape, short))
    words = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])") if short else None
    return KnownSecrets(tuple(sorted(long, key=lambda form: (-len(form), form))), words)


def forms_of(secret: str) -> set[str]:
    """Write a secret in all forms that are looked for: plain and as it stands in URLs, JSON, HTML and
    programs, in hexadecimal digits, and in base64, wherever in the coded text it begins."""
    raw, coded = secret.encode(errors="surrogateescape"), json.dumps(secret)[1:-1]
    quoted = {quote(raw, safe=""), quote(raw), quote(secret.encode(errors="replace"), safe=" ")}
    quoted |= {re.sub("%..", lambda code: code[0].lower(), one) for one in quoted}
    quoted |= {one.replace("%20", "+").replace(" ", "+") for one in quoted}
    hexadecimal = {raw.hex(), raw.hex().upper()}
    written = {secret, coded, html.escape(secret), html.escape(secret, quote=False)}
    return {*written, repr(secret)[1:-1], *quoted, *hexadecimal, *_base64_forms(raw)}


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield the letters that follow from the secret alone, by the bytes before it in a group of three."""
    for before, start in enumerate((0, 2, 3)):
        coded = base64.b64encode(bytes(before) + raw).decode()
        part = coded[start : (before + len(raw)) * 8 // 6]
        yield from {part, part.translate(str.maketrans("+/", "-_"))}
