"""Reserves the money of offers out of budgets, and gives it back exactly once."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, func, select, update

from store import keys
from store import tables as t
from store.statements import Statement
from store.work import Work

_TAKE = Statement(
    update(t.counters)
    .where(t.counters.c.key == bindparam("k"))
    .values(amount=t.counters.c.amount + bindparam("many"))
)
_RESERVED = select(t.spendings.c.counter).where(
    t.spendings.c.decision_id == bindparam("decision"), t.spendings.c.state == "reserved"
)
_AMOUNT = (
    select(func.sum(t.spendings.c.amount))
    .where(
        t.spendings.c.decision_id == bindparam("decision"),
        t.spendings.c.state == "reserved",
        t.spendings.c.counter == t.counters.c.key,
    )
    .scalar_subquery()
)
_GIVE_BACK = Statement(
    update(t.counters)
    .where(t.counters.c.key.in_(_RESERVED))
    .values(amount=t.counters.c.amount - _AMOUNT)
)
_RELEASED = Statement(
    update(t.spendings)
    .where(t.spendings.c.decision_id == bindparam("decision"), t.spendings.c.state == "reserved")
    .values(state="released")
)


def reserve(
    work: Work, decision_id: str, budget: str, counter: str, amount: int, *, first: bool
) -> None:
    """Take an amount (minor units) out of a budget; the caller's work asserts the budget's key."""
    if first:
        work.insert(t.counters, key=counter, amount=amount)
    else:
        work.change(_TAKE, k=counter, many=amount)
    work.insert(
        t.spendings, decision_id=decision_id, counter=counter, amount=amount, state="reserved"
    )
    work.move(keys.budget(budget))


def release(work: Work, decision_id: str, budgets: Iterable[str]) -> None:
    """Give back what a decision took, to the period it was taken from; nothing a second time."""
    work.change(_GIVE_BACK, decision=decision_id)
    work.change(_RELEASED, decision=decision_id)
    work.move(*(keys.budget(name) for name in budgets))
