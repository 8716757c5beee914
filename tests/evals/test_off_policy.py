from __future__ import annotations

from random import Random

import pytest

from agents.learning.training import Judged
from evals.off_policy import estimate

RATES = (0.1, 0.5)
PREDICTED = (0.3, 0.2)
"""What a model thinks that is far from right: a doubly robust estimate does not mind."""


def logged(
    n: int, chance: Random, shares: tuple[float, ...], target: tuple[float, ...]
) -> list[Judged]:
    """Choices between two actions of known rates, made with shares, judged for a target."""
    found = []
    for number in range(n):
        done = 0 if chance.random() < shares[0] else 1
        found.append(
            Judged(
                person=f"p-{number // 2}",
                reward=float(chance.random() < RATES[done]),
                logged=shares[done],
                target=target[done],
                off_support=sum(t for t, share in zip(target, shares, strict=True) if share == 0),
                predicted=PREDICTED[done],
                expected=sum(t * q for t, q in zip(target, PREDICTED, strict=True)),
            )
        )
    return found


def test_what_another_policy_would_have_gained_is_estimated_from_this_one() -> None:
    """IPS, SNIPS and DR find the value of a target that chooses otherwise than was chosen."""
    target = (0.2, 0.8)
    truth = sum(t * rate for t, rate in zip(target, RATES, strict=True))
    found = estimate(logged(4000, Random(1), (0.7, 0.3), target))
    assert found.refused is None
    assert found.ips == pytest.approx(truth, abs=0.03)
    assert found.snips == pytest.approx(truth, abs=0.03)
    assert found.dr == pytest.approx(truth, abs=0.03)
    assert found.snips_interval is not None
    low, high = found.snips_interval
    assert low <= truth <= high
    assert not low <= found.logged <= high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 40 logs, at most a few intervals miss it."""
    target = (0.4, 0.6)
    truth = sum(t * rate for t, rate in zip(target, RATES, strict=True))
    held = 0
    for seed in range(40):
        found = estimate(logged(400, Random(seed), (0.6, 0.4), target))
        assert found.snips_interval is not None
        held += found.snips_interval[0] <= truth <= found.snips_interval[1]
    assert held >= 34


def test_what_was_never_tried_is_not_estimated() -> None:
    """A target that chooses what a constant model never did cannot be judged by its log."""
    found = estimate(logged(1000, Random(2), (1.0, 0.0), (0.5, 0.5)))
    assert found.snips is None
    assert found.refused is not None
    assert "could not have been chosen" in found.refused


def test_too_few_effective_choices_are_not_estimated() -> None:
    """Where nearly all weight lies on a few choices, there is no estimate."""
    found = estimate(logged(300, Random(3), (0.97, 0.03), (0.0, 1.0)))
    assert found.refused is not None
    assert "effective sample size" in found.refused
