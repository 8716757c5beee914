from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, delete, or_, select, update

from store import tables as t
from store.database import Database, open_database
from store.statements import Insertion, Statement
from store.work import Work

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
NAMES = [f"k{n:02d}" for n in range(20)]


@pytest.fixture(scope="module")
def database() -> Database:
    """A store with twenty counters, `k00` to `k19`, each of its own number."""
    database = open_database("sqlite://")
    work = Work()
    for n, name in enumerate(NAMES):
        work.insert(t.counters, key=name, amount=n)
    database.commit([work])
    return database


@pytest.mark.parametrize("count", range(18))
def test_a_list_of_any_length_finds_exactly_what_it_names(database: Database, count: int) -> None:
    """Lists are padded to few lengths, and still find no more and no less."""
    keys = NAMES[1 : count + 1]
    assert [key for (key,) in database.rows(AMONG, keys=keys)] == keys
    assert [key for (key,) in database.rows(AMONG, keys=tuple(reversed(keys)))] == keys


def test_lists_of_many_lengths_are_few_texts() -> None:
    """A text is compiled for each power of two, so that the driver's cache keeps hitting."""
    texts = {AMONG.on("sqlite", {"keys": NAMES[:count]})[0] for count in range(1, 18)}
    assert len(texts) == 6


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


def test_a_statement_may_set_nothing() -> None:
    """A constant `None` of a statement is written as `NULL`."""
    database = open_database("sqlite://")
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


def test_a_deletion_says_how_many_rows_it_met() -> None:
    """`expect` counts the rows of a list, each once although the list is padded."""
    database = open_database("sqlite://")
    work = Work()
    for name in NAMES[:5]:
        work.insert(t.counters, key=name, amount=0)
    database.commit([work])
    drop = Statement(
        delete(t.counters).where(t.counters.c.key.in_(bindparam("keys", expanding=True)))
    )
    work = Work()
    work.change(drop, expect=3, keys=NAMES[:3])
    assert database.commit([work]) == [True]
    assert [key for (key,) in database.rows(AMONG, keys=NAMES)] == NAMES[3:5]


def test_an_insertion_names_every_column_in_the_tables_order() -> None:
    """What is inserted as plain values lands in the columns that it was meant for."""
    for table in t.metadata.sorted_tables:
        insertion = Insertion(table)
        text = insertion.on("sqlite")
        assert insertion.columns == tuple(table.columns.keys())
        assert text.count("?") == len(insertion.columns)
        listed = text.partition("(")[2].partition(")")[0].replace('"', "").split(", ")
        assert tuple(listed) == insertion.columns
