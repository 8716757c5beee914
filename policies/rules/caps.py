"""Frequency caps: how often a person, an address or a household may be contacted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from domain.caps import CapScope, Dimension, is_conversing
from domain.context import Contact, Tally
from domain.verdict import EVERYONE, Audience, Code, Finding
from domain.windows import NOWHERE, PERSON, Calendar, DayParts, Rolling, Whereabouts, whereabouts
from policies.hours import HORIZON
from policies.question import INSTEAD, Otherwise, Question, Speaker, stamp


class FrequencyCap(Speaker):
    """At most `limit` contacts of its scope in any rolling window, or in each of the calendar's."""

    __slots__ = ("_by_person", "code", "on_capped", "reason", "scope")

    def __init__(
        self,
        place: str,
        scope: CapScope,
        *,
        on_capped: Otherwise = "drop",
        reason: str | None = None,
        code: Literal["frequency_cap", "slot_taken"] = "frequency_cap",
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(scope.rule, place, shown_to)
        self.code: Code = code
        self.scope = scope
        self.on_capped = on_capped
        self.reason = reason or f"at most {scope.limit} {_spoken(scope)}"
        self._by_person = isinstance(scope.window, Calendar) and scope.window.tz == PERSON

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The counter against its limit, and the window it counts in."""
        scope = self.scope
        tally = self._tally(question)
        count = tally.count if tally is not None else self._count(question)
        read: dict[str, Any] = {"per": scope.per, "count": count, "limit": scope.limit}
        if scope.counts != "accepted":
            read["counts"] = scope.counts
        window = scope.window
        if isinstance(window, Rolling):
            return read | {"window_seconds": window.span.total_seconds()}
        read["window"] = window.unit
        if window.unit == "week":
            read["week_start"] = window.week_start
        if isinstance(window, DayParts):
            read |= {"window": "day_part", "starts": [f"{one:%H:%M}" for one in window.starts]}
        where = self._where(question)
        unknown = self._by_person and not where.now
        return read | {"zones": ["any"] if unknown else list(window.zones(question.at, where))}

    def ask(self, question: Question) -> Finding:
        """Drops or defers what would be one too many, or has something else tried."""
        if not self._concerns(question):
            return self.passed
        clear = self._clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        read = self.reads(question)
        need = f"wait until {stamp(clear)}" if clear else "raise the limit"
        if self.on_capped != "defer" or clear is None:
            return self.forbid(
                self.code,
                self.reason,
                read=read,
                counterfactual=need,
                clears_at=clear,
                instead=INSTEAD[self.on_capped],
            )
        return self.hold(
            self.code, self.reason, "time", read=read, counterfactual=need, clears_at=clear
        )

    def clears_at(self, question: Question, at: datetime) -> datetime | None:
        """When the oldest contact that must go has left the window; None for a limit of zero."""
        return self._clears_at(question, at) if self._concerns(question) else at

    def _clears_at(self, question: Question, at: datetime) -> datetime | None:
        if self._goes_on(question, at):
            return at
        limit = self.scope.limit
        if limit == 0:
            return None
        tally = self._tally(question)
        if tally is not None:
            return self._clear_of(tally, question, at)
        left = limit
        for contact in self._counted(question):
            left -= 1
            if not left:
                return max(at, self._leaves(contact.at, question))
        context = question.context
        if context.contacts_truncated:
            # More contacts than fit the context may lie in the window: nobody can count them here.
            return max(at, self._leaves(context.contacts[-1].at, question))
        return at

    def closes_at(self, question: Question) -> datetime:
        """When the calendar window of now is over, for what would count in it: far off else.

        A contact counts at the instant of its permit, so it must not be sent in the next window.
        """
        window = self.scope.window
        if isinstance(window, Rolling) or question.kind != "contact":
            return question.at + HORIZON
        if not self._in_scope(question):
            return question.at + HORIZON
        return window.ends(question.at, self._where(question))

    def _clear_of(self, tally: Tally, question: Question, at: datetime) -> datetime:
        if tally.limit != self.scope.limit and tally.count >= self.scope.limit:
            # It was counted for another limit: which contact must go is not known any more.
            return max(at, self._leaves(question.context.now, question))
        if tally.last_at is None or tally.limit != self.scope.limit:
            return at
        return max(at, self._leaves(tally.last_at, question))

    def _tally(self, question: Question) -> Tally | None:
        """What was counted for this cap where the contacts of the context do not tell."""
        if not question.context.tallies:
            return None
        point = question.candidate.contact_point
        ref = point.ref if point is not None and self.scope.per == "contact_point" else None
        return next(
            (t for t in question.context.tallies if (t.rule, t.contact_point) == (self.id, ref)),
            None,
        )

    def _concerns(self, question: Question) -> bool:
        action = question.candidate.action
        return (
            question.kind == "contact"
            and (action.obeys_caps or question.mixed)
            and self._in_scope(question)
        )

    def _in_scope(self, question: Question) -> bool:
        for dimension, allowed in self.scope.among:
            if dimension == "group":
                if allowed.isdisjoint(question.candidate.action.groups):
                    return False
            elif _VALUE[dimension](question) not in allowed:
                return False
        match self.scope.per:
            case "person":
                return True
            case "contact_point":
                return question.candidate.contact_point is not None
            case "household":
                return question.context.household is not None

    def _goes_on(self, question: Question, at: datetime) -> bool:
        """Whether it would add nothing: its conversation is open already."""
        if self.scope.counts != "conversation":
            return False
        of, point = question.candidate, question.candidate.contact_point
        ref = None if point is None else point.ref
        return is_conversing(question.context.contacts, of.action.channel, ref, at)

    def _counted(self, question: Question) -> Iterator[Contact]:
        """The contacts it counts, the newest first, whatever the window."""
        return (
            contact
            for contact in question.context.contacts
            if self._is_theirs(contact, question)
            and self.scope.includes(contact, question.candidate.brand)
        )

    def _count(self, question: Question) -> int:
        at = question.at
        return sum(self._leaves(contact.at, question) > at for contact in self._counted(question))

    def _is_theirs(self, contact: Contact, question: Question) -> bool:
        """Whether it was made to the person, at the contact point, in the household it is about."""
        match self.scope.per:
            case "person":
                return contact.profile_id in question.context.profile_ids
            case "contact_point":
                point = question.candidate.contact_point
                return point is not None and contact.contact_point == point.ref
            case "household":
                own = contact.household is None and (
                    contact.profile_id in question.context.profile_ids
                )
                return own or contact.household == question.context.household

    def _leaves(self, at: datetime, question: Question) -> datetime:
        return self.scope.window.leaves(at, self._where(question))

    def _where(self, question: Question) -> Whereabouts:
        if not self._by_person:
            return NOWHERE
        context = question.context
        return whereabouts(
            context.zone_of_person,
            context.zones_before,
            context.zones_of_address,
            [name for point in context.contact_points for name in point.zones],
        )


_VALUE: Mapping[Dimension, Callable[[Question], str | None]] = {
    "brand": lambda question: question.candidate.brand,
    "channel": lambda question: question.candidate.action.channel,
    "purpose": lambda question: question.purpose,
    "topic": lambda question: question.candidate.action.topic,
    "journey": lambda question: question.candidate.journey,
    "team": lambda question: question.candidate.team,
}
"""What a candidate is in each dimension but its groups, which are several."""

_WHOLE = {
    "day": "midnight to midnight",
    "monday": "Monday to Sunday",
    "sunday": "Sunday to Saturday",
    "month": "first to last day",
}


def _spoken(scope: CapScope) -> str:
    """The window as people say it: `a week, Monday to Sunday in Europe/Berlin`."""
    window = scope.window
    if isinstance(window, Rolling):
        return f"in {_elapsed(window.span)}"
    zone = "the customer's own time" if window.tz == PERSON else window.tz
    if isinstance(window, DayParts):
        return f"from each of {', '.join(f'{one:%H:%M}' for one in window.starts)} on in {zone}"
    whole = _WHOLE[window.week_start if window.unit == "week" else window.unit]
    return f"a {window.unit}, {whole} in {zone}"


def _elapsed(span: timedelta) -> str:
    hours, rest = divmod(int(span.total_seconds()), 3600)
    if rest or hours == 0:
        return f"{int(span.total_seconds() // 60)} minutes"
    return f"{hours // 24} days" if hours % 24 == 0 and hours > 24 else f"{hours} hours"
