"""train.py as a user runs it: the run folder, several processes, sweeps, and every refusal."""

from __future__ import annotations

import json
import os
import shlex
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from conftest import ROOT, compose, run
from trainings import forked

from lingotune.catalog.hardware import resolve_precision
from lingotune.cli.train import main
from lingotune.config.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Precision
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.run_time import estimate_time
from lingotune.estimate.throughput import parse_record, read_records, setup_of
from lingotune.launch import local_sweep
from lingotune.runs.folder import write_command
from lingotune.system.machine import cpu_has_bf16, cpu_machine

QUICK = ["training.max_steps=6", "data.sample.train_rows=30", "data.sample.validation_rows=10",
         "data.sample.test_rows=10", "training.logging_steps=2"]  # fmt: skip
TRAIN = str(ROOT / "train.py")
PRECISION = resolve_precision(Precision.auto, None, cpu_has_bf16=cpu_has_bf16())
"""Of this machine."""


def run_folders(home: Path) -> list[Path]:
    """The run folders, without what lies beside them."""
    return [path.parent for path in (home / "runs").glob("*/job.yaml")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One quick run: its folder and what it printed."""
    home = tmp_path_factory.mktemp("home")
    done = run(TRAIN, *QUICK, cwd=home)
    assert done.returncode == 0, done.stderr
    (folder,) = run_folders(home)
    return folder, done.stdout


def test_the_run_folder_holds_everything(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    job, digest = load_job(folder / "job.yaml")
    assert job == job_of(compose(*QUICK))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["job_sha256"] == digest
    assert metrics["labels"] == ["negative", "neutral", "positive"]
    assert metrics["test"]["overall"]["rows"] == 60
    assert set(metrics["test"]["languages"]) == {"en", "ja", "de", "fr", "zh", "es"}
    assert metrics["training"]["steps"] == 6
    assert metrics["training"]["learning_rate"] == 1e-3
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert {"model.safetensors", "config.json", "tokenizer.json", "metrics.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert not list(folder.rglob("training_args.bin")), "loading a pickle runs what it holds"
    (arguments,) = list((folder / "checkpoints").glob("*/training_args.json"))[:1]
    assert json.loads(arguments.read_text())["learning_rate"] == 1e-3


def test_nobody_else_can_read_the_run_folder(finished: tuple[Path, str]) -> None:
    paths = [finished[0], *finished[0].rglob("*")]
    assert any(path.name.startswith("predictions") for path in paths)
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


def test_the_run_keeps_what_was_typed(
    finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = finished
    assert (folder / "command.txt").read_text() == f"{shlex.join(['python', TRAIN, *QUICK])}\n"
    assert "command" not in (folder / "job.yaml").read_text(), "it is no part of the job"
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    write_command("python train.py 'name=0123456789abcdef x'", tmp_path)
    assert (tmp_path / "command.txt").read_text() == "python train.py 'name=*** x'\n"


def test_the_run_is_on_record(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    (record,), problems = read_records(folder.parent / "throughput.jsonl")
    assert not problems
    job, digest = load_job(folder / "job.yaml")
    assert record.job_sha256 == digest
    assert record.setup == setup_of(job, plan_batches(job), PRECISION, cpu_machine())
    assert record.rows == {"train": 180, "validation": 60, "test": 60}
    assert record.languages == ("de", "en", "es", "fr", "ja", "zh")
    assert record.train_samples == 180, "6 steps of 32 are one epoch of 180 rows"
    assert record.eval_samples == 60 + 60 + 60, "once in training, both splits at the end"
    assert 5 < record.tokens_mean < record.tokens_p95 <= job.data.max_length
    assert record.padding is not None and 0 < record.padding < 1
    metrics = json.loads((folder / "metrics.json").read_text())
    spent = record.train_seconds + record.eval_seconds + record.other_seconds
    assert spent == pytest.approx(metrics["seconds"], abs=0.01)
    assert record.train_seconds < metrics["training"]["seconds"], "evaluating is not training"
    assert record.samples_per_second == metrics["training"]["samples_per_second"]
    assert record.samples_per_second == pytest.approx(180 / record.train_seconds, rel=0.01)
    assert "throughput {" not in printed, "that line is for a container's log"


def test_the_next_plan_knows_its_time(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    records, _ = read_records(folder.parent / "throughput.jsonl")
    job, _ = load_job(folder / "job.yaml")
    rows = {"train": 180, "validation": 60, "test": 60}
    found = estimate_time(job, plan_batches(job), rows, PRECISION, records, cpu_machine())
    (record,) = records
    spent = record.train_seconds + record.eval_seconds + record.other_seconds
    assert found and found.seconds == pytest.approx(spent, rel=0.01)


def test_in_a_container_the_record_is_output_and_log_line(tmp_path: Path) -> None:
    output, model = tmp_path / "output" / "data", tmp_path / "model"
    path = job_file(tmp_path, "job.yaml")
    done = run(
        TRAIN, "--job", str(path), cwd=tmp_path,
        SM_MODEL_DIR=str(model), SM_OUTPUT_DATA_DIR=str(output), **warm.WITHOUT_PICTURES,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,), _ = read_records(output / "throughput.jsonl")
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("throughput ")]
    assert parse_record(line.removeprefix("throughput ")) == record


@pytest.mark.slow
def test_a_record_that_cannot_be_written_costs_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "throughput.jsonl").mkdir(parents=True)
    done = run(TRAIN, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "throughput.jsonl: the throughput is not recorded: " in done.stdout


def test_evaluating_and_saving_are_not_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from lingotune.training import timing

    now = [0.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    watch = timing.Stopwatch(7, lambda step: 10 * step)
    state = SimpleNamespace(global_step=3)
    steps = SimpleNamespace(global_step=5)
    go = SimpleNamespace(should_evaluate=False, should_save=False, should_training_stop=False)
    halt = SimpleNamespace(should_evaluate=True, should_save=True, should_training_stop=True)
    collate = watch.counted(lambda mask: {"attention_mask": torch.tensor(mask)})

    def after(seconds: float, event: Callable[..., None], control: Any = go) -> None:
        now[0] += seconds
        event(None, state, control)

    after(100, watch.on_train_begin)
    collate([[1, 1, 0, 0], [1, 1, 1, 1]])
    after(1, watch.on_step_end)
    after(2, watch.on_step_end, halt)
    collate([[1, 0]])  # of the evaluation
    after(10, watch.on_evaluate)
    after(20, watch.on_save)
    assert watch.pace() == {"samples_per_second": 0, "padding": 0.25}
    now[0] += 4
    watch.on_step_end(None, steps, go)
    assert watch.pace() == {"samples_per_second": 5}
    after(50, watch.on_train_end)  # loading the best checkpoint
    collate([[1, 0]])
    with watch.evaluating(5):
        now[0] += 30
    assert (watch.train_seconds, watch.eval_seconds, watch.eval_samples) == (7, 40, 12)
    assert (watch.first_step, watch.padding) == (3, 0.25)


def test_pictures_are_pngs_of_a_readable_size(finished: tuple[Path, str]) -> None:
    for name in ("confusion_matrix.png", "class_distribution.png"):
        head = (finished[0] / name).read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:24])
        assert width > 900 and height > 300


def test_tensorboard_reads_the_curves(finished: tuple[Path, str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished[0] / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/learning_rate", "eval/macro_f1", "eval/macro_f1_ja"} <= tags
    assert [e.step for e in events.Scalars("train/loss")] == [2, 4, 6]


def test_the_model_loads_anywhere_and_speaks_label_names(finished: tuple[Path, str]) -> None:
    from transformers import pipeline

    answer = pipeline("text-classification", model=str(finished[0] / "model"))("Sehr gut!")
    assert answer[0]["label"] in ("negative", "neutral", "positive")


def test_the_end_shows_a_table_and_commands_that_work(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    assert "global batch 32 = 32 per process x 1 process x 1 accumulation" in printed
    assert "macro-F1  majority" in printed and "\nzh " in printed and "stars off" in printed
    commands = printed[printed.index("look further:") :].splitlines()[1:]
    assert commands[0].split() == ["tensorboard", "--logdir", f"runs/{folder.name}"]
    predict = commands[1].split(maxsplit=5)
    assert predict[:4] == ["python", "-m", "lingotune", "predict"]
    done = run("-m", "lingotune", "predict", predict[4], "Great", "schlecht", cwd=folder.parents[1])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("positive 0." in line for line in lines)


def test_predict_reads_standard_input_and_refuses_other_folders(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    done = run("-m", "lingotune", "predict", str(finished[0]), given="one\n\ntwo\n")
    assert [line.rsplit(None, 1)[1] for line in done.stdout.splitlines()] == ["one", "two"]
    refused = run("-m", "lingotune", "predict", str(tmp_path), "x")
    assert refused.returncode == 2 and "holds no trained model" in refused.stderr


def job_file(folder: Path, name: str, *overrides: str) -> Path:
    path = folder / name
    path.write_bytes(dump_job(job_of(compose(*QUICK, *overrides))))
    return path


def two_ranks(folder: Path, job: str) -> tuple[int, str]:
    """The exit code of two forked ranks of a job, and what they print; torchrun itself is slow."""
    forked = [str(ROOT / "tests" / "forked.py"), "2", job, "run"]
    done = run(*forked, cwd=folder, **warm.WITHOUT_PICTURES)
    assert not done.stderr
    return done.returncode, "".join(log.read_text() for log in folder.glob("run.*.log"))


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    job_file(tmp_path, "job.yaml", "cluster.processes=2", "per_device_bs=8")
    code, printed = two_ranks(tmp_path, "job.yaml")
    assert code == 0, printed
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["training"]["world_size"] == 2
    (record,), _ = read_records(tmp_path / "throughput.jsonl")
    assert (record.world_size, record.train_samples) == (2, 6 * 16), "one rank writes, for all"
    assert metrics["training"]["global_batch"] == 16
    assert metrics["test"]["overall"]["rows"] == 60, "no row is lost or counted twice"
    assert printed.count("rows: train") == 1, "one rank speaks"


@pytest.mark.slow
def test_the_laptop_starts_its_processes_itself(tmp_path: Path) -> None:
    done = run(TRAIN, *QUICK, "cluster.processes=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "look further:" in done.stdout


def test_ranks_with_different_jobs_stop_with_both_digests(tmp_path: Path) -> None:
    jobs = [
        job_file(tmp_path, f"job-{rank}.yaml", "cluster.processes=2", f"seed={rank}")
        for rank in (0, 1)
    ]
    code, printed = two_ranks(tmp_path, "job-{rank}.yaml")
    assert code == 2
    first, second = (load_job(path)[1] for path in jobs)
    told = f"the job's sha256 differs between ranks: {first} on rank 0, {second} on rank 1"
    for rank in (0, 1):
        assert f"  rank {rank}\n      {told}\n" in printed
    assert not (tmp_path / "run").exists()


def test_another_number_of_processes_stops_with_both_numbers(tmp_path: Path) -> None:
    path = job_file(tmp_path, "job.yaml", "cluster.processes=2")
    done = run(TRAIN, "--job", str(path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "lingotune: 1 problem\n"
        "  rank 0\n"
        "      the plan counts on 2 processes, 1 is running (WORLD_SIZE)\n"
        "      fix: torchrun --standalone --nproc_per_node=2 -m lingotune.training --job ...\n"
    )


def test_another_job_than_the_launcher_started_is_refused(tmp_path: Path) -> None:
    path = job_file(tmp_path, "job.yaml")
    done = run(TRAIN, "--job", str(path), cwd=tmp_path, LINGOTUNE_JOB_SHA256="0" * 64)
    assert done.returncode == 2
    digest = job_digest(job_of(compose(*QUICK)))
    assert f"the launcher started job {'0' * 64}, the file holds job {digest}" in done.stderr


def test_a_sweep_trains_each_and_compares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local_sweep, "spawn", forked)
    assert main(["-m", "lr=1e-4,1e-3", *QUICK]) == 0
    told = capfd.readouterr().out
    assert len(run_folders(tmp_path)) == 2
    head, *rows = told[told.rindex("   lr ") :].splitlines()[:3]
    assert "validation macro_f1" in head and {row.split()[0] for row in rows} == {"0.0001", "0.001"}
    assert f"\nbest: lr={rows[0].split()[0]}, by the highest macro_f1 on validation\n" in told
    assert "tensorboard --logdir runs\n" in told and "test split, best checkpoint" in told


REFUSED = {
    "a SageMaker cluster": (
        ["cluster=p3_16xl"],
        [f"cluster=p3_16xl\n      python {TRAIN} trains on this machine"],
    ),
    "launch settings": (
        ["action=submit", "aws.bucket=x"],
        [
            f"  action\n      has no effect in python {TRAIN}",
            f"  aws\n      has no effect in python {TRAIN}",
        ],
    ),
    "fp16 on a CPU": (["training.precision=fp16"], ["fp16 training needs a GPU"]),
    "a model that is not there": (
        ["model=pretrained", "model.name_or_path=./no/such/model"],
        ["model.name_or_path=./no/such/model  [model-folder]\n      is no folder of this machine"],
    ),
    "a file that is not there": (
        ["data=files", "data.path=nowhere.jsonl"],
        ["nowhere.jsonl"],
    ),
    "several things at once": (
        ["lr=0", "model.scratch.heads=3", "scaling=linear", "scaling.global_batch=3"],
        [
            "lr=0  [",
            "model.scratch.heads=3  [",
            "scaling.global_batch=3  [",
            "lingotune: 3 problems",
        ],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, tmp_path: Path) -> None:
    overrides, expected = REFUSED[case]
    offline = {"HF_HUB_OFFLINE": "1"} if "model=pretrained" in overrides else {}
    done = run(TRAIN, *overrides, cwd=tmp_path, **offline)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in done.stderr


def test_a_training_that_diverges_says_so() -> None:
    from types import SimpleNamespace

    from lingotune.training.trainer import ProgressLines

    lines = ProgressLines(lr=0.01, total_steps=100, show=False)
    state = SimpleNamespace(global_step=7, is_world_process_zero=True)
    lines.on_log(None, state, None, {"loss": 1.0, "learning_rate": 0.1})
    with pytest.raises(ConfigError) as caught:
        lines.on_log(None, state, None, {"loss": float("nan")})
    (problem,) = caught.value.problems
    assert problem == Problem("lr=0.01", "the loss became nan at step 7", "lr=0.001")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_sample_is_learnable_and_the_learning_rate_matters(tmp_path: Path) -> None:
    done = run(TRAIN, "-m", "lr=1e-4,1e-3", cwd=tmp_path, timeout=1400)
    assert done.returncode == 0, done.stderr
    accuracy = {}
    for folder in run_folders(tmp_path):
        metrics = json.loads((folder / "metrics.json").read_text())
        accuracy[metrics["training"]["learning_rate"]] = metrics["test"]["overall"]["accuracy"]
    assert 0.65 < accuracy[1e-3] < 0.95
    assert accuracy[1e-4] < accuracy[1e-3] - 0.1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    scores = []
    for name in ("first", "second"):
        home = tmp_path / name
        home.mkdir()
        assert run(TRAIN, *QUICK, "training.max_steps=20", cwd=home).returncode == 0
        (folder,) = run_folders(home)
        scores.append((folder / "model" / "model.safetensors").read_bytes())
    assert scores[0] == scores[1]


def test_a_worker_writes_whole_lines_where_python_is_unbuffered() -> None:
    """Lines of ranks that share a log would mix, and SageMaker's metrics are read from lines."""
    code = (
        "from lingotune.training import run as worker; "
        "worker._main = lambda options: print('one', 'line'); worker.main(['--job', 'x'])"
    )
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # a write, a packet
    with reading, writing:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        subprocess.run([sys.executable, "-c", code], stdout=writing, env=environment, check=True)
        assert reading.recv(100) == b"one line\n"


def test_the_files_and_models_of_a_whole_sweep_are_looked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.jsonl").write_text('{"review_body": "x", "stars": 1}\n')
    typed = ["-m", "data=files", "data.train=there.jsonl", "data.validation=there.jsonl"]
    typed += ["data.test=there.jsonl,gone.jsonl,lost.jsonl"]
    with pytest.raises(ConfigError) as caught:
        main(typed)
    assert [problem.where for problem in caught.value.problems] == [
        "data.test=gone.jsonl",
        "data.test=lost.jsonl",
    ]
    assert not Path("runs").exists()
    models = ["-m", "model=pretrained", "model.name_or_path=./gone,./lost"]
    with pytest.raises(ConfigError) as caught:
        main(models)
    assert [problem.value for problem in caught.value.problems] == ["./gone", "./lost"]


def test_the_rows_of_a_whole_sweep_are_read_before_the_first_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong in the files of the last job is told before the first has trained for hours."""
    monkeypatch.chdir(tmp_path)
    for name, stars in {"train": "12345", "validation": "51", "test": "15", "bare": "  "}.items():
        rows = [
            {"review_body": f"{name} {n}", "stars": int(star) if star.strip() else None}
            for n, star in enumerate(stars * 4)
        ]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    typed = ["data=files", "data.train=train.jsonl", "data.validation=validation.jsonl",
             "data.columns.language=null"]  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        main(["-m", *typed, "data.test=test.jsonl,bare.jsonl"])
    (problem,) = caught.value.problems
    assert problem.where == "data.test=bare.jsonl" and "has no labels" in problem.what
    assert caught.value.next_command == "no job was started; mend, then start again"
    assert not Path("runs").exists()
