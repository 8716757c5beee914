"""What the lines of the consent ledger add up to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.consent import Consent, ConsentQuestion, ConsentValue, answer
from tests.world import EMAIL, NOW, PERSON, PHONE, at, denial, grant, line, objection

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)
ASK = ConsentQuestion((PERSON,), "shop", "shop", "email", "promo", None, EMAIL)
MAY, JUNE, JULY, AUGUST = (f"2026-0{month}-01T00:00:00Z" for month in (5, 6, 7, 8))


def said(*lines: Consent, ask: ConsentQuestion = ASK) -> ConsentValue:
    return answer(lines, ask, NOW).value


def late(one: Consent, received: str) -> Consent:
    """The line, received later than it was said."""
    return replace(one, received_at=at(received))


ADDED_UP: list[tuple[str, list[Consent], ConsentValue]] = [
    ("nothing was said", [], "unset"),
    ("a yes", [grant(MAY)], "granted"),
    ("a yes to be confirmed", [line("pending", MAY)], "pending"),
    ("a yes, confirmed", [line("pending", MAY), grant(JUNE)], "granted"),
    ("a no", [denial(MAY)], "denied"),
    ("a yes, then a no", [grant(MAY), denial(JUNE)], "denied"),
    ("a no, then a yes", [denial(MAY), grant(JUNE)], "granted"),
    ("a no and a yes of one instant", [denial(MAY), grant(MAY)], "conflict"),
    ("two noes and a yes of one instant", [denial(MAY), grant(MAY), denial(MAY)], "conflict"),
    (
        "a no and a yes of one instant, the no received first",
        [denial(MAY), late(grant(MAY), JUNE)],
        "denied",
    ),
    (
        "a no and a yes of one instant, the yes received first",
        [grant(MAY), late(denial(MAY), JUNE)],
        "denied",
    ),
    (
        "a no and a yes of one instant, then a yes",
        [denial(MAY), grant(MAY), grant(JUNE)],
        "granted",
    ),
    ("a no and a yes of one instant, then a no", [denial(MAY), grant(MAY), denial(JUNE)], "denied"),
    ("a no, then both of one instant", [denial(MAY), denial(JUNE), grant(JUNE)], "conflict"),
    ("a no and a listed yes of one instant", [denial(MAY), line("imported", MAY)], "denied"),
    ("a no and an awaited yes of one instant", [denial(MAY), line("pending", MAY)], "denied"),
    ("a yes said before the no, received after", [denial(JUNE), late(grant(MAY), JULY)], "denied"),
    ("a yes said after, received with the no", [late(denial(MAY), JULY), grant(JULY)], "denied"),
    (
        "a no said before the yes, received after",
        [grant(JUNE), late(denial(MAY), JULY)],
        "conflict",
    ),
    (
        "a conflict, then a yes",
        [grant(JUNE), late(denial(MAY), JULY), grant(AUGUST)],
        "granted",
    ),
    ("a conflict, then a no", [grant(JUNE), late(denial(MAY), JULY), denial(AUGUST)], "denied"),
    ("a yes that ended", [grant(MAY, expires_at=at(JUNE))], "expired"),
    ("a yes that ends now", [grant(MAY, expires_at=NOW)], "expired"),
    ("a yes that ends soon", [grant(MAY, expires_at=NOW + timedelta(microseconds=1))], "granted"),
    ("a yes that ended, then a yes", [grant(MAY, expires_at=at(JUNE)), grant(JULY)], "granted"),
    ("a no that came after a yes ended", [grant(MAY, expires_at=at(JUNE)), denial(JULY)], "denied"),
    ("a yes, then the address changed hands", [grant(MAY), line("lapse", JUNE)], "unset"),
    ("a yes as the address changed hands", [grant(MAY), line("lapse", MAY)], "unset"),
    (
        "an awaited and a listed yes, then the address changed hands",
        [line("pending", MAY), line("imported", MAY, ref="2"), line("lapse", JUNE)],
        "unset",
    ),
    (
        "a yes from before the address changed hands, received after",
        [line("lapse", JUNE), late(grant(MAY), JULY)],
        "unset",
    ),
    (
        "an address that changed hands, heard after a new yes",
        [grant(JULY), late(line("lapse", JUNE), AUGUST)],
        "granted",
    ),
    ("an address that changed hands, then a yes", [line("lapse", MAY), grant(JUNE)], "granted"),
    ("a no, then the address changed hands", [denial(MAY), line("lapse", JUNE)], "denied"),
    (
        "a no, a yes, then the address changed hands",
        [denial(MAY), grant(JUNE), line("lapse", JULY)],
        "denied",
    ),
    (
        "another address changed hands",
        [grant(MAY), line("lapse", JUNE, contact_point=PHONE)],
        "granted",
    ),
    (
        "an address changed hands, as another controller heard",
        [grant(MAY), line("lapse", JUNE, controller="bank")],
        "granted",
    ),
    ("an objection", [objection(MAY)], "objection"),
    ("a yes, then an objection", [grant(MAY), objection(JUNE)], "objection"),
    ("an objection, then a yes to everything", [objection(MAY), grant(JUNE)], "objection"),
]


@pytest.mark.parametrize(
    ("lines", "value"), [row[1:] for row in ADDED_UP], ids=[row[0] for row in ADDED_UP]
)
def test_what_lines_add_up_to(lines: list[Consent], value: ConsentValue) -> None:
    """A no holds until a yes that is later in both times; what cannot be ordered is a conflict."""
    assert said(*lines) == value


def test_a_grant_belongs_to_a_person_at_a_contact_point() -> None:
    """A yes is good for no other person and no other contact point."""
    assert said(grant(profile_id="q")) == "unset"
    assert said(grant(contact_point=PHONE)) == "unset"
    assert said(grant(contact_point=None)) == "granted"


def test_a_denial_belongs_to_the_contact_point() -> None:
    """A no at an address holds for whoever uses it, and at no other address."""
    assert said(grant(MAY), denial(JUNE, profile_id="q")) == "denied"
    assert said(grant(MAY), denial(JUNE, contact_point=PHONE)) == "granted"


def test_a_denial_without_a_contact_point_is_the_persons() -> None:
    """A no that names no address is that person's alone."""
    assert said(grant(MAY), denial(JUNE, contact_point=None)) == "denied"
    assert said(grant(MAY), denial(JUNE, contact_point=None, profile_id="q")) == "granted"


def test_an_objection_belongs_to_the_person() -> None:
    """An objection holds at every address of the person, and for nobody else who uses it."""
    assert said(grant(MAY), objection(JUNE, contact_point=PHONE)) == "objection"
    assert said(grant(MAY), objection(JUNE, profile_id="q")) == "granted"


def test_objections_are_united() -> None:
    """An objection of any of a person's fragments holds for the whole person."""
    merged = ASK._replace(profile_ids=(PERSON, "q"))
    assert said(grant(MAY), objection(JUNE, profile_id="q"), ask=merged) == "objection"


@pytest.mark.parametrize(
    "other",
    [
        {"controller": "bank"},
        {"brand": "outlet"},
        {"channel": "sms"},
        {"purpose": "tips"},
        {"topic": "shoes"},
    ],
)
def test_a_line_says_nothing_beyond_its_dimensions(other: dict[str, str]) -> None:
    """A yes or a no to something else is no answer."""
    assert said(grant(MAY, **other)) == "unset"
    assert said(grant(MAY), denial(JUNE, **other)) == "granted"
    assert said(grant(MAY), objection(JUNE, **{"brand": "shop", **other})) == "granted"


def test_a_line_that_names_no_dimension_means_all_of_it() -> None:
    """A no to everything is a no to this."""
    everything = denial(JUNE, brand=None, channel=None, purpose=None, topic=None)
    assert said(grant(MAY), everything) == "denied"


def test_a_yes_lapses_for_everybody_who_gave_one_there() -> None:
    """Whoever tells of it, an address that changed hands is the new one's."""
    gone = line("lapse", JUNE, profile_id="q", brand=None, purpose=None)
    assert said(grant(MAY), gone) == "unset"
    assert said(grant(MAY, contact_point=None), gone) == "granted"


def test_an_objection_comes_back_when_the_yes_lapses_that_it_yielded_to() -> None:
    """It holds at every address there will be, and no yes stands against it."""
    gone = line("lapse", JULY, topic=None)
    assert said(objection(MAY), grant(JUNE, topic="shoes"), gone, ask=SHOES) == "objection"


SHOES = ASK._replace(topic="shoes")


def test_a_topic_asked_for_after_an_objection() -> None:
    """After an objection, a later yes that names a topic is good for that topic only."""
    lines = (objection(MAY), grant(JUNE, topic="shoes"))
    assert said(*lines, ask=SHOES) == "granted"
    assert said(*lines, ask=ASK) == "objection"
    assert said(*lines, ask=ASK._replace(topic="hats")) == "objection"


@pytest.mark.parametrize(
    "yes",
    [
        grant(MAY, topic="shoes"),
        late(grant(MAY, topic="shoes"), JULY),
        line("pending", JULY, topic="shoes"),
        grant(JULY, topic="shoes", profile_id="q"),
    ],
)
def test_an_objection_yields_to_no_less(yes: Consent) -> None:
    """A yes that is not the person's, not explicit or not later in both times leaves it be."""
    assert said(objection(JUNE), yes, ask=SHOES) == "objection"


def test_an_answer_names_its_lines() -> None:
    """An answer names the lines that it rests on."""
    assert answer([grant(MAY, ref="a"), denial(JUNE, ref="b")], ASK, NOW).by == ("b",)
    crossed = [grant(JUNE, ref="a"), late(denial(MAY, ref="b"), JULY)]
    assert answer(crossed, ASK, NOW).by == ("a", "b")
    assert answer([grant(MAY, ref="a"), objection(JUNE, ref="c")], ASK, NOW).by == ("c",)
    assert answer([], ASK, NOW).by == ()


@pytest.mark.parametrize("no", [denial, objection])
def test_every_earlier_no_must_be_overtaken(no: Callable[..., Consent]) -> None:
    """A no that arrives late does not make a yes overtake another no that was said after it."""
    lines = (
        no(JULY, ref="1"),
        late(no(MAY, ref="2"), "2026-07-02T00:00:00Z"),
        late(grant(JUNE, topic="shoes"), AUGUST),
    )
    assert said(*lines, ask=SHOES) == ("denied" if no is denial else "objection")


instants = st.integers(0, 40).map(lambda n: NOW - timedelta(hours=n))


@st.composite
def lines(draw: st.DrawFn) -> Consent:
    """Any line that concerns this person's promotions."""
    occurred_at = draw(instants)
    return line(
        draw(st.sampled_from(["grant", "grant", "pending", "denial", "objection"])),
        topic=draw(st.sampled_from([None, "shoes"])),
        contact_point=draw(st.sampled_from([None, EMAIL])),
        occurred_at=occurred_at,
        received_at=draw(instants.filter(lambda one: one >= occurred_at)),
        expires_at=draw(st.sampled_from([None, None, NOW, NOW + timedelta(days=1)])),
        ref=str(draw(st.integers(0, 10_000))),
    )


ledgers = st.lists(lines(), max_size=6, unique_by=lambda one: one.ref)


@PROPERTY
@given(ledgers, st.sampled_from([denial, objection]), instants)
def test_a_no_that_is_last_received_holds(
    before: list[Consent], no: Callable[..., Consent], occurred_at: datetime
) -> None:
    """Whatever was said before, a no that has just arrived is effective."""
    last = no(ref="last", occurred_at=occurred_at, received_at=NOW)
    assert said(*before, last, ask=SHOES) in ("denied", "conflict", "objection")


@PROPERTY
@given(ledgers, st.data())
def test_the_order_of_reading_does_not_matter(ledger: list[Consent], data: st.DataObject) -> None:
    """The ledger adds up to the same in whatever order its lines are read."""
    shuffled = data.draw(st.permutations(ledger))
    assert answer(shuffled, SHOES, NOW) == answer(ledger, SHOES, NOW)


@PROPERTY
@given(ledgers)
def test_granted_means_a_grant_later_than_every_denial(ledger: list[Consent]) -> None:
    """Where the answer is yes, some grant is later than every denial, in both times."""
    if said(*ledger, ask=SHOES) == "granted":
        denials = [one for one in ledger if one.kind == "denial"]
        assert any(
            all(yes.occurred_at > no.occurred_at for no in denials)
            and all(yes.received_at > no.received_at for no in denials)
            for yes in ledger
            if yes.kind == "grant"
        )


@st.composite
def imports(draw: st.DrawFn) -> Consent:
    """Any line out of a list that is imported now, however long ago it was said."""
    whole = draw(st.booleans())
    return line(
        draw(st.sampled_from(["imported", "imported", "pending", "denial", "objection"])),
        topic=None if whole else "shoes",
        contact_point=draw(st.sampled_from([None, EMAIL])),
        occurred_at=draw(instants),
        received_at=NOW,
        ref=str(draw(st.integers(0, 10_000))),
    )


@settings(PROPERTY, max_examples=400)
@given(
    st.lists(
        st.one_of(lines(), lines().map(lambda one: replace(one, kind="suspicion"))), max_size=6
    ),
    st.lists(imports(), min_size=1, max_size=4),
    st.sampled_from([None, "shoes"]),
)
def test_no_list_makes_a_yes_of_a_no(
    kept: list[Consent], imported: list[Consent], topic: str | None
) -> None:
    """What was denied, objected to or in conflict before an import is not granted after it."""
    ask = ASK._replace(topic=topic)
    if said(*kept, ask=ask) in ("denied", "objection", "conflict"):
        assert said(*kept, *imported, ask=ask) != "granted"


def test_an_awaited_yes_ends_no_suspicion() -> None:
    """Only a yes does: an imported one would else count after a mere request to confirm."""
    doubt, request = line("suspicion", MAY), line("pending", JUNE)
    assert said(doubt, request) == "conflict"
    assert said(doubt, request, line("imported", JULY)) == "conflict"
    assert said(doubt, request, grant(JULY)) == "granted"


def test_a_yes_that_comes_late_does_not_outlive_what_was_said_since() -> None:
    """Of two grants the one said last tells until when, whichever came in last."""
    newest = replace(grant(JUNE, expires_at=at(JULY)), ref="newest")
    older = late(grant(MAY), JULY)
    assert answer([newest, older], ASK, at(AUGUST)).value == "expired"
    assert answer([newest, older], ASK, at(JUNE)).by == ("newest",)
    assert said(grant(JUNE), late(line("pending", MAY), JULY)) == "granted"
    assert said(line("pending", JUNE), late(grant(MAY), JULY)) == "pending"
