"""Which person an event is about: deterministic, online, and never by force (pure).

An identifier type has a priority and a limit. An event whose identifiers lead to several people
merges them, unless that would give one person more of a type than its limit; then the event's
lowest-priority identifier is demoted (it stays a shared contact point, and no longer resolves
this event) and the question is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from domain.event import Identifier

PRIORITY: tuple[str, ...] = ("user_id", "email", "phone", "device_id", "anonymous_id")
LIMITS: Mapping[str, int] = {"user_id": 1, "email": 5, "phone": 5}
LIMIT_OTHER = 50


@dataclass(frozen=True, slots=True)
class Person:
    """A person as identity resolution sees one: the root's id and every identifier that resolves.
    `since` orders people of equal standing; the older one's root stays."""

    root_id: str
    identifiers: frozenset[Identifier]
    since: int


@dataclass(frozen=True, slots=True)
class Resolution:
    """`root_id` is None for a person not seen before. `merged` roots now follow `root_id`.
    `attached` identifiers resolve to the person from now on; `demoted` ones are shared."""

    root_id: str | None
    merged: tuple[str, ...]
    attached: tuple[Identifier, ...]
    demoted: tuple[Identifier, ...]


def resolve(identifiers: Sequence[Identifier], owners: Mapping[Identifier, Person]) -> Resolution:
    """Who this is.

    Args:
        identifiers: the event's, at least one.
        owners: the person each of them resolves to today, where there is one.
    """
    kept = sorted(identifiers, key=_rank)
    demoted: list[Identifier] = []
    while True:
        people = {owners[i].root_id: owners[i] for i in kept if i in owners}
        if _fits(kept, people.values()):
            break
        demoted.append(kept.pop())
    root = min(people.values(), key=_standing, default=None)
    return Resolution(
        root_id=root.root_id if root else None,
        merged=tuple(sorted(people.keys() - ({root.root_id} if root else set()))),
        attached=tuple(i for i in kept if i not in owners),
        demoted=tuple(demoted),
    )


def _fits(kept: Sequence[Identifier], people: Iterable[Person]) -> bool:
    union = set(kept)
    for person in people:
        union |= person.identifiers
    counts: dict[str, int] = {}
    for identifier in union:
        counts[identifier.ns] = counts.get(identifier.ns, 0) + 1
    return len(kept) == 1 or all(
        count <= LIMITS.get(ns, LIMIT_OTHER) for ns, count in counts.items()
    )


def _rank(identifier: Identifier) -> tuple[int, str, str]:
    ns = identifier.ns
    order = PRIORITY.index(ns) if ns in PRIORITY else len(PRIORITY)
    return order, ns, identifier.value


def _standing(person: Person) -> tuple[bool, int, str]:
    known = any(identifier.ns == "user_id" for identifier in person.identifiers)
    return not known, person.since, person.root_id
