"""A PostgreSQL schema as the store: any number of writing processes, kept apart by what they touch.

A commit claims what its works read and move by advisory locks, in the order of their numbers, so
that no two can wait for each other; writes it all in one statement that is guarded once more by
what was read; and commits. See docs/decisions/0005.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec

from domain.errors import StoreError
from store import tables as t
from store.driver import Claim, Row, Writing
from store.statements import DialectName
from store.vault import KEY_VARIABLE, Vault, given_key

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import TransactionStatus
    from psycopg.types.numeric import Int8BinaryDumper
except ImportError as error:
    raise StoreError(
        "a store in PostgreSQL needs psycopg, which is not installed",
        remedy="install it: `pip install --editable '.[postgres]'`",
    ) from error

SHARDS = 16
CONNECT_SECONDS = 10
LOCK_SECONDS = 30
IDLE_SECONDS = 60
# A step is begun within the minute that its permit lives (`PERMIT_TTL`); the rest is for sending
# it, and for clocks that differ.
LEASE = timedelta(minutes=5)
# A writer that hangs within a commit, or whose machine has gone, must not keep what it has claimed.
_WRITER_SETTINGS = (
    f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_STATEMENTS_CACHED = 1000
_STREAMED_ROWS = 500

_CLAIM = (
    "SELECT CASE WHEN alone THEN pg_advisory_xact_lock(number)"
    " ELSE pg_advisory_xact_lock_shared(number) END"
    " FROM unnest(%s::int8[], %s::bool[]) AS claimed (number, alone)"
)
# What an extension brings along is nobody's program.
_TABLES = (
    "SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = current_schema() AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
)
_COLUMNS = {str(table.name): tuple(table.columns.keys()) for table in t.metadata.sorted_tables}


class PostgresDriver:
    """A connection, and all in which PostgreSQL differs."""

    dialect: ClassVar[DialectName] = "postgresql"
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    end_read = "COMMIT"  # a rollback would have psycopg forget every prepared statement
    faults = (psycopg.Error, UnicodeEncodeError)
    shards = tuple(str(number) for number in range(SHARDS))
    path = None

    def __init__(self, url: str, *, writable: bool) -> None:
        self.place, self.connection = _connect(url)
        try:
            self._schema = _settle(self.connection, self.place, writable=writable)
            if self._schema != "public":
                self.place += f", schema `{self._schema}`"
            backend = self.connection.info.backend_pid
            self.shard = str(backend % SHARDS)
            self.owner = f"{socket.gethostname()}:{os.getpid()}:{backend}"
            if writable:
                self.execute("SELECT pg_advisory_lock(%s)", [self._number("owner", self.owner)])
        except BaseException:
            self.connection.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it one that has failed."""
        status = self.connection.info.transaction_status
        return status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    def execute(self, text: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        """Run one statement, prepared by the server for the next time."""
        return self.connection.cursor(binary=True).execute(text, values)

    def stream(self, text: str, values: Sequence[Any] = ()) -> psycopg.ServerCursor[Any]:
        """Run a query whose result may not fit in memory; within a transaction."""
        cursor = self.connection.cursor(f"stream_{os.urandom(8).hex()}")
        cursor.itersize = _STREAMED_ROWS
        return cursor.execute(text, values, binary=True)

    def begin_write(self, claim: Claim) -> None:
        """Begin a write transaction that nobody who claims the same can overlap.

        What is only read is shared. Advisory locks are had in the order in which they were asked
        for, so that no stream of readers keeps a writer of the same key waiting for good, and
        they need no row: a key that was never written is claimed like any other.
        """
        alone = {self._number("key", key): True for key in claim.moved}
        alone |= {self._number("chain", person): True for person in claim.people}
        if claim.people:
            alone[self._number("shard", self.shard)] = True
        for key in claim.asserted:
            alone.setdefault(self._number("key", key), False)
        numbers = sorted(alone)
        with self.pipelined():
            self.execute("BEGIN")
            if numbers:
                self.execute(_CLAIM, [numbers, [alone[number] for number in numbers]])

    def pipelined(self) -> AbstractContextManager[object]:
        """Within it statements are sent without waiting for the one before."""
        return self.connection.pipeline() if psycopg.Pipeline.is_supported() else nullcontext()

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows, columns in the table's own order."""
        self.execute(_insertion(table), [_records(table, rows)])

    def write(self, writing: Writing) -> bool:
        """Write it all in one statement, unless a guard finds it not as it was read."""
        swapped = tuple(swap.table for swap in writing.swaps)
        filled = tuple(name for name, rows in writing.rows.items() if rows)
        if not swapped and not filled and not writing.relied_on:
            return True
        values: list[Any] = [_json(writing.relied_on)]
        for swap in writing.swaps:
            values += [_records(swap.table, swap.rows), _json(swap.was), len(swap.rows)]
        values += [_records(name, writing.rows[name]) for name in filled]
        row = self.execute(_guarded(swapped, filled), values).fetchone()
        return bool(row and row[0])

    def after_commit(self) -> None:
        """Nothing: the server looks after its log."""

    def scrub(self) -> None:
        """Free the rows that were deleted; whoever may not leaves it to the server's own time."""
        for table in sorted(t.metadata.tables):
            self.connection.execute(f"VACUUM {table}".encode())

    def collides(self, error: Exception) -> bool:
        """Whether a row was there already."""
        return isinstance(error, errors.UniqueViolation)

    def passes(self, error: Exception) -> bool:
        """Whether the same transaction may succeed if it is tried again."""
        return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)

    def words(self, error: Exception) -> str:
        """What went wrong, in one line, without the row that it went wrong with."""
        said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        return said or " ".join(str(error).split())

    def remedy(self, error: Exception, *, reading: bool = False) -> str:
        """What to do about a refused write, or a refused reading."""
        if self.connection.closed:
            return "see that the server is there and run again: what was written is found again"
        if reading:
            return "see what the server says, and run again"
        return "nothing of it was written: see what the server says, and run again"

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Within it nobody else makes or migrates the store."""
        number = self._number("schema", "")
        self.execute("SELECT pg_advisory_lock(%s)", [number])
        try:
            yield
        finally:
            if self.in_transaction:
                self.execute("ROLLBACK")
            if not self.connection.closed:
                self.execute("SELECT pg_advisory_unlock(%s)", [number])

    def tables(self) -> frozenset[str]:
        """The names of the tables that there are in the store's schema."""
        return frozenset(name for (name,) in self.execute(_TABLES).fetchall())

    def migrate(self) -> None:
        """Bring the schema up to date, in one transaction."""
        from store.migrations.run import upgrade  # Alembic takes 0.8 s to import

        upgrade(self.connection, dialect="postgresql", place=self.place)

    def damage(self, table: str) -> str | None:
        """None: that a table and its indexes agree is the server's own business."""
        return None

    def is_gone(self, owner: str, idle: timedelta) -> bool:
        """Whether the process of this name, last heard of that long ago, will do no more.

        Its lock ends with its connection, which it may outlive: so it is gone only if it is known
        to have ended, or may no longer begin anything (see `LEASE`).
        """
        number = self._number("owner", owner)
        row = self.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
        if not row or not row[0]:
            return False
        self.execute("SELECT pg_advisory_unlock(%s)", [number])
        return idle > LEASE or _has_ended(owner)

    def close(self) -> None:
        """Close the connection, and with it every lock."""
        self.connection.close()

    def _number(self, kind: str, name: str) -> int:
        """The advisory lock that stands for something of this store."""
        said = "\x1f".join(("safeconduct", self._schema, kind, name)).encode()
        return int.from_bytes(blake2b(said, digest_size=8).digest(), "big", signed=True)


def open_postgres(url: str, *, writable: bool) -> tuple[PostgresDriver, Vault]:
    """Connect to the store at a libpq URL. Raises `StoreError`."""
    key = given_key()
    driver = PostgresDriver(url, writable=writable)
    if key is not None:
        return driver, Vault(key)
    driver.close()
    raise StoreError(
        "a store in PostgreSQL has no key file beside it, and without a key nothing can be read",
        place=driver.place,
        remedy=f"set `{KEY_VARIABLE}`, for a new store to what `openssl rand -base64 32` says",
    )


def _has_ended(owner: str) -> bool:
    """Whether that process was on this machine and is there no more, or is this very one."""
    host, pid, _ = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    if int(pid) == os.getpid():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's, so it is there
        return False
    return False


def _connect(url: str) -> tuple[str, psycopg.Connection[Any]]:
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # what it says may quote a password
        raise StoreError(
            "the store's address cannot be read",
            remedy="write it as `postgresql://user@host:5432/database`, odd signs as `%40`",
        ) from None
    place = _place(given)
    given.setdefault("connect_timeout", CONNECT_SECONDS)
    given.setdefault("application_name", "safeconduct")
    given["client_encoding"] = "UTF8"
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=0, **given)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise StoreError(
            f"the store cannot be reached: {' '.join(str(error).split())}",
            place=place,
            remedy="see that the server is there and lets you in, or name another with `--store`",
        ) from error
    connection.prepared_max = _STATEMENTS_CACHED
    connection.adapters.register_dumper(int, Int8BinaryDumper)  # one type, one prepared statement
    return place, connection


def _place(given: Mapping[str, Any]) -> str:
    host = given.get("host") or given.get("hostaddr") or "localhost"
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{host}{port}/{given.get('dbname') or given.get('user') or ''}"


def _settle(connection: psycopg.Connection[Any], place: str, *, writable: bool) -> str:
    """Pin the session to one schema, durable commits and bounded waits; the schema's name."""
    row = connection.execute(
        "SELECT current_schema(), getdatabaseencoding(),"
        " set_config('search_path', quote_ident(current_schema()), false),"
        " set_config('lock_timeout', %s, false)",
        [f"{LOCK_SECONDS}s"],
    ).fetchone()
    assert row is not None
    schema, encoding = row[0], row[1]
    if schema is None:
        raise StoreError(
            "the store's schema is not there",
            place=place,
            remedy="make it with `CREATE SCHEMA`, or name another in `search_path`",
        )
    if encoding != "UTF8":
        raise StoreError(
            f"the database keeps text as {encoding}",
            place=place,
            remedy="make one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`",
        )
    if not writable:
        connection.execute("SET default_transaction_read_only = on")
        return str(schema)
    for setting in _WRITER_SETTINGS:
        connection.execute(setting)
    if connection.execute("SHOW synchronous_commit").fetchone() == ("off",):
        connection.execute("SET synchronous_commit = on")
    return str(schema)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@cache
def _insertion(table: str, condition: str = "") -> str:
    columns = _listed(_COLUMNS[table])
    return (
        f'INSERT INTO "{table}" AS kept ({columns}) SELECT {columns}'  # noqa: S608 - our own names
        f' FROM json_populate_recordset(NULL::"{table}", %s::json){condition}'
    )


@lru_cache(maxsize=_STATEMENTS_CACHED)
def _guarded(swapped: tuple[str, ...], filled: tuple[str, ...]) -> str:
    """The one statement of a commit: compare and swap, in the order given, and then the rows.

    Each part waits for the one before to have held, because it asks it; where one has not,
    nothing after it is written, and the transaction is to be rolled back.
    """
    parts = [
        "held AS (SELECT NOT EXISTS (SELECT FROM jsonb_each_text(%s::jsonb) AS said"
        " LEFT JOIN revisions AS kept ON kept.key = said.key"
        " WHERE coalesce(kept.revision, 0) <> said.value::int8) AS yes)"
    ]
    last = "held"
    for table in swapped:
        parts += _swap(table, last)
        last = f"{table}_held"
    where = f" WHERE (SELECT yes FROM {last})"  # noqa: S608 - our own names
    parts += [f"{table}_filled AS ({_insertion(table, where)})" for table in filled]
    return f"WITH {', '.join(parts)} SELECT yes FROM {last}"  # noqa: S608


def _swap(table: str, last: str) -> tuple[str, str]:
    key, version, *_ = columns = _COLUMNS[table]
    settings = ", ".join(f'"{name}" = excluded."{name}"' for name in columns[1:])
    condition = (
        f" WHERE (SELECT yes FROM {last})"  # noqa: S608 - our own names
        f' ORDER BY "{key}" COLLATE "C" ON CONFLICT ("{key}") DO UPDATE SET {settings}'
        f' WHERE kept."{version}" = (%s::jsonb ->> kept."{key}")::int8 RETURNING 1'
    )
    return (
        f"{table}_moved AS ({_insertion(table, condition)})",
        f"{table}_held AS (SELECT count(*) = %s AS yes FROM {table}_moved)",  # noqa: S608
    )


def _records(table: str, rows: Sequence[Row]) -> str:
    columns = _COLUMNS[table]
    return _json([dict(zip(columns, map(_cell, row), strict=True)) for row in rows])


def _cell(value: Any) -> Any:
    return f"\\x{value.hex()}" if type(value) is bytes else value


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
