"""How a person is shown: as a page for people, as one object for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

from agents.workspace import Workspace
from domain.canonical import canonical
from domain.consent import ConsentQuestion, answer
from profiles.state import Fragment, Known
from profiles.views import Member, Said, View, view
from service.assemble import assemble_reading
from service.lines import stamp
from service.settings import find_workspace, instant_given, load

Printed = Iterator[str | dict[str, Any]]


def portrait(workspace: Path | None, store: str | None, who: str, *, as_json: bool) -> Printed:
    """One person: identifiers with where each came from, traits, and what was said of consent."""
    found, _, _ = _seen(workspace, store, who, None)
    if as_json:
        yield _json(found)
    else:
        yield from _text(found)


def consent_answers(
    workspace: Path | None, store: str | None, who: str, at: str | None, *, as_json: bool
) -> Printed:
    """What the consent ledger answers now: by brand, channel, address and purpose."""
    found, loaded, now = _seen(workspace, store, who, at)
    lines = [said.line for said in found.said]
    for ask, address in _questions(found, loaded):
        said = answer(lines, ask, now)
        if as_json:
            yield {
                "brand": ask.brand,
                "channel": ask.channel,
                "address": address,
                "purpose": ask.purpose,
                "consent": said.value,
                "by": list(said.by),
            }
        else:
            about = f"{ask.brand} {ask.channel} {ask.purpose}"
            by = f"by {', '.join(said.by)}" if said.by else "nothing was said"
            yield f"{said.value:<12}{about:<32}  {address or 'no address':<32}  {by}"


def _seen(
    workspace: Path | None, store: str | None, who: str, at: str | None
) -> tuple[View, Workspace, datetime]:
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            found = view(snapshot, database.vault, who, loaded.input.region)
        return found, loaded, instant_given(at) or database.clock()
    finally:
        database.close()


def _questions(found: View, loaded: Workspace) -> Iterator[tuple[ConsentQuestion, str | None]]:
    """Every question that a contact with this person could put to the ledger."""
    policies = loaded.policies
    asked = [purpose for purpose in policies.purposes.values() if purpose.model != "exempt"]
    for brand, channel in product(loaded.brands, policies.channels.values()):
        points = found.points(channel.address)
        for purpose, (ref, address) in product(asked, points or ((None, None),)):
            people = tuple(member.profile_id for member in found.members)
            controller = loaded.brands[brand].controller
            yield (
                ConsentQuestion(people, controller, brand, channel.name, purpose.name, None, ref),
                address,
            )


def _json(found: View) -> dict[str, Any]:
    return {
        "profile_id": found.profile_id,
        "fragments": [_member_json(member) for member in found.members],
        "traits": {
            name: {
                "value": trait.value,
                "at": stamp(trait.at),
                "source": trait.source,
                "confidence": trait.confidence,
            }
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
        sure = "" if trait.confidence == 1 else f", {trait.confidence:.0%} sure"
        yield f"  {name:<16}{value:<32}  {_minute(trait.at)}  {trait.source}{sure}"
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
