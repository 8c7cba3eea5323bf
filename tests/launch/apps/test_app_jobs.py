"""An application's jobs: composed here, and the same on the worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from lingotune.config.problems import ConfigError
from lingotune.launch.apps import worker_main
from lingotune.launch.apps.code import Entry
from lingotune.launch.apps.jobs import AppJob, compose_jobs, write_hydra_files

APP = ROOT / "tests" / "foreign_app"


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Path]:
    """The application's folder of configs, without its schema, whose class is not loaded here."""
    shutil.copytree(APP / "conf", tmp_path / "conf")
    config = tmp_path / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("  - schema\n", ""))
    setup_globals()
    before = HydraConfig.instance().cfg
    JobRuntime.instance().set("name", "train")
    yield tmp_path / "conf"
    HydraConfig.instance().cfg = before


def composed(conf: Path, *jobs: list[str], first: int = 0, typed: tuple[str, ...] = ()) -> Any:
    loader = ConfigLoaderImpl(create_config_search_path(str(conf)))
    master = loader.load_configuration("config", list(typed), RunMode.MULTIRUN)
    context = HydraContext(config_loader=loader, callbacks=None)  # type: ignore[arg-type]
    entry = Entry(conf.parent, script="train.py")
    return compose_jobs(context, master, list(jobs), first, entry, {"image_uri": "i"})


def written(job: AppJob) -> Any:
    return OmegaConf.create(job.files["job.yaml"].decode())


def test_what_only_this_machine_knows_is_resolved_and_the_rest_is_left(conf: Path) -> None:
    (conf / "more.yaml").write_text(
        "a: ${hydra:runtime.output_dir}/x\nb: ${hydra:job.num}\nc: n-${hydra:runtime.choices.model}\n"
        "d: ${oc.env:HOME}\ne: ${lr}\nf: ${hydra:runtime.choices.${g}}\ng: data\nh: ${now:%Y}-${lr}\n"
    )
    config = (conf / "config.yaml").read_text()
    (conf / "config.yaml").write_text(config + (conf / "more.yaml").read_text())
    (job,) = composed(conf, ["lr=3"], first=4)
    assert job.number == 4 and written(job).run.startswith("train-4-2")
    text = job.files["job.yaml"].decode()
    values = OmegaConf.to_container(written(job), resolve=False)
    assert isinstance(values, dict)
    assert values["a"] == "${hydra:runtime.output_dir}/x" and values["b"] == 4
    assert values["c"] == "n-perceptron" and values["d"] == "${oc.env:HOME}"
    assert values["e"] == "${lr}" and values["f"] == "moons"
    assert values["h"].endswith("-${lr}") and "${now" not in text and os.environ["HOME"] not in text
    assert values["hydra"]["job"]["num"] == 4 and values["hydra"]["job"]["name"] == "train"
    assert values["hydra"]["runtime"]["choices"] == {"model": "perceptron", "data": "moons"}


def test_the_same_job_has_the_same_key_at_any_time_and_another_one_another(conf: Path) -> None:
    def keys(*jobs: list[str], **options: Any) -> list[str]:
        return [job.key for job in composed(conf, *jobs, **options)]

    first = keys(["lr=1"], ["lr=2"], ["model=random_features"])
    later = keys(
        ["lr=1"], ["lr=2"], ["model=random_features"], typed=("hydra.sweep.dir=elsewhere",)
    )
    assert first == later and len(set(first)) == 3
    assert keys(["lr=1"], first=5) != keys(["lr=1"])  # `run` tells hydra.job.num


def test_all_jobs_that_cannot_be_composed_are_told_at_once(conf: Path) -> None:
    token = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF" + "xY"
    with pytest.raises(ConfigError) as raised:
        composed(conf, ["model=none"], ["lr=1"], ["nothing=1"], [f"user={token}"], first=3)
    told = [f"{p.where} {p.what}" for p in raised.value.problems]
    assert [text[:6] for text in told] == ["job 3:", "job 5:", "job 6:"]
    assert "model/none" in told[0] and "nothing" in told[1] and "token" in told[2]


def test_hydra_files_lie_where_they_lie_for_a_job_of_this_machine(
    conf: Path, tmp_path: Path
) -> None:
    typed = (f"hydra.sweep.dir={tmp_path}/sweep",)
    (job,) = composed(conf, ["lr=3"], first=2, typed=typed)
    write_hydra_files(job)
    folder = tmp_path / "sweep" / "2" / ".hydra"
    assert OmegaConf.load(folder / "overrides.yaml") == ["lr=3"]
    config, hydra = OmegaConf.load(folder / "config.yaml"), OmegaConf.load(folder / "hydra.yaml")
    assert isinstance(config, DictConfig) and config.lr == 3 and "hydra" not in config
    assert hydra.hydra.job.num == 2


# --- the worker's side ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("words", [["lr=0.3", "data=spirals"], ["breaks=true"]])
def test_a_worker_gets_types_choices_and_numbers_and_tells_what_was_returned(
    tmp_path: Path, words: list[str]
) -> None:
    """The program of the bundle runs the application as the container would, without lingotune."""
    app, channel, out = tmp_path / "app", tmp_path / "channel", tmp_path / "out"
    shutil.copytree(APP, app)
    shutil.copy(worker_main.__file__, app / "start.py")
    channel.mkdir()
    config = OmegaConf.create(
        {
            "hydra": {"job": {"name": "train"}, "runtime": {"choices": {"model": "perceptron"}}},
            "data": {"shape": "moons", "points": 100, "noise": 0.1},
            "model": {"hidden": 4, "trains_all": True},
            "lr": 0.3, "epochs": 20, "seed": 0, "run": "r", "user": "", "breaks": "breaks=true" in words,
        }
    )  # fmt: skip
    (channel / "job.yaml").write_text(OmegaConf.to_yaml(config))
    types = [[[], "__main__", "Config"], [["data"], "__main__", "Data"]]
    about = {"script": "train.py", "types": types, "overrides": ["hydra.output_subdir=null"]}
    (channel / "job.json").write_text(json.dumps(about))
    variables = {**os.environ, "SM_CHANNEL_HYDRA": str(channel), "SM_OUTPUT_DATA_DIR": str(out)}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "start.py"], cwd=app, env=variables, capture_output=True, text=True
    )
    told = json.loads((out / worker_main.RETURNED).read_text())
    if "breaks=true" in words:
        assert done.returncode == 1 and told["error"] == "ValueError: the data has no spirals"
        return
    assert done.returncode == 0, done.stderr
    assert 0.5 < told["value"] <= 1 and f"{worker_main.LINE}{told['value']:.10g}" in done.stdout
    assert (out / "facts.txt").read_text().startswith("r perceptron") and (
        out / "weights.npz"
    ).exists()


def test_numbers_of_numpy_are_numbers_and_what_json_cannot_hold_is_named() -> None:
    import numpy as np

    assert worker_main.plain(np.float32(0.5)) == {"value": 0.5}
    assert worker_main.plain((1, np.array([0.5, 1]))) == {"value": [1, [0.5, 1.0]]}
    assert worker_main.plain(None) == {"value": None}
    assert worker_main.plain(object()) == {"value": None, "lost": "object"}
