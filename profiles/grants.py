"""Grants of offers after they were made: what a person uses, and how each one ends.

    granted -> redeemed | expired | revoked

Each end is final, and an entry in the chain of whoever it was granted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import bindparam, or_, select, update

from domain.errors import InputError
from domain.event import Event
from store import tables as t
from store.database import Snapshot
from store.instants import instant, micros
from store.statements import Statement
from store.work import Work

REDEEMED_EVENT = "offer_redeemed"
End = Literal["redeemed", "expired", "revoked"]

_G = t.grants.c
COLUMNS = (
    _G.grant_id, _G.offer, _G.brand, _G.profile_id, _G.decision_id, _G.state, _G.at,
    _G.expires_at, _G.ended_at, _G.returned,
)  # fmt: skip
_NAMED = Statement(
    select(*COLUMNS)
    .where(
        _G.profile_id.in_(bindparam("people", expanding=True)),
        or_(_G.grant_id == bindparam("grant"), _G.offer == bindparam("offer")),
        _G.state != "released",
    )
    .order_by(_G.at, _G.grant_id)
)
_END = Statement(
    update(t.grants)
    .where(_G.grant_id == bindparam("grant"), _G.state == "granted")
    .values(state=bindparam("to_state"), ended_at=bindparam("at"), returned=bindparam("returns"))
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One offer to one person, as it stands.

    `state` is `reserved`, `granted`, `redeemed`, `expired`, `revoked`, or `released` where nothing
    came of it. It was reserved `at`, and `returned` says whether it went back into stock.
    """

    grant_id: str
    offer: str
    brand: str
    profile_id: str
    decision_id: str
    state: str
    at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    returned: bool

    @property
    def outbox_id(self) -> str:
        """The step that made it."""
        return self.grant_id.removeprefix("g-")

    @property
    def step(self) -> int:
        """Which of its decision's steps that is."""
        return int(self.outbox_id.rpartition("-")[2])

    def stands(self, at: datetime) -> bool:
        """Whether it could be used at an instant."""
        return self.state == "granted" and (self.expires_at is None or at < self.expires_at)


def read(row: Sequence[object]) -> Grant:
    """The grant of a row of `COLUMNS`."""
    said = dict(zip(Grant.__dataclass_fields__, row, strict=True))
    for name in ("at", "expires_at", "ended_at"):
        said[name] = instant(said[name])  # type: ignore[call-overload]
    return Grant(**{**said, "returned": bool(said["returned"])})  # type: ignore[arg-type]


def redeemed(
    event: Event, snapshot: Snapshot, people: Sequence[str], brands: Sequence[str]
) -> Grant | None:
    """The grant that an event says was used; None where that is known, or it says no such thing.

    It names the grant, or the offer: then it is the one that would expire first.

    Raises:
        InputError: it names neither, or none that this person could use at that time.
    """
    if event.name != REDEEMED_EVENT:
        return None
    grant, offer = event.properties.get("grant"), event.properties.get("offer")
    if not isinstance(grant, str) and not isinstance(offer, str):
        raise _unusable(event, "says neither which `grant` nor which `offer` was used")
    by_grant = isinstance(grant, str)
    rows = snapshot.rows(
        _NAMED,
        people=list(people),
        grant=grant if by_grant else "",
        offer="" if by_grant else offer,
    )
    found = [one for one in map(read, rows) if one.brand in brands]
    standing = [one for one in found if one.stands(event.time)]
    if standing:
        return min(standing, key=lambda one: (one.expires_at is None, one.expires_at or one.at))
    if any(one.state == "redeemed" for one in found):
        return None
    states = " and ".join(sorted({one.state for one in found})) or "not the customer's"
    raise _unusable(event, f"is about `{grant if by_grant else offer}`, which is {states}")


def _unusable(event: Event, why: str) -> InputError:
    return InputError(
        "invalid_field",
        f"`{REDEEMED_EVENT}` {why}",
        place=event.place,
        remedy="see `safeconduct offers grants`; `safeconduct events retry` reads it again",
    )


def end(
    work: Work,
    grant: Grant,
    state: End,
    at: datetime,
    *,
    detail: str = "",
    by: str | None = None,
    returned: bool = False,
) -> None:
    """End a grant once: the work is lost where it has ended already.

    Args:
        returned: whether the work puts it back into stock.
    """
    work.change(
        _END,
        expect=1,
        grant=grant.grant_id,
        to_state=state,
        at=micros(at),
        returns=int(returned),
    )
    work.append(
        t.outcomes,
        grant.profile_id,
        outcome_id=f"{grant.outbox_id}-{state}",
        outbox_id=grant.outbox_id,
        decision_id=grant.decision_id,
        step=grant.step,
        state=state,
        code=None,
        at=micros(at),
        detail=detail,
        by=by,
    )
