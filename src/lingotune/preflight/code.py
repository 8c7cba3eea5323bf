"""Checks of the settings of own code; what its file holds is looked at by plugins/check.py. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lingotune.config.problems import Severity, closest
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import (
    ON_SCALE,
    EvalStrategy,
    EvaluationConfig,
    JobConfig,
    LabelsMode,
    Visibility,
)
from lingotune.preflight.registry import Found, Table

OWN_CODE: Table[JobConfig] = Table()

_TAKEN = {
    "loss", "accuracy", "macro_f1", "micro_f1", "worst_language_macro_f1", "seen_macro_f1",
    "unseen_macro_f1", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time",
    "jit_compilation_time", "epoch", "step", "lr", "grad", "learning_rate", "grad_norm",
}  # fmt: skip
"""Names in logs that are given by lingotune and by the Trainer."""
_TAKEN_START = "macro_f1_"
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,\s-]+\])?\s*([<>=!~@(;].*)?", re.ASCII)
_OF_THE_IMAGE = re.compile(r"(torch|transformers)(?![\w.-])", re.IGNORECASE)


def _quoted(requirements: list[str]) -> str:
    """Write requirements as they are typed: == is a sign of Hydra's grammar, > one of the shell's."""
    names = ",".join(f"'{line}'" for line in requirements)
    return f'"code.requirements=[{names}]"'


@OWN_CODE.check("own-code-names", "a name in the config is the name of a definition in the code")
def _names(job: JobConfig) -> Iterator[Found]:
    code = job.code
    builder = [] if code.builder is None else [code.builder]
    for where, names, example in (
        (listing("code.metrics", code.metrics), code.metrics, "code.metrics=[my_metric]"),
        (
            listing("code.callbacks", code.callbacks),
            code.callbacks,
            "code.callbacks=[my_callback]",
        ),
        (f"code.builder={code.builder}", builder, "code.builder=my_builder"),
    ):
        for name in names:
            if not (name.isidentifier() and name.isascii()):
                yield where, f"{name!r} cannot be the name of a function or class", example


@OWN_CODE.check("own-code-twice", "each is computed, or called, once")
def _twice(job: JobConfig) -> Iterator[Found]:
    for setting in ("metrics", "callbacks"):
        names = getattr(job.code, setting)
        once = list(dict.fromkeys(names))
        if len(once) < len(names):
            yield (
                listing(f"code.{setting}", names),
                "names one twice",
                listing(f"code.{setting}", once),
            )


@OWN_CODE.check("own-metric-taken", "logs and metrics.json have one value of each name")
def _taken(job: JobConfig) -> Iterator[Found]:
    metrics = job.code.metrics
    ordinal = job.data.labels_mode is LabelsMode.ordinal
    taken = _TAKEN | {metric.value for metric in ON_SCALE if ordinal}
    for name in dict.fromkeys(metrics):
        if name in taken or name.startswith(_TAKEN_START):
            others = [f"my_{other}" if other == name else other for other in metrics]
            what = f"{name} is a name that logs have already"
            yield (
                listing("code.metrics", metrics),
                what,
                override_text("code.metrics", others),
            )


@OWN_CODE.check("own-code-unused", "nothing of a file is used that is not named")
def _unused(job: JobConfig) -> Iterator[Found]:
    code = job.code
    if code.metrics or code.callbacks or code.builder:
        return
    for name in ("file", "sha256"):
        value = getattr(code, name)
        if value is not None and (name == "file" or code.file is None):
            what = "has no effect: none of code.metrics, code.builder and code.callbacks is given"
            yield f"code.{name}={value}", what, "code.metrics=[...]"
    if code.requirements:
        what = "has no effect without own code"
        yield listing("code.requirements", code.requirements), what, "code.requirements=[]"


@OWN_CODE.check("own-select-unknown", "a checkpoint is chosen by a metric that is computed")
def _select_unknown(job: JobConfig) -> Iterator[Found]:
    code = job.code
    if code.select is not None and code.select not in code.metrics:
        what = f"is none of {listing('code.metrics', code.metrics)}"
        near = closest(code.select, code.metrics)
        added = listing("code.metrics", [*code.metrics, code.select])
        yield f"code.select={code.select}", what, f"code.select={near}" if near else added


@OWN_CODE.check("own-select-unused", "the best checkpoint is chosen among those that were scored")
def _select_unused(job: JobConfig) -> Iterator[Found]:
    where = f"code.select={job.code.select}"
    if job.code.select is None:
        return
    if job.training.eval_strategy is EvalStrategy.none:
        what = "has no effect with training.eval_strategy=none: the last weights are kept"
        yield where, what, "training.eval_strategy=epoch"
    select = job.evaluation.select
    if select is not EvaluationConfig().select:
        what = f"evaluation.select={select.value} says another metric"
        yield (
            where,
            what,
            f"evaluation.select={EvaluationConfig().select.value}, or code.select=null",
        )


@OWN_CODE.check("own-requirements", "the image brings torch and transformers to fit its GPUs")
def _requirements(job: JobConfig) -> Iterator[Found]:
    listed = job.code.requirements
    for line in listed:
        rest = [other for other in listed if other != line]
        if _OF_THE_IMAGE.match(line.strip()):
            what = f"{line} would replace what the image brings"
            yield (
                listing("code.requirements", listed),
                what,
                _quoted(rest),
            )
        elif not _REQUIREMENT.fullmatch(line):
            what = f"{line!r} is no requirement of a package"
            example = _quoted(["scikit-learn==1.5.0"])
            yield listing("code.requirements", listed), what, example


@OWN_CODE.check(
    "own-code-not-published",
    "a file of your own may hold what is not for everybody",
    Severity.warning,
)
def _not_published(job: JobConfig) -> Iterator[Found]:
    if job.code.builder and job.hub.visibility is not Visibility.none:
        what = "the model is published without the code that builds it, and loads only beside that"
        yield (
            f"code.builder={job.code.builder}",
            what,
            "publish the file yourself, or code.builder=null",
        )
