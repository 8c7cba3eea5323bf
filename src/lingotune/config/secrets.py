"""Tokens and keys in texts, known by their form or from the environment: found, and left out.

Standard library only; the environment comes in as an argument.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping

_SECRET = re.compile(
    r"hf_[A-Za-z0-9]{20,}|(AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}"
    r"|github_pat_\w{20,}|sk-[A-Za-z0-9_-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY[\s\S]*"
)
_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|ACCESS_KEY", re.IGNORECASE)
_SHORTEST = 12
"""Characters of a secret that is looked for; shorter ones stand anywhere."""
HIDDEN = "***"
NO_TOKEN = "set HF_TOKEN in the environment, or hub.token_secret=NAME of an AWS secret"
"""What works instead of a token that was typed."""


def looks_secret(text: str) -> bool:
    """Whether the text holds something in the form of a token or a key."""
    return _SECRET.search(text) is not None


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """The values of variables that are called like secrets, but for the files that some name."""
    return {
        value
        for name, value in environment.items()
        if _NAME.search(name) and len(value) >= _SHORTEST and not os.path.exists(value)  # noqa: PTH110 - any text
    }


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """The text with stars where it holds a secret, of the environment or by its form."""
    for secret in sorted(secrets_of(environment), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _SECRET.sub(HIDDEN, text)
