"""Kill switches: who turns them, what they spare, and what becomes of what waited."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.steps import STEPS, Batch
from domain.errors import StoreError, UsageError
from profiles.arrivals import Arrival
from tests.shop import SWITCHERS, Shop, at, cart, consent, open_shop, row
from tools import switches

NEW_YORK = "+12122345678"
WITH_VOUCHER = (
    "    propensity: 0.22\n    value: 40",
    "    offer: voucher_5\n    propensity: 0.22\n    value: 40",
)


def deferred(shop: Shop, user: str = "c-1", phone: str = NEW_YORK) -> dict[str, Any]:
    """A promotion by SMS that waits for 13:00Z, when it is 08:00 in New York."""
    shop.run(consent("granted", "2026-11-20T17:00:00Z", user, channel="sms", phone=phone))
    held = shop.one(cart("2026-11-24T03:00:00Z", user))
    assert (held["verdict"], held["held_for"], held["code"]) == ("held", "time", "quiet_hours")
    assert held["next_eligible_at"] == "2026-11-24T13:00:00.000Z"
    return held


@pytest.mark.parametrize("ends", ["2026-11-24T14:00:00Z", "2026-12-24T14:00:00Z"])
def test_case_22_a_switch_while_deferred(tmp_path: Path, store: str, ends: str) -> None:
    """Held without forecast or slot while stopped; then asked anew, and refused or sent."""
    changes = {
        "actions.yaml": WITH_VOUCHER,
        "offers.yaml": ("stock: 1000", f'stock: 1000\n    valid_until: "{ends}"'),
    }
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        deferred(shop)
        shop.kill("channel:sms", "2026-11-24T12:00:00Z")
        (held,) = shop.wake("2026-11-24T13:02:00Z")
        assert (held["verdict"], held["held_for"], held["code"]) == ("held", "human", "kill_switch")
        assert "2026-11-24T13:00" <= held["at"] < "2026-11-24T13:02"
        assert held["next_eligible_at"] is None
        assert not shop.rows("contacts")
        assert not shop.rows("counters")
        assert shop.wake("2026-11-24T14:29:59Z") == []
        (after,) = shop.release("channel:sms", "2026-11-24T14:30:00Z")
        assert (after["pass"], after["at"]) == ("release", "2026-11-24T14:30:00.000Z")
        assert after["parent_id"] == held["decision_id"]
        if ends < "2026-11-24T14:30:00Z":
            assert (after["verdict"], after["code"]) == ("denied", "offer_unavailable")
            assert after["next_eligible_at"] is None
            assert not shop.sent()
        else:
            assert (after["verdict"], after["action"]) == ("permitted", "remind_by_sms")
            assert len(shop.sent("sms")) == 1


def test_what_waited_is_spread_and_what_expires_first_goes_first(
    tmp_path: Path, store: str
) -> None:
    """Twelve that waited are asked about one after the other, never two at one instant."""
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.kill("all", "2026-10-05T08:00:00Z")
        asks = [
            row("self_service_failed", f"2026-10-05T09:00:{n:02d}Z", f"c-{n}", topic="returns")
            for n in range(12)
        ]
        assert {line["code"] for line in shop.run(*asks)} == {"kill_switch"}
        shop.let_go("all", "2026-10-05T10:00:00Z", timedelta(minutes=1))
        first = shop.wake("2026-10-05T10:05:00Z")
        rest = shop.wake("2026-10-05T11:00:00Z")
        assert [line["at"] for line in first] == [f"2026-10-05T10:0{n}:00.000Z" for n in range(6)]
        assert len(first) + len(rest) == 12
        assert len({line["at"] for line in (*first, *rest)}) == 12
        assert {line["verdict"] for line in (*first, *rest)} == {"permitted"}
        asked = [line["parent_id"] for line in (*first, *rest)]
        held = sorted(
            (kept for kept in shop.rows("decisions") if kept["verdict"] == "held"),
            key=lambda kept: kept["at"],
        )
        assert asked == [kept["decision_id"] for kept in held]


def test_nobody_waits_past_the_end_of_being_wanted(tmp_path: Path, store: str) -> None:
    """One whose turn would come too late is asked about at its end, and that is recorded."""
    with open_shop(tmp_path / "w", store=store) as shop:
        deferred(shop)
        yes = consent("granted", "2026-11-24T03:30:00Z", "c-2", channel="sms", phone="+12122345679")
        shop.run(yes, cart("2026-11-24T03:30:00Z", "c-2"))
        shop.kill("channel:sms", "2026-11-24T12:00:00Z")
        assert len(shop.wake("2026-11-24T13:02:00Z")) == 2
        shop.let_go("channel:sms", "2026-11-24T14:00:00Z", timedelta(days=2))
        lines = shop.wake("2026-11-28T00:00:00Z")
        assert [(line["verdict"], line["code"], line["at"]) for line in lines] == [
            ("permitted", None, "2026-11-24T14:00:00.000Z"),
            ("denied", "stale_event", "2026-11-25T03:30:00.000Z"),
        ]


def test_one_stops_and_two_different_people_restart(tmp_path: Path, store: str) -> None:
    """Nobody unauthorised turns a switch, and nobody restarts alone, even by asking twice."""
    with open_shop(tmp_path / "w", store=store) as shop:
        now = at("2026-10-05T08:00:00Z")

        def off(by: str, may: tuple[str, ...] = SWITCHERS) -> str:
            return switches.turn_off(
                shop.database, "all", reason="", by=by, at=now, authorised=may, apart=timedelta(0)
            )

        with pytest.raises(UsageError, match="`ana` may not"):
            switches.turn_on(
                shop.database, "all", reason="", by="ana", at=now, authorised=SWITCHERS
            )
        assert not shop.rows("kill_switches")
        shop.kill("all", "2026-10-05T08:00:00Z")
        with pytest.raises(UsageError, match="`ana` may not"):
            off("ana")
        assert off("ida") == "asked"
        with pytest.raises(UsageError, match="`ida` has asked for it already") as again:
            off("ida")
        assert "omar" in str(again.value)
        assert [switch.scope for switch in switches.are_on(shop.database)] == ["all"]
        # Ida has lost the role by the time that Omar comes: his is then the first word.
        assert off("omar", ("omar", "eva")) == "asked"
        assert off("eva", ("omar", "eva")) == "off"
        assert switches.are_on(shop.database) == []
        (kept,) = shop.rows("kill_switches")
        assert (kept["on_by"], kept["asked_by"], kept["off_by"]) == ("ida", "omar", "eva")


def test_a_restart_that_was_asked_for_is_asked_for_once(tmp_path: Path) -> None:
    """A switch that is turned on again needs two people anew."""
    with open_shop(tmp_path / "w") as shop:
        shop.kill("all", "2026-10-05T08:00:00Z")
        shop.release("all", "2026-10-05T09:00:00Z")
        shop.kill("all", "2026-10-05T10:00:00Z")
        (on,) = switches.are_on(shop.database)
        assert (on.asked_by, on.off_by) == (None, None)


def test_a_switch_between_the_decision_and_its_commit_stops_it(tmp_path: Path, store: str) -> None:
    """What was decided before a switch and commits after it is decided again, and held."""
    perceive, decide, act = STEPS
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"))
        (event,) = shop.read(cart("2026-10-05T09:00:00Z"))

        async def race() -> Batch:
            batch: Batch = {"arrivals": (Arrival(event, at("2026-10-05T09:00:00Z")),), "lines": ()}
            for step in (perceive, decide):
                batch |= await step(batch, shop.deps)
            shop.kill("channel:email", "2026-10-05T09:00:00Z")
            batch |= await act(batch, shop.deps)
            while batch["arrivals"]:
                for step in STEPS:
                    batch |= await step(batch, shop.deps)
            return batch

        (line,) = asyncio.run(race())["lines"]
        assert line.decision is not None
        assert (line.decision.verdict, line.decision.code) == ("held", "kill_switch")
        assert not shop.sent()


def test_two_who_turn_a_switch_at_once_do_not_both_win(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that read the same state of the switches, the second is told to look again."""
    with open_shop(tmp_path / "w", store=store) as shop:
        monkeypatch.setattr(switches, "_revision", lambda database: 0)
        shop.kill("all", "2026-10-05T08:00:00Z")
        with pytest.raises(StoreError, match="somebody else turned a switch"):
            shop.kill("channel:email", "2026-10-05T08:00:00Z")


def test_a_colleague_in_charge_is_not_talked_over(tmp_path: Path, store: str) -> None:
    """From the acceptance of a hand-off until it is closed, nothing is sent beside it."""
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"),
        )
        waiting = shop.one(row("checkout_failed", "2026-10-05T09:05:00Z", order_id="o-1"))
        assert waiting["action"] == "checkout_help"
        shop.run(row("handoff_accepted", "2026-10-05T09:10:00Z"))
        taken = shop.one(row("checkout_failed", "2026-10-05T09:15:00Z", order_id="o-2"))
        assert taken["action"] == "open_checkout_case"
        data = shop.deps.history.get(taken["decision_id"]).record()
        assert data is not None
        assert b"human_in_charge" in data
        shop.run(row("case_closed", "2026-10-05T09:20:00Z"))
        after = shop.one(row("checkout_failed", "2026-10-05T09:25:00Z", order_id="o-3"))
        assert after["action"] == "checkout_help"
