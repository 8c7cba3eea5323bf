"""Advice of messages is followed for random override lists and files: see followed_advice, broken_files."""

from __future__ import annotations

import shlex
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from broken_files import BOMB, DEEP, KINDS, MERGES, Found, furnished, prove, try_file
from followed_advice import (
    Tally,
    composed_for_train,
    furnish,
    planned,
    remembered,
    try_list,
    untried,
)
from override_lists import override_list

from lingotune.config.problems import errors_only, format_problems
from lingotune.config.settings import setting_types

WRONG = 0.01
"""Share of what is offered that may be wrong when it is pasted."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    return tmp_path


def follow(seeds: range, *, train: bool = False) -> Tally:
    first, tally = composed_for_train if train else planned, Tally()
    plan = remembered(untried(first))
    for seed in seeds:
        try_list(tuple(override_list(seed)), first, plan, tally)
    assert not tally.crashes and not tally.raw
    return tally


@pytest.mark.parametrize(
    ("lists", "files"),
    [(16, 24), pytest.param(600, 300, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_what_is_offered_for_random_commands_and_files_works(
    lists: int, files: int, home: Path
) -> None:
    before = sorted(home.iterdir())
    tally = follow(range(9_000_000, 9_000_000 + lists))
    trained = follow(range(9_500_000, 9_500_000 + lists // 4), train=True)
    assert sorted(home.iterdir()) == before, "nothing is written"
    wrong = [shlex.join(typed) for typed, *_ in tally.wrong + trained.wrong]
    assert len(wrong) <= WRONG * (tally.offered + trained.offered), wrong
    assert tally.offered > lists
    found = prove(9, files, home)
    assert not (found.crashes or found.slow or found.raw)
    assert len(found.wrong) <= WRONG * found.followed, found.wrong
    assert found.refused > files / 2


ADVICE = {
    "scaling.global_batch=none": "scaling.global_batch=null",
    "data.pool=Ω": "leave it out",
    "acion=check cluster=p3_2xl": "action=check",
    "lrr=1": "lr=0.001",
    "code.requirements=a,": "leave it out",
    "_target_=my.Class": "code.file=...",
    "code=x": "settings of code: file, metrics, select, builder, callbacks, requirements, sha256",
    "cluster.max_wait=soon": "cluster.max_wait=null",
    "data.languages=de,fr": "-m 'data.languages=[de],[fr]'; or one list: 'data.languages=[de,fr]'",
    "sweep.retries=-1": "-m lr=1e-5,3e-5 sweep.retries=0",
    "seed=choice(1,2),3": "-m seed=1,2,3",
}


@pytest.mark.parametrize("typed", ADVICE)
def test_what_would_not_do_here_is_not_offered(typed: str) -> None:
    (problem, *_) = errors_only(planned(tuple(shlex.split(typed))))
    assert problem.fix == ADVICE[typed]


def test_a_fix_that_is_not_the_likeliest_says_why() -> None:
    (problem,) = planned(("lrr=1",))
    assert problem.why.startswith("lr=1 would not do: a model from scratch learns at ")


@pytest.mark.parametrize("typed", ["name=\x1b[31mred", "\x9b31m=1", "data.path=a\x07", "x\x00y=1"])
def test_control_characters_are_refused_and_never_printed(typed: str) -> None:
    found = planned((typed,))
    text = format_problems(found)
    assert "holds the control character \\x" in text
    assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_bytes_that_are_no_utf_8_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("caf\udce9.csv").touch()
    offered = {
        "data.path=caf\udce9.csv": "mv $'caf\\xe9.csv' 'café.csv'",
        "data.path='caf\udce9.csv'": "mv $'caf\\xe9.csv' 'café.csv'",
        "data.path=other\udce9.csv": "leave it out",
        "name=x\udcff": "leave it out",
    }
    for typed, fix in offered.items():
        (problem,) = errors_only(planned((typed,)))
        assert problem.what == "holds bytes that are not UTF-8, which no job file can"
        assert problem.where.isprintable() and problem.fix == fix


@pytest.mark.parametrize("text", [BOMB, MERGES, DEEP, "a: &a [*a]\n", "a: !!binary aGk=\n"])
def test_a_file_that_stands_for_billions_of_values_is_refused_at_once(
    text: str, home: Path
) -> None:
    furnished(home)
    found = Found()
    try_file(KINDS[0], text.encode(), planned, found)
    assert found.refused and not (found.crashes or found.slow or found.unplaced)


def choices_and_no_numbers() -> Iterator[str]:
    """Yield each setting with every choice that it has, or with what is no finite number."""
    for key, kind in setting_types().items():
        kinds = typing.get_args(kind) or (kind,)
        for one in kinds:
            if isinstance(one, type) and issubclass(one, Enum):
                yield from (f"{key}={choice.name}" for choice in one)
        if float in kinds:
            yield from (f"{key}={value}" for value in ("1e400", "-1e400", "nan", "1e-400"))


@pytest.mark.slow
def test_every_choice_and_no_number_is_planned_or_refused(home: Path) -> None:
    """For a job on SageMaker, as one on this machine needs less of a plan."""
    plan = untried(planned)
    typed = list(choices_and_no_numbers())
    assert "model.pooling=first" in typed and "training.max_hours=1e400" in typed
    for one in typed:
        assert all(problem.what for problem in plan(("cluster=g5_xl", one))), one


def test_pooling_and_endless_hours_are_planned(home: Path) -> None:
    assert not errors_only(planned(("cluster=g5_xl", "model.pooling=first")))
    (found,) = errors_only(planned(("cluster=g5_xl", "training.max_hours=10")))
    assert found.fix == "cluster.max_run=43200, or training.max_hours=3.2"
    (found,) = errors_only(planned(("cluster=g5_xl", "training.max_hours=600")))
    assert found.fix == "training.max_hours=3.2"
    told = errors_only(planned(("cluster=g5_xl", "training.max_hours=1e400")))
    assert {one.check for one in told} == {"out-of-range", "hours-beyond-max-run"}


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("deploy.kind=batch", "python -m lingotune deploy RUN deploy.kind=batch"),
        ("deploy.kind=realtime,batch", "python -m lingotune deploy RUN deploy.kind=realtime,batch"),
        ("deploy.count=#1", "leave it out"),
        ("~deploy.answers", "python -m lingotune deploy RUN '~deploy.answers'"),
        ("--deploy.count=a:b", "leave it out"),
    ],
)
def test_a_setting_of_an_endpoint_has_no_effect_whatever_its_value(
    typed: str, fix: str, home: Path
) -> None:
    (found,) = errors_only(planned((typed,)))
    assert found.what == "is about serving a trained model, and has no effect here"
    assert found.fix == fix


def test_a_setting_of_an_endpoint_is_offered_to_no_job(home: Path) -> None:
    (found,) = planned(("training.count=3",))
    assert found.fix == "leave it out" and "about serving" in found.why
    (found,) = errors_only(planned(("daza.name=mine",)))
    assert "model.name=mine" in found.fix and "deploy" not in found.fix
