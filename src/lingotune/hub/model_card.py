"""The model card: the hub's metadata, what the model is, how good it is, how it was made.

It follows from the job and its results alone, so that every push of a run has the same one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lingotune.catalog import load
from lingotune.config.jobfile import job_digest
from lingotune.config.problems import printable
from lingotune.config.schema import JobConfig, ModelConfig, SelectMetric, Source
from lingotune.data.rows.labels import class_stars
from lingotune.hub.allowlist import CARD, PICTURES

_TEMPLATE = "card.md.j2"
_MARKUP = re.compile(r"[^\w\s.,:;%/'()+-]|_")
"""What may mean something in Markdown, HTML or formulas."""
_CODE = re.compile(r"[a-z]{2,3}")
_DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)")
_TASK = "text-classification"
_WIDGETS = 8
_PLAIN = {
    SelectMetric.macro_f1: "macro-F1",
    SelectMetric.worst_language_macro_f1: "macro-F1 of the lowest language",
    SelectMetric.accuracy: "accuracy",
    SelectMetric.loss: "loss",
}


class Markdown(str):
    """A text that is Markdown already; any other is escaped."""


def markdown(value: object) -> str:
    """A value as one line of text that no Markdown, HTML or formula comes of."""
    if isinstance(value, Markdown):
        return value
    line = " ".join(printable(str(value)).split())
    return _MARKUP.sub(
        lambda found: f"&#{ord(found[0])};" if found[0].isascii() else found[0], line
    )


def base_model(model: ModelConfig) -> dict[str, Any] | None:
    """What is fine-tuned: `name`, without a folder's path, and whether it is `on_hub`; None where nothing
    is. Told while it is loaded, and kept with the results: later, or elsewhere, another folder may have
    its name, or none."""
    name = model.name_or_path
    if name is None:
        return None
    on_hub = bool(re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name)) and not Path(name).exists()
    return {"name": name if on_hub else Path(name).name, "on_hub": on_hub}


def hub_model(job: JobConfig, results: Mapping[str, Any]) -> str | None:
    """The hub's id of the model that was fine-tuned; None where it is none of the hub's."""
    base = _base(job, results)
    return base["name"] if base and base["on_hub"] else None


def _base(job: JobConfig, results: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """As it was told while training; results of old versions lack it."""
    return results["base_model"] if "base_model" in results else base_model(job.model)


def write_card(
    folder: Path,
    job: JobConfig,
    results: Mapping[str, Any],
    *,
    repo: str | None = None,
    licence: str | None = None,
) -> None:
    """Write the card beside the model: README.md.

    results: a run's metrics, or what is known while it trains (`step`, `total_steps`, `validation`).
    repo: where it is published; None = nowhere yet.
    """
    pictures = [name for name in PICTURES if (folder / name).is_file()]
    text = card(job, results, pictures, repo, licence)
    (folder / CARD).write_text(text, encoding="utf-8")


def card(
    job: JobConfig,
    results: Mapping[str, Any],
    pictures: list[str],
    repo: str | None,
    licence: str | None,
) -> str:
    """The card's text, metadata first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        finalize=markdown, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    body = environment.get_template(_TEMPLATE).render(
        job=job,
        results=results,
        digest=job_digest(job),
        repo=repo,
        licence=licence,
        origin=_origin(job, results),
        dataset=_dataset(job),
        pictures=pictures,
        languages=_named(_languages(results)),
        stars=dict(
            zip((label.name for label in job.data.labels), class_stars(job.data.labels) or ())
        ),
        score=_score,
        remark=partial(_remark, results),
        weakest=_weakest(results),
        plain=Markdown,
        settings=_settings(job, results),
    )
    return f"---\n{_metadata(job, results, repo, licence)}\n---\n\n{body}"


# --- metadata -----------------------------------------------------------------------------------


def _metadata(
    job: JobConfig, results: Mapping[str, Any], repo: str | None, licence: str | None
) -> str:
    """What the hub files a model under, in its own form (huggingface_hub's ModelCardData)."""
    from huggingface_hub import ModelCardData

    codes = [code for code in _languages(results) if _CODE.fullmatch(code)]
    dataset = _dataset(job)
    values: dict[str, Any] = {
        "language": codes or None,
        "license": licence,
        "library_name": "transformers",
        "pipeline_tag": _TASK,
        "tags": ["lingotune", *(["multilingual"] if len(codes) > 1 else [])],
        "base_model": hub_model(job, results),
        "datasets": [dataset] if dataset else None,
        "metrics": ["accuracy", "f1"],
        "widget": _widgets(codes) or None,
    }
    if "test" in results:
        name = (repo or job.name).rpartition("/")[2]
        values |= {"model_name": name, "eval_results": _evaluations(job, results["test"])}
    given = {key: value for key, value in values.items() if value is not None}
    return str(ModelCardData(**given).to_yaml()).strip()


def _evaluations(job: JobConfig, test: Mapping[str, Any]) -> list[Any]:
    """The hub's `model-index`: accuracy and macro-F1 of the test split, overall and of each language."""
    from huggingface_hub import EvalResult

    sections = {None: test["overall"], **dict(sorted(test["languages"].items()))}
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Text Classification",
            dataset_type=_dataset(job) or job.data.name,
            dataset_name=printable(job.data.name),
            dataset_config=printable(code) if code else None,
            dataset_split="test",
            metric_type=kind,
            metric_value=round(scores[key], 4),
            metric_name=name,
        )
        for code, scores in sections.items()
        for kind, key, name in (
            ("accuracy", "accuracy", "Accuracy"),
            ("f1", "macro_f1", "Macro-F1"),
        )
    ]


def _dataset(job: JobConfig) -> str | None:
    """The hub's id of the data; None where it is none of the hub's."""
    if job.data.source is not Source.hub:
        return None
    found = (
        _DATASET.match(given or "") for given in (job.data.train, job.data.path, job.data.test)
    )
    return next((match[1] for match in found if match), None)


def _widgets(codes: list[str]) -> list[dict[str, str]]:
    known = load("languages")["languages"]
    return [
        {"text": known[code]["text"], "example_title": known[code]["name"]}
        for code in codes
        if code in known
    ][:_WIDGETS]


# --- figures ------------------------------------------------------------------------------------


def _languages(results: Mapping[str, Any]) -> list[str]:
    rows = results["data"]["rows"]
    return sorted({code for split in rows.values() for code in split})


def _named(codes: list[str]) -> list[str]:
    known = load("languages")["languages"]
    return [known[code]["name"] if code in known else code for code in codes]


def _origin(job: JobConfig, results: Mapping[str, Any]) -> Markdown:
    base, found = _base(job, results), hub_model(job, results)
    if base is None:
        return Markdown(f"trained from scratch ({markdown(job.model.name)})")
    name = markdown(base["name"])
    if found:
        return Markdown(f"fine-tuned from [{name}](https://huggingface.co/{found})")
    return Markdown(f"fine-tuned from {name}, which is not on the hub")


def _score(scores: Mapping[str, Any], key: str) -> str:
    """`0.713 (0.690-0.735)`, a dash where there is none."""
    value, between = scores[key], scores.get("intervals", {}).get(key)
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({between[0]:.3f}-{between[1]:.3f})" if between else "")


def _remark(results: Mapping[str, Any], code: str) -> str:
    """What is to be known of a row of the scores: the lowest language, classes without rows."""
    test = results["test"]
    of = test["overall"] if code == "all" else test["languages"][code]
    lowest = len(test["languages"]) > 1 and test["worst_language"]["code"] == code
    absent = f"no {', '.join(of['absent'])}" if of["absent"] else ""
    return ", ".join(filter(None, ["lowest" if lowest else "", absent]))


def _weakest(results: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if "test" not in results:
        return None
    classes = results["test"]["overall"]["classes"]
    name = min(classes, key=lambda name: classes[name]["f1"])
    return {"name": name, "f1": classes[name]["f1"]}


def _settings(job: JobConfig, results: Mapping[str, Any]) -> dict[str, object]:
    """The training in a table's rows: what was set, and what followed from it."""
    training, found = job.training, results.get("training", {})
    rows: dict[str, object] = {
        "learning rate": f"{found.get('learning_rate', job.lr):g}",
        "schedule": f"{training.schedule.value}, {found.get('warmup_steps', '-')} steps of warm-up",
        "batch": f"{found.get('global_batch', job.per_device_bs)} examples an update",
        "updates": f"{found['steps']} ({found['epochs']:g} epochs)" if found else "-",
        "best checkpoint": f"step {found['best_step']}, by {_PLAIN[job.evaluation.select]}"
        if found
        else "-",
        "optimizer": f"AdamW, weight decay {training.weight_decay:g}",
        "precision": found.get("precision", "-"),
        "longest text": f"{job.data.max_length} tokens",
        "classes": {"none": "as they are"}.get(job.data.balance.value, job.data.balance.value),
        "label smoothing": f"{training.label_smoothing:g}",
        "rate from layer to layer": f"x {training.layer_decay:g}",
        "seed": job.seed,
        "processes": found.get("world_size", "-"),
    }
    return rows
