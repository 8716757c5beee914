"""Arranges for a decision's question to be asked again: durable, and claimed by that very pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from domain.canonical import canonical
from store import tables as t
from store.instants import micros
from store.vault import Vault
from store.work import Work

TimerKind = Literal["release", "approval", "switch", "retry", "displaced"]


@dataclass(frozen=True, slots=True)
class About:
    """What a contact that waits is about: its journey's instance, and its event's fields."""

    journey: str
    instance: str
    fields: Mapping[str, Any]


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
        timer_id=f"t-{decision_id}",
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
