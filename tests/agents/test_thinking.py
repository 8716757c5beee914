from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.record import read_record
from agents.thinking import Considered
from tests.shop import Shop, cart, consent, open_shop, row

ALL_HELD_OUT = ("max_age: 15m", "max_age: 15m\nholdout: 0.9")


def considered(shop: Shop, line: dict[str, Any]) -> dict[str, Considered]:
    """What the record says of each candidate."""
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return {one.action: one for one in read_record(data).thought.considered}


def held_out(shop: Shop, journey: str) -> list[str]:
    """Who was drawn into a journey's holdout."""
    return [a["profile_id"] for a in shop.rows("assignments") if a["arm"] == "held_out"]


def test_a_holdout_hears_nothing_and_the_row_says_what_would_have_won(tmp_path: Path) -> None:
    """Held-out people get no marketing; the cause is `holdout`, and the winner is on record."""
    changes = {"journeys/abandoned_cart.yaml": ALL_HELD_OUT}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for n in range(12):
            user, mail = f"c-{n}", f"c{n}@shop.example"
            shop.run(consent("granted", "2026-10-05T08:00:00Z", user, email=mail))
        lines = shop.run(*(cart("2026-10-05T09:00:00Z", f"c-{n}") for n in range(12)))
        out = set(held_out(shop, "abandoned_cart"))
        assert 0 < len(out) <= 12
        for line in lines:
            if line["profile_id"] in out:
                assert (line["verdict"], line["code"]) == ("none", "holdout")
                found = considered(shop, line)
                assert found["remind_by_email"].note == "holdout"
                assert found["remind_by_email"].priority == pytest.approx(12.4)
                assert not found["remind_by_email"].against
            else:
                assert line["verdict"] == "permitted"
        assert len(shop.sent("email")) == 12 - len(out)


def test_case_23_a_holdout_never_withholds_help(tmp_path: Path) -> None:
    """Held out of marketing, a customer still gets the hand-over and the guide."""
    holdout = ("window: 2d", "window: 2d\nholdout: 0.9")
    promo = (
        "  send_guide:",
        "  voucher:\n    title: Five off\n    tool: message\n    channel: email\n"
        "    purpose: marketing\n    body: For you\n    offer: voucher_5\n    value: 5000\n\n"
        "  send_guide:",
    )
    offered = ("actions: [hand_over, send_guide]", "actions: [voucher, hand_over, send_guide]")
    changes = {"actions.yaml": promo, "journeys/failed_self_service.yaml": offered}
    with open_shop(tmp_path / "w", changes=changes):
        pass
    changes = {"journeys/failed_self_service.yaml": holdout}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        seen = 0
        for n in range(8):
            user, mail = f"c-{n}", f"c{n}@shop.example"
            shop.run(consent("granted", "2026-10-05T08:00:00Z", user, email=mail))
            line = shop.one(row("self_service_failed", "2026-10-05T09:00:00Z", user, topic="t"))
            if line["profile_id"] in held_out(shop, "failed_self_service"):
                seen += 1
                assert (line["action"], line["verdict"]) == ("hand_over", "permitted")
                assert considered(shop, line)["voucher"].note == "holdout"
                assert considered(shop, line)["voucher"].priority > 1000
            else:
                assert line["action"] == "voucher"
        assert seen


def test_an_arm_never_changes(tmp_path: Path) -> None:
    """Assigned once, a person stays in that arm, whatever the share becomes later."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    people = [row("signed_up", "2026-10-05T09:00:00Z", f"c-{n}") for n in range(10)]
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(*people)
        before = {a["profile_id"]: a["arm"] for a in shop.rows("assignments")}
        assert len(before) == 10
    changes = {"journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0.9")}
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        shop.run(*(said | {"id": f"again-{n}"} for n, said in enumerate(people)))
        assert {a["profile_id"]: a["arm"] for a in shop.rows("assignments")} == before


def test_a_goal_ends_its_journey(tmp_path: Path) -> None:
    """An order ends the cart's journey; the same cart left again starts nothing."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            cart("2026-10-05T09:00:00Z"),
        )
        assert [i["state"] for i in shop.rows("instances")] == ["active"]
        order = shop.one(row("order_completed", "2026-10-05T10:00:00Z", order_id="o"))
        assert (order["verdict"], order["reason"]) == (
            "none",
            "reached the goal of `abandoned_cart`",
        )
        assert [i["state"] for i in shop.rows("instances")] == ["reached"]
        again = shop.one(cart("2026-10-07T10:00:00Z"))
        assert again["verdict"] == "none"
        assert "it is over for this person (reached)" in again["reason"]


def test_the_next_best_is_done_where_the_best_is_refused(tmp_path: Path) -> None:
    """Without consent to mail the banner is shown, and the record says why not the mail."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(cart("2026-10-05T09:00:00Z", email="a@shop.example"))
        assert (line["action"], line["reason"]) == ("cart_banner", "propensity 0.08, number 3 of 3")
        assert considered(shop, line)["remind_by_email"].against == (("consent", "consent"),)


def test_priority_is_the_product_and_levers_add_up(tmp_path: Path) -> None:
    """20 % and 35 % of levers make a factor of 1.55, and the formula is P x C x V x L."""
    levers = ("    propensity: 0.08\n", "    propensity: 0.08\n    levers: {spring: 20, vip: 35}\n")
    with open_shop(tmp_path / "w", changes={"actions.yaml": levers}) as shop:
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert considered(shop, line)["cart_banner"].priority == pytest.approx(0.08 * 40 * 1.55)


def test_the_last_voucher_goes_to_one(tmp_path: Path) -> None:
    """Of two people who come at one instant for the last voucher one gets it."""
    changes = {
        "offers.yaml": ("stock: 1000", "stock: 1"),
        "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0"),
        "actions.yaml": (
            "    propensity: 0.42\n    value: 18",
            "    propensity: 0.9\n    value: 90",
        ),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for n in range(5):
            mail = f"c{n}@shop.example"
            shop.run(consent("granted", "2026-10-05T08:00:00Z", f"c-{n}", email=mail))
        lines = shop.run(*(row("signed_up", "2026-10-05T09:00:00Z", f"c-{n}") for n in range(5)))
        actions = sorted(line["action"] for line in lines)
        assert actions == ["welcome_email"] * 4 + ["welcome_voucher"]
        assert [g["state"] for g in shop.rows("grants")] == ["granted"]
        assert sum(c["amount"] for c in shop.rows("counters")) == 1


def test_there_is_one_open_case_a_person_and_reason(tmp_path: Path) -> None:
    """A second failure about the same thing brings the open case up to date."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"),
            row("self_service_failed", "2026-10-05T09:30:00Z", topic="delivery"),
            row("self_service_failed", "2026-10-05T09:30:00Z", "c-2", topic="delivery"),
        )
        cases = shop.rows("cases")
        assert len(cases) == 2
        assert len({case["profile_id"] for case in cases}) == 2
        details = [o["detail"] for o in shop.rows("outcomes")]
        assert sum(detail.startswith("updated") for detail in details) == 1


def test_a_vulnerable_customer_is_not_sold_to_and_the_reason_stays_inside(tmp_path: Path) -> None:
    """Care comes first; why is shown to those who may know it, and to the customer not at all."""
    from agents.minds.formula import FormulaMind
    from agents.reconsider import explain
    from traces.explain import as_text

    with open_shop(tmp_path / "w") as shop:
        line = shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", email="a@x.example", traits={"vulnerable": True}
            ),
            cart("2026-10-05T09:00:00Z"),
        )[-1]
        assert (line["verdict"], line["code"]) == ("denied", "not_eligible")
        workspace = shop.assembly.workspace
        found = explain(
            shop.database, line["decision_id"], lambda version: workspace, FormulaMind()
        )
        assert "customers who need care" in as_text(found, "agent").replace("\n", " ")
        told = as_text(found, "customer").replace("\n", " ")
        assert "care" not in told
        assert "not available" in told


def test_a_field_of_the_wrong_type_forbids(tmp_path: Path) -> None:
    """A rule that reads a value it cannot understand says no, and names itself."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", email="a@x.example", traits={"vulnerable": "?"}
            ),
            cart("2026-10-05T09:00:00Z"),
        )[-1]
        assert (line["verdict"], line["code"], line["rule"]) == (
            "denied",
            "rule_error",
            "no-promotion-to-vulnerable",
        )
