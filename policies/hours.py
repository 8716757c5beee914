"""Wall-clock windows in the customer's own zones, daylight saving included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

HORIZON = timedelta(days=400)
_DAY = timedelta(days=1)
_ROUNDS_MAX = 64


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name."""
    return ZoneInfo(name)


@lru_cache(maxsize=16_384)
def opening(day: date, open_at: time, close_at: time, name: str) -> tuple[datetime, datetime]:
    """The UTC interval `[open, close)` of the window that opens on `day` in zone `name`.

    Where a boundary's wall time occurs twice or not at all, the closed side wins: the window
    opens at the later reading and closes at the earlier one. An overnight window (close at or
    before open) ends on the next day.
    """
    last = day if close_at > open_at else day + _DAY
    return max(_readings(day, open_at, name)), min(_readings(last, close_at, name))


def closes_at(at: datetime, open_at: time, close_at: time, name: str) -> datetime | None:
    """When the window that `at` lies in closes in this zone, or None where none is open."""
    today = at.astimezone(zone(name)).date()
    for day in (today - _DAY, today):
        start, end = opening(day, open_at, close_at, name)
        if start <= at < end:
            return end
    return None


def is_open(at: datetime, open_at: time, close_at: time, name: str) -> bool:
    """Whether `at` lies in a window of this zone."""
    return closes_at(at, open_at, close_at, name) is not None


def next_open(at: datetime, open_at: time, close_at: time, names: Sequence[str]) -> datetime | None:
    """The earliest instant from `at` on that is inside the window in *every* zone.

    None where there is no zone to ask, or the zones' windows never meet.
    """
    if not names:
        return None
    limit = at + HORIZON
    for _ in range(_ROUNDS_MAX):
        latest = max(_next_in(at, open_at, close_at, name) for name in names)
        if latest == at:
            return at
        if latest > limit:
            return None
        at = latest
    return None


def _next_in(at: datetime, open_at: time, close_at: time, name: str) -> datetime:
    if is_open(at, open_at, close_at, name):
        return at
    today = at.astimezone(zone(name)).date()
    for ahead in range(-1, 4):
        start, end = opening(today + ahead * _DAY, open_at, close_at, name)
        if start >= at and end > start:
            return start
    return at + HORIZON + _DAY


def _readings(day: date, wall: time, name: str) -> tuple[datetime, datetime]:
    if wall == time.max:  # 24:00
        day, wall = day + _DAY, time(0)
    naive = datetime.combine(day, wall, tzinfo=zone(name))
    return naive.replace(fold=0).astimezone(UTC), naive.replace(fold=1).astimezone(UTC)
