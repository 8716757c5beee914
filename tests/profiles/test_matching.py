from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import Identifier
from profiles.blocking import blocks
from profiles.comparing import COMPARED, Described, described, masked
from profiles.folding import Name
from profiles.matching import CERTAIN_MIN, LEVELS, LIKELY_MAX, POSSIBLE_MIN, Match, match
from profiles.state import Fragment, Known, Trait

AT = datetime(2026, 10, 5, tzinfo=UTC)
BELL = Described(
    Name("Robert", "Bell"),
    "12 Main Street",
    "97035",
    date(1980, 4, 12),
    ("robert.bell@shop.example",),
    ("+15035550123",),
)


def person(name: str, last: str = "Bell", **more: Any) -> Described:
    """Somebody of whom only this is known."""
    generation = more.pop("generation", "")
    return Described(Name(name, last, generation), **more)


def levels(found: Match) -> dict[str, str]:
    return {evidence.field: evidence.level for evidence in found.evidence}


NAMES = st.sampled_from(["", "Ann", "Anne", "A", "Bob", "Åsa", "李", "Marhta", "Martha", "🙂"])
PEOPLE = st.builds(
    Described,
    name=st.builds(Name, NAMES, NAMES, st.sampled_from(["", "junior", "senior"])),
    street=st.sampled_from(["", "12 Main St", "Main Street 12", "12 Mian St", "1 Elm"]),
    postcode=st.sampled_from(["", "97035", "97035-1234", "10115"]),
    birth_date=st.sampled_from(
        [None, date(1980, 4, 12), date(1980, 12, 4), date(1980, 4, 13), date(2004, 1, 2)]
    ),
    emails=st.lists(
        st.sampled_from(["annabell@gmail.com", "annabel@gmail.com", "annabell@gmial.com", "b@x.y"]),
        unique=True, max_size=3,
    ).map(tuple),
    phones=st.lists(
        st.sampled_from(["+15035550123", "+495550123", "+15035550999"]), unique=True, max_size=2
    ).map(tuple),
)  # fmt: skip


@given(PEOPLE, PEOPLE, st.integers(0, 10**7))
def test_it_does_not_matter_who_comes_first(one: Described, other: Described, people: int) -> None:
    """A pair has one score, and the same evidence seen from either side."""
    found, turned = match(one, other, people), match(other, one, people)
    assert (found.probability, found.bits) == (turned.probability, turned.bits)
    assert levels(found) == levels(turned)
    assert found.limited_by == turned.limited_by


@given(PEOPLE, PEOPLE, st.randoms())
def test_the_order_of_addresses_does_not_matter(one: Described, other: Described, r: Any) -> None:
    """Several addresses are a set, however they were kept."""
    emails, phones = list(one.emails), list(one.phones)
    r.shuffle(emails)
    r.shuffle(phones)
    shuffled = replace(one, emails=tuple(emails), phones=tuple(phones))
    assert match(shuffled, other, 1000) == match(one, other, 1000)


@given(PEOPLE, PEOPLE, st.sets(st.sampled_from(["name", "home", "birth", "emails", "phones"])))
def test_more_agreement_never_scores_less(
    one: Described, other: Described, fields: set[str]
) -> None:
    """Where both have a value, making them equal makes a match likelier, or leaves it."""
    closer = other
    named = all((one.name.first, one.name.last, other.name.first, other.name.last))
    if "name" in fields and named and one.name.generation == other.name.generation:
        closer = replace(closer, name=one.name)
    if "home" in fields and one.street and other.street and one.postcode and other.postcode:
        closer = replace(closer, street=one.street, postcode=one.postcode)
    if "birth" in fields and one.birth_date and other.birth_date:
        closer = replace(closer, birth_date=one.birth_date)
    if "emails" in fields and one.emails and other.emails:
        closer = replace(closer, emails=one.emails)
    if "phones" in fields and one.phones and other.phones:
        closer = replace(closer, phones=one.phones)
    assert match(one, closer, 1000).bits >= match(one, other, 1000).bits - 1e-9
    assert match(one, closer, 1000).probability >= match(one, other, 1000).probability - 1e-12


def test_levels_are_in_order_and_add_up() -> None:
    """Each field's levels go from the most telling to the least, and leave nothing out."""
    assert LEVELS.keys() == COMPARED.keys()
    for field, known in LEVELS.items():
        weights = [level.weight for level in known.values()]
        assert weights == sorted(weights, reverse=True), field
        assert weights[0] > 0 > weights[-1], field
        assert sum(level.m for level in known.values()) == pytest.approx(1), field
        assert sum(level.u for level in known.values()) == pytest.approx(1, abs=0.06), field


@given(PEOPLE, PEOPLE)
def test_whoever_is_worth_proposing_is_compared(one: Described, other: Described) -> None:
    """Two people who share no key would not be proposed either."""
    found = match(one, other, 1000)
    # Names that sound otherwise are missed where nothing else is the same.
    if "similar" not in levels(found).values() and blocks(one).isdisjoint(blocks(other)):
        assert found.probability < POSSIBLE_MIN, levels(found)


def test_the_same_person_twice_is_certain() -> None:
    """Name, address and birth date agree, whatever the spelling."""
    other = replace(
        BELL, name=Name("ROBERT", "Béll"), street="Main st. 12", postcode="97035-0001", emails=()
    )
    found = match(BELL, other, 200_000)
    assert found.band == "certain"
    assert found.limited_by == ""


@pytest.mark.parametrize(
    ("other", "most", "why"),
    [
        (replace(BELL, birth_date=date(2006, 9, 1)), 0.4, "born on different days"),
        (replace(BELL, birth_date=None), LIKELY_MAX, "parents and children"),
        (replace(BELL, name=Name("Robert", "Bell", "junior")), LIKELY_MAX, "of a generation"),
        (replace(BELL, name=Name("Paul", "Bell")), 0.6, "twins"),
        (replace(BELL, name=Name("Roberta", "Bell")), LIKELY_MAX, "names are not the same"),
        (replace(BELL, name=Name("Paul", "Bell"), birth_date=None), 0.4, "a household"),
        (replace(BELL, name=Name("R", "Bell")), LIKELY_MAX, "names are not the same"),
        (replace(BELL, name=Name()), LIKELY_MAX, "names are not the same"),
    ],
)  # fmt: skip
def test_a_family_is_never_certain(other: Described, most: float, why: str) -> None:
    """Father and son, twins, brother and sister share address, e-mail, phone, and still are two."""
    found = match(BELL, other, 1000)
    assert found.probability <= most < CERTAIN_MIN
    assert found.band != "certain"
    assert why in found.limited_by


def test_a_named_generation_keeps_father_and_son_apart() -> None:
    """Senior and junior are not even proposed, though all else agrees."""
    senior = replace(BELL, name=Name("Robert", "Bell", "senior"))
    junior = replace(BELL, name=Name("Robert", "Bell", "junior"))
    assert match(senior, junior, 1000).probability < POSSIBLE_MIN


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("ann.bell@gmail.com", "ann.bel@gmail.com", "slip"),
        ("ann.bell@gmail.com", "ann.blel@gmail.com", "slip"),
        ("ann.bell@gmail.com", "ann.bell@gmial.com", "slip"),
        ("ann.bell@gmail.com", "ann.bell@web.example", "local part"),
        ("ann.bell1@gmail.com", "ann.bell2@gmail.com", "differs"),
        ("ann@gmail.com", "anna@gmail.com", "differs"),
        ("info@a.example", "info@b.example", "slip"),
        ("info@alpha.example", "info@beta.example", "differs"),
    ],
)
def test_an_e_mail_with_a_slip_is_told_from_another(one: str, other: str, level: str) -> None:
    """One letter may be mistyped; a number and a short name are meant."""
    a, b = person("Ann", emails=(one,)), person("Ann", emails=(other,))
    assert levels(match(a, b, 1000))["email"] == level
    if level == "slip":
        assert blocks(replace(a, name=Name())) & blocks(replace(b, name=Name()))


def test_what_is_missing_says_nothing() -> None:
    """A field that one of them lacks is no evidence, for or against."""
    found = match(Described(), BELL, 1000)
    assert found.evidence == ()
    assert found.bits == found.prior
    assert blocks(Described()) == frozenset()


def test_nothing_that_is_shown_is_whole() -> None:
    """Evidence can be read out without telling names, addresses, numbers or birth dates."""
    shown = str([(e.one, e.other) for e in match(BELL, BELL, 1000).evidence])
    for secret in ("Robert", "Bell", "Main", "97035", "04-12", "robert.bell", "5035550"):
        assert secret not in shown
    assert masked("robert.bell@shop.example") == "r…l@shop.example"
    assert masked("Al") == "A…"


def test_traits_of_several_spellings_are_understood() -> None:
    """Names, addresses and birth dates are found where Segment, XDM and people put them."""
    for traits in (
        {"first_name": "Ann", "last_name": "Bell Jr.", "birth_date": "1980-04-12"},
        {"firstName": "Ann", "lastName": "Bell", "suffix": "Jr", "birthday": "1980-04-12T00:00Z"},
        {"name": "Ann Bell, Jr.", "dateOfBirth": "1980-04-12"},
        {"name": "Bell, Ann", "name_suffix": "JUN.", "birthDate": "1980-04-12"},
        {"person": {"name": {"firstName": "Ann", "lastName": "Bell Jnr"}},
            "birthday": "1980-04-12"},
    ):  # fmt: skip
        found = described(_fragment({**traits, "address": {"street1": "1 Elm", "zip": "97035"}}))
        assert found.name == Name("Ann", "Bell", "junior"), traits
        assert found.birth_date == date(1980, 4, 12), traits
        assert (found.street, found.postcode) == ("1 Elm", "97035")


@pytest.mark.parametrize(
    "value", [None, 7, True, [], {}, "", " ", "x" * 100_000, "\ud800", "1900-01-01", "٣", "🙂"]
)
def test_odd_traits_are_no_fault(value: Any) -> None:
    """Whatever stands in a trait, people can be compared."""
    names = ("first_name", "last_name", "name", "birth_date", "address", "person", "suffix")
    odd = described(_fragment(dict.fromkeys(names, value)))
    address = {"street": value, "zip": value}
    odder = described(_fragment({**dict.fromkeys(names, value), "address": address}))
    assert odd.birth_date is None
    assert 0 <= match(odd, odder, 1000).probability <= LIKELY_MAX
    assert len(blocks(odder)) < 30


def _fragment(traits: dict[str, Any]) -> Fragment:
    known = Known("email", "ann@x.example", AT)
    assert known.identifier == Identifier("email", "ann@x.example")
    return Fragment((known,), {name: Trait(value, AT, "crm") for name, value in traits.items()})
