"""Journeys that begin because something did not happen."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import select

from agents.minds.formula import FormulaMind
from agents.passes import due, next_due
from agents.reconsider import recompute
from agents.supervisor import through_steps
from domain.errors import ConfigurationError
from profiles.arrivals import Arrival
from profiles.overtaking import OVERTAKEN
from service.assemble import kept_workspace
from store import tables as t
from store.statements import Statement
from tests.agents.test_contention import each_alone
from tests.service.test_interruption import Crash, crash_at
from tests.shop import Shop, at, consent, open_shop, row
from traces.ledger import verify

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
COUNT = 10_000_000 if SOAK else 20_000
_STATES = Statement(select(t.timers.c.state))
MAIL = "a@shop.example"
YES = consent("granted", "2026-10-05T08:00:00Z", email=MAIL)
FILE = "journeys/abandoned_cart.yaml"
TRIGGER = "trigger: cart_abandoned"
LAG = ('source = "shop"', 'source = "shop"\n[input.max_lag]\ntill = "60m"')
COOL_OFF = {
    "policies/contact.yaml": (
        "quiet_hours:",
        "cool_offs:\n  - {id: bought, after: [order_completed], lasts: 7d, "
        "reason: bought lately}\nquiet_hours:",
    )
}
ALSO_TILL = {"settings.toml": LAG}


def silence(more: str = "") -> dict[str, tuple[str, str]]:
    """The starter's cart journey, with more said of what it waits for."""
    old = "within: 30m"
    return {FILE: (old, f"{old}{more}")}


def updated(when: str, user: str = "c-1", *, cart_id: str = "k-1", **more: Any) -> dict[str, Any]:
    """A cart that was put something into."""
    return row("cart_updated", when, user, cart_id=cart_id, **{"value": 80.0, **more})


def order(when: str, user: str = "c-1", **said: Any) -> dict[str, Any]:
    """A purchase, as the till tells of it."""
    return row("order_completed", when, user, source="till", **{"order_id": "o-1", **said})


def tick(when: str) -> dict[str, Any]:
    """Somebody else does something: time goes on."""
    return row("page_viewed", when, "somebody-else")


def absences(lines: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, str | None]]:
    """When each absence was asked about, and what came of it."""
    found = [line for line in lines if line["pass"] == "absence"]
    return [(line["at"][11:19], line["verdict"], line["action"], line["code"]) for line in found]


def check(shop: Shop) -> None:
    """The record is whole, and every decision comes out the same again."""
    verify(shop.database)
    again = recompute(shop.database, lambda v: kept_workspace(shop.database, v), FormulaMind())
    assert not again.different


def test_silence_after_a_cart_is_established_at_its_own_instant(tmp_path: Path, store: str) -> None:
    """No purchase within 30 minutes of the update's own time begins the journey, once."""
    with open_shop(tmp_path / "w", store=store) as shop:
        _, begun = shop.run(YES, updated("2026-10-05T10:00:00Z"))
        assert (begun["verdict"], begun["code"]) == ("none", "not_applicable")
        assert (
            begun["reason"]
            == "journey `abandoned_cart` waits until 10:30:00Z for `order_completed`"
        )
        assert shop.wake("2026-10-05T10:29:59Z") == []
        lines = shop.wake("2026-10-05T11:00:00Z")
        assert absences(lines) == [("10:30:00", "permitted", "remind_by_email", None)]
        assert lines[0]["parent_id"] == begun["decision_id"]
        assert [one["state"] for one in shop.rows("instances")] == ["active"]
        assert shop.wake("2026-10-06T11:00:00Z") == []
        check(shop)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([order("2026-10-05T10:20:00Z")], [("10:20:00", "none", "no_action", "not_applicable")]),
        (
            [order("2026-10-05T10:20:00Z", cart_id="k-2")],
            [("10:30:00", "permitted", "remind_by_email", None)],
        ),
        ([order("2026-10-05T09:59:59Z")], [("10:30:00", "permitted", "remind_by_email", None)]),
        (
            [updated("2026-10-05T10:20:00Z")],
            [("10:50:00", "permitted", "remind_by_email", None)],
        ),
        (
            [updated("2026-10-05T10:20:00Z"), order("2026-10-05T10:50:00Z")],
            [("10:50:00", "permitted", "remind_by_email", None)],
        ),
        (
            [updated("2026-10-05T10:10:00Z", cart_id="k-2")],
            [
                ("10:30:00", "permitted", "remind_by_email", None),
                ("10:40:00", "denied", "no_action", "frequency_cap"),
            ],
        ),
        (
            [updated("2026-10-05T10:10:00Z", cart_id="k-2"), order("2026-10-05T10:20:00Z")],
            [
                ("10:20:00", "none", "no_action", "not_applicable"),
                ("10:20:00", "none", "no_action", "not_applicable"),
            ],
        ),
    ],
    ids=[
        "bought",
        "another cart bought",
        "bought before",
        "counted anew",
        "bought as it is established",
        "two carts",
        "two carts and a purchase of neither by name",
    ],
)
def test_what_comes_meanwhile_decides(
    tmp_path: Path, said: list[dict[str, Any]], expected: list[Any]
) -> None:
    """A purchase of this cart, or of one that cannot be told apart, ends the wait at once."""
    with open_shop(tmp_path / "w") as shop:
        lines = shop.run(YES, updated("2026-10-05T10:00:00Z"), *said, tick("2026-10-05T12:00:00Z"))
        assert absences(lines) == expected
        check(shop)


def test_case_25_the_timer_waits_for_the_tills_watermark(tmp_path: Path, store: str) -> None:
    """At 10:30 nothing is done: the till may be late. The purchase of 10:20 comes at 10:45."""
    with open_shop(tmp_path / "w", store=store, changes=ALSO_TILL) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        assert absences(shop.run(tick("2026-10-05T10:30:00Z"))) == []
        lines = shop.run(tick("2026-10-05T10:45:00Z"), order("2026-10-05T10:20:00Z"))
        assert absences(lines) == [("10:45:00", "none", "no_action", "not_applicable")]
        (reason,) = [line["reason"] for line in lines if line["pass"] == "absence"]
        assert reason.endswith("does not apply: `order_completed` came at 2026-10-05 10:20:00Z")
        assert absences(shop.run(tick("2026-10-05T13:00:00Z"))) == []
        assert not shop.sent()
        check(shop)


def test_case_25_without_a_lag_it_is_sent_and_overtaken(tmp_path: Path, store: str) -> None:
    """Sent at 10:30, marked at 10:45, and the cool-off after the purchase starts."""
    with open_shop(tmp_path / "w", store=store, changes=COOL_OFF) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        sent = absences(shop.run(tick("2026-10-05T10:45:00Z")))
        assert sent == [("10:30:00", "permitted", "remind_by_email", None)]
        shop.run(order("2026-10-05T10:20:00Z"))
        flags = [one["flag"] for one in shop.rows("outbox")]
        assert flags == [OVERTAKEN]
        line = shop.one(row("cart_abandoned", "2026-10-07T10:00:00Z", cart_id="k-2", value=80.0))
        assert (line["verdict"], line["code"]) == ("denied", "cool_off")
        check(shop)


def outcome(shop: Shop) -> list[Any]:
    """Which runs began, and what was sent: what order the events came in must not change it."""
    begun = [(one["key"], one["entered_at"]) for one in shop.rows("instances")]
    done = [
        (one["at"], one["action"], one["code"])
        for one in shop.rows("decisions")
        if one["pass_kind"] == "absence" and one["verdict"] != "none"
    ]
    return [sorted(begun), sorted(done, key=repr)]


MIXED = (
    updated("2026-10-05T10:00:00Z"),
    updated("2026-10-05T10:12:00Z"),
    updated("2026-10-05T10:05:00Z", cart_id="k-2"),
    updated("2026-10-05T10:03:00Z", cart_id="k-3"),
    order("2026-10-05T10:08:00Z", cart_id="k-1"),
    order("2026-10-05T10:05:00Z", cart_id="k-2", order_id="o-2"),
)


@pytest.mark.soakable
def test_late_and_unordered_events_give_the_same_absences(tmp_path: Path) -> None:
    """Whatever order events come in before a timer is due, it finds the same."""
    orders = list(permutations(MIXED))
    if not SOAK:
        orders = random.Random(25).sample(orders, 12)
    expected: list[Any] = []
    for number, rows in enumerate([MIXED, *orders]):
        with open_shop(tmp_path / f"w{number}") as shop:
            shop.run(YES, *rows, tick("2026-10-05T10:20:00Z"))
            shop.wake("2026-10-05T12:00:00Z")
            expected = expected or outcome(shop)
            assert outcome(shop) == expected, rows
    begun, done = expected
    assert len(begun) == 2  # k-1 was updated after it was bought, k-3 never was
    assert [one[1:] for one in done] == [
        ("remind_by_email", None),
        ("no_action", "frequency_cap"),
    ]


def story(people: int) -> list[dict[str, Any]]:
    """Carts of many: every third one is bought in time."""
    rows: list[dict[str, Any]] = []
    for n in range(people):
        user = f"c-{n}"
        rows.append(consent("granted", "2026-10-05T08:00:00Z", user, email=f"c{n}@shop.example"))
        rows.append(updated("2026-10-05T10:00:00Z", user))
        rows.append(updated("2026-10-05T10:05:00Z", user))
        if n % 3 == 0:
            rows.append(order("2026-10-05T10:20:00Z", user))
    rows += [tick("2026-10-05T10:40:00Z"), tick("2026-10-05T11:00:00Z")]
    return sorted(rows, key=lambda said: str(said["at"]))


def check_once(shop: Shop, people: int) -> None:
    """Each timer fired once and no more, and each cart that was left behind was written about."""
    verify(shop.database)
    timers = [one for one in shop.rows("timers") if one["kind"] == "absence"]
    assert {one["state"] for one in timers} == {"done", "superseded"}
    fired = [one for one in shop.rows("decisions") if one["pass_kind"] == "absence"]
    done = [one["decision_id"] for one in timers if one["state"] == "done"]
    assert sorted(one["parent_id"] for one in fired) == sorted(done)
    assert len(done) == people
    left = people - len(range(0, people, 3))
    assert len(shop.sent("email")) == left
    assert [one["state"] for one in shop.rows("instances")] == ["active"] * left


@pytest.mark.parametrize("where", ["before commit", "after commit", "before step", "after step"])
@pytest.mark.parametrize("nth", range(1, 7))
def test_timers_fire_once_wherever_the_plug_is_pulled(
    tmp_path: Path, store: str, where: str, nth: int
) -> None:
    """A timer is claimed by the very commit of the decision that it leads to."""
    rows = story(4)
    with suppress(Crash), open_shop(tmp_path / "w", store=store) as shop:
        crash_at(shop, nth, where)
        try:
            shop.run(*rows)
        finally:
            shop.deps.pending.clear()
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(*rows)
        check_once(shop, 4)
        assert shop.wake("2026-10-07T09:00:00Z") == []


@pytest.mark.soakable
def test_timers_fire_once_under_kill_9(tmp_path: Path) -> None:
    """A command that is killed at any instant, and run again, has every timer fire once."""
    chance, people = random.Random(25), 9
    rows = story(people)
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(said) + "\n" for said in rows))
    for number in range(100 if SOAK else 3):
        folder = tmp_path / f"w{number}"
        store = f"sqlite:///{tmp_path / f'shop{number}.db'}"
        with open_shop(folder, store=store):
            pass
        command = [sys.executable, "-u", "-m", "service.cli", "run", str(events), "--json"]
        command += ["--workspace", str(folder), "--store", store]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            text=True,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(len(rows) - 12, len(rows) + people)):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with open_shop(folder, store=store) as shop:
            shop.run(*rows)
            check_once(shop, people)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ("11:30:00", "none", "no_action", "not_applicable")),
        ("\n  max_wait: 10m", ("10:40:00", "none", "no_action", "not_applicable")),
        ("\n  max_wait: 10m\n  on_lag: act", ("10:40:00", "permitted", "remind_by_email", None)),
    ],
    ids=["as long as the source may lag", "as long as said", "act"],
)
def test_a_source_that_stays_silent_is_waited_for_no_longer_than_said(
    tmp_path: Path, more: str, expected: Any
) -> None:
    """At the latest by `max_wait`, `on_lag` decides; unless told, nothing is done."""
    with open_shop(tmp_path / "w", changes={**ALSO_TILL, **silence(more)}) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        lines = shop.wake("2026-10-05T13:00:00Z")
        assert absences(lines) == [expected]
        if expected[1] == "none":
            assert lines[0]["reason"].endswith("`till` has not told whether `order_completed` came")
        check(shop)


def test_the_watermark_of_a_source_lets_timers_go(tmp_path: Path, store: str) -> None:
    """Whoever the till tells of: once it has told of 10:30, nothing older comes from it."""
    with open_shop(tmp_path / "w", store=store, changes=ALSO_TILL) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        assert absences(shop.run(order("2026-10-05T10:29:00Z", "c-9"))) == []
        lines = shop.run(order("2026-10-05T10:33:00Z", "c-9", order_id="o-2"))
        assert absences(lines) == [("10:33:00", "permitted", "remind_by_email", None)]
        assert absences(shop.wake("2026-10-05T13:00:00Z")) == []
        check(shop)


def test_of_several_sources_each_is_waited_for(tmp_path: Path) -> None:
    """The till has told of all; the web shop, which may lag as well, has not."""
    lags = {"settings.toml": (LAG[0], LAG[1] + '\nweb = "2h"')}
    with open_shop(tmp_path / "w", changes=lags) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        assert absences(shop.run(order("2026-10-05T10:35:00Z", "c-9"))) == []
        (kept,) = [one for one in shop.rows("timers") if one["state"] == "pending"]
        assert kept["waits_for"] == "web"
        seen = row("page_viewed", "2026-10-05T10:50:00Z", "c-8", source="web")
        assert absences(shop.run(seen))[0][:2] == ("10:50:00", "permitted")
        check(shop)


def test_an_absence_says_of_no_contact_that_it_waits(tmp_path: Path) -> None:
    """An opt-out asks nothing of what may yet begin, which then finds it as any other rule."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        lines = shop.run(consent("objection", "2026-10-05T10:10:00Z", channel=None))
        assert absences(lines) == []
        (after,) = absences(shop.wake("2026-10-05T11:00:00Z"))
        assert (after[0], after[1], after[3]) == ("10:30:00", "denied", "objection")
        check(shop)


def test_a_timer_fires_before_what_comes_after_it_in_the_same_batch(tmp_path: Path) -> None:
    """A purchase at 10:50, told under another name of the same person, is no purchase by 10:30."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(YES)
        bought = {**order("2026-10-05T10:50:00Z"), "user_id": None, "email": MAIL}
        lines = shop.run(updated("2026-10-05T10:00:00Z"), bought)
        assert absences(lines) == [("10:30:00", "permitted", "remind_by_email", None)]
        assert [line["at"][11:16] for line in lines] == ["10:00", "10:30", "10:50"]
        check(shop)


def test_what_an_absence_led_to_waits_for_the_morning(tmp_path: Path) -> None:
    """A contact that is deferred goes on with its journey, and is stopped by a purchase."""
    yes = consent("granted", "2026-10-05T08:00:00Z", channel="sms", phone="+4915123456789")
    for bought in (False, True):
        with open_shop(tmp_path / f"w{bought}") as shop:
            shop.run(yes, updated("2026-10-05T20:00:00Z"))
            (held,) = shop.wake("2026-10-05T20:30:00Z")
            assert (held["action"], held["held_for"]) == ("remind_by_sms", "time")
            if bought:
                shop.run(order("2026-10-05T21:00:00Z", cart_id="k-1"))
            (after,) = shop.wake("2026-10-06T09:00:00Z")
            expected = ("none", "no_action") if bought else ("permitted", "remind_by_sms")
            assert (after["verdict"], after["action"], after["pass"]) == (*expected, "release")
            check(shop)


def test_the_caps_count_what_the_event_itself_led_to(tmp_path: Path) -> None:
    """An absence goes on with nothing that its event's own decision had reserved."""
    welcome = {"journeys/welcome.yaml": ("trigger: signed_up", "trigger: cart_updated")}
    with open_shop(tmp_path / "w", changes=welcome) as shop:
        for user in ("c-1", "c-2", "c-3"):  # one in ten is held out of the welcome
            yes = consent("granted", "2026-10-05T08:00:00Z", user, email=f"{user}@shop.example")
            _, begun = shop.run(yes, updated("2026-10-05T10:00:00Z", user))
            assert begun["verdict"] == "permitted"
        after = absences(shop.wake("2026-10-05T11:00:00Z"))
        assert after == [("10:30:00", "denied", "no_action", "frequency_cap")] * 3
        check(shop)


def test_what_the_event_itself_holds_in_reserve_stays_reserved(tmp_path: Path) -> None:
    """A voucher of its own decision waits for an approval: the absence does not end that."""
    said = "trigger: {}\ngoal: order_completed\nactions: [{}welcome_voucher]"
    changes = {
        "journeys/welcome.yaml": (
            said.format("signed_up", "welcome_email, "),
            said.format("cart_updated", ""),
        ),
        "actions.yaml": ("offer: voucher_5", "offer: voucher_25"),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for user in ("c-1", "c-2", "c-3"):
            mail = f"{user}@shop.example"
            yes = consent("granted", "2026-10-05T08:00:00Z", user, email=mail)
            _, begun = shop.run(yes, updated("2026-10-05T10:00:00Z", user))
            if begun["verdict"] == "held":  # one in ten is held out
                break
        assert begun["held_for"] == "approval"
        (kept,) = [one for one in shop.rows("contacts") if one["state"] == "held"]
        after = absences(shop.wake("2026-10-05T10:45:00Z"))
        assert after[-1] == ("10:30:00", "denied", "no_action", "frequency_cap")
        assert [one for one in shop.rows("contacts") if one["state"] == "held"] == [kept]
        assert [one["state"] for one in shop.rows("approvals")] == ["pending"]
        check(shop)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("of: order_completed", "of: cart_updated", "waits for what begins it"),
        (TRIGGER, "trigger: cart_updated", "acts on `cart_updated` and waits after it"),
        ("within: 30m", "within: 30m\n  sources: [till]", "whose lag nobody knows"),
    ],
)
def test_absences_that_cannot_be_meant_do_not_load(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """The file and line are named."""
    with (
        pytest.raises(ConfigurationError, match=said) as error,
        open_shop(tmp_path / "w", changes={FILE: (old, new)}),
    ):
        pass
    assert str(error.value).startswith(f"{FILE}:")


def test_a_journey_begins_with_something(tmp_path: Path) -> None:
    """Neither an event nor an absence: it would never begin."""
    with (
        pytest.raises(ConfigurationError, match="has no `trigger`"),
        open_shop(tmp_path / "w", changes={"journeys/welcome.yaml": ("trigger: signed_up\n", "")}),
    ):
        pass


def fill(shop: Shop, count: int) -> None:
    """As many pending timers of others, past the program: to write them as it does takes hours."""
    connection: sqlite3.Connection = shop.database._driver.connection
    (mine,) = [one for one in shop.rows("timers") if one["state"] == "pending"]
    made = {
        **{name: repr(value) for name, value in mine.items() if isinstance(value, str | int)},
        "timer_id": "'t-' || n",
        "decision_id": "'d-' || n",
        "profile_id": "'p-' || (n % 1000000)",
        "due_at": f"{mine['due_at']} + 3600000000 + n",
        "watch_at": f"{mine['watch_at']} + 3600000000 + n",
        "sealed": "x'00'",
    }
    connection.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        f"INSERT INTO timers ({', '.join(made)}) SELECT {', '.join(made.values())} FROM numbers",
        [count],
    )


def shortest(shop: Shop) -> float:
    """Seconds that it takes to find the next timer and what is due, at best."""
    times = []
    for _ in range(50):
        began = perf_counter()
        next_due(shop.database)
        due(shop.deps, at("2026-10-05T10:20:00Z"), 8)
        times.append(perf_counter() - began)
    return min(times)


@pytest.mark.soakable
def test_millions_of_pending_timers_do_not_slow_the_next_one(tmp_path: Path) -> None:
    """The next one is found by an index, and only as many rows are read as are asked for."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    with open_shop(tmp_path / "w", store=store, changes=ALSO_TILL) as shop:
        shop.run(YES, updated("2026-10-05T10:00:00Z"))
        first = shortest(shop)
        fill(shop, COUNT)
        assert shortest(shop) < 3 * first + 0.001
        (found,) = due(shop.deps, at("2026-10-05T11:30:00Z"), 8)
        assert found.asked.journey == "abandoned_cart"
        lines = shop.run(order("2026-10-05T10:40:00Z", "c-9"))
        assert absences(lines) == [("10:40:00", "permitted", "remind_by_email", None)]
        assert sum(one == "pending" for (one,) in shop.database.rows(_STATES)) == COUNT


async def fire(shop: Shop) -> None:
    """Ask about all that is due, as one of several who do."""
    decide = through_steps(shop.deps)
    while arrivals := due(shop.deps, at("2026-10-05T11:00:00Z"), 8):
        await decide(arrivals)


@pytest.mark.soakable
def test_timers_fire_once_where_several_fire_them(tmp_path: Path, store: str) -> None:
    """Four threads ask about the same timers, and a fifth tells of purchases meanwhile."""
    people = 240 if SOAK else 24
    with open_shop(tmp_path / "w", store=store) as shop:
        for n in range(people):
            mail = {"email": f"c{n}@shop.example"}
            shop.run(
                consent("granted", "2026-10-05T08:00:00Z", f"c-{n}", **mail),
                updated("2026-10-05T10:00:00Z", f"c-{n}"),
            )
        late = [
            Arrival(event, at("2026-10-05T11:00:00Z"))
            for n in range(0, people, 2)
            for event in shop.read(order("2026-10-05T10:40:00Z", f"c-{n}"))
        ]
        together = Barrier(5)

        def run(part: int) -> None:
            together.wait()
            asyncio.run(each_alone(shop, late) if part == 0 else fire(shop))

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(run, range(5)))
        asyncio.run(fire(shop))
        shop.deps.commit([])
        verify(shop.database)
        fired = [one for one in shop.rows("decisions") if one["pass_kind"] == "absence"]
        assert len(fired) == len({one["parent_id"] for one in fired}) == people
        assert {one["state"] for one in shop.rows("timers")} == {"done"}
        sent = [one for one in fired if one["verdict"] == "permitted"]
        assert len(shop.sent("email")) == len(sent) >= people // 2
        of_person = {one["profile_id"] for one in sent}
        assert len(of_person) == len(sent)
