"""Frequency caps: how often a person, or an address, may be contacted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from domain.context import CapScope, Contact, Tally
from domain.verdict import EVERYONE, Audience, Finding
from policies.question import INSTEAD, Otherwise, Question, Speaker, stamp


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
        on_capped: Otherwise = "drop",
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
        """Drops or defers what would be one too many, or has something else tried."""
        if not self._concerns(question):
            return self.passed
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        read = self.reads(question)
        need = f"wait until {stamp(clear)}" if clear else "raise the limit"
        if self.on_capped != "defer" or clear is None:
            return self.forbid(
                "frequency_cap",
                self.reason,
                read=read,
                counterfactual=need,
                clears_at=clear,
                instead=INSTEAD[self.on_capped],
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


def _spoken(window: timedelta) -> str:
    hours_, rest = divmod(int(window.total_seconds()), 3600)
    if rest or hours_ == 0:
        return f"{int(window.total_seconds() // 60)} minutes"
    return f"{hours_ // 24} days" if hours_ % 24 == 0 and hours_ > 24 else f"{hours_} hours"
