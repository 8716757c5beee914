"""Intervals, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from random import Random
from statistics import NormalDist
from typing import TypeVar

LEVEL = 0.95
DRAWS = 2_000
GROUPS_MAX = 500

Interval = tuple[float, float]
T = TypeVar("T")


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """The score interval of a proportion: Wilson, JASA 22 (1927), 209-212. n must be positive."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = successes / n
    middle = p + z**2 / (2 * n)
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))


def newcombe(successes: int, n: int, others: int, m: int, level: float = LEVEL) -> Interval:
    """The hybrid score interval of a difference of proportions, successes/n - others/m.

    Newcombe, "Interval estimation for the difference between independent proportions: comparison
    of eleven methods", Statistics in Medicine 17 (1998), 873-890, method 10: with Wilson limits
    (l1, u1) and (l2, u2), the limits are d - sqrt((p1 - l1)^2 + (u2 - p2)^2) and
    d + sqrt((u1 - p1)^2 + (p2 - l2)^2).
    """
    p, q = successes / n, others / m
    (low, high), (other_low, other_high) = wilson(successes, n, level), wilson(others, m, level)
    return (
        p - q - sqrt((p - low) ** 2 + (other_high - q) ** 2),
        p - q + sqrt((high - p) ** 2 + (q - other_low) ** 2),
    )


def bootstrap(
    clusters: Sequence[T], statistic: Callable[[Iterable[T]], float], seed: int = 1
) -> Interval:
    """The percentile interval of a statistic over clusters drawn with replacement, 2,000 times.

    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979), 1-26.
    """
    chance = Random(seed)  # noqa: S311 - for sampling, and the same every time
    n = len(clusters)
    drawn = sorted(statistic(chance.choices(clusters, k=n)) for _ in range(DRAWS))
    outside = round((1 - LEVEL) / 2 * DRAWS)
    return drawn[outside], drawn[-outside - 1]
