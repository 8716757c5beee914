"""Reads canonical JSON lines: one flat object an event, `{"event": ..., "user_id": ...}`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from profiles.readers.choices import choices
from profiles.readers.claims import Claim, claims_of, stated
from profiles.readers.fields import instant, invalid, mapping, missing, text
from profiles.readers.saying import Saying

BRAND_MAX = 100


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the row names an event."""
    return "event" in row


def understand(row: Mapping[str, Any]) -> Saying:
    """What the row says; keys outside the format are passed over."""
    name = text(row, "event")
    if name is None:
        raise missing("$.event", "name the event, such as `cart_abandoned`")
    traits = mapping(row, "traits")
    return Saying(
        kind="track",
        names=(name,),
        named_at="$.event",
        id=text(row, "id"),
        source=text(row, "source"),
        occurred_at=_occurred_at(row),
        claims=_claims(row, traits),
        properties=mapping(row, "properties"),
        traits=traits,
        brand=text(row, "brand", longest=BRAND_MAX),
        preferences=choices(row),
    )


def _occurred_at(row: Mapping[str, Any]) -> datetime | None:
    if row.get("at") is None:
        return instant(row, "occurred_at")
    if row.get("occurred_at") is not None:
        raise invalid("$.at", "stands beside `occurred_at`", "write one of the two")
    return instant(row, "at")


def _claims(row: Mapping[str, Any], traits: Mapping[str, Any]) -> list[Claim]:
    get = row.get
    claims = stated(
        Claim("user_id", get("user_id"), "$.user_id"),
        Claim("email", get("email"), "$.email"),
        Claim("email", traits.get("email"), "$.traits.email"),
        Claim("phone", get("phone"), "$.phone"),
        Claim("phone", traits.get("phone"), "$.traits.phone"),
        Claim("anonymous_id", get("anonymous_id"), "$.anonymous_id"),
        Claim("device_id", get("device_id"), "$.device_id"),
    )
    return claims + claims_of(mapping(row, "identifiers"), "$.identifiers")
