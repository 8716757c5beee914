"""Hands out the consent ledger as records after ISO/IEC TS 27560:2023.

The specification settles which fields a record has, not their encoding: its header (6.3.3) and its
sections on processing (6.3.4), PII (6.3.5), parties (6.3.6) and events (6.3.7). Field names are
those of its tables, as the W3C community group's guide to it lists them
(https://w3id.org/dpv/guides/consent-27560); what is ours begins with `x_`. A record is about one
question (person, controller, brand, channel, purpose, topic, address), and its events are the
ledger's lines on it, in order of receipt. `docs/consent.md` is the schema that 6.3.2.1 asks for,
and says what is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from agents.workspace import Workspace
from domain.canonical import canonical, parse
from domain.consent import Consent, ConsentKind
from profiles import queries
from profiles.identifying import known_ref
from profiles.state import Known, opened
from profiles.views import find_root
from service.assemble import assemble_reading, make_identity
from service.lines import stamp
from service.settings import find_workspace, load
from store import tables as t
from store.database import Snapshot
from store.ids import by_content
from store.statements import Statement
from store.vault import Vault

SCHEMA_VERSION = "urn:safeconduct:consent-record:1"
PEOPLE_MAX = 200
"""How many people's lines are in memory at a time."""

_PEOPLE = Statement(
    select(t.profiles.c.root_id)
    .where(t.profiles.c.root_id > bindparam("after"))
    .group_by(t.profiles.c.root_id)
    .order_by(t.profiles.c.root_id)
    .limit(bindparam("most"))
)
_LINES = Statement(
    select(
        t.consents.c.kind,
        t.consents.c.profile_id,
        t.consents.c.controller,
        t.consents.c.brand,
        t.consents.c.channel,
        t.consents.c.purpose,
        t.consents.c.topic,
        t.consents.c.contact_point,
        t.consents.c.occurred_at,
        t.consents.c.received_at,
        t.consents.c.expires_at,
        t.consents.c.source,
        t.consents.c.consent_id,
        t.consents.c.sealed,
    )
    .where(t.consents.c.profile_id.in_(bindparam("people", expanding=True)))
    .order_by(t.consents.c.received_at, t.consents.c.consent_id)
)
_STATES: Mapping[ConsentKind, str] = {
    "grant": "consent given",
    "imported": "consent given",
    "pending": "consent requested",
    "denial": "consent refused or withdrawn",
    "objection": "objection",
    "suspicion": "consent unknown",
    "lapse": "consent invalidated",
}
_TYPES: Mapping[ConsentKind, str] = {
    "grant": "expressed consent",
    "imported": "expressed consent, imported from another system",
    "pending": "expressed consent",
    "denial": "expressed consent",
    "objection": "objection",
    "suspicion": "not determined",
    "lapse": "change of the contact point's user",
}
_KEPT_ADDRESS = ("contact_point", "from")

Record = dict[str, Any]


def exported(
    workspace: Path | None, store: str | None, who: str | None, *, json_lines: bool
) -> Iterator[str]:
    """Everybody's records, or one person's, as one JSON array or as a line each."""
    found = records(workspace, store, who)
    if json_lines:
        yield from (json.dumps(record, ensure_ascii=False) for record in found)
        return
    begun = False
    for record in found:
        yield ("," if begun else "[") + json.dumps(record, ensure_ascii=False, indent=1)
        begun = True
    yield "]" if begun else "[]"


def records(workspace: Path | None, store: str | None, who: str | None) -> Iterator[Record]:
    """Everybody's records, person by person, or one person's. Raises `UsageError`."""
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            writer = _Writer(snapshot, database.vault, loaded)
            if who is None:
                yield from writer.everybody()
                return
            rules, region = make_identity(loaded), loaded.input.region
            yield from writer.of([find_root(snapshot, database.vault, who, region, rules)])
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the ledger, and what it was given as evidence; None where its key is gone."""

    said: Consent
    evidence: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Writer:
    """Makes records of what one reading transaction sees."""

    snapshot: Snapshot
    vault: Vault
    workspace: Workspace

    def everybody(self) -> Iterator[Record]:
        """Every person's records, some hundred people at a time."""
        after = ""
        while roots := [
            root for (root,) in self.snapshot.rows(_PEOPLE, after=after, most=PEOPLE_MAX)
        ]:
            yield from self.of(roots)
            after = roots[-1]

    def of(self, roots: Sequence[str]) -> Iterator[Record]:
        """The records of some people, one person after another."""
        fragments = self.snapshot.rows(queries.FRAGMENTS, roots=list(roots))
        root_of = {profile_id: root for profile_id, root, *_ in fragments}
        known: dict[str, dict[str, Known]] = {root: {} for root in roots}
        for profile_id, root, _, _, sealed, wrapped, _ in fragments:
            fragment = opened(self.vault, profile_id, sealed, wrapped)
            if fragment is not None:
                known[root] |= {known_ref(self.vault, one): one for one in fragment.identifiers}
        asked: dict[str, dict[tuple[str | None, ...], list[_Line]]] = {root: {} for root in roots}
        for line in self._lines(sorted(root_of)):
            of_person = asked[root_of[line.said.profile_id]]
            of_person.setdefault(_scope(line.said), []).append(line)
        for root in roots:
            for scope, lines in sorted(asked[root].items(), key=lambda one: canonical(one[0])):
                yield self._record(root, scope, lines, known[root])

    def _lines(self, people: Sequence[str]) -> Iterator[_Line]:
        for profile_id, wrapped in self.snapshot.rows(queries.EVIDENCE_KEYS, people=list(people)):
            self.vault.unwrap(profile_id, "evidence", wrapped)
        for *row, sealed in self.snapshot.rows(_LINES, people=list(people)):
            said = queries.consent_line(tuple(row))
            data = self.vault.open_kept(said.profile_id, "evidence", "consents", sealed)
            yield _Line(said, None if data is None else parse(data))

    def _record(
        self,
        root: str,
        scope: tuple[str | None, ...],
        lines: Sequence[_Line],
        known: Mapping[str, Known],
    ) -> Record:
        line = lines[-1].said
        address = known.get(line.contact_point or "")
        digest = self.vault.fingerprint_bytes("consent record", canonical([root, scope]))
        return {
            "schema_version": SCHEMA_VERSION,
            "record_id": by_content("r", digest),
            "pii_principal_id": root,
            "pii_processing": self._processing(line, lines if known else (), address),
            "party_identification": [self._controller(line.controller)],
            "events": [_event(one, root, bool(known)) for one in lines],
            "x_scope": {
                "brand": line.brand,
                "channel": line.channel,
                "topic": line.topic,
                "contact_point": line.contact_point,
                "address": None if address is None else address.value,
            },
        }

    def _processing(
        self, line: Consent, lines: Iterable[_Line], address: Known | None
    ) -> dict[str, Any]:
        purpose = self.workspace.policies.purposes.get(line.purpose or "")
        channel = self.workspace.policies.channels.get(line.channel or "")
        kind = address.ns if address is not None else channel.address if channel else None
        basis = None if purpose is None else purpose.legal_basis
        if purpose is not None and purpose.model == "opt_in":
            basis = basis or "consent"
        wordings = [one.evidence.get("wording") for one in lines if one.evidence]
        return {
            "privacy_notice": next((one for one in reversed(wordings) if one), None),
            "language": "und",
            "purposes": [
                {
                    "purpose": line.purpose,
                    "purpose_type": None if purpose is None else purpose.title,
                    "lawful_basis": basis,
                    "pii_information": [{"pii_type": kind, "pii_attribute_id": line.contact_point}],
                    "pii_controllers": [line.controller],
                    "collection_method": line.source,
                    "storage_locations": [],
                    "retention_period": _duration(self.workspace.retention.evidence),
                    "jurisdiction": None,
                    "withdrawal_method": "any message, page or request that says no",
                }
            ],
        }

    def _controller(self, controller: str) -> dict[str, Any]:
        brands = self.workspace.brands.values()
        titles = [brand.title for brand in brands if brand.controller == controller]
        return {
            "party_id": controller,
            "party_name": ", ".join(titles) or controller,
            "party_role": "PII controller",
        }


def _scope(line: Consent) -> tuple[str | None, ...]:
    """The question that a line is about, of one person."""
    return (
        line.controller,
        line.brand,
        line.channel,
        line.purpose,
        line.topic,
        line.contact_point,
    )


def _event(line: _Line, root: str, is_known: bool) -> dict[str, Any]:
    """One line. Of somebody who was erased, no word that was written down is handed out."""
    said, evidence = line.said, line.evidence or {}
    lasts = None if said.expires_at is None else _duration(said.expires_at - said.occurred_at)
    shown = {k: v for k, v in evidence.items() if k not in _KEPT_ADDRESS} if is_known else {}
    return {
        "event_time": stamp(said.occurred_at),
        "validity_duration": lasts,
        "entity_id": evidence.get("by") or root,
        "event_type": _TYPES[said.kind],
        "event_state": _STATES[said.kind],
        "x_consent_id": said.ref,
        "x_received_at": stamp(said.received_at),
        "x_source": said.source,
        "x_evidence": shown,
    }


def _duration(span: timedelta) -> str:
    """A span of time after ISO 8601, in whole seconds: `P30D`, `PT90S`."""
    days, seconds = max(span, timedelta(0)).days, max(span, timedelta(0)).seconds
    if days and not seconds:
        return f"P{days}D"
    return f"P{days}DT{seconds}S" if days else f"PT{seconds}S"
