"""Countries, states, their zones and area codes, held against what the libraries know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import phonenumbers
import pytest
from phonenumbers import geocoder, timezone

from domain import regions

AREA_CODES = [f"{n}" for n in range(200, 1000)]
BEGIN = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("DE", "DE"),
        ("de", "DE"),
        ("Germany", "DE"),
        (" germany ", "DE"),
        ("Deutschland", "DE"),
        ("USA", "US"),
        ("U.S.A.", "US"),
        ("United States of America", "US"),
        ("uk", "GB"),
        ("Great Britain", "GB"),
        ("Österreich", "AT"),
        ("Côte d'Ivoire", "CI"),
        ("Georgia", "GE"),
        ("Puerto Rico", "PR"),
        ("Germoney", None),
        ("", None),
        ("EU", None),
        ("XX", None),
        ("unknown", None),
        ("x" * 10_000, None),
    ],
)
def test_countries_by_name(said: str, code: str | None) -> None:
    """A country is known by its code and its usual names, and nothing is guessed."""
    assert regions.country_of(said) == code


@pytest.mark.parametrize(
    ("country", "said", "code"),
    [
        ("US", "FL", "US-FL"),
        ("US", "fl", "US-FL"),
        ("US", "Florida", "US-FL"),
        ("US", "US-FL", "US-FL"),
        ("US", "Washington", "US-WA"),
        ("US", "Washington, D.C.", "US-DC"),
        ("US", "Puerto Rico", "US-PR"),
        ("CA", "Québec", "CA-QC"),
        ("AU", "WA", "AU-WA"),
        ("DE", "Bavaria", "DE-BY"),
        ("FR", "FR-IDF", "FR-IDF"),
        ("FR", "IDF", None),
        ("US", "CA-ON", None),
        ("US", "US-ZZ", None),
        ("US", "Floridaa", None),
        ("DE", "FL", None),
    ],
)
def test_states_by_name(country: str, said: str, code: str | None) -> None:
    """A state is read within its country only, and never taken from another."""
    assert regions.state_of(country, said) == code


def test_a_state_is_under_its_country() -> None:
    """A law of the country holds in its states, and in those that are countries themselves."""
    assert regions.codes_of("US", "US-FL") == ("US", "US-FL")
    assert regions.codes_of("PR") == ("PR", "US", "US-PR")
    assert regions.codes_of("US", "US-PR") == ("US", "US-PR", "PR")
    assert regions.codes_of("RE") == ("RE", "FR")
    assert regions.codes_of("DE") == ("DE",)


@pytest.mark.parametrize(
    ("code", "known"),
    [("DE", True), ("US-FL", True), ("FR-75C", True), ("UK", False), ("US-ZZ", False),
     ("us", False), ("Germany", False), ("DE-", False), ("", False), ("GB-SCT", True)],
)  # fmt: skip
def test_codes(code: str, known: bool) -> None:
    """A code that no place has is told from one that some place has."""
    assert regions.is_code(code) is known


def test_every_area_code_in_use_has_the_state_that_libphonenumber_gives_it() -> None:
    """The table says of each number what the geography of numbers says, and misses none."""
    checked = 0
    for area in AREA_CODES:
        number = phonenumbers.parse(f"+1{area}5550123")
        if phonenumbers.region_code_for_number(number) not in ("US", "CA"):
            assert regions.states_of_number(f"+1{area}5550123") == ()
            continue
        if phonenumbers.number_type(number) != phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE:
            assert regions.states_of_number(f"+1{area}5550123") == ()
            continue
        states = regions.states_of_number(f"+1{area}5550123")
        assert states, area
        told = geocoder.description_for_number(number, "en").rpartition(", ")[2]
        told = told.replace("Colombia", "Columbia")  # as one area code's is misspelt
        parts = [part for part in told.split("/") if part not in ("United States", "")]
        country = states[0][:2]
        found = {regions.state_of(country, part) for part in parts}
        assert not found or found == set(states), (area, told, states)
        checked += bool(found)
    assert checked > 380


def test_every_zone_of_a_state_s_numbers_is_a_zone_of_the_state() -> None:
    """What the numbering plan says of the hour in a state, the table of states says as well."""
    checked = 0
    for area in AREA_CODES:
        text = f"+1{area}5550123"
        for state in regions.states_of_number(text):
            if not state.startswith("US-"):
                continue
            here = {_clock(name) for name in regions.zones_of(state)}
            told = timezone.time_zones_for_number(phonenumbers.parse(text))
            if len(told) > 16:  # an area code that is not on their map yet
                continue
            assert {_clock(name) for name in told} <= here, (state, told)
            checked += 1
    assert checked > 300


def test_a_country_s_zones_are_all_of_its_states() -> None:
    """Where the state is not known, every hour in the country may be the customer's."""
    assert regions.zones_of("US-NY") == ("America/New_York",)
    assert regions.zones_of("US-FL") == ("America/New_York", "America/Chicago")
    assert {"America/New_York", "America/Los_Angeles", "Pacific/Honolulu"} <= set(
        regions.zones_of("US")
    )
    assert "America/Puerto_Rico" not in regions.zones_of("US")
    assert regions.zones_of("FR") == ("Europe/Paris",)
    assert regions.zones_of("DE") == ("Europe/Berlin",)
    assert set(regions.zones_of("ES")) == {"Europe/Madrid", "Africa/Ceuta", "Atlantic/Canary"}
    for code in ("US", "CA", "AU", "DE", "FR", "RU", "PR"):
        assert all(ZoneInfo(name).key == name for name in regions.zones_of(code))


@cache
def _clock(name: str) -> tuple[timedelta | None, ...]:
    """A zone by what its clocks show through two years."""
    days = (BEGIN + timedelta(days=10 * n) for n in range(73))
    return tuple(day.astimezone(ZoneInfo(name)).utcoffset() for day in days)
