"""Wall-clock windows in the customer's own zones: daylight saving, days and holidays included.

Wherever a wall time is ambiguous or missing, the closed side wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

HORIZON = timedelta(days=400)
EVERY_DAY = frozenset(range(7))
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
GAP_MINUTES = 15
_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_STRETCH_MAX = timedelta(days=8)

Span = tuple[datetime, datetime]
Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A daily window `[open, close)` of wall time, overnight where it closes at or before it
    opens; a close of 24:00 is `time.max`."""

    open: time
    close: time

    def __str__(self) -> str:
        return f"{self.open:%H:%M}-{'24:00' if self.close == time.max else f'{self.close:%H:%M}'}"


@dataclass(frozen=True, slots=True)
class Holidays:
    """Days of the calendar: each of `dates` once, each (month, day) of `yearly` every year."""

    dates: frozenset[date] = frozenset()
    yearly: frozenset[tuple[int, int]] = frozenset()

    def __contains__(self, day: date) -> bool:
        return day in self.dates or (day.month, day.day) in self.yearly


NO_HOLIDAYS = Holidays()
ALL_DAY = (Window(time(0), time.max),)


# Compared by identity: these are the keys of caches, and a rule makes each of its own once.
@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """When something is open: any of `windows`, on `days` (0 is Monday), and not on `holidays`.

    A day that is closed is closed from its midnight to the next, whatever began the day before,
    and nothing opens on it.
    """

    windows: tuple[Window, ...] = ALL_DAY
    days: frozenset[int] = EVERY_DAY
    holidays: Holidays = field(default=NO_HOLIDAYS)

    def closes_on(self, day: date) -> bool:
        """Whether nothing is open on that day."""
        return day.weekday() not in self.days or day in self.holidays

    def __str__(self) -> str:
        said = ",".join(str(window) for window in self.windows)
        if self.days != EVERY_DAY:
            said += f" {','.join(DAY_NAMES[day] for day in sorted(self.days))}"
        return said


Local = tuple[Hours, str]
"""Hours as they are kept in a zone."""


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name."""
    return ZoneInfo(name)


def is_open(at: datetime, hours: Hours, name: str) -> bool:
    """Whether these hours are open in that zone."""
    return _end(at, hours, name) is not None


def all_open(at: datetime, locals_: tuple[Local, ...]) -> bool:
    """Whether all of these hours are open in their zones; never where there is none to ask."""
    for hours, name in locals_:  # a loop, since this is what every passing contact asks
        if _end(at, hours, name) is None:
            return False
    return bool(locals_)


def closes_at(at: datetime, hours: Hours, name: str) -> datetime | None:
    """When the hours that are open now in this zone close, or None where they are closed.

    Windows that adjoin are one; what stays open for more than a week is said to close after it.
    """
    end = _end(at, hours, name)
    return None if end is None else _stretch_end(end, hours, name)


@lru_cache(maxsize=4096)
def _stretch_end(closing: datetime, hours: Hours, name: str) -> datetime:
    """When what is open up to an instant closes, if it does not then."""
    latest, end = closing + _STRETCH_MAX, _end(closing, hours, name)
    while end is not None and end < latest:
        closing, end = end, _end(end, hours, name)
    return closing if end is None else end


@lru_cache(maxsize=1024)
def next_open(at: datetime, locals_: tuple[Local, ...]) -> datetime | None:
    """The earliest instant from `at` on at which *all* of these hours are open in their zones.

    None where there is none to ask, or they do not meet within `HORIZON`.
    """
    if not locals_:
        return None
    limit = at + HORIZON
    while at <= limit:
        latest = at
        for hours, name in locals_:
            latest = max(latest, _next_in(latest, hours, name))
        if latest == at:
            return at
        at = latest
    return None


def _end(at: datetime, hours: Hours, name: str) -> datetime | None:
    """The end of a window that `at` lies in; windows of the day before may reach into a day."""
    day = at.astimezone(zone(name)).date()
    for start, end in _spans(day, hours, name):
        if start <= at < end:
            return end
    for start, end in _spans(day - _DAY, hours, name):
        if start <= at < end:
            return end
    return None


def _next_in(at: datetime, hours: Hours, name: str) -> datetime:
    """When the first window opens that has not closed by `at`."""
    day, limit = at.astimezone(zone(name)).date() - _DAY, at.date() + HORIZON + _DAY
    while day <= limit:
        for start, end in _spans(day, hours, name):
            if end > at:
                return max(at, start)
        day += _DAY
    return at + HORIZON + _DAY


@lru_cache(maxsize=16_384)
def _spans(day: date, hours: Hours, name: str) -> tuple[Span, ...]:
    """The UTC intervals `[open, close)` of the windows that open on `day`, in order."""
    if hours.closes_on(day):
        return ()
    latest = datetime.max.replace(tzinfo=UTC)
    if hours.closes_on(day + _DAY):
        latest = min(_readings(day, time.max, name))
    found = []
    for window in hours.windows:
        last = day if window.close > window.open else day + _DAY
        start = max(_readings(day, window.open, name))
        end = min(latest, *_readings(last, window.close, name))
        if start < end:
            found.append((start, end))
    return tuple(sorted(found))


def _readings(day: date, wall: time, name: str) -> tuple[datetime, datetime]:
    """The instants at which a clock shows that time: two where it is ambiguous or missing."""
    if wall == time.max:  # 24:00
        day, wall = day + _DAY, time(0)
    naive = datetime.combine(day, wall, tzinfo=zone(name))
    return naive.replace(fold=0).astimezone(UTC), naive.replace(fold=1).astimezone(UTC)


# What can be told of hours without a calendar: their ordinary week, in minutes from Monday 00:00.


def week(hours: Hours) -> tuple[Stretch, ...]:
    """The stretches `[from, to)` of an ordinary week, without holidays, that are open."""
    opened = sorted(
        stretch
        for day in sorted(hours.days)
        for window in hours.windows
        for stretch in _of_day(day, window, hours.days)
    )
    joined: list[Stretch] = []
    for start, end in opened:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


def _of_day(day: int, window: Window, days: frozenset[int]) -> Iterator[Stretch]:
    begin, opens, closes = day * _DAY_MINUTES, _minute(window.open), _minute(window.close)
    if closes > opens:
        yield begin + opens, begin + closes
        return
    yield begin + opens, begin + _DAY_MINUTES
    tomorrow = (day + 1) % 7
    if tomorrow in days and closes:
        yield tomorrow * _DAY_MINUTES, tomorrow * _DAY_MINUTES + closes


def _minute(wall: time) -> int:
    return _DAY_MINUTES if wall == time.max else wall.hour * 60 + wall.minute


def common(*several: Hours) -> tuple[Stretch, ...]:
    """The stretches of an ordinary week in which all of these are open."""
    meeting: tuple[Stretch, ...] = ((0, _WEEK_MINUTES),)
    for hours in several:
        meeting = tuple(
            (max(one[0], other[0]), min(one[1], other[1]))
            for one in meeting
            for other in week(hours)
            if max(one[0], other[0]) < min(one[1], other[1])
        )
    return meeting


def never_open(*several: Hours) -> bool:
    """Whether in no ordinary week there is a minute at which all of these are open."""
    return not common(*several)


def gaps(*several: Hours, shorter_than: int = GAP_MINUTES) -> tuple[Stretch, ...]:
    """The closed stretches of an ordinary week that are so short, in minutes, that nobody can
    have meant them: `08:00-23:59` for `08:00-24:00`, `14:01` for `14:00`."""
    meeting = common(*several)
    if not meeting:
        return ()
    ends = [end for _, end in meeting]
    starts = [start for start, _ in meeting[1:]] + [meeting[0][0] + _WEEK_MINUTES]
    return tuple(
        (end, start)
        for end, start in zip(ends, starts, strict=True)
        if 0 < start - end < shorter_than
    )


def spoken(stretches: Iterable[Stretch]) -> str:
    """Stretches of a week in words: `mon 23:59-tue 00:00`."""
    return ", ".join(f"{_spoken(start)}-{_spoken(end)}" for start, end in stretches)


def _spoken(minute: int) -> str:
    day, rest = divmod(minute % _WEEK_MINUTES, _DAY_MINUTES)
    return f"{DAY_NAMES[day]} {rest // 60:02d}:{rest % 60:02d}"
