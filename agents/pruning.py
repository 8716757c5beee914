"""Prunes the record: decisions whose date has come go, and a signed tombstone stands for them.

Of each person's chain the beginning is pruned, up to the first decision that is too young, or
that something still waits for. What was said about consent stays, and so do suppressions,
requests and rulings: what forbids has no date, and a yes needs its proof for as long as it is
used. That an event was decided stays too, so that none is decided twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Table, bindparam, delete, select, union

from agents.steps import Deps
from profiles import queries, requests
from store import keys
from store import tables as t
from store.chain import Head, Tombstone, with_kept
from store.database import Snapshot
from store.instants import micros
from store.statements import Statement
from store.work import Work
from traces.ledger import Entry, entries_of, tombstone_of, verify

PRUNED: tuple[Table, ...] = (t.decisions, t.outcomes, t.approval_votes)
"""Tables of the record whose rows are pruned."""

_HANGS_ON: tuple[Table, ...] = (t.permits, t.approvals, t.timers, t.contacts)
"""What says nothing without its decision, and goes with it; beside steps and closed cases."""

BATCH = 100
"""Of how many people the chains are pruned in one commit."""

_OLD = Statement(
    select(t.decisions.c.profile_id)
    .where(t.decisions.c.at < bindparam("before"))
    .distinct()
    .order_by(t.decisions.c.profile_id)
)
_WAITED_FOR = Statement(
    union(
        *(
            select(table.c.decision_id).where(
                table.c.profile_id.in_(bindparam("people", expanding=True)),
                table.c.state.in_(states),
            )
            for table, states in (
                (t.outbox, ("intended", "sending", "unknown")),
                (t.timers, ("pending",)),
                (t.approvals, ("pending",)),
                (t.cases, ("open",)),
            )
        )
    )
)
_DELETE = {
    table.name: Statement(
        delete(table).where(
            table.c.profile_id == bindparam("person"), table.c.n <= bindparam("length")
        )
    )
    for table in PRUNED
}
_DROP_TOMBSTONE = Statement(
    delete(t.tombstones).where(t.tombstones.c.profile_id == bindparam("person"))
)
_KNOWN = select(t.decisions.c.decision_id)
_LEFT_STEPS = Statement(select(t.outbox.c.outbox_id).where(t.outbox.c.decision_id.not_in(_KNOWN)))
_DROP_STEPS = Statement(delete(t.outbox).where(t.outbox.c.decision_id.not_in(_KNOWN)))
_DROP_CASES = Statement(
    delete(t.cases).where(t.cases.c.decision_id.not_in(_KNOWN), t.cases.c.state != "open")
)
_DROP = tuple(
    Statement(delete(table).where(table.c.decision_id.not_in(_KNOWN))) for table in _HANGS_ON
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many entries of a fragment's chain were pruned now; `length` is where it begins now."""

    profile_id: str
    entries: int
    length: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One fragment's pruning, before it is committed; `key` is the person's."""

    key: str
    work: Work
    done: Pruned


def prune(deps: Deps, at: datetime) -> list[Pruned]:
    """Prune what the workspace keeps no longer, as of `at`.

    Messages and whatever else hangs on a decision go after the commit; cut short, the next
    pruning finishes it. Who is under a legal hold is passed over.

    Raises:
        LedgerBroken: the record is not as it was written; nothing is pruned of it.
    """
    verify(deps.database)  # no tombstone is signed for what somebody else has written
    before = at - deps.workspace.retention.record
    pruned: list[Pruned] = []
    batch: dict[str, _Step] = {}
    for (profile_id,) in deps.database.rows(_OLD, before=micros(before)):
        step = _prune(deps, profile_id, before, at)
        if step is None:
            continue
        if step.key in batch or len(batch) == BATCH:
            pruned += _commit(deps, batch)
        batch[step.key] = step
    pruned += _commit(deps, batch)
    if _sweep(deps) or pruned:
        deps.database.scrub()
    return pruned


def _commit(deps: Deps, batch: dict[str, _Step]) -> list[Pruned]:
    """Prune whole people or not at all: whom something was decided about meanwhile, next time."""
    steps = list(batch.values())
    batch.clear()
    written = deps.commit([step.work for step in steps])
    return [step.done for step, held in zip(steps, written, strict=True) if held]


def _prune(deps: Deps, profile_id: str, before: datetime, at: datetime) -> _Step | None:
    database, work = deps.database, Work(shown_as=f"pruning of `{profile_id}`")
    with database.read() as snapshot:
        root = dict(snapshot.rows(queries.ROOTS, people=[profile_id])).get(profile_id, profile_id)
        people = sorted({profile_id, *_fragments(snapshot, root)})
        key = keys.person(root)
        work.asserts |= {key: 0, **dict(snapshot.rows(queries.REVISIONS, keys=[key]))}
        if requests.in_force(snapshot, "hold", people):
            return None
        tombstone = tombstone_of(snapshot, database.vault, profile_id)
        entries = entries_of(snapshot, profile_id, tombstone)
        waited_for = {one for (one,) in snapshot.rows(_WAITED_FOR, people=people)}
    last = _last(entries, before, waited_for)
    if last is None:
        return None
    now = _tombstone(entries, last, before, at)
    counts = {
        name: sum(one.table == name and one.n <= last.n for one in entries) for name in _DELETE
    }
    for name, statement in _DELETE.items():
        work.change(statement, expect=counts[name], person=profile_id, length=last.n)
    work.change(_DROP_TOMBSTONE, person=profile_id)
    work.insert(t.tombstones, **now.columns(database.vault))
    work.move(key)
    return _Step(key, work, Pruned(profile_id, sum(counts.values()), last.n))


def _fragments(snapshot: Snapshot, root: str) -> list[str]:
    return [profile_id for profile_id, *_ in snapshot.rows(queries.FRAGMENTS, roots=[root])]


def _last(entries: Sequence[Entry], before: datetime, waited_for: set[str]) -> Entry | None:
    """The last entry of the beginning that may go."""
    last: Entry | None = None
    for entry in entries:
        if entry.table not in _DELETE:
            continue
        said = entry.columns()  # a vote stands after the decision that it is about
        if said["at"] >= micros(before) or said.get("decision_id") in waited_for:
            break
        last = entry
    return last


def _tombstone(entries: Sequence[Entry], last: Entry, before: datetime, at: datetime) -> Tombstone:
    kept = Head()
    for entry in entries:
        if entry.n <= last.n and entry.table not in _DELETE:
            kept = with_kept(kept, entry.table, entry.values, entry.digest)
    return Tombstone(last.profile_id, Head(last.n, last.digest), kept, micros(before), micros(at))


def _sweep(deps: Deps) -> bool:
    """Let go of what hung on decisions that are gone, messages first; whether there was any."""
    left = [outbox_id for (outbox_id,) in deps.database.rows(_LEFT_STEPS)]
    if left:
        deps.toolbox.forget(left)
    work = Work(shown_as="pruning")
    for statement in (_DROP_STEPS, _DROP_CASES, *_DROP):
        work.change(statement)
    deps.commit([work])
    return bool(left)
