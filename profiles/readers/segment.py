"""Reads Segment calls: identify, track, page, screen, alias and group.

The categories of `context.consent` mean nothing until a workspace maps them. `context.externalIds`
are identifiers as Segment documents them ("Identity Resolution ExternalIDs"): `id`, `type`,
`collection` and `encoding`, all four required. Those of the collection `accounts` are a group's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.event import EVENT_KINDS, EventKind
from profiles.readers.canonical import BRAND_MAX
from profiles.readers.choices import choices
from profiles.readers.claims import Claim, claims_of, is_namespace, stated
from profiles.readers.fields import instant, invalid, mapping, missing, text
from profiles.readers.saying import Saying

_MARKS = ("userId", "anonymousId", "messageId")
# Segment's own types that have another name here, or that Adobe's and ours call otherwise.
_TYPES: Mapping[str, str] = {
    "android.id": "device_id",
    "ios.id": "device_id",
    "android.idfa": "gaid",
    "ios.idfa": "idfa",
}
_COLLECTIONS = ("users", "accounts")
_ENCODINGS = ("none",)


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the row has Segment's `type`, or a key that only Segment writes."""
    return row.get("type") in EVENT_KINDS or any(mark in row for mark in _MARKS)


def understand(row: Mapping[str, Any], at: str = "$") -> Saying:
    """What the call says. `at` is its JSON path, where it is carried in an envelope."""
    kind = _kind(row, at)
    context = mapping(row, "context", at)
    own, carried = mapping(row, "traits", at), mapping(context, "traits", f"{at}.context")
    # A group call's traits describe the group: its address is not the person's.
    traits = carried if kind == "group" else {**carried, **own}
    traits_at = f"{at}.traits" if traits is not carried and own else f"{at}.context.traits"
    source = row.get("source")
    return Saying(
        kind=kind,
        names=_names(row, kind, at),
        named_at=f"{at}.event",
        id=text(row, "messageId", at),
        source=text(row, "source", at) if isinstance(source, str) else None,
        occurred_at=instant(row, "timestamp", at) or instant(row, "originalTimestamp", at),
        claims=[
            *claims(row, traits, traits_at, at),
            *_device(context, f"{at}.context"),
            *_external(context, f"{at}.context"),
        ],
        properties=_properties(row, kind, at),
        traits=traits,
        brand=text(row, "brand", at, BRAND_MAX),
        preferences=choices(row, at),
    )


def claims(
    row: Mapping[str, Any], traits: Mapping[str, Any], traits_at: str, at: str
) -> list[Claim]:
    """Whom a Segment-shaped object names."""
    found = stated(
        Claim("user_id", row.get("userId"), f"{at}.userId"),
        Claim("email", traits.get("email"), f"{traits_at}.email"),
        Claim("phone", traits.get("phone"), f"{traits_at}.phone"),
        Claim("anonymous_id", row.get("anonymousId"), f"{at}.anonymousId"),
    )
    if row.get("type") == "alias" and row.get("previousId") != row.get("userId"):
        found += stated(Claim("anonymous_id", row.get("previousId"), f"{at}.previousId"))
    return found + claims_of(mapping(row, "identifiers", at), f"{at}.identifiers")


def _device(context: Mapping[str, Any], at: str) -> list[Claim]:
    device = mapping(context, "device", at)
    return stated(Claim("device_id", device.get("id"), f"{at}.device.id"))


def _external(context: Mapping[str, Any], at: str) -> list[Claim]:
    """The person's own identifiers among `externalIds`."""
    given = context.get("externalIds")
    if given is None:
        return []
    at = f"{at}.externalIds"
    if not isinstance(given, list):
        raise invalid(at, "is no list", 'write it as `[{"id": "...", "type": "..."}]`')
    found = []
    for number, entry in enumerate(given):
        here = f"{at}[{number}]"
        if not isinstance(entry, dict):
            raise invalid(here, "is no object", "write `id`, `type`, `collection` and `encoding`")
        ns = _type(entry, here)
        _one_of(entry, "encoding", _ENCODINGS, here)
        if _one_of(entry, "collection", _COLLECTIONS, here) == "users":
            found += stated(Claim(ns, entry.get("id"), f"{here}.id"))
    return found


def _type(entry: Mapping[str, Any], at: str) -> str:
    """The namespace of an external id: `shopify_id`, and `cross.domain` as `cross_domain`."""
    given = text(entry, "type", at)
    if given is None:
        raise missing(f"{at}.type", "name its type, such as `phone` or `shopify_id`")
    ns = _TYPES.get(given.lower(), given.lower().replace(".", "_"))
    if not is_namespace(ns):
        raise invalid(f"{at}.type", "is malformed", "use letters, digits and `_`, at most 32")
    return ns


def _one_of(entry: Mapping[str, Any], key: str, known: tuple[str, ...], at: str) -> str:
    given, remedy = entry.get(key), f"write {' or '.join(f'`{one}`' for one in known)}"
    if given is None:
        raise missing(f"{at}.{key}", remedy)
    for one in known:
        if given == one:
            return one
    raise invalid(f"{at}.{key}", "is none that Segment knows", remedy)


def _kind(row: Mapping[str, Any], at: str) -> EventKind:
    given = row.get("type")
    for kind in EVENT_KINDS:
        if given == kind:
            return kind
    remedy = f"use one of {', '.join(EVENT_KINDS)}"
    if given is None:
        raise missing(f"{at}.type", remedy)
    raise invalid(f"{at}.type", "is no kind of call", remedy)


def _names(row: Mapping[str, Any], kind: EventKind, at: str) -> tuple[str, ...]:
    if kind != "track":
        return ()
    name = text(row, "event", at)
    if name is None:
        raise missing(f"{at}.event", "name the event, such as `cart_abandoned`")
    return (name,)


def _properties(row: Mapping[str, Any], kind: EventKind, at: str) -> dict[str, Any]:
    """The call's properties, with what Segment keeps beside them for some kinds."""
    properties = mapping(row, "properties", at)
    if kind in ("page", "screen"):
        beside = {key: row[key] for key in ("name", "category") if row.get(key) is not None}
        return {**beside, **properties}
    if kind == "group":
        given = {"group_id": row.get("groupId"), "group_traits": row.get("traits")}
        beside = {key: value for key, value in given.items() if value is not None}
        return {**beside, **properties}
    return properties
