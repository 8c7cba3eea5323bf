"""Trackers other than TensorBoard: their libraries, and their default destinations."""

from __future__ import annotations

import netrc
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec

from lingotune.config.problems import Problem
from lingotune.config.schema import Tracker
from lingotune.runs.folder import Folders

PROJECT = "lingotune"
"""Default project of a run, unless the tracker's own variables name another."""
REQUIREMENTS = {
    Tracker.mlflow: "mlflow-skinny>=2.8",
    Tracker.wandb: "wandb>=0.16",
    Tracker.trackio: "trackio>=0.3",
}
"""Requirements that a worker installs, as no training image includes a tracker."""
BY_ARN = "sagemaker-mlflow>=0.1"
"""Requirement by which MLflow's client knows ARNs of SageMaker's MLflow."""
_WANDB_HOST = "api.wandb.ai"


def missing_trackers(trackers: Sequence[Tracker]) -> Iterator[Problem]:
    """Yield a problem for each tracker whose library is not installed here."""
    for tracker in trackers:
        if find_spec(tracker.value) is None:
            where = f"training.report_to=[{tracker.value}]"
            what = f"{tracker.value} is not installed"
            fix = f"pip install {tracker.value}, or training.report_to=[]"
            yield Problem(where, what, fix)


def settings_of(environment: Mapping[str, str], folders: Folders) -> dict[str, str]:
    """Return the variables that trackers need and `environment` does not set: project, folder, no prompts.

    MLflow writes beside the run folders, so that runs can be compared; W&B without a key writes offline
    into the run folder, for a later `wandb sync`.
    """
    run = folders.run.resolve()
    shared = run if folders.in_container else run.parent
    has_database = find_spec("sqlalchemy") and find_spec("alembic")  # mlflow-skinny comes without
    wanted = {
        "MLFLOW_EXPERIMENT_NAME": PROJECT,
        "MLFLOW_TRACKING_URI": f"sqlite:///{shared}/mlflow.db" if has_database else f"file://{shared}/mlruns",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "WANDB_PROJECT": PROJECT,
        "WANDB_DIR": str(run),
    }  # fmt: skip
    if "WANDB_API_KEY" not in environment and not _knows_wandb():
        wanted["WANDB_MODE"] = "offline"
    return {name: value for name, value in wanted.items() if name not in environment}


def _knows_wandb() -> bool:
    """Tell whether `wandb login` has stored a key here."""
    try:
        return netrc.netrc().authenticators(_WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
