"""One winner for each person, brand and part of the day."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import ConfigurationError
from domain.verdict import Denial, Hold, Permit, Verdict, objections
from domain.windows import DayParts
from policies.guard import Guard
from tests import world
from tests.agents.test_approvals import ask
from tests.policies.test_caps import ZONES, instants
from tests.shop import Shop, cart, consent, open_shop
from tests.world import at, candidate, contact, context

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
PARTS = ["06:00", "12:00", "18:00"]
SLOT = {"id": "part", "day_parts": PARTS, "purposes": ["promo"]}
MAIL = "a@shop.example"
MINUTE = timedelta(minutes=1)


def judged(asked: Any, of: Any = None, **entry: Any) -> Verdict:
    by = Guard(world.policies({"slots": [{**SLOT, **entry}]}), {})
    return by.review(world.proposal(of or candidate()), asked)


def berlin(now: str, *made: Any, **more: Any) -> Any:
    return context(now=at(now), zone_of_person="Europe/Berlin", contacts=made, **more)


def test_one_contact_has_the_part_of_the_day_and_the_next_has_the_next() -> None:
    """11:59 in Berlin is the morning that was taken at 06:00; 12:00 is another part."""
    taken = contact("2026-11-23T05:00:00Z")  # 06:00 there
    verdict = judged(berlin("2026-11-23T10:59:59.999Z", taken))
    assert isinstance(verdict, Denial)
    (finding,) = objections(verdict)
    assert (finding.code, finding.rule) == ("slot_taken", "part")
    assert verdict.next_eligible_at == finding.clears_at == at("2026-11-23T11:00:00Z")
    assert finding.read == {
        "per": "person",
        "count": 1,
        "limit": 1,
        "window": "day_part",
        "starts": PARTS,
        "zones": ["Europe/Berlin"],
    }
    assert isinstance(judged(berlin("2026-11-23T11:00:00Z", taken)), Permit)


def test_the_last_part_lasts_into_the_night() -> None:
    """What was sent at 19:00 has the slot until 06:00."""
    taken = contact("2026-11-23T18:00:00Z")
    verdict = judged(berlin("2026-11-24T04:30:00Z", taken), on_taken="defer")
    assert isinstance(verdict, Hold)
    assert verdict.next_eligible_at == at("2026-11-24T05:00:00Z")


def test_a_slot_is_one_brands() -> None:
    """What another brand said takes nothing from this one."""
    other = contact("2026-11-23T10:00:00Z", brand="bank")
    assert isinstance(judged(berlin("2026-11-23T10:30:00Z", other)), Permit)


def test_what_waits_for_a_yes_has_the_slot_unless_the_next_may_have_it() -> None:
    """`while_held` says whether a request occupies the part of the day."""
    held = contact("2026-11-23T10:00:00Z", state="held")
    assert isinstance(judged(berlin("2026-11-23T10:30:00Z", held)), Denial)
    assert isinstance(judged(berlin("2026-11-23T10:30:00Z", held), while_held="next"), Permit)
    made = contact("2026-11-23T10:00:00Z")
    assert isinstance(judged(berlin("2026-11-23T10:30:00Z", made), while_held="next"), Denial)


def test_a_permit_dies_with_its_part_of_the_day() -> None:
    """What was permitted for the morning is not sent at noon."""
    verdict = judged(berlin("2026-11-23T10:59:59Z"))
    assert isinstance(verdict, Permit)
    assert verdict.not_after == at("2026-11-23T11:00:00Z")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (["12:00", "06:00"], "day parts out of order"),
        (["06:00", "06:00"], "day parts out of order"),
        (["6:00"], "it is no time of day"),
        ([], "at least 1"),
    ],
)
def test_parts_that_cannot_be_meant_are_refused(parts: list[str], says: str) -> None:
    """The error names the entry and how to write it."""
    with pytest.raises(ConfigurationError, match=says) as told:
        world.policies({"slots": [{**SLOT, "day_parts": parts}]})
    assert told.value.place is not None
    assert told.value.place.startswith("policies/test.yaml:")


@PROPERTY
@given(
    instants,
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 95), min_size=1, max_size=4),
    st.lists(st.integers(-1500, 1500), max_size=6),
)
def test_parts_are_as_a_clock_on_the_wall_says(
    now: datetime, zone: str, quarters: set[int], offsets: list[int]
) -> None:
    """Two instants are in one part where no start was shown between them, minute by minute."""
    starts = [timedelta(minutes=15 * quarter) for quarter in sorted(quarters)]
    walls = [(datetime.min + start).time() for start in starts]
    window = DayParts("day", zone, starts=tuple(walls))
    start, end = window.bounds(now, zone)
    assert start <= now < end
    assert end - start <= timedelta(hours=27)
    shown = {f"{wall:%H:%M}" for wall in walls}

    def begins(at_: datetime) -> bool:
        return f"{at_.astimezone(ZoneInfo(zone)):%H:%M}" in shown

    def is_odd(day: datetime) -> bool:  # a clock that is changed shows a time twice, or never
        there = ZoneInfo(zone)
        around = [day + timedelta(hours=hours) for hours in range(-40, 41)]
        return len({one.astimezone(there).utcoffset() for one in around}) > 1

    if not is_odd(now):
        assert begins(start)
        assert begins(end)
        first = start.replace(second=0, microsecond=0) + MINUTE
        between = (first + n * MINUTE for n in range(int((end - first) / MINUTE)))
        assert not any(begins(one) for one in between)
    for offset in offsets:
        other = now + offset * MINUTE
        assert (window.bounds(other, zone) == (start, end)) is (start <= other < end)


def slots(more: str = "") -> dict[str, tuple[str, str]]:
    """The starter's shop with slots, and as many messages a day as one likes."""
    entry = f'slots:\n  - id: part\n    day_parts: ["06:00", "12:00", "18:00"]\n{more}\n'
    return {"policies/contact.yaml": ("frequency_caps:", f"{entry}frequency_caps:")}


def kept(shop: Shop) -> list[str]:
    return [one["state"] for one in shop.rows("contacts")]


def record(shop: Shop, line: dict[str, Any]) -> bytes:
    found = shop.deps.history.get(line["decision_id"]).record()
    assert found is not None
    return found


def test_journeys_of_different_teams_share_a_slot(tmp_path: Path) -> None:
    """What service asks a yes for has growth's slot too, unless the next may have it."""
    for while_held, is_taken in (("wait", True), ("next", False)):
        more = f"    while_held: {while_held}\n    purposes: [marketing]"
        with open_shop(tmp_path / while_held, changes=slots(more)) as shop:
            ask(shop)
            assert "held" in kept(shop)
            line = shop.one(cart("2026-10-05T17:05:00Z"))
            assert (b'["part","slot_taken"]' in record(shop, line)) is is_taken


def test_the_loser_of_a_slot_is_recorded_with_the_reason(tmp_path: Path) -> None:
    """A second cart of the morning finds the slot taken, and is told until when."""
    changes = slots("    tz: Europe/Berlin\n    purposes: [marketing]")
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(consent("granted", "2026-10-05T06:00:00Z", email=MAIL))
        first = shop.one(cart("2026-10-05T07:00:00Z"))
        assert first["action"] == "remind_by_email"
        second = shop.one(cart("2026-10-05T09:00:00Z", cart_id="k-2"))
        assert second["action"] == "cart_banner"
        assert b'["part","slot_taken"]' in record(shop, second)
