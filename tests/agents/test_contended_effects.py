"""What was reserved and did not come about is given back once, however many come at once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents import approvals
from agents.supervisor import through_graph
from profiles.arrivals import Arrival
from profiles.cancelling import IN_FLIGHT
from service.running import Run
from tests.agents.test_contention import arrivals, begun, in_tasks, in_threads, persons
from tests.shop import Shop, at, consent, open_shop, row
from tests.stores import Schema
from tools.toolbox import Intent, Outcome
from traces.ledger import verify

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
TRIALS = 20 if SOAK else 1
PEOPLE = 40 if SOAK else 8
WORKERS = 4
BEFORE, NOW = "2026-10-05T17:14:59Z", "2026-10-05T17:15:00Z"
FAILS = 3


def names(count: int) -> list[str]:
    """People, each with an address of the same name."""
    return [f"c-{n}" for n in range(count)]


def ask_all(shop: Shop, people: Iterable[str]) -> dict[str, str]:
    """A voucher for everybody that waits for a yes; returns who is which profile."""
    profiles = {}
    for user in people:
        mail = f"{user}@shop.example"
        *_, line = shop.run(
            consent("granted", "2026-10-05T09:00:00Z", user, email=mail),
            row("self_service_failed", "2026-10-05T09:10:00Z", user, topic="returns"),
            row("contact_opened", "2026-10-05T17:00:00Z", user, topic="returns"),
        )
        assert line["held_for"] == "approval"
        profiles[line["profile_id"]] = user
    return profiles


def waiting(shop: Shop) -> list[str]:
    """The ids of the requests that wait for a yes."""
    return [asked.approval_id for asked in approvals.pending(shop.database, at(NOW))]


def noes(people: Iterable[str], when: str = NOW) -> list[dict[str, Any]]:
    """Everybody says no to messages at their address."""
    return [
        consent("denied", when, user, contact_point=f"{user}@shop.example", id=f"no-{user}")
        for user in people
    ]


async def woken(shop: Shop) -> None:
    """Ask again about all that is due."""
    await Run(shop.assembly, through_graph(shop.deps), lambda line: None).wake(at(NOW))


class Meanwhile(ABC):
    """People who say no while a step towards them is under way: before it, beside it, after it."""

    def __init__(self, shop: Shop, profiles: Mapping[str, str], chance: random.Random) -> None:
        self._decide = through_graph(shop.deps)
        asked = arrivals(shop, noes(profiles.values()))
        self._silent = dict(zip(profiles, asked, strict=True))
        self._chance = chance
        self._execute = shop.deps.toolbox.execute
        shop.deps.toolbox.execute = self._later  # type: ignore[method-assign]

    @abstractmethod
    def say(self, arrival: Arrival) -> Awaitable[object]:
        """Begin to say it; awaited, it has been said."""

    async def _said(self, arrival: Arrival) -> None:
        await self._decide([arrival])

    def _maybe(self, profile_id: str) -> Awaitable[object] | None:
        if profile_id in self._silent and self._chance.random() < 0.4:
            return self.say(self._silent.pop(profile_id))
        return None

    async def _later(self, intent: Intent, work: Any) -> Outcome:
        saying = self._maybe(intent.profile_id)
        if saying is not None and self._chance.random() < 0.5:
            await saying
        outcome = await self._execute(intent, work)
        said = self._maybe(intent.profile_id)
        if said is not None:
            await said
        return outcome

    async def rest(self) -> None:
        """Whoever has said nothing yet does now."""
        while self._silent:
            await self.say(self._silent.popitem()[1])


class InTasks(Meanwhile):
    """They say so to the same event loop."""

    def say(self, arrival: Arrival) -> Awaitable[object]:
        return asyncio.ensure_future(self._said(arrival))


class InThreads(Meanwhile):
    """They say so to another thread."""

    def say(self, arrival: Arrival) -> Awaitable[object]:
        return asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(self._said(arrival))))


def settled(shop: Shop, people: int) -> tuple[int, int]:
    """Everything kept about the vouchers agrees; returns how many were given, and not given."""
    shop.deps.commit([])
    steps = [one for one in shop.rows("outbox") if one["tool"] in ("offer", "message")]
    of_vouchers = {one["decision_id"] for one in steps if one["tool"] == "offer"}
    told = [one for one in steps if one["tool"] == "message" and one["decision_id"] in of_vouchers]
    given = {grant["profile_id"] for grant in shop.rows("grants") if grant["state"] == "granted"}
    sent = {one["profile_id"]: one for one in told if one["state"] == "sent"}
    assert {one["state"] for one in told} <= {"sent", "cancelled"}
    assert set(sent) == given  # never a voucher that nobody is told of, nor the other way round
    assert len(shop.sent("email")) == len(sent)
    taken = [c["amount"] for c in shop.rows("counters") if c["key"].endswith("voucher_25")]
    assert sum(taken) == len(given)  # what was given back was given back once
    contacts = Counter(c["state"] for c in shop.rows("contacts") if c["channel"] == "email")
    assert contacts["committed"] == len(given)
    assert set(contacts) <= {"committed", "released"}
    said_no = {c["profile_id"]: c["n"] for c in shop.rows("consents") if c["kind"] == "denial"}
    assert len(said_no) == people
    ends = {o["outbox_id"]: o["n"] for o in shop.rows("outcomes") if o["state"] == "sent"}
    for person, step in sent.items():
        late = ends[step["outbox_id"]] > said_no[person]
        assert not late or step["flag"] == IN_FLIGHT
    assert not approvals.pending(shop.database, at(NOW))
    verify(shop.database)
    return len(given), people - len(given)


@pytest.mark.soakable
@pytest.mark.parametrize("who", [InTasks, InThreads])
def test_an_opt_out_between_permit_and_dispatch_sends_nothing(
    tmp_path: Path, who: type[Meanwhile]
) -> None:
    """While vouchers are granted everybody says no: each is given and told, or neither."""
    ended: Counter[str] = Counter()
    for trial in range(TRIALS):
        with open_shop(tmp_path / f"{trial}", store=None) as shop:
            profiles = ask_all(shop, names(PEOPLE))
            for approval_id in waiting(shop):
                shop.vote(approval_id, "approve", NOW)
            meanwhile = who(shop, profiles, random.Random(trial))

            async def all_of_it(shop: Shop = shop, meanwhile: Meanwhile = meanwhile) -> None:
                await woken(shop)
                await meanwhile.rest()

            asyncio.run(all_of_it())
            shop.wake("2026-10-05T17:16:00Z")
            given, not_given = settled(shop, PEOPLE)
            ended.update(given=given, not_given=not_given)
    assert ended["given"]
    assert ended["not_given"]


@pytest.mark.soakable
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("killed", [0, 2] if SOAK else [2])
def test_an_opt_out_between_permit_and_dispatch_among_processes(
    tmp_path: Path, schema: Schema, killed: int
) -> None:
    """Four processes grant vouchers and hear noes, some killed at any instant: nothing differs."""
    chance = random.Random(20261005 + killed)
    everybody, ended = noes(names(PEOPLE), BEFORE), Counter[str]()
    for trial in range(TRIALS):
        schema.empty()
        folder = tmp_path / f"w{trial}"
        with open_shop(folder, store=schema.url) as shop:
            ask_all(shop, names(PEOPLE))
            for approval_id in waiting(shop):
                shop.vote(approval_id, "approve", NOW)
        chance.shuffle(everybody)
        files = []
        # Two grant vouchers, since for them it is time; to the other two everybody says no, sooner
        # or later.
        page = [row("page_viewed", NOW, "nobody")]
        first = [row("page_viewed", BEFORE, f"n-{n}") for n in range(chance.randrange(PEOPLE))]
        silent = (page, page, [*first, *everybody[::2]], [*first, *everybody[1::2]])
        for part, lines in enumerate(silent):
            files.append(tmp_path / f"events-{trial}-{part}.jsonl")
            files[-1].write_text("".join(json.dumps(one) + "\n" for one in lines))
        workers = [begun(folder, schema, events) for events in files]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victims = workers[::2][:killed]
        for victim in victims:
            assert victim.stdout is not None
            for _ in range(chance.randrange(PEOPLE // 2)):
                victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
        for worker in workers:
            _, err = worker.communicate(timeout=300)
            assert worker in victims or worker.returncode == 0, err
        with open_shop(folder, store=schema.url) as shop:
            shop.run(*everybody)  # what the killed ones had not heard
            shop.wake("2026-10-05T17:16:00Z")
            given, not_given = settled(shop, PEOPLE)
            ended.update(given=given, not_given=not_given)
    assert not SOAK or (ended["given"] and ended["not_given"])


def failing(shop: Shop) -> Counter[str]:
    """Have a provider refuse the first messages to each person; returns how many it refused."""
    execute, refused = shop.deps.toolbox.execute, Counter[str]()

    async def refuse(intent: Intent, work: Any) -> Outcome:
        await asyncio.sleep(0)
        if intent.channel == "email" and refused[intent.profile_id] < FAILS:
            refused[intent.profile_id] += 1
            return Outcome("failed", "refused by the provider")
        return await execute(intent, work)

    shop.deps.toolbox.execute = refuse  # type: ignore[method-assign]
    return refused


@pytest.mark.soakable
@pytest.mark.parametrize("at_once", [in_tasks, in_threads])
def test_a_message_that_fails_burns_no_cap(
    tmp_path: Path, at_once: Callable[[Shop, Sequence[Arrival]], None]
) -> None:
    """However many fail while others come, everybody gets what the cap allows, and no more."""
    for trial in range(TRIALS):
        meeting = persons(PEOPLE, 8)
        with open_shop(meeting.workspace(tmp_path / f"{trial}"), store=None) as shop:
            shop.run(*meeting.consents)
            refused = failing(shop)
            at_once(shop, arrivals(shop, meeting.events))
            # Those refused for the cap while a message that then failed was under way had no
            # other event: more carts, until nothing is left to fail.
            for again in range(FAILS):
                more = [one | {"id": f"{one['id']}-{again}"} for one in meeting.events]
                at_once(shop, arrivals(shop, more))
            shop.deps.commit([])
            assert set(refused.values()) == {FAILS}
            states = Counter(c["state"] for c in shop.rows("contacts") if c["channel"] == "email")
            assert states == {"failed": FAILS * PEOPLE, "committed": meeting.allowed}
            assert len(shop.sent("email")) == meeting.allowed
            verify(shop.database)


@pytest.mark.soakable
def test_a_rejected_request_burns_no_cap_and_gives_back_once(tmp_path: Path) -> None:
    """Two reject each voucher at the same time while passes run: stock and slot are free, once."""
    for trial in range(TRIALS):
        with open_shop(tmp_path / f"{trial}", store=None) as shop:
            ask_all(shop, names(PEOPLE))
            asked = waiting(shop)
            assert len(asked) == PEOPLE

            def reject(approval_id: str, shop: Shop = shop) -> None:
                shop.vote(approval_id, "reject", NOW)
                asyncio.run(woken(shop))

            with ThreadPoolExecutor(8) as pool:
                done = [pool.submit(reject, one) for one in (*asked, *asked)]
                failed = [type(one.exception()).__name__ for one in done if one.exception()]
            assert failed == ["UsageError"] * PEOPLE  # the second click is told that it is over
            shop.wake("2026-10-05T17:16:00Z")
            shop.deps.commit([])
            stock = [c["amount"] for c in shop.rows("counters") if c["key"].endswith("voucher_25")]
            assert stock == [0]
            assert {c["state"] for c in shop.rows("contacts")} == {"released"}
            assert [a["state"] for a in shop.rows("approvals")] == ["rejected"] * PEOPLE
            assert shop.sent("email") == []
            verify(shop.database)
