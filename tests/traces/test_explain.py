from __future__ import annotations

import json
from pathlib import Path

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from tests.shop import Shop, cart, consent, open_shop, row
from traces.explain import Explanation, as_json, as_text


def explained(shop: Shop, decision_id: str) -> Explanation:
    """All that is known of a decision."""
    workspace = shop.assembly.workspace
    return explain(shop.database, decision_id, lambda version: workspace, FormulaMind())


def test_a_hidden_reason_cannot_be_told_by_what_is_missing(tmp_path: Path) -> None:
    """To whoever may not know of a fraud review, another hidden reason would look the same."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"),
            row(
                "suppression_added", "2026-10-05T08:10:00Z", target="person", blocks="marketing",
                reason="fraud review", shown_to=["fraud"],
            ),
            cart("2026-10-05T09:00:00Z"),
        )[-1]  # fmt: skip
        found = explained(shop, line["decision_id"])
        for audience in ("customer", "agent", "auditor", "approver"):
            for said in (as_text(found, audience), json.dumps(as_json(found, audience))):
                assert "fraud" not in said
                assert "suppress" not in said
                assert "lift" not in said
        told = as_json(found, "fraud")
        assert "fraud review" in json.dumps(told)


def test_a_customer_reads_plain_words_and_no_scores(tmp_path: Path) -> None:
    """The customer's version names the action by its title, and no rule, score or colleague."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"),
            cart("2026-10-05T09:00:00Z"),
        )[-1]
        found = explained(shop, line["decision_id"])
        assert as_text(found, "customer").replace("\n", " ") == (
            "On 2026-10-05 at 09:00:00Z, `cart_abandoned` came in for you. “Remind of the cart by "
            "e-mail” was permitted."
        )
        assert as_json(found, "customer")["candidates"] == []
        assert len(as_json(found, "auditor")["candidates"]) == 3


def test_what_became_of_a_decision_is_told(tmp_path: Path) -> None:
    """Steps, votes and later passes are part of the explanation."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"),
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="t"),
        )
        held = shop.one(row("contact_opened", "2026-10-05T10:00:00Z", topic="t"))
        (asked,) = shop.rows("approvals")
        shop.vote(asked["approval_id"], "approve", "2026-10-05T10:30:00Z")
        (done,) = shop.wake("2026-10-05T10:30:00Z")
        text = as_text(explained(shop, held["decision_id"]), "auditor")
        assert "10:30:00Z  ana said approve" in text
        assert f"asked again (approval): permitted  {done['decision_id']}" in text
        text = as_text(explained(shop, done["decision_id"]), "auditor")
        assert "step 0: sent  granted `voucher_25`" in text
        assert "step 1: sent" in text
