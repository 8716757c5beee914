"""One transaction at a time: consistent reading, and writing under compare-and-swap."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update

from domain.errors import StoreError
from store import tables as t
from store.chain import Head, Root, entry_hash, kinds, misfit, read_root
from store.driver import Claim, Cursor, Driver, Swap, Writing
from store.instants import instant
from store.sqlite import open_sqlite
from store.statements import Statement
from store.vault import Vault
from store.work import Change, Work

SCHEMA_VERSION = "0001"

_REVISIONS = Statement(
    select(t.revisions.c.key, t.revisions.c.revision).where(
        t.revisions.c.key.in_(bindparam("keys", expanding=True))
    )
)
_HEADS = Statement(
    select(t.chains.c.profile_id, t.chains.c.length, t.chains.c.head).where(
        t.chains.c.profile_id.in_(bindparam("people", expanding=True))
    )
)
_ROOT = Statement(
    select(t.ledger_roots.c.entries, t.ledger_roots.c.total, t.ledger_roots.c.mac).where(
        t.ledger_roots.c.shard == bindparam("s")
    )
)
_LAST_DECISION = Statement(
    select(t.decisions.c.at, t.decisions.c.recorded_at)
    .order_by(t.decisions.c.decision_id.desc())
    .limit(1)
)
_META = Statement(select(t.meta.c.value).where(t.meta.c.key == bindparam("k")))
_META_SET = Statement(
    update(t.meta).where(t.meta.c.key == bindparam("k")).values(value=bindparam("v"))
)

_COLUMNS = {str(table.name): tuple(table.columns.keys()) for table in t.metadata.sorted_tables}
_HASHED = {
    name: tuple(column for column in _COLUMNS[name] if column != "hash") for name in t.CHAINED
}
_KINDS = {name: kinds(t.metadata.tables[name]) for name in t.CHAINED}
ROUNDS_MAX = 8


_CONNECTION = re.compile(r"^postgres(ql)?:|\b(host|hostaddr|dbname|password|user)\s*=")


class Snapshot:
    """Reads that all see the same committed state."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._streams: list[Any] = []

    def rows(self, statement: Statement, /, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as plain tuples in the order of its columns."""
        text, values = statement.on(self._driver.dialect, parameters)
        try:
            return self._driver.execute(text, values).fetchall()
        except self._driver.faults as error:
            raise self.unreadable(error) from error

    def stream(self, statement: Statement, /, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, for results that may not fit in memory."""
        text, values = statement.on(self._driver.dialect, parameters)
        try:
            cursor = self._driver.stream(text, values)
            self._streams.append(cursor)
            for row in cursor:  # noqa: UP028 - the cursor is closed with the snapshot
                yield row
        except self._driver.faults as error:
            raise self.unreadable(error) from error

    def row(self, statement: Statement, /, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        text, values = statement.on(self._driver.dialect, parameters)
        try:
            found: tuple[Any, ...] | None = self._driver.execute(text, values).fetchone()
        except self._driver.faults as error:
            raise self.unreadable(error) from error
        return found

    def damage(self, table: str) -> str | None:
        """What is wrong with a table as a file, not as what it says; None where nothing is."""
        try:
            return self._driver.damage(table)
        except self._driver.faults as error:
            raise self.unreadable(error) from error

    def close(self) -> None:
        """End what was not read to its end: it would hold this state for all later reads."""
        for cursor in self._streams:
            cursor.close()

    def unreadable(self, error: Exception) -> StoreError:
        """What a fault of the database means to whoever reads."""
        return StoreError(
            f"the store cannot be read: {self._driver.words(error)}",
            place=self._driver.place,
            remedy=self._driver.remedy(error, reading=True),
        )


class Database:
    """A store: its connection, its keys, its transactions.

    Open it with `open_database`. Calls block for microseconds (a commit for as long as the disk
    takes): see docs/decisions/0003. Threads take turns: each reads and writes whole transactions.
    """

    def __init__(self, driver: Driver, vault: Vault, *, writable: bool) -> None:
        self._driver = driver
        self.vault = vault
        self.writable = writable
        self._turn = threading.RLock()

    @property
    def path(self) -> Path | None:
        """The store's file, or None in memory."""
        return self._driver.path

    @property
    def place(self) -> str | None:
        """Where the store is, for messages; None in memory."""
        return self._driver.place

    @property
    def owner(self) -> str:
        """The name that this process writes under."""
        return self._driver.owner

    def is_gone(self, owner: str, idle: timedelta) -> bool:
        """Whether the process that wrote as `owner`, that long ago, will do no more of it."""
        return self._driver.is_gone(owner, idle)

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A snapshot: everything read inside is of one instant."""
        snapshot = Snapshot(self._driver)
        with self._turn:
            try:
                self._driver.execute(self._driver.begin_read)
            except self._driver.faults as error:
                raise snapshot.unreadable(error) from error
            try:
                yield snapshot
            finally:
                snapshot.close()
                if self._driver.in_transaction:  # a damaged file has ended it by itself
                    self._driver.execute(self._driver.end_read)

    def commit(self, works: Sequence[Work]) -> list[bool]:
        """Write each work whole or not at all, all that hold in one durable commit.

        Returns, for each work in order, whether it was written; one that was not had read
        something that has moved since, and must be read and decided again.
        """
        if not works:
            return []
        apart = False
        for _ in range(ROUNDS_MAX):
            try:
                return self._commit(works, apart=apart)
            except _Overtaken:
                continue
            except _Collision:
                apart = True
            except self._driver.faults as error:
                if not apart and self._driver.collides(error):
                    apart = True
                elif not self._driver.passes(error):
                    raise self._refused(error, works) from error
        raise StoreError(
            f"a commit was overtaken {ROUNDS_MAX} times in a row",
            place=works[0].shown_as or self.place,
            remedy="nothing of it was written: others change the same rows all the time; run again",
        )

    def meta(self, key: str) -> str | None:
        """A value that describes the store itself."""
        with self.read() as snapshot:
            row = snapshot.row(_META, k=key)
        return None if row is None else str(row[0])

    def set_meta(self, work: Work, key: str, value: str) -> None:
        """Change a value that describes the store itself, as part of a work."""
        if self.meta(key) is None:
            work.insert(t.meta, key=key, value=value)
        else:
            work.change(_META_SET, expect=1, k=key, v=value)

    def rows(self, statement: Statement, /, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of one query, outside any wider snapshot."""
        with self._turn:
            return Snapshot(self._driver).rows(statement, **parameters)

    def last_decided_at(self) -> datetime | None:
        """The instant of the latest decision, if there is one."""
        rows = self.rows(_LAST_DECISION)
        return instant(int(rows[0][0])) if rows else None

    def clock(self) -> datetime:
        """The store's own now: the last decision's instant, and the time that has passed since.

        In a service this is the wall clock. After a run over old events it goes on from theirs,
        so that what the run left pending lives as long as it was meant to.
        """
        wall = datetime.now(UTC)
        rows = self.rows(_LAST_DECISION)
        if not rows:
            return wall
        at, recorded_at = instant(int(rows[0][0])), instant(int(rows[0][1]))
        return at + max(wall - recorded_at, timedelta(0))

    def scrub(self) -> None:
        """See that what was deleted cannot be read in the store's files either."""
        try:
            with self._turn:
                self._driver.scrub()
        except self._driver.faults as error:
            raise StoreError(
                f"what was deleted may still be in the files: {self._driver.words(error)}",
                place=self.place,
                remedy="end what else reads this store, and do it again",
            ) from error

    def close(self) -> None:
        """Close the connection and free the writing lock."""
        self._driver.close()

    def _commit(self, works: Sequence[Work], *, apart: bool) -> list[bool]:
        with self._turn:
            return self._transact(works, apart=apart)

    def _transact(self, works: Sequence[Work], *, apart: bool) -> list[bool]:
        try:
            self._driver.begin_write(_claim(works))
            transaction = _Transaction(self._driver, self.vault, works, apart=apart)
            with nullcontext() if apart else self._driver.pipelined():
                written = [transaction.apply(work) for work in works]
                transaction.finish()
            transaction.check()
            self._driver.execute("COMMIT")
            self._driver.after_commit()
        except BaseException:
            if self._driver.in_transaction:  # a full disk has rolled back by itself
                self._driver.execute("ROLLBACK")
            raise
        return written

    def _refused(self, error: Exception, works: Sequence[Work]) -> StoreError:
        return StoreError(
            f"the store refused a write: {self._driver.words(error)}",
            place=works[0].shown_as or self.place,
            remedy=self._driver.remedy(error),
        )


class _Collision(Exception):
    """A work of the group is lost although its keys had not moved: write each by itself."""


class _Overtaken(Exception):
    """Something moved between reading and writing: read again."""


def _claim(works: Sequence[Work]) -> Claim:
    moved = frozenset(key for work in works for key in work.moves)
    return Claim(
        asserted=frozenset(key for work in works for key in work.asserts) - moved,
        moved=moved,
        people=frozenset(row["profile_id"] for work in works for _, row in work.entries),
    )


class _Transaction:
    """The state of one write transaction: what keys, heads and root have become inside it.

    The works are written together as if nothing collided, which is checked at the end; a group in
    which something does is written `apart`, each work under a savepoint of its own.
    """

    def __init__(self, driver: Driver, vault: Vault, works: Sequence[Work], *, apart: bool) -> None:
        self._driver = driver
        self._vault = vault
        self._apart = apart
        self._snapshot = Snapshot(driver)
        keys = sorted({key for work in works for key in (*work.asserts, *work.moves)})
        people = sorted({row["profile_id"] for work in works for _, row in work.entries})
        kept = dict(self._snapshot.rows(_REVISIONS, keys=keys)) if keys else {}
        self._kept: dict[str, int] = {key: kept.get(key, 0) for key in keys}
        self._revisions: dict[str, int] = dict(self._kept)
        self._kept_heads = {
            person: Head(length, bytes(digest))
            for person, length, digest in (
                self._snapshot.rows(_HEADS, people=people) if people else ()
            )
        }
        self._heads: dict[str, Head] = dict(self._kept_heads)
        self._root = self._read_root() if people else Root()
        self._rows: dict[str, list[list[Any]]] = {}
        self._expected: list[tuple[Cursor, int]] = []

    def apply(self, work: Work) -> bool:
        """Write one work, unless something it relies on has moved."""
        for key, revision in work.asserts.items():
            if self._revisions[key] != revision:
                return False
        if not self._keys_hold(work):
            return False
        if self._apart:
            return self._write_apart(work)
        self._write(work)
        return True

    def _keys_hold(self, work: Work) -> bool:
        """Whether all that is sealed for a new fragment is sealed under the key kept with it.

        Another task of this process may have met the same new fragment, and made it a key, while
        this one was thinking.
        """
        return all(
            self._vault.holds(row["profile_id"], row["retention"], row["wrapped"])
            for table, row in work.rows
            if table is t.data_keys
        )

    def finish(self) -> None:
        """Write the rows gathered, and where keys, heads and root have got to."""
        relied_on = {key: was for key, was in self._kept.items() if self._revisions[key] == was}
        if not self._driver.write(Writing(self._swaps(), self._rows, relied_on)):
            raise _Overtaken

    def _write(self, work: Work) -> None:
        for change in work.changes:
            self._change(change)
        for key in work.moves:
            self._revisions[key] += 1
        for table, columns in work.rows:
            self._insert(str(table.name), columns)
        for table, columns in work.entries:
            self._append(str(table.name), columns)

    def _write_apart(self, work: Work) -> bool:
        revisions, heads = dict(self._revisions), dict(self._heads)
        self._driver.execute("SAVEPOINT work")
        held = self._try(work)
        if not held:
            self._driver.execute("ROLLBACK TO work")
            self._revisions, self._heads = revisions, heads
            self._rows.clear()
            self._expected.clear()
        self._driver.execute("RELEASE work")
        return held

    def _try(self, work: Work) -> bool:
        try:
            self._write(work)
            self._flush(list(self._rows))
            self.check()
        except _Collision:
            return False
        except self._driver.faults as error:
            if not self._driver.collides(error):
                raise
            return False
        return True

    def _flush(self, names: Iterable[str]) -> None:
        for name in names:
            self._driver.insert(name, self._rows.pop(name))

    def _change(self, change: Change) -> None:
        # What earlier works inserted is there to be changed.
        self._flush([name for name in self._rows if name in change.statement.tables])
        text, values = change.statement.on(self._driver.dialect, change.parameters)
        cursor = self._driver.execute(text, values)
        if change.expect is not None:
            self._expected.append((cursor, change.expect))

    def check(self) -> None:
        """See that every change touched as many rows as it was to; the results must be in."""
        expected, self._expected = self._expected, []
        if any(cursor.rowcount != expect for cursor, expect in expected):
            raise _Collision

    def _insert(self, name: str, columns: Mapping[str, Any]) -> None:
        order = _COLUMNS[name]
        unknown = columns.keys() - set(order)
        if unknown:
            raise StoreError(f"table `{name}` has no column `{min(unknown)}`")
        self._rows.setdefault(name, []).append([columns.get(column) for column in order])

    def _append(self, name: str, columns: dict[str, Any]) -> None:
        person = columns["profile_id"]
        head = self._heads.get(person, Head())
        columns = {**columns, "n": head.length + 1}
        digest = entry_hash(head.digest, name, [columns.get(column) for column in _HASHED[name]])
        self._heads[person] = Head(head.length + 1, digest)
        columns["hash"] = digest
        self._insert(name, columns)
        wrong = misfit(_KINDS[name], self._rows[name][-1])
        if wrong is not None:
            raise StoreError(f"column `{wrong}` of `{name}` would not come back as it was given")

    def _swaps(self) -> list[Swap]:
        moved = [
            [key, revision]
            for key, revision in self._revisions.items()
            if revision != self._kept[key]
        ]
        swaps = [Swap("revisions", moved, self._kept)] if moved else []
        return [*swaps, *self._swapped_heads()] if self._heads != self._kept_heads else swaps

    def _swapped_heads(self) -> list[Swap]:
        root, rows, was = self._root, [], {}
        for person, head in sorted(self._heads.items()):
            old = self._kept_heads.get(person, Head())
            if head != old:
                root = root.moved(self._vault, person, old, head)
                rows.append([person, head.length, head.digest])
                was[person] = old.length
        shard = self._driver.shard
        total, mac = root.total.to_bytes(32, "big"), root.mac(self._vault, shard)
        return [
            Swap("chains", rows, was),
            Swap("ledger_roots", [[shard, root.entries, total, mac]], {shard: self._root.entries}),
        ]

    def _read_root(self) -> Root:
        shard = self._driver.shard
        row = self._snapshot.row(_ROOT, s=shard)
        root = None if row is None else read_root(self._vault, shard, *row)
        if root is None:
            raise StoreError(
                "the ledger's root was altered; nothing more is recorded on top of it",
                place="table ledger_roots",
                remedy="run `safeconduct ledger verify` and restore a backup",
            )
        return root


def open_database(url: str, *, writable: bool = True) -> Database:
    """Open (and for writing, make or migrate) a store.

    `sqlite:///path` or a bare path is a file, `sqlite://` alone is in memory, and
    `postgresql://user@host/database` is as libpq reads it: `?options=-csearch_path%3Dname` keeps
    the store in a schema of its own. Raises `StoreError` or `StoreLocked`.
    """
    driver, vault = _opened(url, writable=writable)
    try:
        with driver.preparing() if writable else nullcontext():
            _prepare(driver, vault, writable=writable)
    except driver.faults as error:
        driver.close()
        raise StoreError(
            f"the store cannot be opened: {driver.words(error)}",
            place=driver.place,
            remedy="restore a backup, or name another one with `--store`",
        ) from error
    except BaseException:
        driver.close()
        raise
    return Database(driver, vault, writable=writable)


def _opened(url: str, *, writable: bool) -> tuple[Driver, Vault]:
    scheme, found, _ = url.partition("://")
    if found and scheme in ("postgresql", "postgres"):
        from store.postgres import open_postgres  # psycopg is an extra

        return open_postgres(url, writable=writable)
    return open_sqlite(_path(url), writable=writable)


def _path(url: str) -> Path | None:
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    if url.startswith("sqlite:///"):
        return _followed(Path(url.removeprefix("sqlite:///")))
    scheme, found, _ = url.partition("://")
    if _CONNECTION.search(url):  # a password may be in it: it is neither shown nor made a name
        raise StoreError(
            "the store's address looks like PostgreSQL's, but is no URL",
            remedy="write it as `postgresql://user@host/database`",
        )
    if found or not url:
        raise StoreError(
            f"`{scheme + found}` is no store that is known here",  # the rest may hold a password
            remedy="use `sqlite:///path/to/file.db` or `postgresql://user@host/database`",
        )
    return _followed(Path(url))


def _followed(path: Path) -> Path:
    # The lock and the key stand beside the file itself, by whatever name it was reached.
    return path.resolve() if path.is_symlink() else path


def _prepare(driver: Driver, vault: Vault, *, writable: bool) -> None:
    tables = driver.tables()
    version = _version(driver) if "alembic_version" in tables else None
    if version != SCHEMA_VERSION:
        if not writable and version is None:
            raise StoreError(
                "the store is empty",
                place=driver.place,
                remedy="run events into it first: `safeconduct run EVENTS`",
            )
        if not writable:
            raise StoreError(
                f"the store is of schema `{version}`, this program reads `{SCHEMA_VERSION}`",
                place=driver.place,
                remedy="open it once with a writing command to migrate it",
            )
        if version is None and tables:
            raise StoreError(
                "this is the database of another program",
                place=driver.place,
                remedy="name another one with `--store`",
            )
        driver.migrate()
    _check_key(driver, vault, writable=writable)


def _version(driver: Driver) -> str | None:
    row = driver.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _begin_record(driver: Driver, vault: Vault) -> None:
    # The root is there from the start, so that a record emptied together with it is found.
    empty, zero = Root(), Root().total.to_bytes(32, "big")
    roots = [[shard, empty.entries, zero, empty.mac(vault, shard)] for shard in driver.shards]
    driver.begin_write(Claim(frozenset(), frozenset(), frozenset()))
    driver.insert("ledger_roots", roots)
    driver.insert("meta", [["key_check", vault.check]])
    driver.execute("COMMIT")


def _check_key(driver: Driver, vault: Vault, *, writable: bool) -> None:
    row = driver.execute("SELECT value FROM meta WHERE key = 'key_check'").fetchone()
    if row is None and writable:
        _begin_record(driver, vault)
    elif row is None or row[0] != vault.check:
        raise StoreError(
            "the key, or the format of fingerprints, is not the one this store was made with",
            place=driver.place,
            remedy="restore the store's `.key` file, or set `SAFECONDUCT_KEY` to the right key",
        )
