"""Results of a run: metrics.json as frozen dataclasses, fields in the order of the file's keys.

Older versions wrote fewer keys: fields with a default are None, or empty, for a file without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lingotune.config.schema import SPLITS, Precision
from lingotune.config.typed_json import UNLESS_NONE
from lingotune.runs.decision import Decision

# --- scores -------------------------------------------------------------------------------------

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Precision, recall and F1 of one class, 0 if the denominator is 0, and its number of rows.

    predicted: rows that were given the class, where a row may have several; else None.
    """

    precision: float
    recall: float
    f1: float
    rows: int
    predicted: int | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Bootstrap intervals of the scores with the same names: over rows, not over seeds of the training.

    calibration_error: without what chance adds to it, so it may lie below the error.
    """

    accuracy: Interval
    micro_f1: Interval | None = field(default=None, metadata=UNLESS_NONE)
    macro_f1: Interval
    mean_absolute_error: Interval | None = field(default=None, metadata=UNLESS_NONE)
    calibration_error: Interval | None = field(default=None, metadata=UNLESS_NONE)
    quadratic_kappa: Interval | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores over a set of rows.

    majority: accuracy of always predicting the most frequent class. absent: classes without a row.
    mean_absolute_error: in stars, or between the points of ordered classes; None where there are neither.
    quadratic_kappa: Cohen's kappa of ordered classes with quadratic weights; None of others. classes: by
    name. confusion: (classes, classes) counts, row = true class, column = predicted class. intervals: None
    if none were drawn or there are too few rows. own: the user's metrics by name; None without any.

    Where a row may have several classes, accuracy is that of whole rows, majority that of the most frequent
    set of classes, and there is no confusion matrix. micro_f1: F1 over all classes together; None
    elsewhere, where it is the accuracy.
    """

    rows: int
    accuracy: float
    micro_f1: float | None = field(default=None, metadata=UNLESS_NONE)
    macro_f1: float
    majority: float
    absent: tuple[str, ...]
    calibration_error: float
    mean_absolute_error: float | None
    quadratic_kappa: float | None = field(default=None, metadata=UNLESS_NONE)
    classes: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    intervals: Intervals | None = field(default=None, metadata=UNLESS_NONE)
    own: dict[str, float] | None = field(default=None, metadata=UNLESS_NONE)

    @property
    def on_scale(self) -> dict[str, float]:
        """Scores of ordered classes by name; none of others."""
        error, kappa = self.mean_absolute_error, self.quadratic_kappa
        if error is None or kappa is None:
            return {}
        return {"mean_absolute_error": error, "quadratic_kappa": kappa}

    def __post_init__(self) -> None:
        sizes = {len(self.confusion), *map(len, self.confusion)}
        if sizes != ({0} if self.several else {len(self.classes)}):
            raise ValueError("a confusion matrix of other classes than were scored")

    @property
    def several(self) -> bool:
        """Whether a row may have several classes."""
        return self.micro_f1 is not None


@dataclass(frozen=True, kw_only=True)
class WorstLanguage:
    """The language with the lowest macro-F1."""

    code: str
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Scores over all rows of the languages that were trained on, and over those of the others.

    languages: codes of the others. seen: None without a row in a language that was trained on.
    """

    languages: tuple[str, ...]
    seen: Scores | None
    unseen: Scores

    def sections(self) -> Iterator[tuple[str, Scores]]:
        """Yield ("seen", scores) if there are such rows, then ("unseen", scores)."""
        if self.seen:
            yield "seen", self.seen
        yield "unseen", self.unseen

    def headline(self) -> dict[str, float]:
        """Return seen_macro_f1, if there are such rows, and unseen_macro_f1."""
        return {f"{name}_macro_f1": of.macro_f1 for name, of in self.sections()}


@dataclass(frozen=True, kw_only=True)
class LanguageScores:
    """Scores over all rows and per language; worst_language is None if there is no language.

    zero_shot: None where every language was trained on.
    """

    overall: Scores
    languages: dict[str, Scores]
    worst_language: WorstLanguage | None
    zero_shot: ZeroShot | None = field(default=None, metadata=UNLESS_NONE)

    def headline(self) -> dict[str, float]:
        """Return macro_f1, accuracy, worst_language_macro_f1 if there are languages, those of `zero_shot`,
        micro_f1 where rows may have several classes, the scores of ordered classes, and own metrics."""
        worst = self.worst_language
        return {
            "macro_f1": self.overall.macro_f1,
            "accuracy": self.overall.accuracy,
            **({"worst_language_macro_f1": worst.macro_f1} if worst else {}),
            **(self.zero_shot.headline() if self.zero_shot else {}),
            **({} if self.overall.micro_f1 is None else {"micro_f1": self.overall.micro_f1}),
            **self.overall.on_scale,
            **(self.overall.own or {}),
        }

    @property
    def lowest(self) -> WorstLanguage | None:
        """The lowest of several languages; None where all are equal."""
        return (
            self.worst_language
            if len({of.macro_f1 for of in self.languages.values()}) > 1
            else None
        )

    def macro_f1_by_language(self) -> dict[str, float]:
        """Return `macro_f1_<code>` of every language."""
        return {f"macro_f1_{code}": of.macro_f1 for code, of in self.languages.items()}

    def sections(self) -> Iterator[tuple[str, Scores]]:
        """Yield ("all", scores of all rows), then each language with its scores, by code."""
        yield "all", self.overall
        yield from sorted(self.languages.items())


@dataclass(frozen=True, kw_only=True)
class _Loss:
    loss: float


# The fields of the last base come first: metrics.json begins a split with its loss.
@dataclass(frozen=True, kw_only=True)
class SplitScores(LanguageScores, _Loss):
    """Scores of a split, and the mean loss over its rows."""


@dataclass(frozen=True, kw_only=True)
class BaselineScores:
    """Scores of a simple model trained on the same rows, on the split that the run's headline is of.

    name: `tfidf`. plain: rows as they are. balanced: each class with the same weight.
    """

    name: str
    seconds: float
    plain: LanguageScores
    balanced: LanguageScores

    def by_name(self) -> dict[str, LanguageScores]:
        """Map the names of the models to their scores."""
        return {self.name: self.plain, f"{self.name} balanced": self.balanced}

    def best(self) -> LanguageScores:
        """Return the scores of the one with the higher macro-F1."""
        return max(self.plain, self.balanced, key=lambda scores: scores.overall.macro_f1)


@dataclass(frozen=True, kw_only=True)
class TeacherScores:
    """Teacher of a distilled model, on the split that the run's headline is of.

    name: of its run or folder. sha256: of its files. parameters: None where they are not known. unlabelled:
    texts that have no label but the teacher's. scores: the teacher's. alone, alone_run: the scores of the
    same job without a teacher, and the name of its run folder; None where there was none beside this run.
    """

    name: str
    sha256: str
    parameters: int | None
    unlabelled: int
    scores: LanguageScores
    alone: LanguageScores | None = field(default=None, metadata=UNLESS_NONE)
    alone_run: str | None = field(default=None, metadata=UNLESS_NONE)


# --- training -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Examples in a pass of one process, and passes in an update."""

    size: int
    accumulation: int


@dataclass(frozen=True, kw_only=True)
class EmbeddingExchange:
    """How several processes exchange the word embeddings' gradient.

    touched_only: only the rows that an update touches. because: `measured`, `as before` (the run was
    resumed), the setting that asked for it, or what is in the way. rows, touched: of the embeddings that
    are trained, and that an update touches, about. whole_bytes, touched_bytes: of each process's numbers
    per update, in either way. whole_seconds, touched_seconds: estimated by what was measured.
    """

    touched_only: bool
    because: str
    rows: int
    touched: int
    whole_bytes: int
    touched_bytes: int
    whole_seconds: float | None = field(default=None, metadata=UNLESS_NONE)
    touched_seconds: float | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, kw_only=True)
class TrainingFigures:
    """Length, batch, learning rate and time of the training.

    steps: optimizer updates. global_batch: rows per update. fitted: micro-batch that training.fit_memory
    found, where it is smaller than planned. learning_rate: peak, after scaling.
    best_step: update of the checkpoint that was kept. selected_by_cost: True if another metric
    than the loss kept it, of which less is better. seconds: including evaluating and saving.
    samples_per_second: excluding them; None if nothing was left to train. skipped_updates: those that fp16
    skipped in this start of the run, as its scale of the loss was too large; None without any. ended_by:
    the setting that ended it before its last step, if it was one of time. exchange: None for a single
    process, and where the word embeddings are not exchanged by themselves.
    """

    steps: int
    epochs: float
    global_batch: int
    world_size: int
    fitted: MicroBatch | None = field(default=None, metadata=UNLESS_NONE)
    learning_rate: float
    warmup_steps: int
    best_step: int
    precision: str
    selected_by_cost: bool | None = field(default=None, metadata=UNLESS_NONE)
    skipped_updates: int | None = field(default=None, metadata=UNLESS_NONE)
    ended_by: str | None = field(default=None, metadata=UNLESS_NONE)
    exchange: EmbeddingExchange | None = field(default=None, metadata=UNLESS_NONE)
    seconds: float | None = None
    samples_per_second: float | None

    def __post_init__(self) -> None:
        if self.precision not in Precision.__members__:
            raise ValueError(f"training.precision is {self.precision!r}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements that throughput.jsonl records; `Throughput` explains the fields."""

    machine: str | None = None
    parameters: int
    trained_parameters: int | None = None
    tokens_mean: float
    tokens_square: float | None = None
    tokens_p95: float
    padding: float | None
    tokens_per_second: float | None = None
    padded_tokens_per_second: float | None = None
    utilisation: float | None = None
    checkpoints: int | None = None
    phases: dict[str, float] = field(default_factory=dict)
    train_samples: int
    eval_samples: int
    train_seconds: float
    eval_seconds: float
    samples_per_second: float | None
    eval_samples_per_second: float


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions and device of a run. libraries: name -> version. cuda: None without a GPU."""

    python: str
    system: str
    libraries: dict[str, str]
    device: str
    cuda: str | None


# --- a run --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """Model that was fine-tuned: its name without a folder's path, and whether it is on the hub."""

    name: str
    on_hub: bool


@dataclass(frozen=True, kw_only=True)
class TextFit:
    """How the training texts fit `data.max_length` and the tokenizer, from 0 to 1 by language.

    cut: share of texts that were cut. unknown: share of tokens outside the vocabulary. whole: tokens that
    98 % of the texts of every language fit into.
    """

    cut: dict[str, float]
    unknown: dict[str, float]
    whole: int


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """Data of a run.

    sha256: digest of the prepared data. test_sha256: digest of the test split's rows, which every
    version of lingotune computes alike. rows: split -> language -> class -> rows. warnings: what was
    odd about them when they were prepared. texts: how the training texts fit the model; None of older
    versions. totals: split -> language -> rows, where a row may have several classes; else None.
    """

    sha256: str
    test_sha256: str | None = None
    rows: dict[str, dict[str, dict[str, int]]]
    warnings: tuple[str, ...] = ()
    texts: TextFit | None = field(default=None, metadata=UNLESS_NONE)
    totals: dict[str, dict[str, int]] | None = field(default=None, metadata=UNLESS_NONE)

    def __post_init__(self) -> None:
        for split in SPLITS:
            if split not in self.rows:
                raise ValueError(f"data.rows.{split} is missing")

    def rows_by_split(self) -> dict[str, int]:
        """Return the number of rows of each split."""
        return {
            split: sum(self.total(split, code) for code in languages)
            for split, languages in self.rows.items()
        }

    def total(self, split: str, language: str) -> int:
        """Return the number of rows of a language in a split."""
        if self.totals is None:
            return sum(self.rows[split][language].values())
        return self.totals[split][language]


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """Facts of a run that are known before it trains. base_model: None for a model from scratch."""

    name: str
    job_sha256: str
    labels: tuple[str, ...]
    base_model: BaseModel | None = None
    data: DataSummary


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of training and evaluating. resumed_from_step: None for a run from the start. not_exact:
    where it went on in other circumstances than before; None if it never did. validation, test: scores of
    the model with its decision, those of validation on rows that it was not fitted on. test: None where
    there is no test split. decision, as_trained: what was fitted on validation, and the scores by split
    without it, of the likeliest classes; None where nothing was."""

    resumed_from_step: int | None = None
    not_exact: tuple[str, ...] | None = field(default=None, metadata=UNLESS_NONE)
    training: TrainingFigures
    validation: SplitScores
    test: SplitScores | None
    decision: Decision | None = field(default=None, metadata=UNLESS_NONE)
    as_trained: dict[str, SplitScores] | None = field(default=None, metadata=UNLESS_NONE)
    measured: Measured
    environment: Environment | None = None


@dataclass(frozen=True)
class Advice:
    """Something to know about a run. helps: overrides that train it better; none if nothing is known to."""

    what: str
    helps: tuple[str, ...] = ()

    def command(self, again: str) -> str:
        """Return the command that trains again with what helps. again: the one without."""
        return f"{again} {' '.join(self.helps)}" if self.helps else ""


@dataclass(frozen=True, kw_only=True)
class RunResults(Outcome, RunDescription):
    """Everything in a finished run's metrics.json. baseline: None if none was trained. teacher: that of a
    distilled model. advice: what to know of the scores, None of older versions. seconds: the whole run on
    the worker."""

    baseline: BaselineScores | None = field(default=None, metadata=UNLESS_NONE)
    teacher: TeacherScores | None = field(default=None, metadata=UNLESS_NONE)
    advice: tuple[Advice, ...] | None = field(default=None, metadata=UNLESS_NONE)
    seconds: float

    @property
    def scored(self) -> tuple[str, SplitScores]:
        """Name and scores of the split that tells most: test, or validation where there is no test."""
        return ("test", self.test) if self.test else ("validation", self.validation)


@dataclass(frozen=True, kw_only=True)
class RunProgress(RunDescription):
    """Contents of metrics.json beside a model that is published during training.

    validation: loss, macro_f1 and accuracy of the last evaluation.
    """

    finished: bool = False
    step: int
    total_steps: int
    validation: dict[str, float]
