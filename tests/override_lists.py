"""Random override lists, valid and broken ones, as people type them."""

from __future__ import annotations

import random
import typing
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from conftest import CONF

from lingotune.config.settings import container_of, setting_types
from lingotune.launch.overrides.keys import ALIASES, config_groups
from lingotune.launch.overrides.other_tools import not_here

# ruff: noqa: E501 - tables of words
GROUPS = config_groups(CONF)
KEYS = list(setting_types())
CASES = (
    ("cluster=p3_16xl",), ("cluster=g5_12xl",), ("cluster=p4d_24xl", "cluster.spot=true"),
    ("cluster=p3_2xl",), ("cluster=sagemaker", "cluster.instance_type=ml.g5.2xlarge"),
    ("data=files", "data.path=own.jsonl"), ("model=xlmr_base",), ("scaling=linear",),
    ("model=pretrained", "model.name_or_path=org/model"), ("scaling=fixed_global",),
    ("data=amazon_reviews_multi",), ("code.file=mine.py", "code.metrics=[kappa]"),
    ("-m", "lr=1e-4,3e-4"), ("-m", "lr=interval(1e-4,1e-3)", "sweep.search=tpe", "sweep.trials=4"),
    ("-m", "sweep=lr"), ("hub=private",), ("action=submit",), ("experiment=blog",), (), (), (),
)  # fmt: skip
"""What a command may begin with."""
NUMBERS = ("0", "1", "2", "3", "8", "16", "-1", "0.1", "1e-5", "3e-4", "1.5", "100", "1e400",
           "99999999999999999999", "nan", "inf", "-inf", "1e3", "0x10", "1,5", "1_000")  # fmt: skip
WORDS = ("a", "de", "true", "no", "null", "auto", "none", "epoch", "", "''", "a b", "ünï", "日本", "x.y",
         "s3://bucket/key", "my file (1).csv", "it's", 'say "hi"', "a&b", "50%", "#1", "~/x", "$HOME",
         "text\\", "a=b", "a:b", "Ωmega", "\x1b[31mred", "a\tb", "\u201chi\u201d", "x" * 70)  # fmt: skip
SHAPES = ("[a]", "[1,2]", "[]", "{}", "{a: 1}", "[[1]]", "[{name: a}]", "[null]", "[a", "a]", "{a: 1",
          "[a,]", "a,", ",a", "{a: {b: c}}", "[de, fr]", "['a','b']", "[{name: a, values: [1]}]",
          "{name: a}", "[a=1]", "(1)", "f(1)", "a:1,b:2")  # fmt: skip
REFERENCES = ("${lr}", "${name}", "${nope}", "${lr", "${oc.env:HOME}", "${now:%Y}", "???", "${data.path}",
              "${oc.env:NOPE,3}", "${hydra:job.name}", "${epochs}", "${env:USER}", "$lr")  # fmt: skip
SWEPT = ("1,2", "1e-5,3e-5", "a,b", "choice(1,2)", "choice(a,b)", "range(1,4)", "range(4,1)",
         "range(0,1,0)", "interval(1e-5,1e-3)", "interval(2,1)", "interval(a,b)", "tag(log,interval(0,1))",
         "tag(log,interval(1e-5,1e-4))", "glob(*)", "glob(x*)", "shuffle(1,2,3)", "sort(3,1)", "1,1",
         "choice()", "null,1", "[a],[b]", "true,false", "uniform(0,1)", "loguniform(1e-5,1e-3)",
         "1,a", "range(1,5000)", "int(3)", "str(3)", "extend_list(a)", "interval(1,8)")  # fmt: skip
HYDRA = ("hydra.run.dir=x", "hydra/launcher=joblib", "hydra.sweeper.n_trials=20", "hydra.job.name=a b",
         "hydra/sweeper=optuna", "hydra.verbose=true", "hydra.sweeper.params={lr: '1e-5,3e-5'}",
         "hydra.sweeper.params.lr=1e-5,3e-5", "hydra.launcher.n_jobs=4", "hydra.mode=MULTIRUN",
         "hydra.job.env_set.A=1", "hydra.job.env_copy=[HOME]", "hydra.sweep.dir=${now:%Y}",
         "hydra.searchpath=[file://.]", "hydra.sweeper.seed=1", "hydra.job.num=1")  # fmt: skip

Chance = random.Random


def valid(kind: Any, chance: Chance) -> str:
    """Write a value of a type that a job may have."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        return valid(inner[0], chance) if chance.random() < 0.8 else "null"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return chance.choice([one.name for one in kind])
    if typing.get_origin(kind) is list:
        return "[]" if is_dataclass(inner[0]) else f"[{valid(inner[0], chance)}]"
    if typing.get_origin(kind) is dict:
        return "{key: value}"
    if is_dataclass(kind):
        return "{}"
    plain = {
        bool: ("true", "false"),
        int: ("1", "2", "3", "8", "16", "64", "500", "4000", "100000"),
        float: ("0.1", "0.5", "1e-4", "3e-4", "1", "2.5", "0.05"),
        str: ("a", "text", "name-1", "own.jsonl", "de", "org/model", "mine.py"),
    }
    return chance.choice(plain.get(kind, ("text", "[a,b]")))


def value(key: str, chance: Chance) -> str:
    """Write a value for a setting, which need not fit."""
    kind = setting_types().get(container_of(key) or key)
    return chance.choices(
        (
            lambda: valid(kind, chance), lambda: chance.choice(NUMBERS), lambda: chance.choice(WORDS),
            lambda: chance.choice(SHAPES), lambda: chance.choice(SWEPT), lambda: chance.choice(REFERENCES),
            lambda: valid(kind, chance).upper(), lambda: f"{valid(kind, chance)},{valid(kind, chance)}",
        ),
        (8, 3, 3, 2, 2, 1, 1, 1),
    )[0]()  # fmt: skip


def misspelled(word: str, chance: Chance) -> str:
    """Leave out, double, change or exchange a letter, or write it in another style."""
    at = chance.randrange(max(1, len(word)))
    return chance.choice((
        word[:at] + word[at + 1 :], word[:at] + word[at : at + 1] * 2 + word[at + 1 :],
        word[:at] + chance.choice("aeqz_.") + word[at + 1 :], word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
        word.replace("_", "-"), word.upper(), word.replace(".", "/"), word.rpartition(".")[2],
        f"{word}s", f"training.{word.rpartition('.')[2]}", f"{word}.x",
    ))  # fmt: skip


def setting(chance: Chance) -> str:
    key = chance.choice(KEYS)
    if is_dataclass(setting_types()[key]) and chance.random() < 0.8:
        key = chance.choice(KEYS)
    return f"{key}={value(key, chance)}"


def unknown(chance: Chance) -> str:
    key = chance.choice(KEYS)
    name = chance.choice((misspelled(key, chance), chance.choice([*ALIASES, *not_here()])))
    if chance.random() < 0.2:
        name = f"{chance.choice(('training', 'data', 'trainer', 'model'))}.{name}"
    return f"{name}={value(key, chance)}"


def group(chance: Chance) -> str:
    name = chance.choice(list(GROUPS))
    option = chance.choice(GROUPS[name])
    return chance.choice((
        f"{name}={option}", f"{name}={misspelled(option, chance)}", f"{name}={option}.yaml", f"~{name}",
        f"+{name}={option}", f"{name}@data={option}", f"{name}={','.join(GROUPS[name][:2])}", f"{name}=null",
        f"{name}=", f"{name}=[{option}]", f"{name}={chance.choice(SWEPT)}", f"{name}/{option}",
        f"{name}={{{chance.choice(('nodes', 'path', 'nope'))}: 2}}", f"{misspelled(name, chance)}={option}",
        f"{name}={chance.choice(REFERENCES)}",
    ))  # fmt: skip


def marked(chance: Chance) -> str:
    """Write a setting with a sign of Hydra before it, or in another tool's way."""
    key = chance.choice(KEYS)
    held = value(key, chance)
    return chance.choice((
        f"~{key}", f"+{key}={held}", f"++{key}={held}", f"~{key}={held}", f"--{key}={held}", f"{key}:{held}",
        f"--{key.replace('_', '-')} {held}", f"{key} = {held}", f"={held}", key, f"{key}==", f"{key}={held};",
        f" {key}={held}", f"{key}.0={held}", f"{key}.name={held}", f"{key}[0]={held}", f"-{key}={held}",
    ))  # fmt: skip


def of_a_sweep(chance: Chance) -> str:
    key = chance.choice(KEYS)
    name = chance.choice([k for k in KEYS if k.startswith("sweep.")])
    return chance.choice((
        f"{name}={value(name, chance)}", f"sweep.params.{key}={value(key, chance)}",
        f"sweep.params={{{key}: '{chance.choice(SWEPT)}'}}", f"sweep.params.{key}={chance.choice(SWEPT)}",
        f"sweep={chance.choice(('lr', 'lr_batch', 'nope', 'null'))}", "sweep.search=tpe sweep.trials=4",
        f"{key}={chance.choice(SWEPT)}", f"sweep.params=[{key}]", "retry=failed", "code=new", "code=x",
        f"{key}={value(key, chance)},{value(key, chance)}", "-m", "-m",
    ))  # fmt: skip


def of_own_code(chance: Chance) -> str:
    key = chance.choice([k for k in KEYS if k.startswith("code.")])
    return chance.choice((
        f"{key}={value(key, chance)}", "code.file=mine.py", "code.metrics=[kappa]", "code.metrics=[nope]",
        "code.metrics=[loss]", "code.requirements=a,", "code.requirements=[scikit-learn==1.5]",
        "code.requirements=[torch]", "code.builder=build", "code.select=kappa", "_target_=my.Class",
        "code.callbacks=[Stop,Stop]", "model._target_=x", "code.requirements=['a b']",
    ))  # fmt: skip


def variable(chance: Chance) -> str:
    name = chance.choice(("cluster.environment", "aws.tags", "data.language_map"))
    inner = chance.choice(("A", "a.b", "a b", "1", "ünï", "a-b", ""))
    return chance.choice((
        f"{name}.{inner}={value(name, chance)}", f"~{name}.{inner}", f"+{name}.{inner}=1",
        f"{name}={{{inner}: {chance.choice(WORDS)}}}", f"{name}={chance.choice(SHAPES)}", f"~{name}",
    ))  # fmt: skip


_KINDS: Sequence[tuple[int, Callable[[Chance], str]]] = (
    (10, setting), (4, unknown), (4, group), (4, marked), (3, of_a_sweep), (2, of_own_code), (1, variable),
    (1, lambda chance: chance.choice(HYDRA)),
)  # fmt: skip


def override_list(seed: int) -> list[str]:
    """Write the list of a seed: what it begins with, and one to four words more."""
    chance = Chance(seed)
    words = list(chance.choice(CASES))
    weights, kinds = zip(*_KINDS)
    for make in chance.choices(kinds, weights, k=chance.choice((1, 1, 1, 2, 2, 3, 4))):
        typed = make(chance)
        parted = (typed.startswith("--") and " " in typed) or " = " in typed
        words += typed.split() if parted or typed.startswith("sweep.search=tpe ") else [typed]
    return words
