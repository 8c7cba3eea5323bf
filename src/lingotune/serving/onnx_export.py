"""Export to ONNX: one file that onnxruntime runs alone, for any number of texts of any length."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingotune.config.faults import of_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.contract.container import JOB_FILE
from lingotune.evaluation.classifier import Classifier, TorchModel, Trained, takes_pairs
from lingotune.evaluation.onnx_model import FILE, NEEDED
from lingotune.runs.folder import METRICS
from lingotune.runs.model_files import is_part
from lingotune.serving.code_folder import write_code

if TYPE_CHECKING:
    import torch

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""Inputs of the graph; the last is that of pairs of texts, if the model has token types."""
_MOST_BYTES = 2**31 - 2**24
"""Size of an ONNX file, which is one protobuf message; the graph itself takes a few megabytes."""


def export_model(trained: Trained, classifier: Classifier, target: Path, *, quantize: bool) -> None:
    """Write a model, its tokenizer and all that serves it into a new folder.

    quantize: weights as 8-bit integers, activations as they come. ConfigError if the model cannot be
    exported, or a library is missing.
    """
    module = _module_of(trained, classifier)
    target.mkdir(parents=True)
    path = target / FILE
    with _quiet():
        _write(module, classifier, path, pairs=takes_pairs(trained))
        if quantize:
            _quantize(path)
    for file in trained.folder.iterdir():
        copied = is_part(file) and ".safetensors" not in file.name
        if copied or file.name in (METRICS, JOB_FILE):
            shutil.copy(file, target / file.name)
    write_code(target, trained.job, [trained.folder.parent, trained.folder])


def _module_of(trained: Trained, classifier: Classifier) -> Any:
    model = classifier.model
    if not isinstance(model, TorchModel):
        what = "is an export already"
        raise ConfigError([Problem(str(trained.folder), what, "the run that it was made of")])
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if not _is_here(name)]
    if missing:
        what = f"needs {', '.join(missing)}, which this Python has not"
        raise ConfigError([Problem("format=onnx", what, NEEDED)])
    size = sum(value.numel() * value.element_size() for value in model.module.parameters())
    if size > _MOST_BYTES:
        what = f"the weights take {size / 1e9:.1f} GB; a file of ONNX holds 2 GB"
        raise ConfigError([Problem("format=onnx", what, "a smaller model, or the model as it is")])
    return model.module


def _is_here(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _write(module: Any, classifier: Classifier, path: Path, *, pairs: bool) -> None:
    import torch

    module = module.cpu()
    # Sizes of 1 would be taken for constants, and a mask without padding for none at all.
    ids = torch.ones((2, 8), dtype=torch.int64)
    mask = torch.tensor([[1] * 8, [1] * 5 + [0] * 3])
    types = mask.clone()  # the same tensor twice would become one input
    names = _INPUTS if pairs and classifier.model.has_segments else _INPUTS[:2]
    texts = torch.export.Dim("texts", min=1, max=1 << 20)
    tokens = torch.export.Dim("tokens", min=2, max=classifier.max_length)
    shape = {0: texts, 1: tokens}
    try:
        program = torch.onnx.export(
            _logits_of(module),
            (ids, mask, types)[: len(names)],
            input_names=[*names],
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(names, shape),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path), external_data=False)
    except Exception as error:  # torch's exporter raises many kinds
        if known := of_machine(error):
            raise known from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        what = f"torch {torch.__version__} cannot export {type(module).__name__}: {reason}"
        raise ConfigError([Problem("format=onnx", what, "a model of BERT's kind")]) from error


def _logits_of(module: Any) -> torch.nn.Module:
    """Wrap a classifier: from ids, mask and, if given, token types to logits, and nothing else."""
    from torch import nn

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.module(input_ids=input_ids, attention_mask=attention_mask, **types).logits

    return Logits().eval()


def _quantize(path: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    # The exporter's shapes of values contradict those that the quantiser gives to the weights it splits.
    del model.graph.value_info[:]
    whole = path.with_name("float.onnx")
    onnx.save(model, whole)
    # onnxruntime's kernel knows no scale per column of several matrices in one weight, as those by head.
    stacked = {one.name for one in model.graph.initializer if len(one.dims) > 2}
    left = [node.name for node in model.graph.node if stacked.intersection(node.input)]
    quantize_dynamic(
        whole, path, weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=left
    )
    whole.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter tells its developers from the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
