from __future__ import annotations

import base64
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.canonical import canonical
from domain.errors import LedgerBroken, SafeconductError, StoreError
from profiles.identity import IdentityRules
from profiles.rulings import Registry
from service.rights import Asked, _record
from store import tables as t
from store.database import Database, open_database
from store.work import Work
from tests.shop import at, consent, open_shop, row
from traces.ledger import verify

KEY = "YSBrZXkgZm9yIHRlc3RzIGFuZCBub3RoaW5nIGVsc2U="
PEOPLE = ("p-1", "p-2", "p-3")
ENTRIES = 3 * len(PEOPLE) * len(t.CHAINED) + 1
KEYS = {name: next(iter(t.metadata.tables[name].columns.keys())) for name in t.CHAINED}
COLUMNS = {name: t.metadata.tables[name].columns.keys() for name in t.CHAINED}
CELLS = [(name, column) for name in t.CHAINED for column in COLUMNS[name]]
KEPT = (*t.CHAINED, "chains", "ledger_roots")


def append(work: Work, table: str, person: str, number: int) -> Work:
    """An entry with something in every column, and nothing in every other one that allows it."""
    columns: dict[str, Any] = {}
    for column in t.metadata.tables[table].columns:
        if column.name in ("profile_id", "n", "hash") or (column.nullable and number % 2):
            continue
        kind = column.type.python_type
        text = f"{column.name}-{person}-{number}-ä"
        columns[str(column.name)] = (
            number if kind is int else text.encode() if kind is bytes else text
        )
    work.append(t.metadata.tables[table], person, **columns)
    return work


@dataclass(frozen=True, slots=True)
class Built:
    """A store, and copies of it after each of its commits."""

    path: Path
    older: Sequence[Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Three people with three entries in each chained table, and one with a single entry."""
    folder = tmp_path_factory.mktemp("ledger")
    path, older = folder / "s.db", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFECONDUCT_KEY", KEY)
        for number in range(3):
            with closing(open_database(f"sqlite:///{path}")) as database:
                for table in t.CHAINED:
                    works = [append(Work(), table, person, number) for person in PEOPLE]
                    assert database.commit(works) == [True] * len(PEOPLE)
            older.append(Path(shutil.copy(path, folder / f"older-{number}.db")))
        with closing(open_database(f"sqlite:///{path}")) as database:
            assert database.commit([append(Work(), "outcomes", "p-4", 9)]) == [True]
    return Built(path, older)


@pytest.fixture
def path(built: Built, tmp_path: Path) -> Path:
    """A copy of the store to meddle with."""
    return Path(shutil.copy(built.path, tmp_path / "s.db"))


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes to it past the program, each statement at once."""
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def ledger(path: Path, raw: sqlite3.Connection) -> Iterator[Database]:
    """The same store as the program reads it."""
    with closing(open_database(f"sqlite:///{path}", writable=False)) as database:
        yield database


def finding(ledger: Database) -> LedgerBroken | None:
    """What verifying finds, if anything."""
    try:
        verify(ledger)
    except LedgerBroken as error:
        return error
    return None


def place(ledger: Database) -> str | None:
    """Where verifying stops, or None where all is as it was written."""
    found = finding(ledger)
    return None if found is None else found.place


def chain(raw: sqlite3.Connection, person: str) -> list[tuple[int, str, str]]:
    """The position, table and key of each entry of a person's, in order."""
    return sorted(
        (n, table, key)
        for table in t.CHAINED
        for n, key in raw.execute(
            f"SELECT n, {KEYS[table]} FROM {table} WHERE profile_id = ?", [person]
        )
    )


def set_cell(raw: sqlite3.Connection, cell: tuple[str, str], rowid: int, value: object) -> None:
    """Write one cell of a table that has row ids."""
    table, column = cell
    raw.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', [value, rowid])


def test_an_untouched_ledger_verifies(ledger: Database) -> None:
    """What was written by the program verifies, and is counted."""
    found = verify(ledger)
    assert (found.people, found.entries, found.decisions) == (4, ENTRIES, 9)


def test_an_empty_ledger_verifies() -> None:
    """A new store holds nothing, and nothing is missing from it."""
    found = verify(open_database("sqlite://"))
    assert (found.people, found.entries, found.decisions) == (0, 0, 0)


def _others(was: Any) -> list[Any]:
    match was:
        case None:
            return ["", "x", b"", 0]
        case int():
            return [was + 1, was - 1, -was - 1, was + (1 << 40), was + 0.5, str(was).encode(), "x"]
        case bytes():
            shown = base64.b64encode(was).decode()
            return [bytes([was[0] ^ 1]) + was[1:], was[1:], was + b"\0", b"", shown, 1 << 40, None]
        case _:
            return [f"{was}x", was[1:], f"{was}\0", "", was.swapcase(), was.encode(), None]


def _set_if_allowed(
    raw: sqlite3.Connection, cell: tuple[str, str], rowid: int, value: object
) -> bool:
    try:
        set_cell(raw, cell, rowid, value)
    except sqlite3.IntegrityError:  # NULL where there must be something: the file itself refuses
        return False
    return True


@pytest.mark.parametrize(("table", "column"), CELLS, ids=[f"{n}.{c}" for n, c in CELLS])
def test_an_edit_of_any_cell_is_found(
    raw: sqlite3.Connection, ledger: Database, table: str, column: str
) -> None:
    """Whichever column of whichever row holds anything else, verifying stops and names the row."""
    cells = raw.execute(f'SELECT rowid, {KEYS[table]}, "{column}" FROM {table}').fetchall()
    for rowid, key, was in cells:
        for other in _others(was):
            if not _set_if_allowed(raw, (table, column), rowid, other):
                continue
            found = place(ledger)
            if column in ("profile_id", "n"):  # it stands elsewhere now, and leaves a hole
                assert found is not None and ", row " in found, (key, other)
            elif column != KEYS[table]:
                assert found == f"table {table}, row {key}", (key, other)
            else:
                assert found is not None and found.startswith(f"table {table}, row "), other
            set_cell(raw, (table, column), rowid, was)
    assert finding(ledger) is None


TEXTS = [(n, c) for n, c in CELLS if t.metadata.tables[n].columns[c].type.python_type is str]


@pytest.mark.parametrize(("table", "column"), TEXTS, ids=[f"{n}.{c}" for n, c in TEXTS])
def test_text_that_is_none_is_found(
    raw: sqlite3.Connection, ledger: Database, table: str, column: str
) -> None:
    """Bytes that no text is made of are a broken row with a name, not a traceback."""
    rowid, key = raw.execute(f"SELECT rowid, {KEYS[table]} FROM {table}").fetchone()
    raw.execute(f"UPDATE {table} SET \"{column}\" = CAST(x'70ff' AS TEXT) WHERE rowid = ?", [rowid])
    found = place(ledger)
    if column == "profile_id":  # it stands elsewhere now, and leaves a hole
        assert found is not None and ", row " in found
    else:
        named = "p\ufffd" if column == KEYS[table] else key
        assert found == f"table {table}, row {named}"


PAST_THE_INDEX = {
    "added": "INSERT INTO approval_votes SELECT 'forged', profile_id, n, hash, approval_id, vote, "
    '"by", at, surface, reason FROM approval_votes LIMIT 1',
    "edited": "UPDATE approval_votes SET profile_id = 'p-9' WHERE vote_id LIKE '%p-1-0-%'",
    "deleted": "DELETE FROM approval_votes WHERE vote_id LIKE '%p-1-0-%'",
}


@pytest.mark.parametrize("how", PAST_THE_INDEX)
def test_what_was_done_past_the_indexes_is_found(path: Path, how: str) -> None:
    """A row that some reads see and others do not, or see otherwise, is a broken record."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        kept = raw.execute(
            "SELECT * FROM sqlite_master WHERE tbl_name = 'approval_votes' AND type = 'index' "
            "AND sql IS NOT NULL"
        ).fetchall()
        assert kept
        raw.execute("DELETE FROM sqlite_master WHERE name LIKE 'ix_approval_votes_%'")
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(PAST_THE_INDEX[how])
        raw.execute("PRAGMA writable_schema = ON")
        raw.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", kept)
    with closing(open_database(f"sqlite:///{path}", writable=False)) as database:
        found = place(database)
    assert found is not None
    assert found.startswith("table approval_votes")


@pytest.mark.parametrize("table", t.CHAINED)
def test_a_deleted_row_is_found(raw: sqlite3.Connection, ledger: Database, table: str) -> None:
    """Whichever row is gone, the one after it betrays it, or the chain's head where it was last."""
    for person in PEOPLE:
        entries = chain(raw, person)
        for index, (_, of, key) in enumerate(entries):
            if of != table:
                continue
            (kept,) = raw.execute(f"SELECT * FROM {table} WHERE {KEYS[table]} = ?", [key])
            raw.execute(f"DELETE FROM {table} WHERE {KEYS[table]} = ?", [key])
            after = entries[index + 1 :]
            assert place(ledger) == (
                f"table {after[0][1]}, row {after[0][2]}"
                if after
                else f"table chains, row {person}"
            )
            raw.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kept))})", kept)
    assert finding(ledger) is None


def test_rows_that_changed_places_are_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """Any two neighbours of a chain put in the other order break it where the first stood."""
    for person in PEOPLE:
        entries = chain(raw, person)
        for (n, one, one_key), (m, two, two_key) in pairwise(entries):
            for first, second in ((m, n), (n, m)):
                raw.execute(f"UPDATE {one} SET n = ? WHERE {KEYS[one]} = ?", [first, one_key])
                raw.execute(f"UPDATE {two} SET n = ? WHERE {KEYS[two]} = ?", [second, two_key])
                if first == m:
                    assert place(ledger) == f"table {two}, row {two_key}"
    assert finding(ledger) is None


def test_entries_that_changed_persons_are_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """Two whole chains that change owners, heads and all, do not verify."""
    for table in (*t.CHAINED, "chains"):
        raw.execute(
            f"UPDATE {table} SET profile_id = CASE profile_id WHEN 'p-1' THEN 'x' ELSE 'y' END "
            "WHERE profile_id IN ('p-1', 'p-2')"
        )
        raw.execute(
            f"UPDATE {table} SET profile_id = CASE profile_id WHEN 'x' THEN 'p-2' ELSE 'p-1' END "
            "WHERE profile_id IN ('x', 'y')"
        )
    assert finding(ledger) is not None


@pytest.mark.parametrize("count", [1, 2, 11])
def test_a_cut_off_end_is_found(raw: sqlite3.Connection, ledger: Database, count: int) -> None:
    """The last entries dropped betray themselves at the head; with that put right, at the root."""
    for person in PEOPLE:
        kept = chain(raw, person)[:-count]
        for table in t.CHAINED:
            raw.execute(f"DELETE FROM {table} WHERE profile_id = ? AND n > ?", [person, len(kept)])
        assert place(ledger) == f"table chains, row {person}"
        _, table, key = kept[-1]
        raw.execute(
            f"UPDATE chains SET length = ?, head = (SELECT hash FROM {table} "
            f"WHERE {KEYS[table]} = ?) WHERE profile_id = ?",
            [len(kept), key, person],
        )
        assert place(ledger) == "table ledger_roots"
        break


@pytest.mark.parametrize("person", [*PEOPLE, "p-4"])
def test_a_person_who_is_gone_altogether_is_found(
    raw: sqlite3.Connection, ledger: Database, person: str
) -> None:
    """Every trace of one person removed leaves the sum over all of them wrong."""
    for table in t.CHAINED:
        raw.execute(f"DELETE FROM {table} WHERE profile_id = ?", [person])
    assert place(ledger) == f"table chains, row {person}"
    raw.execute("DELETE FROM chains WHERE profile_id = ?", [person])
    assert place(ledger) == "table ledger_roots"


def test_a_record_that_is_gone_altogether_is_found(
    raw: sqlite3.Connection, ledger: Database
) -> None:
    """Where everything was removed, the missing root still says that something was there."""
    for table in KEPT:
        assert finding(ledger) is None or table != KEPT[0]
        raw.execute(f"DELETE FROM {table}")
        assert finding(ledger) is not None
    assert place(ledger) == "table ledger_roots"


@pytest.mark.parametrize("table", t.CHAINED)
def test_a_row_that_was_doubled_is_found(
    raw: sqlite3.Connection, ledger: Database, table: str
) -> None:
    """A copy of any row under another key does not fit the chain, and is named."""
    columns = ", ".join(f'"{column}"' for column in COLUMNS[table][1:])
    for (key,) in raw.execute(f"SELECT {KEYS[table]} FROM {table}").fetchall():
        for copy in ("~ after", " before"):
            raw.execute(
                f"INSERT INTO {table} SELECT ?, {columns} FROM {table} WHERE {KEYS[table]} = ?",
                [copy, key],
            )
            assert place(ledger) in (f"table {table}, row {copy}", f"table {table}, row {key}")
            raw.execute(f"DELETE FROM {table} WHERE {KEYS[table]} = ?", [copy])
    assert finding(ledger) is None


def test_a_forged_entry_is_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """An entry that continues a chain rightly, head and all, is not under the root."""
    person = "p-4"
    (head,) = raw.execute("SELECT head FROM chains WHERE profile_id = ?", [person]).fetchone()
    values = ["forged", person, 2, "a", "approve", "me", 1, "email", "because"]
    digest = sha256(head + canonical(["approval_votes", *values])).digest()
    raw.execute(
        "INSERT INTO approval_votes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [*values[:3], digest, *values[3:]],
    )
    raw.execute("UPDATE chains SET length = 2, head = ? WHERE profile_id = ?", [digest, person])
    assert place(ledger) == "table ledger_roots"


def test_a_chain_that_was_written_anew_is_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """An edit with every later hash and the head put right is not under the root."""
    raw.execute("UPDATE outcomes SET state = 'never sent' WHERE profile_id = 'p-4'")
    columns = [column for column in COLUMNS["outcomes"] if column != "hash"]
    listed = ", ".join(f'"{column}"' for column in columns)
    (values,) = raw.execute(f"SELECT {listed} FROM outcomes WHERE profile_id = 'p-4'").fetchall()
    digest = sha256(b"\0" * 32 + canonical(["outcomes", *values])).digest()
    raw.execute("UPDATE outcomes SET hash = ? WHERE profile_id = 'p-4'", [digest])
    raw.execute("UPDATE chains SET head = ? WHERE profile_id = 'p-4'", [digest])
    assert place(ledger) == "table ledger_roots"


@pytest.mark.parametrize("column", ["length", "head", "profile_id"])
def test_an_edited_head_is_found(raw: sqlite3.Connection, ledger: Database, column: str) -> None:
    """Whatever a person's end is said to be instead, it is not what the entries say."""
    for person in (*PEOPLE, "p-4"):
        raw.execute("CREATE TEMP TABLE was AS SELECT * FROM chains")
        (was,) = raw.execute(
            f"SELECT {column} FROM chains WHERE profile_id = ?", [person]
        ).fetchone()
        for other in _others(was):
            if other is None:
                continue
            raw.execute(f"UPDATE chains SET {column} = ? WHERE profile_id = ?", [other, person])
            found = place(ledger)
            assert found is not None, other
            assert found.startswith("table chains, row "), other
            raw.execute("DELETE FROM chains")
            raw.execute("INSERT INTO chains SELECT * FROM was")
        raw.execute("DROP TABLE was")
    assert finding(ledger) is None


@pytest.mark.parametrize(("length", "head"), [(0, b"\0" * 32), (1, b"\1" * 32)])
def test_a_head_of_nobody_is_found(
    raw: sqlite3.Connection, ledger: Database, length: int, head: bytes
) -> None:
    """A chain without entries was written by nobody, even one that says so itself."""
    raw.execute("INSERT INTO chains VALUES ('p-0', ?, ?)", [length, head])
    assert place(ledger) == "table chains, row p-0"


@pytest.mark.parametrize("column", ["shard", "entries", "total", "mac"])
def test_the_root_itself_cannot_be_edited(
    raw: sqlite3.Connection, ledger: Database, column: str
) -> None:
    """The sum is sealed with the store's key, to the byte."""
    (was,) = raw.execute(f"SELECT {column} FROM ledger_roots").fetchone()
    others = [*_others(was), b"\0" + was] if isinstance(was, bytes) else _others(was)
    for other in others:
        if other in (None, was):  # a digit has no other case
            continue
        raw.execute(f"UPDATE ledger_roots SET {column} = ?", [other])
        assert place(ledger) == "table ledger_roots", other
        raw.execute(f"UPDATE ledger_roots SET {column} = ?", [was])
    assert finding(ledger) is None


def test_a_root_that_was_added_is_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """A second share counts only with a seal of its own."""
    raw.execute("INSERT INTO ledger_roots SELECT '1', entries, total, mac FROM ledger_roots")
    assert place(ledger) == "table ledger_roots"


PUT_BACK = [
    ("chains",),
    ("ledger_roots",),
    ("chains", "ledger_roots"),
    t.CHAINED,
    (*t.CHAINED, "chains"),
    (*t.CHAINED, "ledger_roots"),
]


@pytest.mark.parametrize("which", PUT_BACK, ids="-".join)
def test_parts_put_back_to_an_older_state_are_found(
    built: Built, raw: sqlite3.Connection, ledger: Database, which: tuple[str, ...]
) -> None:
    """Older heads, an older root or older entries do not fit the rest, though each was true once.

    The whole file, or all that belongs to the record, put back to an older complete copy is
    indeed a record that was true: nothing inside can tell. For that, keep the root elsewhere.
    """
    for older in built.older:
        raw.execute("ATTACH ? AS older", [str(older)])
        for table in which:
            raw.execute(f"DELETE FROM main.{table}")
            raw.execute(f"INSERT INTO main.{table} SELECT * FROM older.{table}")
        raw.execute("DETACH older")
        assert finding(ledger) is not None


def test_one_person_put_back_to_an_older_state_is_found(
    built: Built, raw: sqlite3.Connection, ledger: Database
) -> None:
    """Entries and head of one person, from an older copy, are not under the newer root."""
    raw.execute("ATTACH ? AS older", [str(built.older[0])])
    for table in (*t.CHAINED, "chains"):
        raw.execute(f"DELETE FROM main.{table} WHERE profile_id = 'p-2'")
        raw.execute(
            f"INSERT INTO main.{table} SELECT * FROM older.{table} WHERE profile_id = 'p-2'"
        )
    assert place(ledger) == "table ledger_roots"


def test_a_table_that_is_gone_is_found(raw: sqlite3.Connection, ledger: Database) -> None:
    """A dropped table is a broken record, not a traceback."""
    raw.execute("DROP TABLE approval_votes")
    found = finding(ledger)
    assert found is not None
    assert "no such table" in found.cause


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_roots SET entries = entries + 1",
        "UPDATE ledger_roots SET total = zeroblob(32)",
        "UPDATE ledger_roots SET mac = 'x'",
        "DELETE FROM ledger_roots",
    ],
)
def test_nothing_is_recorded_on_top_of_an_altered_root(path: Path, statement: str) -> None:
    """A writer that finds the root altered or gone refuses, so that the damage stays visible."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement)
    with closing(open_database(f"sqlite:///{path}")) as database:
        with pytest.raises(StoreError, match="root was altered"):
            database.commit([append(Work(), "outcomes", "p-5", 1)])
        assert finding(database) is not None


def test_a_ledger_goes_on_after_it_was_verified(path: Path) -> None:
    """Verifying, and finding something, leave a writing store able to write."""
    with closing(open_database(f"sqlite:///{path}")) as database:
        verify(database)
        assert database.commit([append(Work(), "outcomes", "p-4", 10)]) == [True]
        assert verify(database).entries == ENTRIES + 1
        with closing(sqlite3.connect(path)) as raw, raw:
            raw.execute("UPDATE decisions SET reason = 'x' WHERE profile_id = 'p-1'")
        assert finding(database) is not None
        assert database.commit([append(Work(), "outcomes", "p-4", 11)]) == [True]


FLIPPED = [
    *CELLS,
    *((name, column.name) for name in KEPT[-2:] for column in t.metadata.tables[name].columns),
]
BYTES = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@BYTES
@given(data=st.data())
def test_any_single_changed_byte_is_found(
    raw: sqlite3.Connection, ledger: Database, data: st.DataObject
) -> None:
    """Whichever byte of whichever cell is changed, verifying finds it, and then it is put back."""
    table, column = data.draw(st.sampled_from(FLIPPED))
    key = next(iter(t.metadata.tables[table].columns.keys()))
    rows = raw.execute(
        f'SELECT CAST({key} AS BLOB), typeof("{column}"), CAST("{column}" AS BLOB) FROM {table} '
        f'WHERE length("{column}") > 0 ORDER BY 1'
    ).fetchall()
    row_key, kind, was = data.draw(st.sampled_from(rows))
    place_, byte = data.draw(st.integers(0, len(was) - 1)), data.draw(st.integers(0, 255))
    new = was[:place_] + bytes([byte]) + was[place_ + 1 :]
    raw.execute("CREATE TEMP TABLE was AS SELECT * FROM " + table)
    try:
        raw.execute(
            f'UPDATE {table} SET "{column}" = CAST(? AS {kind}) WHERE CAST({key} AS BLOB) = ?',
            [new, row_key],
        )
        same = raw.execute(
            f"SELECT count(*) FROM (SELECT * FROM {table} EXCEPT SELECT * FROM temp.was)"
        ).fetchone() == (0,)
        assert (finding(ledger) is None) == same
    finally:
        raw.execute(f"DELETE FROM {table}")
        raw.execute(f"INSERT INTO {table} SELECT * FROM temp.was")
        raw.execute("DROP TABLE temp.was")


@BYTES
@given(data=st.data())
def test_any_single_changed_byte_of_the_file_is_found_or_harmless(
    built: Built, tmp_path: Path, data: st.DataObject
) -> None:
    """A damaged page is an error to act on; where the ledger still verifies, it still is whole."""
    content = bytearray(built.path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.db"
    path.write_bytes(content)
    try:
        with closing(open_database(f"sqlite:///{path}", writable=False)) as database:
            found = verify(database)
    except SafeconductError:
        return
    assert (found.people, found.entries) == (4, ENTRIES)
    assert _entries(path) == _entries(built.path)


def _entries(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as raw:
        return [
            raw.execute(f"SELECT * FROM {table} NOT INDEXED ORDER BY 2, 3").fetchall()
            for table in t.CHAINED
        ]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the whole program wrote, with entries of every chained kind."""
    folder = tmp_path_factory.mktemp("shop")
    store = folder / "shop.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAFECONDUCT_KEY", KEY)
        with open_shop(folder / "w", store=f"sqlite:///{store}") as shop:
            for n in range(3):
                user, mail = f"c-{n}", f"c{n}@shop.example"
                shop.run(
                    consent("granted", "2026-10-05T08:00:00Z", user, email=mail),
                    row("self_service_failed", "2026-10-05T09:00:00Z", user, topic="t"),
                    row("contact_opened", "2026-10-05T10:00:00Z", user, topic="t"),
                )
            for asked in shop.rows("approvals"):
                shop.vote(asked["approval_id"], "approve", "2026-10-05T11:00:00Z")
            shop.wake("2026-10-05T11:00:00Z")
            for n in range(3):
                shop.run(row("suppression_added", "2026-10-05T12:00:00Z", f"c-{n}", reason="no"))
            people = Registry(
                shop.database, IdentityRules(), None, timedelta(days=7), frozenset({"shop"})
            )
            when = at("2026-10-05T13:00:00Z")
            for rule in (people.merge, people.unmerge, people.merge):
                rule("user_id:c-0", "user_id:c-1", by="ida", reason="a test", at=when)
            for kind in ("restrict", "unrestrict", "hold"):
                _record(shop.assembly, "user_id:c-2", kind, Asked("ida", "a test"), {})
            assert all(len(shop.rows(name)) >= 3 for name in t.CHAINED)
    return store


def test_what_the_program_wrote_verifies(shop: Path) -> None:
    """Decisions, outcomes, consents and votes of real passes are one unbroken record."""
    with closing(open_database(f"sqlite:///{shop}", writable=False)) as database:
        found = verify(database)
    assert found.people == 3
    assert found.decisions >= 3


def test_times_are_kept_to_the_microsecond(shop: Path) -> None:
    """An entry's instant comes back as it was given."""
    with closing(sqlite3.connect(shop)) as raw:
        (kept,) = raw.execute("SELECT min(at) FROM decisions").fetchone()
    assert kept == int(at("2026-10-05T08:00:00Z").timestamp() * 1_000_000)


def test_findings_have_one_form(raw: sqlite3.Connection, ledger: Database) -> None:
    """A finding says where, what and what to do, in this order."""
    raw.execute("UPDATE consents SET kind = 'denial' WHERE profile_id = 'p-2' AND n < 4")
    found = finding(ledger)
    assert re.fullmatch(
        r"table consents, row \S+: entry \d+ of `p-2` is not as it was written; "
        r"a row was edited or re-ordered: compare with a backup",
        str(found),
    )
