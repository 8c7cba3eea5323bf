"""Checks of the data section, before any file is read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from lingotune.config.problems import Severity
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import (
    DETECT,
    NO_LANGUAGE,
    ONE_CLASS,
    PATTERN_LANGUAGE,
    SPLITS,
    Balance,
    DataConfig,
    JobConfig,
    LabelsMode,
    LaunchDataConfig,
    OnError,
    RowCounts,
    SampleConfig,
    SelectMetric,
    Separator,
    Source,
)
from lingotune.data.rows.labels import format_labels, is_auto, normal_value
from lingotune.data.rows.language_tags import standard_tag, tags_of
from lingotune.data.rows.scale import ascends, numbers_of
from lingotune.data.sources.languages import known_languages
from lingotune.data.sources.patterns import given_patterns, patterns_in, setting_problems
from lingotune.preflight.registry import Found, Table

_LABELS = "'data.labels=[{name: bad, values: [1, 2]}, {name: good, values: [4, 5]}]'"

DATA: Table[JobConfig] = Table()


@DATA.check("labels-too-few", "a classifier chooses between classes")
def _labels_too_few(job: JobConfig) -> Iterator[Found]:
    count = len(job.data.labels)
    if count < 2 and not is_auto(job.data.labels):
        named = "one class" if count else "no class"
        yield "data.labels", f"names {named}; a classifier needs two", _LABELS


@DATA.check("labels-mode-columns", "the classes of a text stand in one column, or in one for each")
def _labels_mode_columns(job: JobConfig) -> Iterator[Found]:
    data = job.data
    if data.labels_mode in ONE_CLASS:
        return
    mode, stars = data.labels_mode.name, data.columns.stars
    if stars is not None and data.columns.label is None:
        what = f"has no effect with data.labels_mode={mode}: a text has one number of stars"
        yield f"data.columns.stars={stars}", what, "data.columns.stars=null"
    if data.labels_mode is LabelsMode.soft and is_auto(data.labels):
        what = "cannot be found in shares, which name no classes"
        yield "data.labels=auto", what, _LABELS


@DATA.check("label-separator-unused", "cells are split where a text may have several classes")
def _label_separator(job: JobConfig) -> Iterator[Found]:
    data = job.data
    if data.label_separator is not Separator.auto and data.labels_mode is not LabelsMode.multi:
        where = f"data.label_separator={data.label_separator.name}"
        what = f"has no effect with data.labels_mode={data.labels_mode.name}"
        yield where, what, "data.label_separator=auto, or data.labels_mode=multi"


@DATA.check(
    "labels-mode-balance", "a text that may have several classes cannot be drawn for one of them"
)
def _labels_mode_balance(job: JobConfig) -> Iterator[Found]:
    data, mode = job.data, f"data.labels_mode={job.data.labels_mode.name}"
    if data.labels_mode is LabelsMode.multi and data.balance is Balance.resample:
        what = f"does not go with {mode}: a text is drawn with all of its classes"
        yield "data.balance=resample", what, "data.balance=weights, or data.balance=none"
    if data.labels_mode is LabelsMode.soft and data.balance is not Balance.none:
        where = f"data.balance={data.balance.name}"
        what = f"does not go with {mode}: a text has a share of every class"
        yield where, what, "data.balance=none"


@DATA.check("labels-not-distinct", "a class is known by its name")
def _labels_not_distinct(job: JobConfig) -> Iterator[Found]:
    for name, count in Counter(label.name for label in job.data.labels).items():
        if count > 1:
            yield "data.labels", f"names the class {name!r} {count} times", _LABELS
        if not name.strip():
            yield "data.labels", "has a class without a name", _LABELS


@DATA.check("label-values-overlap", "a raw value means one class")
def _label_values(job: JobConfig) -> Iterator[Found]:
    raw = Counter(
        value
        for label in job.data.labels
        for value in {label.name, *map(normal_value, label.values)}
    )
    for value, count in raw.items():
        if count > 1:
            yield "data.labels", f"maps the raw value {value!r} to {count} classes", _LABELS


@DATA.check("labels-not-ordered", "a scale has an order, from one end to the other")
def _labels_ordered(job: JobConfig) -> Iterator[Found]:
    data = job.data
    if data.labels_mode is not LabelsMode.ordinal or is_auto(data.labels):
        return
    where, numbers = "data.labels_mode=ordinal", numbers_of(data.labels)
    if len(data.labels) == 2:
        yield where, "has no effect on two classes", "data.labels_mode=single"
    elif numbers is not None and not ascends(numbers):
        named = ", ".join(f"{one.name} ({n:g})" for one, n in zip(data.labels, numbers))
        ordered = [label for _, label in sorted(zip(numbers, data.labels), key=lambda of: of[0])]
        fix = (
            format_labels(ordered)
            if len(set(numbers)) == len(numbers)
            else "data.labels_mode=single"
        )
        yield where, f"the classes do not ascend in data.labels: {named}", fix


@DATA.check("text-pair-twice", "the two texts of a pair are two columns")
def _text_pair(job: JobConfig) -> Iterator[Found]:
    columns, key = job.data.columns, "data.columns.text_pair"
    for other in ("text", "title", "stars", "label"):
        if columns.text_pair is not None and columns.text_pair == getattr(columns, other):
            what = f"is data.columns.{other} as well"
            yield f"{key}={columns.text_pair}", what, f"{key}=null, or another column"


@DATA.check("languages-repeated", "a language is kept or not")
def _languages(job: JobConfig) -> Iterator[Found]:
    codes = tags_of(job.data.languages)
    for language, count in Counter(codes).items():
        if count > 1:
            fix = f"'data.languages=[{','.join(dict.fromkeys(codes))}]'"
            yield "data.languages", f"names {language!r} {count} times", fix


@DATA.check("train-languages", "languages that are left out cannot be trained on")
def _train_languages(job: JobConfig) -> Iterator[Found]:
    data, key = job.data, "data.train_languages"
    wanted = tags_of(data.train_languages)
    kept = tags_of(data.languages)
    missing = [code for code in wanted if kept and code not in kept]
    left = [code for code in dict.fromkeys(wanted) if code not in missing]
    if missing:
        what = f"{', '.join(missing)}: not among {listing('data.languages', kept)}"
        yield listing(key, wanted), what, override_text(key, left)
    elif len(left) < len(wanted):
        yield listing(key, wanted), "names a language twice", override_text(key, left)


@DATA.check("select-zero-shot", "scores of unseen languages need languages that are not trained on")
def _select(job: JobConfig) -> Iterator[Found]:
    data, select = job.data, job.evaluation.select
    trained, known = tags_of(data.train_languages), [*known_languages(data)]
    if select not in (SelectMetric.seen_macro_f1, SelectMetric.unseen_macro_f1) or job.code.select:
        return
    where = f"evaluation.select={select.value}"
    if not trained:
        some = known[:1] if len(known) > 1 else ["en"]
        what = "no language is left out of the training: data.train_languages is empty"
        fix = f"{override_text('data.train_languages', some)}, or evaluation.select=macro_f1"
        yield where, what, fix
    elif known and set(known) <= set(trained):
        what = f"all languages are trained on: {listing('data.train_languages', trained)}"
        yield where, what, "evaluation.select=macro_f1"


@DATA.check("default-language", "rows without a language have to get one that counts")
def _default_language(job: JobConfig) -> Iterator[Found]:
    data, default = job.data, job.data.default_language
    if default is None:
        return
    where = f"data.default_language={default}"
    tag = standard_tag(default)
    if data.columns.language == DETECT:
        yield (
            where,
            "has no effect: the language of every text is detected",
            "data.default_language=null",
        )
    elif tag is None:
        yield (
            where,
            "is no language, such as de, pt-BR or French",
            f"data.default_language={NO_LANGUAGE}",
        )
    elif data.languages and tag not in tags_of(data.languages):
        what = f"is not among data.languages=[{', '.join(data.languages)}]"
        yield (
            where,
            what,
            f"data.default_language={data.languages[0]}, or data.default_language=null",
        )


@DATA.check("language-map-unused", "the source has to say languages that can be mapped")
def _language_map(job: JobConfig) -> Iterator[Found]:
    data = job.data
    patterns = [*patterns_in(data.path), *chain.from_iterable(given_patterns(data).values())]
    from_path = any(PATTERN_LANGUAGE in pattern for pattern in patterns)
    if data.language_map and data.columns.language is None and not from_path:
        what = "has no effect: no column of languages is named"
        yield "data.language_map", what, "data.columns.language=COLUMN, or data.language_map={}"


@DATA.check("shares-too-large", "rows that are held out are not trained on")
def _shares(job: JobConfig) -> Iterator[Found]:
    held_out = job.data.validation_share + job.data.test_share
    if held_out > 0.9:
        what = f"leaves too little to train on: the shares add up to {held_out:g}"
        yield "data.validation_share", what, "data.validation_share=0.1 data.test_share=0.1"


@DATA.check("split-missing", "the best checkpoint is chosen on validation")
def _splits(job: JobConfig) -> Iterator[Found]:
    if _lacks(job.data, "validation"):
        what = "no validation split is given, and its share of the training rows is 0"
        fix = "data.validation_share=0.1, or data.validation=FILE"
        yield f"data.validation_share={job.data.validation_share:g}", what, fix


@DATA.check(
    "test-not-scored",
    "scores on validation flatter the model: its checkpoint was chosen by them",
    Severity.warning,
)
def _test(job: JobConfig) -> Iterator[Found]:
    # Of files it is told once they are read: a folder may contain the split.
    if job.data.source is Source.hub and _lacks(job.data, "test"):
        what = "no test split is given, and its share is 0: nothing is scored on test"
        yield "data.test_share=0", what, "data.test_share=0.1, or data.test=FILE"


def _lacks(data: DataConfig, split: str) -> bool:
    """Tell whether a split is neither given nor carved; a folder may contain it."""
    given = data.source is Source.sample or data.path is not None or getattr(data, split)
    return not given and getattr(data, f"{split}_share") == 0


@DATA.check(
    "carving-unused", "rows are drawn for splits that no source is given for", Severity.warning
)
def _carving(job: JobConfig) -> Iterator[Found]:
    data, usual = job.data, LaunchDataConfig()
    is_sample = data.source is Source.sample
    given = [split for split in SPLITS if is_sample or getattr(data, split) is not None]
    for name in (f"{split}_share" for split in given if split != "train"):
        share, default = getattr(data, name), getattr(usual, name)
        if share != default:
            what = f"has no effect: {_whence(data, [name.partition('_')[0]])}"
            yield f"data.{name}={share:g}", what, f"data.{name}={default:g}"
    if len(given) == len(SPLITS) and data.split_seed not in (None, usual.split_seed):
        what = f"has no effect: {_whence(data, given)}"
        yield f"data.split_seed={data.split_seed}", what, f"data.split_seed={usual.split_seed}"


def _whence(data: DataConfig, splits: list[str]) -> str:
    if data.source is Source.sample:
        return "data=sample generates the rows of each split"
    named = " and ".join(f"data.{split}" for split in splits)
    return f"{named} {'is' if len(splits) == 1 else 'are'} given"


@DATA.check("pool-unused", "the files of data.path may be one source", Severity.warning)
def _pool(job: JobConfig) -> Iterator[Found]:
    if job.data.pool and job.data.path is None and job.data.source is not Source.sample:
        yield "data.pool=true", "has no effect without data.path", "data.pool=false"


@DATA.check("files-for-sample", "data=sample generates its reviews")
def _files_for_sample(job: JobConfig) -> Iterator[Found]:
    if job.data.source is not Source.sample:
        return
    for name in ("path", "train", "validation", "test"):
        if getattr(job.data, name) is not None:
            what = "has no effect: data=sample generates its reviews"
            yield f"data.{name}", what, f"data=files data.{name}=..."
    default = DataConfig()
    for name in ("pool", "encoding", "separator", "quoting", "sheet", "header"):
        if getattr(job.data, name) != getattr(default, name):
            what = "has no effect: data=sample generates its reviews"
            yield f"data.{name}", what, f"data=files data.path=... data.{name}=..."


@DATA.check("sample-for-files", "only data=sample generates reviews")
def _sample_for_files(job: JobConfig) -> Iterator[Found]:
    if job.data.source is not Source.sample and job.data.sample != SampleConfig():
        what = f"has no effect: data.source={job.data.source.value} does not generate reviews"
        yield "data.sample", what, "data=sample data.sample..."


@DATA.check("data-files", "each split comes from one place")
def _files(job: JobConfig) -> Iterator[Found]:
    yield from ((p.where, p.what, p.fix) for p in setting_problems(job.data))


@DATA.check("rows-unused", "files and samples are counted")
def _rows(job: JobConfig) -> Iterator[Found]:
    if job.data.source is not Source.hub and job.data.rows != RowCounts():
        what = "has no effect: files and samples are counted"
        yield "data.rows", what, "data=amazon_reviews_multi data.rows..."


@DATA.check("rejected-limit-unused", "the limit is for rows that are skipped")
def _max_rejected(job: JobConfig) -> Iterator[Found]:
    data = job.data
    if data.on_error is OnError.stop and data.max_rejected != DataConfig().max_rejected:
        where, what = (
            f"data.max_rejected={data.max_rejected:g}",
            "has no effect: data.on_error=stop",
        )
        yield where, what, "data.on_error=skip"


@DATA.check("one-language", "the power balances languages against each other")
def _alpha(job: JobConfig) -> Iterator[Found]:
    if (
        job.data.language_alpha is not None
        and len(job.data.train_languages or job.data.languages) == 1
    ):
        where = f"data.language_alpha={job.data.language_alpha:g}"
        yield where, "has no effect on one language", "data.language_alpha=null"
