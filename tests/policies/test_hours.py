"""Wall-clock windows, held against a model that walks through the minutes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import hours
from tests.world import at

PROPERTY = settings(max_examples=120, deadline=None, derandomize=True, database=None)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MIDNIGHT = time.max

# Each zone with days around its changes of the clock, and one ordinary day.
DAYS: Mapping[str, tuple[date, ...]] = {
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1), date(2026, 7, 4)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 4)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4), date(2026, 7, 4)),
    "Asia/Kathmandu": (date(2026, 3, 29), date(2026, 7, 4)),
    "Africa/Cairo": (date(2026, 4, 24), date(2026, 10, 29)),  # changes at midnight
}
SPAN = 4  # days to either side


@lru_cache(maxsize=64)
def clock(name: str, day: date) -> tuple[tuple[datetime, ...], Mapping[datetime, list[datetime]]]:
    """Every minute around a day, and the minutes at which a clock there shows a wall time.

    A wall time that is skipped is shown by two clocks: one not yet changed, one changed already.
    """
    begin = datetime.combine(day, time(12), tzinfo=UTC) - SPAN * DAY
    minutes = tuple(begin + n * MINUTE for n in range(2 * SPAN * 1440))
    shown: dict[datetime, list[datetime]] = defaultdict(list)
    changes = []
    before = None
    for minute in minutes:
        local = minute.astimezone(ZoneInfo(name))
        shown[local.replace(tzinfo=None, fold=0)].append(minute)
        offset = local.utcoffset()
        assert offset is not None
        if before is not None and offset > before:
            changes.append((minute, before, offset))
        before = offset
    for change, old, new in changes:
        skipped = change.replace(tzinfo=None) + old
        while skipped < change.replace(tzinfo=None) + new:
            shown[skipped] += [(skipped - gap).replace(tzinfo=UTC) for gap in (old, new)]
            skipped += MINUTE
    return minutes, shown


@lru_cache(maxsize=512)
def openings(name: str, day: date, opens: time, closes: time) -> frozenset[datetime]:
    """The minutes that lie inside the window of some day: the model."""
    minutes, shown = clock(name, day)
    inside: set[datetime] = set()
    for ahead in range(-SPAN + 1, SPAN - 1):
        first = day + ahead * DAY
        last = first if closes > opens else first + DAY
        end = (
            datetime.combine(last + DAY, time(0))
            if closes == MIDNIGHT
            else datetime.combine(last, closes)
        )
        start_at = max(shown[datetime.combine(first, opens)])
        end_at = min(shown[end])
        inside |= {minute for minute in minutes if start_at <= minute < end_at}
    return frozenset(inside)


walls = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))
windows = st.tuples(walls, st.one_of(walls, st.just(MIDNIGHT))).filter(lambda w: w[0] != w[1])
places = st.sampled_from([(name, day) for name, days in DAYS.items() for day in days])
seconds = st.integers(-36 * 3600, 36 * 3600)


def around(day: date, offset: int) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC) + timedelta(seconds=offset)


@PROPERTY
@given(places, windows, seconds)
def test_open_as_the_minutes_say(
    place: tuple[str, date], window: tuple[time, time], offset: int
) -> None:
    """A window is open at exactly the minutes at which the model says so."""
    (name, day), (opens, closes) = place, window
    moment = around(day, offset)
    expected = moment.replace(second=0) in openings(name, day, opens, closes)
    assert hours.is_open(moment, opens, closes, name) == expected


@PROPERTY
@given(places, windows, seconds)
def test_closes_as_the_minutes_say(
    place: tuple[str, date], window: tuple[time, time], offset: int
) -> None:
    """Up to the instant that a window is said to close it is open, to the last minute."""
    (name, day), (opens, closes) = place, window
    moment = around(day, offset)
    closing = hours.closes_at(moment, opens, closes, name)
    inside = openings(name, day, opens, closes)
    assert (closing is None) == (moment.replace(second=0) not in inside)
    if closing is not None:
        minute = moment.replace(second=0)
        while minute < closing:
            assert minute in inside
            minute += MINUTE


@PROPERTY
@given(st.lists(places, min_size=1, max_size=1), windows, seconds, st.data())
def test_next_open_as_the_minutes_say(
    chosen: list[tuple[str, date]], window: tuple[time, time], offset: int, data: st.DataObject
) -> None:
    """The next opening is the first instant at which the window is open in every zone."""
    (_, day), (opens, closes) = chosen[0], window
    names = data.draw(st.lists(st.sampled_from(sorted(DAYS)), min_size=1, max_size=3, unique=True))
    moment = around(day, offset)
    found = hours.next_open(moment, opens, closes, names)
    common = frozenset.intersection(*(openings(name, day, opens, closes) for name in names))
    if moment.replace(second=0) in common:
        assert found == moment
        return
    until = around(day, 0) + (SPAN - 2) * DAY  # beyond, the model does not see every window
    later = min((minute for minute in common if minute > moment), default=until)
    if later < until:
        assert found == later
    else:
        assert found is None or found >= until


KNOWN = [
    # an hour that comes twice: opens at its second coming, closes at its first
    ("01:30-22:00", "America/New_York", "2026-11-01T05:45:00Z", "2026-11-01T06:30:00Z"),
    ("08:00-01:30", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-01T13:00:00Z"),
    # an hour that is left out: opens late, closes early
    ("02:30-22:00", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z"),
    ("08:00-02:30", "America/New_York", "2026-03-08T06:30:00Z", "2026-03-08T12:00:00Z"),
    # half an hour that comes twice
    ("01:45-22:00", "Australia/Lord_Howe", "2026-04-04T14:50:00Z", "2026-04-04T15:15:00Z"),
    # a quarter of an hour off
    ("08:00-21:00", "Asia/Kathmandu", "2026-07-04T00:00:00Z", "2026-07-04T02:15:00Z"),
    # overnight, and up to midnight
    ("21:00-08:00", "Europe/Berlin", "2026-07-04T06:00:00Z", "2026-07-04T19:00:00Z"),
    ("08:00-24:00", "Europe/Berlin", "2026-07-04T22:00:00Z", "2026-07-05T06:00:00Z"),
    # a window that its day leaves no minute of
    ("01:10-01:20", "America/New_York", "2026-11-01T05:00:00Z", "2026-11-02T06:10:00Z"),
]


@pytest.mark.parametrize(("window", "name", "moment", "opening"), KNOWN)
def test_known_openings(window: str, name: str, moment: str, opening: str) -> None:
    """Where a wall time is ambiguous or missing, the closed side wins."""
    opens, closes = (
        MIDNIGHT if text == "24:00" else time.fromisoformat(text) for text in window.split("-")
    )
    assert hours.next_open(at(moment), opens, closes, [name]) == at(opening)


def test_midnight_is_the_end_of_the_day() -> None:
    """A close of 24:00 is the first instant of the next day, and one that starts it is open."""
    closing = hours.closes_at(at("2026-07-04T12:00:00Z"), time(8), MIDNIGHT, "Europe/Berlin")
    assert closing == at("2026-07-04T22:00:00Z")


def test_a_whole_day_is_always_open() -> None:
    """00:00-24:00 has no gap between two ordinary days."""
    for minute in range(2880):
        moment = at("2026-07-04T00:00:00Z") + minute * MINUTE
        assert hours.is_open(moment, time(0), MIDNIGHT, "Europe/Berlin")


def test_no_zone_is_no_window() -> None:
    """Where no zone is known there is no next opening."""
    assert hours.next_open(at("2026-07-04T00:00:00Z"), time(8), time(21), []) is None


def test_windows_that_never_meet() -> None:
    """Where no hour is open in every zone there is no next opening."""
    names = ["Pacific/Honolulu", "Asia/Tokyo", "Europe/Berlin"]
    assert hours.next_open(at("2026-07-04T00:00:00Z"), time(9), time(12), names) is None
