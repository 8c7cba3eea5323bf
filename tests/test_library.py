"""The library as a notebook uses it: typed, complete, quick to import, and without side effects."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import pickle
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from conftest import compose as composed

import lingotune as lt
from lingotune.config.jobfile import job_of, load_job

QUICK = ("training.max_steps=3", "data.sample.train_rows=40", "evaluation.resamples=0")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lt.Run]:
    """A run of a notebook, in a folder that is empty otherwise."""
    home, before = tmp_path_factory.mktemp("home"), Path.cwd()
    os.chdir(home)
    try:
        run = lt.train(lt.compose(*QUICK), quiet=True)
        yield lt.Run(home / run.folder)
    finally:
        os.chdir(before)


# --- the import ---------------------------------------------------------------------------------


def test_the_import_is_quick_and_loads_no_library() -> None:
    code = (
        "import sys, time\nbegun = time.process_time()\nimport lingotune\n"
        "print(time.process_time() - begun)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    seconds = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        first, loaded = done.stdout.splitlines()
        seconds.append(float(first))
        assert not {"torch", "transformers", "hydra", "omegaconf", "numpy", "yaml"} & set(
            loaded.split()
        )
    assert min(seconds) < 0.05, seconds


def test_what_type_checkers_see_is_what_there_is() -> None:
    stub = ast.parse((ROOT / "src" / "lingotune" / "__init__.pyi").read_text())
    typed = {n.names[0].name: n.module for n in stub.body if isinstance(n, ast.ImportFrom)}
    assert {*typed, "__version__"} == set(lt.__all__) <= set(dir(lt))
    for name, home in typed.items():
        assert inspect.getmodule(getattr(lt, name)).__name__ == home, name  # type: ignore[union-attr]
    with pytest.raises(AttributeError, match="'lingotune' has no attribute 'fit'"):
        lt.fit  # type: ignore[attr-defined]  # noqa: B018


def test_every_call_is_documented_with_an_example() -> None:
    for name in lt.__all__:
        value: Any = getattr(lt, name)
        if inspect.isfunction(value):
            assert "lt." in (value.__doc__ or "").partition("\n        ")[2], name


# --- jobs and plans -----------------------------------------------------------------------------


def test_a_job_is_the_one_of_the_command_line() -> None:
    assert lt.compose(*QUICK) == job_of(composed(*QUICK))
    changed = lt.compose(lt.compose(*QUICK, "lr=1e-4"), "lr=2e-4", "scaling=linear")
    assert changed == job_of(composed(*QUICK, "lr=2e-4", "scaling=linear"))


def test_all_that_is_wrong_is_shown_at_once() -> None:
    wrong = ("lr=fast", "epochs=0", "cluster=p3_16xl", "runs_dir=there", "aws.region=us-east-1")
    with pytest.raises(lt.ConfigError) as found:
        lt.compose(*wrong)
    assert str(found.value).startswith("lingotune: 5 problems\n")
    for what in (
        "  lr=fast\n      'fast' is not a number\n      fix: lr=0.001",
        "  epochs=0",
        "  cluster=p3_16xl\n      is a cluster on SageMaker",
        "  runs_dir\n      is no setting of a job\n      fix: lt.train(job, runs_dir=...)",
        "  aws.region\n      is no setting of a job\n      fix: lt.plan(job, ...)",
    ):
        assert what in str(found.value)
    assert type(pickle.loads(pickle.dumps(found.value))) is lt.ConfigError
    assert traceback.format_exception_only(found.value)[0].startswith("lingotune.ConfigError: ")
    with pytest.raises(TypeError, match="a job can only come first"):
        lt.compose("lr=1", lt.compose())


def test_a_plan_is_the_one_of_the_command_line(home: Path) -> None:
    plan = lt.plan("cluster=p3_16xl", "per_device_bs=16", "aws.region=us-east-1")
    assert plan.request and plan.request["ResourceConfig"]["InstanceType"] == "ml.p3.16xlarge"
    assert plan.estimator and set(plan.estimator) == {"estimator", "fit"}
    assert plan.cost and plan.cost.worst_usd and plan.cost.worst_usd > 100
    assert "aws.role" not in str(plan.findings)
    of_job = lt.plan(lt.compose("per_device_bs=16"), "cluster=p3_16xl", "aws.region=us-east-1")
    assert of_job.request == plan.request
    here = lt.plan(*QUICK)
    assert here.request is here.estimator is here.cost is None
    dear = lt.plan("cluster=p3_16xl", "budget.max_usd=1")
    assert "budget.max_usd" in str(dear.findings)
    with pytest.raises(lt.ConfigError, match="there is nothing to submit"):
        lt.plan("action=submit")


# --- runs ---------------------------------------------------------------------------------------


def test_a_run_has_its_scores(trained: lt.Run) -> None:
    assert trained.report.is_file()
    assert 0 <= trained.results.test.overall.macro_f1 <= 1
    assert load_job(trained.folder / "job.yaml")[0] == lt.compose(*QUICK)


def test_the_model_of_a_run_predicts(trained: lt.Run) -> None:
    model = lt.load(trained.folder)
    found = model.predict(["Sehr gut", "Une catastrophe"])
    assert len(found) == 2 and model.labels == ("negative", "neutral", "positive")
    for one in found:
        assert one.label == max(one.probabilities, key=lambda name: one.probabilities[name])
        assert tuple(one.probabilities) == model.labels
        assert sum(one.probabilities.values()) == pytest.approx(1)
    assert model.predict([]) == []
    with pytest.raises(lt.ConfigError, match=r"texts\[1\]"):
        model.predict(["gut", " "])
    with pytest.raises(TypeError, match="list of texts"):
        model.predict("gut")


def test_a_run_is_evaluated_again_and_on_other_data(trained: lt.Run, home: Path) -> None:
    again = lt.evaluate(trained.folder)
    assert again.results.overall.macro_f1 == trained.results.test.overall.macro_f1
    assert again.folder.parent == trained.folder / "evaluations"
    other = ["data=sample", "data.sample.seed=7"]
    of_words = lt.evaluate(trained.folder, other, output=home)
    of_job = lt.evaluate(trained.folder, lt.compose(*other).data, output=home)
    assert of_words.results.overall == of_job.results.overall != again.results.overall
    with pytest.raises(lt.ConfigError, match="overrides name the data"):
        lt.evaluate(trained.folder, ["lr=1"])


def test_arguments_of_another_type_are_named_before_anything_is_made(
    trained: lt.Run, home: Path
) -> None:
    model, job, run = lt.load(trained.folder), lt.compose(*QUICK), trained.folder
    wrong: dict[str, Callable[[], object]] = {
        "job is what lt.compose returns": lambda: lt.train("lr=1e-4"),  # type: ignore[arg-type]
        "not of type NoneType": lambda: lt.prepare(None),  # type: ignore[arg-type]
        "runs_dir is a path": lambda: lt.train(job, runs_dir=None),  # type: ignore[arg-type]
        "prepared_dir is a path": lambda: lt.prepare(job, prepared_dir=5),  # type: ignore[arg-type]
        "folder is a path": lambda: lt.load(trained),  # type: ignore[arg-type]
        "config_dir is a path": lambda: lt.evaluate(run, ["data=sample"], config_dir=5),  # type: ignore[arg-type]
        "a list of overrides": lambda: lt.evaluate(run, "data=sample"),
        "settings are overrides": lambda: lt.publish(run, ["hub=private"]),  # type: ignore[arg-type]
        "env is a list of names": lambda: lt.compose(env=[None]),  # type: ignore[list-item]
        "texts is a list": lambda: model.predict(None),  # type: ignore[arg-type]
        "languages is a list": lambda: model.predict(["gut"], "de"),
    }
    for message, call in wrong.items():
        with pytest.raises(TypeError, match=message):
            call()
    assert list(home.iterdir()) == []


def test_a_job_that_was_changed_by_hand_keeps_its_types(home: Path) -> None:
    job = lt.compose(*QUICK, "epochs=2", "name='a${seed}'")
    job.epochs = 3  # a whole number is a number
    assert lt.compose(job, "lr=1e-4").epochs == 3
    job.lr, job.training.schedule = "3e-5", "cosine"  # type: ignore[assignment]
    for call in (lt.train, lt.plan, lt.compose, lt.prepare):
        with pytest.raises(lt.ConfigError) as found:
            call(job)  # type: ignore[operator]
        assert [(p.where, p.fix) for p in found.value.problems] == [
            ("lr", "lr=3e-05"), ("training.schedule", "training.schedule=cosine"),
        ]  # fmt: skip
    job.lr = "fast"  # type: ignore[assignment]
    with pytest.raises(lt.ConfigError, match="Value 'fast' of type 'str'"):
        lt.train(job)
    assert list(home.iterdir()) == []


def test_a_text_that_is_none_is_named_and_the_others_counted(trained: lt.Run) -> None:
    model = lt.load(trained.folder)
    for none in (None, float("nan"), 5, b"gut"):
        with pytest.raises(lt.ConfigError) as found:
            model.predict(["gut", none, ("a", none)])  # type: ignore[list-item]
        (problem,) = found.value.problems
        assert problem.where == "texts[1]" and "; 2 of the 3 are none" in problem.what
    for batch in (0, -1, "x"):
        with pytest.raises(lt.ConfigError, match="is not a whole number from 1"):
            lt.load(trained.folder, batch=batch)  # type: ignore[arg-type]
    assert len(model.predict((text for text in ("gut", "schlecht")), ["de", "xx"])) == 2  # type: ignore[arg-type]


def test_fixes_are_arguments_of_calls(trained: lt.Run, home: Path) -> None:
    file = home / "file"
    file.touch()
    refused: dict[str, Callable[[], object]] = {
        "a call for each value": lambda: lt.compose("lr=1e-4,1e-5"),
        "the form KEY=VALUE": lambda: lt.compose("--zzz"),
        "mkdir -p none/experiment": lambda: lt.compose(config_dir="none"),
        "lt.prepare(job)": lambda: lt.train(lt.compose(*QUICK), data="none", quiet=True),
        "output=...": lambda: lt.evaluate(trained.folder, output=file),
        "lt.publish(..., 'hub=private')": lambda: lt.publish(trained.folder),
        "a text of whole characters": lambda: lt.load(trained.folder).predict([" "]),
    }
    for fix, call in refused.items():
        with pytest.raises(lt.ConfigError) as found:
            call()
        (problem,) = found.value.problems
        assert problem.fix == fix and "--" not in problem.where.removeprefix("--zzz")
        if fix == "output=...":
            assert problem.where == f"output='{file}'"


def test_publishing_wants_a_repository(trained: lt.Run) -> None:
    with pytest.raises(lt.ConfigError, match="the job was not to be published"):
        lt.publish(trained.folder)


@pytest.mark.slow
def test_training_twice_in_a_process_leaves_no_traces(
    trained: lt.Run, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging as library

    library.set_verbosity_info()
    library.enable_progress_bar()

    def state() -> tuple[Any, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        root = logging.getLogger()
        return (
            dict(os.environ), Path.cwd(), sys.argv[:], list(warnings.filters), handlers,
            root.level, root.handlers[:], library.get_verbosity(),
            library.is_progress_bar_enabled(), logging.getLogger("torch.fx._symbolic_trace").level,
        )  # fmt: skip

    before = state()
    try:
        job = lt.compose(*QUICK)
        first, second = (lt.train(job, prepared_dir=home / "p", quiet=True) for _ in "12")
        assert capfd.readouterr().out == ""
        assert state() == before
    finally:
        library.set_verbosity_warning()
    assert first.folder != second.folder and first.folder.parent == Path("runs")
    assert first.results.test == second.results.test == trained.results.test
    folder = lt.prepare(job, prepared_dir=home / "p", quiet=True)
    assert sorted(home.iterdir()) == [home / "p", home / "runs"] and folder.parent == home / "p"


@pytest.mark.slow
def test_several_processes_are_started_from_a_notebook(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = lt.compose(*QUICK, "cluster.processes=2", "cluster.threads=1")
    run = lt.train(job, quiet=True)
    assert run.results.training.world_size == 2
    assert capfd.readouterr().out == ""


# --- variables of this machine --------------------------------------------------------------------


def test_a_variable_is_read_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUN_NAME", "from-here")
    assert lt.compose("name=${oc.env:RUN_NAME}", env=["RUN_NAME"]).name == "from-here"
    planned = lt.plan("cluster=p3_2xl", "name=${oc.env:RUN_NAME}", env=["RUN_NAME"])
    assert planned.name.startswith("from-here-")
    with pytest.raises(lt.ConfigError) as refused:
        lt.compose("name=${oc.env:RUN_NAME}")
    assert refused.value.problems[0].fix == 'env=["RUN_NAME"]'
    with pytest.raises(lt.ConfigError) as unused:
        lt.compose("epochs=1", env=["RUN_NAME"])
    assert unused.value.problems[0].where == 'env=["RUN_NAME"]'
    with pytest.raises(TypeError, match="list of names"):
        lt.compose(env="RUN_NAME")
