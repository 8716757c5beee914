"""Reads Adobe XDM: experience events, and profile records as identify calls.

`consents` are read beside them, as preferences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.readers.choices import choices
from profiles.readers.claims import Claim, is_namespace, stated
from profiles.readers.fields import instant, invalid, mapping, missing, text
from profiles.readers.saying import Saying

_MARKS = ("identityMap", "personID", "eventType", "personalEmail", "mobilePhone")
_NAMESPACES: Mapping[str, str] = {
    "ecid": "anonymous_id",
    "crmid": "user_id",
    "userid": "user_id",
}
_ENVELOPE = frozenset(("_id", "timestamp", "eventType", "identityMap", "personID", "consents"))


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the row has a field of an XDM event or profile."""
    return any(mark in row for mark in _MARKS) or ("_id" in row and "timestamp" in row)


def understand(row: Mapping[str, Any]) -> Saying:
    """What the event says, or, where it has no `eventType` but a person, the profile record."""
    name = text(row, "eventType")
    claims = _claims(row)
    rest = {key: value for key, value in row.items() if key not in _ENVELOPE}
    row_id, occurred_at = text(row, "_id"), instant(row, "timestamp")
    if name is not None:
        return Saying(
            kind="track",
            names=(name,),
            named_at="$.eventType",
            id=row_id,
            occurred_at=occurred_at,
            claims=claims,
            properties=rest,
            preferences=choices(row),
        )
    if occurred_at is not None and "identityMap" not in row and "personID" not in row:
        raise missing("$.eventType", "name the event, such as `commerce.purchases`")
    return Saying(
        kind="identify",
        id=row_id,
        occurred_at=occurred_at,
        claims=claims,
        traits=rest,
        preferences=choices(row),
    )


def _claims(row: Mapping[str, Any]) -> list[Claim]:
    claims = [
        claim
        for namespace, entries in mapping(row, "identityMap").items()
        for claim in _identities(namespace, entries)
    ]
    claims.append(Claim("user_id", row.get("personID"), "$.personID"))
    for ns, group, key in (
        ("email", "personalEmail", "address"),
        ("phone", "mobilePhone", "number"),
    ):
        fields = mapping(row, group)
        claims.append(Claim(ns, fields.get(key), f"$.{group}.{key}"))
    return stated(*claims)


def _identities(namespace: str, entries: Any) -> list[Claim]:
    at = "$.identityMap"
    ns = namespace.lower()
    ns = _NAMESPACES.get(ns, ns)
    if not is_namespace(ns):
        raise invalid(at, "has a malformed namespace", "use letters, digits and `_`, at most 32")
    at = f"{at}.{namespace}"
    if not isinstance(entries, list):
        raise invalid(at, "is no list", 'write it as `[{"id": "..."}]`')
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise invalid(f"{at}[{i}]", "is no object", 'write it as `{"id": "..."}`')
    return [Claim(ns, entry.get("id"), f"{at}[{i}].id") for i, entry in enumerate(entries)]
