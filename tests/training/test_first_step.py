"""Imports of a process before its first step, and to predict: nothing that it does not use."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from lingotune.system.lean_imports import PACKAGES

LATER = {*PACKAGES, "pandas", "matplotlib", "tensorboard", "cleanlab"}
"""Packages that no first step needs: for scores, pictures and curves, or for nothing."""
OWN = """
from lingotune.plugins import callback
from transformers import TrainerCallback

@callback
class Quiet(TrainerCallback):
    pass
"""
pytestmark = pytest.mark.slow


def imported(*arguments: str, until: str | None = None) -> set[str]:
    """Run Python cold; returns the packages that it has imported until a line with these words appears."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        found, said = set(), []
        for line in process.stdout:
            if until and until in line:
                break
            if match := re.match(r"import time: +\d+ \| +\d+ \| *([^.\s]+)", line):
                found.add(match[1])
            else:
                said.append(line)
        else:
            assert until is None, said
        rest = process.stdout.read()
    assert process.returncode == 0, [*said, rest]
    return found


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a job of three steps whose data is prepared."""
    folder = tmp_path_factory.mktemp("first_step")
    data = ["data.sample.train_rows=32", f"prepared_dir={folder}/prepared"]
    imported("-m", "lingotune", "prepare", *data)
    steps = ["training.max_steps=3", "training.logging_steps=1", "baseline=none"]
    return [*data, *steps, f"runs_dir={folder}/runs"]


def test_a_training_and_its_model_import_what_they_use(typed: list[str]) -> None:
    found = imported("train.py", *typed, until="step 1/3 ")
    assert {"torch", "transformers", "accelerate", "lingotune"} <= found
    assert found & LATER == set()
    (run,) = Path(typed[-1].partition("=")[2]).glob("*-*/")
    found = imported("-m", "lingotune", "predict", str(run), "Sehr gut")
    assert {"torch", "transformers"} <= found
    assert found & LATER == set()


def test_lora_finds_peft(typed: list[str]) -> None:
    found = imported("train.py", *typed, "training.lora.rank=2", until="step 1/3 ")
    assert "peft" in found
    assert found & {"datasets", "sklearn"} == set()


def test_own_code_finds_all_that_is_installed(typed: list[str], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own = [f"code.file={tmp_path}/own.py", "code.callbacks=[Quiet]"]
    assert {"datasets", "peft"} <= imported("train.py", *typed, *own, until="step 1/3 ")
