"""Something a customer did, as one canonical form whatever the sender's dialect."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

EventKind = Literal["identify", "track", "page", "screen", "alias", "group"]
EVENT_KINDS: tuple[EventKind, ...] = ("identify", "track", "page", "screen", "alias", "group")

EVENT_BYTES_MAX = 32 * 1024
EVENT_DEPTH_MAX = 16
EVENT_KEYS_MAX = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """One name under which a person is known: a namespace and a normalised value."""

    ns: str
    value: str

    def __str__(self) -> str:
        return f"{self.ns}:{self.value}"

    @property
    def folded(self) -> Identifier:
        """The same without regard to case and to the width or style of its letters."""
        return Identifier(self.ns, unicodedata.normalize("NFKC", self.value).casefold().strip())


@dataclass(frozen=True, slots=True)
class Event:
    """One customer event.

    `source` and `id` together are its key. `id` is None where the producer gave none; the key is
    then a keyed hash of content and `ordinal` (which of several equal rows of one file this is).
    `occurred_at` is None where the row is undated. `name` is the track event's name
    (`cart_abandoned`), or the kind's own word (`identified`, `page_viewed`, ...).
    `properties` belong to the event, `traits` to the person. `preferences` are the choices that
    the sender's consent tool attached, as it wrote them: `categories`, `consents`, `gpc`. `place`
    is `file:line`. `confidence` (0 to 1) is how sure the source is of `traits`.
    """

    source: str
    id: str | None
    kind: EventKind
    name: str
    occurred_at: datetime | None
    received_at: datetime
    identifiers: tuple[Identifier, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    brand: str | None = None
    ordinal: int = 0
    place: str = ""
    preferences: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 1.0

    @property
    def time(self) -> datetime:
        """The instant every rule uses: `occurred_at`, never later than `received_at`."""
        if self.occurred_at is None or self.occurred_at > self.received_at:
            return self.received_at
        return self.occurred_at
