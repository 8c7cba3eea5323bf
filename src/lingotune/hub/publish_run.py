"""Publishing a run that was not published when it ended: another time, another repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import HubConfig, JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.evaluation.classifier import trained_model
from lingotune.hub.publish import command_of, prepare, publish
from lingotune.runs.folder import METRICS, Folders, finished


@dataclass(frozen=True)
class FinishedRun:
    """A run that has come to its end: the folder of its model, its job and its results."""

    model: Path
    job: JobConfig
    results: dict[str, Any]


def publish_run(run: FinishedRun, hub: HubConfig, words: Sequence[str]) -> str:
    """Push the model of a finished run; returns the link.

    hub: where to; the job itself stays as it was trained. words: what `python -m lingotune publish` does
    the same by, once more. ConfigError or PublishError.
    """
    target = prepare(run.job, hub, run.results)
    if target is None:
        fix = command_of(words[0], "hub=private")
        raise ConfigError([Problem("hub=none", "the job was not to be published", fix)])
    say(f"hub: signed in as {target.user}, will publish to {target.link}")
    return publish(target, run.job, hub, run.model, words)


def finished_run(folder: str | Path) -> FinishedRun:
    """Read a run whose model lies in `folder/model`, or in `folder` itself; ConfigError if it has not come
    to its end."""
    run = Path(folder)
    model = trained_model(run).folder
    places = [model / JOB_FILE, *([model.parent / JOB_FILE] if model != run else [])]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        what = f"holds no {JOB_FILE}: it is not known what was trained"
        raise ConfigError([Problem(str(run), what, "a run folder of train.py: ls runs")])
    job, digest = load_job(path)
    results = finished(Folders(model, model, model), digest)
    if results is None:
        what = (
            f"there is no {METRICS} of this job beside its model: the run has not come to its end"
        )
        again = f"python train.py --job {path} --run-dir {run}"
        raise ConfigError([Problem(str(run), what, again)])
    (model / JOB_FILE).write_bytes(dump_job(job))  # runs of old versions have it elsewhere
    return FinishedRun(model, job, results)
