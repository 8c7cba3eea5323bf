"""The folders of one training container, which SageMaker lays out under /opt/ml and reads at the end."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Distribution
from lingotune.contract.container import CONFIG_CHANNEL, JOB_FILE
from lingotune.launch.render.shared_fields import Request

OPT_ML = "/opt/ml"
"""Root of the folders in a real container."""
REASON_LENGTH = 1024
"""Maximum length of a FailureReason in characters."""
_GROUP = "homogeneousCluster"
_NETWORK = "lo"


@dataclass(frozen=True)
class Container:
    """One host of a job, laid out from a CreateTrainingJob request and objects in S3.

    objects: s3:// URI -> contents. hosts: all hosts of the job. current_host: name of this one.
    """

    folder: Path
    request: Request
    objects: Mapping[str, bytes | Path]
    hosts: tuple[str, ...]
    current_host: str

    @property
    def model(self) -> Path:
        """Folder whose content becomes model.tar.gz."""
        return self.folder / "model"

    @property
    def job_file(self) -> Path:
        """The job's file, in its input channel."""
        return self.folder / "input/data" / CONFIG_CHANNEL / JOB_FILE

    @property
    def checkpoints(self) -> Path:
        """Folder for checkpoints, from CheckpointConfig; /opt/ml/checkpoints without one."""
        local = self.request.get("CheckpointConfig", {}).get("LocalPath")
        return self.inside(local or f"{OPT_ML}/checkpoints")

    @property
    def output(self) -> Path:
        """Folder whose content becomes output.tar.gz."""
        return self.folder / "output" / "data"

    def inside(self, path: str) -> Path:
        """Translate a path in the container to the path here."""
        return self.folder / PurePosixPath(path).relative_to(OPT_ML)

    def failure(self) -> str | None:
        """Read the failure file; None if there is none."""
        path = self.folder / "output" / "failure"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else None


def distribution_of(request: Request) -> Distribution:
    """Derive from a request how the toolkit will start the ranks."""
    parameters = request["HyperParameters"]
    if parameters.get("sagemaker_torch_distributed_enabled") == "true":
        return Distribution.torch_distributed
    if parameters.get("sagemaker_distributed_dataparallel_enabled") == "true":
        return Distribution.smdistributed
    return Distribution.none


def host_names(request: Request) -> tuple[str, ...]:
    """Choose names for the job's hosts on this machine, one per instance.

    A single host is `algo-1`, as on SageMaker. mpirun, and several hosts, connect to the names, which
    therefore have to be addresses of this machine.
    """
    count = request["ResourceConfig"]["InstanceCount"]
    if count > 1:
        return tuple(f"127.0.0.{number}" for number in range(1, count + 1))
    return ("localhost",) if distribution_of(request) is Distribution.smdistributed else ("algo-1",)


def lay_out(
    request: Request,
    objects: Mapping[str, bytes | Path],
    folder: Path,
    *,
    hosts: Sequence[str] = ("algo-1",),
    current_host: str | None = None,
    checkpoints: Path | None = None,
) -> Container:
    """Fill an empty `folder` as SageMaker fills /opt/ml before it starts the container.

    objects: those in S3, by full URI. current_host: by default the first. checkpoints: folder with the
    checkpoints to restore by CheckpointConfig. ConfigError for a channel without objects, for which
    SageMaker fails a job.
    """
    container = Container(folder, request, objects, tuple(hosts), current_host or hosts[0])
    channels = {channel["ChannelName"]: channel for channel in request.get("InputDataConfig", [])}
    found = {name: _under(_prefix(channel), objects) for name, channel in channels.items()}
    missing = [
        Problem(
            f"channel {name}",
            f"no objects under {_prefix(channels[name])}",
            "upload what the channel shall hold",
        )
        for name, files in found.items()
        if not files
    ]
    if missing:
        raise ConfigError(missing)
    # The toolkit makes code and output/data, SageMaker the others.
    for path in (folder / "input" / "config", container.model, container.checkpoints):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "output").mkdir()
    _write_config(container, channels)
    for name, files in found.items():
        _fill(folder / "input" / "data" / name, files)
    if checkpoints is not None and "CheckpointConfig" in request:
        shutil.copytree(checkpoints, container.checkpoints, dirs_exist_ok=True)
    return container


def _prefix(channel: Request) -> str:
    uri: str = channel["DataSource"]["S3DataSource"]["S3Uri"]
    return uri


def _under(prefix: str, objects: Mapping[str, bytes | Path]) -> dict[str, bytes | Path]:
    """Select objects whose URI starts with the prefix, by the rest of it; S3Prefix is not a folder."""
    return {
        uri[len(prefix) :].lstrip("/") or uri.rpartition("/")[2]: content
        for uri, content in objects.items()
        if uri.startswith(prefix) and not uri.endswith("/")
    }


def _fill(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Copy rather than link, as a container may write to its input.
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)


def _write_config(container: Container, channels: Mapping[str, Request]) -> None:
    request, hosts = container.request, list(container.hosts)
    instance = request["ResourceConfig"]["InstanceType"]
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    files = {
        "hyperparameters": request["HyperParameters"],
        "resourceconfig": {
            "current_host": container.current_host,
            "current_instance_type": instance,
            "current_group_name": _GROUP,
            "hosts": hosts,
            "instance_groups": [
                {"instance_group_name": _GROUP, "instance_type": instance, "hosts": hosts}
            ],
            "network_interface_name": _NETWORK,
        },
        "inputdataconfig": {name: _described(entry, mode) for name, entry in channels.items()},
    }
    for name, content in files.items():
        path = container.folder / "input" / "config" / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def _described(channel: Request, mode: str) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    content = {"ContentType": channel["ContentType"]} if "ContentType" in channel else {}
    return {
        **content,
        "TrainingInputMode": channel.get("InputMode", mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }


def failure_reason(failure: str | None, exit_code: int) -> str:
    """Derive the FailureReason of DescribeTrainingJob from a container's failure file."""
    reason = f"AlgorithmError: {failure}, " if failure else "AlgorithmError: "
    return f"{reason}exit code: {exit_code}"[:REASON_LENGTH]


def pack(folder: Path, archive: Path) -> None:
    """Write model.tar.gz or output.tar.gz as SageMaker does, with names relative to the folder."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:  # weights hardly compress
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False)
