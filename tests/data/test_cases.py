"""Files and settings as people have them, and what is right for each: rows, classes, what is told."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from lingotune.cli.train import check_train
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.schema import LaunchConfig
from lingotune.data.rows.cleaner import Row
from lingotune.data.splits.survey import Survey, survey
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.labels import with_found_labels

CASES = ROOT / "tests" / "cases"
LABELLED = ("text=text", "label=label", "stars=null")
PLAIN = (*LABELLED, "language=null")
AUTO = ("data.labels=auto",)


@dataclass(frozen=True)
class Read:
    """What comes of a source. told: parts of the warnings."""

    rows: int
    classes: dict[str, int]
    languages: dict[str, int] = field(default_factory=lambda: {"und": 60})
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A source, the columns and other settings that are typed for it, and what is right: rows, or problems
    (place, part of what is wrong) with what comes of the first fix that is offered."""

    file: str
    columns: tuple[str, ...]
    right: Read
    others: tuple[str, ...] = AUTO
    problems: tuple[tuple[str, str], ...] = ()
    conf: str = ""


TWO = {"neg": 36, "pos": 24}
THREE = {"en": 20, "de": 20, "fr": 20}
FIVE = ("card_arrival", "lost/stolen", "Q&A: other", "Refund not showing up", "top_up_failed")
UNBALANCED = "its quotes do not balance, and are read as characters like others"

TABLE = [
    Case(
        "labels-by-case-and-blanks.csv",
        PLAIN,
        Read(60, {"negative": 24, "neutral": 12, "positive": 24}),
        (),
        ((":2, :3, :4 and 54 more", "6 values in 'label' are not in data.labels: 'negative ' (1)"),),
    ),
    Case("label-booleans/train.csv", (), Read(60, {"no": 36, "yes": 24}), ("data=mine",),
         conf="label-booleans"),
    Case("excel-semicolon-utf8bom.csv", PLAIN, Read(60, {"schlecht": 36, "gut": 24})),
    Case("excel-semicolon-utf16.csv", PLAIN,
         Read(60, {"schlecht": 36, "gut": 24}, told=("read as utf-16",))),
    Case("yaml-words/nordic.jsonl", (), Read(60, TWO, {"no": 20, "sv": 20, "da": 20}), ("data=nordic",),
         conf="yaml-words"),
    Case("label-booleans/train.csv", (), Read(60, {"no": 36, "yes": 24}), ("data=yesno",),
         conf="yaml-words"),
    Case("list-in-jsonl.jsonl", LABELLED, Read(60, TWO, THREE)),
    Case("one-object-per-file", PLAIN, Read(10, {"neg": 9, "pos": 1}, {"und": 10})),
    Case("nested-records.jsonl",
         ("text=review.text", "label=ann.label", "language=review.lang", "stars=null"),
         Read(60, TWO, THREE)),
    Case("classlabel-ids.parquet", PLAIN,
         Read(300, {"neg_or_so": 180, "pos_or_so": 120}, {"und": 300}),
         ("data.labels=[neg_or_so,pos_or_so]",)),
    Case("classlabel-ids.parquet", PLAIN, Read(300, {"bad": 180, "good": 120}, {"und": 300}),
         ("data.labels=[{name: bad, values: [0]}, {name: good, values: [1]}]",)),
    Case("classlabel-ids.parquet", PLAIN,
         Read(300, {"neg_or_so": 180, "pos_or_so": 120}, {"und": 300}), (),
         ((" row 1, row 2, row 3 and 297 more", "'neg_or_so' (180), 'pos_or_so' (120)"),)),
    Case("unbalanced-quotes.tsv", LABELLED,
         Read(300, {"neg": 180, "pos": 120}, {"en": 100, "de": 100, "fr": 100},
              (f"{UNBALANCED} (data.quoting=none); the first is in line 22",))),
    Case("quotes-in-tsv.tsv", LABELLED,
         Read(60, TWO, THREE, (f"{UNBALANCED} (data.quoting=none); the first is in line 3",))),
    Case("headers-with-blanks.csv", LABELLED, Read(60, TWO, THREE)),
    Case("cp1252-punctuation.csv", LABELLED,
         Read(60, TWO, THREE,
              ("read as cp1252, since it is not UTF-8 (data.encoding names another): line 2 ",
               "’quote’ €5"))),
    Case("utf8-with-two-bad-rows.csv", LABELLED,
         Read(58, {"neg": 36, "pos": 22}, {"en": 20, "de": 19, "fr": 19},
              ("2 rows are rejected (2 not-utf8) of the 60 read",)),
         problems=((":42, :46", "is not UTF-8: byte 0xf6 at offset 1746"),)),
    Case("invisible-text.jsonl", LABELLED,
         Read(58, {"neg": 36, "pos": 22}, {"en": 19, "de": 19, "fr": 20},
              ("2 rows are rejected (2 empty-text) of the 60 read",)),
         problems=((":10, :11", "has no text in 'text', only characters that cannot be seen"),)),
    Case("multilabel.jsonl", LABELLED,
         Read(40, {"neg": 24, "pos": 16}, {"de": 20, "fr": 20},
              ("20 rows are rejected (20 several-labels) of the 60 read",)),
         problems=((":1, :4, :7 and 17 more",
                    "has several classes in 'label', such as ['neg', 'extra']; here a text has"),)),
    Case("rows-without-text.jsonl", LABELLED,
         Read(53, {"neg": 33, "pos": 20}, {"en": 17, "de": 19, "fr": 17},
              ("7 rows are rejected (4 not-text, 3 empty-text) of the 60 read",)),
         problems=((":6, :9, :12 and 1 more", "has no text, but 5, in 'text'"),
                   (":7, :10, :11", "has no text in 'text'"))),
    Case("language-variants.jsonl", LABELLED,
         Read(60, TWO, {"en": 20, "de": 20, "fr": 15, "und": 5},
              ("en = 'en' (5), 'english' (5), 'en-US' (5), 'EN' (5)",
               "de = 'de' (10), 'de_DE' (5), 'DE' (5)",
               "5 rows without a language: und (data.default_language)")),
         problems=((":3, :15, :27 and 2 more", "has no language code in 'language', but ''"),)),
    Case("language-variants.jsonl", LABELLED,
         Read(45, {"neg": 27, "pos": 18}, {"en": 25, "de": 20},
              ("15 rows left out, not in data.languages=[en, de]: 'fr' (10), 'fr-FR' (5)",)),
         (*AUTO, "data.languages=[en,de]", "data.default_language=fr"),
         problems=(("data.default_language=fr", "is not among data.languages=[en, de]"),)),
    Case("two-classes-train.csv", LABELLED, Read(60, TWO, THREE)),
    Case("intents-unmapped.csv", ("text=text", "label=category", "language=null"),
         Read(60, dict.fromkeys(FIVE, 12)), (),
         ((":2, :3, :4 and 57 more", "5 values in 'category' are not in data.labels"),)),
    Case("intents-unmapped.csv", ("text=text", "label=category", "language=null"),
         Read(60, dict.fromkeys(FIVE, 12))),
    Case("contradicting-ratings.jsonl", (),
         Read(60, {"negative": 24, "neutral": 12, "positive": 24}, THREE,
              ("6 rows share 1 text and have different classes: 'same text here' is negative in"
               " contradicting-ratings.jsonl:1 and positive in contradicting-ratings.jsonl:11",)), ()),
    Case("rows-without-language.jsonl", (),
         Read(60, {"negative": 24, "neutral": 12, "positive": 24}, {"und": 20, "de": 20, "fr": 20},
              ("20 rows without a language: und (data.default_language)",)), (),
         ((":1, :4, :7 and 17 more", "has no language code in 'language', but null"),)),
]  # fmt: skip


def configured(typed: Sequence[str], conf: Path | None = None) -> LaunchConfig:
    (one,) = compose_all(list(typed), ROOT / "conf", check_train, multirun=False, extra_dir=conf)
    return with_found_labels([one])[0].config


@cache
def surveyed(typed: tuple[str, ...], conf: Path | None) -> tuple[LaunchConfig, Survey, list[Row]]:
    config = configured(typed, conf)
    kept: list[Row] = []
    job = job_of(config)
    return config, survey(job.data, job.seed, lambda rejected: None, kept.append, kept), kept


def came_of(typed: tuple[str, ...], conf: Path | None, told: Sequence[str]) -> Read:
    """What comes of a command; of the warnings those parts that are in them."""
    config, found, kept = surveyed(typed, conf)
    classes = Counter(config.data.labels[row.label].name for row in kept)
    said = "\n".join(found.warnings)
    there = tuple(part for part in told if part in said)
    return Read(len(kept), dict(classes), dict(Counter(row.language for row in kept)), there)


def with_first_fix(typed: Sequence[str], problems: Sequence[Problem]) -> tuple[str, ...]:
    """The command with the first override that is offered for each problem."""
    words: dict[str, str] = {}
    for problem in problems:
        first = re.split(r", or |; ", problem.fix)[0]
        words |= {word.partition("=")[0]: word for word in shlex.split(first)}
    return (*(word for word in typed if word.partition("=")[0] not in words), *words.values())


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.file} {' '.join(case.others)}")
def test_a_case_is_right(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    conf = CASES / case.conf / "conf" if case.conf else None
    group = () if any(word.startswith("data=") for word in case.others) else ("data=files",)
    columns = [f"data.columns.{column}" for column in case.columns]
    typed = (*group, f"data.path={case.file}", *columns, *case.others)
    if case.problems:
        with pytest.raises(ConfigError) as caught:
            surveyed(typed, conf)
        found = errors_only(caught.value.problems)
        assert len(found) == len(case.problems)
        for problem, (place, what) in zip(found, case.problems):
            assert problem.where in (f"{case.file}{place}", place) and what in problem.what
        typed = with_first_fix(typed, found)
    assert came_of(typed, conf, case.right.told) == case.right


def test_the_layout_of_a_competition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    files = ["data.train=two-classes-train.csv", "data.validation=two-classes-dev.csv"]
    columns = [f"data.columns.{column}" for column in (*LABELLED, "id=id")]
    typed = ["data=files", *files, "data.test=unlabelled-test.csv", *columns, *AUTO]
    with pytest.raises(ConfigError) as caught:
        surveyed(tuple(typed), None)
    assert caught.value.problems == [
        Problem(
            "data.test=unlabelled-test.csv",
            "has no labels, so nothing can be scored on it",
            "data.test=null; after the training: lingotune predict RUN --file unlabelled-test.csv",
        )
    ]
    _, found, _ = surveyed(with_first_fix(typed, caught.value.problems), None)
    assert found.counts == {"train": 54, "validation": 40, "test": 6}


EXPERIMENTS = CASES / "experiments" / "conf"
TOLD = {
    "typo": [
        (":3: training.warmup", "did you mean training.warmup_ratio or training.warmup_steps?"),
        (":4: learning_rate", "unknown setting 'learning_rate': here it is lr"),
    ],
    "types": [
        (":3: epochs", "three is not a number"),
        (":7: training.schedule", "Linear is not one of its 5 choices"),
    ],
    "nopkg": [("", "its settings are put below experiment, and there is no such section")],
    "grid": [(":6: experiment=grid", "sweeps lr, seed: many jobs, and this takes one")],
}


@pytest.mark.parametrize("name", TOLD)
def test_a_wrong_experiment_is_told_with_file_line_and_key(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured([f"experiment={name}", "cluster=local"], EXPERIMENTS)
    found = errors_only(caught.value.problems)
    file = EXPERIMENTS / "experiment" / f"{name}.yaml"
    assert [problem.where for problem in found] == [f"{file}{place}" for place, _ in TOLD[name]]
    assert all(what in problem.what for problem, (_, what) in zip(found, TOLD[name]))


def test_what_is_offered_for_an_experiment_can_be_pasted() -> None:
    with pytest.raises(ConfigError) as caught:
        configured(["experiment=nopkg"], EXPERIMENTS)
    assert caught.value.problems[0].fix == "# @package _global_ as its first line"


def test_what_an_experiment_sweeps_for_hydra_is_swept() -> None:
    typed = ["experiment=grid", "cluster=local"]
    jobs = compose_all(
        typed, ROOT / "conf", check_train, multirun=False, sweeps=True, extra_dir=EXPERIMENTS
    )
    assert [(job.config.lr, job.config.seed) for job in jobs] == [
        (1e-5, 0), (1e-5, 1), (3e-5, 0), (3e-5, 1),
    ]  # fmt: skip


def test_a_sound_experiment_is_read_as_written() -> None:
    typed = ["experiment=ok", "cluster=local"]
    config = configured(typed, EXPERIMENTS)
    assert (config.name, config.epochs, config.training.save_steps) == ("run-42-tiny", 1, 1000)


def test_every_case_is_in_a_test() -> None:
    tried = {case.file.split("/")[0] for case in TABLE} | {case.conf for case in TABLE}
    tried |= {"two-classes-dev.csv", "unlabelled-test.csv", "experiments", "README.md", ""}
    assert {path.name for path in CASES.iterdir()} <= tried
