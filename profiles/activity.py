"""What somebody has done, as tallies that are bounded whatever the history and its order.

Every tally is a sum, a maximum, or the newest of a kind, so events may be added and fragments
joined in any order. They are kept sealed with the fragment and are erased with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

RECENT_MAX = 20
EVENT_DAYS = 90
PURCHASE_DAYS = 365


class Busy(NamedTuple):
    """How many events there were on one day."""

    day: int
    events: int


class Moment(NamedTuple):
    """One event: when, in microseconds since 1970 UTC, and its name."""

    at: int
    name: str


class Bought(NamedTuple):
    """What was bought on one day: how many purchases, and thousandths of the brand's currency."""

    day: int
    purchases: int
    thousandths: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What a person did with one brand. Days are UTC, counted from 1970-01-01.

    `recent` are the newest `RECENT_MAX` events, newest first. `events` counts by day over
    `EVENT_DAYS` up to the newest day, `bought` over `PURCHASE_DAYS`, `engaged` are days on which
    a channel's messages were answered, opened or followed. `purchases`, `first_at` and `last_at`
    (microseconds) are of all purchases ever.
    """

    recent: tuple[Moment, ...] = ()
    events: tuple[Busy, ...] = ()
    bought: tuple[Bought, ...] = ()
    engaged: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    purchases: int = 0
    first_at: int = 0
    last_at: int = 0


def joined(activities: Iterable[Activity]) -> Activity:
    """Several activities as one; in whatever order and grouping, the same."""
    whole = Activity()
    for other in activities:
        whole = _joined(whole, other)
    return whole


def _joined(one: Activity, other: Activity) -> Activity:
    if not one.recent or not other.recent:
        return one if one.recent else other
    both = one.purchases and other.purchases
    return Activity(
        tuple(sorted((*one.recent, *other.recent), reverse=True)[:RECENT_MAX]),
        _events(one.events, other.events),
        _bought(one.bought, other.bought),
        _engaged(one.engaged, other.engaged),
        one.purchases + other.purchases,
        min(one.first_at, other.first_at) if both else one.first_at or other.first_at,
        max(one.last_at, other.last_at),
    )


def _events(one: tuple[Busy, ...], other: tuple[Busy, ...]) -> tuple[Busy, ...]:
    by_day = dict(one)
    for day, events in other:
        by_day[day] = by_day.get(day, 0) + events
    return tuple(Busy(day, by_day[day]) for day in _newest(by_day, EVENT_DAYS))


def _bought(one: tuple[Bought, ...], other: tuple[Bought, ...]) -> tuple[Bought, ...]:
    if not other:
        return one
    by_day = {bought.day: bought for bought in one}
    for day, purchases, thousandths in other:
        had = by_day.get(day, Bought(day, 0, 0))
        by_day[day] = Bought(day, had.purchases + purchases, had.thousandths + thousandths)
    return tuple(by_day[day] for day in _newest(by_day, PURCHASE_DAYS))


def _engaged(
    one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]
) -> Mapping[str, tuple[int, ...]]:
    if not other:
        return one
    engaged = dict(one)
    for channel, days in other.items():
        kept = {*engaged.get(channel, ()), *days}
        engaged[channel] = tuple(_newest(kept, EVENT_DAYS))
    return engaged


def _newest(found: Collection[int], days: int) -> list[int]:
    """The days that are not that many or more before the newest, in order."""
    oldest = max(found) - days
    return sorted(day for day in found if day > oldest)
