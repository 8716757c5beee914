"""Events that come after a message which they would have prevented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from profiles.overtaking import OVERTAKEN
from tests.shop import Shop, cart, consent, open_shop, row
from traces.explain import as_text
from traces.ledger import verify

MAIL = "a@shop.example"
YES = consent("granted", "2026-10-05T08:00:00Z", email=MAIL)
SENT_AT = "2026-10-05T10:00:00Z"
CART = cart(SENT_AT)
AFTER = row("page_viewed", "2026-10-05T10:30:00Z", "somebody-else")


def order(when: str, **said: Any) -> dict[str, Any]:
    """A purchase, as the till tells of it."""
    return row("order_completed", when, source="till", **{"order_id": "o-1", **said})


def flags(shop: Shop) -> list[str | None]:
    """The flag of each message, in the order in which they were decided."""
    steps = [step for step in shop.rows("outbox") if step["tool"] == "message"]
    return [step["flag"] for step in sorted(steps, key=lambda step: step["outbox_id"])]


@pytest.mark.parametrize(
    ("late", "is_overtaken"),
    [
        (order("2026-10-05T09:59:00Z", cart_id="k-1"), True),
        (order("2026-10-05T09:59:00Z", cart_id="k-2"), False),
        (order(SENT_AT, cart_id="k-1"), False),
        (order("2026-10-05T10:01:00Z", cart_id="k-1"), False),
        (consent("denied", "2026-10-05T09:59:00Z", contact_point=MAIL), True),
        (consent("denied", "2026-10-05T10:01:00Z", contact_point=MAIL), False),
        (consent("denied", "2026-10-05T09:59:00Z", channel="sms"), False),
        (row("spam_complaint", "2026-10-05T09:59:00Z", contact_point=MAIL), True),
        (row("page_viewed", "2026-10-05T09:59:00Z"), False),
    ],
    ids=[
        "bought before",
        "another cart",
        "bought at that instant",
        "bought after",
        "no before",
        "no after",
        "no to another channel",
        "complaint before",
        "looked",
    ],
)
def test_a_late_event_marks_the_message_that_it_overtakes(
    tmp_path: Path, store: str, late: dict[str, Any], is_overtaken: bool
) -> None:
    """What would have prevented a message marks it and un-sends nothing; nothing else marks it."""
    with open_shop(tmp_path / "w", store=store) as shop:
        _, line = shop.run(YES, CART)
        assert line["action"] == "remind_by_email"
        before = shop.rows("decisions")
        shop.run(AFTER, late)
        assert flags(shop) == [OVERTAKEN if is_overtaken else None]
        assert len(shop.sent("email")) == 1
        assert [step["state"] for step in shop.rows("outbox")] == ["sent"]
        assert shop.rows("decisions")[: len(before)] == before
        assert verify(shop.database)
        explained = explain(
            shop.database, line["decision_id"], lambda _: shop.deps.workspace, FormulaMind()
        )
        assert (OVERTAKEN in as_text(explained, "auditor")) is is_overtaken
        assert shop.run(late)[0]["verdict"] == "duplicate"


def test_an_event_in_order_marks_nothing(tmp_path: Path) -> None:
    """A purchase that comes in time ends the journey before anything is sent."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(YES, CART, order("2026-10-05T11:00:00Z", cart_id="k-1"))
        assert flags(shop) == [None]


def test_a_purchase_that_names_no_cart_overtakes_those_begun_before_it(tmp_path: Path) -> None:
    """A reminder held over night is overtaken by a purchase that evening, not by one before it."""
    phone = "+491701234567"
    yes = consent("granted", "2026-10-05T08:00:00Z", channel="sms", phone=phone)
    with open_shop(tmp_path / "w") as shop:
        _, line = shop.run(yes, cart("2026-10-05T21:30:00Z"))
        assert (line["action"], line["held_for"]) == ("remind_by_sms", "time")
        (sent,) = shop.wake("2026-10-06T09:00:00Z")
        assert sent["verdict"] == "permitted"
        at_nine = row("page_viewed", "2026-10-06T09:00:00Z", "somebody-else")
        shop.run(at_nine, order("2026-10-05T21:00:00Z", order_id="o-1"))
        assert flags(shop) == [None]
        shop.run(order("2026-10-05T22:00:00Z", order_id="o-2"))
        assert flags(shop) == [OVERTAKEN]


def test_a_late_exit_marks_as_a_goal_does(tmp_path: Path) -> None:
    """A journey's own condition to end it, met late, is no other than its goal."""
    ends = ("window: 3d", 'window: 3d\nexit: "has(event.error)"')
    with open_shop(tmp_path / "w", changes={"journeys/abandoned_cart.yaml": ends}) as shop:
        shop.run(YES, CART, AFTER, row("till_failed", "2026-10-05T09:59:00Z", error="card"))
        assert flags(shop) == [OVERTAKEN]
        assert {one["state"] for one in shop.rows("instances")} == {"exited"}


def test_a_message_may_be_overtaken_after_its_journey_has_ended(tmp_path: Path) -> None:
    """A second purchase that was made earlier marks what the first, made later, could not."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(YES, CART, order("2026-10-05T10:20:00Z", cart_id="k-1"))
        assert flags(shop) == [None]
        shop.run(order("2026-10-05T09:58:00Z", cart_id="k-1"))
        assert flags(shop) == [OVERTAKEN]
