"""How long an address is left alone after messages came back from it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from profiles.bounces import Reached, unreachable_until
from store.instants import micros
from tests.shop import Shop, at, consent, open_shop, row

MAIL = "p@example.com"
DAY = timedelta(days=1)
BEGIN = at("2026-03-01T08:00:00Z")


def soft(day: int, user: str = "c-1", **more: Any) -> dict[str, Any]:
    """A soft bounce, so many days after the beginning."""
    when = (BEGIN + day * DAY).isoformat().replace("+00:00", "Z")
    return row("bounced", when, user, **{"type": "soft", "contact_point": MAIL, **more})


def known() -> dict[str, Any]:
    return consent("granted", "2026-02-01T08:00:00Z", email=MAIL)


def days(shop: Shop) -> int | None:
    """For how many days from the beginning the address is unreachable."""
    untils = {
        line["unreachable_until_at"] for line in shop.rows("identifiers") if line["ns"] == "email"
    }
    (until,) = untils
    return None if until is None else (until - micros(BEGIN)) // (86_400 * 1_000_000)


@pytest.mark.parametrize(
    ("count", "until"),
    [
        (4, None),
        (5, 4 + 7),
        (9, 4 + 7),
        (10, 9 + 14),
        (15, 14 + 30),
        (20, 19 + 180),
        (23, 22 + 180),
    ],
)
def test_every_fifth_soft_bounce_gives_the_address_up_for_longer(
    tmp_path: Path, count: int, until: int | None
) -> None:
    """7, 14, 30, then 180 days."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), *(soft(day) for day in range(count)))
        assert days(shop) == until


def test_soft_bounces_forbid_contacts_until_the_time_is_over(tmp_path: Path) -> None:
    """The address is `unreachable`, and afterwards it is not; consent stays what it was."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), *(soft(day) for day in range(5)))
        first = shop.one(row("checkout_failed", "2026-03-06T09:00:00Z", order_id="o-1"))
        assert first["action"] == "open_checkout_case"
        assert [line["kind"] for line in shop.rows("consents")] == ["grant"]
        later = shop.one(row("checkout_failed", "2026-03-12T09:00:00Z", order_id="o-2"))
        assert (later["action"], later["verdict"]) == ("checkout_help", "permitted")


def test_a_bounce_that_is_told_again_counts_once(tmp_path: Path) -> None:
    """A redelivered event is a duplicate."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), *(soft(day) for day in range(4)))
        shop.run(*(soft(day) for day in range(4)))
        assert (len(shop.rows("bounces")), days(shop)) == (4, None)


def test_the_order_in_which_bounces_come_in_does_not_matter(tmp_path: Path) -> None:
    """The answer follows from when things happened."""
    answers = set()
    for name, order in enumerate(([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2])):
        with open_shop(tmp_path / str(name)) as shop:
            shop.run(known(), *(soft(day) for day in order))
            answers.add(days(shop))
    assert answers == {4 + 7}


def test_the_rule_is_the_same_for_every_order_and_split() -> None:
    """A pure function of a set: no permutation of six facts changes it."""
    said = [Reached("soft", BEGIN + day * DAY) for day in range(5)]
    facts = [*said, Reached("delivered", BEGIN - DAY)]
    assert {unreachable_until(order) for order in itertools.permutations(facts)} == {
        BEGIN + 11 * DAY
    }


def test_two_who_share_an_address_count_together(tmp_path: Path) -> None:
    """Bounces are the address's, whoever they were told of."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), consent("granted", "2026-02-01T08:00:00Z", "c-2", email=MAIL))
        shop.run(*(soft(day, f"c-{1 + day % 2}") for day in range(5)))
        assert days(shop) == 11


def test_a_delivered_message_begins_the_count_anew_and_forgives_no_hard_bounce(
    tmp_path: Path,
) -> None:
    """After a success five more are needed; a hard bounce stays for its 180 days."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), *(soft(day) for day in range(5)))
        shop.run(row("message_delivered", "2026-03-05T20:00:00Z", contact_point=MAIL))
        assert days(shop) is None
        shop.run(*(soft(day) for day in range(5, 9)))
        assert days(shop) is None
        shop.run(soft(9, type="hard"))
        shop.run(row("message_delivered", "2026-03-11T20:00:00Z", contact_point=MAIL))
        assert days(shop) == 9 + 180


def test_a_soft_bounce_shortens_no_hard_one(tmp_path: Path) -> None:
    """The later end counts."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), soft(0, type="hard"), *(soft(day) for day in range(1, 6)))
        assert days(shop) == 180


@pytest.mark.parametrize("verify", ["address_verified", "consent_changed"])
def test_a_verified_address_works_again(tmp_path: Path, verify: str) -> None:
    """A verification, or an explicit new yes at the address, ends a hard bounce."""
    when = "2026-03-03T08:00:00Z"
    said = {
        "address_verified": row("address_verified", when, contact_point=MAIL),
        "consent_changed": consent("granted", when, contact_point=MAIL),
    }
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), soft(0, type="hard"))
        assert days(shop) == 180
        shop.run(said[verify])
        assert days(shop) is None
        shop.run(soft(1, type="hard", contact_point=MAIL))
        assert days(shop) is None, "it bounced before it was verified"
        shop.run(soft(4, type="hard"))
        assert days(shop) == 184


def test_addresses_that_never_bounce_leave_no_rows(tmp_path: Path) -> None:
    """A success is kept only where something bounced."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(known(), row("message_delivered", "2026-03-05T20:00:00Z", contact_point=MAIL))
        assert shop.rows("bounces") == []
