from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from agents.record import contact_id, read_record, settle_contact
from agents.supervisor import through_steps
from domain.caps import CapScope
from domain.context import Context
from domain.event import Event, Identifier
from domain.proposal import Candidate
from domain.verdict import Finding
from policies.guard import Guard
from profiles import pool, queries
from profiles.arrivals import Arrival
from profiles.people import People
from profiles.prints import household_ref, identifier_ref
from profiles.rulings import Registry
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tests import world
from tests.counting import Slow
from tests.shop import Shop, at, cart, consent, open_shop, row

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
HOUSEHOLD = ('logouts = ["logged_out"]', 'logouts = ["logged_out"]\nhousehold = "household_id"')
PER_ADDRESS = "limit: 3\n    window: 7d\n    per: contact_point"
FREE = ("limit: 1\n    window: 24h", "limit: 99\n    window: 24h")


def capped(entry: str) -> dict[str, tuple[str, str]]:
    """A shop in which a person may be written to as often as a household may not."""
    text = (f"{FREE[0]}\n    purposes: [marketing]", f"{entry}\n    purposes: [marketing]")
    return {"policies/contact.yaml": text, "settings.toml": HOUSEHOLD}


HOME = capped("limit: 1\n    window: 24h\n    per: household")


def looked_at(shop: Shop, line: Mapping[str, Any]) -> Context:
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context


def said_of(shop: Shop, line: Mapping[str, Any], rule: str = "marketing-per-day") -> Finding:
    """What a cap says of the reminder by e-mail in the context of a decision."""
    workspace, context = shop.deps.workspace, looked_at(shop, line)
    of = Candidate(
        workspace.actions["remind_by_email"],
        "abandoned_cart",
        "shop",
        "growth",
        "x",
        context.contact_points[0],
    )
    return next(one for one in workspace.guard.ask_in_full(of, context) if one.rule == rule)


# Counts in the store

NOW = at("2026-11-02T04:30:00Z")
VALUES: Mapping[str, Sequence[Any]] = {
    "brand": ("shop", "shop", "bank"),
    "channel": ("email", "sms", "email"),
    "purpose": ("promo", "promo", "service"),
    "topic": (None, "carts", "news"),
    "journey": (None, "cart"),
    "team": (None, "growth"),
    "action_groups": (None, "|offers|", "|a_b|offers|", "|axb|", "|Offers|"),
    "state": (
        "reserved",
        "held",
        "committed",
        "unknown",
        "observed",
        "failed",
        "released",
        "undelivered",
    ),
    "continues": (None, None, 1),
    "counted": (1, 1, 1, 0),
}
ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 30, 1440, 10_080, 43_200]),
        st.integers(-90, 90),
        st.sampled_from(["own", "own", "mate", "stranger"]),
        st.sampled_from(["mine", "mine", "other", None]),
        st.sampled_from(["home", "away", None]),
        st.fixed_dictionaries({name: st.sampled_from(some) for name, some in VALUES.items()}),
    ),
    min_size=4,
    max_size=16,
)
WINDOWS = st.one_of(
    st.sampled_from(["1h", "24h", "7d", "1mo"]).map(lambda w: {"window": w}),
    st.builds(
        lambda unit, zone, start: (
            {"calendar": unit, "tz": zone} | ({"week_start": start} if unit == "week" else {})
        ),
        st.sampled_from(["day", "week", "month"]),
        st.sampled_from(["person", "Europe/Berlin", "America/New_York"]),
        st.sampled_from(["monday", "sunday"]),
    ),
)
CAPS = st.builds(
    lambda window, limit, per, counts, among: {
        "id": "cap", "limit": limit, "per": per, "counts": counts, **window, **among,
    },
    WINDOWS,
    st.integers(1, 4),
    st.sampled_from(["person", "contact_point", "household"]),
    st.sampled_from(["attempt", "accepted", "delivered", "conversation"]),
    st.lists(
        st.sampled_from(
            [
                ("brands", ["shop"]),
                ("channels", ["email"]),
                ("purposes", ["promo"]),
                ("topics", ["carts"]),
                ("topics", ["carts", "news"]),
                ("journeys", ["cart"]),
                ("teams", ["growth"]),
                ("groups", ["offers"]),
                ("groups", ["a_b"]),
                ("groups", ["a_b", "offers"]),
            ]
        ),
        max_size=2,
    ).map(dict),
)  # fmt: skip
CANDIDATE: Mapping[str, Any] = {"topic": "carts", "groups": ("a_b", "offers")}


def counts_by_hand(
    entry: Mapping[str, Any], kept: Mapping[str, Any], ids: Mapping[Any, Any]
) -> bool:
    """Whether a row of the store counts for a cap, said once more and slowly."""
    gone = {"released"} | {
        "attempt": set[str](),
        "accepted": {"failed"},
        "delivered": {"failed", "undelivered"},
        "conversation": {"failed"},
    }[entry["counts"]]
    whose = {
        "person": kept["profile_id"] == ids["own"],
        "contact_point": kept["contact_point"] == ids["mine"],
        "household": kept["household"] == ids["home"]
        or (kept["household"] is None and kept["profile_id"] == ids["own"]),
    }[entry["per"]]
    groups = (kept["action_groups"] or "").split("|")
    return bool(
        kept["counted"]
        and kept["state"] not in gone
        and whose
        and not (entry["counts"] == "conversation" and kept["continues"])
        and all(
            kept[name] in entry[f"{name}s"]
            for name in ("brand", "channel", "purpose", "topic", "journey", "team")
            if f"{name}s" in entry
        )
        and ("groups" not in entry or set(groups) & set(entry["groups"]))
    )


def arrival(shop: Shop, said: Mapping[str, Any], now: datetime) -> Arrival:
    (read,) = shop.assembly.reading.read(json.dumps(said).encode(), received_at=now, place="x")
    assert isinstance(read, Event)
    return Arrival(read, now)


@pytest.mark.soakable
def test_the_store_counts_as_the_contacts_do_and_as_one_would_by_hand(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all contacts at hand, or counted in the store: one verdict, and that of a slow count."""
    settled = Statement(delete(t.contacts))
    with open_shop(tmp_path / "w", store=store, changes={"settings.toml": HOUSEHOLD}) as shop:
        traits = {"household_id": "h-1", "time_zone": "America/New_York"}
        shop.run(
            row("identified", "2026-09-01T08:00:00Z", email="a@x.example", traits=traits),
            row(
                "identified", "2026-11-01T16:00:00Z", id="moved",
                traits={"time_zone": "Europe/Berlin"},
            ),
        )  # fmt: skip
        vault = shop.database.vault
        ids = {
            "own": shop.rows("profiles")[0]["profile_id"],
            "mate": "p-mate",
            "stranger": "p-stranger",
            "home": household_ref(vault, "h-1"),
            "away": household_ref(vault, "h-2"),
            "mine": identifier_ref(vault, Identifier("email", "a@x.example")),
            "other": "ref-other",
            None: None,
        }
        asked = arrival(shop, cart("2026-11-02T04:30:00Z"), NOW)
        zones = (("America/New_York", at("2026-11-01T16:00:00Z")),)

        @settings(
            max_examples=1500 if SOAK else 120,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(CAPS, ROWS)
        def hold(entry: dict[str, Any], rows: list[Any]) -> None:
            guard = Guard(world.policies({"frequency_caps": [entry]}), {})
            (cap,) = guard.policies.caps
            scope: CapScope = cap.scope  # type: ignore[attr-defined]
            terms = replace(shop.deps.people.terms, caps=(scope,), look_back=scope.window.longest)
            work = Work()
            work.change(settled)
            kept = []
            for number, (minutes, more, who, where, home, said) in enumerate(rows):
                when = NOW - timedelta(minutes=max(0, minutes + more), seconds=number)
                kept.append(
                    {
                        "contact_id": f"k-{number}",
                        "profile_id": ids[who],
                        "contact_point": ids[where],
                        "household": ids[home],
                        "at": micros(when),
                        "action": "x",
                        **said,
                    }
                )
                work.insert(t.contacts, **kept[-1])
            assert shop.database.commit([work]) == [True]
            made = [
                NOW - timedelta(microseconds=micros(NOW) - one["at"])
                for one in kept
                if counts_by_hand(entry, one, ids)
            ]
            slow = Slow(entry, ("Europe/Berlin",), zones)
            for most in (1, 256):
                monkeypatch.setattr(pool, "CONTACTS_IN_CONTEXT_MAX", most)
                (perceived,) = People(shop.database, terms).read([asked])
                context = perceived.context
                assert context is not None
                assert "window" in entry or context.zones_before == zones
                (email,) = context.contact_points
                of = world.candidate(contact_point=email, **CANDIDATE)
                (said_,) = [f for f in guard.ask_in_full(of, context) if f.rule == "cap"]
                goes_on = entry["counts"] == "conversation" and any(
                    NOW - timedelta(hours=24) < c.at
                    and not c.continues
                    and c.channel == "email"
                    and c.contact_point == email.ref
                    for c in context.contacts
                )
                if goes_on:
                    assert said_.passed
                    continue
                assert said_.read["count"] == slow.count(made, NOW)
                assert said_.passed is (slow.count(made, NOW) < entry["limit"])
                if not said_.passed:
                    assert said_.clears_at == slow.next_at(made, NOW)

        hold()


def test_what_counts_in_the_store_is_found_through_an_index(tmp_path: Path) -> None:
    """Whatever a cap counts, its statements search an index and read no whole table."""
    with open_shop(tmp_path / "w") as shop:
        connection = shop.database._driver.connection
        heard: list[str] = []
        for per in ("person", "contact_point", "household"):
            for counts in ("attempt", "conversation"):
                entry = {"id": "c", "limit": 2, "window": "7d", "per": per, "counts": counts}
                entry |= {"groups": ["a", "b"], "topics": ["news"]}
                (cap,) = world.policies({"frequency_caps": [entry]}).caps
                given = {"people": ["p-1"], "household": "h", "point": "c", "apart": "", "since": 0}
                connection.set_trace_callback(heard.append)
                for statement in queries.counting(cap.scope):  # type: ignore[attr-defined]
                    shop.database.rows(statement, skip=1, **given)
                connection.set_trace_callback(None)
        asked = [text for text in heard if text.lstrip().startswith("SELECT")]
        assert len(asked) == 12
        for text in asked:
            plan = [str(step[3]) for step in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
            assert any("USING INDEX ix_contacts" in step for step in plan), plan
            assert not [step for step in plan if step.startswith("SCAN")], plan


# Households


def household(shop: Shop, *users: str, when: str = "2026-10-05T08:00:00Z") -> None:
    """People of one household, each with an address, and each with a yes."""
    for user in users:
        shop.run(
            consent(
                "granted", when, user, email=f"{user}@x.example", traits={"household_id": "h-1"}
            )
        )


def cart_of(user: str, minute: int = 0) -> dict[str, Any]:
    return cart(f"2026-10-05T09:{minute:02}:00Z", user, cart_id=f"k-{user}-{minute}")


def states(shop: Shop) -> list[str]:
    """How the e-mails stand."""
    return [one["state"] for one in shop.rows("contacts") if one["channel"] == "email"]


@pytest.mark.parametrize("at_once", [1, 3, 12])
def test_a_household_is_never_written_to_more_often_than_it_may(
    tmp_path: Path, store: str, at_once: int
) -> None:
    """Events of several of its people, one by one or decided together: one letter a day, not two;
    without the cap, all of them are written to."""
    users = [f"c-{n}" for n in range(4)]
    for changes, expected in ((HOME, 1), (capped(FREE[1]), 12)):
        where = store if expected == 1 else "sqlite://"
        with open_shop(tmp_path / f"w{expected}", store=where, changes=changes) as shop:
            household(shop, *users)
            # More than three a week go to no address, whatever a household may get.
            carts = [cart_of(user, n) for n in range(3) for user in users]
            asked = [arrival(shop, said, at(said["at"])) for said in carts]
            for start in range(0, len(asked), at_once):
                asyncio.run(decided(shop, asked[start : start + at_once]))
            assert len(shop.sent("email")) == expected


async def decided(shop: Shop, arrivals: Sequence[Arrival]) -> None:
    await through_steps(shop.deps)(arrivals)


def test_a_household_is_counted_on_every_store(tmp_path: Path, store: str) -> None:
    """What one says of its household is counted, and told, in the next one's decision."""
    with open_shop(tmp_path / "w", store=store, changes=HOME) as shop:
        household(shop, "c-1", "c-2")
        shop.run(consent("granted", "2026-10-05T08:00:00Z", "c-3", email="c@x.example"))
        assert shop.one(cart_of("c-1"))["action"] == "remind_by_email"
        line = shop.one(cart_of("c-2", 1))
        said = said_of(shop, line)
        assert (said.read["per"], said.read["count"]) == ("household", 1)
        assert said.code == "frequency_cap"
        assert said.clears_at == at("2026-10-06T09:00:00Z")
        context = looked_at(shop, line)
        assert not context.contacts, "whom else it wrote to is not for this person's record"
        assert f"h:{context.household}" in context.revisions
        assert shop.one(cart_of("c-3", 2))["action"] == "remind_by_email"


def test_what_was_sent_before_a_household_was_known_counts_for_it(tmp_path: Path) -> None:
    """Somebody who turns out to live with others brings the contacts of today along."""
    with open_shop(tmp_path / "w", changes=HOME) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", "c-1", email="c-1@x.example"))
        household(shop, "c-2")
        assert shop.one(cart_of("c-1"))["action"] == "remind_by_email"
        shop.run(row("identified", "2026-10-05T09:01:00Z", "c-1", traits={"household_id": "h-1"}))
        assert said_of(shop, shop.one(cart_of("c-2", 2))).code == "frequency_cap"
        assert said_of(shop, shop.one(cart_of("c-1", 3))).code == "frequency_cap"


@pytest.mark.parametrize("undone", [False, True])
def test_a_household_follows_a_merge_and_its_undoing(tmp_path: Path, undone: bool) -> None:
    """Contacts of who is merged into a household count for it, and after the undo do not."""
    with open_shop(tmp_path / "w", changes=HOME) as shop:
        household(shop, "A", "mate")
        shop.run(consent("granted", "2026-10-05T08:00:00Z", "B", email="b@x.example"))
        assert shop.one(cart_of("B"))["action"] == "remind_by_email"
        people = Registry(
            shop.database,
            shop.deps.people.terms.identity,
            None,
            timedelta(days=30),
            frozenset({"shop"}),
        )
        said = {"by": "ida", "reason": "", "at": at("2026-10-05T09:05:00Z")}
        people.merge("user_id:A", "user_id:B", **said)  # type: ignore[arg-type]
        if undone:
            people.unmerge("user_id:A", "user_id:B", **said)  # type: ignore[arg-type]
        said_to_mate = said_of(shop, shop.one(cart_of("mate", 10)))
        assert said_to_mate.passed is undone
        (kept, *_) = shop.rows("contacts")
        assert (kept["household"] is None) is undone


# Across an unmerge


def test_18_each_side_of_an_unmerge_has_its_own_cap(tmp_path: Path) -> None:
    """Sent to b at 10:00, undone at 12:00: A may be written to at 13:00, B a day after that."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "A", email="a@x.example"),
            consent("granted", "2026-10-05T08:01:00Z", "B", email="b@x.example"),
        )
        people = Registry(
            shop.database,
            shop.deps.people.terms.identity,
            None,
            timedelta(days=30),
            frozenset({"shop"}),
        )
        people.merge("user_id:A", "user_id:B", by="i", reason="", at=at("2026-10-05T08:02:00Z"))
        assert shop.one(cart("2026-10-05T10:00:00Z", "B"))["action"] == "remind_by_email"
        letter = shop.sent("email")[0].read_bytes()
        mine, other = ("A", "B") if b"a@x" in letter else ("B", "A")
        people.unmerge("user_id:A", "user_id:B", by="i", reason="", at=at("2026-10-05T12:00:00Z"))
        free = shop.one(cart("2026-10-05T13:00:00Z", other, cart_id="k-2"))
        assert free["action"] == "remind_by_email"
        said = said_of(shop, shop.one(cart("2026-10-05T13:00:00Z", mine, cart_id="k-3")))
        assert (said.outcome, said.code) == ("forbid", "frequency_cap")
        assert said.clears_at == at("2026-10-06T10:00:00Z")


# What becomes of a contact


def test_a_bounce_that_names_its_message_ends_what_counts_as_delivered(tmp_path: Path) -> None:
    """An accepted message counts as delivered until its bounce, which must name it, and its own
    address; as accepted it counts on."""
    changes = capped("limit: 1\n    window: 24h\n    counts: delivered")
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"))
        sent = shop.one(cart_of("c-1"))
        assert sent["action"] == "remind_by_email"

        def bounce(minute: int, **more: Any) -> dict[str, Any]:
            when = f"2026-10-05T09:{minute:02}:00Z"
            return row("bounced", when, type="soft", contact_point="a@x.example", **more)

        for minute, more in ((1, {}), (2, {"decision_id": "d-other"})):
            shop.run(bounce(minute, **more))
            assert said_of(shop, shop.one(cart_of("c-1", 10 + minute))).code == "frequency_cap"
        elsewhere = {"contact_point": "b@x.example", "decision_id": sent["decision_id"]}
        shop.run(row("bounced", "2026-10-05T09:03:00Z", type="soft", **elsewhere))
        assert states(shop) == ["committed"]
        shop.run(bounce(4, decision_id=sent["decision_id"]))
        assert states(shop) == ["undelivered"]
        line = shop.one(cart_of("c-1", 20))
        assert said_of(shop, line).passed
        assert said_of(shop, line, "marketing-per-address").read["count"] == 1


def test_a_conversation_whose_opening_failed_is_opened_by_the_next(
    tmp_path: Path, store: str
) -> None:
    """Messages went on with a conversation; if its first was refused, they opened it themselves."""
    with open_shop(tmp_path / "w", store=store) as shop:
        now = at("2026-10-05T09:00:00Z")
        work = Work()
        for number, (hours, point, channel) in enumerate(
            [(0, "c", "sms"), (1, "c", "sms"), (25, "c", "sms"), (1, "d", "sms"), (1, "c", "email")]
        ):
            work.insert(
                t.contacts,
                contact_id=contact_id(f"d-{number}"),
                profile_id="p-1",
                contact_point=point,
                at=micros(now + timedelta(hours=hours)),
                brand="shop",
                channel=channel,
                purpose="marketing",
                action="x",
                continues=1 if number else None,
                counted=1,
                state="committed" if number else "reserved",
            )
        settled = Work()
        settle_contact(settled, "d-0", "failed")
        assert shop.database.commit([work, settled]) == [True, True]
        kept = sorted(shop.rows("contacts"), key=lambda one: one["contact_id"])
        assert [one["continues"] for one in kept] == [None, None, 1, 1, 1]
        assert kept[0]["state"] == "failed"


def test_messages_of_one_day_are_one_conversation(tmp_path: Path) -> None:
    """Two reminders in a day are one conversation, and the third, a day on, needs room."""
    changes = capped("limit: 1\n    window: 7d\n    counts: conversation")
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"))
        for minute in (0, 30):
            assert shop.one(cart_of("c-1", minute))["action"] == "remind_by_email"
        assert [one["continues"] for one in shop.rows("contacts")] == [None, 1]
        said = said_of(shop, shop.one(cart("2026-10-06T09:00:00Z", cart_id="k-9")))
        assert (said.code, said.clears_at) == ("frequency_cap", at("2026-10-12T09:00:00Z"))


def test_a_contact_made_elsewhere_counts_for_what_it_says(tmp_path: Path, store: str) -> None:
    """Topic, journey, team and groups come along with an observed contact, and bind the caps."""
    said: dict[str, Any] = {"topic": "carts", "journey": "abandoned_cart", "team": "growth"}
    said["groups"] = ["Offers"]
    actions = ("topic: carts\n    subject", "topic: carts\n    groups: [offers]\n    subject")
    for number, (key, name) in enumerate(
        [
            ("topics", "carts"),
            ("journeys", "abandoned_cart"),
            ("teams", "growth"),
            ("groups", "offers"),
        ]
    ):
        changes = capped(f"limit: 1\n    window: 24h\n    {key}: [{name}]")
        changes["actions.yaml"] = actions
        where = store if number == 0 else "sqlite://"
        with open_shop(tmp_path / f"w{number}", store=where, changes=changes) as shop:
            shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"))
            seen = {"channel": "email", "purpose": "marketing"}
            shop.run(row("contact_observed", "2026-10-05T08:30:00Z", **seen))
            assert said_of(shop, shop.one(cart_of("c-1"))).passed
        with open_shop(tmp_path / f"v{number}", store="sqlite://", changes=changes) as shop:
            shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@x.example"))
            shop.run(row("contact_observed", "2026-10-05T08:30:00Z", **seen, **said))
            assert said_of(shop, shop.one(cart_of("c-1"))).code == "frequency_cap"


# The customer's own calendar


def test_a_person_who_moves_is_known_to_have_lived_elsewhere(tmp_path: Path) -> None:
    """A zone that was left is kept with the instant of the move, in whatever order it was heard."""
    moves = [("Asia/Tokyo", 1), ("Asia/Tokyo", 3), ("Europe/Berlin", 5), ("Europe/Berlin", 8)]
    for number, order in enumerate([moves, moves[::-1]]):
        with open_shop(tmp_path / f"w{number}") as shop:
            for zone, day in order:
                when = f"2026-10-{day:02}T08:00:00Z"
                shop.run(row("identified", when, id=f"e{day}", traits={"time_zone": zone}))
            context = looked_at(shop, shop.one(cart("2026-10-09T09:00:00Z")))
            assert context.zone_of_person == "Europe/Berlin"
            assert context.zones_before == (("Asia/Tokyo", at("2026-10-05T08:00:00Z")),)
            late = looked_at(shop, shop.one(cart("2026-10-15T09:00:00Z", cart_id="k-2")))
            assert late.zones_before == (), "the longest window of this shop is a week"
