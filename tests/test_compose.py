"""Command lines: what they compose to, and every way in which they are refused."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from conftest import CONF, compose
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.command import help_page, setting_meanings
from lingotune.compose import OTHER_NAMES, compose_all, config_groups, setting_types
from lingotune.messages import format_error
from lingotune.plan import check_launch
from lingotune.schema import ConfigError, Precision, ScalingRule


def refusal(*overrides: str, multirun: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_all(list(overrides), CONF, check_launch, multirun=multirun)
    return format_error(caught.value)


def test_the_article_composes_to_its_own_settings() -> None:
    job = compose("experiment=blog")
    assert (job.lr, job.per_device_bs, job.epochs) == (3e-5, 16, 3)
    assert job.model.name_or_path == "distilbert-base-multilingual-cased"
    assert job.cluster.instance_type == "ml.p3.16xlarge"
    assert job.scaling.rule is ScalingRule.linear
    assert job.training.precision is Precision.fp16


def test_the_command_line_wins_over_groups_and_experiment() -> None:
    job = compose("experiment=blog", "lr=1e-4", "cluster=p4d_24xl", "cluster.nodes=2")
    assert (job.lr, job.cluster.name, job.cluster.nodes) == (1e-4, "p4d_24xl", 2)


@pytest.mark.parametrize(
    ("group", "option"), [(g, o) for g, options in config_groups(CONF).items() for o in options]
)
def test_every_shipped_option_composes(group: str, option: str) -> None:
    needed = ["model.name_or_path=somewhere"] if option == "pretrained" else []
    compose(f"{group}={option}", *needed)


def test_every_other_name_points_to_a_setting_or_group() -> None:
    known = set(setting_types()) | set(config_groups(CONF))
    for pointed in OTHER_NAMES.values():
        for part in pointed.split():
            assert part.split("=")[0] in known


def test_every_setting_has_a_meaning_in_the_help() -> None:
    meanings = setting_meanings()
    assert set(meanings) == set(setting_types())
    assert all(len(text) > 5 for text in meanings.values())
    page = help_page("launch.py", "purpose", CONF)
    assert "per_device_bs" in page and "Examples of one process" in page


def test_a_multirun_is_the_product_of_its_sweeps_in_order() -> None:
    overrides = ["lr=1e-4,3e-4", "seed=range(1,3)", "epochs=1"]
    jobs = compose_all(overrides, CONF, lambda config: [], multirun=True)
    assert [(j.config.lr, j.config.seed) for j in jobs] == [
        (1e-4, 1),
        (1e-4, 2),
        (3e-4, 1),
        (3e-4, 2),
    ]
    assert jobs[0].overrides == ("lr=0.0001", "seed=1", "epochs=1")


def test_group_files_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.write_text("# @package _global_\nlr: 0.005\n")
    jobs = compose_all(
        ["experiment=mine"], CONF, lambda config: [], multirun=False, extra_dir=tmp_path
    )
    assert jobs[0].config.lr == 0.005


def test_a_typed_group_file_is_checked_against_the_schema(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "bad.yaml").write_text("# @package _global_\nlearnrate: 1\n")
    with pytest.raises(ConfigError, match="learnrate"):
        compose_all(["experiment=bad"], CONF, lambda config: [], multirun=False, extra_dir=tmp_path)


REFUSALS = {
    "unknown key": (
        ["lrr=1"],
        """\
lingotune: 1 problem
  lrr=1
      unknown setting 'lrr'; did you mean lr?
next: the same command with --help lists groups and settings""",
    ),
    "another tool's name": (
        ["learning_rate=1"],
        """\
lingotune: 1 problem
  learning_rate=1
      unknown setting 'learning_rate': here it is lr
next: the same command with --help lists groups and settings""",
    ),
    "right name, wrong place": (
        ["training.lr=1"],
        """\
lingotune: 1 problem
  training.lr=1
      unknown setting 'training.lr'; did you mean lr?
next: the same command with --help lists groups and settings""",
    ),
    "unknown option": (
        ["scaling=linera"],
        """\
lingotune: 1 problem
  scaling=linera
      scaling has no option 'linera'; did you mean linear?
      works: scaling=fixed_global | linear | none | sqrt
next: the same command with --help lists groups and settings""",
    ),
    "wrong types and a bad range, together": (
        ["lr=abc", "epochs=1.5", "training.precision=fp8", "data.languages=de", "seed=-1"],
        """\
lingotune: 5 problems
  lr=abc
      'abc' is not a number
      works: lr=0.1
  epochs=1.5
      '1.5' is not a whole number
      works: epochs=3
  training.precision=fp8
      'fp8' is not one of its 4 choices
      works: training.precision=auto | fp32 | fp16 | bf16
  data.languages=de
      'de' is not a list that fits
      works: 'data.languages=[de]'
  seed=-1
      is out of range
      works: a whole number from 0 to 4294967295
next: the same command with --help lists groups and settings""",
    ),
    "not an override": (
        ["lr", "--lr", "5"],
        """\
lingotune: 3 problems
  lr
      is not a setting of the form key=value
      works: key=value; quote values with spaces or symbols, e.g. "data.path='my file.csv'"
  --lr
      unknown option
      works: --help, --cfg job, --config-dir DIR, -m; or key=value
  5
      is not a setting of the form key=value
      works: key=value; quote values with spaces or symbols, e.g. "data.path='my file.csv'"
next: the same command with --help lists groups and settings""",
    ),
    "hydra's own, additions, removals": (
        ["hydra.run.dir=/tmp/x", "+a=1", "~hub"],
        """\
lingotune: 3 problems
  hydra.run.dir=/tmp/x
      hydra's own settings cannot be changed here
      works: run without it
  +a=1
      nothing can be added: every setting exists
      works: a=1
  ~hub
      settings cannot be removed
      works: hub=null, if it may be empty
next: the same command with --help lists groups and settings""",
    ),
    "a sweep without -m": (
        ["lr=1e-4,1e-3"],
        """\
lingotune: 1 problem
  lr=1e-4,1e-3
      several values need a multirun
      works: -m lr=1e-4,1e-3; or a list: 'lr=[...]'
next: the same command with --help lists groups and settings""",
    ),
    "a list of rows": (
        ["data.labels=[{nam: bad}]"],
        """\
lingotune: 1 problem
  data.labels=[{nam: bad}]
      '[{nam: bad}]' is not a list of rows of {name: ..., values: ...}
      works: 'data.labels=[{name: ..., values: ...}]'
next: the same command with --help lists groups and settings""",
    ),
    "a required value": (
        ["model=pretrained"],
        """\
lingotune: 1 problem
  model.name_or_path
      has no value, and there is no default
      works: model.name_or_path=...
next: the same command with --help lists groups and settings""",
    ),
    "a resolver": (
        ["name=${oc.env:HOME}"],
        """\
lingotune: 1 problem
  name
      '${oc.env:HOME}' calls a resolver; only ${other.setting} is allowed
      works: name=value
next: the same command with --help lists groups and settings""",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_to_the_letter(case: str) -> None:
    overrides, expected = REFUSALS[case]
    assert refusal(*overrides) == expected


def test_one_bad_value_of_a_sweep_is_reported_once_and_nothing_runs() -> None:
    text = refusal("lr=1e-4,-1", "seed=1,2", multirun=True)
    assert text.count("lr=-1") == 1 and text.startswith("lingotune: 1 problem\n")


KEYS = st.sampled_from([*setting_types(), "nope", "lr.x", "hydra.x", "data", "model", "+lr", "~lr"])
VALUES = st.one_of(
    st.text(alphabet=string.printable, max_size=12),
    st.sampled_from(
        ["null", "nan", "inf", "1e400", "-1", "[]", "{}", "???", "${lr}", "${nope}", "''"]
    ),
    st.sampled_from(["{_target_: os.system}", "${oc.env:HOME}", "[1,[2]]", "a,b", "range(3)", "0"]),
)


@settings(max_examples=15)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=3))
def test_whatever_is_typed_composes_or_is_refused_in_words(typed: list[tuple[str, str]]) -> None:
    overrides = [f"{key}={value}" for key, value in typed]
    try:
        compose_all(overrides, CONF, check_launch, multirun=True)
    except ConfigError as error:
        assert error.problems and all(p.where and p.what for p in error.problems)
