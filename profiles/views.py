"""Who somebody is, as of now: every fragment of a person, and what was said about consent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.consent import Consent
from domain.errors import UsageError
from domain.event import Identifier
from profiles import queries
from profiles.identifying import Neighbours, known_ref
from profiles.identity import ANONYMOUS, IdentityRules, Link, Ruling
from profiles.prints import identifier_ref
from profiles.readers.claims import normalise
from profiles.state import Fragment, Known, folded, opened
from store.database import Snapshot
from store.instants import instant
from store.vault import Vault


@dataclass(frozen=True, slots=True)
class Member:
    """One fragment of a person: what was one identity until it was merged. None: it was erased."""

    profile_id: str
    created_at: datetime
    updated_at: datetime
    fragment: Fragment | None


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the consent ledger, with the address it is about where this person has it."""

    line: Consent
    address: str | None


@dataclass(frozen=True, slots=True)
class Ruled:
    """What somebody ruled about two fragments, one of them this person's: who, when and why."""

    one: str
    other: str
    ruling: Ruling
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class View:
    """A person: the fragments, the root's first, what they add up to, and what was said.

    `known` are the identifiers by their keyed fingerprints, oldest first; `shared` are those that
    others use as well. `links` say by what the fragments were joined, and what joins nobody.
    `rulings` are in the order in which they were made: of two on one pair the later holds.
    """

    profile_id: str
    members: tuple[Member, ...]
    whole: Fragment
    known: Mapping[str, Known]
    shared: frozenset[Identifier]
    links: tuple[Link, ...]
    said: tuple[Said, ...]
    rulings: tuple[Ruled, ...]

    def points(self, kind: str) -> tuple[tuple[str, str], ...]:
        """The person's contact points of one kind, by fingerprint and address, oldest first."""
        return tuple((ref, one.value) for ref, one in self.known.items() if one.ns == kind)


def view(
    snapshot: Snapshot, vault: Vault, who: str, region: str | None, rules: IdentityRules
) -> View:
    """Everything known of one person, in one reading transaction. Raises `UsageError`.

    Args:
        who: a profile's id, or an identifier as `ns:value`, such as `email:a@x.example`.
        region: the country whose phone numbers may be written without their prefix.
    """
    root = find_root(snapshot, vault, who, region, rules)
    members = _members(snapshot, vault, root)
    whole = folded(one.fragment for one in members if one.fragment is not None)
    known = {known_ref(vault, one): one for one in whole.identifiers}
    ids = [one.profile_id for one in members]
    rows = snapshot.rows(queries.CONSENTS, people=ids, refs=list(known))
    lines = [queries.consent_line(row) for row in rows]
    said = tuple(Said(line, _value(known.get(line.contact_point or ""))) for line in lines)
    holders = snapshot.rows(queries.HOLDERS, refs=list(known))
    others = {ref for ref, profile_id, _ in holders if profile_id not in ids}
    shared = frozenset(known[ref].identifier for ref in others)
    links = _links(snapshot, vault, root, frozenset(known), rules)
    rulings = tuple(
        Ruled(one, other, ruling, instant(at), by, reason)
        for one, other, ruling, at, by, reason in snapshot.rows(queries.RULINGS, people=ids)
    )
    return View(root, members, whole, known, shared, links, said, rulings)


def _links(
    snapshot: Snapshot, vault: Vault, root: str, refs: Collection[str], rules: IdentityRules
) -> tuple[Link, ...]:
    around = Neighbours(snapshot, vault).around((), [root])
    if around is None:
        return ()
    return tuple(
        link for link in around.grouped(rules, around.fragments()).links if link.ref in refs
    )


def _value(known: Known | None) -> str | None:
    return None if known is None else known.value


def find_root(
    snapshot: Snapshot, vault: Vault, who: str, region: str | None, rules: IdentityRules
) -> str:
    """The id that stands for the person who is meant. Raises `UsageError`."""
    ns, colon, value = who.partition(":")
    if not colon:
        roots = dict(snapshot.rows(queries.ROOTS, people=[who]))
        return _only(who, {roots[who]} if who in roots else set())
    identifier = normalise(ns, value, region) or Identifier(ns, value)
    refs = [identifier_ref(vault, identifier)]
    if ns in ANONYMOUS:
        ended = len(snapshot.rows(queries.LOGOUTS, refs=refs))
        refs += [identifier_ref(vault, identifier, 1 + session) for session in range(ended)]
    rows = snapshot.rows(queries.HOLDING, refs=refs)
    gathered = {root for _, slot, _, root in rows if slot > 0}
    if gathered and rules.limit(ns) == 1:  # who is only mentioned as somebody is somebody else
        return _only(who, gathered)
    return _only(who, {root for _, _, _, root in rows})


def _only(who: str, found: Collection[str]) -> str:
    if not found:
        raise UsageError(
            f"nobody is known as `{who}`",
            remedy="name a profile's id, or an identifier, such as `email:a@x.example`",
        )
    if len(found) > 1:
        raise UsageError(
            f"`{who}` is used by {len(found)} people",
            remedy=f"name one of them: {', '.join(sorted(found))}",
        )
    return min(found)


def _members(snapshot: Snapshot, vault: Vault, root: str) -> tuple[Member, ...]:
    members = []
    for row in snapshot.rows(queries.FRAGMENTS, roots=[root]):
        profile_id, _, created_at, updated_at, sealed, wrapped, _ = row
        fragment = opened(vault, profile_id, sealed, wrapped)
        members.append(Member(profile_id, instant(created_at), instant(updated_at), fragment))
    return tuple(sorted(members, key=lambda one: one.profile_id != root))
