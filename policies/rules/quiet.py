"""Quiet hours: at what hour of the customer's own day a contact may be made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from domain.context import ContactPoint, Context
from domain.verdict import EVERYONE, Audience, Finding
from policies import hours
from policies.hours import Hours, Local
from policies.jurisdictions import applying
from policies.question import INSTEAD, Otherwise, Question, Speaker, stamp

# A number that may be in more zones than this (+1 800 in 42) says nothing of where its owner is.
NUMBER_ZONES_MAX = 16
_NO_LAWS: Mapping[str, Hours] = {}
_LEARN = "learn the address"


class QuietHours(Speaker):
    """Contacts on these channels only inside the hours of the customer's wall time.

    Open at once must be the general hours and those of every law that may apply, which is all
    `laws` where none is known. With `all_zones`, that is so in every zone the customer may be in
    (the person's own, the postal address's, all those of the number); otherwise the first known
    of person, address and number decides. A brand's own zone is never a source.
    """

    __slots__ = ("all_zones", "channels", "hours", "laws", "on_quiet", "reason")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        channels: frozenset[str],
        all_zones: frozenset[str],
        hours: Hours,
        laws: Mapping[str, Hours] = _NO_LAWS,
        on_quiet: Otherwise = "defer",
        reason: str | None = None,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.channels = channels
        self.all_zones = all_zones
        self.hours = hours
        self.laws = laws
        self.on_quiet = on_quiet
        self.reason = reason or _reason(hours)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The zones and laws that decided, what says so of each, and which hours are closed."""
        zones = self._zones(question)
        laws = applying(question.context.jurisdictions, self.laws)
        read: dict[str, Any] = {
            "window": str(self.hours),
            "zones": {name: source for source, name in reversed(zones)},
            "closed": [
                f"{code or 'window'} {kept} in {name}"
                for code, kept, name in self._closed(question, laws)
            ],
        }
        return read | {"jurisdictions": laws} if self.laws else read

    def ask(self, question: Question) -> Finding:
        """Drops or holds what would come at a bad hour, or has something else tried."""
        if not self._concerns(question):
            return self.passed
        locals_, at = self._locals(question), question.at
        if hours.all_open(at, locals_):
            return self.passed
        clear = hours.next_open(at, locals_)
        reason, need = self._words(question, locals_, clear)
        read = self.reads(question)
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
        """When all hours that count are next open in every zone that counts."""
        if not self._concerns(question):
            return at
        return hours.next_open(at, self._locals(question))

    def closes_at(self, question: Question) -> datetime:
        """When the first of the hours that are open now closes; far off where not concerned."""
        far = question.at + hours.HORIZON
        if not self._concerns(question):
            return far
        ends = (hours.closes_at(question.at, kept, name) for kept, name in self._locals(question))
        return min((end for end in ends if end is not None), default=far)

    def troubles(self) -> tuple[str, ...]:
        """What in these hours can hardly be meant, in words."""
        found = [f"{name} {words}" for name, words in self._gaps()]
        for code, kept in self.laws.items():
            narrows = hours.common(self.hours, kept) != hours.week(self.hours)
            if not narrows and kept.holidays == hours.NO_HOLIDAYS:
                found.append(f"`{code}` changes nothing: it is open whenever `window` is")
        if hours.never_open(self.hours, *self.laws.values()):
            found.append(
                "whoever is of no known place can never be contacted: no hour of the week is open "
                f"under all of {', '.join(f'`{code}`' for code in self.laws)}"
            )
        return tuple(found)

    def _gaps(self) -> list[tuple[str, str]]:
        own = hours.gaps(self.hours)
        found = [("`window`", own)] if own else []
        for code, kept in self.laws.items():
            more = tuple(gap for gap in hours.gaps(self.hours, kept) if gap not in own)
            found += [(f"`{code}`", more)] if more else []
        words = f"closes for less than {hours.GAP_MINUTES} minutes"
        return [(name, f"{words}: {hours.spoken(gaps)}") for name, gaps in found]

    def _words(
        self, question: Question, locals_: tuple[Local, ...], clear: datetime | None
    ) -> tuple[str, str]:
        """The reason and what would have to change."""
        if not locals_:
            return "the customer's time zone is unknown", _LEARN
        if clear is None:
            return "no hour is open in every zone and under every law", _LEARN
        wait = f"wait until {stamp(clear)}"
        laws = applying(question.context.jurisdictions, self.laws)
        code, kept, _ = self._closed(question, laws)[0]
        return (f"quiet hours of {code}, which is open {kept}" if code else self.reason), wait

    def _closed(self, question: Question, laws: Iterable[str]) -> list[tuple[str, Hours, str]]:
        """The law (empty for the general hours), hours and zone of all that is closed now."""
        several = (("", self.hours), *((code, self.laws[code]) for code in laws))
        return [
            (code, kept, name)
            for code, kept in several
            for _, name in self._zones(question)
            if not hours.is_open(question.at, kept, name)
        ]

    def _concerns(self, question: Question) -> bool:
        channel = question.candidate.action.channel
        return question.kind == "contact" and channel in self.channels and not question.urgent

    def _locals(self, question: Question) -> tuple[Local, ...]:
        """All hours that count, each in every zone that counts."""
        names = dict.fromkeys([name for _, name in self._zones(question)])
        if not self.laws:
            return tuple([(self.hours, name) for name in names])
        laws = applying(question.context.jurisdictions, self.laws)
        several = (self.hours, *(self.laws[code] for code in laws))
        return tuple([(kept, name) for kept in several for name in names])

    def _zones(self, question: Question) -> list[tuple[str, str]]:
        point = question.candidate.contact_point
        if question.candidate.action.channel in self.all_zones:
            return known_zones(question.context, point)
        for source, zones_of in _SOURCES:
            names = zones_of(question.context, point)
            if names:
                return [(source, name) for name in names]
        return []


def known_zones(context: Context, point: ContactPoint | None) -> list[tuple[str, str]]:
    """All zones in which a person may be, with what says so, the surest first."""
    return [(source, name) for source, zones in _SOURCES for name in zones(context, point)]


def _of_person(context: Context, point: ContactPoint | None) -> tuple[str, ...]:
    return (context.zone_of_person,) if context.zone_of_person else ()


def _of_address(context: Context, point: ContactPoint | None) -> tuple[str, ...]:
    return context.zones_of_address


def _of_numbers(context: Context, point: ContactPoint | None) -> list[str]:
    """Those of the telephone number that is written to or called; of all, where none is."""
    numbers = (point,) if point is not None and point.kind == "phone" else context.contact_points
    telling = [number.zones for number in numbers if len(number.zones) <= NUMBER_ZONES_MAX]
    return [name for zones in telling for name in zones]


_SOURCES: tuple[tuple[str, Callable[[Context, ContactPoint | None], Sequence[str]]], ...] = (
    ("person", _of_person),
    ("address", _of_address),
    ("number", _of_numbers),
)
"""What says where a person is, the surest first."""


def _reason(kept: Hours) -> str:
    if len(kept.windows) == 1 and kept.days == hours.EVERY_DAY:
        return f"quiet hours until {kept.windows[0].open:%H:%M}"
    return f"quiet hours outside {kept}"
