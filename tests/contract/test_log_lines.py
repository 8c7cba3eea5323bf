"""Metrics as SageMaker reads them: every definition tried on real log lines, and on any number."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import warm
from conftest import ROOT, compose, run
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.schema import further_metrics
from lingotune.contract.log_lines import (
    Logged,
    format_test_line,
    format_train_line,
    format_validation_line,
    metric_definitions,
    read_line,
)
from lingotune.data.sources.sample import LANGUAGES
from lingotune.launch.render.service_model import mistakes

PREFIXES = ["", "[1,mpirank:0,algo-1]<stdout>:", "2024-05-01T12:00:00.123Z ", "[default0]:"]

# Half of the last digit that a metric needs: relative to the value, then absolute.
TOLERANCES = {"loss": (5e-5, 0.0), "learning_rate": (5e-4, 0.0), "grad_norm": (5e-4, 0.0),
              "samples_per_second": (0.0, 0.0501)}  # fmt: skip


def matches(name: str, found: float, value: float) -> bool:
    relative, absolute = TOLERANCES.get(name.partition(":")[2], (0.0, 5.01e-5))
    both_nan = math.isnan(found) and math.isnan(value)
    return both_nan or math.isclose(found, value, rel_tol=relative + 1e-12, abs_tol=absolute)


def extract(lines: list[str], languages: list[str]) -> dict[str, list[float]]:
    """What CloudWatch gets: the first group of the first match in each line, metric by metric."""
    found: dict[str, list[float]] = {}
    for definition in metric_definitions(languages):
        hits = [re.search(definition["Regex"], line) for line in lines]
        found[definition["Name"]] = [float(hit[1]) for hit in hits if hit]
    return found


def assert_extracted(
    lines: list[str], languages: list[str], expected: dict[str, list[float]]
) -> None:
    """Exactly these metrics have values, as many as expected, in order, to their digits."""
    found = {name: values for name, values in extract(lines, languages).items() if values}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert len(found[name]) == len(values), name
        for got, value in zip(found[name], values):
            assert matches(name, got, value), (name, got, value)


# --- the definitions ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 6, 14, 15, 200])
def test_definitions_fit_the_service_model_and_keep_the_first_languages(count: int) -> None:
    languages = [f"{number:03}".rjust(35, "x") for number in range(count)]
    definitions = metric_definitions(languages)
    body = {
        "AlgorithmSpecification": {"TrainingInputMode": "File", "MetricDefinitions": definitions}
    }
    assert not [m for m in mistakes(body) if "MetricDefinitions" in m.path]
    names = [definition["Name"] for definition in definitions]
    assert len(names) == len(set(names)) == 12 + 2 * min(count, 14)
    for split in ("validation", "test"):
        stem = f"{split}:macro_f1_"
        assert [n[len(stem) :] for n in names if n.startswith(stem)] == languages[:14]


def test_definitions_name_the_metrics() -> None:
    assert {definition["Name"] for definition in metric_definitions(["de"])} == {
        "train:loss", "train:learning_rate", "train:grad_norm", "train:samples_per_second",
        "validation:loss", "validation:accuracy", "validation:macro_f1", "validation:macro_f1_de",
        "test:loss", "test:accuracy", "test:macro_f1", "test:macro_f1_de",
        "validation:worst_language_macro_f1", "test:worst_language_macro_f1",
    }  # fmt: skip


def test_a_job_that_does_not_train_on_all_languages_has_their_metrics() -> None:
    own = further_metrics(job_of(compose("data.train_languages=[de]")))
    assert own == ["seen_macro_f1", "unseen_macro_f1"] and not further_metrics(job_of(compose()))
    values = {
        "loss": 1.0,
        "accuracy": 0.5,
        "macro_f1": 0.4,
        "seen_macro_f1": 0.45,
        "unseen_macro_f1": 0.25,
    }
    line = format_validation_line(1, 2, values, own)
    logged = read_line(line)
    assert logged and logged.values == values
    found = {
        d["Name"]: float(match[1])
        for d in metric_definitions(["de"], own)
        if (match := re.search(d["Regex"], line))
    }
    assert found == {f"validation:{name}": value for name, value in values.items()}


def test_expressions_have_one_group_and_keep_to_the_syntax_that_engines_share() -> None:
    for definition in metric_definitions(list(LANGUAGES)):
        assert re.compile(definition["Regex"]).groups == 1
        special = re.findall(r"\(\?.|\\[A-Za-z]", definition["Regex"])
        assert set(special) <= {"(?:", r"\b", r"\S"}


def test_codes_that_cloudwatch_could_not_name_get_no_definition_and_no_place_in_the_line() -> None:
    odd = ["und", "de (DE)", "日本語", "", "de, en 0.5", "x" * 36]
    assert metric_definitions([*odd, "de", "de"]) == metric_definitions(["de"])
    values = {"loss": 1.0, "accuracy": 0.5, "macro_f1": 0.4}
    line = format_validation_line(1, 2, {**values, **{f"macro_f1_{code}": 0.3 for code in odd}})
    assert line == format_validation_line(1, 2, values)


OTHER_LINES = [
    "footstep 10/145  loss 1.0986  lr 1.000e-03  grad 1.234",
    "latest: loss 0.6123  accuracy 0.7730  macro-F1 0.7630 (de 0.7610)  samples/s 12.3",
    "warning: test: 3 rows are longer than 64 tokens",
    "test split, best checkpoint by validation:",
    "de              150     0.787     0.782     0.400",
    "{'loss': 1.0986, 'grad_norm': 1.2, 'learning_rate': 1e-05, 'epoch': 0.1}",
    "step 10/145  loss = 1.0986, lr = 1e-05",
    "steps 145 = 29 an epoch x 5 epochs",
    "the loss became nan at step 7",
]


@pytest.mark.parametrize("line", OTHER_LINES)
def test_other_lines_carry_nothing(line: str) -> None:
    assert_extracted([line], ["de"], {})


# --- any number ---------------------------------------------------------------------------------

numbers = st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf, 1e-05, -0.0])
codes = st.lists(
    st.from_regex("[A-Za-z0-9_-]{1,35}", fullmatch=True)
    | st.sampled_from([*LANGUAGES, "de-DE", "de-AT", "loss", "accuracy", "macro-F1", "grad", "lr"]),
    max_size=14,
    unique=True,
).map(lambda codes: [code for code in codes if code != "und"])
prefixes = st.sampled_from(PREFIXES)
steps = st.integers(0, 10**7)


@given(numbers, st.dictionaries(st.sampled_from(["learning_rate", "grad_norm"]), numbers), codes,
       steps, prefixes)  # fmt: skip
def test_any_training_line_gives_its_values_back(
    loss: float, others: dict[str, float], languages: list[str], step: int, prefix: str
) -> None:
    values = {"loss": loss, **others}
    line = prefix + format_train_line(step, 10**7, {**values, "epoch": 1.5})
    assert_extracted([line], languages, {f"train:{key}": [values[key]] for key in values})


SCORES = ("loss", "accuracy", "macro_f1", "worst_language_macro_f1")
score_values = st.fixed_dictionaries(dict.fromkeys(SCORES, numbers))


@given(score_values, codes, st.data(), steps, prefixes)
def test_any_validation_line_gives_its_values_back(
    overall: dict[str, float], languages: list[str], data: st.DataObject, step: int, prefix: str
) -> None:
    values = {**overall, **{f"macro_f1_{code}": data.draw(numbers) for code in languages}}
    line = prefix + format_validation_line(step, 10**7, {**values, "runtime": 1.0})
    assert_extracted([line], languages, {f"validation:{key}": [values[key]] for key in values})


@given(score_values, codes, st.data(), numbers | st.none(), prefixes)
def test_any_test_line_gives_its_values_back(
    overall: dict[str, float],
    languages: list[str],
    data: st.DataObject,
    throughput: float | None,
    prefix: str,
) -> None:
    values = {**overall, **{f"macro_f1_{code}": data.draw(numbers) for code in languages}}
    expected = {f"test:{key}": [value] for key, value in values.items()}
    if throughput is not None:
        values["samples_per_second"] = throughput
        expected["train:samples_per_second"] = [throughput]
    line = prefix + format_test_line(values)
    assert_extracted([line], languages, expected)


def test_lines_read_well() -> None:
    values = {"loss": 1.09861, "learning_rate": 1e-3, "grad_norm": 1.23456, "epoch": 0.2}
    assert (
        format_train_line(10, 145, values) == "step 10/145  loss 1.0986  lr 1.000e-03  grad 1.235"
    )
    scores = {
        "loss": 0.6,
        "accuracy": 0.773,
        "macro_f1": 0.763,
        "macro_f1_de": 0.5,
        "macro_f1_en": 1,
        "worst_language_macro_f1": 0.5,
    }
    assert format_validation_line(29, 145, scores) == (
        "step 29/145  validation: loss 0.60000  accuracy 0.7730  macro-F1 0.7630 (de 0.5000, en 1.0000)"
        "  worst-language 0.5000"
    )


# --- a real run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """What a training job leaves: its log, the Trainer's own record, and the scores."""

    lines: list[str]
    history: list[dict[str, Any]]
    metrics: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """train.py started as SageMaker starts it; on a terminal 48 steps would give 24 lines."""
    home = tmp_path_factory.mktemp("container")
    job = job_of(
        compose(
            "cluster=p3_2xl", "per_device_bs=4", "training.max_steps=48", "training.logging_steps=1",
            "training.eval_strategy=steps", "training.eval_steps=16",
            "data.sample.train_rows=30", "data.sample.validation_rows=10", "data.sample.test_rows=10",
        )
    )  # fmt: skip
    (home / "config").mkdir()
    (home / "config" / "job.yaml").write_bytes(dump_job(job))
    done = run(
        str(ROOT / "train.py"),
        cwd=home,
        TRAINING_JOB_NAME="job",
        SM_CHANNEL_CONFIG=str(home / "config"),
        SM_MODEL_DIR=str(home / "model"),
        SM_OUTPUT_DATA_DIR=str(home / "output"),
        **warm.WITHOUT_PICTURES,
    )
    assert done.returncode == 0, done.stderr
    state = json.loads((home / "checkpoints" / "checkpoint-48" / "trainer_state.json").read_text())
    metrics = json.loads((home / "output" / "metrics.json").read_text())
    # CloudWatch reads both streams.
    lines = (done.stdout + done.stderr).splitlines()
    return Finished(lines, state["log_history"], metrics)


def expected_of(finished: Finished) -> dict[str, list[float]]:
    def logged(key: str) -> list[float]:
        return [entry[key] for entry in finished.history if key in entry]

    test = finished.metrics["test"]
    scores = [*SCORES, *(f"macro_f1_{code}" for code in LANGUAGES)]
    return {
        **{f"train:{key}": logged(key) for key in ("loss", "learning_rate", "grad_norm")},
        **{f"validation:{key}": logged(f"eval_{key}") for key in scores},
        "test:loss": [test["loss"]],
        "test:accuracy": [test["overall"]["accuracy"]],
        "test:macro_f1": [test["overall"]["macro_f1"]],
        "test:worst_language_macro_f1": [test["worst_language"]["macro_f1"]],
        **{f"test:macro_f1_{code}": [test["languages"][code]["macro_f1"]] for code in LANGUAGES},
        "train:samples_per_second": [finished.metrics["training"]["samples_per_second"]],
    }


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_real_log_gives_what_the_trainer_recorded(finished: Finished, prefix: str) -> None:
    expected = expected_of(finished)
    assert len(expected["train:loss"]) == 48, "every logged step has its line on a worker"
    assert len(expected["validation:loss"]) == 3
    lines = [prefix + line for line in finished.lines]
    assert_extracted(lines, list(LANGUAGES), expected)


def test_the_log_has_one_line_a_logged_step_and_no_more(finished: Finished) -> None:
    assert sum("step " in line for line in finished.lines) == 48 + 3
    assert sum("test: " in line for line in finished.lines) == 1


@pytest.mark.parametrize(("lines", "least", "most"), [(20, 20, 21), (None, 1000, 1000)])
def test_a_terminal_gets_about_twenty_lines_and_a_worker_all(
    lines: int | None, least: int, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from lingotune.training.trainer import ProgressLines

    progress = ProgressLines(lr=0.01, total_steps=1000, show=True, lines=lines)
    for step in range(1, 1001):
        state = SimpleNamespace(global_step=step, is_world_process_zero=True)
        progress.on_log(None, state, None, {"loss": 1.0, "learning_rate": 0.1})
    assert least <= len(capsys.readouterr().out.splitlines()) <= most


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_line_is_read_as_it_was_written(prefix: str) -> None:
    scores = {"loss": 0.98765, "accuracy": 0.5632, "macro_f1": 0.5532, "macro_f1_de": 0.55,
              "macro_f1_pt-BR": 1.0, "worst_language_macro_f1": 0.55, "cost": 12.25}  # fmt: skip
    train = {"loss": 1.0986, "learning_rate": 1e-3, "grad_norm": 1.234}
    found = read_line(prefix + format_train_line(10, 145, train))
    assert found == Logged("train", 10, 145, train)
    found = read_line(prefix + format_validation_line(29, 145, scores, ["cost"]) + "\r")
    assert found == Logged("validation", 29, 145, scores)
    tested = {**scores, "samples_per_second": 123.4}
    found = read_line(prefix + format_test_line(tested, ["cost"]))
    assert found == Logged("test", None, None, tested)


def test_numbers_that_are_none_are_read() -> None:
    found = read_line(format_train_line(1, 2, {"loss": math.nan, "grad_norm": math.inf}))
    assert found is not None and math.isnan(found.values["loss"])
    assert found.values["grad_norm"] == math.inf


@pytest.mark.parametrize("line", ["", "loss 1", "a step 1/2  lr 1", "step 1/2 loss 1", "loss "])
def test_other_lines_are_not_read(line: str) -> None:
    assert read_line(line) is None


NUMBERS = st.floats(allow_infinity=True, allow_nan=True)
CODES = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True).filter(lambda code: code != "und")
OWN = st.lists(st.from_regex(r"own_[a-z]{1,6}", fullmatch=True), max_size=3, unique=True)


@st.composite
def scores(draw: st.DrawFn, own: list[str]) -> dict[str, float]:
    names = ["accuracy", "macro_f1", "worst_language_macro_f1", *own]
    some = [name for name in names if draw(st.booleans())]
    if "macro_f1" in some:
        some += [f"macro_f1_{code}" for code in draw(st.lists(CODES, max_size=3, unique=True))]
    return {name: draw(NUMBERS) for name in ["loss", *some]}


def assert_read_back(found: Mapping[str, float], values: Mapping[str, float]) -> None:
    assert found.keys() == values.keys()
    for name, value in values.items():
        form = {"loss": "#.5g", "grad_norm": "#.4g", "learning_rate": ".3e"}.get(name, ".4f")
        form = ".6g" if name.startswith("own_") else form
        form = ".1f" if name == "samples_per_second" else form
        assert found[name] == pytest.approx(float(format(value, form)), nan_ok=True, rel=0, abs=0)


@given(st.data(), st.integers(0, 10**9), st.integers(1, 10**9), st.sampled_from(PREFIXES), OWN)
def test_a_line_of_scores_reads_back_as_it_was_formatted(
    data: st.DataObject, step: int, total: int, prefix: str, own: list[str]
) -> None:
    values = data.draw(scores(own))
    found = read_line(prefix + format_validation_line(step, total, values, own))
    assert found is not None and (found.split, found.step, found.total_steps) == (
        "validation", step, total,
    )  # fmt: skip
    assert_read_back(found.values, values)
    values["samples_per_second"] = data.draw(NUMBERS)
    found = read_line(prefix + format_test_line(values, own))
    assert found is not None and (found.split, found.step) == ("test", None)
    assert_read_back(found.values, values)


@given(st.integers(0, 10**9), st.integers(1, 10**9), NUMBERS, NUMBERS, st.sampled_from(PREFIXES))
def test_a_line_of_training_reads_back(
    step: int, total: int, loss: float, rate: float, prefix: str
) -> None:
    values = {"loss": loss, "learning_rate": rate}
    found = read_line(prefix + format_train_line(step, total, values))
    assert found is not None and (found.split, found.step, found.total_steps) == (
        "train", step, total,
    )  # fmt: skip
    assert_read_back(found.values, values)
