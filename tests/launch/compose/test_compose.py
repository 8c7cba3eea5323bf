"""Command lines: what they compose to, and every way in which they are refused."""

from __future__ import annotations

import itertools
import shlex
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hydra
import pytest
from conftest import CONF, compose, composed_anew
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.catalog.hardware import fill_in
from lingotune.config.console import format_error
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, Severity
from lingotune.config.quoting import override_text
from lingotune.config.schema import LaunchConfig, Precision, ScalingRule
from lingotune.config.settings import mapping_of, setting_types
from lingotune.launch.compose import compose as composing
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.help import Command, first_sentence, help_page, setting_texts
from lingotune.launch.compose.hydra_groups import compose_groups
from lingotune.launch.overrides.keys import ALIASES, Meant, config_groups, meant_by
from lingotune.preflight import check_job


def check(config: LaunchConfig) -> list[Problem]:
    return check_job(job_of(config))


def refusal(*overrides: str, multirun: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_all(list(overrides), CONF, check, multirun=multirun)
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
    needed = {
        "pretrained": ["model.name_or_path=somewhere"],
        "sagemaker": ["cluster.instance_type=ml.g5.xlarge"],
    }
    typed = [f"{group}={option}", *needed.get(option, [])]
    assert compose_all(typed, CONF, lambda config: [], multirun=group == "sweep")


def test_no_experiment_is_the_default() -> None:
    assert compose("experiment=null") == compose()


def test_every_other_name_points_to_a_setting_or_group() -> None:
    known = set(setting_types()) | set(config_groups(CONF))
    for pointed in ALIASES.values():
        for part in pointed.split():
            assert part.split("=")[0] in known


def test_other_names_are_not_also_names_here() -> None:
    own = {key.rsplit(".", 1)[-1] for key in setting_types()}
    assert set(ALIASES) & own == {"instance_type"}  # better chosen with its GPUs: cluster=...


@pytest.mark.parametrize(
    ("typed", "here"),
    [
        ("use_spot_instances=true", "cluster.spot"),
        ("max_run=3600", "cluster.max_run"),
        ("max_wait=7200", "cluster.max_wait"),
        ("keep_alive_period_in_seconds=600", "cluster.keep_alive"),
        ("volume_size=100", "cluster.volume_gb"),
        ("max_retry_attempts=2", "cluster.retries"),
        ("subnets=[subnet-1]", "aws.subnets"),
        ("security_group_ids=[sg-1]", "aws.security_groups"),
        ("output_kms_key=k", "aws.kms_key"),
        ("enable_network_isolation=true", "aws.network_isolation"),
        ("encrypt_inter_container_traffic=true", "aws.encrypt_traffic"),
        ("checkpoint_s3_uri=s3://b/c", "cluster.checkpoints"),
        ("image_uri=u", "cluster.image.lane=pinned cluster.image.uri"),
        ("environment={A: 1}", "cluster.environment"),
        ("environment.A=1", "cluster.environment.A"),
        ("tags={a: b}", "aws.tags"),
        ("warmup_steps=10", "training.warmup_steps"),
        ("save_steps=10", "training.save_steps"),
        ("disable_profiler=true", "cluster.profiler=false"),
        ("enable_remote_debug=true", "cluster.remote_debug"),
        ("input_mode=FastFile", "cluster.input_mode"),
        ("max_usd=5", "budget.max_usd"),
        ("role=r", "aws.role"),
        ("training.save_total_limit=1", "training.keep_checkpoints"),
    ],
)
def test_what_other_tools_call_a_setting_is_answered_with_its_name_here(
    typed: str, here: str
) -> None:
    text = refusal(typed)
    assert f": here it is {here}\n" in text or f"; did you mean {here}?\n" in text


def test_every_setting_has_a_meaning_in_the_help() -> None:
    meanings = {key: first_sentence(text) for key, text in setting_texts().items()}
    assert set(meanings) == set(setting_types())
    assert all(len(text) > 5 for text in meanings.values())
    command = Command("python launch.py", "purpose")
    page = help_page(command, CONF)
    assert "per_device_bs" in page and "Examples per process" in page
    assert "  cluster.environment " in help_page(command, CONF, topic="cluster")
    assert "  aws.tags " in help_page(command, CONF, topic="aws")


def test_a_multirun_is_the_product_of_its_sweeps_in_order() -> None:
    overrides = ["lr=1e-4,3e-4", "seed=range(1,3)", "epochs=1"]
    jobs = compose_all(overrides, CONF, lambda config: [], multirun=True)
    assert [(j.config.lr, j.config.seed) for j in jobs] == [
        (1e-4, 1),
        (1e-4, 2),
        (3e-4, 1),
        (3e-4, 2),
    ]
    assert list(map(str, jobs[0].overrides)) == ["lr=0.0001", "seed=1", "epochs=1"]


@pytest.mark.parametrize("typed", ["epochs=3", "epochs=auto", "epochs=0.5"])
def test_epochs_typed_beside_a_number_of_updates_are_told(typed: str) -> None:
    (one,) = compose_all([typed, "training.max_steps=9"], CONF, check, multirun=False)
    (told,) = [found for found in one.findings if found.check == "epochs-unused"]
    assert (told.where, told.severity, told.fix) == (
        typed, Severity.warning, "training.max_steps=null",
    )  # fmt: skip
    assert told.what == "has no effect: training.max_steps=9 decides"
    (one,) = compose_all([typed, told.fix], CONF, check, multirun=False)
    assert not [found for found in one.findings if found.check == "epochs-unused"]


# --- texts under names of the user's own --------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "environment"),
    [
        (["cluster.environment.A=b"], {"A": "b"}),
        (["cluster.environment.A=1", "cluster.environment.B=true"], {"A": "1", "B": "true"}),
        (["cluster.environment.V=1.10"], {"V": "1.10"}),
        (
            ["cluster.environment={V: 1e-5, W: True, 1: 007}"],
            {"V": "1e-5", "W": "True", "1": "007"},
        ),
        (["cluster.environment={a.b: c}"], {"a.b": "c"}),
        (["cluster.environment={A: x, B: y}", "cluster.environment.A=z"], {"A": "z", "B": "y"}),
        (["cluster.environment.A="], {"A": ""}),
        (["cluster.environment.A='1, null'"], {"A": "1, null"}),
        (["cluster.environment.LR=${lr}"], {"LR": "0.001"}),
        (["cluster.environment={}"], {}),
    ],
)
def test_named_texts_are_kept_as_typed(typed: list[str], environment: dict[str, str]) -> None:
    assert compose(*typed).cluster.environment == environment


def test_named_texts_can_be_swept_and_one_jobs_are_not_the_next_ones() -> None:
    overrides = [
        "aws.tags.version=1.10,1.20",
        "aws.tags={stage: dev}",
        "cluster.environment.A=range(2)",
    ]
    jobs = compose_all(overrides, CONF, lambda config: [], multirun=True)
    assert [(j.config.aws.tags, j.config.cluster.environment) for j in jobs] == [
        ({"version": v, "stage": "dev"}, {"A": a}) for v in ("1.10", "1.20") for a in "01"
    ]
    first = jobs[0].overrides[0]
    assert (first.key, first.value) == ("aws.tags.version", "1.10")
    assert str(first) == "aws.tags.version=1.10"


# --- composing a job on a copy of its groups is what Hydra does -------------------------------------

CHOICES = [
    f"{group}={option}"
    for group, options in config_groups(CONF).items()
    for option in options
    if group != "sweep"  # whose params make many jobs of one line
]
TYPED = {
    "lr": ["3e-5", "1", "${training.weight_decay}", "abc"],
    "name": ["x-${data.name}-${cluster.nodes}", "'a b, ${model.name}'", "007", "null", "''"],
    "epochs": ["2", "1.5", "${seed}"],
    "seed": ["7", "'7'", "1_000"],
    "data.languages": ["[de,fr]", "[]", "${aws.subnets}", "de"],
    "aws.subnets": ["[subnet-1]", "[1,true]"],
    "data.labels": ["[{name: a, values: [1, '2']},{name: b}]", "[{nam: a}]"],
    "data.labels.0.name": ["first", "${name}"],
    "data.labels.5.name": ["x"],
    "data.columns": ["{title: t, stars: null}", "{titel: t}"],
    "data.rows": ["{train: 5}", "{train: ${epochs}}"],
    "data": ["{name: mine, sample: {seed: 3}}"],
    "model.name_or_path": ["here", "null"],
    "cluster": ["{nodes: 2, image: {lane: pinned}}", "{nods: 2}"],
    "cluster.nodes": ["3", "${data.rows.train}"],
    "cluster.distribution": ["none", "smdistributed", "NONE"],
    "cluster.environment": ["{A: x, B: y}", "{}"],
    "cluster.environment.A": ["z", "${lr}"],
    "training.precision": ["bf16", "fp8"],
    "training.max_steps": ["null", "5"],
    "training": ["{schedule: cosine, select: loss}"],
    "hub.repo": ["${name}", "null", "a/b"],
    "cluster.spot": ["true", "yes", "1"],
}  # fmt: skip


@st.composite
def command_lines(draw: st.DrawFn) -> list[tuple[str, list[str]]]:
    """Group choices and settings in any order, each with the values that it is swept over."""
    chosen = draw(
        st.lists(st.sampled_from(CHOICES), max_size=3, unique_by=lambda c: c.split("=")[0])
    )
    typed = [(c.split("=")[0], [c.split("=")[1]]) for c in chosen]
    for key in draw(st.lists(st.sampled_from(list(TYPED)), max_size=4)):
        typed.append((key, [draw(st.sampled_from(TYPED[key]))]))
    typed = draw(st.permutations(typed))
    keys = [key for key, _ in typed]
    once = [(key, values) for key, values in typed if keys.count(key) == 1]
    if once:  # what is typed twice is not swept, and no value is swept twice
        swept, values = draw(st.sampled_from(once))
        more = TYPED.get(swept) or [c.split("=")[1] for c in CHOICES if c.startswith(f"{swept}=")]
        values += draw(st.lists(st.sampled_from(more), max_size=1).filter(lambda v: v != values))
    return typed


def by_hydra(overrides: list[str]) -> LaunchConfig | None:
    """The job as Hydra alone composes it; None if it refuses."""
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            job = OmegaConf.to_object(hydra.compose("config", overrides=overrides))
    except (HydraException, OmegaConfBaseException):
        return None
    assert isinstance(job, LaunchConfig)
    return replace(job, cluster=fill_in(job.cluster))


@settings(max_examples=8)
@given(command_lines())
def test_every_job_is_what_hydra_alone_composes(typed: list[tuple[str, list[str]]]) -> None:
    compose()  # registers the schema
    names = [("++" if mapping_of(key) else "") + key for key, _ in typed]
    expected = [
        by_hydra([f"{name}={value}" for name, value in zip(names, values)])
        for values in itertools.product(*(values for _, values in typed))
    ]
    overrides = [f"{key}={','.join(values)}" for key, values in typed]
    try:
        jobs = compose_all(overrides, CONF, lambda config: [], multirun=True)
    except ConfigError:
        assert None in expected
    else:
        assert [repr(job.config) for job in jobs] == [repr(job) for job in expected]


def test_a_sweep_over_values_asks_hydra_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(folders: Sequence[Path], primary: str, choices: Sequence[str]) -> object:
        asked.append([*choices])
        return compose_groups(folders, primary, choices)

    monkeypatch.setattr(composing, "compose_groups", counted)
    monkeypatch.setattr(composing, "_chosen_groups", composed_anew)
    overrides = ["lr=" + ",".join(f"{i}e-5" for i in range(1, 51)), "cluster=p3_16xl,local"]
    jobs = compose_all(overrides, CONF, lambda config: [], multirun=True)
    assert len(jobs) == 100
    assert asked == [["cluster=p3_16xl"], ["cluster=local"]]


def test_the_jobs_of_a_sweep_share_nothing() -> None:
    jobs = compose_all(["seed=1,2"], CONF, lambda config: [], multirun=True)
    jobs[0].config.data.labels[0].values.append("changed")
    assert "changed" not in jobs[1].config.data.labels[0].values


# --- what is refused ----------------------------------------------------------------------------


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
    "without a name, and with dashes": (
        ["=3", "--lr=3"],
        """\
lingotune: 2 problems
  =3
      is not a setting of the form key=value
      fix: the form KEY=VALUE; values with spaces or symbols in quotes: "data.path='my file.csv'"
  --lr=3
      unknown option
      why: lr=3 would not do: is out of range
      fix: lr=0.001
next: python launch.py --help""",
    ),
    "additions that would be refused without the + too": (
        ["+foo=1", "++lr=2", "+cluster=nope", "+hub=private", "+data.languages=[de]"],
        """\
lingotune: 5 problems
  +foo=1
      unknown setting 'foo'
  ++lr=2
      nothing can be added: every setting exists
      why: lr=2 would not do: is out of range
      fix: lr=0.001
  +cluster=nope
      cluster has no option 'nope'
      fix: cluster=p5e | p5en | p4de | c7i_2xl | c7i_4xl | ... (71 in all)
  +hub=private
      nothing can be added: every setting exists
      fix: hub=private
  +data.languages=[de]
      nothing can be added: every setting exists
      fix: 'data.languages=[de]'
next: python launch.py --help""",
    ),
    "removals": (
        ["~lr", "~foo", "~training.max_steps", "~data.labels", "~model", "~training", "~seed=3"],
        """\
lingotune: 7 problems
  ~foo
      unknown setting 'foo'
  ~lr
      settings cannot be removed
      fix: lr=0.001
  ~training.max_steps
      settings cannot be removed
      fix: training.max_steps=null
  ~data.labels
      settings cannot be removed
      why: data.labels would not do: names no class; a classifier needs two
      fix: 'data.labels=[{name: bad, values: [1, 2]}, {name: good, values: [4, 5]}]'
  ~model
      settings cannot be removed
      fix: model=tiny
  ~training
      settings cannot be removed
      fix: training=default
  ~seed=3
      settings cannot be removed
      fix: seed=42
next: python launch.py --help""",
    ),
    "unknown key": (
        ["lrr=1"],
        """\
lingotune: 1 problem
  lrr=1
      unknown setting 'lrr'; did you mean lr?
      why: lr=1 would not do: a model from scratch learns at 0.0001 to 0.005, and never above 0.1
      fix: lr=0.001
next: python launch.py --help""",
    ),
    "another tool's name": (
        ["learning_rate=1"],
        """\
lingotune: 1 problem
  learning_rate=1
      unknown setting 'learning_rate': here it is lr
      why: lr=1 would not do: a model from scratch learns at 0.0001 to 0.005, and never above 0.1
      fix: lr=0.001
next: python launch.py --help""",
    ),
    "right name, wrong place": (
        ["training.lr=1"],
        """\
lingotune: 1 problem
  training.lr=1
      unknown setting 'training.lr'; did you mean lr?
      why: lr=1 would not do: a model from scratch learns at 0.0001 to 0.005, and never above 0.1
      fix: lr=0.001
next: python launch.py --help""",
    ),
    "unknown option": (
        ["scaling=linera"],
        """\
lingotune: 1 problem
  scaling=linera
      scaling has no option 'linera'; did you mean linear?
      fix: scaling=fixed_global | linear | none | sqrt
next: python launch.py --help""",
    ),
    "wrong types and a bad range, together": (
        ["lr=abc", "per_device_bs=1.5", "training.precision=fp8", "data.languages=de", "seed=-1"],
        """\
lingotune: 5 problems
  lr=abc
      'abc' is not a number
      fix: lr=0.001
  per_device_bs=1.5
      '1.5' is not a whole number
      fix: per_device_bs=32
  training.precision=fp8
      'fp8' is not one of its 4 choices
      fix: training.precision=auto | fp32 | bf16
  data.languages=de
      'de' is not a list that fits
      fix: 'data.languages=[de]'
  seed=-1  [out-of-range]
      is out of range
      why: no run is possible with this value
      fix: seed=42; possible: a whole number from 0 to 4294967295
next: python launch.py --help""",
    ),
    "not an override": (
        ["lr", "--lr", "5", "foo", "--seed"],
        """\
lingotune: 4 problems
  --lr 5
      is one setting in several words: one word has its key, = and value
      why: lr=5 would not do: is out of range
      fix: lr=0.001
  lr
      has no value: the form is key=value
      fix: lr=3e-05
  foo
      is not a setting of the form key=value
      fix: the form KEY=VALUE; values with spaces or symbols in quotes: "data.path='my file.csv'"
  --seed
      has no value: the form is key=value
      fix: seed=42
next: python launch.py --help""",
    ),
    "hydra's own, additions, removals": (
        ["hydra.run.dir=/tmp/x", "+a=1", "~hub"],
        """\
lingotune: 3 problems
  hydra.run.dir=/tmp/x
      hydra's own settings cannot be changed here: each run has a folder of its own in runs_dir
      fix: runs_dir=/tmp/x
  +a=1
      unknown setting 'a'
  ~hub
      settings cannot be removed
      fix: hub=none
next: python launch.py --help""",
    ),
    "a sweep without -m": (
        ["lr=1e-4,1e-3"],
        """\
lingotune: 1 problem
  lr=1e-4,1e-3
      several values need a multirun
      fix: -m lr=1e-4,1e-3
next: python launch.py --help""",
    ),
    "values that may be one list, or one text": (
        ["data.languages=de,fr", "aws.tags.team=a,b", "data.path=a,b.csv"],
        """\
lingotune: 3 problems
  data.languages=de,fr
      several values need a multirun
      fix: -m 'data.languages=[de],[fr]'; or one list: 'data.languages=[de,fr]'
  aws.tags.team=a,b
      several values need a multirun
      fix: -m aws.tags.team=a,b; or one text: 'aws.tags.team="a,b"'
  data.path=a,b.csv
      several values need a multirun
      why: data.path would not do: has no effect: data=sample generates its reviews
      fix: leave it out
next: python launch.py --help""",
    ),
    "a list of rows": (
        ["data.labels=[{nam: bad}]"],
        """\
lingotune: 1 problem
  data.labels=[{nam: bad}]
      '[{nam: bad}]' is not a list of rows of {name: ..., values: ...}
      fix: 'data.labels=[{name: ..., values: ...}]'
next: python launch.py --help""",
    ),
    "a required value": (
        ["model=pretrained"],
        """\
lingotune: 1 problem
  model.name_or_path
      has no value, and there is no default
      fix: model.name_or_path=...
next: python launch.py --help""",
    ),
    "named texts": (
        [
            "cluster.environment.A.b=c",
            "aws.tags=5",
            "aws.tags={a: [1]}",
            "cluster.environment.A=null",
        ],
        """\
lingotune: 4 problems
  cluster.environment.A.b=c
      cluster.environment holds texts by name, nothing deeper
      why: cluster.environment would not do: has no effect with cluster=local
      fix: 'cluster.environment={A.b: value}' cluster=p4d_24xl
  aws.tags=5
      '5' is not a set of named texts
      fix: 'aws.tags={name: value}', or aws.tags.name=value
  aws.tags={a: [1]}
      '{a: [1]}' is not a set of named texts
      fix: 'aws.tags={name: value}', or aws.tags.name=value
  cluster.environment.A=null
      is not a text
      why: cluster.environment would not do: has no effect with cluster=local
      fix: cluster.environment.A=text cluster=p4d_24xl
next: python launch.py --help""",
    ),
    "named texts that are not there": (
        ["+aws.tags.team=b", "~aws.tags.tem", "~aws.tags.team=c", "~aws.tags={team: b}"],
        """\
lingotune: 3 problems
  ~aws.tags.tem
      aws.tags has no 'tem'; did you mean team?
      fix: ~aws.tags.team
  ~aws.tags.team=c
      has another value, and is kept
      fix: ~aws.tags.team
  ~aws.tags={team: b}
      is removed whole, without a value
      fix: ~aws.tags
next: python launch.py --help""",
    ),
    "parts of sections and rows": (
        ["cluster={nods: 2}", "data.labels.0.nam=x", "data.labels.x.name=a"],
        """\
lingotune: 3 problems
  cluster={nods: 2}
      unknown setting 'cluster.nods'; did you mean cluster.nodes?
      why: cluster.nodes=2 would not do: cluster=local is this one machine
      fix: leave it out
  data.labels.0.nam=x
      does not fit data.labels: Key 'nam' not in 'LabelConfig'
      fix: 'data.labels=[{name: ..., values: ...}]'
  data.labels.x.name=a
      does not fit data.labels: Index 'x' (str) is not an int
      fix: 'data.labels=[{name: ..., values: ...}]'
next: python launch.py --help""",
    ),
    "a reference to something else": (
        ["budget=${aws}", "data.labels.0.values=${model}", "name=\\\\${lr}"],
        """\
lingotune: 3 problems
  name
      '${lr}' would be read as a reference
      fix: name=value
  data.labels[0].values
      the setting that it refers to is not a list that fits
      fix: 'data.labels.0.values=[a,b]'
  budget
      the setting that it refers to is not a section of settings
      fix: settings of budget: max_usd, confirm_usd, usd_per_hour, prices
next: python launch.py --help""",
    ),
    "a resolver named by a reference": (
        ["data.name=oc.env", "name='${${data.name}:HOME}'"],
        """\
lingotune: 1 problem
  name
      '${${data.name}:HOME}' calls a resolver; only ${other.setting} is allowed
      fix: name=text
next: python launch.py --help""",
    ),
    "a resolver": (
        ["name=${oc.env:HOME}"],
        """\
lingotune: 1 problem
  name
      '${oc.env:HOME}' calls a resolver; only ${other.setting} is allowed
      fix: --env HOME
next: python launch.py --help""",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_to_the_letter(case: str) -> None:
    overrides, expected = REFUSALS[case]
    assert refusal(*overrides) == expected


def test_one_bad_value_of_a_sweep_is_reported_once_and_nothing_runs() -> None:
    text = refusal("lr=1e-3,-1", "seed=1,2", multirun=True)
    assert text.count("lr=-1") == 1 and text.startswith("lingotune: 1 problem\n")


def test_a_value_that_fails_in_some_jobs_is_reported_beside_the_others() -> None:
    text = refusal("lr=1e-3,abc", "cluster=local,p3_16xl", "seed=-1", multirun=True)
    assert text.startswith("lingotune: 2 problems\n")
    assert text.count("'abc' is not a number") == 1 and "  seed=-1 " in text


INSIDE = [
    *("data.labels.x", "data.labels.0", "data.labels.9.name", "data.labels.0.name.x", "data.languages.0"),
    *("data.labels.0.values.x.y", "cluster.environment.A", "cluster.environment.A.b", "aws.tags.1"),
]  # fmt: skip
KEYS = st.sampled_from(
    [*setting_types(), "nope", "lr.x", "hydra.x", "data", "model", "+lr", "~lr", *INSIDE]
)
VALUES = st.one_of(
    st.text(alphabet=string.printable, max_size=12),
    st.sampled_from(
        ["null", "nan", "inf", "1e400", "-1", "[]", "{}", "???", "${lr}", "${nope}", "''"]
    ),
    st.sampled_from(["{_target_: os.system}", "${oc.env:HOME}", "[1,[2]]", "a,b", "range(3)", "0"]),
)


@settings(max_examples=15)
@given(st.lists(st.tuples(KEYS, VALUES), max_size=3))
@example([("training.lora", "${lr}")])  # a section that is none
def test_whatever_is_typed_composes_or_is_refused_in_words(typed: list[tuple[str, str]]) -> None:
    overrides = [f"{key}={value}" for key, value in typed]
    try:
        compose_all(overrides, CONF, check, multirun=True)
    except ConfigError as error:
        assert error.problems and all(p.where and p.what for p in error.problems)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("per_device_batchsize", "per_device_bs"),
        ("perdevice_bs", "per_device_bs"),
        ("batchsize", "per_device_bs"),
        ("lrr", "lr"),
        ("learningRate", "lr"),
        ("learnig_rate", "lr"),
        ("training.epoch", "epochs"),
        ("n_epochs", "epochs"),
        ("num_epoch", "epochs"),
        ("seeds", "seed"),
        ("max_step", "training.max_steps"),
        ("warmup", "training.warmup_ratio or training.warmup_steps"),
        ("warmup_step", "training.warmup_steps"),
        ("weightdecay", "training.weight_decay"),
        ("weight_decy", "training.weight_decay"),
        ("precission", "training.precision"),
        ("fp_16", "training.precision=fp16"),
        ("schedular", "training.schedule"),
        ("label_smothing", "training.label_smoothing"),
        ("gradient_acumulation", "scaling.accumulation"),
        ("keep_checkpoint", "training.keep_checkpoints"),
        ("max_lenght", "data.max_length"),
        ("maxlen", "data.max_length"),
        ("max_seq_len", "data.max_length"),
        ("data.pth", "data.path"),
        ("data.langauges", "data.languages"),
        ("data.colums.text", "data.columns.text"),
        ("balanc", "data.balance"),
        ("batching.windw", "batching.window"),
        ("gpus", "cluster.gpus_per_node"),
        ("ngpus", "cluster.gpus_per_node"),
        ("node", "cluster.nodes"),
        ("cluster.instance", "cluster.instance_type"),
        ("spot_instances", "cluster.spot"),
        ("clusters", "cluster"),
        ("modell", "model"),
        ("model.revison", "model.revision"),
        ("aws.regoin", "aws.region"),
        ("aws.tag", "aws.tags"),
        ("tags.team", "aws.tags.team"),
        ("hub.token", "hub.token_secret"),
        ("hub_repo", "hub.repo"),
        ("hub.licence", "hub.license"),
        ("budget.usd", "budget.usd_per_hour"),
        ("budget.max", "budget.max_usd"),
        ("rehearsal.row", "rehearsal.rows"),
        ("rundir", "runs_dir"),
        ("prepare_dir", "prepared_dir"),
        ("actoin", "action"),
    ],
)
def test_a_misspelled_setting_is_answered_with_the_one_that_is_meant(
    typed: str, meant: str
) -> None:
    assert meant_by(typed, config_groups(CONF)).hint == f"; did you mean {meant}?"


@pytest.mark.parametrize(
    "typed",
    ["foo", "x", "betas", "num_workers", "hidden_size", "verbose", "cluster.x",
     "training.foo", "data.columns.foo", "experiment.foo", "evaluation.meter", "out"],
)  # fmt: skip
def test_where_nothing_is_near_nothing_is_said(typed: str) -> None:
    assert meant_by(typed, config_groups(CONF)) == Meant()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("evaluation.metric", "evaluation.select"), ("data.file", "data.path")],
)
def test_words_of_own_code_are_not_offered_for_others(typed: str, meant: str) -> None:
    found = meant_by(typed, config_groups(CONF))
    assert (found.hint, found.is_sure) == (f": here it is {meant}", True)


def test_a_refused_override_names_its_key_and_value() -> None:
    with pytest.raises(ConfigError) as caught:
        compose("foo=1", "+lr=2", "~seed", "experiment=nope", "no override")
    found = {(p.key, p.value) for p in caught.value.problems}
    assert found == {("foo", "1"), ("lr", "2"), ("seed", None), ("experiment", "nope"), ("", None)}


def test_a_number_that_is_none_is_answered_with_the_jobs_own() -> None:
    assert "fix: lr=2e-05\n" in refusal("model=xlmr_base", "lr=abc")
    text = refusal("data=amazon_reviews_multi", "data.columns.text=a", "data.languages=d e")
    assert "fix: 'data.languages=[d e]'\n" in text


def test_an_option_tells_which_group_is_meant() -> None:
    assert meant_by("modle", config_groups(CONF), "tiny") == Meant(("model",), is_sure=True)
    assert meant_by("modle", config_groups(CONF)).hint == "; did you mean model?"
    assert meant_by("clustr", config_groups(CONF), "p3_16xl").hint == "; did you mean cluster?"


def test_a_token_is_told_once() -> None:
    text = refusal("name=hf_" + "canary" * 6)
    assert text.startswith("lingotune: 1 problem\n") and "[secret-in-config]" in text


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@settings(max_examples=200)
@given(TEXTS | st.text("'\"\\ a$`!{}[],:=#~", max_size=8), st.sampled_from([None, True, 3, 2e-5]))
def test_what_is_offered_is_read_back_by_shell_and_hydra(text: str, other: object) -> None:
    assume("${" not in text)  # a reference
    for value in (text, [text, other], {"a b": text, "c:d=[e],f\\": 1}):
        (word,) = shlex.split(override_text("key", value))
        assert OverridesParser.create().parse_override(word).value() == value


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("aws.tags={a: 1, a: 2}", """'aws.tags={a: "2"}'"""),
        ("data.labels=[{name: a, name: b},{name: c}]", "'data.labels=[{name: b},{name: c}]'"),
        ("data.language_map={a: de},{b: en, b: fr}", "leave one out"),
    ],
)
def test_a_name_that_is_given_twice_is_not_ignored(typed: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_all([typed], CONF, check, multirun=True)
    (problem,) = caught.value.problems
    assert problem.what.startswith("names ") and problem.what.endswith(" twice")
    assert problem.fix == fix
