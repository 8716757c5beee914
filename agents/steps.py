"""The three steps of every decision, over a micro-batch: perceive, decide, act.

    perceive   reads who each event is about and all that may be looked at
    decide     thinks (pure)
    act        records and reserves in one commit, then carries out

The graph in `supervisor.py` and the plain runner call this same tuple, `STEPS`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from random import random
from time import monotonic, time_ns
from typing import Any, Protocol, TypedDict

from sqlalchemy import bindparam, select

from agents.dispatch import Dispatcher, must
from agents.learning.models import Models
from agents.minds.mind import Mind
from agents.record import Recorded, record
from agents.thinking import Decided, think
from agents.timers import claimed
from agents.workspace import Workspace
from domain.canonical import canonical
from domain.decision import Decision, LineVerdict
from domain.errors import InputError, KeyGone, StoreError
from profiles.arrivals import Arrival, Perceived
from profiles.people import People
from profiles.reading import Reading
from store import tables as t
from store.database import Database
from store.statements import Statement
from store.work import Work
from tools.toolbox import Toolbox
from traces.history import History, pruned_decision
from traces.logs import Correlation
from traces.spans import IDLE, Spans, Trail, Watch

LOG = logging.getLogger("safeconduct.agents")
_PAGED = frozenset(("human_decision", "consent_unknown"))

BATCH_MAX = 8
GROUP_MAX = 32
# Three workers on one family lose two rounds of three each: of 40 in a row, one in ten million.
ROUNDS_MAX = 40
BACK_OFF_SECONDS = 0.002

_WAITING = Statement(
    select(t.timers.c.timer_id).where(
        t.timers.c.timer_id == bindparam("timer"), t.timers.c.state == "pending"
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
    form, for callers that have nothing else (LangGraph's own tooling). `watch` is there where
    spans are on.
    """

    events: tuple[Mapping[str, Any], ...]
    arrivals: tuple[Arrival, ...]
    perceived: tuple[Perceived, ...]
    decided: tuple[Decided | None, ...]
    lines: tuple[Line, ...]
    round: int
    watch: Watch


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
    pending: deque[Work] = field(default_factory=deque)
    spans: Spans = field(default_factory=Spans)
    history: History = field(init=False)
    models: Models = field(init=False)
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.history = History(self.database)
        self.models = Models(self.database)
        self.dispatcher = Dispatcher(
            self.toolbox, self.commit, self.database.vault, self.history.steps
        )

    def commit(self, works: Sequence[Work]) -> list[bool]:
        """Commit works, and before them the outcomes that were waiting for a ride."""
        riding = []
        while self.pending:  # in this order: what is recorded as sent is there for good
            with suppress(IndexError):  # another thread was quicker
                riding.append(self.pending.popleft())
        self.toolbox.settle()
        written = self.database.commit([*riding, *works])
        must(riding, written)
        return written[len(riding) :]


async def perceive(batch: Batch, deps: Deps) -> Batch:
    """Read each arrival's person and context, all of one instant."""
    if "arrivals" not in batch:
        arrivals = tuple(arrival for raw in batch["events"] for arrival in _arrivals(raw, deps))
        batch = {"arrivals": arrivals}
    perceived = tuple(deps.people.read(batch["arrivals"]))
    for one in perceived:
        if one.context is not None:
            one.context = deps.models.in_force(deps.workspace, one.context)
    return {"arrivals": batch["arrivals"], "perceived": perceived}


def _arrivals(raw: Mapping[str, Any], deps: Deps) -> list[Arrival]:
    now = deps.database.clock()
    read = deps.reading.read(canonical(raw), received_at=now, place="input")
    for item in read:
        if isinstance(item, InputError):
            raise item
    return [Arrival(item, now) for item in read if not isinstance(item, InputError)]


async def decide(batch: Batch, deps: Deps) -> Batch:
    """Think about each context; duplicates and dead letters need no thought."""
    vault = deps.database.vault
    watch = batch.get("watch", IDLE)
    decided: list[Decided | None] = []
    for perceived in batch["perceived"]:
        decided.append(
            None
            if perceived.context is None
            else think(perceived.context, deps.workspace, deps.mind, vault, deps.models.of)
        )
        watch.lap(id(perceived))
    return {"decided": tuple(decided)}


async def act(batch: Batch, deps: Deps) -> Batch:
    """Commit every decision that still holds, then carry out what was permitted."""
    vault, workspace = deps.database.vault, deps.workspace
    watch = batch.get("watch", IDLE)
    lines = list(batch.get("lines", ()))
    again: list[Arrival] = []
    recorded: list[tuple[Perceived, Recorded]] = []
    for perceived, decided in zip(batch["perceived"], batch["decided"], strict=True):
        if perceived.again:
            again.append(perceived.arrival)
        elif decided is None:
            lines.append(_undecided(perceived, deps))
        else:
            try:
                made = record(
                    perceived,
                    decided,
                    workspace.guard,
                    vault,
                    version=workspace.version,
                    owner=deps.owner,
                    spread=workspace.releases.spread,
                )
            except KeyGone:  # the person was erased while we were thinking
                again.append(perceived.arrival)
                continue
            recorded.append((perceived, made))
    watch.begin()
    written = deps.commit([made.work for _, made in recorded])
    since = monotonic()
    watch.lap("commit")
    for (perceived, made), held in zip(recorded, written, strict=True):
        if held:
            lines.append(
                Line(perceived.arrival, made.decision.verdict, perceived.event_id, made.decision)
            )
            _page(made.decision, workspace)
            if made.intents or deps.spans.on or LOG.isEnabledFor(logging.INFO):
                await _carry_out(perceived, made, deps, watch, since)
        else:
            _overtaken(made)
            if _is_still_asked(perceived.arrival, deps):
                again.append(perceived.arrival)
    # Events of one batch may turn out to be of one person: each round writes one of them.
    rounds = 1 if any(written) else batch.get("round", 0) + 1
    if again and rounds > ROUNDS_MAX:
        raise StoreError(
            f"a decision was overtaken {ROUNDS_MAX} times in a row",
            place=again[0].event.place or None,
            remedy="try again: somebody else is changing the same person all the time",
        )
    if again and rounds > 1:
        # Whoever lost again has met another process; a chance wait parts them. (Not what decides:
        # thinking takes its only chance from the event.)
        await asyncio.sleep(BACK_OFF_SECONDS * 2 ** min(rounds, 8) * random())  # noqa: S311
    return {"arrivals": tuple(again), "lines": tuple(lines), "round": rounds}


class Step(Protocol):
    """One step over a micro-batch: what it returns is merged into the batch."""

    __name__: str

    def __call__(self, batch: Batch, deps: Deps) -> Awaitable[Batch]:
        """Take the step."""
        ...


def watched(step: Step) -> Step:
    """The same step; where spans are on it is timed, and one that raises leaves a span."""

    @wraps(step)
    async def run(batch: Batch, deps: Deps) -> Batch:
        if not deps.spans.on:
            return await step(batch, deps)
        watch = batch.get("watch") or Watch()
        watch.round = batch.get("round", 0) + 1
        began = watch.begin()
        try:
            done = await step({**batch, "watch": watch}, deps)
        except BaseException as error:
            deps.spans.failed(step.__name__, watch, began, error)
            raise
        watch.laps[step.__name__] = (began, time_ns())
        return {**done, "watch": watch}

    return run


STEPS = tuple(watched(step) for step in (perceive, decide, act))


async def _carry_out(
    perceived: Perceived, made: Recorded, deps: Deps, watch: Watch, since: float
) -> None:
    decision = made.decision
    assert perceived.context is not None
    with deps.spans.decision(decision, perceived.context, watch, id(perceived)) as trail:
        if LOG.isEnabledFor(logging.INFO):
            names = ("verdict", "action", "journey", "channel", "held_for", "code", "rule", "asked")
            LOG.info("decided", extra={"fields": {name: getattr(decision, name) for name in names}})
        await deps.dispatcher.carry_out(made, deps.pending, trail, since)


def _page(decision: Decision, workspace: Workspace) -> None:
    """Tell the journey's owner of what went wrong and waits for a person; it is kept as `held`."""
    if decision.held_for != "human" or decision.code not in _PAGED:
        return
    journey = workspace.journeys.get(decision.journey or "")
    fields = {
        "owner": None if journey is None else journey.owner,
        "decision_id": decision.decision_id,
        **{name: getattr(decision, name) for name in ("journey", "action", "code", "rule")},
    }
    LOG.error("page the owner: held for a person", extra={"fields": fields})


def _overtaken(made: Recorded) -> None:
    with Trail(Correlation(made.decision.decision_id)):
        LOG.info("overtaken: read and decided again")


def _undecided(perceived: Perceived, deps: Deps) -> Line:
    """A duplicate repeats the first decision; a dead letter is kept with its cause."""
    if perceived.duplicate_of is not None:
        kept = deps.history.find(perceived.duplicate_of)
        if kept is None:
            first = pruned_decision(perceived.duplicate_of, perceived.arrival.now)
        else:
            first = kept.erased_decision() if kept.erased else kept.decision(perceived.event_id)
        return Line(perceived.arrival, "duplicate", perceived.event_id, first)
    assert perceived.refused is not None
    return Line(perceived.arrival, "dead", perceived.event_id, None, perceived.refused)


def _is_still_asked(arrival: Arrival, deps: Deps) -> bool:
    """Whether a lost decision is ours to make again: a later pass is whoever's claims its timer."""
    asked = arrival.asked
    return asked.parent_id is None or bool(deps.database.rows(_WAITING, timer=claimed(asked)))
