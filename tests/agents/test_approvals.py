from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from agents import approvals
from domain.errors import UsageError
from tests.shop import Shop, at, consent, open_shop, row

FOUR = ("expires_in: 4h", "expires_in: 30m")


def ask(shop: Shop, when: str = "2026-10-05T17:00:00Z") -> tuple[dict[str, Any], str]:
    """A voucher that needs a yes: the line that holds it, and the approval's id."""
    shop.run(
        consent("granted", "2026-10-05T09:00:00Z", email="a@shop.example"),
        row("self_service_failed", "2026-10-05T09:10:00Z", topic="returns"),
    )
    held = shop.one(row("contact_opened", when, topic="returns"))
    assert (held["verdict"], held["held_for"], held["code"]) == (
        "held",
        "approval",
        "needs_approval",
    )
    (asked,) = approvals.pending(shop.database, at(when))
    return held, asked.approval_id


def stock_taken(shop: Shop) -> int:
    """How many of the big voucher are reserved or granted."""
    return sum(c["amount"] for c in shop.rows("counters") if c["key"].endswith("voucher_25"))


def test_a_yes_leads_to_the_effect_once(tmp_path: Path) -> None:
    """What was held is granted and told after the yes: the voucher first, then the message."""
    with open_shop(tmp_path / "w") as shop:
        held, approval_id = ask(shop)
        assert stock_taken(shop) == 1
        assert not shop.sent("email")
        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        (done,) = shop.wake("2026-10-05T17:15:00Z")
        assert (done["verdict"], done["action"]) == ("permitted", "apology_voucher")
        assert (done["pass"], done["parent_id"]) == ("approval", held["decision_id"])
        assert stock_taken(shop) == 1
        states = [grant["state"] for grant in shop.rows("grants")]
        assert sorted(states) == ["granted", "released"]  # the reservation that waited, given back
        assert len(shop.sent("email")) == 1
        assert shop.wake("2026-10-06T17:15:00Z") == []
        assert len(shop.sent("email")) == 1


def test_a_no_gives_everything_back(tmp_path: Path) -> None:
    """After a no nothing is done, and what was reserved is there for others again."""
    with open_shop(tmp_path / "w") as shop:
        _, approval_id = ask(shop)
        shop.vote(approval_id, "reject", "2026-10-05T17:15:00Z")
        (after,) = shop.wake("2026-10-05T17:15:00Z")
        assert (after["verdict"], after["code"]) == ("denied", "approval_rejected")
        assert stock_taken(shop) == 0
        assert {c["state"] for c in shop.rows("contacts")} == {"released"}
        assert not shop.sent("email")


def test_case_19_a_click_one_second_late_does_nothing(tmp_path: Path) -> None:
    """The store's clock judges: a late yes finds the request expired, and all is given back."""
    with open_shop(tmp_path / "w", changes={"policies/approval.yaml": FOUR}) as shop:
        _, approval_id = ask(shop)
        late = shop.vote(approval_id, "approve", "2026-10-05T17:30:01Z")
        assert (late.state, late.expires_at) == ("expired", at("2026-10-05T17:30:00Z"))
        (after,) = shop.wake("2026-10-05T17:30:01Z")
        assert (after["verdict"], after["code"]) == ("denied", "approval_expired")
        assert stock_taken(shop) == 0
        assert [c["state"] for c in shop.rows("contacts")] == ["released"]
        assert not shop.sent("email")
        assert [a["state"] for a in shop.rows("approvals")] == ["expired"]
        with pytest.raises(UsageError, match="was expired"):
            shop.vote(approval_id, "approve", "2026-10-05T17:31:00Z")


def test_the_last_instant_before_the_end_counts(tmp_path: Path) -> None:
    """One microsecond before it expires a yes still counts; at the very end it does not."""
    with open_shop(tmp_path / "w", changes={"policies/approval.yaml": FOUR}) as shop:
        _, approval_id = ask(shop)
        at_end = shop.vote(approval_id, "approve", "2026-10-05T17:30:00Z")
        assert at_end.state == "expired"
        before = shop.vote(approval_id, "approve", "2026-10-05T17:29:59.999999Z")
        assert before.state == "approved"


def test_only_the_role_may_vote(tmp_path: Path) -> None:
    """Somebody without the role, or nobody who is known, is turned away and told who may."""
    with open_shop(tmp_path / "w") as shop:
        _, approval_id = ask(shop)
        for stranger in ("omar", "root"):
            with pytest.raises(UsageError, match="does not have the role") as told:
                shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z", by=stranger)
            assert "--by ana" in str(told.value)
        assert not shop.rows("approval_votes")


def test_a_quorum_needs_different_people(tmp_path: Path) -> None:
    """With a quorum of two, one person cannot be both; one no is enough to end it."""
    changes = {
        "policies/approval.yaml": ("role: marketing", "role: marketing\n    quorum: 2"),
        "people.yaml": ("roles: [contact_centre]", "roles: [contact_centre, marketing]"),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        _, approval_id = ask(shop)
        assert shop.vote(approval_id, "approve", "2026-10-05T17:10:00Z").state == "pending"
        with pytest.raises(UsageError, match="voted on this already"):
            shop.vote(approval_id, "approve", "2026-10-05T17:11:00Z")
        assert shop.wake("2026-10-05T17:12:00Z") == []
        assert shop.vote(approval_id, "approve", "2026-10-05T17:13:00Z", by="omar").state == (
            "approved"
        )
        (done,) = shop.wake("2026-10-05T17:13:00Z")
        assert done["verdict"] == "permitted"


def test_consent_withdrawn_while_waiting_wins_over_a_yes(tmp_path: Path) -> None:
    """A yes is a fact among others: without consent the guard still says no."""
    with open_shop(tmp_path / "w") as shop:
        _, approval_id = ask(shop)
        lines = shop.run(consent("denied", "2026-10-05T17:05:00Z"))
        codes = [line["code"] for line in lines if line["pass"] == "approval"]
        assert codes == ["consent"]
        with pytest.raises(UsageError, match="was withdrawn"):
            shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        assert stock_taken(shop) == 0
        assert not shop.sent("email")


def test_case_21_another_rule_changing_does_not_void_a_yes(tmp_path: Path) -> None:
    """Policies that changed while a request waited are asked on the next pass; it still passes."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    with open_shop(tmp_path / "w", store=store) as shop:
        _, approval_id = ask(shop)
    quiet = (
        "quiet_hours:\n",
        'quiet_hours:\n  - id: mail-hours\n    channels: [email]\n    window: "07:00-22:00"\n',
    )
    zone = {"time_zone": "Europe/Paris"}
    with open_shop(tmp_path / "w", store=store, changes={"policies/contact.yaml": quiet}) as shop:
        shop.run(row("identified", "2026-10-05T17:10:00Z", traits=zone))
        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        (done,) = shop.wake("2026-10-05T17:15:00Z")
        assert done["verdict"] == "permitted"
        assert len(shop.sent("email")) == 1


def test_many_clicks_at_once_have_one_effect(tmp_path: Path) -> None:
    """Of clicks that come together one counts; the others hear who decided."""
    people = "\n".join(f"  p{n}:\n    title: P{n}\n    roles: [marketing]" for n in range(8))
    changes = {"people.yaml": ("people:\n", f"people:\n{people}\n")}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        _, approval_id = ask(shop)
        heard: list[str] = []
        lock = threading.Lock()

        def click(by: str) -> None:
            with lock:  # one process writes a store; its clicks come one after another
                try:
                    heard.append(
                        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z", by=by).state
                    )
                except UsageError as error:
                    heard.append(str(error))

        threads = [threading.Thread(target=click, args=(f"p{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard.count("approved") == 1
        assert sum("was approved by p" in words for words in heard) == 7
        assert [line["verdict"] for line in shop.wake("2026-10-05T17:15:00Z")] == ["permitted"]
        assert len(shop.sent("email")) == 1


def test_a_yes_is_for_one_event(tmp_path: Path) -> None:
    """The same proposal for a later event needs a yes of its own."""
    with open_shop(tmp_path / "w") as shop:
        _, approval_id = ask(shop)
        shop.vote(approval_id, "approve", "2026-10-05T17:15:00Z")
        shop.wake("2026-10-05T17:15:00Z")
        later = row("contact_opened", "2026-10-09T17:00:00Z", topic="returns")
        again = shop.one(later)
        assert (again["verdict"], again["code"]) == ("held", "needs_approval")
