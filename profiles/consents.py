"""Reads consent, suppression and reachability out of events: what customers and carriers said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from domain.consent import ConsentKind
from domain.errors import InputError
from domain.event import Event
from domain.verdict import Audience
from profiles.terms import Terms

CONSENT_EVENT = "consent_changed"
COMPLAINT_EVENT = "spam_complaint"
BOUNCE_EVENT = "bounced"
SUPPRESSION_EVENT = "suppression_added"
UNREACHABLE_FOR = timedelta(days=180)

_KINDS: Mapping[str, ConsentKind] = {
    "granted": "grant",
    "denied": "denial",
    "objection": "objection",
    "pending": "pending",
}
Target = Literal["address", "domain", "person"]
Blocks = Literal["marketing", "all_but_mandatory", "all"]


@dataclass(frozen=True, slots=True)
class Statement:
    """What one `consent_changed` event says; `address` is the contact point as written, if any."""

    kind: ConsentKind
    brand: str | None
    channel: str | None
    purpose: str | None
    topic: str | None
    address: str | None
    expires_at: datetime | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A suppression that an event asks for; `address` as written, None for the person."""

    target: Target
    address: str | None
    brand: str | None
    channels: tuple[str, ...] | None
    blocks: Blocks
    reason: str
    expires_at: datetime | None
    shown_to: tuple[Audience, ...]


def consent_statement(event: Event, terms: Terms) -> Statement | None:
    """The consent statement in this event, or None.

    A no is obeyed however badly it is put: what it says unclearly (an unknown channel or purpose,
    a malformed topic or address) is taken as all of it. Raises `InputError` where a yes is
    unclear, or where nobody can tell which it is.
    """
    if event.name != CONSENT_EVENT:
        return None
    value = event.properties.get("value")
    kind = _KINDS.get(value.strip().lower()) if isinstance(value, str) else None
    if kind is None:
        raise _invalid(event, "value", "is none that is known", f"use one of {', '.join(_KINDS)}")
    if kind in ("denial", "objection"):
        return _no(event, kind, terms)
    return _yes(event, kind, terms)


def _yes(event: Event, kind: ConsentKind, terms: Terms) -> Statement:
    channel, purpose = _text(event, "channel"), _text(event, "purpose")
    if channel is not None and channel not in terms.addresses:
        known = ", ".join(sorted(terms.addresses))
        raise _invalid(event, "channel", "is none that is declared", f"use one of {known}")
    if purpose is None or channel is None:
        raise _invalid(
            event, "purpose", "or `channel` is missing from a grant", "name what was agreed to"
        )
    return Statement(
        kind=kind,
        brand=_brand(event, terms),
        channel=channel,
        purpose=purpose,
        topic=_text(event, "topic"),
        address=_text(event, "contact_point"),
        expires_at=_instant(event, "expires_at"),
        evidence=_evidence(event),
    )


def _no(event: Event, kind: ConsentKind, terms: Terms) -> Statement:
    channel, purpose = _readable(event, "channel"), _readable(event, "purpose")
    return Statement(
        kind=kind,
        brand=_brand(event, terms),
        channel=channel if channel in terms.addresses else None,
        purpose=purpose if purpose in terms.purposes else None,
        topic=_readable(event, "topic"),
        address=_readable(event, "contact_point"),
        expires_at=None,  # a no never expires
        evidence=_evidence(event),
    )


def _evidence(event: Event) -> dict[str, Any]:
    said = event.properties
    return {key: said[key] for key in ("wording", "source", "contact_point") if key in said}


def _readable(event: Event, key: str) -> str | None:
    """A field of a no, or None where it is missing or says nothing that can be understood."""
    try:
        return _text(event, key)
    except InputError:
        return None


def block(event: Event, terms: Terms) -> Block | None:
    """The suppression in this event, or None: a complaint, or an operator's own."""
    brand = _brand(event, terms)
    if event.name == COMPLAINT_EVENT:
        address = _text(event, "contact_point") or _first(event, "email")
        everyone: tuple[Audience, ...] = get_args(Audience)
        return Block("address", address, brand, None, "marketing", "spam complaint", None, everyone)
    if event.name != SUPPRESSION_EVENT:
        return None
    said = event.properties
    target = said.get("target", "person")
    blocks = said.get("blocks", "marketing")
    shown_to = said.get("shown_to") or list(get_args(Audience))
    if not isinstance(shown_to, list):
        raise _invalid(event, "shown_to", "is no list", 'write it as `["fraud"]`')
    for key, value, known in (
        ("target", target, get_args(Target)),
        ("blocks", blocks, get_args(Blocks)),
        *(("shown_to", audience, get_args(Audience)) for audience in shown_to),
    ):
        if value not in known:
            raise _invalid(event, key, "is none that is known", f"use one of {', '.join(known)}")
    channels = said.get("channels")
    if channels is not None and not isinstance(channels, list):
        raise _invalid(event, "channels", "is no list", 'write it as `["sms"]`')
    return Block(
        target=target,
        address=_text(event, "contact_point"),
        brand=_brand_named(event, terms),
        channels=None if channels is None else tuple(str(channel) for channel in channels),
        blocks=blocks,
        reason=_text(event, "reason") or "suppressed",
        expires_at=_instant(event, "expires_at"),
        shown_to=tuple(shown_to),
    )


def hard_bounce(event: Event) -> str | None:
    """The address that a hard bounce in this event gives up, or None."""
    if event.name != BOUNCE_EVENT or event.properties.get("type") != "hard":
        return None
    return _text(event, "contact_point") or _first(event, "email")


def _brand(event: Event, terms: Terms) -> str:
    brand = event.brand or terms.brand
    if brand not in terms.controllers:
        raise InputError(
            "invalid_field",
            "`$.brand` is one that no controller owns",
            place=event.place,
            remedy=f"use one of {', '.join(sorted(terms.controllers))}, or declare it in "
            "`settings.toml`",
        )
    return brand


def _brand_named(event: Event, terms: Terms) -> str | None:
    """The brand that a suppression is confined to; none where it names none."""
    brand = _text(event, "brand")
    if brand is not None and brand not in terms.controllers:
        raise _invalid(event, "brand", "is one that no controller owns", "declare it, or omit it")
    return brand


def _first(event: Event, ns: str) -> str | None:
    return next((i.value for i in event.identifiers if i.ns == ns), None)


def _text(event: Event, key: str) -> str | None:
    value = event.properties.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > 300:
        raise _invalid(event, key, "is no short text", f"write `{key}` as a string")
    return value.strip()


def _instant(event: Event, key: str) -> datetime | None:
    value = _text(event, key)
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise _invalid(event, key, "is no instant", "write it as RFC 3339 with a zone") from error
    if at.tzinfo is None:
        raise _invalid(event, key, "has no zone", "write it as RFC 3339 with a zone")
    return at


def _invalid(event: Event, key: str, what: str, remedy: str) -> InputError:
    return InputError(
        "invalid_field", f"`$.properties.{key}` {what}", place=event.place, remedy=remedy
    )
