"""Publishing a run that was not published when it ended: another time, another repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lingotune.classifier import trained_model
from lingotune.compose import compose_all
from lingotune.container import JOB_FILE
from lingotune.jobfile import dump_job, job_of, load_job
from lingotune.messages import errors_only, say
from lingotune.preflight import check_job
from lingotune.publishing.publish import command_of, prepare, publish
from lingotune.runfolder import METRICS, Folders, finished
from lingotune.schema import ConfigError, HubConfig, JobConfig, Problem


def publish_run(run: str, typed: Sequence[str], conf_dir: Path) -> str:
    """Push the model of a finished run, which lies in `RUN/model` or is RUN itself; returns the link.

    typed: overrides of the hub's settings, which replace those of the job; the job itself stays as it
    was trained. ConfigError or PublishError.
    """
    model, job, results = _finished(Path(run))
    hub = _hub(job, typed, conf_dir)
    target = prepare(job, hub, results)
    if target is None:
        works = command_of(run, "hub=private")
        raise ConfigError([Problem("hub=none", "the job was not to be published", works)])
    say(f"hub: signed in as {target.user}, will publish to {target.link}")
    return publish(target, job, hub, model, [run, *typed])


def _finished(run: Path) -> tuple[Path, JobConfig, dict[str, Any]]:
    """The model's folder, the job and the results of a run that has come to its end; ConfigError if it
    has not."""
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
    return model, job, results


def _hub(job: JobConfig, typed: Sequence[str], conf_dir: Path) -> HubConfig:
    keys = {word.lstrip("+~").partition("=")[0]: word for word in typed}
    others = [word for key, word in keys.items() if key.split(".")[0] != "hub"]
    if others:
        what = "has no effect here: overrides name the repository"
        works = "hub=private, hub=public, hub.repo=NAME, hub.license=..."
        raise ConfigError([Problem(word, what, works) for word in others])
    if not typed:
        return job.hub
    found: HubConfig = job_of(
        compose_all(list(typed), conf_dir, lambda config: [], multirun=False)[0].config
    ).hub
    names = {"visibility" if key == "hub" else key.partition(".")[2] for key in keys}
    hub = replace(job.hub, **{name: getattr(found, name) for name in names})
    # Where a check is called otherwise, it looks at these settings too: secrets, ranges.
    checked = check_job(replace(job, hub=hub))
    wrong = [p for p in checked if p.where.partition("=")[0].split(".")[0] == "hub"]
    if errors_only(wrong):
        raise ConfigError(wrong)
    return hub
