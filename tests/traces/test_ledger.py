from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import LedgerBroken
from store import tables as t
from store.database import Database, open_database
from tests.shop import at, consent, open_shop, row
from traces.ledger import verify

Meddle = Callable[[sqlite3.Connection], object]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with several people and entries of every chained kind."""
    folder = tmp_path_factory.mktemp("ledger")
    store = folder / "shop.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SAFECONDUCT_KEY", "YSBrZXkgZm9yIHRlc3RzIGFuZCBub3RoaW5nIGVsc2U=")
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
            assert all(len(shop.rows(name)) >= 3 for name in t.CHAINED)
    return store


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    """A copy of it to meddle with."""
    return Path(shutil.copy(original, tmp_path / "shop.db"))


def meddled(store: Path, meddle: Meddle) -> Path:
    """The store after somebody wrote to it past the program."""
    with sqlite3.connect(store) as raw:
        meddle(raw)
    raw.close()
    return store


def check(store: Path) -> LedgerBroken | None:
    """What verifying finds, if anything."""
    database: Database = open_database(f"sqlite:///{store}", writable=False)
    try:
        verify(database)
    except LedgerBroken as error:
        return error
    finally:
        database.close()
    return None


def test_an_untouched_ledger_verifies(store: Path) -> None:
    """What was written by the program verifies."""
    assert check(store) is None


CELLS = [
    (name, str(column.name)) for name in t.CHAINED for column in t.metadata.tables[name].columns
]


@pytest.mark.parametrize(("table", "column"), CELLS, ids=[f"{n}.{c}" for n, c in CELLS])
def test_an_edit_of_any_column_is_found(store: Path, table: str, column: str) -> None:
    """Whichever cell of a chained row is altered, verifying stops there and names the row."""
    key = str(next(iter(t.metadata.tables[table].primary_key.columns)).name)
    named: list[str] = []

    def edit(raw: sqlite3.Connection) -> None:
        row_id, was = raw.execute(
            f'SELECT {key}, "{column}" FROM {table} ORDER BY {key} LIMIT 1'
        ).fetchone()
        new = _other(was)
        raw.execute(f'UPDATE {table} SET "{column}" = ? WHERE {key} = ?', [new, row_id])
        named.append(str(new) if column == key else row_id)

    found = check(meddled(store, edit))
    assert found is not None
    if column not in ("profile_id", "n"):  # these make it stand elsewhere in the order
        assert found.place == f"table {table}, row {named[0]}"


def _other(was: Any) -> Any:
    match was:
        case None:
            return "x"
        case int():
            return was + 1
        case bytes():
            return bytes([was[0] ^ 1]) + was[1:]
        case _:
            return f"{was}x"


@pytest.mark.parametrize("table", t.CHAINED)
@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_a_deleted_row_is_found(store: Path, table: str, order: str) -> None:
    """A row that is gone leaves a hole, whether it was an early or a late one."""
    statement = (
        f"DELETE FROM {table} WHERE rowid = (SELECT rowid FROM {table} ORDER BY n {order} LIMIT 1)"
    )
    assert check(meddled(store, lambda raw: raw.execute(statement))) is not None


def _person(raw: sqlite3.Connection) -> str:
    return str(raw.execute("SELECT profile_id FROM chains ORDER BY 1 LIMIT 1").fetchone()[0])


def test_rows_that_changed_places_are_found(store: Path) -> None:
    """Two entries of one person put in the other order break the chain."""

    def swap(raw: sqlite3.Connection) -> None:
        ids = [
            decision_id
            for (decision_id,) in raw.execute(
                "SELECT decision_id FROM decisions WHERE profile_id = ? ORDER BY n", [_person(raw)]
            )
        ]
        numbers = [
            raw.execute("SELECT n FROM decisions WHERE decision_id = ?", [d]).fetchone()[0]
            for d in ids[:2]
        ]
        for decision_id, n in zip(ids[:2], reversed(numbers), strict=True):
            raw.execute("UPDATE decisions SET n = ? WHERE decision_id = ?", [n, decision_id])

    assert check(meddled(store, swap)) is not None


def test_a_cut_off_end_is_found_even_with_its_head_put_right(store: Path) -> None:
    """The last entry dropped and the chain's head set back betray themselves at the root."""

    def cut(raw: sqlite3.Connection) -> None:
        person = _person(raw)
        (length,) = raw.execute(
            "SELECT length FROM chains WHERE profile_id = ?", [person]
        ).fetchone()
        for table in t.CHAINED:
            raw.execute(f"DELETE FROM {table} WHERE profile_id = ? AND n = ?", [person, length])
        (head,) = next(
            found
            for table in t.CHAINED
            if (
                found := raw.execute(
                    f"SELECT hash FROM {table} WHERE profile_id = ? AND n = ?", [person, length - 1]
                ).fetchone()
            )
        )
        raw.execute(
            "UPDATE chains SET length = ?, head = ? WHERE profile_id = ?",
            [length - 1, head, person],
        )

    found = check(meddled(store, cut))
    assert found is not None
    assert found.place == "table ledger_roots"


def test_a_person_who_is_gone_altogether_is_found(store: Path) -> None:
    """Every trace of one person removed leaves the sum over all of them wrong."""

    def remove(raw: sqlite3.Connection) -> None:
        person = _person(raw)
        for table in (*t.CHAINED, "chains"):
            raw.execute(f"DELETE FROM {table} WHERE profile_id = ?", [person])

    found = check(meddled(store, remove))
    assert found is not None
    assert found.place == "table ledger_roots"


def test_an_added_row_is_found(store: Path) -> None:
    """A decision that nobody made does not fit the chain."""
    statement = (
        "INSERT INTO approval_votes SELECT 'v-forged', profile_id, n, hash, approval_id, vote, "
        '"by", at, surface, reason FROM approval_votes LIMIT 1'
    )
    found = check(meddled(store, lambda raw: raw.execute(statement)))
    assert found is not None
    assert "there twice" in found.cause


@pytest.mark.parametrize("column", ["entries", "total", "mac"])
def test_the_root_itself_cannot_be_edited(store: Path, column: str) -> None:
    """The sum is sealed with the store's key."""

    def edit(raw: sqlite3.Connection) -> None:
        (was,) = raw.execute(f"SELECT {column} FROM ledger_roots").fetchone()
        raw.execute(f"UPDATE ledger_roots SET {column} = ?", [_other(was)])

    assert check(meddled(store, edit)) is not None


def test_nothing_is_recorded_on_top_of_an_altered_root(store: Path) -> None:
    """A writer that finds the root altered refuses to go on, so that the damage stays visible."""
    from domain.errors import StoreError
    from store.work import Work

    meddled(store, lambda raw: raw.execute("UPDATE ledger_roots SET entries = entries + 1"))
    database = open_database(f"sqlite:///{store}")
    work = Work()
    work.append(
        t.outcomes, "p-1", outcome_id="o", outbox_id="x", decision_id="d", step=0, state="sent",
        at=0, detail="",
    )  # fmt: skip
    try:
        with pytest.raises(StoreError, match="root was altered"):
            database.commit([work])
    finally:
        database.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_single_changed_byte_is_found(
    original: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Whichever byte of whichever sealed value or hash is flipped, verifying finds it."""
    store = Path(shutil.copy(original, tmp_path / "flipped.db"))
    table, column = data.draw(
        st.sampled_from([cell for cell in CELLS if cell[1] in ("sealed", "hash")])
    )

    def flip(raw: sqlite3.Connection) -> None:
        rows = raw.execute(f"SELECT rowid, {column} FROM {table} ORDER BY rowid").fetchall()
        rowid, was = data.draw(st.sampled_from(rows))
        place = data.draw(st.integers(0, len(was) - 1))
        new = was[:place] + bytes([was[place] ^ (1 << data.draw(st.integers(0, 7)))])
        raw.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = ?", [new + was[place + 1 :], rowid]
        )

    assert check(meddled(store, flip)) is not None


def test_times_are_kept_to_the_microsecond(store: Path) -> None:
    """An entry's instant comes back as it was given."""
    with sqlite3.connect(store) as raw:
        (kept,) = raw.execute("SELECT min(at) FROM decisions").fetchone()
    assert kept == int(at("2026-10-05T08:00:00Z").timestamp() * 1_000_000)
