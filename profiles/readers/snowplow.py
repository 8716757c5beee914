"""Reads Snowplow enriched events, as the analytics SDKs turn them into JSON.

After Snowplow's public documentation: "Snowplow atomic event properties", "Timestamps" and
"User and session identifiers". Addresses and fingerprints of the device are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from profiles.readers.claims import Claim, stated
from profiles.readers.fields import instant, mapping, missing, text
from profiles.readers.saying import Saying

_MARKS = ("event_id", "collector_tstamp")
_SELF_DESCRIBING = "unstruct_event_"
_KEPT = ("app_id", "platform", "contexts_", "mkt_", "page_", "pp_", "se_", "ti_", "tr_")
# Set for everybody who is tracked anonymously: it would make one person of them all.
_NOBODY = "00000000-0000-0000-0000-000000000000"


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the row has the id and the collector's time, which every such event has."""
    return all(mark in row for mark in _MARKS)


def understand(row: Mapping[str, Any]) -> Saying:
    """What the event says; a self-describing event's own data are its properties."""
    is_page = row.get("event") == "page_view"  # a `page_ping` only says that it is still open
    names, named_at = ((), "$") if is_page else _names(row)
    return Saying(
        kind="page" if is_page else "track",
        names=names,
        named_at=named_at,
        id=text(row, "event_id"),
        occurred_at=_occurred_at(row),
        claims=_claims(row),
        properties=_properties(row),
    )


def _occurred_at(row: Mapping[str, Any]) -> datetime | None:
    """The time the application told, else the one that was corrected for the device's clock.

    The device's own clock may be wrong, and the collector's says when the event arrived: an event
    with no other time is undated.
    """
    return instant(row, "true_tstamp") or instant(row, "derived_tstamp")


def _names(row: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """A structured event is named by its action, any other by its schema."""
    if row.get("event") == "struct":
        action = text(row, "se_action")
        if action is None:
            raise missing("$.se_action", "name the structured event's action")
        return (action,), "$.se_action"
    name, vendor = text(row, "event_name"), text(row, "event_vendor")
    if name is None:
        raise missing("$.event_name", "name the event, such as `link_click`")
    return ((f"{vendor}/{name}", name) if vendor else (name,)), "$.event_name"


def _claims(row: Mapping[str, Any]) -> list[Claim]:
    """Whom the event names. The two cookies are known under names of their own: a person has one
    for each domain, and another for the collector."""
    claims = [Claim(ns, row.get(ns), f"$.{ns}") for ns in ("domain_userid", "network_userid")]
    anonymous = (claim for claim in claims if claim.value != _NOBODY)
    return stated(Claim("user_id", row.get("user_id"), "$.user_id"), *anonymous)


def _properties(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in row.items() if k.startswith(_KEPT) and v is not None}
    for key in row:
        if key.startswith(_SELF_DESCRIBING):
            kept.update(mapping(row, key))
    return kept
