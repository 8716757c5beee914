"""Reads consent, suppression and reachability out of events: what customers and carriers said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from domain.consent import RESTRICTING, ConsentKind
from domain.context import Blocks
from domain.errors import InputError
from domain.event import Event
from domain.verdict import Audience
from profiles.bounces import ReachKind
from profiles.terms import Terms

CONSENT_EVENT = "consent_changed"
COMPLAINT_EVENT = "spam_complaint"
BOUNCE_EVENT = "bounced"
SUPPRESSION_EVENT = "suppression_added"
LIFTED_EVENT = "suppression_lifted"
DO_NOT_CONTACT_EVENT = "do_not_contact"
DECEASED_EVENT = "customer_deceased"
FRAUD_REVIEW_EVENT = "fraud_review_opened"
FRAUD_CLEARED_EVENT = "fraud_review_closed"
CASE_OPENED_EVENT = "case_opened"
MESSAGE_EVENT = "message_received"
UNSUBSCRIBED_EVENT = "unsubscribed"
DELIVERED_EVENT = "message_delivered"
VERIFIED_EVENT = "address_verified"
REASSIGNED_EVENT = "address_reassigned"
OBSERVED_EVENT = "contact_observed"
GROUPS_MAX = 8

_KINDS: Mapping[str, ConsentKind] = {
    "granted": "grant",
    "denied": "denial",
    "objection": "objection",
    "pending": "pending",
    "suspicion": "suspicion",
}
# What lists of other systems call a no. There are no such words for a yes.
_NOES = frozenset(
    (
        "denial",
        "deny",
        "false",
        "no",
        "opt out",
        "opted out",
        "optout",
        "refused",
        "revoked",
        "unsubscribe",
        "unsubscribed",
        "withdrawn",
    )
)
_REACHED: Mapping[tuple[str, str], ReachKind] = {
    (BOUNCE_EVENT, "hard"): "hard",
    (BOUNCE_EVENT, "soft"): "soft",
    (DELIVERED_EVENT, ""): "delivered",
    (VERIFIED_EVENT, ""): "verified",
}
Target = Literal["address", "domain", "person"]
FRAUD_REVIEW = "fraud review"
SPAM_COMPLAINT = "spam complaint"
COMPLAINT = "complaint"
"""The reason of a case that is a complaint, alone or before an underscore and more."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that an event says; `address` is the contact point as written, if any.

    `lasting` says that a state is told, again and again: it is written down only where it changes
    what was last said. `by_word` says that a message ended messages. `said_at` is when it was
    said, where that is not the event's own time.
    """

    kind: ConsentKind
    brand: str | None
    channel: str | None
    purpose: str | None
    topic: str | None
    address: str | None
    expires_at: datetime | None
    evidence: Mapping[str, Any]
    lasting: bool = False
    by_word: bool = False
    said_at: datetime | None = None


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
    holds_rest: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Lift:
    """What is blocked no more: one suppression by its id, or those of a reason."""

    suppression_id: str | None
    reason: str | None
    by: str | None


def consent_statement(event: Event, terms: Terms) -> Statement | None:
    """The consent statement in this event, or None.

    A no is obeyed however badly it is put: what it says unclearly (an unknown channel or purpose,
    a malformed topic or address) is taken as all of it. Raises `InputError` where a yes is
    unclear, or where nobody can tell which it is.
    """
    if event.name != CONSENT_EVENT:
        return None
    kind = kind_said(event)
    if kind is None:
        raise _invalid(event, "value", "is none that is known", f"use one of {', '.join(_KINDS)}")
    if kind in RESTRICTING:
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
    imported = kind == "grant" and event.properties.get("bulk") is True
    return Statement(
        kind="imported" if imported else kind,
        brand=_brand(event, terms),
        channel=channel,
        purpose=purpose,
        topic=_text(event, "topic"),
        address=_text(event, "contact_point"),
        expires_at=_instant(event, "expires_at"),
        evidence=evidence(event),
    )


def _no(event: Event, kind: ConsentKind, terms: Terms) -> Statement:
    channel, purpose = readable(event, "channel"), readable(event, "purpose")
    channel = channel.lower() if channel else None
    return Statement(
        kind=kind,
        brand=brand_of_no(event, terms),
        channel=channel if channel in terms.addresses else None,
        purpose=purpose if purpose in terms.purposes else None,
        topic=readable(event, "topic"),
        address=readable(event, "contact_point"),
        expires_at=None,  # a no never expires
        evidence=evidence(event),
    )


def lapse(event: Event) -> Statement | None:
    """What this event says of an address that somebody else has now, or None.

    Raises `InputError` where it does not say which.
    """
    if event.name != REASSIGNED_EVENT:
        return None
    address = _text(event, "contact_point")
    if address is None:
        raise _invalid(event, "contact_point", "is missing", "say which address changed hands")
    return Statement(
        kind="lapse",
        brand=None,
        channel=None,
        purpose=None,
        topic=None,
        address=address,
        expires_at=None,
        evidence=evidence(event),
    )


def evidence(event: Event) -> dict[str, Any]:
    """What the event gives to show for what it says."""
    said = event.properties
    return {
        key: said[key]
        for key in ("wording", "source", "contact_point", "reason", "by")
        if key in said
    }


def readable(event: Event, key: str) -> str | None:
    """A field of a no, or None where it is missing or says nothing that can be understood."""
    try:
        return _text(event, key)
    except InputError:
        return None


_RESTRICTING_EVENTS = frozenset(
    (
        COMPLAINT_EVENT,
        SUPPRESSION_EVENT,
        BOUNCE_EVENT,
        DO_NOT_CONTACT_EVENT,
        DECEASED_EVENT,
        FRAUD_REVIEW_EVENT,
    )
)


def restricts(event: Event) -> bool:
    """Whether this event says no, complains, blocks or bounces: what must not be lost with it."""
    if event.name in _RESTRICTING_EVENTS:
        return True
    return event.name == CONSENT_EVENT and kind_said(event) in RESTRICTING


def kind_said(event: Event) -> ConsentKind | None:
    """What a `consent_changed` says, or None where nobody can tell."""
    value = event.properties.get("value")
    if value is False:
        return "denial"
    word = re.sub(r"[\s_-]+", " ", value.strip().lower()) if isinstance(value, str) else ""
    return "denial" if word in _NOES else _KINDS.get(word)


def block(event: Event, terms: Terms) -> Block | None:
    """The suppression in this event, or None: what happened, or an operator's own.

    A complaint that names no address, and comes from none, blocks the person. Who has died hears
    no marketing of anybody, and the rest is for a person to decide.
    """
    everyone: tuple[Audience, ...] = get_args(Audience)
    by = readable(event, "by")
    if event.name == DO_NOT_CONTACT_EVENT:
        return Block(
            "person", None, None, None, "all_but_mandatory", "do not contact", None, everyone, by=by
        )
    if event.name == DECEASED_EVENT:
        return Block("person", None, None, None, "marketing", "deceased", None, everyone, True, by)
    if event.name == FRAUD_REVIEW_EVENT:
        brand = brand_of_no(event, terms)
        blocks: Blocks = "offers_and_marketing"
        return Block("person", None, brand, None, blocks, FRAUD_REVIEW, None, ("fraud",), by=by)
    if event.name == COMPLAINT_EVENT:
        address = readable(event, "contact_point") or first(event, "email")
        target: Target = "person" if address is None else "address"
        brand = brand_of_no(event, terms)
        return Block(target, address, brand, None, "marketing", SPAM_COMPLAINT, None, everyone)
    return _suppression(event, terms) if event.name == SUPPRESSION_EVENT else None


def _suppression(event: Event, terms: Terms) -> Block:
    said = event.properties
    target = said.get("target", "person")
    blocks = said.get("blocks", "marketing")
    shown_to = _list(event, "shown_to") or list(get_args(Audience))
    channels = _list(event, "channels")
    for key, value, known in (
        ("target", target, get_args(Target)),
        ("blocks", blocks, get_args(Blocks)),
        *(("shown_to", audience, get_args(Audience)) for audience in shown_to),
        *(("channels", channel, tuple(terms.addresses)) for channel in channels or ()),
    ):
        if value not in known:
            raise _invalid(event, key, "is none that is known", f"use one of {', '.join(known)}")
    address = _text(event, "contact_point")
    if target == "domain" and address is not None:
        address = address.rpartition("@")[2].lower().strip(".")
    if target != "person" and not address:
        raise _invalid(event, "contact_point", "is missing", f"say which {target} to block")
    brand = _text(event, "brand")
    if brand is not None and brand not in terms.controllers:
        raise _invalid(event, "brand", "is one that no controller owns", "declare it, or omit it")
    return Block(
        target=target,
        address=address,
        brand=brand,
        channels=None if channels is None else tuple(channels),
        blocks=blocks,
        reason=_text(event, "reason") or "suppressed",
        expires_at=_instant(event, "expires_at"),
        shown_to=tuple(shown_to),
        by=readable(event, "by"),
    )


def lift(event: Event) -> Lift | None:
    """What this event says is blocked no more, or None."""
    by = readable(event, "by")
    if event.name == FRAUD_CLEARED_EVENT:
        return Lift(None, FRAUD_REVIEW, by)
    if event.name != LIFTED_EVENT:
        return None
    named = _text(event, "suppression_id")
    if named is None:
        raise _invalid(event, "suppression_id", "is missing", "say which suppression to lift")
    return Lift(named, None, by)


def liftable(rows: Sequence[Sequence[Any]], said: Lift) -> list[Sequence[Any]]:
    """The suppressions that are meant, still stand, and that an operator may lift.

    A spam complaint never ends, and the block of somebody who was erased by the person's own grant.

    Args:
        rows: as `queries.SUPPRESSED` gives them.
    """
    lifted = {row[-1] for row in rows}
    return [
        row
        for row in rows
        if (row[0] == said.suppression_id or row[6] == said.reason)
        and row[0] not in lifted
        and row[-1] is None
        and not row[-2]
        and row[6] != SPAM_COMPLAINT
    ]


def opened_case(event: Event) -> str | None:
    """The reason of a case that somebody else opened, or None."""
    if event.name != CASE_OPENED_EVENT:
        return None
    return (_text(event, "reason") or "other").lower()


def is_complaint(reason: str) -> bool:
    """Whether a case of this reason is a complaint."""
    return reason == COMPLAINT or reason.startswith(f"{COMPLAINT}_")


def reached(event: Event) -> tuple[ReachKind, str] | None:
    """What this event shows about whether an address works, and which; None where nothing.

    Raises `InputError` where it does and names no address.
    """
    kind = _REACHED.get((event.name, str(event.properties.get("type")).strip().lower()))
    kind = kind or _REACHED.get((event.name, ""))
    if kind is None:
        return None
    address = readable(event, "contact_point")
    address = address or first(event, "email") or first(event, "phone")
    if address is None:
        raise _invalid(event, "contact_point", "is missing", "say which address it is about")
    return kind, address


def observed_channel(event: Event, terms: Terms) -> str:
    """The channel of a contact made elsewhere. Raises `InputError` where it is none of ours."""
    channel = (_text(event, "channel") or "").lower()
    if channel not in terms.addresses:
        known = ", ".join(sorted(terms.addresses))
        raise _invalid(event, "channel", "is none that is declared", f"use one of {known}")
    return channel


def observed_purpose(event: Event, terms: Terms) -> str:
    """The purpose of a contact made elsewhere; an unclear one counts as marketing."""
    purpose = (readable(event, "purpose") or "").lower()
    return purpose if purpose in terms.purposes else terms.promotion


def observed_groups(event: Event) -> tuple[str, ...]:
    """The groups of actions that a contact made elsewhere says it is of."""
    said = event.properties.get("groups")
    named = said if isinstance(said, list) else [said]
    groups = {one.strip().lower() for one in named if isinstance(one, str) and _plain(one)}
    kept = sorted(one for one in groups if 0 < len(one) <= 64 and "|" not in one)
    return tuple(kept[:GROUPS_MAX])


def undelivered(event: Event) -> str | None:
    """The decision whose message a bounce is about, where it says so."""
    return readable(event, "decision_id") if event.name == BOUNCE_EVENT else None


def _brand(event: Event, terms: Terms) -> str:
    """The brand that a yes is for: the statement's own, else the event's."""
    brand = _text(event, "brand") or event.brand or terms.brand
    if brand not in terms.controllers:
        raise _invalid(
            event,
            "brand",
            "is one that no controller owns",
            f"use one of {', '.join(sorted(terms.controllers))}, or declare it in `settings.toml`",
        )
    return brand


def brand_of_no(event: Event, terms: Terms, reached: str | None = None) -> str | None:
    """The brand that a no is to; None, which is all of them, where it says two or none we know.

    Args:
        reached: the brand whose own address or number the no was sent to, if any.
    """
    named = {readable(event, "brand"), event.brand, reached} - {None} or {terms.brand}
    (brand, *others) = sorted(str(name) for name in named)
    return brand if not others and brand in terms.controllers else None


def _list(event: Event, key: str) -> list[Any] | None:
    value = event.properties.get(key)
    if value is not None and not isinstance(value, list):
        raise _invalid(event, key, "is no list", f"write `{key}` as a list of names")
    return value


def first(event: Event, ns: str) -> str | None:
    """The event's first identifier of a namespace."""
    return next((i.value for i in event.identifiers if i.ns == ns), None)


def _text(event: Event, key: str) -> str | None:
    value = event.properties.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > 300 or not _plain(value):
        raise _invalid(event, key, "is no short text", f"write `{key}` as a string")
    return value.strip()


def _instant(event: Event, key: str) -> datetime | None:
    value = _text(event, key)
    if value is None:
        return None
    try:
        written = datetime.fromisoformat(value)
        at = written.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(event, key, "is no instant", "write it as RFC 3339 with a zone") from error
    if written.tzinfo is None or not 1970 <= at.year <= 9998:
        raise _invalid(event, key, "has no zone, or no year we know", "write it as RFC 3339")
    return at


def _plain(text: str) -> bool:
    """Whether a terminal would print it and do nothing else."""
    return text.strip().isprintable()


def _invalid(event: Event, key: str, what: str, remedy: str) -> InputError:
    return InputError(
        "invalid_field", f"`$.properties.{key}` {what}", place=event.place, remedy=remedy
    )
