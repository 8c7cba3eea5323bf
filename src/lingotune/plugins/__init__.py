"""Code of the user's own: metrics, a model builder and Trainer callbacks.

A Python file marks what it offers with the decorators below, and the settings `code.file`, `code.metrics`,
`code.builder` and `code.callbacks` name it; installed packages offer the same through entry points.
docs/extending.md has a whole example.
"""

from __future__ import annotations

from lingotune.plugins.marks import (
    LabelledPredictions,
    ModelTask,
    callback,
    metric,
    model_builder,
)

__all__ = ["LabelledPredictions", "ModelTask", "callback", "metric", "model_builder"]
