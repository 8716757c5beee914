from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from agents.record import read_record
from agents.supervisor import through_steps
from domain.context import Context
from domain.event import Event
from profiles.arrivals import Arrival
from profiles.identity import IdentityRules
from profiles.prints import content_print, event_key
from profiles.views import view
from service.running import _envelope
from store.instants import micros
from tests.shop import Shop, at, cart, consent, open_shop, row


def last_context(shop: Shop, line: dict[str, Any]) -> Context:
    """What a decision was made from."""
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context


def test_traits_go_by_event_time_not_by_arrival(tmp_path: Path) -> None:
    """In whatever order events come, the latest statement by its own time wins."""
    said = [
        row("identified", f"2026-10-05T0{n}:00:00Z", traits={"time_zone": zone})
        for n, zone in ((6, "Europe/Paris"), (7, "Asia/Tokyo"), (8, "Europe/Berlin"))
    ]
    for number, order in enumerate(permutations(said)):
        with open_shop(tmp_path / f"w{number}") as shop:
            shop.run(*order)
            line = shop.one(cart("2026-10-05T09:00:00Z"))
            assert last_context(shop, line).zone_of_person == "Europe/Berlin"


def test_merging_adds_histories_up_and_keeps_every_denial(tmp_path: Path) -> None:
    """Case 16 at the door: denied for one and granted for the other is denied for both."""
    with open_shop(tmp_path / "w") as shop:
        mail = "a@shop.example"
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "c-1", email=mail),
            cart("2026-10-05T08:30:00Z", "c-1"),
        )
        del (visitor := consent("denied", "2026-10-05T08:40:00Z", "x", contact_point=mail))[
            "user_id"
        ]
        shop.run(visitor | {"anonymous_id": "v-1"})
        line = shop.one(cart("2026-10-05T09:00:00Z", "c-1", cart_id="k-9", anonymous_id="v-1"))
        context = last_context(shop, line)
        assert len(context.profile_ids) == 2
        assert len(context.contacts) == 1
        assert line["action"] == "cart_banner"
        data = shop.deps.history.get(line["decision_id"]).record()
        assert data is not None
        assert b'["consent","consent"]' in data


def test_two_accounts_share_an_address_and_its_cap(tmp_path: Path) -> None:
    """An address that two people use is one contact point: the cap at the address counts both."""
    mail = "family@shop.example"
    cap = ("limit: 3", "limit: 1")
    with open_shop(tmp_path / "w", changes={"policies/contact.yaml": cap}) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "c-1", email=mail),
            consent("granted", "2026-10-05T08:01:00Z", "c-2", email=mail),
        )
        first = shop.one(cart("2026-10-05T09:00:00Z", "c-1"))
        second = shop.one(cart("2026-10-05T09:01:00Z", "c-2"))
        assert first["profile_id"] != second["profile_id"]
        assert first["action"] == "remind_by_email"
        assert second["action"] == "cart_banner"
        assert last_context(shop, second).contact_points[0].shared


def test_a_shared_address_gets_nobodys_name(tmp_path: Path) -> None:
    """To an address that others use too, a message says nothing personal."""
    mail = "family@shop.example"
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", "c-1", email=mail, traits={"first_name": "Ann"}
            ),
            row("identified", "2026-10-05T08:01:00Z", "c-2", email=mail),
            cart("2026-10-05T09:00:00Z", "c-1"),
        )
        (message,) = shop.sent("email")
        assert "Ann" not in message.read_text()
        assert "Hello there" in message.read_text()


def test_a_shared_address_gets_no_name_out_of_the_event_either(tmp_path: Path) -> None:
    """A name that came with the event is somebody's too, whatever its field is called; what is
    declared to be no name goes out."""
    mail = "family@shop.example"
    changes = {
        "policies/fields.yaml": (
            "  event.order_id:",
            "  event.passenger:\n    type: string\n    uses: [personalise]\n  event.order_id:",
        ),
        "actions.yaml": (
            "something went wrong with order",
            "{{ event.passenger | you }}: something went wrong with order",
        ),
    }
    for shared in (False, True):
        with open_shop(tmp_path / f"w{shared}", changes=changes) as shop:
            if shared:
                shop.run(row("identified", "2026-10-05T08:01:00Z", "c-2", email=mail))
            shop.run(
                row(
                    "checkout_failed", "2026-10-05T09:00:00Z", "c-1", email=mail,
                    passenger="Ann Bell", order_id="o-1",
                )
            )  # fmt: skip
            (message,) = shop.sent("email")
            assert ("Ann Bell" in message.read_text()) is not shared
            assert "o-1" in message.read_text()


def test_what_is_sensitive_goes_to_nobody_elses_address(tmp_path: Path) -> None:
    """A sensitive message goes to an address of one's own, and to a shared one never."""
    mail = "family@shop.example"
    sensitive = {
        "actions.yaml": (
            "    purpose: order_update",
            "    purpose: order_update\n    sensitive: true",
        )
    }
    failed = {"event": "checkout_failed", "user": "c-1"}
    with open_shop(tmp_path / "w", changes=sensitive) as shop:
        alone = shop.one(row(when="2026-10-05T09:00:00Z", email=mail, order_id="o-1", **failed))
        shop.run(row("identified", "2026-10-05T09:01:00Z", "c-2", email=mail))
        shared = shop.one(row(when="2026-10-05T09:02:00Z", order_id="o-2", **failed))
        own = shop.one(
            row(when="2026-10-05T09:03:00Z", email="ann@x.example", order_id="o-3", **failed)
        )
        assert [one["action"] for one in (alone, shared, own)] == [
            "checkout_help", "open_checkout_case", "checkout_help",
        ]  # fmt: skip
        assert [b"ann@x.example" in one.read_bytes() for one in shop.sent("email")] == [False, True]
        record = shop.deps.history.get(shared["decision_id"]).record()
        assert record is not None and b'["shared-address","content"]' in record


@pytest.mark.parametrize(
    ("blocks", "allowed"),
    [("marketing", True), ("all_but_mandatory", False), ("all", False)],
)
def test_a_suppression_outranks_consent(tmp_path: Path, blocks: str, allowed: bool) -> None:
    """What blocks marketing lets service through; what blocks all lets nothing through."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row(
                "suppression_added",
                "2026-10-05T08:10:00Z",
                target="person",
                blocks=blocks,
                reason="complaint",
            ),
        )
        promo = shop.one(cart("2026-10-05T09:00:00Z"))
        assert (promo["verdict"], promo["code"]) == ("denied", "suppressed")
        order = shop.one(row("checkout_failed", "2026-10-05T09:10:00Z", order_id="o"))
        assert (order["action"] == "checkout_help") is allowed


def test_case_9_a_spam_complaint_blocks_marketing_at_that_address_only(tmp_path: Path) -> None:
    """After a complaint the shop's marketing ends there; news of an order still goes out."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("spam_complaint", "2026-10-05T08:10:00Z", contact_point="a@shop.example"),
        )
        promo = shop.one(cart("2026-10-05T09:00:00Z"))
        assert promo["action"] == "cart_banner"
        order = shop.one(row("checkout_failed", "2026-10-05T09:10:00Z", order_id="o"))
        assert (order["action"], order["verdict"]) == ("checkout_help", "permitted")


def test_who_may_not_know_of_a_suppression_reads_unavailable(tmp_path: Path) -> None:
    """A reason shown to fraud only appears nowhere in the clear: neither on the line nor kept."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row(
                "suppression_added", "2026-10-05T08:10:00Z", target="person", blocks="marketing",
                reason="fraud review", shown_to=["fraud"],
            ),
        )  # fmt: skip
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert (line["code"], line["reason"], line["rule"]) == (
            "unavailable",
            "not available",
            "unavailable",
        )
        assert "fraud" not in str(shop.rows("decisions"))


def test_a_hard_bounce_makes_an_address_unreachable_not_unwilling(tmp_path: Path) -> None:
    """After a bounce the address is not used for half a year; the consent stays what it was."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-03-05T08:00:00Z", email="a@shop.example"),
            row("bounced", "2026-03-05T08:10:00Z", type="hard", contact_point="a@shop.example"),
        )
        early = shop.one(row("checkout_failed", "2026-03-06T09:00:00Z", order_id="o"))
        assert early["action"] == "open_checkout_case"
        shop.run(row("case_closed", "2026-03-07T09:00:00Z"))
        later = shop.one(cart("2026-10-05T09:00:00Z"))
        assert later["action"] == "remind_by_email"


def test_a_contact_made_elsewhere_counts(tmp_path: Path) -> None:
    """What another system sent fills the cap like our own."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("contact_observed", "2026-10-05T08:30:00Z", channel="email", purpose="marketing"),
        )
        assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] == "cart_banner"


def test_while_a_person_is_in_charge_the_machine_is_silent(tmp_path: Path) -> None:
    """From an accepted hand-off to its closing nobody writes over the agent's head."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row(
                "self_service_failed", "2026-10-05T08:00:00Z", topic="returns", email="a@b.example"
            ),
            row("handoff_accepted", "2026-10-05T08:05:00Z"),
        )
        line = shop.one(row("checkout_failed", "2026-10-05T09:00:00Z", order_id="o"))
        assert line["action"] == "open_checkout_case"
        shop.run(row("case_closed", "2026-10-05T09:10:00Z"))
        again = shop.one(row("checkout_failed", "2026-10-05T09:20:00Z", order_id="o-2"))
        assert again["action"] == "checkout_help"


def test_an_undated_row_causes_no_marketing(tmp_path: Path) -> None:
    """Nobody knows whether a row without a time is fresh, so it sends no offer."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"))
        undated = cart("2026-10-05T09:00:00Z")
        del undated["at"], undated["id"]
        line = shop.one(undated)
        assert (line["verdict"], line["code"]) == ("denied", "stale_event")


def test_a_time_to_come_counts_as_the_time_of_receipt(tmp_path: Path) -> None:
    """No clock that runs ahead wins over a later word, dates a consent, or makes a signal early."""
    with open_shop(tmp_path / "w") as shop:
        received = ["2026-10-05T08:00:00Z", "2026-10-05T08:01:00Z"]
        ahead = row("identified", "2031-01-01T00:00:00Z", traits={"language": "de"})
        after = row("identified", received[1], traits={"language": "fr"})
        yes = consent("granted", "2031-01-01T00:00:00Z", email="a@shop.example")
        for said, now in ((ahead, received[0]), (yes, received[0]), (after, received[1])):
            asyncio.run(_take(shop, said, now))
        with shop.database.read() as snapshot:
            found = view(snapshot, shop.database.vault, "user_id:c-1", None, IdentityRules())
        whole = found.whole
        assert whole.traits["language"].value == "fr"
        assert whole.last_at == at(received[1])
        (line,) = shop.rows("consents")
        assert line["occurred_at"] == line["received_at"] == micros(at(received[0]))
        no = consent("denied", "2026-10-05T08:02:00Z", contact_point="a@shop.example")
        assert shop.one(no)["verdict"] == "none"
        assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] == "cart_banner"


async def _take(shop: Shop, said: dict[str, Any], now: str) -> None:
    """Decide about one event as received at that instant."""
    raw = json.dumps(said).encode()
    (event,) = shop.assembly.reading.read(raw, received_at=at(now), place="x")
    assert isinstance(event, Event)
    await through_steps(shop.deps)([Arrival(event, at(now))])


def test_an_old_event_is_history_not_a_cause(tmp_path: Path) -> None:
    """What comes later than the journey acts on updates the profile and is refused as stale."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("page_viewed", "2026-10-05T10:00:00Z"),
            cart("2026-10-05T09:00:00Z", traits={"first_name": "Ann"}),
        )[-1]
        assert (line["verdict"], line["code"]) == ("denied", "stale_event")
        sent = shop.one(cart("2026-10-05T10:00:00Z", cart_id="k-2"))
        assert sent["verdict"] == "permitted"
        assert "Hello Ann" in shop.sent("email")[0].read_text()


def test_nothing_personal_is_kept_in_the_clear(tmp_path: Path) -> None:
    """No name, address, cart or word of a message can be read in the store without its key."""
    store = tmp_path / "shop.db"
    with open_shop(tmp_path / "w", store=f"sqlite:///{store}") as shop:
        shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", "c-secret", email="maya.secret@shop.example",
                traits={"first_name": "Mayasecret"}, wording="Yes, secretly",
            ),
            consent("granted", "2026-10-05T08:00:00Z", "c-secret", channel="sms",
                    phone="+4915123456789"),
            cart("2026-10-05T09:00:00Z", "c-secret", cart_id="k-secret"),
            row("self_service_failed", "2026-10-05T10:00:00Z", "c-secret", topic="my secret topic"),
            {"id": "e", "event": "broken", "at": "secretly", "user_id": "c-secret"},
        )  # fmt: skip
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("shop.db*"))
    for word in (b"Maya", b"maya", b"-secret", b"secretly", b"secret topic", b"15123456789"):
        assert word not in kept


def test_a_refused_event_is_kept_in_a_form_that_reads_the_same(tmp_path: Path) -> None:
    """What is kept of a refused event reads back as the very event."""
    said = consent("granted", "2026-10-05T08:00:00Z", email="a@x.example", phone="+4915123456789")
    with open_shop(tmp_path / "w") as shop:
        for given in (said, {k: v for k, v in said.items() if k not in ("id", "at")}):
            event = _read(shop, json.dumps(given).encode())
            again = _read(shop, _envelope(event))
            assert sorted(again.identifiers) == sorted(event.identifiers)
            assert replace(again, identifiers=event.identifiers) == event
            vault = shop.database.vault
            assert event_key(vault, again) == event_key(vault, event)
            assert content_print(vault, again) == content_print(vault, event)


def _read(shop: Shop, raw: bytes) -> Event:
    now = at("2026-10-06T00:00:00Z")
    (event,) = shop.assembly.reading.read(raw, received_at=now, place="a:1")
    assert isinstance(event, Event)
    return event


@pytest.mark.parametrize(
    "zone", ["Nowhere/Land", "", "../etc", ["Europe/Paris"], {"a": 1}, 7, "Europe"]
)
def test_a_time_zone_that_is_none_is_no_zone(tmp_path: Path, zone: object) -> None:
    """Whatever stands for a zone and is none leaves the zone unknown, and the run goes on."""
    traits = {"time_zone": zone, "address": zone}
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(cart("2026-10-05T09:00:00Z", traits=traits))
        assert last_context(shop, line).zone_of_person is None


@pytest.mark.parametrize(
    "written", ["+49 151 2345-6789", "  +4915123456789 ", "(0049) rubbish", "+49-151-23456789"]
)
def test_a_stop_is_obeyed_however_the_number_is_written(tmp_path: Path, written: str) -> None:
    """A no at an address in another spelling is a no there; at an unreadable one, everywhere."""
    phone = "+4915123456789"
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", channel="sms", phone=phone),
            consent("denied", "2026-10-05T08:10:00Z", channel="sms", contact_point=written),
        )
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert line["action"] == "cart_banner"
        assert not shop.sent("sms")


@pytest.mark.parametrize(
    "change",
    [
        {"value": "Denied"},
        {"channel": "E-Mail"},
        {"channel": 7},
        {"purpose": "promo"},
        {"purpose": ["marketing"]},
        {"topic": {"a": 1}},
        {"contact_point": 12},
        {"expires_at": "tomorrow"},
        {"expires_at": "2026-10-05T08:20:00Z"},
        {"wording": [1]},
    ],
)
def test_a_no_is_obeyed_however_badly_it_is_put(tmp_path: Path, change: dict[str, Any]) -> None:
    """What a no says unclearly is taken as all of it; it is never lost for a field."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"))
        no = consent("denied", "2026-10-05T08:10:00Z")
        no["properties"] |= change
        assert shop.one(no)["verdict"] == "none"
        assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] == "cart_banner"
        assert not shop.sent("email")


def test_an_event_that_triggers_nothing_reads_nothing_it_could_not_use(tmp_path: Path) -> None:
    """No consent, cap or stock is looked at for it, so nobody who changes one overtakes it."""
    with open_shop(tmp_path / "w") as shop:
        mail = {"email": "a@shop.example"}
        shop.run(consent("granted", "2026-10-05T08:00:00Z", **mail), cart("2026-10-05T08:30:00Z"))
        looked = last_context(shop, shop.one(row("page_viewed", "2026-10-05T09:00:00Z")))
        assert (looked.consents, looked.contacts, looked.offers) == ((), (), {})
        assert list(looked.revisions) == [f"p:{looked.profile_id}"]
        assert "signal.contacts_7d" not in looked.fields
        assert [instance.journey for instance in looked.instances] == ["abandoned_cart"]
        wanted = last_context(shop, shop.one(cart("2026-10-05T10:00:00Z", cart_id="k-2")))
        assert wanted.consents
        assert wanted.contacts
        assert wanted.fields["signal.contacts_7d"] == 1
        assert "s:kill" in wanted.revisions


def test_a_journey_that_a_condition_ends_is_judged_on_every_event(tmp_path: Path) -> None:
    """An exit may read what an event that triggers nothing would not be read for."""
    ends = ("window: 3d", 'window: 3d\nexit: "signal.open_cases > 0"')
    changes = {"journeys/abandoned_cart.yaml": ends}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        mail = {"email": "a@shop.example"}
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", **mail),
            cart("2026-10-05T09:00:00Z"),
            row("self_service_failed", "2026-10-05T09:10:00Z", topic="t"),
            row("page_viewed", "2026-10-05T09:20:00Z"),
            row("case_closed", "2026-10-05T10:00:00Z"),
        )
        states = {one["journey"]: one["state"] for one in shop.rows("instances")}
        assert states["abandoned_cart"] == "exited"
        assert shop.one(cart("2026-10-06T11:00:00Z"))["verdict"] != "permitted"
        assert len(shop.sent("email")) == 1
