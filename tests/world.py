"""Builders of the nouns that the guard judges; every default is one that the rules let pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.action import Action, Step
from domain.consent import Consent, ConsentKind
from domain.context import Contact, ContactPoint, Context, EventView
from domain.proposal import Candidate, Proposal
from policies.loader import load_policies
from policies.policy_set import PolicySet

PERSON = "p-1"
EMAIL = "ref-email"
PHONE = "ref-phone"
LONG_AGO = "2026-01-01T00:00:00Z"

EXEMPT: Mapping[str, Any] = {
    "model": "exempt",
    "legal_basis": "contract",
    "models": [{"channels": ["sms"], "jurisdictions": ["US"], "model": "opt_in"}],
}
PURPOSES: Mapping[str, Any] = {
    "promo": {"title": "Offers", "model": "opt_in", "marketing": True},
    "order_update": {"title": "Orders", **EXEMPT},
    "service": {"title": "Service", **EXEMPT},
}
TIPS: Mapping[str, Any] = {
    "title": "Tips",
    "model": "opt_in",
    "models": [{"jurisdictions": ["CA"], "model": "opt_out", "basis": "CA"}],
}
CHANNELS: Mapping[str, Any] = {
    "email": {"title": "e-mail", "address": "email"},
    "sms": {"title": "SMS", "address": "phone", "zones": "all"},
    "web": {"title": "web", "address": "none"},
}


def at(text: str) -> datetime:
    """An aware instant from its ISO text."""
    return datetime.fromisoformat(text).astimezone(UTC)


NOW = at("2026-11-23T17:00:00Z")


def policies(text: str | Mapping[str, Any] = "") -> PolicySet:
    """A policy set: YAML text as it is, or sections beside the shop's purposes and channels."""
    if not isinstance(text, str):
        text = json.dumps({"purposes": PURPOSES, "channels": CHANNELS, **text})
    return load_policies({"policies/test.yaml": text})


def action(**changes: Any) -> Action:
    """A promotional e-mail."""
    given: dict[str, Any] = {
        "name": "promo_by_email",
        "title": "Promotion by e-mail",
        "tool": "message",
        "kind": "contact",
        "purpose": "promo",
        "channel": "email",
        "body": "Hello.",
    }
    return Action(**(given | changes))


def point(ref: str = EMAIL, kind: str = "email", **changes: Any) -> ContactPoint:
    """The person's e-mail address, or another contact point."""
    address = "p@shop.example" if kind == "email" else "+12125550100"
    return ContactPoint(**({"ref": ref, "kind": kind, "address": address} | changes))


def candidate(**changes: Any) -> Candidate:
    """The promotion as it could be sent now; keys of an action change the action."""
    own = {"journey", "brand", "team", "instance", "contact_point", "journey_priority"}
    own |= {"max_age", "amount", "action"}
    given: dict[str, Any] = {
        "action": action(**{key: changes[key] for key in changes.keys() - own}),
        "journey": "cart",
        "brand": "shop",
        "team": "growth",
        "instance": "i-1",
        "contact_point": point(),
    }
    return Candidate(**(given | {key: changes[key] for key in changes.keys() & own}))


def sms(**changes: Any) -> Candidate:
    """The promotion as a text message."""
    given: dict[str, Any] = {
        "name": "promo_by_sms",
        "channel": "sms",
        "contact_point": point(PHONE, "phone"),
    }
    return candidate(**(given | changes))


def proposal(of: Candidate | None = None, digest: str = "a" * 64) -> Proposal:
    """The candidate with its one step, under that hash."""
    of = of or candidate()
    return Proposal(of, (Step(of.action.tool, {"body": of.action.body}),), digest)


def line(kind: ConsentKind = "grant", when: str = LONG_AGO, **changes: Any) -> Consent:
    """One line of the consent ledger: by default, the shop's promotions at the e-mail address."""
    given: dict[str, Any] = {
        "kind": kind,
        "profile_id": PERSON,
        "controller": "shop",
        "brand": "shop",
        "channel": None,
        "purpose": "promo",
        "topic": None,
        "contact_point": EMAIL,
        "occurred_at": at(when),
        "received_at": at(when),
        "ref": f"{kind}-{when}",
    }
    return Consent(**(given | changes))


def grant(when: str = LONG_AGO, **changes: Any) -> Consent:
    """A yes."""
    return line("grant", when, **changes)


def denial(when: str = LONG_AGO, **changes: Any) -> Consent:
    """A no at a contact point."""
    return line("denial", when, **changes)


def objection(when: str = LONG_AGO, **changes: Any) -> Consent:
    """A no of the person, wherever reached."""
    return line("objection", when, **({"contact_point": None, "brand": None} | changes))


def contact(when: str | datetime, **changes: Any) -> Contact:
    """A promotional e-mail that was sent."""
    given: dict[str, Any] = {
        "at": at(when) if isinstance(when, str) else when,
        "profile_id": PERSON,
        "contact_point": EMAIL,
        "brand": "shop",
        "channel": "email",
        "purpose": "promo",
        "topic": None,
        "journey": "cart",
        "team": "growth",
        "action": "promo_by_email",
    }
    return Contact(**(given | changes))


def context(**changes: Any) -> Context:
    """A person who granted promotions at both contact points, one second after the event."""
    now: datetime = changes.get("now", NOW)
    event = EventView(
        "shop/e-1", "cart_abandoned", "track", now - timedelta(seconds=1), now, {"value": 80}
    )
    given: dict[str, Any] = {
        "now": now,
        "seed": 7,
        "event": event,
        "brand": "shop",
        "controller": "shop",
        "profile_ids": (PERSON,),
        "fields": {
            "signal.open_cases": 0,
            "signal.events_before": 0,
            "signal.contacts_7d": 0,
            "signal.shared_address": False,
            "signal.opted_out": False,
        },
        "contact_points": (point(), point(PHONE, "phone")),
        "consents": (grant(), grant(contact_point=PHONE)),
    }
    return Context(**(given | changes))
