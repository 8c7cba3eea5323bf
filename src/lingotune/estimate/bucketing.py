"""Planning, from the lengths of texts, which of them make up each update and its parts. Pure numpy.

An update trains on a global batch of texts, which is split into parts ("micro-batches") among the
processes, each padded to its longest text. The processes wait for each other at the end of an update, so
it takes as long as the slowest of them. Texts of similar length need little padding, and parts of equal
cost no waiting (Zhai et al. 2022, arXiv:2208.08124, section 3, do both for BERT). Parts may differ in
their number of texts; the loss of each is weighted by its share of the batch, so that the gradient is
that of the whole batch.

An epoch is planned for all updates at once, without a loop over texts, on arrays of shape (updates,
batch) and (updates, parts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingotune.config.schema import BatchingConfig, BatchMode, TrainingConfig
from lingotune.estimate.batch import BatchPlan
from lingotune.system.arrays import Array, mixed

WINDOW_ROWS = 16384
"""Minimum number of rows in a window if `batching.window` is null."""
WINDOW_BATCHES = 64
"""Minimum number of global batches in a window if `batching.window` is null."""
_ATTENTION = 1 / 4608
"""Cost of attending to one token, relative to all other cost of a token: 1 / (6 x hidden size), for a
hidden size of 768."""


@dataclass(frozen=True)
class BatchShape:
    """Form of an update: `world` processes with `accumulation` parts each, of `size` texts on average.

    multiple: widths are rounded up to a multiple of it, but no further than the longest text. packed:
    parts have no padding, so that each costs the sum of its texts.
    """

    world: int
    accumulation: int
    size: int
    multiple: int = 1
    packed: bool = False

    @property
    def parts(self) -> int:
        """Number of parts of an update."""
        return self.world * self.accumulation

    @property
    def batch(self) -> int:
        """Number of texts of an update: the global batch."""
        return self.parts * self.size


def shape_of(
    batch: BatchPlan, batching: BatchingConfig, training: TrainingConfig, *, has_gpu: bool
) -> BatchShape:
    """Derive the shape of a planned job's updates."""
    return BatchShape(
        batch.world_size,
        batch.accumulation,
        batch.per_device_batch,
        _multiple(batching, training, has_gpu),
        batching.padding_free,
    )


def _multiple(batching: BatchingConfig, training: TrainingConfig, has_gpu: bool) -> int:
    """Choose the multiple to round widths up to: 8 for tensor cores, 1 on a CPU, which gains nothing from
    it, and more for a compiled model, as each width is compiled separately."""
    if batching.padding_free:
        return 1
    if batching.pad_to_multiple_of:
        return batching.pad_to_multiple_of
    if training.compile:
        return COMPILED_WIDTHS
    return 8 if has_gpu else 1


COMPILED_WIDTHS = 16
"""Multiple that widths are rounded up to if the model is compiled."""


@dataclass(frozen=True)
class Epoch:
    """Updates of one epoch: each row is in exactly one part of one update.

    order: int64, (rows,), the rows of all parts, sorted by update, then process, then turn. cuts: int64,
    (updates x parts + 1,), where in `order` each part begins, and the end. A part is empty if its
    update has fewer rows than parts.
    """

    order: Array
    cuts: Array
    shape: BatchShape

    @property
    def updates(self) -> int:
        """Number of updates of the epoch."""
        return (len(self.cuts) - 1) // self.shape.parts

    def part(self, update: int, process: int, turn: int) -> Array:
        """Return the rows of one part; `turn` counts the parts of this process in this update."""
        at = (update * self.shape.world + process) * self.shape.accumulation + turn
        return self.order[self.cuts[at] : self.cuts[at + 1]]

    def rows_of(self, update: int) -> int:
        """Return the number of rows in an update: the global batch, or fewer in the last one."""
        ends = self.cuts[:: self.shape.parts]
        return int(ends[update + 1] - ends[update])


def window_batches(batching: BatchingConfig, shape: BatchShape) -> int:
    """Return the number of global batches in a window: as given, or enough for some thousand rows."""
    return batching.window or max(WINDOW_BATCHES, -(-WINDOW_ROWS // shape.batch))


def plan_epoch(
    lengths: Array, batching: BatchingConfig, shape: BatchShape, seed: int, epoch: int
) -> Epoch:
    """Plan the updates of an epoch over rows of these lengths (tokens, int64).

    The plan is a function of the arguments, the same in every process and with every version of numpy.
    The last update takes the remaining rows, which are as random as all others.
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
    """Shuffle the numbers 0 to rows - 1 by sorting their hashes, as numpy's generators may change."""
    salt = int(mixed(np.array([epoch], np.uint64), seed)[0])
    # No two numbers have the same hash, so that every way of sorting gives this order, the fastest too.
    return np.argsort(mixed(np.arange(rows, dtype=np.uint64), salt))


def _neighbours(
    order: Array, lengths: Array, whole: int, batch: int, window: int, seed: int, epoch: int
) -> Array:
    """Sort by length within windows of the random order, then shuffle the batches of all windows.

    order: all rows, shuffled. whole: number of full global batches in it. batch: rows in each. window:
    batches in a window. The rows after the last full batch stay where they are.
    """
    first, rest = order[: whole * batch], order[whole * batch :]
    first = first[_longest_first_within(lengths[first], max(1, window) * batch)]
    batches = first.reshape(whole, batch)[shuffled(whole, seed + 1, epoch)]
    return np.concatenate([batches.ravel(), rest])


def _longest_first_within(lengths: Array, size: int) -> Array:
    """Sort within stretches of `size` rows, the longest first, ties as they are; int64 places, (rows,)."""
    # numpy sorts numbers of 16 bits by radix, in time proportional to their number.
    kind = np.int16 if lengths.max(initial=0) <= np.iinfo(np.int16).max else np.int64
    falling = -lengths.astype(kind)
    even = len(falling) // size * size
    places = np.empty(len(falling), np.int64)
    stretches = falling[:even].reshape(-1, size)
    starts = np.arange(0, even, size)[:, None]  # of the stretches
    places[:even] = (np.argsort(stretches, axis=1, kind="stable") + starts).ravel()
    places[even:] = np.argsort(falling[even:], kind="stable") + even
    return places


def _even_cuts(rows: int, updates: int, shape: BatchShape) -> Array:
    """Cut into parts with equal numbers of rows; those of the last update differ by at most one."""
    cuts = np.minimum(np.arange(updates * shape.parts + 1) * shape.size, rows)
    first = (updates - 1) * shape.batch  # row that the last update begins with
    cuts[-shape.parts - 1 :] = first + np.arange(shape.parts + 1) * (rows - first) // shape.parts
    return cuts


def _balanced(order: Array, lengths: Array, updates: int, shape: BatchShape) -> tuple[Array, Array]:
    """Sort each update's rows by length and cut them so that its costliest part is as cheap as possible.

    Returns order and cuts, as in `Epoch`. A part is padded to its first text, the longest, so it costs its
    number of rows times the cost of a row of that length: parts of short texts have many rows.
    """
    grid, width = _by_length(order, lengths, updates, shape)
    ends = _least_costly_cuts(_cost(width, shape.multiple), (grid >= 0).sum(axis=1), shape.parts)
    base = np.arange(updates) * shape.batch  # where in `order` each update begins
    # `ends` counts within an update; its last column is where the next update begins.
    cuts = np.concatenate([(base[:, None] + ends[:, :-1]).ravel(), [len(order)]])
    return grid.ravel()[grid.ravel() >= 0], cuts


def _dealt(order: Array, lengths: Array, updates: int, shape: BatchShape) -> tuple[Array, Array]:
    """Deal each update's rows to its parts, the longest first, each to the cheapest part so far.

    Returns order and cuts, as in `Epoch`. Without padding a part may mix lengths, and this greedy rule
    comes within one text of equal costs (Graham 1969, "Bounds on Multiprocessing Timing Anomalies").
    """
    grid, width = _by_length(order, lengths, updates, shape)
    cost, all_updates = _cost(width, 1), np.arange(updates)
    spent = np.zeros((updates, shape.parts))  # cost of each part so far
    part = np.zeros(grid.shape, np.int64)  # part of each row, (updates, batch)
    for place in range(grid.shape[1]):  # the next longest row of all updates at once
        part[:, place] = spent.argmin(axis=1)
        spent[all_updates, part[:, place]] += cost[:, place]
    # Bring the rows of each part together, then count its real rows (grid >= 0): comparing part numbers,
    # (updates, 1, batch), with (parts, 1) gives (updates, parts, batch), and sizes is (updates, parts).
    by_part = np.argsort(part, axis=1, kind="stable")
    grid, part = (np.take_along_axis(one, by_part, axis=1) for one in (grid, part))
    sizes = ((part[:, None] == np.arange(shape.parts)[:, None]) & (grid >= 0)[:, None]).sum(axis=2)
    return grid.ravel()[grid.ravel() >= 0], np.append(0, np.cumsum(sizes))


def _by_length(
    order: Array, lengths: Array, updates: int, shape: BatchShape
) -> tuple[Array, Array]:
    """Sort each update's rows, the longest first; returns rows and their lengths, (updates, batch) each.

    If the last update is smaller, it is filled up with row -1 of length 0.
    """
    padded = np.full(updates * shape.batch, -1, np.int64)
    padded[: len(order)] = order
    grid = padded.reshape(updates, shape.batch)
    width = np.where(grid < 0, 0, lengths[grid])
    by_length = np.argsort(-width, axis=1, kind="stable")
    return np.take_along_axis(grid, by_length, axis=1), np.take_along_axis(width, by_length, axis=1)


def _least_costly_cuts(cost: Array, sizes: Array, parts: int) -> Array:
    """Cut each update so that its costliest part is as cheap as possible; returns (updates, parts + 1).

    cost: (updates, batch), the cost per row of a part that begins with this row; it never rises within an
    update. sizes: (updates,), rows of each update. The least possible cost is found by bisection for all
    updates at once: a limit is feasible if parts that are filled up to it, one by one, take all rows.
    """
    low = cost[:, 0].copy()  # no limit can be lower: the longest row has to fit
    high = cost[:, 0] * -(-sizes // parts)  # always feasible: parts with equal numbers of rows
    for _ in range(24):  # to within a 16-millionth of the interval
        middle = (low + high) / 2
        fits = _filled(cost, sizes, parts, middle)[:, -1] >= sizes
        high = np.where(fits, middle, high)
        low = np.where(fits, low, middle)
    return _spread(_filled(cost, sizes, parts, high), sizes, parts)


def _filled(cost: Array, sizes: Array, parts: int, limit: Array) -> Array:
    """Fill the parts one by one up to the limit of their update; returns cuts, (updates, parts + 1).

    cost and sizes as in `_least_costly_cuts`; limit: (updates,).
    """
    updates, batch = cost.shape
    cuts = np.zeros((updates, parts + 1), np.int64)
    for part in range(parts):
        start = cuts[:, part]  # (updates,)
        # Cost per row of a part that begins here; any value will do once all rows are taken.
        each = cost[np.arange(updates), np.minimum(start, batch - 1)]
        # Rounding must not lose a row if the limit equals a part's cost: a margin of half a millionth.
        taken = np.floor(limit / np.maximum(each, 1e-9) * (1 + 5e-7)).astype(np.int64)
        cuts[:, part + 1] = np.minimum(start + taken, sizes)
    return cuts


def _spread(cuts: Array, sizes: Array, parts: int) -> Array:
    """Move cuts back so that no part is empty if its update has at least as many rows as parts."""
    left = np.arange(parts, -1, -1)  # parts after each cut, which need a row each
    return np.minimum(
        cuts, np.maximum(sizes[:, None] - left, np.minimum(np.arange(parts + 1), sizes[:, None]))
    )


def _cost(width: Array, multiple: int) -> Array:
    """Compute the cost in tokens of a row padded to each width: its own, plus attention between them."""
    rounded = -(-width // multiple) * multiple
    return rounded * (1 + rounded * _ATTENTION)


def _longest_first(epoch: Epoch, lengths: Array, whole: int) -> Epoch:
    """Move the update with the largest part in padded tokens to the front, as it needs the most memory.

    whole: number of full updates, among which it is chosen; a smaller last update stays last.
    """
    parts, batch = epoch.shape.parts, epoch.shape.batch
    sizes = np.diff(epoch.cuts).reshape(-1, parts)  # rows of each part, (updates, parts)
    tokens = _per_part(epoch, lengths)[0]
    first = int(tokens.reshape(-1, parts).max(axis=1)[:whole].argmax())
    turned = [first, *range(first), *range(first + 1, epoch.updates)]
    full = epoch.order[: whole * batch].reshape(whole, batch)[turned[:whole]]
    order = np.concatenate([full.ravel(), epoch.order[whole * batch :]])
    return Epoch(order, np.append(0, np.cumsum(sizes[turned])), epoch.shape)


# --- quality of a plan --------------------------------------------------------------------------


@dataclass(frozen=True)
class Efficiency:
    """Cost of padding and waiting, in tokens per text of the epoch.

    real: a text's own tokens. padded: including padding. critical: including waiting, too, as if every
    process had as many tokens in each update as the one with the most. straggler: cost (with attention)
    of the costliest process of an update divided by the mean over processes; 1 = nobody waits. squares:
    mean square of the widths that texts are padded to; attention's cost is proportional to it.
    """

    real: float
    padded: float
    critical: float
    straggler: float
    squares: float

    @property
    def share(self) -> float:
        """Share of the computed tokens that are not padding."""
        return self.real / self.padded


def efficiency(epoch: Epoch, lengths: Array) -> Efficiency:
    """Measure padding and waiting of a planned epoch over rows of these lengths."""
    rows, by_process = len(epoch.order), (-1, epoch.shape.world, epoch.shape.accumulation)
    tokens, costs, squares = _per_part(epoch, lengths)
    # Sums over the turns of a process: (updates, world).
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
    """Format `batches: window of 128 global batches (16384 rows)`, and their cost in tokens per text."""
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
    """Compute tokens, cost and sum of squared widths of each part: three arrays, (updates x parts,)."""
    # reduceat takes no index beyond the end, which is where an empty last part begins: append one entry.
    # For an empty part elsewhere it returns the value of the next row, which is then set to 0.
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
    """Sum the values of each part."""
    sums = np.add.reduceat(values, cuts[:-1])
    sums[np.diff(cuts) == 0] = 0
    return sums
