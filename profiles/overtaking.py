"""Marks messages that would not have been sent, had a late event come in time; ends what is waited
for where one still does.

What was sent stays sent, and stays in the record as it was decided; its step in the outbox is
flagged, so that whoever asks why is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, or_, select, update

from domain.event import Event
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.work import Work

OVERTAKEN = "overtaken"
# What is no longer to be stopped.
BEGUN = and_(
    t.outbox.c.tool == "message",
    t.outbox.c.state.in_(("sending", "sent", "unknown")),
    t.outbox.c.flag.is_(None),
)

_EARLIER = select(t.instances.c.key).where(
    t.instances.c.profile_id.in_(bindparam("people", expanding=True)),
    t.instances.c.journey == bindparam("journey"),
    t.instances.c.entered_at <= bindparam("since"),
)
# One that began by an absence had begun with the event that this was counted from.
_COUNTED_FROM = select(t.timers.c.instance).where(
    t.timers.c.profile_id.in_(bindparam("people", expanding=True)),
    t.timers.c.journey == bindparam("journey"),
    t.timers.c.since_at <= bindparam("since"),
)
_MADE = select(t.contacts.c.decision_id).where(
    t.contacts.c.profile_id.in_(bindparam("people", expanding=True)),
    t.contacts.c.at > bindparam("since"),
    t.contacts.c.journey == bindparam("journey"),
)
_OF_JOURNEY = Statement(
    update(t.outbox)
    .where(
        BEGUN,
        t.outbox.c.decision_id.in_(
            _MADE.where(
                or_(t.contacts.c.instance.in_(_EARLIER), t.contacts.c.instance.in_(_COUNTED_FROM))
            )
        ),
    )
    .values(flag=OVERTAKEN)
)
_END_WAIT = Statement(
    update(t.timers)
    .where(
        t.timers.c.profile_id.in_(bindparam("people", expanding=True)),
        t.timers.c.state == "pending",
        t.timers.c.kind == "absence",
        t.timers.c.journey == bindparam("name"),
        or_(bindparam("any_instance") == 1, t.timers.c.instance == bindparam("ref")),
        t.timers.c.since_at <= bindparam("at"),
        t.timers.c.due_at > bindparam("due"),
    )
    .values(due_at=bindparam("due"))
)
_OF_INSTANCE = Statement(
    update(t.outbox)
    .where(
        BEGUN,
        t.outbox.c.decision_id.in_(_MADE.where(t.contacts.c.instance == bindparam("instance"))),
    )
    .values(flag=OVERTAKEN)
)


def late_since(event: Event, said_at: datetime | None = None) -> datetime | None:
    """The instant from which what was done was done too early; None where nothing can have been.

    Args:
        said_at: when what the event tells was said, where that was earlier.
    """
    since = said_at or event.time
    return since if event.occurred_at is not None and since < event.received_at else None


def end_wait(
    work: Work,
    people: Sequence[str],
    journey: str,
    instance: str | None,
    at: datetime,
    now: datetime,
) -> None:
    """Have absences that are waited for, and are none any more, asked about at once.

    Args:
        instance: the one that the event names; None where it may be about any.
        at: when what was not to happen did.
    """
    said: dict[str, Any] = {"people": list(people), "name": journey, "at": micros(at)}
    said |= {"due": micros(now), "any_instance": int(instance is None), "ref": instance or ""}
    work.change(_END_WAIT, **said)


def overtake(
    work: Work, people: Sequence[str], journey: str, instance: str | None, since: datetime
) -> None:
    """Mark what a journey that ended at `since` has sent these people after that.

    Args:
        instance: the one that ended; None where the event does not say: each that had begun.
    """
    said: dict[str, Any] = {"people": list(people), "journey": journey, "since": micros(since)}
    if instance is None:
        work.change(_OF_JOURNEY, **said)
    else:
        work.change(_OF_INSTANCE, **said, instance=instance)
