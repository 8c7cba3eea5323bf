"""Description of a fetched job, in its run folder."""

from __future__ import annotations

from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.typed_json import parse_json

DESCRIPTION = "training-job.json"
"""File in a run folder: the job as SageMaker describes it, by which a fetched folder is known."""


def described_in(run: Path) -> tuple[str, str]:
    """Read a fetched job's name and region; ConfigError if its description is damaged."""
    path = run / DESCRIPTION
    try:
        told = parse_json(path.read_text(encoding="utf-8"))
        return str(told["TrainingJobName"]), str(told["TrainingJobArn"]).split(":")[3]
    except (OSError, ValueError, TypeError, LookupError) as error:
        what = f"is damaged: {error}"
        raise ConfigError(
            [Problem(str(path), what, f"rm {path}, then the job by its name")]
        ) from error
