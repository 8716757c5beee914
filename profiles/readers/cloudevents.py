"""Reads CloudEvents 1.0, structured and binary, whose data is Segment-shaped or plain."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from domain.event import EVENT_KINDS
from profiles.readers import segment
from profiles.readers.canonical import BRAND_MAX
from profiles.readers.choices import choices, gpc_header
from profiles.readers.claims import Claim, stated
from profiles.readers.decoding import carried
from profiles.readers.fields import instant, invalid, mapping, missing, text
from profiles.readers.saying import Saying

VERSION = "1.0"
_OF_THE_PERSON = frozenset(
    ("userId", "anonymousId", "identifiers", "traits", "context", "consents")
)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The attributes (under `prefix` at `at`) and the data, in whichever mode they came."""

    attributes: Mapping[str, Any]
    at: str
    prefix: str
    data: Any
    data_at: str

    def text(self, name: str) -> str | None:
        return text(self.attributes, self.prefix + name, self.at)


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether the row has `specversion`, or HTTP headers and a body."""
    return "specversion" in row or ("headers" in row and "body" in row)


def understand(row: Mapping[str, Any]) -> Saying:
    """What the envelope and its data say; the envelope's word counts before the data's."""
    envelope = _structured(row) if "specversion" in row else _binary(row)
    version = envelope.text("specversion")
    if version is None:
        raise missing(f"{envelope.at}.{envelope.prefix}specversion", f"send version `{VERSION}`")
    if version != VERSION:
        raise invalid(
            f"{envelope.at}.{envelope.prefix}specversion",
            "is not supported",
            f"send version `{VERSION}`",
        )
    said = _data(envelope)
    prefix, at = envelope.prefix, envelope.at
    subject = envelope.attributes.get(f"{prefix}subject")
    return replace(
        said,
        id=envelope.text("id") or said.id,
        source=envelope.text("source") or said.source,
        occurred_at=instant(envelope.attributes, f"{prefix}time", at) or said.occurred_at,
        claims=said.claims or stated(Claim("user_id", subject, f"{at}.{prefix}subject")),
        brand=text(envelope.attributes, f"{prefix}brand", at, BRAND_MAX) or said.brand,
        preferences=said.preferences | gpc_header(row),
    )


def _data(envelope: _Envelope) -> Saying:
    data, at = envelope.data, envelope.data_at
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise invalid(at, "is no object", "send the data as a JSON object")
    if data.get("type") in EVENT_KINDS:
        return segment.understand(data, at)
    name = envelope.text("type")
    named_at = f"{envelope.at}.{envelope.prefix}type"
    if name is None:
        raise missing(named_at, "name the event, such as `com.example.cart_abandoned`")
    traits = mapping(data, "traits", at)
    return Saying(
        kind="track",
        names=(name, name.rpartition(".")[2]),
        named_at=named_at,
        claims=segment.claims({**data, "type": "track"}, traits, f"{at}.traits", at),
        properties=_properties(data),
        traits=traits,
        preferences=choices(data, at),
    )


def _properties(data: Mapping[str, Any]) -> dict[str, Any]:
    """Segment-shaped data has `properties`; plain data is all properties but for the person's."""
    given = data.get("properties")
    if isinstance(given, dict):
        return given
    return {key: value for key, value in data.items() if key not in _OF_THE_PERSON}


def _structured(row: Mapping[str, Any]) -> _Envelope:
    encoded = row.get("data_base64")
    if encoded is None:
        return _Envelope(row, "$", "", row.get("data"), "$.data")
    at = "$.data_base64"
    if row.get("data") is not None:
        raise invalid(at, "stands beside `data`", "write one of the two")
    if not isinstance(encoded, str):
        raise invalid(at, "is no string", "encode the data's JSON as base64")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(at, "is no base64", "encode the data's JSON as base64") from error
    return _Envelope(row, "$", "", carried(raw, at), at)


def _binary(row: Mapping[str, Any]) -> _Envelope:
    headers = mapping(row, "headers")
    attributes: dict[str, Any] = {}
    for header, value in headers.items():
        name = header.lower()
        if not name.startswith("ce-"):
            continue
        if name in attributes:
            raise invalid("$.headers", "names an attribute twice", "send each header once")
        attributes[name] = unquote(value) if isinstance(value, str) else value
    body = row["body"]
    if isinstance(body, str):
        body = carried(body.encode(), "$.body") if body else None
    return _Envelope(attributes, "$.headers", "ce-", body, "$.body")
