"""What follows where fragments turn out to be one person, or one person several.

Of two runs of one journey the earlier stays. A yes goes to the side whose contact point it names,
a no said while they were one stays on both sides. A contact goes to the side whose contact point
was used, and to both where both have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from domain.canonical import canonical
from domain.consent import Consent
from profiles import queries
from profiles.households import household_of
from profiles.identifying import known_ref
from profiles.identity import IdentityRules
from profiles.membership import Found, Side
from profiles.state import folded
from store import keys
from store import tables as t
from store.database import Snapshot
from store.ids import time_ordered
from store.instants import micros
from store.vault import Vault
from store.work import Work

SOURCE = "unmerge"


class Regrouping:
    """Writes who follows whom from now on, and what goes with it, as part of a work.

    `new_keys` are the fragments that were given a key for it.
    """

    def __init__(
        self, vault: Vault, rules: IdentityRules, snapshot: Snapshot, work: Work, at: datetime
    ) -> None:
        self._vault = vault
        self._rules = rules
        self._snapshot = snapshot
        self._work = work
        self._at = at
        self._keyed: set[str] = set()
        self.new_keys: list[str] = []

    def follow(self, moved: Mapping[str, str], members: Iterable[str]) -> None:
        """Let fragments follow other roots. Of journeys that two of `members` are on, one stays."""
        for profile_id, root in moved.items():
            self._work.change(queries.FOLLOW, person=profile_id, into=root, at=micros(self._at))
        if not moved:
            return
        met: set[tuple[str, str]] = set()
        rows = self._snapshot.rows(queries.INSTANCES, people=sorted(members), named=[])
        for profile_id, journey, key, _, _, _, _ in sorted(rows, key=lambda row: (row[4], row[0])):
            if (journey, key) in met:
                self._work.change(
                    queries.END_INSTANCE,
                    person=profile_id,
                    name=journey,
                    ref=key,
                    to_state="merged",
                )
            met.add((journey, key))

    def part(self, parted: Sequence[Side], look_back: timedelta) -> None:
        """Share out what was said and sent.

        Args:
            look_back: how far back contacts count.
        """
        everyone = sorted(one for side in parted for one in side.members)
        for row in self._snapshot.rows(queries.CONSENTS, people=everyone, refs=[]):
            line = queries.consent_line(row)
            mine = next((side for side in parted if line.profile_id in side.members), None)
            for side in parted:
                if mine is not None and side is not mine and _concerns(line, mine, side):
                    self._restate(line, side)
        self._share_contacts(parted, everyone, look_back)

    def _restate(self, line: Consent, side: Side) -> None:
        """The same line for the other side: said and received when it was."""
        owner = next(
            (
                profile_id
                for profile_id, found in side.members.items()
                if line.contact_point in _refs(self._vault, found)
            ),
            side.root_id,
        )
        self._evidence_key(owner)
        digest = self._vault.fingerprint_bytes("consent", f"{line.ref}/{owner}".encode())
        self._work.append(
            t.consents,
            owner,
            consent_id=time_ordered("c", line.received_at, digest),
            kind=line.kind,
            controller=line.controller,
            brand=line.brand,
            channel=line.channel,
            purpose=line.purpose,
            topic=line.topic,
            contact_point=line.contact_point,
            occurred_at=micros(line.occurred_at),
            received_at=micros(line.received_at),
            expires_at=micros(line.expires_at),
            source=SOURCE,
            sealed=self._vault.seal(
                owner, "evidence", "consents", canonical({"restates": line.ref})
            ),
        )

    def _evidence_key(self, owner: str) -> None:
        if owner in self._keyed:
            return
        self._keyed.add(owner)
        for _, wrapped in self._snapshot.rows(queries.EVIDENCE_KEYS, people=[owner]):
            self._vault.unwrap(owner, "evidence", wrapped)
            return
        wrapped = self._vault.new_key(owner, "evidence")
        self.new_keys.append(owner)
        self._work.insert(t.data_keys, profile_id=owner, retention="evidence", wrapped=wrapped)

    def _share_contacts(
        self, parted: Sequence[Side], everyone: Sequence[str], look_back: timedelta
    ) -> None:
        refs = sorted(set().union(*(side.refs for side in parted)))
        since = micros(self._at - look_back)
        columns = t.contacts.columns.keys()
        # What was sent to the household of all was sent to that of the side whose it is.
        whole = self._household(parted)
        homes_of = {side.root_id: self._household([side]) for side in parted}
        for home in {whole, *homes_of.values()} - {None}:
            self._work.move(keys.household(str(home)))
        for row in self._snapshot.rows(
            queries.CONTACTS_MADE, people=everyone, refs=refs, since=since
        ):
            contact = dict(zip(columns, row, strict=True))
            owners = [side for side in parted if contact["contact_point"] in side.refs]
            mine = next((one for one in owners if contact["profile_id"] in one.members), None)
            kept = mine or owners[0]
            into = contact["profile_id"] if mine else kept.root_id
            homes = {
                side.root_id: homes_of[side.root_id]
                if contact["household"] == whole
                else contact["household"]
                for side in owners
            }
            if (into, homes[kept.root_id]) != (contact["profile_id"], contact["household"]):
                self._work.change(
                    queries.HAND_OVER_CONTACT,
                    contact=contact["contact_id"],
                    into=into,
                    of_household=homes[kept.root_id],
                )
            for side in owners:
                if side is not kept:
                    copied = f"{contact['contact_id']}-{side.root_id}"
                    moved = {"household": homes[side.root_id], "state": "observed"}
                    own = {"contact_id": copied, "profile_id": side.root_id}
                    self._work.insert(t.contacts, **{**contact, **own, **moved})

    def _household(self, sides: Iterable[Side]) -> str | None:
        """The household that these are of as one person."""
        found = [one.fragment for side in sides for one in side.members.values()]
        return household_of(self._vault, self._rules, folded(found))


def _concerns(line: Consent, mine: Side, other: Side) -> bool:
    """Whether a line that one side said goes on for the other."""
    if line.received_at < _one_since(mine, other):
        return False
    if line.kind in ("grant", "pending", "imported"):
        return line.contact_point in other.refs and line.contact_point not in mine.refs
    return line.contact_point is None  # one at a contact point holds for whoever uses it


def _one_since(mine: Side, other: Side) -> datetime:
    """Since when these have been one person."""
    joined = [
        max(a.joined_at, b.joined_at) for a in mine.members.values() for b in other.members.values()
    ]
    return min(joined)


def _refs(vault: Vault, found: Found) -> set[str]:
    return {known_ref(vault, known) for known in found.fragment.identifiers}
