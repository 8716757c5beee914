"""How far each field of two people agrees (pure). What leaves here is masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from typing import Any, Literal, NamedTuple

from jellyfish import damerau_levenshtein_distance, jaro_winkler_similarity

from profiles.folding import Name, folded_name, folded_postcode, folded_street, name_of
from profiles.labels import nested
from profiles.state import Fragment

SIMILAR_MIN = 0.92
LOCAL_MIN = 5
LAST_DIGITS = 7

FieldName = Literal[
    "first_name", "last_name", "generation", "address", "birth_date", "email", "phone"
]
_BIRTH_DATES = ("birth_date", "birthDate", "birthday", "dateOfBirth", "person.birthDate")
_STREETS = ("street", "street1", "streetAddress")
_POSTCODES = ("postal_code", "postalCode", "postcode", "zip")
_ADDRESSES = ("address", "homeAddress")
_EMAIL_LEVELS = ("same", "slip", "local part", "differs")
_PHONE_LEVELS = ("same", "last digits", "differs")
# What a form fills in where nobody has said when they were born.
_PLACEHOLDERS = frozenset((date(1900, 1, 1), date(1970, 1, 1)))


@dataclass(frozen=True, slots=True)
class Described:
    """What of a person can be compared with another. Values are as they were given."""

    name: Name = field(default_factory=Name)
    street: str = ""
    postcode: str = ""
    birth_date: date | None = None
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()


class Agreement(NamedTuple):
    """How far two values agree, and both of them masked."""

    level: str
    one: str
    other: str


def described(person: Fragment) -> Described:
    """What can be compared of a person: names, address and birth date from traits."""
    traits = {name: trait.value for name, trait in person.traits.items()}
    address = next((a for n in _ADDRESSES if isinstance(a := traits.get(n), Mapping)), {})
    return Described(
        name=name_of(traits),
        street=_first_text(address, _STREETS),
        postcode=_first_text(address, _POSTCODES),
        birth_date=_birth_date(traits),
        emails=person.values("email"),
        phones=person.values("phone"),
    )


def _first_names(one: Described, other: Described) -> Agreement | None:
    a, b = folded_name(one.name.first), folded_name(other.name.first)
    if not a or not b:
        return None
    shown = masked(one.name.first), masked(other.name.first)
    if a != b and 1 in (len(a), len(b)):
        return Agreement("initial" if a[0] == b[0] else "differs", *shown)
    return Agreement(_likeness(a, b), *shown)


def _last_names(one: Described, other: Described) -> Agreement | None:
    a, b = folded_name(one.name.last), folded_name(other.name.last)
    if not a or not b:
        return None
    return Agreement(_likeness(a, b), masked(one.name.last), masked(other.name.last))


def _generations(one: Described, other: Described) -> Agreement | None:
    a, b = one.name.generation, other.name.generation
    if not a or not b or not all(folded_name(who.name.last) for who in (one, other)):
        return None  # a generation of no name says nothing
    return Agreement("same" if a == b else "differs", a, b)


def _addresses(one: Described, other: Described) -> Agreement | None:
    codes = folded_postcode(one.postcode), folded_postcode(other.postcode)
    if not all(codes):
        return None
    shown = (
        f"{masked(one.street)} {masked(one.postcode)}".strip(),
        f"{masked(other.street)} {masked(other.postcode)}".strip(),
    )
    if codes[0] != codes[1]:
        return Agreement("differs", *shown)
    streets = folded_street(one.street), folded_street(other.street)
    if not all(streets):
        return Agreement("post code", *shown)
    if streets[0] == streets[1]:
        return Agreement("same", *shown)
    same_house = _digits(streets[0]) == _digits(streets[1]) != ""
    if same_house and _likeness(*streets) == "similar":
        return Agreement("similar", *shown)
    return Agreement("post code", *shown)


def _birth_dates(one: Described, other: Described) -> Agreement | None:
    a, b = one.birth_date, other.birth_date
    if a is None or b is None:
        return None
    shown = f"{a.year}-…", f"{b.year}-…"
    if a == b:
        return Agreement("same", *shown)
    swapped = (a.year, a.month, a.day) == (b.year, b.day, b.month)
    slips = sum(x != y for x, y in zip(a.isoformat(), b.isoformat(), strict=True))
    return Agreement("slip" if swapped or slips == 1 else "differs", *shown)


def _emails(one: Described, other: Described) -> Agreement | None:
    return _closest(one.emails, other.emails, _email_level, _EMAIL_LEVELS)


def _phones(one: Described, other: Described) -> Agreement | None:
    return _closest(one.phones, other.phones, _phone_level, _PHONE_LEVELS)


COMPARED: Mapping[FieldName, Callable[[Described, Described], Agreement | None]] = {
    "first_name": _first_names,
    "last_name": _last_names,
    "generation": _generations,
    "birth_date": _birth_dates,
    "address": _addresses,
    "email": _emails,
    "phone": _phones,
}


def _closest(
    ones: Iterable[str],
    others: Iterable[str],
    level: Callable[[str, str], str],
    order: Sequence[str],
) -> Agreement | None:
    found = [(order.index(level(a, b)), a, b) for a, b in product(sorted(ones), sorted(others))]
    if not found:
        return None
    # By both in order, so that the same two addresses are shown whoever comes first.
    best, a, b = min(found, key=lambda one: (one[0], sorted(one[1:])))
    return Agreement(order[best], masked(a), masked(b))


def _email_level(one: str, other: str) -> str:
    if one == other:
        return "same"
    (a, _, at), (b, _, bt) = one.partition("@"), other.partition("@")
    if at == bt and _is_slip(a, b) and min(len(a), len(b)) >= LOCAL_MIN:
        return "slip"
    if a == b and _is_slip(at, bt):
        return "slip"
    return "local part" if a == b and len(a) > LOCAL_MIN else "differs"


def _is_slip(a: str, b: str) -> bool:
    """Whether one is the other mistyped in one place. Numbers are given, not mistyped."""
    return _digits(a) == _digits(b) and damerau_levenshtein_distance(*sorted((a, b))) == 1


def _phone_level(one: str, other: str) -> str:
    if one == other:
        return "same"
    return "last digits" if one[-LAST_DIGITS:] == other[-LAST_DIGITS:] else "differs"


def _likeness(a: str, b: str) -> str:
    """By W. E. Winkler, "String comparator metrics", 1990. The pair is put in order: matching
    letters greedily, the measure may differ by which of them comes first."""
    if a == b:
        return "same"
    return "similar" if jaro_winkler_similarity(min(a, b), max(a, b)) >= SIMILAR_MIN else "differs"


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def masked(value: str) -> str:
    """Enough of a value to tell it from another, and too little to use it."""
    local, at, domain = value.partition("@")
    if at:
        return f"{masked(local)}@{domain}"
    if len(value) < 4:
        return value[:1] + "…" if value else ""
    return f"{value[0]}…{value[-2:] if value[-1].isdigit() else value[-1]}"


def _first_text(values: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((v for n in names if isinstance(v := values.get(n), str) and v.strip()), "")


def _birth_date(traits: Mapping[str, Any]) -> date | None:
    for name in _BIRTH_DATES:
        value = nested(traits, name)
        if isinstance(value, str):
            try:
                born = date.fromisoformat(value.strip()[:10])
            except ValueError:
                continue
            return None if born in _PLACEHOLDERS else born
    return None
