"""Which offer may be promised to whom: each rule of the catalogue, and what clears it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from agents.catalogue import load_offers
from agents.schema import SettingsFile
from domain.context import Context, OfferState
from domain.errors import ConfigurationError
from domain.verdict import Denial, Finding, Permit
from policies.documents import parse_toml
from policies.guard import Guard
from tests import world
from tests.world import NOW, candidate, context, proposal

SETTINGS = """
brand = "shop"
[brands.shop]
title = "The Shop"
controller = "shop"
[brands.outlet]
title = "The Outlet"
controller = "shop"
[input]
source = "shop"
[store]
url = "sqlite:///s.db"
"""
VOUCHER: Mapping[str, Any] = {"title": "5 EUR voucher", "worth": "5.00 EUR", "stock": 10}
POLICIES = {
    "fields": {"profile.plan": {"type": "string"}},
    "purposes": world.PURPOSES,
    "channels": world.CHANNELS,
}


def guard(offers: Mapping[str, Any]) -> Guard:
    """A guard over a catalogue as it stands in a file."""
    policies = world.policies(json.dumps(POLICIES))
    settings = parse_toml(SETTINGS, "settings.toml").validate(SettingsFile)
    loaded, eligible = load_offers(json.dumps({"offers": offers}, indent=1), settings, policies)
    return Guard(policies, loaded, eligible)


def asked(offers: Mapping[str, Any], states: Mapping[str, OfferState], **changes: Any) -> Context:
    """A context in which the person has these of the offers, and ten of each are left."""
    left = {name: OfferState(name, 10) for name in offers}
    return context(offers=left | dict(states), **changes)


def findings(
    offers: Mapping[str, Any],
    *,
    states: Mapping[str, OfferState] | None = None,
    of: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Finding]:
    """What stands against promising `voucher`, the same at screening, review and dispatch."""
    by, looked_at = guard(offers), asked(offers, states or {}, **changes)
    one = candidate(offer="voucher", **(of or {}))
    (screened,) = by.screen([one], looked_at)
    verdict = by.review(proposal(one), looked_at)
    assert verdict.findings == screened.findings
    against = {f.rule: f for f in screened.findings if not f.passed}
    assert isinstance(verdict, Permit) == (not against)
    assert isinstance(verdict, Denial) == bool(against)
    if against:
        before = by.review(proposal(one), asked(offers, {}, fields=dict(PASSING)))
        if isinstance(before, Permit):
            assert by.dispatch(before, proposal(one), looked_at) in {
                f.code for f in against.values()
            }
    return against


PASSING = {**context().fields, "profile.plan": "gold"}


def test_what_asks_for_nothing_is_granted() -> None:
    """An offer that names no rule is refused by none, and only its stock is asked about."""
    assert findings({"voucher": VOUCHER}) == {}
    assert [rule.id for rule in guard({"voucher": VOUCHER}).rules if "offer" in rule.id] == [
        "offer-left"
    ]


@pytest.mark.parametrize(
    ("fields", "against"),
    [
        ({"profile.plan": "gold"}, {}),
        ({"profile.plan": "silver"}, {"offer-eligible": "not_eligible"}),
        ({}, {"offer-eligible": "not_eligible"}),
        ({"profile.plan": 7}, {"offer-eligible": "rule_error"}),
    ],
)
def test_who_is_not_eligible_is_refused(fields: dict[str, Any], against: dict[str, str]) -> None:
    """Only the boolean true passes; what is missing or of another type does not."""
    condition = 'has(profile.plan) && profile.plan == "gold"'
    offers = {"voucher": {**VOUCHER, "eligible": condition}}
    found = findings(offers, fields={**context().fields, **fields})
    assert {rule: finding.code for rule, finding in found.items()} == against
    if against == {"offer-eligible": "not_eligible"}:
        (finding,) = found.values()
        assert finding.place == "offers.yaml:3"
        assert finding.read == {"offer": "voucher", "profile.plan": fields.get("profile.plan")}
        assert finding.counterfactual == f"make `{condition}` true"


def test_what_a_silent_source_told_entitles_nobody_to_marketing() -> None:
    """A condition that holds by what may be out of date forbids promoting."""
    offers = {"voucher": {**VOUCHER, "eligible": 'has(profile.plan) && profile.plan == "gold"'}}
    found = findings(offers, fields=dict(PASSING), stale={"profile.plan": "crm"})
    assert {rule: finding.code for rule, finding in found.items()} == {
        "offer-eligible": "stale_context"
    }
    assert found["offer-eligible"].place.startswith("offers.yaml:")


def test_an_offer_has_a_beginning_that_time_brings_and_an_end() -> None:
    """Before it begins waiting helps, and the finding says until when; afterwards nothing does."""
    begins = NOW + timedelta(hours=1)
    found = findings({"voucher": {**VOUCHER, "valid_from": begins.isoformat()}})
    finding = found["offer-left"]
    assert (finding.code, finding.clears_at) == ("offer_unavailable", begins)
    assert finding.counterfactual == "wait until 2026-11-23 18:00:00Z"
    assert findings({"voucher": {**VOUCHER, "valid_from": NOW.isoformat()}}) == {}
    ended = findings({"voucher": {**VOUCHER, "valid_until": NOW.isoformat()}})["offer-left"]
    assert (ended.code, ended.clears_at) == ("offer_unavailable", None)
    none_left = findings({"voucher": VOUCHER}, states={"voucher": OfferState("voucher", 0)})
    assert none_left["offer-left"].counterfactual == "more `stock`"


@pytest.mark.parametrize(
    ("scope", "refused"),
    [
        ({"brands": ["shop"]}, False),
        ({"brands": ["outlet"]}, True),
        ({"channels": ["email", "web"]}, False),
        ({"channels": ["sms"]}, True),
    ],
)
def test_an_offer_is_promised_by_its_brands_and_over_its_channels(
    scope: dict[str, Any], refused: bool
) -> None:
    """Elsewhere it is refused, and the finding says where it may be promised."""
    found = findings({"voucher": {**VOUCHER, **scope}})
    assert bool(found) == refused
    if refused:
        assert found["offer-scope"].code == "not_eligible"
        ((_, (named,)),) = scope.items()
        assert f"`{named}`" in found["offer-scope"].counterfactual


def test_what_is_granted_without_a_word_goes_over_no_channel() -> None:
    """Channels say over what an offer may be promised, which a silent grant is not."""
    offers = {"voucher": {**VOUCHER, "channels": ["sms"]}}
    silent = {"tool": "offer", "kind": "internal", "channel": None, "contact_point": None}
    assert findings(offers, of=silent) == {}


UNTIL = NOW + timedelta(days=2)


@pytest.mark.parametrize(
    ("name", "state", "clears_at"),
    [
        ("points", OfferState("points", 9, held=True, given=1, until=UNTIL), UNTIL),
        ("points", OfferState("points", 9, held=True, given=1), None),
        ("points", OfferState("points", 9, reserved=True, given=1), None),
        ("voucher", OfferState("voucher", 9, held=True, given=1, until=UNTIL), UNTIL),
    ],
)
def test_of_a_group_a_person_holds_one_at_a_time(
    name: str, state: OfferState, clears_at: Any
) -> None:
    """Another of the group, or the same, is refused until the one that is held has ended."""
    offers = {
        "voucher": {**VOUCHER, "exclusive": ["gifts"]},
        "points": {**VOUCHER, "exclusive": ["gifts", "loyalty"]},
        "mug": {**VOUCHER, "exclusive": ["loyalty"]},
    }
    finding = findings(offers, states={name: state})["offer-exclusive"]
    assert (finding.code, finding.clears_at) == ("exclusive", clears_at)
    assert finding.read["held"] == [name]
    assert f"`{name}`" in finding.counterfactual


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("points", OfferState("points", 9, given=3)),  # used, or over
        ("mug", OfferState("mug", 9, held=True, given=1)),  # another group's
    ],
)
def test_what_is_used_or_of_another_group_excludes_nothing(name: str, state: OfferState) -> None:
    """A group is about what is held now."""
    offers = {
        "voucher": {**VOUCHER, "exclusive": ["gifts"]},
        "points": {**VOUCHER, "exclusive": ["gifts"]},
        "mug": {**VOUCHER, "exclusive": ["loyalty"]},
    }
    assert findings(offers, states={name: state}) == {}


def test_a_person_is_granted_an_offer_so_often_and_no_more() -> None:
    """What was granted counts, used or not."""
    offers = {"voucher": {**VOUCHER, "per_person": 2}}
    assert findings(offers, states={"voucher": OfferState("voucher", 9, given=1)}) == {}
    found = findings(offers, states={"voucher": OfferState("voucher", 8, given=2)})
    assert found["offer-per-person"].code == "not_eligible"
    assert found["offer-per-person"].read == {"offer": "voucher", "given": 2, "per_person": 2}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"eligible": "profile.plan == 1"}, "profile.plan"),
        ({"eligible": "profile.nothing == 1"}, "profile.nothing"),
        ({"eligible": 'action.name == "x"'}, "action.name"),
        ({"eligible": "1 +"}, "offers.yaml"),
        ({"worth": "5.00 USD"}, "which no brand uses"),
        ({"brands": ["nobody"]}, "not among the brands"),
        ({"channels": ["fax"]}, "not among the channels"),
        ({"brands": []}, "brands"),
        ({"per_person": 0}, "per_person"),
        ({"expires_after": "soon"}, "expires_after"),
        (
            {"valid_from": "2026-12-02T00:00:00Z", "valid_until": "2026-12-01T00:00:00Z"},
            "ends before it begins",
        ),
    ],
)
def test_what_could_never_be_judged_is_refused_at_load(wrong: dict[str, Any], says: str) -> None:
    """A misspelt name or an untyped comparison stops the load, at its line."""
    with pytest.raises(ConfigurationError, match=r"offers\.yaml") as refused:
        guard({"voucher": {**VOUCHER, **wrong}})
    assert says in str(refused.value)
