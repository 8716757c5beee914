from __future__ import annotations

from pathlib import Path

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from domain.verdict import STAGES
from tests.shop import Shop, cart, consent, open_shop, row
from traces.explain import Explanation
from traces.grid import grid, grid_json, grid_text

MAIL = "a@shop.example"


def explained(shop: Shop, decision_id: str) -> Explanation:
    return explain(shop.database, decision_id, lambda _: shop.assembly.workspace, FormulaMind())


def test_each_candidate_stands_under_the_stage_that_stopped_it(tmp_path: Path) -> None:
    """Stage by action: the rules against it, and who won among those that came through."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        shop.run(cart("2026-10-05T09:00:00Z"))
        line = shop.one(cart("2026-10-05T13:00:00Z", cart_id="k-2"))
        found = explained(shop, line["decision_id"])
        stopped = {
            row.action: {
                stage: [finding.rule for finding in said]
                for stage, said in row.against.items()
                if said
            }
            for row in grid(found)
        }
        assert stopped["remind_by_email"] == {"contact_policy": ["marketing-per-day"]}
        assert stopped["remind_by_sms"]["contact_policy"][0] == "reachable"
        assert stopped["cart_banner"] == {}
        assert [row.arbitration for row in grid(found)] == ["", "", "chosen"]
        text = grid_text(found, "auditor")
        assert "marketing-per-day" in text
        assert grid_text(found, "customer") == "the grid is not for customers"
        assert grid_json(found, "customer") == []
        (mail, *_) = grid_json(found, "agent")
        assert list(mail) == ["action", "by", *STAGES, "arbitration"]
        assert mail["contact_policy"][0]["code"] == "frequency_cap"


def test_a_rule_that_not_everybody_may_know_of_is_not_named(tmp_path: Path) -> None:
    """A confidential suppression reads `unavailable` in the grid as everywhere."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            row(
                "suppression_added",
                "2026-10-05T08:30:00Z",
                target="person",
                blocks="marketing",
                reason="fraud review",
                shown_to=["fraud"],
            ),
        )
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        found = explained(shop, line["decision_id"])
        assert "unavailable" in grid_text(found, "agent")
        assert "confidential" not in grid_text(found, "agent")
        assert "confidential-suppression" in grid_text(found, "fraud")


def test_what_applies_too_late_is_stopped_at_applicability(tmp_path: Path) -> None:
    """An old event's candidates fall where the moment is asked about, first of all."""
    with open_shop(tmp_path / "w") as shop:
        agreed = consent("granted", "2026-10-05T12:00:00Z", email=MAIL)
        *_, line = shop.run(agreed, cart("2026-10-05T09:00:00Z"))
        for one in grid(explained(shop, line["decision_id"])):
            assert [finding.rule for finding in one.against["applicability"]] == ["still-wanted"]


def test_an_event_that_triggers_nothing_has_an_empty_grid(tmp_path: Path) -> None:
    """There is nobody to show, and that is said."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(row("page_viewed", "2026-10-05T09:00:00Z"))
        said = grid_text(explained(shop, line["decision_id"]), "auditor")
        assert said == "nothing was considered: the event triggers no journey"
