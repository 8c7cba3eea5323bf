"""Distributions as other tools write them, and what is typed here in their place."""

from __future__ import annotations

import re

from lingotune.config.quoting import for_shell

_SEARCH = "sweep.search=tpe sweep.trials=20"
_DRAWN = re.compile(
    r"(?:(?:\w+\.)*)(?P<name>log_?uniform|q?log_?uniform|q?uniform|q?randint|suggest_(?:float|int))"
    r"\((?P<low>[-+.\de]+),\s*(?P<high>[-+.\de]+)(?P<rest>[^)]*)\)"
)
"""Distributions of Optuna, Ray Tune, Hyperopt and their kin."""


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
