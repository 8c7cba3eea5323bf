"""Head of a classifier that goes on from another: its rows follow the classes by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lingotune.modeling.class_names import UNNAMED, KnownClasses, listed

Axes = dict[str, int]
"""Name of each parameter that has one entry for each class -> the dimension along which they lie."""


def class_axes(model: Any) -> Axes:
    """Find the parameters of the head by shape: those that another number of classes changes."""
    count = model.config.num_labels
    shapes, others = _shapes(model, count), _shapes(model, count + 1)
    return {
        name: axis
        for name, shape in shapes.items()
        for axis, size in enumerate(shape)
        if size != others[name][axis]
    }


def _shapes(model: Any, classes: int) -> dict[str, torch.Size]:
    config = copy.deepcopy(model.config)
    config.num_labels = classes
    with torch.device("meta"):
        return {name: value.shape for name, value in type(model)(config).named_parameters()}


def rows_of(model: Any, axes: Axes) -> dict[str, Tensor]:
    """Copy the parameters of the head."""
    values = dict(model.named_parameters())
    return {name: values[name].detach().clone() for name in axes}


def renew(model: Any, axes: Axes) -> None:
    """Initialise the head anew, from torch's generator: weights as the model's kind does, biases 0."""
    values = dict(model.named_parameters())
    spread = getattr(model.config, "initializer_range", None) or 0.02
    for name in axes:
        value = values[name].data
        nn.init.zeros_(value) if value.dim() == 1 else nn.init.normal_(value, std=spread)


def take_rows(
    model: Any, axes: Axes, old: Mapping[str, Tensor], rows: Sequence[int | None]
) -> None:
    """Copy the old head's entries to the classes that `rows` names them for; None = left as it is."""
    values = dict(model.named_parameters())
    for name, axis in axes.items():
        value = values[name].data
        for place, row in enumerate(rows):
            if row is not None:
                value.select(axis, place).copy_(old[name].select(axis, row))


# --- the line that tells what was done ----------------------------------------------------------


def kept_line(classes: KnownClasses, labels: Sequence[str], rows: Sequence[int | None]) -> str:
    """Describe a head whose rows were kept, all or some."""
    known = classes.names
    kept = [name for name, row in zip(labels, rows) if row is not None]
    new = [name for name, row in zip(labels, rows) if row is None]
    gone = [name for place, name in enumerate(known) if place not in set(rows)]
    line = f"head: kept for {listed(kept)}"
    if rows != sorted(row for row in rows if row is not None):
        line += f", by name: the model's order is {listed(known)}"
    renamed = [
        f"{known[row]!r} as {name!r}"
        for name, row in zip(labels, rows)
        if row is not None and known[row] != name
    ]
    line += f"; takes {listed(renamed)}" if renamed else ""
    line += f"; new for {listed(new)}" if new else ""
    line += f"; without the model's {listed(gone)}" if gone else ""
    return line + (f"; {classes.remark}" if classes.remark else "")


def new_line(classes: KnownClasses, labels: Sequence[str]) -> str:
    """Describe a head that begins anew in place of the one that the model has for `classes`."""
    line, known = f"head: new for {listed(labels)}", classes.names
    if not classes.usable:
        return f"{line}; {classes.remark}"
    if any(map(UNNAMED.fullmatch, known)):
        line += (
            f"; the model's classes have no names ({listed(known)}): id2label in its config.json"
        )
        return f"{line} can give them"
    return f"{line}; the model's is for {listed(known)}"
