"""A trained model, loaded to classify texts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lingotune.config.faults import of_machine
from lingotune.config.jobfile import load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import JobConfig
from lingotune.config.typed_json import parse_json
from lingotune.config.undecodable import check_decodable
from lingotune.contract.container import JOB_FILE
from lingotune.data.prepared.foreign_code import NEVER, permission
from lingotune.data.prepared.tokenizer import has_tokenizer, open_tokenizer, refuse_code
from lingotune.data.rows.pairs import columns_of
from lingotune.data.rows.scale import Scale, scale_of
from lingotune.evaluation.onnx_model import FILE, OnnxModel
from lingotune.evaluation.own_code import builder_of
from lingotune.modeling.class_names import SEVERAL, UNNAMED
from lingotune.modeling.segments import SEGMENTS, has_segments
from lingotune.plugins.loading import OwnFunction
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.decision_file import read_decision
from lingotune.runs.folder import MODEL
from lingotune.runs.model_files import check_model_files
from lingotune.runs.remake import load_job_of, remake_command
from lingotune.system.lean_imports import lean
from lingotune.system.machine import cpu_has_bf16

if TYPE_CHECKING:
    import numpy.typing as npt

    from lingotune.evaluation.metrics import FloatArray


_BATCH = 32
"""Texts of the full length that a GPU computes at once."""
_TOKENS_OF_CORE = 256
"""Tokens that a core of a CPU computes at once; measured, see `_cached_tokens`."""


@dataclass(frozen=True)
class Trained:
    """Folder of a saved model. labels: class names by id. job: the job of its run; None if unknown.
    decision: how it chooses a class. several: a text may have several classes, or none."""

    folder: Path
    labels: tuple[str, ...]
    job: JobConfig | None
    decision: Decision = AS_TRAINED
    several: bool = False

    @property
    def is_exported(self) -> bool:
        """Whether it is an ONNX file, which has a precision of its own."""
        return (self.folder / FILE).is_file()

    @property
    def scale(self) -> Scale | None:
        """Points of the classes by name, if they are ordered; None for others."""
        found = (scale_of(self.job.data) if self.job else None) or self.decision.scale
        return found if found and found.keys() == set(self.labels) else None

    def expected(self, probabilities: FloatArray) -> list[float | None]:
        """Return the expected value of each row of (rows, classes); None for classes without an order."""
        from lingotune.evaluation.decisions import expected_values

        points = self.scale
        if points is None:
            return [None] * len(probabilities)
        means = expected_values(probabilities, [points[label] for label in self.labels])
        return [float(mean) for mean in means]

    def as_trained(self) -> Trained:
        """Return the model without what was fitted on validation: the likeliest class."""
        return replace(self, decision=AS_TRAINED)


def takes_pairs(trained: Trained) -> bool:
    """Tell whether a model classifies pairs of texts."""
    return trained.job is not None and trained.job.data.columns.text_pair is not None


def trained_model(run: str | Path, job: JobConfig | None = None) -> Trained:
    """Find the model in `RUN/model`, or in RUN itself, without loading any library.

    job: that of the model, if it is known already. Files that are not as its run has written them are told
    on stderr. ConfigError if there is no model, a file of it is missing, its classes have no names of their
    own, its decision cannot be read, or its path is not UTF-8.
    """
    check_decodable([Path(run)])
    for folder in (Path(run, MODEL), Path(run)):
        if (folder / "config.json").is_file():
            _check_tokenizer(folder)
            labels, several = _classes(folder)
            decision, job = read_decision(folder, labels), job or _job(folder)
            for warning in check_model_files(folder, labels, job):
                print(f"warning: {warning}", file=sys.stderr)
            return Trained(folder, labels, job, decision, several)
    what = "holds no trained model (no config.json in it or in its model/)"
    raise ConfigError([Problem(str(run), what, remake_command(Path(run)))])


def _check_tokenizer(folder: Path) -> None:
    """Refuse a folder without a tokenizer; transformers 5 would make an empty one, for which all texts
    are alike."""
    if not has_tokenizer(folder):
        what = "holds no tokenizer: its texts would be unknown words to the model"
        raise ConfigError([Problem(str(folder), what, remake_command(folder))])


def _classes(folder: Path) -> tuple[tuple[str, ...], bool]:
    """Read the names of a model's classes, and whether a text may have several of them."""
    path = folder / "config.json"
    try:
        config = parse_json(path.read_text(encoding="utf-8"))
        named = config.get("id2label") or {}
        labels = tuple(str(named[key]) for key in sorted(named, key=int))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        fix = remake_command(folder)
        raise ConfigError([Problem(str(path), f"cannot be read: {error}", fix)]) from error
    if len(set(labels)) < max(2, len(labels)) or any(map(UNNAMED.fullmatch, labels)):
        said = f"its classes are called {', '.join(labels)}" if labels else "it names no classes"
        fix = "the model of a run of lingotune, or id2label with the classes' names in config.json"
        raise ConfigError([Problem(str(path), f"is no classifier's that can be read: {said}", fix)])
    return labels, config.get("problem_type") == SEVERAL


def _job(folder: Path) -> JobConfig | None:
    """Load the job beside a run's model, or the one published with it.

    A published job may be of another version or from a rehearsal; a warning is enough then, as the model
    works without it.
    """
    own, published = folder.parent / JOB_FILE, folder / JOB_FILE
    if folder.name == MODEL and own.is_file():
        return load_job_of(own)[0]
    try:
        return load_job(published)[0] if published.is_file() else None
    except ConfigError as error:
        print(f"warning: {error}; texts are prepared as by default", file=sys.stderr)
        return None


def _nobody(count: int) -> None:
    """Tell nobody."""


class Classifier:
    """Saved or exported model that classifies texts, on a GPU if there is one.

    batch: texts of the full length per forward pass; of shorter ones it takes as many more as have the same
    number of tokens, padding included. None = 32 on a GPU, and as many tokens as a CPU is quickest with.
    max_length: tokens read of each text; None = as many as it was trained with. bf16: compute in bf16.
    ConfigError if the model cannot be loaded, or this machine does not compute in bf16.
    """

    def __init__(
        self,
        trained: Trained,
        batch: int | None = None,
        max_length: int | None = None,
        *,
        bf16: bool = False,
    ) -> None:
        self._trained = trained
        with lean():
            _quiet_library()
        builder, code = builder_of(trained.folder, trained.job).builder, _permission(trained)
        folder = str(trained.folder)
        if builder is None and code is NEVER:
            refuse_code(folder, trained.folder)
        try:
            with lean():
                self._tokenizer = open_tokenizer(folder, **code)
                model, loaded = _load(trained, builder, code)
        except ConfigError:
            raise
        except Exception as error:  # the libraries raise many kinds for damaged files
            if known := of_machine(error):
                raise known from error
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            what, fix = f"the model cannot be loaded: {reason}", remake_command(trained.folder)
            raise ConfigError([Problem(folder, what, fix)]) from error
        problems = [
            *_mismatches(trained, loaded),
            *_other_vocabulary(trained, self._tokenizer, model),
        ]
        if problems:
            raise ConfigError(problems)
        if bf16 and (problem := _no_bf16(trained, model)):
            raise ConfigError([problem])
        self.model = model if isinstance(model, OnnxModel) else TorchModel(model, bf16=bf16)
        self._classes = len(trained.labels)
        positions = getattr(model.config, "max_position_embeddings", None) or 512
        self.max_length = max_length or min(self._tokenizer.model_max_length, positions)
        tokens = _BATCH * self.max_length if self.model.on_gpu else _cached_tokens()
        self._tokens = tokens if batch is None else batch * self.max_length

    def classify(
        self,
        texts: Sequence[str],
        languages: Sequence[str | None] | None = None,
        on_done: Callable[[int], object] = _nobody,
    ) -> tuple[npt.NDArray[Any], FloatArray]:
        """Decide the class of each text, by the decision that was fitted with the model.

        languages: codes of the texts, None for one that is not known. on_done: as for `logits`. Returns
        class ids (texts,), or where a text may have several whether it has each, bool, (texts, classes);
        and probabilities (texts, classes).
        """
        from lingotune.evaluation.decisions import decide
        from lingotune.evaluation.metrics import probabilities_of

        codes = [code or "" for code in languages or [""] * len(texts)]
        several, by = self._trained.several, self._trained.decision
        logits = self.logits(texts, on_done)
        given = probabilities_of(logits, several=several), np.array(codes, object)
        probabilities, classes = decide(*given, by, self._trained.labels, several=several)
        return classes, probabilities

    def named(self, decided: npt.NDArray[Any]) -> list[list[str]]:
        """Name the classes of each text, as `classify` gives them; one, where there cannot be several."""
        labels = self._trained.labels
        if not self._trained.several:
            return [[labels[id]] for id in decided.tolist()]
        return [[labels[id] for id in np.flatnonzero(row)] for row in decided]

    def logits(
        self, texts: Sequence[str], on_done: Callable[[int], object] = _nobody
    ) -> FloatArray:
        """Compute the logits of texts, or pairs of texts, in their order: float64, (texts, classes).

        on_done: is told the number of texts of each batch, once it is computed.
        """
        encoded = self._encoded(texts)
        ids = encoded["input_ids"]
        # Sorted by length, the texts of a batch need little padding.
        order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
        logits = np.empty((len(order), self._classes))
        for part in self._batches(order, ids):
            given = {name: [rows[place] for place in part] for name, rows in encoded.items()}
            logits[part] = self.model(self._tokenizer.pad(given, return_tensors="np"))
            on_done(len(part))
        return logits

    def _encoded(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """Tokenize: input_ids and, of pairs where the model has segments, token_type_ids."""
        firsts, seconds = columns_of(texts)
        given = self._tokenizer(firsts, seconds, truncation=True, max_length=self.max_length)
        segments = seconds is not None and self.model.has_segments
        names = [SEGMENTS] if segments and SEGMENTS in given else []
        return {name: given[name] for name in ("input_ids", *names)}

    def _batches(self, order: list[int], ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Cut places of texts, the longest first, into batches within the budget of tokens."""
        start = 0
        while start < len(order):
            size = max(1, self._tokens // max(1, len(ids[order[start]])))
            yield order[start : start + size]
            start += size


def _quiet_library() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _cached_tokens() -> int:
    """Return the number of tokens in a batch that a CPU is quickest with: what its cores' caches hold.

    At DistilBERT's width 512 tokens on two cores are half as fast again as 4096 (EXPERIMENTS.md, "Batches
    that fit the caches").
    """
    return max(2, os.cpu_count() or 1) * _TOKENS_OF_CORE


def computes_bf16() -> bool:
    """Tell whether models are computed in bf16 on this machine without being emulated."""
    import torch

    on_gpu = torch.cuda.is_available()
    return bool(torch.cuda.is_bf16_supported()) if on_gpu else cpu_has_bf16()


def _no_bf16(trained: Trained, model: Any) -> Problem | None:
    """Tell why a model is not computed in bf16 here; None if it is."""
    fix = "without --bf16"
    if isinstance(model, OnnxModel):
        return Problem("--bf16", f"{trained.folder} was exported with a precision of its own", fix)
    if computes_bf16():
        return None
    return Problem("--bf16", "this machine does not compute in bf16, which would be emulated", fix)


class TorchModel:
    """Classifier of torch that computes what is read alone, on a GPU if there is one.

    module: the model itself. bf16: it computes as a training in bf16 does.
    """

    def __init__(self, module: Any, *, bf16: bool = False) -> None:
        import torch

        from lingotune.modeling.lean_encoder import read_first_token

        read_first_token(module)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module = module.to(self._device).eval()
        self._bf16 = bf16
        if bf16:
            _round_weights(module)
        self.has_segments = has_segments(module)

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return bool(self._device.type == "cuda")

    def use_threads(self, threads: int | None) -> None:
        """Compute with a number of threads; None = one for each core."""
        import torch

        torch.set_num_threads(threads or os.cpu_count() or 1)

    def __call__(self, inputs: Mapping[str, Any]) -> FloatArray:
        """Compute logits, (texts, classes). inputs: ids, mask and, if any, token types, int64, (texts,
        tokens)."""
        import torch

        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16),
        ):
            given = {name: torch.as_tensor(one).to(self._device) for name, one in inputs.items()}
            found: FloatArray = self.module(**given).logits.float().cpu().numpy()
        return found


def _round_weights(module: Any) -> None:
    """Round the matrices that autocast would round anew for each batch."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.Linear):
            part.to(torch.bfloat16)


def _permission(trained: Trained) -> Mapping[str, Any]:
    """Return the arguments that allow a library to run the model's own code, or forbid it."""
    return permission(trained.job.model) if trained.job else NEVER


def _load(
    trained: Trained, builder: OwnFunction | None, code: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any]]:
    """Load an exported model, a builder's or one of transformers'; also returns what did not fit."""
    if trained.is_exported:
        return OnnxModel(trained.folder), {"mismatched_keys": ()}
    if builder:
        return _rebuilt(trained, builder), {"mismatched_keys": ()}
    from transformers import AutoModelForSequenceClassification

    from lingotune.modeling.attention import attention_of

    model, loaded = AutoModelForSequenceClassification.from_pretrained(
        str(trained.folder),
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        use_safetensors=True,
        **attention_of(_architecture(trained.folder)),
        **code,
    )
    return model, loaded


def _architecture(folder: Path) -> object:
    text = (folder / "config.json").read_text(encoding="utf-8")
    return parse_json(text).get("model_type")


def _rebuilt(trained: Trained, builder: OwnFunction) -> Any:
    from lingotune.modeling.own_model import rebuild_model

    assert trained.job is not None, "the builder is that of the job"
    max_length = trained.job.data.max_length
    return rebuild_model(builder, trained.folder, trained.job.model, trained.labels, max_length)


def _mismatches(trained: Trained, loaded: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the first weight whose shape disagrees with config.json; transformers would reinitialise it."""
    for name, found, said in sorted(loaded["mismatched_keys"])[:1]:
        sizes = (" x ".join(map(str, shape)) for shape in (found, said))
        what = "does not fit the weights: {} is {} there, {} by this file".format(name, *sizes)
        what += f", which names {len(trained.labels)} classes ({', '.join(trained.labels)})"
        fix = remake_command(trained.folder)
        yield Problem(str(trained.folder / "config.json"), what, fix)


def _other_vocabulary(trained: Trained, tokenizer: Any, model: Any) -> Iterator[Problem]:
    """Yield a problem if the tokenizer is empty or another model's.

    Its size tells: embeddings are often padded, but never to twice the vocabulary.
    """
    pieces, rows = len(tokenizer), getattr(model.config, "vocab_size", None)
    if rows and not rows / 2 <= pieces <= rows:
        what = f"holds no tokenizer of this model: it has {pieces} pieces, the model {rows}"
        yield Problem(str(trained.folder), what, remake_command(trained.folder))
