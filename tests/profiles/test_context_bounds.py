from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.record import read_record
from domain.bearing import Asked, bearing
from domain.canonical import canonical
from domain.consent import Consent, ConsentKind, ConsentQuestion, answer
from domain.context import CONTACTS_IN_CONTEXT_MAX, INSTANCES_OF_JOURNEY_MAX, Context
from store import tables as t
from store.instants import micros
from store.work import Work
from tests.shop import Shop, at, cart, consent, open_shop, row

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = Asked(
    profile_ids=("p", "q"),
    controller="shop",
    brands=frozenset({"shop", "outlet"}),
    purposes=frozenset({"news"}),
    channels=frozenset({"email"}),
    topics=frozenset({"sale"}),
    points=frozenset({"a", "b"}),
)
HOURS = st.integers(0, 12).map(lambda n: BEGIN + timedelta(hours=n))
LINES = st.lists(
    st.builds(
        Consent,
        st.sampled_from(get_args(ConsentKind)),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["shop", "shop", "bank"]),
        st.sampled_from([None, "shop", "outlet"]),
        st.sampled_from([None, "email"]),
        st.sampled_from([None, "news"]),
        st.sampled_from([None, "sale", "odd"]),
        st.sampled_from([None, "a", "b"]),
        HOURS,
        HOURS,
        st.none() | HOURS,
    ),
    max_size=40,
).map(lambda lines: [replace(line, ref=f"{n:04}") for n, line in enumerate(lines)])


def answers(lines: Any) -> list[Any]:
    """The answer to every question, at the beginning and after everything."""
    questions = [
        ConsentQuestion(("p", "q"), "shop", brand, channel, purpose, topic, point)
        for brand in ("shop", "outlet", "other")
        for channel in ("email", "sms")
        for purpose in ("news", "other")
        for topic in (None, "sale")
        for point in (None, "a", "b")
    ]
    instants = (BEGIN, BEGIN + timedelta(hours=6), BEGIN + timedelta(days=9))
    return [answer(lines, question, now) for question, now in product(questions, instants)]


@given(LINES)
def test_the_lines_kept_answer_as_all_of_them_do(lines: list[Consent]) -> None:
    """Whatever was said in whatever order, and whatever is asked."""
    kept = bearing(lines, ASKED)
    assert set(kept) <= set(lines)
    assert answers(kept) == answers(lines)


@pytest.mark.parametrize("late", [0, 50])
def test_five_thousand_changes_of_mind_leave_a_few_lines(late: int) -> None:
    """In order and out of order, a context holds what is still of consequence."""
    chance = random.Random(3)
    lines = []
    for n in range(5_000):
        said, heard = (BEGIN + timedelta(hours=n - chance.randint(0, late) * k) for k in (1, 0))
        kind: Any = "denial" if n % 2 else "grant"
        point = chance.choice(["a", "b"])
        lines.append(
            Consent(
                kind, "p", "shop", "shop", "email", "news", None, point, said, heard, ref=f"{n:04}"
            )
        )
    kept = bearing(lines, ASKED)
    assert len(kept) <= 16
    for point in ("a", "b"):
        ask = ConsentQuestion(("p",), "shop", "shop", "email", "news", None, point)
        assert answer(kept, ask, BEGIN) == answer(lines, ask, BEGIN)


def looked_at(shop: Shop, line: dict[str, Any]) -> Context:
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context


def history(shop: Shop, user: str, events: int) -> None:
    """A customer who looks at pages, opens mail, buys, and says yes and no, over 400 days."""
    names = ("page_viewed", "email_opened", "page_viewed", "order_completed", "consent_changed")
    rows = []
    for n in range(events):
        when = f"{BEGIN - timedelta(days=400) * (1 - n / events):%Y-%m-%dT%H:%M:%SZ}"
        if names[n % 5] == "consent_changed":
            value = "granted" if n % 10 == 9 else "denied"
            rows.append(consent(value, when, user, email=f"{user}@x.example", id=f"{user}-{n}"))
        else:
            rows.append(row(names[n % 5], when, user, value=n, order_id=f"o{n}", id=f"{user}-{n}"))
    shop.run(*rows)


def test_five_thousand_events_make_no_larger_context_than_fifty(tmp_path: Path) -> None:
    """What a decision looks at is bounded by what it may depend on, not by what has happened."""
    sizes = {}
    with open_shop(tmp_path / "w") as shop:
        for user, events in (("few", 50), ("many", 5_000)):
            history(shop, user, events)
            line = shop.one(cart("2026-01-01T09:00:00Z", user, cart_id=f"k-{user}"))
            context = looked_at(shop, line)
            assert context.fields["signal.events_before"] == events
            sizes[user] = len(canonical(context))
    # Below the fold's threshold a ledger is shown whole, so the larger history may be the smaller.
    assert sizes["many"] <= 1.3 * sizes["few"]


def test_a_flood_of_carts_makes_no_larger_context(tmp_path: Path) -> None:
    """One customer is on a journey so many times at once and no more, until a window is over."""
    with open_shop(tmp_path / "w") as shop:
        most = INSTANCES_OF_JOURNEY_MAX
        begun = at("2026-01-01T09:00:00Z")
        flood = [
            cart((begun + timedelta(seconds=n)).isoformat(), cart_id=f"k-{n}")
            for n in range(2 * most)
        ]
        lines = shop.run(*flood)
        assert "64 times already" in lines[most]["reason"]
        assert {line["reason"] for line in lines[most:]} == {lines[most]["reason"]}
        assert len(looked_at(shop, lines[-1]).instances) == most
        other = row("checkout_failed", "2026-01-01T10:00:00Z", order_id="o-1", error="card")
        assert shop.one(other)["journey"] == "failed_checkout"
        later = shop.one(cart("2026-01-09T09:00:00Z", cart_id="k-later"))
        assert "already" not in later["reason"]
        assert len(looked_at(shop, shop.one(cart("2026-01-09T10:00:00Z"))).instances) <= 3


def test_equal_contexts_have_equal_digests(tmp_path: Path) -> None:
    """A context read back from its record is the one that was decided by, to the bit."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(cart("2026-01-01T09:00:00Z"))
        context = looked_at(shop, line)
        assert context.digest() == looked_at(shop, line).digest()
        assert context.digest() == replace(context, fields=dict(context.fields)).digest()
        assert context.digest() != replace(context, seed=context.seed + 1).digest()


def contacted(shop: Shop, times: int, now: datetime) -> None:
    """Contacts that somebody else made, an hour apart, half of them of service."""
    profile_id = shop.rows("profiles")[0]["profile_id"]
    work = Work()
    for n in range(times):
        work.insert(
            t.contacts,
            contact_id=f"o-{n:05}",
            profile_id=profile_id,
            at=micros(now - timedelta(hours=n + 1)),
            brand="shop",
            channel="email",
            purpose="service" if n % 2 else "marketing",
            action="observed",
            counted=1,
            state="observed",
        )
    assert shop.database.commit([work]) == [True]


@pytest.mark.parametrize(("made", "allowed"), [(598, True), (600, False), (700, False)])
def test_a_cap_above_what_a_context_holds_is_counted_right(
    tmp_path: Path, made: int, allowed: bool
) -> None:
    """A cap of 300 lets the 300th through and not the 301st, though 256 contacts are looked at."""
    cap = ("limit: 1\n    window: 24h", "limit: 300\n    window: 30d")
    with open_shop(tmp_path / "w", changes={"policies/contact.yaml": cap}) as shop:
        shop.run(consent("granted", "2026-10-01T08:00:00Z", email="a@shop.example"))
        now = at("2026-10-05T09:00:00Z")
        contacted(shop, made, now)
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        context = looked_at(shop, line)
        assert len(context.contacts) == CONTACTS_IN_CONTEXT_MAX
        tally = next(x for x in context.tallies if x.rule == "marketing-per-day")
        assert tally.count == sum(1 for n in range(made) if n % 2 == 0)
        assert (line["action"] == "remind_by_email") is allowed
        if not allowed:
            clears = now - timedelta(hours=2 * 299 + 1) + timedelta(days=30)
            assert tally.last_at == clears - timedelta(days=30)
            assert json.loads(canonical(tally))["rule"] == "marketing-per-day"


def test_repeated_blocks_count_as_the_longest_of_them(tmp_path: Path) -> None:
    """Blocks that differ in their end alone are one, until the last end."""
    with open_shop(tmp_path / "w") as shop:
        for n in range(40):
            shop.run(
                row(
                    "suppression_added",
                    f"2026-10-01T08:{n:02}:00Z",
                    target="person",
                    blocks="marketing",
                    reason="complaint",
                    expires_at=f"2026-11-{n % 20 + 1:02}T00:00:00Z",
                )
            )
        context = looked_at(shop, shop.one(cart("2026-10-05T09:00:00Z")))
        (block,) = context.suppressions
        assert block.expires_at == at("2026-11-20T00:00:00Z")
