"""The one question every propensity model answers, and the model that learns nothing.

A model says of each option how probable success is (`success`, the P of P x C x V x L) and with
which probability it would choose each (`choice`). What is logged of a choice is the second, mixed
with the journey's exploration; that is what off-policy estimates divide by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import fsum
from typing import Protocol

Facts = tuple[tuple[str, float], ...]
"""What a model may see of a context: names of features, each with its number."""

DECIMALS = 6
"""Probabilities are rounded to so many decimals, so that the last bits of a library's floating
point arithmetic decide nothing."""


@dataclass(frozen=True, slots=True)
class Option:
    """One candidate as a model sees it.

    `propensity` is the constant one of `actions.yaml`, `worth` what success is worth: context
    weight x value x levers x the journey's priority.
    """

    action: str
    propensity: float
    worth: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """One choice that was made, and what came of it (`reward`, 0 or 1).

    `chosen` is the place of what was done among `options`, `probabilities` are those with which
    each was to be chosen. `person` tells people apart.
    """

    decision_id: str
    person: str
    facts: Facts
    options: tuple[Option, ...]
    chosen: int
    probabilities: tuple[float, ...]
    reward: float


class Propensity(Protocol):
    """A model of one journey's candidates."""

    def success(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """How probable success is with each option, 0 to 1."""
        ...

    def choice(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """With which probability each option is to be chosen; they add up to 1."""
        ...


class Learner(Propensity, Protocol):
    """A model that can be taught."""

    def learn(self, lesson: Lesson) -> None:
        """Take one lesson."""
        ...

    def content(self) -> bytes:
        """The exact model, from which it can be made again."""
        ...


ModelOf = Callable[[str], Propensity]
"""The exact model of a version."""


class Constant:
    """What `actions.yaml` says, whatever happens."""

    def success(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """Each option's own propensity."""
        return tuple(option.propensity for option in options)

    def choice(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """The best one for certain."""
        return greedy(options, self.success(options, facts))


def greedy(options: Sequence[Option], success: Sequence[float]) -> tuple[float, ...]:
    """The option of the highest priority for certain; of equal ones the first."""
    priorities = [p * option.worth for p, option in zip(success, options, strict=True)]
    best = priorities.index(max(priorities))
    return tuple(float(place == best) for place in range(len(options)))


def explored(probabilities: Sequence[float], exploration: float) -> tuple[float, ...]:
    """Mixed with chance: p' = (1 - e) p + e / n, rounded; the greatest takes what rounding left.

    So nothing that is allowed is chosen with less than e / n, which keeps off-policy weights
    bounded, and the sum is 1.
    """
    share = exploration / len(probabilities)
    mixed = [round((1 - exploration) * p + share, DECIMALS) for p in probabilities]
    most = mixed.index(max(mixed))
    mixed[most] = round(1 - fsum(p for place, p in enumerate(mixed) if place != most), DECIMALS)
    return tuple(mixed)


def draw(probabilities: Sequence[float], seed: int, journey: str) -> int:
    """The place that chance picks; the same seed picks the same for the same journey."""
    digest = sha256(f"{seed}:{journey}".encode()).digest()
    drawn = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    reached = 0.0
    for place, probability in enumerate(probabilities):
        reached += probability
        if drawn < reached:
            return place
    return max(place for place, probability in enumerate(probabilities) if probability > 0)
