"""Made-up people: what they like is hidden, they tire, and they leave when they had enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import exp
from random import Random

from evals.world.shop import PLANS, WAYS

RECENT = timedelta(days=7)
NIGHT = (21, 8)


@dataclass(frozen=True, slots=True)
class Nature:
    """What the shop does not know.

    `lifts` is what each way of writing adds to the probability of an order, by plan; each contact
    of the last 7 days takes the share 1 - exp(-`fatigue`) of it. `spontaneous` is the probability
    of an order without any contact. `hazard` is that of an opt-out at a contact, times
    1 + `annoyance` for each recent contact, and times `at_night` where it came at night.
    """

    lifts: Mapping[str, Mapping[str, float]]
    spontaneous: float = 0.08
    fatigue: float = 0.2
    hazard: float = 0.004
    annoyance: float = 1.0
    at_night: float = 3.0


def some_nature(seed: int) -> Nature:
    """Tastes of this seed: what the people of one plan like best, others do not."""
    lifts = [0.5, 0.15, 0.05, 0.0]
    Random(f"nature:{seed}").shuffle(lifts)  # noqa: S311 - a world to be repeated
    return Nature(
        {
            plan: dict(zip(WAYS, lifts[turn:] + lifts[:turn], strict=True))
            for turn, plan in enumerate(PLANS)
        }
    )


@dataclass(slots=True)
class Person:
    """One of them, with the contacts so far, and whether there may be more."""

    name: str
    plan: str
    contacts: list[datetime] = field(default_factory=list)
    opted_out: bool = False

    def tired(self, at: datetime) -> int:
        """How many contacts are recent."""
        return sum(at - RECENT < one <= at for one in self.contacts)

    def order_probability(self, nature: Nature, way: str | None, at: datetime) -> float:
        """How probable an order is after being written to in a way, or not at all (None)."""
        if way is None:
            return nature.spontaneous
        lift = nature.lifts[self.plan][way] * exp(-nature.fatigue * self.tired(at))
        return nature.spontaneous + lift

    def opt_out_probability(self, nature: Nature, at: datetime) -> float:
        """How probable it is that this contact is the last that is allowed."""
        night = at.hour >= NIGHT[0] or at.hour < NIGHT[1]
        tired = 1 + nature.annoyance * self.tired(at)
        return min(1.0, nature.hazard * tired * (nature.at_night if night else 1))
