"""Words of other tools about sweeps are answered with those that are read here."""

from __future__ import annotations

import shlex

import pytest
from conftest import CONF

from lingotune.config.problems import ConfigError
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.sweep_jobs import SEARCH


def refused(*typed: str) -> str:
    with pytest.raises(ConfigError) as raised:
        compose_all(["cluster=p3_16xl", "epochs=1,2", *typed], CONF, check_launch, multirun=True)
    (problem,) = raised.value.problems
    return problem.fix


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("hydra.sweeper.n_trials=20", "sweep.search=tpe sweep.trials=2"),
        ("hydra/sweeper=optuna", "sweep.search=tpe sweep.trials=2"),
        ("hydra.launcher.n_jobs=4", "sweep.max_parallel=4"),
        ("hydra/launcher=joblib", "sweep.max_parallel=4"),
        ("hydra.sweeper.study_name=x", "sweep.name=x"),
        ("seed=randint(1,9)", "-m seed=1,2,3"),
        ("lr=interval(1e-3,1e-5)", f"'lr=interval(1e-05,0.001)' {SEARCH}"),
        ("lr=tag(log,interval(0,1e-3))", f"'lr=tag(log,interval(1e-06,0.001))' {SEARCH}"),
        (
            "per_device_bs=tag(log,interval(0,64))",
            f"'per_device_bs=tag(log,interval(1,64))' {SEARCH}",
        ),
    ],
)
def test_a_word_of_another_tool_has_its_translation(typed: str, fix: str) -> None:
    assert refused(typed) == fix


@pytest.mark.parametrize(
    "typed",
    [
        "lr=loguniform(1e-5,1e-3)", "lr=log_uniform(1e-5,1e-3)", "lr=tune.loguniform(1e-5, 1e-3)",
        "lr=suggest_float(1e-5,1e-3,log=True)", "lr=uniform(1e-5,1e-3)",
    ],
)  # fmt: skip
def test_a_distribution_of_another_tool_works_when_pasted(typed: str) -> None:
    multirun, *words = shlex.split(refused(typed))
    composed = compose_all(["cluster=p3_16xl", *words], CONF, check_launch, multirun=True)
    assert multirun == "-m" and composed[0].space is not None
    interval = composed[0].space.axes[0].interval
    assert interval and (interval.low, interval.high) == (1e-5, 1e-3)
    assert interval.log is ("log" in typed)
