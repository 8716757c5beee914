"""Which fragments make a person, as kept and as an event leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain.canonical import canonical, parse
from profiles.state import Fragment
from store.instants import instant, micros

FOLLOWED_MAX = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A fragment as it was kept; `followed` is whom it has followed, as `first_followed` began and
    `then_followed` continued it."""

    profile_id: str
    root_id: str
    followed: str
    fragment: Fragment


@dataclass(frozen=True, slots=True)
class Side:
    """Fragments of what was one person that go on under `root_id`; `refs` are the fingerprints of
    all that they are known by."""

    root_id: str
    members: Mapping[str, Found]
    refs: frozenset[str]


def first_followed(root_id: str, at: datetime) -> str:
    """The record of a fragment that follows its first root, as it is kept."""
    return canonical([[micros(at), root_id]]).decode()


def then_followed(followed: str, root_id: str, at: datetime) -> str:
    """The record with one root more. Of very many changes the oldest are forgotten, as if the
    first root that is still known had been followed all along."""
    told = parse(followed)
    first, last = told[0][0], told[-1][0]
    told = [*told, [max(micros(at), last), root_id]][-FOLLOWED_MAX:]
    told[0][0] = first
    return canonical(told).decode()


def one_since(one: Found, other: Found) -> datetime:
    """Since when two fragments of one person have followed the same root, whichever that was."""
    a, b = parse(one.followed), parse(other.followed)
    since: int | None = None
    for at in sorted({at for at, _ in (*a, *b)}):
        root = _root_at(a, at)
        if root is None or root != _root_at(b, at):
            since = None
        elif since is None:
            since = at
    return instant(max(a[-1][0], b[-1][0]) if since is None else since)


def were_one(one: str, other: str, at: datetime) -> bool:
    """Whether two fragments followed the same root at an instant, by what each has `followed`."""
    root = _root_at(parse(one), micros(at))
    return root is not None and root == _root_at(parse(other), micros(at))


def _root_at(followed: Sequence[tuple[int, str]], at: int) -> str | None:
    return next((root for since, root in reversed(followed) if since <= at), None)


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
    one that gathers it (None on later passes, which change nothing). `moved` are the kept
    fragments that follow another root from now on, each with that root, `parted` are the sides of
    people who come apart by that. `tells_where` says that the event, or who was found to be the
    same person by it, tells anything new of where a person known before may be. `keys` are the
    contention keys of all that was looked at for it.
    """

    root_id: str
    members: dict[str, Fragment]
    own: str | None = None
    is_new: bool = False
    named: tuple[Naming, ...] = ()
    moved: Sequence[tuple[Found, str]] = ()
    parted: Sequence[Sequence[Side]] = ()
    logouts: tuple[str, ...] = ()
    tells_where: bool = False
    keys: set[str] = field(default_factory=set)
