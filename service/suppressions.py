"""What the commands about suppressions show and write: every change is an event like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, or_, select

from domain.canonical import parse
from domain.context import Blocks
from domain.errors import UsageError
from domain.verdict import Audience
from profiles import queries
from profiles.consents import LIFTED_EVENT, SUPPRESSION_EVENT, Lift, Target, liftable
from profiles.prints import domain_ref
from profiles.views import view
from service.assemble import Assembly, assemble_reading, make_identity
from service.lines import Printed, printable, stamp
from service.settings import find_workspace, instant_given, load
from service.telling import seen, tell, writing
from store import tables as t
from store.database import Snapshot
from store.instants import instant
from store.statements import Statement

_S = t.suppressions.c
_COLUMNS = (
    _S.suppression_id, _S.profile_id, _S.target, _S.ref, _S.brand, _S.channels, _S.blocks,
    _S.reason, _S.shown_to, _S.until_grant, _S.created_at, _S.expires_at, _S.by, _S.lifts,
)  # fmt: skip
_KEPT = Statement(
    select(*_COLUMNS)
    .where(or_(bindparam("everybody") == 1, _S.ref.in_(bindparam("refs", expanding=True))))
    .order_by(_S.suppression_id)
)
_ONE = Statement(select(_S.profile_id, _S.shown_to).where(_S.suppression_id == bindparam("one")))
_WITHHELD = ("target", "ref", "brand", "channels", "blocks", "reason", "expires_at", "by")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A suppression as it is asked for; None is all of it, or for ever."""

    target: Target
    address: str | None
    brand: str | None
    channels: Sequence[str]
    blocks: Blocks
    reason: str
    expires_at: str | None
    shown_to: Sequence[str]
    by: str


def listed(
    workspace: Path | None,
    store: str | None,
    who: str | None,
    audience: Audience,
    at: str | None,
    *,
    everything: bool,
    as_json: bool,
) -> Printed:
    """The suppressions in force (`everything`: also those that ended or were lifted).

    Of one that this audience may not know of, only that there is one.
    """
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            refs: list[str] = []
            if who is not None:
                identity = make_identity(loaded)
                found = view(snapshot, database.vault, who, loaded.input.region, identity)
                mails = [address for _, address in found.points("email")]
                refs = [one.profile_id for one in found.members]
                refs += [*found.known, *(domain_ref(database.vault, one) for one in mails)]
            kept = list(_kept(snapshot, refs if who is not None else None))
        now = instant_given(at) or database.clock()
    finally:
        database.close()
    shown = [one for one in kept if everything or _stands(one, now)]
    for one in shown:
        told = one if audience in one["shown_to"] else _withheld(one)
        yield _json(told) if as_json else _text(told)
    if not shown and not as_json:
        yield "nothing is suppressed"


def add(
    workspace: Path | None,
    store: str | None,
    who: str,
    wanted: Wanted,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """Suppress a person, an address or a domain; what is on its way ends at once."""
    if wanted.target != "person" and wanted.address is None:
        raise UsageError(
            f"it is not said which {wanted.target} to suppress", remedy="add `--address`"
        )
    said = {
        "target": wanted.target,
        "contact_point": wanted.address,
        "brand": wanted.brand,
        "channels": list(wanted.channels) or None,
        "blocks": wanted.blocks,
        "reason": wanted.reason or None,
        "expires_at": wanted.expires_at,
        "shown_to": list(wanted.shown_to) or None,
        "by": wanted.by,
    }
    properties = {key: value for key, value in said.items() if value is not None}
    yield from _told(workspace, store, who, SUPPRESSION_EVENT, properties, at, as_json=as_json)


def lift(
    workspace: Path | None,
    store: str | None,
    suppression_id: str,
    by: str,
    reason: str,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """End one suppression, where an operator may. Raises `UsageError` where not."""
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            who = _liftable(snapshot, suppression_id)
    finally:
        database.close()
    said = {"suppression_id": suppression_id, "by": by, "reason": reason}
    yield from _told(workspace, store, who, LIFTED_EVENT, said, at, as_json=as_json)


def _liftable(snapshot: Snapshot, suppression_id: str) -> str:
    """Whose chain the suppression stands in."""
    for profile_id, _ in snapshot.rows(_ONE, one=suppression_id):
        rows = snapshot.rows(queries.SUPPRESSED, people=[profile_id])
        if liftable(rows, Lift(suppression_id, None, None)):
            return str(profile_id)
        raise UsageError(
            f"suppression `{suppression_id}` is lifted already, or nobody may lift it",
            remedy="a spam complaint stands for good, and who was erased agrees anew",
        )
    raise UsageError(
        f"there is no suppression `{suppression_id}`", remedy="see `safeconduct suppressions list`"
    )


def _told(
    workspace: Path | None,
    store: str | None,
    who: str,
    name: str,
    properties: Mapping[str, Any],
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    with writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        decision = tell(assembly, who, "suppression", ("track", name), now, properties=properties)
        suppression_id = properties.get("suppression_id") or _newest(assembly, decision.profile_id)
    if as_json:
        yield {"suppression_id": suppression_id, "decision_id": decision.decision_id}
        return
    done = "suppressed" if name == SUPPRESSION_EVENT else "lifted"
    yield f"{done}: {suppression_id}, decided: {decision.decision_id}"


def _newest(assembly: Assembly, who: str) -> str:
    """The suppression that the person's chain ends with."""
    people = [one.profile_id for one in seen(assembly, who).members]
    with assembly.database.read() as snapshot:
        return str(snapshot.rows(queries.SUPPRESSED, people=people)[-1][0])


def _kept(snapshot: Snapshot, refs: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """The suppressions, each with what lifted it."""
    names = [column.name for column in _COLUMNS]
    rows = [
        dict(zip(names, row, strict=True))
        for row in snapshot.rows(_KEPT, everybody=int(refs is None), refs=list(refs or ()))
    ]
    lifted = {row["lifts"]: row for row in rows if row["lifts"] is not None}
    for row in rows:
        if row.pop("lifts") is not None:
            continue
        ended = lifted.get(row["suppression_id"])
        yield row | {
            "channels": None if row["channels"] is None else parse(row["channels"]),
            "shown_to": parse(row["shown_to"]),
            "until_grant": bool(row["until_grant"]),
            "created_at": instant(row["created_at"]),
            "expires_at": instant(row["expires_at"]),
            "lifted_at": None if ended is None else instant(ended["created_at"]),
            "lifted_by": None if ended is None else ended["by"],
        }


def _stands(one: Mapping[str, Any], now: datetime) -> bool:
    ends = one["expires_at"]
    return one["lifted_at"] is None and (ends is None or ends > now)


def _withheld(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, **dict.fromkeys(_WITHHELD, "unavailable"), "shown_to": "unavailable"}


def _json(one: Mapping[str, Any]) -> dict[str, Any]:
    return {k: stamp(v) if isinstance(v, datetime) else v for k, v in one.items()}


def _text(one: Mapping[str, Any]) -> str:
    scope = " ".join(
        part
        for part in (
            one["target"],
            one["brand"] or "every brand",
            ",".join(one["channels"]) if isinstance(one["channels"], list) else one["channels"],
        )
        if part is not None
    )
    ends = one["expires_at"]
    until = f", until {ends:%Y-%m-%d %H:%MZ}" if isinstance(ends, datetime) else ""
    if one["until_grant"]:
        until += ", until they agree anew"
    if one["lifted_at"] is not None:
        until += f", lifted {one['lifted_at']:%Y-%m-%d %H:%MZ} by {one['lifted_by'] or 'an event'}"
    return (
        f"{one['blocks']:<22}{scope:<28}{one['profile_id']}  since {one['created_at']:%Y-%m-%d}"
        f"{until}  {printable(one['reason'])}  {one['suppression_id']}"
    )
