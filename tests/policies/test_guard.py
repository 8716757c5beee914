"""What is true of the guard whatever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain.action import Money, Offer
from domain.consent import Consent
from domain.context import (
    ApprovalFact,
    Contact,
    Context,
    Jurisdiction,
    OfferState,
    Pass,
    PassKind,
    Suppression,
)
from domain.journey import Instance
from domain.proposal import Candidate
from domain.verdict import (
    EVERYONE,
    Audience,
    Denial,
    Finding,
    Hold,
    Permit,
    Verdict,
    disclosed,
    is_time_bound,
    objections,
)
from policies.expressions import compile_condition
from policies.guard import PERMIT_TTL, Guard
from policies.policy_set import BUILT_IN_FIELDS, BUILT_IN_RULES
from policies.question import Question, Speaker
from tests import world
from tests.world import NOW, at, candidate, contact, context, denial, grant, point, sms

PROPERTY = settings(max_examples=150, deadline=None, derandomize=True, database=None)

TICK = timedelta(microseconds=1)
RULES: Mapping[str, Any] = {
    "fields": {"profile.plan": {"type": "string"}, "event.value": {"type": "double"}},
    "purposes": {**world.PURPOSES, "tips": world.TIPS},
    "frequency_caps": [
        {"id": "day", "limit": 1, "window": "24h", "purposes": ["promo"]},
        {"id": "hour", "limit": 2, "window": "90m", "on_capped": "defer"},
        {
            "id": "address",
            "limit": 3,
            "window": "7d",
            "per": "contact_point",
            "on_capped": "defer",
        },
    ],
    "quiet_hours": [
        {"id": "sms-hours", "channels": ["sms"], "window": "08:00-21:00"},
        {"id": "mail-hours", "channels": ["email"], "window": "22:00-14:00", "on_quiet": "drop"},
    ],
    "rules": [
        {
            "id": "no-open-case",
            "stage": "suitability",
            "purposes": ["promo"],
            "when": "signal.open_cases == 0",
            "reason": "a case is open",
        },
        {
            "id": "plan",
            "stage": "eligibility",
            "when": "!has(profile.plan) || profile.plan != 'closed'",
            "reason": "the plan is closed",
            "shown_to": ["auditor"],
        },
    ],
    "approvals": [
        {
            "id": "vouchers",
            "when": "action.amount > 1000",
            "reason": "a large voucher",
            "role": "marketing",
            "expires_in": "30m",
        }
    ],
}
OFFER = Offer("voucher", "Voucher", Money(500, "EUR"), 10, NOW + timedelta(days=30))
GUARD = Guard(world.policies(RULES), {"voucher": OFFER})
OPEN = Guard(world.policies({}), {"voucher": OFFER})

moments = st.integers(0, 60 * 24 * 60).map(lambda n: NOW + timedelta(minutes=n))
past = st.integers(0, 10 * 24 * 3600).map(lambda n: timedelta(seconds=n))
zones = st.sampled_from(
    [None, "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland"]
)
zones_of_address = st.sampled_from(
    [(), ("Europe/Berlin",), ("America/New_York", "America/Chicago"), ("Pacific/Auckland",)]
)
refs = st.sampled_from([world.EMAIL, world.PHONE])
few = st.integers(0, 3)


@st.composite
def consents(draw: st.DrawFn, now: datetime) -> Consent:
    """A line of the ledger about what the candidates are for."""
    occurred_at = now - draw(past)
    return world.line(
        draw(st.sampled_from(["grant", "pending", "denial", "objection"])),
        profile_id=draw(st.sampled_from([world.PERSON, "q"])),
        brand=draw(st.sampled_from([None, "shop", "bank"])),
        channel=draw(st.sampled_from([None, "sms", "email"])),
        purpose=draw(st.sampled_from([None, "promo", "tips"])),
        contact_point=draw(st.one_of(st.none(), refs)),
        occurred_at=occurred_at,
        received_at=min(now, occurred_at + draw(past)),
        expires_at=draw(st.sampled_from([None, now + timedelta(seconds=20), now - TICK])),
        ref=str(draw(st.integers(0, 999))),
    )


@st.composite
def suppressions(draw: st.DrawFn, now: datetime) -> Suppression:
    """A block of any breadth."""
    return Suppression(
        draw(refs),
        draw(st.sampled_from(["address", "domain", "person"])),
        draw(st.sampled_from([None, "shop", "bank"])),
        draw(st.sampled_from([None, ("sms",), ("email",)])),
        draw(st.sampled_from(["marketing", "all_but_mandatory", "all"])),
        "complaint",
        draw(st.sampled_from([None, now - TICK, now + TICK])),
    )


@st.composite
def contacts(draw: st.DrawFn, now: datetime) -> Contact:
    """A contact of the last ten days."""
    return contact(
        now - draw(past),
        profile_id=draw(st.sampled_from([world.PERSON, "q"])),
        contact_point=draw(refs),
        channel=draw(st.sampled_from(["sms", "email"])),
        purpose=draw(st.sampled_from(["promo", "tips", "service"])),
    )


def newest_first(made: list[Contact]) -> tuple[Contact, ...]:
    return tuple(sorted(made, key=lambda one: one.at, reverse=True))


@st.composite
def passes(draw: st.DrawFn, now: datetime) -> Pass:
    """The event itself, or a later question about it."""
    kinds: list[PassKind] = ["event", "event", "release", "approval"]
    kind = draw(st.sampled_from(kinds))
    ends = now + timedelta(seconds=draw(st.integers(-1, 90)))
    return Pass() if kind == "event" else Pass(kind, 1, "d-1", None, ends)


@st.composite
def contexts(draw: st.DrawFn, calm: bool | None = None) -> Context:
    """A context of a person with any past, or, if `calm`, with one that is easily permitted."""
    now = draw(moments)
    calm = draw(st.booleans()) if calm is None else calm
    said = draw(st.lists(consents(now), max_size=2 if calm else 4))
    yes = [grant(), grant(contact_point=world.PHONE)]
    return context(
        now=now,
        asked=draw(passes(now)),
        fields={"signal.open_cases": 0 if calm else draw(few), "profile.plan": "open"},
        zone_of_person=draw(zones),
        zones_of_address=draw(zones_of_address),
        jurisdictions=draw(st.sampled_from([(), (Jurisdiction("CA", "address"),)])),
        consents=tuple(yes if calm else said),
        suppressions=tuple(draw(st.lists(suppressions(now), max_size=0 if calm else 2))),
        contacts=newest_first(draw(st.lists(contacts(now), max_size=1 if calm else 5))),
        instances=(
            Instance("cart", "i-1", "active", NOW, now + timedelta(seconds=draw(few) * 25), "v"),
        ),
        offers={"voucher": OfferState("voucher", draw(few))},
        human_in_charge=not calm and draw(st.booleans()),
        restricted=not calm and draw(st.booleans()),
        kill_switches=() if calm else draw(st.sampled_from([(), ("channel:sms",), ("all",)])),
    )


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    """An action of any kind, at one of the person's two contact points."""
    by_sms = draw(st.booleans())
    given_: dict[str, Any] = {
        "tool": draw(st.sampled_from(["message", "message", "message", "case"])),
        "kind": draw(
            st.sampled_from(["contact", "contact", "presentation", "reply", "notice", "internal"])
        ),
        "purpose": draw(st.sampled_from(["promo", "tips", "service", "order_update"])),
        "offer": draw(st.sampled_from([None, None, "voucher"])),
        "mandatory": draw(st.booleans()),
        "promotional": draw(st.booleans()),
        "urgency": draw(st.sampled_from(["normal", "now"])),
        "obeys_caps": draw(st.booleans()),
        "significance": draw(st.sampled_from(["none", "none", "none", "legal"])),
        "amount": draw(st.sampled_from([None, Money(500, "EUR"), Money(5000, "EUR")])),
    }
    return sms(**given_) if by_sms else candidate(**given_)


def judged(of: Candidate, asked: Context, by: Guard = GUARD) -> Verdict:
    return by.review(world.proposal(of), asked)


# What a verdict is


@PROPERTY
@given(candidates(), contexts())
def test_no_permit_against_any_rule(of: Candidate, asked: Context) -> None:
    """A permit is minted only where every rule passes; a rule that forbids makes a denial."""
    verdict = judged(of, asked)
    outcomes = {finding.outcome for finding in GUARD.ask_in_full(of, asked, "a" * 64)}
    if outcomes == {"pass"}:
        assert isinstance(verdict, Permit)
    elif "forbid" in outcomes:
        assert isinstance(verdict, Denial)
    else:
        assert isinstance(verdict, Hold)


@PROPERTY
@given(candidates(), contexts())
def test_every_rule_is_listed_once(of: Candidate, asked: Context) -> None:
    """Every verdict lists what every rule said, once and in order."""
    verdict = judged(of, asked)
    assert [finding.rule for finding in verdict.findings] == [rule.id for rule in GUARD.rules]
    assert len({rule.id for rule in GUARD.rules}) == len(GUARD.rules)


def test_built_in_rules_are_the_guards() -> None:
    """The names that workspaces may not use are those of the guard's own rules."""
    labels = {label.name: label for label in BUILT_IN_FIELDS}
    condition = compile_condition("signal.open_cases == 0", labels, shown_as="offers.yaml", line=1)
    full = replace(OFFER, brands=frozenset({"shop"}), exclusive=("vouchers",), per_person=1)
    by = Guard(world.policies({}), {"voucher": full}, {"voucher": condition})
    assert tuple(rule.id for rule in by.rules) == BUILT_IN_RULES
    assert {rule.id for rule in OPEN.rules} < set(BUILT_IN_RULES)


@PROPERTY
@given(candidates(), contexts())
def test_review_is_pure(of: Candidate, asked: Context) -> None:
    """The same question has the same answer, also from a guard that was made anew."""
    first = judged(of, asked)
    assert judged(of, asked) == first
    assert judged(of, asked, Guard(world.policies(RULES), {"voucher": OFFER})) == first


@PROPERTY
@given(candidates(), contexts())
def test_screening_agrees_with_review(of: Candidate, asked: Context) -> None:
    """What screening forbids, review denies."""
    (screened,) = GUARD.screen([of], asked)
    assert screened.forbidden == isinstance(judged(of, asked), Denial)


def test_the_random_world_has_every_verdict() -> None:
    """The properties of this file are not proved of denials alone."""
    seen: set[str] = set()

    @PROPERTY
    @given(candidates(), contexts())
    def look(of: Candidate, asked: Context) -> None:
        verdict = judged(of, asked)
        seen.add(verdict.held_for if isinstance(verdict, Hold) else type(verdict).__name__)

    look()
    assert seen >= {"Permit", "Denial", "time"}


# What makes it fail closed


class Broken(Speaker):
    """A rule with a bug in it."""

    def __init__(self, error: Exception) -> None:
        super().__init__("broken", "policies/test.yaml:1", ("auditor",))
        self._error = error

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def ask(self, question: Question) -> Finding:
        """Never answers."""
        raise self._error


@pytest.mark.parametrize(
    "error", [ValueError("x"), RecursionError(), AssertionError(), KeyError("x"), StopIteration()]
)
def test_a_rule_that_raises_forbids(error: Exception) -> None:
    """A rule that raises forbids, and only its own audience learns of it."""
    rules = world.policies({})
    verdict = judged(candidate(), context(), Guard(replace(rules, rules=(Broken(error),)), {}))
    assert isinstance(verdict, Denial)
    (finding,) = objections(verdict)
    assert (finding.rule, finding.code, finding.shown_to) == ("broken", "rule_error", ("auditor",))
    assert type(error).__name__ in finding.reason
    assert verdict.next_eligible_at is None


@pytest.mark.parametrize("value", ["80", True, float("nan"), float("inf"), 10**400, [80]])
def test_a_field_of_another_type_forbids(value: Any) -> None:
    """A rule that reads a field of another type than declared forbids, and does not guess."""
    rule = {"id": "worth", "stage": "applicability", "reason": "too little"}
    rule["when"] = "!has(event.value) || event.value < 100.0"
    by = Guard(world.policies({**RULES, "rules": [rule]}), {})
    asked = context(fields={"event.value": value}, zone_of_person="Europe/Berlin")
    verdict = judged(candidate(purpose="service", urgency="now"), asked, by)
    assert [finding.code for finding in objections(verdict)] == ["rule_error"]


def test_half_a_character_forbids() -> None:
    """A text that cannot be encoded makes the rule that reads it forbid, not the guard fail."""
    fields = {**context().fields, "profile.plan": "\ud800"}
    verdict = judged(candidate(purpose="service", urgency="now"), context(fields=fields))
    assert [finding.code for finding in objections(verdict)] == ["rule_error"]


def test_a_zone_that_does_not_exist_forbids() -> None:
    """A time zone that nobody knows opens no window."""
    verdict = judged(sms(), context(zone_of_person="Mars/Olympus"))
    assert objections(verdict)[0].code == "rule_error"


def test_no_policy_denies() -> None:
    """Where no policy is written, nothing is permitted."""
    verdict = judged(candidate(), context(), Guard(world.policies("{}"), {}))
    assert isinstance(verdict, Denial)
    assert [finding.code for finding in objections(verdict)] == ["no_policy"]


@pytest.mark.parametrize("unknown", [{"purpose": "charm"}, {"channel": "pigeon"}])
def test_what_is_not_declared_is_denied(unknown: dict[str, str]) -> None:
    """An undeclared purpose or channel is denied, whatever consent says."""
    of, asked = candidate(**unknown), context(consents=(grant(purpose=None),))
    verdict = judged(of, asked, OPEN)
    assert isinstance(verdict, Denial)
    assert [finding.code for finding in objections(verdict)] == ["consent_unknown"]
    assert verdict.next_eligible_at is None


def test_what_is_mandatory_and_not_declared_is_held_for_a_person() -> None:
    """A mandatory action of an undeclared purpose is nobody's to drop, and no machine's to send."""
    verdict = judged(candidate(purpose="recall", mandatory=True), context(), OPEN)
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, verdict.next_eligible_at) == ("human", None)
    assert [finding.code for finding in objections(verdict)] == ["consent_unknown"]


def test_an_unknown_tool_is_denied() -> None:
    """A tool that is not in the closed list is denied."""
    verdict = judged(candidate(tool="shell", kind="internal"), context(), OPEN)
    assert isinstance(verdict, Denial)
    assert [finding.code for finding in objections(verdict)] == ["unknown_tool"]


@PROPERTY
@given(st.data(), candidates(), contexts())
def test_what_restricts_never_permits(data: st.DataObject, of: Candidate, asked: Context) -> None:
    """One more contact, suppression or stopped scope never makes a permit out of no permit."""
    assume(not isinstance(judged(of, asked), Permit))
    stricter = data.draw(
        st.one_of(
            suppressions(asked.now).map(
                lambda one: replace(asked, suppressions=(*asked.suppressions, one))
            ),
            contacts(asked.now).map(
                lambda one: replace(asked, contacts=newest_first([*asked.contacts, one]))
            ),
            st.sampled_from(["all", "channel:email", "tool:message", "journey:cart"]).map(
                lambda one: replace(asked, kill_switches=(*asked.kill_switches, one))
            ),
        )
    )
    assert not isinstance(judged(of, stricter), Permit)


@PROPERTY
@given(candidates(), contexts(), past, st.booleans())
def test_a_denial_that_arrives_now_never_permits(
    of: Candidate, asked: Context, ago: timedelta, objects: bool
) -> None:
    """A denial or objection that has just arrived never makes a permit out of no permit."""
    assume(not isinstance(judged(of, asked), Permit))
    no = world.line(
        "objection" if objects else "denial", occurred_at=asked.now - ago, received_at=asked.now
    )
    stricter = replace(asked, consents=(*asked.consents, no))
    assert not isinstance(judged(of, stricter), Permit)


def test_more_contacts_than_fit_are_not_overlooked() -> None:
    """Where older contacts were cut off inside the window, the cap holds all the same."""
    cap = {"id": "week", "limit": 3, "window": "7d", "purposes": ["promo"]}
    by = Guard(world.policies({"frequency_caps": [cap]}), {})
    kept = tuple(contact(NOW - timedelta(hours=n), purpose="service") for n in range(1, 5))
    cut = context(contacts=kept, contacts_truncated=True)
    verdict = judged(candidate(), cut, by)
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at == kept[-1].at + timedelta(days=7)
    assert isinstance(judged(candidate(), replace(cut, contacts_truncated=False), by), Permit)


# What a permit is good for


@PROPERTY
@given(candidates(), contexts(calm=True))
def test_a_permit_is_short(of: Candidate, asked: Context) -> None:
    """A permit ends within a minute, and with the offer, the consent or the journey if sooner."""
    verdict = judged(of, asked)
    if not isinstance(verdict, Permit):
        return
    assert asked.now < verdict.not_after <= asked.now + PERMIT_TTL
    ends = [line.expires_at for line in asked.consents if line.expires_at]
    ends += [instance.ends_at for instance in asked.instances]
    ends += [OFFER.valid_until] if of.action.offer and OFFER.valid_until else []
    assert all(verdict.not_after <= end for end in ends if end > asked.now)
    last = GUARD.ask_in_full(of, replace(asked, now=verdict.not_after - TICK), "a" * 64)
    late = {"quiet_hours", "consent_expired", "offer_unavailable"}
    assert not late & {finding.code for finding in last}


def test_a_permit_ends_with_the_window() -> None:
    """Ten seconds before the window closes, a permit is good for ten seconds."""
    asked = context(now=at("2026-11-23T19:59:50Z"), zone_of_person="Europe/Berlin")
    verdict = judged(sms(), asked)
    assert isinstance(verdict, Permit)
    assert verdict.not_after == at("2026-11-23T20:00:00Z")


def test_a_permit_ends_with_the_offer() -> None:
    """Ten seconds before an offer ends, a permit to promise it is good for ten seconds."""
    assert OFFER.valid_until is not None
    now = OFFER.valid_until - timedelta(seconds=10)
    asked = context(now=now, offers={"voucher": OfferState("voucher", 1)})
    verdict = judged(candidate(offer="voucher"), asked, OPEN)
    assert isinstance(verdict, Permit)
    assert verdict.not_after == OFFER.valid_until


def test_a_permit_ends_with_the_consent() -> None:
    """Ten seconds before the customer's yes runs out, a permit is good for ten seconds."""
    ends = NOW + timedelta(seconds=10)
    verdict = judged(candidate(), context(consents=(grant(expires_at=ends),)), OPEN)
    assert isinstance(verdict, Permit)
    assert verdict.not_after == ends


def test_dispatch_lets_a_fresh_permit_through() -> None:
    """A permit that is alive, for this proposal and against no rule, is good to send by."""
    of = world.proposal()
    permit = OPEN.review(of, context())
    assert isinstance(permit, Permit)
    assert OPEN.dispatch(permit, of, context()) is None
    assert OPEN.dispatch(permit, of, context(now=permit.not_after - TICK)) is None


def test_dispatch_refuses_a_dead_permit() -> None:
    """At `not_after` a permit is dead."""
    of = world.proposal()
    permit = OPEN.review(of, context())
    assert isinstance(permit, Permit)
    assert OPEN.dispatch(permit, of, context(now=permit.not_after)) == "permit_expired"


def test_dispatch_refuses_another_proposal() -> None:
    """A permit is for one proposal, to the letter."""
    permit = OPEN.review(world.proposal(), context())
    assert isinstance(permit, Permit)
    assert OPEN.dispatch(permit, world.proposal(digest="b" * 64), context()) == "permit_expired"


@PROPERTY
@given(candidates(), contexts())
def test_dispatch_asks_every_rule_again(of: Candidate, later: Context) -> None:
    """Where a rule says no at the moment of sending, its code cancels, whatever was permitted."""
    permit = Permit("permit-1", "a" * 64, GUARD.policies.version, later.now + TICK, ())
    verdict = judged(of, later)
    expected = None if isinstance(verdict, Permit) else objections(verdict)[0].code
    assert GUARD.dispatch(permit, world.proposal(of), later) == expected


# Whether it is still wanted


@pytest.mark.parametrize(
    ("ago", "wanted"), [(timedelta(minutes=15), True), (timedelta(minutes=15) + TICK, False)]
)
def test_an_event_is_fresh_up_to_its_age(ago: timedelta, wanted: bool) -> None:
    """An event as old as the journey acts on is acted on; one that is any older is not."""
    event = replace(context().event, occurred_at=NOW - ago)
    verdict = judged(candidate(), context(event=event), OPEN)
    assert [one.code for one in objections(verdict)] == ([] if wanted else ["stale_event"])


@pytest.mark.parametrize(("purpose", "wanted"), [("promo", False), ("service", True)])
def test_an_undated_event_causes_no_marketing(purpose: str, wanted: bool) -> None:
    """Nobody knows whether an undated event is fresh: it may cause service, and no promotion."""
    event = replace(context().event, occurred_at=None)
    verdict = judged(candidate(purpose=purpose), context(event=event), OPEN)
    assert [one.code for one in objections(verdict)] == ([] if wanted else ["stale_event"])


@pytest.mark.parametrize(("left", "wanted"), [(TICK, True), (timedelta(), False)])
def test_what_was_held_too_long_is_not_wanted(left: timedelta, wanted: bool) -> None:
    """What was held is wanted until it expires, and no longer."""
    asked = context(asked=Pass("release", 1, "d-1", None, NOW + left))
    verdict = judged(candidate(), asked, OPEN)
    assert [one.code for one in objections(verdict)] == ([] if wanted else ["stale_event"])


def test_marketing_where_no_purpose_is_marketing() -> None:
    """Where no marketing is declared, a promotion inside another message is still one."""
    purposes = {"order_update": world.PURPOSES["order_update"]}
    by = Guard(world.policies({"purposes": purposes}), {})
    of = candidate(purpose="order_update", kind="notice", promotional=True, mandatory=True)
    verdict = judged(of, context(human_in_charge=True), by)
    assert [one.code for one in objections(verdict)] == ["human_in_charge", "mixed_purpose"]


# What counts


def test_a_contact_that_is_as_old_as_the_window_is_not_counted() -> None:
    """The window is open at its far end: a contact exactly as old is not in it."""
    of = candidate()
    for age, count in ((timedelta(hours=24), 0), (timedelta(hours=24) - TICK, 1)):
        asked = context(contacts=(contact(NOW - age),))
        (cap,) = [one for one in GUARD.ask_in_full(of, asked) if one.rule == "day"]
        assert cap.read == {"per": "person", "count": count, "limit": 1, "window_seconds": 86400}


def test_a_cap_clears_when_enough_contacts_are_gone() -> None:
    """Where more were made than the limit allows, it is the newest that has to go."""
    made = tuple(contact(NOW - timedelta(hours=n)) for n in (1, 2, 3))
    (cap,) = [
        one for one in GUARD.ask_in_full(candidate(), context(contacts=made)) if one.rule == "day"
    ]
    assert cap.clears_at == NOW + timedelta(hours=23)


@pytest.mark.parametrize(
    "other",
    [
        {"profile_id": "q"},
        {"purpose": "service"},
    ],
)
def test_what_a_cap_does_not_count(other: dict[str, str]) -> None:
    """A cap on a person's promotions counts nobody else's and nothing else."""
    asked = context(contacts=(contact(NOW - timedelta(hours=1), **other),))
    (cap,) = [one for one in GUARD.ask_in_full(candidate(), asked) if one.rule == "day"]
    assert cap.passed


# When it may be asked again


def blocked_in_time(of: Candidate, asked: Context) -> list[Finding]:
    found = GUARD.ask_in_full(of, asked, "a" * 64)
    return [one for one in found if not one.passed and is_time_bound(one.code)]


@st.composite
def waiting(draw: st.DrawFn) -> Context:
    """Somebody whom nothing but the hour and the number of contacts can stand in the way of."""
    now = draw(moments)
    return context(
        now=now,
        zone_of_person=draw(zones),
        zones_of_address=draw(zones_of_address),
        contacts=newest_first(draw(st.lists(contacts(now), max_size=6))),
    )


@PROPERTY
@given(st.sampled_from([candidate(), sms()]), waiting())
def test_next_eligible_is_the_first_instant(of: Candidate, asked: Context) -> None:
    """At `next_eligible_at` every time-bound rule passes; one microsecond earlier one does not."""
    verdict = judged(of, asked)
    if isinstance(verdict, Permit) or verdict.next_eligible_at is None:
        return
    assert verdict.next_eligible_at > asked.now
    assert not blocked_in_time(of, replace(asked, now=verdict.next_eligible_at))
    assert blocked_in_time(of, replace(asked, now=verdict.next_eligible_at - TICK))


@PROPERTY
@given(candidates(), contexts())
def test_next_eligible_is_null_where_waiting_is_not_enough(of: Candidate, asked: Context) -> None:
    """No instant is forecast where anything but time stands in the way."""
    verdict = judged(of, asked)
    if isinstance(verdict, Permit):
        return
    if not all(is_time_bound(finding.code) for finding in objections(verdict)):
        assert verdict.next_eligible_at is None


@PROPERTY
@given(contexts())
def test_forecast_agrees_with_review(asked: Context) -> None:
    """A forecast at screening is the one that the verdict would carry."""
    verdict = judged(candidate(), asked)
    expected = None if isinstance(verdict, Permit) else verdict.next_eligible_at
    assert GUARD.forecast(candidate(), asked) == expected


# Who says yes


APPROVAL_CASES = [
    ("approved", "event", None),
    ("approved", "approval", None),
    ("pending", "event", "needs_approval"),
    ("withdrawn", "event", "needs_approval"),
    ("superseded", "event", "needs_approval"),
    ("expired", "event", "needs_approval"),
    ("expired", "approval", "approval_expired"),
    ("rejected", "event", "approval_rejected"),
    ("rejected", "approval", "approval_rejected"),
]


@pytest.mark.parametrize(("state", "kind", "code"), APPROVAL_CASES)
def test_what_a_person_said(state: Any, kind: Any, code: str | None) -> None:
    """Only an approval passes; a rejection and an answer that never came do not."""
    of = candidate(purpose="service", urgency="now", amount=Money(5000, "EUR"))
    fact = ApprovalFact("a-1", "a" * 64, state, None, None, NOW)
    verdict = judged(of, context(approvals=(fact,), asked=Pass(kind, 1)))
    found = [finding.code for finding in objections(verdict)]
    assert found == ([] if code is None else [code])


def test_an_approval_of_something_else() -> None:
    """An approval of another proposal is none of this one."""
    of = candidate(purpose="service", urgency="now", amount=Money(5000, "EUR"))
    fact = ApprovalFact("a-1", "b" * 64, "approved", "x", NOW, NOW)
    assert isinstance(judged(of, context(approvals=(fact,))), Hold)


def test_what_weighs_much_is_held_for_a_person() -> None:
    """Where no rule names who may decide, nobody but a person in charge does."""
    of = candidate(purpose="service", significance="legal")
    verdict = judged(of, context(), OPEN)
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, verdict.next_eligible_at) == ("human", None)
    assert [finding.code for finding in objections(verdict)] == ["human_decision"]


# Who may know


AUDIENCES: tuple[Audience, ...] = EVERYONE


@PROPERTY
@given(candidates(), contexts(), st.sampled_from(AUDIENCES))
def test_what_is_withheld_has_one_shape(of: Candidate, asked: Context, audience: Audience) -> None:
    """Outside its audience, nothing of a finding tells which rule made it."""
    found = [replace(one, shown_to=("fraud",)) for one in GUARD.ask_in_full(of, asked)]
    for one in found:
        if audience == "fraud":
            assert disclosed(one, audience) is one
    shapes: dict[tuple[str, str | None], Finding] = {}
    for one in found:
        if audience != "fraud":
            seen = disclosed(one, audience)
            assert seen == shapes.setdefault((one.outcome, one.held_for), seen)
            assert (seen.rule, seen.code, seen.place) == ("unavailable", "unavailable", "")
            assert (dict(seen.read), seen.counterfactual, seen.clears_at) == ({}, "", None)


def test_the_leading_objection_is_one_that_time_does_not_clear() -> None:
    """What must change is named before what only needs time."""
    full = context(
        contacts=(contact("2026-11-23T10:00:00Z", channel="sms"),),
        consents=(denial(contact_point=world.PHONE),),
        zone_of_person="Asia/Kathmandu",
    )
    found = objections(judged(sms(contact_point=point(world.PHONE, "phone")), full))
    assert [finding.code for finding in found] == ["consent", "frequency_cap", "quiet_hours"]
    assert all(one.outcome != "hold" or two.outcome == "hold" for one, two in pairwise(found))
