"""Ends grants that nobody used: the timer that lets them expire, and the colleague who revokes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, or_, select

from agents.steps import ROUNDS_MAX, Deps
from domain.errors import StoreError, UsageError
from profiles.grants import COLUMNS, End, Grant, end, read
from store import keys
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work
from tools import budgets, offers

BATCH = 100
"""How many grants expire in one commit."""

_G = t.grants.c
_NEXT = Statement(
    select(_G.expires_at)
    .where(_G.state == "granted", _G.expires_at.is_not(None))
    .order_by(_G.expires_at, _G.grant_id)
    .limit(1)
)
_DUE = Statement(
    select(*COLUMNS)
    .where(_G.state == "granted", _G.expires_at <= bindparam("now"))
    .order_by(_G.expires_at, _G.grant_id)
    .limit(bindparam("most"))
)
_ONE = Statement(select(*COLUMNS).where(_G.grant_id == bindparam("grant")))
_SOME = Statement(
    select(*COLUMNS)
    .where(
        or_(bindparam("anybody") == 1, _G.profile_id.in_(bindparam("people", expanding=True))),
        or_(bindparam("any_offer") == 1, _G.offer == bindparam("offer")),
        _G.state != "released",
    )
    .order_by(_G.at, _G.grant_id)
)
_BALANCES = Statement(
    select(_G.brand, _G.offer, _G.state, func.count(), func.sum(_G.returned))
    .where(_G.state != "released")
    .group_by(_G.brand, _G.offer, _G.state)
)
_PERSON = Statement(
    select(t.profiles.c.root_id).where(t.profiles.c.profile_id == bindparam("person"))
)
_REVISIONS = Statement(
    select(t.revisions.c.key, t.revisions.c.revision).where(
        t.revisions.c.key.in_(bindparam("keys", expanding=True))
    )
)


def next_expiry(database: Database) -> datetime | None:
    """When the next grant expires, if any may."""
    rows = database.rows(_NEXT)
    return instant(rows[0][0]) if rows else None


def expire(deps: Deps, now: datetime) -> int:
    """Let the first of the grants expire whose end has come by `now`; how many did.

    Each at its own instant. One that somebody was quicker to end is left to them.
    """
    due = [read(row) for row in deps.database.rows(_DUE, now=micros(now), most=BATCH)]
    works = [_ending(deps, one, "expired", one.expires_at or now) for one in due]
    return sum(deps.commit(works)) if works else 0


def find(database: Database, grant_id: str) -> Grant:
    """One grant. Raises `UsageError` where there is none of that name."""
    rows = database.rows(_ONE, grant=grant_id)
    if not rows:
        raise UsageError(
            f"there is no grant `{grant_id}`", remedy="list them with `safeconduct offers grants`"
        )
    return read(rows[0])


def grants(
    database: Database, *, people: Sequence[str] | None = None, offer: str | None = None
) -> list[Grant]:
    """The grants there ever were, of anybody and any offer or of these; oldest first."""
    rows = database.rows(
        _SOME,
        anybody=int(people is None),
        people=list(people or ()),
        any_offer=int(offer is None),
        offer=offer or "",
    )
    return [read(row) for row in rows]


def balances(database: Database) -> dict[tuple[str, str], dict[str, int]]:
    """How many grants of each brand and offer are in each state.

    `returned` counts those among `expired` and `revoked` that went back into stock.
    """
    found: dict[tuple[str, str], dict[str, int]] = {}
    for brand, offer, state, count, returned in database.rows(_BALANCES):
        states = found.setdefault((brand, offer), {})
        states[state] = count
        states["returned"] = states.get("returned", 0) + returned
    return found


def revoke(deps: Deps, grant_id: str, *, by: str, reason: str, at: datetime) -> Grant:
    """Take a grant back that was not used, and return it as it then stands.

    Raises:
        UsageError: it has ended, or is still being granted.
    """
    for _ in range(ROUNDS_MAX):
        grant = find(deps.database, grant_id)
        if not grant.stands(at):
            raise _over(grant)
        if deps.commit([_ending(deps, grant, "revoked", at, detail=reason, by=by)])[0]:
            return find(deps.database, grant_id)
    raise StoreError(
        "others changed the same customer again and again", place=grant_id, remedy="try again"
    )


def _over(grant: Grant) -> UsageError:
    state = "expired" if grant.state == "granted" else grant.state
    remedy = "what was used, has expired or was revoked stays so"
    if grant.state == "reserved":
        remedy = f"nothing was granted yet: see `safeconduct explain {grant.decision_id}`"
    return UsageError(f"this grant is {state}", place=grant.grant_id, remedy=remedy)


def _ending(
    deps: Deps,
    grant: Grant,
    state: End,
    at: datetime,
    *,
    detail: str = "",
    by: str | None = None,
) -> Work:
    """The end of one grant; its stock and money are there again where the offer says so."""
    work = Work(shown_as=grant.grant_id)
    read = _keys(deps.database, grant.profile_id)
    kept = dict(deps.database.rows(_REVISIONS, keys=read))
    work.asserts.update({key: kept.get(key, 0) for key in read})
    work.move(*read)
    offer = deps.workspace.offers.get(grant.offer)
    returns = offer is not None and offer.returns
    end(work, grant, state, at, detail=detail, by=by, returned=returns)
    if returns:
        offers.restock(work, grant.brand, grant.offer)
        budgets.release(work, grant.decision_id, [one.name for one in deps.workspace.budgets])
    return work


def _keys(database: Database, profile_id: str) -> list[str]:
    """The keys of whoever the grant is of now, and was of then."""
    roots = [root for (root,) in database.rows(_PERSON, person=profile_id)]
    return sorted({keys.person(profile_id), *(keys.person(root) for root in roots)})
