"""The languages of a source."""

from __future__ import annotations

from lingotune.config.schema import DataConfig, Source
from lingotune.data.rows.language_tags import tags_of


def wanted_languages(data: DataConfig) -> list[str]:
    """Return the codes of `data.languages`, in whatever way they are typed; empty = all languages."""
    return tags_of(data.languages)


def known_languages(data: DataConfig) -> list[str]:
    """The languages that are known before the data is read; files may hold others."""
    if data.source is Source.sample and not data.languages:
        from lingotune.data.sources.sample import LANGUAGES

        return list(LANGUAGES)
    return wanted_languages(data)
