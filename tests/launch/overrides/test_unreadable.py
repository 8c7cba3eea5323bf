"""Words that are no overrides: where they cannot be read, and a form that works when it is pasted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import CONF

from lingotune.config.problems import Problem
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.overrides.overrides import read_overrides

GROUPS = config_groups(CONF)


def refused(*words: str) -> list[Problem]:
    return read_overrides(words, GROUPS, multirun=False)[1]


def pasted(commands: Sequence[str]) -> list[list[str]]:
    """The words that a real shell makes of each command."""
    script = "\n".join(f"printf '%s\\0' {command}; printf '\\0'" for command in commands)
    run = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
    return [one.split("\0") for one in run.stdout.split("\0\0")[:-1]]


HOME = os.environ.get("HOME", "")
WORDS: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    # blanks and symbols
    "data.path=a (1-5).csv": ("'(', character 13", [("data.path", "a (1-5).csv")]),
    "data.columns.text=Text (en)": ("'(', character 24", [("data.columns.text", "Text (en)")]),
    "data.path=a&b": ("'&', character 12", [("data.path", "a&b")]),
    "data.path==x": ("'=', character 11", [("data.path", "=x")]),
    "name=it's": ('"\'", character 8', [("name", "it's")]),
    "name=a;b": ("';', character 7", [("name", "a;b")]),
    "name=`a`": ("'`', character 6", [("name", "`a`")]),
    "name=!a": ("'!', character 6", [("name", "!a")]),
    "name=#a": ("'#', character 6", [("name", "#a")]),
    "name=é": ("'é', character 6", [("name", "é")]),
    'data.path="a b"c': ("'c', character 16", [("data.path", '"a b"c')]),
    "cluster.environment.A=a&b": ("'&', character 24", [("cluster.environment.A", "a&b")]),
    "aws.tags.a b=c": ("'b', character 12", [("aws.tags", {"a b": "c"})]),
    "aws.tags.a:b=c": ("':', character 11", [("aws.tags", {"a:b": "c"})]),
    # what was left open or is too much
    "name='it": ('"\'", character 6', [("name", "it")]),
    'name=it"': ("'\"', character 8", [("name", "it")]),
    "cluster='p3_16xl": ('"\'", character 9', [("cluster", "p3_16xl")]),
    "name=a,": ("its end", [("name", "a")]),
    "lr=2e-5;": ("';', character 8", [("lr", 2e-5)]),
    "lr=2e-5,": ("its end", [("lr", 2e-5)]),
    "lr==2e-5": ("'=', character 4", [("lr", 2e-5)]),
    "data.languages=[a,b": ("its end", [("data.languages", ["a", "b"])]),
    "data.languages=a,b]": ("']', character 19", [("data.languages", ["a", "b"])]),
    "data.languages=[a,,b]": ("',', character 19", [("data.languages", ["a", "b"])]),
    "data.languages=['de', 'fr]": ('"\'", character 23', [("data.languages", ["de", "fr"])]),
    "data.labels=[{name:a},{name:b]": (
        "']', character 30", [("data.labels", [{"name": "a"}, {"name": "b"}])],
    ),
    "data.path=${HOME": ("'{', character 12", [("data.path", HOME)]),
    "name=${seed": ("'{', character 7", [("name", "${seed}")]),
    # from web pages, word processors and input methods
    "name=\u201cx y\u201d": ("'\u201c', character 6", [("name", "x y")]),
    "data.languages=[\u2018de\u2019,\u2018fr\u2019]": (
        "'\u2018', character 17", [("data.languages", ["de", "fr"])],
    ),
    "\u2013lr=2e-5": ("'\u2013', character 1", [("lr", 2e-5)]),
    "\u2014\u2014epochs=3": ("'\u2014', character 1", [("epochs", 3)]),
    "lr\uff1d2e-5": ("'\uff1d', character 3", [("lr", 2e-5)]),
    "lr=\uff12e-5": ("'\uff12', character 4", [("lr", 2e-5)]),
    "lr=2e\u22125": ("'\u2212', character 6", [("lr", 2e-5)]),
    "\u200blr=2e-5": (r"'\u200b', character 1", [("lr", 2e-5)]),
    "lr=2e-5\u200b": (r"'\u200b', character 8", [("lr", 2e-5)]),
    "lr\u00a0=2e-5": (r"'\xa0', character 3", [("lr", 2e-5)]),
    # as other tools have it
    "lr =2e-5": ("'=', character 4", [("lr", 2e-5)]),
    "lr:2e-5": ("'2', character 4", [("lr", 2e-5)]),
    "data[path]=x": ("'[', character 5", [("data.path", "x")]),
    "data.labels[0].name=x": ("'[', character 12", [("data.labels.0.name", "x")]),
}  # fmt: skip


def test_what_cannot_be_read_is_told_with_its_first_wrong_character_and_a_form_that_works() -> None:
    problems = {word: refused(word) for word in WORDS}
    for word, (told, _) in WORDS.items():
        (problem,) = problems[word]
        assert problem.what.startswith(f"cannot be read from {told}, on"), (word, problem)
    for word, fixed in zip(WORDS, pasted([p[0].fix for p in problems.values()]), strict=True):
        read, more = read_overrides(fixed, GROUPS, multirun=False)
        assert not more, (word, fixed)
        assert [(o.key_or_group, o.value()) for axis in read for o in axis.values] == WORDS[word][
            1
        ], (word, fixed)


SEVERAL = {
    ("--lr", "2e-5"): ["lr=2e-05"],
    ("-lr=2e-5",): ["lr=2e-5"],
    ("--lr=2e-5",): ["lr=2e-5"],
    ("lr=", "2e-5"): ["lr=2e-05"],
    ("lr", "=", "2e-5"): ["lr=2e-05"],
    ("lr", "=2e-5"): ["lr=2e-05"],
    ("lr:", "2e-5"): ["lr=2e-05"],
    ("seed", "-1"): ["seed=-1"],
    ("--cluster", "p3_16xl"): ["cluster=p3_16xl"],
    ("--per-device-bs", "16"): ["per_device_bs=16"],
    ("--learning-rate", "2e-5"): ["lr=2e-5"],
    ("--max_length", "128"): ["data.max_length=128"],
    ("--report_to", "wandb"): ["training.report_to=[wandb]"],
    ("--fp16",): ["training.precision=fp16"],
    ("--config_dir", "x"): ["--config-dir", "x"],
    ("data.languages", "de", "fr"): ["data.languages=[de,fr]"],
    ("data.labels=[Great (1-5),", "b]"): ['data.labels=["Great (1-5)",b]'],
    ("data.columns.text=review", "text"): ['data.columns.text="review text"'],
    ("aws.tags.team=a", "b"): ['aws.tags.team="a b"'],
    ("lr=2e-5 epochs=3",): ["lr=2e-5", "epochs=3"],
    ("lr=1;epochs=3",): ["lr=1", "epochs=3"],
    ("data=files data.path=x.csv",): ["data=files", "data.path=x.csv"],
}  # fmt: skip


def test_a_setting_in_the_wrong_number_of_words_is_one_problem() -> None:
    problems = {words: refused(*words) for words in SEVERAL}
    assert all(len(found) == 1 and found[0].where == " ".join(words)
               for words, found in problems.items()), problems  # fmt: skip
    assert pasted([found[0].fix for found in problems.values()]) == list(SEVERAL.values())


def test_words_that_were_parted_may_be_one_text_or_several() -> None:
    (problem,) = refused("data=files", "data.path=my", "file.csv", "seed=3")
    assert problem.where == "data.path=my file.csv"
    assert problem.fix == """'data.path="my file.csv"', or 'data.path=[my,file.csv]'"""


@pytest.mark.parametrize(
    "words",
    [("lr=3", "foo"), ("experiment=blog", "foo"), ("~lr", "~foo"), ("seed=3", "two words")],
)
def test_words_that_belong_to_no_other_stay_problems_of_their_own(words: tuple[str, str]) -> None:
    assert words[1] in [problem.where for problem in refused(*words)]


def test_what_has_no_value_is_told_one_that_works() -> None:
    assert [p.fix for p in refused("lr", "--seed", "cluster.spot", "data")] == [
        "lr=3e-05", "seed=42", "cluster.spot=true",
        "data=amazon_reviews_multi | files | sample | sample_pairs | sample_stars | sample_topics",
    ]  # fmt: skip
    assert {p.what for p in refused("lr", "data")} == {"has no value: the form is key=value"}


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("lr=0x1F", None), ("lr=2,5e-5", "-m lr=2,5e-5; or one number: lr=2.5e-05"),
        ("data.path=choice(a,b)", "-m 'data.path=choice(a,b)'; or one text: 'data.path=\"choice(a,b)\"'"),
    ],
)  # fmt: skip
def test_sweeps_without_a_multirun_are_offered_quoted(typed: str, fix: str | None) -> None:
    assert [p.fix for p in refused(typed)] == ([fix] if fix else [])


def test_no_message_has_a_line_break_or_a_hidden_character() -> None:
    (problem,) = refused("name=a\nb")
    assert problem.where == r"name=a\nb"
    (problem,) = refused("name=\u200bx")
    assert (problem.where, problem.fix) == (r"name=\u200bx", "name=x")
