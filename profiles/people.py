"""Reads who an event is about and all that a decision may look at, for a batch at a time.

Nothing is written here: what the event changes about the person is prepared as the beginning of
the decision's own work, so that profile, decision and effects are committed together or not at
all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from domain.context import (
    Contact,
    ContactPoint,
    Context,
    EventView,
    Silence,
    Suppression,
    Tally,
)
from domain.errors import InputError
from domain.event import Event, Identifier
from domain.journey import Arm
from domain.windows import whereabouts as zones_counted
from profiles import consents, grants, queries, signals
from profiles.absences import silences
from profiles.arrivals import Arrival, Draft, Perceived
from profiles.enrolment import Enrolment
from profiles.freshness import Freshness
from profiles.households import household_of, join
from profiles.identifying import Identifying
from profiles.jurisdictions import whereabouts
from profiles.labels import access_needs, is_minor, visible
from profiles.membership import Identified, first_followed
from profiles.notes import Notes
from profiles.overtaking import end_wait, late_since, overtake
from profiles.pauses import paused_until
from profiles.permissions import PERSONALISE, PROFILE, refuses
from profiles.pool import Across, Pool
from profiles.prints import (
    content_print,
    domain_ref,
    event_id,
    event_key,
    identifier_ref,
    pass_print,
)
from profiles.regrouping import Regrouping
from profiles.state import ADDRESS_KINDS, Fragment, folded, zones_left
from profiles.stated import restricts, statements
from profiles.terms import Terms
from store import keys
from store import tables as t
from store.database import Database, Snapshot
from store.instants import instant, micros
from store.vault import Vault
from store.work import Work

CASE_CLOSED_EVENT = "case_closed"
HANDOFF_ACCEPTED_EVENT = "handoff_accepted"
RECENT = timedelta(days=7)

_COMPLAINS = Suppression("complaint", "person", None, None, "marketing", "an open complaint")
"""What an open complaint blocks, whoever opened it; its own answer is no marketing."""
_Holders = Mapping[str, Sequence[tuple[str, int | None]]]
"""Who uses each contact point, and until when it cannot be reached."""


class People:
    """Everybody in a store, as a workspace's terms allow them to be seen."""

    def __init__(self, database: Database, terms: Terms) -> None:
        self._database = database
        self._vault: Vault = database.vault
        self._terms = terms
        self._notes = Notes(database.vault, terms)
        self._enrolment = Enrolment(database.vault, terms)
        self._identifying = Identifying(database.vault, terms)
        self._behaviour = signals.names(terms)
        self._computed = ("signal.events_before", *self._behaviour)

    @property
    def terms(self) -> Terms:
        """The workspace's terms."""
        return self._terms

    def read(self, arrivals: Sequence[Arrival]) -> list[Perceived]:
        """What each arrival needs to be decided, all of one instant of the store."""
        perceived = [self._begin(arrival) for arrival in arrivals]
        with self._database.read() as snapshot:
            self._find_seen(perceived, snapshot)
            fresh = [
                one
                for one in perceived
                if one.duplicate_of is None and one.refused is None and not one.again
            ]
            self._complete(self._identify(fresh, snapshot), snapshot)
        return perceived

    # The event and its key

    def _begin(self, arrival: Arrival) -> Perceived:
        event = arrival.event
        key = arrival.event_key or event_key(self._vault, event)
        named = arrival.event_id or event_id(event, key)
        return Perceived(arrival, key, named, Work(shown_as=event.place))

    def _find_seen(self, perceived: Sequence[Perceived], snapshot: Snapshot) -> None:
        asking = [one for one in perceived if one.arrival.asked.kind == "event"]
        if not asking:
            return
        seen = {
            bytes(key): (bytes(content), decision_id)
            for key, content, decision_id in snapshot.rows(
                queries.SEEN, keys=[one.event_key for one in asking]
            )
        }
        met: set[bytes] = set()
        for one in asking:
            one.again = one.event_key in met
            met.add(one.event_key)
            if one.event_key not in seen:
                continue
            content, decision_id = seen[one.event_key]
            if content == content_print(self._vault, one.arrival.event):
                one.duplicate_of = decision_id
                continue
            one.refused = InputError(
                "id_reuse",
                "its id was read before with other content",
                place=one.arrival.event.place,
                remedy="let the producer give every event an id of its own",
            )

    # Who it is

    def _identify(self, fresh: Sequence[Perceived], snapshot: Snapshot) -> list[Draft]:
        drafts = []
        identified = self._identifying.find(fresh, snapshot)
        for one, found in zip(fresh, identified, strict=True):
            try:
                drafts.append(self._draft(one, found, snapshot))
            except InputError as error:
                one.refused = error
        return drafts

    def _draft(self, perceived: Perceived, found: Identified, snapshot: Snapshot) -> Draft:
        event = perceived.arrival.event
        draft = Draft(perceived, found)
        draft.before = tuple(fragment.activity for fragment in draft.members.values())
        if perceived.arrival.asked.kind == "event":
            draft.statements = statements(event, self._terms)
            draft.block = consents.block(event, self._terms)
            draft.lift = consents.lift(event)
            draft.opened_case = consents.opened_case(event)
            draft.reached = consents.reached(event)
            beside = self._terms.brands_beside(self._terms.brand_of(event))
            draft.redeemed = grants.redeemed(event, snapshot, sorted(draft.members), beside)
            if not restricts(event, self._terms):
                self._check_brand(event)
            if event.name == consents.OBSERVED_EVENT:
                consents.observed_channel(event, self._terms)
            self._fold(draft, snapshot)
        return draft

    def _check_brand(self, event: Event) -> None:
        if event.brand is not None and event.brand not in self._terms.controllers:
            raise InputError(
                "invalid_field",
                "`$.brand` is one that no controller owns",
                place=event.place,
                remedy="declare the brand in `settings.toml`, or leave it out",
            )

    def _fold(self, draft: Draft, snapshot: Snapshot) -> None:
        """Prepare what the event changes about the person."""
        found, work, event = draft.identified, draft.perceived.work, draft.perceived.arrival.event
        draft.keys |= found.keys
        fragment = draft.members[draft.own]
        done = signals.with_done(fragment.activity, event, self._terms)
        draft.members[draft.own] = replace(fragment, activity=done)
        self._keep_fragment(draft)
        for naming in found.named:
            work.insert(
                t.identifiers,
                ref=naming.ref,
                profile_id=draft.own,
                ns=naming.ns,
                slot=naming.slot,
            )
        if found.moved or found.parted:
            regrouping = Regrouping(
                self._vault, self._terms.identity, snapshot, work, event.received_at
            )
            draft.said_again = regrouping.follow(found.moved, found.members)
            for parted in found.parted:
                regrouping.part(parted, self._terms.look_back)
        for ref in found.logouts:
            work.insert(t.logouts, ref=ref, at=micros(event.time), profile_id=draft.own)

    def _keep_fragment(self, draft: Draft) -> None:
        perceived, own, vault = draft.perceived, draft.own, self._vault
        work, fragment = perceived.work, draft.members[own]
        first_at, last_at = micros(fragment.first_at), micros(fragment.last_at)
        if draft.identified.is_new:
            wrapped = vault.new_key(own, "erasable")
            work.insert(t.data_keys, profile_id=own, retention="erasable", wrapped=wrapped)
        sealed = vault.seal(own, "erasable", "profiles", fragment.sealed_form())
        if not draft.identified.is_new:
            work.change(
                queries.WRITE_FRAGMENT,
                person=own,
                to_sealed=sealed,
                from_at=first_at,
                to_at=last_at,
            )
            return
        work.insert(
            t.profiles,
            profile_id=own,
            root_id=draft.root_id,
            followed=first_followed(draft.root_id, perceived.arrival.event.received_at),
            created_at=first_at,
            updated_at=last_at,
            sealed=sealed,
        )

    # What there is to know

    def _complete(self, drafts: Sequence[Draft], snapshot: Snapshot) -> None:
        if not drafts:
            return
        folds = [folded(draft.members.values()) for draft in drafts]
        holders = self._holders(folds, snapshot)
        for draft, person in zip(drafts, folds, strict=True):
            self._take_points(draft, person, holders)
            self._notes.take(draft, snapshot)
            arrival = draft.perceived.arrival
            draft.triggered = self._enrolment.triggered(arrival.event, arrival.asked)
            draft.entering = self._enrolment.instances(arrival.event)
        pool = Pool(snapshot, self._vault, self._terms, drafts, self._enrolment)
        freshness = Freshness(snapshot, self._terms.max_lag)
        for draft, person in zip(drafts, folds, strict=True):
            if draft.perceived.arrival.asked.kind == "event":
                freshness.take(draft.perceived.arrival.event, draft.perceived.work)
            draft.perceived.context = self._context(draft, person, pool, freshness)
            self._prepare(draft, draft.perceived.context)

    def _holders(self, folds: Iterable[Fragment], snapshot: Snapshot) -> _Holders:
        refs = sorted(
            {
                self._ref(known.identifier)
                for person in folds
                for known in person.identifiers
                if known.ns in ADDRESS_KINDS
            }
        )
        holders: dict[str, list[tuple[str, int | None]]] = {}
        if refs:
            for ref, profile_id, until in snapshot.rows(queries.HOLDERS, refs=refs):
                holders.setdefault(ref, []).append((profile_id, until))
        return holders

    def _take_points(self, draft: Draft, person: Fragment, holders: _Holders) -> None:
        """Note the person's contact points; one that is new to the person is kept."""
        points = []
        for known in person.identifiers:
            if known.ns not in ADDRESS_KINDS:
                continue
            ref = self._ref(known.identifier)
            holding = holders.get(ref, ())
            users = {profile_id for profile_id, _ in holding}
            shared = bool(users - draft.members.keys())
            until = max((u for _, u in holding if u is not None), default=None)
            domain = domain_ref(self._vault, known.value) if known.ns == "email" else None
            points.append(
                ContactPoint(
                    ref, known.ns, known.value, shared, instant(until), known.zones, domain
                )
            )
        draft.points = tuple(points)
        draft.household = household_of(self._vault, self._terms.identity, person)
        draft.domains = tuple(point.domain for point in points if point.domain is not None)

    def _context(self, draft: Draft, person: Fragment, pool: Pool, freshness: Freshness) -> Context:
        arrival, terms = draft.perceived.arrival, self._terms
        event, brand = arrival.event, terms.brand_of(arrival.event)
        ids = (draft.root_id, *sorted(draft.members.keys() - {draft.root_id}))
        refs = {point.ref for point in draft.points}
        assigned = pool.arms(ids)
        arms = self._enrolment.arms(draft.root_id, draft.triggered, assigned)
        self._assign(draft, arms, assigned)
        across = pool.across(draft, ids, brand) if draft.asks else Across()
        contacts: tuple[Contact, ...] = ()
        truncated = False
        tallies: tuple[Tally, ...] = ()
        opened = () if draft.opened_case is None else (draft.opened_case,)
        open_cases = tuple(dict.fromkeys((*pool.cases(ids), *opened)))
        traits = {name: trait.value for name, trait in person.traits.items()}
        where = whereabouts(person)
        zones_before = _left(person, where.zone, arrival.now - terms.look_back)
        said = [*(one for one in draft.said_again if one.profile_id in ids), *draft.consent_lines]
        lines = pool.consents(ids, refs, said, terms.controllers[brand])
        minor = is_minor(terms, person)
        asked = lines, ids, refs, terms.controllers[brand], arrival.now
        fields, withheld = visible(
            terms, brand, person, event, impersonal=refuses(PERSONALISE, *asked)
        )
        stale: Mapping[str, str] = {}
        if draft.asks:
            stale = freshness.stale(event, arrival.now, person, terms.fields, self._computed)
            contacts, truncated = pool.contacts(ids, refs, arrival.asked.own_id)
            numbers = [name for point in draft.points for name in point.zones]
            counted = zones_counted(where.zone, zones_before, where.zones_of_address, numbers)
            tallies = pool.tallies(
                ids, refs, draft.household, counted, arrival, truncated=truncated
            )
            fields |= _signals(draft, person, contacts, open_cases)
            if minor or refuses(PROFILE, *asked):
                withheld = (*withheld, *self._behaviour)
            else:
                fields |= signals.behaviour(
                    draft, pool.contact_days(ids, brand, arrival.now), terms
                )
        return Context(
            now=arrival.now,
            seed=self._seed(draft.perceived),
            event=_view(draft.perceived),
            brand=brand,
            controller=terms.controllers[brand],
            profile_ids=ids,
            asked=arrival.asked,
            fields=fields,
            withheld=withheld,
            stale=stale,
            contact_points=draft.points,
            zone_of_person=where.zone,
            zones_of_address=where.zones_of_address,
            zones_before=zones_before,
            household=draft.household,
            jurisdictions=where.jurisdictions,
            consents=lines,
            suppressions=(
                *pool.suppressions(ids, refs, draft.domains, draft.lifted),
                *draft.block_lines,
                *(_COMPLAINS for reason in open_cases if consents.is_complaint(reason)),
            ),
            paused_until=paused_until(
                traits, where.zone or next(iter(where.zones_of_address), None)
            ),
            exempt_sends=pool.exempt_sends(ids, arrival.asked.own_id, arrival.now),
            contacts=contacts,
            contacts_truncated=truncated,
            tallies=tallies,
            instances=pool.instances(ids),
            entering=draft.entering,
            arms=arms,
            offers=pool.offers(draft, ids, brand) if draft.asks else {},
            approvals=pool.approvals(ids, arrival.now),
            open_cases=open_cases,
            human_in_charge=pool.human_in_charge(ids),
            restricted=pool.restricted(ids),
            minor=minor,
            access_needs=access_needs(terms, person),
            kill_switches=pool.switches,
            occurrences=across.occurrences,
            told=across.told,
            budgets=across.budgets,
            scheduled=across.scheduled,
            silences=self._silences(draft),
            revisions=pool.revisions(draft),
        )

    def _silences(self, draft: Draft) -> tuple[Silence, ...]:
        """The absences that the event begins; of a pass that is about a journey, that one's."""
        arrival = draft.perceived.arrival
        begun = self._enrolment.begun(arrival.event)
        if arrival.asked.kind != "event":
            begun = {j: key for j, key in begun.items() if j.name == arrival.asked.journey}
        if not begun:
            return ()
        return silences(begun, arrival.event, (one.activity for one in draft.members.values()))

    def _seed(self, perceived: Perceived) -> int:
        told_apart = pass_print(self._vault, perceived.event_key, perceived.arrival.asked)
        return int.from_bytes(told_apart[:8], "big")

    def _assign(self, draft: Draft, arms: Mapping[str, Arm], assigned: Mapping[str, Arm]) -> None:
        """Write a holdout's assignment when it is first asked for, so that it never changes."""
        for journey, arm in arms.items():
            if journey not in assigned:
                draft.perceived.work.insert(
                    t.assignments,
                    profile_id=draft.root_id,
                    journey=journey,
                    arm=arm,
                    at=micros(draft.perceived.arrival.now),
                )

    def _prepare(self, draft: Draft, context: Context) -> None:
        """What the work must find unmoved, and what it moves whatever is decided."""
        work, event = draft.perceived.work, draft.perceived.arrival.event
        work.asserts.update(context.revisions)
        work.move(keys.person(draft.root_id), *draft.keys)
        if draft.perceived.arrival.asked.kind != "event":
            return
        people, at = list(context.profile_ids), micros(event.received_at)
        since = late_since(event)
        broken = self._enrolment.broken(event)
        for journey, instance in broken.items():
            end_wait(work, people, journey, instance, event.time, context.now)
        if since is not None:
            reached = self._enrolment.reached(event, context.instances)
            for journey, instance in (broken | reached).items():
                overtake(work, people, journey, instance, since)
        if draft.identified.tells_where:
            work.change(queries.ASK_HELD_AGAIN, people=people, due=micros(context.now))
        found, named = draft.identified, self._terms.identity.household
        if draft.household is not None and (named in event.traits or found.moved or found.parted):
            back = event.received_at - self._terms.look_back
            join(work, people, draft.household, back)
        if draft.redeemed is not None:
            grants.end(work, draft.redeemed, "redeemed", event.time)
        if event.name == CASE_CLOSED_EVENT:
            reason = event.properties.get("reason")
            work.change(
                queries.CLOSE_CASES,
                people=people,
                any_reason=0 if isinstance(reason, str) else 1,
                for_reason=reason if isinstance(reason, str) else "",
                at=at,
            )
        elif event.name == HANDOFF_ACCEPTED_EVENT:
            work.change(queries.ACCEPT_HANDOFFS, people=people, at=at)

    def _ref(self, identifier: Identifier) -> str:
        return identifier_ref(self._vault, identifier)


def _left(person: Fragment, now: str | None, since: datetime) -> tuple[tuple[str, datetime], ...]:
    """The zones that the person has left since then."""
    left = zones_left(person.zones, now).items() if person.zones else ()
    return tuple(sorted((name, until) for name, until in left if until >= since))


def _view(perceived: Perceived) -> EventView:
    event = perceived.arrival.event
    return EventView(
        perceived.event_id,
        event.name,
        event.kind,
        event.occurred_at,
        event.received_at,
        event.properties,
    )


def _signals(
    draft: Draft, person: Fragment, contacts: Iterable[Contact], open_cases: Sequence[str]
) -> dict[str, Any]:
    """What is computed about the person, as rules and texts see it."""
    arrival = draft.perceived.arrival
    recent: datetime = arrival.now - RECENT
    return {
        "signal.open_cases": len(open_cases),
        "signal.events_before": person.events - (arrival.asked.kind == "event"),
        "signal.contacts_7d": sum(1 for contact in contacts if contact.at > recent),
        "signal.shared_address": any(point.shared for point in draft.points),
        "signal.opted_out": draft.opted_out,
    }
