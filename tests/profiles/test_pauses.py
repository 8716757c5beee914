from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain.verdict import Denial, Permit, objections
from policies.guard import Guard
from profiles.pauses import paused_until
from tests import world
from tests.profiles.test_suppressions import rules
from tests.shop import at, cart, consent, open_shop, row
from tests.world import candidate, contact, context, denial

MAIL = "maya@example.com"
MAY = "2027-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("said", "zone", "until"),
    [
        ("2027-05-01T09:00:00+02:00", None, "2027-05-01T07:00:00Z"),
        ("2027-05-01", "Europe/Berlin", "2027-04-30T22:00:00Z"),
        ("2027-05-01", None, "2027-05-01T12:00:00Z"),
        ("2027-05-01T09:00:00", None, "2027-05-01T21:00:00Z"),
        ("next May", None, "9998-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", None, "9998-01-01T00:00:00Z"),
        (True, None, "9998-01-01T00:00:00Z"),
        (5, None, "9998-01-01T00:00:00Z"),
        (None, None, None),
        (False, None, None),
    ],
)
def test_the_end_of_a_pause(said: Any, zone: str | None, until: str | None) -> None:
    """A pause ends when its date has come, and one that nobody can read does not end by itself."""
    assert paused_until({"paused_until": said}, zone) == (None if until is None else at(until))


def judged(by: Guard, of: Any, asked: Any) -> Any:
    return by.review(world.proposal(of), asked)


def test_a_pause_ends_by_itself() -> None:
    """A pause denies marketing until its end, and not an instant longer; nothing else is paused."""
    by = Guard(world.policies({}), {})
    asked = context(paused_until=at(MAY))
    verdict = judged(by, candidate(), asked)
    assert isinstance(verdict, Denial)
    (found,) = objections(verdict)
    assert (found.code, found.clears_at) == ("paused_by_customer", at(MAY))
    assert verdict.next_eligible_at == at(MAY)
    assert isinstance(judged(by, candidate(purpose="order_update"), asked), Permit)
    assert isinstance(judged(by, candidate(), context(now=at(MAY), paused_until=at(MAY))), Permit)


def test_a_pause_among_other_blockers() -> None:
    """The next instant is the one at which all that time clears is clear; a no it never is."""
    cap = {"id": "cap", "limit": 1, "window": "24h"}
    by = Guard(world.policies({"frequency_caps": [cap]}), {})
    end = world.at("2026-11-23T18:00:00Z")
    made = (contact("2026-11-23T16:00:00Z"),)
    verdict = judged(by, candidate(), context(paused_until=end, contacts=made))
    assert verdict.next_eligible_at == world.at("2026-11-24T16:00:00Z")
    refused = judged(by, candidate(), context(paused_until=end, consents=(denial(),)))
    assert refused.next_eligible_at is None


def test_a_pause_as_the_customer_says_it(tmp_path: Path) -> None:
    """The trait holds from the event that tells it until its date, or until it is taken back."""
    with open_shop(tmp_path / "w") as shop:
        yes = consent("granted", "2026-10-05T08:00:00Z", email=MAIL)
        until = "2026-10-08T09:00:00Z"
        pause = row("identified", "2026-10-05T08:30:00Z", traits={"paused_until": until})
        shop.run(yes, pause)
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert line["action"] == "cart_banner"  # shown on a page that the customer opens
        assert not shop.sent("email")
        assert rules(shop, line["decision_id"], "remind_by_email") == {
            "paused/paused_by_customer": (
                "the customer wants no marketing before 2026-10-08 09:00:00Z"
            )
        }
        over = row("identified", "2026-10-05T09:30:00Z", traits={"paused_until": None})
        shop.run(over)
        assert shop.one(cart("2026-10-05T10:00:00Z", cart_id="k-2"))["action"] == "remind_by_email"
