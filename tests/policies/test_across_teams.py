"""What keeps teams from talking across each other: pure, under one policy set at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from domain.action import Money, Offer
from domain.budget import Budget, Period
from domain.context import Context, Occurrence, OfferState, Spending, Told
from domain.errors import ConfigurationError
from domain.journey import Instance
from domain.proposal import Candidate, Upcoming
from domain.verdict import Denial, Finding, Hold, Permit, Verdict, objections
from policies.guard import Guard
from tests import world
from tests.world import NOW, at, candidate, context, sms

DAY = timedelta(days=1)
BOUGHT = {
    "id": "bought",
    "after": ["order_completed"],
    "lasts": "7d",
    "match": "event.product_id",
    "reason": "it was bought a moment ago",
}
FAILED = {"id": "failed", "after": ["failure", "complaint"], "lasts": "3d", "reason": "it failed"}
SET = {"id": "one-of", "journeys": [["cart", "browse"], "winback"], "within": "7d"}
ONCE = {"id": "once", "within": "30d"}
VOUCHER = Offer("voucher", "Voucher", Money(500, "EUR"), 10)
MONTH = {"id": "month", "amount": "20.00 EUR", "period": "month"}


def judged(of: Candidate, asked: Context, /, **sections: Any) -> Verdict:
    by = Guard(world.policies(sections), {"voucher": VOUCHER})
    return by.review(world.proposal(of), asked)


def only(verdict: Verdict) -> Finding:
    """The one finding that is against it."""
    assert isinstance(verdict, Denial)
    (finding,) = objections(verdict)
    return finding


def told(when: str, **changes: Any) -> Told:
    given = {"action": "other", "journey": "other", "team": "other", "creative": None}
    return Told(**(given | {"at": at(when)} | changes))


def instance(journey: str, entered: str, **changes: Any) -> Instance:
    given: dict[str, Any] = {"state": "active", "ends_at": NOW + DAY, "journey_version": "v"}
    given |= {"journey": journey, "key": "i", "entered_at": at(entered)}
    return Instance(**(given | changes))


def test_a_cool_off_lasts_by_the_time_of_the_event() -> None:
    """Until its last microsecond a cool-off refuses, and says when it is over; then it does not."""
    seen = Occurrence("failure", "", NOW - timedelta(days=3) + timedelta(microseconds=1))
    asked = context(occurrences=(seen,))
    verdict = judged(candidate(), asked, cool_offs=[FAILED])
    finding = only(verdict)
    assert (finding.code, finding.rule) == ("cool_off", "failed")
    assert finding.clears_at == seen.at + timedelta(days=3)
    assert finding.read["last"] == seen.at
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at == finding.clears_at
    over = context(occurrences=(Occurrence("failure", "", NOW - timedelta(days=3)),))
    assert isinstance(judged(candidate(), over, cool_offs=[FAILED]), Permit)


def test_the_last_of_several_events_decides() -> None:
    """A cool-off after any of several events runs from the newest of them, whatever the order."""
    seen = (Occurrence("complaint", "", NOW - 2 * DAY), Occurrence("failure", "", NOW - DAY))
    for order in (seen, seen[::-1]):
        verdict = judged(candidate(), context(occurrences=order), cool_offs=[FAILED])
        assert only(verdict).clears_at == NOW + 2 * DAY


def test_a_cool_off_knows_what_it_is_about() -> None:
    """What was read for one property says nothing to a rule about another, or about all of them."""
    asked = context(occurrences=(Occurrence("order_completed", "product_id", NOW - DAY),))
    assert only(judged(candidate(), asked, cool_offs=[BOUGHT])).code == "cool_off"
    unmatched = {key: value for key, value in BOUGHT.items() if key != "match"}
    assert isinstance(judged(candidate(), asked, cool_offs=[unmatched]), Permit)


@pytest.mark.parametrize(
    ("of", "refused"),
    [
        (candidate(), True),
        (candidate(kind="presentation", channel="web", contact_point=None), True),
        (candidate(tool="offer", kind="internal", channel=None, offer="voucher"), True),
        (candidate(purpose="order_update", promotional=True), True),
        (candidate(purpose="order_update"), False),
        (candidate(purpose="service", kind="reply"), False),
        (candidate(tool="case", kind="internal", channel=None, purpose="service"), False),
    ],
)
def test_a_cool_off_is_for_promotions_however_they_come(of: Candidate, refused: bool) -> None:
    """A promotion is refused as message, banner, grant or inside an order's mail; help is not."""
    offers = {"voucher": OfferState("voucher", 10)}
    asked = context(occurrences=(Occurrence("failure", "", NOW - DAY),), offers=offers)
    verdict = judged(of, asked, cool_offs=[FAILED])
    assert isinstance(verdict, Denial if refused else Permit)
    if refused:
        assert only(verdict).code == "cool_off"


def test_a_cool_off_and_a_cap_clear_together() -> None:
    """The next eligible instant is the one at which both have run out."""
    cap = {"id": "cap", "limit": 1, "window": "5d"}
    asked = context(
        occurrences=(Occurrence("failure", "", NOW - DAY),),
        contacts=(world.contact(NOW - DAY),),
    )
    verdict = judged(candidate(), asked, cool_offs=[FAILED], frequency_caps=[cap])
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at == NOW + 4 * DAY


@pytest.mark.parametrize(
    ("seen", "by"),
    [
        (told("2026-11-20T00:00:00Z", journey="winback"), "winback"),
        (told("2026-11-20T00:00:00Z", journey="browse"), None),
        (told("2026-11-20T00:00:00Z", journey="cart"), None),
        (told("2026-11-20T00:00:00Z", journey="elsewhere"), None),
        (told("2026-11-16T17:00:00Z", journey="winback"), None),
        (told("2026-11-16T17:00:00.000001Z", journey="winback"), "winback"),
    ],
)
def test_of_a_set_only_one_contacts_within_the_window(seen: Told, by: str | None) -> None:
    """A contact of another part of the set refuses; one's own part, or an older one, does not."""
    verdict = judged(candidate(), context(told=(seen,)), exclusive=[SET])
    assert isinstance(verdict, Permit if by is None else Denial)
    if by is not None:
        finding = only(verdict)
        assert (finding.code, finding.read["taken_by"]) == ("exclusive", by)
        assert finding.clears_at == seen.at + 7 * DAY
        assert isinstance(verdict, Denial)
        assert verdict.next_eligible_at is None  # it is not time that clears this code


def test_the_first_journey_under_way_keeps_its_place() -> None:
    """Of two journeys of a set that are both active, exactly one may go on: the earlier."""
    running = (
        instance("winback", "2026-11-22T00:00:00Z"),
        instance("cart", "2026-11-23T00:00:00Z"),
    )
    asked = context(instances=running)
    finding = only(judged(candidate(), asked, exclusive=[SET]))
    assert (finding.code, finding.reason) == (
        "exclusive",
        "another of the set comes first: `winback`",
    )
    assert isinstance(judged(candidate(journey="winback"), asked, exclusive=[SET]), Permit)
    ended = context(instances=(instance("winback", "2026-11-22T00:00:00Z", state="reached"),))
    assert isinstance(judged(candidate(), ended, exclusive=[SET]), Permit)
    over = context(instances=(instance("winback", "2026-11-22T00:00:00Z", ends_at=NOW),))
    assert isinstance(judged(candidate(), over, exclusive=[SET]), Permit)


def test_two_journeys_entered_at_one_instant_do_not_lock_each_other_out() -> None:
    """Where both were entered at once the set's own order decides, so one of them goes on."""
    when = "2026-11-22T00:00:00Z"
    asked = context(instances=(instance("winback", when), instance("cart", when)))
    assert isinstance(judged(candidate(), asked, exclusive=[SET]), Permit)
    assert only(judged(candidate(journey="winback"), asked, exclusive=[SET])).code == "exclusive"


@pytest.mark.parametrize("among", ["actions", "teams"])
def test_sets_of_actions_and_teams(among: str) -> None:
    """A set may be of actions or of teams as well as of journeys."""
    names = {"actions": ["promo_by_email", "upsell"], "teams": ["growth", "loyalty"]}[among]
    said = told("2026-11-22T00:00:00Z", **{among.removesuffix("s"): names[1]})
    rule = {"id": "one-of", among: names, "within": "7d"}
    assert only(judged(candidate(), context(told=(said,)), exclusive=[rule])).code == "exclusive"


def test_an_exclusive_set_spares_what_must_be_said() -> None:
    """A mandatory or an urgent message goes whoever else is talking."""
    asked = context(told=(told("2026-11-22T00:00:00Z", journey="winback"),))
    for privilege in ({"mandatory": True}, {"urgency": "now"}):
        of = candidate(purpose="service", **privilege)
        assert isinstance(judged(of, asked, exclusive=[SET]), Permit)


def test_the_same_words_once_in_a_window_whatever_the_action_is_called() -> None:
    """Equal words are one creative under any name and on any channel; changed words are another."""
    creative = candidate().action.creative
    seen = told("2026-11-01T00:00:00Z", creative=creative)
    for of in (candidate(), candidate(name="renamed"), sms()):
        verdict = judged(of, context(told=(seen,)), same_creative=[ONCE])
        finding = only(verdict)
        assert (finding.code, finding.rule) == ("frequency_cap", "once")
        assert isinstance(verdict, Denial)
        assert verdict.next_eligible_at == seen.at + 30 * DAY
    for of in (candidate(body="Other words."), candidate(purpose="order_update")):
        assert isinstance(judged(of, context(told=(seen,)), same_creative=[ONCE]), Permit)
    old = told("2026-10-24T17:00:00Z", creative=creative)
    assert isinstance(judged(candidate(), context(told=(old,)), same_creative=[ONCE]), Permit)


def giving(spent: int, **changes: Any) -> tuple[Candidate, Context]:
    of = candidate(offer="voucher", amount=VOUCHER.worth, **changes)
    offers = {"voucher": OfferState("voucher", 10)}
    return of, context(offers=offers, budgets={"month": Spending(spent, "budget:month:2026-11-01")})


def test_a_budget_is_spent_to_the_last_cent_and_no_further() -> None:
    """The voucher that uses a budget up is given, the next one refused until the period ends."""
    of, asked = giving(1500)
    assert isinstance(judged(of, asked, budgets=[MONTH]), Permit)
    of, asked = giving(1501)
    verdict = judged(of, asked, budgets=[MONTH])
    finding = only(verdict)
    assert (finding.code, finding.rule) == ("budget", "month")
    assert finding.counterfactual == "0.01 EUR more, or wait for 2026-12-01 00:00:00Z"
    assert finding.read["spent"] == 1501
    assert isinstance(verdict, Denial)
    assert verdict.next_eligible_at is None
    assert isinstance(judged(candidate(), asked, budgets=[MONTH]), Permit)


def test_a_budget_covers_what_it_names() -> None:
    """Another journey's, team's or brand's offers are paid from elsewhere."""
    for scope in ({"journeys": ["winback"]}, {"teams": ["loyalty"]}, {"brands": ["outlet"]}):
        of, asked = giving(9999)
        assert isinstance(judged(of, asked, budgets=[{**MONTH, **scope}]), Permit)
    of, asked = giving(9999)
    assert only(judged(of, asked, budgets=[{**MONTH, "teams": ["growth"]}])).code == "budget"


def test_a_budget_that_cannot_be_judged_refuses() -> None:
    """Another currency, or a budget that was not read, is no reason to give money away."""
    of, asked = giving(0)
    dollars = candidate(offer="voucher", amount=Money(1, "USD"))
    assert only(judged(dollars, asked, budgets=[MONTH])).code == "budget"
    other = {**MONTH, "id": "unread"}
    assert only(judged(of, asked, budgets=[other])).code == "budget"


@pytest.mark.parametrize(
    ("period", "zone", "when", "began", "ends"),
    [
        ("day", "UTC", "2026-11-23T17:00:00Z", "2026-11-23", "2026-11-24T00:00:00Z"),
        ("month", "UTC", "2026-11-30T23:59:59Z", "2026-11-01", "2026-12-01T00:00:00Z"),
        ("month", "Europe/Berlin", "2026-11-30T23:30:00Z", "2026-12-01", "2026-12-31T23:00:00Z"),
        ("year", "UTC", "2026-11-30T23:30:00Z", "2026-01-01", "2027-01-01T00:00:00Z"),
        # The day the clocks go back in Berlin has 25 hours.
        ("day", "Europe/Berlin", "2026-10-25T22:30:00Z", "2026-10-25", "2026-10-25T23:00:00Z"),
        ("ever", "UTC", "2026-11-30T23:30:00Z", "ever", None),
    ],
)
def test_a_budgets_period_is_the_calendars(
    period: Period, zone: str, when: str, began: str, ends: str | None
) -> None:
    """Days, months and years begin at midnight of the budget's own zone."""
    budget = Budget("b", Money(1, "EUR"), period, zone)
    assert budget.began(at(when)) == began
    assert budget.ends_at(at(when)) == (None if ends is None else at(ends))


AHEAD = {"id": "ahead", "horizon": "3d", "below": 1.5}
SOON = NOW + timedelta(days=1)


def better(**changes: Any) -> Upcoming:
    """A text message worth 2, due tomorrow, against one worth 1 now."""
    of = sms(journey_priority=2.0, **changes)
    return Upcoming(of, SOON, SOON + DAY, {"event.value": 80.0})


def looked_ahead(of: Candidate, asked: Context, *upcoming: Upcoming, **sections: Any) -> Verdict:
    by = Guard(world.policies({"look_ahead": [AHEAD], **sections}), {})
    return by.review(world.proposal(of), asked, upcoming)


def test_what_is_worth_less_waits_for_what_is_worth_more() -> None:
    """A low contact is held until the better one is due, and the finding names both priorities."""
    verdict = looked_ahead(candidate(), context(), better())
    assert isinstance(verdict, Hold)
    (finding,) = objections(verdict)
    assert (verdict.held_for, finding.code) == ("time", "lower_priority")
    assert (verdict.next_eligible_at, finding.clears_at) == (SOON, SOON)
    assert (finding.read["priority"], finding.read["scheduled"]) == (1.0, {"promo_by_sms": 2.0})


@pytest.mark.parametrize(
    "ahead",
    [
        replace(better(), due_at=NOW + timedelta(days=3, microseconds=1)),
        replace(better(), due_at=NOW),
        Upcoming(sms(journey_priority=1.0), SOON, SOON + DAY, {}),
        replace(better(), expires_at=NOW),
    ],
)
def test_what_is_far_off_or_equal_or_over_keeps_nobody_back(ahead: Upcoming) -> None:
    """Beyond the horizon, of no higher priority, due already or over: no reason to wait."""
    assert isinstance(looked_ahead(candidate(), context(), ahead), Permit)


def test_what_could_not_be_sent_today_keeps_nobody_back() -> None:
    """Only what passes the same guard counts; time alone may stand in its way."""
    for asked in (
        context(consents=(world.grant(),)),
        context(kill_switches=("channel:sms",)),
    ):
        assert isinstance(looked_ahead(candidate(), asked, better()), Permit)
    hours = {"id": "hours", "channels": ["sms"], "window": "08:00-21:00"}
    night = context(zone_of_person="Asia/Tokyo")  # 02:00 there
    held = looked_ahead(candidate(), night, better(), quiet_hours=[hours])
    assert isinstance(held, Hold)


def test_what_is_scheduled_is_judged_about_its_own_event() -> None:
    """The cart that waits is worth what it was worth, whatever event comes in meanwhile."""
    sections: dict[str, Any] = {
        "fields": {"event.value": {"type": "double"}},
        "rules": [
            {
                "id": "worth",
                "stage": "applicability",
                "channels": ["sms"],
                "when": "has(event.value) && event.value >= 20.0",
                "reason": "worth too little",
            }
        ],
    }
    assert isinstance(looked_ahead(candidate(), context(), better(), **sections), Hold)
    cheap = replace(better(), fields={"event.value": 5.0})
    assert isinstance(looked_ahead(candidate(), context(), cheap, **sections), Permit)


def test_two_that_are_scheduled_do_not_keep_each_other_back() -> None:
    """What is scheduled is judged without looking ahead, whatever is scheduled beside it."""
    best = replace(better(), candidate=sms(journey_priority=3.0))
    low = replace(better(), candidate=sms(journey_priority=1.2))
    verdict = looked_ahead(candidate(), context(), low, best)
    assert isinstance(verdict, Hold)
    assert objections(verdict)[0].read["scheduled"]["promo_by_sms"] in (1.2, 3.0)


@pytest.mark.parametrize(
    "of",
    [
        candidate(purpose="order_update"),
        candidate(purpose="service", urgency="now"),
        candidate(kind="presentation", channel="web", contact_point=None),
        candidate(tool="case", kind="internal", channel=None, purpose="service"),
        candidate(journey_priority=1.5),
    ],
)
def test_look_ahead_never_delays_what_is_exempt_or_no_low_contact(of: Candidate) -> None:
    """News of an order, help, a banner and what is worth enough go at once."""
    ahead = Upcoming(sms(journey_priority=9.0), SOON, SOON + DAY, {})
    assert isinstance(looked_ahead(of, context(), ahead), Permit)


@pytest.mark.parametrize(
    ("sections", "cause"),
    [
        ({"cool_offs": [{"id": "x", "after": [], "lasts": "7d", "reason": "abc"}]}, "after"),
        ({"cool_offs": [{**BOUGHT, "match": "product_id"}]}, "match"),
        ({"cool_offs": [{**BOUGHT, "purposes": ["nonsense"]}]}, "nonsense"),
        ({"exclusive": [{"id": "x", "within": "7d"}]}, "0 kinds of things"),
        ({"exclusive": [{**SET, "teams": ["a", "b"]}]}, "2 kinds of things"),
        ({"exclusive": [{**SET, "journeys": ["a", ["b", "a"]]}]}, "two parts"),
        ({"exclusive": [{**SET, "journeys": ["a"]}]}, "journeys"),
        ({"budgets": [{**MONTH, "amount": "20 euros"}]}, "amount"),
        ({"budgets": [{**MONTH, "period": "week"}]}, "period"),
        ({"budgets": [{**MONTH, "tz": "Berlin"}]}, "tz"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(
    sections: Mapping[str, Any], cause: str
) -> None:
    """A rule that would never refuse, or not what was meant, does not load."""
    with pytest.raises(ConfigurationError) as refused:
        world.policies(sections)
    assert cause in str(refused.value)
    assert "policies/test.yaml:1" in str(refused.value)
