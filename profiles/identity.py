"""Which fragments are one person: a function of all that was seen, whatever the order (pure).

A *fragment* gathers the events that bear the same *anchor*, the most telling identifier of each.
Identifiers that two fragments mention join them. They are gone through from the most telling type
to the least, and by age within a type (Kruskal's order: J. B. Kruskal, Proc. AMS 7, 1956); one
whose fragments cannot all be one person is *demoted*: it joins nobody, and where it is an address
it stays a shared contact point of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from domain.event import Identifier

PRIORITY: tuple[str, ...] = ("user_id", "email", "phone", "device_id", "anonymous_id")
LIMITS: Mapping[str, int] = {"user_id": 1, "email": 5, "phone": 5}
LIMIT_OTHER = 50
HOLDERS_MAX = 32
NEIGHBOURS_MAX = 256
ANONYMOUS = frozenset(("anonymous_id", "device_id"))
ANONYMOUS_FOR = timedelta(days=30)

Why = Literal["", "limit", "apart", "too many", "refused", "blocked"]
Ruling = Literal["together", "apart"]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """How telling each type is, the most telling first, and how many of it a person may have.

    A type that is not named is the least telling, and limited to `LIMIT_OTHER`. After an event in
    `logouts`, its devices tell nothing any more of who used them before.
    `household` is the trait that says which household somebody is of. `blocked` are identifiers,
    case folded, that link nobody: not those who bear them, nor those who bore them before.
    """

    priority: tuple[str, ...] = PRIORITY
    limits: Mapping[str, int] = field(default_factory=lambda: dict(LIMITS))
    logouts: frozenset[str] = frozenset()
    household: str | None = None
    blocked: frozenset[Identifier] = frozenset()

    def rank(self, ns: str) -> int:
        """The type's place in the order; 0 is the most telling."""
        return self.priority.index(ns) if ns in self.priority else len(self.priority)

    def limit(self, ns: str) -> int:
        """How many identifiers of this type one person may have."""
        return self.limits.get(ns, LIMIT_OTHER)

    def anchor(self, identifiers: Iterable[Identifier]) -> Identifier:
        """The identifier under which an event is gathered: the most telling one it bears."""
        return min(identifiers, key=lambda i: (self.rank(i.ns), i.ns, i.value))


class Mention(NamedTuple):
    """An identifier, by its keyed fingerprint, that a fragment's events bear since an instant."""

    ref: str
    ns: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Piece:
    """A fragment as identity sees it. `anchor` is the fingerprint of the identifier that gathers
    it; `refuses` says that the person will not be recognised by a device."""

    profile_id: str
    anchor: str
    first_at: datetime
    mentions: tuple[Mention, ...]
    refuses: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """An identifier that several fragments mention: it joins them, or `why` it joins none.

    `left` are those whose nameless history was too old by the time that the device was named.
    """

    ref: str
    ns: str
    holders: tuple[str, ...]
    left: tuple[str, ...] = ()
    why: Why = ""

    def parts(self, people: Iterable[Collection[str]]) -> bool:
        """Whether it joins nobody, and what bears it is not one person by something else."""
        return self.why != "" and not any(set(self.holders) <= set(one) for one in people)


@dataclass(frozen=True, slots=True)
class Grouping:
    """`roots` maps each fragment to the one that stands for its person."""

    roots: Mapping[str, str]
    links: tuple[Link, ...]

    def members(self, root_id: str) -> tuple[str, ...]:
        """The fragments of one person, in order of their ids."""
        return tuple(sorted(one for one, root in self.roots.items() if root == root_id))


def group(
    pieces: Sequence[Piece],
    rules: IdentityRules,
    rulings: Mapping[Pair, Ruling],
    hubs: Collection[str] = (),
    blocked: Collection[str] = (),
) -> Grouping:
    """Which of these fragments are one person.

    Args:
        pieces: fragments, all those that share an identifier with one of them included.
        rulings: what people have ruled about two fragments (their ids in order); it outweighs
            every identifier and every limit.
        hubs: identifiers (their fingerprints) that too many others mention as well.
        blocked: identifiers (their fingerprints) that link nobody.
    """
    groups = _Groups(pieces, rules, rulings)
    for pair, ruling in sorted(rulings.items()):
        if ruling == "together" and all(one in groups.of for one in pair):
            groups.join(pair)
    links = []
    for ref, ns, mentions in _by_telling(pieces, rules):
        holders = tuple(sorted(mentions))
        joining, left = groups.split(ns, mentions)
        why: Why = "blocked" if ref in blocked else "too many" if ref in hubs else ""
        why = why or groups.against(ref, ns, joining)
        if not why:
            groups.join(joining)
            groups.count(joining[0], ns)
        elif ns in ANONYMOUS:
            left = tuple(one for one in holders if groups.is_visit(one, ref))
        # A device's nameless history stays one visitor's, whoever names the device.
        if left:
            groups.join(left)
        if len(holders) > 1 or why:
            links.append(Link(ref, ns, holders, left, why))
    return Grouping(groups.roots(), tuple(links))


def _by_telling(
    pieces: Sequence[Piece], rules: IdentityRules
) -> list[tuple[str, str, dict[str, datetime]]]:
    """Each identifier with the fragments that mention it, and since when."""
    held: dict[tuple[str, str], dict[str, datetime]] = {}
    for piece in pieces:
        for ref, ns, since in piece.mentions:
            held.setdefault((ref, ns), {})[piece.profile_id] = since
    found = [(ref, ns, mentions) for (ref, ns), mentions in held.items()]
    return sorted(found, key=lambda one: (rules.rank(one[1]), one[1], min(one[2].values()), one[0]))


class _Groups:
    """Disjoint sets of fragments, and how many identifiers of each type joined into each."""

    def __init__(
        self, pieces: Sequence[Piece], rules: IdentityRules, rulings: Mapping[Pair, Ruling]
    ) -> None:
        self._pieces = {piece.profile_id: piece for piece in pieces}
        self._rules = rules
        self._apart = {pair for pair, ruling in rulings.items() if ruling == "apart"}
        self.of: dict[str, set[str]] = {one: {one} for one in self._pieces}
        self._counts: dict[str, Counter[str]] = {one: Counter() for one in self._pieces}

    def split(
        self, ns: str, mentions: Mapping[str, datetime]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The holders that may be one person by this identifier, and those that are left.

        Nameless history joins whoever names its device only where it is recent by then.
        """
        named = [since for one, since in mentions.items() if self.is_named(one)]
        if ns not in ANONYMOUS or not named:
            return tuple(sorted(mentions)), ()
        oldest = min(named) - ANONYMOUS_FOR
        old = {
            one
            for one in mentions
            if not self.is_named(one) and self._pieces[one].first_at < oldest
        }
        return tuple(sorted(mentions.keys() - old)), tuple(sorted(old))

    def against(self, ref: str, ns: str, holders: Sequence[str]) -> Why:
        """Why these may not be one person by an identifier of this type; empty where they may."""
        if sum(self._pieces[one].anchor != ref for one in holders) > HOLDERS_MAX:
            return "too many"
        sets = self._sets(holders)
        counts = [self._counts[min(members)] for members in sets]
        if len(sets) > 1:
            together = set().union(*sets)
            for one, other in self._apart:
                if one in together and other in together and self.of[one] is not self.of[other]:
                    return "apart"
            if ns in ANONYMOUS and any(self._pieces[one].refuses for one in together):
                return "refused"
        total: Counter[str] = Counter({ns: 1})
        for count in counts:
            total.update(count)
        for of, n in total.items():
            # A ruling may have taken a person past a limit; nothing else adds to that.
            if n > self._rules.limit(of) and n > max(count[of] for count in counts):
                return "limit"
        return ""

    def is_visit(self, profile_id: str, ref: str) -> bool:
        """Whether a fragment is nameless history of the device of that fingerprint."""
        return self._pieces[profile_id].anchor == ref and not self.is_named(profile_id)

    def is_named(self, profile_id: str) -> bool:
        """Whether more than a device is known of whoever this is."""
        return any(mention.ns not in ANONYMOUS for mention in self._pieces[profile_id].mentions)

    def join(self, holders: Sequence[str]) -> None:
        """Make these one person."""
        sets = self._sets(holders)
        total: Counter[str] = Counter()
        for members in sets:
            total.update(self._counts[min(members)])
        joined = set().union(*sets)
        for one in joined:
            self.of[one] = joined
        self._counts[min(joined)] = total

    def count(self, profile_id: str, ns: str) -> None:
        """Note one more identifier of this type for a fragment's person."""
        self._counts[min(self.of[profile_id])][ns] += 1

    def roots(self) -> dict[str, str]:
        """Each fragment's root: a known customer before a visitor, then the one seen first."""
        return {one: min(members, key=self._standing) for one, members in self.of.items()}

    def _sets(self, holders: Sequence[str]) -> list[set[str]]:
        return list({id(self.of[one]): self.of[one] for one in holders}.values())

    def _standing(self, profile_id: str) -> tuple[int, datetime, str]:
        piece = self._pieces[profile_id]
        ranks = [self._rules.rank(mention.ns) for mention in piece.mentions]
        return min(ranks, default=len(self._rules.priority)), piece.first_at, profile_id
