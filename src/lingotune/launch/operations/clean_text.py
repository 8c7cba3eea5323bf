"""A listing of what lies in S3, as lines of text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lingotune.estimate.run_time import duration
from lingotune.launch.operations.clean import Cleaning, CleanJob, Shared
from lingotune.launch.operations.holdings import Holding

_NAMES = {
    "code": "code", "data": "data", "models": "base model", "sweeps": "pin of",
    "output": "output", "checkpoints": "checkpoints", "tensorboard": "curves",
}  # fmt: skip
_DAY = 86400.0
_RIGHT = {"output", "checkpoints", "curves", "size"}
_DIGEST = 12
"""Digits of a digest that are shown."""

Line = dict[str, str]


def lines_of(cleaning: Cleaning, *, by_sweep: bool, width: int) -> Iterator[str]:
    """Format what lies there, and what of it would be deleted. by_sweep: one line for a whole sweep."""
    rows = [*_jobs(cleaning, by_sweep), *_shared(cleaning.shared)]
    yield from _aligned(rows, width)
    yield from (f"note: {note}" for note in cleaning.notes)
    total = {one.place: one for job in cleaning.jobs for one in job.holdings}
    total |= {one.holding.place: one.holding for one in cleaning.shared}
    if not total:
        yield "nothing lies in S3 of these jobs"
        return
    size = sum(one.bytes for one in total.values())
    yield f"{size_text(size)} in all; {_sum(cleaning.deleted)} can be deleted"


def _sum(holdings: Sequence[Holding]) -> str:
    count = sum(len(one.keys) for one in holdings)
    objects = f"{count} object{'' if count == 1 else 's'}"
    return f"{size_text(sum(one.bytes for one in holdings))} in {objects}" if count else "nothing"


def _jobs(cleaning: Cleaning, by_sweep: bool) -> Iterator[Line]:
    groups: dict[str, list[CleanJob]] = {}
    for one in sorted(cleaning.jobs, key=lambda each: -(each.job.job.created or 0.0)):
        if one.holdings:
            key = one.job.sweep if by_sweep and one.job.sweep else one.job.name
            groups.setdefault(key, []).append(one)
    for name, members in groups.items():
        states = Counter(sorted(one.job.job.state.value for one in members))
        kept = Counter(one.kept for one in members if one.kept)
        ended = max((one.job.job.ended or cleaning.at for one in members), default=cleaning.at)
        many = len(members) > 1
        yield {
            "job": f"{name} ({len(members)} jobs)" if many else members[0].job.name,
            "state": ", ".join(f"{n} {state}" if many else state for state, n in states.items()),
            "ended": age_text(cleaning.at - ended) if members[0].job.job.ended else "",
            **{_NAMES[kind]: size_text(_bytes(members, kind)) for kind in _kinds(members)},
            "kept": "; ".join(f"{n} {why}" if many else why for why, n in kept.items()),
        }


def _kinds(members: Sequence[CleanJob]) -> list[str]:
    return list(dict.fromkeys(h.kind for one in members for h in one.holdings))


def _bytes(members: Iterable[CleanJob], kind: str) -> int:
    return sum(h.bytes for one in members for h in one.holdings if h.kind == kind)


def _shared(found: Sequence[Shared]) -> Iterator[Line]:
    """Make a line for each thing that is shared; the job files, which are small, have one together."""
    files = [one for one in found if one.holding.kind == "jobs"]
    if files:
        kept = sum(bool(one.kept) for one in files)
        yield {
            "job": f"{len(files)} job file{'' if len(files) == 1 else 's'}",
            "output": size_text(sum(one.holding.bytes for one in files)),
            "kept": f"{kept} needed" if kept else "",
        }
    for one in found:
        kind, name = one.holding.place[1:]
        short = name if kind == "sweeps" else name[:_DIGEST]
        size = size_text(one.holding.bytes)
        if kind != "jobs":
            yield {"job": f"{_NAMES[kind]} {short}", "output": size, "kept": one.kept}


def _aligned(rows: Sequence[Line], width: int) -> Iterator[str]:
    """Format a table; what does not fit stands in a line of its own below its row."""
    columns = ["job", "state", "ended", "output", "checkpoints", "curves", "kept"]
    columns = [name for name in columns if any(row.get(name) for row in rows)]
    if not rows:
        return
    titles = {name: "size" if name == "output" else name for name in columns}
    widths = {n: max(len(titles[n]), *(len(row.get(n, "")) for row in rows)) for n in columns}
    stacked = sum(widths.values()) + 2 * (len(columns) - 1) > width
    table = [n for n in columns if not (stacked and n == "kept")]
    for row in (titles, *rows):
        cells = (
            f"{row.get(n, ''):>{widths[n]}}" if n in _RIGHT else f"{row.get(n, ''):{widths[n]}}"
            for n in table
        )  # fmt: skip
        yield "  ".join(cells).rstrip()
        if stacked and row is not titles and row.get("kept"):
            yield f"    kept: {row['kept']}"


def size_text(size: float) -> str:
    """Format bytes as GB, MB or kB."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one / 10:
            return f"{size / one:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"


def age_text(seconds: float) -> str:
    """Format an age: days from two days on."""
    days = int(seconds // _DAY)
    return f"{days} days ago" if days > 1 else f"{duration(max(0.0, seconds))} ago"


def to_json(cleaning: Cleaning) -> str:
    """Write the listing as one JSON object."""
    deleted = {one.place for one in cleaning.deleted}

    def told(one: Holding) -> dict[str, object]:
        return {
            "kind": one.kind, "uri": one.uri, "objects": len(one.keys), "bytes": one.bytes,
            "newest": one.newest, "deleted": one.place in deleted,
        }  # fmt: skip

    jobs = [
        {
            "name": one.job.name, "sweep": one.job.sweep, "state": one.job.job.state.value,
            "ended": one.job.job.ended, "kept": one.kept, "holds": [told(h) for h in one.holdings],
        }
        for one in cleaning.jobs
    ]  # fmt: skip
    shared = [
        {**told(one.holding), "kept": one.kept, "users": list(one.users)} for one in cleaning.shared
    ]
    found = {"jobs": jobs, "shared": shared, "bytes": cleaning.bytes, "notes": cleaning.notes}
    return json.dumps(found, indent=1)
