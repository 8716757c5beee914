"""Stock is conserved and never oversold: whatever happens in whatever order, and at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agents import approvals, grants
from domain.errors import UsageError
from profiles.arrivals import Arrival
from profiles.views import find_root
from service.assemble import make_identity
from service.settings import make_workspace
from tests.agents.test_contention import (
    NOON,
    arrivals,
    begun,
    each_alone,
    in_tasks,
    in_threads,
    never_swapped,
)
from tests.service.test_interruption import Crash, crash_at
from tests.shop import Shop, at, cart, consent, open_shop, row
from tests.stores import Schema
from traces.ledger import verify

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
TRIALS = 20 if SOAK else 1
PEOPLE = 64 if SOAK else 24
STOCK = 10
SOON = "2026-10-05T12:00:10Z"
TAKES = ("reserved", "granted", "redeemed")
OFFERS = """
offers:
  voucher_5:
    title: "5 EUR voucher"
    worth: "5.00 EUR"
    stock: {stock}
    {more}
  voucher_25:
    title: "25 EUR voucher"
    worth: "25.00 EUR"
    stock: 2
    expires_after: 3h
"""


def workspace(folder: Path, stock: int = STOCK, more: str = "expires_after: 2h") -> Path:
    """A shop that welcomes with a voucher and gives one with every cart, and counts no contacts."""
    for _ in make_workspace(folder):
        pass
    (folder / "offers.yaml").write_text(OFFERS.format(stock=stock, more=more))
    (folder / "policies" / "contact.yaml").write_text("frequency_caps: []\n")
    for name, old, new in (
        ("journeys/welcome.yaml", "holdout: 0.1", "holdout: 0"),
        (
            "actions.yaml",
            "    propensity: 0.42\n    value: 18",
            "    propensity: 0.9\n    value: 90",
        ),
        ("actions.yaml", "    propensity: 0.31\n", "    propensity: 0.31\n    offer: voucher_5\n"),
    ):
        text = (folder / name).read_text()
        assert old in text, (name, old)
        (folder / name).write_text(text.replace(old, new))
    return folder


def said_yes(user: str, when: str = "2026-10-05T08:00:00Z") -> dict[str, Any]:
    return consent("granted", when, user, email=f"{user}@shop.example")


def conserved(shop: Shop) -> dict[str, Counter[str]]:
    """All that is kept about stock adds up; by offer, how many grants are in each state."""
    found: dict[str, Counter[str]] = {}
    counters = {c["key"].rpartition(":")[2]: c["amount"] for c in shop.rows("counters")}
    rows = [one for one in shop.rows("grants") if one["state"] != "released"]
    for name, offer in shop.deps.workspace.offers.items():
        of = [one for one in rows if one["offer"] == name]
        states = found[name] = Counter(one["state"] for one in of)
        returned = sum(one["returned"] for one in of)
        left = offer.stock - counters.get(name, 0)
        granted = len(of) - states["reserved"]
        assert granted + states["reserved"] + left == offer.stock + returned
        assert 0 <= left <= offer.stock
        assert not any(one["returned"] and one["state"] in TAKES for one in of)
    steps = {s["outbox_id"]: s["state"] for s in shop.rows("outbox") if s["tool"] == "offer"}
    told = Counter((o["outbox_id"], o["state"]) for o in shop.rows("outcomes"))
    for one in rows:
        step = one["grant_id"].removeprefix("g-")
        if one["state"] != "reserved":
            assert steps[step] == "sent"
        if one["state"] not in ("reserved", "granted"):
            assert told[step, one["state"]] == 1  # it ended once, in one way
            assert sum(told[step, end] for end in ("redeemed", "expired", "revoked")) == 1
    verify(shop.database)
    return found


# In any order, with crashes


class Story:
    """A shop to which anything may happen; it is looked at after each thing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = at("2026-10-05T09:00:00Z")
        self.people = 0
        self.seen: Counter[str] = Counter()
        self._open()

    def _open(self) -> None:
        self._opened = open_shop(self.folder, store=None)
        self.shop = self._opened.__enter__()

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    def tell(self, does: tuple[Any, ...]) -> None:
        """Let one thing happen, and see that everything adds up."""
        self.now += timedelta(minutes=1)
        what, *more = does
        getattr(self, what)(*more)
        for name, states in conserved(self.shop).items():
            self.seen.update(f"{name} {state}" for state in states)

    def stamp(self) -> str:
        return self.now.isoformat().replace("+00:00", "Z")

    def welcome(self) -> None:
        """Somebody new signs up, and is granted a voucher if there is one."""
        self.people += 1
        user = f"u-{self.people}"
        self.shop.run(said_yes(user, self.stamp()), row("signed_up", self.stamp(), user))

    def apologise(self) -> None:
        """Somebody new fails twice: a large voucher waits for a yes."""
        self.people += 1
        user, when = f"u-{self.people}", self.stamp()
        self.shop.run(
            said_yes(user, when),
            row("self_service_failed", when, user, topic="returns"),
            row("contact_opened", when, user, topic="returns"),
        )

    def vote(self, says: approvals.Says, n: int) -> None:
        """Somebody says yes or no to what waits."""
        waiting = approvals.pending(self.shop.database, self.now)
        if waiting:
            self.shop.vote(waiting[n % len(waiting)].approval_id, says, self.stamp())
        self.shop.wake(self.stamp())

    def redeem(self, n: int) -> None:
        """Somebody uses what they hold, or what they do not hold any more."""
        found = grants.grants(self.shop.database)
        if not found:
            return
        grant = found[n % len(found)]
        who = self._user(grant.profile_id)
        said = row("offer_redeemed", self.stamp(), who, grant=grant.grant_id)
        self.shop.run(said, {**said, "id": f"again-{said['id']}"})

    def _user(self, profile_id: str) -> str:
        """By what name somebody is known; whoever was to come when the process died may not be."""
        loaded, vault = self.shop.deps.workspace, self.shop.database.vault
        identity, region = make_identity(loaded), loaded.input.region
        with self.shop.database.read() as snapshot:
            for n in range(self.people, 0, -1):
                with suppress(UsageError):
                    if find_root(snapshot, vault, f"user_id:u-{n}", region, identity) == profile_id:
                        return f"u-{n}"
        raise AssertionError(profile_id)

    def revoke(self, n: int) -> None:
        """A colleague takes something back, if it can be."""
        found = grants.grants(self.shop.database)
        if not found:
            return
        grant = found[n % len(found)]
        try:
            grants.revoke(self.shop.deps, grant.grant_id, by="ana", reason="", at=self.now)
        except UsageError:
            assert not grant.stands(self.now)

    def wait(self, minutes: int) -> None:
        """Time passes."""
        self.now += timedelta(minutes=minutes)
        self.shop.wake(self.stamp())

    def crash(self, where: str, nth: int, does: tuple[Any, ...]) -> None:
        """The process dies around one of its commits or steps, and another one takes over."""
        crash_at(self.shop, nth, where)
        what, *more = does
        try:
            getattr(self, what)(*more)
        except Crash:
            self.seen["crash"] += 1
        self.shop.deps.pending.clear()  # what was not written is lost
        for patched, name in ((self.shop.database, "commit"), (self.shop.deps.toolbox, "execute")):
            vars(patched).pop(name, None)
        self.close()
        self._open()
        self.shop.wake(self.stamp())


_N = st.integers(0, 30)
_THINGS = st.one_of(
    st.just(("welcome",)),
    st.just(("welcome",)),
    st.just(("apologise",)),
    st.tuples(st.just("vote"), st.sampled_from(["approve", "approve", "reject"]), _N),
    st.tuples(st.just("redeem"), _N),
    st.tuples(st.just("revoke"), _N),
    st.tuples(st.just("wait"), st.sampled_from([5, 60, 130])),
)
_CRASHES = st.tuples(
    st.just("crash"),
    st.sampled_from(["before commit", "after commit", "before step", "after step"]),
    st.integers(1, 4),
    _THINGS,
)


@pytest.mark.soakable
@pytest.mark.timeout(1800)
def test_stock_is_conserved_in_any_order_and_through_crashes() -> None:
    """What is granted, reserved and left is the stock and what came back, after every step."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=300 if SOAK else 30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # an example takes seconds: it is not made smaller
    )
    @given(
        st.booleans(),
        st.lists(st.one_of(_THINGS, _THINGS, _THINGS, _CRASHES), min_size=8, max_size=20),
    )
    def told(returns: bool, things: list[tuple[Any, ...]]) -> None:
        with TemporaryDirectory() as home:
            more = f"expires_after: 2h\n    returns: {str(returns).lower()}"
            story = Story(workspace(Path(home) / "w", 3, more))
            try:
                for thing in things:
                    story.tell(thing)
            finally:
                story.close()
            seen.update(story.seen)

    told()
    for state in ("granted", "redeemed", "expired", "revoked"):
        assert seen[f"voucher_5 {state}"], seen
    assert seen["voucher_25 reserved"]
    assert seen["crash"]


# At once


def signed_up(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Many who agreed, and the events of one instant by which all of them are welcomed."""
    people = [f"c-{n}" for n in range(count)]
    return [said_yes(user) for user in people], [row("signed_up", NOON, user) for user in people]


@pytest.mark.soakable
@pytest.mark.parametrize("at_once", [in_tasks, in_threads])
def test_as_many_are_granted_as_there_are(
    tmp_path: Path, at_once: Callable[[Shop, Sequence[Arrival]], None]
) -> None:
    """Not one more and not one less, however many ask at once."""
    for trial in range(TRIALS):
        with open_shop(workspace(tmp_path / f"{trial}"), store=None) as shop:
            agreed, events = signed_up(PEOPLE)
            shop.run(*agreed)
            at_once(shop, arrivals(shop, events))
            shop.deps.commit([])
            shop.wake(SOON)  # who was overtaken between grant and message is asked about again
            assert conserved(shop)["voucher_5"] == {"granted": STOCK}
            sent = [path.read_text() for path in shop.sent("email")]
            assert sum("5 EUR voucher" in text for text in sent) == STOCK


def test_check_then_act_oversells(tmp_path: Path) -> None:
    """The same without the compare-and-swap grants more than there are: the proof can fail."""
    with open_shop(workspace(tmp_path / "w"), store=None) as shop:
        agreed, events = signed_up(PEOPLE)
        shop.run(*agreed)
        never_swapped(shop)
        in_tasks(shop, arrivals(shop, events))
        shop.deps.commit([])
        assert len([one for one in shop.rows("grants") if one["state"] == "granted"]) > STOCK


@pytest.mark.soakable
@pytest.mark.parametrize("at_once", [in_tasks, in_threads])
@pytest.mark.parametrize(("rule", "allowed"), [("exclusive: [vouchers]", 1), ("per_person: 3", 3)])
def test_one_person_who_asks_often_at_once_gets_what_is_allowed(
    tmp_path: Path,
    rule: str,
    allowed: int,
    at_once: Callable[[Shop, Sequence[Arrival]], None],
) -> None:
    """A grant counts from its reservation on: two decisions at once never both pass."""
    for trial in range(TRIALS):
        folder = workspace(tmp_path / f"{trial}", 100, rule)
        with open_shop(folder, store=None) as shop:
            people = [f"c-{n}" for n in range(4)]
            shop.run(*map(said_yes, people))
            carts = [
                cart(NOON, user, cart_id=f"k-{n}", id=f"{user}-{n}")
                for n in range(8)
                for user in people
            ]
            at_once(shop, arrivals(shop, carts))
            shop.deps.commit([])
            assert max(_held(shop).values()) <= allowed
            shop.wake(SOON)
            conserved(shop)
            assert list(_held(shop).values()) == [allowed] * 4


def _held(shop: Shop) -> Counter[str]:
    """How many each person holds, or is about to."""
    kept = ("reserved", "granted")
    return Counter(one["profile_id"] for one in shop.rows("grants") if one["state"] in kept)


def taken_back(shop: Shop, grant_id: str) -> None:
    """Revoke a grant, unless somebody else was quicker to end it."""
    with suppress(UsageError):
        when = at("2026-10-05T13:59:59Z")
        grants.revoke(shop.deps, grant_id, by="ana", reason="", at=when)


def told_alone(shop: Shop, asked: Arrival) -> None:
    asyncio.run(each_alone(shop, [asked]))


@pytest.mark.soakable
def test_a_grant_ends_once_however_many_end_it(tmp_path: Path) -> None:
    """While it is used, taken back and expires in eight threads, one of them wins."""
    ended: Counter[str] = Counter()
    more = "expires_after: 2h\n    returns: true"
    for trial in range(max(TRIALS, 2)):
        with open_shop(workspace(tmp_path / f"{trial}", PEOPLE, more), store=None) as shop:
            agreed, events = signed_up(PEOPLE)
            shop.run(*agreed, *events)
            found = grants.grants(shop.database)
            assert len(found) == PEOPLE
            used = [
                row("offer_redeemed", "2026-10-05T13:59:59Z", f"c-{n}", offer="voucher_5")
                for n in range(PEOPLE)
            ]
            end, chance = at("2026-10-05T14:00:00Z"), random.Random(trial)

            tasks: list[Callable[[], object]] = [
                *(partial(taken_back, shop, one.grant_id) for one in found),
                *(partial(told_alone, shop, one) for one in arrivals(shop, used)),
                *[partial(grants.expire, shop.deps, end)] * 4,
            ]
            chance.shuffle(tasks)
            with ThreadPoolExecutor(8) as pool:
                for done in [pool.submit(task) for task in tasks]:
                    done.result()
            while grants.expire(shop.deps, end):
                pass
            shop.deps.commit([])
            states = conserved(shop)["voucher_5"]
            assert states.total() == PEOPLE
            assert not states["granted"]
            ended.update(states)
    assert len([state for state in ("redeemed", "revoked", "expired") if ended[state]]) >= 2


@pytest.mark.soakable
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("killed", [0, 2] if SOAK else [2])
def test_processes_never_oversell(tmp_path: Path, schema: Schema, killed: int) -> None:
    """Four processes on one store, some killed at any instant: stock holds, and each end is one."""
    chance = random.Random(20261005 + killed)
    agreed, events = signed_up(PEOPLE)
    used = [
        row("offer_redeemed", "2026-10-05T12:30:00Z", f"c-{n}", offer="voucher_5")
        for n in range(PEOPLE)
    ]
    files = []
    for part in range(4):
        mine = [*events[part::4], *chance.sample(used, len(used))]
        files.append(tmp_path / f"events-{part}.jsonl")
        files[-1].write_text("".join(json.dumps(said) + "\n" for said in mine))
    for trial in range(TRIALS):
        schema.empty()
        folder = workspace(tmp_path / f"w{trial}")
        with open_shop(folder, store=schema.url) as shop:
            shop.run(*agreed)
        workers = [begun(folder, schema, file) for file in files]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victims = workers[:killed]
        for victim in victims:
            assert victim.stdout is not None
            for _ in range(chance.randrange(1, PEOPLE // 2)):
                victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
        for worker in workers:
            _, err = worker.communicate(timeout=300)
            assert worker in victims or worker.returncode == 0, err
        with open_shop(folder, store=schema.url) as shop:
            shop.wake("2026-10-05T12:31:00Z")
            shop.run(*events, *used)  # what the killed ones had not decided
            shop.wake("2026-10-05T12:32:00Z")
            states = conserved(shop)["voucher_5"]
            assert set(states) <= {"granted", "redeemed"}
            assert states["redeemed"]
            assert states.total() == STOCK
            shop.wake("2026-10-05T15:00:00Z")
            after = conserved(shop)["voucher_5"]
            assert after == {"redeemed": states["redeemed"]} | (
                {"expired": states["granted"]} if states["granted"] else {}
            )


def test_a_catalogue_that_shrank_is_never_oversold(tmp_path: Path) -> None:
    """Less stock than is out: nothing more is granted, and nothing breaks."""
    folder = workspace(tmp_path / "w", 4)
    with open_shop(folder, store=None) as shop:
        agreed, events = signed_up(6)
        shop.run(*agreed, *events[:3])
    (folder / "offers.yaml").write_text(OFFERS.format(stock=2, more="expires_after: 2h"))
    with open_shop(folder, store=None) as shop:
        shop.run(*events[3:])
        assert len([one for one in shop.rows("grants") if one["state"] == "granted"]) == 3
