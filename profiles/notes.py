"""Prepares what an event says about consent, blocks and addresses, for its decision's work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.canonical import canonical
from domain.consent import PERMISSIONS, RESTRICTING, Consent, repeats
from domain.context import CONVERSATION, Suppression
from domain.event import Event, Identifier
from profiles import bounces, consents, queries
from profiles.arrivals import Draft
from profiles.cancelling import Scope, ask_again, cancel, everybody
from profiles.overtaking import late_since
from profiles.prints import content_print, domain_ref, identifier_ref
from profiles.readers.claims import normalise
from profiles.requests import evidence_key
from profiles.terms import Terms
from store import keys
from store import tables as t
from store.database import Snapshot
from store.ids import time_ordered
from store.instants import micros
from store.vault import Vault


class Notes:
    """Writes down what an event's statements change, and which contention keys they move."""

    def __init__(self, vault: Vault, terms: Terms) -> None:
        self._vault = vault
        self._terms = terms

    def take(self, draft: Draft, snapshot: Snapshot) -> None:
        """Prepare what the event says about consent, blocks and addresses."""
        event = draft.perceived.arrival.event
        if event.name == consents.OBSERVED_EVENT and draft.perceived.arrival.asked.kind == "event":
            self._observed(draft, event, snapshot)
        if draft.statements:
            self._note_consents(draft, snapshot)
        if draft.block is not None:
            self._note_block(draft, draft.block, snapshot)
        if draft.lift is not None:
            self._note_lift(draft, draft.lift, snapshot)
        if draft.opened_case is not None:
            self._note_case(draft, draft.opened_case, snapshot)
        explicit = any(said.kind == "grant" and not said.lasting for said in draft.statements)
        lines = draft.consent_lines if explicit else ()
        granted = [one.contact_point for one in lines if one.kind == "grant"]
        shown: list[tuple[bounces.ReachKind, str]] = [("verified", ref) for ref in granted if ref]
        if draft.reached is not None:
            kind, address = draft.reached
            shown.insert(0, (kind, self._address_ref(address)))
        for kind, ref in dict.fromkeys(shown):
            self._note_reached(draft, kind, ref, snapshot)

    def _note_reached(
        self, draft: Draft, kind: bounces.ReachKind, ref: str, snapshot: Snapshot
    ) -> None:
        """Keep what shows whether an address works, and until when it does not."""
        perceived = draft.perceived
        draft.keys.add(keys.point(ref))
        before = bounces.kept(snapshot, ref)
        if not before and kind in ("delivered", "verified"):
            return  # most addresses never bounce
        now = bounces.Reached(kind, perceived.arrival.event.time)
        until = bounces.unreachable_until([*before, now])
        told_apart = perceived.event_key + f"{kind}/{ref}".encode()
        digest = self._vault.fingerprint_bytes("bounce", told_apart)
        perceived.work.insert(
            t.bounces,
            bounce_id=time_ordered("b", now.at, digest),
            profile_id=draft.own,
            ref=ref,
            kind=kind,
            at=micros(now.at),
        )
        decision_id = consents.undelivered(perceived.arrival.event)
        if decision_id is not None:
            perceived.work.change(queries.NOT_DELIVERED, point=ref, decision=decision_id)
        perceived.work.change(queries.GIVE_UP, point=ref, until=micros(until))
        draft.points = tuple(
            replace(point, unreachable_until=until) if point.ref == ref else point
            for point in draft.points
        )

    def _note_consents(self, draft: Draft, snapshot: Snapshot) -> None:
        """Write down every statement that says something new, and wake what it may end."""
        points = [self._consent_points(draft, said) for said in draft.statements]
        kept = self._kept(draft, points, snapshot)
        for said, refs in zip(draft.statements, points, strict=True):
            lines = [line for ref in refs for line in self._lines(draft, said, ref)]
            new = [line for line in lines if not repeats(line, [*kept, *draft.consent_lines])]
            draft.opted_out = draft.opted_out or (said.by_word and bool(new))
            for line in new if said.lasting else lines:
                self._note_line(draft, replace(line, ref=self._line_id(draft)), said, snapshot)
            if said.kind in RESTRICTING and (new or not said.lasting):
                self._end(draft, said, lines, snapshot)

    def _kept(
        self, draft: Draft, points: Iterable[Sequence[str | None]], snapshot: Snapshot
    ) -> list[Consent]:
        """What the ledger holds already, where a statement may only repeat it."""
        if not any(said.lasting or said.by_word for said in draft.statements):
            return []
        refs = sorted({ref for some in points for ref in some if ref is not None})
        rows = snapshot.rows(queries.CONSENTS, people=sorted(draft.members), refs=refs)
        return [queries.consent_line(row) for row in rows]

    def _lines(self, draft: Draft, said: consents.Statement, ref: str | None) -> list[Consent]:
        """A statement as a line; that an address changed hands is one to every controller."""
        line = self._line(draft, said, ref)
        if said.kind != "lapse":
            return [line]
        controllers = sorted(set(self._terms.controllers.values()))
        return [replace(line, controller=controller) for controller in controllers]

    def _line(self, draft: Draft, said: consents.Statement, ref: str | None) -> Consent:
        event = draft.perceived.arrival.event
        whole = said.kind == "objection" or (said.purpose in PERMISSIONS and said.kind == "denial")
        return Consent(
            kind=said.kind,
            profile_id=draft.own,
            controller=self._terms.controllers[said.brand or self._terms.brand],
            brand=None if whole else said.brand,
            channel=said.channel if said.kind != "objection" else None,
            purpose=said.purpose,
            topic=said.topic,
            contact_point=ref,
            occurred_at=said.said_at or event.time,
            received_at=event.received_at,
            expires_at=said.expires_at,
            source=event.source,
        )

    def _line_id(self, draft: Draft) -> str:
        """The id of the event's next line."""
        perceived, event = draft.perceived, draft.perceived.arrival.event
        number = len(draft.consent_lines).to_bytes(2, "big")
        told_apart = perceived.event_key + content_print(self._vault, event) + number
        digest = self._vault.fingerprint_bytes("consent", told_apart)
        return time_ordered("c", event.received_at, digest)

    def _note_line(
        self, draft: Draft, line: Consent, said: consents.Statement, snapshot: Snapshot
    ) -> None:
        if not draft.consent_lines:
            evidence_key(draft.perceived.work, snapshot, self._vault, draft.own)
        draft.consent_lines.append(line)
        self._keep_consent(draft, line, said.evidence)
        if line.contact_point is not None:
            draft.keys.add(keys.point(line.contact_point))

    def _end(
        self, draft: Draft, said: consents.Statement, lines: Sequence[Consent], snapshot: Snapshot
    ) -> None:
        """End what is on its way within the scope of a no.

        A denial at a contact point concerns everybody who uses it.
        """
        refs = {line.contact_point for line in lines if line.contact_point is not None}
        work, now = draft.perceived.work, draft.perceived.arrival.now
        people = everybody(snapshot, draft.members, refs)
        if said.purpose in PERMISSIONS:  # it says how to choose, not that nothing may be sent
            ask_again(work, people, Scope(), now)
            return
        wide = said.kind == "objection"
        told = {line.controller for line in lines}
        brands = {name for name, of in self._terms.controllers.items() if of in told}
        scope = Scope(
            brands=brands if wide or said.brand is None else {said.brand},
            channels=None if wide or said.channel is None else {said.channel},
            purposes={said.purpose} if said.purpose else self._terms.consented,
            topics=None if said.topic is None else {said.topic},
            refs=None if None in {line.contact_point for line in lines} else refs,
        )
        event = draft.perceived.arrival.event
        cancel(work, people, scope, now, late_since(event, said.said_at))

    def _consent_points(self, draft: Draft, said: consents.Statement) -> Sequence[str | None]:
        """The contact points a statement names: the one written, else those of its channel."""
        if said.kind == "objection" or said.purpose in PERMISSIONS:
            return (None,)
        no = said.kind in RESTRICTING
        if said.address is not None and (not no or self._is_address(said.address)):
            return (self._address_ref(said.address),)
        kind = self._terms.addresses.get(said.channel or "", "none")
        refs = [point.ref for point in draft.points if point.kind == kind]
        if no and said.channel is None:
            refs = [point.ref for point in draft.points]
        if not refs:
            return (None,)
        if not no:
            refs = self._own_first(draft, kind, refs)
        # A yes is for the address it came with, else the newest; a no is for every one that is
        # known, and so is a no at an address that nobody can read.
        return refs if no else refs[-1:]

    def _own_first(self, draft: Draft, kind: str, refs: list[str]) -> list[str]:
        """The address that the event itself bears, else one that nobody else uses."""
        named = [
            identifier_ref(self._vault, i)
            for i in draft.perceived.arrival.event.identifiers
            if i.ns == kind
        ]
        alone = [point.ref for point in draft.points if point.ref in refs and not point.shared]
        return named or alone or refs

    def _keep_consent(self, draft: Draft, line: Consent, evidence: Mapping[str, Any]) -> None:
        draft.perceived.work.append(
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

    def _note_block(self, draft: Draft, said: consents.Block, snapshot: Snapshot) -> None:
        event = draft.perceived.arrival.event
        ref = draft.own if said.target == "person" else self._address_ref(said.address or "")
        if said.target == "domain":
            ref = domain_ref(self._vault, said.address or "")
        suppression_id = time_ordered("s", event.received_at, draft.perceived.event_key)
        draft.block_lines.append(
            Suppression(
                suppression_id if said.target == "person" else ref,
                said.target,
                said.brand,
                said.channels,
                said.blocks,
                said.reason,
                said.expires_at,
                said.shown_to,
                holds_rest=said.holds_rest,
            )
        )
        draft.perceived.work.append(
            t.suppressions,
            draft.own,
            suppression_id=suppression_id,
            target=said.target,
            ref=ref,
            brand=said.brand,
            channels=None if said.channels is None else canonical(said.channels).decode(),
            blocks=said.blocks,
            reason=said.reason,
            shown_to=canonical(said.shown_to).decode(),
            until_grant=0,
            holds_rest=int(said.holds_rest),
            created_at=micros(event.received_at),
            expires_at=micros(said.expires_at),
            by=said.by,
            lifts=None,
        )
        if said.target != "person":
            draft.keys.add(keys.point(ref))
        refs = {ref} if said.target == "address" else set()
        scope = Scope(
            brands=None if said.brand is None else {said.brand},
            channels=None if said.channels is None else set(said.channels),
            # What is mandatory, the next pass finds out; what needs a yes is not.
            purposes=self._terms.marketing
            if said.blocks in ("marketing", "offers_and_marketing")
            else self._terms.consented,
            refs=refs or None,
        )
        work, now = draft.perceived.work, draft.perceived.arrival.now
        people = everybody(snapshot, draft.members, refs)
        cancel(work, people, scope, now, late_since(event))
        if said.holds_rest:
            ask_again(work, people, Scope(), now)
        elif said.blocks in ("all", "all_but_mandatory"):  # also what went without a yes
            ask_again(work, people, replace(scope, purposes=None), now)

    def _note_lift(self, draft: Draft, said: consents.Lift, snapshot: Snapshot) -> None:
        """Write down, in the chain that the block stands in, that it is lifted."""
        rows = snapshot.rows(queries.SUPPRESSED, people=sorted(draft.members))
        event, perceived = draft.perceived.arrival.event, draft.perceived
        for suppression_id, *scope in consents.liftable(rows, said):
            told_apart = perceived.event_key + suppression_id.encode()
            digest = self._vault.fingerprint_bytes("lift", told_apart)
            target, ref, brand, channels, blocks, reason, shown_to = scope[:7]
            perceived.work.append(
                t.suppressions,
                draft.own,
                suppression_id=time_ordered("s", event.received_at, digest),
                target=target,
                ref=ref,
                brand=brand,
                channels=channels,
                blocks=blocks,
                reason=reason,
                shown_to=shown_to,
                until_grant=0,
                holds_rest=0,
                created_at=micros(event.received_at),
                expires_at=None,
                by=said.by,
                lifts=suppression_id,
            )
            draft.lifted.add(suppression_id)
            if target != "person":
                draft.keys.add(keys.point(ref))

    def _note_case(self, draft: Draft, reason: str, snapshot: Snapshot) -> None:
        """Keep a case that somebody else opened, once; a complaint ends marketing on its way."""
        perceived, members = draft.perceived, sorted(draft.members)
        now = perceived.arrival.now
        if (reason,) not in snapshot.rows(queries.OPEN_CASES, people=members):
            at = micros(perceived.arrival.event.time)
            said = {"event": perceived.event_id, "reason": reason}
            sealed = self._vault.seal(draft.own, "erasable", "cases", canonical(said))
            perceived.work.insert(
                t.cases,
                case_id=time_ordered("x", now, perceived.event_key),
                profile_id=draft.own,
                reason=reason,
                kind="case",
                queue=None,
                state="open",
                opened_at=at,
                updated_at=at,
                decision_id="",
                sealed=sealed,
            )
        if consents.is_complaint(reason):
            cancel(perceived.work, members, Scope(purposes=self._terms.marketing), now)

    def _observed(self, draft: Draft, event: Event, snapshot: Snapshot) -> None:
        """Count a contact that somebody else made."""
        channel = consents.observed_channel(event, self._terms)
        kind = self._terms.addresses[channel]
        point = next((p.ref for p in reversed(draft.points) if p.kind == kind), None)
        named = event.properties.get("contact_point")
        if isinstance(named, str) and self._is_address(named):
            point = self._address_ref(named)
        continues = False
        if point is not None:
            draft.perceived.work.move(keys.point(point))
            continues = _is_conversing(snapshot, channel, point, event.time)
        if draft.household is not None:
            draft.perceived.work.move(keys.household(draft.household))
        draft.perceived.work.insert(
            t.contacts,
            contact_id=time_ordered("o", event.time, draft.perceived.event_key),
            profile_id=draft.root_id,
            contact_point=point,
            at=micros(event.time),
            brand=self._terms.brand_of(event),
            channel=channel,
            purpose=consents.observed_purpose(event, self._terms),
            topic=consents.readable(event, "topic"),
            journey=consents.readable(event, "journey"),
            team=consents.readable(event, "team"),
            action="observed",
            action_groups=queries.barred(consents.observed_groups(event)),
            household=draft.household,
            continues=1 if continues else None,
            counted=1,
            state="observed",
        )

    def _address_ref(self, address: str) -> str:
        """The contact point of an address as somebody wrote it."""
        ns = _kind_of(address)
        known = normalise(ns, address, self._terms.region)
        return identifier_ref(self._vault, known or Identifier(ns, address.strip().lower()))

    def _is_address(self, address: str) -> bool:
        return normalise(_kind_of(address), address, self._terms.region) is not None


def _is_conversing(snapshot: Snapshot, channel: str, point: str, at: datetime) -> bool:
    """Whether a conversation is open at a contact point, as caps count them."""
    since = micros(at - CONVERSATION)
    found = snapshot.rows(
        queries.OPENERS, point=point, channel=channel, since=since, until=micros(at)
    )
    return bool(found)


def _kind_of(address: str) -> str:
    return "email" if "@" in address else "phone"
