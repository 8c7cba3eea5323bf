"""Random files of a user's own, mutated from good ones: none may end in a traceback, or be read for long.

python tests/broken_files.py --files 300 --seed 1   prints what went wrong
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from conftest import CONF, chosen_once
from followed_advice import Planned, planned, untried

from lingotune.config.jobfile import dump_job
from lingotune.config.problems import Problem, Severity, format_problems
from lingotune.config.schema import JobConfig
from lingotune.launch.compose import compose as composing

Chance = random.Random

_EXPERIMENT = """\
# An experiment of one's own.
# @package _global_
defaults:
  - override /model: xlmr_base
  - override /cluster: p3_2xl
  - _self_

lr: 3e-5
epochs: 2
name: mine
data:
  max_length: 128
  languages: [de, fr]
  labels:
    - {name: bad, values: [1, 2]}
    - name: good
      values: [4, 5]
training:
  warmup_ratio: 0.1
  schedule: cosine
  report_to: []
aws:
  tags: {team: nlp}
"""
_SWEEP = """\
# @package _global_
sweep:
  search: tpe
  trials: 4
  params:
    lr: 1e-5,3e-5
    training.weight_decay: interval(0,0.1)
    scaling: linear,sqrt
scaling:
  base_batch: 16
"""
_DATA = """\
name: mine
source: files
path: own.jsonl
columns:
  text: review_body
  label: stars
  language: language
validation_share: 0.1
max_length: 64
"""
_CLUSTER = """\
defaults:
  - p3_16xl
nodes: 2
spot: true
max_wait: 90000
environment:
  A: text
"""


@dataclass(frozen=True)
class Kind:
    """A kind of file: where it lies, what a good one holds, and the command that reads it."""

    path: str
    text: str
    command: tuple[str, ...]


# ruff: noqa: E501 - tables of wrong texts
KINDS = (
    Kind("conf/experiment/mine.yaml", _EXPERIMENT, ("--config-dir", "conf", "experiment=mine")),
    Kind("conf/sweep/mine.yaml", _SWEEP, ("--config-dir", "conf", "-m", "sweep=mine")),
    Kind("conf/data/mine.yaml", _DATA, ("--config-dir", "conf", "data=mine")),
    Kind("conf/cluster/mine.yaml", _CLUSTER, ("--config-dir", "conf", "cluster=mine")),
    Kind("job.yaml", dump_job(JobConfig()).decode(), ("--job", "job.yaml", "epochs=1")),
)

WRONG = (
    "[]", "{}", "[a, b]", "{a: b}", "'", '"', "null", "~", "2026-11-29", "2026-11-29 12:00:00", "!!binary aGk=",
    "!!python/object:os.system x", "*nope", "&x 1", "&a [*a]", "[[[[1]]]]", "|", ">\n  text", "yes", "1e400", ".nan",
    "0x1F", "1:30", "${lr}", "${oc.env:HOME}", "${nope", "???", "@x", "%x", "`x`", "a: b: c", "- a", "<<: {a: 1}",
    '"\\e[31mred"', '"\\0"', "\u202eabc", "!!timestamp 2026-11-29", "!!set {a, b}", "!!omap [a: 1]", "123456789" * 9,
    "choice(1,2)", "1,2", "interval(2,1)", "range(1,9000)", "glob(*)", '"a\\nb"', "{a: {b: {c: {d: 1}}}}",
)  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi")
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{p: *{old}, q: *{old}, r: *{old}}}\n"
    for old, new in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu")
)
DEEP = "lr: " + "[" * 3000 + "]" * 3000 + "\n"
LINES = ("<<: *x", "? a", "--- ", "...", "%YAML 9.9", "\tlr: 1", "lr: 1\nlr: 2", "defaults: x", "defaults: [a: b]",
         "defaults: [{a: 1, b: 2}]", "defaults: [[x]]", "defaults:\n  - override /nope: x", "defaults: [mine]",
         "# @package nope", "# @package _group_.x", "# @package lr", "1: 2", "null: 1", "[a]: 1", "{a: b}: 1", "'': 1",
         "a.b.c: 1", "hydra: {run: {dir: x}}", "hydra: x", "_target_: x", "\x00", "\x07x: 1", "key", "- item")  # fmt: skip


def mutated(text: str, chance: Chance) -> bytes:
    """Change a good file in one to three places."""
    if chance.random() < 0.06:
        return chance.choice(
            (
                BOMB,
                MERGES,
                DEEP,
                text + BOMB,
                "",
                "\n",
                "null",
                "[]",
                "x",
                "{",
                "- a\n- b\n",
                "\ufeff" + text,
            )
        ).encode()
    for _ in range(chance.choice((1, 1, 2, 3))):
        text = chance.choice(_CHANGES)(text, chance)
    return (
        chance.choice(_ENCODINGS)(text)
        if chance.random() < 0.1
        else text.encode("utf-8", "surrogatepass")
    )


def _line(text: str, chance: Chance, change: Callable[[str], str]) -> str:
    lines = text.split("\n")
    filled = [n for n, line in enumerate(lines) if ":" in line and not line.startswith("#")] or [0]
    n = chance.choice(filled)
    lines[n] = change(lines[n])
    return "\n".join(lines)


def _value(text: str, chance: Chance) -> str:
    return _line(text, chance, lambda line: f"{line.partition(':')[0]}: {chance.choice(WRONG)}")


def _key(text: str, chance: Chance) -> str:
    def change(line: str) -> str:
        key, colon, rest = line.partition(":")
        at = chance.randrange(len(key) + 1)
        return f"{key[:at]}{chance.choice(('', 'x', '.', '_', ' ', key[at : at + 1] * 2))}{key[at + 1 :]}{colon}{rest}"

    return _line(text, chance, change)


def _indented(text: str, chance: Chance) -> str:
    return _line(
        text,
        chance,
        lambda line: chance.choice((f" {line}", f"\t{line}", line.lstrip(), f"    {line}")),
    )


def _twice(text: str, chance: Chance) -> str:
    return _line(text, chance, lambda line: f"{line}\n{line}")


def _added(text: str, chance: Chance) -> str:
    lines = text.split("\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(LINES))
    return "\n".join(lines)


def _without(text: str, chance: Chance) -> str:
    lines = text.split("\n")
    del lines[chance.randrange(len(lines))]
    return "\n".join(lines)


def _cut(text: str, chance: Chance) -> str:
    return text[: chance.randrange(len(text) + 1)]


def _letter(text: str, chance: Chance) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice("\t:-[]{}'\"#&*!|>%@`,\x1b\x85\u2028\ud800é") + text[at + 1 :]


_CHANGES = (
    _value,
    _value,
    _value,
    _key,
    _key,
    _indented,
    _twice,
    _added,
    _added,
    _without,
    _cut,
    _letter,
)
_ENCODINGS: tuple[Callable[[str], bytes], ...] = (
    lambda text: text.encode("latin-1", "replace") + b"\xe9: 1\n",
    lambda text: text.encode("utf-16", "replace"),
    lambda text: b"\xef\xbb\xbf" + text.encode("utf-8", "replace"),
    lambda text: text.encode("utf-8", "replace").replace(b"\n", b"\r\n"),
    lambda text: text.encode("utf-8", "replace")[::-1],
    lambda text: b"\x80\x81" + text.encode("utf-8", "replace"),
)


@dataclass
class Found:
    """What a proof has found."""

    files: int = 0
    refused: int = 0
    crashes: list[tuple[str, str, str]] = field(default_factory=list)
    slow: list[tuple[str, str, float]] = field(default_factory=list)
    raw: list[tuple[str, str]] = field(default_factory=list)
    unplaced: list[tuple[str, str, Problem]] = field(default_factory=list)
    followed: int = 0
    wrong: list[tuple[str, Problem, tuple[Problem, ...]]] = field(default_factory=list)
    advice: Counter[str] = field(default_factory=Counter)


PATIENCE = 20.0
"""Seconds of processor time of a plan that are too many on any machine: a bomb takes minutes."""
_PLACE = re.compile(r"^(?P<path>\S+\.yaml):(?P<line>\d+)(?:: (?P<key>.*))?$", re.DOTALL)
_YAML_LINE = re.compile(r"(- )?[\w.-]+: .*")


def try_file(kind: Kind, content: bytes, plan: Planned, found: Found) -> None:
    """Plan with a broken file, and follow the lines that are offered in its place."""
    Path(kind.path).write_bytes(content)
    found.files += 1
    begun = time.process_time()
    try:
        problems = plan(kind.command)
    except Exception:
        found.crashes.append((kind.path, repr(content)[-1500:], traceback.format_exc()[-1200:]))
        return
    if (taken := time.process_time() - begun) > PATIENCE:
        found.slow.append((kind.path, repr(content)[:300], taken))
    told = format_problems(problems)
    if any(not c.isprintable() and c not in "\n\u00a0\u3000\u200c\u200d" for c in told):
        found.raw.append((repr(content)[:600], repr(told)))
    errors = [p for p in problems if p.severity is Severity.error]
    found.refused += bool(errors)
    for problem in errors:
        if not any(
            part in f"{problem.where} {problem.what}" for part in (kind.path, Path(kind.path).name)
        ):
            found.unplaced.append((kind.path, repr(content)[-900:], problem))
        _follow(kind, content, problem, plan, found)


def _follow(kind: Kind, content: bytes, problem: Problem, plan: Planned, found: Found) -> None:
    place = _PLACE.match(problem.where)
    for fix in [] if place is None else problem.fix.split(", or ")[:2]:
        lines = content.decode("utf-8", "replace").split("\n")
        n = int(place["line"]) - 1 if place else 0
        if n >= len(lines):
            return
        blanks = re.match(r"\s*(?:- )?", lines[n])
        if fix == "leave it out":
            lines[n] = ""
        elif _YAML_LINE.fullmatch(fix) and "..." not in fix and " | " not in fix:
            lines[n] = f"{blanks[0] if blanks else ''}{fix}"
        else:
            found.advice[fix] += 1
            continue
        Path(kind.path).write_text("\n".join(lines), encoding="utf-8")
        found.followed += 1
        try:
            after = plan(kind.command)
        except Exception:
            found.crashes.append(
                (kind.path, "\n".join(lines)[-1500:], traceback.format_exc()[-1200:])
            )
            continue
        if any((p.where, p.what) == (problem.where, problem.what) for p in after):
            found.wrong.append((lines[n], problem, after))


def furnished(folder: Path) -> None:
    """Make the folders that the files lie in."""
    for kind in KINDS:
        (folder / kind.path).parent.mkdir(parents=True, exist_ok=True)


def cases(seed: int, count: int) -> Iterator[tuple[Kind, bytes]]:
    """Yield files of a seed, one kind after the other."""
    for number in range(count):
        chance = Chance(seed * 1_000_000 + number)
        kind = KINDS[number % len(KINDS)]
        content = mutated(kind.text, chance)
        if kind.path == "job.yaml":
            _, _, body = kind.text.partition("\n")
            content = signed(mutated(body, chance)) if chance.random() < 0.8 else content
        yield kind, content


def signed(body: bytes) -> bytes:
    """Put the first line of a job file before a body, as its digest demands."""
    return (
        f"# lingotune job, sha256 of the lines below: {hashlib.sha256(body).hexdigest()}\n".encode()
        + body
    )


def prove(seed: int, count: int, folder: Path) -> Found:
    """Try files of a seed in a folder, which is the current one."""
    found, plan = Found(), untried(planned)
    with mock.patch.object(composing, "_chosen_groups", chosen_once):
        furnished(folder)
        for kind, content in cases(seed, count):
            try_file(kind, content, plan, found)
            (folder / kind.path).unlink()
    return found


def main(argv: Sequence[str]) -> int:
    """Try many files, and print what is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = prove(options.seed, options.files, Path(folder))
        os.chdir(CONF)
    for one in found.crashes:
        print("CRASH", *one, sep="\n  ")
    for one in found.slow:
        print("SLOW", *one, sep="\n  ")
    for one in found.raw:
        print("RAW", *one, sep="\n  ")
    for path, content, problem in found.unplaced:
        print("UNPLACED", path, content, problem.where, problem.what, problem.fix, sep="\n  ")
    for line, problem, after in found.wrong:
        print("WRONG", line, problem.where, problem.what, f"fix: {problem.fix}",
              *(f"got: {p.where} :: {p.what}" for p in after), sep="\n  ")  # fmt: skip
    print(json.dumps({
        "files": found.files, "refused": found.refused, "crashes": len(found.crashes), "slow": len(found.slow),
        "raw": len(found.raw), "unplaced": len(found.unplaced), "followed": found.followed, "wrong": len(found.wrong),
        "seconds": time.monotonic() - begun,
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
