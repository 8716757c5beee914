"""The guard's corner cases, each with its exact result.

All instants are UTC. `codes` are the codes of the findings that did not pass, in the order of the
rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import phonenumbers
import phonenumbers.timezone
import pytest

from domain.action import Block, BlockKind, Money, Offer
from domain.consent import Consent
from domain.context import (
    ApprovalFact,
    Context,
    Jurisdiction,
    OfferState,
    Pass,
    Suppression,
)
from domain.proposal import Candidate
from domain.verdict import Denial, Hold, Permit, Verdict, objections
from policies.guard import Guard
from profiles.jurisdictions import codes_of_number
from profiles.zones import zones_of
from tests import world
from tests.world import at, candidate, contact, context, denial, grant, objection, point, sms

DAY_CAP = {"id": "day-cap", "limit": 1, "window": "24h", "purposes": ["promo"]}
SMS_HOURS = {"id": "sms-hours", "channels": ["sms"], "window": "08:00-21:00"}
MIXED = (
    Block("information", "Your order is on its way."),
    Block("information", "It arrives on Friday."),
    Block("promotion", "20 % off your next order."),
)
BANK: Mapping[str, Any] = {"brand": "bank", "controller": "bank"}


def nobody(**changes: Any) -> Context:
    """A person who granted nothing."""
    return context(consents=(), **changes)


def guard(offer: Offer | None = None, /, **sections: Any) -> Guard:
    return Guard(world.policies(sections), {offer.name: offer} if offer else {})


def judged(by: Guard, of: Candidate, asked: Context) -> Verdict:
    return by.review(world.proposal(of), asked)


def codes(verdict: Verdict) -> list[str | None]:
    return [finding.code for finding in verdict.findings if not finding.passed]


def test_case_01_fall_back_closed_side_wins() -> None:
    """A window that opens at an hour that comes twice opens at the second one."""
    hours = {"id": "email-hours", "channels": ["email"], "window": "01:30-22:00"}
    asked = context(now=at("2026-11-01T05:45:00Z"), zone_of_person="America/New_York")
    verdict = judged(guard(quiet_hours=[hours]), candidate(), asked)
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, codes(verdict)) == ("time", ["quiet_hours"])
    assert verdict.next_eligible_at == at("2026-11-01T06:30:00Z")


def test_case_01_an_hour_that_comes_twice_on_both_sides() -> None:
    """Where the window closes at an hour that comes twice, it closes at the first one."""
    hours = {"id": "email-hours", "channels": ["email"], "window": "08:00-01:30"}
    by = guard(quiet_hours=[hours])
    for moment, expected in (
        ("2026-11-01T05:29:59Z", None),
        ("2026-11-01T05:30:00Z", "2026-11-01T13:00:00Z"),  # the first 01:30
        ("2026-11-01T06:15:00Z", "2026-11-01T13:00:00Z"),  # 01:15 once more
    ):
        asked = context(now=at(moment), zone_of_person="America/New_York")
        verdict = judged(by, candidate(), asked)
        if expected is None:
            assert isinstance(verdict, Permit)
            assert verdict.not_after == at("2026-11-01T05:30:00Z")
            continue
        assert isinstance(verdict, Hold)
        assert (verdict.held_for, codes(verdict)) == ("time", ["quiet_hours"])
        assert verdict.next_eligible_at == at(expected)


def test_case_02_spring_rolling_is_elapsed() -> None:
    """A rolling day is 24 elapsed hours, also on the day that has only 23."""
    asked = context(
        now=at("2026-03-08T16:30:00Z"),
        zone_of_person="America/New_York",
        contacts=(contact("2026-03-07T17:00:00Z"),),
    )
    verdict = judged(guard(frequency_caps=[DAY_CAP]), candidate(), asked)
    assert isinstance(verdict, Denial)
    assert codes(verdict) == ["frequency_cap"]
    assert verdict.next_eligible_at == at("2026-03-08T17:00:00Z")


def test_case_02_autumn_rolling_is_elapsed() -> None:
    """A rolling day is 24 elapsed hours, also on the day that has 25."""
    asked = context(
        now=at("2026-11-01T16:30:00Z"),
        zone_of_person="America/New_York",
        contacts=(contact("2026-10-31T16:00:00Z"),),
    )
    assert isinstance(judged(guard(frequency_caps=[DAY_CAP]), candidate(), asked), Permit)


def test_case_03_boundary() -> None:
    """A contact counts until the last millisecond of its window, and not at its end."""
    by = guard(frequency_caps=[DAY_CAP])
    made = (contact("2026-11-22T17:00:00Z"),)
    before = judged(by, candidate(), context(now=at("2026-11-23T16:59:59.999Z"), contacts=made))
    assert isinstance(before, Denial)
    assert codes(before) == ["frequency_cap"]
    assert before.next_eligible_at == at("2026-11-23T17:00:00Z")
    on_time = context(now=at("2026-11-23T17:00:00Z"), contacts=made)
    assert isinstance(judged(by, candidate(), on_time), Permit)


def test_case_05_area_code_against_address() -> None:
    """A text message waits until it is day where the number is from and where the person lives."""
    asked = context(now=at("2026-11-25T02:30:00Z"), zones_of_address=("America/Los_Angeles",))
    number = point(world.PHONE, "phone", zones=("America/New_York",))
    verdict = judged(guard(quiet_hours=[SMS_HOURS]), sms(contact_point=number), asked)
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, codes(verdict)) == ("time", ["quiet_hours"])
    assert verdict.next_eligible_at == at("2026-11-25T16:00:00Z")
    assert objections(verdict)[0].read["zones"] == {
        "America/Los_Angeles": "address",
        "America/New_York": "number",
    }


FLORIDA = {**SMS_HOURS, "jurisdictions": {"US-FL": "08:00-20:00"}}
IN_FLORIDA = (Jurisdiction("US", "number"), Jurisdiction("US-FL", "number"))


def test_case_05_the_law_of_the_area_code() -> None:
    """At half past eight in the evening a number of Florida's is left alone until eight."""
    number = point(world.PHONE, "phone", zones=zones_of("+13055550123"))
    codes_here = codes_of_number("+13055550123")
    asked = context(
        now=at("2026-11-25T01:30:00Z"),
        jurisdictions=tuple(Jurisdiction(code, "number") for code in codes_here),
    )
    by = guard(quiet_hours=[FLORIDA])
    verdict = judged(by, sms(contact_point=number), asked)
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, codes(verdict)) == ("time", ["quiet_hours"])
    assert verdict.next_eligible_at == at("2026-11-25T13:00:00Z")
    (finding,) = objections(verdict)
    assert finding.reason == "quiet hours of US-FL, which is open 08:00-20:00"
    assert finding.counterfactual == "wait until 2026-11-25 13:00:00Z"
    assert finding.read == {
        "window": "08:00-21:00",
        "zones": {"America/New_York": "number"},
        "closed": ["US-FL 08:00-20:00 in America/New_York"],
        "jurisdictions": {"US-FL": "number"},
    }
    elsewhere = replace(asked, jurisdictions=(Jurisdiction("US", "number"),
                                              Jurisdiction("US-GA", "number")))  # fmt: skip
    assert isinstance(judged(by, sms(contact_point=number), elsewhere), Permit)
    now = sms(contact_point=number, purpose="service", urgency="now")
    agreed = (*asked.consents, grant(contact_point=world.PHONE, purpose="service"))
    assert isinstance(judged(by, now, replace(asked, consents=agreed)), Permit)


@pytest.mark.parametrize(
    ("known", "applies"),
    [
        ((), True),  # nothing known: all that are configured
        ((Jurisdiction("US", "billing"),), True),  # in a state that nobody knows
        ((Jurisdiction("US", "billing"), Jurisdiction("US-NY", "number")), False),
        ((Jurisdiction("DE", "residence"),), False),
        ((Jurisdiction("DE", "residence"), *IN_FLORIDA), True),  # all laws at once
    ],
)
def test_the_strictest_law_that_may_apply_counts(
    known: tuple[Jurisdiction, ...], applies: bool
) -> None:
    """A law is left out only where it is known not to apply."""
    asked = context(
        now=at("2026-11-25T01:30:00Z"), zone_of_person="America/New_York", jurisdictions=known
    )
    verdict = judged(guard(quiet_hours=[FLORIDA]), sms(), asked)
    assert isinstance(verdict, Hold if applies else Permit)


def test_all_laws_and_the_window_are_open_at_once() -> None:
    """Two laws and the window leave what they have in common, holidays and days off included."""
    hours = {
        **SMS_HOURS,
        "days": "mon-sat",
        "jurisdictions": {
            "FR": {"window": "10:00-13:00,14:00-20:00", "days": "mon-fri", "holidays": ["11-11"]},
            "BE": {"holidays": ["2026-11-12"]},
        },
    }
    by = guard(quiet_hours=[hours])
    both = (Jurisdiction("FR", "address"), Jurisdiction("BE", "number"))
    in_paris: Mapping[str, Any] = {"zones_of_address": ("Europe/Paris",), "jurisdictions": both}
    for moment, expected in (
        ("2026-11-10T12:00:00Z", "2026-11-10T13:00:00Z"),  # Tuesday's pause
        ("2026-11-10T19:00:00Z", "2026-11-13T09:00:00Z"),  # 11 November and the day after
        ("2026-11-13T19:00:00Z", "2026-11-16T09:00:00Z"),  # the week-end
    ):
        verdict = judged(by, sms(), context(now=at(moment), **in_paris))
        assert isinstance(verdict, Hold)
        assert verdict.next_eligible_at == at(expected)
        assert isinstance(judged(by, sms(), context(now=at(expected), **in_paris)), Permit)
    permit = judged(by, sms(), context(now=at("2026-11-16T11:59:30Z"), **in_paris))
    assert isinstance(permit, Permit)
    assert permit.not_after == at("2026-11-16T12:00:00Z")


def test_an_e_mail_goes_by_the_first_zone_known() -> None:
    """Of profile, address and number the first decides; for a text message all of them do."""
    hours = {"id": "hours", "channels": ["email", "sms"], "window": "08:00-21:00"}
    by = guard(quiet_hours=[hours])
    number = point(world.PHONE, "phone", zones=("Asia/Tokyo",))
    asked = context(now=at("2026-11-25T18:00:00Z"), contact_points=(point(), number))
    by_number = judged(by, candidate(), asked)
    assert isinstance(by_number, Hold)
    assert objections(by_number)[0].read["zones"] == {"Asia/Tokyo": "number"}
    by_address = replace(asked, zones_of_address=("America/New_York",))
    assert isinstance(judged(by, candidate(), by_address), Permit)
    assert isinstance(judged(by, sms(contact_point=number), by_address), Hold)
    by_person = replace(by_address, zone_of_person="Asia/Tokyo")
    assert isinstance(judged(by, candidate(), by_person), Hold)
    nowhere = judged(by, candidate(), replace(asked, contact_points=(point(),)))
    assert isinstance(nowhere, Hold)
    assert (nowhere.next_eligible_at, objections(nowhere)[0].counterfactual) == (
        None,
        "learn the address",
    )


def test_case_06_toll_free_number() -> None:
    """A number that may be anywhere is called at no hour until an address is learnt."""
    parsed = phonenumbers.parse("+18002530000")
    zones = phonenumbers.timezone.time_zones_for_number(parsed)
    assert len(zones) > 40
    for hour in range(24):
        asked = context(now=at("2026-11-25T00:00:00Z") + timedelta(hours=hour))
        number = point(world.PHONE, "phone", zones=zones)
        verdict = judged(guard(quiet_hours=[SMS_HOURS]), sms(contact_point=number), asked)
        assert isinstance(verdict, Hold)
        assert (verdict.held_for, codes(verdict)) == ("time", ["quiet_hours"])
        assert verdict.next_eligible_at is None
        assert objections(verdict)[0].counterfactual == "learn the address"
        assert verdict.expires_at == asked.now + timedelta(days=1)


def test_case_06_number_of_nowhere() -> None:
    """A number of which no zone is known is held the same way."""
    verdict = judged(guard(quiet_hours=[SMS_HOURS]), sms(), context())
    assert isinstance(verdict, Hold)
    assert (verdict.held_for, verdict.next_eligible_at) == ("time", None)
    assert objections(verdict)[0].counterfactual == "learn the address"


def _two_blockers(*consents: Consent) -> Verdict:
    cap = {**DAY_CAP, "on_capped": "defer"}
    asked = context(
        now=at("2026-11-24T03:00:00Z"),
        zone_of_person="America/New_York",
        contacts=(contact("2026-11-23T04:00:00Z"),),
        consents=consents,
    )
    return judged(guard(frequency_caps=[cap], quiet_hours=[SMS_HOURS]), sms(), asked)


def test_case_07_two_blockers() -> None:
    """The next eligible instant is the one at which all the blockers are gone."""
    verdict = _two_blockers(grant(contact_point=world.PHONE))
    assert isinstance(verdict, Hold)
    assert verdict.held_for == "time"
    assert codes(verdict) == ["frequency_cap", "quiet_hours"]
    assert verdict.next_eligible_at == at("2026-11-24T13:00:00Z")


def test_case_07_two_blockers_without_consent() -> None:
    """Where consent is missing too, no waiting helps."""
    verdict = _two_blockers()
    assert isinstance(verdict, Denial)
    assert objections(verdict)[0].code == "consent"
    assert verdict.next_eligible_at is None


def test_case_08_two_brands() -> None:
    """An answer given to one company is no answer to another one."""
    said = (grant(), denial(brand="bank", controller="bank"))
    shop = context(consents=said)
    assert isinstance(judged(guard(), candidate(), shop), Permit)
    bank = judged(guard(), candidate(brand="bank"), context(consents=said, **BANK))
    assert isinstance(bank, Denial)
    assert (codes(bank), bank.next_eligible_at) == (["consent"], None)


def test_case_08_objection_to_one_company() -> None:
    """An objection holds for every contact point of that company, and for no other company."""
    said = (
        grant(),
        grant(brand="bank", controller="bank"),
        objection("2026-11-01T00:00:00Z", controller="bank"),
    )
    assert isinstance(judged(guard(), candidate(), context(consents=said)), Permit)
    bank = judged(guard(), candidate(brand="bank"), context(consents=said, **BANK))
    assert isinstance(bank, Denial)
    assert (codes(bank), bank.next_eligible_at) == (["objection"], None)


def test_case_09_spam_complaint_then_fraud_alert() -> None:
    """A spam complaint stops that brand's marketing at that address, and nothing else."""
    complaint = Suppression(world.EMAIL, "address", "shop", None, "marketing", "spam complaint")
    asked = context(suppressions=(complaint,))
    promo = judged(guard(), candidate(), asked)
    assert isinstance(promo, Denial)
    assert (codes(promo), promo.next_eligible_at) == (["suppressed"], None)
    assert isinstance(judged(guard(), candidate(purpose="order_update"), asked), Permit)
    alert = candidate(purpose="service", urgency="now", brand="bank")
    in_bank = context(suppressions=(complaint,), **BANK)
    assert isinstance(judged(guard(), alert, in_bank), Permit)


@pytest.mark.parametrize(
    ("said", "lifted"),
    [
        ((grant("2026-11-02T00:00:00Z"),), True),
        ((), False),
        ((grant("2026-10-01T00:00:00Z", received_at=at("2026-11-02T00:00:00Z")),), False),
        ((grant("2026-11-02T00:00:00Z", contact_point=None),), False),
        ((grant("2026-11-02T00:00:00Z", topic="news"),), False),
        ((grant("2026-11-02T00:00:00Z", expires_at=at("2026-11-03T00:00:00Z")),), False),
        ((grant("2026-11-02T00:00:00Z"), denial("2026-11-03T00:00:00Z")), False),
        ((world.line("imported", "2026-11-02T00:00:00Z"),), False),
        ((world.line("pending", "2026-11-02T00:00:00Z"),), False),
    ],
)
def test_case_24_only_a_later_explicit_yes_lifts_an_erasure(
    said: tuple[Consent, ...], lifted: bool
) -> None:
    """Said and received later, at this address, to this, still standing; an older yes never."""
    erased = Suppression(
        world.EMAIL, "address", None, None, "marketing", "erased",
        until_grant=True, since=at("2026-11-01T00:00:00Z"),
    )  # fmt: skip
    asked = context(suppressions=(erased,), consents=(grant(), *said))
    promo = judged(guard(), candidate(), asked)
    assert isinstance(promo, Permit) is lifted
    if isinstance(promo, Denial):
        assert "suppressed" in codes(promo)
        assert promo.next_eligible_at is None
    assert isinstance(judged(guard(), candidate(purpose="order_update"), asked), Permit)


def test_case_10_opt_out_between_reservation_and_send() -> None:
    """An opt-out that commits 300 ms before sending stops it, whatever was permitted before."""
    by, of = guard(), world.proposal()
    permit = by.review(of, context(now=at("2026-11-23T17:00:00.000Z")))
    assert isinstance(permit, Permit)
    said = (grant(), denial("2026-11-23T17:00:00.200Z"))
    at_sending = context(now=at("2026-11-23T17:00:00.500Z"), consents=said)
    assert by.dispatch(permit, of, at_sending) == "consent"
    after = by.review(of, at_sending)
    assert isinstance(after, Denial)
    assert (codes(after), after.next_eligible_at) == (["consent"], None)


def test_case_11_stop_by_the_other_user_of_the_phone() -> None:
    """A STOP holds for everyone at that number, from its own millisecond on."""
    now = at("2026-11-23T17:00:00.000Z")
    stop = denial("2026-11-23T17:00:00.000Z", profile_id="q", contact_point=world.PHONE)
    yes = grant(contact_point=world.PHONE)
    verdict = judged(guard(), sms(), context(now=now, consents=(yes, stop)))
    assert isinstance(verdict, Denial)
    assert codes(verdict) == ["consent"]
    assert isinstance(judged(guard(), sms(), context(now=now, consents=(yes,))), Permit)


def test_case_14_expired_under_opt_out() -> None:
    """A yes that has run out is no silence: it passes under no model."""
    promo = {
        "title": "Offers",
        "model": "opt_in",
        "marketing": True,
        "models": [
            {"channels": ["email"], "jurisdictions": ["CA"], "model": "opt_out", "basis": "CA"}
        ],
    }
    by = guard(purposes={**world.PURPOSES, "promo": promo})
    ended = grant(expires_at=at("2026-11-22T17:00:00Z"))
    in_canada: Any = {"jurisdictions": (Jurisdiction("CA", "address"),)}
    verdict = judged(by, candidate(), context(consents=(ended,), **in_canada))
    assert isinstance(verdict, Denial)
    assert (codes(verdict), verdict.next_eligible_at) == (["consent_expired"], None)
    assert isinstance(judged(by, candidate(), context(consents=(), **in_canada)), Permit)


def test_case_15_transactional_with_a_promo_inside() -> None:
    """A promotion inside an exempt message is judged as marketing; without it, it may go."""
    nobody_asked = judged(guard(), candidate(purpose="order_update", blocks=MIXED), nobody())
    assert isinstance(nobody_asked, Denial)
    assert (codes(nobody_asked), nobody_asked.next_eligible_at) == (["mixed_purpose"], None)
    assert objections(nobody_asked)[0].counterfactual == "remove block 3"
    without = candidate(purpose="order_update", blocks=MIXED[:2])
    assert isinstance(judged(guard(), without, nobody()), Permit)


@pytest.mark.parametrize("kind", ["offer", "promotion", "referral", "cross_sell", "survey"])
def test_case_15_whatever_the_promotion_is(kind: BlockKind) -> None:
    """Any part that is no information makes an exempt message marketing, and is named."""
    blocks = (Block(kind, "Tell a friend."), *MIXED[:2], Block(kind, "And another."))
    verdict = judged(guard(), candidate(purpose="order_update", blocks=blocks), nobody())
    assert codes(verdict) == ["mixed_purpose"]
    assert objections(verdict)[0].counterfactual == "remove blocks 1, 4"


def test_case_15_an_offer_that_is_no_block() -> None:
    """An offer that rides on the whole message cannot be taken out by a block."""
    marked = candidate(purpose="order_update", promotional=True)
    verdict = judged(guard(), marked, nobody())
    assert codes(verdict) == ["mixed_purpose"]
    assert objections(verdict)[0].counterfactual == "take the promotional part out"


def test_case_15_transactional_with_a_promo_inside_and_a_full_cap() -> None:
    """Who asked for promotions gets no more of them inside order messages than beside them."""
    mixed = candidate(purpose="order_update", blocks=MIXED, obeys_caps=False)
    asked = context(contacts=(contact("2026-11-23T10:00:00Z"),))
    verdict = judged(guard(frequency_caps=[DAY_CAP]), mixed, asked)
    assert isinstance(verdict, Denial)
    assert codes(verdict) == ["frequency_cap"]
    assert verdict.next_eligible_at == at("2026-11-24T10:00:00Z")


def test_case_15_no_door_by_another_name() -> None:
    """Neither a kind, nor urgency, nor `mandatory` lets marketing past what marketing obeys."""
    night = context(now=at("2026-11-24T03:00:00Z"), zone_of_person="America/New_York")
    full = replace(night, contacts=(contact("2026-11-23T10:00:00Z", channel="sms"),))
    stopped = replace(night, kill_switches=("channel:sms",), consents=(), human_in_charge=True)
    by = guard(frequency_caps=[DAY_CAP], quiet_hours=[SMS_HOURS])
    for purpose in ("promo", "order_update"):
        for kind in ("contact", "notice", "reply", "presentation", "internal"):
            of = sms(
                purpose=purpose,
                kind=kind,
                promotional=True,
                urgency="now",
                mandatory=True,
            )
            assert codes(judged(by, of, full)) == ["frequency_cap", "quiet_hours"]
            found = codes(judged(by, of, stopped))
            refused = "consent" if purpose == "promo" else "mixed_purpose"
            assert found == ["kill_switch", "human_in_charge", refused, "quiet_hours"]


def test_case_22_kill_switch_while_deferred() -> None:
    """A switch holds without a forecast; once it is off, everything is asked anew."""
    until = at("2026-11-24T14:00:00Z")
    voucher = Offer("voucher", "Voucher", Money(500, "EUR"), 10, until)
    asked = Pass("release", 1, "d-1", "promo_by_sms", at("2026-11-25T03:00:00Z"))
    of = sms(offer="voucher")
    deferred = context(
        now=at("2026-11-24T13:00:00Z"),
        asked=asked,
        zone_of_person="America/New_York",
        offers={"voucher": OfferState("voucher", 10)},
        kill_switches=("channel:sms",),
    )
    by = guard(voucher, quiet_hours=[SMS_HOURS])
    held = judged(by, of, deferred)
    assert isinstance(held, Hold)
    assert codes(held) == ["kill_switch"]
    assert held.next_eligible_at is None
    released = replace(deferred, now=at("2026-11-24T14:30:00Z"), kill_switches=())
    late = judged(by, of, released)
    assert isinstance(late, Denial)
    assert (codes(late), late.next_eligible_at) == (["offer_unavailable"], None)
    lasting = guard(replace(voucher, valid_until=None), quiet_hours=[SMS_HOURS])
    assert isinstance(judged(lasting, of, released), Permit)


def test_case_23_service_failure_is_no_matter_of_the_guard() -> None:
    """Hand-off, apology and voucher all pass the guard: withholding one is the holdout's doing."""
    voucher = Offer("voucher", "Voucher", Money(500, "EUR"), 10)
    by = guard(voucher)
    asked = context(
        arms={"failed_self_service": "held_out"},
        offers={"voucher": OfferState("voucher", 10)},
    )
    for of in (
        candidate(tool="handoff", kind="internal", channel=None, purpose="service"),
        candidate(purpose="service"),
        candidate(offer="voucher"),
    ):
        assert isinstance(judged(by, of, asked), Permit)


def test_case_21_another_rule_changed_while_pending() -> None:
    """An approval stays good under a policy set in which some other rule is new."""
    asks = {
        "id": "vouchers",
        "when": "action.amount > 1000",
        "reason": "a large voucher",
        "role": "marketing",
        "expires_in": "30m",
    }
    of = world.proposal(candidate(amount=Money(8000, "EUR")))
    before, after = guard(approvals=[asks]), guard(approvals=[asks], quiet_hours=[SMS_HOURS])
    now = at("2026-11-23T17:15:00Z")
    held = before.review(of, context(now=now))
    assert isinstance(held, Hold)
    assert (held.held_for, held.role, held.quorum) == ("approval", "marketing", 1)
    assert held.expires_at == now + timedelta(minutes=30)
    fact = ApprovalFact("a-1", of.hash, "approved", "x", now, now + timedelta(minutes=15))
    assert isinstance(after.review(of, context(now=now, approvals=(fact,))), Permit)
