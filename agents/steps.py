"""The three steps of every decision, over a micro-batch: perceive, decide, act.

    perceive   reads who each event is about and all that may be looked at
    decide     thinks (pure)
    act        records and reserves in one commit, then carries out

The graph in `supervisor.py` and the plain runner call this same tuple, `STEPS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from sqlalchemy import bindparam, select

from agents.dispatch import Dispatcher
from agents.minds.mind import Mind
from agents.record import Recorded, record
from agents.thinking import Decided, think
from agents.workspace import Workspace
from domain.canonical import canonical
from domain.decision import Decision, LineVerdict
from domain.errors import InputError, StoreError
from profiles import people
from profiles.people import Arrival, People
from profiles.reading import Reading
from store import tables as t
from store.database import Database
from store.statements import Statement
from store.work import Work
from tools.toolbox import Toolbox
from traces.history import History

BATCH_MAX = 8
ROUNDS_MAX = 8

_WAITING = Statement(
    select(t.timers.c.timer_id).where(
        t.timers.c.decision_id == bindparam("parent"), t.timers.c.state == "pending"
    )
)


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one arrival: a decision made now, the first one of a duplicate, or a cause.

    `decision` is None for a dead letter.
    """

    arrival: Arrival
    verdict: LineVerdict
    event_id: str | None
    decision: Decision | None = None
    refused: InputError | None = None


class Batch(TypedDict, total=False):
    """The graph's state: a micro-batch on its way.

    `arrivals` are what is still to be decided, 1 to 8 of different people; a commit that was
    lost puts its arrivals back. `lines` gathers what is done. `events` are raw events in canonical
    form, for callers that have nothing else (LangGraph's own tooling).
    """

    events: tuple[Mapping[str, Any], ...]
    arrivals: tuple[Arrival, ...]
    readings: tuple[people.Reading, ...]
    decided: tuple[Decided | None, ...]
    lines: tuple[Line, ...]
    round: int


@dataclass(slots=True)
class Deps:
    """What the steps are given to work with. `pending` outcomes ride with the next commit."""

    database: Database
    people: People
    workspace: Workspace
    mind: Mind
    toolbox: Toolbox
    owner: str
    reading: Reading
    pending: list[Work] = field(default_factory=list)
    history: History = field(init=False)
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.database)
        self.dispatcher = Dispatcher(self.toolbox, self.commit, self.database.vault)

    def commit(self, works: Sequence[Work]) -> list[bool]:
        """Commit works, and before them the outcomes that were waiting for a ride."""
        riding = list(self.pending)
        self.pending.clear()
        written = self.database.commit([*riding, *works])
        for work, held in zip(riding, written, strict=False):
            if not held:
                raise StoreError(
                    "an outcome could not be written",
                    place=work.shown_as,
                    remedy="run `safeconduct ledger verify`",
                )
        return written[len(riding) :]


async def perceive(batch: Batch, deps: Deps) -> Batch:
    """Read each arrival's person and context, all of one instant."""
    if "arrivals" not in batch:
        arrivals = tuple(arrival for raw in batch["events"] for arrival in _arrivals(raw, deps))
        batch = {"arrivals": arrivals}
    return {"arrivals": batch["arrivals"], "readings": tuple(deps.people.read(batch["arrivals"]))}


def _arrivals(raw: Mapping[str, Any], deps: Deps) -> list[Arrival]:
    now = deps.database.clock()
    read = deps.reading.read(canonical(raw), received_at=now, place="input")
    for item in read:
        if isinstance(item, InputError):
            raise item
    return [Arrival(item, now) for item in read if not isinstance(item, InputError)]


async def decide(batch: Batch, deps: Deps) -> Batch:
    """Think about each context; duplicates and dead letters need no thought."""
    fingerprint = deps.database.vault.fingerprint_bytes
    return {
        "decided": tuple(
            None
            if reading.context is None
            else think(reading.context, deps.workspace, deps.mind, fingerprint)
            for reading in batch["readings"]
        )
    }


async def act(batch: Batch, deps: Deps) -> Batch:
    """Commit every decision that still holds, then carry out what was permitted."""
    vault, workspace = deps.database.vault, deps.workspace
    lines = list(batch.get("lines", ()))
    again: list[Arrival] = []
    recorded: list[tuple[people.Reading, Recorded]] = []
    for reading, decided in zip(batch["readings"], batch["decided"], strict=True):
        if reading.again:
            again.append(reading.arrival)
        elif decided is None:
            lines.append(_undecided(reading, deps))
        else:
            made = record(
                reading,
                decided,
                workspace.guard,
                vault,
                version=workspace.version,
                owner=deps.owner,
            )
            recorded.append((reading, made))
    written = deps.commit([made.work for _, made in recorded])
    for (reading, made), held in zip(recorded, written, strict=True):
        if held:
            lines.append(
                Line(reading.arrival, made.decision.verdict, reading.event_id, made.decision)
            )
            await deps.dispatcher.carry_out(made, deps.pending)
        else:
            _forget(reading, deps)
            if _is_still_asked(reading.arrival, deps):
                again.append(reading.arrival)
    rounds = batch.get("round", 0) + 1
    if again and rounds > ROUNDS_MAX:
        raise StoreError(
            f"a decision was overtaken {ROUNDS_MAX} times in a row",
            place=again[0].event.place or None,
            remedy="try again: somebody else is changing the same person all the time",
        )
    return {"arrivals": tuple(again), "lines": tuple(lines), "round": rounds}


STEPS = (perceive, decide, act)


def _undecided(reading: people.Reading, deps: Deps) -> Line:
    """A duplicate repeats the first decision; a dead letter is kept with its cause."""
    if reading.duplicate_of is not None:
        first = deps.history.get(reading.duplicate_of).decision(reading.event_id)
        return Line(reading.arrival, "duplicate", reading.event_id, first)
    assert reading.refused is not None
    return Line(reading.arrival, "dead", reading.event_id, None, reading.refused)


def _is_still_asked(arrival: Arrival, deps: Deps) -> bool:
    """Whether a lost decision is ours to make again: a later pass is whoever's claims its timer."""
    parent = arrival.asked.parent_id
    return parent is None or bool(deps.database.rows(_WAITING, parent=parent))


def _forget(reading: people.Reading, deps: Deps) -> None:
    """Drop keys made for people whose creation was lost: the kept ones may be others."""
    for profile_id in reading.new_profiles:
        deps.database.vault.forget(profile_id, "erasable")
        deps.database.vault.forget(profile_id, "evidence")
