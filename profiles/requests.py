"""What people ask of us about their data, when it is due, and the receipts of what was done."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import bindparam, select

from domain.canonical import canonical, parse
from profiles import queries
from store import tables as t
from store.database import Snapshot
from store.ids import time_ordered
from store.instants import instant, micros
from store.statements import Statement
from store.vault import Vault
from store.work import Work

RequestKind = Literal[
    "export", "erase", "object", "restrict", "unrestrict", "rectify", "hold", "release"
]
RequestState = Literal["done", "refused"]
ASKED_FOR: tuple[RequestKind, ...] = ("export", "erase", "object", "restrict", "rectify")
"""Those that a person may ask for, which the clock runs for; the others are ours."""

ENDED_BY: Mapping[RequestKind, RequestKind] = {"hold": "release", "restrict": "unrestrict"}

_COLUMNS = (
    t.requests.c.request_id,
    t.requests.c.profile_id,
    t.requests.c.kind,
    t.requests.c.state,
    t.requests.c.received_at,
    t.requests.c.due_at,
    t.requests.c.at,
    t.requests.c.by,
    t.requests.c.kept,
)
_OF_PEOPLE = Statement(
    select(*_COLUMNS)
    .where(t.requests.c.profile_id.in_(bindparam("people", expanding=True)))
    .order_by(t.requests.c.at, t.requests.c.request_id)
)
_ALL = Statement(select(*_COLUMNS).order_by(t.requests.c.due_at, t.requests.c.request_id))
_STANDING = Statement(
    select(t.requests.c.profile_id, t.requests.c.kind)
    .where(
        t.requests.c.profile_id.in_(bindparam("people", expanding=True)),
        t.requests.c.kind.in_(bindparam("kinds", expanding=True)),
    )
    .order_by(t.requests.c.profile_id, t.requests.c.n)
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays although it was to go: which class, what, why, and until when (None: for good)."""

    retention: str
    what: str
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request and what came of it. `due_at` is a month after `received_at`."""

    request_id: str
    profile_id: str
    kind: RequestKind
    state: RequestState
    received_at: datetime
    due_at: datetime
    at: datetime
    by: str
    kept: tuple[Mapping[str, Any], ...]


def due(received_at: datetime) -> datetime:
    """The last instant to answer: one month on, by the calendar (GDPR, Art. 12(3)).

    From the 31st it is the last day of a shorter month (Regulation 1182/71, Art. 3(2)(c)).
    """
    year, month = divmod(received_at.year * 12 + received_at.month, 12)
    day = min(received_at.day, calendar.monthrange(year, month + 1)[1])
    return received_at.replace(year=year, month=month + 1, day=day)


def write(
    work: Work,
    snapshot: Snapshot,
    vault: Vault,
    *,
    profile_id: str,
    kind: RequestKind,
    state: RequestState,
    received_at: datetime,
    at: datetime,
    by: str,
    said: Mapping[str, Any],
    kept: Sequence[Kept] = (),
) -> Receipt:
    """Append a request to the person's chain, what was `said` about it sealed as evidence."""
    told_apart = canonical([profile_id, kind, state, at, _length(snapshot, profile_id)])
    receipt = Receipt(
        time_ordered("q", at, vault.fingerprint_bytes("request", told_apart)),
        profile_id,
        kind,
        state,
        received_at,
        due(received_at),
        at,
        by,
        tuple(plain(one) for one in kept),
    )
    evidence_key(work, snapshot, vault, profile_id)
    work.append(
        t.requests,
        profile_id,
        request_id=receipt.request_id,
        kind=kind,
        state=state,
        received_at=micros(received_at),
        due_at=micros(receipt.due_at),
        at=micros(at),
        by=by,
        kept=canonical(receipt.kept).decode(),
        sealed=vault.seal(profile_id, "evidence", "requests", canonical(dict(said))),
    )
    return receipt


def evidence_key(work: Work, snapshot: Snapshot, vault: Vault, profile_id: str) -> None:
    """Have the key for what proves what was done, which outlives an erasure."""
    made = {"profile_id": profile_id, "retention": "evidence"}
    if any(table is t.data_keys and made.items() <= row.items() for table, row in work.rows):
        return
    for _, wrapped in snapshot.rows(queries.EVIDENCE_KEYS, people=[profile_id]):
        vault.unwrap(profile_id, "evidence", wrapped)
        return
    work.insert(t.data_keys, **made, wrapped=vault.new_key(profile_id, "evidence"))


def in_force(snapshot: Snapshot, kind: RequestKind, people: Iterable[str]) -> list[str]:
    """Those of these fragments that are held, or restricted, as of now."""
    ends = ENDED_BY[kind]
    last = dict(snapshot.rows(_STANDING, people=sorted(people), kinds=[kind, ends]))
    return sorted(profile_id for profile_id, latest in last.items() if latest == kind)


def of_people(snapshot: Snapshot, people: Iterable[str]) -> list[Receipt]:
    """What was asked about these fragments, in order."""
    return [_receipt(row) for row in snapshot.rows(_OF_PEOPLE, people=sorted(people))]


def everything(snapshot: Snapshot) -> list[Receipt]:
    """Every request there ever was, the first that is due first."""
    return [_receipt(row) for row in snapshot.rows(_ALL)]


def still_open(receipts: Iterable[Receipt]) -> list[Receipt]:
    """Those that were refused and not done since; the first of each kind and person."""
    waiting: dict[tuple[str, str], Receipt] = {}
    for receipt in sorted(receipts, key=lambda one: (one.at, one.request_id)):
        if receipt.kind not in ASKED_FOR:
            continue
        asked = receipt.profile_id, receipt.kind
        if receipt.state == "done":
            waiting.pop(asked, None)
        else:
            waiting.setdefault(asked, receipt)
    return sorted(waiting.values(), key=lambda one: (one.due_at, one.request_id))


_LENGTH = Statement(select(t.chains.c.length).where(t.chains.c.profile_id == bindparam("person")))


def _length(snapshot: Snapshot, profile_id: str) -> int:
    row = snapshot.row(_LENGTH, person=profile_id)
    return 0 if row is None else int(row[0])


def plain(kept: Kept) -> dict[str, Any]:
    """What was kept as plain data."""
    until = None if kept.until is None else kept.until.isoformat().replace("+00:00", "Z")
    return {"class": kept.retention, "what": kept.what, "why": kept.why, "until": until}


def _receipt(row: tuple[Any, ...]) -> Receipt:
    request_id, profile_id, kind, state, received_at, due_at, at, by, kept = row
    return Receipt(
        request_id,
        profile_id,
        kind,
        state,
        instant(received_at),
        instant(due_at),
        instant(at),
        by,
        tuple(parse(kept)),
    )
