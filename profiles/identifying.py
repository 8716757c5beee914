"""Finds who each event of a batch is about, and what it changes about who is one person.

Most events say nothing new about that: their fragment is known, with all that they name. Only
where something is new are the *neighbours* read, all fragments that can be reached by identifiers
they share, and grouped afresh.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from domain.consent import Consent
from domain.event import Event, Identifier
from profiles import queries
from profiles.arrivals import Perceived
from profiles.identity import (
    ANONYMOUS,
    ANONYMOUS_FOR,
    HOLDERS_MAX,
    NEIGHBOURS_MAX,
    Grouping,
    IdentityRules,
    Mention,
    Pair,
    Piece,
    Ruling,
    group,
)
from profiles.jurisdictions import codes_of_number, is_somewhere, moves
from profiles.membership import Found, Identified, Naming, Side
from profiles.permissions import on_recognition, refuse_recognition
from profiles.prints import fragment_id, identifier_ref
from profiles.state import Fragment, Known, opened, with_event
from profiles.terms import Terms
from profiles.zones import zones_of
from store import keys
from store.database import Snapshot
from store.instants import micros
from store.vault import Vault

LOG = logging.getLogger("safeconduct.profiles")
_SLOT = int(ANONYMOUS_FOR.total_seconds()) * 1_000_000
_GENERATIONS_MAX = 64


class Neighbours:
    """Fragments and who shares what with whom, read once each in one snapshot."""

    def __init__(self, snapshot: Snapshot, vault: Vault) -> None:
        self._snapshot = snapshot
        self._vault = vault
        self._holding: dict[str, list[str]] = {}
        self._mentions: Counter[str] = Counter()
        self._people: dict[str, dict[str, Found]] = {}

    def people(self, roots: Iterable[str]) -> None:
        """Read the fragments of these people."""
        missing = sorted(set(roots) - self._people.keys())
        if not missing:
            return
        self._people.update({root: {} for root in missing})
        for row in self._snapshot.rows(queries.FRAGMENTS, roots=missing):
            profile_id, root_id, _, _, sealed, wrapped, followed = row
            fragment = opened(self._vault, profile_id, sealed, wrapped)
            if fragment is not None:
                found = Found(profile_id, root_id, followed, fragment)
                self._people[root_id][profile_id] = found

    def members(self, root: str) -> Mapping[str, Found]:
        """The fragments of a person that has been read."""
        return self._people.get(root, {})

    def holding(self, refs: Iterable[str]) -> None:
        """Read which fragments mention these identifiers."""
        missing = sorted(set(refs) - self._holding.keys())
        if not missing:
            return
        self._holding.update({ref: [] for ref in missing})
        for ref, slot, _, root in self._snapshot.rows(queries.HOLDING, refs=missing):
            self._holding[ref].append(root)
            self._mentions[ref] += slot == 0

    def is_hub(self, ref: str) -> bool:
        """Whether so many mention this that it tells nobody apart."""
        return self._mentions[ref] > HOLDERS_MAX

    def around(self, refs: Iterable[str], people: Iterable[str]) -> Around | None:
        """Everything that these identifiers and people lead to; None where it is too much.

        Args:
            people: roots, as they were kept.
        """
        around = Around(self._vault)
        frontier, asked, ruled, roots = set(refs), set[str](), set[str](), set(people)
        while frontier or roots:
            self.holding(frontier)
            asked |= frontier
            around.hubs |= {ref for ref in frontier if self.is_hub(ref)}
            reached = frontier - around.hubs
            roots |= {root for ref in reached for root in self._holding[ref]}
            frontier = self._take(around, roots) - asked
            if len(around.found) > NEIGHBOURS_MAX:
                return None
            roots = self._ruled_with(around, ruled)
        if around.found:
            for row in self._snapshot.rows(queries.ON_RECOGNITION, people=sorted(around.found)):
                around.on_recognition.append(queries.consent_line(row))
        return around

    def _take(self, around: Around, roots: set[str]) -> set[str]:
        """Add people; returns the fingerprints of all that they are known by."""
        self.people(roots)
        refs: set[str] = set()
        for root in roots:
            for profile_id, found in self.members(root).items():
                around.found[profile_id] = found
                refs.update(known_ref(self._vault, one) for one in found.fragment.identifiers)
        return refs

    def _ruled_with(self, around: Around, asked: set[str]) -> set[str]:
        """The roots of those who were ruled to be one person with somebody here."""
        people = sorted(around.found.keys() - asked)
        asked |= around.found.keys()
        if not people:
            return set()
        others: set[str] = set()
        for one, other, ruling, *_ in self._snapshot.rows(queries.RULINGS, people=people):
            around.rulings[(one, other)] = ruling
            if ruling == "together":
                others |= {one, other}
        others -= around.found.keys()
        if not others:
            return set()
        return {root for _, root in self._snapshot.rows(queries.ROOTS, people=sorted(others))}


@dataclass(slots=True)
class Around:
    """Neighbours: fragments by their ids, what was ruled about them, identifiers that too many
    mention to be followed, and what was said about being recognised by a device."""

    vault: Vault
    found: dict[str, Found] = field(default_factory=dict)
    rulings: dict[Pair, Ruling] = field(default_factory=dict)
    hubs: set[str] = field(default_factory=set)
    on_recognition: list[Consent] = field(default_factory=list)

    def roots(self) -> set[str]:
        """Those that stand for these people as they were kept."""
        return {found.root_id for found in self.found.values()}

    def fragments(self) -> dict[str, Fragment]:
        """The fragments by their ids."""
        return {profile_id: found.fragment for profile_id, found in self.found.items()}

    def grouped(self, rules: IdentityRules, fragments: Mapping[str, Fragment]) -> Grouping:
        """Who is one person among these: the neighbours, or what they are about to become."""
        refusing = refuse_recognition(self.on_recognition)
        pieces = [
            piece_of(self.vault, rules, profile_id, fragment, refuses=profile_id in refusing)
            for profile_id, fragment in sorted(fragments.items())
        ]
        blocked = {
            known_ref(self.vault, known)
            for fragment in fragments.values()
            for known in fragment.identifiers
            if known.identifier.folded in rules.blocked
        }
        return group(pieces, rules, self.rulings, self.hubs, blocked)

    def parted(self, grouping: Grouping) -> list[list[Side]]:
        """The sides of each kept person who is several by this grouping."""
        people: dict[str, dict[str, list[Found]]] = {}
        for profile_id, found in sorted(self.found.items()):
            sides = people.setdefault(found.root_id, {})
            sides.setdefault(grouping.roots[profile_id], []).append(found)
        return [
            [_side(self.vault, root, members) for root, members in sorted(sides.items())]
            for _, sides in sorted(people.items())
            if len(sides) > 1
        ]

    def moved(self, grouping: Grouping) -> list[tuple[Found, str]]:
        """The kept fragments that follow another root by this grouping, and which."""
        return [
            (found, grouping.roots[profile_id])
            for profile_id, found in sorted(self.found.items())
            if found.root_id != grouping.roots[profile_id]
        ]


class Identifying:
    """Finds people by a workspace's rules of identity."""

    def __init__(self, vault: Vault, terms: Terms) -> None:
        self._vault = vault
        self._terms = terms
        self._rules = terms.identity

    def find(self, fresh: Sequence[Perceived], snapshot: Snapshot) -> list[Identified]:
        """Who each of these is about, as of one instant of the store."""
        neighbours = Neighbours(snapshot, self._vault)
        borne = self._borne([one.arrival.event for one in fresh], snapshot)
        kept = self._kept(borne, snapshot)
        given = [one.arrival.root_id for one in fresh if one.arrival.root_id is not None]
        roots = dict(snapshot.rows(queries.ROOTS, people=given)) if given else {}
        neighbours.people({*(root for _, root in kept.values()), *roots.values()})
        sought: list[_Sought] = []
        for one, bearing in zip(fresh, borne, strict=True):
            if one.arrival.root_id is None:
                sought.append(self._sought(one.arrival.event, bearing, kept, neighbours))
        self._name_new([one for one in sought if one.is_new], snapshot)
        neighbours.holding(ref for one in sought if one.regroups for ref in one.bearing.refs)
        waiting = iter(sought)
        return [
            self._again(roots.get(one.arrival.root_id, one.arrival.root_id), neighbours)
            if one.arrival.root_id is not None
            else self._identified(next(waiting), neighbours)
            for one in fresh
        ]

    def _again(self, root_id: str, neighbours: Neighbours) -> Identified:
        neighbours.people([root_id])
        kept = neighbours.members(root_id)
        fragments = {profile_id: found.fragment for profile_id, found in kept.items()}
        return Identified(root_id, _root_first(root_id, fragments))

    def _borne(self, events: Sequence[Event], snapshot: Snapshot) -> list[_Bearing]:
        """What each event bears, by device session where its devices have any."""
        devices = {
            identifier_ref(self._vault, identifier)
            for event in events
            for identifier in event.identifiers
            if identifier.ns in ANONYMOUS
        }
        logouts: dict[str, list[int]] = {}
        if devices and self._rules.logouts:
            for ref, at in snapshot.rows(queries.LOGOUTS, refs=sorted(devices)):
                logouts.setdefault(ref, []).append(at)
        return [self._bearing(event, logouts) for event in events]

    def _bearing(self, event: Event, logouts: Mapping[str, Sequence[int]]) -> _Bearing:
        if not event.identifiers:
            return _Bearing((), (), -1, 0)
        anchor = self._rules.anchor(event.identifiers)
        known: list[Known] = []
        refs: list[str] = []
        position = 0
        for identifier in event.identifiers:
            session = 0
            if logouts and identifier.ns in ANONYMOUS:
                at = micros(event.time)
                ended = logouts.get(identifier_ref(self._vault, identifier), ())
                session = sum(out < at for out in ended)
            if identifier == anchor:
                position = len(known)
            known.append(_known(identifier, event, session))
            refs.append(identifier_ref(self._vault, identifier, session))
        slot = 1 + micros(event.time) // _SLOT if anchor.ns in ANONYMOUS else 1
        return _Bearing(tuple(known), tuple(refs), position, max(slot, 1))

    def _kept(
        self, borne: Sequence[_Bearing], snapshot: Snapshot
    ) -> dict[tuple[str, int], tuple[str, str]]:
        anchors = sorted({bearing.anchor for bearing in borne if bearing.refs})
        if not anchors:
            return {}
        return {
            (ref, slot): (profile_id, root)
            for ref, slot, profile_id, root in snapshot.rows(queries.ANCHORED, refs=anchors)
        }

    def _sought(
        self,
        event: Event,
        bearing: _Bearing,
        kept: Mapping[tuple[str, int], tuple[str, str]],
        neighbours: Neighbours,
    ) -> _Sought:
        profile_id, root_id = kept.get((bearing.anchor, bearing.slot), ("", ""))
        found = neighbours.members(root_id).get(profile_id) if profile_id else None
        before = Fragment() if found is None else found.fragment
        after = with_event(before, event, bearing.known)
        regroups = (
            found is None
            or after.identifiers is not before.identifiers
            or after.first_at != before.first_at
        )
        said = on_recognition(event, self._terms)
        return _Sought(
            event, bearing, found, before, after, regroups or bool(said), profile_id, said
        )

    def _name_new(self, new: Sequence[_Sought], snapshot: Snapshot) -> None:
        """Give each new fragment its name: one that no erased fragment has."""
        unnamed = list(new)
        for generation in range(_GENERATIONS_MAX):
            for one in unnamed:
                bearing = one.bearing
                one.own = fragment_id(self._vault, bearing.anchor, bearing.slot, generation)
            if not unnamed:
                return
            taken = dict(snapshot.rows(queries.ROOTS, people=[one.own for one in unnamed]))
            unnamed = [one for one in unnamed if one.own in taken]

    def _identified(self, one: _Sought, neighbours: Neighbours) -> Identified:
        if not one.regroups:
            assert one.found is not None
            made = Identified(one.found.root_id, self._taken_in(one, neighbours), one.own)
        else:
            made = self._regrouped(one, neighbours)
        if one.event.name in self._rules.logouts:
            self._log_out(one, made)
        alone = one.is_new and made.root_id == one.own and not made.moved
        joined = bool(made.moved) and any(map(is_somewhere, made.members.values()))
        made.tells_where = joined or (not alone and moves(one.before, one.after))
        return made

    def _regrouped(self, one: _Sought, neighbours: Neighbours) -> Identified:
        refs = {known_ref(self._vault, known) for known in one.after.identifiers}
        around = neighbours.around(refs, [] if one.found is None else [one.found.root_id])
        if around is None:
            return self._left_alone(one, neighbours)
        fragments = {**around.fragments(), one.own: one.after}
        around.on_recognition += [replace(line, profile_id=one.own) for line in one.said]
        grouping = around.grouped(self._rules, fragments)
        root_id = grouping.roots[one.own]
        members = {profile_id: fragments[profile_id] for profile_id in grouping.members(root_id)}
        made = Identified(root_id, _root_first(root_id, members), one.own, one.is_new)
        made.named = self._named(one, around.hubs)
        made.moved = around.moved(grouping)
        made.parted = around.parted(grouping)
        made.keys |= {keys.person(root) for root in around.roots() | set(grouping.roots.values())}
        made.keys |= {keys.point(naming.ref) for naming in made.named}
        return made

    def _left_alone(self, one: _Sought, neighbours: Neighbours) -> Identified:
        """Too much hangs together here to be told apart: nobody is joined, nobody comes apart."""
        LOG.warning("more than %d fragments hang together", NEIGHBOURS_MAX)
        root_id = one.own if one.found is None else one.found.root_id
        made = Identified(root_id, self._taken_in(one, neighbours), one.own, one.is_new)
        made.named = self._named(one, ())
        made.keys |= {keys.point(naming.ref) for naming in made.named}
        return made

    def _taken_in(self, one: _Sought, neighbours: Neighbours) -> dict[str, Fragment]:
        """The fragments of the person as kept, with the event taken in."""
        root_id = one.own if one.found is None else one.found.root_id
        kept = neighbours.members(root_id)
        fragments = {profile_id: found.fragment for profile_id, found in kept.items()}
        return _root_first(root_id, {**fragments, one.own: one.after})

    def _named(self, one: _Sought, hubs: Collection[str]) -> tuple[Naming, ...]:
        """The identifiers that the fragment was not found by before."""
        before = {(known.ns, known.value, known.session) for known in one.before.identifiers}
        after = {(known.ns, known.value, known.session) for known in one.after.identifiers}
        named = []
        for known, ref in zip(one.bearing.known, one.bearing.refs, strict=True):
            key = (known.ns, known.value, known.session)
            is_anchor = ref == one.bearing.anchor
            if key in before or key not in after or (ref in hubs and not is_anchor):
                continue
            named.append(Naming(ref, known.ns, one.bearing.slot if is_anchor else 0))
        return tuple(named)

    def _log_out(self, one: _Sought, made: Identified) -> None:
        devices = [known for known in one.bearing.known if known.ns in ANONYMOUS]
        made.logouts = tuple(identifier_ref(self._vault, known.identifier) for known in devices)
        made.keys |= {keys.point(ref) for ref in made.logouts}


@dataclass(frozen=True, slots=True)
class _Bearing:
    """What one event bears; `refs` go with `known`, the anchor is at `position`."""

    known: tuple[Known, ...]
    refs: tuple[str, ...]
    position: int
    slot: int

    @property
    def anchor(self) -> str:
        return self.refs[self.position] if self.refs else ""


@dataclass(slots=True)
class _Sought:
    """One event on its way to a person; `own` is empty until a new fragment has its name. `said`
    is what it says about being recognised, by nobody yet."""

    event: Event
    bearing: _Bearing
    found: Found | None
    before: Fragment
    after: Fragment
    regroups: bool
    own: str
    said: Sequence[Consent] = ()

    @property
    def is_new(self) -> bool:
        return self.found is None


def _side(vault: Vault, root_id: str, members: Sequence[Found]) -> Side:
    known = (one for found in members for one in found.fragment.identifiers)
    refs = frozenset(known_ref(vault, one) for one in known)
    return Side(root_id, {found.profile_id: found for found in members}, refs)


def known_ref(vault: Vault, known: Known) -> str:
    """The fingerprint that an identifier of a fragment is looked up by."""
    return identifier_ref(vault, known.identifier, known.session)


def piece_of(
    vault: Vault, rules: IdentityRules, profile_id: str, fragment: Fragment, *, refuses: bool
) -> Piece:
    """A fragment as identity sees it."""
    mentions = tuple(
        Mention(known_ref(vault, known), known.ns, known.since) for known in fragment.identifiers
    )
    anchor = min(
        zip(fragment.identifiers, mentions, strict=True),
        key=lambda pair: (rules.rank(pair[0].ns), pair[0].ns, pair[0].value),
    )
    assert fragment.first_at is not None
    return Piece(profile_id, anchor[1].ref, fragment.first_at, mentions, refuses)


def _root_first(root_id: str, fragments: Mapping[str, Fragment]) -> dict[str, Fragment]:
    return dict(sorted(fragments.items(), key=lambda item: (item[0] != root_id, item[0])))


def _known(identifier: Identifier, event: Event, session: int) -> Known:
    if identifier.ns != "phone":
        return Known(identifier.ns, identifier.value, event.time, (), event.source, session)
    zones, codes = zones_of(identifier.value), codes_of_number(identifier.value)
    return Known(identifier.ns, identifier.value, event.time, zones, event.source, session, codes)
