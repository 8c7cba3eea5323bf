"""`lingotune evaluate`: scores a model on data named by overrides."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lingotune.cli.words import command_parser, parsed, whole_number
from lingotune.config.console import Parser, terminal_width
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import (
    SPLITS,
    DataConfig,
    JobConfig,
    LabelConfig,
    LaunchConfig,
    RowCounts,
    Source,
)
from lingotune.data.sources.files import is_data_file
from lingotune.data.sources.patterns import given_patterns, patterns_in, unused_formats
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.overrides.offers import LEAVE_OUT
from lingotune.launch.overrides.overrides import TypedOverride
from lingotune.launch.results.chosen import run_named
from lingotune.preflight import check_secrets
from lingotune.preflight.data import DATA

_OF_TRAINING = (
    "validation_share", "test_share", "split_seed", "unique_texts", "max_rows", "train_languages",
    "language_alpha", "balance",
)  # fmt: skip
"""Settings of data that say what is trained on: named data is scored whole, or its test split."""
_SOURCES = {"data.path", *(f"data.{split}" for split in SPLITS)}
"""Settings that name the data itself."""


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("evaluate", "Score the model of a run.")
    made.add_argument("run", help="a run folder, SWEEP:best, or a folder with a saved model")
    made.add_argument(
        "overrides", nargs="*", help="data=... data.KEY=...; default: the run's own test split"
    )
    made.add_argument(
        "--batch", type=whole_number(1), help="texts at once; default: what is quickest here"
    )
    made.add_argument(
        "--argmax",
        action="store_true",
        help="score the likeliest class, without the run's decision",
    )
    made.add_argument("--output", help="folder for the results; default: RUN/evaluations")
    made.add_argument("--config-dir", metavar="DIR", help="group files of your own")
    return made


def main(argv: Sequence[str]) -> int:
    """Score the model, write the results and print the scores."""
    options = parsed(parser(), argv, "overrides")
    options.run = run_named(options.run)
    extra = user_dir(options.config_dir, os.environ)
    from lingotune.evaluation.decision_text import decision_line, decision_rows
    from lingotune.evaluation.evaluate import evaluate
    from lingotune.evaluation.score_rows import score_warnings
    from lingotune.report.charts import draw_confusion
    from lingotune.report.tables import aligned, score_table

    data = data_typed(options.run, options.overrides, shipped_dir(), extra)
    with _prediction_offered(options.run, data):
        done = evaluate(
            options.run,
            data,
            max_length=typed_length(data, options.overrides),
            output=options.output,
            batch=options.batch,
            argmax=options.argmax,
        )
    results = done.results
    try:
        if not results.overall.several:
            draw_confusion(results, results.labels, done.folder / "confusion_matrix.png")
    except ImportError as error:
        print(f"warning: no picture: {error}")
    for warning in results.warnings:
        print(f"warning: {warning}")
    for name, count in results.inputs.items():
        rejected = sum(count.rejected.values())
        print(
            f"{name}: {count.read} rows read = {count.kept} kept + {rejected} rejected"
            f" + {count.filtered} of other languages"
        )
    print(score_table(results, terminal_width()))
    if results.decision and results.as_trained:
        table = aligned(decision_rows(results, results.as_trained))
        print(f"\n{decision_line(results.decision)}:\n{table}")
    for warning in score_warnings(results):
        print(f"warning: {warning}")
    print(f"see {done.folder}")
    return 0


@contextmanager
def _prediction_offered(run: str, data: DataConfig | None) -> Iterator[None]:
    """Name the command for data without labels, where the column of labels is missing or empty."""
    try:
        yield
    except ConfigError as error:
        places = patterns_in(data.path or data.test) if data else []
        unlabelled = any(
            p.key in ("data.columns.label", "data.columns.stars") or "has no value in" in p.what
            for p in error.problems
        )
        if not places or not unlabelled:
            raise
        command = f"{program('predict')} {shlex.join([run, '--file', places[0]])}"
        raise ConfigError(error.problems, f"{command}  # if it has no labels") from error


def data_typed(
    run: str, typed: Sequence[str], conf_dir: Path, extra_dir: Path | None = None
) -> DataConfig | None:
    """Compose the data that overrides name; None if there are no overrides.

    Where no `data=` is typed, columns, labels, languages and all other settings are those of the run. The
    classes always are, if none are typed. ConfigError for other overrides.
    """
    if not typed:
        return None
    from lingotune.evaluation.classifier import trained_model

    trained = trained_model(run)
    overrides = [*map(TypedOverride.read, typed)]
    others = [o for o in overrides if o.section != "data" or o.key == "data.prepared"]
    what = "has no effect here: overrides name the data that the model is scored on"
    problems = [o.refused(what, "data=files data.path=...") for o in others]
    what = "has no effect here: it is about what is trained on"
    of_training = {f"data.{name}" for name in _OF_TRAINING}
    problems += [o.refused(what, LEAVE_OUT) for o in overrides if o.key in of_training]
    if problems:
        raise ConfigError(problems)
    chosen = any(o.key == "data" for o in overrides)
    if not chosen and not any(o.key in _SOURCES for o in overrides):
        _check_own(trained.job, run)
    base = None if chosen or trained.job is None else _with_source(trained.job, overrides)
    given = [] if chosen or base else ["data=files"]  # nothing is known of a model's own data
    (one,) = compose_all(
        [*given, *typed], conf_dir, _check, multirun=False, extra_dir=extra_dir, base=base
    )
    data: DataConfig = job_of(one.config).data
    if base:
        data = _of_other_files(data, [o.key for o in overrides])
    if any(o.key == "data.labels" for o in overrides):
        return data
    if trained.job is not None:
        return replace(data, labels=trained.job.data.labels)
    if {label.name for label in data.labels} == set(trained.labels):
        return data  # with the values that the group file knows of them
    return replace(data, labels=[LabelConfig(name, []) for name in trained.labels])


def _check(config: LaunchConfig) -> list[Problem]:
    """Find secrets, and files that a generated sample would leave unread."""
    return [*check_secrets(config), *DATA.run(job_of(config), only="files-for-sample")]


def _check_own(job: JobConfig | None, run: str) -> None:
    """Refuse to score a run's own data anew where all of its rows were trained on or held out by chance."""
    if job is None or (job.data.source is not Source.sample and job.data.test is None):
        own = "of its own a part was trained on" if job else "its own is not known"
        what = f"no override names other data, and {own}"
        raise ConfigError([Problem(run, what, "data.path=reviews.jsonl")])


def _with_source(job: JobConfig, typed: Sequence[TypedOverride]) -> JobConfig:
    """Take the source out of a run's data where another one is typed; all else are its defaults."""
    if not any(o.key in _SOURCES for o in typed):
        return job
    data = replace(
        job.data,
        name=Source.files.value,
        source=Source.files,
        rows=RowCounts(),
        path=None,
        train=None,
        validation=None,
        test=None,
    )
    return replace(job, data=data)


def _of_other_files(data: DataConfig, typed: Sequence[str]) -> DataConfig:
    """Leave out how the run's files were read where these are of another type; what was typed stays."""
    files = [p for of in (patterns_in(data.path), *given_patterns(data).values()) for p in of]
    if not all(map(is_data_file, files)):
        return data
    unused = [key for key in unused_formats(files) if f"data.{key}" not in typed]
    return replace(data, **{key: getattr(DataConfig(), key) for key in unused})


def typed_length(data: DataConfig | None, typed: Sequence[str]) -> int | None:
    """Return the number of tokens to read of each text, if it was typed."""
    given = any(o.key == "data.max_length" for o in map(TypedOverride.read, typed))
    return data.max_length if data and given else None
