"""Drawing an epoch's rows so that languages and classes are balanced. Pure numpy.

Languages are drawn in proportion to a power of their number of rows (Conneau and Lample 2019, section
3.1, with 0.5; multilingual BERT has 0.7), so that small languages are seen more often than they occur.
Rare classes are drawn as often as others, or weighted in the loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lingotune.system.arrays import Array, mixed


@dataclass(frozen=True)
class Sampling:
    """Draws of an epoch: as many as there are rows, the same number from each stratum in every epoch.

    A stratum is the rows of one language and class. order: int64, (rows,), the rows stratum by stratum,
    shuffled within each by the seed. kinds: language index and class id of each stratum. sizes, draws:
    int64, (strata,), rows of each, and how many an epoch draws.
    """

    order: Array
    kinds: tuple[tuple[int, int], ...]
    sizes: Array
    draws: Array

    def places(self, epoch: int) -> Array:
        """Return the rows of an epoch, int64, (rows,), stratum by stratum.

        Each epoch continues through a stratum's rows where the last one stopped, and starts over at their
        end: after any number of epochs, the rows of a stratum differ by at most one draw.
        """
        # For each draw, (rows,): its stratum, its number within the stratum's draws of this epoch, and
        # the place within the stratum that it takes.
        stratum = np.repeat(np.arange(len(self.sizes)), self.draws)
        turn = np.arange(len(stratum)) - np.repeat(np.cumsum(self.draws) - self.draws, self.draws)
        within = (epoch * self.draws[stratum] + turn) % self.sizes[stratum]
        places: Array = self.order[(np.cumsum(self.sizes) - self.sizes)[stratum] + within]
        return places

    def counts(self) -> Mapping[tuple[int, int], int]:
        """Count the draws of an epoch by (language index, class id)."""
        return dict(zip(self.kinds, self.draws.tolist()))


def plan_sampling(
    label: Array, language: Array, *, language_alpha: float | None, resample: bool, seed: int
) -> Sampling | None:
    """Plan the draws from rows with these class ids and language indices; None = each row once.

    A language's share is proportional to its number of rows to the power of `language_alpha` (None = 1).
    Within a language, classes have equal shares with `resample`, and the shares of their rows without.
    Every stratum is drawn from at least once. The plan is the same in every process, with any numpy.
    """
    alpha = 1.0 if language_alpha is None else language_alpha
    if alpha == 1.0 and not resample:
        return None
    classes = int(label.max()) + 1
    # A stratum's code is language x classes + class. codes, sizes: (strata,). stratum: (rows,).
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
    """Round shares to whole numbers that add up to `total`, by largest remainders, with 1 as the least.

    shares: (strata,), positive, of any sum. total: at least the number of strata.
    """
    raised = np.zeros(
        len(shares), bool
    )  # strata that get 1 in place of less, at the others' expense
    while True:  # raising some shrinks the others, so that more may have to be raised
        exact = np.where(raised, 1, shares * ((total - raised.sum()) / shares[~raised].sum()))
        exact = np.round(exact, 6)  # the last digits of a sum must not decide
        if (exact >= 1).all():
            break
        raised |= exact < 1
    quotas: Array = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")  # the largest remainder first
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas


def positive_weights(targets: Array) -> Array:
    """Compute the weight of the rows that have a class, for each class: rows without it / rows with it.

    targets: (rows, classes), 1 or 0. Returns float64, (classes,); 1 where no row, or every row, has it.
    """
    having = targets.sum(axis=0, dtype=np.float64)
    lacking = len(targets) - having
    weights = np.ones(targets.shape[1])
    np.divide(lacking, having, out=weights, where=(having > 0) & (lacking > 0))
    return weights


def class_weights(label: Array, classes: int) -> Array:
    """Compute the weight of each class, float64: rows / (classes that occur x rows of the class), or 0.

    The mean over the rows is 1, so that the loss keeps its scale (King and Zeng 2001; scikit-learn's
    "balanced").
    """
    counts = np.bincount(label, minlength=classes)
    weights = np.zeros(len(counts))
    there = counts > 0
    weights[there] = len(label) / (there.sum() * counts[there])
    return weights
