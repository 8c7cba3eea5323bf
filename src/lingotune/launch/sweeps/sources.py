"""The source of a planned sweep's trials: its grid, a grid with early ends, or a search."""

from __future__ import annotations

from collections.abc import Sequence

from lingotune.config.schema import JobConfig, Prune, Search, SelectMetric, selected_by
from lingotune.launch.plan.planner import Plan
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pruning import rungs_of
from lingotune.launch.sweeps.search import GridSource, Make, Metric, SearchSource
from lingotune.launch.sweeps.space import SearchSpace
from lingotune.launch.sweeps.study import Known, Study
from lingotune.launch.sweeps.trial import Source, Trial
from lingotune.plugins.definitions import contents_of
from lingotune.plugins.source import find_source


def source_of(
    plans: Sequence[Plan], axes: SearchSpace, ledger: Ledger, make: Make, trials: Sequence[Trial]
) -> Source:
    """Open the source of a sweep's trials where its ledger has it.

    plans: of the grid, or of the corners of the search's space. make: makes the trials that a search
    draws. trials: of a grid. ConfigError if the folder holds the study of another space.
    """
    first = plans[0]
    settings = first.config.sweep
    if settings.search is Search.grid and settings.prune is Prune.none:
        return Grid()
    metric, rungs = metric_of(first.job), rungs_of(settings, plans)

    def study(known: Sequence[Known]) -> Study:
        return Study(
            ledger.path.parent, axes, settings, maximize=metric.maximize,
            rung=rungs.first if rungs else None, known=known,
        )  # fmt: skip

    if settings.search is Search.grid:
        return GridSource(trials, metric, ledger.records(), study)
    return SearchSource(
        axes, settings.trials or 1, make, metric, study, ledger.records(),
        prunes=rungs is not None,
    )  # fmt: skip


def metric_of(job: JobConfig) -> Metric:
    """Find the validation metric by which configurations are compared, and its direction."""
    name = selected_by(job)
    if job.code.select is None:
        return Metric(name, name != SelectMetric.loss.value)
    source = find_source(job.code, [])
    defined = contents_of(source.content, "code.file").definitions if source else {}
    return Metric(name, name not in defined or defined[name].greater_is_better)
