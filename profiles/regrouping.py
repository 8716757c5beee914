"""What follows where fragments turn out to be one person, or one person several.

Of two runs of one journey the earlier stays, and a no outlasts a yes that the other gave before. A
yes goes to the side whose contact point it names, a no, a block or a restriction from while they
were one stays on both sides. A contact goes to the side whose contact point was used, and to both
where both have it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from domain.canonical import canonical
from domain.consent import Consent
from profiles import queries, requests, uniting
from profiles.households import household_of
from profiles.identifying import known_ref
from profiles.identity import IdentityRules, Pair
from profiles.membership import Found, Side, one_since, then_followed
from profiles.requests import RequestKind
from profiles.state import ADDRESS_KINDS, folded
from store import keys
from store import tables as t
from store.database import Snapshot
from store.ids import time_ordered
from store.instants import instant, micros
from store.statements import Statement
from store.vault import Vault
from store.work import Work

SOURCE = "unmerge"
STANDING: tuple[RequestKind, ...] = ("restrict", "hold")
CHAIN = ("profile_id", "n", "hash")
_FOLLOWERS = Statement(
    select(t.profiles.c.profile_id, t.profiles.c.root_id, t.profiles.c.followed).where(
        t.profiles.c.root_id.in_(bindparam("roots", expanding=True))
    )
)


class Regrouping:
    """Writes who follows whom from now on, and what goes with it, as part of a work."""

    def __init__(
        self, vault: Vault, rules: IdentityRules, snapshot: Snapshot, work: Work, at: datetime
    ) -> None:
        self._vault = vault
        self._rules = rules
        self._snapshot = snapshot
        self._work = work
        self._at = at

    def follow(
        self, moved: Sequence[tuple[Found, str]], members: Iterable[str]
    ) -> tuple[Consent, ...]:
        """Let fragments follow other roots; the noes that are said again by that.

        Of journeys that two of `members` are on, one stays.
        """
        for found, root in moved:
            self._work.change(
                queries.FOLLOW,
                person=found.profile_id,
                into=root,
                to_followed=then_followed(found.followed, root, self._at),
            )
        if not moved:
            return ()
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
        return tuple(line for united in self._united(moved) for line in self._outlasting(united))

    def _united(
        self, moved: Sequence[tuple[Found, str]]
    ) -> Iterator[Mapping[str, uniting.Follower]]:
        """Who is going to follow one root together, root by root."""
        gone = {found.profile_id for found, _ in moved}
        united: dict[str, dict[str, uniting.Follower]] = {}
        for found, root in moved:
            follower = uniting.Follower(found.root_id, found.followed)
            united.setdefault(root, {})[found.profile_id] = follower
        for profile_id, root, followed in self._snapshot.rows(_FOLLOWERS, roots=sorted(united)):
            if profile_id not in gone:
                united[root][profile_id] = uniting.Follower(root, followed)
        yield from (one for one in united.values() if len({of.root_id for of in one.values()}) > 1)

    def _outlasting(self, united: Mapping[str, uniting.Follower]) -> Iterator[Consent]:
        """Say again every no that a yes of another side would outweigh."""
        lines = self._said(sorted(united), ())
        points = {one.contact_point for one in lines if one.kind in uniting.YESES}
        if points - {None}:  # a no there is whoever's
            lines = self._said(sorted(united), sorted(filter(None, points)))
        for line in uniting.outlasting(lines, united, self._at):
            evidence = {"restates": line.ref}
            ref = self._write_line(line, line.profile_id, evidence, uniting.SOURCE)
            if line.contact_point is not None:
                self._work.move(keys.point(line.contact_point))
            yield replace(line, ref=ref)

    def _said(self, people: Sequence[str], refs: Sequence[str]) -> list[Consent]:
        rows = self._snapshot.rows(queries.CONSENTS, people=list(people), refs=list(refs))
        return [queries.consent_line(row) for row in rows]

    def part(self, parted: Sequence[Side], look_back: timedelta) -> None:
        """Share out what was said and sent.

        Args:
            look_back: how far back contacts count.
        """
        everyone = sorted(one for side in parted for one in side.members)
        for row in self._snapshot.rows(queries.CONSENTS, people=everyone, refs=[]):
            line = queries.consent_line(row)
            for side in self._others(parted, line.profile_id, line.received_at):
                mine = next(one for one in parted if line.profile_id in one.members)
                if _concerns(line, mine, side):
                    self._restate(line, side)
        self._share_blocks(parted, everyone)
        self._share_requests(parted, everyone)
        self._share_contacts(parted, everyone, look_back)

    def deny_unclaimed(
        self, parted: Sequence[Side], pair: Pair, controllers: Iterable[str]
    ) -> None:
        """Deny every contact point that was first seen while two were one, and is now neither's.

        It may be the one's or the other's: until whoever uses it says yes again, nobody is
        contacted there.

        Args:
            parted: the sides of what was one person.
            pair: the two fragments that are ruled to be two people.
        """
        found = {one: of for side in parted for one, of in side.members.items()}
        if any(one not in found for one in pair):
            return
        since = one_since(*(found[one] for one in pair))
        claimed = [side for side in parted if set(pair) & set(side.members)]
        refs = frozenset[str]().union(*(side.refs for side in claimed))
        for side in parted:
            if side in claimed:
                continue
            for profile_id, of in side.members.items():
                for known in of.fragment.identifiers:
                    ref = known_ref(self._vault, known)
                    if known.ns in ADDRESS_KINDS and ref not in refs and known.since >= since:
                        self._deny(profile_id, ref, controllers)

    def _deny(self, profile_id: str, ref: str, controllers: Iterable[str]) -> None:
        for controller in sorted(controllers):
            line = Consent(
                "denial", profile_id, controller, None, None, None, None, ref, self._at, self._at,
                ref=f"{profile_id}/{ref}/{controller}/{micros(self._at)}",
            )  # fmt: skip
            self._write_line(line, profile_id, {"reason": "claimed by neither"})
        self._work.move(keys.point(ref))

    def _others(
        self, parted: Sequence[Side], profile_id: str, received_at: datetime
    ) -> Iterator[Side]:
        """The other sides that were one person with a fragment when it was told something."""
        for mine in parted:
            if profile_id not in mine.members:
                continue
            for side in parted:
                together = (
                    one_since(mine.members[profile_id], other) for other in side.members.values()
                )
                if side is not mine and received_at >= min(together):
                    yield side

    def _share_blocks(self, parted: Sequence[Side], everyone: Sequence[str]) -> None:
        """What was blocked of a person while they were one is blocked on both sides."""
        every = t.suppressions.columns.keys()
        columns = [column for column in every if column not in CHAIN]
        for row in self._snapshot.rows(queries.BLOCKS_OF_PEOPLE, people=everyone):
            block = dict(zip(every, row, strict=True))
            for side in self._others(parted, block["ref"], instant(block["created_at"])):
                self._work.append(
                    t.suppressions,
                    side.root_id,
                    **{name: block[name] for name in columns}
                    | {
                        "suppression_id": f"{block['suppression_id']}-{side.root_id}",
                        "ref": side.root_id,
                    },
                )

    def _share_requests(self, parted: Sequence[Side], everyone: Sequence[str]) -> None:
        """A restriction or a legal hold from while they were one is one on both sides."""
        in_force = {kind: requests.in_force(self._snapshot, kind, everyone) for kind in STANDING}
        for receipt in requests.of_people(self._snapshot, everyone):
            if receipt.kind not in STANDING or receipt.profile_id not in in_force[receipt.kind]:
                continue
            for side in self._others(parted, receipt.profile_id, receipt.at):
                if requests.in_force(self._snapshot, receipt.kind, side.members):
                    continue
                requests.evidence_key(self._work, self._snapshot, self._vault, side.root_id)
                requests.write(
                    self._work,
                    self._snapshot,
                    self._vault,
                    profile_id=side.root_id,
                    kind=receipt.kind,
                    state=receipt.state,
                    received_at=receipt.received_at,
                    at=self._at,
                    by=receipt.by,
                    said={"restates": receipt.request_id},
                )

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
        self._write_line(line, owner, {"restates": line.ref})

    def _write_line(
        self, line: Consent, owner: str, evidence: Mapping[str, str], source: str = SOURCE
    ) -> str:
        requests.evidence_key(self._work, self._snapshot, self._vault, owner)
        digest = self._vault.fingerprint_bytes("consent", f"{line.ref}/{owner}".encode())
        consent_id = time_ordered("c", line.received_at, digest)
        self._work.append(
            t.consents,
            owner,
            consent_id=consent_id,
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
            source=source,
            sealed=self._vault.seal(owner, "evidence", "consents", canonical(dict(evidence))),
        )
        return consent_id

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
    """Whether a line that one side said while they were one goes on for the other."""
    if line.kind in ("grant", "pending", "imported"):
        return line.contact_point in other.refs and line.contact_point not in mine.refs
    return line.contact_point is None  # one at a contact point holds for whoever uses it


def _refs(vault: Vault, found: Found) -> set[str]:
    return {known_ref(vault, known) for known in found.fragment.identifiers}
