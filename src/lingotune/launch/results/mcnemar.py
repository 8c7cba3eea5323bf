"""McNemar's test of two classifiers on the same rows, exact."""

from __future__ import annotations


def mcnemar(only_one: int, only_other: int) -> float:
    """Return the p-value that rows which one classifier alone has right fall so unevenly by chance.

    only_one, only_other: numbers of these rows, for each of both. Two-sided and exact: if both are equally
    good, each such row is a coin's throw (McNemar 1947, "Note on the sampling error of the difference
    between correlated proportions"; the exact form as in Dietterich 1998, section 3.1).
    """
    rows, fewer = only_one + only_other, min(only_one, only_other)
    ways = total = 1
    for n in range(fewer):
        ways = ways * (rows - n) // (n + 1)
        total += ways
    return min(1.0, float(2 * total / 2**rows))
