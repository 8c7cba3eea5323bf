"""Composing with Hydra 1.4 and OmegaConf 2.4: every option of every group, and the same jobs as with 1.3.

Runs in an environment of its own (`make test-hydra`), on the golden requests that Hydra 1.3 composed.
"""

from __future__ import annotations

import hydra
import omegaconf
import pytest
from conftest import CONF, compose
from described import described
from golden_files import read_golden

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.render.request import to_request

OPTIONS = [(group, option) for group, options in config_groups(CONF).items() for option in options
           if group not in ("cluster", "sweep")]  # fmt: skip


def test_these_are_the_next_versions() -> None:
    assert hydra.__version__.startswith("1.4") and omegaconf.__version__.startswith("2.4")


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group: str, option: str) -> None:
    more = ["model.name_or_path=some/model"] if option == "pretrained" else []
    assert job_of(compose(f"{group}={option}", *more)).name


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("p3_16xl", ["cluster=p3_16xl"]),
        ("blog", ["experiment=blog"]),
        ("fallback", ["cluster=g6e_12xl", "cluster.fallback=[g5_12xl,p3_16xl]", "aws.sdk=boto3",
                      "cluster.max_pending=3600"]),
    ],
)  # fmt: skip
def test_the_same_request_to_the_letter(name: str, overrides: list[str]) -> None:
    """The SHA-256 of the job file is in it: the file has the same bytes."""
    assert to_request(described(*overrides)) == read_golden(f"job-{name}.json")["request"]


def test_a_job_file_is_read_back(tmp_path: object) -> None:
    job = job_of(compose("cluster=p5", "lr=1e-5", "data.labels=[{name: a, values: ['1']}]"))
    path = tmp_path / "job.yaml"  # type: ignore[operator]
    path.write_bytes(dump_job(job))
    assert load_job(path)[0] == job


def test_a_sweep_and_what_is_refused() -> None:
    jobs = compose_all(["lr=1e-5,2e-5", "seed=1,2"], CONF, lambda config: [], multirun=True)
    assert [(one.config.lr, one.config.seed) for one in jobs] == [
        (1e-5, 1), (1e-5, 2), (2e-5, 1), (2e-5, 2)]  # fmt: skip
    for wrong in ("lr=abc", "larning_rate=1", "cluster=p3_16x", "+new.key=1", "seed=1.5"):
        with pytest.raises(ConfigError):
            compose(wrong)
