"""Where a person may be: which laws may apply to a contact, and in which time zones they live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from domain import regions
from domain.context import Jurisdiction
from profiles.state import Fragment, Known
from profiles.zones import zone

_Source = Literal["address", "billing", "residence", "number"]
_Place = tuple[str, str | None]  # country and state

ZONE_TRAIT = "time_zone"
ADDRESSES = ("address", "postal_address", "homeAddress", "mailingAddress")
BILLING = ("billing_address", "billingAddress", "billing_country", "billingCountry")
RESIDENCE = ("residence", "residence_country", "country_of_residence", "countryOfResidence")
_COUNTRY = ("countryCode", "country_code", "country")
_STATE = ("stateProvince", "state", "state_code", "region", "province")
_NAMES: tuple[tuple[_Source, tuple[str, ...]], ...] = (
    ("address", ADDRESSES),
    ("billing", BILLING),
    ("residence", RESIDENCE),
)
_TELLING = frozenset((*ADDRESSES, *BILLING, *RESIDENCE, *_COUNTRY, *_STATE))
_ZONE = ("time_zone", "timeZone", "timezone")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a person may be: the zone they set, those of their address, and all laws."""

    zone: str | None
    zones_of_address: tuple[str, ...]
    jurisdictions: tuple[Jurisdiction, ...]


def whereabouts(person: Fragment) -> Whereabouts:
    """Where a person, or what is known of them as one fragment, may be."""
    traits = {name: trait.value for name, trait in person.traits.items()}
    return Whereabouts(
        zone(traits.get(ZONE_TRAIT)),
        zones_of_address(traits),
        jurisdictions(traits, person.identifiers),
    )


def moves(before: Fragment, after: Fragment) -> bool:
    """Whether what was learnt between these says anything new of where the person may be."""
    if after.traits is before.traits and after.identifiers is before.identifiers:
        return False
    return whereabouts(before) != whereabouts(after) or _zones_of(before) != _zones_of(after)


def is_somewhere(person: Fragment) -> bool:
    """Whether anything is known of where the person may be."""
    return moves(Fragment(), person)


def jurisdictions(traits: Mapping[str, Any], known: Iterable[Known]) -> tuple[Jurisdiction, ...]:
    """All laws that may apply to a person, by their traits and telephone numbers.

    What cannot be read says nothing; with nothing said at all, they are unknown.
    """
    found: dict[Jurisdiction, None] = {}
    for source, code in _codes(traits, known):
        found[_law(code, source)] = None
    return tuple(found)


def zones_of_address(traits: Mapping[str, Any]) -> tuple[str, ...]:
    """The time zones the postal address may be in: the one it names, or all of its state or
    country."""
    found: dict[str, None] = {}
    for name in ADDRESSES:
        if name in traits:
            found |= dict.fromkeys(_zones(traits[name]))
    return tuple(found)


@lru_cache(regions.CACHED_MAX)
def codes_of_number(number: str) -> tuple[str, ...]:
    """The country of an E.164 number and the state of its area code, by ISO 3166 codes.

    A number that is of no place (toll-free, by satellite) tells nothing.
    """
    import phonenumbers  # it takes long to import, and many people have no number

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    country = phonenumbers.region_code_for_number(parsed)
    if country is None or regions.country_of(country) is None:
        return ()
    states = regions.states_of_number(number)
    if states:
        codes = (code for state in states for code in regions.codes_of(state[:2], state))
        return tuple(dict.fromkeys(codes))
    if country in ("US", "CA"):  # an area code of both, such as 800
        return ()
    return regions.codes_of(country)


def _codes(traits: Mapping[str, Any], known: Iterable[Known]) -> Iterator[tuple[_Source, str]]:
    if not _TELLING.isdisjoint(traits):
        for source, names in _NAMES:
            for name in names:
                if name in traits and (place := _place(traits[name])) is not None:
                    yield from ((source, code) for code in regions.codes_of(*place))
        if (place := _place(traits)) is not None:
            yield from (("residence", code) for code in regions.codes_of(*place))
    for one in known:
        if one.jurisdictions:
            yield from (("number", code) for code in one.jurisdictions)


def _place(value: Any) -> _Place | None:
    """What is said of a place: by name or code, or a mapping that says country and state."""
    if isinstance(value, str):
        country = regions.country_of(value[: regions.TEXT_MAX])
        return _by_state(value) if country is None else (country, None)
    if not isinstance(value, Mapping):
        return None
    countries, states = tuple(_texts(value, _COUNTRY)), tuple(_texts(value, _STATE))
    if not countries:
        return next((place for text in states if (place := _by_state(text))), None)
    # A country that is named and cannot be read is not replaced by what else could be meant.
    country = next((code for text in countries if (code := regions.country_of(text))), None)
    if country is None:
        return None
    state = next((code for text in states if (code := regions.state_of(country, text))), None)
    return country, state


def _by_state(text: str) -> _Place | None:
    """A full code of a state, such as `US-FL`, names its country too."""
    code = text[: regions.TEXT_MAX].strip().upper()
    return (code[:2], code) if "-" in code and regions.is_code(code) else None


def _texts(value: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            yield text[: regions.TEXT_MAX].strip()


def _zones(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        for text in _texts(value, _ZONE):
            if (named := zone(text)) is not None:
                return (named,)
    place = _place(value)
    return () if place is None else regions.zones_of(place[1] or place[0])


def _zones_of(person: Fragment) -> set[str]:
    return {name for known in person.identifiers for name in known.zones}


@lru_cache(regions.CACHED_MAX)
def _law(code: str, source: _Source) -> Jurisdiction:
    return Jurisdiction(code, source)
