"""What a frequency cap counts: the one definition that rules and the store's counts go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.context import CONVERSATION, Contact, ContactState
from domain.windows import Window

Per = Literal["person", "contact_point", "household"]
Counts = Literal["attempt", "accepted", "delivered", "conversation"]
Dimension = Literal["brand", "channel", "purpose", "topic", "journey", "team", "group"]

UNCOUNTED: dict[Counts, frozenset[ContactState]] = {
    "attempt": frozenset(),
    "accepted": frozenset({"failed"}),
    "delivered": frozenset({"failed", "undelivered"}),
    "conversation": frozenset({"failed"}),
}
"""The states in which a contact counts no more; while an outcome is unknown, it counts."""


@dataclass(frozen=True, slots=True)
class CapScope:
    """Which contacts a frequency cap counts, and against which limit.

    `among` names the values that each restricted dimension may have; a contact is in scope where
    it has one of them in all of these dimensions. With `same_brand`, only contacts of the brand at
    hand count; without `counts_held`, none that waits for a yes. `attempt` counts all that was
    begun, `accepted` what no provider refused, `delivered` what is not known to have failed to
    arrive, and `conversation` what opened a conversation on its channel at its contact point.
    """

    rule: str
    limit: int
    window: Window
    per: Per = "person"
    counts: Counts = "accepted"
    among: tuple[tuple[Dimension, frozenset[str]], ...] = ()
    same_brand: bool = False
    counts_held: bool = True

    @property
    def uncounted(self) -> frozenset[ContactState]:
        """The states in which a contact does not count."""
        held: frozenset[ContactState] = frozenset() if self.counts_held else frozenset({"held"})
        return UNCOUNTED[self.counts] | held

    @property
    def beyond_contacts(self) -> bool:
        """Whether it counts what a context's contacts do not show: others' and failed ones."""
        return self.per == "household" or self.counts == "attempt"

    def includes(self, contact: Contact, brand: str) -> bool:
        """Whether a contact is one of those it counts, whoever it was made to.

        Args:
            brand: the brand at hand.
        """
        if contact.state in UNCOUNTED[self.counts]:
            return False
        if contact.state == "held" and not self.counts_held:
            return False
        if self.same_brand and contact.brand != brand:
            return False
        if self.counts == "conversation" and contact.continues:
            return False
        for dimension, allowed in self.among:
            if dimension == "group":
                if allowed.isdisjoint(contact.groups):
                    return False
            elif getattr(contact, dimension) not in allowed:
                return False
        return True


def is_conversing(
    contacts: Iterable[Contact], channel: str | None, point: str | None, at: datetime
) -> bool:
    """Whether one more contact would go on with a conversation that is open at `at`."""
    return point is not None and any(
        contact.contact_point == point
        and contact.channel == channel
        and not contact.continues
        and contact.state != "failed"
        and at - CONVERSATION < contact.at <= at
        for contact in contacts
    )
