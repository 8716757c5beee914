"""What may be given away in a period: money is reserved and released like stock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from domain.action import Money

Period = Literal["day", "month", "year", "ever"]


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `amount` of offers in any calendar `period` of the zone; None is no limit of scope.

    Its counter is one a period, its contention key one for all of them.
    """

    name: str
    amount: Money
    period: Period
    zone: str = "UTC"
    purposes: frozenset[str] | None = None
    journeys: frozenset[str] | None = None
    teams: frozenset[str] | None = None
    brands: frozenset[str] | None = None

    def began(self, at: datetime) -> str:
        """The first day of the period that `at` lies in, as it is written; `ever` without one."""
        first = self._first(at)
        return "ever" if first is None else first.isoformat()

    def ends_at(self, at: datetime) -> datetime | None:
        """When the period that `at` lies in is over, exclusive."""
        first = self._first(at)
        if first is None:
            return None
        match self.period:
            case "day":
                following = first + timedelta(days=1)
            case "month":
                following = (first + timedelta(days=31)).replace(day=1)
            case _:
                following = first.replace(year=first.year + 1)
        return datetime.combine(following, time.min, ZoneInfo(self.zone)).astimezone(UTC)

    def _first(self, at: datetime) -> date | None:
        today = at.astimezone(ZoneInfo(self.zone)).date()
        match self.period:
            case "day":
                return today
            case "month":
                return today.replace(day=1)
            case "year":
                return today.replace(month=1, day=1)
            case "ever":
                return None
