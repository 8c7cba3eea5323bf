"""Planning of updates: every text once, the same plan everywhere, little padding and waiting."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.estimate.bucketing import (
    BatchShape,
    _longest_first_within,
    batching_lines,
    efficiency,
    plan_epoch,
    shuffled,
    window_batches,
)
from lingotune.system.arrays import mixed

MODES = [mode.value for mode in BatchMode]
shapes = st.builds(
    BatchShape, st.integers(1, 9), st.integers(1, 4), st.integers(1, 9), st.sampled_from([1, 8])
)
packed_shapes = shapes.map(lambda shape: replace(shape, multiple=1, packed=True))
many_lengths = st.lists(st.integers(1, 60), min_size=1, max_size=150).map(np.array)
batchings = st.builds(
    BatchingConfig,
    st.sampled_from(list(BatchMode)),
    st.one_of(st.none(), st.integers(1, 5)),
    st.booleans(),
)


def reviews(rows: int, seed: int = 0) -> Any:
    """Lengths spread like those of reviews: half below 40 tokens, one of a hundred above 250."""
    drawn = np.random.default_rng(seed).lognormal(np.log(40), 0.79, rows)
    return np.clip(drawn.round().astype(np.int64), 3, 512)


def cost(lengths: Any) -> Any:
    """Of a text, as far as it is told: its tokens and what they attend to."""
    return lengths * (1 + lengths / 4608)


@settings(max_examples=300)
@given(
    many_lengths,
    batchings,
    st.one_of(shapes, packed_shapes),
    st.integers(0, 99),
    st.integers(0, 5),
)
def test_each_text_is_in_one_part_of_one_update(
    lengths: Any, batching: BatchingConfig, shape: BatchShape, seed: int, epoch: int
) -> None:
    planned = plan_epoch(lengths, batching, shape, seed, epoch)
    assert planned.updates == -(-len(lengths) // shape.batch)
    taken = []
    for update in range(planned.updates):
        last = update == planned.updates - 1
        rows = len(lengths) - shape.batch * (planned.updates - 1) if last else shape.batch
        assert planned.rows_of(update) == rows
        parts = [
            planned.part(update, process, turn)
            for process in range(shape.world)
            for turn in range(shape.accumulation)
        ]
        assert sum(map(len, parts)) == rows
        assert sum(not len(part) for part in parts) == max(0, shape.parts - rows)
        taken += [row for part in parts for row in part.tolist()]
    assert sorted(taken) == list(range(len(lengths)))
    again = plan_epoch(lengths.copy(), batching, shape, seed, epoch)
    assert np.array_equal(again.order, planned.order) and np.array_equal(again.cuts, planned.cuts)


@settings(max_examples=200)
@given(many_lengths, shapes, st.integers(0, 99), st.integers(0, 5))
def test_balanced_updates_are_those_of_random_and_never_costlier(
    lengths: Any, shape: BatchShape, seed: int, epoch: int
) -> None:
    random = plan_epoch(lengths, BatchingConfig(BatchMode.random), shape, seed, epoch)
    balanced = plan_epoch(lengths, BatchingConfig(BatchMode.iid_balanced), shape, seed, epoch)
    for update in range(random.updates):
        costs = {}
        for name, planned in (("random", random), ("balanced", balanced)):
            parts = [
                planned.part(update, process, turn)
                for process in range(shape.world)
                for turn in range(shape.accumulation)
            ]
            rounded = [
                -(-int(lengths[part].max()) // shape.multiple) * shape.multiple
                for part in parts
                if len(part)
            ]
            sizes = [len(part) for part in parts if len(part)]
            costs[name] = max(n * cost(width) for n, width in zip(sizes, rounded))
            costs[f"{name} rows"] = sorted(row for part in parts for row in part.tolist())
        assert costs["random rows"] == costs["balanced rows"]
        assert costs["balanced"] <= costs["random"] * (1 + 1e-5)


@settings(max_examples=200)
@given(many_lengths, packed_shapes, st.integers(0, 99))
def test_without_padding_parts_differ_by_a_text_at_most(
    lengths: Any, shape: BatchShape, seed: int
) -> None:
    """Graham's bound: the costliest part is at most a text above the mean of all."""
    random = plan_epoch(lengths, BatchingConfig(BatchMode.random), shape, seed, 0)
    dealt = plan_epoch(lengths, BatchingConfig(BatchMode.iid_balanced), shape, seed, 0)
    for update in range(dealt.updates):
        rows, costs = [], []
        for process in range(shape.world):
            for turn in range(shape.accumulation):
                part = dealt.part(update, process, turn)
                rows += part.tolist()
                costs.append(float(cost(lengths[part]).sum()))
        first = update * shape.batch
        assert sorted(rows) == sorted(random.order[first : first + len(rows)].tolist())
        assert max(costs) <= np.mean(costs) + cost(lengths[rows]).max() + 1e-6


@given(st.lists(st.integers(1, 40), min_size=6, max_size=6), st.integers(1, 4))
def test_the_costliest_part_costs_as_little_as_can_be(lengths: list[int], parts: int) -> None:
    """Held against every way of cutting the sorted texts."""
    sizes = np.array(lengths)
    shape = BatchShape(parts, 1, -(-6 // parts))
    planned = plan_epoch(sizes, BatchingConfig(BatchMode.iid_balanced), shape, 0, 0)
    found = [sizes[planned.part(0, process, 0)] for process in range(parts)]
    most = max(len(part) * cost(part.max()) for part in found if len(part))

    def least(rest: list[int], left: int) -> float:
        if left == 1 or len(rest) <= 1:
            return len(rest) * float(cost(rest[0])) if rest else 0.0
        return min(
            max(n * float(cost(rest[0])), least(rest[n:], left - 1)) for n in range(1, len(rest))
        )

    assert most <= least(sorted(lengths, reverse=True), parts) * (1 + 1e-5)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 70_000), max_size=60), st.integers(1, 20), st.integers(0, 99))
def test_fast_sorting_gives_the_order_of_a_stable_sort(
    lengths: list[int], size: int, seed: int
) -> None:
    """Whatever numpy's quickest sort does with ties: plans of earlier versions come out again."""
    of = np.array(lengths, np.int64)
    for some in (of, of % 50):
        expected = np.lexsort((-some, np.arange(len(some)) // size))
        assert _longest_first_within(some, size).tolist() == expected.tolist()
    salt = int(mixed(np.array([3], np.uint64), seed)[0])
    hashes = mixed(np.arange(len(of), dtype=np.uint64), salt)
    assert shuffled(len(of), seed, 3).tolist() == np.argsort(hashes, kind="stable").tolist()


@pytest.mark.parametrize("mode", MODES)
def test_epochs_and_seeds_differ(mode: str) -> None:
    lengths, shape = reviews(500), BatchShape(2, 1, 8)

    def order(seed: int, epoch: int) -> str:
        return str(
            plan_epoch(lengths, BatchingConfig(BatchMode[mode]), shape, seed, epoch).order.tolist()
        )

    assert len({order(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9


def test_a_plan_is_the_same_with_any_numpy() -> None:
    """The numbers themselves: a run goes on elsewhere, and other libraries must plan the same."""
    lengths = np.array([5, 9, 2, 7, 7, 3, 8, 1, 6, 4])
    planned = plan_epoch(lengths, BatchingConfig(window=1), BatchShape(2, 1, 2), 42, 1)
    assert planned.order.tolist() == [6, 3, 0, 2, 1, 8, 9, 5, 4, 7]
    assert planned.cuts.tolist() == [0, 2, 4, 5, 8, 9, 10]


@pytest.mark.parametrize(
    ("mode", "world", "size", "share", "critical", "straggler"),
    [
        ("random", 1, 16, (0.29, 0.33), (150, 190), (1, 1)),
        ("random", 8, 16, (0.29, 0.33), (290, 350), (1.8, 2.0)),
        ("iid_balanced", 8, 16, (0.80, 0.88), (60, 75), (1, 1.1)),
        ("window", 1, 16, (0.98, 1), (50, 56), (1, 1)),
        ("window", 8, 16, (0.98, 1), (50, 57), (1, 1.02)),
        ("global", 8, 16, (0.99, 1), (50, 55), (1, 1.01)),
        ("window", 8, 128, (0.96, 1), (50, 58), (1, 1.02)),
    ],
)
def test_what_padding_and_waiting_cost(
    mode: str, world: int, size: int, share: Any, critical: Any, straggler: Any
) -> None:
    """On 60 000 lengths spread like those of reviews; the exact figures are benchmarks/padding.py's."""
    lengths = reviews(60_000)
    shape = BatchShape(world, 1, size)
    planned = plan_epoch(lengths, BatchingConfig(BatchMode[mode]), shape, 0, 0)
    found = efficiency(planned, lengths)
    assert share[0] <= found.share <= share[1]
    assert critical[0] <= found.critical <= critical[1]
    assert straggler[0] <= found.straggler <= straggler[1] + 1e-9
    assert found.real == pytest.approx(lengths.mean())


def test_without_padding_an_iid_batch_costs_what_its_texts_do() -> None:
    lengths, shape = reviews(60_000), BatchShape(8, 1, 16, packed=True)
    batching = BatchingConfig(BatchMode.iid_balanced, padding_free=True)
    found = efficiency(plan_epoch(lengths, batching, shape, 0, 0), lengths)
    assert found.share == 1 and found.straggler < 1.01
    assert found.critical == pytest.approx(found.real, rel=0.02)
    assert found.squares == pytest.approx((lengths.astype(float) ** 2).mean())
    told = batching_lines(batching, shape, found)
    assert told[0] == "batches: iid_balanced, without padding"


def test_efficiency_is_counted_as_it_says() -> None:
    lengths = np.array([4, 1, 2, 2, 8, 8])
    planned = plan_epoch(lengths, BatchingConfig(BatchMode.random), BatchShape(2, 1, 2), 0, 0)
    found = efficiency(planned, lengths)
    padded = critical = 0
    for update in range(planned.updates):
        parts = [planned.part(update, process, 0) for process in (0, 1)]
        tokens = [len(part) * lengths[part].max() for part in parts]
        padded, critical = padded + sum(tokens), critical + 2 * max(tokens)
    assert (found.padded, found.critical) == (padded / 6, critical / 6)


def test_the_update_that_takes_most_memory_comes_first() -> None:
    lengths, shape = reviews(1000), BatchShape(4, 1, 8)
    plain = plan_epoch(lengths, BatchingConfig(), shape, 3, 2)
    first = plan_epoch(lengths, BatchingConfig(longest_first=True), shape, 3, 2)

    def most(planned: Any, update: int) -> int:
        parts = [planned.part(update, process, 0) for process in range(4)]
        return max(len(part) * int(lengths[part].max()) for part in parts if len(part))

    assert most(first, 0) == max(most(plain, update) for update in range(31))
    before = [sorted(plain.order[32 * n : 32 * n + 32].tolist()) for n in range(31)]
    after = [sorted(first.order[32 * n : 32 * n + 32].tolist()) for n in range(31)]
    before.remove(after[0])
    assert after[1:] == before
    assert first.order[31 * 32 :].tolist() == plain.order[31 * 32 :].tolist(), "the smaller one"


def test_wider_windows_need_less_padding_and_say_so() -> None:
    lengths, shape = reviews(20_000), BatchShape(1, 1, 16)
    shares = []
    for window in (1, 4, 16, 64, 256):
        batching = BatchingConfig(window=window)
        shares.append(efficiency(plan_epoch(lengths, batching, shape, 0, 0), lengths).share)
    assert shares == sorted(shares)
    assert [window_batches(BatchingConfig(), BatchShape(1, 1, n)) for n in (16, 128, 1024)] == [
        1024, 128, 64
    ]  # fmt: skip
    planned = plan_epoch(lengths, BatchingConfig(window=4), shape, 0, 0)
    told = batching_lines(BatchingConfig(window=4), shape, efficiency(planned, lengths))
    assert told[0] == "batches: window of 4 global batches (64 rows)"
    assert "are text" in told[1] and "waiting" not in told[1]
    shape = BatchShape(8, 1, 16)
    planned = plan_epoch(lengths, BatchingConfig(BatchMode.random), shape, 0, 0)
    told = batching_lines(BatchingConfig(BatchMode.random), shape, efficiency(planned, lengths))
    assert told == (
        "batches: random",
        "tokens a text: 54.6 its own, 174.2 with padding (31.3% are text), 302.4 with waiting for the"
        " slowest of 8 processes (straggler 1.778)",
    )


@settings(max_examples=60)
@given(st.sampled_from(list(BatchMode)), st.booleans(), st.integers(1, 200), st.integers(0, 3))
def test_an_update_takes_the_same_rows_on_any_number_of_processes(
    mode: BatchMode, packed: bool, rows: int, epoch: int
) -> None:
    """So a run whose processes change while it is interrupted trains on each row as often as before."""
    lengths, batching = reviews(rows), BatchingConfig(mode=mode)
    taken = []
    for world, accumulation, size in ((1, 1, 16), (2, 2, 4), (4, 1, 4), (1, 8, 2), (16, 1, 1)):
        shape = BatchShape(world, accumulation, size, 8, packed)
        planned = plan_epoch(lengths, batching, shape, 7, epoch)
        ends = planned.cuts[:: shape.parts]
        taken.append([sorted(planned.order[a:b].tolist()) for a, b in pairwise(ends)])
    assert all(one == taken[0] for one in taken)
