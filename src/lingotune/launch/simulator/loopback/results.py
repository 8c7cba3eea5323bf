"""Results of a job: from its containers to S3."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lingotune.launch.simulator.container import Container, pack
from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.storage import upload


def put_results(
    s3: Any, containers: Sequence[Container], folder: Path, *, with_model: bool
) -> Fields:
    """Upload the output of a job's hosts; returns the fields of DescribeTrainingJob that name the model.

    folder: for collecting and packing. Of files with the same name, the last host's is taken.
    """
    request = containers[0].request
    asked = request["OutputDataConfig"]
    output = f"{asked['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/output"
    put = _put_files if asked.get("CompressionType") == "NONE" else _put_archive
    put(s3, _gathered([c.output for c in containers], folder / "data"), output, "output")
    for config in ("CheckpointConfig", "TensorBoardOutputConfig"):
        _copy(s3, request.get(config), containers, folder / config)
    if not with_model:
        return {}
    model = _gathered([c.model for c in containers], folder / "model")
    return {"ModelArtifacts": {"S3ModelArtifacts": put(s3, model, output, "model")}}


def _put_archive(s3: Any, gathered: Path, output: str, name: str) -> str:
    packed = gathered.parent / "packed" / name
    packed.mkdir(parents=True)
    pack(gathered, packed / f"{name}.tar.gz")
    upload(s3, packed, output)
    return f"{output}/{name}.tar.gz"


def _put_files(s3: Any, gathered: Path, output: str, name: str) -> str:
    uri = f"{output}/{gathered.name}"
    upload(s3, gathered, uri)
    return uri


def _copy(
    s3: Any, asked: Mapping[str, str] | None, containers: Sequence[Container], folder: Path
) -> None:
    """Upload the files that the job has kept for CheckpointConfig or TensorBoardOutputConfig."""
    if asked is None:
        return
    uri = asked.get("S3Uri") or asked["S3OutputPath"]
    upload(s3, _gathered([c.inside(asked["LocalPath"]) for c in containers], folder), uri)


def _gathered(sources: Sequence[Path], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
    return folder
