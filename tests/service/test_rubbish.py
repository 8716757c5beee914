from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.minds.formula import FormulaMind
from agents.reconsider import recompute
from tests.shop import open_shop
from traces.ledger import verify

NAMES = (
    "consent_changed", "suppression_added", "spam_complaint", "bounced", "contact_observed",
    "case_closed", "handoff_accepted", "cart_abandoned", "contact_opened", "self_service_failed",
    "order_completed", "checkout_failed",
)  # fmt: skip
KEYS = (
    "value", "channel", "purpose", "topic", "brand", "contact_point", "wording", "source",
    "expires_at", "target", "blocks", "channels", "shown_to", "reason", "type", "cart_id",
    "order_id", "error",
)  # fmt: skip
TRAITS = ("first_name", "time_zone", "address", "vulnerable", "plan", "email", "phone")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e308, 2**63 - 1, "", "x" * 1000, "\u202e\u0007", [], [1], {},
    {"a": {"b": [1]}}, "2026-99-99", "a@b.example\r\nBcc: x@y.example",
)  # fmt: skip


def rubbish() -> list[dict[str, Any]]:
    """Every known event with every known key holding what it should not."""
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        for key in KEYS:
            for value in VALUES:
                rows.append({"event": name, "properties": {**_usual(name), key: value}})
    for trait in TRAITS:
        for value in VALUES:
            rows.append({"event": "cart_abandoned", "properties": {}, "traits": {trait: value}})
    for number, row in enumerate(rows):
        user = f"u{number % 40}"
        row |= {"id": f"w{number}", "at": "2026-10-05T09:00:00Z", "user_id": user}
        row["email"] = f"{user}@b.example"
    return rows


def _usual(name: str) -> dict[str, Any]:
    if name == "cart_abandoned":
        return {"value": 50.0, "cart_id": "k"}
    return {"value": "denied", "channel": "email", "purpose": "marketing", "type": "hard"}


def test_no_value_in_any_field_stops_a_run(tmp_path: Path) -> None:
    """Whatever a field holds, its event is decided or refused, and the record stays whole."""
    rows = rubbish()
    with open_shop(tmp_path / "w") as shop:
        lines = shop.run(*rows)
        firsts = [line for line in lines if line["pass"] in ("event", None)]
        refused = [line for line in firsts if line["verdict"] == "dead"]
        assert len(firsts) == len(rows)
        assert {line["code"] for line in refused} == {"invalid_field"}
        assert len(refused) < len(rows) / 4
        assert verify(shop.database).decisions == len(lines) - len(refused)
        workspace = shop.assembly.workspace
        again = recompute(shop.database, lambda version: workspace, FormulaMind())
        assert not again.different
        assert again.same == len(lines) - len(refused)
        for path in shop.sent():
            assert b"\nBcc:" not in path.read_bytes()
