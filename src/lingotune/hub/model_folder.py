"""Assembling a model's folder: everything to publish of a run, even if it is not published."""

from __future__ import annotations

import shutil
from pathlib import Path

from lingotune.config.jobfile import dump_job, job_digest
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.hub.allowlist import CURVES, PICTURES, without_paths
from lingotune.hub.model_card import write_card
from lingotune.runs.results import RunProgress, RunResults


def assemble(
    folder: Path,
    job: JobConfig,
    results: RunResults | RunProgress,
    run: Path,
    tensorboard: Path,
) -> None:
    """Add job file, pictures, TensorBoard events and model card to the model in `folder`."""
    without_paths(folder)
    (folder / JOB_FILE).write_bytes(dump_job(job))
    for name in PICTURES:
        if (run / name).is_file():
            shutil.copy(run / name, folder / name)
    shutil.rmtree(folder / CURVES, ignore_errors=True)
    (folder / CURVES).mkdir()
    for number, events in enumerate(sorted(tensorboard.glob("events.out.tfevents.*"))):
        # Their original names contain the host's name.
        name = f"events.out.tfevents.{number}.{job_digest(job)[:12]}"
        shutil.copy(events, folder / CURVES / name)
    write_card(folder, job, results)
