"""throughput.jsonl: everything written is read back, and a broken line harms no other."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE

from lingotune.config.jobfile import job_of
from lingotune.config.problems import Severity
from lingotune.config.schema import Precision
from lingotune.estimate.batch import StepPlan, plan_batches
from lingotune.estimate.run_time import duration
from lingotune.estimate.throughput import (
    Setup,
    Throughput,
    append_record,
    format_record,
    model_id,
    parse_record,
    read_records,
    samples_trained,
    setup_of,
)

SETUP = Setup(
    model="distilbert-base-multilingual-cased",
    instance_type="ml.g5.12xlarge",
    machine=None,
    nodes=1,
    gpus_per_node=4,
    processes_per_node=4,
    threads=None,
    distribution="torch_distributed",
    per_device_bs=32,
    accumulation=1,
    precision="bf16",
    max_length=128,
)
RECORD = Throughput(
    schema=1,
    date="2026-11-20T10:00:00Z",
    lingotune="0.1.0",
    job_sha256="ab" * 32,
    setup=SETUP,
    world_size=4,
    parameters=135_000_000,
    data="amazon_reviews_multi",
    languages=("de", "en"),
    rows={"train": 1000, "validation": 100, "test": 100},
    tokens_mean=40.5,
    tokens_p95=120.0,
    padding=0.25,
    train_samples=3000,
    eval_samples=500,
    train_seconds=10.0,
    eval_seconds=1.0,
    other_seconds=60.0,
    samples_per_second=300.0,
    eval_samples_per_second=500.0,
)

amounts = st.floats(0.001, 1e6)


@given(
    model=st.text(min_size=1),
    languages=st.lists(st.text()).map(tuple),
    rows=st.dictionaries(st.text(), st.integers(0)),
    train=amounts,
    padding=st.none() | st.floats(0, 1),
    share=st.none() | st.floats(0, 1),
)
def test_a_record_survives_its_line(
    model: str,
    languages: tuple[str, ...],
    rows: dict[str, int],
    train: float,
    padding: float | None,
    share: float | None,
) -> None:
    record = dataclasses.replace(
        RECORD,
        setup=dataclasses.replace(SETUP, model=model),
        languages=languages,
        rows=rows,
        train_seconds=train,
        padding=padding,
        spot_billable_share=share,
    )
    line = format_record(record)
    assert line.isascii() and len(line.splitlines()) == 1, "one line, whatever the names hold"
    assert parse_record(line) == record


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(format_record(RECORD)), **values})


def without(name: str) -> str:
    return json.dumps({k: v for k, v in json.loads(format_record(RECORD)).items() if k != name})


BROKEN = {
    "half a line": (format_record(RECORD)[:100], ""),
    "not an object": ("[]", "list where an object is needed"),
    "no setup": (without("setup"), "setup is missing"),
    "a setup of nothing": (changed(setup={}), "model is missing"),
    "a later version": (changed(schema=2), "schema 2, this version reads 1"),
    "text for a number": (changed(samples_per_second="fast"), "samples_per_second is 'fast'"),
    "a number for text": (changed(data=3), "data is 3"),
    "true for a count": (changed(train_samples=True), "train_samples is True"),
    "a fraction for a count": (changed(train_samples=1.5), "train_samples is 1.5"),
    "NaN": (changed(train_seconds=float("nan")), "train_seconds is nan"),
    "no training": (changed(samples_per_second=0), "a run without training"),
    "negative seconds": (changed(eval_seconds=-1), "negative figures"),
    "no share": (changed(spot_billable_share=1.5), "spot_billable_share 1.5 is no share"),
    "a number beyond floats": (changed(train_seconds=10**400), ""),
    "not UTF-8": ("\udcff", ""),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_a_warning_and_the_others_are_read(case: str, tmp_path: Path) -> None:
    line, said = BROKEN[case]
    path = tmp_path / "throughput.jsonl"
    good = format_record(RECORD)
    path.write_bytes(f"{good}\n{line}\n\n{good}\n".encode("utf-8", "surrogateescape"))
    records, (problem,) = read_records(path)
    assert records == [RECORD, RECORD]
    assert problem.severity is Severity.warning
    assert problem.where == f"{path}:2"
    assert problem.what.startswith("is no record of a run: ") and said in problem.what


def test_fields_of_later_versions_are_passed_over() -> None:
    assert parse_record(changed(gpu_hours=3)) == RECORD


def test_no_file_is_no_record_and_a_folder_is_a_warning(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none.jsonl") == ([], [])
    records, (problem,) = read_records(tmp_path)
    assert not records and problem.severity is Severity.warning


def test_a_torn_line_does_not_take_the_next_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "throughput.jsonl"
    append_record(path, RECORD)
    with path.open("a") as file:
        file.write(format_record(RECORD)[:50])
    append_record(path, RECORD)
    records, problems = read_records(path)
    assert len(records) == 2 and len(problems) == 1
    assert path.read_bytes().endswith(b"}\n")


def test_parallel_runs_do_not_mix_their_lines(tmp_path: Path) -> None:
    code = (
        "import sys, dataclasses, pathlib\n"
        "from lingotune.estimate.throughput import append_record, parse_record\n"
        "record = parse_record(sys.stdin.read())\n"
        "for n in range(100):\n"
        "    append_record(pathlib.Path(sys.argv[1]), dataclasses.replace(record, train_samples=n + 1))\n"
    )
    path = tmp_path / "throughput.jsonl"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        process.communicate(format_record(RECORD), timeout=PATIENCE)
        assert process.returncode == 0
    records, problems = read_records(path)
    assert not problems
    assert sorted(r.train_samples for r in records) == sorted(4 * list(range(1, 101)))


def test_the_setup_of_a_job() -> None:
    job = job_of(compose("cluster=g5_12xl", "model=distilbert_multilingual"))
    setup = setup_of(job, plan_batches(job), Precision.bf16, "NVIDIA A10G")
    assert setup.instance_type == "ml.g5.12xlarge"
    assert setup.machine is None, "the instance type says it"
    assert (setup.nodes, setup.gpus_per_node, setup.processes_per_node) == (1, 4, 4)
    assert (setup.precision, setup.max_length) == ("bf16", job.data.max_length)
    local = setup_of(
        job_of(compose("cluster.processes=2")), plan_batches(job), Precision.fp32, "cpu"
    )
    assert (local.instance_type, local.machine, local.processes_per_node) == (None, "cpu", 2)
    assert local.distribution == "local", "the SageMaker launcher plays no part"


def test_models_from_scratch_are_told_apart_by_their_sizes() -> None:
    one, other = (job_of(compose(f"model.scratch.dim={dim}")).model for dim in (64, 128))
    assert model_id(one) != model_id(other)
    assert model_id(one).startswith("scratch dim=64 hidden_dim=256")


@given(
    rows=st.integers(1, 500),
    batch=st.integers(1, 64),
    total=st.integers(1, 200),
    done=st.integers(0, 200),
)
def test_samples_are_counted_as_the_batches_come(
    rows: int, batch: int, total: int, done: int
) -> None:
    per_epoch = -(-rows // batch)
    steps = StepPlan(rows, per_epoch, total, 0, ())
    one_epoch = [min(batch, rows - start) for start in range(0, rows, batch)]
    seen = one_epoch * (1 + max(total, done) // per_epoch)
    assert samples_trained(steps, batch) == sum(seen[:total])
    assert samples_trained(steps, batch, done) == sum(seen[:done])


@pytest.mark.parametrize(
    ("seconds", "rough", "exact"),
    [
        (7.06, "7 s", "7.1 s"), (59.9, "60 s", "59.9 s"), (65, "65 s", "1 min 05 s"),
        (725, "12 min", "12 min 05 s"), (11_090, "3 h 05 min", "3 h 04 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, rough: str, exact: str) -> None:
    assert duration(seconds) == rough
    assert duration(seconds, exact=True) == exact
