"""Training jobs made from overrides, with fixed names of an account and fixed digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conftest import CONF, compose
from omegaconf import OmegaConf

from lingotune.catalog.hardware import fill_in
from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.schema import Distribution, JobConfig, LaunchConfig
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.render import sdk_v3
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import has_arguments_for, to_huggingface
from lingotune.launch.render.sdk_v3 import to_model_trainer
from lingotune.launch.render.training_job import Digests, TrainingJob, describe

ACCOUNT = [
    "aws.role=arn:aws:iam::111122223333:role/SageMakerRole",
    "aws.bucket=example-bucket",
    "aws.region=us-east-1",
]


def cluster_settings() -> dict[str, Mapping[str, Any]]:
    """Option of the group cluster -> its settings, of those on SageMaker that say all of a machine."""
    found = {}
    for option in config_groups(CONF)["cluster"]:
        settings = OmegaConf.to_container(OmegaConf.load(CONF / "cluster" / f"{option}.yaml"))
        assert isinstance(settings, dict)
        if str(settings.get("instance_type")).startswith("ml."):
            found[option] = settings
    return found


def on_clusters(*overrides: str) -> dict[str, LaunchConfig]:
    """Option of the group cluster -> the job of overrides there, composed once: files of clusters set plain
    values alone."""
    config, found = compose(*ACCOUNT, *overrides, "cluster=g5_12xl"), {}
    for option, settings in cluster_settings().items():
        given = {"gpus_per_node": None, "distribution": None, **settings}
        if given["distribution"] is not None:
            given["distribution"] = Distribution[given["distribution"]]
        found[option] = replace(config, cluster=fill_in(replace(config.cluster, **given)))
    return found


def forms_of(job: TrainingJob) -> dict[str, Any]:
    """The job as each library asks for it: the request, and the arguments of the SDKs v2 (where it can) and
    v3."""
    return {
        "request": to_request(job),
        **({"huggingface": to_huggingface(job)} if has_arguments_for(job) else {}),
        **({"model_trainer": to_model_trainer(job)} if sdk_v3.has_arguments_for(job) else {}),
    }


def described(*overrides: str, **changed: Any) -> TrainingJob:
    """The training job of overrides, with the account's names and digests that do not move."""
    config = compose(*ACCOUNT, *overrides)
    job = job_of(config)
    return describe(job, config.aws, digests(job, **changed))


def digests(of: JobConfig, **changed: Any) -> Digests:
    # The code's own digest changes with every edit; a golden file must not.
    data = "da7a" * 16 if of.data.path else None
    return Digests(**{"job": job_digest(of), "code": "c0de" * 16, "data": data, **changed})
