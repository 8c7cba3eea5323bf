"""What an epoch draws from the training rows, where that is not each row once. Pure numpy.

Languages are drawn in proportion to their rows to a power (Conneau and Lample 2019, section 3.1, with
0.5; multilingual BERT has 0.7): small languages are seen more often than they occur. Classes are drawn
alike, or weighted in the loss, where some are rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lingotune.system.arrays import Array, mixed


@dataclass(frozen=True)
class Sampling:
    """An epoch's draws: as many as there are rows, the same number of each stratum in every epoch.

    order: rows (int64), stratum by stratum, each in an order that the seed decides. kinds: the
    strata, as (place of the language, class id). sizes, draws: of each stratum, int64.
    """

    order: Array
    kinds: tuple[tuple[int, int], ...]
    sizes: Array
    draws: Array

    def places(self, epoch: int) -> Array:
        """The rows of an epoch, int64, stratum by stratum.

        A stratum's rows are gone through in turn, on from where the epoch before ended: over any
        number of epochs they are drawn equally often, but for one.
        """
        stratum = np.repeat(np.arange(len(self.sizes)), self.draws)
        turn = np.arange(len(stratum)) - np.repeat(np.cumsum(self.draws) - self.draws, self.draws)
        within = (epoch * self.draws[stratum] + turn) % self.sizes[stratum]
        places: Array = self.order[(np.cumsum(self.sizes) - self.sizes)[stratum] + within]
        return places

    def counts(self) -> Mapping[tuple[int, int], int]:
        """Draws of an epoch by stratum."""
        return dict(zip(self.kinds, self.draws.tolist()))


def plan_sampling(
    label: Array, language: Array, *, language_alpha: float | None, resample: bool, seed: int
) -> Sampling | None:
    """What an epoch draws of rows with these class ids and places of languages; None = each row once.

    A language's share is proportional to its rows to the power of `language_alpha` (None = 1); within
    it, its classes have equal shares with `resample`, else their own. Every stratum that has rows is
    drawn from. The same in every process, with any numpy.
    """
    alpha = 1.0 if language_alpha is None else language_alpha
    if alpha == 1.0 and not resample:
        return None
    classes = int(label.max()) + 1
    codes, stratum, sizes = np.unique(
        language.astype(np.int64) * classes + label, return_inverse=True, return_counts=True
    )
    of_language = codes // classes
    shares = np.zeros(len(codes))
    for place in np.unique(of_language):
        own = of_language == place
        within = np.full(own.sum(), 1 / own.sum()) if resample else sizes[own] / sizes[own].sum()
        shares[own] = float(sizes[own].sum()) ** alpha * within
    drawn = mixed(np.arange(len(label), dtype=np.uint64), seed)
    order = np.lexsort((drawn, stratum.ravel())).astype(np.int64)
    kinds = tuple((int(code) // classes, int(code) % classes) for code in codes)
    return Sampling(order, kinds, sizes.astype(np.int64), _quotas(shares, len(label)))


def _quotas(shares: Array, total: int) -> Array:
    """Whole numbers that add up to `total`, in proportion to shares by largest remainders, none below
    1; `total` is at least their number."""
    raised = np.zeros(len(shares), bool)  # to 1, at the others' expense
    while True:
        exact = np.where(raised, 1, shares * ((total - raised.sum()) / shares[~raised].sum()))
        exact = np.round(exact, 6)  # so that the last digits of a sum decide nothing
        if (exact >= 1).all():
            break
        raised |= exact < 1
    quotas: Array = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas


def class_weights(label: Array, classes: int) -> Array:
    """Weight of each class, float64: N / (K n_c) over the K classes that occur, 0 for the others.

    The mean over the rows is 1, so that the loss keeps its scale (King and Zeng 2001; scikit-learn's
    "balanced").
    """
    counts = np.bincount(label, minlength=classes)
    weights = np.zeros(len(counts))
    there = counts > 0
    weights[there] = len(label) / (there.sum() * counts[there])
    return weights
