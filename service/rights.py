"""What a person may ask about their data: everything held, erased, opposed, restricted, put right.

Each leaves a receipt in the person's chain, with the clock that the law sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from agents import erasure, pruning
from agents.access import Access
from agents.minds.formula import FormulaMind
from domain.canonical import parse
from domain.errors import StoreError, UsageError
from domain.event import EventKind
from domain.verdict import Audience
from profiles import queries, requests
from profiles.cancelling import Scope, cancel
from profiles.consents import CONSENT_EVENT
from profiles.requests import Receipt, RequestKind
from profiles.views import View, find_root, view
from service.assemble import (
    Assembly,
    assemble_reading,
    kept_workspace,
    make_identity,
    make_terms,
)
from service.lines import Printed, stamp
from service.portraits import portrait_json
from service.settings import day_given, find_workspace, instant_given, load
from service.telling import run_of, seen, tell, writing
from store import keys
from store.database import Snapshot
from store.work import Work


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, why, and when: `received` is when it came in, `at` when it is done."""

    by: str
    reason: str
    received: str | None = None
    at: str | None = None

    def times(self, assembly: Assembly) -> tuple[datetime, datetime]:
        """When it came in, and now."""
        now = instant_given(self.at) or assembly.database.clock()
        return day_given(self.received, "--received") or now, now


def export(
    workspace: Path | None, store: str | None, who: str, audience: Audience, asked: Asked
) -> Printed:
    """Everything held on a person, as one JSON document.

    Where it says when the person asked, a receipt is kept first, as with every other request. A
    colleague's look keeps none, and needs no writing store.
    """
    if asked.received is not None:
        with writing(workspace, store) as assembly:
            _record(assembly, who, "export", asked, {"reason": asked.reason})
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            identity = make_identity(loaded)
            found = view(snapshot, database.vault, who, loaded.input.region, identity)
        access = Access(
            database, audience, lambda version: kept_workspace(database, version), FormulaMind()
        )
        now = instant_given(asked.at) or database.clock()
        document = access.of(found, portrait_json(found))
        yield {"exported_at": stamp(now), "audience": audience, **document}
    finally:
        database.close()


def erase(
    workspace: Path | None,
    store: str | None,
    who: str,
    asked: Asked,
    *,
    yes: bool,
    as_json: bool,
) -> Printed:
    """Erase a person and print the receipt; without `yes` say what it would be."""
    with writing(workspace, store) as assembly:
        deps, evidence_for = assembly.deps, assembly.workspace.retention.evidence
        received_at, now = asked.times(assembly)
        root = _known_or_erased(assembly, who)
        if root is None:
            yield from _finished(assembly, who, as_json=as_json)
            return
        planned = erasure.plan(deps, root, now, evidence_for)
        if not yes:
            yield from _planned(planned, as_json=as_json)
            return
        receipt = asyncio.run(
            erasure.erase(
                deps,
                root,
                received_at=received_at,
                at=now,
                by=asked.by,
                reason=asked.reason,
                evidence_for=evidence_for,
            )
        )
        yield from _told([receipt], as_json=as_json)


def object_(
    workspace: Path | None,
    store: str | None,
    who: str,
    purpose: str | None,
    asked: Asked,
    *,
    as_json: bool,
) -> Printed:
    """Write the person's objection into the consent ledger, for every address there ever is."""
    said = {"value": "objection"} | ({"purpose": purpose} if purpose else {})
    with writing(workspace, store) as assembly:
        named: tuple[EventKind, str] = ("track", CONSENT_EVENT)
        known = make_terms(assembly.workspace).purposes
        if purpose is not None and purpose not in known:
            raise UsageError(
                f"there is no purpose `{purpose}`",
                place="option `--purpose`",
                remedy=f"use one of {', '.join(sorted(known))}",
            )
        yield from _as_event(
            assembly, who, "object", named, asked, properties=said, as_json=as_json
        )


def rectify(
    workspace: Path | None,
    store: str | None,
    who: str,
    given: Sequence[str],
    asked: Asked,
    *,
    as_json: bool,
) -> Printed:
    """Put traits right, as of now."""
    traits = dict(_trait(one) for one in given)
    with writing(workspace, store) as assembly:
        named: tuple[EventKind, str] = ("identify", "identified")
        yield from _as_event(assembly, who, "rectify", named, asked, traits=traits, as_json=as_json)


def restrict(
    workspace: Path | None,
    store: str | None,
    who: str,
    turn: Literal["on", "off"],
    asked: Asked,
    *,
    as_json: bool,
) -> Printed:
    """Keep the person's data and use them for nothing but what must be done; or use them again."""
    kind: RequestKind = "restrict" if turn == "on" else "unrestrict"
    yield from _state(workspace, store, who, kind, asked, as_json=as_json)


def hold(
    workspace: Path | None,
    store: str | None,
    who: str,
    turn: Literal["on", "off"],
    asked: Asked,
    *,
    as_json: bool,
) -> Printed:
    """Keep the person's data from being erased while the law wants them; or no longer."""
    kind: RequestKind = "hold" if turn == "on" else "release"
    yield from _state(workspace, store, who, kind, asked, as_json=as_json)


def listed(workspace: Path | None, store: str | None, *, only_open: bool, as_json: bool) -> Printed:
    """What was asked, and when it is due."""
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            found = requests.everything(snapshot)
        found = requests.still_open(found) if only_open else found
        if not found and not as_json:
            yield "nothing is open" if only_open else "nothing was asked"
        yield from _told(found, as_json=as_json)
    finally:
        database.close()


def prune(workspace: Path | None, store: str | None, at: str | None, *, as_json: bool) -> Printed:
    """Destroy what was kept of erased people, where its date has come."""
    with writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        pruned = erasure.prune(assembly.deps, now)
    if as_json:
        yield {"at": stamp(now), "pruned": pruned}
        return
    yield from (f"{profile_id}: the evidence was destroyed" for profile_id in pruned)
    if not pruned:
        yield "nothing is over its date"


def prune_record(
    workspace: Path | None, store: str | None, at: str | None, *, as_json: bool
) -> Printed:
    """Prune the record as the workspace says; raises `LedgerBroken` where it does not verify."""
    with writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        pruned = pruning.prune(assembly.deps, now)
    for one in pruned:
        if as_json:
            yield asdict(one)
        else:
            yield f"{one.profile_id}: {one.entries} entries pruned, up to entry {one.length}"
    if not pruned and not as_json:
        yield "nothing is over its date"


def _known_or_erased(assembly: Assembly, who: str) -> str | None:
    """The person's root; None where this names somebody who was erased."""
    database, loaded = assembly.database, assembly.workspace
    identity = make_identity(loaded)
    with database.read() as snapshot:
        root = find_root(snapshot, database.vault, who, loaded.input.region, identity)
        rows = snapshot.rows(queries.FRAGMENTS, roots=[root])
    return root if any(sealed is not None for _, _, _, _, sealed, _, _ in rows) else None


def _finished(assembly: Assembly, who: str, *, as_json: bool) -> Printed:
    """Finish an erasure that was cut short, and print its receipt again."""
    with assembly.database.read() as snapshot:
        roots = dict(snapshot.rows(queries.ROOTS, people=[who]))
        rows = snapshot.rows(queries.FRAGMENTS, roots=sorted(set(roots.values())))
        people = [profile_id for profile_id, *_ in rows]
        receipts = requests.of_people(snapshot, people)
    for root in sorted(set(roots.values())):
        erasure.finish(assembly.deps, root, people)
    done = [one for one in receipts if one.kind == "erase" and one.state == "done"]
    yield from _told(done, as_json=as_json)


def _state(
    workspace: Path | None,
    store: str | None,
    who: str,
    kind: RequestKind,
    asked: Asked,
    *,
    as_json: bool,
) -> Printed:
    with writing(workspace, store) as assembly:
        receipts = _record(assembly, who, kind, asked, {"reason": asked.reason})
        asyncio.run(run_of(assembly).wake(receipts[0].at))
        yield from _told(receipts, as_json=as_json)


def _record(
    assembly: Assembly, who: str, kind: RequestKind, asked: Asked, said: Mapping[str, Any]
) -> list[Receipt]:
    """Keep a request under the person's key, so that whoever read the person reads again."""
    received_at, now = asked.times(assembly)
    database, found = assembly.database, seen(assembly, who)
    work = Work(shown_as=f"request about `{who}`")
    key = keys.person(found.profile_id)
    people = [member.profile_id for member in found.members]
    with database.read() as snapshot:
        kept = dict(snapshot.rows(queries.REVISIONS, keys=[key]))
        receipts = [
            requests.write(
                work,
                snapshot,
                database.vault,
                profile_id=profile_id,
                kind=kind,
                state="done",
                received_at=received_at,
                at=now,
                by=asked.by,
                said=said,
            )
            for profile_id in _concerned(snapshot, kind, found, who)
        ]
    work.asserts[key] = kept.get(key, 0)
    work.move(key)
    if kind == "restrict":
        consented = make_terms(assembly.workspace).consented
        cancel(work, people, Scope(purposes=consented), now)
    if not assembly.deps.commit([work])[0]:
        raise StoreError(
            "somebody else changed this person at this moment", place=who, remedy="try again"
        )
    return receipts


def _concerned(snapshot: Snapshot, kind: RequestKind, found: View, who: str) -> list[str]:
    """The fragments that a request is written to: the root, or all where something ends."""
    begun = next((begins for begins, ends in requests.ENDED_BY.items() if ends == kind), None)
    if begun is None:
        return [found.profile_id]
    standing = requests.in_force(snapshot, begun, [one.profile_id for one in found.members])
    if not standing:
        raise UsageError(f"there is no {begun} on `{who}`", remedy="see `profile requests`")
    return standing


def _as_event(
    assembly: Assembly,
    who: str,
    kind: RequestKind,
    named: tuple[EventKind, str],
    asked: Asked,
    *,
    properties: Mapping[str, Any] | None = None,
    traits: Mapping[str, Any] | None = None,
    as_json: bool,
) -> Printed:
    """Have the person say it, like any other event, then keep the receipt."""
    _, now = asked.times(assembly)
    tell(assembly, who, kind, named, now, properties=properties, traits=traits)
    said = {"reason": asked.reason, "traits": sorted(traits or {}), **(properties or {})}
    yield from _told(_record(assembly, who, kind, asked, said), as_json=as_json)


def _trait(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise UsageError(
            f"`{given}` is no trait",
            place="argument TRAIT=VALUE",
            remedy="write it as `plan=gold`, or `plan=null` to say that there is none",
        )
    try:
        return name, parse(value)
    except ValueError:
        return name, value


def _planned(planned: erasure.Plan, *, as_json: bool) -> Printed:
    goes = {name: count for name, count in planned.counts.items() if count}
    if as_json:
        yield {
            "profile_id": planned.root_id,
            "fragments": list(planned.people),
            "identifiers": [str(one) for one in planned.identifiers],
            "rows": goes,
            "dead_letters": len(planned.letters),
            "messages": len(planned.steps),
            "legal_hold": planned.held,
            "kept": [requests.plain(one) for one in planned.kept],
        }
        return
    yield f"{planned.root_id}: {len(planned.people)} fragments would be erased"
    yield from (f"  {one}" for one in planned.identifiers)
    yield from (f"  {name:<16}{count:>6} rows" for name, count in goes.items())
    yield f"  {len(planned.letters)} dead letters, {len(planned.steps)} steps of the outbox"
    yield "kept"
    for one in planned.kept:
        yield f"  {_kept_text(requests.plain(one))}"
    if planned.held:
        yield "a legal hold forbids it; see `safeconduct profile requests`"
    else:
        yield "nothing was changed: add `--yes` to erase"


def _told(receipts: Sequence[Receipt], *, as_json: bool) -> Printed:
    for one in receipts:
        if as_json:
            yield {
                "request_id": one.request_id,
                "profile_id": one.profile_id,
                "kind": one.kind,
                "state": one.state,
                "received_at": stamp(one.received_at),
                "due_at": stamp(one.due_at),
                "at": stamp(one.at),
                "by": one.by,
                "kept": list(one.kept),
            }
            continue
        late = ", late" if one.at > one.due_at else ""
        when = f"at {one.at:%Y-%m-%d %H:%MZ} by {one.by}, received {one.received_at:%Y-%m-%d}"
        yield (
            f"{one.kind:<11}{one.state:<9}{one.profile_id}  {when}, due {one.due_at:%Y-%m-%d}{late}"
            f"  {one.request_id}"
        )
        yield from (f"  kept: {_kept_text(kept)}" for kept in one.kept)


def _kept_text(kept: Mapping[str, Any]) -> str:
    until = f"until {kept['until'][:10]}" if kept["until"] else "for good"
    return f"{kept['what']} ({kept['class']}: {kept['why']}), {until}"
