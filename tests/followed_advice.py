"""Advice of messages, followed as a user would: taken out of the message, typed, and planned again.

python tests/followed_advice.py --lists 3000 --seed 1   prints what was offered, and what was wrong with it
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import os
import re
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from unittest import mock

from conftest import chosen_once
from override_lists import GROUPS, override_list

from lingotune.cli.launch import _fetches, command
from lingotune.cli.train import check_train
from lingotune.cli.train import command as train_command
from lingotune.config.problems import ConfigError, Problem, Severity, format_problems, printable
from lingotune.config.settings import is_setting
from lingotune.launch.checks.launch import check_later, check_launch
from lingotune.launch.compose import compose as composing
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.code_bundle import bundle_of
from lingotune.launch.plan.planner import Planner

Words = tuple[str, ...]
Planned = Callable[[Words], tuple[Problem, ...]]

OWN = "def kappa(predictions, labels):\n    return 0.0\n"
REVIEWS = "".join(
    f'{{"review_body": "text {n}", "stars": {1 + n % 5}, "language": "{("de", "fr")[n % 2]}"}}\n'
    for n in range(60)
)


# --- a folder to type in ------------------------------------------------------------------------


def furnish(folder: Path) -> None:
    """Put the files of a user into a folder."""
    (folder / "mine.py").write_text(OWN)
    (folder / "own.jsonl").write_text(REVIEWS)


@contextmanager
def exported(words: Words) -> Iterator[list[str]]:
    """Set the variables that are exported before a command; yields its other words."""
    exports = [word.removeprefix("export ") for word in words if word.startswith("export ")]
    with mock.patch.dict(os.environ, dict(one.partition("=")[::2] for one in exports)):
        yield [word for word in words if not word.startswith("export ")]


def planned(words: Words) -> tuple[Problem, ...]:
    """Plan a command in this process; returns its problems and warnings."""
    with exported(words) as typed:
        try:
            jobs = composed_jobs(
                typed, command(), shipped_dir(), check_launch, _fetches, check_later
            )
            bundle = bundle_of([one.config for one in jobs])
            return Planner(bundle, CostEstimator(date.today())).sweep(jobs).problems
        except ConfigError as error:
            return tuple(error.problems)
        except SystemExit:
            return ()


def composed_for_train(words: Words) -> tuple[Problem, ...]:
    """Compose and check a training on this machine."""
    with exported(words) as typed:
        try:
            jobs = composed_jobs(typed, train_command(), shipped_dir(), check_train)
        except ConfigError as error:
            return tuple(error.problems)
        except SystemExit:
            return ()
    return tuple(found for one in jobs for found in one.findings)


# --- taking advice out of a message -------------------------------------------------------------

_OVERRIDE = re.compile(r"[~+]{0,2}[A-Za-z_][\w./@-]*=|~[A-Za-z_][\w.]*$")
_BETWEEN = re.compile(
    r"[,;] (?:or )?(?=['\"]?~?[a-z_][\w./]*=|-m |--env |without )"
    r"|; or one (?:list|text|number): |; possible: "
)
LEAVE_OUT = ("leave it out", "leave one out")


@dataclass(frozen=True)
class Advice:
    """Words that a fix offers. leaves_out: the wrong word is to be left out."""

    words: Words = ()
    leaves_out: bool = False


def alternatives(fix: str) -> Iterator[str]:
    """Each alternative of a fix as it is pasted; those of a list of choices whole."""
    for part in _BETWEEN.split(fix):
        first, *others = part.split(" | ")
        yield from [first, *(first.partition("=")[0] + f"={other}" for other in others)]


def advice_of(fix: str) -> Iterator[Advice]:
    """Yield what a fix offers to be typed, each alternative; prose and placeholders offer nothing."""
    if fix in LEAVE_OUT:
        yield Advice(leaves_out=True)
        return
    for choice in alternatives(fix):
        words = _typed_part(choice)
        if words and not any(re.search(r"\.\.\.|\$[A-Z(]|/NAME", word) for word in words):
            yield Advice(tuple(words))


def _typed_part(choice: str) -> list[str]:
    """Return the words at the start of a choice that are overrides or options; prose follows."""
    try:
        words = shlex.split(choice)
    except ValueError:
        return [choice] if _OVERRIDE.match(choice.lstrip("'\"")) else []
    if words[:1] == ["export"]:
        return [f"export {word}" for word in words[1:] if "=" in word]
    taken: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-m", "--cfg", "--info") or _OVERRIDE.match(word):
            taken.append(word)
        elif word == "--env" and words:
            taken += [word, words.pop(0)]
        else:
            break
    if words and taken:
        taken[-1] = taken[-1].rstrip(",;:")
    return taken


# --- following it -------------------------------------------------------------------------------


def key_of(word: str) -> str:
    """The key or group of a word as typed: lr for --lr=3, ++lr=3 and lr:3."""
    if word.startswith("-") and "=" not in word and len(word) < 4:
        return word
    name = re.split(r"[=@:]", word.strip().lstrip("~+-"), maxsplit=1)[0].strip()
    return f"{'~' * word.startswith('~')}{name.replace('-', '_')}"


def wrong_words(typed: Words, problem: Problem) -> list[int]:
    """Find the words that a problem is about."""
    where = problem.where
    exact = [n for n, word in enumerate(typed) if where in (word, printable(word), word.strip())]
    if exact:
        return exact
    for size in range(2, len(typed) + 1):
        for start in range(len(typed) - size + 1):
            if where in (
                " ".join(typed[start : start + size]),
                printable(" ".join(typed[start : start + size])),
            ):
                return list(range(start, start + size))
    key = problem.key or key_of(where)
    key = re.sub(r"\[(\d+)\]", r".\1", key)
    return [
        n for n, word in enumerate(typed)
        if key and (key_of(word) in (key, f"~{key}") or key_of(word).startswith(f"{key}.")
                    or (key.startswith(f"{key_of(word)}.") and "={" in word))
        and ("=" in word or word.startswith("~"))
    ]  # fmt: skip


def followed(typed: Words, problem: Problem, advice: Advice) -> Iterator[Words]:
    """Yield the commands that may be meant: the wrong word replaced, or kept beside what is offered."""
    wrong = wrong_words(typed, problem)
    if advice.leaves_out:
        yield tuple(word for n, word in enumerate(typed) if n not in wrong[-1:])
        if len(wrong) > 1:
            yield tuple(word for n, word in enumerate(typed) if n not in wrong)
            yield tuple(word for n, word in enumerate(typed) if n not in wrong[:1])
        return
    new = {key_of(word) for word in advice.words}

    def kept(word: str) -> bool:
        return key_of(word) not in new and not (word in ("-m", "--multirun") and "-m" in new)

    parts = any(key_of(typed[n]) in new for n in wrong)
    with_it = tuple(w for w in typed if kept(w)) + advice.words
    without = tuple(w for n, w in enumerate(typed) if kept(w) and n not in wrong) + advice.words
    if problem.check and not parts:
        yield with_it
    else:
        yield without
        if not parts and with_it != without and is_setting(problem.key):
            yield with_it


@dataclass
class Verdict:
    """What came of an advice. kind: 'works', or how it is wrong; about: problems that show it."""

    kind: str
    about: tuple[Problem, ...] = ()
    typed: Words = ()


def identity(problem: Problem) -> tuple[str, str]:
    what = problem.check or re.sub(r"'[^']*'|[\d.]+", "", problem.what)
    return problem.key or problem.where, what


def judge(
    typed: Words, problem: Problem, advice: Advice, before: Sequence[Problem], plan: Planned
) -> Verdict:
    """Follow an advice; the problem has to be gone, and no new one about its key or those that were set.

    What was found before and another problem of a key that nobody touched are independent.
    """
    verdict = Verdict("not applied")
    known = collections.Counter(identity(p) for p in before)
    for tried in followed(typed, problem, advice):
        after = plan(tried)
        same = [p for p in after if identity(p) == identity(problem)]
        same = same if len(same) >= known[identity(problem)] else []
        if problem.severity is Severity.error:
            same = [p for p in same if p.severity is Severity.error]
        touched = {key_of(w).lstrip("~") for w in advice.words} | (
            {problem.key} if problem.key else set()
        )
        touched -= {"", "-m"}
        new = [
            p
            for p in after
            if p.severity is Severity.error and identity(p) not in known and p not in same
        ]
        here = [p for p in new if any(_about(p, key) for key in touched)]
        if same:
            verdict = Verdict("same again", tuple(same), tried)
        elif here:
            verdict = Verdict("new one", tuple(here), tried)
        else:
            others = {key_of(word) for word in tried}
            side = [p for p in new if not any(_about(p, key) for key in others)]
            return Verdict("works", tuple(side), tried)
    return verdict


def _about(problem: Problem, key: str) -> bool:
    own = re.sub(r"\[(\d+)\]", r".\1", problem.key or key_of(problem.where))
    inside = (
        own.startswith(f"{key}.") and key not in GROUPS
    )  # an option may need settings of its own
    return own == key or inside or (key.startswith(f"{own}.") and is_setting(own))


@dataclass
class Tally:
    """Counts of a proof, and all that went wrong."""

    lists: int = 0
    broken: int = 0
    problems: int = 0
    offered: int = 0
    prose: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[tuple[Words, Problem, Advice, Verdict]] = field(default_factory=list)
    side: list[tuple[Words, Problem, Advice, Verdict]] = field(default_factory=list)
    crashes: list[tuple[Words, str]] = field(default_factory=list)
    raw: list[tuple[Words, str]] = field(default_factory=list)


def untried(plan: Planned) -> Planned:
    """Plan without trying the fixes of what is found: they are not looked at."""

    def quickly(words: Words) -> tuple[Problem, ...]:
        with mock.patch.object(
            composing, "with_tried_fixes", lambda problems, *args, **more: problems
        ):
            return plan(words)

    return quickly


def try_list(typed: Words, first: Planned, plan: Planned, tally: Tally, limit: int = 8) -> None:
    """Plan a list, and follow all that its messages offer; at most `limit` of one message."""
    tally.lists += 1
    before = _plan_or_crash(typed, first, tally)
    if before is None:
        return
    told = format_problems(before)
    if any(not c.isprintable() and c not in "\n\u00a0\u3000\u200c\u200d" for c in told):
        tally.raw.append((typed, told))
    tally.broken += any(p.severity is Severity.error for p in before)
    plain = plan(typed)  # as they are told without a reason why another fix is offered
    for problem in before:
        problem = next(
            (replace(problem, what=p.what) for p in plain if _told_as(problem, p)), problem
        )
        tally.problems += 1
        found = list(advice_of(problem.fix))
        if not found:
            tally.prose[problem.fix] += 1
        for advice in found[:limit]:
            try:
                verdict = judge(typed, problem, advice, plain, plan)
            except Exception as error:
                tally.crashes.append(
                    ((*typed, "->", *advice.words), f"{type(error).__name__}: {error}")
                )
                continue
            tally.offered += 1
            if verdict.kind != "works":
                tally.wrong.append((typed, problem, advice, verdict))
            elif verdict.about:
                tally.side.append((typed, problem, advice, verdict))


def _told_as(problem: Problem, plain: Problem) -> bool:
    return problem.where == plain.where and problem.what.startswith(plain.what)


def _plan_or_crash(typed: Words, plan: Planned, tally: Tally) -> tuple[Problem, ...] | None:
    try:
        return plan(typed)
    except Exception:
        tally.crashes.append((typed, traceback.format_exc()[-1500:]))
        return None


def remembered(plan: Planned) -> Planned:
    """Remember the last plans: alternatives often come to the same command."""
    return functools.lru_cache(maxsize=500)(plan)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--limit", type=int, default=8, help="followed of a message; 0: plan alone")
    options = parser.parse_args(argv)
    tally, begun = Tally(), time.monotonic()
    first = composed_for_train if options.train else planned
    plan = remembered(untried(first))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(composing, "_chosen_groups", chosen_once),
    ):
        furnish(Path(folder))
        os.chdir(folder)
        for number in range(options.lists):
            typed = tuple(override_list(options.seed * 1_000_000 + number))
            try_list(typed, first, plan, tally, options.limit)
        left = sorted(one.name for one in Path().iterdir())
        os.chdir("/")
    for typed, problem, _, verdict in tally.wrong:
        print("WRONG", verdict.kind, "|", shlex.join(typed))
        print("   ", problem.where, "::", problem.what, "[", problem.check, problem.key, "]")
        print("    fix:", problem.fix)
        print("    did:", shlex.join(verdict.typed))
        for one in verdict.about:
            print("    got:", one.where, "::", one.what, "::", one.fix)
    for typed, problem, _, verdict in tally.side:
        print("SIDE |", shlex.join(typed))
        print("   ", problem.where, "::", problem.what)
        print("    did:", shlex.join(verdict.typed))
        for one in verdict.about:
            print("    got:", one.where, "::", one.what, "::", one.fix)
    for typed, trace in tally.crashes:
        print("CRASH |", shlex.join(typed), "\n", trace)
    for typed, told in tally.raw:
        print("RAW |", repr(typed), "\n", repr(told))
    print("left:", left)
    for fix, count in tally.prose.most_common(80):
        print("PROSE", count, fix)
    print(json.dumps({
        "lists": tally.lists, "broken": tally.broken, "problems": tally.problems, "offered": tally.offered,
        "wrong": len(tally.wrong), "side": len(tally.side),
        "share": len(tally.wrong) / max(1, tally.offered),
        "crashes": len(tally.crashes), "raw": len(tally.raw), "seconds": time.monotonic() - begun,
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
