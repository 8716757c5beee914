"""One transaction at a time: consistent reading, and writing under compare-and-swap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update

from domain.errors import StoreError
from store import tables as t
from store.chain import Head, Root, entry_hash, kinds, misfit, read_root
from store.instants import instant
from store.sqlite import SqliteDriver, WriterLock
from store.statements import Insertion, Statement
from store.vault import Vault, load_key
from store.work import Work

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

_INSERTIONS = {str(table.name): Insertion(table) for table in t.metadata.sorted_tables}
_REPLACEMENTS = {
    str(table.name): Insertion(table, replacing=True)
    for table in (t.revisions, t.chains, t.ledger_roots)
}
_HASHED = {
    name: tuple(column for column in _INSERTIONS[name].columns if column != "hash")
    for name in t.CHAINED
}
_KINDS = {name: kinds(t.metadata.tables[name]) for name in t.CHAINED}
SHARD = "0"


class Snapshot:
    """Reads that all see the same committed state."""

    def __init__(self, driver: SqliteDriver) -> None:
        self._driver = driver
        self._streams: list[Any] = []

    def rows(self, statement: Statement, /, **parameters: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, as plain tuples in the order of its columns."""
        text, values = statement.on("sqlite", parameters)
        try:
            return self._driver.execute(text, values).fetchall()
        except self._driver.faults as error:
            raise self._unreadable(error) from error

    def stream(self, statement: Statement, /, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, for results that may not fit in memory."""
        text, values = statement.on("sqlite", parameters)
        try:
            cursor = self._driver.execute(text, values)
            self._streams.append(cursor)
            for row in cursor:  # noqa: UP028 - the cursor is closed with the snapshot
                yield row
        except self._driver.faults as error:
            raise self._unreadable(error) from error

    def row(self, statement: Statement, /, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        text, values = statement.on("sqlite", parameters)
        try:
            found: tuple[Any, ...] | None = self._driver.execute(text, values).fetchone()
        except self._driver.faults as error:
            raise self._unreadable(error) from error
        return found

    def damage(self, table: str) -> str | None:
        """What is wrong with a table as a file, not as what it says; None where nothing is."""
        try:
            return self._driver.damage(table)
        except self._driver.faults as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """End what was not read to its end: it would hold this state for all later reads."""
        for cursor in self._streams:
            cursor.close()

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(
            f"the store cannot be read: {error}",
            place=None if self._driver.path is None else str(self._driver.path),
            remedy="run `safeconduct ledger verify`, and restore a backup",
        )


class Database:
    """A store: its connection, its keys, its transactions.

    Open it with `open_database`. Calls block for microseconds (a commit for as long as the disk
    takes): see docs/decisions/0003.
    """

    def __init__(self, driver: SqliteDriver, vault: Vault, *, writable: bool) -> None:
        self._driver = driver
        self.vault = vault
        self.writable = writable

    @property
    def path(self) -> Path | None:
        """The store's file, or None in memory."""
        return self._driver.path

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """A snapshot: everything read inside is of one instant."""
        self._driver.execute(self._driver.begin_read)
        snapshot = Snapshot(self._driver)
        try:
            yield snapshot
        finally:
            snapshot.close()
            if self._driver.connection.in_transaction:  # a damaged file has ended it by itself
                self._driver.execute("ROLLBACK")

    def commit(self, works: Sequence[Work]) -> list[bool]:
        """Write each work whole or not at all, all that hold in one durable commit.

        Returns, for each work in order, whether it was written; one that was not had read
        something that has moved since, and must be read and decided again.
        """
        if not works:
            return []
        try:
            return self._commit(works)
        except self._driver.lost_errors as error:
            if len(works) > 1:
                return [self.commit([work])[0] for work in works]
            if _is_lost(error):
                return [False]
            raise self._refused(error, works) from error
        except self._driver.faults as error:
            raise self._refused(error, works) from error

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

    def close(self) -> None:
        """Close the connection and free the writing lock."""
        self._driver.close()

    def _commit(self, works: Sequence[Work]) -> list[bool]:
        self._driver.execute(self._driver.begin_write)
        try:
            transaction = _Transaction(self._driver, self.vault, works)
            written = [transaction.apply(work) for work in works]
            transaction.finish()
            self._driver.execute("COMMIT")
            self._driver.after_commit()
        except BaseException:
            if self._driver.connection.in_transaction:  # a full disk has rolled back by itself
                self._driver.execute("ROLLBACK")
            raise
        return written

    def _refused(self, error: Exception, works: Sequence[Work]) -> StoreError:
        place = works[0].shown_as or (None if self.path is None else str(self.path))
        return StoreError(
            f"the store refused a write: {error}",
            place=place,
            remedy="nothing of it was written: free the disk, or end what holds the store",
        )


class _Transaction:
    """The state of one write transaction: what keys, heads and root have become inside it."""

    def __init__(self, driver: SqliteDriver, vault: Vault, works: Sequence[Work]) -> None:
        self._driver = driver
        self._vault = vault
        self._snapshot = Snapshot(driver)
        keys = sorted({key for work in works for key in (*work.asserts, *work.moves)})
        people = sorted({row["profile_id"] for work in works for _, row in work.entries})
        self._kept = dict(self._snapshot.rows(_REVISIONS, keys=keys)) if keys else {}
        self._revisions: dict[str, int] = {key: self._kept.get(key, 0) for key in keys}
        self._kept_heads = {
            person: Head(length, bytes(digest))
            for person, length, digest in (
                self._snapshot.rows(_HEADS, people=people) if people else ()
            )
        }
        self._heads: dict[str, Head] = dict(self._kept_heads)
        self._rows: dict[str, list[list[Any]]] = {}

    def apply(self, work: Work) -> bool:
        """Write one work, unless something it relies on has moved."""
        for key, revision in work.asserts.items():
            if self._revisions[key] != revision:
                return False
        if not self._change(work):
            return False
        for key in work.moves:
            self._revisions[key] += 1
        for table, columns in work.rows:
            self._insert(str(table.name), columns)
        for table, columns in work.entries:
            self._append(str(table.name), columns)
        return True

    def finish(self) -> None:
        """Write the rows gathered, and where keys, heads and root have got to."""
        self._flush(list(self._rows))
        moved = [
            [key, revision]
            for key, revision in self._revisions.items()
            if revision != self._kept.get(key, 0)
        ]
        if moved:
            self._replace("revisions", moved)
        if self._heads != self._kept_heads:
            self._move_heads()

    def _flush(self, tables: Iterable[str]) -> None:
        for name in tables:
            rows = self._rows.pop(name, None)
            if rows:
                self._driver.execute_many(_INSERTIONS[name].on("sqlite"), rows)

    def _change(self, work: Work) -> bool:
        if self._rows:  # what earlier works inserted is there to be changed
            self._flush({name for change in work.changes for name in change.statement.tables})
        if any(change.expect is not None for change in work.changes):
            return self._change_guarded(work)
        return self._run_changes(work)

    def _change_guarded(self, work: Work) -> bool:
        # A change may lose the work after it, or an earlier one, touched rows: undo them all.
        self._driver.execute("SAVEPOINT work")
        held = self._run_changes(work)
        if not held:
            self._driver.execute("ROLLBACK TO work")
        self._driver.execute("RELEASE work")
        return held

    def _run_changes(self, work: Work) -> bool:
        for change in work.changes:
            touched = self._run(change.statement, **change.parameters)
            if change.expect is not None and touched != change.expect:
                return False
        return True

    def _run(self, statement: Statement, **parameters: Any) -> int:
        text, values = statement.on("sqlite", parameters)
        return self._driver.execute(text, values).rowcount

    def _replace(self, name: str, rows: list[list[Any]]) -> None:
        self._driver.execute_many(_REPLACEMENTS[name].on("sqlite"), rows)

    def _insert(self, name: str, columns: Mapping[str, Any]) -> None:
        order = _INSERTIONS[name].columns
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

    def _move_heads(self) -> None:
        root, rows = self._root(), []
        for person, head in self._heads.items():
            old = self._kept_heads.get(person, Head())
            if head != old:
                root = root.moved(self._vault, person, old, head)
                rows.append([person, head.length, head.digest])
        total, mac = root.total.to_bytes(32, "big"), root.mac(self._vault, SHARD)
        self._replace("chains", rows)
        self._replace("ledger_roots", [[SHARD, root.entries, total, mac]])

    def _root(self) -> Root:
        row = self._snapshot.row(_ROOT, s=SHARD)
        root = None if row is None else read_root(self._vault, SHARD, *row)
        if root is None:
            raise StoreError(
                "the ledger's root was altered; nothing more is recorded on top of it",
                place="table ledger_roots",
                remedy="run `safeconduct ledger verify` and restore a backup",
            )
        return root


def _is_lost(error: Exception) -> bool:
    return "UNIQUE" in str(error)


def open_database(url: str, *, writable: bool = True) -> Database:
    """Open (and for writing, make or migrate) the store at `sqlite:///path`, or a bare path.

    `sqlite://` alone is a store in memory. Raises `StoreError` or `StoreLocked`.
    """
    path = _path(url)
    if path is not None and not writable and not path.exists():
        raise StoreError(
            "there is no store yet",
            place=str(path),
            remedy="run events into it first: `safeconduct run EVENTS`",
        )
    lock = WriterLock(path) if path is not None and writable else None
    try:
        vault = Vault(load_key(path))  # before the file is made: a store without its key is lost
        driver = SqliteDriver(path, lock, writable=writable)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    try:
        _prepare(driver, vault, writable=writable)
    except driver.faults as error:
        driver.close()
        raise StoreError(
            f"the store cannot be opened: {error}",
            place=str(path),
            remedy="restore a backup, or name another one with `--store sqlite:///path`",
        ) from error
    except BaseException:
        driver.close()
        raise
    return Database(driver, vault, writable=writable)


def _path(url: str) -> Path | None:
    if url in ("sqlite://", "sqlite:///:memory:"):
        return None
    if url.startswith("sqlite:///"):
        return _followed(Path(url.removeprefix("sqlite:///")))
    if "://" in url or not url:
        raise StoreError(
            f"`{url}` is no store that is known here",
            remedy="use `sqlite:///path/to/file.db`",
        )
    return _followed(Path(url))


def _followed(path: Path) -> Path:
    # The lock and the key stand beside the file itself, by whatever name it was reached.
    return path.resolve() if path.is_symlink() else path


def _prepare(driver: SqliteDriver, vault: Vault, *, writable: bool) -> None:
    version = _version(driver)
    if version != SCHEMA_VERSION:
        if not writable and version is None:
            raise StoreError(
                "the store is empty",
                place=str(driver.path),
                remedy="run events into it first: `safeconduct run EVENTS`",
            )
        if not writable:
            raise StoreError(
                f"the store is of schema `{version}`, this program reads `{SCHEMA_VERSION}`",
                place=str(driver.path),
                remedy="open it once with a writing command to migrate it",
            )
        if version is None and _tables(driver):
            raise StoreError(
                "this is the database of another program",
                place=str(driver.path),
                remedy="name another file with `--store sqlite:///path`",
            )
        from store.migrations.run import upgrade  # Alembic takes 0.8 s to import

        upgrade(driver.connection, place=str(driver.path or "memory"))
    _check_key(driver, vault, writable=writable)


def _version(driver: SqliteDriver) -> str | None:
    known = driver.execute(
        "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    ).fetchone()[0]
    row = driver.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
    return None if row is None else str(row[0])


def _tables(driver: SqliteDriver) -> int:
    return int(driver.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _begin_record(driver: SqliteDriver, vault: Vault) -> None:
    # The root is there from the start, so that a record emptied together with it is found.
    empty = Root()
    root = [SHARD, empty.entries, empty.total.to_bytes(32, "big"), empty.mac(vault, SHARD)]
    driver.execute(driver.begin_write)
    driver.execute(_INSERTIONS["ledger_roots"].on("sqlite"), root)
    driver.execute(_INSERTIONS["meta"].on("sqlite"), ["key_check", vault.check])
    driver.execute("COMMIT")


def _check_key(driver: SqliteDriver, vault: Vault, *, writable: bool) -> None:
    row = driver.execute("SELECT value FROM meta WHERE key = 'key_check'").fetchone()
    if row is None and writable:
        _begin_record(driver, vault)
    elif row is None or row[0] != vault.check:
        raise StoreError(
            "the key is not the one this store was made with",
            place=str(driver.path),
            remedy="restore the store's `.key` file, or set `SAFECONDUCT_KEY` to the right key",
        )
