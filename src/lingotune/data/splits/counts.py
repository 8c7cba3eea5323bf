"""Row counts of the splits, for the plan."""

from __future__ import annotations

import math

from lingotune.config.schema import SPLITS, DataConfig, LabelsMode, SelectMetric, Source
from lingotune.data.rows.training_rows import (
    check_select,
    count_trained,
    limit_warnings,
    trained_languages,
    trains_all,
)
from lingotune.data.sources.patterns import (
    check_settings,
    given_patterns,
)
from lingotune.data.splits.rules import share_of


def count_rows(
    data: DataConfig, seed: int, select: SelectMetric = SelectMetric.macro_f1
) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    """Count the rows of each split for the plan; also return warnings.

    Files are read and checked; the sample and the hub are counted without reading them, unless a part of
    the sample is trained on. None where a hub dataset's counts (`data.rows`) are not in the config.
    ConfigError as `survey`, `trained_languages` and `check_select`.
    """
    check_settings(data)
    if data.source is Source.sample and trains_all(data):
        from lingotune.data.sources.sample import sample_size

        return {s: sample_size(data.sample, s, data.languages) for s in SPLITS}, ()
    if data.source is Source.hub:
        return declared_counts(data), ()
    from lingotune.data.splits.survey import survey  # numpy from here on

    found = survey(data, seed, lambda rejected: None)
    rows = found.training_rows
    check_select(select, trained_languages(data, rows), found.rows_of("validation"))
    warnings = (*found.warnings, *limit_warnings(data, rows))
    return {**found.counts, "train": count_trained(data, rows)}, warnings


def declared_counts(data: DataConfig) -> dict[str, int] | None:
    """Return the counts in the config, carved as `carve` would, to within a few rows.

    With `data.max_rows` the training rows are those at most.
    """
    known = {split: getattr(data.rows, split) for split in given_patterns(data)}
    if None in known.values():
        return None
    languages = max(1, len(data.languages))
    counts = {split: rows * languages for split, rows in known.items()}
    source = counts["train"]
    for split in SPLITS[1:]:
        if split not in counts:
            counts[split] = math.floor(source * share_of(data, split) + 0.5)
            counts["train"] -= counts[split]
    if data.train_languages:
        if not data.languages:
            return None
        counts["train"] = counts["train"] * len(data.train_languages) // languages
    if data.max_rows is not None:  # of each class, if there are so many
        languages = len(data.train_languages) or languages
        kinds = len(data.labels) + (data.labels_mode is LabelsMode.multi)  # texts of no class
        counts["train"] = min(counts["train"], data.max_rows * kinds * languages)
    return {split: counts[split] for split in SPLITS}
