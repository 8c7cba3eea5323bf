"""The page of a run: report.html, self-contained, every text of the user's escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lingotune.config.jobfile import job_digest, load_job
from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.schema import JobConfig, Precision
from lingotune.contract.container import JOB_FILE
from lingotune.data.prepared.manifest import load_manifest
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.estimate.run_time import TimeEstimate, estimate_time
from lingotune.estimate.throughput import FILE as THROUGHPUT
from lingotune.estimate.throughput import Throughput, read_records
from lingotune.evaluation.metrics import Predictions, confusion_matrix
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.report import data_page as data_page
from lingotune.report.data_page import cut, rendered, visible
from lingotune.report.run_examples import Example, chosen, examples_at, read_predictions, texts_at
from lingotune.runs.folder import METRICS, read_data_folder, read_history

PAGE = "report.html"
"""In a run's folder."""
_TEMPLATE = "run.html.j2"
_SPLITS = ("test", "validation")
Table = list[list[str]]


def write_run_report(run: Path, data: Path | None = None) -> Path:
    """Write `RUN/report.html`; its path.

    data: the folder of prepared data that was trained on, for the texts of examples; default: where it
    was then. Without it their ids are shown. ConfigError if the run has not come to its end, or what it
    left cannot be read, or is of other runs.
    """
    job, results = _run(run)
    page = run / PAGE
    try:
        text = run_page(run, job, results, _data_folder(run, results["data"]["sha256"], data))
    except KeyError as error:
        raise ConfigError([Problem(str(run / METRICS), f"lacks {error}", _again(run))]) from error
    unfinished = page.with_suffix(".tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(page)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(str(page), what)]) from error
    return page


def _run(run: Path) -> tuple[JobConfig, dict[str, Any]]:
    if not (run / JOB_FILE).is_file():
        what = f"is no run folder: there is no {JOB_FILE} in it"
        raise ConfigError([Problem(str(run), what, "a folder that train.py has written: ls runs")])
    job, digest = load_job(run / JOB_FILE)
    try:
        results = json.loads((run / METRICS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = f"the run has not come to its end: there is no {METRICS}"
        raise ConfigError([Problem(str(run), what, _again(run))]) from None
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(str(run / METRICS), f"cannot be read: {error}")]) from error
    parts = ("data", "environment", "training", "measured", *_SPLITS)
    whole = isinstance(results, dict) and all(isinstance(results.get(key), dict) for key in parts)
    if not whole or results.get("job_sha256") != digest:
        what = f"was written by another version of lingotune, or by another job than {JOB_FILE}'s"
        raise ConfigError([Problem(str(run / METRICS), what, _again(run))])
    return job, results


def _again(run: Path) -> str:
    return f"python train.py --job {run / JOB_FILE} --run-dir {run}"


def _data_folder(run: Path, digest: str, given: Path | None) -> Path | None:
    """The data that the run was trained on; None where it is no longer. ConfigError if other is given."""
    if given is None:
        with suppress(ConfigError):
            noted = read_data_folder(run)
            return noted if noted and load_manifest(noted)["digest"] == digest else None
        return None
    found = load_manifest(given)["digest"]
    if found != digest:
        what = f"is other data ({found[:12]}) than the run was trained on ({digest[:12]})"
        raise ConfigError([Problem(f"--data {given}", what, f"--data FOLDER-{digest[:12]}")])
    return given


def run_page(run: Path, job: JobConfig, results: Mapping[str, Any], data: Path | None) -> str:
    """The page as HTML; it asks for nothing beside itself, and runs no script."""
    labels: list[str] = results["labels"]
    history = read_history(run)
    found = _predictions(run, labels, results["test"]["overall"])
    shown = {
        "name": printable(job.name),
        "digest": job_digest(job),
        "run": printable(str(run)),
        "summary": _summary(results),
        "plan": _plan_table(run, job, results),
        "pictures": _pictures(history, results, found),
        "splits": [_scores(name, results[name], labels) for name in _SPLITS],
        "labels": [printable(label) for label in labels],
        "data": _data_table(results["data"]["rows"], labels),
        "data_sha256": results["data"]["sha256"],
        "environment": _environment(results["environment"]),
        "settings": visible((run / JOB_FILE).read_text(encoding="utf-8")),
        **_examples(found, labels, data),
    }
    return rendered(_TEMPLATE, shown, Path(__file__).parent, Path(data_page.__file__).parent)


# --- head and plan ------------------------------------------------------------------------------


def _summary(results: Mapping[str, Any]) -> str:
    test = results["test"]["overall"]
    steps, seconds = results["training"]["steps"], results["seconds"]
    return (
        f"Macro-F1 {_with_interval(test, 'macro_f1')} and accuracy {_with_interval(test, 'accuracy')} on"
        f" {test['rows']:,} test rows; always naming the commonest class would reach"
        f" {test['majority']:.3f}. {steps:,} updates in {_duration(seconds)}."
    )


def _plan_table(run: Path, job: JobConfig, results: Mapping[str, Any]) -> Table:
    rows = {
        split: sum(sum(classes.values()) for classes in languages.values())
        for split, languages in results["data"]["rows"].items()
    }
    batch = plan_batches(job)
    steps = plan_steps(job, batch, rows["train"])
    training, measured = results["training"], results["measured"]
    expected = _expected(run, job, results, batch, rows)
    rest = results["seconds"] - measured["train_seconds"] - measured["eval_seconds"]
    then: dict[str, float] = vars(expected) if expected else {}
    times = {
        "training": (then.get("train_seconds"), measured["train_seconds"]),
        "evaluating": (then.get("eval_seconds"), measured["eval_seconds"]),
        "start-up, reading, saving": (then.get("other_seconds"), rest),
        "all": (then.get("seconds"), results["seconds"]),
    }
    speed = results["training"]["samples_per_second"]
    return [
        ["", "planned", "actual"],
        *_planned(job, batch, steps, training),
        ["training samples a second", _number(then.get("samples_per_second")), _number(speed)],
        *([name, _duration(before), _duration(now)] for name, (before, now) in times.items()),
        ["tokens of a text", "", f"{measured['tokens_mean']:g} (95 % within {measured['tokens_p95']:g})"],
        ["share of padding", "", _share(measured["padding"])],
        ["tokens a second", "", _tokens_a_second(measured)],
        ["use of the GPUs' peak", "", _share(measured.get("utilisation"))],
        *_phases(measured.get("phases", {})),
        ["parameters", "", f"{measured['parameters']:,}"],
        ["trained parameters", "", f"{measured.get('trained_parameters', measured['parameters']):,}"],
    ]  # fmt: skip


_PHASES = {
    "data": "data",
    "forward_backward": "forward and backward pass",
    "communication": "of that waiting for gradients",
    "optimizer": "optimizer",
    "evaluation": "evaluation",
    "saving": "saving",
}


def _phases(phases: Mapping[str, float]) -> Table:
    """What the first process did, and how long."""
    told = [(name, phases[key]) for key, name in _PHASES.items() if key in phases]
    return [[f"first process: {name}", "", f"{seconds:.1f} s"] for name, seconds in told]


def _tokens_a_second(measured: Mapping[str, Any]) -> str:
    real, padded = (measured.get(f"{kind}tokens_per_second") for kind in ("", "padded_"))
    return "" if real is None or padded is None else f"{real:,.0f} (with padding {padded:,.0f})"


def _planned(
    job: JobConfig, batch: BatchPlan, steps: StepPlan, training: Mapping[str, Any]
) -> Table:
    epochs = steps.total_steps / steps.steps_per_epoch
    return [
        ["updates", f"{steps.total_steps:,}", f"{training['steps']:,}"],
        ["epochs", f"{epochs:.3g}", f"{training['epochs']:.3g}"],
        ["examples an update", f"{batch.global_batch:,}", f"{training['global_batch']:,}"],
        ["processes", str(batch.world_size), str(training["world_size"])],
        ["learning rate", f"{batch.learning_rate:g}", f"{training['learning_rate']:g}"],
        ["steps of warm-up", str(steps.warmup_steps), str(training["warmup_steps"])],
        ["precision", job.training.precision.value, training["precision"]],
        ["best checkpoint", f"by {job.evaluation.select.value}", f"step {training['best_step']:,}"],
    ]


def _expected(
    run: Path,
    job: JobConfig,
    results: Mapping[str, Any],
    batch: BatchPlan,
    rows: Mapping[str, int],
) -> TimeEstimate | None:
    """What earlier runs of the same set-up have let expect."""
    records, _ = read_records(run.resolve().parent / THROUGHPUT)
    earlier = records[: _own(records, results)]
    machine = None if job.cluster.instance_type else results["measured"].get("machine")
    precision = Precision(results["training"]["precision"])
    return estimate_time(job, batch, rows, precision, earlier, machine)


def _own(records: Sequence[Throughput], results: Mapping[str, Any]) -> int:
    """Place of the run's own record; behind the last one where it is not written yet."""
    seconds = results["measured"]["train_seconds"]
    for place, record in enumerate(records):
        if record.job_sha256 == results["job_sha256"] and record.train_seconds == seconds:
            return place
    return len(records)


# --- scores -------------------------------------------------------------------------------------


def _scores(name: str, evaluation: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    sections = [("all", evaluation["overall"]), *sorted(evaluation["languages"].items())]
    worst = evaluation["worst_language"]
    lowest = worst["code"] if worst and len(sections) > 2 else None
    header = [
        "language",
        "rows",
        "accuracy",
        "macro-F1",
        "majority",
        "calibration error",
        "stars off",
        "remarks",
    ]
    table = [header]
    for code, of in sections:
        absent = f"no {', '.join(map(printable, of['absent']))}" if of["absent"] else ""
        remark = ", ".join(filter(None, ["lowest" if code == lowest else "", absent]))
        table.append([
            printable(code), f"{of['rows']:,}", _with_interval(of, "accuracy"),
            _with_interval(of, "macro_f1"), f"{of['majority']:.3f}", f"{of['calibration_error']:.3f}",
            _with_interval(of, "mean_absolute_error"), remark,
        ])  # fmt: skip
    overall = evaluation["overall"]["classes"]
    classes = [["class", "precision", "recall", "F1", "rows"]]
    classes += [
        [printable(label), *(f"{of[key]:.3f}" for key in ("precision", "recall", "f1")), f"{of['rows']:,}"]
        for label, of in overall.items()
    ]  # fmt: skip
    return {
        "name": name,
        "loss": f"{evaluation['loss']:.4f}",
        "languages": table,
        "classes": classes,
        "confusions": [_confusion(printable(code), of, labels) for code, of in sections],
    }


def _confusion(code: str, of: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    rows = []
    for label, counts in zip(labels, of["confusion"]):
        total = max(sum(counts), 1)
        rows.append((printable(label), [(f"{n:,}", round(n / total, 3)) for n in counts]))
    return {"name": code, "accuracy": f"{of['accuracy']:.3f}", "rows": rows}


def _predictions(
    run: Path, labels: Sequence[str], test: Mapping[str, Any]
) -> tuple[Predictions, list[str]] | None:
    path = run / PREDICTIONS
    if not path.is_file():
        return None
    predictions, ids, said = read_predictions(path, labels)
    if confusion_matrix(predictions.true, said, len(labels)).tolist() != test["confusion"]:
        right = (said == predictions.true).mean() if ids else 0
        what = (
            f"is of another run: {len(ids)} rows with an accuracy of {right:.3f}, where {METRICS}"
        )
        what += f" has {test['rows']} with {test['accuracy']:.3f}"
        raise ConfigError([Problem(str(path), what, "the file as the run has written it, or none")])
    return predictions, ids


def _pictures(
    history: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    found: tuple[Predictions, list[str]] | None,
) -> dict[str, list[str]]:
    """None where matplotlib is not installed, as in some training images."""
    try:
        from lingotune.report import run_charts as figures

        return {
            "course": figures.course(history, results["training"]["best_step"]),
            "reliability": [figures.reliability(found[0])] if found else [],
        }
    except ImportError:
        return {"course": [], "reliability": []}


def _examples(
    found: tuple[Predictions, list[str]] | None, labels: Sequence[str], data: Path | None
) -> dict[str, Any]:
    if found is None:
        return {"worst": [], "uncertain": [], "has_texts": True}
    predictions, ids = found
    worst, uncertain = chosen(predictions)
    texts: dict[int, str] = {}
    if data is not None:
        languages = predictions.languages.tolist()
        texts = texts_at(data, sorted({*worst, *uncertain}), ids, languages)
    return {
        "worst": [_example(e) for e in examples_at(worst, predictions, ids, labels, texts)],
        "uncertain": [_example(e) for e in examples_at(uncertain, predictions, ids, labels, texts)],
        "has_texts": data is not None,
    }


def _example(example: Example) -> dict[str, str]:
    return {
        "id": printable(example.id),
        "language": printable(example.language),
        "true": printable(example.true),
        "predicted": printable(example.predicted),
        "probability": f"{example.probability:.0%}",
        "true_probability": f"{example.true_probability:.0%}",
        "text": "" if example.text is None else visible(cut(example.text)),
    }


# --- data, environment, numbers -----------------------------------------------------------------


def _data_table(rows: Mapping[str, Any], labels: Sequence[str]) -> Table:
    table = [["split", "language", *map(printable, labels), "all"]]
    for split, languages in rows.items():
        for code, classes in languages.items():
            counts = [classes.get(label, 0) for label in labels]
            table.append([split, printable(code), *(f"{n:,}" for n in counts), f"{sum(counts):,}"])
    return table


def _environment(environment: Mapping[str, Any]) -> dict[str, str]:
    libraries = ", ".join(f"{name} {version}" for name, version in environment["libraries"].items())
    return {
        "device": environment["device"],
        "system": f"{environment['system']}, Python {environment['python']}",
        **({"CUDA": environment["cuda"]} if environment["cuda"] else {}),
        "libraries": libraries,
    }


def _with_interval(scores: Mapping[str, Any], key: str) -> str:
    value, between = scores[key], scores.get("intervals", {}).get(key)
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({between[0]:.3f}-{between[1]:.3f})" if between else "")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _duration(seconds: float | None) -> str:
    """`3 h 04 min`, `2 min 05 s`, `7.1 s`."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
