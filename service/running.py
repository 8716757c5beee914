"""Feeds files of events to the supervisor on event time, and lets held things fire between them.

Now is the greatest instant read so far. Timers that fall due fire before the next event, each at
its own instant, through the same steps.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select

from agents import erasure, grants, passes
from agents.steps import BATCH_MAX, Line
from agents.supervisor import Decide
from agents.workspace import Workspace
from domain.canonical import canonical
from domain.event import Event, Identifier
from profiles.arrivals import Arrival
from profiles.stated import restricts
from service.assemble import Assembly, make_registry
from service.inputs import DeadRow
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.work import Work

LOG = logging.getLogger("safeconduct.service")

Emit = Callable[[Line | DeadRow], None]

_DEAD = Statement(
    select(t.dead_letters.c.dead_id).where(t.dead_letters.c.dead_id == bindparam("dead"))
)


class Run:
    """One run over some input.

    `counts` are the verdicts on rows so far, `passes` those of later passes over earlier events,
    `rows` the rows read, `future` how many of them bear a time that has not come yet.
    """

    def __init__(self, assembly: Assembly, decide: Decide, emit: Emit) -> None:
        self._assembly = assembly
        self._deps = assembly.deps
        self._decide = decide
        self._emit = emit
        self._waiting: list[Arrival] = []
        self._named: set[Identifier] = set()
        self._next_due: datetime | None = None
        self._soonest = _soonest(assembly.workspace)
        self._began = datetime.now(UTC)
        self._received = assembly.database.last_decided_at() or datetime.min.replace(tzinfo=UTC)
        self.now: datetime | None = None
        self.counts: Counter[str] = Counter()
        self.passes: Counter[str] = Counter()
        self.rows = 0
        self.future = 0

    async def over(self, items: Iterable[Event | DeadRow]) -> None:
        """Decide about every event, in order; nothing is dropped silently."""
        await self._begin()
        self._next_due = self._first_due()
        for item in items:
            self.rows += 1
            if isinstance(item, DeadRow):
                await self._flush()
                self._bury(item)
            else:
                await self._take(item)
        await self._flush()
        if self.now is not None:
            await self.advance(self.now)
        self._deps.commit([])

    async def wake(self, now: datetime) -> None:
        """Settle what an earlier process left, and ask again about everything due by `now`."""
        self.now = now
        await self._begin()
        self._next_due = self._first_due()
        await self.advance(now)
        self._deps.commit([])

    async def _begin(self) -> None:
        """Finish what an earlier process left, and part whom a value blocked since then joined."""
        database = self._assembly.database
        await passes.recover(self._deps)
        erasure.resume(self._deps)
        registry = make_registry(database, self._assembly.workspace)
        at = self.now or database.last_decided_at() or database.clock()
        for root in registry.part_blocked(at):
            LOG.warning("%s was one person by a blocked identifier alone, and was parted", root)

    async def advance(self, now: datetime) -> None:
        """Ask again about everything that is due by `now`, in the order in which it fell due."""
        while self._next_due is not None and self._next_due <= now:
            if not grants.expire(self._deps, self._next_due):
                until = grants.next_expiry(self._assembly.database)
                until = now if until is None else min(now, until)
                arrivals = passes.due(self._deps, until, BATCH_MAX)
                if arrivals:
                    await self._settle(arrivals)
            self._next_due = self._first_due()

    def _first_due(self) -> datetime | None:
        """When something is to happen next: a question asked again, or a grant that expires."""
        database = self._assembly.database
        found = (passes.next_due(database), grants.next_expiry(database))
        return min((at for at in found if at is not None), default=None)

    async def _take(self, event: Event) -> None:
        at = event.occurred_at or event.received_at
        self.future += at > self._began
        self.now = at if self.now is None else max(self.now, at)
        # What an earlier run has received was received before this.
        dated = event.occurred_at is not None
        received_at = max(self.now, self._received) if dated else self.now
        event = replace(event, received_at=received_at)
        due = self._next_due is not None and self._next_due <= self.now
        full = len(self._waiting) == BATCH_MAX
        if full or due or self._may_be_due() or not self._named.isdisjoint(event.identifiers):
            await self._flush()
            await self.advance(self.now)
        self._waiting.append(Arrival(event, self.now))
        self._named.update(event.identifiers)

    def _may_be_due(self) -> bool:
        """Whether what waits for its decision may lead to a timer that is due by now."""
        if not self._waiting or self._soonest is None or self.now is None:
            return False
        return self.now - self._waiting[0].now >= self._soonest

    async def _flush(self) -> None:
        if self._waiting:
            arrivals, self._waiting = self._waiting, []
            self._named.clear()
            await self._settle(arrivals)
            self._next_due = self._first_due()

    async def _settle(self, arrivals: list[Arrival]) -> None:
        for line in await self._decide(arrivals):
            of = self.counts if line.arrival.asked.kind == "event" else self.passes
            of[line.verdict] += 1
            self._emit(line)
            if line.verdict == "dead":
                await self._refuse(line)

    async def _refuse(self, line: Line) -> None:
        """Keep what came in; an opt-out in it is applied all the same, under a key of its own."""
        event, refused = line.arrival.event, line.refused
        assert refused is not None
        raw = _envelope(event)
        self._keep_letter(
            event.place, refused.reason, refused.cause, refused.remedy or "", raw, event.ordinal
        )
        if refused.reason == "id_reuse" and restricts(event, self._deps.people.terms):
            for applied in await self._decide(
                [replace(line.arrival, event=replace(event, id=None))]
            ):
                if applied.verdict != "duplicate":
                    self._emit(applied)

    def _bury(self, row: DeadRow) -> None:
        self._keep_letter(row.place, row.reason, row.cause, row.remedy, row.raw, row.ordinal)
        self.counts["dead"] += 1
        self._emit(row)

    def _keep_letter(
        self, place: str, reason: str, cause: str, remedy: str, raw: bytes, ordinal: int
    ) -> None:
        vault = self._assembly.database.vault
        dead_id = vault.fingerprint_bytes("dead", canonical([reason, raw, ordinal])).hex()
        if self._assembly.database.rows(_DEAD, dead=dead_id):
            return
        work = Work(shown_as=place)
        work.insert(
            t.dead_letters,
            dead_id=dead_id,
            place=place,
            reason=reason,
            cause=cause,
            remedy=remedy,
            ordinal=ordinal,
            at=micros(self.now or self._assembly.database.clock()),
            state="dead",
            sealed=vault.seal_letter(raw),
        )
        self._deps.commit([work])
        LOG.warning("a dead letter", extra={"fields": {"dead_id": dead_id, "reason": reason}})


def _soonest(workspace: Workspace) -> timedelta | None:
    """The shortest time that a journey waits for anything."""
    journeys = workspace.journeys.values()
    spans = [journey.absence.within for journey in journeys if journey.absence is not None]
    spans += [journey.again_after for journey in journeys if journey.again_after is not None]
    return min(spans, default=None)


def _envelope(event: Event) -> bytes:
    """The event as a CloudEvents envelope: a form in which it can be read again as it was."""
    named: dict[str, list[str]] = {}
    for identifier in event.identifiers:
        named.setdefault(identifier.ns, []).append(identifier.value)
    said = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.name,
        "time": event.occurred_at,
        "confidence": str(event.confidence),
        "data": {
            "type": event.kind,
            "event": event.name,
            "identifiers": named,
            "properties": event.properties,
            "traits": event.traits,
            "brand": event.brand,
            "context": {
                "consent": {"categoryPreferences": event.preferences.get("categories")},
                "gpc": event.preferences.get("gpc"),
            },
            "consents": event.preferences.get("consents"),
        },
    }
    return canonical({key: value for key, value in said.items() if value is not None})
