"""The arithmetic of the record's integrity: a hash chain per person, one keyed sum over all.

An entry's hash covers the one before it and every column of its row (personal data as its
ciphertext), so an edit, a deletion inside, or a re-ordering breaks the chain. What a chain cannot
show is its own end: `chains` keeps each length and head, and the *root* is a keyed additive
multiset hash over all (person, length, head) (Clarke et al., "Incremental Multiset Hash
Functions and Their Application to Memory Integrity Checking", ASIACRYPT 2003): the sum mod 2^256
of an HMAC of each, sealed by an HMAC of its own. It moves by one subtraction and one addition a
decision, so it needs no periodic rebuild, and it finds a person who is missing altogether.
Writers keep their own shard of it; the shards add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Table

from domain.canonical import canonical
from store.tables import tombstones
from store.vault import Vault

GENESIS = b"\x00" * 32
_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Head:
    """The end of one person's chain."""

    length: int = 0
    digest: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class Root:
    """One writer's share of the sum over all chains' heads."""

    entries: int = 0
    total: int = 0

    def moved(self, vault: Vault, profile_id: str, old: Head, new: Head) -> Root:
        """The share after this person's chain went from `old` to `new`."""
        total = self.total + weight(vault, profile_id, new) - weight(vault, profile_id, old)
        return Root(self.entries + new.length - old.length, total % _MODULUS)

    def mac(self, vault: Vault, shard: str) -> bytes:
        """The seal that keeps a share from being rewritten without the key."""
        return vault.ledger_mac(canonical(["root", shard, self.entries, str(self.total)]))


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What stands for the first entries of a person's chain, which were pruned, signed.

    `pruned` is the last of those entries, up to which the chain need not be there; `kept` counts
    the entries before it that are (what was said about consent outlives the decisions about it),
    as a chain of their own, so that none of them can be edited or taken away either.
    """

    profile_id: str
    pruned: Head
    kept: Head
    before_at: int
    pruned_at: int

    @property
    def gone(self) -> int:
        """How many entries are not there any more."""
        return self.pruned.length - self.kept.length

    def columns(self, vault: Vault) -> dict[str, Any]:
        """Its row, with the seal that only the holder of the key can make."""
        row: dict[str, Any] = {
            "profile_id": self.profile_id,
            "length": self.pruned.length,
            "head": self.pruned.digest,
            "kept": self.kept.length,
            "kept_head": self.kept.digest,
            "before_at": self.before_at,
            "pruned_at": self.pruned_at,
        }
        return {**row, "mac": vault.ledger_mac(canonical(["tombstone", *row.values()]))}


def read_tombstone(vault: Vault, row: Sequence[Any]) -> Tombstone | None:
    """A kept tombstone, or None where it is not as it was written."""
    if misfit(_TOMBSTONE, row) is not None:
        return None
    profile_id, length, head, kept, kept_head, before_at, pruned_at, mac = row
    read = Tombstone(profile_id, Head(length, head), Head(kept, kept_head), before_at, pruned_at)
    return read if read.columns(vault)["mac"] == mac else None


def with_kept(kept: Head, table: str, values: Sequence[Any], digest: bytes) -> Head:
    """What was kept of a pruned part, and one entry more, its own hash included."""
    return Head(kept.length + 1, entry_hash(kept.digest, table, [*values, digest]))


def read_root(
    vault: Vault, shard: object, entries: object, total: object, mac: object
) -> Root | None:
    """A kept share, or None where it is not as it was written."""
    if not (isinstance(shard, str) and isinstance(entries, int) and isinstance(total, bytes)):
        return None
    root = Root(entries, int.from_bytes(total, "big"))
    return root if len(total) == 32 and mac == root.mac(vault, shard) else None


def weight(vault: Vault, profile_id: str, head: Head) -> int:
    """What one person's chain adds to the root; an empty chain adds nothing."""
    if head.length == 0:
        return 0
    mac = vault.ledger_mac(canonical(["head", profile_id, head.length, head.digest]))
    return int.from_bytes(mac, "big")


Kinds = tuple[tuple[str, type, bool], ...]


def kinds(table: Table) -> Kinds:
    """Each column's name, the type of what it holds, and whether it may hold nothing."""
    return tuple((c.name, c.type.python_type, bool(c.nullable)) for c in table.columns)


_TOMBSTONE = kinds(tombstones)


def misfit(expected: Kinds, row: Sequence[Any]) -> str | None:
    """The first column whose value is not of its type, or None where all are.

    A hash alone cannot tell bytes from their base64; and what is stored as another type than it
    was hashed as (`True` as 1) would never verify.
    """
    for (name, kind, nullable), value in zip(expected, row, strict=True):
        if type(value) is not kind and not (value is None and nullable):
            return name
    return None


def entry_hash(previous: bytes, table: str, values: Sequence[Any]) -> bytes:
    """The hash of one entry; `values` are its row's columns in order, the hash itself left out."""
    return sha256(previous + canonical([table, *values])).digest()
