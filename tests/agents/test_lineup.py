"""Drop, defer, substitute, escalate: what happens instead of what a rule refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from agents.record import read_record
from agents.thinking import Thought
from domain.errors import ConfigurationError
from tests.shop import Shop, cart, consent, open_shop, row
from traces.explain import as_json

PHONE = "+4915123456789"  # Germany: UTC+2 in October
CONTACT = "policies/contact.yaml"
SMS_FIRST = (
    "    propensity: 0.22\n    value: 40",
    "    propensity: 0.9\n    value: 40\n    substitutes: [remind_by_email]",
)
SMS_CAP = """  - id: sms-cap
    limit: 1
    window: 7d
    channels: [sms]
    on_capped: {what}
    reason: "one text a week"
"""


def capped(what: str) -> dict[str, tuple[str, str]]:
    """One text message a week; the next is substituted, escalated and so on."""
    return {
        "actions.yaml": SMS_FIRST,
        CONTACT: ("\nquiet_hours:", SMS_CAP.format(what=what) + "\nquiet_hours:"),
    }


def both(user: str = "c-1") -> list[dict[str, Any]]:
    """Yes to both channels."""
    return [
        consent("granted", "2026-10-01T08:00:00Z", user, email=f"{user}@shop.example"),
        consent("granted", "2026-10-01T08:00:01Z", user, channel="sms", phone=PHONE),
    ]


def thought_of(shop: Shop, line: dict[str, Any]) -> Thought:
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).thought


def second_text(shop: Shop) -> dict[str, Any]:
    """What becomes of the text that is one too many."""
    shop.run(*both())
    assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] == "remind_by_sms"
    return shop.one(cart("2026-10-07T09:00:00Z", cart_id="k-2"))


def test_what_is_capped_is_substituted_by_another_channel(tmp_path: Path, store: str) -> None:
    """The e-mail takes the text's place before the next best, and the row says for what and why."""
    with open_shop(tmp_path / "w", store=store, changes=capped("substitute")) as shop:
        line = second_text(shop)
        assert (line["verdict"], line["action"]) == ("permitted", "remind_by_email")
        assert line["reason"] == "instead of `remind_by_sms`: one text a week"
        first, second, *_ = thought_of(shop, line).considered
        assert (first.action, first.against) == (
            "remind_by_sms",
            (("sms-cap", "frequency_cap"),),
        )
        assert (second.action, second.note, second.instead_of) == (
            "remind_by_email",
            "chosen",
            "remind_by_sms",
        )
        assert second.priority < first.priority
        workspace = shop.assembly.workspace
        made = explain(shop.database, line["decision_id"], lambda _: workspace, FormulaMind())
        told = as_json(made, "auditor")
        assert told["recomputed"] == "same"
        (rule,) = [r for r in told["candidates"][0]["rules"] if r["rule"] == "sms-cap"]
        assert rule["read"]["count"] == 1
        assert (rule["read"]["limit"], rule["read"]["window_seconds"]) == (1, 604800.0)
        assert rule["clears_at"] == "2026-10-12T09:00:00.000Z"


def test_a_substitute_goes_through_the_whole_guard(tmp_path: Path) -> None:
    """Without a yes to e-mail there is no e-mail instead of a text."""
    with open_shop(tmp_path / "w", changes=capped("substitute")) as shop:
        shop.run(
            consent("granted", "2026-10-01T08:00:01Z", channel="sms", phone=PHONE),
            row("identified", "2026-10-01T08:00:02Z", email="c-1@shop.example"),
            cart("2026-10-05T09:00:00Z"),
        )
        line = shop.one(cart("2026-10-07T09:00:00Z", cart_id="k-2"))
        assert line["action"] == "cart_banner"
        assert [one.action for one in thought_of(shop, line).considered] == [
            "remind_by_sms",
            "remind_by_email",
            "cart_banner",
        ]
        assert not shop.sent("email")


def test_what_is_capped_becomes_a_case(tmp_path: Path, store: str) -> None:
    """With `escalate`, the journey's declared case is opened in place of the text."""
    journey = ("max_age: 15m", "max_age: 15m\nescalation: priority_case")
    changes = {**capped("escalate"), "journeys/abandoned_cart.yaml": journey}
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        line = second_text(shop)
        assert (line["verdict"], line["action"], line["tool"]) == (
            "permitted",
            "priority_case",
            "case",
        )
        assert line["reason"] == "instead of `remind_by_sms`: one text a week"
        assert [case["state"] for case in shop.rows("cases")] == ["open"]


def test_what_is_capped_is_dropped(tmp_path: Path) -> None:
    """With `drop`, nothing stands in, and the next best candidate has its turn in its own place."""
    with open_shop(tmp_path / "w", changes=capped("drop")) as shop:
        line = second_text(shop)
        assert line["reason"].startswith("propensity 0.31")
        assert all(not one.instead_of for one in thought_of(shop, line).considered)


def test_what_is_capped_waits_or_expires_and_both_are_recorded(tmp_path: Path, store: str) -> None:
    """A deferral that would end after it is wanted ends as a decision of its own."""
    changes = capped("defer")
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        shop.run(*both())
        shop.run(cart("2026-10-05T09:00:00Z"))
        waits = shop.one(cart("2026-10-12T08:30:00Z", cart_id="k-2"))
        assert (waits["verdict"], waits["code"]) == ("held", "frequency_cap")
        assert waits["next_eligible_at"] == "2026-10-12T09:00:00.000Z"
        (sent,) = shop.wake("2026-10-12T10:00:00Z")
        assert (sent["verdict"], sent["at"]) == ("permitted", "2026-10-12T09:00:00.000Z")
        expires = shop.one(cart("2026-10-14T09:00:00Z", cart_id="k-3"))
        assert expires["next_eligible_at"] == "2026-10-19T09:00:00.000Z"
        (over,) = shop.wake("2026-10-20T10:00:00Z")
        assert (over["verdict"], over["code"]) == ("denied", "stale_event")
        assert over["at"] == "2026-10-15T09:00:00.000Z"
        assert over["parent_id"] == expires["decision_id"]
        assert len(shop.sent("sms")) == 2


def test_what_comes_at_night_may_be_said_another_way(tmp_path: Path) -> None:
    """With `on_quiet: substitute` an e-mail goes at night where a text must not."""
    quiet = ("    on_quiet: defer", "    on_quiet: substitute")
    with open_shop(tmp_path / "w", changes={"actions.yaml": SMS_FIRST, CONTACT: quiet}) as shop:
        shop.run(*both())
        line = shop.one(cart("2026-10-05T20:30:00Z"))
        assert (line["action"], line["reason"]) == (
            "remind_by_email",
            "instead of `remind_by_sms`: quiet hours until 08:00",
        )


LETTER = SMS_FIRST[1].replace("by_email", "by_letter")
ITSELF = SMS_FIRST[1].replace("by_email", "by_sms")


def bounced(user: str = "c-1") -> dict[str, Any]:
    return row("bounced", "2026-10-04T08:00:00Z", user, type="hard",
               contact_point=f"{user}@shop.example")  # fmt: skip


HELP_BY_SMS = """  help_by_sms:
    title: "Help by SMS"
    tool: message
    channel: sms
    purpose: order_update
    body: "Your order did not go through."
    propensity: 0.1
    value: 1

  checkout_help:
    substitutes: [help_by_sms]
    escalation: hand_over
"""


@pytest.mark.parametrize(("phone", "action"), [(True, "help_by_sms"), (False, "hand_over")])
def test_a_hard_bounce_is_no_end_for_what_must_be_said(
    tmp_path: Path, store: str, phone: bool, action: str
) -> None:
    """News of an order goes by another channel when its address is given up, or to a person."""
    changes = {
        "actions.yaml": ("  checkout_help:\n", HELP_BY_SMS),
        "policies/consent.yaml": ("[checkout_help]", "[checkout_help, help_by_sms]"),
    }
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        known = {"email": "c-1@shop.example", **({"phone": PHONE} if phone else {})}
        shop.run(row("identified", "2026-10-01T08:00:00Z", **known), bounced())
        line = shop.one(row("checkout_failed", "2026-10-05T09:00:00Z", order_id="o-1"))
        assert (line["verdict"], line["action"]) == ("permitted", action)
        assert line["reason"] == "instead of `checkout_help`: the e-mail address does not work"


def test_marketing_to_a_dead_address_is_not_said_another_way(tmp_path: Path) -> None:
    """An unreachable address ends a promotion there; nobody looks for another way to push it."""
    substitutes = (
        "    propensity: 0.31\n", "    propensity: 0.31\n    substitutes: [remind_by_sms]\n"
    )  # fmt: skip
    with open_shop(tmp_path / "w", changes={"actions.yaml": substitutes}) as shop:
        shop.run(*both(), bounced())
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert all(not one.instead_of for one in thought_of(shop, line).considered)


def test_a_holdout_withholds_what_would_stand_in(tmp_path: Path) -> None:
    """Nobody who is held out is given the substitute or the case of what is withheld."""
    journey = ("max_age: 15m", "max_age: 15m\nescalation: priority_case\nholdout: 0.9")
    changes = {**capped("escalate"), "journeys/abandoned_cart.yaml": journey}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        out = 0
        for n in range(6):
            user = f"c-{n}"
            number = {"phone": f"+49151234567{n}0"}
            yes = consent("granted", "2026-10-01T08:00:01Z", user, channel="sms", **number)
            seen = row(
                "contact_observed", "2026-10-04T08:00:00Z", user, channel="sms", purpose="service"
            )
            shop.run(yes, seen)
            line = shop.one(cart("2026-10-05T09:00:00Z", user))
            held = [a["profile_id"] for a in shop.rows("assignments") if a["arm"] == "held_out"]
            if line["profile_id"] in held:
                out += 1
                assert (line["verdict"], line["code"]) == ("none", "holdout")
        assert out
        assert len(shop.rows("cases")) == 6 - out


@pytest.mark.parametrize(
    ("file", "old", "new", "cause"),
    [
        ("actions.yaml", SMS_FIRST[0], LETTER, "`remind_by_letter`"),
        ("actions.yaml", SMS_FIRST[0], ITSELF, "another channel"),
        ("actions.yaml", SMS_FIRST[0], SMS_FIRST[0] + "\n    escalation: cart_banner", "no case"),
        ("journeys/welcome.yaml", "holdout: 0.1", "escalation: nobody", "no case"),
    ],
)  # fmt: skip
def test_a_stand_in_that_could_never_help_does_not_load(
    tmp_path: Path, file: str, old: str, new: str, cause: str
) -> None:
    """A substitute on the same channel, or an escalation to no person, is refused with its line."""
    with (
        pytest.raises(ConfigurationError, match=cause) as refused,
        open_shop(tmp_path / "w", changes={file: (old, new)}),
    ):
        pass
    assert file in str(refused.value)
