"""Journeys that try again while their goal is not reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import recompute
from service.assemble import kept_workspace
from tests.shop import Shop, cart, consent, open_shop, row
from traces.ledger import verify

FILE = "journeys/abandoned_cart.yaml"
DAILY = {FILE: ("window: 3d", "window: 3d\nagain_after: 1d")}
YES = consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example")
CART = cart("2026-10-05T09:00:00Z")
LATER = "2026-11-05T09:00:00Z"


def told(lines: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """When something was tried again, and what came of it."""
    return [(one["at"][5:16], one["verdict"], one["action"]) for one in lines]


def check(shop: Shop) -> None:
    """The record is whole, and every decision comes out the same again."""
    verify(shop.database)
    again = recompute(shop.database, lambda v: kept_workspace(shop.database, v), FormulaMind())
    assert not again.different


def test_it_tries_again_until_its_window_is_over(tmp_path: Path, store: str) -> None:
    """Each a whole new pass, with the caps as they are then."""
    with open_shop(tmp_path / "w", store=store, changes=DAILY) as shop:
        shop.run(YES, CART)
        lines = shop.wake(LATER)
        assert told(lines) == [
            ("10-06T09:00", "permitted", "remind_by_email"),
            ("10-07T09:00", "permitted", "remind_by_email"),
        ]
        assert [one["pass"] for one in lines] == ["again", "again"]
        assert len(shop.sent("email")) == 3
        check(shop)


def test_what_is_refused_now_is_tried_again_as_well(tmp_path: Path) -> None:
    """Half a day later the cap still holds; a day later it does not."""
    often = {FILE: ("window: 3d", "window: 30h\nagain_after: 12h")}
    with open_shop(tmp_path / "w", changes=often) as shop:
        shop.run(YES, CART)
        assert told(shop.wake(LATER)) == [
            ("10-05T21:00", "denied", "no_action"),
            ("10-06T09:00", "permitted", "remind_by_email"),
        ]
        check(shop)


@pytest.mark.parametrize(
    "end",
    [
        row("order_completed", "2026-10-05T20:00:00Z", cart_id="k-1"),
        row("till_failed", "2026-10-05T20:00:00Z", error="card"),
    ],
    ids=["goal", "exit"],
)
def test_nothing_is_tried_for_whoever_has_got_there(tmp_path: Path, end: dict[str, Any]) -> None:
    """The next try finds that the run is over, and is the last."""
    ends = {FILE: ("window: 3d", 'window: 3d\nagain_after: 1d\nexit: "has(event.error)"')}
    with open_shop(tmp_path / "w", changes=ends) as shop:
        shop.run(YES, CART, end)
        (last,) = shop.wake(LATER)
        assert (last["verdict"], last["code"]) == ("none", "not_applicable")
        assert "it is over for this person" in last["reason"]
        assert len(shop.sent()) == 1
        check(shop)


def test_a_no_ends_it(tmp_path: Path) -> None:
    """It is asked as any contact is, and consent is today's."""
    with open_shop(tmp_path / "w", changes=DAILY) as shop:
        shop.run(YES, CART, consent("objection", "2026-10-05T20:00:00Z", channel=None))
        assert {(one["verdict"], one["code"]) for one in shop.wake(LATER)} == {
            ("denied", "objection")
        }
        assert len(shop.sent()) == 1
        check(shop)


def test_one_run_has_one_next_try(tmp_path: Path) -> None:
    """A second event of the same run puts the next try off; another cart has its own."""
    with open_shop(tmp_path / "w", changes=DAILY) as shop:
        shop.run(
            YES, CART, cart("2026-10-05T12:00:00Z"), cart("2026-10-05T13:00:00Z", cart_id="k-2")
        )
        pending = [one for one in shop.rows("timers") if one["state"] == "pending"]
        assert len(pending) == 2
        (first, *_) = shop.wake("2026-10-06T12:00:00Z")
        assert first["at"] == "2026-10-06T12:00:00.000Z"
        check(shop)


def test_whoever_is_on_it_keeps_how_often_it_tries(tmp_path: Path) -> None:
    """The plan is the one that was entered; a plan that is gone tries on."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    with open_shop(tmp_path / "w", store=store, changes=DAILY) as shop:
        shop.run(YES, CART)
    without = {FILE: ("\nagain_after: 1d", "")}
    with open_shop(tmp_path / "w", store=store, changes=without) as shop:
        assert len(told(shop.wake(LATER))) == 2
        check(shop)


def test_an_absence_tries_again_too(tmp_path: Path) -> None:
    """As long as what it waited for has not come after all."""
    with open_shop(tmp_path / "w", changes=DAILY) as shop:
        shop.run(YES, row("cart_updated", "2026-10-05T09:00:00Z", cart_id="k-1", value=50.0))
        lines = shop.wake("2026-10-06T12:00:00Z")
        assert told(lines) == [
            ("10-05T09:30", "permitted", "remind_by_email"),
            ("10-06T09:30", "permitted", "remind_by_email"),
        ]
        check(shop)
