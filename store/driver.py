"""What a store's database must be able to do; `sqlite` and `postgres` each do it their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from store.statements import DialectName

Row = Sequence[Any]


class Cursor(Protocol):
    """One statement's result, as DB-API 2.0 (PEP 249) has it."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement touched."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def close(self) -> None:
        """Give up what was not read."""

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What one write transaction will read and move, so that others can be kept out of it.

    `moved` keys and the chains of `people` are this transaction's alone until it ends; `asserted`
    keys may be read by others, and moved by nobody.
    """

    asserted: frozenset[str]
    moved: frozenset[str]
    people: frozenset[str]


@dataclass(frozen=True, slots=True)
class Swap:
    """Rows of one table that go on from what was read, in the order of their keys.

    The first column is a row's key and the second its version, which only grows; `was` is the
    version that was read under each key, 0 where there was none.
    """

    table: str
    rows: Sequence[Row]
    was: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Writing:
    """Everything that a commit still has to write, and the revisions that it relies on."""

    swaps: Sequence[Swap] = ()
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    relied_on: Mapping[str, int] = field(default_factory=dict)


class Driver(Protocol):
    """A connection, and all in which one database differs from another.

    `begin_read` and `end_read` are the statements around a reading transaction.
    """

    begin_read: str
    end_read: str
    connection: Any

    @property
    def dialect(self) -> DialectName:
        """Which SQL it understands."""

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """All errors that its calls may raise."""

    @property
    def shards(self) -> tuple[str, ...]:
        """The ledger roots of a store; they add up."""

    @property
    def path(self) -> Path | None:
        """The store's file, where it is one."""

    @property
    def place(self) -> str | None:
        """Where the store is, for messages; never a password. None in memory."""

    @property
    def shard(self) -> str:
        """The ledger root that this connection writes."""

    @property
    def owner(self) -> str:
        """The name of this connection's process among those that may write."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that has failed."""

    def execute(self, text: str, values: Sequence[Any] = ()) -> Cursor:
        """Run one statement."""

    def stream(self, text: str, values: Sequence[Any] = ()) -> Cursor:
        """Run a query whose result may not fit in memory; within a transaction."""

    def begin_write(self, claim: Claim) -> None:
        """Begin a write transaction that nobody who claims the same can overlap."""

    def pipelined(self) -> AbstractContextManager[object]:
        """Within it statements may be sent without waiting for the one before."""

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows, columns in the table's own order."""

    def write(self, writing: Writing) -> bool:
        """Write it all, unless something was not as it was read; whether it was written."""

    def after_commit(self) -> None:
        """Look after what a commit leaves behind."""

    def scrub(self) -> None:
        """See that nothing deleted can be read in the store's files; outside any transaction."""

    def collides(self, error: Exception) -> bool:
        """Whether a row was there already."""

    def passes(self, error: Exception) -> bool:
        """Whether the same transaction may succeed if it is tried again."""

    def words(self, error: Exception) -> str:
        """What went wrong, in one line."""

    def remedy(self, error: Exception, *, reading: bool = False) -> str:
        """What to do about a refused write, or a refused reading."""

    def preparing(self) -> AbstractContextManager[object]:
        """Within it nobody else makes or migrates the store."""

    def tables(self) -> frozenset[str]:
        """The names of the tables that there are."""

    def migrate(self) -> None:
        """Bring the schema up to date, in one transaction."""

    def damage(self, table: str) -> str | None:
        """What a table and its indexes disagree about, or None where nothing is known."""

    def is_gone(self, owner: str, idle: timedelta) -> bool:
        """Whether the process of this name, last heard of that long ago, will do no more."""

    def close(self) -> None:
        """Close the connection and let go of every lock."""
