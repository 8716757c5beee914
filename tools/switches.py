"""Kill switches: stop a channel, a tool, a journey, a team or everything, at the next dispatch.

Every decision's commit asserts the switches' contention key, so a switch that is committed before
a sending begins stops it, whoever decided and however long ago. One person stops; two different
ones let it go on, and then what waited is asked about again little by little, never all at once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, bindparam, case, func, select, update

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
    t.kill_switches.c.asked_at,
    t.kill_switches.c.asked_by,
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
_ASK = Statement(
    update(t.kill_switches)
    .where(t.kill_switches.c.scope == bindparam("of"), t.kill_switches.c.off_at.is_(None))
    .values(asked_at=bindparam("at"), asked_by=bindparam("by"))
)
_HELD = (
    select(
        t.timers.c.timer_id,
        func.row_number().over(order_by=(t.timers.c.expires_at, t.timers.c.timer_id)).label("n"),
    )
    .where(t.timers.c.kind == "switch", t.timers.c.state == "pending")
    .where(t.timers.c.due_at > bindparam("due"))
    .subquery()
)
_TURN: ColumnElement[int] = bindparam("due") + (_HELD.c.n - 1) * bindparam("apart")
_WAKE = Statement(
    update(t.timers)
    .where(t.timers.c.timer_id == _HELD.c.timer_id)
    .values(due_at=case((t.timers.c.expires_at > _TURN, _TURN), else_=t.timers.c.expires_at))
)
"""One after the other, what expires first at the head; nobody waits longer than it is wanted."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One time that something was stopped; on while `off_at` is None.

    `asked_by` asked first that it go on.
    """

    scope: str
    reason: str
    on_at: datetime
    on_by: str
    asked_at: datetime | None
    asked_by: str | None
    off_at: datetime | None
    off_by: str | None
    off_reason: str | None


def history(database: Database) -> list[Switch]:
    """Every switch there ever was, oldest first."""
    return [
        Switch(
            scope, reason, instant(on_at), on_by, instant(asked_at), asked_by, instant(off_at), *off
        )
        for scope, reason, on_at, on_by, asked_at, asked_by, off_at, *off in database.rows(_LIST)
    ]


def are_on(database: Database) -> list[Switch]:
    """The switches that are on."""
    return [switch for switch in history(database) if switch.off_at is None]


def turn_on(
    database: Database,
    scope: str,
    *,
    reason: str,
    by: str,
    at: datetime,
    authorised: Collection[str],
) -> None:
    """Stop a scope.

    Raises:
        UsageError: it is stopped already, or `by` is not among the `authorised`.
    """
    _check(by, authorised)
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


def turn_off(
    database: Database,
    scope: str,
    *,
    reason: str,
    by: str,
    at: datetime,
    authorised: Collection[str],
    apart: timedelta,
) -> Literal["asked", "off"]:
    """Ask that a scope go on, or confirm it as the second person; then what it held is asked again.

    A first request counts only while whoever made it is still authorised.

    Args:
        apart: how far apart the new passes are, so that a restart is no flood.

    Raises:
        UsageError: it is not stopped, `by` is not authorised, or has asked for it before.
    """
    _check(by, authorised)
    revision = _revision(database)
    found = [switch for switch in are_on(database) if switch.scope == scope]
    if not found:
        raise UsageError(f"`{scope}` is not stopped", remedy="see `safeconduct kill list`")
    first = found[0].asked_by if found[0].asked_by in authorised else None
    work = _work(scope, revision)
    if first is None:
        work.change(_ASK, expect=1, of=scope, at=micros(at), by=by)
        _commit(database, work)
        return "asked"
    others = [name for name in authorised if name != by]
    if first == by:
        raise UsageError(
            f"`{by}` has asked for it already",
            place=f"kill switch `{scope}`",
            remedy=f"another person has to confirm it: {', '.join(others)}"
            if others
            else "give somebody else a role that may, in `people.yaml`",
        )
    work.change(_OFF, expect=1, of=scope, at=micros(at), by=by, why=reason)
    work.change(_WAKE, due=micros(at), apart=apart // timedelta(microseconds=1))
    _commit(database, work)
    return "off"


def _check(by: str, authorised: Collection[str]) -> None:
    if by in authorised:
        return
    raise UsageError(
        f"`{by}` may not turn switches",
        remedy=f"somebody who may: {', '.join(authorised)} (`--by {next(iter(authorised))}`)"
        if authorised
        else "give two people a role of `[switches]` in `people.yaml`",
    )


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
