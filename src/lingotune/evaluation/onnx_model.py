"""A classifier exported to ONNX, run by onnxruntime alone: neither torch nor the model's classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from lingotune.config.problems import ConfigError, Problem
from lingotune.modeling.segments import SEGMENTS

if TYPE_CHECKING:
    from lingotune.evaluation.metrics import FloatArray

FILE = "model.onnx"
NEEDED = "pip install 'lingotune[export]'"


class OnnxModel:
    """Exported classifier. config: what its config.json says. ConfigError if it cannot be loaded."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.config = SimpleNamespace(**values)
        self.use_threads(None)

    def use_threads(self, threads: int | None) -> None:
        """Run with a number of threads; None = one for each core."""
        try:
            import onnxruntime
        except ImportError as error:
            what = "is run by onnxruntime, which is not installed here"
            raise ConfigError([Problem(str(self._path), what, NEEDED)]) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        providers = onnxruntime.get_available_providers()
        wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in providers]
        self._session = onnxruntime.InferenceSession(str(self._path), options, providers=wanted)

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return "CUDAExecutionProvider" in self._session.get_providers()

    @property
    def has_segments(self) -> bool:
        """Whether it takes token types: that of pairs of texts, if the model had some."""
        return any(one.name == SEGMENTS for one in self._session.get_inputs())

    def __call__(self, inputs: Mapping[str, Any]) -> FloatArray:
        """Compute logits, (texts, classes). inputs: ids, mask and, if any, token types, int64, (texts,
        tokens)."""
        names = [one.name for one in self._session.get_inputs()]
        given = {name: np.asarray(inputs[name], np.int64) for name in names}
        found: FloatArray = self._session.run(None, given)[0]
        return found
