from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import explain
from agents.supervisor import through_steps
from domain.event import Event
from domain.verdict import Finding
from profiles.arrivals import Arrival
from profiles.cancelling import IN_FLIGHT
from tests.agents.test_approvals import ask, stock_taken
from tests.shop import Shop, at, cart, consent, open_shop, row
from tools.toolbox import Intent, Outcome
from traces.explain import as_text
from traces.ledger import verify

MAIL = "a@shop.example"
NOES = {
    "denial": consent("denied", "2026-10-05T17:10:00Z", contact_point=MAIL),
    "objection": consent("objection", "2026-10-05T17:10:00Z", channel=None),
    "one click": row(
        "unsubscribed", "2026-10-05T17:10:00Z", contact_point=MAIL, purpose="marketing"
    ),
    "change of hands": row("address_reassigned", "2026-10-05T17:10:00Z", contact_point=MAIL),
    "complaint": row("spam_complaint", "2026-10-05T17:10:00Z", contact_point=MAIL),
    "suppression": row(
        "suppression_added", "2026-10-05T17:10:00Z", target="person", blocks="marketing", reason="x"
    ),
}


async def say(shop: Shop, said: dict[str, Any], now: str) -> None:
    """Decide about one event and nothing else: no later pass is woken."""
    raw = json.dumps(said).encode()
    (event,) = shop.assembly.reading.read(raw, received_at=at(now), place="x")
    assert isinstance(event, Event)
    (line,) = await through_steps(shop.deps)([Arrival(event, at(now))])
    assert line.decision is not None


@pytest.mark.parametrize("kind", NOES)
def test_a_no_withdraws_what_waits_for_an_approval_at_once(tmp_path: Path, kind: str) -> None:
    """The request is gone in the no's own commit; what it held is given back once by its pass."""
    with open_shop(tmp_path / "w") as shop:
        ask(shop)
        asyncio.run(say(shop, NOES[kind], "2026-10-05T17:10:00Z"))
        assert [asked["state"] for asked in shop.rows("approvals")] == ["withdrawn"]
        (after,) = shop.wake("2026-10-05T17:10:00Z")
        assert after["verdict"] == "denied"
        assert after["code"] in ("consent", "objection", "suppressed")
        assert stock_taken(shop) == 0
        assert {c["state"] for c in shop.rows("contacts")} == {"released"}
        assert shop.sent("email") == []


@pytest.mark.parametrize(
    "said",
    [
        consent("denied", "2026-10-05T17:10:00Z", purpose="personalise", channel=None),
        consent("denied", "2026-10-05T17:10:00Z", channel="sms", contact_point="+491701234567"),
        consent("denied", "2026-10-05T17:10:00Z", topic="carts", contact_point=MAIL),
        consent("granted", "2026-10-05T17:10:00Z", email=MAIL),
    ],
    ids=["permission", "other channel", "other topic", "yes"],
)
def test_what_a_no_is_not_about_goes_on(tmp_path: Path, said: dict[str, Any]) -> None:
    """A no to something else leaves the request as it is."""
    with open_shop(tmp_path / "w") as shop:
        ask(shop)
        asyncio.run(say(shop, said, "2026-10-05T17:10:00Z"))
        assert [asked["state"] for asked in shop.rows("approvals")] == ["pending"]


def test_a_no_to_marketing_ends_what_waits_and_is_judged_as_marketing(tmp_path: Path) -> None:
    """Help with an order that carries a promotion is asked about again at once, and refused."""
    order, by_sms = "    purpose: order_update\n", "    channels: [sms]\n    window"
    changes = {
        "actions.yaml": (order, f"{order}    promotional: true\n"),
        "policies/contact.yaml": (by_sms, by_sms.replace("sms", "email")),
        "journeys/failed_checkout.yaml": ("checkout_help, open_checkout_case", "checkout_help"),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        home = {"time_zone": "Europe/Berlin"}
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL, traits=home))
        held = shop.one(row("checkout_failed", "2026-10-05T21:00:00Z", order_id="o-1"))
        assert (held["action"], held["code"]) == ("checkout_help", "quiet_hours")
        no = consent("denied", "2026-10-05T21:10:00Z", contact_point=MAIL)
        (after,) = [line for line in shop.run(no) if line["pass"] == "release"]
        assert (after["at"], after["code"]) == ("2026-10-05T21:10:00.000Z", "mixed_purpose")
        assert not shop.sent("email")


def during(shop: Shop, tool: str, said: dict[str, Any], now: str) -> None:
    """Have somebody say something while a step of that tool is under way."""
    execute = shop.deps.toolbox.execute

    async def meanwhile(intent: Intent, work: Any) -> Outcome:
        if intent.tool == tool:
            shop.deps.toolbox.execute = execute  # type: ignore[method-assign]
            await say(shop, said, now)
        return await execute(intent, work)

    shop.deps.toolbox.execute = meanwhile  # type: ignore[method-assign]


def test_what_is_being_sent_is_flagged(tmp_path: Path) -> None:
    """A message under way when the customer says no is sent, and its row says so."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        no = consent("denied", "2026-10-05T09:00:00Z", contact_point=MAIL, id="no")
        during(shop, "message", no, "2026-10-05T09:00:00Z")
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        (step,) = shop.rows("outbox")
        assert (step["state"], step["flag"]) == ("sent", IN_FLIGHT)
        explained = explain(
            shop.database, line["decision_id"], lambda _: shop.deps.workspace, FormulaMind()
        )
        assert IN_FLIGHT in as_text(explained, "auditor")
        later = shop.one(cart("2026-10-07T09:00:00Z", cart_id="k-2"))
        assert later["action"] == "cart_banner"


def test_a_step_that_was_not_begun_is_cancelled(tmp_path: Path) -> None:
    """A no between the voucher and its message: neither comes about, and all is given back."""
    with open_shop(tmp_path / "w") as shop:
        _, approval_id = ask(shop)
        no = consent("denied", "2026-10-05T17:15:00Z", contact_point=MAIL, id="no")
        during(shop, "offer", no, "2026-10-05T17:15:00Z")
        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        shop.wake("2026-10-05T17:15:00Z")
        ended = {(step["tool"], step["state"]) for step in shop.rows("outbox")}
        assert ended >= {("offer", "cancelled"), ("message", "cancelled")}
        assert "sent" not in {state for tool, state in ended if tool in ("offer", "message")}
        told = {(one["step"], one["code"]) for one in shop.rows("outcomes")}
        assert (1, "consent") in told
        assert shop.sent("email") == []
        assert {grant["state"] for grant in shop.rows("grants")} == {"released"}
        assert stock_taken(shop) == 0
        assert verify(shop.database)


def meanwhile(shop: Shop, said: dict[str, Any], now: str) -> None:
    """Have somebody say something after the next decision is made and before it is written."""
    commit = shop.deps.database.commit
    waiting = [said]

    def commit_after(works: Any) -> list[bool]:
        if waiting:
            no = waiting.pop()
            with ThreadPoolExecutor(1) as other:
                other.submit(lambda: asyncio.run(say(shop, no, now))).result()
        return commit(works)

    shop.deps.database.commit = commit_after  # type: ignore[method-assign]


def against(shop: Shop, line: dict[str, Any], action: str) -> tuple[Finding, ...]:
    """What a decision had against one action."""
    explained = explain(
        shop.database, line["decision_id"], lambda _: shop.deps.workspace, FormulaMind()
    )
    (one,) = [candidate for candidate in explained.candidates if candidate.action == action]
    return one.against


def reminders(shop: Shop) -> list[dict[str, Any]]:
    """The reminders by SMS; that a STOP was heard is confirmed by SMS too."""
    return [
        one
        for one in shop.rows("outbox")
        if (one["journey"], one["channel"]) == ("abandoned_cart", "sms")
    ]


def test_case_10_an_opt_out_between_reservation_and_sending(tmp_path: Path, store: str) -> None:
    """What was permitted and not begun is cancelled with `consent`, and its slot is free, once."""
    with open_shop(tmp_path / "w", store=store) as shop:
        _, approval_id = ask(shop)
        (held,) = [one for one in shop.rows("contacts") if one["state"] == "held"]
        no = consent("denied", "2026-10-05T17:15:00.200Z", contact_point=MAIL, id="no")
        during(shop, "offer", no, "2026-10-05T17:15:00.200Z")
        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        lines = shop.wake("2026-10-05T17:15:00Z")
        (step,) = [one for one in shop.rows("outbox") if one["tool"] == "message"]
        assert (step["state"], step["flag"]) == ("cancelled", None)
        (told,) = [one for one in shop.rows("outcomes") if one["outbox_id"] == step["outbox_id"]]
        assert (told["state"], told["code"]) == ("cancelled", "consent")
        assert {one["state"] for one in shop.rows("contacts")} == {"released"}
        assert held["contact_id"] in {one["contact_id"] for one in shop.rows("contacts")}
        assert stock_taken(shop) == 0
        first, *_ = against(shop, lines[-1], "apology_voucher")
        assert (first.code, first.clears_at) == ("consent", None)
        assert shop.sent("email") == []
        assert verify(shop.database)


def test_case_10_an_opt_out_while_sending(tmp_path: Path, store: str) -> None:
    """What was being sent is sent and flagged, and counts; what comes later is denied."""
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        no = consent("denied", "2026-10-05T17:00:00.200Z", contact_point=MAIL, id="no")
        during(shop, "message", no, "2026-10-05T17:00:00.200Z")
        shop.one(cart("2026-10-05T17:00:00.100Z"))
        (step,) = shop.rows("outbox")
        assert (step["state"], step["flag"]) == ("sent", IN_FLIGHT)
        assert [one["state"] for one in shop.rows("contacts")] == ["committed"]
        later = shop.one(cart("2026-10-07T09:00:00Z", cart_id="k-2"))
        assert [one.code for one in against(shop, later, "remind_by_email")] == ["consent"]
        assert len(shop.sent("email")) == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_case_11_stop_by_the_other_user_of_the_phone(
    tmp_path: Path, store: str, is_first: bool
) -> None:
    """A STOP and a promotion of one millisecond have one order, and nothing is sent after it."""
    now, phone = "2026-10-05T17:00:00Z", "+491701234567"
    address = {"address": {"time_zone": "Europe/Berlin"}}
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", "p", channel="sms", phone=phone, traits=address
            ),
            row("identified", "2026-10-05T08:00:01Z", "q", phone=phone),
        )
        stop = row("message_received", now, "q", phone=phone, channel="sms", text="STOP")
        if is_first:
            during(shop, "message", stop, now)
        else:
            meanwhile(shop, stop, now)
        line = shop.one(cart(now, "p"))
        promos = reminders(shop)
        if is_first:
            assert (line["action"], line["verdict"]) == ("remind_by_sms", "permitted")
            assert [(one["state"], one["flag"]) for one in promos] == [("sent", IN_FLIGHT)]
        else:
            assert [one.code for one in against(shop, line, "remind_by_sms")] == ["consent"]
            assert promos == []
        later = shop.one(cart("2026-10-07T17:00:00Z", "p", cart_id="k-2"))
        assert later["action"] == "cart_banner"
        assert len(reminders(shop)) == int(is_first)
        assert verify(shop.database)
