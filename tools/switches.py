"""Kill switches: stop a channel, a tool, a journey, a team or everything, at the next dispatch.

Every decision's commit asserts the switches' contention key, so a switch that is committed before
a sending begins stops it, whoever decided and however long ago.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update

from domain.errors import StoreError, UsageError
from store import keys
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work

EVERYTHING = "all"

_COLUMNS = (
    t.kill_switches.c.scope,
    t.kill_switches.c.reason,
    t.kill_switches.c.on_at,
    t.kill_switches.c.on_by,
    t.kill_switches.c.off_at,
    t.kill_switches.c.off_by,
    t.kill_switches.c.off_reason,
)
_LIST = Statement(select(*_COLUMNS).order_by(t.kill_switches.c.on_at, t.kill_switches.c.switch_id))
_REVISION = Statement(select(t.revisions.c.revision).where(t.revisions.c.key == bindparam("key")))
_OFF = Statement(
    update(t.kill_switches)
    .where(t.kill_switches.c.scope == bindparam("of"), t.kill_switches.c.off_at.is_(None))
    .values(off_at=bindparam("at"), off_by=bindparam("by"), off_reason=bindparam("why"))
)
_WAKE = Statement(
    update(t.timers)
    .where(t.timers.c.kind == "switch", t.timers.c.state == "pending")
    .where(t.timers.c.due_at > bindparam("due"))
    .values(due_at=bindparam("due"))
)


@dataclass(frozen=True, slots=True)
class Switch:
    """One time that something was stopped; on while `off_at` is None."""

    scope: str
    reason: str
    on_at: datetime
    on_by: str
    off_at: datetime | None
    off_by: str | None
    off_reason: str | None


def history(database: Database) -> list[Switch]:
    """Every switch there ever was, oldest first."""
    return [
        Switch(scope, reason, instant(on_at), on_by, instant(off_at), off_by, off_reason)
        for scope, reason, on_at, on_by, off_at, off_by, off_reason in database.rows(_LIST)
    ]


def are_on(database: Database) -> list[Switch]:
    """The switches that are on."""
    return [switch for switch in history(database) if switch.off_at is None]


def turn_on(database: Database, scope: str, *, reason: str, by: str, at: datetime) -> None:
    """Stop a scope. Raises `UsageError` where it is stopped already."""
    if any(switch.scope == scope for switch in are_on(database)):
        raise UsageError(f"`{scope}` is stopped already", remedy="see `safeconduct kill list`")
    revision = _revision(database)
    work = _work(scope, revision)
    work.insert(
        t.kill_switches,
        switch_id=f"switch-{revision + 1}",
        scope=scope,
        reason=reason,
        on_at=micros(at),
        on_by=by,
    )
    _commit(database, work)


def turn_off(database: Database, scope: str, *, reason: str, by: str, at: datetime) -> None:
    """Let a scope go on; what it held is asked again. Raises `UsageError` if it is not stopped."""
    if all(switch.scope != scope for switch in are_on(database)):
        raise UsageError(f"`{scope}` is not stopped", remedy="see `safeconduct kill list`")
    work = _work(scope, _revision(database))
    work.change(_OFF, expect=1, of=scope, at=micros(at), by=by, why=reason)
    work.change(_WAKE, due=micros(at))
    _commit(database, work)


def _revision(database: Database) -> int:
    rows = database.rows(_REVISION, key=keys.SWITCHES)
    return int(rows[0][0]) if rows else 0


def _work(scope: str, revision: int) -> Work:
    work = Work(shown_as=f"kill switch `{scope}`")
    work.asserts[keys.SWITCHES] = revision
    work.move(keys.SWITCHES)
    return work


def _commit(database: Database, work: Work) -> None:
    if not database.commit([work])[0]:
        raise StoreError(
            "somebody else turned a switch at this moment", place=work.shown_as, remedy="try again"
        )
