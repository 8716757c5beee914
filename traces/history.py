"""Reads decisions back out of the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, select

from domain.action import NO_ACTION
from domain.decision import Decision
from domain.errors import UsageError
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.packing import unpack
from store.statements import Statement

_COLUMNS = (
    t.decisions.c.decision_id,
    t.decisions.c.profile_id,
    t.decisions.c.at,
    t.decisions.c.event,
    t.decisions.c.journey,
    t.decisions.c.action,
    t.decisions.c.tool,
    t.decisions.c.channel,
    t.decisions.c.verdict,
    t.decisions.c.held_for,
    t.decisions.c.code,
    t.decisions.c.reason,
    t.decisions.c.rule,
    t.decisions.c.mind,
    t.decisions.c.next_eligible_at,
    t.decisions.c.pass_kind,
    t.decisions.c.parent_id,
    t.decisions.c.workspace_version,
    t.decisions.c.policy_version,
    t.decisions.c.event_key,
    t.decisions.c.pass_n,
    t.decisions.c.sealed,
    t.data_keys.c.wrapped,
)
_KEYED = (t.data_keys.c.profile_id == t.decisions.c.profile_id) & (
    t.data_keys.c.retention == "erasable"
)
_FROM = t.decisions.outerjoin(t.data_keys, _KEYED)
_BY_ID = Statement(
    select(*_COLUMNS)
    .select_from(_FROM)
    .where(t.decisions.c.decision_id.in_(bindparam("ids", expanding=True)))
)
_DECIDED = Statement(
    select(t.events.c.event_key).where(t.events.c.decision_id == bindparam("decision")).limit(1)
)
_LATEST = Statement(
    select(*_COLUMNS)
    .select_from(_FROM)
    .order_by(t.decisions.c.decision_id.desc())
    .limit(bindparam("most"))
)
_OF_PEOPLE = Statement(
    select(*_COLUMNS)
    .select_from(_FROM)
    .where(t.decisions.c.profile_id.in_(bindparam("people", expanding=True)))
    .order_by(t.decisions.c.decision_id.desc())
    .limit(bindparam("most"))
)
_MEMBERS = Statement(
    select(t.profiles.c.profile_id).where(
        t.profiles.c.root_id.in_(
            select(t.profiles.c.root_id).where(t.profiles.c.profile_id == bindparam("person"))
        )
    )
)
_OUTCOMES = Statement(
    select(
        t.outcomes.c.step,
        t.outcomes.c.state,
        t.outcomes.c.code,
        t.outcomes.c.detail,
        t.outcomes.c.at,
        t.outcomes.c.by,
    )
    .where(t.outcomes.c.decision_id == bindparam("decision"))
    .order_by(t.outcomes.c.n)
)
_STEPS = Statement(
    select(t.outbox.c.step, t.outbox.c.tool, t.outbox.c.channel, t.outbox.c.state, t.outbox.c.flag)
    .where(t.outbox.c.decision_id == bindparam("decision"))
    .order_by(t.outbox.c.step)
)
_CHILDREN = Statement(
    select(t.decisions.c.decision_id, t.decisions.c.pass_kind, t.decisions.c.verdict)
    .where(t.decisions.c.parent_id == bindparam("decision"))
    .order_by(t.decisions.c.decision_id)
)


_PERMITTED = Statement(
    select(*_COLUMNS)
    .select_from(_FROM)
    .where(
        t.decisions.c.journey == bindparam("journey"),
        t.decisions.c.verdict == "permitted",
        t.decisions.c.at >= bindparam("since"),
        # What did not come about is no trial of anything.
        ~exists().where(
            t.outbox.c.decision_id == t.decisions.c.decision_id, t.outbox.c.state != "sent"
        ),
    )
    .order_by(t.decisions.c.decision_id)
)
_EVERY = Statement(select(*_COLUMNS).select_from(_FROM).order_by(t.decisions.c.decision_id))


class Kept:
    """One decision's row. `record()` opens its sealed part."""

    def __init__(self, database: Database, row: tuple[Any, ...]) -> None:
        self._database = database
        self._row = row

    @property
    def decision_id(self) -> str:
        """The decision's name."""
        return str(self._row[0])

    @property
    def profile_id(self) -> str:
        """The fragment in whose chain and under whose key the row stands."""
        return str(self._row[1])

    @property
    def event_key(self) -> bytes:
        """The event's keyed fingerprint."""
        return bytes(self._row[19])

    @property
    def pass_n(self) -> int:
        """Which pass over the event this was; 0 is the first."""
        return int(self._row[20])

    @property
    def erased(self) -> bool:
        """Whether the key that opens the sealed part was destroyed."""
        return self._row[22] is None

    def record(self) -> bytes | None:
        """The sealed part's bytes, or None where the person was erased."""
        if self.erased:
            return None
        vault = self._database.vault
        vault.unwrap(self.profile_id, "erasable", self._row[22])
        return unpack(vault.open(self.profile_id, "erasable", "decisions", self._row[21]))

    def decision(self, event_id: str = "") -> Decision:
        """The row's plain columns."""
        row = self._row
        return Decision(
            decision_id=row[0],
            event_id=event_id,
            profile_id=row[1],
            at=instant(row[2]),
            event=row[3],
            journey=row[4],
            action=row[5],
            tool=row[6],
            channel=row[7],
            verdict=row[8],
            held_for=row[9],
            code=row[10],
            reason=row[11],
            rule=row[12],
            mind=row[13],
            next_eligible_at=instant(row[14]),
            asked=row[15],
            parent_id=row[16],
            workspace_version=row[17],
            policy_version=row[18],
        )

    def erased_decision(self) -> Decision:
        """What may be told of a decision about somebody who was erased: that there was one."""
        return replace(
            self.decision(),
            profile_id="",
            event="",
            journey=None,
            action=NO_ACTION,
            tool=None,
            channel=None,
            verdict="none",
            held_for=None,
            code="erased",
            reason="the person was erased",
            rule=None,
            next_eligible_at=None,
            parent_id=None,
        )


def pruned_decision(decision_id: str, at: datetime) -> Decision:
    """What may be told, at `at`, of a decision that was pruned: that there was one."""
    return Decision(
        decision_id=decision_id,
        event_id="",
        profile_id="",
        at=at,
        event="",
        journey=None,
        action=NO_ACTION,
        tool=None,
        channel=None,
        verdict="none",
        held_for=None,
        code="pruned",
        reason="the record was pruned",
        rule=None,
        mind="",
        next_eligible_at=None,
        asked="event",
        parent_id=None,
        workspace_version="",
        policy_version="",
    )


class History:
    """The decisions of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, decision_id: str) -> Kept:
        """One decision. Raises `UsageError` where there is none of that name."""
        kept = self.find(decision_id)
        if kept is not None:
            return kept
        if self._database.rows(_DECIDED, decision=decision_id):
            raise UsageError(
                f"decision `{decision_id}` was pruned: its date has come",
                remedy="nothing is left of it; `[retention]` in `settings.toml` says how long "
                "the record is kept",
            )
        raise UsageError(
            f"there is no decision `{decision_id}`",
            remedy="list them with `safeconduct decisions`",
        )

    def find(self, decision_id: str) -> Kept | None:
        """One decision, or None where it is there no longer."""
        rows = self._database.rows(_BY_ID, ids=[decision_id])
        return Kept(self._database, rows[0]) if rows else None

    def latest(self, most: int) -> list[Kept]:
        """The newest decisions, oldest of them first."""
        rows = self._database.rows(_LATEST, most=most)
        return [Kept(self._database, row) for row in reversed(rows)]

    def every(self) -> Iterator[Kept]:
        """All decisions, oldest first, one at a time; nothing else is read meanwhile."""
        with self._database.read() as snapshot:
            for row in snapshot.stream(_EVERY):
                yield Kept(self._database, row)

    def done_for(self, journey: str, since: datetime) -> Iterator[Kept]:
        """A journey's decisions since an instant that were carried out, oldest first."""
        with self._database.read() as snapshot:
            for row in snapshot.stream(_PERMITTED, journey=journey, since=micros(since)):
                yield Kept(self._database, row)

    def of_person(self, profile_id: str, most: int) -> list[Kept]:
        """The newest decisions about a person, whichever fragment they were made for."""
        members = [row[0] for row in self._database.rows(_MEMBERS, person=profile_id)]
        rows = self._database.rows(_OF_PEOPLE, people=members or [profile_id], most=most)
        return [Kept(self._database, row) for row in reversed(rows)]

    def outcomes(self, decision_id: str) -> list[dict[str, Any]]:
        """What became of a decision's steps, in the order it became known; `by` is a colleague."""
        names = ("step", "state", "code", "detail", "at", "by")
        rows = self._database.rows(_OUTCOMES, decision=decision_id)
        return [{**dict(zip(names, row, strict=True)), "at": instant(row[4])} for row in rows]

    def steps(self, decision_id: str) -> list[dict[str, Any]]:
        """A decision's steps in the outbox, and how each stands."""
        names = ("step", "tool", "channel", "state", "flag")
        rows = self._database.rows(_STEPS, decision=decision_id)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def children(self, decision_id: str) -> list[dict[str, Any]]:
        """The later passes that this decision led to."""
        names = ("decision_id", "pass", "verdict")
        rows = self._database.rows(_CHILDREN, decision=decision_id)
        return [dict(zip(names, row, strict=True)) for row in rows]
