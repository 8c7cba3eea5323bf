"""Settings of `hydra/launcher=sagemaker`, and the launcher.

Hydra imports this module at each start of every application on the machine. It therefore imports nothing
but Hydra; all else comes when jobs are launched.
"""

# Hydra 1.3 runs this module before it is in sys.modules, where dataclasses look up annotations that are
# texts: no `from __future__ import annotations`.
# ruff: noqa: UP045

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Processes(Enum):
    """Processes on each machine: one, or one for each GPU, started by torchrun."""

    one = "one"
    torchrun = "torchrun"


class Retry(Enum):
    """Jobs to start again though they have ended: none, those that failed, or those that were stopped."""

    none = "none"
    failed = "failed"
    stopped = "stopped"


class Code(Enum):
    """Code of a command that is given again: as at its first start, or as it is now."""

    pinned = "pinned"
    new = "new"


@dataclass
class SageMakerLauncherConf:
    """Settings of `hydra.launcher`."""

    _target_: str = "hydra_plugins.lingotune_launcher.sagemaker.SageMakerLauncher"

    role: Optional[str] = None
    """ARN of the IAM role that the jobs assume. Required."""
    bucket: Optional[str] = None
    """S3 bucket for code, configs and output. Required."""
    prefix: str = "hydra"
    """Key prefix in the bucket."""
    region: Optional[str] = None
    """AWS region; null = from the AWS configuration of this machine."""
    image_uri: Optional[str] = None
    """Training image, e.g. AWS's for PyTorch. Required."""
    instance_type: Optional[str] = None
    """SageMaker instance type, e.g. ml.g5.xlarge. Required."""
    instance_count: int = 1
    """Machines of each job."""
    processes: Processes = Processes.one
    """one = one process on each machine; torchrun = one for each GPU."""
    max_run: int = 3600
    """Seconds after which SageMaker stops a job: the worst case that is billed."""
    volume_gb: int = 30
    """Size of the storage volume in GB."""
    spot: bool = False
    """Use spot capacity. An interrupted job starts anew, so it should keep checkpoints."""
    max_wait: Optional[int] = None
    """Seconds for waiting and running of a spot job; null = twice `max_run`."""
    checkpoints: bool = False
    """Keep /opt/ml/checkpoints in S3, and restore it when an attempt of the job starts again."""
    keep_alive: Optional[int] = None
    """Seconds that the machines are kept for the next job (a warm pool; billed)."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of the jobs. `${oc.env:NAME}` in the config is resolved there."""
    code: Code = Code.pinned
    """pinned = the code of the command's first start for all its jobs, so that an edit, or a log file in
    the folder, repeats none; new = the code as it is now for jobs that neither run nor have completed."""
    code_dir: Optional[str] = None
    """Folder that travels as the code; null = the script's, or what a module is imported from."""
    include: list[str] = field(default_factory=list)
    """Patterns of the files that travel; empty = all that .gitignore does not leave out."""
    exclude: list[str] = field(default_factory=list)
    """Patterns of files that stay."""
    max_code_mb: float = 20.0
    """Refuse code that is larger."""
    requirements: Optional[str] = None
    """Requirements that each job installs with pip; null = requirements.txt of the code, if it is there."""
    name: Optional[str] = None
    """Beginning of the jobs' names; null = the application's name."""
    tags: dict[str, str] = field(default_factory=dict)
    """Further tags of the jobs."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Metric -> regular expression with one group, by which SageMaker reads it from the log."""
    max_parallel: Optional[int] = None
    """Jobs at a time; null = the account's quota."""
    retries: int = 2
    """New starts of a job that ended through a fault of AWS or for want of capacity."""
    max_failures: int = 3
    """Failed jobs after which no further ones are started; those that run go on."""
    retry: Retry = Retry.none
    """failed, stopped = start the jobs again that have ended so."""
    budget_usd: Optional[float] = None
    """Refuse jobs whose worst case, with what has been spent, costs more than this."""
    usd_per_hour: Optional[float] = None
    """Price of one machine, instead of the shipped price list."""
    fetch_mb: float = 100.0
    """Bring a job's output back if it is at most this large; otherwise its place is told."""
    wait: bool = True
    """false = leave as soon as all jobs that fit are started; the same command takes them up again."""
    plan: bool = False
    """true = only check the jobs and show what would run."""
    runs_dir: str = "runs"
    """Folder for the ledger of started jobs."""
    kms_key: Optional[str] = None
    """KMS key for uploads and output."""
    volume_kms_key: Optional[str] = None
    """KMS key of the storage volume."""
    subnets: list[str] = field(default_factory=list)
    """Subnets of the VPC that the machines join."""
    security_groups: list[str] = field(default_factory=list)
    """Security groups in that VPC."""


ConfigStore.instance().store(
    group="hydra/launcher", name="sagemaker", node=SageMakerLauncherConf, provider="lingotune"
)


class SageMakerLauncher(Launcher):
    """Launcher of training jobs on Amazon SageMaker."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._context: HydraContext | None = None
        self._config: DictConfig | None = None
        self._task: TaskFunction | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra has composed; nothing is checked or started yet."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs and return their results. Exits with code 2, before any start, for what is wrong."""
        from lingotune.launch.apps.launching import launch

        assert self._context and self._config is not None and self._task, "setup() comes first"
        return launch(
            self._settings, self._context, self._config, self._task, job_overrides, initial_job_idx
        )
