"""train.py as a user runs it: the run folder, several processes, sweeps, and every refusal."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, compose, run

from lingotune.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.schema import ConfigError, Problem

QUICK = ["training.max_steps=6", "data.sample.train_rows=30", "data.sample.validation_rows=10",
         "data.sample.test_rows=10", "training.logging_steps=2"]  # fmt: skip
TRAIN = str(ROOT / "train.py")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One quick run: its folder and what it printed."""
    home = tmp_path_factory.mktemp("home")
    done = run(TRAIN, *QUICK, cwd=home)
    assert done.returncode == 0, done.stderr
    (folder,) = (home / "runs").iterdir()
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
    assert not list(folder.rglob("model/training_args.bin")), "a pickle has no place in a model"


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
    assert "macro-F1  majority" in printed and "\nzh " in printed
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
    done = subprocess.run(
        [sys.executable, "-m", "lingotune", "predict", str(finished[0])],
        input="one\n\ntwo\n", capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert [line.rsplit(None, 1)[1] for line in done.stdout.splitlines()] == ["one", "two"]
    refused = run("-m", "lingotune", "predict", str(tmp_path), "x")
    assert refused.returncode == 2 and "holds no trained model" in refused.stderr


def job_file(folder: Path, name: str, *overrides: str) -> Path:
    path = folder / name
    path.write_bytes(dump_job(job_of(compose(*QUICK, *overrides))))
    return path


def torchrun(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "torch.distributed.run", "--standalone", *arguments, cwd=cwd)


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    path = job_file(tmp_path, "job.yaml", "cluster.processes=2", "per_device_bs=8")
    done = torchrun("--nproc_per_node=2", TRAIN, "--job", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["training"]["world_size"] == 2
    assert metrics["training"]["global_batch"] == 16
    assert metrics["test"]["overall"]["rows"] == 60, "no row is lost or counted twice"
    assert done.stdout.count("rows: train") == 1, "one rank speaks"


def test_the_laptop_starts_its_processes_itself(tmp_path: Path) -> None:
    done = run(TRAIN, *QUICK, "cluster.processes=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "look further:" in done.stdout


def test_ranks_with_different_jobs_stop_with_both_digests(tmp_path: Path) -> None:
    jobs = [
        job_file(tmp_path, f"job-{rank}.yaml", "cluster.processes=2", f"seed={rank}")
        for rank in (0, 1)
    ]
    command = f"exec {sys.executable} {TRAIN} --job job-$RANK.yaml"
    done = torchrun("--nproc_per_node=2", "--no-python", "bash", "-c", command, cwd=tmp_path)
    assert done.returncode != 0
    first, second = (load_job(path)[1] for path in jobs)
    told = f"the job's sha256 differs between ranks: {first} on rank 0, {second} on rank 1"
    for rank in (0, 1):
        assert f"  rank {rank}\n      {told}\n" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_another_number_of_processes_stops_with_both_numbers(tmp_path: Path) -> None:
    path = job_file(tmp_path, "job.yaml", "cluster.processes=2")
    done = run(TRAIN, "--job", str(path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "lingotune: 1 problem\n"
        "  rank 0\n"
        "      the plan counts on 2 processes (2 on each of 1 node(s)), 1 are running (WORLD_SIZE)\n"
        "      works: torchrun --standalone --nproc_per_node=2 train.py --job ...\n"
    )


def test_another_job_than_the_launcher_started_is_refused(tmp_path: Path) -> None:
    path = job_file(tmp_path, "job.yaml")
    done = run(TRAIN, "--job", str(path), cwd=tmp_path, LINGOTUNE_JOB_SHA256="0" * 64)
    assert done.returncode == 2
    digest = job_digest(job_of(compose(*QUICK)))
    assert f"the launcher started job {'0' * 64}, the file holds job {digest}" in done.stderr


def test_a_sweep_trains_each_and_compares_them(tmp_path: Path) -> None:
    done = run(TRAIN, "-m", "lr=1e-4,1e-3", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2
    table = done.stdout[done.stdout.rindex("overrides ") :]
    assert "lr=0.0001" in table and "lr=0.001" in table and "*" in table
    assert "tensorboard --logdir runs\n" in table


REFUSED = {
    "a SageMaker cluster": (
        ["cluster=p3_16xl"],
        ["cluster=p3_16xl\n      train.py trains on this machine"],
    ),
    "launch settings": (
        ["action=submit", "aws.bucket=x"],
        ["  action\n      has no effect in train.py", "  aws\n      has no effect in train.py"],
    ),
    "fp16 on a CPU": (["training.precision=fp16"], ["fp16 training needs a GPU"]),
    "a model that is not there": (
        ["model=pretrained", "model.name_or_path=./no/such/model"],
        ["model.name_or_path=./no/such/model\n      no usable folder or reachable hub model"],
    ),
    "a file that is not there": (
        ["data=files", "data.path=nowhere.jsonl"],
        ["nowhere.jsonl"],
    ),
    "several things at once": (
        ["lr=0", "model.scratch.heads=3", "scaling=linear", "scaling.global_batch=3"],
        ["lr=0\n", "model.scratch.heads=3\n", "scaling.global_batch=3\n", "lingotune: 3 problems"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case: str, tmp_path: Path) -> None:
    overrides, expected = REFUSED[case]
    done = run(TRAIN, *overrides, cwd=tmp_path, HF_HUB_OFFLINE="1")
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
    for folder in (tmp_path / "runs").iterdir():
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
        (folder,) = (home / "runs").iterdir()
        scores.append((folder / "model" / "model.safetensors").read_bytes())
    assert scores[0] == scores[1]
