"""Caps hold when many events meet: tasks and threads of one process, and killed workers."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from agents.reconsider import recompute
from agents.supervisor import through_graph
from profiles.arrivals import Arrival
from service.settings import make_workspace
from store.work import Work
from tests.shop import Shop, at, cart, consent, open_shop
from tests.stores import Schema
from traces.ledger import verify

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
TRIALS = 20 if SOAK else 1
PEOPLE = 40 if SOAK else 8
PAIRS = 20 if SOAK else 4
ROOT = Path(__file__).resolve().parents[2]
WORKERS = 4
NOON = "2026-10-05T12:00:00Z"
CAP = """
frequency_caps:
  - id: the-cap
    limit: {limit}
    window: 24h
    per: {per}
    purposes: [marketing]
    channels: [email]
"""


@dataclass(frozen=True, slots=True)
class Crowd:
    """People, the events that come in at one instant, and how many contacts a cap allows."""

    consents: tuple[dict[str, Any], ...]
    events: tuple[dict[str, Any], ...]
    cap: str
    allowed: int

    def workspace(self, folder: Path) -> Path:
        """The starter's shop with that one cap, where the trait `home` names a household."""
        for _ in make_workspace(folder):
            pass
        (folder / "policies" / "contact.yaml").write_text(self.cap)
        settings = folder / "settings.toml"
        logouts = 'logouts = ["logged_out"]'
        assert logouts in settings.read_text()
        settings.write_text(settings.read_text().replace(logouts, f'{logouts}\nhousehold = "home"'))
        return folder


def crowd(
    addresses: dict[str, str],
    events: int,
    cap: str,
    allowed: int,
    homes: Mapping[str, str] | None = None,
) -> Crowd:
    """Everybody agreed at an address; then each leaves that many carts at noon, in rounds."""
    agreed = (
        consent(
            "granted",
            "2026-10-05T08:00:00Z",
            user,
            email=address,
            traits={"home": homes[user]} if homes else {},
        )
        for user, address in addresses.items()
    )
    left = (
        cart(NOON, user, cart_id=f"k-{n}", id=f"{user}-{n}")
        for n in range(events)
        for user in addresses
    )
    return Crowd(tuple(agreed), tuple(left), cap, allowed)


def persons(people: int, events: int) -> Crowd:
    """Everybody with an address of their own, three contacts a day."""
    addresses = {f"c-{n}": f"c{n}@shop.example" for n in range(people)}
    return crowd(addresses, events, CAP.format(limit=3, per="person"), 3 * people)


def pairs(count: int, events: int) -> Crowd:
    """Two people to an address, one contact a day at each address."""
    addresses = {f"{side}-{n}": f"pair{n}@shop.example" for n in range(count) for side in "ab"}
    return crowd(addresses, events // 2, CAP.format(limit=1, per="contact_point"), count)


def households(count: int, events: int) -> Crowd:
    """Two people with an address each to a household, one contact a day in each household."""
    addresses = {f"{side}-{n}": f"{side}{n}@shop.example" for n in range(count) for side in "ab"}
    homes = {user: f"home-{user[2:]}" for user in addresses}
    cap = CAP.format(limit=1, per="household")
    return crowd(addresses, events // 2, cap, count, homes)


CROWDS: dict[str, Callable[[], Crowd]] = {
    "people x 8, cap 3": lambda: persons(PEOPLE, 8),
    "pairs x 8, cap 1 an address": lambda: pairs(PAIRS, 8),
    "pairs x 8, cap 1 a household": lambda: households(PAIRS, 8),
}


def arrivals(shop: Shop, events: Iterable[dict[str, Any]]) -> list[Arrival]:
    """Events as they reach the supervisor."""
    read = [shop._read(json.dumps(said).encode(), "crowd")[0] for said in events]
    return [Arrival(event, at(NOON)) for event in read]  # type: ignore[arg-type]


async def each_alone(shop: Shop, asked: Sequence[Arrival]) -> None:
    """One invocation of the graph for each, all under way at once."""
    decide = through_graph(shop.deps)
    await asyncio.gather(*(decide([arrival]) for arrival in asked))


def in_tasks(shop: Shop, asked: Sequence[Arrival]) -> None:
    """Every event is a task of one event loop."""
    asyncio.run(each_alone(shop, asked))


def in_threads(shop: Shop, asked: Sequence[Arrival]) -> None:
    """Eight threads with an event loop each begin together; every person is met in all of them."""
    together, size = Barrier(8), len(asked) // 8  # they come in rounds: a share is of everybody

    def run(part: int) -> None:
        together.wait()
        asyncio.run(each_alone(shop, asked[part * size : (part + 1) * size]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))


def never_swapped(shop: Shop) -> None:
    """Take the compare out of the compare-and-swap: check, then act, as others do."""
    commit = shop.database.commit

    def careless(works: Sequence[Work]) -> list[bool]:
        for work in works:
            work.asserts.clear()
        return commit(works)

    shop.database.commit = careless  # type: ignore[method-assign]


def counted(shop: Shop) -> int:
    """Contacts made, which the messages that left bear out."""
    shop.deps.commit([])
    made = [c for c in shop.rows("contacts") if c["channel"] == "email" and c["counted"]]
    kept = [c for c in made if c["state"] in ("committed", "reserved", "unknown")]
    assert len(kept) == len(shop.sent("email"))
    return len(kept)


@pytest.mark.soakable
@pytest.mark.parametrize("of", CROWDS)
@pytest.mark.parametrize("at_once", [in_tasks, in_threads])
def test_concurrent_events_never_overshoot_a_cap(
    tmp_path: Path, of: str, at_once: Callable[[Shop, Sequence[Arrival]], None]
) -> None:
    """As many contacts as are allowed, and not one more, however many events meet."""
    meeting = CROWDS[of]()
    for trial in range(TRIALS):
        folder = tmp_path / f"{trial}"
        with open_shop(meeting.workspace(folder), store=None) as shop:
            shop.run(*meeting.consents)
            at_once(shop, arrivals(shop, meeting.events))
            assert counted(shop) == meeting.allowed
            decided = [d for d in shop.rows("decisions") if d["event"] == "cart_abandoned"]
            assert len(decided) == len(meeting.events)
            verify(shop.database)


@pytest.mark.parametrize("of", CROWDS)
def test_check_then_act_overshoots(tmp_path: Path, of: str) -> None:
    """The same events without the compare-and-swap go over the cap: the proof above can fail."""
    meeting = CROWDS[of]()
    with open_shop(meeting.workspace(tmp_path / "w"), store=None) as shop:
        shop.run(*meeting.consents)
        never_swapped(shop)
        in_tasks(shop, arrivals(shop, meeting.events))
        assert len(shop.sent("email")) > meeting.allowed


def test_tasks_that_meet_the_same_stranger_agree_on_a_key(tmp_path: Path) -> None:
    """Whoever keeps a new person first, everything kept of that person can be read again."""
    meeting = persons(6, 8)
    with open_shop(meeting.workspace(tmp_path / "w"), store=None) as shop:
        in_tasks(shop, arrivals(shop, meeting.events))
        shop.deps.commit([])
        again = recompute(shop.database, lambda _: shop.assembly.workspace, shop.deps.mind)
        assert (again.same, again.erased, again.different) == (48, 0, ())


def test_nobody_is_refused_for_what_others_got(tmp_path: Path) -> None:
    """A cap is a person's own: whoever was not contacted yet is, whoever else was."""
    meeting = persons(5, 1)
    with open_shop(meeting.workspace(tmp_path / "w")) as shop:
        shop.run(*meeting.consents)
        assert [line["verdict"] for line in shop.run(*meeting.events)] == ["permitted"] * 5


def test_an_opt_out_and_a_message_of_one_instant_have_one_order(tmp_path: Path) -> None:
    """Whoever says no while a message is decided gets it before the no was kept, or never."""
    meeting = persons(24, 1)
    noes = [
        consent("denied", NOON, f"c-{n}", id=f"no-{n}", email=f"c-{n}@shop.example")
        for n in range(24)
    ]
    chance = random.Random(11)
    mixed = [*meeting.events, *noes]
    chance.shuffle(mixed)
    with open_shop(meeting.workspace(tmp_path / "w"), store=None) as shop:
        shop.run(*meeting.consents)
        in_tasks(shop, arrivals(shop, mixed))
        shop.deps.commit([])
        said_no = {c["profile_id"]: c["n"] for c in shop.rows("consents") if c["kind"] == "denial"}
        sent = {
            d["profile_id"]: d["n"]
            for d in shop.rows("decisions")
            if d["event"] == "cart_abandoned"
            and d["channel"] == "email"
            and d["verdict"] == "permitted"
        }
        assert len(said_no) == 24
        assert all(n < said_no[person] for person, n in sent.items())
        assert len(shop.sent("email")) == len(sent)


WORKER = """
import asyncio, json, sys
from pathlib import Path
from agents.reconsider import recompute
from agents.supervisor import through_graph
from service.assemble import assemble
from service.running import Run
from tests.shop import Shop
folder, store, events = sys.argv[1:4]
assembly = assemble(Path(folder), store)
shop = Shop(assembly, graph=True)
print("ready", flush=True)
sys.stdin.readline()
items = []
for number, line in enumerate(Path(events).read_text().splitlines()):
    items += shop._read(line.encode(), f"events:{number}")
def emit(line):
    print(line.verdict, flush=True)
asyncio.run(Run(assembly, shop._decide, emit).over(items))
assembly.close()
"""


def begun(folder: Path, schema: Schema, events: Path) -> subprocess.Popen[str]:
    """A worker that has everything loaded and waits for the word."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), schema.url, str(events)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready == "ready\n", process.communicate()
    return process


@pytest.mark.soakable
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("of", CROWDS)
@pytest.mark.parametrize("killed", [0, 2] if SOAK else [2])
def test_processes_never_overshoot_a_cap(
    tmp_path: Path, schema: Schema, of: str, killed: int
) -> None:
    """Four processes on one store, some killed at any instant, make the allowed contacts only."""
    meeting, chance = CROWDS[of](), random.Random(20261005 + killed)
    files = []
    for part in range(WORKERS):
        # Every worker meets every person, in the same order, so that they collide.
        rounds = enumerate(meeting.events)
        mine = [one for n, one in rounds if n // len(meeting.consents) % WORKERS == part]
        files.append(tmp_path / f"events-{part}.jsonl")
        files[-1].write_text("".join(json.dumps(said) + "\n" for said in mine))
    for trial in range(TRIALS):
        schema.empty()
        folder = tmp_path / f"w{trial}"
        with open_shop(meeting.workspace(folder), store=schema.url) as shop:
            shop.run(*meeting.consents)
        workers = [begun(folder, schema, events) for events in files]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victims = workers[:killed]
        for victim in victims:
            assert victim.stdout is not None
            for _ in range(chance.randrange(1, 40)):
                victim.stdout.readline()
            victim.send_signal(signal.SIGKILL)
        for worker in workers:
            _, err = worker.communicate(timeout=300)
            assert worker in victims or worker.returncode == 0, err
        with open_shop(folder, store=schema.url) as shop:
            shop.run(*meeting.events)  # what the killed ones had not decided
            made = Counter(c["state"] for c in shop.rows("contacts") if c["counted"])
            assert made["committed"] == len(shop.sent("email")) == meeting.allowed, made
            assert set(made) <= {"committed", "released"}
            verify(shop.database)
