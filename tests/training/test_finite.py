"""No update is made that is not finite: the gradients tell, and cost nothing more to ask."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError
from lingotune.training.distributed import Rank
from lingotune.training.finite import FiniteGuard, not_finite


class Training:
    """A linear model with what a Trainer does around an update. fp16: as if its losses were scaled."""

    def __init__(self, max_skipped: int = 3, *, fp16: bool = False, clips: bool = True) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.guard = FiniteGuard(
            Rank(0, 0, 1), 0.1, max_skipped, lambda ns: [f"row-{n}" for n in ns]
        )
        self.accelerator = SimpleNamespace(clip_grad_norm_=torch.nn.utils.clip_grad_norm_)
        self.args = SimpleNamespace(fp16=fp16)
        if not clips:
            del self.accelerator
        self.clips = clips
        self.guard.watch(self, self.optimizer)

    def update(self, inputs: torch.Tensor, rows: Any = None, *, factor: float = 1.0) -> None:
        """Make an update of one micro-batch; where fp16 finds its gradients infinite, skip it."""
        self.optimizer.zero_grad()
        loss = self.model(inputs).square().mean() * factor
        self.guard.poisoned(loss, rows).backward()
        norm = 0.0
        if self.clips:
            norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0))
        if math.isfinite(norm):
            self.optimizer.step()

    def weights(self) -> list[float]:
        return [value for p in self.model.parameters() for value in p.detach().flatten().tolist()]


FINE = torch.ones(4, 3)


def rows(*numbers: int) -> Any:
    return SimpleNamespace(rows=torch.tensor(numbers))


@pytest.mark.parametrize("clips", [True, False], ids=["by its norm", "before the step"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_update_is_not_made_and_its_rows_are_named(value: float, *, clips: bool) -> None:
    training = Training(clips=clips)
    training.update(FINE, rows(0, 1))
    before = training.weights()
    bad = FINE.clone()
    bad[2, 1] = value
    with pytest.raises(
        ConfigError, match="rank 0, rows row-7, row-9; the update was not made"
    ) as raised:
        training.update(bad, rows(7, 9))
    assert raised.value.exit_code == 8 and "lr=0.01" in raised.value.problems[0].fix
    assert training.weights() == before and all(map(math.isfinite, before))


def test_the_control_a_plain_update_leaves_weights_that_are_nan() -> None:
    training = Training()
    loss = training.model(FINE * math.nan).square().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(training.model.parameters(), 1.0)
    torch.optim.AdamW(training.model.parameters(), lr=0.1).step()
    assert any(map(math.isnan, training.weights()))


def test_a_gradient_that_overflows_behind_a_finite_loss_is_found() -> None:
    training = Training()
    before = training.weights()
    for p in training.model.parameters():
        p.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(ConfigError, match=r"the gradient's norm is (nan|inf), rows row-1"):
        training.update(FINE, rows(1))
    assert training.weights() == before


def test_a_loss_that_is_not_finite_stops_though_its_gradient_is() -> None:
    training = Training()
    loss = training.model(FINE).sum() + torch.tensor(math.inf)
    training.guard.poisoned(loss, rows(5)).backward()
    with pytest.raises(ConfigError, match="the loss is inf on rank 0, rows row-5"):
        training.accelerator.clip_grad_norm_(training.model.parameters(), 1.0)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_finite_loss_and_its_gradient_are_what_they_were(value: float) -> None:
    guard = FiniteGuard(Rank(0, 0, 1), 0.1, 3, lambda ns: [])
    given = torch.tensor(value, requires_grad=True)
    loss = guard.poisoned(given, None)
    loss.backward()
    assert loss.item() == given.item() and given.grad is not None and given.grad.item() == 1


def test_updates_that_fp16_skips_are_counted_and_too_many_in_a_row_stop() -> None:
    training = Training(max_skipped=2, fp16=True)
    for _ in range(3):  # single ones, as a scale that has grown too large gives
        training.update(FINE, factor=math.inf)
        training.update(FINE, factor=math.inf)
        training.update(FINE)
    assert training.guard.skipped == 6
    training.update(FINE, factor=math.inf)
    training.update(FINE, factor=math.inf)
    with pytest.raises(ConfigError, match="fp16 has skipped 3 updates in a row") as raised:
        training.update(FINE, factor=math.inf)
    assert raised.value.exit_code == 8
    assert raised.value.problems[0].where == "training.max_skipped=2"


def test_weights_are_looked_at_before_they_are_saved() -> None:
    training = Training()
    training.guard.check_weights(training.model, "checkpoint")
    with torch.no_grad():
        training.model.bias[1] = math.nan
    with pytest.raises(ConfigError, match="bias is not finite, so it is no checkpoint") as raised:
        training.guard.check_weights(training.model, "checkpoint")
    assert raised.value.exit_code == 8


def test_large_weights_are_finite_and_kinds_without_such_values_are_left_out() -> None:
    large = torch.full((9,), torch.finfo(torch.float32).max)  # their sum is not
    half = torch.full((9,), 65504.0, dtype=torch.float16)
    fine = {"large": large, "half": half, "none": torch.zeros(0), "whole": torch.arange(3)}
    assert not_finite(fine.items()) == []
    assert not_finite({**fine, "bad": torch.tensor([1.0, math.inf])}.items()) == ["bad"]
    assert not_finite({}.items()) == []
