"""Schedules of the learning rate that have a shape of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from transformers import (
    get_cosine_with_hard_restarts_schedule_with_warmup,
    get_polynomial_decay_schedule_with_warmup,
)

from lingotune.config.schema import Schedule, TrainingConfig

MakeSchedule = Callable[[Any, int, int], Any]
"""Makes a schedule for an optimizer, a number of warm-up steps and one of all steps."""


def shaped_schedule(training: TrainingConfig) -> MakeSchedule | None:
    """Return what makes a job's schedule; None for those that the Trainer makes by their names alone.

    The Trainer takes a power or a number of cycles since transformers 4.38 only, and its polynomial ends
    above 0.
    """
    if training.schedule is Schedule.polynomial:
        power = training.schedule_power
        return partial(get_polynomial_decay_schedule_with_warmup, lr_end=0.0, power=power)
    if training.schedule is Schedule.cosine_with_restarts:
        cycles = training.schedule_cycles
        return partial(get_cosine_with_hard_restarts_schedule_with_warmup, num_cycles=cycles)
    return None
