from __future__ import annotations

import os
import sqlite3
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, select, update

from domain.errors import StoreError
from store import sqlite
from store import tables as t
from store.database import Database, open_database
from store.statements import Statement
from store.work import Work
from tests.stores import anew
from traces.ledger import verify

COUNTERS = Statement(select(t.counters.c.key, t.counters.c.amount).order_by(t.counters.c.key))
SET = Statement(
    update(t.counters).where(t.counters.c.key == bindparam("k")).values(amount=bindparam("to"))
)
SET_ALL = Statement(update(t.counters).values(amount=bindparam("to")))
REVISIONS = Statement(select(t.revisions.c.key, t.revisions.c.revision))


def counters(database: Database) -> dict[str, int]:
    """What the counters say."""
    return dict(database.rows(COUNTERS))


def counter(key: str, amount: int = 1) -> Work:
    """A work that begins a counter."""
    work = Work(shown_as=f"counter {key}")
    work.insert(t.counters, key=key, amount=amount)
    return work


def outcome(work: Work, person: str, name: str, **other: object) -> Work:
    """Append an entry to a person's chain."""
    columns = {
        "outcome_id": name, "outbox_id": name, "decision_id": "d", "step": 0, "state": "sent",
        "at": 0, "detail": "",
    }  # fmt: skip
    work.append(t.outcomes, person, **{**columns, **other})
    return work


def test_a_work_whose_key_has_moved_is_lost_whole(database: Database) -> None:
    """Nothing of it is written, and the others of the same commit are."""
    first = Work(asserts={"a": 0}, moves={"a"})
    first.insert(t.counters, key="first", amount=1)
    late = outcome(Work(asserts={"a": 0}, moves={"a"}), "p-1", "late")
    late.insert(t.counters, key="late", amount=1)
    late.change(SET, k="first", to=9)
    other = Work(asserts={"b": 0}, moves={"b"})
    other.insert(t.counters, key="other", amount=1)
    assert database.commit([first, late, other]) == [True, False, True]
    assert counters(database) == {"first": 1, "other": 1}
    assert dict(database.rows(REVISIONS)) == {"a": 1, "b": 1}
    assert verify(database).entries == 0


def test_a_work_whose_key_moved_in_an_earlier_commit_is_lost(database: Database) -> None:
    """What was read before another commit is not written after it, until it is read again."""
    assert database.commit([Work(moves={"a"})]) == [True]
    late = Work(asserts={"a": 0, "b": 0}, moves={"b"})
    assert database.commit([late]) == [False]
    again = Work(asserts={"a": 1, "b": 0}, moves={"b"})
    assert database.commit([again]) == [True]
    assert dict(database.rows(REVISIONS)) == {"a": 1, "b": 1}


def test_no_works_are_no_commit(database: Database) -> None:
    """An empty group is answered without touching the store."""
    assert open_database("sqlite://").commit([]) == []


def test_a_change_that_finds_nothing_loses_its_work_and_undoes_it(database: Database) -> None:
    """A later change of a work that does not find its row takes the earlier ones back."""
    database.commit([counter("k")])
    work = Work(moves={"a"})
    work.change(SET, expect=1, k="k", to=2)
    work.change(SET, expect=1, k="nothing", to=3)
    other = Work(moves={"b"})
    assert database.commit([work, other]) == [False, True]
    assert counters(database) == {"k": 1}
    assert dict(database.rows(REVISIONS)) == {"b": 1}


@pytest.mark.parametrize("expect", [0, 1, 3])
def test_a_change_that_touches_another_number_of_rows_is_itself_undone(
    database: Database, expect: int
) -> None:
    """The losing change may be the only one, and may have touched rows: they are as before."""
    database.commit([counter("j"), counter("k")])
    work = Work()
    work.change(SET_ALL, expect=expect, to=7)
    assert database.commit([work]) == [False]
    assert database.commit([work, counter("l")]) == [False, True]
    assert counters(database) == {"j": 1, "k": 1, "l": 1}


def test_a_change_finds_what_an_earlier_work_of_the_same_commit_inserted(
    database: Database,
) -> None:
    """Works of one commit see each other as if each were committed alone."""
    surely, perhaps = Work(), Work()
    surely.change(SET, expect=1, k="k", to=2)
    perhaps.change(SET, k="k", to=3)
    assert database.commit([counter("k"), surely]) == [True, True]
    assert counters(database) == {"k": 2}
    assert database.commit([counter("j"), perhaps]) == [True, True]
    assert counters(database) == {"j": 1, "k": 3}


def test_a_row_that_is_there_already_loses_its_work_alone(database: Database) -> None:
    """Two works that insert one key: the first stands, the second is lost, the third is written."""
    works = []
    for name, key in (("one", "k"), ("two", "k"), ("three", "j")):
        work = outcome(Work(moves={name}), "p-1", name)
        work.insert(t.counters, key=key, amount=1)
        works.append(work)
    assert database.commit(works) == [True, False, True]
    assert counters(database) == {"j": 1, "k": 1}
    assert dict(database.rows(REVISIONS)) == {"one": 1, "three": 1}
    assert verify(database).entries == 2


Asked = tuple[str, int, int | None]


@dataclass(frozen=True, slots=True)
class Told:
    """One work, as the model understands it."""

    asserts: dict[str, int]
    moves: frozenset[str]
    changes: tuple[Asked, ...]
    inserts: tuple[str, ...]
    person: str
    entry: str


@dataclass(slots=True)
class Model:
    """A store that writes one work at a time."""

    revisions: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    entries: set[str] = field(default_factory=set)

    def commit(self, told: Told) -> bool:
        """Write it whole, or not at all."""
        if any(self.revisions.get(key, 0) != said for key, said in told.asserts.items()):
            return False
        counters = dict(self.counters)
        for key, to, expect in told.changes:
            if expect is not None and expect != (key in counters):
                return False
            if key in counters:
                counters[key] = to
        if len({*counters, *told.inserts}) != len(counters) + len(told.inserts):
            return False
        if told.entry in self.entries:
            return False
        self.counters = {**counters, **dict.fromkeys(told.inserts, 0)}
        self.entries.add(told.entry)
        for key in told.moves:
            self.revisions[key] = self.revisions.get(key, 0) + 1
        return True


KEYS = st.sampled_from("abc")
TOLD = st.builds(
    Told,
    asserts=st.dictionaries(KEYS, st.integers(0, 2), max_size=2),
    moves=st.frozensets(KEYS, max_size=2),
    changes=st.lists(
        st.tuples(KEYS, st.integers(1, 9), st.sampled_from((None, None, 0, 1))), max_size=3
    ).map(tuple),
    inserts=st.lists(KEYS, max_size=2).map(tuple),
    person=st.sampled_from(("p-1", "p-2")),
    entry=st.integers(0, 30).map(lambda n: f"o-{n}"),
)


def _work(told: Told) -> Work:
    work = outcome(Work(dict(told.asserts), set(told.moves)), told.person, told.entry)
    for key, to, expect in told.changes:
        work.change(SET, expect=expect, k=key, to=to)
    for key in told.inserts:
        work.insert(t.counters, key=key, amount=0)
    return work


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(groups=st.lists(st.lists(TOLD, min_size=1, max_size=5), min_size=1, max_size=6))
def test_commits_equal_a_serial_model(store: str, groups: list[list[Told]]) -> None:
    """Any works in any groups are written exactly where a serial model would write them."""
    model = Model()
    with anew(store) as database:
        for group in groups:
            expected = [model.commit(told) for told in group]
            assert database.commit([_work(told) for told in group]) == expected
        assert dict(database.rows(REVISIONS)) == model.revisions
        assert counters(database) == model.counters
        assert verify(database).entries == len(model.entries)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=TEXT,
    code=st.none() | TEXT,
    sealed=st.binary(),
    at=st.integers(-(2**63), 2**63 - 1),
)
def test_whatever_an_entry_holds_it_verifies(
    store: str, text: str, code: str | None, sealed: bytes, at: int
) -> None:
    """Every value that a column can hold comes back as it was hashed."""
    work = outcome(Work(), "p-1", "o", detail=text, code=code, at=at)
    work.append(
        t.consents, "p-1", consent_id="c", kind="grant", controller=text, occurred_at=at,
        received_at=at, source=text, sealed=sealed,
    )  # fmt: skip
    with anew(store) as database:
        assert database.commit([work]) == [True]
        assert verify(database).entries == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [("step", True), ("step", 1.5), ("step", "1"), ("code", 5), ("detail", b"x"), ("at", None)],
)
def test_an_entry_that_would_not_come_back_is_refused(
    database: Database, column: str, value: object
) -> None:
    """A value of another type than its column's would break the record for good."""
    with pytest.raises(StoreError, match=f"column `{column}` of `outcomes`"):
        database.commit([outcome(Work(moves={"a"}), "p-1", "o", **{column: value})])
    assert database.rows(REVISIONS) == []
    assert database.commit([outcome(Work(), "p-1", "o")]) == [True]
    assert verify(database).entries == 1


def test_a_column_that_is_not_there_is_a_mistake(database: Database) -> None:
    """A misspelt column is named, and nothing of its commit is written."""
    work = Work()
    work.insert(t.counters, key="k", amuont=1)
    with pytest.raises(StoreError, match="table `counters` has no column `amuont`"):
        database.commit([counter("j"), work])
    assert counters(database) == {}


def test_a_row_that_lacks_what_it_needs_is_refused_by_name(database: Database) -> None:
    """A refusal that is no conflict is an error that names its work, not a lost one."""
    work = Work(shown_as="d-1")
    work.insert(t.counters, key="k")
    with pytest.raises(StoreError, match=r"the store refused a write: .*(?i:not.null)") as told:
        database.commit([work])
    assert told.value.place == "d-1"
    assert database.commit([counter("k")]) == [True]


def test_a_refused_row_leaves_nothing_of_its_group(database: Database) -> None:
    """Beside a row that is there already, one that can never be written still refuses them all."""
    database.commit([counter("k")])
    never = Work(shown_as="d-1")
    never.insert(t.counters, key="l")
    with pytest.raises(StoreError, match="the store refused a write"):
        database.commit([counter("j"), counter("k"), never])
    assert counters(database) == {"k": 1}


def test_a_full_disk_is_an_error_to_act_on_and_nothing_is_written(tmp_path: Path) -> None:
    """The commit that does not fit is undone whole, and the store goes on when there is room."""
    path = tmp_path / "s.db"
    database = open_database(f"sqlite:///{path}")
    connection = database._driver.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + 2}")
    big = counter("k" * 1_000_000)
    with pytest.raises(StoreError, match="the store refused a write: database or disk is full"):
        database.commit([counter("j"), big])
    assert counters(database) == {}
    connection.execute("PRAGMA max_page_count=1000000")
    assert database.commit([counter("j"), big]) == [True, True]
    database.close()


@dataclass(frozen=True, slots=True)
class Log:
    """A write-ahead log (https://sqlite.org/fileformat2.html#walformat)."""

    path: Path

    def commits(self) -> int:
        """How many of its frames end a commit."""
        data = self.path.read_bytes()
        size = struct.unpack(">I", data[8:12])[0] + 24
        frames = [data[place : place + 24] for place in range(32, len(data), size)]
        return sum(frame[4:8] != b"\0\0\0\0" for frame in frames if frame[8:16] == data[16:24])


def test_a_group_is_one_durable_commit(tmp_path: Path) -> None:
    """Eight works are one commit in the log; each commit waits for the disk."""
    path = tmp_path / "s.db"
    database = open_database(f"sqlite:///{path}")
    log = Log(path.with_name("s.db-wal"))
    database.commit([counter("begin")])
    before = log.commits()
    works = [outcome(counter(f"k{n}"), f"p-{n % 3}", f"o-{n}") for n in range(8)]
    assert database.commit(works) == [True] * 8
    assert log.commits() == before + 1
    assert database._driver.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_a_reader_sees_what_is_committed_beside_a_writer(store: str) -> None:
    """A reading store follows the writer's commits, one instant at a time."""
    writer = open_database(store)
    reader = open_database(store, writable=False)
    with reader.read() as snapshot:
        assert snapshot.rows(COUNTERS) == []
        assert writer.commit([counter("k")]) == [True]
        assert snapshot.rows(COUNTERS) == []
    assert counters(reader) == {"k": 1}
    reader.close()
    writer.close()


def test_a_reader_sees_nothing_of_a_commit_under_way(tmp_path: Path) -> None:
    """What is not committed is not there, and reading does not wait for it."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    writer = open_database(url)
    reader = open_database(url, writable=False)
    connection = writer._driver.connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO counters VALUES ('k', 1)")
    assert counters(reader) == {}
    connection.execute("ROLLBACK")
    assert counters(reader) == {}
    reader.close()
    writer.close()


def test_a_reader_that_stays_does_not_block_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log grows while somebody reads an old state; no commit waits for them or fails."""
    monkeypatch.setattr(sqlite, "WAL_BYTES_BEFORE_CHECKPOINT", 20_000)
    url = f"sqlite:///{tmp_path / 's.db'}"
    writer = open_database(url)
    writer._driver.connection.execute("PRAGMA busy_timeout = 0")  # who had to wait would fail
    reader = open_database(url, writable=False)
    with reader.read() as snapshot:
        assert snapshot.rows(COUNTERS) == []
        for n in range(100):
            assert writer.commit([counter(f"k{n:03d}" + "x" * 2000)]) == [True]
        assert snapshot.rows(COUNTERS) == []
    assert len(counters(reader)) == 100
    reader.close()
    writer.close()


def test_the_log_begins_anew_when_it_was_moved_into_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many commits later the log is still small, and every commit is there."""
    monkeypatch.setattr(sqlite, "WAL_BYTES_BEFORE_CHECKPOINT", 100_000)
    path = tmp_path / "s.db"
    database = open_database(f"sqlite:///{path}")
    assert isinstance(database._driver, sqlite.SqliteDriver)
    checkpointer = database._driver._checkpointer
    assert checkpointer is not None
    for n in range(600):
        assert database.commit([counter(f"k{n:03d}" + "x" * 2000)]) == [True]
        checkpointer._idle.wait()  # so that it depends on no thread's speed
    assert path.with_name("s.db-wal").stat().st_size < 300_000
    assert len(counters(database)) == 600
    database.close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()


def test_a_reading_store_writes_nothing(store: str) -> None:
    """A commit through it is refused as an error to act on."""
    open_database(store).close()
    reader = open_database(store, writable=False)
    with pytest.raises(StoreError, match="the store refused a write"):
        reader.commit([counter("k")])
    assert counters(reader) == {}
    reader.close()


def test_a_failure_within_a_snapshot_ends_it(database: Database) -> None:
    """After an error between reads the next snapshot and the next commit begin afresh."""
    with pytest.raises(ValueError, match="ours"), database.read():
        raise ValueError("ours")
    with database.read() as snapshot:
        assert snapshot.row(COUNTERS) is None
    assert database.commit([counter("k")]) == [True]


def test_a_value_about_the_store_is_kept_and_changed(database: Database) -> None:
    """`set_meta` writes with its work, and is lost with it."""
    for value in ("one", "two"):
        work = Work()
        database.set_meta(work, "name", value)
        assert database.commit([work]) == [True]
        assert database.meta("name") == value
    lost = Work(asserts={"a": 5})
    database.set_meta(lost, "name", "three")
    assert database.commit([lost]) == [False]
    assert database.meta("name") == "two"
    assert database.meta("nothing") is None


@pytest.mark.parametrize(
    "url",
    ["postgres:/admin:s3cret@db/shop", "host=127.0.0.1 password=s3cret dbname=test"],
)
def test_what_looks_like_another_address_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """A mistyped address makes no store beside the one that was meant, and its password no word."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="is no URL") as told:
        open_database(url)
    assert "s3cret" not in str(told.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_leaves_nothing_behind(url: str) -> None:
    """It works like any other, is its opener's alone, and makes no file."""
    one, two = open_database(url), open_database(url)
    assert one.path is None
    assert one.commit([counter("k")]) == [True]
    assert counters(two) == {}
    one.close()
    two.close()
    assert not list(Path.cwd().iterdir())


def test_a_bare_path_is_a_store(tmp_path: Path) -> None:
    """A path without a scheme names the same file as with one, odd signs and all."""
    path = tmp_path / "50% of? #1 shop.db"
    database = open_database(str(path))
    assert database.commit([counter("k")]) == [True]
    database.close()
    again = open_database(f"sqlite:///{path}", writable=False)
    assert counters(again) == {"k": 1}
    again.close()


@pytest.mark.parametrize("url", ["", "mysql://x", "sqlite+other:///x"])
def test_an_address_that_is_no_store_is_refused(url: str) -> None:
    """What is not known here is named, with what is."""
    with pytest.raises(StoreError, match="is no store that is known here") as told:
        open_database(url)
    assert "sqlite:///" in str(told.value.remedy)


def test_a_store_and_its_key_are_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can read the file, its log, its lock or the key, whatever the mask."""
    monkeypatch.delenv("SAFECONDUCT_KEY")
    before = os.umask(0)
    try:
        database = open_database(f"sqlite:///{tmp_path / 's.db'}")
        database.commit([counter("k")])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("s.db*")}
        database.close()
    finally:
        os.umask(before)
    assert modes.keys() >= {"s.db", "s.db-wal", "s.db-shm", "s.db.key", "s.db.lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        ("rubbish", "cannot be opened"),
        ("cut off", "cannot be opened"),
        ("other key", "the key, or the format of fingerprints, is not the one"),
        ("no key", "the store's key is missing"),
        ("bad key", "is not base64"),
        ("newer", "cannot be migrated|is of schema"),
        ("half there", "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_used_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: str, cause: str
) -> None:
    """A damaged, foreign or newer store is refused with its place and a remedy."""
    monkeypatch.delenv("SAFECONDUCT_KEY")
    path = tmp_path / "s.db"
    url = f"sqlite:///{path}"
    open_database(url).close()
    _spoil(path, prepare)
    for writable in (True, False):
        with pytest.raises(StoreError, match=cause) as told:
            open_database(url, writable=writable)
        assert str(tmp_path) in str(told.value.place)
        assert told.value.remedy


def _spoil(path: Path, how: str) -> None:
    key = path.with_name("s.db.key")
    match how:
        case "rubbish":
            path.write_bytes(b"rubbish" * 1000)
        case "cut off":
            path.write_bytes(path.read_bytes()[:5000])
        case "other key":
            key.unlink()
            open_database(f"sqlite:///{path.with_name('other.db')}").close()
            path.with_name("other.db.key").rename(key)
        case "no key":
            key.unlink()
        case "bad key":
            key.write_text("hello")
        case "newer":
            _run(path, ["UPDATE alembic_version SET version_num = '9999'"])
        case _:
            _run(path, ["DROP TABLE meta"])


def _run(path: Path, statements: Sequence[str]) -> None:
    with sqlite3.connect(path) as raw:
        for statement in statements:
            raw.execute(statement)
    raw.close()


def test_damage_found_while_reading_is_an_error_to_act_on(tmp_path: Path) -> None:
    """A table that has gone, or text that is none, is no traceback."""
    path = tmp_path / "s.db"
    database = open_database(f"sqlite:///{path}")
    database.commit([counter("k")])
    database.close()
    _run(path, ["UPDATE counters SET key = CAST(x'ff' AS TEXT)", "DROP TABLE revisions"])
    reader = open_database(f"sqlite:///{path}", writable=False)
    for read in (COUNTERS, REVISIONS):
        with reader.read() as snapshot:
            with pytest.raises(StoreError, match="the store cannot be read"):
                snapshot.rows(read)
            with pytest.raises(StoreError, match="the store cannot be read"):
                snapshot.row(read)
            with pytest.raises(StoreError, match="the store cannot be read") as told:
                list(snapshot.stream(read))
        assert told.value.place == str(path)
    reader.close()


def test_reading_needs_a_store(tmp_path: Path) -> None:
    """Where there is none yet, a reader says how to make one, and makes none."""
    path = tmp_path / "s.db"
    with pytest.raises(StoreError, match="there is no store yet"):
        open_database(f"sqlite:///{path}", writable=False)
    assert not list(tmp_path.glob("s.db*"))
    path.touch()
    with pytest.raises(StoreError, match="the store is empty"):
        open_database(f"sqlite:///{path}", writable=False)
    assert path.stat().st_size == 0


def test_a_store_needs_its_folder(tmp_path: Path) -> None:
    """A folder that is not there is not made; the refusal names the store."""
    path = tmp_path / "nowhere" / "s.db"
    with pytest.raises(StoreError, match="the store cannot be written") as told:
        open_database(f"sqlite:///{path}")
    assert told.value.place == str(path)
    assert not path.parent.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_an_error_to_act_on(tmp_path: Path) -> None:
    """A store in a read-only folder is refused with what to do."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="the store cannot be written") as told:
        open_database(f"sqlite:///{folder / 's.db'}")
    assert "--store" in str(told.value.remedy)
