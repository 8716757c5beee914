"""A slow and obvious count of contacts under a cap: nothing of it is shared with the program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

HORIZON = timedelta(days=400)


@dataclass(frozen=True)
class Slow:
    """A cap as its YAML says it, and the zones of the person: the present ones, and past ones
    with the instant until which they may have been the person's."""

    entry: Mapping[str, Any]
    zones: tuple[str, ...] = ()
    before: tuple[tuple[str, datetime], ...] = ()

    def count(self, made: Iterable[datetime], now: datetime) -> int:
        """How many of these instants lie in the window at `now`: of several windows, the most."""
        instants = list(made)
        if "calendar" not in self.entry:
            span = _span(self.entry["window"])
            return sum(now - span < at <= now for at in instants)
        return max(
            sum(self._period(at, zone) == self._period(now, zone) for at in instants)
            for zone in self._zones(now)
        )

    def next_at(self, made: Iterable[datetime], now: datetime) -> datetime | None:
        """When fewer than the limit lie in every window, if nothing else happens."""
        instants = list(made)
        if self.entry["limit"] == 0:
            return None
        return next(
            at
            for at in self._changes(instants, now)
            if self.count(instants, at) < self.entry["limit"]
        )

    def _changes(self, instants: list[datetime], now: datetime) -> Iterable[datetime]:
        """Every instant from now on at which the count may fall, in order."""
        yield now
        if "calendar" not in self.entry:
            freed = [at + _span(self.entry["window"]) for at in instants]
            yield from sorted(at for at in freed if at > now)
            return
        named = {*self.zones, *(name for name, _ in self.before)}
        if self.entry["tz"] != "person":
            named = {self.entry["tz"]}
        found = set()
        for zone in named:
            day = now.astimezone(ZoneInfo(zone)).date()
            for ahead in range(-1, {"day": 3, "week": 9, "month": 34}[self.entry["calendar"]]):
                found |= _starts(day + timedelta(days=ahead), zone)
        yield from sorted(at for at in found if at > now)

    def _zones(self, now: datetime) -> list[str]:
        if self.entry["tz"] != "person":
            return [self.entry["tz"]]
        # A zone counts that was the person's at any time of its window.
        left = [
            zone
            for zone, until in self.before
            if self._period(until, zone) == self._period(now, zone) or until > now
        ]
        return [*self.zones, *left]

    def _period(self, at: datetime, zone: str) -> date:
        """The first day of the day, week or month that an instant is in."""
        day = at.astimezone(ZoneInfo(zone)).date()
        match self.entry["calendar"]:
            case "day":
                return day
            case "month":
                return date(day.year, day.month, 1)
        first = {"monday": "Mon", "sunday": "Sun"}[self.entry["week_start"]]
        while day.strftime("%a") != first:
            day -= timedelta(days=1)
        return day


def _span(text: str) -> timedelta:
    unit = text.lstrip("0123456789")
    hours = {"h": 1, "d": 24, "w": 168, "mo": 720}[unit]
    return timedelta(hours=hours * int(text.removesuffix(unit)))


def _starts(day: date, zone: str) -> set[datetime]:
    """The instant at which a day begins in a zone, found by looking at every quarter of an hour."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while at.astimezone(ZoneInfo(zone)).date() < day:
        at += timedelta(minutes=15)
    return {at}
