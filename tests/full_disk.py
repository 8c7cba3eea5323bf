"""Runs on disks of every size, until one is large enough: each full disk is told, and costs nothing.

unshare -Urm python tests/full_disk.py [--from KB] [--to KB] [--every KB]   prints what became of each

Data, run folder and temporary files lie on the disk, a tmpfs of pages of 4 kB: no other sizes exist. Each
new behaviour (exit code, message, newest checkpoint) is followed by a larger disk, on which the run has to
come to the very end of one that always had room.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import killing
from killing import job_file, log_of, steps_done

from lingotune.config.problems import DISK_FAILED

PAGE = 4
"""Kilobytes by which disks grow."""
ENOUGH = 64 * 1024
"""Kilobytes on which nothing is ever full."""


@dataclass(frozen=True)
class Behaviour:
    """What became of an attempt. told: place and problem of its message; step: of the newest checkpoint."""

    code: int
    told: str
    step: int


@dataclass
class Found:
    """What was found. behaviours: how many sizes had each. wrong: what must not happen, by size."""

    sizes: int = 0
    enough: int = 0
    behaviours: dict[Behaviour, list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def disk(place: Path, kilobytes: int) -> Iterator[None]:
    """Mount an empty disk of a size while the block runs."""
    place.mkdir(exist_ok=True)
    _mount(place, kilobytes)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(place: Path, kilobytes: int, how: str = "") -> None:
    options = f"{how}size={kilobytes}k,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)


def train(job: Path, place: Path, log: Path) -> int:
    """Prepare the data and train on the disk; returns the exit code."""

    def body() -> int:
        os.chdir(place)
        os.environ["TMPDIR"] = tempfile.tempdir = str(place)
        os.environ["LINGOTUNE_CACHE"] = str(place / "cache")
        return killing.training(job, place / "run")()

    log.unlink(missing_ok=True)
    return killing.ended(killing.begin(body, log, None))


def behaviour(code: int, log: Path, run: Path) -> Behaviour:
    """Describe an attempt by its exit code, its message without numbers, and its newest checkpoint."""
    text = log.read_text(encoding="utf-8")
    _, _, message = text.partition("lingotune: 1 problem\n")
    told = " ".join(re.sub(r"\d+", "N", message).split("fix:")[0].split())
    return Behaviour(code, told, steps_done(run))


def tried(job: Path, place: Path, kilobytes: int, right: dict[str, Any], found: Found) -> int:
    """Train on a disk of a size, and on a larger one if that was new; returns the exit code."""
    log = log_of(place)
    with disk(place, kilobytes):
        code = train(job, place, log)
        seen = behaviour(code, log, place / "run")
        text, sizes = log.read_text(encoding="utf-8"), found.behaviours.setdefault(seen, [])
        if code not in (0, DISK_FAILED) or (code and not seen.told) or "Traceback" in text:
            found.wrong.append(f"{kilobytes} kB: {seen} {text[-600:]}")
        elif not sizes:
            _mount(place, ENOUGH, "remount,")
            again = train(job, place, log) or killing.outcome(place / "run")
            if again != right:
                differs = (
                    again if isinstance(again, int) else [k for k in right if again[k] != right[k]]
                )
                found.wrong.append(f"{kilobytes} kB: {seen}, then {differs}")
        sizes.append(kilobytes)
    found.sizes += 1
    return code


def prove(sizes: Iterable[int], folder: Path) -> Found:
    """Try sizes up to the first that is enough."""
    found, job, place = Found(), job_file(folder), folder / "disk"
    with disk(place, ENOUGH):
        assert train(job, place, log_of(place)) == 0, log_of(place).read_text(encoding="utf-8")
        right = killing.outcome(place / "run")
    for size in sizes:
        code = tried(job, place, size, right, found)
        print(size, code, file=sys.stderr, flush=True)
        if code == 0:
            found.enough = size
            break
    return found


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", type=int, default=PAGE, dest="first")
    parser.add_argument("--to", type=int, dest="last", default=ENOUGH)
    parser.add_argument("--every", type=int, default=PAGE)
    options = parser.parse_args(argv)
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # pictures cost as much as all else
    killing.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        sizes = range(options.first, options.last + 1, options.every)
        found = prove(sizes, Path(folder))
    told = [
        {**vars(seen), "first": sizes[0], "sizes": len(sizes)}
        for seen, sizes in found.behaviours.items()
    ]
    print(json.dumps({**vars(found), "behaviours": told}, indent=1))
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
