"""Reads preferences that other systems send with every event: Segment's, Adobe's, and GPC.

They are states, told again and again: each is written down only where it changes something. A no
is taken as widely as it may be meant, a yes as narrowly: a yes that names no channel we have, or a
legitimate interest, grants nothing. Sources: Segment, "Consent in Segment Connect"
(`context.consent.categoryPreferences`); Adobe, "Consents and Preferences" field group; the W3C's
"Global Privacy Control" (`Sec-GPC: 1`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.consent import PERMISSIONS, ConsentKind
from domain.event import Event
from profiles import consents
from profiles.consents import Statement
from profiles.terms import Terms

GPC_DENIES = ("sale_share", "targeted_ads")
_XDM: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "collect": (("profile", "analytics"), ("analytics",)),
    "share": (("sale_share",), ("sale_share",)),
    "adID": (("targeted_ads",), ()),
    "personalize": (("personalise",), ("personalise",)),
}
"""What each of Adobe's permissions denies with a no, and grants with a yes."""
_XDM_CHANNELS: Mapping[str, str] = {
    "email": "email",
    "sms": "sms",
    "push": "push",
    "whatsApp": "whatsapp",
    "call": "voice",
    "phone": "voice",
    "fax": "fax",
    "postalMail": "postal_mail",
    "inApp": "in_app",
}
_XDM_KINDS: Mapping[str, ConsentKind] = {
    "y": "grant",
    "n": "denial",
    "dn": "denial",
    "p": "pending",
}


_NO_WORDS = frozenset(("false", "no", "n", "0", "denied", "off"))


@dataclass(frozen=True, slots=True)
class _Choices:
    """Adobe's choices: of the person, or of one identifier (`idSpecific`), written as `address`."""

    given: Mapping[str, Any]
    ns: str | None = None
    address: str | None = None

    @property
    def of_person(self) -> bool:
        return self.ns is None

    def at(self, channel: str | None, terms: Terms) -> str | None:
        """The address that a choice about a channel holds at; None where it is not of its kind."""
        kind = self.ns if channel is None else terms.addresses.get(channel)
        return self.address if self.ns in ("email", "phone") and kind == self.ns else None


def preferences(event: Event, terms: Terms) -> Iterator[Statement]:
    """Every statement in the preferences that ride on this event."""
    given = event.preferences
    if given.get("gpc") is True or event.properties.get("gpc") is True:
        for purpose in GPC_DENIES:
            yield _statement(event, terms, "denial", "gpc", purpose=purpose)
    if given:  # as with few events: nothing is looked for where nothing is
        yield from _categories(event, terms)
        for choices in _choices(_mapping(given.get("consents"))):
            yield from _permissions(event, terms, choices)
            yield from _marketing(event, terms, choices)


def _choices(given: Mapping[str, Any]) -> Iterator[_Choices]:
    yield _Choices(given)
    for ns, entries in _mapping(given.get("idSpecific")).items():
        for address, said in _mapping(entries).items():
            own = {"metadata": given.get("metadata"), **_mapping(said)}
            yield _Choices(own, str(ns).lower(), str(address))


def _categories(event: Event, terms: Terms) -> Iterator[Statement]:
    """Segment's categories, as the workspace maps them; others are unset."""
    given = event.preferences.get("categories") or {}
    for name, value in given.items():
        category = terms.categories.get(name)
        if category is None or not (value is True or _is_no(value)):
            continue
        kind: ConsentKind = "grant" if value is True else "denial"
        channel, purpose = category.channel, category.purpose
        if kind == "denial" or channel is not None or purpose in PERMISSIONS:
            yield _statement(
                event, terms, kind, f"category {name}", channel=channel, purpose=purpose
            )


def _is_no(value: Any) -> bool:
    """Whether a value is a no, also where its type was lost on the way."""
    return value is False or str(value).strip().lower() in _NO_WORDS


def _permissions(event: Event, terms: Terms, choices: _Choices) -> Iterator[Statement]:
    """Adobe's permissions; what is said of one identifier only may deny, and denies for all."""
    given = choices.given
    for key, (denied, granted) in _XDM.items():
        said = given.get(key)
        if key == "personalize":
            said = _mapping(said).get("content")
        kind = _kind(said)
        if kind is None or (kind != "denial" and not choices.of_person):
            continue
        for purpose in denied if kind == "denial" else granted:
            yield _statement(
                event,
                terms,
                kind,
                f"consents.{key}",
                purpose=purpose,
                said_at=_said_at(said, given),
            )


def _marketing(event: Event, terms: Terms, choices: _Choices) -> Iterator[Statement]:
    """Adobe's marketing preferences: `any`, one a channel, and subscriptions to topics."""
    marketing = _mapping(choices.given.get("marketing"))
    for key, said in marketing.items():
        kind = _kind(said)
        if kind is None:
            continue
        if key in ("any", "subscriptions", "preferred"):
            channel = None
        elif _XDM_CHANNELS.get(key, "") in terms.addresses:
            channel = _XDM_CHANNELS[key]
        elif key in terms.addresses:
            channel = key
        elif key in _XDM_CHANNELS:
            continue  # a channel that this workspace does not use
        else:
            channel = None
        at = f"consents.marketing.{key}"
        yield from _of_channel(event, terms, choices, kind, at, channel, said)
    for topic, said in _mapping(marketing.get("subscriptions")).items():
        kind = _kind(said)
        if kind is not None and isinstance(said, Mapping):
            channel = _XDM_CHANNELS.get(str(said.get("type")))
            channel = channel if channel in terms.addresses else None
            at = f"consents.marketing.subscriptions.{topic}"
            yield from _of_channel(event, terms, choices, kind, at, channel, said, topic)


def _of_channel(
    event: Event,
    terms: Terms,
    choices: _Choices,
    kind: ConsentKind,
    at: str,
    channel: str | None,
    said: Any,
    topic: str | None = None,
) -> Iterator[Statement]:
    """A no to all marketing of a channel (or all); a yes to promotions on a channel we have.

    What is said of one identifier holds there; a no that cannot hold there, on the whole channel.
    """
    address = choices.at(channel, terms)
    agreed = channel is not None and terms.promotion and (choices.of_person or address)
    if kind == "denial" or agreed:
        yield _statement(
            event,
            terms,
            kind,
            at,
            channel=channel,
            purpose=None if kind == "denial" else terms.promotion,
            topic=topic,
            address=address,
            said_at=_said_at(said, choices.given),
        )


def _statement(
    event: Event,
    terms: Terms,
    kind: ConsentKind,
    source: str,
    *,
    channel: str | None = None,
    purpose: str | None = None,
    topic: str | None = None,
    address: str | None = None,
    said_at: datetime | None = None,
) -> Statement:
    return Statement(
        kind=kind,
        brand=consents.brand_of_no(event, terms) if kind == "denial" else terms.brand_of(event),
        channel=channel,
        purpose=purpose,
        topic=topic,
        address=address,
        expires_at=None,
        evidence={"source": source},
        lasting=True,
        said_at=None if said_at is None else min(said_at, event.time),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _kind(said: Any) -> ConsentKind | None:
    value = _mapping(said).get("val")
    return _XDM_KINDS.get(value.lower()) if isinstance(value, str) else None


def _said_at(said: Any, given: Mapping[str, Any]) -> datetime | None:
    """When a choice was made: its own time, else that of the whole."""
    for of in (_mapping(said), _mapping(given.get("metadata"))):
        written = of.get("time")
        try:
            at = datetime.fromisoformat(written) if isinstance(written, str) else None
        except ValueError:
            continue
        if at is not None and at.tzinfo is not None and 1970 <= at.year <= 9998:
            return at.astimezone(UTC)
    return None
