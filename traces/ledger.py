"""Verifies the record: any edit, deletion, re-ordering or truncation is found and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Any

from sqlalchemy import select

from domain.errors import LedgerBroken
from store import tables as t
from store.chain import Head, Root, entry_hash, weight
from store.database import Database, Snapshot
from store.statements import Statement
from store.vault import Vault

_CHAINS = Statement(
    select(t.chains.c.profile_id, t.chains.c.length, t.chains.c.head).order_by(
        t.chains.c.profile_id
    )
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
_COLUMNS = {
    name: tuple(str(column.name) for column in t.metadata.tables[name].columns)
    for name in t.CHAINED
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What a ledger that verifies holds."""

    people: int
    entries: int
    decisions: int


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    profile_id: str
    n: int
    table: str
    key: str
    digest: bytes
    values: tuple[Any, ...]


def verify(database: Database) -> Verified:
    """Read the whole record once, in constant memory.

    Raises:
        LedgerBroken: naming the first row that is not as it was written.
    """
    with database.read() as snapshot:
        heads: dict[str, Head] = {}
        decisions = 0
        for entry in _entries(snapshot):
            head = heads.get(entry.profile_id, Head())
            _check(entry, head)
            heads[entry.profile_id] = Head(entry.n, entry.digest)
            decisions += entry.table == "decisions"
        _check_heads(snapshot, heads)
        _check_root(snapshot, database.vault, heads)
    return Verified(len(heads), sum(head.length for head in heads.values()), decisions)


def _entries(snapshot: Snapshot) -> Iterator[_Entry]:
    return merge(*(_of_table(snapshot, name) for name in t.CHAINED))


def _of_table(snapshot: Snapshot, name: str) -> Iterator[_Entry]:
    columns = _COLUMNS[name]
    person, position, digest = (columns.index(c) for c in ("profile_id", "n", "hash"))
    for row in snapshot.stream(_ENTRIES[name]):
        values = tuple(value for i, value in enumerate(row) if i != digest)
        yield _Entry(row[person], row[position], name, row[0], bytes(row[digest]), values)


def _check(entry: _Entry, head: Head) -> None:
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
            remedy="a row was edited or re-ordered: compare with a backup",
        )


def _check_heads(snapshot: Snapshot, heads: dict[str, Head]) -> None:
    kept = {
        profile_id: Head(length, bytes(digest))
        for profile_id, length, digest in snapshot.rows(_CHAINS)
    }
    for profile_id in sorted(kept.keys() | heads.keys()):
        said, found = kept.get(profile_id, Head()), heads.get(profile_id, Head())
        if said != found:
            raise LedgerBroken(
                f"the chain of `{profile_id}` has {found.length} entries, {said.length} were "
                "written",
                place="table chains",
                remedy="the end was cut off, or the head was edited: compare with a backup",
            )


def _check_root(snapshot: Snapshot, vault: Vault, heads: dict[str, Head]) -> None:
    entries = total = 0
    for shard, count, kept, mac in snapshot.rows(_ROOTS):
        root = Root(int(count), int.from_bytes(kept, "big"))
        if root.mac(vault, shard) != bytes(mac):
            raise LedgerBroken(
                f"the root of shard `{shard}` was altered", place="table ledger_roots"
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
