"""The folder of this user where lingotune keeps what it can fetch again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $LINGOTUNE_CACHE, or lingotune in the user's cache; it need not be there."""
    users = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (
        Path(os.environ.get("LINGOTUNE_CACHE") or Path(users, "lingotune")).expanduser().absolute()
    )
