"""The whole guard and the reference side by side: events in, and both must say the same."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agents.reconsider import recompute
from agents.record import Record, read_record
from agents.thinking import think
from agents.workspace import load_workspace
from profiles.rulings import Registry
from service.assemble import assemble, make_identity
from store.work import Work
from tests.agents.reference import Ask, Block, Judgement, Reference, Said, Sent, World, span
from tests.agents.worlds import (
    ACTIONS,
    MAIL,
    PHONES,
    USERS,
    ZONES,
    files,
    shuffled,
    stricter,
    worlds,
)
from tests.shop import Shop, at
from tools.toolbox import Intent, Outcome
from traces.ledger import verify

TICK = timedelta(microseconds=1)
# The evening before a clock changes, a leap day, the end of a month, of a week and of a year.
STARTS = (
    "2026-03-28T18:00:00Z",
    "2026-03-07T20:00:00Z",
    "2026-10-24T20:00:00Z",
    "2026-10-31T20:00:00Z",
    "2026-04-04T08:00:00Z",
    "2028-02-28T20:00:00Z",
    "2026-05-31T12:00:00Z",
    "2026-12-31T18:00:00Z",
    "2026-06-13T09:00:00Z",
)
users = st.sampled_from(USERS)
asked = st.sampled_from(sorted(ACTIONS))
steps = st.sampled_from(
    [timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=7), timedelta(days=1)]
)


class Crash(BaseException):
    """The plug is pulled here."""


@dataclass(frozen=True)
class Waiting:
    """Something held: what is asked again, and when; `kind` is `time`, `human` or `retry`."""

    ask: Ask
    due: datetime
    until: datetime
    kind: str


class Both(RuleBasedStateMachine):
    """One world: a running shop, and the reference that is told the same.

    `seen` counts what happened over all runs, so that nobody takes silence for a proof.
    """

    seen: Counter[str] = Counter()
    thorough = True

    def __init__(self) -> None:
        super().__init__()
        # Here processes die, not machines: files in memory are as good, and need no waiting for.
        memory = Path("/dev/shm")
        where = memory if os.access(memory, os.W_OK) else None
        self.folder = TemporaryDirectory(prefix="safeconduct-", dir=where)
        self.shop: Shop | None = None
        self.number = 0
        self.waiting: dict[str, Waiting] = {}
        self.woken: set[datetime] = set()
        self.made: dict[str, tuple[Ask, Sent, set[str]]] = {}

    # The beginning and the end

    @initialize(
        world=worlds(),
        more=worlds(),
        start=st.sampled_from(STARTS),
        silent=st.sets(
            st.sampled_from([(u, p) for u in USERS for p in ("promo", "tips")]), max_size=2
        ),
        alike=st.booleans(),
        graph=st.sampled_from([False, False, False, True]),
    )
    def begin(
        self,
        world: World,
        more: World,
        start: str,
        silent: set[tuple[str, str]],
        alike: bool,
        graph: bool,
    ) -> None:
        """Three people, two of whom share an address; most have agreed to most things."""
        self.world, self.more, self.graph = world, more, graph
        place = Path(self.folder.name) / "w"
        for name, text in files(world).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        self.model = Reference(world)
        self.now = at(start) - timedelta(hours=2)
        self.open()
        homeless = any(cap.get("tz") == "person" for cap in world.caps)
        for user in USERS:
            traits = {"time_zone": ZONES[0]} if alike or (user == "u3" and homeless) else {}
            names = {"email": MAIL[user], "phone": PHONES[user]}
            for kind, address in names.items():
                if address is not None:
                    self.model.known.append((self.now, user, kind, address))
            for name, value in traits.items():
                self.model.traits.append((self.now, user, name, value))
            self.tell(
                "identified", user, None, traits=traits, **{k: v for k, v in names.items() if v}
            )
        for user in USERS:
            for purpose in ("promo", "tips", "orders"):
                if (user, purpose) not in silent:
                    for channel in ("email", "sms"):
                        self.say(user, "granted", purpose, channel)
        self.now = at(start)

    def open(self) -> None:
        """Open the store, as a new process would."""
        place = Path(self.folder.name)
        self.shop = Shop(assemble(place / "w", f"sqlite:///{place / 's.db'}"), graph=self.graph)

    def close(self) -> None:
        """End as a process does that is killed: what was only in memory is gone."""
        assert self.shop is not None
        self.shop.deps.pending.clear()
        self.shop.assembly.close()

    def teardown(self) -> None:
        """All that must be so in the end."""
        try:
            if self.shop is not None:
                self.close()
                self.open()
                self.come_to(self.now)
                self.check_ledger()
                self.check_caps()
                if self.thorough:
                    self.check_rules()
        finally:
            if self.shop is not None:
                self.shop.assembly.close()
            self.folder.cleanup()

    # What happens

    @rule(user=users, action=asked, after=steps)
    def ask(self, user: str, action: str, after: timedelta) -> None:
        """Something happens that is worth a message."""
        self.come_to(self.now + after)
        self.events([(user, action)])

    @rule(user=users, action=asked, times=st.integers(2, 4))
    def ask_often(self, user: str, action: str, times: int) -> None:
        """The same again and again, a minute apart."""
        for _ in range(times):
            self.come_to(self.now + timedelta(minutes=1))
            self.events([(user, action)])

    @rule(actions=st.tuples(asked, asked, asked))
    def ask_together(self, actions: tuple[str, ...]) -> None:
        """Something happens to everybody in one instant."""
        self.events(list(zip(USERS, actions, strict=True)))

    @rule(user=users, action=asked, which=st.integers(0, 9), off=st.sampled_from([-TICK, 0 * TICK]))
    def ask_at_an_edge(self, user: str, action: str, which: int, off: timedelta) -> None:
        """At the very instant at which something that is refused may be said, or just before."""
        said = self.model.judge(Ask(user, action), self.now)
        edges = set(self.model.ends(Ask(user, action), self.now))
        edges |= {said.next_at} if said.next_at else set()
        for zone in ZONES:
            day = self.now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
            midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
            edges.add(midnight.astimezone(UTC))
        ahead = sorted(one for one in edges if one > self.now + TICK)
        self.come_to(ahead[which % len(ahead)] + off)
        self.events([(user, action)])

    @rule(days=st.sampled_from([1, 2, 7]))
    def wait(self, days: int) -> None:
        """Nothing happens for some days but what is due."""
        self.come_to(self.now + timedelta(days=days))

    @rule(
        user=users,
        value=st.sampled_from(["granted", "denied", "granted", "denied", "objection"]),
        purpose=st.sampled_from(["promo", "tips", "orders"]),
        channel=st.sampled_from(["email", "sms"]),
        late=st.sampled_from([0, 0, 1, 48]),
        lasts=st.sampled_from([None, None, 24, 72]),
    )
    def answer(
        self, user: str, value: str, purpose: str, channel: str, late: int, lasts: int | None
    ) -> None:
        """Somebody changes their mind, now or, as turns out now, some hours ago."""
        self.come_to(self.now + timedelta(minutes=1))
        hours = None if lasts is None or value != "granted" else timedelta(hours=lasts)
        self.say(user, value, purpose, channel, timedelta(hours=late), hours)

    @rule(user=users, value=st.sampled_from(["granted", "denied"]))
    def be_profiled(self, user: str, value: str) -> None:
        """Somebody does not want to be profiled, or does."""
        self.come_to(self.now + timedelta(minutes=1))
        self.say(user, value, "personalise", "web")

    @rule(
        user=users,
        whom=st.sampled_from(["person", "address", "domain", "secret", "stop"]),
        blocks=st.sampled_from(["marketing", "all_but_mandatory", "all"]),
        channels=st.sampled_from([None, ["email"], ["sms"]]),
        lasts=st.sampled_from([1, 24, 24, 72]),
    )
    def block(
        self, user: str, whom: str, blocks: str, channels: list[str] | None, lasts: int
    ) -> None:
        """An operator, a complaint or a review of fraud blocks somebody."""
        until = self.now + timedelta(hours=lasts)
        mail = MAIL[user]
        if whom == "secret":
            block = Block("person", user, "offers_and_marketing", secret=True)
            self.no(block, "fraud_review_opened", user)
        elif whom == "stop":
            self.no(Block("address", mail, "marketing"), "spam_complaint", user, contact_point=mail)
        else:
            of = {"person": user, "address": mail, "domain": mail.partition("@")[2]}[whom]
            self.no(
                Block(whom, of, blocks, channels, until),
                "suppression_added",
                user,
                target=whom,
                blocks=blocks,
                contact_point=mail,
                expires_at=until.isoformat(),
                **({} if channels is None else {"channels": channels}),
            )

    @rule(user=users)
    def clear(self, user: str) -> None:
        """The review of fraud is over."""
        who = self.model.person(user)
        kept = [one for one in self.model.blocks if not (one.secret and one.of in who)]
        self.model.blocks = kept
        self.tell("fraud_review_closed", user)

    @rule(user=users, kind=st.sampled_from(["hard", "verified"]))
    def bounce(self, user: str, kind: str) -> None:
        """An address turns out not to work, or to work after all."""
        self.come_to(self.now + timedelta(minutes=1))
        name = "bounced" if kind == "hard" else "address_verified"
        self.model.bounces.append((self.now, MAIL[user], kind))
        self.tell(name, user, contact_point=MAIL[user], type=kind)

    @rule(user=users, zone=st.sampled_from(ZONES), country=st.sampled_from([None, "DE", "US"]))
    def move(self, user: str, zone: str, country: str | None) -> None:
        """Somebody moves, twice at most."""
        told = [one for one in self.model.traits if one[1:3] == (user, "time_zone")]
        if len(told) < 3 and zone not in [one[3] for one in told]:
            self.come_to(self.now + timedelta(minutes=1))
            self.trait(user, time_zone=zone, **({"residence": country} if country else {}))

    @rule(user=users, hours=st.sampled_from([None, 5, 30]))
    def pause(self, user: str, hours: int | None) -> None:
        """Somebody wants no marketing for a while, or wants it again."""
        self.come_to(self.now + timedelta(minutes=1))
        until = None if hours is None else self.now + timedelta(hours=hours)
        self.trait(user, paused_until=until)

    @rule(user=users, action=asked, after=st.sampled_from([1, 20, 90]))
    def buy(self, user: str, action: str, after: int) -> None:
        """Somebody buys something, and soon after something is worth a message."""
        self.model.happened.append((self.now, user, "order_completed"))
        self.tell("order_completed", user)
        self.come_to(self.now + timedelta(minutes=after))
        self.events([(user, action)])

    @rule(
        user=users,
        channel=st.sampled_from(["email", "sms"]),
        purpose=st.sampled_from(["promo", "tips", "orders"]),
        late=st.sampled_from([0, 0, 20]),
    )
    def observe(self, user: str, channel: str, purpose: str, late: int) -> None:
        """Somebody else has written to a person."""
        when = self.now - timedelta(hours=late)
        point = self.model.point(user, channel)
        if point is None:
            return
        self.woken.add(self.now)
        self.model.sent.append(_theirs(when, user, point, channel, purpose))
        self.tell(
            "contact_observed", user, when, channel=channel, purpose=purpose, contact_point=point
        )

    @rule(scope=st.sampled_from(["all", "channel:email", "team:growth", "journey:promo_sms"]))
    def stop(self, scope: str) -> None:
        """Somebody stops something, or lets what is stopped go on."""
        assert self.shop is not None
        if scope not in self.model.stopped:
            self.shop.kill(scope, self.now.isoformat())
            self.model.stopped.add(scope)
            return
        self.shop.let_go(scope, self.now.isoformat(), timedelta(minutes=2))
        self.model.stopped.discard(scope)
        held = [(one.until, key) for key, one in self.waiting.items() if one.kind == "human"]
        for place, (until, key) in enumerate(sorted(held)):
            turn = min(until, self.now + place * timedelta(minutes=2))
            one = self.waiting[key]
            self.waiting[key] = Waiting(one.ask, turn, one.until, one.kind)
        self.come_to(self.now)

    @rule(one=users, other=users)
    def merge(self, one: str, other: str) -> None:
        """It is ruled that two users are one person."""
        assert self.shop is not None
        if other in self.model.person(one):
            return
        terms = self.shop.deps.people.terms
        registry = Registry(
            self.shop.database,
            make_identity(self.shop.deps.workspace),
            None,
            self.shop.deps.workspace.look_back,
            frozenset(terms.controllers.values()),
        )
        registry.merge(
            f"user_id:{one}", f"user_id:{other}", by="ida", reason="one person", at=self.now
        )
        whole = self.model.person(one) | self.model.person(other)
        self.model.one = [some for some in self.model.one if not some & whole] + [whole]
        self.woken.add(self.now)
        self.count("merge")

    @rule()
    def reopen(self) -> None:
        """The process is killed while nothing is going on, and another begins."""
        self.close()
        self.open()
        self.come_to(self.now)

    @rule(user=users, action=asked, done=st.booleans())
    def crash(self, user: str, action: str, done: bool) -> None:
        """The process is killed just before a message leaves, or just after it left."""
        assert self.shop is not None
        said = self.model.judge(Ask(user, action), self.now)
        _crash_at(self.shop, done=done)
        key = self.next_key()
        row = self.row(f"ask_{action}", user, self.now, key)
        try:
            lines = self.shop.run(row)
        except Crash:
            assert said.word == "permitted", said
        else:
            self.close()
            self.open()
            self.take(lines, {f"shop/{key}": Ask(user, action)})
            return
        self.close()
        self.open()
        self.count("crash")
        again = self.shop.run(row)
        first = next(line for line in again if line["verdict"] == "duplicate")
        self.compare(first["decision_id"], Ask(user, action), said)
        if done:
            self.send(first["decision_id"], Ask(user, action), self.now)
        else:
            until = self.now + span(self.world.actions[action]["defer_for"])
            self.waiting[first["decision_id"]] = Waiting(
                Ask(user, action), self.now, until, "retry"
            )
        self.take([line for line in again if line["verdict"] != "duplicate"], {})

    # How it is told to both

    def come_to(self, now: datetime) -> None:
        """Let time pass, and whatever is due by then be asked again."""
        assert self.shop is not None
        self.now = now
        self.take(self.shop.wake(now.isoformat()), {})

    def next_key(self) -> str:
        """The id of the next event."""
        self.number += 1
        return f"e{self.number}"

    def row(self, name: str, user: str, when: datetime, key: str, **more: Any) -> dict[str, Any]:
        """One event, which names nobody but by user."""
        own: dict[str, Any] = {k: more.pop(k) for k in ("traits", "email", "phone") if k in more}
        said = {"id": key, "event": name, "at": when.isoformat(), "user_id": user, **own}
        return {**said, "properties": {"number": key, **more}}

    def tell(self, name: str, user: str, when: datetime | None = None, **more: Any) -> None:
        """An event that only says something; one of earlier comes after one of now."""
        assert self.shop is not None
        rows = [self.row(name, user, when or self.now, self.next_key(), **more)]
        if when is not None and when < self.now:
            rows.insert(0, self.row("page_viewed", user, self.now, self.next_key()))
        lines = self.shop.run(*rows)
        assert all(line["verdict"] != "dead" for line in lines), lines
        self.take(lines, {})

    def events(self, asks: Sequence[tuple[str, str]]) -> None:
        """Ask of both at once, in one batch."""
        assert self.shop is not None
        keys = [self.next_key() for _ in asks]
        rows = [
            self.row(f"ask_{action}", user, self.now, key)
            for key, (user, action) in zip(keys, asks, strict=True)
        ]
        lines = self.shop.run(*rows)
        named = {f"shop/{key}": Ask(*of) for key, of in zip(keys, asks, strict=True)}
        self.take(lines, named)

    def say(
        self,
        user: str,
        value: str,
        purpose: str,
        channel: str,
        ago: timedelta = timedelta(0),
        lasts: timedelta | None = None,
    ) -> None:
        """A statement about consent."""
        to = self.model.point(user, channel) if purpose != "personalise" else None
        if to is None and purpose != "personalise":
            return
        expires = None if lasts is None else self.now + lasts
        more = {"contact_point": to} if to else {}
        more |= {} if expires is None else {"expires_at": expires.isoformat()}
        wide = value == "objection"
        self.model.said.append(
            Said(
                value,
                user,
                purpose,
                None if wide else channel,
                None if wide else to,
                self.now - ago,
                self.now,
                expires,
            )
        )
        if value == "granted" and to is not None:
            # An explicit yes at an address shows that it is in use.
            self.model.bounces.append((self.now - ago, to, "verified"))
        self.woken.add(self.now)
        self.tell(
            "consent_changed",
            user,
            self.now - ago,
            value=value,
            purpose=purpose,
            channel=channel,
            **more,
        )
        self.check_nobody_waits_in_vain()

    def no(self, block: Block, name: str, user: str, **more: Any) -> None:
        """A block, told to both."""
        self.model.blocks.append(block)
        self.woken.add(self.now)
        self.tell(name, user, **more)
        self.check_nobody_waits_in_vain()

    def trait(self, user: str, **traits: Any) -> None:
        """Somebody tells something of themselves."""
        for name, value in traits.items():
            self.model.traits.append((self.now, user, name, value))
        self.woken.add(self.now)
        text = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in traits.items()
        }
        self.tell("identified", user, traits=text)

    # What both say

    def take(self, lines: Sequence[Mapping[str, Any]], asks: Mapping[str, Ask]) -> None:
        """Compare every line with what the reference says, in the order in which they fell.

        Events of one batch may be decided in any order: one must explain all of them.
        """
        mine = [line for line in lines if line["event_id"] in asks and line["pass"] == "event"]
        later = [line for line in lines if line["pass"] != "event"]
        assert len(mine) == len(asks), (lines, asks)
        for line in mine[:1] if len(mine) == 1 else ():
            self.one(line, asks[line["event_id"]])
        if len(mine) > 1:
            self.in_some_order(mine, asks)
        for line in later:
            was = self.waiting.pop(line["parent_id"], None)
            assert was is not None, f"released twice, or never held: {line}"
            when = at(line["at"])
            assert abs(when - was.due) < timedelta(milliseconds=1) or self.now in self.woken, line
            self.count(f"later: {line['pass']}")
            self.one(line, Ask(was.ask.user, was.ask.action, was.until))
        due = {key: one for key, one in self.waiting.items() if one.due <= self.now}
        assert not due, f"due and not asked again: {due}"

    def in_some_order(self, lines: Sequence[Mapping[str, Any]], asks: Mapping[str, Ask]) -> None:
        """Some order of these must explain them all."""
        kept = deepcopy((self.model.sent, self.waiting, self.made)), Counter(self.seen)
        failures = []
        for order in permutations(lines):
            try:
                for line in order:
                    self.one(line, asks[line["event_id"]])
            except AssertionError as error:
                failures.append(error)
                self.model.sent, self.waiting, self.made = deepcopy(kept[0])
                self.seen.clear()
                self.seen.update(kept[1])
            else:
                return
        raise failures[0]

    def one(self, line: Mapping[str, Any], ask: Ask) -> None:
        """Compare one line, and tell the reference what it led to."""
        record = self.record(line["decision_id"])
        when = record.context.now
        said = self.model.judge(ask, when)
        self.compare(line["decision_id"], ask, said)
        self.count(said.word)
        for one in said.against:
            self.count(f"{one.family}: {one.what}")
        if said.word == "permitted":
            self.send(line["decision_id"], ask, when)
        elif said.word == "held":
            until = ask.until or when + span(self.world.actions[ask.action]["defer_for"])
            due = until
            if said.held_for == "time" and said.next_at is not None:
                due = min(until, said.next_at)
            self.waiting[line["decision_id"]] = Waiting(ask, due, until, said.held_for or "")

    def send(self, decision_id: str, ask: Ask, when: datetime) -> None:
        """Tell the reference that something was sent, and keep which caps it obeyed."""
        sent = self.model.contact(ask, when)
        obeyed = {cap["id"] for cap in self.world.caps if self.model.in_cap(ask, cap)}
        self.model.sent.append(sent)
        self.made[decision_id] = ask, sent, obeyed

    def record(self, decision_id: str) -> Record:
        """What was recorded of a decision."""
        assert self.shop is not None
        data = self.shop.deps.history.get(decision_id).record()
        assert data is not None
        return read_record(data)

    def compare(self, decision_id: str, ask: Ask, said: Judgement) -> None:
        """The verdict, every rule that is against it, and when it could be asked again."""
        record = self.record(decision_id)
        thought = record.thought
        (considered,) = thought.considered
        assert considered.action == ask.action
        found = (thought.verdict, sorted(name for name, _ in considered.against))
        about = (ask, record.context.now, said)
        assert found == (said.word, said.rules), (found, about)
        assert thought.held_for == said.held_for, about
        assert thought.next_eligible_at == said.next_at, (thought.next_eligible_at, about)
        points = {one.ref: one.address for one in record.context.contact_points}
        if said.word == "permitted":
            assert points.get(thought.contact_point or "") == self.model.to(ask), about

    def count(self, what: str) -> None:
        """Note that something happened at all."""
        self.seen[what] += 1
        event(what)

    # What must always be so

    def check_nobody_waits_in_vain(self) -> None:
        """A no ends in its own transaction what waits for time: it is asked again at once."""
        for one in self.waiting.values():
            said = self.model.judge(Ask(one.ask.user, one.ask.action, one.until), self.now)
            families = {against.family for against in said.against}
            assert not (one.kind == "time" and families & {"consent", "suppression"}), one

    def check_ledger(self) -> None:
        """Counters are what the ledger adds up to, and each message left once."""
        assert self.shop is not None
        verify(self.shop.database)
        workspace = self.shop.deps.workspace
        again = recompute(self.shop.database, lambda _: workspace, self.shop.deps.mind)
        assert not again.different
        rows = self.shop.rows
        told = [s for s in rows("outbox") if s["tool"] == "message" and s["state"] == "sent"]
        assert sorted(s["decision_id"] for s in told) == sorted(self.made)
        assert sorted(path.stem for path in self.shop.sent()) == sorted(
            s["outbox_id"] for s in told
        )
        contacts = [c for c in rows("contacts") if c["decision_id"] and c["state"] != "released"]
        assert {c["state"] for c in contacts} <= {"committed"}
        assert sorted(c["decision_id"] for c in contacts) == sorted(self.made)
        paid = Counter[str]()
        for one in rows("spendings"):
            paid[one["counter"]] += one["amount"] if one["state"] == "reserved" else 0
        given = sum("offer" in self.world.actions[ask.action] for ask, _, _ in self.made.values())
        for counter in rows("counters"):
            if counter["key"] in paid:
                assert counter["amount"] == paid[counter["key"]]
            else:
                assert counter["amount"] == given, counter
        assert sum(paid.values()) == given * 500 * len(self.world.budgets)
        grants = [one for one in rows("grants") if one["state"] == "granted"]
        assert len(grants) == given

    def check_caps(self) -> None:
        """In no position of any window are there more contacts than a cap allows.

        Counted by hand, of what was sent and obeys: to each user, or at each address.
        """
        for cap in self.world.caps:
            sent = [
                one for _, one, obeyed in self.made.values() if cap["id"] in obeyed and one.counts
            ]
            whose = "point" if cap["per"] == "contact_point" else "user"
            for who in {getattr(one, whose) for one in sent}:
                made = sorted(one.at for one in sent if getattr(one, whose) == who)
                assert _most(made, cap) <= cap["limit"], (cap, who, made)

    def check_rules(self) -> None:
        """The order of rules changes nothing, and another rule that forbids permits nothing."""
        assert self.shop is not None
        chance = random.Random(self.number)
        other = load_workspace(shuffled(self.world, chance))
        strict = load_workspace(stricter(self.world, self.more))
        mind, vault = self.shop.deps.mind, self.shop.database.vault
        for row in self.shop.rows("decisions"):
            record = self.record(row["decision_id"])
            if not record.thought.considered:
                continue
            same = think(record.context, other, mind, vault).thought
            (was,), (now,) = record.thought.considered, same.considered
            assert (same.verdict, same.next_eligible_at, same.held_for) == (
                record.thought.verdict,
                record.thought.next_eligible_at,
                record.thought.held_for,
            )
            assert sorted(was.against) == sorted(now.against)
            less = think(record.context, strict, mind, vault).thought
            (now,) = less.considered
            assert set(was.against) <= set(now.against)
            assert less.verdict != "permitted" or record.thought.verdict == "permitted"


def _most(made: Sequence[datetime], cap: Mapping[str, Any]) -> int:
    """The most contacts in any position of a cap's window."""
    if "window" in cap:
        ahead = ([one for one in made if at_ <= one < at_ + span(cap["window"])] for at_ in made)
        return max(map(len, ahead), default=0)
    if cap["tz"] == "person":
        return 0  # where somebody lived when is the reference's to say
    days = [one.astimezone(ZoneInfo(cap["tz"])).date() for one in made]
    if cap["calendar"] == "week":
        late = 1 if cap["week_start"] == "sunday" else 0
        weeks = Counter((day.toordinal() - 1 + late) // 7 for day in days)
        return max(weeks.values(), default=0)
    periods = Counter(day.isoformat()[: 10 if cap["calendar"] == "day" else 7] for day in days)
    return max(periods.values(), default=0)


def _theirs(when: datetime, user: str, point: str, channel: str, purpose: str) -> Sent:
    """A contact that somebody else made."""
    return Sent(when, user, point, channel, purpose, None, counts=True)


def _crash_at(shop: Shop, *, done: bool) -> None:
    """Let the shop die around its next message."""
    execute = shop.deps.toolbox.execute

    async def carry_out(intent: Intent, work: Work) -> Outcome:
        if intent.tool == "message" and not done:
            raise Crash
        outcome = await execute(intent, work)
        if intent.tool == "message":
            raise Crash
        return outcome

    shop.deps.toolbox.execute = carry_out  # type: ignore[method-assign]
