"""From a job and its names to the exact arguments that start it. Pure: names come in, a dict goes out.

`render_sagemaker` gives what the SageMaker Python SDK (v2) takes: `HuggingFace(**estimator)` and
`.fit(**fit)`. `render_local` gives the command line for this machine. The job is not unpacked into
hyperparameters: it travels as a file in the input channel `config` (hyperparameters are joined into
a shell command, cut at 2 500 characters and logged).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from lingotune.container import CHECKPOINTS, CONFIG_CHANNEL, DATA_CHANNEL, DIGEST_VARIABLE
from lingotune.hardware import resolve_image
from lingotune.scaling import processes_per_node, world_size
from lingotune.schema import Distribution, ImageConfig, JobConfig, Lane

_DISTRIBUTIONS: dict[Distribution, dict[str, Any]] = {
    Distribution.torch_distributed: {"torch_distributed": {"enabled": True}},
    Distribution.smdistributed: {"smdistributed": {"dataparallel": {"enabled": True}}},
}


@dataclass(frozen=True)
class Names:
    """What a job is called and where its parts lie; digests are 64 hexadecimal digits.

    `data_digest` is None when the workers get their reviews without the laptop's files.
    """

    role: str
    bucket: str
    prefix: str
    job_digest: str
    code_digest: str
    data_digest: str | None = None
    attempt: int = 1

    @property
    def root(self) -> str:
        """S3 prefix of everything that lingotune writes, without a trailing slash."""
        return "/".join(["s3:/", self.bucket, *filter(None, [self.prefix.strip("/")])])

    @property
    def code_uri(self) -> str:
        """The code bundle: one object for all jobs of the same code."""
        return f"{self.root}/code/{self.code_digest}/sourcedir.tar.gz"

    @property
    def config_uri(self) -> str:
        """The channel with the job file. The slash at the end matters: S3Prefix is a string prefix."""
        return f"{self.root}/jobs/{self.job_digest}/"

    @property
    def data_uri(self) -> str | None:
        """The channel with the uploaded files."""
        return f"{self.root}/data/{self.data_digest}/" if self.data_digest else None


def job_name(job: JobConfig, names: Names) -> str:
    """`<name>-<10 digits>[-attempt]`: the same job, code and data have the same name, so that the
    same job is not billed twice by mistake; `attempt` asks for it once more."""
    parts = [names.job_digest, names.code_digest, names.data_digest or ""]
    identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    suffix = f"-{names.attempt}" if names.attempt > 1 else ""
    return f"{job.name}-{identity}{suffix}"


def render_sagemaker(job: JobConfig, names: Names) -> dict[str, Any]:
    """`{"estimator": {...}, "fit": {...}}` for a job on SageMaker; the preflight has accepted it."""
    cluster, name = job.cluster, job_name(job, names)
    inputs = {CONFIG_CHANNEL: names.config_uri}
    if names.data_uri:
        inputs[DATA_CHANNEL] = names.data_uri
    estimator = {
        "entry_point": "train.py",
        "source_dir": names.code_uri,
        "role": names.role,
        "instance_type": cluster.instance_type,
        "instance_count": cluster.nodes,
        **_image_versions(job),
        "distribution": _DISTRIBUTIONS[cluster.distribution],
        "hyperparameters": {},
        "environment": {DIGEST_VARIABLE: names.job_digest},
        "input_mode": "File",
        "output_path": f"{names.root}/output",
        "checkpoint_s3_uri": f"{names.root}/checkpoints/{name}",
        "checkpoint_local_path": CHECKPOINTS,
        "max_run": cluster.max_run,
        "tags": [
            {"Key": "lingotune:name", "Value": job.name},
            {"Key": "lingotune:job-sha256", "Value": names.job_digest},
            {"Key": "lingotune:code-sha256", "Value": names.code_digest},
        ],
        # Both run extra processing jobs by default.
        "debugger_hook_config": False,
        "disable_profiler": True,
    }
    return {"estimator": estimator, "fit": {"inputs": inputs, "job_name": name, "wait": False}}


def _image_versions(job: JobConfig) -> dict[str, str | None]:
    """Pinned versions exactly as typed: the SDK's own checks compare strings."""
    typed = job.cluster.image
    if typed.lane is Lane.pinned:
        return _versions(typed)
    image = resolve_image(job.cluster)
    assert image is not None, "preflight requires it"
    return _versions(ImageConfig(Lane.pinned, image.transformers, image.pytorch, image.python))


def _versions(image: ImageConfig) -> dict[str, str | None]:
    return {
        "transformers_version": image.transformers,
        "pytorch_version": image.pytorch,
        "py_version": image.python,
    }


def render_local(job: JobConfig, job_file: str) -> list[str]:
    """The command that trains on this machine, one process or several."""
    if world_size(job.cluster) == 1:
        return ["python", "train.py", "--job", job_file]
    count = processes_per_node(job.cluster)
    return ["torchrun", "--standalone", f"--nproc_per_node={count}", "train.py", "--job", job_file]
