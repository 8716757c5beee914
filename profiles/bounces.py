"""Until when an address cannot be reached, from what bounced there and what arrived.

A hard bounce gives an address up for 180 days. Soft bounces since the last success give it up
from every fifth of them on: 7 days after five, 14 after ten, 30 after fifteen, 180 from twenty
on. What was delivered (`message_delivered`) ends the counting of soft bounces; what shows that the
address is in use again (`address_verified`, or an explicit yes at it) ends that and a hard bounce
too. All that counts is when things happened, not in which order they came in, save that a success
is kept only for an address that has bounced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from sqlalchemy import bindparam, select

from store import tables as t
from store.database import Snapshot
from store.instants import instant
from store.statements import Statement

ReachKind = Literal["hard", "soft", "delivered", "verified"]
HARD_FOR = timedelta(days=180)
SOFT_EACH = 5
SOFT_FOR = tuple(timedelta(days=days) for days in (7, 14, 30, 180))
_SOFT_MAX = SOFT_EACH * len(SOFT_FOR)


class Reached(NamedTuple):
    """One thing that shows whether an address works."""

    kind: ReachKind
    at: datetime


KEPT = Statement(
    select(t.bounces.c.at)
    .where(t.bounces.c.ref == bindparam("point"), t.bounces.c.kind == bindparam("of"))
    .order_by(t.bounces.c.at.desc())
    .limit(bindparam("most"))
)


def kept(snapshot: Snapshot, ref: str) -> list[Reached]:
    """What is kept about a contact point that can still matter: the newest of each kind."""
    found: list[Reached] = []
    most: Mapping[ReachKind, int] = {"hard": 1, "soft": _SOFT_MAX, "delivered": 1, "verified": 1}
    for of, number in most.items():
        if found or of in ("hard", "soft"):
            rows = snapshot.rows(KEPT, point=ref, of=of, most=number)
            found += [Reached(of, instant(at)) for (at,) in rows]
    return found


def unreachable_until(said: Sequence[Reached]) -> datetime | None:
    """Until when the address cannot be reached; None where it never was so, or works again."""
    verified = _last(said, ("verified",))
    works = _last(said, ("verified", "delivered"))
    hard = [one.at + HARD_FOR for one in said if one.kind == "hard" and _after(one.at, verified)]
    soft = sorted(one.at for one in said if one.kind == "soft" and _after(one.at, works))
    return max([*hard, *_given_up(soft)], default=None)


def _given_up(soft: Sequence[datetime]) -> list[datetime]:
    """The end of what the soft bounces since the last success lead to, if they lead to any."""
    level = min(len(soft) // SOFT_EACH, len(SOFT_FOR))
    if level == 0:
        return []
    # At the last level every further one counts: the newest twenty are all that is kept in view.
    last = soft[-1] if level == len(SOFT_FOR) else soft[level * SOFT_EACH - 1]
    return [last + SOFT_FOR[level - 1]]


def _last(said: Sequence[Reached], kinds: tuple[ReachKind, ...]) -> datetime | None:
    return max((one.at for one in said if one.kind in kinds), default=None)


def _after(at: datetime, success: datetime | None) -> bool:
    return success is None or at > success
