"""Exporting a run's model: written, scored beside the original, refused if it loses too much."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pyarrow import parquet

from lingotune.config.problems import DISK_FAILED, ConfigError, Problem
from lingotune.config.schema import DataConfig
from lingotune.config.typed_json import to_json
from lingotune.evaluation.classifier import Classifier, Trained, trained_model
from lingotune.evaluation.evaluate import evaluate
from lingotune.evaluation.metrics import FloatArray, Predictions, paired_loss
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.evaluation.predictions import class_ids
from lingotune.runs.folder import EXPORT
from lingotune.runs.results import Interval, Scores
from lingotune.serving.export_speed import Speed, compare_speed
from lingotune.serving.onnx_export import export_model

_TEXTS = 256
"""Texts of the test split that the speed is measured with."""


@dataclass(frozen=True)
class Change:
    """Macro-F1 before and after, and what was lost, with its 95 % interval over the rows."""

    rows: int
    before: float
    after: float
    loss: float
    interval: Interval


@dataclass(frozen=True)
class Export:
    """Outcome of an export. agreement: share of rows with the same class. bytes: of the weights."""

    quantized: bool
    overall: Change
    languages: dict[str, Change]
    agreement: float
    bytes_before: int
    bytes_after: int
    speeds: tuple[Speed, ...]


class _Listening(Classifier):
    """Loaded classifier that keeps the first texts it is asked about."""

    def __init__(self, classifier: Classifier) -> None:
        vars(self).update(vars(classifier))
        self.texts: list[str] = []

    def logits(
        self, texts: Sequence[str], on_done: Callable[[int], object] = lambda count: None
    ) -> FloatArray:
        self.texts += list(texts)[: _TEXTS - len(self.texts)]
        return super().logits(texts, on_done)


def export(
    trained: Trained,
    target: Path,
    *,
    quantize: bool,
    max_loss: float,
    data: DataConfig | None = None,
    tell: Callable[[str], None],
) -> Export:
    """Export a model into a new folder, and compare both on the test split.

    max_loss: macro-F1 that may be lost; more is refused, and nothing is left. data: what is scored
    instead of the run's own test split. tell: called with a line before what takes time. ConfigError.
    """
    unfinished = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    tell("loading the model")
    before = _Listening(Classifier(trained))
    try:
        tell("exporting to ONNX" + (", weights as 8-bit integers" if quantize else ""))
        export_model(trained, before, unfinished, quantize=quantize)
        tell("scoring both")
        after = Classifier(trained_model(unfinished, job=trained.job))
        changes, agreement = _compared(trained, before, unfinished, after, data)
        _refuse_loss(changes[""], max_loss, quantize=quantize)
        tell("measuring both")
        done = Export(
            quantized=quantize,
            overall=changes.pop(""),
            languages=changes,
            agreement=agreement,
            bytes_before=_bytes(trained.folder),
            bytes_after=_bytes(unfinished),
            speeds=tuple(compare_speed(before, after, before.texts)),
        )
        (unfinished / EXPORT).write_text(json.dumps(to_json(done), indent=2) + "\n")
        unfinished.rename(target)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(str(target), what, code=DISK_FAILED)]) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return done


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".safetensors", ".onnx"))


def _refuse_loss(overall: Change, max_loss: float, *, quantize: bool) -> None:
    if overall.loss > max_loss:
        low, high = overall.interval
        what = (
            f"the export loses {overall.loss:.4f} macro-F1 ({low:.4f} to {high:.4f}) on"
            f" {overall.rows} test rows: {overall.before:.4f} before, {overall.after:.4f} after"
        )
        more = f"export.max_loss={np.ceil(overall.loss * 1000) / 1000:g}"
        fix = f"no quantize=int8; or {more}" if quantize else more
        raise ConfigError([Problem(f"export.max_loss={max_loss:g}", what, fix)])


# --- scores -------------------------------------------------------------------------------------


def _compared(
    trained: Trained, before: Classifier, folder: Path, after: Classifier, data: DataConfig | None
) -> tuple[dict[str, Change], float]:
    """Score both; returns the changes by language, '' for all rows, and the share of equal classes."""
    with TemporaryDirectory() as work:
        found = [
            evaluate(str(run), data, output=f"{work}/{place}", classifier=classifier)
            for place, (run, classifier) in enumerate(((trained.folder, before), (folder, after)))
        ]
        first, second = (_read(one.folder / PREDICTIONS, trained.labels) for one in found)
    scores = [{"": one.results.overall, **one.results.languages} for one in found]
    changes = {
        code: _change(first, second, code, scores[0][code], scores[1][code]) for code in scores[0]
    }
    same = first.predicted == second.predicted
    return changes, float((same.all(axis=1) if first.several else same).mean())


def _read(path: Path, labels: Sequence[str]) -> Predictions:
    table = parquet.read_table(path)
    shares = [table[f"probability_{name}"].to_numpy() for name in labels]
    return Predictions(
        class_ids(table["label"].to_pylist(), labels),
        np.stack(shares, axis=1).astype(np.float64),
        np.array(table["language"].to_pylist(), object),
        np.full(len(table), np.nan),
        class_ids(table["predicted"].to_pylist(), labels),
    )


def _change(
    first: Predictions, second: Predictions, code: str, before: Scores, after: Scores
) -> Change:
    chosen = first.languages == code if code else np.ones(len(first.true), bool)
    both = first.select(chosen), second.select(chosen)
    classes = first.probabilities.shape[1]
    return Change(before.rows, before.macro_f1, after.macro_f1, *paired_loss(*both, classes))


# --- tables -------------------------------------------------------------------------------------


def export_tables(done: Export) -> str:
    """Format the scores by language, the sizes and the speeds as lines."""
    lines = [f"{'':5}{'rows':>7}{'macro-F1':>10}{'exported':>10}{'lost':>9}"]
    for code, one in {"all": done.overall, **done.languages}.items():
        low, high = one.interval
        interval = f"({low:+.4f} to {high:+.4f})"
        lines.append(
            f"{code:5}{one.rows:>7}{one.before:>10.4f}{one.after:>10.4f}{one.loss:>+9.4f}  {interval}"
        )
    lines += [
        f"same class for {done.agreement:.2%} of the rows; in brackets: 95% paired bootstrap",
        "",
        f"weights: {done.bytes_before / 1e6:.1f} MB before, {done.bytes_after / 1e6:.1f} MB exported",
        "",
        f"{'texts':>7}{'threads':>9}{'PyTorch':>18}{'ONNX':>18}{'faster':>9}",
    ]
    return "\n".join([*lines, *map(_speed_line, done.speeds)])


def _speed_line(one: Speed) -> str:
    before, after = (
        f"{seconds * 1e3:.1f} ms" if one.texts == 1 else f"{one.texts / seconds:.0f} texts/s"
        for seconds in (one.before, one.after)
    )
    ratio = f"{one.before / one.after:.1f}x"
    return f"{one.texts:>7}{one.threads:>9}{before:>18}{after:>18}{ratio:>9}"
