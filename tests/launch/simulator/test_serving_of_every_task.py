"""Models of every task behind SageMaker's inference toolkit, as `rehearse-serving` does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, run
from killing import SMALL

SMALLER = [
    word for word in SMALL if not word.startswith(("data.balance=", "training.label_smooth"))
]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["sample_topics", "sample_pairs", "sample_stars"])
def test_an_endpoint_answers_as_predict_does(data: str, tmp_path: Path) -> None:
    typed = [f"data={data}", *SMALLER, "training.max_steps=4", "baseline=none"]
    homes = [f"runs_dir={tmp_path / 'runs'}", f"prepared_dir={tmp_path / 'prepared'}"]
    trained = run(str(ROOT / "train.py"), *typed, *homes, cwd=tmp_path)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (model,) = (tmp_path / "runs").glob("*/model")
    done = run("-m", "lingotune", "rehearse-serving", str(model.parent), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert found["passed"] and {"single", "csv", "json-lines", "bad", "compare"} <= {*stages}
