from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, delete, literal_column, or_, select, update

from store import tables as t
from store.database import Database, open_database
from store.statements import DialectName, Insertion, Statement
from store.work import Work
from tests.stores import Schema

AMONG = Statement(
    select(t.counters.c.key)
    .where(t.counters.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(t.counters.c.key)
)
BOTH = Statement(
    select(t.counters.c.key)
    .where(
        t.counters.c.amount >= bindparam("low"),
        t.counters.c.key.in_(bindparam("keys", expanding=True)),
        t.counters.c.amount.in_(bindparam("amounts", expanding=True)),
        t.counters.c.amount < bindparam("high"),
        t.counters.c.amount != 5,
    )
    .order_by(t.counters.c.key)
    .limit(bindparam("many"))
)
TWICE = Statement(
    select(t.counters.c.key).where(
        or_(t.counters.c.key == bindparam("it"), t.counters.c.key > bindparam("it"))
    )
)
DIALECTS: tuple[DialectName, ...] = ("sqlite", "postgresql")
NAMES = [f"k{n:02d}" for n in range(20)]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A store of each dialect with twenty counters, `k00` to `k19`, each of its own number."""
    if request.param == "sqlite":
        with closing(open_database("sqlite://")) as database:
            yield _counted(database)
        return
    schema = Schema(request.getfixturevalue("postgres_server"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAFECONDUCT_KEY", "YSBrZXkgZm9yIHRlc3RzIGFuZCBub3RoaW5nIGVsc2U=")
        database = open_database(schema.url)
    with closing(database):
        yield _counted(database)
    schema.drop()


def _counted(database: Database) -> Database:
    work = Work()
    for n, name in enumerate(NAMES):
        work.insert(t.counters, key=name, amount=n)
    assert database.commit([work]) == [True]
    return database


@pytest.mark.parametrize("count", range(18))
def test_a_list_of_any_length_finds_exactly_what_it_names(database: Database, count: int) -> None:
    """Lists are padded to few lengths, and still find no more and no less."""
    keys = NAMES[1 : count + 1]
    assert [key for (key,) in database.rows(AMONG, keys=keys)] == keys
    assert [key for (key,) in database.rows(AMONG, keys=tuple(reversed(keys)))] == keys


def test_lists_of_many_lengths_are_few_texts() -> None:
    """A text is compiled for each power of two, so that the driver's cache keeps hitting."""
    for dialect in DIALECTS:
        texts = {AMONG.on(dialect, {"keys": NAMES[:count]})[0] for count in range(1, 18)}
        assert len(texts) == 6


def test_a_percent_sign_is_one_on_every_dialect(database: Database) -> None:
    """What a dialect writes its parameters with is still itself within a text."""
    like = Statement(
        select(t.counters.c.key, literal_column("'5%'"))
        .where(t.counters.c.key.like("k0%"), t.counters.c.amount % 2 == bindparam("odd"))
        .order_by(t.counters.c.key)
    )
    assert database.rows(like, odd=1) == [(f"k0{n}", "5%") for n in range(1, 10, 2)]


def test_a_statement_knows_its_tables() -> None:
    """Those that it reads and those that it changes, wherever they stand in it."""
    inner = select(t.events.c.decision_id).where(t.events.c.event_key == bindparam("e"))
    change = update(t.timers).where(t.timers.c.decision_id.in_(inner)).values(state="done")
    assert Statement(change).tables == {"timers", "events"}
    assert AMONG.tables == {"counters"}


def test_the_longest_list_first_does_not_stay_behind(database: Database) -> None:
    """Values of an earlier, longer or equally long list are not asked for again."""
    statement = Statement(
        select(t.counters.c.key).where(t.counters.c.key.in_(bindparam("keys", expanding=True)))
    )
    for keys in (NAMES[:8], NAMES[8:16], NAMES[16:19], [], NAMES[:1]):
        assert sorted(key for (key,) in database.rows(statement, keys=keys)) == keys


@settings(max_examples=100, deadline=None)
@given(
    low=st.integers(0, 20),
    high=st.integers(0, 20),
    many=st.integers(0, 20),
    keys=st.lists(st.sampled_from(NAMES), max_size=17),
    amounts=st.lists(st.integers(0, 19), max_size=17),
)
def test_each_parameter_goes_to_its_own_place(
    database: Database, low: int, high: int, many: int, keys: list[str], amounts: list[int]
) -> None:
    """Numbers, lists and constants in one statement keep apart, whatever order they come in."""
    expected = [
        name
        for n, name in enumerate(NAMES)
        if low <= n < high and name in keys and n in amounts and n != 5
    ]
    given_ = {"many": many, "amounts": amounts, "high": high, "keys": keys, "low": low}
    assert [key for (key,) in database.rows(BOTH, **given_)] == expected[:many]


def test_one_parameter_may_be_asked_for_twice(database: Database) -> None:
    """A name that stands in two places has one value."""
    assert [key for (key,) in database.rows(TWICE, it="k18")] == ["k18", "k19"]


def test_a_statement_may_set_nothing(database: Database) -> None:
    """A constant `None` of a statement is written as `NULL`."""
    work = Work()
    work.insert(t.events, event_key=b"e", content=b"c", decision_id="d", received_at=1)
    database.commit([work])
    work = Work()
    unset = Statement(
        update(t.events)
        .where(t.events.c.event_key == bindparam("k"))
        .values(decision_id=None, received_at=bindparam("at"))
    )
    work.change(unset, expect=1, k=b"e", at=2)
    assert database.commit([work]) == [True]
    kept = Statement(select(t.events.c.decision_id, t.events.c.received_at))
    assert database.rows(kept) == [(None, 2)]


def test_a_parameter_that_was_not_given_is_a_mistake(database: Database) -> None:
    """A forgotten value is named; it is not taken for `NULL`."""
    with pytest.raises(KeyError, match="it"):
        database.rows(TWICE)
    with pytest.raises(KeyError, match="high"):
        database.rows(BOTH, low=0, many=1, keys=NAMES, amounts=[1])


def test_a_deletion_says_how_many_rows_it_met(database: Database) -> None:
    """`expect` counts the rows of a list, each once although the list is padded."""
    gone = [f"gone-{n}" for n in range(5)]
    work = Work()
    for name in gone:
        work.insert(t.counters, key=name, amount=0)
    database.commit([work])
    drop = Statement(
        delete(t.counters).where(t.counters.c.key.in_(bindparam("keys", expanding=True)))
    )
    work = Work()
    work.change(drop, expect=3, keys=gone[:3])
    assert database.commit([work]) == [True]
    assert [key for (key,) in database.rows(AMONG, keys=gone)] == gone[3:]
    work = Work()
    work.change(drop, expect=2, keys=gone)
    assert database.commit([work]) == [True]


def test_an_insertion_names_every_column_in_the_tables_order() -> None:
    """What is inserted as plain values lands in the columns that it was meant for."""
    for table in t.metadata.sorted_tables:
        insertion = Insertion(table)
        text = insertion.on("sqlite")
        assert insertion.columns == tuple(table.columns.keys())
        assert text.count("?") == len(insertion.columns)
        listed = text.partition("(")[2].partition(")")[0].replace('"', "").split(", ")
        assert tuple(listed) == insertion.columns
