"""Settings of the launcher: checked, and as the training job and the account that the engine works with."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lingotune.catalog.hardware import image_uri, images
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AwsConfig, Distribution, Sdk
from lingotune.config.secrets import looks_secret
from lingotune.contract.container import CHECKPOINTS, TENSORBOARD
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.aws.connection import with_machine_region
from lingotune.launch.cost.prices import find_price, load_prices
from lingotune.launch.render.sweep_tags import APPLICATION_CHANNEL
from lingotune.launch.render.training_job import Pairs, TrainingJob, root_uri

PROGRAM = "sagemaker_hydra_job.py"
"""Name of `worker_main.py` in the code."""
CHANNEL = APPLICATION_CHANNEL
"""Input channel with the files of a job: SM_CHANNEL_HYDRA on the worker."""
WHERE = "hydra.launcher"
_SLUG = re.compile(r"[^A-Za-z0-9]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+")
_IMAGE = re.compile(r"\S+/\S+[:@]\S+")
_NUMBER = r"-?(?:[0-9]+\.?[0-9]*(?:e[-+][0-9]+)?|inf|nan)"


@dataclass(frozen=True)
class Settings:
    """Settings of `hydra.launcher`, with the region filled in.

    values: by name, as plain values. aws: what the engine knows of the account.
    """

    values: Mapping[str, Any]
    aws: AwsConfig

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def quota(self) -> str:
        """Name of the quota that its machines count against."""
        return job_quota(self.instance_type, spot=self.spot)

    @property
    def usd_per_hour_of_a_job(self) -> float | None:
        """USD per hour of all machines of a job; None if the price is unknown."""
        price = find_price(
            load_prices(), self.instance_type, self.aws.region, self.values["usd_per_hour"]
        )
        return price.usd_per_hour * self.instance_count if price else None

    @property
    def worst_usd(self) -> float | None:
        """USD of one job until SageMaker stops it; None if the price is unknown."""
        rate = self.usd_per_hour_of_a_job
        return None if rate is None else rate * self.max_run / 3600

    @property
    def identity(self) -> dict[str, Any]:
        """Settings that make another job: another machine or image may give another result."""
        names = ("image_uri", "instance_type", "instance_count", "processes", "environment")
        return {name: _plain(self.values[name]) for name in (*names, "checkpoints")}

    def stem(self, app: str) -> str:
        """Begin the names of all jobs of the application."""
        return _SLUG.sub("-", self.values["name"] or app).strip("-")[:40] or "job"

    def describe(self, name: str, key: str, code: str, tags: Pairs) -> TrainingJob:
        """Describe a training job. key, code: digests of its config and of the code."""
        root, torchrun = root_uri(self.aws), _plain(self.processes) == "torchrun"
        own = {**self.metrics, "validation:returned": f"the job returned ({_NUMBER})"}
        wait = (self.max_wait or 2 * self.max_run) if self.spot else None
        return TrainingJob(
            name=name, region=self.aws.region or "", role=self.role, image=self.image_uri,
            versions=None, instance_type=self.instance_type,
            instance_count=self.instance_count, preferences=(), max_pending=None,
            distribution=Distribution.torch_distributed if torchrun else Distribution.none,
            code_uri=f"{root}/code/{code}/sourcedir.tar.gz",
            channels=((CHANNEL, f"{root}/jobs/{key}/"),),
            input_mode="File", output_uri=f"{root}/output", output_key=self.kms_key,
            compress_output=False,
            checkpoint_uri=f"{root}/checkpoints/{name}" if self.checkpoints else None,
            checkpoint_path=CHECKPOINTS, tensorboard_uri=None, tensorboard_path=TENSORBOARD,
            environment=tuple(self.environment.items()), tags=(*tags, *self.tags.items()),
            metrics=tuple(own.items()), max_run=self.max_run, max_wait=wait,
            keep_alive=self.keep_alive, retries=None, volume_gb=self.volume_gb,
            volume_key=self.volume_kms_key, subnets=tuple(self.subnets),
            security_groups=tuple(self.security_groups), encrypt_traffic=False,
            network_isolation=False, training_plan=None, ultra_server=None, remote_debug=False,
            profiler=False, program=PROGRAM,
        )  # fmt: skip


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def read_settings(typed: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """Read the settings as Hydra gives them, and say all that is wrong with them."""
    from omegaconf import OmegaConf

    values: dict[str, Any] = {
        name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for name, value in typed.items()
    }
    aws = AwsConfig(
        region=values["region"], role=values["role"], bucket=values["bucket"],
        prefix=values["prefix"], sdk=Sdk.boto3, kms_key=values["kms_key"],
        volume_kms_key=values["volume_kms_key"], subnets=values["subnets"],
        security_groups=values["security_groups"], tags=dict(values["tags"]),
    )  # fmt: skip
    settings = Settings(values, with_machine_region(aws))
    return settings, list(_wrong(settings))


def _wrong(settings: Settings) -> Iterator[Problem]:
    yield from _missing(settings)
    yield from _numbers(settings)
    role, image, instance = settings.role, settings.image_uri, settings.instance_type
    if role and not _ROLE.fullmatch(role):
        yield _problem(
            "role", role, "is not the ARN of a role", "arn:aws:iam::111122223333:role/NAME"
        )
    if image and not _IMAGE.fullmatch(image):
        yield _problem("image_uri", image, "is not the address of an image", "REGISTRY/NAME:TAG")
    if instance and not instance.startswith("ml."):
        yield _problem("instance_type", instance, "is no SageMaker instance type", f"ml.{instance}")
    if settings.keep_alive and settings.spot:
        what = "machines of spot jobs cannot be kept"
        yield _problem("keep_alive", settings.keep_alive, what, "null")
    if settings.max_wait and not settings.spot:
        what = "limits the waiting of spot jobs, and spot=false"
        yield _problem("max_wait", settings.max_wait, what, "null")
    if settings.max_wait and settings.max_wait < settings.max_run:
        what = f"is less than max_run={settings.max_run}"
        yield _problem("max_wait", settings.max_wait, what, str(2 * settings.max_run))
    for setting in ("environment", "tags"):
        for name, value in getattr(settings, setting).items():
            if looks_secret(f"{name}={value}"):
                what = "holds a token or key, and anybody who may describe the job can read it"
                fix = "let the job read it from AWS Secrets Manager with its role"
                yield Problem(f"{WHERE}.{setting}.{name}", what, fix, check="secret")
    for name, pattern in settings.metrics.items():
        try:
            if re.compile(pattern).groups < 1:
                yield _problem(f"metrics.{name}", pattern, "has no group", "'loss=([0-9.]+)'")
        except re.error as error:
            yield _problem(f"metrics.{name}", pattern, f"is no regular expression: {error}", "")
    if settings.budget_usd is not None and instance and settings.worst_usd is None:
        what = (
            f"no price of {instance} in {settings.aws.region} is known, so that nothing keeps to it"
        )
        fix = f"{WHERE}.usd_per_hour=..., the price of one machine"
        yield Problem(f"{WHERE}.budget_usd={settings.budget_usd:g}", what, fix)


def _missing(settings: Settings) -> Iterator[Problem]:
    needed = {
        "role": "arn:aws:iam::111122223333:role/NAME",
        "bucket": "my-bucket",
        "instance_type": "ml.g5.xlarge",
    }
    for name, example in needed.items():
        if not settings.values[name]:
            yield Problem(f"{WHERE}.{name}", "is needed", f"{WHERE}.{name}={example}")
    region = settings.aws.region
    if not region:
        what = "is needed: this machine's AWS configuration names none"
        yield Problem(f"{WHERE}.region", what, f"{WHERE}.region=us-east-1")
    if not settings.image_uri:
        newest = images()[-1]
        tag = f"{newest.pytorch}-transformers{newest.transformers}-gpu-{newest.python}"
        uri = image_uri(f"{tag}-{newest.container}", region or "us-east-1")
        what = "is needed: the image that the jobs run in"
        why = f"this one is AWS's with PyTorch {newest.pytorch}, for machines with GPUs"
        yield Problem(f"{WHERE}.image_uri", what, f"{WHERE}.image_uri={uri}", why=why)


_RANGES = {
    "instance_count": (1, math.inf), "max_run": (1, 2419200), "volume_gb": (1, 16384),
    "max_wait": (1, math.inf), "keep_alive": (1, 3600), "max_parallel": (1, math.inf),
    "retries": (0, 30), "max_failures": (1, math.inf), "budget_usd": (0, math.inf),
    "usd_per_hour": (0, math.inf), "max_code_mb": (0, math.inf), "fetch_mb": (0, math.inf),
}  # fmt: skip


def _numbers(settings: Settings) -> Iterator[Problem]:
    for name, (low, high) in _RANGES.items():
        value = settings.values[name]
        if value is not None and not low <= value <= high:
            limit = f"at least {low}" if value < low else f"at most {high:g}"
            fix = str(low if value < low else int(high))
            yield _problem(name, value, f"has to be {limit}", fix)


def _problem(name: str, value: Any, what: str, fix: str) -> Problem:
    return Problem(f"{WHERE}.{name}={value}", what, fix and f"{WHERE}.{name}={fix}")


# --- texts of the engine --------------------------------------------------------------------------

_NAMES = {
    "nodes": "instance_count", "max_usd": "budget_usd", "follow": "wait",
}  # fmt: skip
_SETTING = re.compile(r"(?<![\w./-])(?:aws|cluster|sweep|budget)\.([a-z_]+)\b")


def in_its_words(text: str) -> str:
    """Write a text of the engine with the launcher's names of the settings."""
    text = _SETTING.sub(lambda m: f"{WHERE}.{_NAMES.get(m[1], m[1])}", text)
    text = re.sub(r"(?<![\w.])retry=", f"{WHERE}.retry=", text)
    text = re.sub(r"(?<![\w.])runs_dir=", f"{WHERE}.runs_dir=", text)
    text = re.sub(r"(?<!\w)cluster=\S+", f"{WHERE}.instance_type=...", text)
    return text.replace("action=submit", "hydra/launcher=sagemaker").replace(
        "the same command with action=plan shows role, bucket and names; ", ""
    )


def translated(problem: Problem) -> Problem:
    """Write a problem of the engine with the launcher's names of the settings."""
    return replace(
        problem, where=in_its_words(problem.where), what=in_its_words(problem.what),
        fix=in_its_words(problem.fix), why=in_its_words(problem.why),
    )  # fmt: skip


def translated_error(error: ConfigError) -> ConfigError:
    """Write the problems of an error with the launcher's names of the settings."""
    return ConfigError([translated(problem) for problem in error.problems])
