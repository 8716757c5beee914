"""Reads Braze Currents events, as sent over HTTP (`user`, `properties`) or flat as in storage.

After Braze's public documentation: "Custom HTTP connector", "Message engagement events" and
"Customer behavior and user events". A no, a complaint, a bounce and a send are told in the
words that are acted on, and so is a message from a customer, which may be a no; a yes is not, for
Braze names no purpose that was agreed to. Every other
event keeps its own name and properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiles.consents import BOUNCE_EVENT, COMPLAINT_EVENT, CONSENT_EVENT, MESSAGE_EVENT
from profiles.readers.claims import Claim, stated
from profiles.readers.decoding import carried
from profiles.readers.fields import mapping, missing, text, unix_instant
from profiles.readers.saying import Saying

OBSERVED_EVENT = "contact_observed"

# The two aborts with an underscore are spelt so by Braze.
_TYPES = ("users.", "users_campaigns_", "users_canvas_")
_ENVELOPE = frozenset(("event_type", "id", "time", "external_user_id", "user_id", "device_id"))
_EMAILS = ("email_address",)
_PHONES = ("to_phone_number", "user_phone_number", "phone_number")
_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "email": _EMAILS,
    "sms": _PHONES,
    "whatsapp": _PHONES,
    "rcs": _PHONES,
    "push": (),
}
_CHANNELS: Mapping[str, str] = {"pushnotification": "push"}


@dataclass(frozen=True, slots=True)
class _Row:
    """One event in whichever form: who (at `person_at`), and what is said of it (at `said_at`)."""

    type: str
    person: Mapping[str, Any]
    person_at: str
    said: Mapping[str, Any]
    said_at: str
    custom: str

    def says(self, key: str, word: str) -> bool:
        return str(self.said.get(key)).strip().lower() == word


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether `event_type` is one of Braze's."""
    given = row.get("event_type")
    return isinstance(given, str) and given.startswith(_TYPES)


def understand(row: Mapping[str, Any]) -> Saying:
    """What the event says; `user_id` is Braze's own name for the person, not ours."""
    read = _row(row)
    names, named_at, properties = _told(read)
    return Saying(
        kind="track",
        names=names,
        named_at=named_at,
        id=text(row, "id"),
        occurred_at=unix_instant(row, "time"),
        claims=_claims(read),
        properties=properties,
    )


def _row(row: Mapping[str, Any]) -> _Row:
    name = text(row, "event_type")
    if name is None:
        raise missing("$.event_type", "name the event, such as `users.messages.email.Open`")
    if row.get("user") is None:
        said = {key: value for key, value in row.items() if key not in _ENVELOPE}
        return _Row(name, row, "$", said, "$", custom="properties")
    said = mapping(row, "properties")
    return _Row(name, mapping(row, "user"), "$.user", said, "$.properties", "custom_properties")


def _claims(row: _Row) -> list[Claim]:
    person, at = row.person, row.person_at
    addresses = (("email", _EMAILS), ("phone", _PHONES))
    return stated(
        Claim("user_id", person.get("external_user_id"), f"{at}.external_user_id"),
        *(
            Claim(ns, row.said.get(key), f"{row.said_at}.{key}")
            for ns, keys in addresses
            for key in keys
        ),
        Claim("device_id", person.get("device_id"), f"{at}.device_id"),
        Claim("braze_id", person.get("user_id"), f"{at}.user_id"),
    )


def _told(row: _Row) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """The event's names, most specific first, the path of the name, and its properties."""
    restriction = _restriction(row)
    if restriction is not None:
        # No name of the workspace's own may turn a no into something else.
        name, properties = restriction
        return (name,), "$.event_type", {**row.said, **properties}
    match row.type.split("."):
        case ["users", "behaviors", "CustomEvent"]:
            return _custom(row)
        case ["users", "messages", written, "Send"] if (channel := _channel(written)) in _ADDRESSES:
            sent = {**row.said, **_to(row, channel)}
            return (row.type, OBSERVED_EVENT), "$.event_type", sent
    return (row.type,), "$.event_type", dict(row.said)


def _restriction(row: _Row) -> tuple[str, dict[str, Any]] | None:
    """What must not be lost with the event: its name and properties as they are acted on.

    A group that was left is no topic of ours: leaving one is a no to the whole channel.
    """
    match row.type.split("."):
        case ["users", "messages", "email", "MarkAsSpam"]:
            return COMPLAINT_EVENT, _to(row, "email")
        case ["users", "messages", "email", "Bounce"]:
            return BOUNCE_EVENT, {"type": "hard", **_to(row, "email")}
        case ["users", "messages", "email", "SoftBounce"]:
            return BOUNCE_EVENT, {"type": "soft", **_to(row, "email")}
        case ["users", "messages", "email", "Unsubscribe"]:
            return _denial(row, "email")
        case ["users", "messages", channel, "InboundReceive"] if row.says("action", "unsubscribed"):
            return _denial(row, _channel(channel))
        case ["users", "messages", written, "InboundReceive"] if row.said.get("message_body"):
            return MESSAGE_EVENT, _message(row, _channel(written))
        case ["users", "behaviors", "subscription", "GlobalStateChange"] | [
            "users",
            "behaviors",
            "subscriptiongroup",
            "StateChange",
        ] if row.says("subscription_status", "unsubscribed"):
            return _denial(row, row.said.get("channel"))
    return None


def _message(row: _Row, channel: str) -> dict[str, Any]:
    """A message from a customer: its text, and the number it came from and went to."""
    told = {"text": row.said["message_body"], **_to(row, channel)}
    reached = row.said.get("inbound_phone_number")
    return told if reached is None else {**told, "to": reached}


def _denial(row: _Row, channel: Any) -> tuple[str, dict[str, Any]]:
    return CONSENT_EVENT, {"value": "denied", "source": row.type, **_to(row, channel)}


def _to(row: _Row, channel: Any) -> dict[str, Any]:
    """The channel, and the address on it, where the event names them."""
    if not isinstance(channel, str):
        return {}
    keys = _ADDRESSES.get(channel.lower(), ())
    address = next((row.said[key] for key in keys if row.said.get(key)), None)
    return {"channel": channel} | ({} if address is None else {"contact_point": address})


def _channel(written: str) -> str:
    return _CHANNELS.get(written, written)


def _custom(row: _Row) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """A custom event by its own name and properties, which storage keeps as a string of JSON."""
    at, key = row.said_at, row.custom
    name = text(row.said, "name", at)
    if name is None:
        raise missing(f"{at}.name", "name the custom event")
    given = row.said.get(key)
    if isinstance(given, str):
        given = carried(given.encode(), f"{at}.{key}") if given else None
    rest = {k: value for k, value in row.said.items() if k not in ("name", key)}
    return (name,), f"{at}.name", {**rest, **mapping({key: given}, key, at)}
