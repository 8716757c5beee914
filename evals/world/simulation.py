"""Lets made-up people live with the real engine for some days of a virtual clock.

They leave carts behind; the engine decides, contacts and lets time pass; they order or not, or opt
out, which are events again. Everything by chance comes from the seed, and an order from a number
drawn with its cart, so that two runs of one seed differ by what the engine did alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from random import Random
from typing import Any

from agents import passes
from agents.learning.training import train
from agents.steps import GROUP_MAX, Deps, Line
from agents.supervisor import through_steps
from domain.event import Event, Identifier
from evals.world.people import Nature, Person
from evals.world.shop import JOURNEY, PLANS
from profiles.arrivals import Arrival

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ANSWER = timedelta(minutes=20)
TOGETHER = timedelta(minutes=5)
"""Events so close are read together; nobody answers so soon."""


@dataclass(slots=True)
class Tally:
    """What came of a run. `unprompted` counts those who would have ordered without any contact,
    `ordered` those who did order for a cart, `with_cart` those who left one."""

    people: int
    carts: int = 0
    orders: int = 0
    contacts: int = 0
    opt_outs: int = 0
    ordered: set[str] = field(default_factory=set)
    with_cart: set[str] = field(default_factory=set)
    unprompted: set[str] = field(default_factory=set)
    ways: dict[str, int] = field(default_factory=dict)

    @property
    def orders_per_cart(self) -> float:
        """The outcome that the journey is for."""
        return self.orders / self.carts


@dataclass(slots=True)
class _Cart:
    """One cart: whether it is bought is decided by `drawn`, once."""

    person: Person
    drawn: float
    is_ordered: bool = False


class World:
    """One run of one seed."""

    def __init__(self, deps: Deps, nature: Nature, seed: int, *, people: int) -> None:
        self._deps = deps
        self._decide = through_steps(deps)
        self._nature = nature
        self._chance = Random(f"people:{seed}")  # noqa: S311 - a world to be repeated
        self._answers = Random(f"answers:{seed}")  # noqa: S311
        self._people = [Person(f"u-{n}", PLANS[n % len(PLANS)]) for n in range(people)]
        self._carts: dict[str, _Cart] = {}
        self._queue: list[tuple[datetime, int, Event]] = []
        self._made = 0
        self.tally = Tally(people)

    async def live(self, days: int, *, carts_per_day: float, learn_every: int = 0) -> Tally:
        """Let so many days pass; every `learn_every` of them the shop learns."""
        for person in self._people:
            self._sign_up(person)
        for day in range(days):
            begin = BEGIN + (day + 1) * DAY
            for person in self._people:
                if self._chance.random() < carts_per_day:
                    self._leave_cart(person, begin + DAY * self._chance.random())
            await self._until(begin + DAY)
            if learn_every and day % learn_every == learn_every - 1:
                self._learn(begin + DAY)
        await self._until(BEGIN + (days + 4) * DAY)
        self._deps.commit([])
        return self.tally

    # What they do

    def _sign_up(self, person: Person) -> None:
        traits = {"plan": person.plan, "first_name": person.name, "time_zone": "UTC"}
        self._say(person, "signed_up", BEGIN, traits=traits)
        said = {"value": "granted", "purpose": "marketing", "channel": "email"}
        self._say(person, "consent_changed", BEGIN + timedelta(hours=1), said)

    def _leave_cart(self, person: Person, at: datetime) -> None:
        cart = f"cart-{len(self._carts)}"
        drawn = self._chance.random()
        self._carts[cart] = _Cart(person, drawn)
        self.tally.carts += 1
        self.tally.with_cart.add(person.name)
        if drawn < self._nature.spontaneous:
            self.tally.unprompted.add(person.name)
            self._order(cart, at)
        self._say(person, "cart_abandoned", at, {"cart_id": cart})

    def _order(self, cart: str, after: datetime) -> None:
        found = self._carts[cart]
        if found.is_ordered:
            return
        found.is_ordered = True
        self.tally.orders += 1
        self.tally.ordered.add(found.person.name)
        at = after + ANSWER * (1 + 10 * self._answers.random())
        self._say(found.person, "order_completed", at, {"cart_id": cart})

    def _contacted(self, cart: str, way: str, at: datetime) -> None:
        person = self._carts[cart].person
        self.tally.contacts += 1
        self.tally.ways[way] = self.tally.ways.get(way, 0) + 1
        if self._carts[cart].drawn < person.order_probability(self._nature, way, at):
            self._order(cart, at)
        leaves = self._answers.random() < person.opt_out_probability(self._nature, at)
        person.contacts.append(at)
        if leaves and not person.opted_out:
            person.opted_out = True
            self.tally.opt_outs += 1
            said = {"value": "denied", "purpose": "marketing", "channel": "email"}
            self._say(person, "consent_changed", at + ANSWER, said)

    def _say(
        self,
        person: Person,
        name: str,
        at: datetime,
        properties: Mapping[str, Any] | None = None,
        traits: Mapping[str, Any] | None = None,
    ) -> None:
        self._made += 1
        event = Event(
            source="world",
            id=f"e-{self._made}",
            kind="track",
            name=name,
            occurred_at=at,
            received_at=at,
            identifiers=(
                Identifier("user_id", person.name),
                Identifier("email", f"{person.name}@people.example"),
            ),
            properties=properties or {},
            traits=traits or {},
        )
        heappush(self._queue, (at, self._made, event))

    # What the shop does

    async def _until(self, end: datetime) -> None:
        while self._queue and self._queue[0][0] < end:
            first = self._queue[0][0]
            await self._advance(first)
            if self._queue[0][0] < first:
                continue  # somebody answered what has just been sent
            await self._settle(self._next(min(end, first + TOGETHER)))
        await self._advance(end)

    def _next(self, before: datetime) -> list[Arrival]:
        """The next events of different people that are close together."""
        arrivals: list[Arrival] = []
        named: set[Identifier] = set()
        due = passes.next_due(self._deps.database)
        while self._queue and len(arrivals) < GROUP_MAX:
            at, _, event = self._queue[0]
            late = at >= before or (due is not None and arrivals and at >= due)
            if late or not named.isdisjoint(event.identifiers):
                break
            heappop(self._queue)
            named.update(event.identifiers)
            arrivals.append(Arrival(event, at))
        return arrivals

    async def _advance(self, now: datetime) -> None:
        """Ask again about what falls due, no later than anything that is answered to it."""
        due = passes.next_due(self._deps.database)
        while due is not None and due <= now:
            await self._settle(passes.due(self._deps, due, GROUP_MAX))
            due = passes.next_due(self._deps.database)
            if self._queue and due is not None and self._queue[0][0] < due:
                return

    async def _settle(self, arrivals: Sequence[Arrival]) -> None:
        if not arrivals:
            return
        for line in await self._decide(arrivals):
            self._answer(line)

    def _answer(self, line: Line) -> None:
        decision = line.decision
        if line.verdict == "permitted" and decision is not None:
            cart = line.arrival.event.properties["cart_id"]
            self._contacted(cart, decision.action, decision.at)

    def _learn(self, at: datetime) -> None:
        self._deps.commit([])
        journey = self._deps.workspace.journeys[JOURNEY]
        train(self._deps.database, self._deps.models, journey, at=at, until=at)
