"""Swept overrides: the values are those of Hydra's own sweeper, in its order."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from conftest import CONF
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.overrides.overrides import in_full, read_overrides, read_params
from lingotune.launch.overrides.swept import MOST, Axis, corners

GROUPS = config_groups(CONF)


def axis(text: str) -> Axis:
    read, problems = read_overrides([text], GROUPS, multirun=True)
    assert not problems, problems
    return read[0]


def values(text: str) -> list[str]:
    return [str(value.value()) for value in axis(text).values]


def refusal(*texts: str) -> list[tuple[str, str, str]]:
    _, problems = read_overrides(texts, GROUPS, multirun=True)
    return [(p.where, p.what, p.fix) for p in problems]


class _Options:
    """Hydra's view of the groups, for its own glob."""

    def get_group_options(self, group: str, **more: Any) -> list[str]:
        return [one for one in GROUPS[group] if not GROUPS.named_again(group, one)]


def of_hydra(text: str) -> list[str]:
    parser = OverridesParser.create(config_loader=_Options())  # type: ignore[arg-type]
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides([text]), None)
    return [line for (line,) in jobs]


numbers = st.floats(1e-7, 1e3).map(lambda number: float(f"{number:.3g}"))
lists = st.lists(numbers, min_size=2, max_size=6, unique=True)
texts = st.one_of(
    lists.map(lambda found: f"lr={','.join(map(str, found))}"),
    lists.map(lambda found: f"lr=choice({','.join(map(str, found))})"),
    lists.map(lambda found: f"lr=sort({','.join(map(str, found))},reverse=true)"),
    lists.map(lambda found: f"lr=tag(fast,choice({','.join(map(str, found))}))"),
    st.tuples(st.integers(0, 50), st.integers(1, 40), st.integers(1, 7)).map(
        lambda r: f"seed=range({r[0]},{r[0] + r[1]},{r[2]})"
    ),
    st.integers(1, 30).map(lambda n: f"seed=range({n},0,-1)"),
    st.sampled_from(["g*", "p3*", "*"]).map(lambda glob: f"cluster=glob({glob})"),
    st.sampled_from(["[g4*,p4*]", "g*,exclude=g5*"]).map(lambda glob: f"cluster=glob({glob})"),
)


@given(texts)
def test_values_are_those_of_hydras_sweeper(text: str) -> None:
    found = axis(text)
    assert [one.input_line for one in found.values] == of_hydra(text)


@given(lists.map(lambda found: [*map(str, found)]))
def test_a_shuffle_holds_the_same_values_in_the_same_order_each_time(values: list[str]) -> None:
    text = f"lr=shuffle({','.join(values)})"
    assert axis(text).texts == axis(text).texts
    assert sorted(axis(text).texts) == sorted(axis(f"lr={','.join(values)}").texts)


@given(numbers, numbers, st.booleans(), st.floats(0, 1))
def test_a_drawn_number_lies_in_its_interval_and_is_read_back(
    one: float, other: float, log: bool, share: float
) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    text = f"interval({low!r},{high!r})"
    found = axis(f"lr=tag(log,{text})" if log else f"lr={text}")
    assert found.interval is not None and found.interval.log is log
    drawn = found.interval.text(low + share * (high - low))
    assert low <= float(drawn) <= high
    assert found.at(drawn).value() == float(drawn)


def test_an_interval_of_a_whole_number_has_whole_numbers() -> None:
    found = axis("per_device_bs=interval(8,64)")
    assert found.interval and found.interval.whole and found.texts == ("8", "64")
    assert found.interval.text(9.6) == "10" and found.count == 57
    assert axis("lr=interval(1e-5,1e-4)").count is None


REFUSED = {
    "lr=range(1,1)": "is empty",
    "lr=range(2,1)": "is empty",
    "lr=range(1,2,0)": "has steps of 0",
    "seed=range(0,100000000)": f"has more than {MOST} values",
    "lr=interval(2,1)": "is empty",
    "lr=interval(1,1)": "is empty",
    "lr=interval(1,inf)": "no finite number",
    "lr=tag(log,interval(0,1))": "has no logarithm",
    "lr=tag(loog,interval(1,2))": "a tag that means nothing",
    "per_device_bs=interval(8.5,16)": "no whole numbers",
    "training.schedule=interval(0,1)": "for a setting that is a number",
    "cluster=interval(0,1)": "for a setting that is a number",
    "cluster=glob(zz*)": "matches no option",
    "lr=glob(*)": "options of a group",
    "lr=1e-5,0.00001": "has 1e-05 twice",
    "lrr=1,2": "unknown setting",
    "action=plan,submit": "cannot vary",
    "sweep.trials=1,2": "cannot vary",
    "budget.max_usd=1,2": "cannot vary",
    "sweep.params.lr=1,2": "stands in files",
    "sweep.params={lr: 1}": "stands in files",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_swept_is_refused(text: str) -> None:
    ((where, what, _),) = refusal(text)
    assert where == text and REFUSED[text] in what


def test_a_key_that_is_given_twice_is_refused_where_it_is_swept() -> None:
    assert refusal("lr=1,2", "lr=3,4") == [
        ("lr=3,4", "is given twice: also lr=1,2", "leave one out")
    ]
    assert refusal("lr=1", "lr=3,4") == [("lr=3,4", "is given twice: also lr=1", "leave one out")]
    assert not refusal("lr=1", "lr=3")  # the last one counts, as in shells


def test_what_hydra_would_sweep_is_typed_with_m() -> None:
    assert refusal("hydra.sweeper.params.lr=1,2")[0][2] == "-m lr=1,2"
    assert refusal("+sweep.params.lr=1,2")[0][2] == "-m lr=1,2"


def test_what_a_file_sweeps_knows_its_place() -> None:
    axes, problems = read_params({"lr": "1,2", "lrr": "1,2", "cluster": "glob(g*)"}, GROUPS, ())
    assert [one.place for one in axes] == ["sweep.params.lr", "sweep.params.cluster"]
    assert [(p.where, p.key) for p in problems] == [("lrr=1,2", "sweep.params.lrr")]


def test_a_pattern_chooses_a_machine_of_two_names_once() -> None:
    assert GROUPS.named_again("cluster", "p5") == "p5_48xl"
    assert values("cluster=glob(p5*)") == ["p5_48xl", "p5_4xl", "p5e_48xl", "p5en_48xl"]
    assert values("cluster=glob(p5)") == ["p5"]


def test_short_forms() -> None:
    assert in_full("retry=failed") == "sweep.retry=failed"
    assert in_full("code=new") == "sweep.code=new"
    assert in_full("code={file: a.py}") == "code={file: a.py}" and in_full("retry") == "retry"


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 30))
def test_corners_hold_every_choice_and_both_ends(few: int, many: int, most: int) -> None:
    chosen = axis(f"epochs=choice({','.join(map(str, range(1, few + 1)))})")
    other = axis(f"seed=choice({','.join(map(str, range(1, many + 1)))})")
    between = axis("lr=interval(1e-5,1e-4)")
    found = [
        tuple(one.input_line for one in job) for job in corners([chosen, other, between], most)
    ]
    assert len(found) == len(set(found)) and len(found) <= max(most, few + many)
    for one in (chosen, other, between):
        assert {v.input_line for v in one.values} <= {line for job in found for line in job}


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("lrr=1e-5,2e-5", "lr=1e-5,2e-5"),
        ("epocs=range(1,4)", "'epochs=range(1,4)'"),
        ("seed=range(3,3)", "seed=1,2,3"),
    ],
)
def test_what_is_offered_for_a_sweep_sweeps(typed: str, fix: str) -> None:
    read, (problem,) = read_overrides([typed], GROUPS, multirun=True)
    assert not read and problem.fix == fix
    pasted, problems = read_overrides(shlex.split(fix), GROUPS, multirun=True)
    assert not problems and pasted[0].is_swept
