from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.context import Contact, Context, Tally
from domain.errors import ConfigurationError
from domain.proposal import Candidate
from domain.verdict import Denial, Finding, Hold, Permit, Verdict, objections
from domain.windows import Calendar, everywhere, midnight
from policies.guard import Guard
from tests import world
from tests.counting import Slow
from tests.world import NOW, at, candidate, contact, context, point

WEEK = {"id": "week", "limit": 2, "calendar": "week", "week_start": "monday", "tz": "person"}
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Honolulu",
    "Asia/Tokyo",
)
# Around the days that are short or long, the leap day, and the ends of months and years.
EDGES = tuple(
    at(text)
    for text in (
        "2026-03-29T00:30:00Z",
        "2026-10-25T00:30:00Z",
        "2026-03-08T06:30:00Z",
        "2026-11-01T04:30:00Z",
        "2026-04-23T22:00:00Z",
        "2028-02-29T12:00:00Z",
        "2028-02-28T23:59:59.999Z",
        "2026-12-31T23:00:00Z",
        "2026-11-30T14:00:00Z",
        "2026-11-22T22:30:00Z",
    )
)


def guard(**entry: Any) -> Guard:
    return Guard(world.policies({"frequency_caps": [entry]}), {})


def judged(by: Guard, asked: Context, of: Candidate | None = None) -> Verdict:
    return by.review(world.proposal(of or candidate()), asked)


def capped(verdict: Verdict) -> Finding:
    (finding,) = objections(verdict)
    assert finding.code == "frequency_cap"
    return finding


# Calendar windows


@pytest.mark.parametrize("start", ["monday", "sunday"])
def test_case_04_week_start(start: str) -> None:
    """The same two contacts are two of this week, or one, by the day on which weeks begin."""
    asked = context(
        now=at("2026-11-22T22:30:00Z"),
        zone_of_person="Europe/Berlin",
        contacts=(contact("2026-11-22T21:30:00Z"), contact("2026-11-21T12:00:00Z")),
    )
    verdict = judged(guard(**WEEK | {"week_start": start}), asked)
    if start == "sunday":
        assert isinstance(verdict, Permit)
        return
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at == at("2026-11-22T23:00:00Z")
    finding = capped(verdict)
    assert finding.reason == "at most 2 a week, Monday to Sunday in the customer's own time"
    assert finding.counterfactual == "wait until 2026-11-22 23:00:00Z"
    assert finding.read == {
        "per": "person",
        "count": 2,
        "limit": 2,
        "window": "week",
        "week_start": "monday",
        "zones": ["Europe/Berlin"],
    }


instants = st.builds(
    lambda edge, minutes: edge + timedelta(minutes=minutes),
    st.sampled_from(EDGES),
    st.integers(-3000, 3000),
)
TZ = st.sampled_from(["person"] * len(ZONES) + [*ZONES])
entries = st.one_of(
    st.fixed_dictionaries({"window": st.sampled_from(["1h", "24h", "7d", "1mo"])}),
    st.fixed_dictionaries(
        {
            "calendar": st.sampled_from(["day", "month"]),
            "tz": TZ,
        }
    ),
    st.fixed_dictionaries(
        {
            "calendar": st.just("week"),
            "tz": TZ,
            "week_start": st.sampled_from(["monday", "sunday"]),
        }
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    entries,
    st.integers(0, 3),
    instants,
    st.lists(st.integers(0, 34 * 24 * 60), max_size=8),
    st.sampled_from(ZONES),
    st.lists(st.tuples(st.sampled_from(ZONES), st.integers(0, 9 * 24 * 60)), max_size=2),
    st.booleans(),
)
def test_a_cap_counts_as_one_would_by_hand(
    entry: dict[str, Any],
    limit: int,
    now: datetime,
    ages: list[int],
    zone: str,
    left: list[tuple[str, int]],
    known: bool,
) -> None:
    """In any window position: count, verdict and next time are those of a slow count."""
    entry = {"id": "cap", "limit": limit, **entry}
    before = tuple((name, now - timedelta(minutes=age)) for name, age in dict(left).items())
    before = tuple((name, until) for name, until in before if name != zone)
    made = sorted((now - timedelta(minutes=age) for age in ages), reverse=True)
    where: dict[str, Any] = {"zone_of_person": zone, "zones_before": before}
    slow = Slow(entry, (zone,), before)
    if not known:  # what the address and the numbers say, all of it
        numbers = ("Asia/Tokyo", "America/New_York")
        number = point(world.PHONE, "phone", zones=numbers)
        where = {"zones_of_address": (zone,), "contact_points": (point(), number)}
        slow = Slow(entry, (zone, *numbers))
    asked = context(now=now, contacts=tuple(contact(when) for when in made), **where)
    asked = replace(asked, consents=(world.grant("2020-01-01T00:00:00Z"),))
    verdict = judged(guard(**entry), asked)
    assert isinstance(verdict, Permit) is (slow.count(made, now) < limit)
    if isinstance(verdict, Denial):
        assert capped(verdict).read["count"] == slow.count(made, now)
        assert verdict.next_eligible_at == slow.next_at(made, now)


@pytest.mark.parametrize(
    ("left", "clears"), [("2026-11-22T12:00:00Z", "2026-11-23T10:00:00Z"), ("2026-11-15", None)]
)
def test_who_moves_is_counted_by_both_calendars(left: str, clears: str | None) -> None:
    """Sunday in Honolulu lasts on for who left for Tokyo that week, not for who left before it."""
    asked = context(
        now=at("2026-11-22T20:00:00Z"),  # Monday morning in Tokyo
        zone_of_person="Asia/Tokyo",
        zones_before=(("Pacific/Honolulu", at(left)),),
        contacts=(contact("2026-11-22T14:00:00Z"),),
    )
    verdict = judged(guard(**WEEK | {"limit": 1}), asked)
    assert isinstance(verdict, Permit) is (clears is None)
    if clears is not None:
        assert verdict.next_eligible_at == at(clears)  # type: ignore[union-attr]
        assert capped(verdict).read["zones"] == ["Asia/Tokyo", "Pacific/Honolulu"]


def test_where_nothing_says_where_somebody_is_every_zone_counts() -> None:
    """A contact of a person of nowhere counts until its day is over everywhere."""
    entry = {"id": "cap", "limit": 1, "calendar": "day", "tz": "person"}
    made = at("2026-11-22T11:30:30Z")
    verdict = judged(guard(**entry), context(now=made, contacts=(contact(made),)))
    assert capped(verdict).read["zones"] == ["any"]
    expected = Slow(entry, everywhere()).next_at([made], made)
    assert isinstance(verdict, Denial) and verdict.next_eligible_at == expected
    assert expected is not None and expected - made > timedelta(hours=23)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(everywhere()), instants, st.sampled_from(["day", "week", "month"]))
@example("America/St_Johns", at("2006-10-29T02:45:00Z"), "day")
@example("Pacific/Apia", at("2011-12-30T10:00:00Z"), "day")
def test_windows_part_time_without_gaps(zone: str, when: datetime, unit: Any) -> None:
    """Every instant is in exactly one window of a zone, and the next begins where it ends."""
    window = Calendar(unit, zone)
    start, end = window.bounds(when, zone)
    assert start <= when < end
    assert window.bounds(end, zone)[0] == end
    assert window.bounds(start, zone) == window.bounds(end - timedelta(microseconds=1), zone)


def test_a_day_begins_once_where_the_clock_goes_back_over_midnight() -> None:
    """St John's put its clocks back at 00:01: the minute before is not a day of its own."""
    day = datetime(2006, 10, 29, tzinfo=UTC).date()
    assert midnight(day, "America/St_Johns") == at("2006-10-29T03:30:00Z")
    assert (
        midnight(day.replace(month=11, day=1), "America/St_Johns")
        .astimezone(ZoneInfo("America/St_Johns"))
        .isoformat()
        == "2006-11-01T00:00:00-03:30"
    )


def test_a_permit_ends_with_the_calendar_window() -> None:
    """What counts in this window is not sent in the next; a rolling window never ends."""
    late = context(now=at("2026-11-22T22:59:30Z"), zone_of_person="Europe/Berlin")
    day = {"id": "day", "limit": 1, "calendar": "day", "tz": "person"}
    verdict = judged(guard(**day), late)
    assert isinstance(verdict, Permit) and verdict.not_after == at("2026-11-22T23:00:00Z")
    free = judged(guard(**day), late, candidate(obeys_caps=False))
    assert isinstance(free, Permit) and free.not_after == at("2026-11-22T23:00:00Z")
    rolling = judged(guard(id="day", limit=1, window="1d"), late)
    assert isinstance(rolling, Permit) and rolling.not_after == at("2026-11-22T23:00:30Z")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"window": "90m"}, "at most 2 in 90 minutes"),
        ({"window": "1d"}, "at most 2 in 24 hours"),
        ({"window": "1mo"}, "at most 2 in 30 days"),
        (
            {"calendar": "week", "week_start": "monday", "tz": "Europe/Berlin"},
            "at most 2 a week, Monday to Sunday in Europe/Berlin",
        ),
        (
            {"calendar": "week", "week_start": "sunday", "tz": "UTC"},
            "at most 2 a week, Sunday to Saturday in UTC",
        ),
        ({"calendar": "day", "tz": "UTC"}, "at most 2 a day, midnight to midnight in UTC"),
        (
            {"calendar": "month", "tz": "person"},
            "at most 2 a month, first to last day in the customer's own time",
        ),
    ],
)
def test_a_cap_says_its_window_in_words(entry: dict[str, Any], reason: str) -> None:
    """Who reads the reason knows the window."""
    (cap,) = world.policies({"frequency_caps": [{"id": "c", "limit": 2, **entry}]}).caps
    assert cap.reason == reason  # type: ignore[attr-defined]


CAP = "frequency_caps:\n  - id: c\n    limit: 2\n"


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("", 2, "cap `c` has no `window`"),
        ("    calendar: week\n    tz: UTC\n", 4, "counts by the week and has no `week_start`"),
        ("    calendar: day\n", 4, "counts by the day and has no `tz`"),
        ("    window: 7d\n    calendar: day\n    tz: UTC\n", 5, "a `window` and a `calendar`"),
        ("    window: 7d\n    tz: UTC\n", 5, "has a `tz`, which its `window`"),
        (
            "    calendar: day\n    tz: UTC\n    week_start: monday\n",
            6,
            "counts by the day and has a `week_start`",
        ),
        ("    calendar: day\n    tz: Mars/Base\n", 5, "`frequency_caps[0].tz"),
    ],
)
def test_an_unclear_window_is_refused_with_its_line(text: str, line: int, cause: str) -> None:
    """A cap of which nobody can say what it counts is no cap."""
    with pytest.raises(ConfigurationError) as refused:
        world.policies(CAP + text)
    assert refused.value.place == f"policies/test.yaml:{line}"
    assert cause in refused.value.cause
    assert refused.value.remedy


# Scopes

OTHERS: dict[str, dict[str, Any]] = {
    "brand": {"brand": "bank"},
    "channel": {"channel": "sms"},
    "purpose": {"purpose": "service"},
    "topic": {"topic": "news"},
    "journey": {"journey": "welcome"},
    "team": {"team": "service"},
    "group": {"groups": ("alerts",)},
}
OWN: dict[str, Any] = {
    "brand": "shop",
    "channel": "email",
    "purpose": "promo",
    "topic": "carts",
    "journey": "cart",
    "team": "growth",
    "groups": ("a", "offers"),
}
NAMES = {**{key: value for key, value in OWN.items() if key != "groups"}, "group": "offers"}


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(OTHERS))),
    st.lists(st.sets(st.sampled_from(sorted(OTHERS))), max_size=4),
)
def test_a_contact_counts_where_it_fits_every_part_of_the_scope(
    scoped: set[str], differing: list[set[str]]
) -> None:
    """Any combination of dimensions: a contact that differs in one of them is none of the cap's."""
    among = {f"{name}s": [NAMES[name]] for name in scoped}
    by = guard(id="c", limit=1, window="7d", **among)
    of = candidate(topic="carts", groups=("a", "offers"))
    for differs in differing:
        made: dict[str, Any] = dict(OWN)
        for name in differs:
            made |= OTHERS[name]
        asked = context(contacts=(contact(NOW - timedelta(days=1), **made),))
        assert isinstance(judged(by, asked, of), Denial) is not bool(scoped & differs)
        elsewhere = replace(asked, contacts=(contact(NOW - timedelta(days=1), **OWN),))
        verdict = judged(by, elsewhere, replace(of, journey="welcome"))
        assert isinstance(verdict, Denial) is ("journey" not in scoped)


# What counts


def finding(by: Guard, *made: Contact, **more: Any) -> Verdict:
    return judged(by, context(contacts=made, **more))


def test_what_failed_counts_as_an_attempt_alone() -> None:
    """A refused message is an attempt, one that bounced is accepted, and neither is delivered."""
    hour = NOW - timedelta(hours=1)
    for counts, failed, undelivered in (
        ("attempt", True, True),
        ("accepted", False, True),
        ("delivered", False, False),
    ):
        by = guard(id="c", limit=1, window="1d", counts=counts)
        assert isinstance(finding(by, contact(hour)), Denial)
        assert isinstance(finding(by, contact(hour, state="failed")), Denial) is failed
        assert isinstance(finding(by, contact(hour, state="undelivered")), Denial) is undelivered


def test_a_conversation_counts_once() -> None:
    """Messages of one day on one channel at one address are one; the next one needs room."""
    by = guard(id="c", limit=1, window="7d", counts="conversation")
    first = contact(NOW - timedelta(hours=23))
    more = contact(NOW - timedelta(hours=1), continues=True)
    assert isinstance(finding(by, more, first), Permit)
    over = replace(first, at=NOW - timedelta(hours=24))
    verdict = finding(by, more, over)
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at == over.at + timedelta(days=7)
    assert capped(verdict).read["counts"] == "conversation"
    for other in (replace(first, channel="sms"), replace(first, contact_point="elsewhere")):
        assert isinstance(finding(by, other), Denial)


def test_a_household_is_counted_for_all_its_members() -> None:
    """A contact to anybody of the household counts; where there is none, nothing does."""
    by = guard(id="c", limit=1, window="7d", per="household")
    theirs = contact(NOW - timedelta(hours=1), profile_id="p-2", household="h-1")
    assert isinstance(finding(by, theirs, household="h-1"), Denial)
    assert isinstance(finding(by, theirs, household="h-2"), Permit)
    assert isinstance(finding(by, theirs), Permit)
    mine = replace(theirs, profile_id=world.PERSON, household=None)
    assert isinstance(finding(by, mine, household="h-1"), Denial)


# Tallies and limits


def test_a_tally_speaks_for_the_contacts() -> None:
    """What was counted in the store decides, and says when it will be less."""
    by = guard(id="c", limit=2, window="7d")
    last = NOW - timedelta(days=2)
    full = context(tallies=(Tally("c", None, 5, last, 2),))
    verdict = judged(by, full)
    assert isinstance(verdict, Denial) and verdict.next_eligible_at == last + timedelta(days=7)
    assert capped(verdict).read["count"] == 5
    assert isinstance(judged(by, context(tallies=(Tally("c", None, 1, None, 2),))), Permit)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 12 * 24), max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
    st.booleans(),
)
def test_lowering_a_cap_never_grants(ages: list[int], high: int, low: int, tallied: bool) -> None:
    """What a higher limit forbids, a lower one does, however it was counted, and no sooner ends."""
    high, low = max(high, low), min(high, low)
    made = tuple(contact(NOW - timedelta(hours=age)) for age in sorted(ages))
    asked = context(contacts=made)
    if tallied and high:
        inside = [one.at for one in made if one.at > NOW - timedelta(days=7)]
        nth = inside[high - 1] if len(inside) >= high else None
        asked = context(tallies=(Tally("c", None, len(inside), nth, high),))
    before = judged(guard(id="c", limit=high, window="7d"), asked)
    after = judged(guard(id="c", limit=low, window="7d"), asked)
    if isinstance(before, Denial):
        assert isinstance(after, Denial)
        if before.next_eligible_at is not None and after.next_eligible_at is not None:
            assert after.next_eligible_at >= before.next_eligible_at


def test_one_rule_less_leaves_the_others_as_they_were() -> None:
    """Removing a cap resets nothing that another one counts."""
    made = tuple(contact(NOW - timedelta(hours=n)) for n in (1, 2))
    day = {"id": "day", "limit": 2, "window": "1d"}
    both = Guard(world.policies({"frequency_caps": [day, {**day, "id": "other"}]}), {})
    one = guard(**day)
    said = [f for f in objections(judged(both, context(contacts=made))) if f.rule == "day"]
    assert [(f.code, f.read, f.clears_at) for f in said] == [
        (f.code, f.read, f.clears_at) for f in objections(judged(one, context(contacts=made)))
    ]


def test_a_limit_of_none_is_never_free_again() -> None:
    """A cap of zero has no next time, by whatever window, and waits for nothing."""
    for entry in ({"window": "7d"}, {"calendar": "day", "tz": "UTC"}):
        for on_capped in ("drop", "defer"):
            verdict = judged(guard(id="c", limit=0, on_capped=on_capped, **entry), context())
            assert isinstance(verdict, Denial) and verdict.next_eligible_at is None
            assert capped(verdict).counterfactual == "raise the limit"


def test_a_cap_that_defers_holds_until_the_next_window() -> None:
    """`on_capped: defer` holds for time, until the week is over."""
    made = (contact("2026-11-23T10:00:00Z"),)
    entry = WEEK | {"limit": 1, "on_capped": "defer", "tz": "Europe/Berlin"}
    verdict = judged(guard(**entry), context(contacts=made))
    assert isinstance(verdict, Hold) and verdict.held_for == "time"
    assert verdict.next_eligible_at == at("2026-11-29T23:00:00Z")
