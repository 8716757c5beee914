"""Which laws may apply to a person, from whatever says something of where they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.context import Context
from profiles.jurisdictions import codes_of_number, jurisdictions, zones_of_address
from profiles.state import Known
from tests.profiles.test_people import last_context
from tests.shop import Shop, open_shop, row

NIGHT = "2026-10-05T20:30:00Z"


def number(text: str) -> Known:
    """A telephone number as a profile keeps it."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return Known("phone", text, since, jurisdictions=codes_of_number(text))


def said(traits: Mapping[str, Any], *known: Known) -> dict[str, set[str]]:
    """The laws by what says so."""
    found: dict[str, set[str]] = {}
    for law in jurisdictions(traits, known):
        found.setdefault(law.source, set()).add(law.code)
    return found


@pytest.mark.parametrize(
    ("traits", "expected"),
    [
        ({"address": {"country": "DE"}}, {"address": {"DE"}}),
        ({"address": {"country": "Germany", "city": "Bonn"}}, {"address": {"DE"}}),
        ({"address": {"country": "USA", "state": "FL"}}, {"address": {"US", "US-FL"}}),
        (
            {"address": {"country": "United States", "region": "florida", "postalCode": "33101"}},
            {"address": {"US", "US-FL"}},
        ),
        (
            {"homeAddress": {"countryCode": "US", "stateProvince": "US-FL", "postalCode": "33101"}},
            {"address": {"US", "US-FL"}},
        ),
        ({"address": {"state": "US-FL"}}, {"address": {"US", "US-FL"}}),
        ({"address": {"state": "FL"}}, {}),
        ({"address": {"state": "Florida"}}, {}),
        ({"address": {"country": "Floridia", "state": "US-FL"}}, {}),
        ({"address": {"country": "US", "state": "Floridia"}}, {"address": {"US"}}),
        ({"address": {"country": "Congo", "state": "FL"}}, {}),
        ({"address": "12 Main Street, Miami"}, {}),
        ({"address": {"country": 49}}, {}),
        ({"address": ["DE"]}, {}),
        ({"billing_country": "fr"}, {"billing": {"FR"}}),
        ({"billingAddress": {"country": "CA", "state": "QC"}}, {"billing": {"CA", "CA-QC"}}),
        ({"residence": "Austria"}, {"residence": {"AT"}}),
        ({"residence": {"country": "US", "state": "Texas"}}, {"residence": {"US", "US-TX"}}),
        ({"country": "GB"}, {"residence": {"GB"}}),
        (
            {"country": "US", "address": {"country": "DE"}, "billing_country": "FR"},
            {"residence": {"US"}, "address": {"DE"}, "billing": {"FR"}},
        ),
        ({}, {}),
    ],
)
def test_what_traits_say(traits: Mapping[str, Any], expected: Mapping[str, set[str]]) -> None:
    """Address, billing country and residence each say their own, and what is unreadable nothing."""
    assert said(traits) == expected


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("+13055550123", {"US", "US-FL"}),
        ("+12125550100", {"US", "US-NY"}),
        ("+14165550123", {"CA", "CA-ON"}),
        ("+19025550123", {"CA", "CA-NS", "CA-PE"}),
        ("+17875550123", {"PR", "US", "US-PR"}),
        ("+18765550123", {"JM"}),
        ("+18002530000", set()),
        ("+4930123456", {"DE"}),
        ("+447911123456", {"GG"}),
        ("+77011234567", {"KZ"}),
        ("+80012345678", set()),
        ("+1", set()),
        ("no number", set()),
    ],
)
def test_what_numbers_say(text: str, codes: set[str]) -> None:
    """A number is under the law of its country and area code, wherever its owner went."""
    assert set(codes_of_number(text)) == codes
    assert said({}, number(text)) == ({"number": codes} if codes else {})


_WORDS = st.one_of(st.text(max_size=12), st.sampled_from(["US", "Florida", "US-FL", "DE", ""]))
_VALUES = st.recursive(
    st.one_of(_WORDS, st.none(), st.integers(), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["country", "state", "time_zone", "countryCode", "region"]), inner
        ),
    ),
    max_leaves=6,
)
_TRAITS = st.dictionaries(
    st.sampled_from(["address", "country", "billing_address", "residence", "homeAddress", "state"]),
    _VALUES,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(_TRAITS)
def test_no_traits_break_it(traits: Mapping[str, Any]) -> None:
    """Whatever a sender puts there is read or passed over, the same way each time."""
    found = jurisdictions(traits, ())
    assert found == jurisdictions(traits, ())
    assert len(set(found)) == len(found)
    assert all("-" not in law.code or law.code[:2] in {o.code for o in found} for law in found)
    assert len(set(zones_of_address(traits))) == len(zones_of_address(traits))


@pytest.mark.parametrize(
    ("address", "zones"),
    [
        ({"country": "US", "state": "CA"}, ("America/Los_Angeles",)),
        ({"country": "US", "state": "FL"}, ("America/New_York", "America/Chicago")),
        ({"country": "FR"}, ("Europe/Paris",)),
        ({"country": "FR", "time_zone": "Indian/Reunion"}, ("Indian/Reunion",)),
        ({"country": "FR", "time_zone": "Mars/Olympus"}, ("Europe/Paris",)),
        ({"time_zone": "America/Los_Angeles"}, ("America/Los_Angeles",)),
        ({"country": "Nowhere"}, ()),
        ({}, ()),
    ],
)
def test_the_zones_of_an_address(address: Mapping[str, Any], zones: tuple[str, ...]) -> None:
    """The address's own zone, else all of its state, else all of its country."""
    assert zones_of_address({"address": address}) == zones


def _context(shop: Shop, **more: Any) -> Context:
    return last_context(shop, shop.one(row("identified", NIGHT, **more)))


def test_a_context_holds_the_union_of_all_that_is_known(tmp_path: Path) -> None:
    """Who is known by several numbers and an address is under all of their laws at once."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(row("identified", "2026-10-05T09:00:00Z", phone="+13055550123"))
        context = _context(
            shop,
            phone="+4930123456",
            traits={"address": {"country": "US", "state": "California"}, "billing_country": "FR"},
        )
        assert {(law.code, law.source) for law in context.jurisdictions} == {
            ("US", "address"),
            ("US-CA", "address"),
            ("FR", "billing"),
            ("US", "number"),
            ("US-FL", "number"),
            ("DE", "number"),
        }
        assert context.zones_of_address == ("America/Los_Angeles",)


def test_of_nobody_s_place_nothing_is_known(tmp_path: Path) -> None:
    """Without address, country and number the laws are unknown."""
    with open_shop(tmp_path / "w") as shop:
        context = _context(shop, email="p@shop.example")
        assert context.jurisdictions == ()
        assert context.zones_of_address == ()
