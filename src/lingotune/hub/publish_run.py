"""Publishing a finished run: later, or to another repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import HubConfig, JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.evaluation.classifier import trained_model
from lingotune.hub.publish import command_of, prepare, publish
from lingotune.runs.folder import METRICS, Folders, finished, resume_command
from lingotune.runs.remake import load_job_of, restore_command
from lingotune.runs.results import RunResults


@dataclass(frozen=True)
class FinishedRun:
    """Model folder, job and results of a run that has finished."""

    model: Path
    job: JobConfig
    results: RunResults


def publish_run(run: FinishedRun, hub: HubConfig, words: Sequence[str]) -> str:
    """Push the model of a finished run; returns the link.

    hub: where to publish; the job itself stays as it was trained. words: arguments of `lingotune
    publish` that retry this push. ConfigError or PublishError.
    """
    target = prepare(run.job, hub, run.results)
    if target is None:
        fix = command_of(words[0], "hub=private")
        raise ConfigError([Problem("hub=none", "the job was not to be published", fix)])
    say(f"hub: signed in as {target.user}, will publish to {target.link}")
    return publish(target, run.job, hub, run.model, words)


def finished_run(folder: str | Path) -> FinishedRun:
    """Read a run whose model is in `folder/model`, or in `folder` itself; ConfigError if unfinished."""
    run = Path(folder)
    model = trained_model(run).folder
    places = [model / JOB_FILE, *([model.parent / JOB_FILE] if model != run else [])]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        what = f"holds no {JOB_FILE}: it is not known what was trained"
        raise ConfigError([Problem(str(run), what, restore_command(run))])
    job, digest = load_job_of(path)
    again = resume_command(run, path)
    results = finished(Folders(model, model, model), digest, again)
    if results is None:
        what = (
            f"there is no {METRICS} of this job beside its model: the run has not come to its end"
        )
        raise ConfigError([Problem(str(run), what, again)])
    (model / JOB_FILE).write_bytes(dump_job(job))  # runs of old versions have it elsewhere
    return FinishedRun(model, job, results)
