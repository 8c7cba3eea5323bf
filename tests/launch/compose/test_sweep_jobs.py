"""Sweeps of files and of the command line together: which jobs there are, and what is told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF, compose

from lingotune.config.console import format_error
from lingotune.config.problems import ConfigError, Problem, Severity
from lingotune.config.schema import LaunchConfig, Prune, Search
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.checks.sweep import SWEEP
from lingotune.launch.compose.compose import Composed, compose_all

HEAD = "# @package _global_\n"
SEARCH = ["sweep.search=tpe", "sweep.trials=4"]


def nothing(config: LaunchConfig) -> list[Problem]:
    return []


def jobs(
    folder: Path | None, *typed: str, multirun: bool = False, sweeps: bool = True
) -> list[Composed]:
    return compose_all(
        list(typed), CONF, nothing, multirun=multirun, sweeps=sweeps, extra_dir=folder
    )


def varied(found: list[Composed]) -> list[dict[str, str]]:
    return [dict(one.varies) for one in found]


def refusal(folder: Path | None, *typed: str, multirun: bool = False, sweeps: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        compose_all(
            list(typed), CONF, check_launch, multirun=multirun, sweeps=sweeps, extra_dir=folder
        )
    return format_error(caught.value).replace(str(folder), "DIR")


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_sweeps_without_multirun(tmp_path: Path) -> None:
    write(tmp_path, "sweep/mine.yaml", "params:\n  lr: [1e-4, 1e-3]\n  seed: range(1, 3)\n")
    found = jobs(tmp_path, "sweep=mine")
    assert varied(found) == [
        {"lr": lr, "seed": seed} for lr in ("0.0001", "0.001") for seed in ("1", "2")
    ]
    assert [(one.config.lr, one.config.seed) for one in found] == [
        (1e-4, 1), (1e-4, 2), (1e-3, 1), (1e-3, 2)
    ]  # fmt: skip
    assert found[0].typed == "sweep=mine lr=0.0001 seed=1"
    assert found[0].space is not None and found[0].space.file == "mine"


def test_the_overrides_of_one_job_make_that_job_alone(tmp_path: Path) -> None:
    write(tmp_path, "sweep/mine.yaml", HEAD + "epochs: 2\nsweep: {params: {lr: '1e-4,1e-3'}}\n")
    last = jobs(tmp_path, "sweep=mine", "sweep.max_parallel=2")[-1]
    (alone,) = jobs(tmp_path, *(one.text for one in last.overrides))
    assert alone.config.lr == last.config.lr == 1e-3 and alone.config.epochs == 2
    assert alone.space is None


def test_what_is_typed_counts_and_is_added(tmp_path: Path) -> None:
    write(tmp_path, "sweep/mine.yaml", "params: {lr: '1e-4,1e-3', seed: '1,2'}\n")
    found = varied(jobs(tmp_path, "sweep=mine", "lr=1e-5,1e-6", "epochs=1,2", multirun=True))
    assert len(found) == 8 and {one["lr"] for one in found} == {"1e-05", "1e-06"}
    assert varied(jobs(tmp_path, "sweep=mine", "lr=3e-5")) == [{"seed": "1"}, {"seed": "2"}]


def test_lists_texts_and_nested_lists_of_a_file(tmp_path: Path) -> None:
    text = """\
params:
  data.languages: [[de, fr], [de]]
  hub.repo: ["me/a, b", plain]
  training.max_steps: [null, 10]
  training.compile: [true, false]
"""
    write(tmp_path, "sweep/mine.yaml", text)
    found = jobs(tmp_path, "sweep=mine")
    assert len(found) == 16
    first, last = found[0].config, found[-1].config
    assert first.data.languages == ["de", "fr"] and last.data.languages == ["de"]
    assert first.hub.repo == "me/a, b" and last.hub.repo == "plain"
    assert (first.training.max_steps, last.training.max_steps) == (None, 10)
    assert (first.training.compile, last.training.compile) == (True, False)


def test_groups_are_swept_by_glob_over_own_ones_too(tmp_path: Path) -> None:
    write(tmp_path, "cluster/g9.yaml", "name: g9\ninstance_type: ml.g5.2xlarge\n")
    write(tmp_path, "sweep/mine.yaml", "params: {cluster: 'glob([g9,g5_?8xl,g5_12*])'}\n")
    found = [one.config.cluster.name for one in jobs(tmp_path, "sweep=mine")]
    assert found == ["g5_12xl", "g5_48xl", "g9"]


def test_what_an_experiment_says_for_hydras_sweeper_is_swept(tmp_path: Path) -> None:
    text = "hydra:\n  sweeper:\n    params:\n      training.max_steps: 1,2\n      lr: 1e-4,1e-3\n"
    write(tmp_path, "experiment/a.yaml", f"{HEAD}{text}lr: 0.5\n")
    found = jobs(tmp_path, "experiment=a")
    assert [(one.config.training.max_steps, one.config.lr) for one in found] == [
        (1, 1e-4), (1, 1e-3), (2, 1e-4), (2, 1e-3)
    ]  # fmt: skip


def test_each_option_may_bring_what_it_sweeps(tmp_path: Path) -> None:
    for name, values in (("a", "{lr: '1e-4,1e-3'}"), ("b", "{epochs: '1,2,3'}")):
        write(tmp_path, f"experiment/{name}.yaml", f"{HEAD}sweep: {{params: {values}}}\n")
    found = jobs(tmp_path, "experiment=a,b", multirun=True)
    assert [one.varies.keys() - {"experiment"} for one in found] == [{"lr"}] * 2 + [{"epochs"}] * 3
    told = refusal(tmp_path, "experiment=a,b", *SEARCH, multirun=True)
    assert "a search has one space" in told and "fix: sweep.search=grid" in told


def test_a_search_composes_the_corners_of_its_space_and_then_what_is_drawn() -> None:
    typed = ["lr=tag(log,interval(1e-4,1e-3))", "epochs=1,2", "seed=range(1,4)", *SEARCH]
    found = jobs(None, *typed, multirun=True)
    assert len(found) == 8 and found[0].config.sweep.search is Search.tpe
    assert {one.config.lr for one in found} == {1e-4, 1e-3}
    assert {one.config.seed for one in found} == {1, 3}
    assert found[0].space is not None
    drawn = found[0].space.suggested({"lr": "0.0004321", "epochs": "2", "seed": "2"})
    assert (drawn.config.lr, drawn.config.epochs, drawn.config.seed) == (0.0004321, 2, 2)
    assert drawn.typed == "lr=0.0004321 epochs=2 seed=2"


def test_what_is_wrong_in_a_corner_is_told_before_anything_starts() -> None:
    told = refusal(None, "lr=interval(1e-4,5)", "epochs=0,1", *SEARCH, multirun=True)
    assert told.startswith("lingotune: 2 problems") and "lr=5" in told and "epochs=0" in told


def test_a_suggestion_that_does_not_fit_is_refused() -> None:
    typed = ["lr=interval(1e-4,1e-3)", *SEARCH]
    composed = compose_all(typed, CONF, check_launch, multirun=True)
    assert composed[0].space is not None
    with pytest.raises(ConfigError, match="number"):
        composed[0].space.suggested({"lr": "much"})


TOLD = {
    "parms: {lr: '1,2'}": ("DIR/sweep/mine.yaml:1: sweep.parms", "did you mean sweep.params?"),
    "params:\n  lrr: 1,2": ("DIR/sweep/mine.yaml:2: lrr=1,2", "unknown setting 'lrr'"),
    "params:\n  lr: range(1,1)": ("DIR/sweep/mine.yaml:2: lr=range(1,1)", "is empty"),
    "params:\n  lr: []": ("DIR/sweep/mine.yaml:2: lr=choice()", "choice"),
    "params:\n  lr: [1e-4, abc]": ("DIR/sweep/mine.yaml:2: lr=abc", "'abc' is not a number"),
    "params:\n  lr: [1e-4, 50]": ("DIR/sweep/mine.yaml:2: lr=50", "is out of range"),
    "params:\n  lr: interval(1,2)": ("DIR/sweep/mine.yaml:2: lr=interval(1,2)", "a search draws"),
    "params:\n  lr: {a: 1}": ("DIR/sweep/mine.yaml:2: sweep.params.lr", "is not a text"),
    "serach: tpe\nparams: {lr: '1e-4,1e-3'}": (":1: sweep.serach", "did you mean sweep.search?"),
    "search: tpo": ("DIR/sweep/mine.yaml:1: sweep.search", "is not one of its 3 choices"),
    "max_parallel: 2": ("sweep=mine", "nothing is swept"),
    "search: tpe\nparams: {lr: '1e-4,1e-3'}": ("sweep.search=tpe", "needs a number"),
    "search: tpe\ntrials: 9\nparams: {lr: '1e-4,1e-3'}": ("sweep.trials=9", "make 2 config"),
    "search: tpe\ntrials: 1\nparams: {seed: '1,2'}": ("sweep.search=tpe", "only the seed varies"),
    "trials: 3\nparams: {lr: '1e-4,1e-3'}": ("sweep.trials=3", "is for a search"),
    "max_parallel: 0\nparams: {lr: '1e-4,1e-3'}": ("sweep.max_parallel=0", "out of range"),
    "name: a/b\nparams: {lr: '1e-4,1e-3'}": ("sweep.name=a/b", "is no name"),
    "params: {lr: 'range(1,100)', seed: 'range(1,100)'}": ("sweep", "9801 jobs"),
}


@pytest.mark.parametrize("text", TOLD)
def test_what_is_wrong_with_a_sweep_file_is_told(text: str, tmp_path: Path) -> None:
    write(tmp_path, "sweep/mine.yaml", text + "\n")
    told = refusal(tmp_path, "sweep=mine")
    where, what = TOLD[text]
    assert where in told and what in told, told


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    text = "max_parallel: 0\ntrials: 3\nparams:\n  lrr: 1,2\n  lr: [1e-4, abc]\n"
    write(tmp_path, "sweep/mine.yaml", text)
    told = refusal(tmp_path, "sweep=mine", "epochs=0")
    for where in ("max_parallel=0", "trials=3", ":4: lrr=1,2", ":5: lr=abc", "epochs=0"):
        assert where in told, told


@pytest.mark.parametrize("name", ["seed", "reduction", "min_evaluations"])
def test_what_only_a_search_or_pruning_reads_is_told(name: str) -> None:
    config = compose()
    setattr(config.sweep, name, 5)
    (found,) = SWEEP.run(config)
    assert (found.where, found.severity) == (f"sweep.{name}=5", Severity.warning)
    assert found.fix in ("sweep.prune=asha", "sweep.search=tpe sweep.trials=20")
    config.sweep.prune, config.sweep.search, config.sweep.trials = Prune.asha, Search.tpe, 20
    assert SWEEP.run(config) == []


@pytest.mark.parametrize("prune", ["sweep.prune=asha", "sweep.search=tpe"])
def test_scores_are_needed_to_go_by(prune: str) -> None:
    typed = ["lr=1e-4,1e-3", "training.eval_strategy=none", prune]
    told = refusal(None, *typed, "sweep.trials=2", multirun=True)
    assert f"{prune}  [sweep-without-metric]" in told


def test_settings_of_a_sweep_need_one() -> None:
    for typed in ("sweep.max_parallel=2", "retry=failed", "code=new"):
        assert "nothing is swept" in refusal(None, typed)


def test_a_command_for_one_job_takes_no_sweep() -> None:
    told = refusal(None, "sweep=lr", sweeps=False)
    assert "sweeps lr, seed: many jobs, and this takes one" in told
    assert len(jobs(None, "sweep=null", sweeps=False)) == 1
