"""Fine-tune multilingual text classifiers: one config, from a laptop CPU to SageMaker GPUs.

As a library: `import lingotune as lt`, then `lt.compose`, `lt.plan`, `lt.train`, `lt.load` and what
else `__all__` names. Each is imported when it is first used; __init__.pyi tells type checkers more.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "lingotune.api": (
        "Model", "Prediction", "Run",
        "compose", "evaluate", "load", "plan", "prepare", "publish", "train",
    ),
    "lingotune.config.problems": ("ConfigError", "Problem", "PublishError"),
    "lingotune.config.schema": ("JobConfig",),
    "lingotune.evaluation.evaluate": ("Evaluation",),
    "lingotune.launch.plan.planner": ("Plan",),
}  # fmt: skip
"""Module -> the public names that live in it. Those that stay on the laptop must not be imported here."""
__all__ = ["__version__", *(name for names in _HOMES.values() for name in names)]


def __getattr__(name: str) -> object:
    """Import a public name from its home when it is first asked for."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
