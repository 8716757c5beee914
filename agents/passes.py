"""Later passes over an event: what was held, and whose time has come, is asked again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select, update

from agents.dispatch import settle, tell
from agents.record import Record, read_record, settle_contact
from agents.steps import Deps
from agents.timers import Timer, ask_again
from domain.canonical import parse
from domain.context import BEGINS_ANEW, Pass, PassKind
from domain.event import Event
from profiles.arrivals import Arrival
from store import keys
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work
from tools import budgets, offers
from tools.toolbox import Intent, Outcome
from traces.history import History
from traces.logs import Correlation
from traces.spans import Trail

_KINDS: dict[str, PassKind] = {
    "release": "release",
    "switch": "release",
    "approval": "approval",
    "retry": "retry",
    "displaced": "displaced",
    "absence": "absence",
    "again": "again",
}
_NEXT = Statement(
    select(t.timers.c.due_at)
    .where(t.timers.c.state == "pending")
    .order_by(t.timers.c.due_at, t.timers.c.timer_id)
    .limit(1)
)
_TIMER = tuple(t.timers.c[name] for name in Timer.__dataclass_fields__)
_DUE = Statement(
    select(*_TIMER)
    .where(t.timers.c.state == "pending", t.timers.c.due_at <= bindparam("now"))
    .order_by(t.timers.c.due_at, t.timers.c.timer_id)
    .limit(bindparam("most"))
)
_TOLD = Statement(
    select(*_TIMER)
    # In the words of the partial index, which serves no others.
    .where(t.timers.c.state == "pending", t.timers.c.waits_for.is_not(None))
    .where(t.timers.c.waits_for == bindparam("source"), t.timers.c.watch_at <= bindparam("told"))
    .order_by(t.timers.c.watch_at)
    .limit(bindparam("most"))
)
_WATERMARKS = Statement(select(t.sources.c.source, t.sources.c.watermark_at))
_WAIT_FOR = Statement(
    update(t.timers)
    .where(t.timers.c.timer_id == bindparam("timer"), t.timers.c.state == "pending")
    .where(t.timers.c.due_at == bindparam("was"))
    .values(waits_for=bindparam("source"))
)
_ORPHANS = Statement(
    select(
        t.outbox.c.outbox_id,
        t.outbox.c.decision_id,
        t.outbox.c.profile_id,
        t.outbox.c.permit_id,
        t.outbox.c.step,
        t.outbox.c.tool,
        t.outbox.c.channel,
        t.outbox.c.sealed,
        t.outbox.c.created_at,
        t.outbox.c.state,
        t.data_keys.c.wrapped,
        t.outbox.c.owner,
        t.decisions.c.recorded_at,
    )
    .join(t.decisions, t.decisions.c.decision_id == t.outbox.c.decision_id)
    .join(
        t.data_keys,
        (t.data_keys.c.profile_id == t.outbox.c.profile_id)
        & (t.data_keys.c.retention == "erasable"),
    )
    # In the words of the partial index of what is open, which serves no others.
    .where(t.outbox.c.state.in_(("intended", "sending", "unknown")), t.outbox.c.state != "unknown")
    .order_by(t.outbox.c.decision_id, t.outbox.c.step)
)
DROP_TIMER = Statement(
    update(t.timers)
    .where(t.timers.c.timer_id == bindparam("timer"), t.timers.c.state == "pending")
    .values(state="cancelled")
)


def next_due(database: Database) -> datetime | None:
    """When the next timer is due, if any is; one whose source has told is due by then already."""
    found = [instant(at) for (at,) in database.rows(_NEXT)]
    found += [instant(timer.watch_at or 0) for timer in _told(database, 1)]
    return min(found, default=None)


def _told(database: Database, most: int) -> Iterator[Timer]:
    """Of each source that may lag, the first timers that it has told all for."""
    for source, told in database.rows(_WATERMARKS):
        for row in database.rows(_TOLD, source=source, told=told, most=most):
            yield Timer(*row)


def due(deps: Deps, now: datetime, most: int) -> list[Arrival]:
    """The earliest timers due by `now` as arrivals, of different people, each at its own instant.

    A timer is claimed by the commit of the decision it leads to, so it fires exactly once.
    """
    arrivals: dict[str, Arrival] = {}
    settled: list[Work] = []
    for timer, at in _fallen_due(deps, now, most):
        if timer.profile_id in arrivals:
            break  # a person's passes keep their order, one batch after another
        lagging = _lagging(deps, timer) if timer.kind == "absence" else None
        if lagging is not None and at < instant(timer.due_at):
            settled.append(_waits_for(timer, lagging))
            continue
        found = _arrival(deps, timer, lagging, at)
        if found is None:
            settled.append(_dropped(timer))
        else:
            arrivals[timer.profile_id] = found
    if settled:
        deps.commit(settled)
    return list(arrivals.values())


def _fallen_due(deps: Deps, now: datetime, most: int) -> Iterator[tuple[Timer, datetime]]:
    """What has fallen due, each with the instant at which it is to be asked about."""
    met: set[str] = set()
    for row in deps.database.rows(_DUE, now=micros(now), most=most):
        timer = Timer(*row)
        met.add(timer.timer_id)
        yield timer, instant(timer.due_at)
    for timer in _told(deps.database, most):
        if timer.timer_id not in met:
            yield timer, max(now, instant(timer.watch_at or 0))


def _lagging(deps: Deps, timer: Timer) -> str | None:
    """A source that has not told of all of an absence's time."""
    journey = deps.workspace.journeys.get(timer.journey or "")
    if journey is None or journey.absence is None or not journey.absence.sources:
        return None
    told: dict[str, int] = dict(deps.database.rows(_WATERMARKS))
    until = timer.watch_at or 0
    return next((name for name in journey.absence.sources if told.get(name, 0) < until), None)


def _waits_for(timer: Timer, source: str) -> Work:
    work = Work(shown_as=timer.timer_id)
    work.change(_WAIT_FOR, timer=timer.timer_id, was=timer.due_at, source=source)
    return work


def _dropped(timer: Timer) -> Work:
    work = Work(shown_as=timer.timer_id)
    work.change(DROP_TIMER, timer=timer.timer_id)
    return work


def _arrival(deps: Deps, timer: Timer, lagging: str | None, at: datetime) -> Arrival | None:
    """The question that a timer asks; None where its person was erased."""
    parent = History(deps.database).get(timer.decision_id)
    data = parent.record()
    if data is None:
        return None
    record = read_record(data)
    sealed = deps.database.vault.open(timer.profile_id, "erasable", "timers", timer.sealed)
    said, is_new = parse(sealed), _KINDS[timer.kind] in BEGINS_ANEW
    asked = Pass(
        kind=_KINDS[timer.kind],
        n=parent.pass_n + 1,
        parent_id=timer.decision_id,
        want=said["want"],
        expires_at=None if is_new else instant(timer.expires_at),
        reserved_offer=said["offer"],
        journey=timer.journey if is_new else record.context.asked.journey,
        lagging=lagging,
    )
    at = max(at, record.context.now)
    return arrival(record, asked, parent.event_key, timer.profile_id, at)


def arrival(
    record: Record, asked: Pass, event_key: bytes, profile_id: str, now: datetime
) -> Arrival:
    """The event of an earlier decision, asked about again; it changes nothing about the person."""
    view = record.context.event
    event = Event(
        source="",
        id=None,
        kind=view.kind,  # type: ignore[arg-type]
        name=view.name,
        occurred_at=view.occurred_at,
        received_at=view.received_at,
        identifiers=(),
        properties=view.properties,
        brand=record.context.brand,
    )
    return Arrival(event, now, asked, event_key, record.event_id, profile_id)


async def recover(deps: Deps) -> int:
    """Settle what a process that died left in the outbox; the number of steps settled.

    What had not begun is cancelled for a new pass; what had is looked up where its channel can
    be asked, and `unknown` where it cannot. Nothing is ever sent on an old permit, and what
    another process that is alive is about is left to it.
    """
    orphans: dict[str, list[tuple[Intent, str, bool]]] = {}
    vault, now = deps.database.vault, datetime.now(UTC)
    for row in deps.database.rows(_ORPHANS):
        owner, _, outside = row[11].partition("@")
        if not deps.database.is_gone(owner, now - instant(int(row[12]))):
            continue
        here = outside == deps.owner.partition("@")[2]
        outbox_id, decision_id, profile_id, permit_id, step, tool, channel = row[:7]
        vault.unwrap(profile_id, "erasable", row[10])
        intent = Intent(
            outbox_id=outbox_id,
            decision_id=decision_id,
            profile_id=profile_id,
            permit_id=permit_id,
            step=step,
            tool=tool,
            channel=channel,
            arguments=parse(vault.open(profile_id, "erasable", "outbox", row[7])),
            at=instant(int(row[8])),
        )
        orphans.setdefault(intent.decision_id, []).append((intent, row[9], here))
    count = 0
    for decision_id, steps in orphans.items():
        work = Work(shown_as=f"outbox of {decision_id}")
        outcomes = [await _recovered(deps, *step) for step in steps]
        for (intent, state, _), outcome in zip(steps, outcomes, strict=True):
            settle(work, intent, outcome, was=state)
        _settle_decision(deps, work, decision_id, steps[-1][0], outcomes)
        if not deps.commit([work])[0]:
            continue  # another process that starts, or the one that ended, has settled it meanwhile
        with Trail(Correlation(decision_id)):
            for (intent, _, _), outcome in zip(steps, outcomes, strict=True):
                tell(intent, outcome)
        count += len(steps)
    return count


async def _recovered(deps: Deps, intent: Intent, state: str, here: bool) -> Outcome:
    if state == "intended":
        return Outcome("cancelled", "interrupted before it began", "permit_expired")
    return await deps.toolbox.reconcile(intent, here=here)


def _settle_decision(
    deps: Deps, work: Work, decision_id: str, last: Intent, outcomes: list[Outcome]
) -> None:
    states = {outcome.state for outcome in outcomes}
    if "unknown" in states:
        settle_contact(work, decision_id, "unknown")
        return
    if states == {"sent"}:
        settle_contact(work, decision_id, "committed")
        return
    settle_contact(work, decision_id, "failed" if "failed" in states else "released")
    work.move(keys.person(last.profile_id))
    kept = deps.history.get(decision_id)
    data = kept.record()
    if data is None:
        return
    record = read_record(data)
    action = deps.workspace.actions.get(record.thought.action)
    if record.thought.contact_point is not None:
        work.move(keys.point(record.thought.contact_point))
    if record.context.household is not None:
        work.move(keys.household(record.context.household))
    for step in record.thought.steps:
        if step.tool == "offer":
            offers.release(work, step.arguments["brand"], step.arguments["offer"], decision_id)
            budgets.release(work, decision_id, record.context.budgets)
    keep_for = action.defer_for if action else timedelta(0)
    expires_at = record.context.asked.expires_at or record.context.now + keep_for
    ask_again(
        work,
        deps.database.vault,
        decision_id=decision_id,
        profile_id=kept.profile_id,
        kind="retry",
        due_at=record.context.now,
        expires_at=expires_at,
        want=record.thought.action,
        purpose=action.purpose if action else None,
        channel=record.thought.channel,
    )
