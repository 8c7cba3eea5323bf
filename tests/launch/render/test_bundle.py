"""The code bundle: the same bytes for the same code, and everything that a worker needs."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT, compose
from waiting import PATIENCE

from lingotune.config.jobfile import dump_job, job_of
from lingotune.launch.render.bundle import LAPTOP_ONLY, build_bundle


def copy_of_the_code(target: Path) -> Path:
    """The package in another place, as pip would put it."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(ROOT / "src" / "lingotune", target / "lingotune", ignore=ignored))


def test_same_code_same_bundle_whenever_and_wherever(tmp_path: Path) -> None:
    ours, theirs = build_bundle(), build_bundle(package=copy_of_the_code(tmp_path))
    assert (ours.content, ours.digest) == (theirs.content, theirs.digest)


def test_an_edit_gives_another_digest(tmp_path: Path) -> None:
    package = copy_of_the_code(tmp_path)
    before = build_bundle(package=package).digest
    worker = package / "evaluation" / "metrics.py"
    worker.write_text(worker.read_text() + "\n")
    assert build_bundle(package=package).digest != before


def test_laptop_modules_stay_at_home_and_exist() -> None:
    names = build_bundle().files
    for part in LAPTOP_ONLY:
        assert list((ROOT / "src" / "lingotune").glob(f"{part}*"))
        assert not [name for name in names if re.match(rf"lingotune/{part}\b", name)]
    assert "setup.py" not in names, "the toolkit refuses to start torchrun on a package"
    assert {"train.py", "requirements.txt", "lingotune/catalog/facts/images.json"} <= set(names)


@pytest.mark.slow
def test_the_unpacked_bundle_trains_without_the_checkout(tmp_path: Path) -> None:
    """The worker's half of the package alone, as in the container: no hydra, no SDK in reach."""
    code = tmp_path / "code"
    with tarfile.open(fileobj=io.BytesIO(build_bundle().content)) as tar:
        tar.extractall(code, filter="data")
    channel, output = tmp_path / "config", tmp_path / "output"
    channel.mkdir()
    job = job_of(compose("training.max_steps=2", "data.sample.train_rows=20", "seed=3"))
    (channel / "job.yaml").write_bytes(dump_job(job))
    blocker = tmp_path / "blocked" / "sitecustomize.py"
    blocker.parent.mkdir()
    blocker.write_text(
        "import sys\n"
        "for name in ('hydra', 'sagemaker', 'boto3', 'moto'):\n"
        "    sys.modules[name] = None\n"
        "sys.path[:] = [p for p in sys.path if not p.rstrip('/').endswith('/src')]\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": f"{blocker.parent}{os.pathsep}{code}",
        "SM_CHANNEL_CONFIG": str(channel),
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SM_OUTPUT_DATA_DIR": str(output),
    }
    done = subprocess.run(
        [sys.executable, "-c", "import runpy, lingotune; print(lingotune.__file__);"
         "import sys; sys.argv = ['train.py']; runpy.run_path('train.py', run_name='__main__')"],
        cwd=code, env=environment, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(code))
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert (tmp_path / "model" / "metrics.json").exists()
    assert (output / "job.yaml").read_bytes() == dump_job(job)
