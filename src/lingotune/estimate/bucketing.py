"""Which texts make up each update, and each process's part of it: from lengths alone. Pure numpy.

An update is a global batch of texts. The processes take it in parts ("micro-batches"), each padded to
its longest text, and wait for each other after it: an update takes as long as the process with most to
do. Batches of texts of about the same length need no padding, and parts of the same cost no waiting
(Zhai et al. 2022, arXiv:2208.08124, section 3, do both for BERT). Parts may hold different numbers of
texts; the loss of each counts by its share of the batch, so that the gradient is the batch's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingotune.config.schema import BatchingConfig, BatchMode, TrainingConfig
from lingotune.estimate.batch import BatchPlan
from lingotune.system.arrays import Array, mixed

WINDOW_ROWS = 16384
"""Rows of a window where `batching.window` says nothing."""
WINDOW_BATCHES = 64
"""Global batches in it at least."""
_ATTENTION = 1 / 4608
"""Of a token's cost, what attention adds for each token that it attends to, as a share of the rest:
1 / (6 x hidden size), here 768."""


@dataclass(frozen=True)
class BatchShape:
    """Parts of an update: `world` processes with `accumulation` of them each, of `size` texts on average.

    multiple: what widths are rounded up to, but not beyond the longest text. packed: a part has no
    padding, it costs what its texts do.
    """

    world: int
    accumulation: int
    size: int
    multiple: int = 1
    packed: bool = False

    @property
    def parts(self) -> int:
        """Parts of one update."""
        return self.world * self.accumulation

    @property
    def batch(self) -> int:
        """Texts of one update: the global batch."""
        return self.parts * self.size


def shape_of(
    batch: BatchPlan, batching: BatchingConfig, training: TrainingConfig, *, has_gpu: bool
) -> BatchShape:
    """Of a planned job's updates."""
    return BatchShape(
        batch.world_size,
        batch.accumulation,
        batch.per_device_batch,
        _multiple(batching, training, has_gpu),
        batching.padding_free,
    )


def _multiple(batching: BatchingConfig, training: TrainingConfig, has_gpu: bool) -> int:
    """What widths of batches are rounded up to: tensor cores want multiples of 8, on a CPU that would be
    padding for nothing; what is compiled for each width wants few of them."""
    if batching.padding_free:
        return 1
    if batching.pad_to_multiple_of:
        return batching.pad_to_multiple_of
    if training.compile:
        return COMPILED_WIDTHS
    return 8 if has_gpu else 1


COMPILED_WIDTHS = 16


@dataclass(frozen=True)
class Epoch:
    """The updates of one epoch: each row in exactly one part of one update.

    order: rows (int64), part after part: update by update, in it process by process, then one after
    the other. cuts: int64, (updates x parts) + 1, where in `order` the parts begin; a part may be
    empty where there are more parts than rows.
    """

    order: Array
    cuts: Array
    shape: BatchShape

    @property
    def updates(self) -> int:
        """How many updates the epoch has."""
        return (len(self.cuts) - 1) // self.shape.parts

    def part(self, update: int, process: int, turn: int) -> Array:
        """Rows of a process's part; `turn` counts its parts of this update."""
        at = (update * self.shape.world + process) * self.shape.accumulation + turn
        return self.order[self.cuts[at] : self.cuts[at + 1]]

    def rows_of(self, update: int) -> int:
        """Rows of an update: the global batch, or what is left for the last one."""
        ends = self.cuts[:: self.shape.parts]
        return int(ends[update + 1] - ends[update])


def window_batches(batching: BatchingConfig, shape: BatchShape) -> int:
    """Global batches of a window: as many as given, or as hold some thousand rows."""
    return batching.window or max(WINDOW_BATCHES, -(-WINDOW_ROWS // shape.batch))


def plan_epoch(
    lengths: Array, batching: BatchingConfig, shape: BatchShape, seed: int, epoch: int
) -> Epoch:
    """The updates of an epoch over rows of these lengths (tokens, int64).

    The same in every process, with any numpy: it follows from the arguments alone. The last update
    has the rows that are left over, which are drawn at random as all others are.
    """
    rows = len(lengths)
    order = shuffled(rows, seed, epoch)
    whole = rows // shape.batch
    if batching.mode in (BatchMode.window, BatchMode["global"]):
        window = window_batches(batching, shape) if batching.mode is BatchMode.window else whole
        order = _neighbours(order, lengths, whole, shape.batch, window, seed, epoch)
    updates = -(-rows // shape.batch)
    if batching.mode is BatchMode.random or shape.parts == 1:
        cuts = _even_cuts(rows, updates, shape)
    else:
        deal = _dealt if shape.packed else _balanced
        order, cuts = deal(order, lengths, updates, shape)
    planned = Epoch(order, cuts, shape)
    return _longest_first(planned, lengths, whole) if batching.longest_first and whole else planned


def shuffled(rows: int, seed: int, epoch: int) -> Array:
    """A random order of so many rows, by the hashes of their numbers."""
    salt = int(mixed(np.array([epoch], np.uint64), seed)[0])
    return np.argsort(mixed(np.arange(rows, dtype=np.uint64), salt), kind="stable")


def _neighbours(
    order: Array, lengths: Array, whole: int, batch: int, window: int, seed: int, epoch: int
) -> Array:
    """Sorted by length in windows of the random order; then the batches of all windows shuffled."""
    first, rest = order[: whole * batch], order[whole * batch :]
    number = np.arange(whole * batch) // (max(1, window) * batch)
    first = first[np.lexsort((-lengths[first], number))]
    batches = first.reshape(whole, batch)[shuffled(whole, seed + 1, epoch)]
    return np.concatenate([batches.ravel(), rest])


def _even_cuts(rows: int, updates: int, shape: BatchShape) -> Array:
    """Parts of the same number of rows; in the last update of numbers that differ by one at most."""
    cuts = np.minimum(np.arange(updates * shape.parts + 1) * shape.size, rows)
    first = (updates - 1) * shape.batch
    cuts[-shape.parts - 1 :] = first + np.arange(shape.parts + 1) * (rows - first) // shape.parts
    return cuts


def _balanced(order: Array, lengths: Array, updates: int, shape: BatchShape) -> tuple[Array, Array]:
    """Each update's rows sorted by length and cut so that its costliest part costs as little as can be.

    Longest first, so that what is cut off short is not padded. For all updates at once: the least
    cost is found by halving an interval, filling parts up to the cost that is tried.
    """
    grid, width = _by_length(order, lengths, updates, shape)
    ends = _least_costly_cuts(_cost(width, shape.multiple), (grid >= 0).sum(axis=1), shape.parts)
    base = np.arange(updates) * shape.batch
    cuts = np.concatenate([(base[:, None] + ends[:, :-1]).ravel(), [len(order)]])
    return grid.ravel()[grid.ravel() >= 0], cuts


def _dealt(order: Array, lengths: Array, updates: int, shape: BatchShape) -> tuple[Array, Array]:
    """Each update's rows, the longest first, each to the part that costs least so far.

    Without padding a part may mix lengths: the greedy rule comes within a text of equal costs (Graham
    1969, "Bounds on Multiprocessing Timing Anomalies").
    """
    grid, width = _by_length(order, lengths, updates, shape)
    cost, all_updates = _cost(width, 1), np.arange(updates)
    spent = np.zeros((updates, shape.parts))
    part = np.zeros(grid.shape, np.int64)
    for place in range(grid.shape[1]):
        part[:, place] = spent.argmin(axis=1)
        spent[all_updates, part[:, place]] += cost[:, place]
    by_part = np.argsort(part, axis=1, kind="stable")
    grid, part = (np.take_along_axis(one, by_part, axis=1) for one in (grid, part))
    sizes = ((part[:, None] == np.arange(shape.parts)[:, None]) & (grid >= 0)[:, None]).sum(axis=2)
    return grid.ravel()[grid.ravel() >= 0], np.append(0, np.cumsum(sizes))


def _by_length(
    order: Array, lengths: Array, updates: int, shape: BatchShape
) -> tuple[Array, Array]:
    """The rows of each update, the longest first, and their lengths; (updates, batch), -1 and 0 where
    the last update has none."""
    padded = np.full(updates * shape.batch, -1, np.int64)
    padded[: len(order)] = order
    grid = padded.reshape(updates, shape.batch)
    width = np.where(grid < 0, 0, lengths[grid])
    by_length = np.argsort(-width, axis=1, kind="stable")
    return np.take_along_axis(grid, by_length, axis=1), np.take_along_axis(width, by_length, axis=1)


def _least_costly_cuts(cost: Array, sizes: Array, parts: int) -> Array:
    """Where the parts of each update begin and end (updates x parts + 1), the costliest as cheap as can be.

    cost: updates x rows, of a part for each row of it, by its first row; never rising along an update.
    """
    low = cost[:, 0].copy()  # one row at least fits into a part
    high = cost[:, 0] * -(-sizes // parts)  # parts of the same number of rows
    for _ in range(24):
        middle = (low + high) / 2
        fits = _filled(cost, sizes, parts, middle)[:, -1] >= sizes
        high = np.where(fits, middle, high)
        low = np.where(fits, low, middle)
    return _spread(_filled(cost, sizes, parts, high), sizes, parts)


def _filled(cost: Array, sizes: Array, parts: int, limit: Array) -> Array:
    """Cuts where each part takes as many rows as cost no more than the limit of its update."""
    updates, batch = cost.shape
    cuts = np.zeros((updates, parts + 1), np.int64)
    for part in range(parts):
        start = cuts[:, part]
        each = cost[np.arange(updates), np.minimum(start, batch - 1)]
        # Half a millionth: a limit that is just a part's cost must not lose a row to rounding.
        taken = np.floor(limit / np.maximum(each, 1e-9) * (1 + 5e-7)).astype(np.int64)
        cuts[:, part + 1] = np.minimum(start + taken, sizes)
    return cuts


def _spread(cuts: Array, sizes: Array, parts: int) -> Array:
    """No part is empty while there are rows for it: the last ones leave a row to each behind them."""
    left = np.arange(parts, -1, -1)
    return np.minimum(
        cuts, np.maximum(sizes[:, None] - left, np.minimum(np.arange(parts + 1), sizes[:, None]))
    )


def _cost(width: Array, multiple: int) -> Array:
    """Of a row that is padded to these widths: its tokens, and what they attend to."""
    rounded = -(-width // multiple) * multiple
    return rounded * (1 + rounded * _ATTENTION)


def _longest_first(epoch: Epoch, lengths: Array, whole: int) -> Epoch:
    """The update with the part of most padded tokens before all others; never the last, smaller one."""
    parts, batch = epoch.shape.parts, epoch.shape.batch
    sizes = np.diff(epoch.cuts).reshape(-1, parts)
    tokens = _per_part(epoch, lengths)[0]
    first = int(tokens.reshape(-1, parts).max(axis=1)[:whole].argmax())
    turned = [first, *range(first), *range(first + 1, epoch.updates)]
    full = epoch.order[: whole * batch].reshape(whole, batch)[turned[:whole]]
    order = np.concatenate([full.ravel(), epoch.order[whole * batch :]])
    return Epoch(order, np.append(0, np.cumsum(sizes[turned])), epoch.shape)


# --- how good a plan is -------------------------------------------------------------------------


@dataclass(frozen=True)
class Efficiency:
    """What padding and waiting cost. Per text of the epoch, in tokens.

    real, padded: its own, and with padding. critical: processes times the tokens of the process with
    most to do in each update, what the others wait for included. straggler: the cost (attention
    included) of the costliest process of an update over the mean process's; 1 = nobody waits.
    squares: mean square of the widths that texts are padded to, which attention grows with.
    """

    real: float
    padded: float
    critical: float
    straggler: float
    squares: float

    @property
    def share(self) -> float:
        """Of all tokens that are computed, those of texts."""
        return self.real / self.padded


def efficiency(epoch: Epoch, lengths: Array) -> Efficiency:
    """Of a planned epoch over rows of these lengths."""
    rows, by_process = len(epoch.order), (-1, epoch.shape.world, epoch.shape.accumulation)
    tokens, costs, squares = _per_part(epoch, lengths)
    each, cost = (one.reshape(by_process).sum(axis=2) for one in (tokens, costs))
    return Efficiency(
        float(lengths[epoch.order].sum()) / rows,
        float(tokens.sum()) / rows,
        float(each.max(axis=1).sum()) * epoch.shape.world / rows,
        float(cost.max(axis=1).sum() / cost.mean(axis=1).sum()),
        float(squares.sum()) / rows,
    )


def batching_lines(
    batching: BatchingConfig, shape: BatchShape, found: Efficiency
) -> tuple[str, str]:
    """`batches: window of 128 global batches (16384 rows)`, and the tokens of a text their cost."""
    mode = batching.mode.value
    if batching.mode is BatchMode.window:
        window = window_batches(batching, shape)
        mode = f"{mode} of {window} global batches ({window * shape.batch} rows)"
    if shape.packed:
        mode += ", without padding"
    tokens = (
        f"tokens a text: {found.real:.1f} its own,"
        f" {found.padded:.1f} with padding ({found.share:.1%} are text)"
    )
    if shape.world > 1:
        tokens += (
            f", {found.critical:.1f} with waiting for the slowest of {shape.world} processes"
            f" (straggler {found.straggler:.3f})"
        )
    return f"batches: {mode}", tokens


def _per_part(epoch: Epoch, lengths: Array) -> tuple[Array, Array, Array]:
    """Of each part: tokens that are computed, their cost, and the sum of the widths' squares."""
    long = np.append(lengths[epoch.order], 0)
    sizes = np.diff(epoch.cuts)
    if epoch.shape.packed:
        each = (long, _cost(long, 1), long.astype(float) ** 2)
        return tuple(_summed(one, epoch.cuts) for one in each)  # type: ignore[return-value]
    widest = np.maximum.reduceat(long, epoch.cuts[:-1])
    widest[sizes == 0] = 0
    rounded = -(-widest // epoch.shape.multiple) * epoch.shape.multiple
    widths = np.minimum(rounded, lengths.max(initial=0))
    return sizes * widths, sizes * _cost(widths, 1), sizes * widths.astype(float) ** 2


def _summed(values: Array, cuts: Array) -> Array:
    sums = np.add.reduceat(values, cuts[:-1])
    sums[np.diff(cuts) == 0] = 0
    return sums
