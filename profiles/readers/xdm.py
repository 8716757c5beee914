"""Reads Adobe XDM: experience events, and profile records as identify calls.

`consents` are read beside them, as preferences.

Whoever is named without being logged in (`authenticatedState` `ambiguous` or `loggedOut`) may be
somebody else at the same device: such a name joins nobody. It stands only where it is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
# Adobe's own namespaces of browsers and devices; nobody logs in to be known by these.
_DEVICES = frozenset(
    ("anonymous_id", "device_id", "aaid", "adcloud", "core", "gaid", "idfa", "tntid", "waid")
)
_UNSURE = frozenset(("ambiguous", "loggedOut"))
_STATES = _UNSURE | {"authenticated"}
# Choices of `consents` that permit nothing: no, no by default, unknown, pending.
_NOT_YES = frozenset(("n", "dn", "u", "p"))
_TELLING = ("user_id", "email", "phone")
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


class _Identity(NamedTuple):
    """An entry of the identity map. `unsure` says that it is of somebody who is not logged in."""

    claim: Claim
    unsure: bool = False
    primary: bool = False


def _claims(row: Mapping[str, Any]) -> list[Claim]:
    found = [
        identity
        for namespace, entries in mapping(row, "identityMap").items()
        for identity in _identities(namespace, entries)
        if stated(identity.claim)
    ]
    claims = [Claim("user_id", row.get("personID"), "$.personID")]
    for ns, group, key in (
        ("email", "personalEmail", "address"),
        ("phone", "mobilePhone", "number"),
    ):
        fields = mapping(row, group)
        claims.append(Claim(ns, fields.get(key), f"$.{group}.{key}"))
    found += [_Identity(claim) for claim in stated(*claims)]
    return [identity.claim for identity in _joining(found, restricts=_restricts(row))]


def _joining(found: list[_Identity], *, restricts: bool) -> list[_Identity]:
    """Those identities that may be joined with each other.

    Args:
        restricts: whether the row says no and nothing else. A no is somebody's even where they are
            not logged in: it is then taken for that person's, and not for the device's.
    """
    unsure = [one for one in found if one.unsure]
    sure = [one for one in found if not one.unsure]
    known = [one for one in sure if one.claim.ns not in _DEVICES]
    if not unsure or known or (sure and not restricts):
        return sure
    return [min(unsure, key=_telling)]


def _restricts(row: Mapping[str, Any]) -> bool:
    """Whether a row is a no: a `consent_changed` by its `value`, or `consents` without any yes."""
    value = row.get("value")
    if isinstance(value, str) and value in ("denied", "objection"):
        return True
    said = set(_values(mapping(row, "consents")))
    return "n" in said and said <= _NOT_YES


def _values(consents: Any) -> Iterator[str]:
    """Every `val` in `consents`, at whatever depth."""
    for key, value in consents.items() if isinstance(consents, Mapping) else ():
        if key == "val":
            yield value if isinstance(value, str) else ""
        else:
            yield from _values(value)


def _telling(identity: _Identity) -> tuple[bool, int]:
    ns = identity.claim.ns
    return not identity.primary, _TELLING.index(ns) if ns in _TELLING else len(_TELLING)


def _identities(namespace: str, entries: Any) -> list[_Identity]:
    at = "$.identityMap"
    ns = namespace.lower()
    ns = _NAMESPACES.get(ns, ns)
    if not is_namespace(ns):
        raise invalid(at, "has a malformed namespace", "use letters, digits and `_`, at most 32")
    at = f"{at}.{namespace}"
    if not isinstance(entries, list):
        raise invalid(at, "is no list", 'write it as `[{"id": "..."}]`')
    return [_identity(ns, entry, f"{at}[{i}]") for i, entry in enumerate(entries)]


def _identity(ns: str, entry: Any, at: str) -> _Identity:
    if not isinstance(entry, dict):
        raise invalid(at, "is no object", 'write it as `{"id": "..."}`')
    state = entry.get("authenticatedState")
    if state is not None and not (isinstance(state, str) and state in _STATES):
        raise invalid(
            f"{at}.authenticatedState",
            "is no state",
            "write `authenticated`, `ambiguous` or `loggedOut`, or leave it out",
        )
    unsure = state in _UNSURE and ns not in _DEVICES
    return _Identity(Claim(ns, entry.get("id"), f"{at}.id"), unsure, entry.get("primary") is True)
