"""What a no ends that was already on its way, in the very transaction that writes the no down.

A held contact is asked about again at once, and finds the no. What waits for an approval is
withdrawn, a step that was not begun is cancelled, and one that is being sent is flagged: nobody
can take it back. Where the no came late, what was sent since it was said is marked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, or_, select, update

from profiles import queries
from profiles.overtaking import BEGUN, OVERTAKEN
from store import tables as t
from store.database import Snapshot
from store.instants import micros
from store.statements import Statement
from store.work import Work

IN_FLIGHT = "in_flight_at_optout"
CANCELLED = "the customer said no before it was begun"


def _any(name: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a column is one of those named, or anything is meant."""
    among = column.in_(bindparam(f"{name}s", expanding=True))
    return or_(bindparam(f"any_{name}") == 1, among)


_CONCERNED = select(t.contacts.c.decision_id).where(
    t.contacts.c.profile_id.in_(bindparam("people", expanding=True)),
    _any("brand", t.contacts.c.brand),
    _any("channel", t.contacts.c.channel),
    _any("purpose", t.contacts.c.purpose),
    _any("topic", t.contacts.c.topic),
    _any("point", t.contacts.c.contact_point),
)
_RESERVED = _CONCERNED.where(t.contacts.c.state.in_(("reserved", "held")))
_WITHDRAW = Statement(
    update(t.approvals)
    .where(t.approvals.c.state == "pending", t.approvals.c.decision_id.in_(_RESERVED))
    .values(state="withdrawn", decided_at=bindparam("now"))
)
_CANCEL = Statement(
    update(t.outbox)
    .where(t.outbox.c.state == "intended", t.outbox.c.decision_id.in_(_RESERVED))
    .values(state="cancelled", detail=CANCELLED, updated_at=bindparam("now"))
)
_FLAG = Statement(
    update(t.outbox)
    .where(
        and_(t.outbox.c.state == "sending", t.outbox.c.tool == "message"),
        t.outbox.c.decision_id.in_(_RESERVED),
    )
    .values(flag=IN_FLIGHT)
)
_OVERTAKE = Statement(
    update(t.outbox)
    .where(
        BEGUN,
        t.outbox.c.decision_id.in_(_CONCERNED.where(t.contacts.c.at > bindparam("since"))),
    )
    .values(flag=OVERTAKEN)
)
_EVERYBODY = Statement(
    select(t.profiles.c.profile_id).where(
        t.profiles.c.root_id.in_(bindparam("roots", expanding=True))
    )
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a no is about; None is all of it. `refs` are the contact points it is at."""

    brands: Collection[str] | None = None
    channels: Collection[str] | None = None
    purposes: Collection[str] | None = None
    topics: Collection[str] | None = None
    refs: Collection[str] | None = None


def everybody(snapshot: Snapshot, members: Iterable[str], refs: Collection[str]) -> list[str]:
    """These fragments, and all fragments of whoever uses one of these contact points."""
    found = set(members)
    if refs:
        roots = {root for _, _, _, root in snapshot.rows(queries.HOLDING, refs=sorted(refs))}
        found |= {one for (one,) in snapshot.rows(_EVERYBODY, roots=sorted(roots))}
    return sorted(found)


def cancel(
    work: Work,
    people: Sequence[str],
    scope: Scope,
    now: datetime,
    late_since: datetime | None = None,
) -> None:
    """End what is on its way to these people within the scope.

    Args:
        late_since: when the no was said, where it came late.
    """
    said: dict[str, Any] = {"people": list(people), "now": micros(now)}
    for name, values in (
        ("brand", scope.brands),
        ("channel", scope.channels),
        ("purpose", scope.purposes),
        ("topic", scope.topics),
        ("point", scope.refs),
    ):
        said[f"any_{name}"] = int(values is None)
        said[f"{name}s"] = sorted(values or ())
    for statement in (_FLAG, _CANCEL, _WITHDRAW):
        work.change(statement, **said)
    if late_since is not None:
        work.change(_OVERTAKE, **said, since=micros(late_since))
    ask_again(work, people, scope, now)


def ask_again(work: Work, people: Sequence[str], scope: Scope, now: datetime) -> None:
    """Have what is held for these people within the scope asked about again at once."""
    work.change(
        queries.BRING_FORWARD,
        people=list(people),
        any_channel=int(scope.channels is None),
        channels=sorted(scope.channels or ()),
        any_purpose=int(scope.purposes is None),
        purposes=sorted(scope.purposes or ()),
        due=micros(now),
    )
