"""The user's callbacks: made, guarded, and the same on every process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import run
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl

from lingotune.config.problems import ConfigError
from lingotune.launch.free_port import free_port
from lingotune.plugins.check import Named
from lingotune.plugins.loading import OwnFunction
from lingotune.plugins.marks import Kind, Mark
from lingotune.training.distributed import Rank
from lingotune.training.own_callbacks import own_callbacks

ALONE = Rank(0, 0, 1)


def made(thing: Any, rank: Rank = ALONE) -> TrainerCallback:
    named = Named(Kind.callback, "mine", "code.callbacks=[mine]")
    own = OwnFunction(named, thing, Mark(Kind.callback), Path(__file__), "my_code.py")
    (callback,) = own_callbacks((own,), rank)
    return callback


def told(callback: TrainerCallback, event: str) -> TrainerControl:
    control, args = TrainerControl(), SimpleNamespace(device="cpu")
    found = getattr(callback, event)(args, SimpleNamespace(global_step=3), control, model=None)
    return control if found is None else found


class Stops(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = True


class Fails(TrainerCallback):
    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise ValueError("no such thing")


def test_classes_and_functions_make_callbacks_of_their_own_class() -> None:
    assert type(made(Stops)) is Stops
    early = made(lambda: EarlyStoppingCallback(early_stopping_patience=2))
    assert type(early) is EarlyStoppingCallback
    assert set(vars(early)) >= {"on_evaluate", "on_train_begin"}
    assert "on_step_end" not in vars(early), "it does nothing there"


def test_what_it_sets_counts() -> None:
    assert told(made(Stops), "on_step_end").should_training_stop
    assert not told(made(Stops), "on_log").should_training_stop


def test_its_error_is_told_with_event_step_and_line() -> None:
    with pytest.raises(ConfigError) as caught:
        told(made(Fails), "on_log")
    (problem,) = caught.value.problems
    assert problem.where == "code.callbacks=[mine]"
    assert "mine raised ValueError: no such thing in on_log, step 3 (my_code.py:" in problem.what


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (lambda: 3, "is no TrainerCallback but of type int"),
        (lambda: 1 / 0, "raised ZeroDivisionError: division by zero when it was made"),
    ],
)
def test_what_cannot_be_made_is_told(thing: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(thing)


def test_an_event_returns_control_or_nothing() -> None:
    class Returns(TrainerCallback):
        def on_log(self, *args: Any, **kwargs: Any) -> Any:
            return "stop"

    with pytest.raises(ConfigError, match="returned a str from on_log"):
        told(made(Returns), "on_log")


# --- two processes ------------------------------------------------------------------------------


class StopsOnOne(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = os.environ["RANK"] == "1"


class FailsOnOne(TrainerCallback):
    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if os.environ["RANK"] == "1":
            raise ValueError("on one")


def main() -> None:
    """Fork two processes; each prints what it sees of the other's callbacks."""
    import torch

    child = os.fork()
    rank = Rank(int(child == 0), 0, 2)
    os.environ["RANK"] = str(rank.rank)
    torch.distributed.init_process_group("gloo")
    stopped = told(made(StopsOnOne, rank), "on_step_end").should_training_stop
    try:
        told(made(FailsOnOne, rank), "on_log")
    except ConfigError as error:
        print(f"{stopped} {[problem.what for problem in error.problems]}\n", end="", flush=True)
    if child:
        os.waitpid(child, 0)


@pytest.mark.slow
def test_what_one_process_does_all_do() -> None:
    environment = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2",
    }  # fmt: skip
    done = run(__file__, PYTHONPATH=os.pathsep.join(sys.path), OMP_NUM_THREADS="1", **environment)
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith("True ['mine raised ValueError: on one in on_log, step 3 (")


if __name__ == "__main__":
    main()
