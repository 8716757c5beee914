"""Small worlds of random rules, as a workspace's files and as the reference reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.agents.reference import World

USERS = ("u1", "u2", "u3")
MAIL = {"u1": "pair@one.example", "u2": "pair@one.example", "u3": "own@two.example"}
PHONES = {"u1": "+4915123456701", "u2": "+12122345678", "u3": None}
NUMBERS = {
    "+4915123456701": (("DE",), ("Europe/Berlin",)),
    "+12122345678": (("US",), ("America/New_York",)),
}
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
EXEMPT: Mapping[str, Any] = {"title": "Orders", "model": "exempt", "legal_basis": "contract"}
BY_SILENCE = {"jurisdictions": ["DE"], "model": "opt_out", "basis": "DE"}

ACTIONS: Mapping[str, Mapping[str, Any]] = {
    "promo_mail": {"channel": "email", "purpose": "promo", "groups": ["news"]},
    "promo_sms": {"channel": "sms", "purpose": "promo"},
    "gift_mail": {"channel": "email", "purpose": "promo", "offer": "gift", "groups": ["news"]},
    "tip_mail": {"channel": "email", "purpose": "tips"},
    "tip_sms": {"channel": "sms", "purpose": "tips"},
    "order_mail": {"channel": "email", "purpose": "orders", "obeys_caps": False},
    "order_sms": {"channel": "sms", "purpose": "orders", "counts_toward_caps": False},
    "alert_sms": {"channel": "sms", "purpose": "orders", "mandatory": True, "urgency": "now"},
    "banner": {"channel": "web", "purpose": "promo", "kind": "presentation"},
}
TEAMS = {name: "care" if name[0] in "oa" else "growth" for name in ACTIONS}

_WHEN = st.one_of(
    st.sampled_from(["1h", "24h", "24h", "7d"]).map(lambda window: {"window": window}),
    st.builds(
        lambda unit, tz, first: (
            {"calendar": unit, "tz": tz} | ({"week_start": first} if unit == "week" else {})
        ),
        st.sampled_from(["day", "week", "month"]),
        st.sampled_from(["person", *ZONES]),
        st.sampled_from(["monday", "sunday"]),
    ),
)
_SCOPE = st.sampled_from(
    [
        {},
        {},
        {"channels": ["email"]},
        {"channels": ["sms"]},
        {"channels": ["email", "sms"], "purposes": ["promo"]},
        {"purposes": ["promo", "tips"]},
        {"purposes": ["orders"]},
        {"journeys": ["promo_mail", "promo_sms"]},
        {"teams": ["growth"]},
        {"groups": ["news"]},
    ]
)
_OTHERWISE = st.sampled_from(["drop", "defer"])
_CAPS = st.builds(
    lambda when, scope, limit, per, then: {
        "limit": limit, "per": per, "on_capped": then, **when, **scope,
    },
    _WHEN,
    _SCOPE,
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from(["person", "person", "contact_point"]),
    _OTHERWISE,
)  # fmt: skip
_HOURS = st.fixed_dictionaries(
    {
        "channels": st.sampled_from([["sms"], ["email"], ["email", "sms"]]),
        "window": st.sampled_from(["08:00-21:00", "18:00-02:30", "02:15-24:00"]),
        "on_quiet": _OTHERWISE,
    },
    optional={
        "days": st.just("mon-sat"),
        "jurisdictions": st.sampled_from([{"US": "09:00-20:00"}, {"DE": "10:00-19:30"}]),
    },
)
_COOL_OFFS = st.fixed_dictionaries(
    {"after": st.just(["order_completed"]), "lasts": st.sampled_from(["24h", "7d"])}
)
_EXCLUSIVE = st.sampled_from(
    [
        {"actions": ["promo_mail", "promo_sms", "tip_mail"], "within": "24h"},
        {"teams": ["growth", "care"], "within": "1h"},
    ]
)
_BUDGETS = st.builds(
    lambda amount, period, tz: {"amount": amount, "period": period, "tz": tz},
    st.sampled_from(["5.00 EUR", "10.00 EUR"]),
    st.sampled_from(["day", "month"]),
    st.sampled_from(ZONES),
)
_TIPS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"model": "opt_in"},
        {"model": "opt_in", "models": [BY_SILENCE]},
        {"model": "opt_in", "models": [BY_SILENCE, {"channels": ["sms"], "model": "opt_in"}]},
        {
            "model": "opt_in",
            "models": [
                BY_SILENCE,
                {"channels": ["sms"], "jurisdictions": ["DE"], "model": "opt_in"},
            ],
        },
    ]
)


def _named(kind: str, entries: list[dict[str, Any]], **more: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"id": f"{kind}-{n}", **one, **more} for n, one in enumerate(entries, 1))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two or three caps, and some of each other kind of rule."""

    def some(of: st.SearchStrategy[Any], least: int, most: int) -> list[dict[str, Any]]:
        return draw(st.lists(of, min_size=least, max_size=most))

    actions = {name: dict(action) for name, action in ACTIONS.items()}
    if draw(st.booleans()):
        actions["order_mail"]["promotional"] = True
    waits = draw(st.sampled_from(["6h", "2d", "9d"]))
    for action in actions.values():
        action["defer_for"] = waits
    return World(
        purposes={
            "promo": {"title": "Offers", "model": "opt_in", "marketing": True},
            "tips": {"title": "Tips", **dict[str, Any](draw(_TIPS))},
            "orders": {
                **EXEMPT,
                "templates": [name for name in actions if name[0] in "oa"],
                "models": [{"channels": ["sms"], "jurisdictions": ["US"], "model": "opt_in"}],
                "ceiling": {"sends": 200},
            },
        },
        channels={"email": "email", "sms": "phone", "web": "none"},
        actions=actions,
        teams=TEAMS,
        numbers=NUMBERS,
        offers={"gift": (500, draw(st.integers(1, 4)))},
        caps=_named("cap", some(_CAPS, 1, 3)),
        hours=_named("hours", some(_HOURS, 0, 1)),
        cool_offs=_named("cool-off", some(_COOL_OFFS, 0, 1), reason="it was bought just now"),
        exclusive=_named("exclusive", some(_EXCLUSIVE, 0, 1)),
        budgets=_named("budget", some(_BUDGETS, 0, 1)),
    )


SETTINGS = """
brand = "shop"
[brands.shop]
title = "The Shop"
controller = "shop"
[brands.shop.senders]
email = "The Shop <hello@shop.example>"
sms = "THE SHOP"
web = "The Shop"
[input]
source = "shop"
[switches]
roles = ["admin"]
[releases]
spread = "0s"
[store]
url = "sqlite:///safeconduct.db"
"""
PEOPLE = {name: {"title": name, "roles": ["admin"]} for name in ("omar", "ida")}


def files(world: World) -> dict[str, str]:
    """The workspace: YAML is written as JSON, which it contains."""
    actions = {
        name: {"title": name, "tool": "message", "body": "Hello.", **action}
        for name, action in world.actions.items()
    }
    journeys = {
        f"journeys/{name}.yaml": {
            "title": name,
            "trigger": f"ask_{name}",
            "goal": "never",
            "instance_key": "event.number",
            "actions": [name],
            "owner": "ida",
            "team": world.teams[name],
            "window": "399d",
        }
        for name in world.actions
    }
    offers = {
        name: {"title": name, "worth": f"{worth // 100}.00 EUR", "stock": stock}
        for name, (worth, stock) in world.offers.items()
    }
    said = {
        "actions.yaml": {"actions": actions},
        "offers.yaml": {"offers": offers},
        "people.yaml": {"people": PEOPLE},
        "policies/rules.yaml": policies(world),
        **journeys,
    }
    return {"settings.toml": SETTINGS} | {name: json.dumps(one) for name, one in said.items()}


def policies(world: World) -> dict[str, Any]:
    """The policy file."""
    zones = {"phone": {"zones": "all"}}
    return {
        "purposes": world.purposes,
        "channels": {
            name: {"title": name, "address": address, **zones.get(address, {})}
            for name, address in world.channels.items()
        },
        "frequency_caps": world.caps,
        "quiet_hours": world.hours,
        "cool_offs": world.cool_offs,
        "exclusive": world.exclusive,
        "budgets": world.budgets,
    }


RULES = ("caps", "hours", "cool_offs", "exclusive", "budgets")


def _with(world: World, name: str, rules: list[Any]) -> World:
    changed: dict[str, Any] = {name: rules}
    return replace(world, **changed)


def shuffled(world: World, chance: random.Random) -> dict[str, str]:
    """The same workspace with its rules, and the kinds of its rules, in another order."""
    for name in RULES:
        some = list(getattr(world, name))
        chance.shuffle(some)
        world = _with(world, name, some)
    sections = list(policies(world).items())
    chance.shuffle(sections)
    return files(world) | {"policies/rules.yaml": json.dumps(dict(sections))}


def stricter(world: World, more: World) -> dict[str, str]:
    """The workspace with another's rules added to its own."""
    for name in RULES:
        added = [{**one, "id": f"more-{one['id']}"} for one in getattr(more, name)]
        world = _with(world, name, [*getattr(world, name), *added])
    never = {
        "id": "more-conditions",
        "stage": "suitability",
        "channels": ["sms"],
        "when": "signal.open_cases > 0",
        "reason": "no messages by phone",
    }
    text = json.dumps({**policies(world), "rules": [never]})
    return files(world) | {"policies/rules.yaml": text}
