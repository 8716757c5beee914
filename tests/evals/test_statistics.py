from __future__ import annotations

from random import Random
from statistics import fmean

import pytest

from evals.statistics import bootstrap, newcombe, wilson


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_the_difference_of_proportions_has_the_published_interval(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    """The limits are those of Newcombe's table II, method 10."""
    assert newcombe(*one, *other) == pytest.approx((low, high), abs=0.00006)


def test_a_proportion_has_wilsons_interval() -> None:
    """The limits for 81 of 263 are those of Newcombe's paper on single proportions (1998)."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=0.00006)
    assert wilson(0, 20)[0] == pytest.approx(0)
    assert wilson(20, 20)[1] == pytest.approx(1)


def test_a_bootstrap_holds_the_mean_as_often_as_it_says() -> None:
    """Of 60 samples of a known mean, hardly any interval misses it; and it repeats itself."""
    chance = Random(7)
    held = 0
    for _ in range(60):
        sample = [chance.gauss(3, 1) for _ in range(40)]
        low, high = bootstrap(sample, fmean)
        held += low <= 3 <= high
        assert low < fmean(sample) < high
    assert 50 <= held <= 60
    assert bootstrap(sample, fmean) == (low, high)
