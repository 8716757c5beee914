"""Cases as text: what they may say, what is refused, and that they judge as the guard does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from domain.action import Money, Offer
from domain.context import Context
from domain.errors import ConfigurationError
from domain.verdict import EVERYONE
from policies.cases import Bench, Case, Judged, judged, read_cases
from policies.guard import Guard
from policies.loader import load_policies
from profiles.zones import zones_of
from tests import world
from tests.world import at

SEMANTICS = Path(__file__).parent / "semantics"
FILE = "policies/test.cases.yaml"
OFFERS = {
    "voucher": Offer("voucher", "Voucher", Money(500, "EUR"), 10, at("2026-11-24T14:00:00Z")),
    "lasting_voucher": Offer("lasting_voucher", "Voucher", Money(500, "EUR"), 10),
}


def bench(files: dict[str, str]) -> Bench:
    """Policies of two companies, with offers and no declared actions."""
    return Bench(
        guard=Guard(load_policies(files), OFFERS),
        controllers={"shop": "shop", "bank": "bank"},
        brand="shop",
        actions={},
        journeys={},
        offers=OFFERS,
        zones_of=zones_of,
    )


def of_semantics() -> dict[str, tuple[Bench, Case]]:
    """The guard's corner cases, each with the policies it is about."""
    world_file = (SEMANTICS / "world.yaml").read_text()
    found: dict[str, tuple[Bench, Case]] = {}
    for path in sorted(SEMANTICS.glob("*.cases.yaml")):
        about = path.name.replace(".cases", "")
        files = {"world.yaml": world_file, about: (SEMANTICS / about).read_text()}
        own = bench(files)
        for case in read_cases({path.name: path.read_text()}, own):
            found[case.entry.name] = (own, case)
    return found


CASES = of_semantics()


@pytest.mark.parametrize("name", CASES)
def test_a_corner_case_comes_out_as_it_says(name: str) -> None:
    """Written as cases, the guard's corners have their exact verdict, rules, codes and instant."""
    own, case = CASES[name]
    assert judged(case, own.guard).differs == ()


def test_every_corner_of_the_guard_is_written_as_a_case() -> None:
    """Each numbered corner that needs no race is there."""
    numbers = {int(name.partition(":")[0]) for name in CASES}
    assert numbers == {1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 14, 15, 21, 22}


SECTIONS: dict[str, Any] = {
    "fields": {
        "profile.plan": {"type": "string"},
        "profile.faith": {"type": "string", "category": "special"},
        "event.value": {"type": "double"},
    },
    "frequency_caps": [{"id": "day-cap", "limit": 1, "window": "24h", "purposes": ["promo"]}],
    "budgets": [{"id": "vouchers", "amount": "50.00 EUR", "period": "month"}],
}
OWN = dataclasses.replace(
    bench({}), guard=Guard(world.policies(SECTIONS), OFFERS), actions={"promo": world.action()}
)
HEAD = """\
given:
  now: "2026-11-23T17:00:00Z"
  email: p@x.example
cases:
"""
PROMO = """\
  - name: a promotion
    action: promo
    given:
      consents: [{said: grant, purpose: promo}]
    verdict: permitted
"""


def only(text: str) -> Judged:
    """What comes of the one case of a file."""
    (case,) = read_cases({FILE: text}, OWN)
    return judged(case, OWN.guard)


def test_a_right_case_is_right() -> None:
    """A case that says what the guard says differs in nothing."""
    assert only(HEAD + PROMO).is_right


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("said: grant", "said: denial", ["it is denied, not permitted", "`consent` refused it"]),
        (
            "verdict: permitted",
            "verdict: denied\n    because: [consent]",
            ["it is permitted, not denied", "`consent` did not refuse it"],
        ),
        (
            "verdict: permitted",
            'verdict: permitted\n    next_eligible_at: "2026-11-24T00:00:00Z"',
            ["next eligible at no time, not at 2026-11-24T00:00:00Z"],
        ),
        (
            "      consents: [{said: grant, purpose: promo}]\n    verdict: permitted",
            "      consents: []\n    verdict: denied\n    because: [consent]\n"
            "    codes: [objection]",
            ["the codes are consent, not objection"],
        ),
        (
            "verdict: permitted",
            "verdict: held\n    because: [day-cap]\n    held_for: time",
            [
                "it is permitted, not held",
                "it is held for nothing, not for time",
                "`day-cap` did not refuse it",
            ],
        ),
    ],
)
def test_a_wrong_case_says_in_what(old: str, new: str, differs: list[str]) -> None:
    """Whatever a case says that the guard does not say is told, one by one."""
    assert old in PROMO
    assert list(only(HEAD + PROMO.replace(old, new)).differs) == differs


@pytest.mark.parametrize(
    ("old", "new", "where", "cause", "remedy"),
    [
        ("verdict: permitted", "verdct: permitted", "9:5", "has no key `verdct`", "`verdict`?"),
        ("verdict: permitted", "verdict: maybe", "9:5", "`maybe`", "denied"),
        ("purpose: promo", "purpose: prmo", "8:32", "purpose `prmo`", "did you mean `promo`?"),
        ("action: promo", "action: prmo", "6:5", "action `prmo`", "did you mean `promo`?"),
        (
            "verdict: permitted",
            "verdict: denied\n    because: [day-caps]",
            "10:15",
            "rule `day-caps`",
            "did you mean `day-cap`?",
        ),
        ("verdict: permitted", "verdict: denied", "9:5", "no rule is why", "`because`"),
        (
            "verdict: permitted",
            "verdict: permitted\n    because: [consent]",
            "10:5",
            "rules are against it",
            "leave one out",
        ),
        (
            "verdict: permitted",
            "verdict: permitted\n    held_for: time",
            "10:5",
            "is permitted and held",
            "verdict: held",
        ),
        (
            "      consents:",
            "      traits: {paln: gold}\n      consents:",
            "8:16",
            "field `profile.paln`",
            "did you mean `profile.plan`?",
        ),
        (
            "      consents:",
            "      suppressions: [{reason: why, target: address}]\n      consents:",
            "8:22",
            "does not say which",
            "contact_point",
        ),
        (
            "      consents:",
            "      offers_left: {vouchr: 0}\n      consents:",
            "8:21",
            "offer `vouchr`",
            "did you mean `voucher`?",
        ),
        ("      consents:", "      brand: bonk\n      consents:", "8:7", "brand `bonk`", "`bank`"),
    ],
)
def test_what_a_case_cannot_mean_is_refused(
    old: str, new: str, where: str, cause: str, remedy: str
) -> None:
    """A misspelt name would make a case be about something else; it is refused where it stands."""
    with pytest.raises(ConfigurationError) as caught:
        only(HEAD + PROMO.replace(old, new))
    assert str(caught.value).startswith(f"{FILE}:{where}: ")
    assert cause in caught.value.cause
    assert remedy in f"{caught.value.cause} {caught.value.remedy}"


def test_a_case_says_when_it_is() -> None:
    """No instant is made up."""
    with pytest.raises(ConfigurationError, match="does not say when it is"):
        only(HEAD.replace('  now: "2026-11-23T17:00:00Z"\n', "") + PROMO)


def test_two_cases_of_one_name() -> None:
    """A name is one case's."""
    with pytest.raises(ConfigurationError, match="is there twice"):
        only(HEAD + PROMO + PROMO)


FULL = """\
cases:
  - name: everything that can be given
    given:
      now: "2026-11-23T17:00:00Z"
      brand: bank
      event: {name: ordered, occurred_at: "2026-11-23T16:59:00Z", properties: {value: 5.5}}
      asked: {kind: release, expires_at: "2026-11-24T17:00:00Z"}
      email: p@x.example
      phone: "+12125550100"
      shared: [phone]
      unreachable_until: {phone: "2026-12-01T00:00:00Z"}
      traits: {plan: gold, faith: none of your business}
      signals: {churn_hazard: 0.5}
      zones: {person: Europe/Berlin, address: Europe/Paris}
      zones_before: [{zone: Europe/Rome, until: "2026-11-01T00:00:00Z"}]
      household: the first floor
      jurisdictions: [{code: DE}, {code: US-NY, source: number}]
      consents:
        - said: grant
          purpose: promo
          channel: email
          topic: carts
          contact_point: email
          at: "2026-11-01T00:00:00Z"
          received_at: "2026-11-02T00:00:00Z"
          expires_at: "2027-01-01T00:00:00Z"
      contacts:
        - {at: "2026-11-01T00:00:00Z", channel: email, purpose: promo, to: other}
        - {at: "2026-11-20T00:00:00Z", channel: sms, purpose: promo, team: growth, journey: cart}
      suppressions: [{reason: fraud, blocks: all, shown_to: [fraud]}]
      instances: [{state: active, ends_at: "2026-11-30T00:00:00Z"}]
      approvals: [{state: approved}]
      offers_left: {voucher: 3}
      open_cases: [refund]
      kill_switches: ["channel:web"]
      stale: {profile.plan: crm}
      occurrences: [{event: order_completed, at: "2026-11-22T00:00:00Z"}]
      told: [{action: promo, same_words: true, at: "2026-11-21T00:00:00Z"}]
      spent: {vouchers: 12.00 EUR}
      scheduled: [{action: promo, due_at: "2026-11-24T00:00:00Z"}]
      minor: true
      paused_until: "2026-12-24T00:00:00Z"
      exempt_sends: {order_update: 2}
      access_needs: [no_phone]
      human_in_charge: true
      restricted: true
    action: promo
    journey: cart
    changes: {offer: voucher, amount: 9.00 EUR, team: sales, mandatory: false}
    verdict: denied
    because: [consent]
"""


def full() -> Case:
    (case,) = read_cases({FILE: FULL}, OWN)
    return case


def test_a_situation_becomes_the_context_it_describes() -> None:
    """Every word of a situation is found in the context, as the product itself would write it."""
    asked, candidate = full().context, full().proposal.candidate
    assert (asked.now, asked.brand, asked.controller) == (
        at("2026-11-23T17:00:00Z"),
        "bank",
        "bank",
    )
    assert (asked.event.name, asked.event.time) == ("ordered", at("2026-11-23T16:59:00Z"))
    assert (asked.asked.kind, asked.asked.expires_at) == ("release", at("2026-11-24T17:00:00Z"))
    email, phone = asked.contact_points
    assert (email.ref, email.shared, email.zones) == ("email", False, ())
    assert (phone.shared, phone.zones) == (True, ("America/New_York",))
    assert phone.unreachable_until == at("2026-12-01T00:00:00Z")
    assert asked.fields == {
        "profile.plan": "gold",
        "event.value": 5.5,
        "signal.churn_hazard": 0.5,
        "signal.open_cases": 1,
        "signal.events_before": 0,
        "signal.contacts_7d": 1,
        "signal.shared_address": True,
        "signal.opted_out": False,
    }
    assert asked.withheld == ("profile.faith",)
    assert (asked.zone_of_person, asked.zones_of_address) == ("Europe/Berlin", ("Europe/Paris",))
    assert [(law.code, law.source) for law in asked.jurisdictions] == [
        ("DE", "address"),
        ("US-NY", "number"),
    ]
    (line,) = asked.consents
    assert line == world.grant(
        profile_id=asked.profile_id,
        controller="bank",
        brand=None,
        channel="email",
        topic="carts",
        contact_point="email",
        occurred_at=at("2026-11-01T00:00:00Z"),
        received_at=at("2026-11-02T00:00:00Z"),
        expires_at=at("2027-01-01T00:00:00Z"),
        source="case",
        ref="grant 1",
    )
    newest, oldest = asked.contacts
    assert (newest.channel, newest.contact_point, newest.team) == ("sms", "phone", "growth")
    assert newest.profile_id == asked.profile_id != oldest.profile_id
    (block,) = asked.suppressions
    assert (block.target, block.blocks, block.shown_to) == ("person", "all", ("fraud",))
    (run,) = asked.instances
    assert (run.journey, run.key) == (candidate.journey, candidate.instance)
    (fact,) = asked.approvals
    assert fact.proposal_hash == full().proposal.hash
    assert {name: state.left for name, state in asked.offers.items()} == {
        "voucher": 3,
        "lasting_voucher": 10,
    }
    assert (asked.open_cases, asked.kill_switches) == (("refund",), ("channel:web",))
    assert asked.human_in_charge
    assert asked.restricted
    assert (candidate.action.offer, candidate.amount) == ("voucher", Money(900, "EUR"))
    assert (candidate.team, candidate.brand) == ("sales", "bank")


def test_nothing_of_a_context_is_out_of_reach_of_cases() -> None:
    """A full situation fills every part of a context that the guard looks at."""
    unseen = {"seed", "contacts_truncated", "tallies", "entering", "arms", "revisions"}
    unseen |= {"silences", "models"}  # which the guard does not look at
    empty = Context(
        now=full().context.now,
        seed=0,
        event=full().context.event,
        brand="bank",
        controller="bank",
        profile_ids=(),
    )
    for field in dataclasses.fields(Context):
        if field.name not in unseen | {"now", "event", "brand", "controller"}:
            given = getattr(full().context, field.name)
            assert given != getattr(empty, field.name), field.name


def test_what_the_file_gives_a_case_may_give_otherwise() -> None:
    """A case's own words replace the file's, key by key."""
    said = PROMO.replace("given:", "given:\n      email: q@x.example")
    (case,) = read_cases({FILE: HEAD + said}, OWN)
    (reached,) = case.context.contact_points
    assert reached.address == "q@x.example"
    assert case.context.now == at("2026-11-23T17:00:00Z")


def test_an_undated_event() -> None:
    """An event without a date is fresh enough for no marketing."""
    text = HEAD + PROMO.replace("given:", "given:\n      event: {undated: true}").replace(
        "verdict: permitted",
        "verdict: denied\n    because: [still-wanted]\n    codes: [stale_event]",
    )
    assert only(text).is_right


def test_a_block_is_shown_to_everyone_unless_it_says_otherwise() -> None:
    """What a suppression does not say of its audience is what the product says."""
    text = FULL.replace(", shown_to: [fraud]", "")
    (case,) = read_cases({FILE: text}, OWN)
    assert case.context.suppressions[0].shown_to == EVERYONE
