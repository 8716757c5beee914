"""The life of a grant: reserved, granted, then redeemed, expired or revoked, once and for good."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agents import grants
from agents.reconsider import explain
from agents.record import read_record
from agents.supervisor import through_graph
from domain.errors import LedgerBroken, UsageError
from profiles.arrivals import Arrival
from service.cli import main
from store.work import Work
from tests.shop import Shop, at, consent, open_shop, row
from tools.toolbox import Intent, Outcome
from traces.explain import as_json as explained
from traces.ledger import verify

GROWS = "    propensity: 0.42\n    value: 18", "    propensity: 0.9\n    value: 90"
FIRST, SECOND = "2026-10-05T09:00:00Z", "2026-10-05T10:00:00Z"


def catalogue(**rules: Any) -> dict[str, tuple[str, str]]:
    """A shop that welcomes with a voucher, under these rules of the catalogue."""
    stock = rules.pop("stock", 1000)
    more = "".join(f"\n    {key}: {value}" for key, value in rules.items())
    return {
        "offers.yaml": ("    stock: 1000", f"    stock: {stock}{more}"),
        "actions.yaml": GROWS,
        "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0"),
    }


def said_yes(user: str) -> dict[str, Any]:
    return consent("granted", "2026-10-05T08:00:00Z", user, email=f"{user}@shop.example")


def welcomed(shop: Shop, user: str = "c-1", when: str = FIRST) -> dict[str, Any]:
    """Somebody who agreed signs up; the line of that decision."""
    shop.run(said_yes(user))
    return shop.one(row("signed_up", when, user, id=f"signed-{user}-{when}"))


def held(shop: Shop) -> dict[str, Any]:
    """The one grant there is."""
    shop.deps.commit([])
    (grant,) = shop.rows("grants")
    return grant


def taken(shop: Shop, offer: str = "voucher_5") -> int:
    return sum(c["amount"] for c in shop.rows("counters") if c["key"] == f"offer:shop:{offer}")


def ends(shop: Shop) -> list[str]:
    """How the outcomes of offers ended, in order."""
    told = sorted(shop.rows("outcomes"), key=lambda one: (one["profile_id"], one["n"]))
    return [one["state"] for one in told if one["step"] == 0 and one["state"] != "sent"]


@pytest.mark.parametrize("by", ["grant", "offer"])
def test_what_is_used_is_redeemed_once_and_for_good(tmp_path: Path, store: str, by: str) -> None:
    """By the grant's code or the offer's name, however often it is said; nothing undoes it."""
    with open_shop(tmp_path / "w", store=store, changes=catalogue(expires_after="7d")) as shop:
        assert welcomed(shop)["action"] == "welcome_voucher"
        grant = held(shop)
        assert (grant["state"], grant["expires_at"] - grant["at"]) == ("granted", 7 * 86400 * 10**6)
        named = grant["grant_id"] if by == "grant" else "voucher_5"
        used = row("offer_redeemed", SECOND, **{by: named})
        lines = shop.run(used, used, {**used, "id": "again"})
        assert [line["verdict"] for line in lines] == ["none", "duplicate", "none"]
        assert held(shop)["state"] == "redeemed"
        assert ends(shop) == ["redeemed"]
        shop.wake("2026-11-05T09:00:00Z")
        with pytest.raises(UsageError, match="is redeemed"):
            grants.revoke(shop.deps, grant["grant_id"], by="ana", reason="", at=at(SECOND))
        assert (held(shop)["state"], taken(shop)) == ("redeemed", 1)
        verify(shop.database)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "neither"),
        ({"offer": "voucher_25"}, "not the customer's"),
        ({"grant": "g-nothing-0"}, "not the customer's"),
        ({"grant": 7}, "neither"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter(
    tmp_path: Path, said: dict[str, Any], why: str
) -> None:
    """Nothing is redeemed that the person does not hold, and nothing is dropped silently."""
    with open_shop(tmp_path / "w", changes=catalogue()) as shop:
        welcomed(shop)
        line = shop.one(row("offer_redeemed", SECOND, **said))
        assert (line["verdict"], why in line["reason"]) == ("dead", True)
        assert held(shop)["state"] == "granted"
        assert len(shop.rows("dead_letters")) == 1


def test_nobody_uses_what_another_holds(tmp_path: Path) -> None:
    """A code that leaked is no good to a stranger."""
    with open_shop(tmp_path / "w", changes=catalogue()) as shop:
        welcomed(shop)
        used = row("offer_redeemed", SECOND, "c-2", grant=held(shop)["grant_id"])
        assert shop.one(used)["verdict"] == "dead"
        assert held(shop)["state"] == "granted"


@pytest.mark.parametrize("returns", ["true", "false"])
def test_what_nobody_uses_expires_by_the_virtual_clock(
    tmp_path: Path, store: str, returns: str
) -> None:
    """At its very instant, before what comes after; stock is there again only where so told."""
    rules = catalogue(expires_after="7d", returns=returns, stock=1)
    with open_shop(tmp_path / "w", store=store, changes=rules) as shop:
        assert welcomed(shop)["action"] == "welcome_voucher"
        shop.run(said_yes("c-2"), said_yes("c-3"))
        before, after = (
            shop.one(row("signed_up", f"2026-10-12T{when}Z", user))
            for user, when in (("c-2", "08:59:59"), ("c-3", "09:00:00"))
        )
        assert before["action"] == "welcome_email"
        again = "welcome_voucher" if returns == "true" else "welcome_email"
        assert after["action"] == again
        first = min(shop.rows("grants"), key=lambda one: one["at"])
        assert (first["state"], first["ended_at"]) == ("expired", first["expires_at"])
        assert first["returned"] == (returns == "true")
        assert (ends(shop), taken(shop)) == (["expired"], 1)
        late = shop.one(row("offer_redeemed", "2026-10-13T09:00:00Z", offer="voucher_5"))
        assert (late["verdict"], "expired" in late["reason"]) == ("dead", True)
        verify(shop.database)


def test_a_grant_expires_though_nothing_ran_at_its_instant(tmp_path: Path) -> None:
    """Whoever wakes later finds it expired at its own instant, and by the context at once."""
    with open_shop(tmp_path / "w", store=None, changes=catalogue(expires_after="7d")) as shop:
        welcomed(shop)
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.wake("2026-12-05T09:00:00Z")
        assert held(shop)["ended_at"] == held(shop)["expires_at"]
        assert grants.next_expiry(shop.database) is None


@pytest.mark.parametrize("returns", ["true", "false"])
def test_a_colleague_takes_a_grant_back(tmp_path: Path, store: str, returns: str) -> None:
    """Once, by name and with a reason, which customers do not read."""
    with open_shop(tmp_path / "w", store=store, changes=catalogue(returns=returns)) as shop:
        line = welcomed(shop)
        named = held(shop)["grant_id"]
        grant = grants.revoke(shop.deps, named, by="ana", reason="a slip", at=at(SECOND))
        assert (grant.state, grant.returned) == ("revoked", returns == "true")
        assert taken(shop) == (0 if returns == "true" else 1)
        with pytest.raises(UsageError, match="is revoked"):
            grants.revoke(shop.deps, named, by="ana", reason="", at=at(SECOND))
        (told,) = [one for one in shop.rows("outcomes") if one["state"] == "revoked"]
        assert (told["by"], told["detail"]) == ("ana", "a slip")
        shown = explain(
            shop.database, line["decision_id"], lambda _: shop.deps.workspace, shop.deps.mind
        )
        assert "a slip" in str(explained(shown, "auditor"))
        assert "a slip" not in str(explained(shown, "customer"))
        assert "ana" not in str(explained(shown, "customer")["outcome"])
        used = shop.one(row("offer_redeemed", "2026-10-06T09:00:00Z", grant=named))
        assert (used["verdict"], "revoked" in used["reason"]) == ("dead", True)
        verify(shop.database)


def test_an_edit_of_an_end_is_found(tmp_path: Path) -> None:
    """The chain that the other outcomes stand in holds these too."""
    with open_shop(tmp_path / "w", store=None, changes=catalogue()) as shop:
        welcomed(shop)
        shop.run(row("offer_redeemed", SECOND, offer="voucher_5"))
    path = next((tmp_path / "w").rglob("*.db"))
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE outcomes SET state = 'expired' WHERE state = 'redeemed'")
    raw.close()
    with (
        open_shop(tmp_path / "w", store=None) as shop,
        pytest.raises(LedgerBroken, match="outcomes"),
    ):
        verify(shop.database)


def test_a_second_of_a_group_waits_until_the_first_is_used(tmp_path: Path, store: str) -> None:
    """What is held excludes the others of its group; what was used does not."""
    group = "\n    exclusive: [vouchers]"
    rules = {**catalogue(), "offers.yaml": ("    stock: ", f"{group[1:]}\n    stock: ")}
    with open_shop(tmp_path / "w", store=store, changes=rules) as shop:
        assert welcomed(shop)["action"] == "welcome_voucher"
        assert _against(shop, "2026-10-06T09:00:00Z") == {"offer-exclusive"}
        shop.run(row("offer_redeemed", "2026-10-06T12:00:00Z", offer="voucher_5"))
        assert _against(shop, "2026-10-09T09:00:00Z") == set()


def test_one_person_gets_so_many(tmp_path: Path, store: str) -> None:
    """The limit counts what was used; what was taken back does not count."""
    rules = catalogue(per_person=1)
    with open_shop(tmp_path / "w", store=store, changes=rules) as shop:
        welcomed(shop)
        state = _state(shop)
        assert (state.held, state.given) == (True, 1)
        shop.run(row("offer_redeemed", SECOND, offer="voucher_5"))
        state = _state(shop)
        assert (state.held, state.given) == (False, 1)


def test_what_is_taken_back_counts_for_nothing(tmp_path: Path) -> None:
    """A grant that was revoked is neither held nor had."""
    with open_shop(tmp_path / "w", changes=catalogue(per_person=1)) as shop:
        welcomed(shop)
        grants.revoke(shop.deps, held(shop)["grant_id"], by="ana", reason="", at=at(SECOND))
        state = _state(shop)
        assert (state.held, state.reserved, state.given) == (False, False, 0)


def _against(shop: Shop, when: str) -> set[str]:
    """The rules of the catalogue that are against an apology for a second failure."""
    shop.run(row("self_service_failed", when, topic="returns"))
    line = shop.one(row("contact_opened", when.replace(":00Z", ":30Z"), topic="returns"))
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    (found,) = [
        one for one in read_record(data).thought.considered if one.action == "apology_voucher"
    ]
    return {rule for rule, _ in found.against if rule.startswith("offer-")}


def _state(shop: Shop) -> Any:
    """What the context of a cart says of the person's vouchers."""
    line = shop.one(
        row(
            "cart_abandoned",
            "2026-10-07T09:00:00Z",
            id=f"cart-{len(shop.rows('decisions'))}",
            cart_id=f"k-{len(shop.rows('decisions'))}",
            value=80.0,
        )
    )
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context.offers["voucher_5"]


@pytest.mark.parametrize("rule", ["per_person: 1", "exclusive: [vouchers]"])
def test_what_waits_for_a_yes_does_not_stand_in_its_own_way(
    tmp_path: Path, store: str, rule: str
) -> None:
    """The reservation of the pass before is this pass's own; another's still counts."""
    key, _, value = rule.partition(": ")
    rules = {"offers.yaml": ("    stock: 50", f"    stock: 50\n    {key}: {value}")}
    with open_shop(tmp_path / "w", store=store, changes=rules) as shop:
        shop.run(said_yes("c-1"), row("self_service_failed", FIRST, topic="returns"))
        asked = shop.one(row("contact_opened", "2026-10-05T09:10:00Z", topic="returns"))
        assert asked["held_for"] == "approval"
        again = shop.one(row("contact_opened", "2026-10-05T09:20:00Z", topic="returns", id="2"))
        assert again["held_for"] != "approval"  # one is reserved
        (approval,) = shop.rows("approvals")
        shop.vote(approval["approval_id"], "approve", "2026-10-05T09:30:00Z")
        done = shop.wake("2026-10-05T09:30:00Z")
        assert [line["verdict"] for line in done if line["pass"] == "approval"] == ["permitted"]
        assert taken(shop, "voucher_25") == 1


def test_what_was_used_is_not_given_back_by_a_message_that_failed(tmp_path: Path) -> None:
    """Used while the message about it was on its way: the use stands, and so does its stock."""
    with open_shop(tmp_path / "w", changes=catalogue()) as shop:
        execute, decide = shop.deps.toolbox.execute, through_graph(shop.deps)
        (used,) = shop.read(row("offer_redeemed", SECOND, offer="voucher_5"))

        async def meddle(intent: Intent, work: Work) -> Outcome:
            if intent.tool != "message":
                return await execute(intent, work)
            await decide([Arrival(used, at(SECOND))])
            return Outcome("failed", "the mailbox is full")

        shop.deps.toolbox.execute = meddle  # type: ignore[method-assign]
        welcomed(shop)
        assert (held(shop)["state"], taken(shop)) == ("redeemed", 1)
        verify(shop.database)


def test_what_is_granted_without_a_word_can_be_used_at_once(tmp_path: Path) -> None:
    """A grant is written when it is made; it does not wait for the next commit."""
    silent = "    tool: message\n    channel: email\n    purpose: marketing\n    topic: welcome\n"
    with open_shop(tmp_path / "w", changes=catalogue()):
        pass
    actions = tmp_path / "w" / "actions.yaml"
    head, _, tail = actions.read_text().partition("  welcome_voucher:\n")
    _, _, rest = tail.partition("    offer: voucher_5\n")
    assert silent in tail
    made = '    title: "Welcome with a voucher"\n    tool: offer\n    purpose: marketing\n'
    actions.write_text(f"{head}  welcome_voucher:\n{made}    offer: voucher_5\n{rest}")
    with open_shop(tmp_path / "w") as shop:
        lines = shop.run(
            said_yes("c-1"),
            row("signed_up", FIRST),
            row("offer_redeemed", FIRST, offer="voucher_5"),
        )
        assert [line["verdict"] for line in lines] == ["none", "permitted", "none"]
        assert held(shop)["state"] == "redeemed"


def test_who_uses_a_voucher_may_be_given_another_by_the_same_event(tmp_path: Path) -> None:
    """What the event says was used is not held in its own decision."""
    rules = {
        **catalogue(exclusive="[vouchers]"),
        "journeys/abandoned_cart.yaml": ("trigger: cart_abandoned", "trigger: offer_redeemed"),
    }
    with open_shop(tmp_path / "w", changes=rules) as shop:
        welcomed(shop)
        line = shop.one(row("offer_redeemed", SECOND, offer="voucher_5", cart_id="k-1"))
        data = shop.deps.history.get(line["decision_id"]).record()
        assert data is not None
        state = read_record(data).context.offers["voucher_5"]
        assert (state.held, state.given) == (False, 1)


ZONED = """
quiet_hours:
  - id: mail-hours
    channels: [email]
    window: "08:00-21:00"
    reason: "not at night"
"""


def test_stock_that_comes_back_is_there_for_whoever_comes_next(tmp_path: Path) -> None:
    """Two wait for their mornings; in one wake the grant expires between them, and in order."""
    rules = catalogue(stock=1, expires_after="810m", returns="true")
    with open_shop(tmp_path / "w", changes=rules):
        pass
    contact = tmp_path / "w" / "policies" / "contact.yaml"
    contact.write_text(contact.read_text().partition("quiet_hours:")[0] + ZONED)
    zones = {"c-1": "Europe/Berlin", "c-2": "Europe/Berlin", "c-3": "Europe/London"}
    with open_shop(tmp_path / "w") as shop:
        for user, zone in zones.items():
            yes = said_yes(user)
            shop.run({**yes, "traits": {"time_zone": zone}})
        lines = [
            shop.one(row("signed_up", when, user))
            for user, when in (
                ("c-1", "2026-10-05T17:00:00Z"),
                ("c-2", "2026-10-05T20:30:00Z"),
                ("c-3", "2026-10-05T20:31:00Z"),
            )
        ]
        assert [line["verdict"] for line in lines] == ["permitted", "held", "held"]
        passes = shop.wake("2026-10-06T12:00:00Z")
        # In the first minutes of the hour, over which releases are spread.
        assert [(line["at"][11:13], line["action"]) for line in passes] == [
            ("06", "welcome_email"),
            ("07", "welcome_voucher"),
        ]
        assert ends(shop) == ["expired"]


def test_a_grant_outlives_whoever_is_erased_and_ends_all_the_same(tmp_path: Path) -> None:
    """Nothing that is kept of it names anybody; it expires, and the record verifies."""
    folder = tmp_path / "w"
    rules = catalogue(expires_after="7d", returns="true")
    with open_shop(folder, store=None, changes=rules) as shop:
        welcomed(shop, "customer-zq-77")
    given = ["--yes", "--reason", "asked", "--by", "ida", "--at", SECOND]
    who = "user_id:customer-zq-77"
    assert main(["profile", "erase", who, *given, "--workspace", str(folder)]) == 0
    with open_shop(folder, store=None) as shop:
        assert held(shop)["state"] == "granted"
        shop.wake("2026-11-05T09:00:00Z")
        assert (held(shop)["state"], taken(shop)) == ("expired", 0)
        assert "zq-77" not in str(shop.rows("grants")) + str(shop.rows("outcomes"))
        verify(shop.database)
