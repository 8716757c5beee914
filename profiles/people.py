"""Reads who an event is about and all that a decision may look at, for a batch at a time.

Nothing is written here: what the event changes about the person is prepared as the beginning of
the decision's own work, so that profile, decision and effects are committed together or not at
all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from domain.canonical import canonical, parse
from domain.consent import Consent
from domain.context import (
    CONTACTS_IN_CONTEXT_MAX,
    ApprovalFact,
    Contact,
    ContactPoint,
    Context,
    EventView,
    OfferState,
    Pass,
    Suppression,
)
from domain.errors import InputError
from domain.event import Event, Identifier
from domain.journey import Arm, Instance, Journey
from profiles import consents, queries
from profiles.identity import Person, Resolution, resolve
from profiles.readers.claims import normalise
from profiles.state import Fragment, Known, folded, read_fragment, with_event
from profiles.terms import Terms
from store import tables as t
from store.database import Database, Snapshot
from store.ids import time_ordered
from store.instants import instant, micros
from store.vault import Vault
from store.work import Work

OBSERVED_EVENT = "contact_observed"
CASE_CLOSED_EVENT = "case_closed"
HANDOFF_ACCEPTED_EVENT = "handoff_accepted"
RECENT = timedelta(days=7)
SWITCHES_KEY = "s:kill"
ADDRESS_KINDS = ("email", "phone")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One question: an event that came in, or a later pass over one that did.

    `now` is the decision's instant. `event_key`, `event_id` and `root_id` are
    known on later passes only.
    """

    event: Event
    now: datetime
    asked: Pass = field(default_factory=Pass)
    event_key: bytes | None = None
    event_id: str | None = None
    root_id: str | None = None


@dataclass(slots=True)
class Reading:
    """What was read for one arrival.

    Exactly one of these holds: `context` is set and `work` prepared; `duplicate_of` names the
    first decision on this event; `refused` says why it is a dead letter (`work` then holds what
    must be kept of it all the same, an opt-out); `again` asks for another round.
    """

    arrival: Arrival
    event_key: bytes
    event_id: str
    work: Work
    context: Context | None = None
    duplicate_of: str | None = None
    refused: InputError | None = None
    again: bool = False
    new_profiles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Found:
    """A fragment as it was kept."""

    profile_id: str
    root_id: str
    created_at: int
    fragment: Fragment


@dataclass(slots=True)
class _Case:
    """One arrival on its way to a context."""

    reading: Reading
    resolution: Resolution
    root_id: str
    members: dict[str, Fragment]
    statement: consents.Statement | None = None
    block: consents.Block | None = None
    bounced: str | None = None
    consent_lines: list[Consent] = field(default_factory=list)
    block_lines: list[Suppression] = field(default_factory=list)
    points: tuple[ContactPoint, ...] = ()
    keys: set[str] = field(default_factory=set)


class People:
    """Everybody in a store, as a workspace's terms allow them to be seen."""

    def __init__(self, database: Database, terms: Terms) -> None:
        self._database = database
        self._vault: Vault = database.vault
        self._terms = terms
        self._triggered: dict[str, tuple[Journey, ...]] = {}
        for journey in terms.journeys:
            self._triggered[journey.trigger] = (
                *self._triggered.get(journey.trigger, ()),
                journey,
            )

    def read(self, arrivals: Sequence[Arrival]) -> list[Reading]:
        """What each arrival needs to be decided, all of one instant of the store."""
        readings = [self._begin(arrival) for arrival in arrivals]
        with self._database.read() as snapshot:
            self._find_seen(readings, snapshot)
            fresh = [r for r in readings if r.duplicate_of is None and r.refused is None]
            cases = self._identify([r for r in fresh if not r.again], snapshot)
            self._complete(cases, snapshot)
        return readings

    # The event and its key

    def _begin(self, arrival: Arrival) -> Reading:
        event = arrival.event
        key = arrival.event_key or event_key(self._vault, event)
        named = arrival.event_id or event_id(event, key)
        return Reading(arrival, key, named, Work(shown_as=event.place))

    def _find_seen(self, readings: Sequence[Reading], snapshot: Snapshot) -> None:
        asking = [r for r in readings if r.arrival.asked.kind == "event"]
        if not asking:
            return
        keys = [r.event_key for r in asking]
        seen = {
            bytes(key): (content, ref)
            for key, content, ref in snapshot.rows(queries.SEEN, keys=keys)
        }
        met: set[bytes] = set()
        for reading in asking:
            if reading.event_key in met:
                reading.again = True
            met.add(reading.event_key)
            if reading.event_key not in seen:
                continue
            content, decision_id = seen[reading.event_key]
            if bytes(content) == content_print(self._vault, reading.arrival.event):
                reading.duplicate_of = decision_id
                continue
            reading.refused = InputError(
                "id_reuse",
                "its id was read before with other content",
                place=reading.arrival.event.place,
                remedy="let the producer give every event an id of its own",
            )

    # Who it is

    def _identify(self, readings: Sequence[Reading], snapshot: Snapshot) -> list[_Case]:
        refs = {
            self._ref(identifier): identifier
            for reading in readings
            if reading.arrival.root_id is None
            for identifier in reading.arrival.event.identifiers
        }
        owners = dict(snapshot.rows(queries.OWNERS, refs=list(refs))) if refs else {}
        given = [r.arrival.root_id for r in readings if r.arrival.root_id is not None]
        roots_now = dict(snapshot.rows(queries.ROOTS, people=given)) if given else {}
        roots = sorted({*owners.values(), *roots_now.values()})
        found = self._fragments(roots, snapshot)
        people = {root: _person(root, members) for root, members in found.items()}
        by_identifier = {refs[ref]: people[root] for ref, root in owners.items()}
        cases = []
        for reading in readings:
            root_id = reading.arrival.root_id
            if root_id is not None:
                resolution = Resolution(roots_now.get(root_id, root_id), (), (), ())
            else:
                resolution = resolve(reading.arrival.event.identifiers, by_identifier)
            try:
                cases.append(self._case(reading, resolution, found))
            except InputError as error:
                reading.refused = error
        return cases

    def _fragments(self, roots: Sequence[str], snapshot: Snapshot) -> dict[str, dict[str, _Found]]:
        found: dict[str, dict[str, _Found]] = {root: {} for root in roots}
        if not roots:
            return found
        for profile_id, root_id, created_at, sealed, wrapped in snapshot.rows(
            queries.FRAGMENTS, roots=roots
        ):
            fragment = Fragment()
            if sealed is not None and wrapped is not None:
                self._vault.unwrap(profile_id, "erasable", wrapped)
                fragment = read_fragment(
                    self._vault.open(profile_id, "erasable", "profiles", sealed)
                )
            found[root_id][profile_id] = _Found(profile_id, root_id, created_at, fragment)
        return found

    def _case(
        self,
        reading: Reading,
        resolution: Resolution,
        found: Mapping[str, Mapping[str, _Found]],
    ) -> _Case:
        event = reading.arrival.event
        roots = [r for r in (resolution.root_id, *resolution.merged) if r is not None]
        members = {p: f.fragment for root in roots for p, f in found.get(root, {}).items()}
        root_id = resolution.root_id or time_ordered("p", event.time, reading.event_key)
        case = _Case(reading, resolution, root_id, members)
        if reading.arrival.asked.kind == "event":
            case.statement = consents.consent_statement(event, self._terms)
            case.block = consents.block(event, self._terms)
            case.bounced = consents.hard_bounce(event)
            if not consents.restricts(event):
                self._check_brand(event)
            if event.name == OBSERVED_EVENT:
                consents.observed_channel(event, self._terms)
            self._fold(case)
        return case

    def _brand_of(self, event: Event) -> str:
        brand = event.brand or ""
        return brand if brand in self._terms.controllers else self._terms.brand

    def _check_brand(self, event: Event) -> None:
        if event.brand is not None and event.brand not in self._terms.controllers:
            raise InputError(
                "invalid_field",
                "`$.brand` is one that no controller owns",
                place=event.place,
                remedy="declare the brand in `settings.toml`, or leave it out",
            )

    def _fold(self, case: _Case) -> None:
        """Prepare what the event changes about the person."""
        reading, event = case.reading, case.reading.arrival.event
        work, vault, root = reading.work, self._vault, case.root_id
        is_new = case.resolution.root_id is None
        attached = [_known(i, event.time) for i in case.resolution.attached]
        attached += [_known(i, event.time, shared=True) for i in case.resolution.demoted]
        fragment = with_event(case.members.get(root, Fragment()), event, attached)
        case.members = {root: fragment, **{p: f for p, f in case.members.items() if p != root}}
        at = micros(event.received_at)
        if is_new:
            wrapped = vault.new_key(root, "erasable")
            reading.new_profiles.append(root)
            work.insert(t.data_keys, profile_id=root, retention="erasable", wrapped=wrapped)
        sealed = vault.seal(root, "erasable", "profiles", fragment.sealed_form())
        if is_new:
            work.insert(
                t.profiles,
                profile_id=root,
                root_id=root,
                created_at=at,
                updated_at=at,
                sealed=sealed,
            )
        else:
            work.change(queries.WRITE_FRAGMENT, person=root, to_sealed=sealed, to_at=at)
        for identifier in case.resolution.attached:
            work.insert(
                t.identifiers,
                ref=self._ref(identifier),
                profile_id=root,
                ns=identifier.ns,
                first_seen_at=micros(event.time),
            )
        for merged in case.resolution.merged:
            work.change(queries.FOLLOW, merged=merged, into=root)
            work.move(_person_key(merged))

    # What there is to know

    def _complete(self, cases: Sequence[_Case], snapshot: Snapshot) -> None:
        if not cases:
            return
        everyone = sorted({p for case in cases for p in case.members})
        view = {id(case): folded(case.members.values()) for case in cases}
        holders = self._holders(cases, view, snapshot)
        for case in cases:
            self._note_points(case, view[id(case)], holders)
            self._note_statements(case, snapshot)
        refs = sorted({point.ref for case in cases for point in case.points})
        pool = _Pool(self._database, snapshot, self._terms, everyone, refs, cases)
        for case in cases:
            self._finish(case, view[id(case)], pool)

    def _holders(
        self, cases: Sequence[_Case], view: Mapping[int, Fragment], snapshot: Snapshot
    ) -> dict[str, list[tuple[str, int | None]]]:
        refs = sorted(
            {
                self._ref(known.identifier)
                for case in cases
                for known in view[id(case)].identifiers
                if known.ns in ADDRESS_KINDS
            }
        )
        holders: dict[str, list[tuple[str, int | None]]] = {}
        if refs:
            for ref, profile_id, until in snapshot.rows(queries.HOLDERS, refs=refs):
                holders.setdefault(ref, []).append((profile_id, until))
        return holders

    def _note_points(
        self,
        case: _Case,
        person: Fragment,
        holders: Mapping[str, list[tuple[str, int | None]]],
    ) -> None:
        points = []
        for known in person.identifiers:
            if known.ns not in ADDRESS_KINDS:
                continue
            ref = self._ref(known.identifier)
            holding = holders.get(ref, [])
            others = {profile_id for profile_id, _ in holding} - case.members.keys()
            until = max((u for _, u in holding if u is not None), default=None)
            points.append(
                ContactPoint(
                    ref,
                    known.ns,
                    known.value,
                    known.shared or bool(others),
                    instant(until),
                    known.zones,
                )
            )
            mine = any(profile_id in case.members for profile_id, _ in holding)
            if not mine and case.reading.arrival.asked.kind == "event":
                case.reading.work.insert(t.contact_points, ref=ref, profile_id=case.root_id)
                case.keys.add(_point_key(ref))
        case.points = tuple(points)

    def _note_statements(self, case: _Case, snapshot: Snapshot) -> None:
        """Prepare what the event says about consent, blocks and addresses."""
        if case.statement is not None:
            self._note_consent(case, case.statement, snapshot)
        if case.block is not None:
            self._note_block(case, case.block)
        if case.bounced is not None:
            ref = self._address_ref(case.bounced)
            until = case.reading.arrival.event.received_at + consents.UNREACHABLE_FOR
            case.reading.work.change(queries.GIVE_UP, point=ref, until=micros(until))
            case.keys.add(_point_key(ref))
            case.points = tuple(
                _given_up(point, until) if point.ref == ref else point for point in case.points
            )

    def _note_consent(self, case: _Case, said: consents.Statement, snapshot: Snapshot) -> None:
        reading, event = case.reading, case.reading.arrival.event
        self._evidence_key(case, snapshot)
        for index, ref in enumerate(self._consent_points(case, said)):
            consent_id = time_ordered(
                "c",
                event.received_at,
                self._vault.fingerprint_bytes(
                    "consent",
                    reading.event_key + content_print(self._vault, event) + bytes([index]),
                ),
            )
            line = Consent(
                kind=said.kind,
                profile_id=case.root_id,
                controller=self._terms.controllers[said.brand or self._terms.brand],
                brand=said.brand if said.kind != "objection" else None,
                channel=said.channel if said.kind != "objection" else None,
                purpose=said.purpose,
                topic=said.topic,
                contact_point=ref,
                occurred_at=event.time,
                received_at=event.received_at,
                expires_at=said.expires_at,
                source=event.source,
                ref=consent_id,
            )
            case.consent_lines.append(line)
            self._keep_consent(case, line, said.evidence)
            if ref is not None:
                case.keys.add(_point_key(ref))
        if said.kind in ("denial", "objection"):
            self._bring_forward(case, said, snapshot)

    def _bring_forward(self, case: _Case, said: consents.Statement, snapshot: Snapshot) -> None:
        """What is held in this scope is asked again at once, and finds the new answer.

        A denial at a contact point concerns everybody who uses it.
        """
        refs = [line.contact_point for line in case.consent_lines if line.contact_point]
        holders = snapshot.rows(queries.HOLDERS, refs=refs) if refs else []
        people = sorted({*case.members, *(profile_id for _, profile_id, _ in holders)})
        wide = said.kind == "objection"
        case.reading.work.change(
            queries.BRING_FORWARD,
            people=people,
            any_channel=int(wide or said.channel is None),
            of_channel=said.channel or "",
            any_purpose=int(said.purpose is None),
            of_purpose=said.purpose or "",
            due=micros(case.reading.arrival.now),
        )

    def _consent_points(self, case: _Case, said: consents.Statement) -> Sequence[str | None]:
        """The contact points a statement names: the one written, else those of its channel."""
        if said.kind == "objection":
            return (None,)
        if said.address is not None and (said.kind != "denial" or self._is_address(said.address)):
            return (self._address_ref(said.address),)
        kind = self._terms.addresses.get(said.channel or "", "none")
        refs = [point.ref for point in case.points if point.kind == kind]
        if said.kind == "denial" and said.channel is None:
            refs = [point.ref for point in case.points]
        if not refs:
            return (None,)
        if said.kind in ("grant", "pending"):
            refs = self._own_first(case, kind, refs)
        # A yes is for the address it came with, else the newest; a no is for every one that is
        # known, and so is a no at an address that nobody can read.
        return refs if said.kind == "denial" else refs[-1:]

    def _own_first(self, case: _Case, kind: str, refs: list[str]) -> list[str]:
        """The address that the event itself bears, else one that nobody else uses."""
        named = [self._ref(i) for i in case.reading.arrival.event.identifiers if i.ns == kind]
        alone = [point.ref for point in case.points if point.ref in refs and not point.shared]
        return named or alone or refs

    def _keep_consent(self, case: _Case, line: Consent, evidence: Mapping[str, Any]) -> None:
        case.reading.work.append(
            t.consents,
            line.profile_id,
            consent_id=line.ref,
            kind=line.kind,
            controller=line.controller,
            brand=line.brand,
            channel=line.channel,
            purpose=line.purpose,
            topic=line.topic,
            contact_point=line.contact_point,
            occurred_at=micros(line.occurred_at),
            received_at=micros(line.received_at),
            expires_at=micros(line.expires_at),
            source=line.source,
            sealed=self._vault.seal(
                line.profile_id, "evidence", "consents", canonical(dict(evidence))
            ),
        )

    def _evidence_key(self, case: _Case, snapshot: Snapshot) -> None:
        root = case.root_id
        for _, wrapped in snapshot.rows(queries.EVIDENCE_KEYS, people=[root]):
            self._vault.unwrap(root, "evidence", wrapped)
            return
        wrapped = self._vault.new_key(root, "evidence")
        case.reading.new_profiles.append(root)
        case.reading.work.insert(
            t.data_keys, profile_id=root, retention="evidence", wrapped=wrapped
        )

    def _note_block(self, case: _Case, said: consents.Block) -> None:
        event = case.reading.arrival.event
        ref = case.root_id if said.target == "person" else self._address_ref(said.address or "")
        if said.target == "domain":
            ref = self._vault.fingerprint("domain", said.address or "")
        suppression_id = time_ordered("s", event.received_at, case.reading.event_key)
        case.block_lines.append(
            Suppression(
                suppression_id if said.target != "address" else ref,
                said.target,
                said.brand,
                said.channels,
                said.blocks,
                said.reason,
                said.expires_at,
                said.shown_to,
            )
        )
        case.reading.work.append(
            t.suppressions,
            case.root_id,
            suppression_id=suppression_id,
            target=said.target,
            ref=ref,
            brand=said.brand,
            channels=None if said.channels is None else canonical(said.channels).decode(),
            blocks=said.blocks,
            reason=said.reason,
            shown_to=canonical(said.shown_to).decode(),
            created_at=micros(event.received_at),
            expires_at=micros(said.expires_at),
        )
        if said.target != "person":
            case.keys.add(_point_key(ref))

    def _finish(self, case: _Case, person: Fragment, pool: _Pool) -> None:
        reading, arrival = case.reading, case.reading.arrival
        event, terms = arrival.event, self._terms
        brand = self._brand_of(event)
        ids = (case.root_id, *sorted(case.members.keys() - {case.root_id}))
        triggered = self._triggered.get(event.name, ())
        refs = {point.ref for point in case.points}
        contacts, truncated = pool.contacts(ids, refs, arrival.asked.parent_id)
        for merged in case.resolution.merged:
            case.keys.add(_person_key(merged))
        stock = [f"s:offer:{brand}:{name}" for name in terms.stock]
        read_keys = {
            _person_key(case.root_id),
            *(_point_key(ref) for ref in (*refs, *self._domains(case.points))),
            SWITCHES_KEY,
            *(stock if triggered else ()),
            *case.keys,
        }
        fields, withheld = _fields(terms, brand, person, event)
        fields["signal.open_cases"] = len(pool.cases(ids))
        fields["signal.events_before"] = person.events - (1 if arrival.asked.kind == "event" else 0)
        fields["signal.contacts_7d"] = sum(1 for c in contacts if c.at > arrival.now - RECENT)
        fields["signal.shared_address"] = any(point.shared for point in case.points)
        traits = person.traits
        assigned = pool.arms(ids)
        arms = self._arms(case.root_id, triggered, assigned)
        self._assign(case, arms, assigned)
        reading.context = Context(
            now=arrival.now,
            seed=int.from_bytes(pass_print(self._vault, reading)[:8], "big"),
            event=EventView(
                reading.event_id,
                event.name,
                event.kind,
                event.occurred_at,
                event.received_at,
                event.properties,
            ),
            brand=brand,
            controller=terms.controllers[brand],
            profile_ids=ids,
            asked=arrival.asked,
            fields=fields,
            withheld=withheld,
            contact_points=case.points,
            zone_of_person=_zone(traits["time_zone"].value if "time_zone" in traits else None),
            zone_of_address=_zone(
                _nested(traits["address"].value if "address" in traits else None, "time_zone")
            ),
            consents=(*pool.consents(ids, refs), *case.consent_lines),
            suppressions=(
                *pool.suppressions(ids, refs, self._domains(case.points)),
                *case.block_lines,
            ),
            contacts=contacts,
            contacts_truncated=truncated,
            instances=pool.instances(ids),
            entering={j.name: self._instance_key(j, event) for j in self._concerned(event)},
            arms=arms,
            offers=pool.offers(ids, brand, arrival.asked.reserved_offer) if triggered else {},
            approvals=pool.approvals(ids, arrival.now),
            open_cases=pool.cases(ids),
            human_in_charge=pool.human_in_charge(ids),
            kill_switches=pool.switches,
            revisions={key: pool.revision(key) for key in sorted(read_keys)},
        )
        self._prepare(case, ids)

    def _prepare(self, case: _Case, ids: Sequence[str]) -> None:
        """What the work must find unmoved, and what it moves whatever is decided."""
        reading = case.reading
        assert reading.context is not None
        reading.work.asserts.update(reading.context.revisions)
        reading.work.move(_person_key(case.root_id), *case.keys)
        event = reading.arrival.event
        if reading.arrival.asked.kind != "event":
            return
        at = micros(event.received_at)
        if event.name == OBSERVED_EVENT:
            self._note_observed(case, event)
        elif event.name == CASE_CLOSED_EVENT:
            reason = event.properties.get("reason")
            reading.work.change(
                queries.CLOSE_CASES,
                people=list(ids),
                any_reason=0 if isinstance(reason, str) else 1,
                for_reason=reason if isinstance(reason, str) else "",
                at=at,
            )
        elif event.name == HANDOFF_ACCEPTED_EVENT:
            reading.work.change(queries.ACCEPT_HANDOFFS, people=list(ids), at=at)

    def _note_observed(self, case: _Case, event: Event) -> None:
        channel = consents.observed_channel(event, self._terms)
        kind = self._terms.addresses[channel]
        point = next((p.ref for p in reversed(case.points) if p.kind == kind), None)
        named = event.properties.get("contact_point")
        if isinstance(named, str) and self._is_address(named):
            point = self._address_ref(named)
        if point is not None:
            case.reading.work.move(_point_key(point))
        case.reading.work.insert(
            t.contacts,
            contact_id=time_ordered("o", event.time, case.reading.event_key),
            profile_id=case.root_id,
            contact_point=point,
            at=micros(event.time),
            brand=self._brand_of(event),
            channel=channel,
            purpose=consents.observed_purpose(event, self._terms),
            action="observed",
            counted=1,
            state="observed",
        )

    # Fingerprints

    def _ref(self, identifier: Identifier) -> str:
        return identifier_ref(self._vault, identifier)

    def _address_ref(self, address: str) -> str:
        """The contact point of an address as somebody wrote it."""
        ns = _kind_of(address)
        known = normalise(ns, address, self._terms.region)
        return self._ref(known or Identifier(ns, address.strip().lower()))

    def _is_address(self, address: str) -> bool:
        return normalise(_kind_of(address), address, self._terms.region) is not None

    def _domains(self, points: Iterable[ContactPoint]) -> list[str]:
        return [
            self._vault.fingerprint("domain", point.address.rpartition("@")[2])
            for point in points
            if point.kind == "email"
        ]

    def _instance_key(self, journey: Journey, event: Event) -> str:
        value = event.properties.get(journey.instance_key) if journey.instance_key else None
        return self._vault.fingerprint("instance", journey.brand, journey.name, str(value))

    def _concerned(self, event: Event) -> list[Journey]:
        """The journeys whose instance this event names: those it triggers, and goals with a key."""
        return [
            journey
            for journey in self._terms.journeys
            if journey.trigger == event.name
            or (journey.goal == event.name and journey.instance_key in event.properties)
        ]

    def _assign(self, case: _Case, arms: Mapping[str, Arm], assigned: Mapping[str, Arm]) -> None:
        """Write a holdout's assignment when it is first asked for, so that it never changes."""
        for journey, arm in arms.items():
            if journey not in assigned:
                case.reading.work.insert(
                    t.assignments,
                    profile_id=case.root_id,
                    journey=journey,
                    arm=arm,
                    at=micros(case.reading.arrival.now),
                )

    def _arms(
        self, root_id: str, triggered: Iterable[Journey], assigned: Mapping[str, Arm]
    ) -> dict[str, Arm]:
        arms: dict[str, Arm] = {}
        for journey in triggered:
            if journey.holdout <= 0:
                continue
            drawn = int(self._vault.fingerprint("holdout", journey.name, root_id)[:8], 16) / 2**32
            arm: Arm = "held_out" if drawn < journey.holdout else "treated"
            arms[journey.name] = assigned.get(journey.name, arm)
        return arms


class _Pool:
    """Rows read once for a whole batch, handed out person by person."""

    def __init__(
        self,
        database: Database,
        snapshot: Snapshot,
        terms: Terms,
        people: Sequence[str],
        refs: Sequence[str],
        cases: Sequence[_Case],
    ) -> None:
        self._snapshot = snapshot
        self._terms = terms
        self._since = {
            profile_id: micros(case.reading.arrival.now - terms.look_back)
            for case in cases
            for profile_id in case.members
        }
        self._oldest = min(self._since.values())
        vault = database.vault
        self._domains = domains = sorted(
            {
                vault.fingerprint("domain", point.address.rpartition("@")[2])
                for case in cases
                for point in case.points
                if point.kind == "email"
            }
        )
        self._consents = snapshot.rows(queries.CONSENTS, people=people, refs=refs)
        self._suppressions = snapshot.rows(queries.SUPPRESSIONS, refs=[*people, *refs, *domains])
        self._instances = snapshot.rows(queries.INSTANCES, people=people)
        self._arms = snapshot.rows(queries.ASSIGNMENTS, people=people)
        self._approvals = snapshot.rows(queries.APPROVALS, people=people)
        self._cases = snapshot.rows(queries.OPEN_CASES, people=people)
        self._grants = snapshot.rows(queries.GRANTS, people=people) if terms.stock else []
        self.switches = tuple(scope for (scope,) in snapshot.rows(queries.SWITCHES))
        self._counters = self._read_counters(cases)
        self._revisions = self._read_revisions(people, refs, cases)

    def consents(self, ids: Sequence[str], refs: set[str]) -> list[Consent]:
        """The ledger's lines that concern this person or the person's contact points."""
        return [
            Consent(*row[:8], *(instant(at) for at in row[8:11]), *row[11:])
            for row in self._consents
            if row[1] in ids or row[7] in refs
        ]

    def suppressions(
        self, ids: Sequence[str], refs: set[str], domains: Sequence[str]
    ) -> list[Suppression]:
        """The blocks on this person, the person's addresses and their domains."""
        return [
            _suppression(row)
            for row in self._suppressions
            if row[0] in ids or row[0] in refs or row[0] in domains
        ]

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
        for profile_id, journey, arm in self._arms:
            if profile_id in ids and arms.get(journey) != "held_out":
                arms[journey] = arm
        return arms

    def approvals(self, ids: Sequence[str], now: datetime) -> tuple[ApprovalFact, ...]:
        """What has been said about proposals for this person, as of `now`."""
        return tuple(_approval(row[1:], now) for row in self._approvals if row[0] in ids)

    def cases(self, ids: Sequence[str]) -> tuple[str, ...]:
        """The reasons of the person's open cases."""
        return tuple(reason for profile_id, reason, _, _ in self._cases if profile_id in ids)

    def human_in_charge(self, ids: Sequence[str]) -> bool:
        """Whether somebody has accepted a hand-off that is still open."""
        return any(
            profile_id in ids and kind == "handoff" and accepted_at is not None
            for profile_id, _, kind, accepted_at in self._cases
        )

    def offers(self, ids: Sequence[str], brand: str, reserved: str | None) -> dict[str, OfferState]:
        """What is left of each offer, and whether the person holds it.

        The one that the parent decision holds in reserve is there for this pass.
        """
        held = {
            offer for profile_id, offer, of in self._grants if profile_id in ids and of == brand
        }
        return {
            name: OfferState(
                name,
                stock - self._counters.get(f"offer:{brand}:{name}", 0) + (name == reserved),
                name in held,
            )
            for name, stock in self._terms.stock.items()
        }

    def revision(self, key: str) -> int:
        """The revision of a contention key; 0 where it was never written."""
        return self._revisions.get(key, 0)

    def _read_counters(self, cases: Sequence[_Case]) -> dict[str, int]:
        brands = self._terms.controllers
        keys = [f"offer:{brand}:{name}" for brand in sorted(brands) for name in self._terms.stock]
        return dict(self._snapshot.rows(queries.COUNTERS, keys=keys)) if keys else {}

    def _read_revisions(
        self, people: Sequence[str], refs: Sequence[str], cases: Sequence[_Case]
    ) -> dict[str, int]:
        brands = self._terms.controllers
        keys = {
            SWITCHES_KEY,
            *(_person_key(p) for p in people),
            *(_point_key(ref) for ref in (*refs, *self._domains)),
            *(f"s:offer:{brand}:{name}" for brand in brands for name in self._terms.stock),
            *(key for case in cases for key in case.keys),
        }
        return dict(self._snapshot.rows(queries.REVISIONS, keys=sorted(keys)))


def event_key(vault: Vault, event: Event) -> bytes:
    """The keyed fingerprint of (source, id); without an id, of the content and the ordinal."""
    if event.id is not None:
        return vault.fingerprint_bytes("event", canonical([event.source, event.id]))
    parts = [event.source, event.kind, event.name, event.occurred_at, _content(event)]
    return vault.fingerprint_bytes("event without id", canonical([*parts, event.ordinal]))


def pass_print(vault: Vault, reading: Reading) -> bytes:
    """What tells one pass over an event from any other: the source of its ids and its seed."""
    asked = reading.arrival.asked
    told_apart = [reading.event_key, asked.kind, asked.n, asked.parent_id]
    return vault.fingerprint_bytes("pass", canonical(told_apart))


def event_id(event: Event, key: bytes) -> str:
    """How people and programs name the event: `source/id`, or `source/` and its key."""
    return f"{event.source}/{event.id if event.id is not None else '~' + key.hex()}"


def content_print(vault: Vault, event: Event) -> bytes:
    """The keyed fingerprint of all that the producer said, to tell a repeat from a reused id."""
    return vault.fingerprint_bytes(
        "content", canonical([event.kind, event.name, event.occurred_at, _content(event)])
    )


def identifier_ref(vault: Vault, identifier: Identifier) -> str:
    """The keyed fingerprint that an identifier is looked up by."""
    return vault.fingerprint("identifier", identifier.ns, identifier.value)


def _content(event: Event) -> list[Any]:
    return [sorted(event.identifiers), event.properties, event.traits, event.brand]


def _person(root: str, members: Mapping[str, _Found]) -> Person:
    return Person(
        root_id=root,
        identifiers=frozenset(
            known.identifier
            for found in members.values()
            for known in found.fragment.identifiers
            if not known.shared
        ),
        since=min((found.created_at for found in members.values()), default=0),
    )


def _known(identifier: Identifier, since: datetime, *, shared: bool = False) -> Known:
    zones = zones_of(identifier.value) if identifier.ns == "phone" else ()
    return Known(identifier.ns, identifier.value, since, shared, zones)


@lru_cache(maxsize=4096)
def zones_of(number: str) -> tuple[str, ...]:
    """All time zones an E.164 number may be in; none where the number tells nothing."""
    import phonenumbers
    from phonenumbers import timezone

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    found = timezone.time_zones_for_number(parsed)
    return tuple(sorted(name for name in found if name != timezone.UNKNOWN_TIMEZONE))


def _zone(name: Any) -> str | None:
    """The IANA zone of that name, or None where there is none: a typo must not open a window."""
    return name if isinstance(name, str) and _is_zone(name) else None


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name at all, or a folder of zones
        return False
    return True


def _given_up(point: ContactPoint, until: datetime) -> ContactPoint:
    return ContactPoint(point.ref, point.kind, point.address, point.shared, until, point.zones)


def _others(row: tuple[Any, ...], decision_id: str | None) -> bool:
    return decision_id is None or row[11] != decision_id


def _suppression(row: tuple[Any, ...]) -> Suppression:
    ref, suppression_id, target, brand, channels, blocks, reason, expires_at, shown_to = row
    return Suppression(
        ref if target == "address" else suppression_id,
        target,
        brand,
        None if channels is None else tuple(parse(channels)),
        blocks,
        reason,
        instant(expires_at),
        tuple(parse(shown_to)),
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
    return Contact(instant(row[0]), *row[1:10])


def _fields(
    terms: Terms, brand: str, person: Fragment, event: Event
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The labelled fields that may be seen, and the names of those withheld."""
    fields: dict[str, Any] = {}
    withheld = []
    controller = terms.controllers[brand]
    for label in terms.fields:
        root, _, path = label.name.partition(".")
        if root == "profile":
            name, _, rest = path.partition(".")
            trait = person.traits.get(name)
            value = None if trait is None else trait.value
            value = _nested(value, rest) if rest else value
        elif root == "event":
            value = _nested(event.properties, path)
        else:
            continue
        if value is None:
            continue
        if label.category in ("special", "secret") or label.controller not in (None, controller):
            withheld.append(label.name)
        else:
            fields[label.name] = value
    return fields, tuple(withheld)


def _nested(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _kind_of(address: str) -> str:
    return "email" if "@" in address else "phone"


def _person_key(profile_id: str) -> str:
    return f"p:{profile_id}"


def _point_key(ref: str) -> str:
    return f"c:{ref}"
