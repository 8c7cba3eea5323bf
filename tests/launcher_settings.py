"""Settings of the launcher for tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hydra_plugins.lingotune_launcher.sagemaker import SageMakerLauncherConf
from lingotune.launch.apps.settings import Settings, read_settings

GIVEN = {
    "role": "arn:aws:iam::123456789012:role/r", "bucket": "my-bucket", "region": "us-east-1",
    "image_uri": "r.example/i:1", "instance_type": "ml.g5.xlarge",
}  # fmt: skip


def settings(**given: Any) -> Settings:
    values = asdict(SageMakerLauncherConf(**{**GIVEN, **given}))
    del values["_target_"]
    return read_settings(values)[0]


def problems(**given: Any) -> list[str]:
    values = asdict(SageMakerLauncherConf(**given))
    del values["_target_"]
    return [p.where for p in read_settings(values)[1]]
