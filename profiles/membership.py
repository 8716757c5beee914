"""Which fragments make a person, as kept and as an event leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from profiles.state import Fragment


@dataclass(frozen=True, slots=True)
class Found:
    """A fragment as it was kept. `joined_at` is since when it follows its root."""

    profile_id: str
    root_id: str
    joined_at: datetime
    fragment: Fragment


@dataclass(frozen=True, slots=True)
class Side:
    """Fragments of what was one person that go on under `root_id`; `refs` are the fingerprints of
    all that they are known by."""

    root_id: str
    members: Mapping[str, Found]
    refs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Naming:
    """An identifier that a fragment is newly found by. `slot` is 0 where it is only mentioned."""

    ref: str
    ns: str
    slot: int


@dataclass(slots=True)
class Identified:
    """Who one event is about.

    `members` are the person's fragments with the event taken in, the root's first; `own` is the
    one that gathers it (None on later passes, which change nothing). `moved` maps each fragment
    that follows another root from now on to that root, `parted` are the sides of people who come
    apart by that. `tells_where` says that the event, or who was found to be the same person by it,
    tells anything new of where a person known before may be. `keys` are the contention keys of all
    that was looked at to say so.
    """

    root_id: str
    members: dict[str, Fragment]
    own: str | None = None
    is_new: bool = False
    named: tuple[Naming, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    parted: Sequence[Sequence[Side]] = ()
    logouts: tuple[str, ...] = ()
    tells_where: bool = False
    keys: set[str] = field(default_factory=set)
