"""Source of a planned sweep: its grid or its search, with early ends where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import COSTS, JobConfig, Search, SweepConfig, selected_by
from lingotune.launch.plan.planner import Sweep
from lingotune.launch.sweeps.ledger import TrialRecord
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.search import GridSource, Make, SearchSource
from lingotune.launch.sweeps.space import SearchSpace
from lingotune.launch.sweeps.study import Known, Study
from lingotune.launch.sweeps.taking_up import TakingUp
from lingotune.launch.sweeps.trial import Source, Trial
from lingotune.plugins.definitions import contents_of


def learns(settings: SweepConfig) -> bool:
    """Tell whether a sweep goes by the scores of its jobs, so that not all may start beforehand."""
    return settings.search is not Search.grid or settings.prune.value != "none"


def needs_controller(settings: SweepConfig) -> list[Problem]:
    """Refuse a sweep that goes by scores where its jobs are started without looking at them."""
    if not learns(settings):
        return []
    is_search = settings.search is not Search.grid
    where = f"sweep.{'search' if is_search else 'prune'}"
    value = settings.search.value if is_search else settings.prune.value
    what = "goes by the scores of its jobs, which nothing reads here"
    fix = "sweep.search=grid and lists of values" if is_search else "sweep.prune=none"
    return [Problem(f"{where}={value}", what, fix)]


def source_of(
    sweep: Sweep,
    folder: Path,
    records: Sequence[TrialRecord],
    trials: Sequence[Trial],
    make: Make,
) -> Source:
    """Make the source of a sweep, which goes on from its ledger.

    sweep: with its facts. folder: of the sweep, for its study. records: of the ledger. trials: of a grid;
    those in the ledger are left to its controller. make: makes the trial of a number and values that a
    search has drawn.
    ConfigError if the study in the folder is that of another search, or Optuna is not installed.
    """
    assert sweep.space is not None and sweep.facts is not None, "a job of its own has no source"
    job, settings = sweep.plans[0].job, sweep.plans[0].config.sweep
    space, metric = SearchSpace(sweep.space.axes), metric_of(job)
    first = sweep.facts.first_rung

    def study(known: Sequence[Known]) -> Study:
        return Study(
            folder, space, settings, maximize=metric.greater_is_better, rung=first, known=known
        )

    taking_up = None
    if first and sweep.plans[0].training_job and job.cluster.checkpoints:
        taking_up = TakingUp(first, settings.reduction, metric)
    if settings.search is Search.grid:
        return GridSource(trials, metric, records, study if first else None, taking_up)
    assert settings.trials is not None, "the checks require it"
    prunes = first is not None
    return SearchSource(
        space, settings.trials, make, metric, study, records, prunes=prunes, taking_up=taking_up
    )


def metric_of(job: JobConfig) -> Metric:
    """Find the validation metric that a job selects its checkpoint by, and which way is better."""
    name = selected_by(job)
    if job.code.select is None:
        return Metric(name, job.evaluation.select not in COSTS)
    try:
        content = Path(job.code.file or "").read_bytes()
        found = contents_of(content, str(job.code.file)).definitions.get(name)
    except (OSError, ConfigError):
        found = None  # of an installed package
    return Metric(name, found is None or found.greater_is_better)
