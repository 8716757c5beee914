"""Everything the store holds about a batch's people, read once and handed out person by person."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from domain.bearing import Asked, bearing
from domain.budget import Budget
from domain.canonical import parse
from domain.caps import CapScope
from domain.consent import Consent
from domain.context import (
    CONSENTS_WITHOUT_FOLD_MAX,
    CONTACTS_IN_CONTEXT_MAX,
    SCHEDULED_IN_CONTEXT_MAX,
    ApprovalFact,
    Contact,
    ContactState,
    Occurrence,
    OfferState,
    Scheduled,
    Spending,
    Suppression,
    Tally,
    Told,
)
from domain.journey import Arm, Instance
from domain.windows import Whereabouts
from profiles import queries
from profiles.activity import EVENT_DAYS
from profiles.arrivals import Arrival, Draft
from profiles.enrolment import Enrolment
from profiles.occasions import occurrences
from profiles.terms import Terms
from store import keys
from store.database import Snapshot
from store.instants import instant, micros
from store.vault import Vault


@dataclass(frozen=True, slots=True)
class Across:
    """What rules across teams go by."""

    occurrences: tuple[Occurrence, ...] = ()
    told: tuple[Told, ...] = ()
    budgets: Mapping[str, Spending] = field(default_factory=dict)
    scheduled: tuple[Scheduled, ...] = ()


class Pool:
    """Rows read once for a whole batch, handed out person by person.

    Of a person whose event triggers no journey and can end none by a condition, only the journeys
    are read: nothing else could change what is decided. Each draft's `asks` is set to say which,
    and its `reads` to the contention keys of what its verdict reads.
    """

    switches: tuple[str, ...] = ()
    _consents: Sequence[tuple[Any, ...]] = ()
    _suppressions: Sequence[tuple[Any, ...]] = ()
    _arms: Sequence[tuple[Any, ...]] = ()
    _approvals: Sequence[tuple[Any, ...]] = ()
    _cases: Sequence[tuple[Any, ...]] = ()
    _grants: Sequence[tuple[Any, ...]] = ()
    _restrictions: Mapping[str, str] = {}
    _revisions: Mapping[str, int] = {}
    _counters: Mapping[str, int] = {}
    _scheduled: Sequence[tuple[Any, ...]] = ()
    _told: Sequence[tuple[Any, ...]] = ()
    _reserved: Mapping[tuple[str, str], int] = {}
    _exempt: Sequence[tuple[Any, ...]] = ()

    def __init__(
        self,
        snapshot: Snapshot,
        vault: Vault,
        terms: Terms,
        drafts: Sequence[Draft],
        enrolment: Enrolment,
    ) -> None:
        self._snapshot = snapshot
        self._vault = vault
        self._terms = terms
        self._since = {
            profile_id: micros(draft.perceived.arrival.now - terms.look_back)
            for draft in drafts
            for profile_id in draft.members
        }
        self._oldest = min(self._since.values())
        named = sorted({key for draft in drafts for key in draft.entering.values()})
        everyone = sorted(self._since)
        self._instances = snapshot.rows(queries.INSTANCES, people=everyone, named=named)
        for draft in drafts:
            self._look_for_plans(draft, enrolment)
            draft.reads = self._keys_read(draft)
        revised = sorted(set().union(*(draft.reads for draft in drafts)))
        asking = [draft for draft in drafts if draft.asks]
        if asking:
            self._read_shared(asking, revised)
            self._read_all(asking)
        else:
            self._revisions = dict(snapshot.rows(queries.REVISIONS, keys=revised))

    def _look_for_plans(self, draft: Draft, enrolment: Enrolment) -> None:
        """What the event means for the journeys that the person is on, as they were entered.

        One that a condition may end reads anything.
        """
        instances = self.instances(tuple(draft.members))
        event, asked = draft.perceived.arrival.event, draft.perceived.arrival.asked
        known = {journey.name for journey in draft.triggered}
        for plan, key in enrolment.kept(event, instances).items():
            draft.entering.setdefault(plan.name, key)
            wanted = plan.name == asked.journey if asked.journey else plan.trigger == event.name
            if wanted and plan.name not in known:
                draft.triggered = (*draft.triggered, plan)
        asked_about = draft.perceived.arrival.asks or bool(draft.triggered)
        draft.asks = asked_about or any(map(enrolment.may_exit, instances))

    def _keys_read(self, draft: Draft) -> set[str]:
        """The contention keys of all that the verdict reads."""
        found = {keys.person(draft.root_id), *draft.keys}
        if not draft.asks:
            return found
        found.add(keys.SWITCHES)
        found.update(keys.point(ref) for ref in (*_refs(draft), *draft.domains))
        brand = self._terms.brand_of(draft.perceived.arrival.event)
        found.update(keys.stock(brand, offer) for offer in self._terms.stock)
        found.update(keys.budget(budget.name) for budget in self._terms.budgets)
        if draft.household is not None:
            found.add(keys.household(draft.household))
        return found

    def _read_shared(self, asking: Sequence[Draft], revised: Sequence[str]) -> None:
        """What these have in common with decisions about others."""
        brands = {self._terms.brand_of(draft.perceived.arrival.event) for draft in asking}
        counters = {keys.stock_counter(b, name) for b in brands for name in self._terms.stock}
        for budget in self._terms.budgets:
            began = {budget.began(draft.perceived.arrival.now) for draft in asking}
            counters.update(keys.budget_counter(budget.name, day) for day in began)
        shared: dict[str, dict[str, int]] = {"revision": {}, "counter": {}, "switch": {}}
        rows = self._snapshot.rows(queries.SHARED, keys=revised, counters=sorted(counters))
        for kind, name, n in rows:
            shared[kind][name] = n
        self._revisions, self._counters = shared["revision"], shared["counter"]
        self.switches = tuple(sorted(shared["switch"]))

    def _read_all(self, asking: Sequence[Draft]) -> None:
        """What the verdicts on these may look at; nobody else's is read."""
        rows = self._snapshot.rows
        people = sorted({profile_id for draft in asking for profile_id in draft.members})
        refs = sorted({ref for draft in asking for ref in _refs(draft)})
        domains = sorted({domain for draft in asking for domain in draft.domains})
        self._consents = rows(queries.CONSENTS, people=people, refs=refs)
        self._suppressions = rows(queries.SUPPRESSIONS, refs=[*people, *refs, *domains])
        standing: dict[str, list[tuple[Any, ...]]] = {}
        for kind, *row in rows(queries.STANDING, people=people, since=self._oldest):
            standing.setdefault(kind, []).append(tuple(row))
        self._arms = standing.get("arm", ())
        self._approvals = sorted(standing.get("approval", ()), key=lambda row: row[1])
        self._cases = sorted(standing.get("case", ()), key=lambda row: row[1])
        self._grants = standing.get("grant", ())
        requests = sorted(standing.get("request", ()), key=lambda row: (row[0], row[5]))
        self._restrictions = {row[0]: row[1] for row in requests}
        nows = sorted({draft.perceived.arrival.now for draft in asking})
        windows: dict[timedelta, list[str]] = {}
        for purpose, window in self._terms.ceilings.items():
            windows.setdefault(window, []).append(purpose)
        self._exempt = [
            row
            for window, purposes in windows.items()
            for row in rows(
                queries.EXEMPT_SENDS,
                people=people,
                since=micros(nows[0] - window),
                purposes=sorted(purposes),
                most=_EXEMPT_SENDS_MAX * len(people),
            )
        ]
        parents = {draft.perceived.arrival.asked.own_id for draft in asking} - {None}
        self._read_across(people, sorted(p for p in parents if p), nows[0])

    def _read_across(self, people: list[str], parents: list[str], now: datetime) -> None:
        """What only rules across teams ask about, where there are any."""
        if self._terms.told_within:
            self._told = self._snapshot.rows(
                queries.TOLD,
                people=people,
                since=micros(now - self._terms.told_within),
                # What a parent holds in reserve is its own pass's.
                parents=parents,
                any_parent=int(not parents),
                addressed=sorted(c for c, a in self._terms.addresses.items() if a != "none"),
            )
        if self._terms.look_ahead:
            self._scheduled = self._snapshot.rows(queries.SCHEDULED, people=people)
        if self._terms.budgets and parents:
            reserved = self._snapshot.rows(queries.RESERVED_MONEY, parents=parents)
            self._reserved = {(parent, counter): n for parent, counter, n in reserved}

    def consents(
        self, ids: tuple[str, ...], refs: set[str], said: Sequence[Consent], controller: str
    ) -> tuple[Consent, ...]:
        """The ledger's lines on this person or the person's contact points, and what is now said.

        Of many lines, those that any answer depends on.
        """
        lines = [
            queries.consent_line(row) for row in self._consents if row[1] in ids or row[7] in refs
        ]
        lines += said
        if len(lines) <= CONSENTS_WITHOUT_FOLD_MAX:
            return tuple(lines)
        terms = self._terms
        asked = Asked(
            ids,
            controller,
            frozenset(terms.controllers),
            terms.purposes | {terms.promotion},
            frozenset(terms.addresses),
            terms.topics,
            frozenset(refs),
        )
        return bearing(lines, asked)

    def suppressions(
        self, ids: Sequence[str], refs: set[str], domains: Sequence[str], lifting: set[str]
    ) -> list[Suppression]:
        """The blocks on this person, the person's addresses and their domains.

        Of several that differ in their end alone, the one that ends last.
        """
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        lifted = {row[_LIFTS] for row in self._suppressions} | lifting
        for row in self._suppressions:
            if row[1] in lifted or row[_LIFTS] is not None:
                continue
            if row[0] in ids or row[0] in refs or row[0] in domains:
                scope = (row[0], *row[2:7], row[8], row[11])
                if scope not in found or _ends(row) > _ends(found[scope]):
                    found[scope] = row
        return [_suppression(row) for row in found.values()]

    def exempt_sends(
        self, ids: Sequence[str], parent_id: str | None, now: datetime
    ) -> dict[str, int]:
        """How many contacts each exempt purpose has had with this person within its window.

        What the parent decision holds in reserve is this pass's own, and not counted against it.
        """
        windows = self._terms.ceilings
        found = Counter(
            purpose
            for profile_id, purpose, decision_id, at in self._exempt
            if profile_id in ids
            and at > micros(now - windows[purpose])
            and (parent_id is None or decision_id != parent_id)
        )
        return dict(sorted(found.items()))

    def contacts(
        self, ids: Sequence[str], refs: set[str], parent_id: str | None
    ) -> tuple[tuple[Contact, ...], bool]:
        """The most recent contacts with this person or at these points, newest first.

        What the parent decision holds in reserve is this pass's own, and not counted against it.
        """
        most = CONTACTS_IN_CONTEXT_MAX + 1
        found: dict[str, Contact] = {}
        for profile_id in ids:
            since = self._since.get(profile_id, self._oldest)
            rows = self._snapshot.rows(
                queries.CONTACTS_OF_PEOPLE, person=profile_id, since=since, most=most
            )
            found.update((row[10], _contact(row)) for row in rows if _others(row, parent_id))
        for ref in sorted(refs):
            rows = self._snapshot.rows(
                queries.CONTACTS_AT_POINTS, point=ref, since=self._oldest, most=most
            )
            found.update((row[10], _contact(row)) for row in rows if _others(row, parent_id))
        newest = sorted(found.items(), key=lambda item: (item[1].at, item[0]), reverse=True)
        kept = tuple(contact for _, contact in newest[:CONTACTS_IN_CONTEXT_MAX])
        return kept, len(newest) > CONTACTS_IN_CONTEXT_MAX

    def tallies(
        self,
        ids: Sequence[str],
        refs: set[str],
        household: str | None,
        where: Whereabouts,
        arrival: Arrival,
        *,
        truncated: bool,
    ) -> tuple[Tally, ...]:
        """Counts made in the store: of every cap for whoever has too many contacts to look at,
        else of those that a person's own contacts do not answer."""
        found = []
        for scope in self._terms.caps:
            if scope.limit == 0 or not (truncated or scope.beyond_contacts):
                continue
            if scope.per == "household" and household is None:
                continue
            given: dict[str, Any] = {
                "since": micros(scope.window.after(arrival.now, where)),
                "apart": arrival.asked.own_id or "",
                "people": ids,
                "household": household,
                "brand": self._terms.brand_of(arrival.event),
            }
            points: Sequence[str | None] = sorted(refs) if scope.per == "contact_point" else (None,)
            found += [self._tally(scope, point, given) for point in points]
        return tuple(found)

    def _tally(self, scope: CapScope, point: str | None, given: Mapping[str, Any]) -> Tally:
        count, nth = queries.counting(scope)
        ((counted,),) = self._snapshot.rows(count, point=point, **given)
        at = None
        if counted >= scope.limit:
            ((at,),) = self._snapshot.rows(nth, point=point, skip=scope.limit - 1, **given)
        return Tally(scope.rule, point, counted, instant(at), scope.limit)

    def contact_days(
        self, ids: Sequence[str], brand: str, now: datetime
    ) -> list[tuple[str, int, int, int]]:
        """Contacts of 90 days by channel and UTC day: how many, and the day's last."""
        return self._snapshot.rows(
            queries.CONTACT_DAYS,
            people=ids,
            brands=self._terms.brands_beside(brand),
            since=micros(now - timedelta(days=EVENT_DAYS)),
        )

    def instances(self, ids: Sequence[str]) -> tuple[Instance, ...]:
        """The person's journey instances; of two with one key the earlier stays."""
        found: dict[tuple[str, str], Instance] = {}
        for row in self._instances:
            if row[0] not in ids:
                continue
            entered_at, ends_at = instant(row[4]), instant(row[5])
            made = Instance(row[1], row[2], row[3], entered_at, ends_at, row[6])
            kept = found.get((made.journey, made.key))
            if kept is None or made.entered_at < kept.entered_at:
                found[(made.journey, made.key)] = made
        return tuple(found.values())

    def arms(self, ids: Sequence[str]) -> dict[str, Arm]:
        """The person's holdout assignments; merged arms that differ mean held out."""
        arms: dict[str, Arm] = {}
        for profile_id, journey, arm, *_ in self._arms:
            if profile_id in ids and arms.get(journey) != "held_out":
                arms[journey] = arm
        return arms

    def approvals(self, ids: Sequence[str], now: datetime) -> tuple[ApprovalFact, ...]:
        """What has been said about proposals for this person, as of `now`."""
        return tuple(_approval(row[1:], now) for row in self._approvals if row[0] in ids)

    def cases(self, ids: Sequence[str]) -> tuple[str, ...]:
        """The reasons of the person's open cases."""
        return tuple(reason for profile_id, reason, *_ in self._cases if profile_id in ids)

    def human_in_charge(self, ids: Sequence[str]) -> bool:
        """Whether somebody has accepted a hand-off that is still open."""
        return any(
            profile_id in ids and kind == "handoff" and accepted_at is not None
            for profile_id, _, kind, _, _, accepted_at, _ in self._cases
        )

    def restricted(self, ids: Sequence[str]) -> bool:
        """Whether the person asked that their data be kept and not used."""
        return any(self._restrictions.get(profile_id) == "restrict" for profile_id in ids)

    def offers(self, draft: Draft, ids: Sequence[str], brand: str) -> dict[str, OfferState]:
        """What is left of each offer of a brand, and what the person has of it.

        The one that the parent decision holds in reserve is there for this pass. What a person got
        of this controller's other brands counts as well, and what the event says was used is held
        no more.
        """
        arrival, beside = draft.perceived.arrival, self._terms.brands_beside(brand)
        asked, used = arrival.asked, draft.redeemed and draft.redeemed.decision_id
        had: dict[str, list[tuple[str, datetime | None]]] = {}
        for profile_id, offer, of, state, decision_id, expires_at, _ in self._grants:
            if profile_id in ids and of in beside and decision_id != asked.parent_id:
                state = "redeemed" if decision_id == used else state
                had.setdefault(offer, []).append((state, instant(expires_at)))
        taken = self._counters
        return {
            name: _offer_state(
                name,
                stock
                - taken.get(keys.stock_counter(brand, name), 0)
                + (name == asked.reserved_offer),
                had.get(name, ()),
                arrival.now,
            )
            for name, stock in self._terms.stock.items()
        }

    def across(self, draft: Draft, ids: Sequence[str], brand: str) -> Across:
        """What the rules across teams go by, of brands of this one's controller only."""
        terms, arrival = self._terms, draft.perceived.arrival
        beside = terms.brands_beside(brand)
        done = (
            occasion
            for fragment in draft.members.values()
            for name, activity in fragment.activity.items()
            if name in beside
            for occasion in activity.occasions
        )
        return Across(
            occurrences(done, arrival.event, terms, arrival.now) if terms.occasions else (),
            self._told_of(ids, beside, arrival.now - terms.told_within),
            {b.name: self._spending(b, arrival) for b in terms.budgets},
            self._scheduled_of(ids, arrival),
        )

    def _scheduled_of(self, ids: Sequence[str], arrival: Arrival) -> tuple[Scheduled, ...]:
        """The person's contacts that wait for their time, but for the one this pass is about."""
        until = arrival.now + self._terms.look_ahead
        found: list[Scheduled] = []
        for profile_id, decision_id, due_at, expires_at, sealed in self._scheduled:
            if profile_id not in ids or decision_id == arrival.asked.own_id:
                continue
            if due_at > micros(until) or len(found) == SCHEDULED_IN_CONTEXT_MAX:
                continue
            said = parse(self._vault.open(profile_id, "erasable", "timers", sealed))
            waits = Scheduled(
                said["want"],
                said["journey"],
                said["instance"],
                instant(due_at),
                instant(expires_at),
                said["fields"],
            )
            found.append(waits)
        return tuple(found)

    def _told_of(
        self, ids: Sequence[str], beside: Sequence[str], since: datetime
    ) -> tuple[Told, ...]:
        last: dict[tuple[str, str, str, str], int] = {}
        for profile_id, brand, action, journey, team, creative, at in self._told:
            if profile_id in ids and brand in beside and at > micros(since):
                said = (action, journey, team, creative)
                last[said] = max(at, last.get(said, at))
        newest = sorted(last.items(), key=lambda item: (-item[1], repr(item[0])))
        return tuple(Told(*said, instant(at)) for said, at in newest)

    def _spending(self, budget: Budget, arrival: Arrival) -> Spending:
        """What is spent of a budget; the parent's reservation is this pass's own."""
        counter = keys.budget_counter(budget.name, budget.began(arrival.now))
        own = self._reserved.get((arrival.asked.own_id or "", counter), 0)
        kept = counter in self._counters
        return Spending(self._counters.get(counter, 0) - own, counter, kept)

    def revisions(self, draft: Draft) -> dict[str, int]:
        """The revision of each contention key that it reads; 0 where it was never written."""
        return {name: self._revisions.get(name, 0) for name in sorted(draft.reads)}


def _refs(draft: Draft) -> list[str]:
    return [point.ref for point in draft.points]


def _others(row: tuple[Any, ...], decision_id: str | None) -> bool:
    return decision_id is None or row[11] != decision_id


def _offer_state(
    name: str, left: int, had: Sequence[tuple[str, datetime | None]], now: datetime
) -> OfferState:
    """What a person has of an offer; past its end a grant has expired, whether or not it was seen
    to yet."""
    held = [until for state, until in had if state == "granted" and (not until or until > now)]
    reserved = [until for state, until in had if state == "reserved"]
    ends = [*held, *reserved]
    until = None if None in ends else max((end for end in ends if end), default=None)
    return OfferState(name, left, bool(held), bool(reserved), len(had), until)


_LIFTS = 12
_EXEMPT_SENDS_MAX = 1000


def _ends(row: tuple[Any, ...]) -> float:
    return math.inf if row[7] is None else row[7]


def _suppression(row: tuple[Any, ...]) -> Suppression:
    ref, suppression_id, target, brand, channels, blocks, reason, expires_at, shown_to = row[:9]
    until_grant, created_at, holds_rest = row[9:12]
    return Suppression(
        suppression_id if target == "person" else ref,
        target,
        brand,
        None if channels is None else tuple(parse(channels)),
        blocks,
        reason,
        instant(expires_at),
        tuple(parse(shown_to)),
        bool(until_grant),
        instant(created_at) if until_grant else None,
        bool(holds_rest),
    )


def _approval(row: tuple[Any, ...], now: datetime) -> ApprovalFact:
    """One request: past its end it has expired, whether or not a timer has run."""
    approval_id, proposal_hash, state, decided_by, decided_at, expires_at = row
    late = state == "pending" and expires_at <= micros(now)
    return ApprovalFact(
        approval_id,
        proposal_hash,
        "expired" if late else state,
        decided_by,
        instant(decided_at),
        instant(expires_at),
    )


def _contact(row: tuple[Any, ...]) -> Contact:
    groups = tuple(row[12].strip("|").split("|")) if row[12] else ()
    state: ContactState = row[15] if row[15] in ("undelivered", "held") else "made"
    told: Sequence[Any] = (*row[1:10], groups, row[13], bool(row[14]), state)
    return Contact(instant(row[0]), *told)
