"""Grants offers out of a counted stock: reserved with the decision, granted by the step."""

from __future__ import annotations

from sqlalchemy import bindparam, update

from store import keys
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools.toolbox import Intent, Outcome, Recovery

_REVOKE = Statement(
    update(t.grants)
    .where(t.grants.c.decision_id == bindparam("decision"), t.grants.c.state == "granted")
    .values(state="released")
)
_TAKE = Statement(
    update(t.counters)
    .where(t.counters.c.key == bindparam("k"))
    .values(amount=t.counters.c.amount + bindparam("many"))
)


class OfferTool:
    """One offer to one person."""

    def recovery(self, intent: Intent) -> Recovery:
        """A grant is a row, there or not."""
        return "store"

    async def execute(self, intent: Intent, work: Work) -> Outcome:
        """Write the grant."""
        work.insert(
            t.grants,
            grant_id=f"g-{intent.outbox_id}",
            offer=intent.arguments["offer"],
            brand=intent.arguments["brand"],
            profile_id=intent.profile_id,
            decision_id=intent.decision_id,
            state="granted",
            at=micros(intent.at),
        )
        return Outcome("sent", f"granted `{intent.arguments['offer']}`")

    async def lookup(self, intent: Intent) -> Outcome | None:
        """Effect and outcome are one commit: a step still `sending` was not done."""
        return None


def reserve(work: Work, brand: str, offer: str, *, first: bool) -> None:
    """Take one out of stock; the caller's work asserts the stock's contention key."""
    key = keys.stock_counter(brand, offer)
    if first:
        work.insert(t.counters, key=key, amount=1)
    else:
        work.change(_TAKE, k=key, many=1)
    work.move(keys.stock(brand, offer))


def release(work: Work, brand: str, offer: str, decision_id: str) -> None:
    """Put one back, and take back the grant if it was made."""
    key = keys.stock_counter(brand, offer)
    work.change(_TAKE, k=key, many=-1)
    work.change(_REVOKE, decision=decision_id)
    work.move(keys.stock(brand, offer))
