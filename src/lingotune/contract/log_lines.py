r"""The log lines that carry metrics, and the definitions by which SageMaker reads them back.

SageMaker searches every line of a job's log with the regular expressions of its MetricDefinitions
and sends the first group to CloudWatch. Lines and expressions come from one table, so that neither
can change alone:

    step 10/145  loss 1.0986  lr 1.000e-03  grad 1.234
    step 29/145  validation: loss 0.98765  accuracy 0.5632  macro-F1 0.5532 (de 0.5500, en 0.5612)  ...
    test: loss 0.61234  accuracy 0.7730  macro-F1 0.7630 (de 0.7610, en 0.7712)  ...  samples/s 123.4

(the dots stand for worst-language 0.5500, the lowest macro-F1 of a language; the user's own metrics
follow by their names).

The expressions are not anchored to the start of a line, as launchers put ranks and times there.
SageMaker does not document their dialect; these use only what Python, Java and RE2 share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lingotune.config.schema import NO_LANGUAGE

MOST_DEFINITIONS = 40
"""Maximum number of metric definitions in a training job (botocore: MetricDefinitionList)."""

_CODE = re.compile("[A-Za-z0-9_-]{1,35}")
"""Language codes that get a metric: CloudWatch requires ASCII, and RFC 5646 allows 35 characters."""
_COUNT = "[0-9]+"
_NUMBER = r"-?(?:[0-9]+\.?[0-9]*(?:e[-+][0-9]+)?|inf|nan)"
"""Any number that Python's format() writes with the format specifications below."""


@dataclass(frozen=True)
class _Metric:
    """One number of a line, written as `label number`.

    name: SageMaker's name. form: Python's format specification. by_language: the languages' scores follow
    in parentheses.
    """

    name: str
    label: str
    form: str
    by_language: bool = False

    @property
    def key(self) -> str:
        """Key of the value: the name without the part before the colon."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class _Line:
    """Kind of line: its beginning, and its metrics in order, of which the first is always present."""

    head: str
    metrics: tuple[_Metric, ...]


def _scores(split: str) -> tuple[_Metric, ...]:
    return (
        _Metric(f"{split}:loss", "loss", "#.5g"),
        _Metric(f"{split}:accuracy", "accuracy", ".4f"),
        _Metric(f"{split}:macro_f1", "macro-F1", ".4f", by_language=True),
        _Metric(f"{split}:worst_language_macro_f1", "worst-language", ".4f"),
    )


_STEP = "step {step}/{total}  "
_TRAIN = _Line(
    _STEP,
    (
        _Metric("train:loss", "loss", "#.5g"),
        _Metric("train:learning_rate", "lr", ".3e"),
        _Metric("train:grad_norm", "grad", "#.4g"),
    ),
)
_VALIDATION = _Line(_STEP + "validation: ", _scores("validation"))
_TEST = _Line("test: ", (*_scores("test"), _Metric("train:samples_per_second", "samples/s", ".1f")))
UNTESTED = "test: not scored, there is no test split (data.test_share=0)"
"""Stands in place of the line of final scores where nothing is scored on test."""
_LINES = {"train": _TRAIN, "validation": _VALIDATION, "test": _TEST}


def _with_own(line: _Line, split: str, own: Sequence[str]) -> _Line:
    """Add the user's own metrics to a line of scores, behind the others."""
    added = tuple(_Metric(f"{split}:{name}", name, ".6g") for name in own)
    return replace(line, metrics=(*line.metrics, *added))


def format_train_line(step: int, total_steps: int, values: Mapping[str, float]) -> str:
    """Format what the Trainer logs: `loss`, and if given, `learning_rate` and `grad_norm`."""
    return _write(_TRAIN, values, step=step, total=total_steps)


def format_validation_line(
    step: int, total_steps: int, values: Mapping[str, float], own: Sequence[str] = ()
) -> str:
    """Format `loss`, `accuracy`, `macro_f1`, `macro_f1_<language>`, `worst_language_macro_f1` and own."""
    line = _with_own(_VALIDATION, "validation", own)
    return _write(line, values, step=step, total=total_steps)


def format_test_line(values: Mapping[str, float], own: Sequence[str] = ()) -> str:
    """Format the final scores, named as in `format_validation_line`, and `samples_per_second` if known."""
    return _write(_with_own(_TEST, "test", own), values)


@dataclass(frozen=True)
class Logged:
    """Contents of a line of the log. split: train, validation or test.

    step, total_steps: None for test. values: by the names that the line was formatted from.
    """

    split: str
    step: int | None
    total_steps: int | None
    values: Mapping[str, float] = field(default_factory=dict)


_HEADS = {
    split: re.compile(rf"\b{line.head.format(step=f'({_COUNT})', total=f'({_COUNT})')}(?=loss )")
    for split, line in _LINES.items()
}
_ITEM = re.compile(rf"(\S+) ({_NUMBER})(?: \(([^)]*)\))?(?=  |\s*$)")
_KEYS = {metric.label: metric.key for line in _LINES.values() for metric in line.metrics}


def read_line(line: str) -> Logged | None:
    """Read a line that `format_..._line` has written; None if it is another. Prefixes do not matter."""
    if "loss " not in line:  # most lines of a log
        return None
    for split, head in _HEADS.items():
        found = head.search(line)
        if found is not None:
            step, total = map(int, found.groups()) if found.groups() else (None, None)
            return Logged(split, step, total, dict(_values(line[found.end() :])))
    return None


def _values(text: str) -> Iterator[tuple[str, float]]:
    for label, number, languages in _ITEM.findall(text):
        key = _KEYS.get(label, label)
        yield key, float(number)
        for entry in filter(None, languages.split(", ")):
            code, _, score = entry.rpartition(" ")
            yield f"{key}_{code}", float(score)


def metric_definitions(languages: Sequence[str], own: Sequence[str] = ()) -> list[dict[str, str]]:
    """List SageMaker's MetricDefinitions, `{"Name": ..., "Regex": ...}`, at most 40.

    languages: codes that are known before the data is read. Each gets two definitions (validation and
    test). Languages that no longer fit, from the fifteenth on, are left out, as are codes with other
    characters than ASCII letters, digits, - and _. own: the user's metrics, before the languages; of these,
    too, those are left out that do not fit.
    """
    fit = own[: (MOST_DEFINITIONS - sum(len(line.metrics) for line in _LINES.values())) // 2]
    lines = [_with_own(line, name, () if name == "train" else fit) for name, line in _LINES.items()]
    every = [(line, metric) for line in lines for metric in line.metrics]
    definitions = [_definition(metric.name, _regex(line, metric)) for line, metric in every]
    split = [(line, metric) for line, metric in every if metric.by_language]
    room = (MOST_DEFINITIONS - len(definitions)) // len(split)
    for code in _codes(languages)[:room]:
        definitions += [
            _definition(f"{metric.name}_{code}", _regex(line, metric, code))
            for line, metric in split
        ]
    return definitions


def _definition(name: str, regex: str) -> dict[str, str]:
    return {"Name": name, "Regex": regex}


def _codes(languages: Iterable[str]) -> list[str]:
    """Select the codes that may stand in a line, each once, leaving out that of rows without a language."""
    codes = dict.fromkeys(languages)
    return [code for code in codes if _CODE.fullmatch(code) and code != NO_LANGUAGE]


def _write(line: _Line, values: Mapping[str, float], **place: int) -> str:
    items = [_item(metric, values) for metric in line.metrics if metric.key in values]
    return line.head.format(**place) + "  ".join(items)


def _item(metric: _Metric, values: Mapping[str, float]) -> str:
    text = f"{metric.label} {_number(values[metric.key], metric)}"
    if metric.by_language:
        stem = f"{metric.key}_"
        codes = _codes(key[len(stem) :] for key in values if key.startswith(stem))
        scores = [f"{code} {_number(values[stem + code], metric)}" for code in codes]
        text += f" ({', '.join(scores)})" if scores else ""
    return text


def _number(value: float, metric: _Metric) -> str:
    return format(float(value), metric.form)


def _regex(line: _Line, metric: _Metric, code: str = "") -> str:
    """Build the pattern that finds a metric's number, or a language's, in lines that `_write` formats."""
    head = line.head.format(step=_COUNT, total=_COUNT)
    before = "" if metric is line.metrics[0] else ".*  "
    found = f"({_NUMBER})"
    if code:
        found = rf"\S+ \((?:[^)]* )?{code} {found}"
    return rf"\b{head}{before}{metric.label} {found}"
