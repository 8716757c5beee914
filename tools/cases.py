"""Opens cases and hands customers over to people, with a packet that does not start over."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import bindparam, select, update

from domain.canonical import canonical
from store import keys
from store import tables as t
from store.database import Database
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools.toolbox import Intent, Outcome, Recovery

_OPEN = Statement(
    select(t.cases.c.case_id, t.cases.c.kind).where(
        t.cases.c.profile_id == bindparam("person"),
        t.cases.c.reason == bindparam("why"),
        t.cases.c.state == "open",
    )
)
_UPDATE = Statement(
    update(t.cases)
    .where(t.cases.c.case_id == bindparam("case"), t.cases.c.state == "open")
    .values(
        sealed=bindparam("to_sealed"),
        updated_at=bindparam("at"),
        decision_id=bindparam("decision"),
        kind=bindparam("to_kind"),
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
        at = micros(intent.at)
        work.move(keys.person(intent.profile_id))
        for case_id, kind in found:
            work.change(
                _UPDATE,
                case=case_id,
                to_sealed=sealed,
                at=at,
                decision=intent.decision_id,
                to_kind="handoff" if "handoff" in (kind, self._kind) else "case",
            )
            return Outcome("sent", f"updated case {case_id}")
        case_id = f"case-{intent.outbox_id}"
        work.insert(
            t.cases,
            case_id=case_id,
            profile_id=intent.profile_id,
            reason=reason,
            kind=self._kind,
            queue=intent.arguments.get("queue"),
            state="open",
            opened_at=at,
            updated_at=at,
            decision_id=intent.decision_id,
            sealed=sealed,
        )
        return Outcome("sent", f"opened {case_id}")

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Effect and outcome are one commit: a step still `sending` was not done."""
        return None
