"""Who somebody is, as of now: every fragment of a person, and what was said about consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select

from domain.consent import Consent
from domain.errors import UsageError
from domain.event import Identifier
from profiles import queries
from profiles.prints import identifier_ref
from profiles.readers.claims import normalise
from profiles.state import Fragment, folded, read_fragment
from store import tables as t
from store.database import Snapshot
from store.instants import instant
from store.statements import Statement
from store.vault import Vault

_MEMBERS = Statement(
    select(
        t.profiles.c.profile_id,
        t.profiles.c.created_at,
        t.profiles.c.updated_at,
        t.profiles.c.sealed,
        t.data_keys.c.wrapped,
    )
    .join_from(
        t.profiles,
        t.data_keys,
        (t.data_keys.c.profile_id == t.profiles.c.profile_id)
        & (t.data_keys.c.retention == "erasable"),
        isouter=True,
    )
    .where(t.profiles.c.root_id == bindparam("root"))
    .order_by(t.profiles.c.created_at, t.profiles.c.profile_id)
)


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

    `addresses` are the identifiers' values by their keyed fingerprints.
    """

    profile_id: str
    members: tuple[Member, ...]
    whole: Fragment
    addresses: Mapping[str, str]
    said: tuple[Said, ...]

    def points(self, kind: str) -> tuple[tuple[str, str], ...]:
        """The person's contact points of one kind, by fingerprint and address, oldest first."""
        wanted = self.whole.values(kind)
        found = {address: ref for ref, address in self.addresses.items() if address in wanted}
        return tuple((found[address], address) for address in wanted)


def view(snapshot: Snapshot, vault: Vault, who: str, region: str | None) -> View:
    """Everything known of one person, in one reading transaction. Raises `UsageError`.

    Args:
        who: a profile's id, or an identifier as `ns:value`, such as `email:a@x.example`.
        region: the country whose phone numbers may be written without their prefix.
    """
    root = _root(snapshot, vault, who, region)
    members = _members(snapshot, vault, root)
    whole = folded(one.fragment for one in members if one.fragment is not None)
    addresses = {
        identifier_ref(vault, known.identifier): known.value for known in whole.identifiers
    }
    rows = snapshot.rows(
        queries.CONSENTS, people=[one.profile_id for one in members], refs=list(addresses)
    )
    lines = [Consent(*row[:8], *(instant(at) for at in row[8:11]), *row[11:]) for row in rows]
    said = tuple(Said(line, addresses.get(line.contact_point or "")) for line in lines)
    return View(root, members, whole, addresses, said)


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
    for profile_id, created_at, updated_at, sealed, wrapped in snapshot.rows(_MEMBERS, root=root):
        fragment = None
        if sealed is not None and wrapped is not None:
            vault.unwrap(profile_id, "erasable", wrapped)
            fragment = read_fragment(vault.open(profile_id, "erasable", "profiles", sealed))
        members.append(Member(profile_id, instant(created_at), instant(updated_at), fragment))
    return tuple(sorted(members, key=lambda one: one.profile_id != root))
