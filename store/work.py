"""What one decision writes, and what must still be true when it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table

from store.statements import Statement


@dataclass(slots=True)
class Work:
    """One all-or-nothing set of writes under compare-and-swap.

    `asserts` maps each contention key to the revision that was read (0: never written);
    `moves` are the keys this work moves on. `rows` are plain inserts, `changes` other
    statements, in order; a change with `expect` loses the work where another number of rows was
    touched. `entries` are rows of chained tables: person, position and hash are filled in inside
    the transaction. `shown_as` names the work in errors.
    """

    asserts: dict[str, int] = field(default_factory=dict)
    moves: set[str] = field(default_factory=set)
    rows: list[tuple[Table, Mapping[str, Any]]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    entries: list[tuple[Table, dict[str, Any]]] = field(default_factory=list)
    shown_as: str = ""

    def insert(self, table: Table, **columns: Any) -> None:
        """Add a row of a plain table."""
        self.rows.append((table, columns))

    def append(self, table: Table, profile_id: str, **columns: Any) -> None:
        """Add an entry to the person's chain."""
        self.entries.append((table, {"profile_id": profile_id, **columns}))

    def change(self, statement: Statement, /, expect: int | None = None, **parameters: Any) -> None:
        """Add an update or delete; `expect` rows, or the whole work is lost."""
        self.changes.append(Change(statement, parameters, expect))

    def move(self, *keys: str) -> None:
        """Move contention keys on, so that whoever read them must read again."""
        self.moves.update(keys)


@dataclass(frozen=True, slots=True)
class Change:
    """One update or delete of a work."""

    statement: Statement
    parameters: Mapping[str, Any]
    expect: int | None
