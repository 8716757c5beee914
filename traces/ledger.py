"""Verifies the record: any edit, deletion, re-ordering or truncation is found and named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Any

from sqlalchemy import LargeBinary, bindparam, cast, select

from domain.errors import LedgerBroken, StoreError
from store import tables as t
from store.chain import (
    Head,
    Tombstone,
    entry_hash,
    kinds,
    misfit,
    read_root,
    read_tombstone,
    weight,
    with_kept,
)
from store.database import Database, Snapshot
from store.statements import Statement
from store.vault import Vault

_CHAINS = Statement(
    select(t.chains.c.profile_id, t.chains.c.length, t.chains.c.head).order_by(
        t.chains.c.profile_id
    )
)
_TOMBSTONES = Statement(select(t.tombstones).order_by(t.tombstones.c.profile_id))
_TOMBSTONE_OF = Statement(
    select(t.tombstones).where(t.tombstones.c.profile_id == bindparam("person"))
)
_ROOTS = Statement(
    select(
        t.ledger_roots.c.shard,
        t.ledger_roots.c.entries,
        t.ledger_roots.c.total,
        t.ledger_roots.c.mac,
    )
)
_ENTRIES = {
    name: Statement(
        select(t.metadata.tables[name]).order_by(
            t.metadata.tables[name].c.profile_id, t.metadata.tables[name].c.n
        )
    )
    for name in t.CHAINED
}
_OF_PERSON = {
    name: Statement(
        select(t.metadata.tables[name])
        .where(t.metadata.tables[name].c.profile_id == bindparam("person"))
        .order_by(t.metadata.tables[name].c.n)
    )
    for name in t.CHAINED
}
_KEYS = {
    name: Statement(
        select(cast(next(iter(t.metadata.tables[name].columns)), LargeBinary))
        .order_by(t.metadata.tables[name].c.profile_id, t.metadata.tables[name].c.n)
        .limit(1)
        .offset(bindparam("after"))
    )
    for name in t.CHAINED
}
_KINDS = {name: kinds(t.metadata.tables[name]) for name in t.CHAINED}
_EDITED = "a row was edited or re-ordered: compare with a backup"
_COLUMNS = {
    name: tuple(str(column.name) for column in t.metadata.tables[name].columns)
    for name in t.CHAINED
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What a ledger that verifies holds; `pruned` of its entries are stood for by tombstones."""

    people: int
    entries: int
    decisions: int
    pruned: int


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One row of a chained table; `values` are its columns in order, its hash left out."""

    profile_id: str
    n: int
    table: str
    key: str
    digest: bytes
    values: tuple[Any, ...]

    def columns(self) -> dict[str, Any]:
        """The values by their columns' names."""
        names = (name for name in _COLUMNS[self.table] if name != "hash")
        return dict(zip(names, self.values, strict=True))


def verify(database: Database) -> Verified:
    """Read the whole record once, in constant memory.

    Raises:
        LedgerBroken: naming the first row that is not as it was written.
    """
    with database.read() as snapshot:
        walk = _Walk(_tombstones(snapshot, database.vault))
        decisions = 0
        for entry in merge(*(_of_table(name, _readable(snapshot, name)) for name in t.CHAINED)):
            walk.over(entry)
            decisions += entry.table == "decisions"
        walk.end()
        heads = walk.heads
        _check_heads(snapshot, heads)
        _check_root(snapshot, database.vault, heads)
        for name in (*t.CHAINED, "chains", "ledger_roots", "tombstones"):
            _check_indexes(snapshot, name)
    pruned = sum(one.gone for one in walk.tombstones.values())
    return Verified(len(heads), sum(head.length for head in heads.values()), decisions, pruned)


def entries_of(snapshot: Snapshot, profile_id: str, tombstone: Tombstone | None) -> list[Entry]:
    """One person's entries in order, each verified. Raises `LedgerBroken`."""
    walk = _Walk({} if tombstone is None else {profile_id: tombstone})
    entries = sorted(
        entry
        for name in t.CHAINED
        for entry in _of_table(name, snapshot.rows(_OF_PERSON[name], person=profile_id))
    )
    for entry in entries:
        walk.over(entry)
    walk.end()
    return entries


def tombstone_of(snapshot: Snapshot, vault: Vault, profile_id: str) -> Tombstone | None:
    """What stands for the pruned beginning of a person's chain, if any. Raises `LedgerBroken`."""
    rows = snapshot.rows(_TOMBSTONE_OF, person=profile_id)
    return _tombstone(vault, rows[0]) if rows else None


def _tombstones(snapshot: Snapshot, vault: Vault) -> dict[str, Tombstone]:
    read = (_tombstone(vault, row) for row in _all(snapshot, _TOMBSTONES, "tombstones"))
    return {one.profile_id: one for one in read}


def _tombstone(vault: Vault, row: tuple[Any, ...]) -> Tombstone:
    read = read_tombstone(vault, row)
    if read is None:
        raise LedgerBroken(
            f"the tombstone of `{row[0]}` was altered",
            place=f"table tombstones, row {row[0]}",
            remedy=_EDITED,
        )
    return read


class _Walk:
    """Goes over entries in order, checks each, and knows where every chain has got to."""

    def __init__(self, tombstones: dict[str, Tombstone]) -> None:
        self.tombstones = tombstones
        self.heads = {person: one.pruned for person, one in tombstones.items()}
        self._kept: dict[str, Head] = {}

    def over(self, entry: Entry) -> None:
        """Check one more entry. Raises `LedgerBroken`."""
        tombstone = self.tombstones.get(entry.profile_id)
        if tombstone is not None and entry.n <= tombstone.pruned.length:
            kept = self._kept.get(entry.profile_id, Head())
            self._kept[entry.profile_id] = with_kept(kept, entry.table, entry.values, entry.digest)
            return
        _check(entry, self.heads.get(entry.profile_id, Head()))
        self.heads[entry.profile_id] = Head(entry.n, entry.digest)

    def end(self) -> None:
        """See that all is there that pruning left. Raises `LedgerBroken`."""
        for person, tombstone in self.tombstones.items():
            kept = self._kept.get(person, Head())
            if kept != tombstone.kept:
                raise LedgerBroken(
                    f"of the pruned part of the chain of `{person}`, {tombstone.kept.length} "
                    f"entries were kept; the {kept.length} that are there are not those",
                    place=f"table tombstones, row {person}",
                    remedy="a row was edited, added or deleted: compare with a backup",
                )


def _of_table(name: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
    columns = _COLUMNS[name]
    person, position, digest = (columns.index(c) for c in ("profile_id", "n", "hash"))
    for row in rows:
        wrong = misfit(_KINDS[name], row)
        if wrong is not None:
            raise LedgerBroken(
                f"column `{wrong}` does not hold what it was written with",
                place=f"table {name}, row {row[0]}",
                remedy=_EDITED,
            )
        values = tuple(value for i, value in enumerate(row) if i != digest)
        yield Entry(row[person], row[position], name, row[0], row[digest], values)


def _readable(snapshot: Snapshot, name: str) -> Iterator[tuple[Any, ...]]:
    read = 0
    try:
        for row in snapshot.stream(_ENTRIES[name]):
            read += 1
            yield row
    except StoreError as error:
        raise LedgerBroken(
            f"a row cannot be read: {error.cause}",
            place=f"table {name}, row {_key_after(snapshot, name, read)}",
            remedy=_EDITED,
        ) from error


def _check_indexes(snapshot: Snapshot, name: str) -> None:
    # The rows above were found, and partly read, through indexes; others may read the table.
    try:
        damage = snapshot.damage(name)
    except StoreError as error:
        damage = error.cause
    if damage is not None:
        raise LedgerBroken(
            f"the table and its indexes differ: {damage}",
            place=f"table {name}",
            remedy="it was written past the database: compare with a backup",
        )


def _all(snapshot: Snapshot, statement: Statement, name: str) -> list[tuple[Any, ...]]:
    try:
        return snapshot.rows(statement)
    except StoreError as error:
        raise LedgerBroken(
            f"a row cannot be read: {error.cause}", place=f"table {name}", remedy=_EDITED
        ) from error


def _key_after(snapshot: Snapshot, name: str, read: int) -> str:
    try:
        row = snapshot.row(_KEYS[name], after=read)
    except StoreError:
        row = None
    return f"{read + 1} in order" if row is None else bytes(row[0]).decode(errors="replace")


def _check(entry: Entry, head: Head) -> None:
    place = f"table {entry.table}, row {entry.key}"
    if entry.n > head.length + 1:
        raise LedgerBroken(
            f"entry {head.length + 1} of `{entry.profile_id}` is missing before this one",
            place=place,
            remedy="a row was deleted: restore it from a backup",
        )
    if entry.n <= head.length:
        raise LedgerBroken(
            f"entry {entry.n} of `{entry.profile_id}` is there twice",
            place=place,
            remedy="a row was added or re-ordered: compare with a backup",
        )
    if entry_hash(head.digest, entry.table, entry.values) != entry.digest:
        raise LedgerBroken(
            f"entry {entry.n} of `{entry.profile_id}` is not as it was written",
            place=place,
            remedy=_EDITED,
        )


def _check_heads(snapshot: Snapshot, heads: dict[str, Head]) -> None:
    kept = {str(row[0]): row for row in _all(snapshot, _CHAINS, "chains")}
    for profile_id in sorted(kept.keys() | heads.keys()):
        found = heads.get(profile_id, Head())
        _, said, digest = kept.get(profile_id, (profile_id, 0, None))
        if not found.length or (said, digest) != (found.length, found.digest):
            raise LedgerBroken(
                f"the chain of `{profile_id}` has {found.length} entries, {said} were written",
                place=f"table chains, row {profile_id}",
                remedy="the end was cut off, or the head was edited: compare with a backup",
            )


def _check_root(snapshot: Snapshot, vault: Vault, heads: dict[str, Head]) -> None:
    entries = total = 0
    rows = _all(snapshot, _ROOTS, "ledger_roots")
    if not rows:
        raise LedgerBroken("the root is gone", place="table ledger_roots", remedy=_EDITED)
    for shard, *kept in rows:
        root = read_root(vault, shard, *kept)
        if root is None:
            raise LedgerBroken(
                f"the root of shard `{shard}` was altered",
                place="table ledger_roots",
                remedy=_EDITED,
            )
        entries += root.entries
        total = (total + root.total) % (1 << 256)
    found = sum(weight(vault, profile_id, head) for profile_id, head in heads.items()) % (1 << 256)
    if (entries, total) != (sum(head.length for head in heads.values()), found):
        raise LedgerBroken(
            "a person's whole chain, or the end of one, was removed or put back to an older state",
            place="table ledger_roots",
            remedy="compare with a backup",
        )
