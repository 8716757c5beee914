"""Arranges for a decision's question to be asked again: durable, and claimed by that very pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, update

from agents.thinking import Waiting
from domain.canonical import canonical
from domain.context import BEGINS_ANEW, Pass
from domain.verdict import Hold, objections
from domain.windows import Rolling
from policies.guard import Guard
from policies.rules.caps import FrequencyCap
from store import tables as t
from store.instants import micros
from store.statements import Statement
from store.vault import Vault
from store.work import Work

TimerKind = Literal["release", "approval", "switch", "retry", "displaced", "absence", "again"]


@dataclass(frozen=True, slots=True)
class About:
    """What a contact that waits is about: its journey's instance, and its event's fields."""

    journey: str
    instance: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer as it is kept. Instants are microseconds since 1970 UTC."""

    timer_id: str
    due_at: int
    kind: TimerKind
    profile_id: str
    decision_id: str
    expires_at: int
    journey: str | None
    watch_at: int | None
    sealed: bytes


_BY_THE_CLOCK = ("quiet_hours", "paused_by_customer")
_COUNT_ANEW = Statement(
    update(t.timers)
    .where(t.timers.c.profile_id.in_(bindparam("people", expanding=True)))
    .where(t.timers.c.state == "pending", t.timers.c.kind == bindparam("of_kind"))
    .where(t.timers.c.journey == bindparam("name"), t.timers.c.instance == bindparam("ref"))
    .values(state="superseded")
)


def timer_id(decision_id: str, waiting: tuple[str, str] | None = None) -> str:
    """The timer that a decision set.

    Args:
        waiting: of what a journey waits for, its kind and the journey.
    """
    return f"t-{decision_id}" if waiting is None else f"t-{decision_id}-{'-'.join(waiting)}"


def claimed(asked: Pass) -> str:
    """The timer that a pass fires, and that its commit alone may claim."""
    assert asked.parent_id is not None
    if asked.kind not in BEGINS_ANEW:
        return timer_id(asked.parent_id)
    return timer_id(asked.parent_id, (asked.kind, asked.journey or ""))


def share_of(spread: timedelta, digest: bytes) -> timedelta:
    """From nothing up to the whole of it, the same for the same pass."""
    return int.from_bytes(digest[-4:], "big") / 2**32 * spread


def many_wait(hold: Hold, guard: Guard) -> bool:
    """Whether it waits for an hour of the clock, for which others wait as well."""
    calendars = {
        cap.id
        for cap in guard.policies.caps
        if isinstance(cap, FrequencyCap) and not isinstance(cap.scope.window, Rolling)
    }
    return any(f.code in _BY_THE_CLOCK or f.rule in calendars for f in objections(hold))


def wait_for(
    work: Work, vault: Vault, decision_id: str, people: Sequence[str], waiting: Waiting
) -> None:
    """Let a journey wait; whoever waits for the same already counts anew.

    Args:
        people: the person's fragments, the one that stands for all first.
    """
    name, ref = waiting.journey, waiting.instance
    work.change(_COUNT_ANEW, people=people, name=name, ref=ref, of_kind=waiting.kind)
    work.insert(
        t.timers,
        timer_id=timer_id(decision_id, (waiting.kind, waiting.journey)),
        due_at=micros(waiting.latest),
        kind=waiting.kind,
        profile_id=people[0],
        decision_id=decision_id,
        purpose=None,
        channel=None,
        state="pending",
        expires_at=micros(waiting.latest),
        journey=waiting.journey,
        instance=waiting.instance,
        since_at=micros(waiting.since),
        watch_at=micros(waiting.until),
        waits_for=waiting.waits_for,
        sealed=vault.seal(
            people[0], "erasable", "timers", canonical({"want": None, "offer": None})
        ),
    )


def ask_again(
    work: Work,
    vault: Vault,
    *,
    decision_id: str,
    profile_id: str,
    kind: TimerKind,
    due_at: datetime,
    expires_at: datetime,
    want: str,
    purpose: str | None,
    channel: str | None,
    reserved_offer: str | None = None,
    about: About | None = None,
) -> None:
    """Set the one timer of a decision.

    `want` is the action it is about, until `expires_at`; `reserved_offer` the offer that stays
    reserved for the next pass. `purpose` and `channel` are in the clear, so that a denial finds
    the timers it concerns. What is held for time says what it is `about`, so that other contacts
    can make way for it.
    """
    said = {"want": want, "offer": reserved_offer}
    if about is not None:
        said |= asdict(about)
    payload = canonical(said)
    work.insert(
        t.timers,
        timer_id=timer_id(decision_id),
        due_at=micros(due_at),
        kind=kind,
        profile_id=profile_id,
        decision_id=decision_id,
        purpose=purpose,
        channel=channel,
        state="pending",
        expires_at=micros(expires_at),
        sealed=vault.seal(profile_id, "erasable", "timers", payload),
    )
