"""Grants offers out of a counted stock: reserved with the decision, granted by the step.

A grant is a row from its reservation on, and a stock's counter is the number of rows that take
from it: what is given back is given back by the very rows that are there, and so once.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, func, select, update

from store import keys
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools.toolbox import Intent, Outcome, Recovery

_GRANT = Statement(
    update(t.grants)
    .where(t.grants.c.grant_id == bindparam("grant"), t.grants.c.state == "reserved")
    .values(state="granted")
)
_OPEN = (
    t.grants.c.decision_id == bindparam("decision"),
    t.grants.c.state.in_(("reserved", "granted")),
)
_GIVE_BACK = Statement(
    update(t.counters)
    .where(t.counters.c.key == bindparam("k"))
    .values(
        amount=t.counters.c.amount
        - select(func.count()).select_from(t.grants).where(*_OPEN).scalar_subquery()
    )
)
_RELEASE = Statement(update(t.grants).where(*_OPEN).values(state="released"))
_CHANGE = Statement(
    update(t.counters)
    .where(t.counters.c.key == bindparam("k"))
    .values(amount=t.counters.c.amount + bindparam("many"))
)


class OfferTool:
    """One offer to one person."""

    def recovery(self, intent: Intent) -> Recovery:
        """A grant is a row, granted or not."""
        return "store"

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Grant what was reserved."""
        work.change(_GRANT, expect=1, grant=grant_id(intent.outbox_id))
        return Outcome("sent", f"granted `{intent.arguments['offer']}`")

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Effect and outcome are one commit: a step still `sending` was not done."""
        return None


def grant_id(outbox_id: str) -> str:
    """The one grant that a step may make."""
    return f"g-{outbox_id}"


def reserve(
    work: Work,
    brand: str,
    offer: str,
    outbox_id: str,
    *,
    profile_id: str,
    decision_id: str,
    at: datetime,
    expires_at: datetime | None,
    first: bool,
) -> None:
    """Take one out of stock for a step; the caller's work asserts the stock's contention key."""
    key = keys.stock_counter(brand, offer)
    if first:
        work.insert(t.counters, key=key, amount=1)
    else:
        work.change(_CHANGE, k=key, many=1)
    work.insert(
        t.grants,
        grant_id=grant_id(outbox_id),
        offer=offer,
        brand=brand,
        profile_id=profile_id,
        decision_id=decision_id,
        state="reserved",
        at=micros(at),
        expires_at=micros(expires_at),
        ended_at=None,
        returned=0,
    )
    work.move(keys.stock(brand, offer))


def release(work: Work, brand: str, offer: str, decision_id: str) -> None:
    """Put back what a decision took and nobody has used, once; nothing came of it."""
    work.change(_GIVE_BACK, k=keys.stock_counter(brand, offer), decision=decision_id)
    work.change(_RELEASE, decision=decision_id)
    work.move(keys.stock(brand, offer))


def restock(work: Work, brand: str, offer: str) -> None:
    """Put one back that was granted, and has ended unused; the caller's work says so of its row."""
    work.change(_CHANGE, k=keys.stock_counter(brand, offer), many=-1)
    work.move(keys.stock(brand, offer))
