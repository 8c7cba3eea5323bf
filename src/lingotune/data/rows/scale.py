"""Ordered classes: points on a scale, such as stars (`data.labels_mode=ordinal`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from lingotune.config.schema import DataConfig, LabelConfig, LabelsMode
from lingotune.data.rows.labels import class_stars

Scale = Mapping[str, float]
"""Class name -> its point, ascending in the order of the classes."""


def scale_of(data: DataConfig) -> Scale | None:
    """Place the classes of ordered labels on their scale; None for classes without an order.

    A class stands for the number that is its name, else for the mean of its values; classes that are not
    numbers are 1, 2, 3 and so on.
    """
    if data.labels_mode is not LabelsMode.ordinal:
        return None
    names = [label.name for label in data.labels]
    return dict(zip(names, numbers_of(data.labels) or map(float, range(1, len(names) + 1))))


def numbers_of(classes: Sequence[LabelConfig]) -> Sequence[float] | None:
    """Return the numbers that classes stand for, by name or by their values; None if they are none."""
    try:
        return [float(label.name.replace(",", ".")) for label in classes]
    except ValueError:
        return class_stars(classes)


def ascends(numbers: Sequence[float]) -> bool:
    """Tell whether each number is larger than the one before."""
    return all(one < other for one, other in pairwise(numbers))
