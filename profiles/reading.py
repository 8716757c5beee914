"""Reads input rows of any accepted format into events, and says why a row cannot be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from domain.canonical import canonical
from domain.errors import InputError
from domain.event import Event, EventKind, Identifier
from profiles.prints import unkeyed
from profiles.readers import braze, cloudevents, consent_rows, segment, snowplow, xdm
from profiles.readers import canonical as canonical_lines
from profiles.readers.claims import identifiers
from profiles.readers.decoding import alone, batch_items, decode
from profiles.readers.fields import invalid, is_text
from profiles.readers.saying import Reader, Saying

NAME_MAX = 100

REASONS: tuple[str, ...] = (
    "invalid_json",
    "invalid_utf8",
    "too_large",
    "too_deep",
    "too_many_keys",
    "not_finite",
    "not_an_object",
    "unknown_format",
    "missing_field",
    "invalid_field",
    "no_identifier",
)

# The first that recognises a row reads it: Segment and Snowplow write `event`, too.
READERS: tuple[Reader, ...] = (
    cloudevents,
    segment,
    xdm,
    snowplow,
    canonical_lines,
    braze,
    consent_rows,
)

_NO_CONTEXT: Mapping[str, Any] = {}

_OWN_WORDS: Mapping[EventKind, str] = {
    "identify": "identified",
    "page": "page_viewed",
    "screen": "screen_viewed",
    "alias": "aliased",
    "group": "grouped",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """How a workspace's rows become events.

    `default_source` is for rows that name none, `default_region` for phone numbers without a
    country. `names` maps other systems' event names. `blocked` identifiers, case folded,
    belong to nobody.
    `confidence` is how sure each source is of its traits, where an event does not say; else 1.
    """

    default_source: str
    default_region: str | None
    names: Mapping[str, str]
    blocked: frozenset[Identifier]
    confidence: Mapping[str, float] = field(default_factory=dict)

    def read(
        self, raw: bytes, *, received_at: datetime, place: str, ordinal: int = 0
    ) -> tuple[Event | InputError, ...]:
        """The event in one row, or the events of a batch, a bad item as the error it is.

        Raises `InputError` (its `reason` is one of `REASONS`) where the row as a whole is
        unusable.

        Args:
            raw: one JSON value.
            place: where the row is, as `file:line`; items of a batch get `#index` added.
            ordinal: which of several equal rows of one file this is.
        """
        try:
            items = batch_items(raw)
            if items is None:
                return (self._event(raw, received_at, place, ordinal),)
        except InputError as error:
            error.place = place
            raise
        read = [
            self._item(raw, received_at, f"{place}#{index}", items.context)
            for index, raw in enumerate(items.raws)
        ]
        return _numbered(read, ordinal)

    def _item(
        self, raw: bytes, received_at: datetime, place: str, context: Mapping[str, Any]
    ) -> Event | InputError:
        try:
            return self._event(raw, received_at, place, 0, context)
        except InputError as error:
            error.place = place
            error.raw = alone(raw, context)
            return error

    def _event(
        self,
        raw: bytes,
        received_at: datetime,
        place: str,
        ordinal: int,
        context: Mapping[str, Any] = _NO_CONTEXT,
    ) -> Event:
        row = decode(raw)
        said = _understood(_within(row, context) if context else row)
        source = said.source or self.default_source
        sure = said.confidence if said.confidence is not None else self.confidence.get(source, 1.0)
        return Event(
            source=source,
            id=said.id,
            kind=said.kind,
            name=self._name(said),
            occurred_at=said.occurred_at,
            received_at=received_at,
            identifiers=identifiers(said.claims, self.default_region, self.blocked),
            properties=said.properties,
            traits=said.traits,
            brand=said.brand,
            ordinal=ordinal,
            place=place,
            preferences=said.preferences,
            confidence=sure,
        )

    def _name(self, said: Saying) -> str:
        if said.kind != "track":
            return _OWN_WORDS[said.kind]
        for name in said.names:
            if name in self.names:
                return self.names[name]
        if not is_text(said.names[-1], NAME_MAX):
            raise invalid(
                said.named_at, "is no event name", f"use 1 to {NAME_MAX} printable characters"
            )
        return said.names[-1]


def _within(row: Any, context: Mapping[str, Any]) -> Any:
    """The row with what its batch says of all rows; what it says itself counts first."""
    own = row.get("context") if isinstance(row, dict) else row
    if own is not None and not isinstance(own, dict):
        return row  # its reader says what is wrong with it
    return {**row, "context": {**context, **(own or {})}}


def _understood(value: Any) -> Saying:
    if not isinstance(value, dict):
        raise InputError("not_an_object", "`$` is no object", remedy="send one object per event")
    for reader in READERS:
        if reader.recognises(value):
            return reader.understand(value)
    raise InputError(
        "unknown_format",
        "`$` is of no known format",
        remedy="name the event in `event`, or send Segment, CloudEvents, Adobe XDM, "
        "Braze Currents or Snowplow",
    )


def _numbered(read: list[Event | InputError], ordinal: int) -> tuple[Event | InputError, ...]:
    """Equal events without an id stay apart, within the batch and among equal batches."""
    told = [
        canonical(unkeyed(item)) if isinstance(item, Event) and item.id is None else None
        for item in read
    ]
    alike, met = Counter(told), Counter[bytes | None]()
    numbered: list[Event | InputError] = []
    for item, key in zip(read, told, strict=True):
        if isinstance(item, Event):
            n = 0 if key is None else met[key]
            times = 1 if key is None else alike[key]
            item = replace(item, ordinal=ordinal * times + n)
            met[key] += 1
        numbered.append(item)
    return tuple(numbered)
