"""How a person is shown: as a page for people, as one object for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.canonical import canonical
from profiles.state import Fragment, Known
from profiles.views import Member, Said, View, view
from service.assemble import assemble_reading
from service.lines import stamp
from service.settings import find_workspace, load


def portrait(
    workspace: Path | None, store: str | None, who: str, *, as_json: bool
) -> Iterator[str | dict[str, Any]]:
    """One person: identifiers with where each came from, traits, and what was said of consent."""
    region = load(find_workspace(workspace)).input.region
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            found = view(snapshot, database.vault, who, region)
    finally:
        database.close()
    if as_json:
        yield _json(found)
    else:
        yield from _text(found)


def _json(found: View) -> dict[str, Any]:
    return {
        "profile_id": found.profile_id,
        "fragments": [_member_json(member) for member in found.members],
        "traits": {
            name: {"value": trait.value, "at": stamp(trait.at), "source": trait.source}
            for name, trait in sorted(found.whole.traits.items())
        },
        "consents": [_said_json(said) for said in found.said],
    }


def _member_json(member: Member) -> dict[str, Any]:
    fragment = member.fragment or Fragment()
    return {
        "profile_id": member.profile_id,
        "created_at": stamp(member.created_at),
        "updated_at": stamp(member.updated_at),
        "erased": member.fragment is None,
        "events": fragment.events,
        "identifiers": [
            {
                "ns": known.ns,
                "value": known.value,
                "since": stamp(known.since),
                "source": known.source,
                "shared": known.shared,
            }
            for known in fragment.identifiers
        ],
    }


def _said_json(said: Said) -> dict[str, Any]:
    line = said.line
    return {
        "consent_id": line.ref,
        "kind": line.kind,
        "profile_id": line.profile_id,
        "controller": line.controller,
        "brand": line.brand,
        "channel": line.channel,
        "purpose": line.purpose,
        "topic": line.topic,
        "address": said.address,
        "occurred_at": stamp(line.occurred_at),
        "received_at": stamp(line.received_at),
        "expires_at": stamp(line.expires_at),
        "source": line.source,
    }


def _text(found: View) -> Iterator[str]:
    for member in found.members:
        joined = "" if member.profile_id == found.profile_id else "merged: "
        fragment = member.fragment
        events = "erased" if fragment is None else f"{fragment.events} events"
        yield f"{joined}{member.profile_id}  since {_minute(member.created_at)}, {events}"
        for known in () if fragment is None else fragment.identifiers:
            yield f"  {_known_text(known)}"
    if found.whole.traits:
        yield "traits"
    for name, trait in sorted(found.whole.traits.items()):
        value = canonical(trait.value).decode()
        yield f"  {name:<16}{value:<32}  {_minute(trait.at)}  {trait.source}"
    if found.said:
        yield "consents"
    for said in found.said:
        yield f"  {_said_text(said)}"


def _known_text(known: Known) -> str:
    shared = ", also used by others" if known.shared else ""
    return f"{known.ns:<16}{known.value:<32}  {_minute(known.since)}  {known.source}{shared}"


def _said_text(said: Said) -> str:
    line = said.line
    scope = [line.brand, line.channel, line.purpose, line.topic]
    about = " ".join(part for part in scope if part is not None) or f"all of {line.controller}"
    until = "" if line.expires_at is None else f", until {_minute(line.expires_at)}"
    address = said.address or ("an address of others" if line.contact_point else "every address")
    return (
        f"{line.kind:<16}{about:<32}  {_minute(line.occurred_at)}  {address}  {line.source}{until}"
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
