"""The embedded default: one SQLite file, one writing process, committed durably."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from domain.errors import StoreError, StoreLocked
from store import tables as t
from store.driver import Claim, Row, Writing
from store.statements import DialectName, Insertion
from store.vault import Vault, load_key

LOG = logging.getLogger("safeconduct.store")
BUSY_SECONDS = 5
WAL_BYTES_BEFORE_CHECKPOINT = 8 * 1024 * 1024
WAL_BYTES_MAX = 64 * 1024 * 1024
_STATEMENTS_CACHED = 512
# The second is what Python makes of an error that quotes a damaged file.
_FAULTS = (sqlite3.Error, UnicodeDecodeError)
_INSERTIONS = {str(table.name): Insertion(table) for table in t.metadata.sorted_tables}
_REPLACEMENTS = {
    str(table.name): Insertion(table, replacing=True)
    for table in (t.revisions, t.chains, t.ledger_roots)
}


class WriterLock:
    """Held by the one process that writes a store file; freed by the system if it dies.

    Four writing processes on SQLite 3.40.1 lost committed rows in 4 of 208 trials; one does not.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"the store cannot be written: {error.strerror}",
                place=str(store),
                remedy="name a store in a folder that you may write to, with `--store`",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 200, 0).decode("utf-8", "replace").strip()
            os.close(self._file)
            raise StoreLocked(
                f"another process writes this store: {holder or 'unknown'}",
                place=str(store),
                remedy="wait until it ends, or end it; reading commands work meanwhile",
            ) from error
        os.ftruncate(self._file, 0)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
        os.pwrite(self._file, f"process {os.getpid()} ({command})\n".encode(), 0)

    def release(self) -> None:
        """Let another process write. The file stays: removing it would race with its taker."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


class Checkpointer:
    """Moves the write-ahead log into the store beside the writer, so that no commit waits for it.

    A checkpoint costs as much as some ten commits, and SQLite would do it inside the one that
    fills the log. Here a thread with a connection of its own moves the bulk, and a later commit
    the few pages since. No mode that waits for readers: it would have the writer wait with it.

    Up to SQLite 3.51.2 a commit that begins the log anew *while* a checkpoint runs can have
    committed rows skipped for good (https://sqlite.org/wal.html#walresetbug). So the thread holds
    a reading transaction meanwhile, under which the log cannot begin anew; and the commit's own
    checkpoint is in the writing thread.
    """

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._writer = writer
        self._connection = _connect(path, writable=True)
        self._pin = _connect(path, writable=False)
        self._wanted = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._moved = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)
        self._thread.start()

    def after_commit(self) -> None:
        """Have the log moved if it has grown enough; wait only where it has grown too much."""
        size = self._wal_bytes()
        if size < WAL_BYTES_BEFORE_CHECKPOINT:
            self._moved = False
            return
        if size >= WAL_BYTES_MAX:
            LOG.warning("a commit waits for the log to be moved", extra={"fields": {"bytes": size}})
            self._idle.wait(BUSY_SECONDS)
        if not self._idle.is_set():
            return
        if self._moved:
            self._moved = False
            with suppress(sqlite3.Error):  # the commit stands; a later one moves the pages
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return
        self._idle.clear()
        self._wanted.set()

    def pause(self) -> None:
        """Wait for what is under way."""
        self._idle.wait(BUSY_SECONDS)

    def close(self) -> None:
        """Stop, after what is under way."""
        self._ended = True
        self._wanted.set()
        self._thread.join()
        self._pin.close()
        self._connection.close()

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ended:
                return
            with suppress(sqlite3.Error):  # the next commit asks again
                self._move()
            self._idle.set()

    def _move(self) -> None:
        # The commit that asked has left pages to move, so this reads from the log and pins it.
        self._pin.execute("BEGIN")
        try:
            self._pin.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._moved = True
        finally:
            self._pin.execute("ROLLBACK")


class SqliteDriver:
    """A connection, and the few statements in which SQLite differs."""

    dialect: ClassVar[DialectName] = "sqlite"
    begin_read = "BEGIN"
    end_read = "ROLLBACK"
    faults = _FAULTS
    shards = ("0",)
    shard = "0"

    def __init__(self, path: Path | None, lock: WriterLock | None, *, writable: bool) -> None:
        self.path = path
        self._lock = lock
        self._checkpointer: Checkpointer | None = None
        try:
            self.connection = _connect(path, writable=writable)
            if path is not None and writable:
                self._checkpointer = Checkpointer(path, self.connection)
        except _FAULTS as error:
            raise StoreError(
                f"the store cannot be opened: {error}",
                place=str(path),
                remedy="name another one with `--store sqlite:///path`",
            ) from error

    @property
    def place(self) -> str | None:
        """The file, for messages."""
        return None if self.path is None else str(self.path)

    @property
    def owner(self) -> str:
        """The name of this process among those that may write."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.connection.in_transaction

    def execute(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(text, values)

    def stream(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a query; SQLite finds each row when it is asked for."""
        return self.connection.execute(text, values)

    def begin_write(self, claim: Claim) -> None:
        """Begin the only write transaction that there can be."""
        self.connection.execute("BEGIN IMMEDIATE")

    def pipelined(self) -> AbstractContextManager[object]:
        """No statement waits for anything here."""
        return nullcontext()

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Insert whole rows, columns in the table's own order."""
        self.connection.executemany(_INSERTIONS[table].on("sqlite"), rows)

    def write(self, writing: Writing) -> bool:
        """Write it all; nobody else can have moved what this transaction has read."""
        for table, rows in writing.rows.items():
            self.insert(table, rows)
        for swap in writing.swaps:
            self.connection.executemany(_REPLACEMENTS[swap.table].on("sqlite"), swap.rows)
        return True

    def collides(self, error: Exception) -> bool:
        """Whether a row was there already."""
        return isinstance(error, sqlite3.IntegrityError) and "UNIQUE" in str(error)

    def passes(self, error: Exception) -> bool:
        """Never: what SQLite refuses, it has waited for."""
        return False

    def words(self, error: Exception) -> str:
        """What went wrong."""
        return str(error)

    def remedy(self, error: Exception, *, reading: bool = False) -> str:
        """What to do about a refused write, or a refused reading."""
        if reading:
            return "run `safeconduct ledger verify`, and restore a backup"
        return "nothing of it was written: free the disk, or end what holds the store"

    def preparing(self) -> AbstractContextManager[object]:
        """The one writer prepares alone."""
        return nullcontext()

    def tables(self) -> frozenset[str]:
        """The names of all that the file holds."""
        return frozenset(name for (name,) in self.execute("SELECT name FROM sqlite_master"))

    def migrate(self) -> None:
        """Bring the schema up to date, in one transaction."""
        from store.migrations.run import upgrade  # Alembic takes 0.8 s to import

        upgrade(self.connection, place=self.place or "memory")

    def is_gone(self, owner: str, idle: timedelta) -> bool:
        """Always: the writing lock ends with its process, and this one holds it."""
        return True

    def damage(self, table: str) -> str | None:
        """What a table and its indexes disagree about, or None where they are of one mind."""
        found = self.execute(f"PRAGMA integrity_check('{table}')").fetchone()
        return None if found[0] == "ok" else str(found[0])

    def after_commit(self) -> None:
        """Look after what a commit leaves behind."""
        if self._checkpointer is not None:
            self._checkpointer.after_commit()

    def scrub(self) -> None:
        """Move the log into the file and cut it: deleted rows are zeroed in the file itself."""
        if self._checkpointer is not None:
            self._checkpointer.pause()
        blocked, _, _ = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if blocked:
            raise sqlite3.OperationalError("somebody else is reading it")

    def close(self) -> None:
        """Checkpoint, close and let another process write."""
        if self._checkpointer is not None:
            self._checkpointer.close()
        self.connection.close()
        if self._lock is not None:
            self._lock.release()


def open_sqlite(path: Path | None, *, writable: bool) -> tuple[SqliteDriver, Vault]:
    """Open the store's file, for writing under its lock. Raises `StoreError` or `StoreLocked`."""
    if path is not None and not writable and not path.exists():
        raise StoreError(
            "there is no store yet",
            place=str(path),
            remedy="run events into it first: `safeconduct run EVENTS`",
        )
    lock = WriterLock(path) if path is not None and writable else None
    try:
        vault = Vault(load_key(path))  # before the file is made: a store without its key is lost
        return SqliteDriver(path, lock, writable=writable), vault
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def _connect(path: Path | None, *, writable: bool) -> sqlite3.Connection:
    target = ":memory:" if path is None else f"file:{_quoted(path)}?mode={_mode(writable)}"
    if path is not None and writable and not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        target,
        uri=path is not None,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_CACHED,
    )
    try:
        if writable:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")
            # A log that has begun anew is cut to this, so that its size says when it is full. No
            # shorter: to write over a file's bytes takes half the time of making the file longer.
            kept = WAL_BYTES_BEFORE_CHECKPOINT * 31 // 32
            connection.execute(f"PRAGMA journal_size_limit={kept}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
        else:
            connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA cache_size=-65536")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except _FAULTS:
        connection.close()
        raise
    return connection


def _mode(writable: bool) -> str:
    return "rwc" if writable else "ro"


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
