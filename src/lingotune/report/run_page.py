"""The page of a run: report.html, self-contained, with all text from outside escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.schema import Baseline, JobConfig, Precision, selected_by
from lingotune.contract.container import JOB_FILE
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.rows.pairs import displayed
from lingotune.data.sources.languages import wanted_languages
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.estimate.row_exchange import asked_for
from lingotune.estimate.run_time import TimeEstimate, duration, estimate_time
from lingotune.estimate.throughput import FILE as THROUGHPUT
from lingotune.estimate.throughput import Throughput, read_records
from lingotune.evaluation.advice import advice_of
from lingotune.evaluation.decision_text import decision_line, decision_rows
from lingotune.evaluation.metrics import Predictions, confusion_matrix
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.evaluation.score_rows import (
    BASELINE_NOTE,
    INTERVALS_NOTE,
    ON_SCALE_NOTE,
    SETS_NOTE,
    ZERO_SHOT_NOTE,
    error_name,
    own_rows,
    score_rows,
)
from lingotune.evaluation.teacher_table import teacher_line, teacher_rows
from lingotune.report.data_page import cut, rendered, visible
from lingotune.report.data_statistics import Table
from lingotune.report.likely_label_errors import (
    CSV,
    LikelyErrors,
    likely_errors,
    write_label_errors,
)
from lingotune.report.run_breakdown import MOST_COUNTED, breakdown, matrix, without_empty
from lingotune.report.run_examples import (
    SHOWN,
    Example,
    chosen,
    examples_at,
    read_predictions,
    texts_at,
    without,
)
from lingotune.runs.folder import (
    METRICS,
    folders_in,
    read_data_folder,
    read_history,
    read_results,
    train_again_command,
    write_whole,
)
from lingotune.runs.remake import load_job_of, remake_command, restore_command
from lingotune.runs.results import (
    BaselineScores,
    DataSummary,
    Environment,
    Measured,
    RunResults,
    Scores,
    SplitScores,
    TrainingFigures,
)

PAGE = "report.html"
"""Name of the page in a run folder."""
_TEMPLATE = "run.html.j2"


def write_run_report(run: Path, data: Path | None = None) -> Path:
    """Write `RUN/report.html`, and `RUN/label_errors.csv` if there are any; return the page's path.

    data: folder of the prepared data that it was trained on, for the texts of examples; None = where it
    was during training. Without the data, examples show ids only. ConfigError if the run has not finished,
    or its files are damaged or belong to other runs.
    """
    job, results = _run(run)
    folder = _data_folder(run, results.data.sha256, data)
    suspects = likely_errors(
        run,
        results.labels,
        results.decision,
        folder,
        training_rows=job.baseline is not Baseline.none,
    )
    text = run_page(run, job, results, folder, suspects)
    write_label_errors(suspects, run)
    return write_whole(run / PAGE, text)


def _run(run: Path) -> tuple[JobConfig, RunResults]:
    if not (run / JOB_FILE).is_file():
        what = f"is no run folder: there is no {JOB_FILE} in it"
        raise ConfigError([Problem(str(run), what, restore_command(run))])
    job, digest = load_job_of(run / JOB_FILE)
    results = read_results(run)
    if results.job_sha256 != digest:
        what = f"was written by another job than {JOB_FILE}'s"
        raise ConfigError([Problem(str(run / METRICS), what, remake_command(run))])
    return job, results


def _data_folder(run: Path, digest: str, given: Path | None) -> Path | None:
    """Find the data of the run; None if it is gone. ConfigError if `given` is other data."""
    if given is None:
        with suppress(ConfigError):
            noted = read_data_folder(run)
            return noted if noted and load_manifest(noted).digest == digest else None
        return None
    found = load_manifest(given).digest
    if found != digest:
        what = f"is other data ({found[:12]}) than the run was trained on ({digest[:12]})"
        raise ConfigError([Problem(f"--data {given}", what, f"--data FOLDER-{digest[:12]}")])
    return given


def run_page(
    run: Path, job: JobConfig, results: RunResults, data: Path | None, suspects: LikelyErrors
) -> str:
    """Render the page as HTML, self-contained and without scripts. suspects: likely label errors."""
    labels = results.labels
    history = read_history(run)
    again = train_again_command(folders_in(run))
    found = _predictions(run, labels, results.test.overall) if results.test else None
    shown = {
        "name": printable(job.name),
        "digest": job_digest(job),
        "again": printable(again),
        "summary": _summary(results),
        "advice": [{"what": one.what, "command": one.command(again)} for one in advice_of(results)],
        "warnings": [
            *(printable(warning) for warning in results.data.warnings),
            *(printable(f"not exact: {one}") for one in results.not_exact or ()),
        ],
        "decision": _decision(results),
        "teacher": {"line": teacher_line(results), "table": teacher_rows(results)},
        "plan": _plan_table(run, job, results),
        "pictures": _pictures(history, results.training.best_step, found),
        "splits": [
            _scores(name, of, labels, _baseline(name, results))
            for name, of in (("test", results.test), ("validation", results.validation))
            if of
        ],
        "labels": [printable(label) for label in labels],
        "failures": breakdown(job, results.scored[1], found, labels, data),
        "suspects": _suspects(suspects),
        "data": _data_table(results.data, labels),
        "notes": {
            "intervals": INTERVALS_NOTE,
            "baseline": BASELINE_NOTE,
            "sets": SETS_NOTE,
            "stars": results.scored[1].overall.mean_absolute_error is not None,
            "scale": ON_SCALE_NOTE if results.scored[1].overall.on_scale else "",
            "zero_shot": ZERO_SHOT_NOTE if results.scored[1].zero_shot else "",
        },
        "several": results.scored[1].overall.several,
        "baseline": results.baseline.name if results.baseline else "",
        "data_sha256": results.data.sha256,
        "environment": _environment(results.environment),
        "settings": visible((run / JOB_FILE).read_text(encoding="utf-8")),
        **_examples(found, labels, data),
    }
    return rendered(_TEMPLATE, shown, Path(__file__).parent)


# --- head and plan ------------------------------------------------------------------------------


def _summary(results: RunResults) -> str:
    name, scores = results.scored
    overall, seconds = score_rows(scores)[0], results.seconds
    on_scale = (
        f", MAE {overall.stars_off}, kappa {overall.kappa}" if scores.overall.on_scale else ""
    )
    kind = "set of classes" if scores.overall.several else "class"
    untested = "" if results.test else "There is no test split, so nothing is scored on test. "
    return (
        f"{untested}Macro-F1 {overall.macro_f1} and accuracy {overall.accuracy}{on_scale}"
        f" on {overall.rows:,} {name} rows;"
        f" always predicting the most frequent {kind} would reach {overall.majority}."
        f" {results.training.steps:,} updates in {duration(seconds, exact=True)}."
    )


def _decision(results: RunResults) -> dict[str, object]:
    """Describe what was fitted on validation, and the scores with and without it; empty if nothing was."""
    if results.decision is None or results.as_trained is None:
        return {}
    name, scores = results.scored
    table = decision_rows(scores, results.as_trained[name])
    return {"line": decision_line(results.decision), "table": table}


def _plan_table(run: Path, job: JobConfig, results: RunResults) -> Table:
    rows = results.data.rows_by_split()
    batch = plan_batches(job)
    steps = plan_steps(job, batch, rows["train"])
    training, measured = results.training, results.measured
    expected = _expected(run, job, results, batch, rows)
    return [
        ["", "planned", "actual"],
        *_planned(job, batch, steps, training),
        [
            "training samples per second",
            _number(expected.samples_per_second if expected else None),
            _number(training.samples_per_second),
        ],
        *_times(expected, results),
        ["tokens per text", "", f"{measured.tokens_mean:g} (95% within {measured.tokens_p95:g})"],
        ["padding", "", _share(measured.padding)],
        ["tokens per second", "", _tokens_per_second(measured)],
        ["GPU utilisation", "", _share(measured.utilisation)],
        *_phases(measured.phases),
        ["parameters", "", f"{measured.parameters:,}"],
        ["trained parameters", "", f"{measured.trained_parameters or measured.parameters:,}"],
    ]


def _times(expected: TimeEstimate | None, results: RunResults) -> Table:
    measured = results.measured
    rest = results.seconds - measured.train_seconds - measured.eval_seconds
    parts = {
        "training": ("train_seconds", measured.train_seconds),
        "evaluation": ("eval_seconds", measured.eval_seconds),
        "start-up, reading, saving": ("other_seconds", rest),
        "total": ("seconds", results.seconds),
    }
    return [
        [
            name,
            duration(getattr(expected, field), exact=True) if expected else "unknown",
            duration(seconds, exact=True),
        ]
        for name, (field, seconds) in parts.items()
    ]


_PHASES = {
    "data": "data",
    "forward_backward": "forward and backward pass",
    "communication": "of that, waiting for gradients",
    "optimizer": "optimizer",
    "evaluation": "evaluation",
    "saving": "saving",
}


def _phases(phases: Mapping[str, float]) -> Table:
    """Tabulate the seconds of the first process by phase."""
    known = [(name, phases[key]) for key, name in _PHASES.items() if key in phases]
    return [[f"first process: {name}", "", f"{seconds:.1f} s"] for name, seconds in known]


def _tokens_per_second(measured: Measured) -> str:
    real, padded = measured.tokens_per_second, measured.padded_tokens_per_second
    return "" if real is None or padded is None else f"{real:,.0f} (with padding {padded:,.0f})"


def _planned(job: JobConfig, batch: BatchPlan, steps: StepPlan, training: TrainingFigures) -> Table:
    epochs = steps.total_steps / steps.steps_per_epoch
    return [
        ["updates", _planned_updates(job, steps), _actual_updates(training)],
        ["epochs", f"{epochs:.3g}", f"{training.epochs:.3g}"],
        ["examples per update", f"{batch.global_batch:,}", f"{training.global_batch:,}"],
        *_parts(batch, training),
        *_exchange(job, training),
        ["processes", str(batch.world_size), str(training.world_size)],
        ["learning rate", f"{batch.learning_rate:g}", f"{training.learning_rate:g}"],
        ["warm-up steps", str(steps.warmup_steps), str(training.warmup_steps)],
        ["precision", job.training.precision.value, training.precision],
        ["best checkpoint", f"by {selected_by(job)}", f"step {training.best_step:,}"],
    ]


def _planned_updates(job: JobConfig, steps: StepPlan) -> str:
    training = job.training
    at_most = "" if training.patience is None and training.max_hours is None else "at most "
    return f"{at_most}{steps.total_steps:,}"


def _actual_updates(training: TrainingFigures) -> str:
    ended = f" (ended by {training.ended_by})" if training.ended_by else ""
    return f"{training.steps:,}{ended}"


def _parts(batch: BatchPlan, training: TrainingFigures) -> Table:
    """Tell a micro-batch that is smaller than planned, as more did not fit into memory."""
    found = training.fitted
    if found is None:
        return []
    planned = f"{batch.per_device_batch} x {batch.accumulation}"
    actual = f"{found.size} x {found.accumulation} (training.fit_memory)"
    return [["examples at a time x passes", planned, actual]]


def _exchange(job: JobConfig, training: TrainingFigures) -> Table:
    """Tell which rows of the word embeddings' gradient several processes exchanged."""
    found = training.exchange
    if found is None:
        return []
    asked = asked_for(job.training)
    planned = {None: "decided at the start", True: "touched rows", False: "all rows"}[asked]
    touched = f"about {found.touched} touched of {found.rows} rows"
    actual = touched if found.touched_only else f"all {found.rows} rows"
    return [["exchange of the embeddings' gradient", planned, f"{actual} ({found.because})"]]


def _expected(
    run: Path, job: JobConfig, results: RunResults, batch: BatchPlan, rows: Mapping[str, int]
) -> TimeEstimate | None:
    """Estimate the time from runs of the same set-up that were recorded before this one."""
    records, _ = read_records(run.resolve().parent / THROUGHPUT)
    earlier = records[: _own(records, results)]
    machine = None if job.cluster.instance_type else results.measured.machine
    precision = Precision(results.training.precision)
    languages = wanted_languages(job.data)
    return estimate_time(job, batch, rows, precision, earlier, machine, languages)


def _own(records: Sequence[Throughput], results: RunResults) -> int:
    """Find the index of the run's own record; the number of records if it is not written yet."""
    seconds = results.measured.train_seconds
    for place, record in enumerate(records):
        if record.job_sha256 == results.job_sha256 and record.train_seconds == seconds:
            return place
    return len(records)


# --- scores -------------------------------------------------------------------------------------


def _baseline(name: str, results: RunResults) -> BaselineScores | None:
    return results.baseline if name == results.scored[0] else None


def _scores(
    name: str, scores: SplitScores, labels: Sequence[str], baseline: BaselineScores | None
) -> dict[str, object]:
    several = scores.overall.several
    table = [[
        "language", "rows", "accuracy", *(["micro-F1"] if several else []), "macro-F1", "majority",
        "calibration error", error_name(scores), *(["kappa"] if scores.overall.on_scale else []),
        "remarks",
    ]]  # fmt: skip
    table += [
        [
            row.name, f"{row.rows:,}", row.accuracy, *([row.micro_f1] if several else []),
            row.macro_f1, row.majority, row.calibration_error, row.stars_off,
            *([row.kappa] if scores.overall.on_scale else []), row.remark,
        ]
        for row in score_rows(scores, baseline)
    ]  # fmt: skip
    classes = [["class", "precision", "recall", "F1", "rows", *(["predicted"] if several else [])]]
    classes += [
        [
            printable(label), f"{of.precision:.3f}", f"{of.recall:.3f}", f"{of.f1:.3f}",
            f"{of.rows:,}", *([f"{of.predicted:,}"] if several else []),
        ]
        for label, of in scores.overall.classes.items()
    ]  # fmt: skip
    counted = len(labels) <= MOST_COUNTED
    sections = [*scores.sections()] if counted and not several else []
    return {
        "name": name,
        "loss": f"{scores.loss:.4f}",
        "languages": without_empty(table),
        "own": _own_metrics(scores),
        "classes": classes,
        "f1": _f1_by_language(scores, labels) if several else [],
        "confusions": [_confusion(printable(code), of, labels) for code, of in sections],
        "matrix": None if counted or several else matrix(scores.overall, labels),
    }


def _f1_by_language(scores: SplitScores, labels: Sequence[str]) -> Table:
    """Tabulate the F1 of each class: on all rows, and of each language."""
    sections = dict(scores.sections())
    rows = [
        [printable(label), *(f"{of.classes[label].f1:.3f}" for of in sections.values())]
        for label in labels
    ]
    return [["F1 of class", *map(printable, sections)], *rows]


def _own_metrics(scores: SplitScores) -> Table:
    """Tabulate the user's metrics, a row for each language; empty without any."""
    found = own_rows(scores)
    if not found:
        return []
    codes = [printable(code) for code, _ in scores.sections()]
    return [["language", *found], *([code, *(of[code] for of in found.values())] for code in codes)]


def _confusion(code: str, of: Scores, labels: Sequence[str]) -> dict[str, object]:
    rows = []
    for label, counts in zip(labels, of.confusion):
        total = max(sum(counts), 1)
        rows.append((printable(label), [(f"{n:,}", round(n / total, 3)) for n in counts]))
    return {"name": code, "accuracy": f"{of.accuracy:.3f}", "rows": rows}


def _predictions(
    run: Path, labels: Sequence[str], test: Scores
) -> tuple[Predictions, list[str]] | None:
    path = run / PREDICTIONS
    if not path.is_file():
        return None
    predictions, ids = read_predictions(path, labels)
    right = predictions.predicted == predictions.true
    if not _is_of(predictions, labels, test):
        right = (right.all(axis=1) if predictions.several else right).mean() if ids else 0
        what = (
            f"is of another run: {len(ids)} rows with an accuracy of {right:.3f}, where {METRICS}"
            f" has {test.rows} with {test.accuracy:.3f}"
        )
        raise ConfigError([Problem(str(path), what, without(path))])
    return predictions, ids


def _is_of(predictions: Predictions, labels: Sequence[str], test: Scores) -> bool:
    """Tell whether predictions are those that were scored, by the counts of their classes."""
    true, predicted = predictions.true, predictions.predicted
    if predictions.several:
        counts = zip((true & predicted).sum(axis=0), predicted.sum(axis=0), true.sum(axis=0))
        scored = ((round(c.recall * c.rows), c.predicted, c.rows) for c in test.classes.values())
        return [*scored] == [tuple(map(int, of)) for of in counts]
    confusion = confusion_matrix(true, predicted, len(labels)).tolist()
    return tuple(map(tuple, confusion)) == test.confusion


def _pictures(
    history: Sequence[Mapping[str, float]],
    best_step: int,
    found: tuple[Predictions, list[str]] | None,
) -> dict[str, list[str]]:
    """Draw the charts; none if matplotlib is not installed, as in some training images."""
    try:
        from lingotune.report import run_charts as charts

        return {
            "course": charts.course(history, best_step),
            "reliability": [charts.reliability(found[0])] if found else [],
        }
    except ImportError:
        return {"course": [], "reliability": []}


def _examples(
    found: tuple[Predictions, list[str]] | None, labels: Sequence[str], data: Path | None
) -> dict[str, object]:
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


def _suspects(found: LikelyErrors) -> dict[str, object]:
    """Show the rows whose label is most likely wrong, as examples."""
    shown = found.rows[:SHOWN]
    return {
        "note": printable(found.note),
        "count": len(found.rows),
        "rows": [_example(of, split) for split, of in shown],
        "has_texts": any(of.text is not None for _, of in shown),
        "file": CSV,
    }


def _example(example: Example, split: str = "") -> dict[str, str]:
    return {
        "split": split,
        "id": printable(example.id),
        "language": printable(example.language),
        "true": printable(example.true),
        "predicted": printable(example.predicted),
        "probability": f"{example.probability:.0%}",
        "true_probability": f"{example.true_probability:.0%}",
        "about": printable(example.about),
        "text": "" if example.text is None else visible(cut(displayed(example.text))),
    }


# --- data, environment, numbers -----------------------------------------------------------------


def _data_table(data: DataSummary, labels: Sequence[str]) -> Table:
    if len(labels) > MOST_COUNTED:
        return _data_by_class(data, labels)
    table = [["split", "language", *map(printable, labels), "all"]]
    for split, languages in data.rows.items():
        for code, classes in languages.items():
            counts = [classes.get(label, 0) for label in labels]
            total = f"{data.total(split, code):,}"
            table.append([split, printable(code), *(f"{n:,}" for n in counts), total])
    return table


def _data_by_class(data: DataSummary, labels: Sequence[str]) -> Table:
    """Tabulate many classes downwards: the rows of each split, in all languages."""
    found = [
        [
            printable(label),
            *(f"{sum(of.get(label, 0) for of in by.values()):,}" for by in data.rows.values()),
        ]
        for label in labels
    ]
    return [["class", *data.rows], *found]


def _environment(environment: Environment | None) -> dict[str, str]:
    if environment is None:
        return {}
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items())
    return {
        "device": environment.device,
        "system": f"{environment.system}, Python {environment.python}",
        **({"CUDA": environment.cuda} if environment.cuda else {}),
        "libraries": libraries,
    }


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g}"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
