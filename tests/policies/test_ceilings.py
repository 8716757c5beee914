from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from domain.errors import ConfigurationError
from domain.verdict import Hold, Permit, objections
from policies.guard import Guard
from tests import world
from tests.shop import open_shop, row
from tests.world import candidate, context, sms

MAIL = "maya@example.com"
CEILING = (
    "    templates: [checkout_help]\n",
    "    templates: [checkout_help]\n    ceiling: {sends: 2, window: 1h}\n",
)
UNCOUNTED = (
    "    purpose: order_update\n",
    "    purpose: order_update\n    counts_toward_caps: false\n",
)


def failed(when: str) -> dict[str, Any]:
    return row("checkout_failed", when, email=MAIL, order_id=when, error="card")


@pytest.mark.parametrize(("count", "held"), [(19, False), (20, True), (21, True)])
def test_the_ceiling_of_an_exempt_purpose(count: int, held: bool) -> None:
    """The twentieth is sent and the next one waits for a person, for no time clears it."""
    by = Guard(world.policies({}), {})
    asked = context(exempt_sends={"order_update": count})
    verdict = by.review(world.proposal(candidate(purpose="order_update")), asked)
    assert isinstance(verdict, Hold if held else Permit)
    if isinstance(verdict, Hold):
        assert (verdict.held_for, verdict.next_eligible_at) == ("human", None)
        (found,) = objections(verdict)
        assert (found.rule, found.code) == ("exempt-ceiling", "human_decision")
        assert (found.read["count"], found.read["limit"]) == (count, 20)
    for other in (candidate(purpose="service"), candidate(), sms(purpose="service", kind="reply")):
        assert isinstance(by.review(world.proposal(other), asked), Permit)


def test_beyond_the_ceiling_the_owner_is_paged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What counts toward no cap counts here until it leaves the window, and somebody is told."""
    changes = {"policies/consent.yaml": CEILING, "actions.yaml": UNCOUNTED}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for minute in (0, 10):
            assert shop.one(failed(f"2026-10-05T09:{minute:02}:00Z"))["verdict"] == "permitted"
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
        line = shop.one(failed("2026-10-05T09:20:00Z"))
        assert (line["verdict"], line["held_for"], line["rule"], line["next_eligible_at"]) == (
            "held",
            "human",
            "exempt-ceiling",
            None,
        )
        (told,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
        fields: Any = told.__dict__["fields"]
        owner = shop.deps.workspace.journeys[line["journey"]].owner
        assert (fields["owner"], fields["decision_id"]) == (owner, line["decision_id"])
        assert len(shop.sent("email")) == 2
        assert shop.one(failed("2026-10-05T10:00:00Z"))["verdict"] == "permitted"


@pytest.mark.parametrize(
    "ceiling", ["{sends: 0, window: 1h}", "{sends: 5000}", "{window: 900d}", "{per: 1}"]
)
def test_a_ceiling_that_cannot_be_meant(ceiling: str) -> None:
    """A ceiling is a number of sends in a window."""
    text = (
        "purposes:\n  order:\n    title: Orders\n    model: exempt\n    legal_basis: contract\n"
        f"    ceiling: {ceiling}\n"
    )
    with pytest.raises(ConfigurationError, match=r"^policies/test\.yaml:6:\d+: "):
        world.policies(text)
