"""Contact policy: how often, and at what hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Literal

from domain.context import CapScope, Contact, ContactPoint, Tally
from domain.verdict import EVERYONE, Audience, Finding
from policies import hours
from policies.question import Question, Speaker

# A number that may be in more zones than this (+1 800 in 42) says nothing of where its owner is.
NUMBER_ZONES_MAX = 16


class FrequencyCap(Speaker):
    """At most `limit` contacts in any rolling `window` of elapsed time, `(t - window, t]`."""

    __slots__ = ("channels", "limit", "on_capped", "per", "purposes", "reason", "window")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        limit: int,
        window: timedelta,
        per: Literal["person", "contact_point"] = "person",
        channels: frozenset[str] | None = None,
        purposes: frozenset[str] | None = None,
        on_capped: Literal["drop", "defer"] = "drop",
        reason: str | None = None,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.limit = limit
        self.window = window
        self.per = per
        self.channels = channels
        self.purposes = purposes
        self.on_capped = on_capped
        self.reason = reason or f"at most {limit} in {_spoken(window)}"

    @property
    def scope(self) -> CapScope:
        """What it counts."""
        return CapScope(
            self.id,
            self.limit,
            self.window,
            self.per,
            None if self.channels is None else tuple(sorted(self.channels)),
            None if self.purposes is None else tuple(sorted(self.purposes)),
        )

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The counter against its limit."""
        tally = self._tally(question)
        count = len(self._counted(question, question.at)) if tally is None else tally.count
        return {
            "per": self.per,
            "count": count,
            "limit": self.limit,
            "window_seconds": self.window.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Drops or defers what would be one too many."""
        if not self._concerns(question):
            return self.passed
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        read = self.reads(question)
        need = f"wait until {_stamp(clear)}" if clear else "raise the limit"
        if self.on_capped == "drop" or clear is None:
            return self.forbid(
                "frequency_cap", self.reason, read=read, counterfactual=need, clears_at=clear
            )
        return self.hold(
            "frequency_cap", self.reason, "time", read=read, counterfactual=need, clears_at=clear
        )

    def clears_at(self, question: Question, at: datetime) -> datetime | None:
        """When the oldest contact that must go has left the window; None for a limit of zero."""
        if not self._concerns(question):
            return at
        if self.limit == 0:
            return None
        counted = self._counted(question, at)
        if len(counted) >= self.limit:
            return max(at, counted[self.limit - 1].at + self.window)
        tally = self._tally(question)
        if tally is not None:
            return at if tally.last_at is None else max(at, tally.last_at + self.window)
        context = question.context
        if context.contacts_truncated and context.contacts[-1].at > at - self.window:
            # More contacts than fit the context lie in the window: nobody can count them here.
            return context.contacts[-1].at + self.window
        return at

    def _tally(self, question: Question) -> Tally | None:
        """What was counted for this cap where the context holds too few contacts to count here."""
        point = question.candidate.contact_point
        ref = point.ref if point is not None and self.per == "contact_point" else None
        return next(
            (t for t in question.context.tallies if (t.rule, t.contact_point) == (self.id, ref)),
            None,
        )

    def _concerns(self, question: Question) -> bool:
        action = question.candidate.action
        return (
            question.kind == "contact"
            and (action.obeys_caps or question.mixed)
            and (self.channels is None or action.channel in self.channels)
            and (self.purposes is None or question.purpose in self.purposes)
            and (self.per == "person" or question.candidate.contact_point is not None)
        )

    def _counted(self, question: Question, at: datetime) -> Sequence[Contact]:
        start = at - self.window
        return [
            contact
            for contact in question.context.contacts
            if contact.at > start and self._counts(contact, question)
        ]

    def _counts(self, contact: Contact, question: Question) -> bool:
        if self.channels is not None and contact.channel not in self.channels:
            return False
        if self.purposes is not None and contact.purpose not in self.purposes:
            return False
        if self.per == "person":
            return contact.profile_id in question.context.profile_ids
        point = question.candidate.contact_point
        return point is not None and contact.contact_point == point.ref


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
        on_quiet: Literal["drop", "defer"] = "defer",
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
        """Drops or holds what would come at a bad hour."""
        if not self._concerns(question):
            return self.passed
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        read = self.reads(question)
        reason, need = self.reason, f"wait until {_stamp(clear)}" if clear else ""
        if not read["zones"]:
            reason, need = "the customer's time zone is unknown", "learn the address"
        elif clear is None:
            reason, need = "no hour is open in every zone", "learn the address"
        if self.on_quiet == "drop":
            return self.forbid(
                "quiet_hours", reason, read=read, counterfactual=need, clears_at=clear
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


def _stamp(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")


def _spoken(window: timedelta) -> str:
    hours_, rest = divmod(int(window.total_seconds()), 3600)
    if rest or hours_ == 0:
        return f"{int(window.total_seconds() // 60)} minutes"
    return f"{hours_ // 24} days" if hours_ % 24 == 0 and hours_ > 24 else f"{hours_} hours"
