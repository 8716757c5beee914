from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from tests.agents.test_approvals import ask, stock_taken
from tests.agents.test_optout import say
from tests.shop import Shop, cart, consent, open_shop, row
from traces.explain import as_json, as_text
from traces.ledger import verify

MAIL = "maya@example.com"
FRAUD = row("fraud_review_opened", "2026-10-05T08:30:00Z")


def yes() -> dict[str, Any]:
    return consent("granted", "2026-10-05T08:00:00Z", email=MAIL)


def failed(when: str, **more: Any) -> dict[str, Any]:
    """A checkout that failed, which is worth an exempt message."""
    return row("checkout_failed", when, email=MAIL, order_id="o-1", error="card", **more)


def rules(shop: Shop, decision_id: str, action: str, audience: Any = "fraud") -> dict[str, str]:
    """What was against one action, by rule, as an audience is told."""
    explained = explain(shop.database, decision_id, lambda _: shop.deps.workspace, FormulaMind())
    (one,) = [c for c in as_json(explained, audience)["candidates"] if c["action"] == action]
    return {
        f"{found['rule']}/{found['code']}": found["reason"]
        for found in one["rules"]
        if found["outcome"] != "pass"
    }


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (row("do_not_contact", "2026-10-05T08:30:00Z"), "do not contact"),
        (row("customer_deceased", "2026-10-05T08:30:00Z"), "deceased"),
        (row("case_opened", "2026-10-05T08:30:00Z", reason="complaint"), "an open complaint"),
        (row("case_opened", "2026-10-05T08:30:00Z", reason="Complaint_fees"), "an open complaint"),
    ],
)
def test_what_happened_suppresses_marketing(
    tmp_path: Path, said: dict[str, Any], reason: str
) -> None:
    """What an event tells ends marketing from the very next one, and says why."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), said)
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert line["verdict"] == "denied"
        found = rules(shop, line["decision_id"], "remind_by_email")
        assert found["suppression/suppressed"] == f"suppressed: {reason}"
        assert line["next_eligible_at"] is None
        assert not shop.sent()
        assert verify(shop.database)


def test_all_that_apply_are_told(tmp_path: Path) -> None:
    """Several blocks are told together, each once."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            yes(),
            row("spam_complaint", "2026-10-05T08:30:00Z", contact_point=MAIL),
            row("do_not_contact", "2026-10-05T08:31:00Z"),
            row("do_not_contact", "2026-10-05T08:32:00Z"),
            row("case_opened", "2026-10-05T08:33:00Z", reason="complaint"),
        )
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        found = rules(shop, line["decision_id"], "remind_by_email")
        assert found["suppression/suppressed"] == (
            "suppressed: spam complaint, do not contact, an open complaint"
        )


def test_who_asked_for_no_contact_gets_only_what_must_be_told(tmp_path: Path) -> None:
    """`do not contact` leaves what is mandatory, and nothing that is merely exempt."""
    mandatory = ("    purpose: order_update\n", "    purpose: order_update\n    mandatory: true\n")
    for name, changes in (("a", {}), ("b", {"actions.yaml": mandatory})):
        with open_shop(tmp_path / name, changes=changes) as shop:
            shop.run(row("do_not_contact", "2026-10-05T08:30:00Z"))
            shop.run(failed("2026-10-05T09:00:00Z"))
            assert len(shop.sent("email")) == len(changes)


def test_an_open_complaint_does_not_stop_its_own_answer(tmp_path: Path) -> None:
    """Service goes on while a complaint is open, and marketing comes back once it is closed."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), row("case_opened", "2026-10-05T08:30:00Z", reason="complaint"))
        assert shop.one(failed("2026-10-05T09:00:00Z"))["action"] == "checkout_help"
        assert shop.one(cart("2026-10-05T09:05:00Z"))["verdict"] == "denied"
        shop.run(row("case_closed", "2026-10-05T09:10:00Z", reason="complaint"))
        assert shop.one(cart("2026-10-06T10:00:00Z"))["action"] == "remind_by_email"


def test_a_case_is_opened_once(tmp_path: Path) -> None:
    """The same case told twice is one case, and it counts among the open ones at once."""
    with open_shop(tmp_path / "w") as shop:
        opened = [row("case_opened", f"2026-10-05T08:3{n}:00Z", reason="complaint") for n in (0, 1)]
        shop.run(*opened)
        assert [(one["reason"], one["state"]) for one in shop.rows("cases")] == [
            ("complaint", "open")
        ]


def test_of_the_deceased_a_person_decides_the_rest(tmp_path: Path) -> None:
    """What is no marketing waits for a person: it is neither sent nor refused."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), row("customer_deceased", "2026-10-05T08:30:00Z"))
        line = shop.one(failed("2026-10-05T09:00:00Z"))
        explained = rules(shop, line["decision_id"], "checkout_help")
        assert explained == {"suppression/suppressed": "suppressed: deceased"}
        assert (line["verdict"], line["held_for"], line["code"]) == ("held", "human", "suppressed")
        assert line["next_eligible_at"] is None
        assert not shop.sent()


def test_a_fraud_review_is_told_to_nobody_else(tmp_path: Path) -> None:
    """Outside `fraud` every output reads `unavailable`; inside, it says what it is."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), FRAUD)
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert (line["verdict"], line["code"], line["rule"]) == (
            "denied",
            "unavailable",
            "unavailable",
        )
        decision_id = line["decision_id"]
        for audience in ("customer", "agent", "auditor", "approver"):
            explained = explain(
                shop.database, decision_id, lambda _: shop.deps.workspace, FormulaMind()
            )
            told = f"{as_json(explained, audience)} {as_text(explained, audience)}"
            assert "fraud" not in told
            assert "suppress" not in told
        assert rules(shop, decision_id, "remind_by_email", "auditor") == {
            "unavailable/unavailable": "not available",
        }
        assert rules(shop, decision_id, "remind_by_email") == {
            "confidential-suppression/suppressed": "suppressed: fraud review"
        }


def test_a_fraud_review_ends(tmp_path: Path) -> None:
    """Marketing comes back when the review is closed; what is exempt never stopped."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), FRAUD)
        assert shop.one(failed("2026-10-05T09:00:00Z"))["action"] == "checkout_help"
        shop.run(row("fraud_review_closed", "2026-10-05T10:00:00Z"))
        assert shop.one(cart("2026-10-05T11:00:00Z"))["action"] == "remind_by_email"
        assert verify(shop.database)


@pytest.mark.parametrize("name", ["fraud_review_opened", "do_not_contact", "customer_deceased"])
def test_what_waits_for_an_approval_ends_at_once(tmp_path: Path, name: str) -> None:
    """A voucher that waits is withdrawn in the commit that suppresses it, and given back once."""
    with open_shop(tmp_path / "w") as shop:
        ask(shop)
        asyncio.run(say(shop, row(name, "2026-10-05T17:10:00Z"), "2026-10-05T17:10:00Z"))
        assert [asked["state"] for asked in shop.rows("approvals")] == ["withdrawn"]
        shop.wake("2026-10-05T17:10:00Z")
        assert stock_taken(shop) == 0
        assert shop.sent("email") == []


def test_a_lift_ends_one_suppression(tmp_path: Path) -> None:
    """What is lifted by its id blocks no more, from the very event that lifts it; others stay."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            yes(),
            row("suppression_added", "2026-10-05T08:30:00Z", reason="a mistake"),
            row("suppression_added", "2026-10-05T08:31:00Z", reason="another"),
        )
        first, second = [one["suppression_id"] for one in shop.rows("suppressions")]
        lifted = row("suppression_lifted", "2026-10-05T08:40:00Z", suppression_id=first, by="ida")
        shop.run(lifted, lifted | {"id": "again"})
        assert shop.one(cart("2026-10-05T09:00:00Z"))["verdict"] == "denied"
        shop.run(row("suppression_lifted", "2026-10-05T09:40:00Z", suppression_id=second))
        assert shop.one(cart("2026-10-05T10:00:00Z"))["action"] == "remind_by_email"
        kept = [(one["lifts"], one["by"]) for one in shop.rows("suppressions")]
        assert kept == [(None, None), (None, None), (first, "ida"), (second, None)]
        assert verify(shop.database)


def test_a_spam_complaint_is_never_lifted(tmp_path: Path) -> None:
    """A complaint about spam stands for good: a lift of it changes nothing."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(yes(), row("spam_complaint", "2026-10-05T08:30:00Z", contact_point=MAIL))
        (made,) = shop.rows("suppressions")
        shop.run(
            row(
                "suppression_lifted",
                "2026-10-05T08:40:00Z",
                suppression_id=made["suppression_id"],
            )
        )
        assert len(shop.rows("suppressions")) == 1
        assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] != "remind_by_email"
