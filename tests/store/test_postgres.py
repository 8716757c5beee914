from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import sql
from sqlalchemy import bindparam, create_engine, func, select, update
from sqlalchemy.pool import StaticPool

from domain.errors import LedgerBroken, StoreError
from policies.guard import PERMIT_TTL
from store import tables as t
from store.database import Database, open_database
from store.postgres import LEASE
from store.statements import Statement
from store.work import Work
from tests.store.test_database import COUNTERS, REVISIONS, SET, counter, counters, outcome
from tests.stores import Schema, own_server
from traces.ledger import verify

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 6
ROUNDS = 15

REVISION = Statement(
    select(t.revisions.c.key, t.revisions.c.revision).where(
        t.revisions.c.key.in_(bindparam("keys", expanding=True))
    )
)
TAKEN = Statement(
    select(func.count()).select_from(t.counters).where(t.counters.c.key.like(bindparam("like")))
)
ADD = Statement(
    update(t.counters)
    .where(t.counters.c.key == bindparam("k"))
    .values(amount=t.counters.c.amount + 1)
)


def together(store: str, work: Callable[[Database, int], None], writers: int = WRITERS) -> None:
    """Run something in many threads at once, each with a connection of its own."""
    begin, faults = threading.Barrier(writers), list[Exception]()

    def run(number: int) -> None:
        try:
            with closing(open_database(store)) as database:
                begin.wait(30)
                work(database, number)
        except Exception as error:  # noqa: BLE001 - the thread that waits for this one shows it
            faults.append(error)
            begin.abort()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not faults


def revisions(database: Database, *keys: str) -> dict[str, int]:
    """The revision of each key, 0 where it was never written."""
    return {**dict.fromkeys(keys, 0), **dict(database.rows(REVISION, keys=list(keys)))}


def test_a_cap_is_never_exceeded_by_many_writers(schema: Schema) -> None:
    """Whoever counts, finds room and takes it under one key: no more is taken than there is."""
    cap, taken = 10, list[int]()

    def take(database: Database, number: int) -> None:
        for turn in range(ROUNDS):
            said = revisions(database, "cap")
            with database.read() as snapshot:
                (count,) = snapshot.row(TAKEN, like="taken-%") or (0,)
            if count >= cap:
                return
            work = outcome(Work(asserts=said, moves={"cap"}), "p-1", f"o-{number}-{turn}")
            work.insert(t.counters, key=f"taken-{number}-{turn}", amount=1)
            taken.extend(database.commit([work]))

    together(schema.url, take)
    with closing(open_database(schema.url)) as database:
        assert sum(taken) == len(counters(database)) == cap
        assert revisions(database, "cap") == {"cap": cap}
        assert verify(database).entries == cap


def test_a_key_that_never_existed_is_moved_by_one(schema: Schema) -> None:
    """Of many who read that there is nothing yet, exactly one begins it."""
    won = list[bool]()

    def begin(database: Database, number: int) -> None:
        for turn in range(ROUNDS):
            work = Work(asserts={f"new-{turn}": 0}, moves={f"new-{turn}"})
            work.insert(t.counters, key=f"{turn}-{number}", amount=number)
            won.extend(database.commit([work]))

    together(schema.url, begin)
    with closing(open_database(schema.url)) as database:
        assert sum(won) == ROUNDS == len(counters(database))
        assert set(dict(database.rows(REVISIONS)).values()) == {1}


def test_two_who_read_what_the_other_moves_are_not_both_written(schema: Schema) -> None:
    """Write skew on keys that no row exists for: each asserts one key and moves the other."""
    won = list[tuple[int, bool]]()

    def cross(database: Database, number: int) -> None:
        for turn in range(ROUNDS):
            mine, other = (f"{turn}-{(number + side) % 2}" for side in (0, 1))
            held = database.commit([Work(asserts={mine: 0, other: 0}, moves={mine})])
            won.append((turn, held[0]))

    together(schema.url, cross, writers=2)
    for turn in range(ROUNDS):
        assert sum(held for of, held in won if of == turn) == 1


def test_crossing_keys_chains_and_rows_wait_for_each_other_in_one_order(schema: Schema) -> None:
    """Groups that name the same things in any order are all written, and none is lost."""
    people, keys = [f"p-{n}" for n in range(5)], [f"k-{n}" for n in range(5)]
    with closing(open_database(schema.url)) as database:
        assert all(database.commit([counter(key, 0) for key in keys]))

    def write(database: Database, number: int) -> None:
        chance = random.Random(number)
        for turn in range(ROUNDS):
            works = []
            for place in range(4):
                work = Work(moves=set(chance.sample(keys, 3)))
                for key in sorted(work.moves, key=lambda _: chance.random()):
                    work.change(ADD, expect=1, k=key)
                works.append(outcome(work, chance.choice(people), f"o-{number}-{turn}-{place}"))
            assert database.commit(works) == [True] * 4

    together(schema.url, write)
    with closing(open_database(schema.url)) as database:
        written = WRITERS * ROUNDS * 4
        assert verify(database).entries == written
        assert sum(counters(database).values()) == 3 * written
        assert dict(database.rows(REVISIONS)) == counters(database)


def test_rows_changed_in_crossing_order_without_a_key_are_tried_again(schema: Schema) -> None:
    """What the server ends as a deadlock is begun anew; nothing is lost or done twice."""
    with closing(open_database(schema.url)) as database:
        database.commit([counter("a", 0), counter("b", 0)])

    def write(database: Database, number: int) -> None:
        with suppress(psycopg.errors.InsufficientPrivilege):  # it takes a second each, then
            database._driver.execute("SET deadlock_timeout = '20ms'")
        for _ in range(ROUNDS):
            work = Work()
            for key in ("ab", "ba")[number % 2]:
                work.change(ADD, expect=1, k=key)
            assert database.commit([work]) == [True]

    together(schema.url, write, writers=2)
    with closing(open_database(schema.url)) as database:
        assert counters(database) == {"a": 2 * ROUNDS, "b": 2 * ROUNDS}


def test_who_moves_a_key_is_not_kept_waiting_by_those_who_read_it(schema: Schema) -> None:
    """A switch that every commit asserts is turned at once, however many commits there are."""
    ended = threading.Event()
    turned = list[int]()

    def write(database: Database, number: int) -> None:
        if number == 0:
            for turn in range(20):
                while not database.commit([Work(asserts={"s": turn}, moves={"s"})])[0]:
                    pass
                turned.append(turn)
            ended.set()
        else:
            while not ended.is_set():
                database.commit([Work(asserts=revisions(database, "s"), moves={f"k-{number}"})])

    together(schema.url, write)
    assert turned == list(range(20))


def test_the_guard_finds_what_was_written_past_the_claims(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where nobody claims anything, a revision that moved in between is not overwritten."""
    with closing(open_database(schema.url)) as database:
        assert database.commit([Work(moves={"k", "l"})]) == [True]
        driver, write = database._driver, database._driver.write
        meddled = iter(["k", "l"])

        def meddling(writing: object) -> bool:
            for key in meddled:
                schema.raw.execute(
                    "UPDATE revisions SET revision = revision + 1 WHERE key = %s", [key]
                )
                break
            return write(writing)  # type: ignore[arg-type]

        monkeypatch.setattr(driver, "write", meddling)
        assert database.commit([Work(asserts={"k": 1}, moves={"k"})]) == [False]
        assert database.commit([Work(asserts={"l": 1}, moves={"k"})]) == [False]
        assert database.commit([Work(asserts={"k": 2, "l": 2}, moves={"k"})]) == [True]
        assert dict(database.rows(REVISIONS)) == {"k": 3, "l": 2}


# Commits numbered works and says each number after its commit.
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
                    decision_id="d", step=0, state="sent", at=n, detail="y" * 500)
        works.append(work)
    assert all(database.commit(works))
    number += 4
    print(number - 1, flush=True)
"""


def test_a_client_that_is_killed_loses_nothing_that_it_said(schema: Schema) -> None:
    """Whole groups only, all that was answered is there, and no lock outlives its holder."""
    chance, first = random.Random(5), 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, schema.url, str(first)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(chance.randrange(1, 60))]
        assert all(said), "the writer ended by itself"
        for _ in range(chance.randrange(40_000)):  # somewhere within the commit under way
            pass
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        last = int([*said, *rest[: rest.rfind("\n") + 1].split()][-1])
        with closing(open_database(schema.url)) as database:
            # This waits until the server has noticed, and ended what was under way.
            assert database.commit([Work(moves={f"k{n}" for n in range(7)})]) == [True]
            kept = sorted(counters(database).values())
            assert kept == list(range(len(kept)))
            assert len(kept) % 4 == 0
            assert len(kept) > last
            assert verify(database).entries == len(kept)
            first = len(kept)


def test_many_who_open_an_empty_store_make_it_once(schema: Schema) -> None:
    """Processes that start together find one store, whoever of them has made it."""
    schema.raw.execute(f"DROP SCHEMA {schema.name} CASCADE")
    schema.raw.execute(f"CREATE SCHEMA {schema.name}")
    together(schema.url, lambda database, _: None)
    with closing(open_database(schema.url)) as database:
        assert database.meta("key_check") == database.vault.check
        assert verify(database).entries == 0


def test_the_migrated_schema_is_the_one_the_code_knows(schema: Schema) -> None:
    """Alembic finds no difference on PostgreSQL either, and all text is ordered by code point."""
    open_database(schema.url).close()
    raw = psycopg.connect(schema.url)
    engine = create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, t.metadata) == []
    engine.dispose()
    raw.close()
    others = schema.raw.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name <> 'alembic_version'"
        " AND data_type IN ('text', 'character varying') AND collation_name IS DISTINCT FROM 'C'"
    ).fetchall()
    assert others == []


@pytest.fixture
def shards(schema: Schema) -> Iterator[Database]:
    """A store that writers of several shards have written."""
    with closing(open_database(schema.url)) as database:
        driver = database._driver
        for number in range(8):
            driver.shard = driver.shards[number % 4]  # type: ignore[misc]
            assert database.commit([outcome(Work(), f"p-{number % 3}", f"o-{number}")]) == [True]
        assert verify(database).entries == 8
        yield database


def finding(database: Database) -> str | None:
    """What verifying says, if anything."""
    try:
        verify(database)
    except LedgerBroken as error:
        return error.cause
    return None


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("DELETE FROM ledger_roots WHERE shard = '1'", "whole chain"),
        ("DELETE FROM ledger_roots", "the root is gone"),
        ("UPDATE ledger_roots SET entries = entries + 1 WHERE shard = '2'", "shard `2` was alt"),
        ("UPDATE ledger_roots SET mac = total WHERE shard = '3'", "shard `3` was altered"),
        (
            "UPDATE ledger_roots AS mine SET total = other.total, entries = other.entries"
            " FROM ledger_roots AS other WHERE mine.shard = '0' AND other.shard = '1'",
            "shard `0` was altered",
        ),
    ],
)
def test_a_meddled_shard_is_found(
    schema: Schema, shards: Database, statement: str, cause: str
) -> None:
    """A shard that is gone, edited or another's does not add up with the rest."""
    schema.raw.execute(statement)
    assert cause in str(finding(shards))


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("UPDATE outcomes SET detail = 'x' WHERE outcome_id = 'o-4'", "is not as it was written"),
        ("UPDATE outcomes SET at = at + 1 WHERE outcome_id = 'o-4'", "is not as it was written"),
        ("DELETE FROM outcomes WHERE outcome_id = 'o-4'", "is missing before this one"),
        ("DELETE FROM outcomes WHERE outcome_id = 'o-7'", "entries, 3 were written"),
        ("UPDATE chains SET length = length + 1 WHERE profile_id = 'p-1'", "3 entries, 4 were"),
        (
            "WITH gone AS (DELETE FROM outcomes WHERE profile_id = 'p-2')"
            " DELETE FROM chains WHERE profile_id = 'p-2'",
            "a person's whole chain",
        ),
    ],
)
def test_a_meddled_record_is_found(
    schema: Schema, shards: Database, statement: str, cause: str
) -> None:
    """An edit, a deletion, a cut-off end or a missing person is found as on SQLite."""
    schema.raw.execute(statement)
    assert cause in str(finding(shards))


def test_a_shard_put_back_to_an_older_state_is_found(schema: Schema, shards: Database) -> None:
    """A share that was true once, seal and all, does not fit the newer chains."""
    old = schema.raw.execute("SELECT * FROM ledger_roots WHERE shard = '1'").fetchone()
    assert old is not None
    shards._driver.shard = "1"  # type: ignore[misc]
    assert shards.commit([outcome(Work(), "p-9", "o-9")]) == [True]
    assert finding(shards) is None
    schema.raw.execute("DELETE FROM ledger_roots WHERE shard = '1'")
    schema.raw.execute("INSERT INTO ledger_roots VALUES (%s, %s, %s, %s)", old)
    assert "put back to an older state" in str(finding(shards))


def test_an_altered_shard_is_not_built_upon(schema: Schema, shards: Database) -> None:
    """Nothing more is recorded on a share that does not bear its seal, or is not there."""
    shard = shards._driver.shard
    for statement in ("UPDATE ledger_roots SET mac = total", "DELETE FROM ledger_roots"):
        schema.raw.execute(f"{statement} WHERE shard = '{shard}'")
        with pytest.raises(StoreError, match="the ledger's root was altered"):
            shards.commit([outcome(Work(), "p-1", "late")])


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_cannot_be_kept_is_refused(schema: Schema, text: str) -> None:
    """A NUL or half a character is an error that names its work, on every way in."""
    with closing(open_database(schema.url)) as database:
        change = Work(shown_as="d-2")
        change.change(SET, k=text, to=1)
        for work in (counter(text), outcome(Work(shown_as="d-2"), "p-1", text), change):
            with pytest.raises(StoreError, match="the store refused a write") as told:
                database.commit([counter("k"), work] if work is change else [work])
            assert told.value.place
        assert database.rows(COUNTERS) == []


def test_an_owner_without_its_connection_is_waited_for(schema: Schema) -> None:
    """Who has only lost its connection may still be sending: gone is who ended, or had its time."""
    with closing(open_database(schema.url)) as database:
        alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        here, soon = socket.gethostname(), timedelta(seconds=30)
        owner = f"{here}:{alive.pid}:4711"
        assert not database.is_gone(owner, soon)
        assert database.is_gone(owner, LEASE + soon)
        alive.kill()
        alive.communicate()
        assert database.is_gone(owner, soon)
        elsewhere = f"another-{here}:{alive.pid}:4711"
        assert not database.is_gone(elsewhere, soon)
        assert database.is_gone(elsewhere, LEASE + soon)
    assert LEASE > 2 * PERMIT_TTL


def test_a_commit_is_durable_whatever_the_address_says(schema: Schema) -> None:
    """A server or an address that would answer before the disk has it is overruled."""
    url = schema.url + "%20-csynchronous_commit%3Doff"
    with closing(open_database(url)) as database:
        shown = database._driver.execute("SHOW synchronous_commit").fetchone()
    assert shown == ("on",)


def test_a_live_owner_is_told_from_a_dead_one(schema: Schema) -> None:
    """While a writer is connected nobody else is alone under its name; a reader is no writer."""
    first, second = open_database(schema.url), open_database(schema.url)
    assert first.owner != second.owner
    assert first.is_gone(first.owner, timedelta(0))
    assert not second.is_gone(first.owner, timedelta(0))
    first.close()
    for _ in range(100):  # the server takes a moment to end a session
        if second.is_gone(first.owner, timedelta(0)):
            break
    assert second.is_gone(first.owner, timedelta(0))
    second.close()


PASSWORD = "hunter2-and-more"


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (f"postgresql://ana:{PASSWORD}@127.0.0.1:1/shop", "the store cannot be reached"),
        (f"postgresql://ana:{PASSWORD}@[::1/shop", "the store's address cannot be read"),
        (f"postgresql://ana:{PASSWORD}@h/shop?nonsense=1", "the store's address cannot be read"),
        (f"postgresq://ana:{PASSWORD}@h/shop", "is no store that is known here"),
    ],
)
def test_no_message_shows_a_password(url: str, cause: str) -> None:
    """A store that cannot be opened is named by host and database alone."""
    with pytest.raises(StoreError, match=cause) as told:
        open_database(url)
    assert PASSWORD not in str(told.value)
    assert told.value.remedy


def test_a_store_without_its_key_is_refused(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file beside a server: the key comes from the variable, or not at all."""
    monkeypatch.delenv("SAFECONDUCT_KEY")
    with pytest.raises(StoreError, match="no key file beside it") as told:
        open_database(schema.url)
    assert "SAFECONDUCT_KEY" in str(told.value.remedy)


@pytest.mark.parametrize(
    ("statement", "writable", "cause"),
    [
        (None, False, "the store is empty"),
        ("CREATE TABLE bookmarks (url text)", True, "the database of another program"),
        ("CREATE TABLE bookmarks (url text)", False, "the store is empty"),
        ("DROP SCHEMA {} CASCADE", True, "schema is not there"),
    ],
)
def test_a_schema_that_is_no_store_is_refused_and_left_alone(
    postgres_server: str, statement: str | None, writable: bool, cause: str
) -> None:
    """An empty one to a reader, another program's, and one that is not there."""
    schema = Schema(postgres_server)
    if statement:
        schema.raw.execute(sql.SQL(statement).format(sql.Identifier(schema.name)))
    with pytest.raises(StoreError, match=cause) as told:
        open_database(schema.url, writable=writable)
    assert told.value.remedy
    assert schema.raw.execute("SELECT to_regclass('meta')").fetchone() == (None,)
    schema.drop()


def test_a_server_that_has_gone_is_an_error_to_act_on(schema: Schema) -> None:
    """A lost connection is told by reading and writing alike, and is no traceback."""
    with closing(open_database(schema.url)) as database:
        schema.raw.execute(
            "SELECT pg_terminate_backend(%s)", [database._driver.connection.info.backend_pid]
        )
        with pytest.raises(StoreError, match="the store refused a write") as told:
            database.commit([counter("k")])
        assert "run again" in str(told.value.remedy)
        with pytest.raises(StoreError, match="the store cannot be read"), database.read():
            pass


def test_a_connection_that_is_lost_within_a_stream_is_told(schema: Schema) -> None:
    """Rows that no longer come are an error to act on, however many have come already."""
    with closing(open_database(schema.url)) as database:
        database.commit([counter(f"k{number:04d}") for number in range(1200)])
        backend = database._driver.connection.info.backend_pid
        with database.read() as snapshot:
            rows = snapshot.stream(COUNTERS)
            assert next(rows) == ("k0000", 1)
            schema.raw.execute("SELECT pg_terminate_backend(%s)", [backend])
            with pytest.raises(StoreError, match="the store cannot be read"):
                list(rows)


def test_a_stream_that_is_not_read_to_its_end_is_given_up(schema: Schema) -> None:
    """Two streams at once keep apart, and leave the connection as it was."""
    with closing(open_database(schema.url)) as database:
        database.commit([counter(f"k{number:04d}", number) for number in range(1200)])
        with database.read() as snapshot:
            one, two = snapshot.stream(COUNTERS), snapshot.stream(COUNTERS)
            assert [next(one), next(two), next(one)][1:] == [("k0000", 0), ("k0001", 1)]
        assert database.commit([counter("z")]) == [True]


def test_without_its_driver_a_server_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver is an extra: where it is not installed, the message says how to install it."""
    monkeypatch.delitem(sys.modules, "store.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="which is not installed") as told:
        open_database("postgresql://nowhere/shop")
    assert ".[postgres]" in str(told.value.remedy)


def test_a_server_of_our_own_holds_a_store() -> None:
    """Where no server answers, the suite starts one as an unprivileged user, and stops it."""
    with own_server() as url, closing(open_database(url)) as database:
        assert database.commit([outcome(counter("k"), "p-1", "o-1")]) == [True]
        assert verify(database).entries == 1
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=1)
