"""The model card: metadata for the hub, scores, training settings, data, and limits of use.

It depends only on the job and its results, so every push of a run writes the same card.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.catalog import load
from lingotune.config.jobfile import job_digest
from lingotune.config.problems import printable
from lingotune.config.schema import (
    DistillationConfig,
    JobConfig,
    LabelsMode,
    LoraConfig,
    ModelConfig,
    Schedule,
    SelectMetric,
    Source,
    TrainingConfig,
)
from lingotune.data.rows.labels import class_stars
from lingotune.data.sources.patterns import patterns_in
from lingotune.evaluation.advice import advice_of
from lingotune.evaluation.decision_text import decision_line, decision_rows
from lingotune.evaluation.score_rows import (
    BASELINE_NOTE,
    ON_SCALE_NOTE,
    SETS_NOTE,
    ZERO_SHOT_NOTE,
    error_name,
    score_rows,
)
from lingotune.evaluation.teacher_table import teacher_line, teacher_rows
from lingotune.hub.allowlist import CARD, PICTURES
from lingotune.runs.results import (
    BaseModel,
    ClassScores,
    RunDescription,
    RunProgress,
    RunResults,
    Scores,
    SplitScores,
    TrainingFigures,
)

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TEMPLATE = "card.md.j2"
_MARKUP = re.compile(r"[^\w\s.,:;%/'()+-]|_")
"""Characters that may have a special meaning in Markdown, HTML or formulas."""
_CODE = re.compile(r"[a-z]{2,3}")
_DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)")
_TASK = "text-classification"
_WIDGETS = 8
_MOST_LISTED = 15
"""Classes up to which they are named, and have a column each."""
_PLAIN = {
    SelectMetric.macro_f1: "macro-F1",
    SelectMetric.micro_f1: "micro-F1",
    SelectMetric.worst_language_macro_f1: "macro-F1 of the lowest language",
    SelectMetric.seen_macro_f1: "macro-F1 of the languages trained on",
    SelectMetric.unseen_macro_f1: "macro-F1 of the languages not trained on",
    SelectMetric.accuracy: "accuracy",
    SelectMetric.loss: "loss",
    SelectMetric.mean_absolute_error: "mean absolute error",
    SelectMetric.quadratic_kappa: "quadratic weighted kappa",
}


class Markdown(str):
    """Text that is already Markdown; any other text is escaped."""


def markdown(value: object) -> str:
    """Format a value as one line of text, with all Markdown, HTML and formulas escaped."""
    if isinstance(value, Markdown):
        return value
    line = " ".join(printable(str(value)).split())
    return _MARKUP.sub(
        lambda found: f"&#{ord(found[0])};" if found[0].isascii() else found[0], line
    )


def base_model(model: ModelConfig) -> BaseModel | None:
    """Describe the model that is fine-tuned, without a folder's path; None for one from scratch.

    Determined when the model is loaded, and kept with the results: later, or on another machine, the same
    name may mean another folder, or none.
    """
    name = model.name_or_path
    if name is None:
        return None
    on_hub = bool(re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name)) and not Path(name).exists()
    return BaseModel(name=name if on_hub else Path(name).name, on_hub=on_hub)


def hub_model(job: JobConfig, known: RunDescription) -> str | None:
    """Return the hub id of the model that was fine-tuned; None if it is not on the hub."""
    base = _base(job, known)
    return base.name if base and base.on_hub else None


def _base(job: JobConfig, known: RunDescription) -> BaseModel | None:
    """Return the base model that training recorded; older versions recorded none."""
    return known.base_model or base_model(job.model)


def write_card(
    folder: Path,
    job: JobConfig,
    results: RunResults | RunProgress,
    *,
    repo: str | None = None,
    licence: str | None = None,
) -> None:
    """Write the card, README.md, beside the model.

    results: the run's, or its progress during training. repo: where it is published; None = nowhere yet.
    """
    pictures = [name for name in PICTURES if (folder / name).is_file()]
    text = card(job, results, pictures, repo, licence)
    (folder / CARD).write_text(text, encoding="utf-8")


def card(
    job: JobConfig,
    results: RunResults | RunProgress,
    pictures: list[str],
    repo: str | None,
    licence: str | None,
) -> str:
    """Render the card, metadata first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        finalize=markdown, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    whole = results if isinstance(results, RunResults) else None
    test = whole.test if whole else None
    zero_shot = whole.scored[1].zero_shot if whole else None
    body = environment.get_template(_TEMPLATE).render(
        job=job,
        results=results,
        test=test,
        validation=whole.validation if whole else None,
        score_rows=score_rows(test, whole.baseline if whole else None) if test else [],
        error_name=error_name(test) if test else "",
        scale_note=ON_SCALE_NOTE,
        zero_shot=zero_shot,
        unseen=_named(list(zero_shot.languages)) if zero_shot else [],
        zero_shot_note=ZERO_SHOT_NOTE,
        several=job.data.labels_mode is LabelsMode.multi,
        sets_note=SETS_NOTE,
        totals=results.data.total,
        baseline_note=BASELINE_NOTE if whole and whole.baseline else None,
        decision=_decision(whole) if whole else None,
        teacher_line=teacher_line(whole) if whole else "",
        teacher_rows=teacher_rows(whole) if whole else [],
        advice=advice_of(whole) if whole else [],
        environment=whole.environment if whole else None,
        digest=job_digest(job),
        repo=repo,
        licence=licence,
        shown_labels=results.labels if len(results.labels) <= _MOST_LISTED else (),
        origin=_origin(job, results),
        dataset=_dataset(job),
        pictures=pictures,
        languages=_named(_languages(results)),
        pairs=job.data.columns.text_pair is not None,
        stars=dict(
            zip((label.name for label in job.data.labels), class_stars(job.data.labels) or ())
        ),
        weakest=_weakest(test.overall) if test else None,
        plain=Markdown,
        settings=_settings(job, whole.training if whole else None),
    )
    return f"---\n{_metadata(job, results, repo, licence)}\n---\n\n{body}"


def _weakest(scores: Scores) -> tuple[str, ClassScores] | None:
    """Find the class with the lowest F1; None where all are equal."""
    if len({of.f1 for of in scores.classes.values()}) == 1:
        return None
    return min(scores.classes.items(), key=lambda of: of[1].f1)


def _decision(results: RunResults) -> dict[str, object] | None:
    """Describe what was fitted on validation, with the scores with and without it; None if nothing was."""
    if results.decision is None or results.as_trained is None:
        return None
    name, scores = results.scored
    return {
        "line": decision_line(results.decision),
        "shifts": results.decision.shifts,
        "rows": decision_rows(scores, results.as_trained[name]),
    }


# --- metadata -----------------------------------------------------------------------------------


def _metadata(
    job: JobConfig, results: RunResults | RunProgress, repo: str | None, licence: str | None
) -> str:
    """Format the metadata by which the hub indexes a model (huggingface_hub's ModelCardData)."""
    from huggingface_hub import ModelCardData

    codes = [code for code in _languages(results) if _CODE.fullmatch(code)]
    dataset = _dataset(job)
    values: dict[str, object] = {
        "language": codes or None,
        "license": licence,
        "library_name": "transformers",
        "pipeline_tag": _TASK,
        "tags": ["lingotune", *(["multilingual"] if len(codes) > 1 else [])],
        "base_model": hub_model(job, results),
        "datasets": [dataset] if dataset else None,
        "metrics": ["accuracy", "f1"],
        "widget": None if job.data.columns.text_pair else _widgets(codes) or None,
    }
    if isinstance(results, RunResults):
        name = (repo or job.name).rpartition("/")[2]
        if results.test:
            values |= {"model_name": name, "eval_results": _evaluations(job, results.test)}
    given: dict[str, object] = {key: value for key, value in values.items() if value is not None}
    return str(ModelCardData(**given).to_yaml()).strip()


def _evaluations(job: JobConfig, test: SplitScores) -> list[EvalResult]:
    """List accuracy and macro-F1 of the test split, overall and per language: the hub's `model-index`."""
    from huggingface_hub import EvalResult

    sections = [(None, test.overall), *sorted(test.languages.items())]
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Text Classification",
            dataset_type=_dataset(job) or job.data.name,
            dataset_name=printable(job.data.name),
            dataset_config=printable(code) if code else None,
            dataset_split="test",
            metric_type=kind,
            metric_value=round(value, 4),
            metric_name=name,
        )
        for code, scores in sections
        for kind, value, name in (
            ("accuracy", scores.accuracy, "Accuracy"),
            ("f1", scores.macro_f1, "Macro-F1"),
            ("f1", scores.micro_f1, "Micro-F1"),
        )
        if value is not None
    ]


def _dataset(job: JobConfig) -> str | None:
    """Return the hub id of the data; None if it is not on the hub."""
    if job.data.source is not Source.hub:
        return None
    data = job.data
    given = [one for of in (data.train, data.path, data.test) for one in patterns_in(of)]
    found = map(_DATASET.match, given)
    return next((match[1] for match in found if match), None)


def _widgets(codes: list[str]) -> list[dict[str, str]]:
    known = load("languages")["languages"]
    return [
        {"text": known[code]["text"], "example_title": known[code]["name"]}
        for code in codes
        if code in known
    ][:_WIDGETS]


# --- figures ------------------------------------------------------------------------------------


def _languages(known: RunDescription) -> list[str]:
    """List the languages that a model is for: those it was trained on."""
    return sorted(known.data.rows["train"])


def _named(codes: list[str]) -> list[str]:
    known = load("languages")["languages"]
    return [known[code]["name"] if code in known else code for code in codes]


def _origin(job: JobConfig, known: RunDescription) -> Markdown:
    base, found = _base(job, known), hub_model(job, known)
    if base is None:
        return Markdown(f"trained from scratch ({markdown(job.model.name)})")
    name = markdown(base.name)
    if found:
        return Markdown(f"fine-tuned from [{name}](https://huggingface.co/{found})")
    return Markdown(f"fine-tuned from {name}, which is not on the hub")


def _selection(job: JobConfig) -> str:
    return markdown(job.code.select) if job.code.select else _PLAIN[job.evaluation.select]


def _settings(job: JobConfig, found: TrainingFigures | None) -> dict[str, object]:
    """Collect the settings of the training, and once it is over, the figures that followed from them."""
    training = job.training
    return {
        "learning rate": f"{found.learning_rate if found else job.lr:g}",
        "schedule": f"{_schedule(training)}, {found.warmup_steps if found else '-'} warm-up steps",
        "batch": f"{found.global_batch if found else job.per_device_bs} examples per update",
        "updates": _updates(found) if found else "-",
        "best checkpoint": f"step {found.best_step}, by {_selection(job)}" if found else "-",
        "optimizer": f"{training.optimizer.title}, weight decay {training.weight_decay:g}",
        "precision": found.precision if found else "-",
        "maximum length": f"{job.data.max_length} tokens",
        "class balance": {"none": "as in the data"}.get(
            job.data.balance.value, job.data.balance.value
        ),
        "label smoothing": f"{training.label_smoothing:g}",
        "layer-wise learning rate": f"x {training.layer_decay:g} per layer",
        "seed": job.seed,
        "processes": found.world_size if found else "-",
        **_adapters(training.lora),
        **_teacher(job.distillation),
        **_unusual(job),
    }


def _schedule(training: TrainingConfig) -> str:
    """Name a schedule in plain words, with its shape."""
    if training.schedule is Schedule.polynomial:
        return f"polynomial of power {training.schedule_power:g}"
    if training.schedule is Schedule.cosine_with_restarts:
        return f"cosine, {training.schedule_cycles} cycles"
    return str(training.schedule.value)


def _updates(found: TrainingFigures) -> str:
    ended = f", ended by {found.ended_by}" if found.ended_by else ""
    return f"{found.steps} ({found.epochs:g} epoch{'s' * (found.epochs != 1)}{ended})"


def _unusual(job: JobConfig) -> dict[str, object]:
    """Collect what few trainings have: frozen layers, and a dropout of the head's own."""
    layers, dropout = job.training.freeze_layers, job.model.head_dropout
    embeddings = " and the embeddings" if job.training.freeze_embeddings else ""
    return {
        **({"frozen": f"the first {layers} layers{embeddings}"} if layers else {}),
        **({} if dropout is None else {"dropout of the head": f"{dropout:g}"}),
    }


def _teacher(distillation: DistillationConfig) -> dict[str, object]:
    if distillation.teacher is None:
        return {}
    alpha, heat = distillation.alpha, distillation.temperature
    return {"loss": f"labels {alpha:g}, teacher {1 - alpha:g}, at temperature {heat:g}"}


def _adapters(lora: LoraConfig) -> dict[str, object]:
    if lora.rank is None:
        return {}
    beside = ", ".join(map(markdown, lora.targets)) or "all linear layers"
    return {
        "trained": f"the head, and LoRA adapters of rank {lora.rank} beside {beside}, merged in"
    }
