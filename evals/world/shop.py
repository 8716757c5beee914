"""The workspace of the world: one journey for carts left behind, four ways to write about it."""

from __future__ import annotations

from dataclasses import dataclass

from domain.journey import LearningName

JOURNEY = "cart"
WAYS = ("remind", "advise", "reassure", "invite")
PLANS = ("basic", "gold")

_SETTINGS = """\
brand = "shop"
[brands.shop]
title = "The Shop"
controller = "shop"
[brands.shop.senders]
email = "The Shop <hello@shop.example>"
[input]
source = "world"
[store]
url = "sqlite:///safeconduct.db"
"""
_POLICIES = """\
purposes:
  marketing: {title: "Offers and news", model: opt_in, marketing: true}
channels:
  email: {title: "e-mail", address: email}
fields:
  profile.first_name: {type: string, uses: [personalise]}
  profile.plan: {type: string, uses: [decide, learn]}
  event.cart_id: {type: string, uses: [decide]}
"""
_CONTACT_POLICY = """\
frequency_caps:
  - id: three-a-week
    limit: 3
    window: 7d
    purposes: [marketing]
    reason: "three marketing messages a week"
quiet_hours:
  - id: nights
    channels: [email]
    window: "08:00-21:00"
    on_quiet: defer
    reason: "quiet hours until 08:00"
"""
_ACTION = """\
  {name}:
    title: "Write about the cart: {name}"
    tool: message
    channel: email
    purpose: marketing
    subject: "Your cart"
    body: "Hello {{{{ profile.first_name | there }}}}, this is to {name}."
    propensity: {propensity}
    value: 40
    defer_for: 20h
"""


@dataclass(frozen=True, slots=True)
class Setup:
    """How the shop goes about it.

    `policy`: with the caps and quiet hours of a contact policy, or with none. `exploration` None:
    the default.
    """

    learning: LearningName = "constant"
    exploration: float | None = None
    policy: bool = True
    holdout: float = 0.0


def files(setup: Setup) -> dict[str, str]:
    """The text of the workspace's files, by path."""
    actions = "".join(
        _ACTION.format(name=name, propensity=round(0.3 - place / 50, 2))
        for place, name in enumerate(WAYS)
    )
    found = {
        "settings.toml": _SETTINGS,
        "actions.yaml": f"actions:\n{actions}",
        "offers.yaml": "offers: {}\n",
        "policies/shop.yaml": _POLICIES,
        f"journeys/{JOURNEY}.yaml": _journey(setup),
    }
    if setup.policy:
        found["policies/contact.yaml"] = _CONTACT_POLICY
    return found


def _journey(setup: Setup) -> str:
    lines = [
        'title: "Win back a cart"',
        "trigger: cart_abandoned",
        "goal: order_completed",
        "instance_key: event.cart_id",
        f"actions: [{', '.join(WAYS)}]",
        'owner: "ana"',
        "team: growth",
        "window: 1d",
        f"holdout: {setup.holdout}",
        f"learning: {setup.learning}",
    ]
    if setup.learning != "constant":
        lines.append("features: [profile.plan]")
    if setup.exploration is not None:
        lines.append(f"exploration: {setup.exploration}")
    return "\n".join(lines) + "\n"
