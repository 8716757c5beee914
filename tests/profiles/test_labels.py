from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigurationError
from service.cli import main
from tests.shop import Shop, cart, consent, open_shop, row

ONE_MESSAGE = ("[remind_by_email, remind_by_sms, cart_banner]", "[remind_by_email]")
BY_MAIL = {"journeys/abandoned_cart.yaml": ONE_MESSAGE}
OF_THE_BANK = {
    **BY_MAIL,
    "settings.toml": (
        "[input]\n",
        '[brands.bank]\ntitle = "The Bank"\ncontroller = "bank"\ncurrency = "EUR"\n'
        '[brands.bank.senders]\nemail = "b@bank.example"\nsms = "BANK"\nweb = "Bank"\n\n[input]\n',
    ),
    "policies/fields.yaml": (
        "  profile.plan:\n    type: string\n    uses: [decide]\n",
        "  profile.plan:\n    type: string\n    controller: bank\n"
        "    uses: [decide, personalise]\n",
    ),
    "actions.yaml": (
        "Hello {{ profile.first_name | there }},\n\n      your cart",
        "Hello {{ profile.plan | there }},\n\n      your cart",
    ),
    "policies/engagement.yaml": (
        'when: "has(event.value) && event.value >= 20.0"',
        "when: \"!has(profile.plan) || profile.plan != 'gold'\"",
    ),
}


def context(shop: Shop, line: dict[str, Any]) -> dict[str, Any]:
    """What a decision was made from, as it is recorded."""
    record = shop.deps.history.get(line["decision_id"]).record()
    assert record is not None
    made: dict[str, Any] = json.loads(record)["context"]
    return made


def against(shop: Shop, line: dict[str, Any], action: str) -> list[list[str]]:
    """Which rules stood against an action, and with what code."""
    record = shop.deps.history.get(line["decision_id"]).record()
    assert record is not None
    considered = json.loads(record)["thought"]["considered"]
    return next(one["against"] for one in considered if one["action"] == action)


def test_another_controllers_field_is_withheld_and_the_explanation_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a rule nor a text of the shop sees what belongs to the bank."""
    with open_shop(tmp_path / "w", store=None, changes=OF_THE_BANK) as shop:
        line = shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", email="a@x.example", traits={"plan": "gold"}
            ),
            cart("2026-10-05T09:00:00Z"),
        )[1]
        assert line["action"] == "remind_by_email"
        (sent,) = shop.sent("email")
        assert b"Hello there" in sent.read_bytes()
        assert b"gold" not in sent.read_bytes()
    asked = ["explain", line["decision_id"], "--workspace", str(tmp_path / "w")]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["withheld"] == ["profile.plan"]
    assert main(asked) == 0
    assert "withheld from all of them: profile.plan" in capsys.readouterr().out


@pytest.mark.parametrize("category", ["special", "secret"])
def test_special_and_secret_fields_are_seen_by_nobody(tmp_path: Path, category: str) -> None:
    """What is special or secret never enters a context; that it is withheld does."""
    label = "  profile.plan:\n    type: string\n"
    changes = {"policies/fields.yaml": (label, f"{label}    category: {category}\n")}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        seen = context(shop, shop.one(cart("2026-10-05T09:00:00Z", traits={"plan": "gold"})))
        assert "profile.plan" not in seen["fields"]
        assert seen["withheld"] == ["profile.plan"]


@pytest.mark.parametrize("band", ["13-15", "13_15", "Under 16", "minor", ["child"]])
def test_minors_are_not_profiled(tmp_path: Path, band: Any) -> None:
    """However the band is written: what a minor does makes no signals, and it is said which."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(row("order_completed", "2026-10-02T08:00:00Z", value=10))
        before = context(shop, shop.one(cart("2026-10-03T08:00:00Z", cart_id="k-1")))
        young = cart("2026-10-04T08:00:00Z", cart_id="k-2", traits={"age_band": band})
        after = context(shop, shop.one(young))
        assert "signal.value_365d" in before["fields"]
        assert not before["minor"]
        assert after["minor"]
        assert {"signal.value_365d", "signal.intent", "signal.churn_hazard"} <= set(
            after["withheld"]
        )
        kept = {name for name in after["fields"] if name.startswith("signal.")}
        assert kept == {
            "signal.open_cases",
            "signal.events_before",
            "signal.contacts_7d",
            "signal.opted_out",
            "signal.shared_address",
        }


@pytest.mark.parametrize("needs", ["no_email", "No e-mail?", ["reads_braille", "no-email"], 7, {}])
def test_an_access_need_removes_a_channel_before_the_choice(tmp_path: Path, needs: Any) -> None:
    """The better action is out of the race, and the next one, which can be used, is taken."""
    closes = needs in ("no_email", ["reads_braille", "no-email"])
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", email="a@x.example", phone="+12125550123",
                traits={"access_needs": needs},
            ),
            consent(
                "granted", "2026-10-05T08:01:00Z", channel="sms", email="a@x.example",
                phone="+12125550123",
            ),
        )  # fmt: skip
        line = shop.one(cart("2026-10-05T16:00:00Z"))
        assert line["action"] == ("remind_by_sms" if closes else "remind_by_email")
        found = against(shop, line, "remind_by_email")
        assert found == ([["access-need", "not_suitable"]] if closes else [])


def test_an_access_need_holds_for_service_too(tmp_path: Path) -> None:
    """A channel that somebody cannot use is none for news of an order either."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(
            row(
                "checkout_failed", "2026-10-05T08:00:00Z", email="a@x.example", order_id="o-1",
                traits={"access_needs": ["no_email"]},
            )
        )  # fmt: skip
        assert line["action"] == "open_checkout_case"
        assert ["access-need", "not_suitable"] in against(shop, line, "checkout_help")


def test_a_need_that_closes_no_channel_of_ours_is_refused(tmp_path: Path) -> None:
    """A channel that is not declared is a mistake in the file, told with its place."""
    changes = {"policies/protection.yaml": ("no_sms: [sms]", "no_sms: [smss]")}
    with (
        pytest.raises(ConfigurationError, match="`no_sms` closes `smss`") as told,
        open_shop(tmp_path / "w", changes=changes),
    ):
        pass
    assert told.value.place == "policies/protection.yaml:8"


def test_who_will_not_be_addressed_personally_is_not(tmp_path: Path) -> None:
    """Without permission to personalise a text says nothing of the profile; rules may still ask."""
    changes = {
        **BY_MAIL,
        "policies/fields.yaml": (
            "  profile.plan:\n    type: string\n    uses: [decide]\n",
            "  profile.plan:\n    type: string\n    uses: [decide, personalise]\n",
        ),
    }
    ann = {"first_name": "Ann", "plan": "gold"}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example", traits=ann))
        shop.run(cart("2026-10-05T08:05:00Z", cart_id="k-1"))
        shop.run(consent("denied", "2026-10-05T08:10:00Z", channel=None, purpose="personalise"))
        line = shop.one(cart("2026-10-07T09:00:00Z", cart_id="k-2"))
        seen = context(shop, line)
        assert seen["withheld"] == ["profile.first_name", "profile.plan"]
        assert seen["fields"]["profile.plan"] == "gold"
        before, after = (one.read_text() for one in shop.sent("email"))
        assert "Hello Ann" in before
        assert "Hello there" in after
