"""Quiet hours as they are written, and what is said of those that cannot be meant."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.context import Jurisdiction
from domain.errors import ConfigurationError
from domain.verdict import Hold, Permit
from policies.guard import Guard
from policies.jurisdictions import applying
from policies.loader import load_policies
from policies.rules.quiet import QuietHours
from tests import world
from tests.world import at

FILE = "policies/test.yaml"


def rule(**said: Any) -> QuietHours:
    entry = {"id": "hours", "channels": ["sms"], "window": "08:00-21:00", **said}
    (found,) = world.policies({"quiet_hours": [entry]}).rules
    assert isinstance(found, QuietHours)
    return found


def refused(text: str) -> ConfigurationError:
    declared = json.dumps(world.CHANNELS)
    with pytest.raises(ConfigurationError) as caught:
        load_policies({FILE: f"channels: {declared}\n{text}"})
    return caught.value


def test_laws_as_they_are_written() -> None:
    """A law is a window, or windows, days and holidays; what it leaves out is open."""
    text = """
purposes: {promo: {title: Offers, model: opt_in, marketing: true}}
channels: {sms: {title: SMS, address: phone}}
quiet_hours:
  - id: sms-hours
    channels: [sms]
    window: "08:00-21:00"
    days: mon-sat
    holidays: [01-01]
    jurisdictions:
      US-FL: "08:00-20:00"
      FR:
        window: "10:00-13:00,14:00-20:00"
        days: mon-fri
        holidays: [05-01, 2026-04-06]
      DE: {holidays: [10-03]}
"""
    policies = load_policies({FILE: text})
    (found,) = policies.rules
    assert isinstance(found, QuietHours)
    assert found.all_zones == {"sms"}
    assert str(found.hours) == "08:00-21:00 mon,tue,wed,thu,fri,sat"
    assert {code: str(kept) for code, kept in found.laws.items()} == {
        "US-FL": "08:00-20:00",
        "FR": "10:00-13:00,14:00-20:00 mon,tue,wed,thu,fri",
        "DE": "00:00-24:00",
    }
    assert found.laws["FR"].holidays.yearly == {(5, 1)}
    assert found.troubles() == ()


QUIET = "quiet_hours:\n  - id: hours\n    channels: [sms]\n    window: '08:00-12:00'\n"
WRONG: Mapping[str, tuple[str, str, str]] = {
    "a law that leaves nothing": (
        QUIET + "    jurisdictions:\n      US: '08:00-20:00'\n      FR: '12:00-20:00'\n",
        "8",
        "rule `hours` is never open: its window and the hours of `FR` do not meet",
    ),
    "a law on other days": (
        QUIET + "    days: mon-fri\n    jurisdictions:\n      FR: {days: sat}\n",
        "8",
        "rule `hours` is never open: its window and the hours of `FR` do not meet",
    ),
    "another rule on the same channel": (
        QUIET + "  - id: later\n    channels: [email, sms]\n    window: '12:00-20:00'\n",
        "6",
        "rule `later` is never open: its window and the other quiet hours of `sms` do not meet",
    ),
    "a country that has another code": (
        QUIET + "    jurisdictions:\n      UK: '08:00-10:00'\n",
        "7",
        "`quiet_hours[0].jurisdictions.UK` is no name that can be used here",
    ),
    "a law with a key of no meaning": (
        QUIET + "    jurisdictions:\n      FR: {hours: '08:00-10:00'}\n",
        "7",
        "`quiet_hours[0].jurisdictions.FR` has no key `hours`",
    ),
    "a law that is no window": (
        QUIET + "    jurisdictions:\n      FR: always\n",
        "7",
        "`quiet_hours[0].jurisdictions.FR.window` is `always`: it is no window",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_hours_that_cannot_be(name: str) -> None:
    """Hours that are never open, and laws of no known place, are refused where they stand."""
    text, line, cause = WRONG[name]
    error = refused(text)
    assert (error.place, error.cause) == (f"{FILE}:{line}", cause)
    assert error.remedy


def test_a_phone_asks_every_zone() -> None:
    """A channel that rings a phone goes by all zones, and nothing less can be declared."""
    with pytest.raises(ConfigurationError) as caught:
        load_policies(
            {FILE: "channels:\n  voice:\n    title: voice\n    address: phone\n    "
                   "zones: first_known\n"}
        )  # fmt: skip
    assert caught.value.place == f"{FILE}:5"
    voice, mail = "{title: voice, address: phone}", "{title: mail, address: email}"
    channels = load_policies({FILE: f"channels: {{voice: {voice}, mail: {mail}}}"}).channels
    assert channels["voice"].all_zones
    assert not channels["mail"].all_zones


@pytest.mark.parametrize(
    ("said", "troubles"),
    [
        ({}, ()),
        ({"jurisdictions": {"FR": "10:00-13:00,14:00-20:00"}}, ()),
        ({"jurisdictions": {"FR": {"holidays": ["12-25"]}}}, ()),
        (
            {"jurisdictions": {"FR": "07:00-22:00"}},
            ("`FR` changes nothing: it is open whenever `window` is",),
        ),
        (
            {"window": "08:00-12:00,12:05-20:00", "days": "mon"},
            ("`window` closes for less than 15 minutes: mon 12:00-mon 12:05",),
        ),
        (
            {"days": "mon", "jurisdictions": {"FR": "08:00-12:00,12:05-20:00"}},
            ("`FR` closes for less than 15 minutes: mon 12:00-mon 12:05",),
        ),
        (
            {"jurisdictions": {"FR": "08:00-12:00", "DE": "12:00-20:00"}},
            ("whoever is of no known place can never be contacted: no hour of the week is open "
             "under all of `FR`, `DE`",),
        ),
    ],
)  # fmt: skip
def test_troubles(said: Mapping[str, Any], troubles: tuple[str, ...]) -> None:
    """What can hardly be meant is told in words that name it."""
    assert rule(**said).troubles() == troubles


def test_which_laws_apply() -> None:
    """Each with what says so; a state's also where the state is not known, others not."""
    named = ("US-FL", "US", "FR", "DE-BY")
    assert applying((), named) == dict.fromkeys(named, "unknown")
    known: tuple[Jurisdiction, ...] = (Jurisdiction("US", "address"), Jurisdiction("DE", "number"))
    assert applying(known, named) == {"US-FL": "unknown", "US": "address", "DE-BY": "unknown"}
    known = (*known, Jurisdiction("US-NY", "number"), Jurisdiction("US", "number"))
    assert applying(known, named) == {"US": "address", "DE-BY": "unknown"}
    assert applying((Jurisdiction("GB", "number"),), named) == {}


LAWS: Mapping[str, Any] = {
    "US-FL": "08:00-20:00",
    "US": {"window": "07:00-22:00", "holidays": ["07-04"]},
    "FR": {"window": "10:00-13:00,14:00-20:00", "days": "mon-fri", "holidays": ["2026-07-14"]},
    "DE-BY": {"days": "mon-sat"},
}
GENERAL: Mapping[str, Any] = {"window": "08:00-21:00", "days": "mon-sun", "holidays": ["07-07"]}
GUARD = Guard(
    world.policies(
        {
            "quiet_hours": [
                {"id": "hours", "channels": ["sms", "email"], **GENERAL, "jurisdictions": LAWS}
            ]
        }
    ),
    {},
)
PROPERTY = settings(
    max_examples=3000 if os.environ.get("SAFECONDUCT_SOAK") == "1" else 200,
    deadline=None,
    derandomize=True,
    database=None,
)
TICK = timedelta(minutes=15)
BEGIN = at("2026-07-01T00:00:00Z")
places = st.sampled_from(
    [
        (("America/New_York",), ("US", "US-FL")),
        (("America/New_York", "America/Chicago"), ("US",)),
        (("America/Los_Angeles",), ("US", "US-CA")),
        (("Europe/Paris",), ("FR",)),
        (("Europe/Berlin",), ("DE",)),
        (("Europe/Berlin",), ("DE", "DE-BY")),
        (("Asia/Kathmandu",), ("NP",)),
        ((), ()),
    ]
)


def open_by_the_clock(moment: datetime, zones: Iterable[str], codes: set[str]) -> bool:
    """The reference: what the clocks on all the walls show, against each text of the rule."""
    applying_here = [
        code
        for code in LAWS
        if not codes
        or code in codes
        or (code[:2] in codes and not any(c.startswith(f"{code[:2]}-") for c in codes))
    ]
    said = [GENERAL, *(LAWS[code] for code in applying_here)]
    for name in zones:
        local = moment.astimezone(ZoneInfo(name))
        for law in ({"window": one} if isinstance(one, str) else one for one in said):
            windows = [part.split("-") for part in law.get("window", "00:00-24:00").split(",")]
            if not any(opens <= f"{local:%H:%M}" < closes for opens, closes in windows):
                return False
            first, _, last = law.get("days", "mon-sun").partition("-")
            names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            if not names.index(first) <= local.weekday() <= names.index(last):
                return False
            if {f"{local:%m-%d}", f"{local:%Y-%m-%d}"} & set(law.get("holidays", ())):
                return False
    return True


@pytest.mark.soakable
@PROPERTY
@given(places, places, st.integers(0, 14 * 96), st.booleans())
def test_next_eligible_is_the_first_at_which_all_clocks_agree(
    home: tuple[tuple[str, ...], tuple[str, ...]],
    phone: tuple[tuple[str, ...], tuple[str, ...]],
    ticks: int,
    by_phone: bool,
) -> None:
    """Stepping through quarters of an hour, no earlier one is open, and this one is."""
    now = BEGIN + ticks * TICK
    number = world.point(world.PHONE, "phone", zones=phone[0])
    known = [Jurisdiction(code, "address") for code in home[1]]
    known += [Jurisdiction(code, "number") for code in phone[1]]
    asked = world.context(
        now=now,
        contact_points=(world.point(), number),
        zones_of_address=home[0],
        jurisdictions=tuple(known),
    )
    of = world.sms(contact_point=number) if by_phone else world.candidate()
    verdict = GUARD.review(world.proposal(of), asked)
    zones = {*home[0], *phone[0]} if by_phone else set(home[0] or phone[0])
    codes = {law.code for law in known}
    if not zones:
        assert isinstance(verdict, Hold)
        assert verdict.next_eligible_at is None
        return
    moments = (now + n * TICK for n in range(30 * 96))
    first = next((one for one in moments if open_by_the_clock(one, zones, codes)), None)
    if first == now:
        assert isinstance(verdict, Permit)
        return
    assert isinstance(verdict, Hold)
    assert verdict.next_eligible_at == first
