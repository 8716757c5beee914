"""One concrete thing that may be done now, to the letter, so that a permit can bind to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import prod
from typing import Any

from domain.action import Action, Money, Step
from domain.canonical import canonical
from domain.context import ContactPoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """An action as it could be taken now: for which journey instance, at which contact point.

    `instance` is the journey instance's key, `max_age` how old the event may be, `amount` the
    money at stake, if any.
    """

    action: Action
    journey: str
    brand: str
    team: str
    instance: str
    contact_point: ContactPoint | None
    journey_priority: float = 1.0
    max_age: timedelta = timedelta(minutes=15)
    amount: Money | None = None

    @property
    def factors(self) -> tuple[tuple[str, float], ...]:
        """What multiplies to its priority: P x C x V x L, and the journey's own."""
        action = self.action
        return (
            ("propensity", action.propensity),
            ("context", action.context_weight),
            ("value", action.value),
            ("levers", max(0.0, 1 + sum(action.levers.values()) / 100)),
            ("journey", self.journey_priority),
        )

    @property
    def priority(self) -> float:
        """How much it is worth."""
        return prod(factor for _, factor in self.factors)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A scheduled contact as it could be made, due at an instant, about an event of `fields`."""

    candidate: Candidate
    due_at: datetime
    expires_at: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its place in the order: `priority` = P x C x V x L, and each factor."""

    candidate: Candidate
    priority: float
    factors: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate with its exact steps. `hash` is the keyed fingerprint of `proposal_body`."""

    candidate: Candidate
    steps: tuple[Step, ...]
    hash: str = field(default="")


def proposal_body(candidate: Candidate, steps: tuple[Step, ...], event_id: str) -> bytes:
    """Canonical bytes of a proposal: who, what, where, every argument, and for which event.

    Equal proposals give equal bytes in any process. The event is part of it, so that a yes to one
    proposal is no yes to the next that looks the same.
    """
    point = candidate.contact_point
    return canonical(
        {
            "event": event_id,
            "action": candidate.action.name,
            "journey": candidate.journey,
            "instance": candidate.instance,
            "brand": candidate.brand,
            "channel": candidate.action.channel,
            "purpose": candidate.action.purpose,
            "topic": candidate.action.topic,
            "contact_point": point.ref if point else None,
            "amount": candidate.amount,
            "steps": steps,
        }
    )
