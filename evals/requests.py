"""What customers asked for, how often they had to ask, and by how many channels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import bindparam, select

from agents.record import read_record
from agents.workspace import Workspace
from domain.journey import Journey
from store import tables as t
from store.database import Snapshot
from store.instants import instant, micros
from store.packing import unpack
from store.statements import Statement
from store.vault import Vault

_EVENTS = Statement(
    select(
        t.profiles.c.root_id,
        t.decisions.c.profile_id,
        t.decisions.c.at,
        t.decisions.c.event,
        t.decisions.c.sealed,
        t.data_keys.c.wrapped,
    )
    .join(t.profiles, t.profiles.c.profile_id == t.decisions.c.profile_id)
    .join(
        t.data_keys,
        (t.data_keys.c.profile_id == t.decisions.c.profile_id)
        & (t.data_keys.c.retention == "erasable"),
    )
    .where(
        t.decisions.c.pass_n == 0,
        t.decisions.c.event.in_(bindparam("names", expanding=True)),
        t.decisions.c.at <= bindparam("until"),
    )
    .order_by(t.profiles.c.root_id, t.decisions.c.at, t.decisions.c.decision_id)
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One time that somebody asked for something."""

    at: datetime
    event: str
    topic: str
    channel: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a journey's instance was entered for: the first asking, and those on its topic after.

    `resolved_at` is when the goal was reached, or something closed it, within the window.
    """

    first: Asked
    after: tuple[Asked, ...]
    resolved_at: datetime | None

    def is_repeated(self, within: timedelta) -> bool:
        """Whether they had to ask again within that time."""
        return any(one.at <= self.first.at + within for one in self.after)

    def is_resolved_first(self, within: timedelta) -> bool:
        """Whether it was resolved, and nobody asked again until so long after."""
        if self.resolved_at is None:
            return False
        return not any(one.at <= self.resolved_at + within for one in self.after)

    def channel_switches(self, within: timedelta) -> int:
        """How often they came by another channel than the time before, within that time."""
        until = self.first.at + within
        channels = [self.first.channel, *(one.channel for one in self.after if one.at <= until)]
        return sum(one != other for one, other in pairwise(channels))


class Requests:
    """Everybody's requests up to an instant, and what closed them; only of people not erased."""

    def __init__(
        self, snapshot: Snapshot, vault: Vault, workspace: Workspace, until: datetime
    ) -> None:
        given = workspace.outcomes
        self._contacts = frozenset(given.contacts)
        self._resolved = frozenset(given.resolved)
        self._asked: dict[str, list[Asked]] = {}
        self._closed: dict[str, list[tuple[datetime, str]]] = {}
        asking = [j for j in workspace.journeys.values() if j.trigger in self._contacts]
        names = {*given.contacts, *given.resolved, *(j.goal for j in asking)} if asking else set()
        for root, person, micro, event, sealed, wrapped in snapshot.rows(
            _EVENTS, names=sorted(names), until=micros(until)
        ):
            at = instant(int(micro))
            if event not in self._contacts:
                self._closed.setdefault(root, []).append((at, event))
                continue
            vault.unwrap(person, "erasable", wrapped)
            record = read_record(unpack(vault.open(person, "erasable", "decisions", sealed)))
            said = record.context.event.properties
            topic, channel = said.get(given.topic), said.get(given.channel)
            asked = Asked(at, event, str(topic or event), str(channel or event))
            self._asked.setdefault(root, []).append(asked)

    def about(
        self, root: str, journey: Journey, entered: datetime, ends: datetime
    ) -> Request | None:
        """The request by which somebody entered a journey; None where it was no request."""
        if journey.trigger not in self._contacts:
            return None
        mine = self._asked.get(root, [])
        place = bisect_left(mine, entered, key=lambda one: one.at)
        if place == len(mine) or mine[place].at != entered:
            return None
        first = mine[place]
        after = tuple(one for one in mine[place + 1 :] if one.topic == first.topic)
        closing = self._closed.get(root, ())
        return Request(first, after, self._first_closed(closing, journey, entered, ends))

    def _first_closed(
        self,
        closing: Sequence[tuple[datetime, str]],
        journey: Journey,
        entered: datetime,
        ends: datetime,
    ) -> datetime | None:
        closes = {journey.goal, *self._resolved}
        found = (at for at, event in closing if entered <= at < ends and event in closes)
        return next(found, None)
