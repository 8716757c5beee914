"""Keyed fingerprints of events and identifiers: equal things are found, and nothing is told."""

from __future__ import annotations

from typing import Any

from domain.canonical import canonical
from domain.context import BEGINS_ANEW, Pass
from domain.event import Event, Identifier
from store.ids import by_content
from store.vault import Vault


def event_key(vault: Vault, event: Event) -> bytes:
    """The keyed fingerprint of (source, id); without an id, of the content and the ordinal."""
    if event.id is not None:
        return vault.fingerprint_bytes("event", canonical([event.source, event.id]))
    return vault.fingerprint_bytes("event without id", canonical([*unkeyed(event), event.ordinal]))


def unkeyed(event: Event) -> list[Any]:
    """All that tells events without an id apart, but which of several equal ones each is."""
    return [event.source, event.kind, event.name, event.occurred_at, _content(event)]


def pass_print(vault: Vault, event_key: bytes, asked: Pass) -> bytes:
    """What tells one pass over an event from any other: the source of its ids and its seed."""
    told_apart = [event_key, asked.kind, asked.n, asked.parent_id]
    if asked.kind in BEGINS_ANEW:  # one event may begin several
        told_apart.append(asked.journey)
    return vault.fingerprint_bytes("pass", canonical(told_apart))


def event_id(event: Event, key: bytes) -> str:
    """How people and programs name the event: `source/id`, or `source/` and its key."""
    return f"{event.source}/{event.id if event.id is not None else '~' + key.hex()}"


def content_print(vault: Vault, event: Event) -> bytes:
    """The keyed fingerprint of all that the producer said, to tell a repeat from a reused id."""
    return vault.fingerprint_bytes(
        "content", canonical([event.kind, event.name, event.occurred_at, _content(event)])
    )


def identifier_ref(vault: Vault, identifier: Identifier, session: int = 0) -> str:
    """The keyed fingerprint that an identifier is looked up by.

    Args:
        session: how often somebody has logged out on the device that it names.
    """
    if session == 0:
        return vault.fingerprint("identifier", identifier.ns, identifier.value)
    return vault.fingerprint("identifier", identifier.ns, identifier.value, str(session))


def fragment_id(vault: Vault, anchor: str, slot: int, generation: int) -> str:
    """The name of the fragment under an anchor: the same, whichever of its events came first.

    Args:
        anchor: the anchor's fingerprint.
        slot: which of the anchor's fragments it is.
        generation: how often such a fragment was erased before.
    """
    told_apart = canonical([anchor, slot, generation])
    return by_content("p", vault.fingerprint_bytes("fragment", told_apart))


def _content(event: Event) -> list[Any]:
    said = [sorted(event.identifiers), event.properties, event.traits, event.brand]
    return [*said, event.preferences] if event.preferences else said


def household_ref(vault: Vault, name: Any) -> str | None:
    """The keyed fingerprint of what a household is called; None where that is no text or number."""
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        return None
    return vault.fingerprint("household", str(name).strip())


def domain_ref(vault: Vault, address: str) -> str:
    """The keyed fingerprint of a domain, or of the one an e-mail address belongs to."""
    return vault.fingerprint("domain", address.rpartition("@")[2])
