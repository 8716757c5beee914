"""Opens cases and hands customers over to people, with a packet that does not start over."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import String, and_, bindparam, case, exists, insert, select, update

from domain.canonical import canonical
from store import keys
from store import tables as t
from store.database import Database
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools.toolbox import Intent, Outcome, Recovery

_IS_OPEN = and_(
    t.cases.c.profile_id == bindparam("person"),
    t.cases.c.reason == bindparam("why"),
    t.cases.c.state == "open",
)
_OPEN = Statement(select(t.cases.c.case_id).where(_IS_OPEN))
_UPDATE = Statement(
    update(t.cases)
    .where(_IS_OPEN)
    .values(
        sealed=bindparam("to_sealed"),
        updated_at=bindparam("at"),
        decision_id=bindparam("decision"),
        kind=case(
            (t.cases.c.kind == "handoff", "handoff"), else_=bindparam("of_kind", type_=String)
        ),
    )
)
_COLUMNS = {
    t.cases.c.case_id: "case",
    t.cases.c.profile_id: "person",
    t.cases.c.reason: "why",
    t.cases.c.kind: "of_kind",
    t.cases.c.queue: "line",
    t.cases.c.state: "state",
    t.cases.c.opened_at: "at",
    t.cases.c.updated_at: "at",
    t.cases.c.decision_id: "decision",
    t.cases.c.sealed: "to_sealed",
}
_OPEN_ONE = Statement(
    insert(t.cases).from_select(
        list(_COLUMNS),
        select(*(bindparam(name, type_=column.type) for column, name in _COLUMNS.items())).where(
            ~exists().where(_IS_OPEN)
        ),
    )
)


class CaseTool:
    """One open case a person and reason: opened, or brought up to date if there is one."""

    def __init__(self, database: Database, kind: Literal["case", "handoff"]) -> None:
        self._database = database
        self._kind = kind

    def recovery(self, intent: Intent) -> Recovery:
        """A case is a row, there or not."""
        return "store"

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Write the case with what the agent needs, sealed under the person's key."""
        reason = intent.arguments["reason"]
        sealed = self._database.vault.seal(
            intent.profile_id, "erasable", "cases", canonical(intent.arguments["packet"])
        )
        found = self._database.rows(_OPEN, person=intent.profile_id, why=reason)
        case_id = f"case-{intent.outbox_id}"
        said = {
            "person": intent.profile_id,
            "why": reason,
            "of_kind": self._kind,
            "at": micros(intent.at),
            "decision": intent.decision_id,
            "to_sealed": sealed,
        }
        # Both, because another process may open or close one until the person's key is claimed.
        work.move(keys.person(intent.profile_id))
        work.change(_UPDATE, **said)
        work.change(
            _OPEN_ONE, case=case_id, line=intent.arguments.get("queue"), state="open", **said
        )
        return Outcome("sent", f"updated case {found[0][0]}" if found else f"opened {case_id}")

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Effect and outcome are one commit: a step still `sending` was not done."""
        return None
