"""Erases a person: the keys go, so that all that was sealed under them is noise from then on.

What proves that we were allowed to do what we did stays, sealed under keys of its own, until its
date. Fingerprints of addresses stay, so that nobody who was erased gets marketing again unless
they ask for it, and fingerprints of events, so that none is decided twice.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from sqlalchemy import Table, bindparam, delete, func, or_, select, update

from agents import letters, restricted
from agents.passes import recover
from agents.record import read_record, settle_contact
from agents.restricted import Fields
from agents.steps import ROUNDS_MAX, Deps
from domain.canonical import canonical, parse
from domain.context import Retention
from domain.errors import StoreError, UsageError
from domain.event import Identifier
from domain.verdict import Audience
from profiles import queries, requests
from profiles.identifying import known_ref
from profiles.requests import Kept, Receipt
from profiles.state import ADDRESS_KINDS, Fragment, opened
from store import keys
from store import tables as t
from store.database import Snapshot
from store.ids import time_ordered
from store.instants import micros
from store.statements import Statement
from store.work import Work
from tools import budgets, offers
from traces.history import History

REASON = "erased"
# Others may use the address, and who was erased is not for them to learn.
_SHOWN_TO = tuple(one for one in get_args(Audience) if one != "customer")
_GONE: tuple[Table, ...] = (
    t.identifiers,
    t.logouts,
    t.bounces,
    t.instances,
    t.assignments,
    t.timers,
)
"""Tables whose rows about a person go; those of others that hold anything sealed become noise."""


_TOLD = (t.contacts, t.decisions, t.consents, t.suppressions, t.outbox, t.cases, t.grants)


def _people(table: Table) -> Any:
    return table.c.profile_id.in_(bindparam("people", expanding=True))


_DELETIONS = {str(table.name): Statement(delete(table).where(_people(table))) for table in _GONE}
_COUNTS = {
    str(table.name): Statement(select(func.count()).select_from(table).where(_people(table)))
    for table in (
        *_GONE,
        t.contacts,
        t.decisions,
        t.consents,
        t.suppressions,
        t.outbox,
        t.cases,
        t.grants,
    )
}
_DROP_CONTACTS = Statement(
    delete(t.contacts).where(
        _people(t.contacts),
        or_(
            t.contacts.c.contact_point.is_(None),
            t.contacts.c.contact_point.not_in(bindparam("shared", expanding=True)),
        ),
    )
)
_DESTROY_KEYS = Statement(
    delete(t.data_keys).where(_people(t.data_keys), t.data_keys.c.retention == "erasable")
)
_EMPTY_PROFILES = Statement(update(t.profiles).where(_people(t.profiles)).values(sealed=None))
_CLOSE_CASES = Statement(
    update(t.cases)
    .where(_people(t.cases), t.cases.c.state == "open")
    .values(state="closed", updated_at=bindparam("at"))
)
_WITHDRAW = Statement(
    update(t.approvals)
    .where(_people(t.approvals), t.approvals.c.state == "pending")
    .values(state="withdrawn", decided_at=bindparam("at"))
)
_STEPS = Statement(select(t.outbox.c.outbox_id).where(_people(t.outbox)))
_ON_THEIR_WAY = Statement(
    select(t.outbox.c.outbox_id).where(
        _people(t.outbox), t.outbox.c.state.in_(("intended", "sending"))
    )
)
_POINTS = tuple(
    Statement(
        select(table.c.contact_point)
        .where(_people(table), table.c.contact_point.is_not(None))
        .distinct()
    )
    for table in (t.consents, t.contacts)
)
_UNFINISHED = "erasing:"
_MARKS = Statement(
    select(t.meta.c.key).where(t.meta.c.key.startswith(_UNFINISHED)).order_by(t.meta.c.key)
)
_DROP_MARK = Statement(delete(t.meta).where(t.meta.c.key == bindparam("mark")))
_KEPT = Statement(
    select(t.requests.c.profile_id, t.requests.c.kept)
    .join(
        t.data_keys,
        (t.data_keys.c.profile_id == t.requests.c.profile_id)
        & (t.data_keys.c.retention == "evidence"),
    )
    .where(t.requests.c.kind == "erase", t.requests.c.state == "done")
    .order_by(t.requests.c.request_id)
)
_DESTROY_EVIDENCE = Statement(
    delete(t.data_keys).where(_people(t.data_keys), t.data_keys.c.retention == "evidence")
)
_HELD = Statement(
    select(t.timers.c.decision_id, t.timers.c.profile_id, t.timers.c.sealed).where(
        _people(t.timers), t.timers.c.state == "pending", t.timers.c.kind == "approval"
    )
)
_LETTERS = Statement(select(t.dead_letters.c.dead_id, t.dead_letters.c.sealed))
_DROP_LETTER = Statement(
    delete(t.dead_letters).where(t.dead_letters.c.dead_id == bindparam("dead"))
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure takes: the person's fragments, what of them goes, and what stays."""

    root_id: str
    people: tuple[str, ...]
    identifiers: tuple[Identifier, ...]
    addresses: tuple[str, ...]
    refs: tuple[str, ...]
    counts: dict[str, int]
    letters: tuple[str, ...]
    steps: tuple[str, ...]
    kept: tuple[Kept, ...]
    held: bool
    on_their_way: bool
    statutory: Fields
    evidence: Fields


def plan(deps: Deps, root_id: str, at: datetime, evidence_for: timedelta) -> Plan:
    """What it would be to erase this person; nothing changes.

    Args:
        evidence_for: how long what proves consent is kept.
    """
    with deps.database.read() as snapshot:
        return _plan(deps, snapshot, root_id, at, evidence_for)


async def erase(
    deps: Deps,
    root_id: str,
    *,
    received_at: datetime,
    at: datetime,
    by: str,
    reason: str,
    evidence_for: timedelta,
) -> Receipt:
    """Erase a person, and say what went and what was kept.

    Files go after the commit, which marks them to go: while a legal hold may still win, nothing
    is destroyed; and whoever starts next finishes what was cut short (`resume`).

    Raises:
        UsageError: a legal hold forbids it, which is kept as a request; or another process is
            sending something to this person.
    """
    await recover(deps)  # what an ended process had begun is settled before its trace goes
    for _ in range(ROUNDS_MAX):
        work = Work(shown_as=f"erasure of {root_id}")
        with deps.database.read() as snapshot:
            planned = _plan(deps, snapshot, root_id, at, evidence_for)
            if planned.on_their_way and not planned.held:
                raise _still_sending(root_id)
            receipt = _write(deps, snapshot, work, planned, received_at, at, by, reason)
        if deps.commit([work])[0]:
            break
    else:
        raise StoreError(
            f"an erasure was overtaken {ROUNDS_MAX} times in a row",
            place=root_id,
            remedy="nothing was erased: try again",
        )
    if planned.held:
        raise UsageError(
            "a legal hold keeps this person's data",
            place=root_id,
            remedy=f"the request is kept as `{receipt.request_id}`: erase when the hold is "
            "released (`safeconduct profile hold`)",
        )
    try:
        finish(deps, root_id, planned.people)
    except StoreError as error:
        raise StoreError(
            f"the person was erased, but {error.cause}",
            place=error.place,
            remedy=f"end what is in the way; the next run finishes it, and so does `safeconduct "
            f"profile erase {root_id} --yes`",
        ) from error
    return receipt


def _still_sending(root_id: str) -> UsageError:
    return UsageError(
        "another process is sending something to this person right now",
        place=root_id,
        remedy="nothing was erased: ask again in five minutes",
    )


def finish(deps: Deps, root_id: str, people: Sequence[str]) -> None:
    """Leave nothing of what was erased in files or in memory; may be done again and again."""
    deps.toolbox.forget([one for (one,) in deps.database.rows(_STEPS, people=list(people))])
    for profile_id in people:
        deps.database.vault.forget(profile_id, "erasable")
        deps.database.vault.forget(profile_id, "statutory")  # nothing here reads it again
    deps.database.scrub()
    work = Work(shown_as=f"erasure of {root_id}")
    work.change(_DROP_MARK, mark=_UNFINISHED + root_id)
    deps.commit([work])


def resume(deps: Deps) -> None:
    """Finish every erasure that was cut short after its commit."""
    for (mark,) in deps.database.rows(_MARKS):
        root_id = mark.removeprefix(_UNFINISHED)
        rows = deps.database.rows(queries.FRAGMENTS, roots=[root_id])
        finish(deps, root_id, [row[0] for row in rows])


def prune(deps: Deps, at: datetime) -> list[str]:
    """Destroy what was kept of erased people until a date that has come; their roots.

    The rows of the record stay, and it verifies; what they proved can be opened by nobody. A legal
    hold keeps it.
    """
    evidence = [root_id for root_id, kept in deps.database.rows(_KEPT) if _is_over(kept, at)]
    by_law = restricted.over(deps.database, at)
    pruned = [
        root_id
        for root_id in sorted({*evidence, *by_law.values()})
        if _pruned(deps, root_id, evidence=root_id in evidence, by_law=by_law.keys())
    ]
    if pruned:
        deps.database.scrub()
    return pruned


def _is_over(kept: str, at: datetime) -> bool:
    """Whether every date that a receipt gave for its evidence has come."""
    dates = [one["until"] for one in parse(kept) if one["class"] == "evidence"]
    return bool(dates) and all(datetime.fromisoformat(until) <= at for until in dates)


def _pruned(deps: Deps, root_id: str, *, evidence: bool, by_law: Set[str]) -> bool:
    work, key = Work(shown_as=f"evidence of {root_id}"), keys.person(root_id)
    with deps.database.read() as snapshot:
        people = [row[0] for row in snapshot.rows(queries.FRAGMENTS, roots=[root_id])]
        if requests.in_force(snapshot, "hold", people):
            return False
        work.asserts |= {key: 0, **dict(snapshot.rows(queries.REVISIONS, keys=[key]))}
    work.move(key)
    if evidence:
        work.change(_DESTROY_EVIDENCE, people=people)
    restricted.destroy(work, [one for one in people if one in by_law])
    if not deps.commit([work])[0]:
        return False  # somebody has just put a hold on it, or asked for something: next time
    for profile_id in people:
        deps.database.vault.forget(profile_id, "evidence")
        deps.database.vault.forget(profile_id, "statutory")
    return True


def _plan(
    deps: Deps, snapshot: Snapshot, root_id: str, at: datetime, evidence_for: timedelta
) -> Plan:
    vault = deps.database.vault
    fragments: dict[str, Fragment] = {}
    for profile_id, _, _, _, sealed, wrapped, _ in snapshot.rows(
        queries.FRAGMENTS, roots=[root_id]
    ):
        fragment = opened(vault, profile_id, sealed, wrapped)
        if fragment is not None:
            fragments[profile_id] = fragment
    known = [one for fragment in fragments.values() for one in fragment.identifiers]
    named = tuple(dict.fromkeys(one.identifier for one in known))
    people = tuple(sorted(fragments))
    counts = {
        name: int(snapshot.rows(statement, people=list(people))[0][0])
        for name, statement in _COUNTS.items()
    }
    addresses = dict.fromkeys(known_ref(vault, one) for one in known if one.ns in ADDRESS_KINDS)
    for statement in _POINTS:  # some were only ever named in what was said, or written to
        rows = snapshot.rows(statement, people=list(people))
        addresses.update(dict.fromkeys(sorted(ref for (ref,) in rows)))
    labels, retention = deps.workspace.policies.fields.values(), deps.workspace.retention
    statutory = restricted.fields_of(fragments, labels, "statutory")
    evidence = restricted.fields_of(fragments, labels, "evidence")
    return Plan(
        root_id=root_id,
        people=people,
        identifiers=named,
        addresses=tuple(addresses),
        refs=tuple(dict.fromkeys((*(known_ref(vault, one) for one in known), *addresses))),
        counts=counts,
        letters=_letters(deps, snapshot, named),
        steps=tuple(one for (one,) in snapshot.rows(_STEPS, people=list(people))),
        kept=(
            *_kept(counts, at, evidence_for, retention.record),
            *_kept_fields("statutory", statutory, "the law wants it", at + retention.statutory),
            *_kept_fields("evidence", evidence, "proof", at + evidence_for),
        ),
        held=bool(requests.in_force(snapshot, "hold", people)),
        on_their_way=bool(snapshot.rows(_ON_THEIR_WAY, people=list(people))),
        statutory=statutory,
        evidence=evidence,
    )


def _kept(
    counts: dict[str, int], at: datetime, evidence_for: timedelta, record_for: timedelta
) -> tuple[Kept, ...]:
    kept = [
        Kept("evidence", "requests about the data, and their receipts", "proof", at + evidence_for)
    ]
    if counts["consents"]:
        what = f"{counts['consents']} lines of the consent ledger, without addresses"
        kept.append(Kept("evidence", what, "proof of consent", at + evidence_for))
    if counts["decisions"]:
        what = f"{counts['decisions']} decisions, without what they were made from"
        kept.append(Kept("record", what, "the record must verify", at + record_for))
    kept.append(
        Kept(
            "record", "keyed fingerprints of addresses and events", "no marketing, no repeat", None
        )
    )
    return tuple(kept)


def _kept_fields(retention: Retention, fields: Fields, why: str, until: datetime) -> list[Kept]:
    names = sorted({f"`{name}`" for said in fields.values() for name in said})
    return [Kept(retention, f"the fields {', '.join(names)}", why, until)] if names else []


def _letters(deps: Deps, snapshot: Snapshot, named: Sequence[Identifier]) -> tuple[str, ...]:
    """Dead letters in which one of the person's identifiers stands."""
    vault = deps.database.vault
    return tuple(
        dead_id
        for dead_id, sealed in snapshot.stream(_LETTERS)
        if letters.names(vault.open_letter(sealed), named)
    )


def _write(
    deps: Deps,
    snapshot: Snapshot,
    work: Work,
    planned: Plan,
    received_at: datetime,
    at: datetime,
    by: str,
    reason: str,
) -> Receipt:
    vault = deps.database.vault
    moved = [keys.person(planned.root_id), *(keys.point(ref) for ref in planned.refs)]
    kept = dict(snapshot.rows(queries.REVISIONS, keys=moved))
    work.asserts.update({key: kept.get(key, 0) for key in moved})
    work.move(*moved)
    if not planned.held:
        people = list(planned.people)
        _release_held(deps, snapshot, work, planned)
        # Others who share an address are still protected by what was sent there.
        shared = [
            ref
            for ref, profile_id, _ in snapshot.rows(queries.HOLDERS, refs=list(planned.addresses))
            if profile_id not in people
        ]
        work.change(_DROP_CONTACTS, people=people, shared=shared or [""])
        for dead_id in planned.letters:
            work.change(_DROP_LETTER, dead=dead_id)
        work.change(_WITHDRAW, people=people, at=micros(at))
        work.change(_CLOSE_CASES, people=people, at=micros(at))
        work.change(_EMPTY_PROFILES, people=people)
        for statement in _DELETIONS.values():
            work.change(statement, people=people)
        work.change(_DESTROY_KEYS, people=people)
        work.insert(t.meta, key=_UNFINISHED + planned.root_id, value="")
        _suppress(deps, work, planned, at)
        until = at + deps.workspace.retention.statutory
        restricted.keep(work, vault, planned.statutory, until)
    evidence = {} if planned.held or not planned.evidence else {"fields": planned.evidence}
    return requests.write(
        work,
        snapshot,
        vault,
        profile_id=planned.root_id,
        kind="erase",
        state="refused" if planned.held else "done",
        received_at=received_at,
        at=at,
        by=by,
        said={"reason": reason, **evidence},
        kept=() if planned.held else planned.kept,
    )


def _release_held(deps: Deps, snapshot: Snapshot, work: Work, planned: Plan) -> None:
    """Give back what was reserved for what waits for an approval."""
    history, vault = History(deps.database), deps.database.vault
    for decision_id, profile_id, sealed in snapshot.rows(_HELD, people=list(planned.people)):
        settle_contact(work, decision_id, "released")
        offer = parse(vault.open(profile_id, "erasable", "timers", sealed))["offer"]
        data = history.get(decision_id).record()
        if offer is not None and data is not None:
            context = read_record(data).context
            offers.release(work, context.brand, offer, decision_id)
            budgets.release(work, decision_id, context.budgets)


def _suppress(deps: Deps, work: Work, planned: Plan, at: datetime) -> None:
    """No marketing to any address of the person's until somebody there explicitly agrees again."""
    vault = deps.database.vault
    for ref in planned.addresses:
        digest = vault.fingerprint_bytes("erased", canonical([planned.root_id, ref, at]))
        work.append(
            t.suppressions,
            planned.root_id,
            suppression_id=time_ordered("s", at, digest),
            target="address",
            ref=ref,
            brand=None,
            channels=None,
            blocks="marketing",
            reason=REASON,
            shown_to=canonical(_SHOWN_TO).decode(),
            until_grant=1,
            holds_rest=0,
            created_at=micros(at),
            expires_at=None,
            by=None,
            lifts=None,
        )
