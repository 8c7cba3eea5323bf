"""Overrides that errors about data offer are applied to the same command: the same problem is gone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF
from test_fixes import OVERRIDE, applied

from lingotune.cli.train import check_train
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.data.splits.counts import count_rows
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.labels import with_found_labels

COLUMNS = ("data.columns.text=text", "data.columns.label=label", "data.columns.stars=null")
PLAIN = (*COLUMNS, "data.columns.language=null", "data.labels=[neg,pos]")
LANGUAGES = (*COLUMNS, "data.labels=[neg,pos]")
GOOD = [f"text {n},{('neg', 'pos')[n % 2]}" for n in range(40)]
PLACEHOLDERS = ("COLUMN", "ENCODING", "NAME", "FILE")


def csv(*odd: str, head: str = "text,label", rows: Sequence[str] = GOOD) -> bytes:
    return "\n".join([head, *rows[:20], *odd, *rows[20:], ""]).encode()


def jsonl(**columns: Sequence[Any]) -> bytes:
    rows = [{"text": f"text {n}", "label": ("neg", "pos")[n % 2]} for n in range(40)]
    for name, values in columns.items():
        for n, row in enumerate(rows):
            row[name] = values[n % len(values)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


SOURCES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "never closed": ("a.csv", csv('"open,neg'), PLAIN),
    "closed too early": ("a.csv", csv('"shut" early,neg'), PLAIN),
    "melted": ("a.csv", csv('"open,neg', "between,pos", 'shut",neg'), PLAIN),
    "carriage return": ("a.csv", csv("a\rb,neg"), PLAIN),
    "too many fields": ("a.csv", csv("a, b,neg", "a, b, c,neg"), PLAIN),
    "too few fields": ("a.csv", csv("a"), PLAIN),
    "header again": ("a.csv", csv("text,label"), PLAIN),
    "header with a quote": ("a.csv", csv(head='"text,label'), PLAIN),
    "other columns": ("a.csv", csv(head="review text (de),queue: main"), PLAIN),
    "columns in quotes": ("a.csv", csv(head="'text',\"it's\""), PLAIN),
    "not UTF-8": ("a.csv", csv(*["größer,neg"] * 9) + "größer,pos\n".encode("cp1252"), PLAIN),
    "not the encoding": ("a.csv", csv("größer,neg"), (*PLAIN, "data.encoding=ascii")),
    "header not the encoding": ("a.csv", csv(head="täxt,label"), (*PLAIN, "data.encoding=ascii")),
    "no text": ("a.jsonl", jsonl(text=["a", *"bcdefghijk", None]), PLAIN),
    "not text": ("a.jsonl", jsonl(text=["a", *"bcdefghijk", 5, ["x"]]), PLAIN),
    "NUL": ("a.csv", csv("a\0b,neg"), PLAIN),
    "half a surrogate": ("a.jsonl", jsonl(text=["a", *"bcdefghijk", "\ud83d"]), PLAIN),
    "broken JSON": ("a.jsonl", jsonl() + b'{"text": \n', PLAIN),
    "no object": ("a.jsonl", jsonl() + b"[1]\n7\n", PLAIN),
    "no label": ("a.jsonl", jsonl(label=["neg", "pos", None]), PLAIN),
    "several labels": ("a.jsonl", jsonl(label=["neg", "pos", ["neg", "pos"]]), PLAIN),
    "unknown labels": ("a.jsonl", jsonl(label=["neg", "pos", "Pos", "a, b", "c: (d)"]), PLAIN),
    "labels by case": (
        "a.jsonl", jsonl(label=["neg", "pos", "Pos ", "NEG"]), (*PLAIN[:-1], "data.labels=auto")
    ),
    "stars from 0": ("a.jsonl", jsonl(label=[0, 1, 2, 3, 4]), PLAIN[:-1]),
    "labels in objects": (
        "a.jsonl", jsonl(label=[{"name": "a"}, {"name": "b"}]), (*PLAIN[:-1], "data.labels=auto")
    ),
    "no language": ("a.jsonl", jsonl(language=["en", "de", ""]), LANGUAGES),
    "words for nothing": ("a.jsonl", jsonl(language=["en", "de", "nan"]), LANGUAGES),
    "language not there": (
        "a.jsonl", jsonl(language=["en", "de"]), (*LANGUAGES, "data.languages=[en,xx]")
    ),
    "no language column": ("a.jsonl", jsonl(), (*LANGUAGES, "data.languages=[en]")),
    "other language column": ("a.jsonl", jsonl(locale=["en"]), LANGUAGES),
    "no text file": ("b.csv", csv(), (*PLAIN, "data.path=c.csv")),
    "setting without effect": ("a.jsonl", jsonl(), (*PLAIN, "data.sheet=one")),
    "unknown encoding": ("a.csv", csv(), (*PLAIN, "data.encoding=utf9")),
    "few rows": ("a.csv", csv(rows=GOOD[:3]), PLAIN),
}  # fmt: skip

IN_WORDS = ("other columns", "few rows")
"""Sources whose problems have no override to paste: a column has to be chosen, rows have to be added."""


def offered(fix: str) -> Iterator[list[str]]:
    """The alternatives of a fix that are overrides without words to fill in."""
    for choice in re.split(", or |; ", fix):
        try:
            words = shlex.split(choice)
        except ValueError:
            continue
        filled = not any(placeholder in choice for placeholder in PLACEHOLDERS)
        if filled and all(map(OVERRIDE.match, words)):
            yield words


def problems_of(command: Sequence[str]) -> list[Problem]:
    try:
        (one,) = with_found_labels(compose_all(list(command), CONF, check_train, multirun=False))
        job = job_of(one.config)
        count_rows(job.data, job.seed)
    except ConfigError as error:
        return errors_only(error.problems)
    return []


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_offered_solves_the_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, content, typed = SOURCES[name]
    Path(file).write_bytes(content)
    path = () if any(word.startswith("data.path=") for word in typed) else (f"data.path={file}",)
    command = ("data=files", *path, *typed)
    found = problems_of(command)
    assert found
    tried = 0
    for problem in found:
        for words in offered(problem.fix):
            if not any(placeholder in word for word in words for placeholder in PLACEHOLDERS):
                tried += 1
                after = problems_of(applied(command, words))
                assert (problem.where, problem.what) not in {(p.where, p.what) for p in after}, (
                    words
                )
    assert tried or name in IN_WORDS
