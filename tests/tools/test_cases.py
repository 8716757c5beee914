from __future__ import annotations

import asyncio
from typing import Any, Literal

from sqlalchemy import select

from store import tables as t
from store.database import Database
from store.statements import Statement
from store.work import Work
from tests.world import at
from tools.cases import CaseTool
from tools.toolbox import Intent

CASES = Statement(
    select(t.cases.c.case_id, t.cases.c.kind, t.cases.c.decision_id, t.cases.c.state).order_by(
        t.cases.c.case_id
    )
)


def opened(
    database: Database, number: int, kind: Literal["case", "handoff"] = "case", why: str = "returns"
) -> tuple[Work, str]:
    """The work of one decision's case, prepared and not yet committed, and what is said of it."""
    arguments: dict[str, Any] = {"reason": why, "packet": {"n": number}, "queue": "care"}
    intent = Intent(
        f"d-{number}-0", f"d-{number}", "p-1", "permit", 0, kind, None, arguments,
        at("2026-10-05T09:00:00Z"),
    )  # fmt: skip
    work = Work()
    outcome = asyncio.run(CaseTool(database, kind).execute(intent, work))
    return work, outcome.detail


def test_a_person_has_one_open_case_a_reason(database: Database) -> None:
    """The second decision brings the first one's case up to date; another reason has its own."""
    database.vault.new_key("p-1", "erasable")
    for number, why in ((1, "returns"), (2, "returns"), (3, "other")):
        assert database.commit([opened(database, number, why=why)[0]]) == [True]
    assert database.rows(CASES) == [
        ("case-d-1-0", "case", "d-2", "open"),
        ("case-d-3-0", "case", "d-3", "open"),
    ]
    assert opened(database, 4)[1] == "updated case case-d-1-0"


def test_two_who_find_no_case_open_one(database: Database) -> None:
    """Neither is lost where both looked before either wrote, in one commit or in two."""
    database.vault.new_key("p-1", "erasable")
    works = [opened(database, number)[0] for number in (1, 2, 3)]
    assert database.commit(works[:2]) == [True, True]
    assert database.commit(works[2:]) == [True]
    assert database.rows(CASES) == [("case-d-1-0", "case", "d-3", "open")]


def test_a_handoff_stays_one(database: Database) -> None:
    """A case becomes a hand-over when one is asked for, and no case after it takes that back."""
    database.vault.new_key("p-1", "erasable")
    kinds = []
    for number, kind in enumerate(("case", "handoff", "case"), 1):
        assert database.commit([opened(database, number, kind)[0]]) == [True]  # type: ignore[arg-type]
        kinds.append(database.rows(CASES)[0][1])
    assert kinds == ["case", "handoff", "handoff"]
