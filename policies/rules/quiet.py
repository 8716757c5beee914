"""Quiet hours: at what hour of the customer's own day a contact may be made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from domain.context import ContactPoint
from domain.verdict import EVERYONE, Audience, Finding
from policies import hours
from policies.question import INSTEAD, Otherwise, Question, Speaker, stamp

# A number that may be in more zones than this (+1 800 in 42) says nothing of where its owner is.
NUMBER_ZONES_MAX = 16


class QuietHours(Speaker):
    """Contacts on these channels only inside `[open, close)` of the customer's wall time.

    With `all_zones`, the window must be open in every zone the customer may be in (the person's
    own, the postal address's, all those of the number); otherwise the first known of person,
    address and number decides. A brand's own zone is never a source.
    """

    __slots__ = ("all_zones", "channels", "close", "on_quiet", "open", "reason")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        channels: frozenset[str],
        all_zones: frozenset[str],
        open_at: time,
        close_at: time,
        on_quiet: Otherwise = "defer",
        reason: str | None = None,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.channels = channels
        self.all_zones = all_zones
        self.open = open_at
        self.close = close_at
        self.on_quiet = on_quiet
        self.reason = reason or f"quiet hours until {open_at:%H:%M}"

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The zones that decided, and where each comes from."""
        close = "24:00" if self.close == time.max else f"{self.close:%H:%M}"
        return {
            "window": f"{self.open:%H:%M}-{close}",
            "zones": {name: source for source, name in self._zones(question)},
        }

    def ask(self, question: Question) -> Finding:
        """Drops or holds what would come at a bad hour, or has something else tried."""
        if not self._concerns(question):
            return self.passed
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        read = self.reads(question)
        reason, need = self.reason, f"wait until {stamp(clear)}" if clear else ""
        if not read["zones"]:
            reason, need = "the customer's time zone is unknown", "learn the address"
        elif clear is None:
            reason, need = "no hour is open in every zone", "learn the address"
        if self.on_quiet != "defer":
            return self.forbid(
                "quiet_hours",
                reason,
                read=read,
                counterfactual=need,
                clears_at=clear,
                instead=INSTEAD[self.on_quiet],
            )
        return self.hold(
            "quiet_hours", reason, "time", read=read, counterfactual=need, clears_at=clear
        )

    def clears_at(self, question: Question, at: datetime) -> datetime | None:
        """When the window is next open in every zone that counts."""
        if not self._concerns(question):
            return at
        names = tuple({name: None for _, name in self._zones(question)})
        return hours.next_open(at, self.open, self.close, names)

    def closes_at(self, question: Question) -> datetime:
        """When the window that is open now first closes in a zone; far off where not concerned."""
        far = question.at + hours.HORIZON
        if not self._concerns(question):
            return far
        ends = [
            hours.closes_at(question.at, self.open, self.close, name)
            for _, name in self._zones(question)
        ]
        return min((end for end in ends if end is not None), default=far)

    def _concerns(self, question: Question) -> bool:
        channel = question.candidate.action.channel
        return question.kind == "contact" and channel in self.channels and not question.urgent

    def _zones(self, question: Question) -> list[tuple[str, str]]:
        context = question.context
        point = question.candidate.contact_point
        known = _known_zones(context.zone_of_person, context.zone_of_address, point)
        if question.candidate.action.channel in self.all_zones or not known:
            return known
        first = known[0][0]
        return [(source, name) for source, name in known if source == first]


def _known_zones(
    person: str | None, address: str | None, point: ContactPoint | None
) -> list[tuple[str, str]]:
    known = [("person", person)] if person else []
    known += [("address", address)] if address else []
    zones = point.zones if point and len(point.zones) <= NUMBER_ZONES_MAX else ()
    return known + [("number", name) for name in zones]
