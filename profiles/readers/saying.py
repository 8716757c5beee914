"""What a row says in the words all formats share, before a workspace's own settings apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from domain.event import EventKind
from profiles.readers.claims import Claim


@dataclass(frozen=True, slots=True)
class Saying:
    """One row, understood.

    `names` are what the sender calls a track event, most specific first: the first that the
    workspace maps is used, else the last as it is; `named_at` is its JSON path. Other kinds have
    a word of their own. `source` is None where the row does not tell.
    """

    kind: EventKind
    names: tuple[str, ...] = ()
    named_at: str = "$"
    id: str | None = None
    source: str | None = None
    occurred_at: datetime | None = None
    claims: Sequence[Claim] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    brand: str | None = None
    preferences: dict[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """What reads one format."""

    def recognises(self, row: Mapping[str, Any]) -> bool:
        """Whether the row is meant to be of this format, be it well-formed or not."""
        ...

    def understand(self, row: Mapping[str, Any]) -> Saying:
        """What the row says. Raises `InputError`, without a place, where it is malformed."""
        ...
