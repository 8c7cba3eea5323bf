"""Words of other tools about sweeps, and what is typed here in their place."""

from __future__ import annotations

import re

from lingotune.config.quoting import for_shell

_SEARCH = "sweep.search=tpe sweep.trials=20"
_CHOSEN = {
    "hydra/sweeper": _SEARCH,
    "hydra/sweeper/sampler": _SEARCH,
    "hydra/launcher": "sweep.max_parallel=2",
    "hydra.mode": "-m lr=1e-5,3e-5",
}
"""Groups and settings of Hydra whose value means nothing here."""
_CALLED = {
    "hydra.sweeper.n_trials": "sweep.trials",
    "hydra.sweeper.n_jobs": "sweep.max_parallel",
    "hydra.launcher.n_jobs": "sweep.max_parallel",
    "hydra.launcher.array_parallelism": "sweep.max_parallel",
    "hydra.sweeper.sampler.seed": "sweep.seed",
    "hydra.sweeper.study_name": "sweep.name",
}
"""Settings of Hydra and its plugins -> what they are called here."""
_DRAWN = re.compile(
    r"(?:(?:\w+\.)*)(?P<name>log_?uniform|q?log_?uniform|q?uniform|q?randint|suggest_(?:float|int))"
    r"\((?P<low>[-+.\de]+),\s*(?P<high>[-+.\de]+)(?P<rest>[^)]*)\)"
)
"""Distributions of Optuna, Ray Tune, Hyperopt and their kin."""


def in_place_of_hydra(key: str, value: str) -> str:
    """Tell what to type in place of a setting of Hydra's about sweeps; '' for others."""
    if key in _CALLED:
        return for_shell(f"{_CALLED[key]}={value}")
    return _CHOSEN.get(key, "")


def drawn(key: str, value: str) -> str:
    """Write a distribution of another tool as one that can be read; '' for other texts."""
    found = _DRAWN.fullmatch(value.strip())
    if found is None:
        return ""
    if key == "seed":  # which holds repetitions
        return "-m seed=1,2,3"
    interval = f"interval({found['low']},{found['high']})"
    if "log" in found["name"] or "log=True" in found["rest"]:
        interval = f"tag(log,{interval})"
    return f"-m {for_shell(f'{key}={interval}')} {_SEARCH}"
