"""Windows that contacts are counted in: elapsed time, or the calendar where the person lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

Unit = Literal["day", "week", "month"]
WeekStart = Literal["monday", "sunday"]

PERSON = "person"
"""The zone of a calendar window that goes by the person's own."""

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
# Zones are at most 26 hours apart, and a day may have 25.
_SLACK = timedelta(hours=27)
_SPANS: Mapping[Unit, timedelta] = {"day": _DAY, "week": 7 * _DAY, "month": 31 * _DAY}


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The zones that a person's calendar may go by.

    `now` are those the person may be in, none where nothing is known: then it may be any. `before`
    are zones that the person has left, each with the instant until which it may have been theirs.
    """

    now: tuple[str, ...] = ()
    before: tuple[tuple[str, datetime], ...] = ()


NOWHERE = Whereabouts()


def whereabouts(
    person: str | None,
    before: Iterable[tuple[str, datetime]],
    address: Iterable[str],
    numbers: Iterable[str],
) -> Whereabouts:
    """What the zones that a person, an address and numbers name say of a person's calendar.

    The person's own word decides; without it, all that the others name may be.
    """
    if person is not None:
        return Whereabouts((person,), tuple(before))
    named = dict.fromkeys([*address, *numbers])
    return Whereabouts(tuple(named))


@lru_cache(maxsize=1)
def everywhere() -> tuple[str, ...]:
    """Every time zone there is."""
    return tuple(sorted(available_timezones() - {"Factory", "localtime"}))


@dataclass(frozen=True, slots=True)
class Rolling:
    """`(t - span, t]`, in elapsed time: a day is 24 hours, a month 30 days."""

    span: timedelta

    @property
    def longest(self) -> timedelta:
        """No contact counts for longer."""
        return self.span

    def leaves(self, at: datetime, where: Whereabouts) -> datetime:
        """The first instant at which a contact made at `at` counts no more."""
        return at + self.span

    def after(self, now: datetime, where: Whereabouts) -> datetime:
        """The contacts that count at `now` are those made after this."""
        return now - self.span


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days, weeks or months `[start, end)` of a zone: one IANA name, or `person`.

    Where the person's zone is unknown, or was another one in the window, every zone it may be
    counts for itself, and a contact counts until it does in none of them. `week_start` concerns
    weeks only.
    """

    unit: Unit
    tz: str
    week_start: WeekStart = "monday"

    @property
    def longest(self) -> timedelta:
        """No contact counts for longer."""
        return _SPANS[self.unit] + _SLACK

    def leaves(self, at: datetime, where: Whereabouts) -> datetime:
        """The first instant at which a contact made at `at` counts no more."""
        return self._reach(at, where)[2]

    def after(self, now: datetime, where: Whereabouts) -> datetime:
        """The contacts that count at `now` are those made after this."""
        return self._reach(now, where)[0] - _TICK

    def ends(self, now: datetime, where: Whereabouts) -> datetime:
        """When the first of the windows that `now` lies in is over."""
        return self._reach(now, where)[1]

    def zones(self, at: datetime, where: Whereabouts) -> tuple[str, ...]:
        """The zones whose window around `at` counts; none where it may be any."""
        if self.tz != PERSON:
            return (self.tz,)
        left = [name for name, until in where.before if until >= self.bounds(at, name)[0]]
        return (*where.now, *left)

    def bounds(self, at: datetime, name: str) -> tuple[datetime, datetime]:
        """The window around an instant in one zone: where it starts, and where the next does."""
        first = self._first(at.astimezone(ZoneInfo(name)).date())
        start = midnight(first, name)
        if at < start:  # the clock was put back over the midnight that had just been
            first = self._first(first - _DAY)
            start = midnight(first, name)
        return start, midnight(self._next(first), name)

    def _reach(self, at: datetime, where: Whereabouts) -> tuple[datetime, datetime, datetime]:
        """The first start, the first end and the last end of the windows around an instant."""
        if self.tz == PERSON and not where.now:
            # Clocks differ by whole minutes, so all instants of one minute are in the same windows.
            return _anywhere(self, at.replace(second=0, microsecond=0))
        return _extremes([self.bounds(at, name) for name in self.zones(at, where)])

    def _first(self, day: date) -> date:
        match self.unit:
            case "day":
                return day
            case "week":
                past = day.weekday() if self.week_start == "monday" else day.isoweekday() % 7
                return day - timedelta(days=past)
            case "month":
                return day.replace(day=1)

    def _next(self, first: date) -> date:
        if self.unit == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first + _SPANS[self.unit]


@dataclass(frozen=True, slots=True)
class DayParts(Calendar):
    """Parts of the day `[start, next start)` of a zone, which together are the whole day.

    `starts` are their wall times, in order; the last part lasts until the first of the next day.
    """

    starts: tuple[time, ...] = ()

    def bounds(self, at: datetime, name: str) -> tuple[datetime, datetime]:
        """The part around an instant in one zone: where it starts, and where the next does."""
        today = at.astimezone(ZoneInfo(name)).date()
        days = [today - _DAY, today, today + _DAY]
        found = [_shows(day, start, name) for day in days for start in self.starts]
        return max(i for i in found if i <= at), min(i for i in found if i > at)


Window = Rolling | Calendar | DayParts


@lru_cache(maxsize=65_536)
def _shows(day: date, wall: time, name: str) -> datetime:
    """When a clock first shows that time; where it is left out, as long after as it would have."""
    return datetime.combine(day, wall, tzinfo=ZoneInfo(name)).replace(fold=0).astimezone(UTC)


def _extremes(
    bounds: Sequence[tuple[datetime, datetime]],
) -> tuple[datetime, datetime, datetime]:
    ends = [end for _, end in bounds]
    return min(start for start, _ in bounds), min(ends), max(ends)


@lru_cache(maxsize=4096)
def _anywhere(window: Calendar, minute: datetime) -> tuple[datetime, datetime, datetime]:
    return _extremes([window.bounds(minute, name) for name in everywhere()])


@lru_cache(maxsize=65_536)
def midnight(day: date, name: str) -> datetime:
    """The instant from which on it is `day`, or later, in a zone.

    Where midnight is missing, that is when the clock is put forward; where it comes twice, the
    first time, unless the clock goes back to the day before in between.
    """
    naive = datetime.combine(day, datetime.min.time(), tzinfo=ZoneInfo(name))
    first, second = (naive.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if second <= first:  # as nearly always, or midnight is missing
        return first
    before = (second - _TICK).astimezone(ZoneInfo(name)).date()
    return second if before < day else first
