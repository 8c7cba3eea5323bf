"""Run folders: one per run, never shared, never overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from lingotune.jobfile import job_digest
from lingotune.schema import ConfigError, JobConfig, Problem


@dataclass(frozen=True)
class Folders:
    """Where a run writes. On a laptop all lie in one run folder; on SageMaker they are apart."""

    run: Path
    model: Path
    checkpoints: Path

    @property
    def tensorboard(self) -> Path:
        """The event files' folder."""
        return self.run / "tensorboard"


def new_run_folder(job: JobConfig, runs_dir: str = "runs") -> Path:
    """Make `<runs_dir>/<name>-<UTC time>-<digest>`; a second run within the second gets `-2`."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    base = f"{job.name}-{stamp}-{job_digest(job)[:6]}"
    for number in range(1, 1000):
        folder = Path(runs_dir, base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not Path(runs_dir).is_dir():
                what = "is a file; run folders need a folder"
                raise ConfigError(
                    [Problem(f"runs_dir={runs_dir}", what, "runs_dir=runs")]
                ) from None
            continue
        except OSError as error:
            what = f"no run folder can be made there: {error.strerror}"
            raise ConfigError([Problem(f"runs_dir={runs_dir}", what, "runs_dir=runs")]) from error
        return folder
    raise AssertionError(f"a thousand runs named {base}")
