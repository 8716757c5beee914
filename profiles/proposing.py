"""Finds in a whole store who may be one person with whom, in bounded memory; nothing is written.

Three passes over one snapshot: everybody is opened under their own keys, one by one, and the keyed
fingerprints of their blocking keys are put in a temporary file; those who share one are opened in
pairs and scored; what is likely enough is told, the likeliest first. The file holds fingerprints
and ids, and nothing that a person could be recognised by.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from profiles import queries
from profiles.blocking import blocks
from profiles.comparing import Described, described
from profiles.matching import Match, match
from profiles.state import Fragment, folded, opened
from store.database import Snapshot
from store.vault import Vault

BLOCK_MAX = 50
OPENED_MAX = 4096

_TABLES = """
CREATE TABLE blocks (block BLOB, person TEXT);
CREATE TABLE pairs (one TEXT, other TEXT, PRIMARY KEY (one, other)) WITHOUT ROWID;
CREATE TABLE found (probability REAL, one TEXT, other TEXT);
"""
_SHARED = "SELECT block FROM blocks GROUP BY block HAVING count(*) BETWEEN 2 AND ?"
_PAIRS = f"""
INSERT OR IGNORE INTO pairs
SELECT a.person, b.person FROM blocks a JOIN blocks b ON b.block = a.block AND b.person > a.person
WHERE a.block IN ({_SHARED}) AND (? IS NULL OR ? IN (a.person, b.person))
"""  # noqa: S608 - all of it is text of this module


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two people, by their ids in order, that may be one."""

    one: str
    other: str
    match: Match


@dataclass(slots=True)
class Search:
    """What was looked at: how many people, how many pairs were compared, and how many keys were
    passed over because more than `BLOCK_MAX` people share them."""

    people: int = 0
    pairs: int = 0
    passed_over: int = 0


def proposals(
    snapshot: Snapshot,
    vault: Vault,
    search: Search,
    *,
    min_probability: float,
    root: str | None = None,
) -> Iterator[Proposal]:
    """Who may be one person, the likeliest first.

    Whoever is one person already, was ruled apart or was erased is left out.

    Args:
        search: is filled in with what was looked at.
        min_probability: less likely pairs are not told.
        root: only pairs with this person.
    """
    # SQLite's temporary database: in memory while small, else in an unnamed file.
    index = sqlite3.connect("")
    try:
        index.executescript(_TABLES)
        opener = _Opener(snapshot, vault)
        _put_in_blocks(index, opener, search)
        _pair(index, search, root)
        for one, other in index.execute("SELECT one, other FROM pairs ORDER BY one, other"):
            found = match(opener.one(one), opener.one(other), search.people)
            if found.probability >= min_probability and not opener.ruled_apart(one, other):
                index.execute("INSERT INTO found VALUES (?, ?, ?)", (found.probability, one, other))
        likeliest = "SELECT one, other FROM found ORDER BY probability DESC, one, other"
        for one, other in index.execute(likeliest):
            found = match(opener.one(one), opener.one(other), search.people)
            yield Proposal(one, other, found)
    finally:
        index.close()


def _put_in_blocks(index: sqlite3.Connection, opener: _Opener, search: Search) -> None:
    for root, person in opener.everybody():
        search.people += 1
        rows = [(opener.print(key), root) for key in blocks(person)]
        index.executemany("INSERT INTO blocks VALUES (?, ?)", rows)
    index.execute("CREATE INDEX by_block ON blocks (block, person)")


def _pair(index: sqlite3.Connection, search: Search, root: str | None) -> None:
    index.execute(_PAIRS, (BLOCK_MAX, root, root))
    many = "SELECT count(*) FROM (SELECT 1 FROM blocks GROUP BY block HAVING count(*) > ?)"
    search.passed_over = index.execute(many, (BLOCK_MAX,)).fetchone()[0]
    search.pairs = index.execute("SELECT count(*) FROM pairs").fetchone()[0]


class _Opener:
    """Opens people of a snapshot, and keeps those opened last."""

    def __init__(self, snapshot: Snapshot, vault: Vault) -> None:
        self._snapshot = snapshot
        self._vault = vault
        self._kept: OrderedDict[str, Described] = OrderedDict()

    def everybody(self) -> Iterator[tuple[str, Described]]:
        """Every person by root, all fragments folded into one."""
        rows = self._snapshot.stream(queries.EVERYBODY)
        for root, members in groupby(rows, key=itemgetter(0)):
            person = self._described(member[1:] for member in members)
            if person is not None:
                yield root, person

    def one(self, root: str) -> Described:
        """The person of that root."""
        if root in self._kept:
            self._kept.move_to_end(root)
            return self._kept[root]
        rows = self._snapshot.rows(queries.FRAGMENTS, roots=[root])
        person = self._described((row[0], *row[4:6]) for row in rows) or Described()
        self._kept[root] = person
        if len(self._kept) > OPENED_MAX:
            self._kept.popitem(last=False)
        return person

    def ruled_apart(self, one: str, other: str) -> bool:
        """Whether somebody has ruled that fragments of these are not one person."""
        rows = self._snapshot.rows(queries.FRAGMENTS, roots=[one, other])
        roots = {row[0]: row[1] for row in rows}
        latest = {
            (first, second): ruling
            for first, second, ruling, *_ in self._snapshot.rows(
                queries.RULINGS, people=list(roots)
            )
        }
        return any(
            ruling == "apart" and {roots.get(first), roots.get(second)} == {one, other}
            for (first, second), ruling in latest.items()
        )

    def print(self, key: str) -> bytes:
        """The keyed fingerprint of a blocking key."""
        return self._vault.fingerprint_bytes("block", key.encode("utf-8", "surrogatepass"))

    def _described(
        self, members: Iterator[tuple[str, bytes | None, bytes | None]]
    ) -> Described | None:
        """The person of some sealed fragments; None where all were erased."""
        found: list[Fragment] = []
        for profile_id, sealed, wrapped in members:
            fragment = opened(self._vault, profile_id, sealed, wrapped)
            if fragment is not None:
                found.append(fragment)
        return described(folded(found)) if found else None
