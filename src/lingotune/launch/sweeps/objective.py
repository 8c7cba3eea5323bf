"""The metric by which the trials of a sweep are compared: that which chooses their checkpoints."""

from __future__ import annotations

from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, SelectMetric, selected_by
from lingotune.launch.sweeps.search import Metric
from lingotune.plugins.definitions import contents_of
from lingotune.plugins.source import find_source


def metric_of(job: JobConfig) -> Metric:
    """Return the validation metric of a job; less is better of the loss, and of costs of the user's own."""
    name = selected_by(job)
    if job.code.select is None:
        return Metric(name, name != SelectMetric.loss.value)
    try:
        source = find_source(job.code, [])
        found = contents_of(source.content, source.name).definitions if source else {}
    except ConfigError:  # told by the checks of the job
        found = {}
    return Metric(name, name not in found or found[name].greater_is_better)
