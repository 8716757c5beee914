from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from statistics import fmean

import pytest

from evals.outcomes import outcomes
from evals.statistics import bootstrap
from evals.world.shop import JOURNEY, Setup
from evals.world.simulation import BEGIN, DAY, Tally
from tests.worlds import live, open_world

SOAKED = os.environ.get("SAFECONDUCT_SOAK") == "1"
SEEDS = range(1, 21) if SOAKED else range(1, 4)
SIZE = {"people": 100, "days": 30} if SOAKED else {"people": 60, "days": 20}
RANDOM = Setup("logistic", exploration=1.0)
"""Everything that is allowed is as probable."""


@cache
def lived(setup: Setup, seed: int) -> Tally:
    with open_world(setup) as deps:
        return live(deps, seed, **SIZE)


def differences(one: Setup, other: Setup, measure: Callable[[Tally], float]) -> list[float]:
    """One setup's measure less the other's, for each world."""
    return [measure(lived(one, seed)) - measure(lived(other, seed)) for seed in SEEDS]


def at_least(found: list[float]) -> float:
    """The lower end of the interval of the mean over the worlds."""
    return bootstrap(found, fmean)[0]


@pytest.mark.soakable
def test_a_bandit_beats_the_constant_model() -> None:
    """More carts become orders where the shop learns what to write to whom."""
    found = differences(Setup("bandit"), Setup(), lambda tally: tally.orders_per_cart)
    assert at_least(found) > 0, found


@pytest.mark.soakable
def test_a_bandit_beats_chance() -> None:
    """What it gains is not gained by trying everything alike."""
    found = differences(Setup("bandit"), RANDOM, lambda tally: tally.orders_per_cart)
    assert at_least(found) > 0, found


@pytest.mark.soakable
def test_the_contact_policy_lowers_opt_outs() -> None:
    """Caps and quiet hours keep people who would have left."""
    people, days = (50, 21) if SOAKED else (20, 10)

    def left(policy: bool, seed: int) -> float:
        with open_world(Setup(policy=policy)) as deps:
            tally = live(deps, seed, people=people, days=days, carts_per_day=0.9)
            return tally.opt_outs / tally.people

    found = [left(False, seed) - left(True, seed) for seed in SEEDS]
    assert at_least(found) > 0, found


@pytest.mark.soakable
def test_the_uplift_of_a_journey_is_recovered_from_its_holdout() -> None:
    """The interval against the holdout holds the true effect, in 19 of 20 worlds and no fewer than
    chance allows; the truth is known, because every world is lived through twice."""
    recovered = 0
    for seed in SEEDS:
        with open_world(Setup(holdout=0.4)) as deps:
            live(deps, seed, **SIZE)
            until = BEGIN + (SIZE["days"] + 4) * DAY
            journeys = [deps.workspace.journeys[JOURNEY]]
            (found,) = outcomes(deps.database, deps.workspace, journeys, until)
        everybody = lived(Setup(), seed)
        assert found.uplift_interval is not None
        low, high = found.uplift_interval
        truth = len(everybody.ordered) - len(everybody.unprompted)
        recovered += low <= truth / len(everybody.with_cart) <= high
    # Of n worlds, fewer than this would be a chance of one in a thousand.
    assert recovered >= (len(SEEDS) - 5 if SOAKED else len(SEEDS) - 1), recovered


def test_a_world_is_the_same_every_time() -> None:
    """One seed, one setup: one outcome, so that a proof that holds today holds tomorrow."""
    small = {"people": 20, "days": 8}
    found = []
    for _ in range(2):
        with open_world(replace(Setup("bandit"), holdout=0.2)) as deps:
            found.append(live(deps, 5, **small))
    assert found[0] == found[1]
    assert found[0].contacts > 10
