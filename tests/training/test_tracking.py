"""Curves and HParams as TensorBoard reads them; other trackers, which cannot break a run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import ROOT, compose, run
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.schema import Tracker
from lingotune.estimate.batch import plan_batches, plan_steps
from lingotune.launch.render.bundle import build_bundle
from lingotune.runs.folder import folders_in
from lingotune.runs.results import Scores, SplitScores, WorstLanguage
from lingotune.training.trackers import REQUIREMENTS, missing_trackers, settings_of

TRAIN = str(ROOT / "train.py")
QUICK = (
    "data.sample.train_rows=20", "data.sample.validation_rows=6", "data.sample.test_rows=6",
    "epochs=2", "per_device_bs=16", "model.scratch.layers=1", "training.logging_steps=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trackers' variables, as each test sets them."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
        monkeypatch.delenv(name)


def session_groups(logdir: Path) -> list[Any]:
    """What TensorBoard's own HParams page lists of a folder of runs."""
    events = EventMultiplexer()
    events.AddRunsFromDirectory(str(logdir))
    events.Reload()
    provider = MultiplexerDataProvider(events, str(logdir))
    context = Context(TBContext(data_provider=provider))
    asked = RequestContext()
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100)
    request.allowed_statuses.extend([api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING])
    for kind in ("eval", "test"):
        request.col_params.add(metric=api_pb2.MetricName(tag=f"{kind}/macro_f1"))
    return list(Handler(asked, context, "x", request).run().session_groups)


def values_of(group: Any) -> dict[str, Any]:
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in group.hparams.items()}


def tracked(folder: Path, *overrides: str) -> Any:
    """The trackers of a job, of a run that trains nothing, and its Trainer's state."""
    from lingotune.training.tracking import Tracking, hyperparameters

    job = job_of(compose(*overrides))
    batch = plan_batches(job)
    steps = plan_steps(job, batch, 100)
    added: list[Any] = []
    state = SimpleNamespace(is_world_process_zero=True, global_step=0, log_history=[])
    trainer: Any = SimpleNamespace(
        args=None, state=state, control=None, add_callback=added.append, model=None
    )
    tracking = Tracking(job, folders_in(folder), hyperparameters(job, batch, steps, "fp32"))
    tracking.attach(trainer)
    return tracking, added, state


def logged(added: list[Any], state: Any, step: int, **logs: float) -> None:
    state.global_step = step
    state.log_history.append({**logs, "step": step})
    for callback in added:
        callback.on_log(None, state, None, logs=logs)


OVERALL = Scores(
    rows=1, accuracy=0.8, macro_f1=0.75, majority=0.5, absent=(), calibration_error=0.1,
    mean_absolute_error=None, classes={}, confusion=(),
)  # fmt: skip
WORST = WorstLanguage(code="de", macro_f1=0.25)
TEST = SplitScores(loss=0.5, overall=OVERALL, languages={}, worst_language=WORST)


def curves_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def test_a_sweep_compares_in_tensorboard(tmp_path: Path) -> None:
    for lr in ("0.25", "0.5"):
        tracking, added, state = tracked(tmp_path / lr, f"lr={lr}", "data.balance=weights")
        for callback in added:
            callback.on_train_begin(None, state, None)
        logged(added, state, 10, eval_macro_f1=float(lr), eval_loss=1.0)
        tracking.finish(TEST)
    groups = sorted(session_groups(tmp_path), key=lambda group: values_of(group)["lr"])
    assert [values_of(group)["lr"] for group in groups] == [0.25, 0.5]
    found = values_of(groups[0])
    assert (found["model"], found["balance"], found["per_device_bs"]) == ("tiny", "weights", 32)
    assert (found["steps"], found["seed"], found["scaling"]) == (20, 42, "none")
    for group, lr in zip(groups, (0.25, 0.5)):
        metrics = {v.name.tag: v.value for v in group.metric_values}
        assert (metrics["eval/macro_f1"], metrics["test/macro_f1"]) == (lr, 0.75)
        (session,) = group.sessions
        assert session.status == api_pb2.STATUS_SUCCESS


def test_a_run_that_goes_on_tells_each_step_once(tmp_path: Path) -> None:
    _, added, state = tracked(tmp_path)
    for callback in added:
        callback.on_train_begin(None, state, None)
    for step in (1, 2, 3):
        logged(added, state, step, loss=1 / step)
    before = [entry for entry in state.log_history if entry["step"] <= 2]  # of the checkpoint
    tracking, added, state = tracked(tmp_path)
    state.log_history[:] = before
    for callback in added:
        callback.on_train_begin(None, state, None)
    logged(added, state, 3, loss=0.25)
    tracking.finish(replace(TEST, worst_language=None))
    found = curves_of(tmp_path)
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3]
    assert found["train/loss"][-1] == (3, 0.25) and found["test/macro_f1"] == [(3, 0.75)]
    assert "test/worst_language_macro_f1" not in found


def test_no_path_of_the_machine_is_in_the_events(tmp_path: Path) -> None:
    tracking, added, state = tracked(tmp_path)
    for callback in added:
        callback.on_train_begin(None, state, None)
    tracking.finish(TEST)
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert str(tmp_path).encode() not in events.read_bytes()
    assert b"job.yaml" in events.read_bytes()


def test_a_tracker_that_fails_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import TrainerCallback

    from lingotune.training.tracking import Guarded

    told: list[str] = []

    class Fails(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            told.append("log")
            raise ConnectionError("the server is\ngone")

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            told.append("end")

    guarded = Guarded("mlflow", Fails())
    state = SimpleNamespace(is_world_process_zero=True, global_step=1, log_history=[])
    guarded.on_log(None, state, None, logs={})
    guarded.on_log(None, state, None, logs={})
    guarded.end(None, state, None)
    said = "warning: mlflow is switched off, the run continues: the server is\n"
    assert told == ["log"] and capsys.readouterr().out == said


def test_only_rank_0_tells() -> None:
    from lingotune.training.tracking import Guarded

    guarded = Guarded("mlflow", None)  # type: ignore[arg-type]
    state = SimpleNamespace(is_world_process_zero=False, log_history=[{"step": 1}])
    guarded.on_train_begin(None, state, None)
    guarded.on_log(None, state, None, logs={})


@pytest.mark.parametrize(
    ("given", "mode"),
    [({}, "offline"), ({"WANDB_API_KEY": "x"}, None), ({"WANDB_MODE": "disabled"}, "disabled")],
)
def test_wandb_asks_no_questions(
    given: Mapping[str, str], mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = settings_of(given, folders_in(tmp_path / "runs" / "mine"))
    environment = {**given, **found}
    assert environment.get("WANDB_MODE") == mode and not set(found) & set(given)
    assert environment["WANDB_DIR"] == str(tmp_path / "runs" / "mine")
    path = urlsplit(environment["MLFLOW_TRACKING_URI"]).path  # of a database it begins with //
    assert path.replace("//", "/").startswith(str(tmp_path / "runs"))


def test_a_key_of_wandb_login_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    found = settings_of({"MLFLOW_TRACKING_URI": "http://mlflow"}, folders_in(tmp_path / "run"))
    assert "WANDB_MODE" not in found and "MLFLOW_TRACKING_URI" not in found


def test_runs_of_a_sweep_have_places_of_their_own(tmp_path: Path) -> None:
    before = dict(os.environ)
    for name in ("a", "b"):
        tracking, _, _ = tracked(tmp_path / name)
        assert os.environ["WANDB_DIR"] == str(tmp_path / name)
        tracking.finish(TEST)
        assert dict(os.environ) == before


def test_a_missing_library_is_told_first(tmp_path: Path) -> None:
    (problem,) = missing_trackers([Tracker.trackio])
    assert problem.fix == "pip install trackio, or training.report_to=[]"
    done = run(TRAIN, *QUICK, "training.report_to=[trackio]", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "training.report_to=[trackio]\n      trackio is not installed" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("typed", ["[foo]", "mlflow", "[mlflow,mlflow]"])
def test_wrong_names(typed: str, tmp_path: Path) -> None:
    done = run(TRAIN, f"training.report_to={typed}", cwd=tmp_path)
    assert done.returncode == 2 and "fix: " in done.stderr and "mlflow" in done.stderr


def test_a_worker_installs_what_its_jobs_need() -> None:
    plain, more = build_bundle(), build_bundle([REQUIREMENTS[Tracker.mlflow]] * 2)
    assert b"mlflow" not in plain.files["requirements.txt"] and plain.digest != more.digest
    assert (
        more.files["requirements.txt"] == plain.files["requirements.txt"] + b"mlflow-skinny>=2.8\n"
    )
    job = job_of(compose("training.report_to=[mlflow,wandb]"))
    assert b"  report_to:\n  - mlflow\n  - wandb\n" in dump_job(job)


# --- the real MLflow ----------------------------------------------------------------------------

HISTORY = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
runs = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]
print(json.dumps([
    {
        "name": run.info.run_name,
        "metrics": {
            key: sorted(m.step for m in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        },
    }
    for run in sorted(runs, key=lambda run: run.info.start_time)
]))
"""


@pytest.fixture(scope="module")
def mlflow_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This environment with MLflow in it, whose many libraries no other test needs."""
    folder = tmp_path_factory.mktemp("mlflow") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = Path(os.__file__).parents[0] / "site-packages"
    ours = next(Path(path) for path in sys.path if path.endswith("site-packages")) or ours
    (site / "ours.pth").write_text(f"{ours}\n")
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "mlflow-skinny==3.17.2", "cachetools<8"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    yield folder / "bin/python"
    shutil.rmtree(folder)


@pytest.mark.slow
def test_mlflow_has_each_step_once_after_a_kill(tmp_path: Path, mlflow_python: Path) -> None:
    import json

    overrides = [*QUICK, "training.report_to=[mlflow]", "training.save_steps=3", "epochs=3"]
    job = tmp_path / "job.yaml"
    job.write_bytes(dump_job(job_of(compose(*overrides))))
    folder = tmp_path / "runs" / "mine"
    arguments = ["--job", str(job), "--run-dir", str(folder)]
    command = [str(mlflow_python), TRAIN, *arguments]
    killed_at = [str(mlflow_python), str(ROOT / "tests/stopping.py"), "KILL", "step 7/", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    first = subprocess.run(killed_at, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    assert first.returncode == -signal.SIGKILL
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "resuming at step" in done.stdout, done.stderr
    runs = tmp_path / "runs"
    database = runs / "mlflow.db"  # where SQLAlchemy is installed
    store = f"sqlite:///{database}" if database.exists() else f"file://{runs}/mlruns"
    asked = [str(mlflow_python), "-c", HISTORY, store]
    told = subprocess.run(
        asked,
        env={**environment, "MLFLOW_ALLOW_FILE_STORE": "true"},
        capture_output=True,
        text=True,
    )
    killed, whole = json.loads(told.stdout)
    name = load_job(job)[0].name
    assert killed["name"] == whole["name"] and whole["name"].startswith(f"{name}-")
    assert whole["metrics"]["loss"] == list(range(1, 25))
    assert whole["metrics"]["eval_macro_f1"] == [8, 16, 24]
    assert whole["metrics"]["test_macro_f1"] == [24]


def test_the_log_is_on_disk_after_each_evaluation(tmp_path: Path) -> None:
    from lingotune.runs.folder import folders_in, read_history
    from lingotune.training.tracking import History

    log: list[dict[str, float]] = []
    history = History(folders_in(tmp_path))
    for step in (1, 2):
        log.append({"step": step, "eval_loss": 1.0 / step})
        history.on_evaluate(None, SimpleNamespace(log_history=log), None)
        assert read_history(tmp_path) == log
    gone = History(folders_in(tmp_path / "gone"))
    gone.on_evaluate(None, SimpleNamespace(log_history=log), None)
