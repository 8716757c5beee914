"""How a person is shown: as a page for people, as one object for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

from agents.workspace import Workspace
from domain.canonical import canonical
from domain.consent import ConsentAnswer, ConsentQuestion, answer
from profiles.identity import Link, Why
from profiles.state import Fragment, Known
from profiles.views import Member, Ruled, Said, View, view
from service.assemble import assemble_reading, make_identity
from service.lines import Printed, stamp
from service.settings import find_workspace, instant_given, load

WHY: Mapping[Why, str] = {
    "limit": "one person would have too many of a kind",
    "apart": "somebody ruled that these are two people",
    "too many": "too many others bear it",
    "blocked": "the workspace blocks it",
    "refused": "the customer will not be recognised by a device",
}


def portrait(workspace: Path | None, store: str | None, who: str, *, as_json: bool) -> Printed:
    """One person: identifiers with where each came from, who ruled on them, traits, and what was
    said of consent."""
    found, _, _ = _seen(workspace, store, who, None)
    if as_json:
        yield {**portrait_json(found), "rulings": [_ruled_json(one) for one in found.rulings]}
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
        yield answer_json(ask, address, said) if as_json else answer_text(ask, address, said)


def answer_json(ask: ConsentQuestion, address: str | None, said: ConsentAnswer) -> dict[str, Any]:
    """One answer of the ledger as plain data."""
    return {
        "brand": ask.brand,
        "channel": ask.channel,
        "address": address,
        "purpose": ask.purpose,
        "consent": said.value,
        "by": list(said.by),
    }


def answer_text(ask: ConsentQuestion, address: str | None, said: ConsentAnswer) -> str:
    """One answer of the ledger as a line for people."""
    about = f"{ask.brand} {ask.channel} {ask.purpose}" + (f" {ask.topic}" if ask.topic else "")
    by = f"by {', '.join(said.by)}" if said.by else "nothing was said"
    return f"{said.value:<12}{about:<32}  {address or 'no address':<32}  {by}"


def _seen(
    workspace: Path | None, store: str | None, who: str, at: str | None
) -> tuple[View, Workspace, datetime]:
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        with database.read() as snapshot:
            found = view(snapshot, database.vault, who, loaded.input.region, make_identity(loaded))
        return found, loaded, instant_given(at) or database.clock()
    finally:
        database.close()


def _questions(found: View, loaded: Workspace) -> Iterator[tuple[ConsentQuestion, str | None]]:
    """Every question that a contact with this person could put to the ledger."""
    people = tuple(member.profile_id for member in found.members)
    return questions(loaded, people, found.points)


def questions(
    loaded: Workspace,
    people: tuple[str, ...],
    points: Callable[[str], Sequence[tuple[str, str]]],
) -> Iterator[tuple[ConsentQuestion, str | None]]:
    """Every question that a contact could put to the ledger, and the address it is about.

    Args:
        people: the person's fragments.
        points: the contact points of one kind, by fingerprint and address.
    """
    policies = loaded.policies
    asked = [purpose for purpose in policies.purposes.values() if purpose.model != "exempt"]
    for brand, channel in product(loaded.brands, policies.channels.values()):
        for purpose, (ref, address) in product(asked, points(channel.address) or ((None, None),)):
            controller = loaded.brands[brand].controller
            yield (
                ConsentQuestion(people, controller, brand, channel.name, purpose.name, None, ref),
                address,
            )


def portrait_json(found: View) -> dict[str, Any]:
    """One person as plain data, without what colleagues ruled and wrote."""
    return {
        "profile_id": found.profile_id,
        "fragments": [_member_json(member, found) for member in found.members],
        "links": [_link_json(link, found) for link in found.links],
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


def _link_json(link: Link, found: View) -> dict[str, Any]:
    known = found.known[link.ref]
    return {
        "ns": known.ns,
        "value": known.value,
        "fragments": list(link.holders),
        "left": list(link.left),
        "joins": not link.why,
        "why_not": link.why or None,
    }


def _ruled_json(ruled: Ruled) -> dict[str, Any]:
    return {
        "ruling": ruled.ruling,
        "fragments": [ruled.one, ruled.other],
        "at": stamp(ruled.at),
        "by": ruled.by,
        "reason": ruled.reason,
    }


def _member_json(member: Member, found: View) -> dict[str, Any]:
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
                "shared": known.identifier in found.shared,
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
            yield f"  {_known_text(known, found)}"
    if found.links:
        yield "joined by"
    ids = [member.profile_id for member in found.members]
    for link in found.links:
        if not link.why or link.parts([ids]):
            yield f"  {_link_text(link, found)}"
    if found.rulings:
        yield "rulings"
    for ruled in found.rulings:
        yield f"  {_ruled_text(ruled)}"
    if found.whole.traits:
        yield "traits"
    for name, trait in sorted(found.whole.traits.items()):
        value = canonical(trait.value).decode()
        sure = "" if trait.confidence == 1 else f", {trait.confidence:.0%} sure"
        named = canonical(name).decode()[1:-1]  # a name may hold a line's end
        yield f"  {named:<16}{value:<32}  {_minute(trait.at)}  {trait.source}{sure}"
    if found.said:
        yield "consents"
    for said in found.said:
        yield f"  {_said_text(said)}"


def _link_text(link: Link, found: View) -> str:
    known = found.known[link.ref]
    says = f"no: {WHY[link.why]}" if link.why else "yes"
    left = f", but for {', '.join(link.left)}, from before" if link.left else ""
    return f"{known.ns:<16}{known.value:<32}  {says}{left}  ({', '.join(link.holders)})"


def _ruled_text(ruled: Ruled) -> str:
    pair = f"{ruled.one} and {ruled.other}"
    why = ruled.reason or "no reason"
    return f"{ruled.ruling:<16}{pair:<32}  {_minute(ruled.at)}  {ruled.by}: {why}"


def _known_text(known: Known, found: View) -> str:
    shared = ", also used by others" if known.identifier in found.shared else ""
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
