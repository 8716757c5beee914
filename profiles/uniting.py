"""What a no means for a yes that somebody gave before both turned out to be one person (pure).

A yes replaces a no of the same person, if it is later. Given by another fragment, while nobody knew
that the two are one, it answered no question that the no had settled: united, they are denied, and
a later yes of the whole person clears that. `docs/decisions/0009` says why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from domain.consent import Consent, ConsentQuestion, answer
from profiles.membership import were_one

SOURCE = "merge"
YESES = frozenset(("grant", "imported"))
NOES = frozenset(("denial", "objection", "suspicion"))
_ANSWERED_NO = frozenset(("denied", "conflict", "objection"))
_NEXT = timedelta(microseconds=1)


class Follower(NamedTuple):
    """A fragment that is about to follow a root with others: whom it follows as yet, and has."""

    root_id: str
    followed: str


def outlasting(
    lines: Sequence[Consent], followers: Mapping[str, Follower], now: datetime
) -> Iterator[Consent]:
    """The noes that must be said again, so that no yes of another side outweighs them.

    Each is as narrow as what the two are both about, and stands right behind the yes: it was said
    and received then, so that whatever the person says later is later than both.

    Args:
        lines: all that these fragments, and others at their contact points, have said.
        followers: those who are to be one person, by their ids.
    """
    sides: dict[str, tuple[str, ...]] = {}
    for profile_id, follower in sorted(followers.items()):
        sides[follower.root_id] = (*sides.get(follower.root_id, ()), profile_id)
    by_ref = {line.ref: line for line in lines}
    everybody = tuple(sorted(followers))
    for ask in _questions(lines, followers) if len(sides) > 1 else ():
        whole = answer(lines, ask._replace(profile_ids=everybody), now)
        if whole.value != "granted":
            continue
        yes = by_ref[whole.by[0]]
        for side in sides.values():
            said = answer(lines, ask._replace(profile_ids=side), now)
            if said.value in _ANSWERED_NO and not _was_theirs(yes, side, followers):
                no = by_ref[said.by[-1]]
                yield _after(yes, no, ask)
                break


def _was_theirs(yes: Consent, side: Sequence[str], followers: Mapping[str, Follower]) -> bool:
    """Whether a side was one person with whoever gave the yes when it came in."""
    if yes.profile_id in side:
        return True
    given = followers[yes.profile_id].followed
    return any(were_one(given, followers[one].followed, yes.received_at) for one in side)


def _questions(lines: Sequence[Consent], people: Collection[str]) -> Iterator[ConsentQuestion]:
    """What some yes of theirs and some no are both about; an open dimension is asked about as the
    empty name."""
    yeses = {_scope(line) for line in lines if line.kind in YESES and line.profile_id in people}
    noes = {_scope(line) for line in lines if line.kind in NOES}
    asked = set()
    for yes, no in product(yeses, noes):
        if all(a is None or b is None or a == b for a, b in zip(yes, no, strict=True)):
            asked.add(tuple(b if a is None else a for a, b in zip(yes, no, strict=True)))
    for controller, brand, channel, purpose, topic, point in sorted(
        asked, key=lambda one: tuple(map(str, one))
    ):
        yield ConsentQuestion(
            (), str(controller), brand or "", channel or "", purpose or "", topic, point
        )


def _scope(line: Consent) -> tuple[str | None, ...]:
    point = None if line.kind == "objection" else line.contact_point
    return line.controller, line.brand, line.channel, line.purpose, line.topic, point


def _after(yes: Consent, no: Consent, ask: ConsentQuestion) -> Consent:
    return replace(
        no,
        brand=ask.brand or None,
        channel=ask.channel or None,
        purpose=ask.purpose or None,
        topic=ask.topic,
        occurred_at=yes.occurred_at + _NEXT,
        received_at=yes.received_at + _NEXT,
        source=SOURCE,
        ref=f"{no.ref}/{yes.ref}",
    )
