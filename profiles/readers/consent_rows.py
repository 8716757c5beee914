"""Reads a row of a list of consents, as an import hands it on: `{"consent_row": ...}`.

Whatever such a row says is marked `bulk`, however often it is read: a yes in it never undoes a no.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from domain.errors import InputError
from profiles.readers.claims import Claim, claims_of, stated
from profiles.readers.decoding import carried
from profiles.readers.fields import instant, invalid, missing, text
from profiles.readers.saying import Saying

KEY = "consent_row"
SAID = (
    "value",
    "channel",
    "purpose",
    "topic",
    "brand",
    "contact_point",
    "wording",
    "expires_at",
    "reason",
)
_ANY = "identifier"
NAMED = ("user_id", "email", "phone", "anonymous_id", "device_id", _ANY)
COLUMNS: tuple[str, ...] = (*SAID, "occurred_at", *NAMED)
"""What a row may hold. An `identifier` is `ns:value`, such as `loyalty:4711`."""
_AT = f"$.{KEY}"
_CONSENT_EVENT = "consent_changed"


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether an import wrapped the row."""
    return KEY in row


def understand(row: Mapping[str, Any]) -> Saying:
    """What the row says; blank cells say nothing. A column that is none of `COLUMNS` is refused."""
    said = _said(row[KEY])
    properties: dict[str, Any] = {key: said[key] for key in SAID if key in said}
    if "value" not in properties:
        raise missing(f"{_AT}.value", "say `granted`, `denied`, `objection` or `pending`")
    properties |= {key: row[key] for key in ("source", "by") if row.get(key) is not None}
    return Saying(
        kind="track",
        names=(_CONSENT_EVENT,),
        named_at=_AT,
        source=text(row, "source"),
        occurred_at=instant(said, "occurred_at", _AT),
        claims=_claims(said),
        properties={**properties, "bulk": True},
    )


def unknown(column: str) -> tuple[str, str]:
    """What is wrong with a column's name, and the nearest one that is known."""
    close = difflib.get_close_matches(column, COLUMNS, n=1)
    known = ", ".join(f"`{one}`" for one in COLUMNS)
    return "is no column of a consent", (f"did you mean `{close[0]}`?" if close else f"use {known}")


def _said(row: Any) -> dict[str, Any]:
    """The cells that say something. A row that was JSON is handed on as the text it was."""
    if isinstance(row, str):
        row = carried(row.encode(), _AT)
    if not isinstance(row, dict):
        raise InputError("not_an_object", f"`{_AT}` is no object", remedy="send one object a row")
    for column in row:
        if column not in COLUMNS:
            what, remedy = unknown(column)
            raise invalid(f"{_AT}[{ascii(column[:40]).replace('`', '?')}]", what, remedy)
    return {key: value for key, value in row.items() if not _is_blank(value)}


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _claims(said: Mapping[str, Any]) -> list[Claim]:
    own = [Claim(ns, said.get(ns), f"{_AT}.{ns}") for ns in NAMED if ns != _ANY]
    written = text(said, _ANY, _AT)
    if written is None:
        return stated(*own)
    ns, _, value = written.partition(":")
    if not value.strip():
        raise invalid(f"{_AT}.{_ANY}", "is no identifier", "write it as `loyalty:4711`")
    return stated(*own) + claims_of({ns.strip(): value}, f"{_AT}.{_ANY}")
