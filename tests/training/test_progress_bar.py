"""One progress bar, with the name of what is done, which is gone at the end."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.trainer_callback import TrainerControl, TrainerState

from lingotune.training import trainer
from lingotune.training.trainer import OneProgressBar


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bars that were made, which draw at every step."""
    made: list[Any] = []
    real = trainer.tqdm

    def make(**settings: Any) -> Any:
        made.append(real(**settings, file=sys.stderr, mininterval=0, ncols=60))
        return made[-1]

    monkeypatch.setattr(trainer, "tqdm", make)
    return made


def score(bar: OneProgressBar, state: TrainerState, batches: int) -> None:
    loader = [None] * batches
    for _ in loader:
        bar.on_prediction_step(SimpleNamespace(), state, TrainerControl(), eval_dataloader=loader)


def test_one_bar_with_its_name(bars: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    state = TrainerState(max_steps=4, global_step=2, is_world_process_zero=True)
    given = SimpleNamespace(), state, TrainerControl()
    bar = OneProgressBar()
    bar.on_train_begin(*given)
    assert (bars[0].n, bars[0].total) == (2, 4), "a resumed job has some steps behind it"
    state.global_step = 3
    bar.on_step_end(*given)
    score(bar, state, 2)
    assert len(bars) == 1 and bars[0].desc == "scoring 2/2: "
    bar.on_evaluate(*given)
    assert bars[0].desc == "training: " and bars[0].n == 3
    bar.on_train_end(*given)
    score(bar, state, 5)
    assert len(bars) == 2 and (bars[1].desc, bars[1].n, bars[1].total) == ("scoring", 5, 5)
    bar.on_predict(*given)
    bar.on_log(*given, logs={"loss": 1.0})
    shown = capsys.readouterr()
    assert shown.out == "" and "training:  75%" in shown.err and "scoring: 100%" in shown.err
    assert shown.err.rpartition("\r")[2] == "" and "\n" not in shown.err, "nothing stays"


def test_other_processes_have_none(bars: list[Any]) -> None:
    state = TrainerState(max_steps=4, is_world_process_zero=False)
    bar = OneProgressBar()
    bar.on_train_begin(SimpleNamespace(), state, TrainerControl())
    score(bar, state, 2)
    assert bars == []
