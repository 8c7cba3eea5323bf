"""Commands that come next."""

from __future__ import annotations

from collections.abc import Iterator

from lingotune.config.program import program
from lingotune.launch.operations.fetch import Fetched
from lingotune.launch.operations.selection import Selection


def after_fetch(chosen: Selection, found: Fetched) -> Iterator[str]:
    """Choose what comes after a fetch: results of a sweep, or the page of the only run."""
    runs = [*found.done, *found.there]
    if chosen.overview.of_application:
        return  # their scores are what status shows
    if chosen.target.sweep and runs:
        yield f"{program('results')} {chosen.target.sweep}{chosen.overview.options}"
    elif len(runs) > 1:
        yield f"{program('results')} {' '.join(map(str, sorted(runs)))}"
    elif runs:
        yield f"{program('evaluate')} {runs[0]} data.path=FILE"
