"""What policies say in vain is found where it stands, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from domain.action import Action
from domain.journey import Journey
from policies import lint
from policies.cases import Judged
from policies.guard import Guard
from tests import world

CAP = {"id": "day", "limit": 1, "window": "24h", "purposes": ["promo"]}
HOURS = {"id": "sms-hours", "channels": ["sms"], "window": "08:00-21:00"}
ACTIONS = {
    made.name: made
    for made in (
        world.action(),
        world.action(name="promo_by_sms", channel="sms"),
        world.action(name="order_news", purpose="order_update"),
        world.action(name="hand_over", tool="handoff", kind="internal", purpose="service",
                     channel=None),
        world.action(name="banner", channel="web", kind="presentation"),
    )
}  # fmt: skip


def rule(name: str, when: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "stage": "suitability", "when": when, "reason": "because", **more}


def approval(name: str, when: str, **more: Any) -> dict[str, Any]:
    said = {"id": name, "when": when, "reason": "because", "role": "marketing"}
    return {**said, "expires_in": "1h", **more}


def found(
    actions: dict[str, Action] | None = None, checks: set[str] | None = None, /, **sections: Any
) -> list[tuple[str, str]]:
    """The checks that find something, and what they say of it, but for rules that no case tries."""
    actions = ACTIONS if actions is None else actions
    journey = Journey("cart", "Cart", "shop", "left", "bought", tuple(actions), "ana", "growth")
    sections = {"quiet_hours": [HOURS], **sections}
    subject = lint.Subject(Guard(world.policies(sections), {}), actions, {"cart": journey}, ())
    troubles = [one for one in lint.troubles(subject) if one.check != "untried-rule"]
    assert all(one.place.startswith("policies/test.yaml:") and one.remedy for one in troubles)
    return [(one.check, one.cause) for one in troubles]


def test_what_says_something_is_left_alone() -> None:
    """Caps of several lengths and scopes, rules that differ, hours for the phone: no finding."""
    assert not found(
        frequency_caps=[
            CAP,
            {"id": "week", "limit": 3, "window": "7d", "purposes": ["promo"]},
            {"id": "address", "limit": 1, "window": "24h", "per": "contact_point"},
            {"id": "sms", "limit": 2, "window": "24h", "channels": ["sms"]},
        ],
        rules=[
            rule("few", "signal.open_cases < 5"),
            rule("none", "signal.open_cases == 0", purposes=["promo"]),
            rule("other", "!signal.opted_out"),
        ],
        approvals=[
            approval("some", "action.amount > 1000"),
            approval("much", "action.amount > 5000", role="boss"),
        ],
    )


def test_hours_that_can_hardly_be_meant() -> None:
    """A minute that was forgotten, and a law that changes nothing, are told."""
    sms = {"id": "h", "channels": ["sms"]}
    assert found(quiet_hours=[{**sms, "window": "08:00-12:00,12:01-21:00"}])[0][0] == (
        "doubtful-hours"
    )
    idle = {**sms, "window": "09:00-20:00", "jurisdictions": {"DE": "08:00-21:00"}}
    ((check, cause),) = found(quiet_hours=[idle])
    assert check == "doubtful-hours" and "`DE` changes nothing" in cause
    assert found(quiet_hours=[{**sms, "window": "08:00-21:00"}]) == []


def test_information_that_sounds_like_a_promotion() -> None:
    """What goes without consent and says `20 % off` is told; marketing may say so."""
    place = "policies/test.yaml:1"
    service = world.action(purpose="service", body="And 20 % off your next order.", place=place)
    said = [one for one in found({"help": service}) if one[0] == "sounds-promotional"]
    assert said == [
        ("sounds-promotional", "action `promo_by_email` goes without consent and says `20 % off`")
    ]
    sold = world.action(body="And 20 % off your next order.", place=place)
    assert "sounds-promotional" not in {check for check, _ in found({"sold": sold})}


def test_a_phone_channel_without_quiet_hours() -> None:
    """What rings at night is told; what waits in an inbox is not."""
    said = [("no-quiet-hours", "channel `sms` goes to a phone at any hour of the night")]
    assert found(quiet_hours=[]) == said


@pytest.mark.parametrize(
    ("one", "other", "shadowed"),
    [
        ({"when": "signal.open_cases < 5"}, {"when": "signal.open_cases < 3"}, "one"),
        ({"when": "signal.open_cases < 3"}, {"when": "signal.open_cases < 5"}, "other"),
        ({"when": "!signal.opted_out"}, {"when": "!signal.opted_out"}, "one"),
        (
            {"when": "!signal.opted_out", "purposes": ["promo"]},
            {"when": "!signal.opted_out && signal.open_cases == 0"},
            "one",
        ),
        (
            {"when": "!signal.opted_out"},
            {"when": "!signal.opted_out && signal.open_cases == 0", "purposes": ["promo"]},
            None,
        ),
        (
            {"when": "signal.open_cases < 5", "channels": ["sms"]},
            {"when": "signal.open_cases < 3", "channels": ["email"]},
            None,
        ),
        ({"when": "!signal.opted_out"}, {"when": "signal.open_cases == 0"}, None),
        (
            {"when": "action.amount > 2000"},
            {"when": "action.amount > 1000"},
            "one",
        ),
        ({"when": "action.amount > 2000", "quorum": 2}, {"when": "action.amount > 1000"}, None),
    ],
)
def test_a_rule_that_another_one_covers(
    one: dict[str, Any], other: dict[str, Any], shadowed: str | None
) -> None:
    """A rule that refuses only what a wider one refuses as well changes nothing."""
    if "action." in one["when"]:
        made = {"approvals": [approval("one", **one), approval("other", **other)]}
    else:
        made = {"rules": [rule("one", **one), rule("other", **other)]}
    causes = [cause for check, cause in found(**made) if check == "shadowed-rule"]
    assert [cause.split("`")[1] for cause in causes] == ([shadowed] if shadowed else [])


@pytest.mark.parametrize(
    ("cap", "other", "idle"),
    [
        ({"limit": 7, "window": "7d"}, {"limit": 1, "window": "1d"}, True),
        ({"limit": 6, "window": "7d"}, {"limit": 1, "window": "1d"}, False),
        ({"limit": 2, "window": "25h"}, {"limit": 1, "window": "24h"}, True),
        ({"limit": 1, "window": "25h"}, {"limit": 1, "window": "24h"}, False),
        ({"limit": 3, "window": "1h"}, {"limit": 3, "window": "24h"}, True),
        ({"limit": 2, "window": "1h"}, {"limit": 3, "window": "24h"}, False),
        ({"limit": 9, "window": "7d"}, {"limit": 1, "window": "1d", "channels": ["sms"]}, False),
        ({"limit": 9, "window": "7d", "channels": ["sms"]}, {"limit": 1, "window": "1d"}, True),
        ({"limit": 9, "window": "7d"}, {"limit": 1, "window": "1d", "per": "contact_point"}, False),
        ({"limit": 9, "window": "7d"}, {"limit": 0, "window": "1d"}, False),
    ],
)
def test_a_cap_that_cannot_bind(cap: dict[str, Any], other: dict[str, Any], idle: bool) -> None:
    """A cap that a tighter one keeps from ever being reached is told, by the exact arithmetic."""
    made = found(frequency_caps=[{"id": "cap", **cap}, {"id": "other", **other}])
    causes = [cause for check, cause in made if check == "idle-cap" and "cap `cap`" in cause]
    assert bool(causes) is idle


def test_a_rule_about_nothing() -> None:
    """A rule that no action meets, or that names one which there is not, is told."""
    assert found(
        rules=[
            rule("gone", "!signal.opted_out", actions=["promo_by_fax"]),
            rule("never", "signal.open_cases == 0", purposes=["service"], channels=["email"]),
            rule("lost", "signal.open_cases < 3", journeys=["cart", "crat"]),
        ],
        frequency_caps=[{"id": "web", "limit": 1, "window": "1d", "channels": ["web"]}],
    ) == [
        ("no-action", "rule `web` is about no action of any journey"),
        ("no-action", "rule `gone` names `promo_by_fax`, which is not among actions"),
        ("no-action", "rule `gone` is about no action of any journey"),
        ("no-action", "rule `never` is about no action of any journey"),
        ("no-action", "rule `lost` names `crat`, which is not among journeys"),
    ]


def test_what_nobody_uses() -> None:
    """Purposes and channels without an action are told."""
    only = {"promo_by_sms": ACTIONS["promo_by_sms"]}
    assert found(only) == [
        ("unused", "no action is for purpose `order_update`"),
        ("unused", "no action is for purpose `service`"),
        ("unused", "no action is for channel `email`"),
        ("unused", "no action is for channel `web`"),
    ]


def test_a_rule_that_no_case_tries() -> None:
    """Each written rule is to be shown refusing something; a built-in one need not be."""
    guard = Guard(world.policies({"frequency_caps": [CAP], "quiet_hours": [HOURS]}), {})
    case: Any = None
    tried = Judged(case, "denied", None, ("day", "consent"), (), None, ())
    subject = lint.Subject(guard, ACTIONS, {}, (tried,))
    assert [str(one) for one in lint.untried_rules(subject)] == [
        "policies/test.yaml:1: no case shows rule `sms-hours` refusing anything; add one to "
        "policies/test.cases.yaml, with `because: [sms-hours]`"
    ]
