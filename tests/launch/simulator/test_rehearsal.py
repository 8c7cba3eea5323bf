"""The rehearsal, from the command on: real jobs in SageMaker's toolkit, with and without mistakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, compose, run

from lingotune.catalog.hardware import images
from lingotune.contract.rehearsal_limits import Limits, write_limits
from lingotune.launch.compose.compose import Composed
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.planner import Planner, objects
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.simulator.attempt import Attempt
from lingotune.launch.simulator.container import host_names, lay_out
from lingotune.launch.simulator.environments import cache_folder, prepare_environment
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.scope import complete

TINY = ["action=rehearse", "rehearsal.model=tiny"]
STAGES = [
    "environment", "container", "start", "data", "model", "train", "checkpoint", "interruption",
    "restart", "resume", "evaluate", "finish", "package", "predict", "compare",
]  # fmt: skip
CLUSTERS = {
    "torch_distributed": ["cluster=p3_16xl", "per_device_bs=16", "scaling=linear",
                          "scaling.base_batch=16"],
    "smdistributed": ["cluster=p4d_24xl", "cluster.distribution=smdistributed"],
    "none": ["cluster=p3_2xl", "cluster.distribution=none"],
    "2-nodes": ["cluster=p4d_24xl", "cluster.nodes=2", "cluster.environment.NCCL_DEBUG=INFO"],
}  # fmt: skip


def rehearse(*overrides: str, timeout: int = 280) -> dict[str, Any]:
    done = run("launch.py", *overrides, *TINY, "output=json", timeout=timeout)
    assert "Traceback" not in done.stderr.partition("last lines of the log")[0], done.stderr
    (result,) = json.loads(done.stdout)["rehearsals"]
    assert done.returncode == (0 if result["passed"] else 2), done.stderr
    loaded: dict[str, Any] = {**result, "told": done.stderr}
    return loaded


@pytest.mark.slow
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_sound_job_passes_every_stage(
    cluster: str, golden: Callable[[str, str], None], tmp_path: Path
) -> None:
    result = rehearse(*CLUSTERS[cluster], f"rehearsal.keep={tmp_path}/kept")
    assert result["passed"], result["told"]
    assert [stage["name"] for stage in result["stages"]] == STAGES
    notes = {stage["name"]: stage["note"] for stage in result["stages"]}
    assert notes["resume"].endswith(" of 6") and "at step " in notes["resume"]
    assert all(point["same"] for point in result["compared"])
    text = json.dumps(result["processes"], indent=2) + "\n"
    golden(f"rehearsal-{cluster}.json", text)
    (kept,) = (tmp_path / "kept").iterdir()
    assert (kept / "model.tar.gz").is_file() and (kept / "second/host-1/output/success").exists()


def pinned(transformers: str, pytorch: str, python: str) -> list[str]:
    versions = {"transformers": transformers, "pytorch": pytorch, "python": python}
    return ["cluster.image.lane=pinned", *(f"cluster.image.{k}={v}" for k, v in versions.items())]


LANES = {
    "torch_distributed-oldest": (
        ["cluster=p3_16xl", *pinned("4.28.1", "2.0.0", "py310")],
        "4.28.1",
    ),
    "torch_distributed-newest": (["cluster=p4d_24xl"], "5.3.0"),
    "smdistributed-oldest": (["cluster=p3_16xl", "cluster.distribution=smdistributed"], "4.28.1"),
    "smdistributed-newest": (["cluster=p4d_24xl", "cluster.distribution=smdistributed"], "4.36.0"),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lane", LANES)
def test_a_job_runs_with_the_libraries_of_its_image(
    lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With this Python: for another one, torch may come with gigabytes of CUDA.
    monkeypatch.setenv("PYENV_ROOT", "/nowhere")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    overrides, transformers = LANES[lane]
    result = rehearse(*overrides, "rehearsal.lane=image", timeout=1700)
    assert result["passed"], result["told"]
    assert result["stages"][0]["note"].startswith(f"transformers {transformers}, ")
    if lane.startswith("torch"):
        image = next(one for one in images() if one.transformers == transformers)
        made = prepare_environment(image, cache_folder(os.environ), print)
        variables = {**os.environ, **made.variables, "PYTHONPATH": f"{ROOT}/src:{ROOT}/tests"}
        script = [str(made.python), str(ROOT / "tests" / "gradients.py")]
        done = subprocess.run(script, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        worst = json.loads(done.stdout.splitlines()[-1])
        assert set(worst) == {"distilbert", "bert", "xlm-roberta"} and max(worst.values()) < 1e-5


def test_what_is_wrong_with_a_plan_keeps_it_from_being_rehearsed() -> None:
    done = run("launch.py", "cluster=p3_16xl", "training.precision=bf16", "action=rehearse")
    assert done.returncode == 2 and "bf16-unsupported" in done.stderr
    assert "rehearsal of" not in done.stdout


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster=local"], "cluster=local runs on this machine"),
        (["cluster=p3_16xl", "rehearsal.ranks=0"], "rehearsal.ranks=0"),
        (["cluster=p3_16xl", "rehearsal.steps=1"], "one before the interruption and one after it"),
        (["cluster=p3_16xl", "rehearsal.rows=1"], "from 10"),
        (["cluster=p3_16xl", "rehearsal.lane=imge"], "fix: rehearsal.lane=here | image"),
        (["cluster=p3_16xl", "output=request"], "output=request"),
    ],
)
def test_wrong_settings_are_told_before_anything_runs(overrides: list[str], said: str) -> None:
    done = run("launch.py", *overrides, "action=rehearse")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_is_there_already_is_not_used(tmp_path: Path) -> None:
    typed = ["cluster=p3_16xl", f"rehearsal.keep={tmp_path}"]
    request = json.loads(run("launch.py", *typed, "output=request").stdout)
    (tmp_path / request["TrainingJobName"]).mkdir()
    done = run("launch.py", *typed, "action=rehearse")
    assert done.returncode == 2 and "holds this job's folder already" in done.stderr
    (tmp_path / "file").write_text("x")
    done = run("launch.py", "cluster=p3_16xl", f"rehearsal.keep={tmp_path}/file", "action=rehearse")
    assert done.returncode == 2 and "no folder can be made there" in done.stderr


# --- the three mistakes of the article's repository, made in a copy of the worker's code ---------

MISTAKES = {
    "the metric is a dict": (
        "training/building.py",
        "return {**scored.headline(), ",
        'return {**scored.headline(), "accuracy": scored.headline(), ',
        "checkpoint",
        "rank 0, evaluating: TypeError",
    ),
    "the learning rate is a text": (
        "training/arguments.py",
        '"learning_rate": batch.learning_rate,',
        '"learning_rate": str(batch.learning_rate),',
        "train",
        "TypeError",
    ),
    "the learning rate is not scaled": (
        "training/arguments.py",
        '"learning_rate": batch.learning_rate,',
        '"learning_rate": job.lr,',
        "compare",
        "learning rate: planned 8.000e-03, found 1.000e-03",
    ),
}


def copy_with(mistake: str, folder: Path) -> Path:
    """A checkout in which somebody made this mistake."""
    module, right, wrong, _, _ = MISTAKES[mistake]
    for name in ("conf", "src"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("launch.py", "train.py"):
        shutil.copy(ROOT / name, folder / name)
    path = folder / "src/lingotune" / module
    code = path.read_text(encoding="utf-8")
    assert right in code
    path.write_text(code.replace(right, wrong), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_cost_a_day_is_found_here(mistake: str, tmp_path: Path) -> None:
    *_, stage, said = MISTAKES[mistake]
    copy = copy_with(mistake, tmp_path / "copy")
    command = [sys.executable, str(copy / "launch.py"), *CLUSTERS["torch_distributed"], *TINY]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
    )
    # A crash of the worker's code is ours; a wrong number is found by a comparison.
    assert done.returncode == (70 if "TypeError" in said else 2), done.stdout + done.stderr
    assert f"FAILED {stage}" in done.stdout
    assert said in done.stderr, done.stderr


# --- ranks that die -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 3])
def test_a_killed_rank_ends_both_nodes_soon_and_clearly(victim: int, tmp_path: Path) -> None:
    config = compose("cluster=p4d_24xl", "cluster.nodes=2", "aws.bucket=b", "aws.region=us-east-1")
    bundle = build_bundle()
    planner = Planner(bundle, CostEstimator(date.today()), complete)
    (plan,) = planner.sweep([Composed((), config)]).plans
    request = plan.request
    assert request is not None
    hosts = host_names(request)
    containers = [
        lay_out(request, objects(plan, bundle), tmp_path / host, hosts=hosts, current_host=host)
        for host in hosts
    ]
    environment = prepare_environment(None, cache_folder(os.environ), print)
    limits = Limits(nodes=2, ranks=2, steps=3000, rows=40, tiny=True)
    with Attempt(containers, environment.python, 2, write_limits(limits)) as attempt:
        attempt.wait_for("step 3/3000")
        processes = [process for host in attempt.observe() for process in host.ranks]
        assert len(processes) == 4
        os.kill(processes[victim].pid, signal.SIGKILL)
        with pytest.raises(StageFailed) as failed:
            attempt.wait_for_end()  # soon: the other ranks have some 3000 steps to go
    assert "FailureReason: AlgorithmError: rank " in failed.value.what
    assert "training, step" in failed.value.what and "killed for memory" in failed.value.what
    texts = [container.failure() for container in containers]
    assert all(text and text.startswith("rank ") for text in texts), texts
