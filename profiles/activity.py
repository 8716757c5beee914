"""What somebody has done, as tallies that are bounded whatever the history and its order.

Every tally is a sum, a maximum, or the newest of a kind, so events may be added and fragments
joined in any order. They are kept sealed with the fragment and are erased with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

RECENT_MAX = 20
EVENT_DAYS = 90
PURCHASE_DAYS = 365
THINGS_MAX = 50


class Busy(NamedTuple):
    """How many events there were on one day."""

    day: int
    events: int


class Moment(NamedTuple):
    """One event: when, in microseconds since 1970 UTC, its name, and the channel that it names."""

    at: int
    name: str
    channel: str = ""


class Bought(NamedTuple):
    """What was bought on one day: how many purchases, and thousandths of the brand's currency."""

    day: int
    purchases: int
    thousandths: int


class Occasion(NamedTuple):
    """The last time, in microseconds, that an event was about one thing.

    `match` is the property that tells things apart, `key` its value; empty for what cannot be told
    apart, and for the things beyond the newest `THINGS_MAX` taken together.
    """

    event: str
    match: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What a person did with one brand. Days are UTC, counted from 1970-01-01.

    `recent` are the newest `RECENT_MAX` events, newest first. `events` counts by day over
    `EVENT_DAYS` up to the newest day, `bought` over `PURCHASE_DAYS`, `engaged` are days on which
    a channel's messages were answered, opened or followed. `purchases`, `first_at` and `last_at`
    (microseconds) are of all purchases ever. `occasions` are of the events that begin cool-offs.
    """

    recent: tuple[Moment, ...] = ()
    events: tuple[Busy, ...] = ()
    bought: tuple[Bought, ...] = ()
    engaged: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    purchases: int = 0
    first_at: int = 0
    last_at: int = 0
    occasions: tuple[Occasion, ...] = ()


_NOTHING = Activity()


def joined(activities: Iterable[Activity]) -> Activity:
    """Several activities as one; in whatever order and grouping, the same."""
    busy = [activity for activity in activities if activity.recent]
    return reduce(_joined, busy) if busy else _NOTHING


def _joined(one: Activity, other: Activity) -> Activity:
    both = one.purchases and other.purchases
    return Activity(
        tuple(sorted((*one.recent, *other.recent), reverse=True)[:RECENT_MAX]),
        _events(one.events, other.events),
        _bought(one.bought, other.bought),
        _engaged(one.engaged, other.engaged),
        one.purchases + other.purchases,
        min(one.first_at, other.first_at) if both else one.first_at or other.first_at,
        max(one.last_at, other.last_at),
        _occasions(one.occasions, other.occasions),
    )


def last_of(occasions: Iterable[Occasion]) -> tuple[Occasion, ...]:
    """The last occasion of each thing, in order: the newest things by name, the rest as one.

    Whatever is once among the rest stays older than `THINGS_MAX` others, so the rest's maximum is
    the same in any order and grouping.
    """
    last: dict[tuple[str, str], dict[str, int]] = {}
    for event, match, key, at in occasions:
        things = last.setdefault((event, match), {})
        things[key] = max(at, things.get(key, at))
    kept = []
    for (event, match), things in sorted(last.items()):
        unnamed = [things.pop("")] if "" in things else []
        newest = sorted(things.items(), key=lambda thing: (-thing[1], thing[0]))
        unnamed += [at for _, at in newest[THINGS_MAX:]]
        if unnamed:
            kept.append(Occasion(event, match, "", max(unnamed)))
        kept += [Occasion(event, match, key, at) for key, at in sorted(newest[:THINGS_MAX])]
    return tuple(kept)


def _occasions(one: tuple[Occasion, ...], other: tuple[Occasion, ...]) -> tuple[Occasion, ...]:
    return last_of((*one, *other)) if other and one else one or other


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
