"""Scoring a saved model on the test split of its run, or on other reviews."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lingotune.config.console import say_aside
from lingotune.config.jobfile import plain
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    SPLITS,
    DataConfig,
    EvaluationConfig,
    LabelConfig,
    LabelsMode,
    Source,
    split_seed,
)
from lingotune.config.typed_json import UNLESS_NONE, from_json, parse_json, to_json
from lingotune.data.prepared.spool import Spool
from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.findings import Counts
from lingotune.data.rows.ids import rows_digest, targets_text
from lingotune.data.rows.labels import format_labels
from lingotune.data.rows.rejected import RejectedFile
from lingotune.data.rows.scale import scale_of
from lingotune.data.sources.patterns import check_settings
from lingotune.data.splits.readers import readers_of
from lingotune.data.splits.scan import scan
from lingotune.data.splits.survey import survey
from lingotune.data.transfer import fetch_sources
from lingotune.evaluation.classifier import Classifier, Trained, takes_pairs, trained_model
from lingotune.evaluation.decisions import decided
from lingotune.evaluation.metrics import (
    Classes,
    Predictions,
    classes_of,
    probabilities_of,
    scores_by_language,
)
from lingotune.evaluation.own_code import metrics_of
from lingotune.evaluation.own_metrics import with_own_metrics
from lingotune.evaluation.predictions import FILE, write_predictions
from lingotune.plugins.loading import NO_CODE, OwnCode
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.folder import METRICS, make_parent, new_folder
from lingotune.runs.results import DataSummary, LanguageScores

EVALUATIONS = "evaluations"
"""Folder in a run folder that holds later evaluations."""
REJECTED = "rejected.jsonl"
_TEST = SPLITS[-1]
_Rows = Callable[[], Iterator[Row]]
_BLOCK = 8_192
"""Texts that are tokenised and sorted by length together."""
_ELSEWHERE = "--output FOLDER"


@dataclass(frozen=True, kw_only=True)
class _Scored:
    model: str
    data: dict[str, object]
    max_length: int
    inputs: dict[str, Counts]
    warnings: tuple[str, ...]
    labels: tuple[str, ...]
    decision: Decision | None = field(default=None, metadata=UNLESS_NONE)
    as_trained: LanguageScores | None = field(default=None, metadata=UNLESS_NONE)


# The fields of the last base come first in metrics.json.
@dataclass(frozen=True, kw_only=True)
class EvaluationResults(LanguageScores, _Scored):
    """Contents of an evaluation's metrics.json: the scores of a saved model, and what was scored.

    model: its folder. data: its settings. max_length: tokens read of each text. inputs: rows by input.
    decision, as_trained: how the model decides, and its scores without that; None = the likeliest class.
    """


@dataclass(frozen=True)
class Evaluation:
    """Folder of an evaluation, and its results."""

    folder: Path
    results: EvaluationResults


@dataclass(frozen=True)
class _Recorded:
    data: DataSummary


def evaluate(
    run: str,
    data: DataConfig | None = None,
    *,
    max_length: int | None = None,
    output: str | None = None,
    batch: int | None = None,
    argmax: bool = False,
    classifier: Classifier | None = None,
) -> Evaluation:
    """Score the model of a run and write scores and predictions into a new folder.

    data: scored as a whole, or its test split if it has one; None = the run's own test split.
    max_length: tokens read of each text; None = as many as the model was trained with. output: parent
    of the new folder; None = the run's `evaluations`. batch: as of `Classifier`. argmax: score
    the likeliest classes, not those of the run's decision. classifier: the run's model, if it is loaded
    already. ConfigError, before the model is loaded, lists everything that is wrong.
    """
    trained = trained_model(run)
    if argmax:
        trained = trained.as_trained()
    is_own = data is None
    data = _data_of_run(trained, run) if data is None else _all_or_test(data)
    scale = trained.scale or scale_of(data)
    data = replace(data, labels=_in_order(data.labels, trained))
    _check_pairs(data, trained)
    _check_mode(data, trained)
    classes = classes_of(data, trained.labels, scale)
    with TemporaryDirectory() as work, Spool(Path(work)) as spool:
        with RejectedFile(Path(work, REJECTED)) as rejected:
            with _classes_kept(trained):
                drawn = split_seed(trained.job) if is_own and trained.job else None
                rows, counts, warnings = _read(data, drawn, spool, rejected)
            if is_own:
                warnings = (*warnings, *_check_same(trained, rows))
        own, untrusted = _own_metrics(trained)
        warnings = (*warnings, *untrusted)
        parent = output or str(Path(run, EVALUATIONS))
        where = f"--output {output}" if output else parent
        make_parent(parent, where, _ELSEWHERE)  # found now rather than after scoring
        model = classifier or Classifier(trained, batch, max_length)
        names = spool.sources.names(data.columns)
        warnings = (*warnings, *spool.sources.warnings(data.columns))
        predictions, ids = _predict(model, rows(), names, several=trained.several)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        folder = new_folder(f"{data.name}-{stamp}", parent, where, _ELSEWHERE)
        if any(count.rejected for count in counts.values()):
            shutil.copy(Path(work, REJECTED), folder)
    scored = _scored(trained, predictions, classes, own, _TEST if is_own else data.name)
    is_changed = trained.decision != AS_TRAINED
    results = EvaluationResults(
        model=str(trained.folder),
        data=plain(data),
        max_length=model.max_length,
        inputs=dict(counts),
        warnings=(*warnings, *scored.warnings),
        labels=trained.labels,
        decision=trained.decision if is_changed else None,
        as_trained=scored.as_trained if is_changed else None,
        **vars(scored.scores),
    )
    write_predictions(scored.predictions, ids, classes, folder / FILE)
    text = json.dumps(to_json(results), indent=2, ensure_ascii=False) + "\n"
    (folder / METRICS).write_text(text, encoding="utf-8")
    return Evaluation(folder, results)


@dataclass(frozen=True)
class _Decided:
    """Predictions as they are decided, their scores, those of the likeliest classes, and what own metrics
    say."""

    predictions: Predictions
    scores: LanguageScores
    as_trained: LanguageScores
    warnings: tuple[str, ...]


def _scored(
    trained: Trained, predictions: Predictions, classes: Classes, own: OwnCode, name: str
) -> _Decided:
    """Decide and score predictions as they were trained. name: of the split, for own metrics."""
    seed = trained.job.seed if trained.job else 0
    resamples = (trained.job.evaluation if trained.job else EvaluationConfig()).resamples
    final = decided(predictions, trained.decision, trained.labels)
    scores, before = (
        scores_by_language(one, classes, resamples, seed, _languages_of(trained))
        for one in (final, predictions)
    )
    told: list[str] = []
    if own.metrics:
        scores = with_own_metrics(scores, own.metrics, final, classes, name, told.append)
    return _Decided(final, scores, before, tuple(line.removeprefix("warning: ") for line in told))


def _own_metrics(trained: Trained) -> tuple[OwnCode, tuple[str, ...]]:
    """Load the user's own metrics; a warning in their place where their code is not here."""
    try:
        return metrics_of(trained.folder, trained.job), ()
    except ConfigError as error:
        problem = error.problems[0]
        return NO_CODE, (
            f"own metrics are left out: {problem.where}: {problem.what}; {problem.fix}",
        )


# --- the rows to score --------------------------------------------------------------------------


def _all_or_test(data: DataConfig) -> DataConfig:
    """Treat data with only a test split as one source; ConfigError if its settings are contradictory."""
    if data.train is None and data.path is None and data.test is not None:
        if data.source is Source.hub:
            data = replace(data, train=data.test, test=None)
        else:
            data = replace(data, path=data.test, test=None)
    check_settings(data)
    return data


def _data_of_run(trained: Trained, run: str) -> DataConfig:
    if trained.job is None:
        what = "which data it was trained on is not known: there is no job.yaml with its model"
        fix = "data=files data.path=reviews.jsonl, or data=sample"
        raise ConfigError([Problem(run, what, fix)])
    return trained.job.data


def _in_order(labels: Sequence[LabelConfig], trained: Trained) -> list[LabelConfig]:
    """Sort the data's classes by the model's ids; ConfigError if the classes differ."""
    by_name = {label.name: label for label in labels}
    if by_name.keys() != set(trained.labels):
        what = f"the model knows the classes {', '.join(trained.labels)}"
        known = [by_name.get(name) or LabelConfig(name, []) for name in trained.labels]
        where = f"data.labels={','.join(by_name)}"
        raise ConfigError([Problem(where, what, format_labels(known))])
    return [by_name[name] for name in trained.labels]


def _check_pairs(data: DataConfig, trained: Trained) -> None:
    """Refuse single texts for a model of pairs, and pairs for one of single texts."""
    column, key = data.columns.text_pair, "data.columns.text_pair"
    if takes_pairs(trained) and column is None:
        what = "the model classifies pairs of texts, and no column is named for the second"
        raise ConfigError([Problem(f"{key}=null", what, f"{key}=COLUMN", key=key)])
    if column is not None and not takes_pairs(trained):
        what = "the model classifies single texts"
        raise ConfigError([Problem(f"{key}={column}", what, f"{key}=null", key=key)])


def _check_mode(data: DataConfig, trained: Trained) -> None:
    """Refuse rows of one class for a model of several, and the other way round."""
    if trained.several != (data.labels_mode is LabelsMode.multi):
        mode = LabelsMode.multi if trained.several else LabelsMode.single
        what = f"a text has {'any number of classes' if trained.several else 'one class'} to this model"
        fix = f"data.labels_mode={mode.name}"
        raise ConfigError([Problem(f"data.labels_mode={data.labels_mode.name}", what, fix)])


@contextmanager
def _classes_kept(trained: Trained) -> Iterator[None]:
    """Offer what scoring can take for values without a class: those of the model, and no others."""
    try:
        yield
    except ConfigError as error:
        example = [LabelConfig(name, [f"VALUES_OF_{name}"]) for name in trained.labels]
        fix = (
            f"say which class of the model each means: {format_labels(example)};"
            " or leave them out: data.on_error=skip data.max_rejected=1"
        )
        problems = [
            replace(p, fix=fix) if "not in data.labels" in p.what and "data.labels=" in p.fix else p
            for p in error.problems
        ]
        raise ConfigError(problems, error.next_command) from error


def _read(
    data: DataConfig, seed: int | None, spool: Spool, rejected: RejectedFile
) -> tuple[_Rows, Mapping[str, Counts], tuple[str, ...]]:
    """Read and check the rows to score; returns a way to iterate over them, counts and warnings.

    seed: carves out the test split as training did; None = score everything that was given.
    """
    fetch_sources(data, say_aside)
    readers = readers_of(data)
    if seed is not None and _TEST not in readers:
        found = survey(data, seed, rejected, spool.add)
        test = SPLITS.index(_TEST)
        if not found.counts[_TEST]:
            what = "the run has no test split of its own (data.test_share=0)"
            raise ConfigError(
                [Problem("data", what, "data.path=FILE scores all rows of other data")]
            )
        rows = lambda: (row for row, split in found.rows(spool) if split == test)  # noqa: E731
        return rows, found.scanned.counts, ()
    wanted = {_TEST: readers[_TEST]} if _TEST in readers else readers
    scanned = scan(wanted, data, rejected, spool.add)
    if not len(scanned.keys.label):
        raise ConfigError([Problem("data", "there is no row to score")])
    return lambda: iter(spool), scanned.counts, scanned.warnings


def _check_same(trained: Trained, rows: _Rows) -> Iterator[str]:
    """Compare the rows with the digest that the run recorded; warn if there is none.

    ConfigError if they differ: the source has changed since training.
    """
    recorded = _recorded(trained)
    known = recorded and recorded.test_sha256
    if known is None:
        yield "the run has not recorded its test split: its source may have changed since"
        return
    assert trained.job is not None
    names = [label.name for label in trained.job.data.labels]
    ids = [names.index(name) for name in trained.labels]  # the model's classes, as the run counted

    def taught(row: Row) -> int | str:
        if row.targets is None:
            return ids[row.label]
        return targets_text([row.targets[ids.index(place)] for place in range(len(ids))])

    if known != rows_digest((row.id, row.language, taught(row), row.text) for row in rows()):
        what = "its source has changed since the training, and gives another test split"
        fix = "data=files data.path=... scores all its rows; or the source as it was"
        raise ConfigError([Problem(str(trained.folder), what, fix)])


def _recorded(trained: Trained) -> DataSummary | None:
    """Read what a run recorded about its data; None where nothing can be read."""
    with suppress(OSError, ValueError):
        metrics = parse_json((trained.folder / METRICS).read_text(encoding="utf-8"))
        return from_json(_Recorded, metrics).data
    return None


def _languages_of(trained: Trained) -> list[str] | None:
    """Return the languages that a model was trained on; None where that is not known."""
    recorded = _recorded(trained)
    return [*recorded.rows["train"]] if recorded else None


# --- predictions ---------------------------------------------------------------------------------


def _true(rows: Sequence[Row], *, several: bool) -> np.ndarray:
    if several:
        return np.array([row.targets for row in rows], bool)
    return np.array([row.label for row in rows], np.int64)


def _predict(
    model: Classifier, rows: Iterator[Row], sources: Mapping[str, str], *, several: bool
) -> tuple[Predictions, list[str]]:
    ids: list[str] = []
    parts: list[Predictions] = []
    while block := list(islice(rows, _BLOCK)):
        parts.append(
            Predictions(
                _true(block, several=several),
                probabilities_of(model.logits([row.text for row in block]), several=several),
                np.array([row.language for row in block], object),
                np.array([np.nan if row.stars is None else row.stars for row in block]),
                sources=np.array([sources.get(row.source or "") for row in block], object),
            )
        )
        ids += [row.id for row in block]
    fields = ("true", "probabilities", "languages", "stars", "sources")
    joined = {field: np.concatenate([getattr(part, field) for part in parts]) for field in fields}
    return Predictions(**(joined if sources else {**joined, "sources": None})), ids
