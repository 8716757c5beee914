"""Who somebody is, as of now: every fragment of a person, and what was said about consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.consent import Consent
from domain.errors import UsageError
from domain.event import Identifier
from profiles import queries
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
class View:
    """A person: the fragments, the root's first, what they add up to, and what was said.

    `known` are the identifiers by their keyed fingerprints, oldest first.
    """

    profile_id: str
    members: tuple[Member, ...]
    whole: Fragment
    known: Mapping[str, Known]
    said: tuple[Said, ...]

    def points(self, kind: str) -> tuple[tuple[str, str], ...]:
        """The person's contact points of one kind, by fingerprint and address, oldest first."""
        return tuple((ref, one.value) for ref, one in self.known.items() if one.ns == kind)


def view(snapshot: Snapshot, vault: Vault, who: str, region: str | None) -> View:
    """Everything known of one person, in one reading transaction. Raises `UsageError`.

    Args:
        who: a profile's id, or an identifier as `ns:value`, such as `email:a@x.example`.
        region: the country whose phone numbers may be written without their prefix.
    """
    root = _root(snapshot, vault, who, region)
    members = _members(snapshot, vault, root)
    whole = folded(one.fragment for one in members if one.fragment is not None)
    known = {identifier_ref(vault, one.identifier): one for one in whole.identifiers}
    rows = snapshot.rows(
        queries.CONSENTS, people=[one.profile_id for one in members], refs=list(known)
    )
    lines = [queries.consent_line(row) for row in rows]
    said = tuple(Said(line, _value(known.get(line.contact_point or ""))) for line in lines)
    return View(root, members, whole, known, said)


def _value(known: Known | None) -> str | None:
    return None if known is None else known.value


def _root(snapshot: Snapshot, vault: Vault, who: str, region: str | None) -> str:
    """The id that stands for the person who is meant."""
    ns, colon, value = who.partition(":")
    if not colon:
        roots = dict(snapshot.rows(queries.ROOTS, people=[who]))
        return _only(who, [roots[who]] if who in roots else [])
    ref = identifier_ref(vault, normalise(ns, value, region) or Identifier(ns, value))
    owners = [root for _, root in snapshot.rows(queries.OWNERS, refs=[ref])]
    if owners:
        return _only(who, owners)
    users = [profile_id for _, profile_id, _ in snapshot.rows(queries.HOLDERS, refs=[ref])]
    return _only(who, sorted(set(dict(snapshot.rows(queries.ROOTS, people=users)).values())))


def _only(who: str, found: Sequence[str]) -> str:
    if not found:
        raise UsageError(
            f"nobody is known as `{who}`",
            remedy="name a profile's id, or an identifier, such as `email:a@x.example`",
        )
    if len(found) > 1:
        raise UsageError(
            f"`{who}` is used by {len(found)} people",
            remedy=f"name one of them: {', '.join(found)}",
        )
    return found[0]


def _members(snapshot: Snapshot, vault: Vault, root: str) -> tuple[Member, ...]:
    members = []
    for row in snapshot.rows(queries.FRAGMENTS, roots=[root]):
        profile_id, _, created_at, updated_at, sealed, wrapped = row
        fragment = opened(vault, profile_id, sealed, wrapped)
        members.append(Member(profile_id, instant(created_at), instant(updated_at), fragment))
    return tuple(sorted(members, key=lambda one: one.profile_id != root))
