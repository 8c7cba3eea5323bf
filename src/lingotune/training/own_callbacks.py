"""The user's own Trainer callbacks: made, and called so that all processes go the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl

from lingotune.config.problems import ConfigError, Problem
from lingotune.plugins.loading import OwnFunction
from lingotune.training import distributed
from lingotune.training.distributed import Rank

_FLAGS = (
    "should_training_stop", "should_epoch_stop", "should_save", "should_evaluate", "should_log",
)  # fmt: skip
_EVENTS = tuple(name for name in dir(TrainerCallback) if name.startswith("on_"))
_ALONE = {"on_prediction_step"}
"""Events that processes may have in different numbers: what is set there is not shared."""


def own_callbacks(callbacks: tuple[OwnFunction, ...], rank: Rank) -> Iterator[TrainerCallback]:
    """Make each callback; its events are guarded, and it stays of its own class.

    What a callback sets in `control` on one process is set on all: a training that one process stops would
    wait for it for ever on the others. An exception on one process ends all of them, with its message.
    """
    for own in callbacks:
        made = _made(own)
        for event in _EVENTS:
            method = getattr(made, event, None)
            if method is not None and _is_own(made, event):
                setattr(made, event, _guarded(own, event, method, rank))
        yield made


def _made(own: OwnFunction) -> TrainerCallback:
    with own.errors_told("when it was made"):
        made = own.thing()
    if not isinstance(made, TrainerCallback):
        what = f"{own.name} is no TrainerCallback but of type {type(made).__name__}"
        fix = f"class {own.name}(TrainerCallback), or a function that returns an instance of one"
        raise ConfigError([Problem(own.named.setting, what, fix)])
    return made


def _is_own(made: TrainerCallback, event: str) -> bool:
    return event in vars(made) or getattr(type(made), event) is not getattr(TrainerCallback, event)


def _guarded(own: OwnFunction, event: str, method: Callable[..., Any], rank: Rank) -> Any:
    def call(args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        error = None
        try:
            with own.errors_told(f"in {event}, step {state.global_step}"):
                control = _control(own, event, control, method(args, state, control, **kwargs))
        except ConfigError as raised:
            error = raised
        if rank.world_size > 1 and event not in _ALONE:
            _share(control, error, rank, args.device)
        elif error:
            raise error
        return control

    return call


def _control(own: OwnFunction, event: str, given: Any, returned: Any) -> Any:
    if returned is None or isinstance(returned, TrainerControl):
        return given if returned is None else returned
    what = f"{own.name} returned a {type(returned).__name__} from {event}"
    raise ConfigError([Problem(own.named.setting, what, "return control, or nothing")])


def _share(control: Any, error: ConfigError | None, rank: Rank, device: Any) -> None:
    """Set what any process has set, or raise what any process has raised: one sum of six numbers."""
    flags = [int(getattr(control, name)) for name in _FLAGS]
    found = torch.tensor([int(error is not None), *flags], dtype=torch.int32, device=device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    failed, *together = found.tolist()
    if failed:
        raised = distributed.gather(rank, error.problems if error else [])
        raise ConfigError([problem for problems in raised for problem in problems])
    for name, flag in zip(_FLAGS, together):
        setattr(control, name, bool(flag))
