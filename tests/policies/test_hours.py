"""Wall-clock windows, held against a model that walks through the minutes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import hours
from policies.hours import EVERY_DAY, Holidays, Hours, Window
from tests.world import at

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
PROPERTY = settings(
    max_examples=3000 if SOAK else 60, deadline=None, derandomize=True, database=None
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MIDNIGHT = time.max

# Each zone with days around its changes of the clock, and one ordinary day.
DAYS: Mapping[str, tuple[date, ...]] = {
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1), date(2026, 7, 4)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 4)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4), date(2026, 7, 4)),
    "Asia/Kathmandu": (date(2026, 3, 29), date(2026, 7, 4)),
    "Africa/Cairo": (date(2026, 4, 24), date(2026, 10, 29)),  # changes at midnight
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),  # and here an hour comes twice there
    "America/St_Johns": (date(2026, 3, 8), date(2026, 12, 31)),
}
SPAN = 6  # days to either side


@lru_cache(maxsize=256)
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


def openings(name: str, day: date, kept: Hours) -> bytearray:
    """For each minute around a day, whether these hours are open in that zone: the model."""
    minutes, shown = clock(name, day)
    inside = bytearray(len(minutes))

    def paint(start_at: datetime, end_at: datetime, value: int) -> None:
        start, end = ((at - minutes[0]) // MINUTE for at in (start_at, end_at))
        start, end = max(start, 0), min(max(end, 0), len(minutes))
        if start < end:
            inside[start:end] = bytes([value]) * (end - start)

    def wall(first: date, clock_shows: time) -> list[datetime]:
        if clock_shows == MIDNIGHT:
            first, clock_shows = first + DAY, time(0)
        return shown[datetime.combine(first, clock_shows)]

    around_it = [day + ahead * DAY for ahead in range(-SPAN + 1, SPAN - 1)]
    closed = [
        one
        for one in around_it
        if one.weekday() not in kept.days
        or one in kept.holidays.dates
        or (one.month, one.day) in kept.holidays.yearly
    ]
    for first in around_it:
        for window in kept.windows if first not in closed else ():
            last = first if window.close > window.open else first + DAY
            paint(max(wall(first, window.open)), min(wall(last, window.close)), 1)
    for first in closed:
        paint(min(wall(first, time(0))), max(wall(first, MIDNIGHT)), 0)
    return inside


walls = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))
windows = (
    st.tuples(walls, st.one_of(walls, st.just(MIDNIGHT)))
    .filter(lambda w: w[0] != w[1])
    .map(lambda w: Window(*w))
)
places = st.sampled_from([(name, day) for name, days in DAYS.items() for day in days])
seconds = st.integers(-36 * 3600, 36 * 3600)
some_days = st.one_of(st.just(EVERY_DAY), st.frozensets(st.integers(0, 6), min_size=1, max_size=6))


@st.composite
def kept_hours(draw: st.DrawFn, day: date) -> Hours:
    """Several windows a day, on some days of the week, with holidays about that day."""
    near = st.integers(-2, 2).map(lambda n: day + n * DAY)
    holidays = Holidays(
        draw(st.frozensets(near, max_size=1)),
        draw(st.frozensets(near.map(lambda one: (one.month, one.day)), max_size=1)),
    )
    chosen = draw(st.lists(windows, min_size=1, max_size=3))
    return Hours(tuple(chosen), draw(some_days), draw(st.sampled_from([Holidays(), holidays])))


def around(day: date, offset: int) -> datetime:
    return datetime.combine(day, time(12), tzinfo=UTC) + timedelta(seconds=offset)


def minute_of(moment: datetime, name: str, day: date) -> int:
    return (moment - clock(name, day)[0][0]) // MINUTE


@pytest.mark.soakable
@PROPERTY
@given(st.data(), places, seconds)
def test_open_as_the_minutes_say(data: st.DataObject, place: tuple[str, date], offset: int) -> None:
    """Hours are open at exactly the minutes at which the model says so."""
    name, day = place
    kept = data.draw(kept_hours(day))
    moment = around(day, offset)
    expected = bool(openings(name, day, kept)[minute_of(moment, name, day)])
    assert hours.is_open(moment, kept, name) == expected


@pytest.mark.soakable
@PROPERTY
@given(st.data(), places, seconds)
def test_closes_as_the_minutes_say(
    data: st.DataObject, place: tuple[str, date], offset: int
) -> None:
    """Hours close at the first minute that the model has closed."""
    name, day = place
    kept = data.draw(kept_hours(day))
    moment = around(day, offset)
    closing = hours.closes_at(moment, kept, name)
    inside, minute = openings(name, day, kept), minute_of(moment, name, day)
    if not inside[minute]:
        assert closing is None
        return
    assert closing is not None
    known = len(inside) - 3 * 1440  # beyond, the model does not see every window
    end = inside.find(0, minute)
    if 0 <= end < known:
        assert closing == clock(name, day)[0][end]
    else:
        assert minute_of(closing, name, day) >= known


@pytest.mark.soakable
@PROPERTY
@given(st.data(), places, seconds)
def test_next_open_as_the_minutes_say(
    data: st.DataObject, place: tuple[str, date], offset: int
) -> None:
    """The next opening is the first instant at which all hours are open, each in its zone."""
    _, day = place
    names = data.draw(st.lists(st.sampled_from(sorted(DAYS)), min_size=1, max_size=3))
    locals_ = tuple((data.draw(kept_hours(day)), name) for name in names)
    moment = around(day, offset)
    found = hours.next_open(moment, locals_)
    minute = minute_of(moment, names[0], day)
    common = _all([openings(name, day, kept) for kept, name in locals_])
    if common[minute]:
        assert found == moment
        return
    known = len(common) - 3 * 1440
    later = common.find(1, minute)
    if 0 <= later < known:
        assert found == clock(names[0], day)[0][later]
    else:
        assert found is None or minute_of(found, names[0], day) >= known


def _all(several: Sequence[bytearray]) -> bytes:
    return bytes(map(min, *several)) if len(several) > 1 else bytes(several[0])


@pytest.mark.soakable
@settings(PROPERTY, max_examples=300 if SOAK else 15)
@given(st.data())
def test_never_open_as_an_ordinary_week_says(data: st.DataObject) -> None:
    """Hours that never meet are those that share no minute of a week without changes."""
    monday = date(2026, 6, 15)
    several = [
        Hours(tuple(data.draw(st.lists(windows, min_size=1, max_size=2))), data.draw(some_days))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    begin = datetime.combine(monday, time(0), tzinfo=UTC)
    opened = [
        minute
        for minute in range(7 * 1440)
        if all(hours.is_open(begin + minute * MINUTE, kept, "Etc/UTC") for kept in several)
    ]
    assert hours.never_open(*several) == (not opened)
    told = [minute for start, end in hours.common(*several) for minute in range(start, end)]
    assert told == opened


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("08:00-23:59", ""),
        ("00:00-23:59", "mon 23:59-tue 00:00, tue 23:59-wed 00:00, wed 23:59-thu 00:00, "
         "thu 23:59-fri 00:00, fri 23:59-sat 00:00, sat 23:59-sun 00:00, sun 23:59-mon 00:00"),
        ("00:00-24:00", ""),
        ("10:00-13:00,14:00-20:00", ""),
        ("22:00-06:00", ""),
    ],
)  # fmt: skip
def test_gaps_that_nobody_meant(text: str, gaps: str) -> None:
    """A window that is closed for a minute is told of, one that is closed for the night is not."""
    assert hours.spoken(hours.gaps(Hours(_windows(text)))) == gaps


def test_gaps_of_two_that_meet() -> None:
    """What two leave open together may have a gap that neither has alone."""
    one, other = Hours(_windows("08:00-12:00,12:10-20:00"), frozenset((0,))), Hours()
    assert hours.spoken(hours.gaps(one, other)) == "mon 12:00-mon 12:10"
    assert hours.gaps(one, Hours(_windows("13:00-14:00"))) == ()
    assert hours.gaps(one, Hours(_windows("00:00-01:00"))) == ()


def _windows(text: str) -> tuple[Window, ...]:
    ends = (part.split("-") for part in text.split(","))
    return tuple(Window(*(_wall(end) for end in pair)) for pair in ends)


def _wall(text: str) -> time:
    return MIDNIGHT if text == "24:00" else time.fromisoformat(text)


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
    kept = Hours(_windows(window))
    assert hours.next_open(at(moment), ((kept, name),)) == at(opening)


@pytest.mark.parametrize(
    ("moment", "opening", "closing"),
    [
        # Monday's window, its second half, and the pause between
        ("2026-07-06T08:30:00Z", "2026-07-06T08:30:00Z", "2026-07-06T11:00:00Z"),
        ("2026-07-06T11:00:00Z", "2026-07-06T12:00:00Z", None),
        ("2026-07-06T12:00:00Z", "2026-07-06T12:00:00Z", "2026-07-06T18:00:00Z"),
        # Friday evening: Saturday and Sunday are closed
        ("2026-07-10T18:00:00Z", "2026-07-13T08:00:00Z", None),
        # the fourteenth of July is a holiday every year, the fifteenth of this one too
        ("2026-07-13T18:00:00Z", "2026-07-16T08:00:00Z", None),
        ("2027-07-14T12:00:00Z", "2027-07-15T08:00:00Z", None),
    ],
)
def test_several_windows_days_and_holidays(moment: str, opening: str, closing: str | None) -> None:
    """Calls in France: 10 to 13 and 14 to 20 on weekdays that are no holiday."""
    kept = Hours(
        _windows("10:00-13:00,14:00-20:00"),
        frozenset(range(5)),
        Holidays(frozenset((date(2026, 7, 15),)), frozenset(((7, 14),))),
    )
    assert hours.next_open(at(moment), ((kept, "Europe/Paris"),)) == at(opening)
    closes = hours.closes_at(at(moment), kept, "Europe/Paris")
    assert closes == (None if closing is None else at(closing))


def test_a_closed_day_ends_the_night_before_it() -> None:
    """An overnight window ends at the midnight that begins a closed day, and opens on none."""
    kept = Hours(_windows("21:00-08:00"), holidays=Holidays(yearly=frozenset(((12, 25),))))
    berlin = "Europe/Berlin"
    assert hours.closes_at(at("2026-12-24T21:00:00Z"), kept, berlin) == at("2026-12-24T23:00:00Z")
    opening = hours.next_open(at("2026-12-24T23:00:00Z"), ((kept, berlin),))
    assert opening == at("2026-12-26T20:00:00Z")


def test_a_closed_day_begins_at_its_first_midnight() -> None:
    """In Havana the clock shows midnight twice as November begins: the first one closes."""
    kept = Hours(_windows("21:00-08:00"), holidays=Holidays(yearly=frozenset(((11, 1),))))
    closing = hours.closes_at(at("2026-11-01T02:30:00Z"), kept, "America/Havana")
    assert closing == at("2026-11-01T04:00:00Z")
    opening = hours.next_open(at("2026-11-01T04:30:00Z"), ((kept, "America/Havana"),))
    assert opening == at("2026-11-03T02:00:00Z")


def test_midnight_is_the_end_of_the_day() -> None:
    """A close of 24:00 is the first instant of the next day, and one that starts it is open."""
    kept = Hours(_windows("08:00-24:00"))
    closing = hours.closes_at(at("2026-07-04T12:00:00Z"), kept, "Europe/Berlin")
    assert closing == at("2026-07-04T22:00:00Z")


def test_a_whole_day_is_always_open() -> None:
    """00:00-24:00 has no gap between two ordinary days, and does not close at midnight."""
    kept = Hours()
    for minute in range(2880):
        moment = at("2026-07-04T00:00:00Z") + minute * MINUTE
        assert hours.is_open(moment, kept, "Europe/Berlin")
    closing = hours.closes_at(at("2026-07-04T00:00:00Z"), kept, "Europe/Berlin")
    assert closing is not None
    assert closing > at("2026-07-11T00:00:00Z")


def test_no_zone_is_no_window() -> None:
    """Where no zone is known there is no next opening."""
    assert hours.next_open(at("2026-07-04T00:00:00Z"), ()) is None


def test_windows_that_never_meet() -> None:
    """Where no hour is open in every zone there is no next opening."""
    kept = Hours(_windows("09:00-12:00"))
    names = ["Pacific/Honolulu", "Asia/Tokyo", "Europe/Berlin"]
    assert hours.next_open(at("2026-07-04T00:00:00Z"), tuple((kept, n) for n in names)) is None


def test_a_far_opening_is_found() -> None:
    """One day a year is found from the day after the last one, and not beyond the horizon."""
    most = frozenset((month, day) for month in range(1, 13) for day in range(1, 32))
    kept = Hours(holidays=Holidays(yearly=most - {(7, 4)}))
    opening = hours.next_open(at("2026-07-05T12:00:00Z"), ((kept, "Europe/Berlin"),))
    assert opening == at("2027-07-03T22:00:00Z")
    closed = Hours(holidays=Holidays(yearly=most))
    assert hours.next_open(at("2026-07-05T12:00:00Z"), ((closed, "Europe/Berlin"),)) is None
