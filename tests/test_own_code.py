"""Own code from the config to a model that is asked: on this machine, in two processes, in a container."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run
from test_docs import own_code
from waiting import PATIENCE

import lingotune as lt
from lingotune.config.jobfile import dump_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig
from lingotune.evaluation.own_code import TRUST

SMALL = (
    "data.sample.train_rows=12", "data.sample.validation_rows=4", "data.sample.test_rows=4",
    "data.languages=[de,fr]", "data.max_length=16", "training.max_steps=4",
    "training.eval_strategy=steps", "training.eval_steps=2", "evaluation.resamples=0",
)  # fmt: skip
OWN = ("code.file=my_code.py", "code.metrics=[cost_of_errors]", "code.select=cost_of_errors")
COUNTING = """

@callback
class Stop(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = os.environ.get("RANK", "1") == "1" and state.global_step == 2

@metric
def breaks(predictions):
    if set(predictions.languages) == {"de"}:
        raise ValueError("nothing to say of German")
    return 1.0

@metric
def forgets(predictions): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file that the documents show, and more in it."""
    made = tmp_path_factory.mktemp("own")
    (made / "my_code.py").write_text("import os\n" + own_code() + COUNTING)
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> lt.Run:
    """A run with a metric, a builder and a callback; its file is gone."""
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    text = Path("my_code.py").read_text()
    job = job_of("code.metrics=[cost_of_errors,breaks]", "code.builder=two_layer_head")
    found = lt.train(job, quiet=True)
    Path("my_code.py").unlink()
    yield found
    (folder / "my_code.py").write_text(text)
    patch.undo()


def job_of(*overrides: str) -> JobConfig:
    return lt.compose(*SMALL, *OWN, *overrides)


def test_scores_are_in_the_results_the_log_the_table_and_the_page(trained: lt.Run) -> None:
    scores = trained.results.test
    assert scores.overall.own and scores.overall.own.keys() == {"cost_of_errors", "breaks"}
    assert scores.languages["de"].own and scores.languages["de"].own.keys() == {"cost_of_errors"}
    assert trained.results.validation.overall.own
    history = [json.loads(line) for line in (trained.folder / "history.jsonl").open()]
    costs = {e["step"]: e["eval_cost_of_errors"] for e in history if "eval_cost_of_errors" in e}
    assert costs.keys() == {2, 4}
    assert trained.results.training.best_step == min(costs, key=lambda step: (costs[step], step))
    page = trained.report.read_text()
    assert 'id="own-test"' in page and 'id="own-validation"' in page


def test_a_run_answers_and_is_scored_again_without_the_file(
    trained: lt.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lt.load(trained.folder).predict(["Sehr gut"])[0].label in trained.results.labels
    again = lt.evaluate(trained.folder).results
    assert again.overall.own == pytest.approx(trained.results.test.overall.own)
    assert [w for w in again.warnings if "breaks raised ValueError" in w and "de" in w]
    from lingotune.report.tables import score_table

    assert "\nbreaks: all 1, de -, fr 1\n" in score_table(again)
    (kept,) = (trained.folder / "user_code").iterdir()
    assert kept.stem == job_file_code(trained)["sha256"]


def job_file_code(trained: lt.Run) -> dict[str, str]:
    lines = (trained.folder / "job.yaml").read_text().partition("\ncode:\n")[2].splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def test_a_model_without_its_run_runs_its_code_only_when_it_is_trusted(
    trained: lt.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = (trained.folder / "model").rename(tmp_path / "downloaded")
    try:
        with pytest.raises(ConfigError) as caught:
            lt.load(model)
        assert caught.value.problems[0].fix.startswith(f"{TRUST}=1")
        monkeypatch.setenv(TRUST, "1")
        assert lt.load(model).predict(["Sehr gut"])
        (code,) = (model / "user_code").iterdir()
        code.write_text("raise SystemExit")
        with pytest.raises(ConfigError, match="was changed after"):
            lt.load(model)
        code.unlink()
        with pytest.raises(ConfigError, match="no copy of it"):
            lt.load(model)
    finally:
        model.rename(trained.folder / "model")


def test_the_file_is_not_published(trained: lt.Run) -> None:
    from lingotune.hub.allowlist import contents_of

    files, _ = contents_of(trained.folder / "model")
    assert not [name for name in files if name.startswith(("user_code/", "code/"))]


def test_a_metric_that_forgets_to_return_ends_the_run_before_it_trains(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    if not Path("my_code.py").exists():
        Path("my_code.py").write_text("import os\n" + own_code() + COUNTING)
    job = job_of("code.metrics=[forgets,cost_of_errors]")
    with pytest.raises(ConfigError, match="forgets returned None for the validation rows"):
        lt.train(job)
    assert "step " not in capsys.readouterr().out.partition("batches:")[2]


def test_a_job_whose_file_changed_since_it_was_composed_is_not_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_code.py").write_text(own_code())
    job = job_of()
    Path("my_code.py").write_text(own_code() + "#")
    with pytest.raises(ConfigError, match="was changed after the job was composed"):
        lt.train(job)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_two_processes_stop_together_and_choose_the_same(tmp_path: Path) -> None:
    """The callback stops the training on one of them."""
    (tmp_path / "my_code.py").write_text("import os\n" + own_code() + COUNTING)
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path)
    job = job_of("code.callbacks=[Stop]", "code.builder=two_layer_head", "cluster.processes=2")
    lt.prepare(job, quiet=True)
    (tmp_path / "job.yaml").write_bytes(dump_job(job))
    script = [sys.executable, str(ROOT / "tests" / "forked.py"), "2", "job.yaml", "run"]
    done = subprocess.run(script, timeout=PATIENCE, check=False)
    logs = [Path(f"run.{rank}.log").read_text() for rank in range(2)]
    patch.undo()
    assert done.returncode == 0, logs
    results = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert results["training"]["steps"] == 2
    assert "(what a model with code of its own does with them cannot be told)" in logs[0]
    assert "cost_of_errors" in results["test"]["overall"]["own"]


@pytest.mark.slow
def test_a_rehearsal_carries_the_code_into_the_container(tmp_path: Path) -> None:
    """The bundle is all that it gets: the file itself is another one by then."""
    (tmp_path / "my_code.py").write_text(own_code())
    words = ["cluster=p3_16xl", *OWN, "code.builder=two_layer_head",
             "code.callbacks=[early_stopping]", "action=rehearse", "rehearsal.model=tiny",
             "output=json", f"rehearsal.keep={tmp_path}/kept"]  # fmt: skip
    done = run(str(ROOT / "launch.py"), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["rehearsals"]
    assert result["passed"], done.stderr
    (kept,) = (tmp_path / "kept").iterdir()
    own = list(kept.rglob("user_code/*.py"))
    assert {path.read_text() for path in own} == {own_code()}
    metrics = json.loads((kept / "model" / "metrics.json").read_text())
    assert "cost_of_errors" in metrics["test"]["overall"]["own"]


def test_a_job_made_by_hand_says_how_to_compose_it() -> None:
    job = lt.compose(*SMALL)
    by_hand = dataclasses.replace(
        job, code=dataclasses.replace(job.code, file="x.py", metrics=["cost"])
    )
    with pytest.raises(ConfigError) as caught:
        lt.train(by_hand)
    assert caught.value.problems[0].fix == 'lt.compose(job, "code.file=x.py")'
