from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, create_engine, select, update
from sqlalchemy.pool import StaticPool

from domain.errors import StoreError, StoreLocked
from store import tables as t
from store.database import Database, open_database
from store.statements import Statement
from store.work import Work
from traces.ledger import verify

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 200 if os.environ.get("SAFECONDUCT_SOAK") == "1" else 6

COUNTERS = Statement(select(t.counters.c.key, t.counters.c.amount).order_by(t.counters.c.key))
AMONG = Statement(
    select(t.counters.c.key).where(t.counters.c.key.in_(bindparam("keys", expanding=True)))
)
SET = Statement(
    update(t.counters).where(t.counters.c.key == bindparam("k")).values(amount=bindparam("to"))
)
REVISIONS = Statement(select(t.revisions.c.key, t.revisions.c.revision))


def counters(database: Database) -> dict[str, int]:
    """What the counters say."""
    return dict(database.rows(COUNTERS))


def outcome(work: Work, person: str, name: str) -> Work:
    """Append an entry to a person's chain."""
    work.append(
        t.outcomes, person, outcome_id=name, outbox_id=name, decision_id="d", step=0, state="sent",
        at=0, detail="",
    )  # fmt: skip
    return work


def test_a_work_whose_key_has_moved_is_lost_whole() -> None:
    """Nothing of it is written, and the others of the same commit are."""
    database = open_database("sqlite://")
    first = Work(asserts={"a": 0}, moves={"a"})
    first.insert(t.counters, key="first", amount=1)
    late = outcome(Work(asserts={"a": 0}, moves={"a"}), "p-1", "late")
    late.insert(t.counters, key="late", amount=1)
    other = Work(asserts={"b": 0}, moves={"b"})
    other.insert(t.counters, key="other", amount=1)
    assert database.commit([first, late, other]) == [True, False, True]
    assert counters(database) == {"first": 1, "other": 1}
    assert dict(database.rows(REVISIONS)) == {"a": 1, "b": 1}
    assert verify(database).entries == 0


def test_a_change_that_finds_nothing_loses_its_work_and_undoes_it() -> None:
    """A later change of a work that does not find its row takes the earlier ones back."""
    database = open_database("sqlite://")
    begin = Work()
    begin.insert(t.counters, key="k", amount=1)
    database.commit([begin])
    work = Work(moves={"a"})
    work.change(SET, expect=1, k="k", to=2)
    work.change(SET, expect=1, k="nothing", to=3)
    other = Work(moves={"b"})
    assert database.commit([work, other]) == [False, True]
    assert counters(database) == {"k": 1}
    assert dict(database.rows(REVISIONS)) == {"b": 1}


def test_a_row_that_is_there_already_loses_its_work_alone() -> None:
    """Two works that insert one key: the first stands, the second is lost, the third is written."""
    database = open_database("sqlite://")
    works = []
    for name, key in (("one", "k"), ("two", "k"), ("three", "j")):
        work = outcome(Work(), "p-1", name)
        work.insert(t.counters, key=key, amount=1)
        works.append(work)
    assert database.commit(works) == [True, False, True]
    assert counters(database) == {"j": 1, "k": 1}
    assert verify(database).entries == 2


KEYS = st.sampled_from("abc")
WORKS = st.tuples(st.dictionaries(KEYS, st.integers(0, 3), max_size=3), st.sets(KEYS, max_size=3))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(WORKS, min_size=1, max_size=5), min_size=1, max_size=6))
def test_commits_equal_a_serial_model(
    groups: list[list[tuple[dict[str, int], set[str]]]],
) -> None:
    """Any works in any groups are written exactly where a serial model would write them."""
    database = open_database("sqlite://")
    model: dict[str, int] = {}
    written = 0
    for group in groups:
        works: list[Work] = []
        expected: list[bool] = []
        for asserts, moves in group:
            works.append(
                outcome(Work(dict(asserts), set(moves)), "p-1", f"o-{len(works)}-{written}")
            )
            held = all(model.get(key, 0) == revision for key, revision in asserts.items())
            expected.append(held)
            if held:
                for key in moves:
                    model[key] = model.get(key, 0) + 1
        for number, work in enumerate(works):
            work.entries[0][1]["outcome_id"] = f"o-{id(group)}-{number}-{written}"
        assert database.commit(works) == expected
        written += sum(expected)
    assert {k: v for k, v in model.items() if v} == dict(database.rows(REVISIONS))
    assert verify(database).entries == written


def test_the_migrated_schema_is_the_one_the_code_knows(tmp_path: Path) -> None:
    """Alembic finds no difference between what migrations make and what the tables say."""
    path = tmp_path / "s.db"
    open_database(f"sqlite:///{path}").close()
    raw = sqlite3.connect(path)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, t.metadata) == []
    engine.dispose()
    raw.close()


@pytest.mark.parametrize("count", range(18))
def test_a_list_of_any_length_can_be_asked_for(count: int) -> None:
    """Lists are padded to few lengths, and still find exactly what they name."""
    database = open_database("sqlite://")
    work = Work()
    for n in range(20):
        work.insert(t.counters, key=f"k{n:02d}", amount=n)
    database.commit([work])
    keys = [f"k{n:02d}" for n in range(count)]
    assert sorted(key for (key,) in database.rows(AMONG, keys=keys)) == keys


def test_a_store_and_its_key_are_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can read the file or the key."""
    monkeypatch.delenv("SAFECONDUCT_KEY")
    path = tmp_path / "s.db"
    open_database(f"sqlite:///{path}").close()
    for name in ("s.db", "s.db.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        ("rubbish", "cannot be opened"),
        ("other key", "the key is not the one"),
        ("no key", "the store's key is missing"),
        ("bad key", "is not base64"),
        ("newer", "cannot be migrated|is of schema"),
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
    match prepare:
        case "rubbish":
            path.write_bytes(b"rubbish" * 1000)
        case "other key":
            (tmp_path / "s.db.key").unlink()
            open_database(f"sqlite:///{tmp_path / 'other.db'}").close()
            (tmp_path / "other.db.key").rename(tmp_path / "s.db.key")
        case "no key":
            (tmp_path / "s.db.key").unlink()
        case "bad key":
            (tmp_path / "s.db.key").write_text("hello")
        case _:
            with sqlite3.connect(path) as raw:
                raw.execute("UPDATE alembic_version SET version_num = '9999'")
            raw.close()
    for writable in (True, False):
        with pytest.raises(StoreError, match=cause) as told:
            open_database(url, writable=writable)
        assert str(tmp_path) in str(told.value)


def test_reading_needs_a_store(tmp_path: Path) -> None:
    """Where there is none yet, a reader says how to make one, and makes none."""
    with pytest.raises(StoreError, match="there is no store yet"):
        open_database(f"sqlite:///{tmp_path / 's.db'}", writable=False)
    assert not list(tmp_path.glob("s.db*"))


def test_a_reader_sees_what_is_committed_beside_a_writer(tmp_path: Path) -> None:
    """A reading store follows the writer's commits and never holds it up."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    writer = open_database(url)
    reader = open_database(url, writable=False)
    with reader.read() as snapshot:
        assert snapshot.rows(COUNTERS) == []
        work = Work()
        work.insert(t.counters, key="k", amount=1)
        assert writer.commit([work]) == [True]
        assert snapshot.rows(COUNTERS) == []
    assert counters(reader) == {"k": 1}
    reader.close()
    writer.close()


def test_a_second_writer_is_refused_and_a_dead_ones_lock_is_free(tmp_path: Path) -> None:
    """The lock names its holder, and ends with the holder's life, however that ended."""
    path = tmp_path / "s.db"
    code = (
        "import sys, time\nfrom store.database import open_database\n"
        "open_database(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, f"sqlite:///{path}"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
        open_database(f"sqlite:///{path}")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    open_database(f"sqlite:///{path}").close()


WRITER = """
import sys
from store import tables as t
from store.database import open_database
from store.work import Work
database = open_database(sys.argv[1])
number = int(sys.argv[2])
while True:
    works = []
    for n in range(number, number + 4):
        work = Work(moves={f"k{n % 7}"})
        work.insert(t.counters, key=f"n{n:09d}", amount=n)
        work.append(t.outcomes, f"p-{n % 5}", outcome_id=f"o-{n:09d}", outbox_id="x",
                    decision_id="d", step=0, state="sent", at=0, detail="")
        works.append(work)
    assert all(database.commit(works))
    number += 4
    print(number, flush=True)
"""


@pytest.mark.soakable
def test_no_commit_is_lost_to_kill_9(tmp_path: Path) -> None:
    """What a process said it committed is there after it was killed; the ledger verifies."""
    chance = random.Random(7)
    url = f"sqlite:///{tmp_path / 's.db'}"
    number = 0
    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(number)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = number
        for _ in range(chance.randrange(1, 60)):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        said = int(rest.split()[-1]) if rest.split() else said
        database = open_database(url)
        kept = sorted(counters(database).values())
        assert kept == list(range(len(kept)))
        assert len(kept) % 4 == 0, "a group was written in part"
        assert len(kept) >= said, "a commit that was answered is gone"
        assert verify(database).entries == len(kept)
        database.close()
        number = len(kept)
