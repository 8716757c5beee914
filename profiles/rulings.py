"""What people rule about who is one person: previewed, done, explained and undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from domain.consent import Consent
from domain.errors import StoreError, UsageError
from domain.event import Identifier
from profiles import queries
from profiles.households import household_of, join
from profiles.identifying import Around, Neighbours
from profiles.identity import Grouping, IdentityRules, Link, Pair, Ruling
from profiles.prints import identifier_ref
from profiles.readers.claims import normalise
from profiles.regrouping import Regrouping
from profiles.state import Fragment, folded
from profiles.views import find_root
from store import keys
from store import tables as t
from store.database import ROUNDS_MAX, Database, Snapshot
from store.ids import time_ordered
from store.instants import micros
from store.vault import Vault
from store.work import Work


@dataclass(frozen=True, slots=True)
class Preview:
    """What a ruling would make of some people.

    `before` and `after` are each person's fragments by root; `was` and `whole` are what each of
    them adds up to. `links` say what joins and what does not, after it. `lines` are the consents
    of all, `restated` those that it writes down for a side that they go on for.
    """

    pair: Pair
    ruling: Ruling
    before: dict[str, tuple[str, ...]]
    after: dict[str, tuple[str, ...]]
    was: dict[str, Fragment]
    whole: dict[str, Fragment]
    links: tuple[Link, ...]
    lines: tuple[Consent, ...]
    restated: tuple[Consent, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """A store's people, and the rules by which they are told apart.

    `region` is the country whose phone numbers may be written without their prefix; contacts count
    for `look_back`. `controllers` are all of the workspace's.
    """

    database: Database
    rules: IdentityRules
    region: str | None
    look_back: timedelta
    controllers: frozenset[str]

    @property
    def _vault(self) -> Vault:
        return self.database.vault

    def preview_merge(self, one: str, other: str, at: datetime) -> Preview:
        """What it would be to rule that two people are one. Raises `UsageError`."""
        with self.database.read() as snapshot:  # the work is nobody's to commit
            return self._planned(snapshot, Work(), one, other, "together", "", "", at)

    def preview_unmerge(self, one: str, other: str, at: datetime) -> Preview:
        """What it would be to rule that two fragments of one person are two people."""
        with self.database.read() as snapshot:
            return self._planned(snapshot, Work(), one, other, "apart", "", "", at)

    def merge(self, one: str, other: str, *, by: str, reason: str, at: datetime) -> Preview:
        """Rule that two people are one. Raises `UsageError`."""
        return self._rule(one, other, "together", by, reason, at)

    def unmerge(self, one: str, other: str, *, by: str, reason: str, at: datetime) -> Preview:
        """Rule that two fragments of one person are two people, for good. Raises `UsageError`."""
        return self._rule(one, other, "apart", by, reason, at)

    def part_blocked(self, at: datetime) -> tuple[str, ...]:
        """Take apart everybody whom only a blocked identifier made one person; their roots.

        Blocked values never link: also not those whom they had linked before they were blocked.
        Found are spellings in lower case, in capitals and with a capital; who is joined by another
        comes apart with the next event that tells anything new of them.
        """
        return tuple(root for root in self._joined_by_blocked() if self._parted(root, at))

    def _joined_by_blocked(self) -> list[str]:
        """The roots of people of whom several fragments bear one blocked identifier."""
        refs = {
            identifier_ref(self._vault, Identifier(one.ns, spelt))
            for one in self.rules.blocked
            for spelt in (one.value, one.value.upper(), one.value.title())
        }
        with self.database.read() as snapshot:
            rows = snapshot.rows(queries.HOLDING, refs=sorted(refs)) if refs else []
        bearers = Counter(
            (ref, root) for ref, root, _ in {(ref, root, p) for ref, _, p, root in rows}
        )
        return sorted({root for (_, root), count in bearers.items() if count > 1})

    def _parted(self, root: str, at: datetime) -> bool:
        for _ in range(ROUNDS_MAX):
            work = Work(shown_as=f"parting of `{root}`")
            with self.database.read() as snapshot:
                around = Neighbours(snapshot, self._vault).around((), [root])
                if around is None:
                    return False
                grouping = around.grouped(self.rules, around.fragments())
                moved = around.moved(grouping)
                if not moved:
                    return False  # something else joins them
                self._move(snapshot, work, {*around.roots(), *grouping.roots.values()})
                regrouping = Regrouping(self._vault, self.rules, snapshot, work, at)
                regrouping.follow(moved, ())
                for sides in around.parted(grouping):
                    regrouping.part(sides, self.look_back)
            if self.database.commit([work])[0]:
                return True
        return False

    def _move(self, snapshot: Snapshot, work: Work, roots: Collection[str]) -> int:
        """Have the work fail where somebody else has changed these people; a revision of theirs."""
        asserted = sorted(keys.person(root) for root in roots)
        kept = dict(snapshot.rows(queries.REVISIONS, keys=asserted))
        work.asserts.update({key: kept.get(key, 0) for key in asserted})
        work.move(*asserted)
        return int(kept.get(asserted[0], 0))

    def _rule(
        self, one: str, other: str, ruling: Ruling, by: str, reason: str, at: datetime
    ) -> Preview:
        for _ in range(ROUNDS_MAX):
            work = Work(shown_as=f"ruling on `{one}` and `{other}`")
            with self.database.read() as snapshot:
                preview = self._planned(snapshot, work, one, other, ruling, by, reason, at)
            if self.database.commit([work])[0]:
                return preview
        raise StoreError(
            f"a ruling was overtaken {ROUNDS_MAX} times in a row",
            place=work.shown_as,
            remedy="try again: somebody else is changing these people all the time",
        )

    def _planned(
        self,
        snapshot: Snapshot,
        work: Work,
        one: str,
        other: str,
        ruling: Ruling,
        by: str,
        reason: str,
        at: datetime,
    ) -> Preview:
        """The ruling prepared as a work, and what it comes to."""
        find = self._two if ruling == "together" else self._within
        preview = self._preview(snapshot, find(snapshot, one, other), ruling)
        self._write(snapshot, work, preview, by, reason, at)
        entries = [row for table, row in work.entries if table is t.consents]
        return replace(preview, restated=tuple(map(queries.consent_entry, entries)))

    def _write(
        self,
        snapshot: Snapshot,
        work: Work,
        preview: Preview,
        by: str,
        reason: str,
        at: datetime,
    ) -> None:
        around, grouping = self._grouped(snapshot, preview.pair, preview.ruling)
        revision = self._move(snapshot, work, {*around.roots(), *preview.after})
        one, other = preview.pair
        told_apart = f"{one}/{other}/{micros(at)}/{revision}".encode()
        work.append(
            t.rulings,
            one,
            ruling_id=time_ordered("r", at, self._vault.fingerprint_bytes("ruling", told_apart)),
            one=one,
            other=other,
            ruling=preview.ruling,
            at=micros(at),
            by=by,
            reason=reason,
        )
        regrouping = Regrouping(self._vault, self.rules, snapshot, work, at)
        joined = next((m for m in preview.after.values() if one in m and other in m), ())
        regrouping.follow(around.moved(grouping), joined)
        for parted in around.parted(grouping):
            regrouping.part(parted, self.look_back)
            if preview.ruling == "apart":
                regrouping.deny_unclaimed(parted, preview.pair, self.controllers)
        for root, members in preview.after.items():
            household = household_of(self._vault, self.rules, preview.whole[root])
            if household is not None:
                join(work, members, household, at - self.look_back)

    def _preview(self, snapshot: Snapshot, pair: Pair, ruling: Ruling) -> Preview:
        around, grouping = self._grouped(snapshot, pair, ruling)
        before: dict[str, tuple[str, ...]] = {}
        for profile_id, found in sorted(around.found.items()):
            before[found.root_id] = (*before.get(found.root_id, ()), profile_id)
        concerned = {root for root, members in before.items() if set(pair) & set(members)}
        people = [one for root in sorted(concerned) for one in before[root]]
        following = sorted({grouping.roots[one] for one in people})
        after = {root: grouping.members(root) for root in following}
        fragments = around.fragments()
        rows = snapshot.rows(queries.CONSENTS, people=people, refs=[])
        return Preview(
            pair,
            ruling,
            {root: before[root] for root in sorted(concerned)},
            after,
            {root: folded(fragments[one] for one in before[root]) for root in sorted(concerned)},
            {root: folded(fragments[one] for one in members) for root, members in after.items()},
            tuple(link for link in grouping.links if set(link.holders) & set(people)),
            tuple(queries.consent_line(row) for row in rows),
        )

    def _grouped(self, snapshot: Snapshot, pair: Pair, ruling: Ruling) -> tuple[Around, Grouping]:
        roots = {root for _, root in snapshot.rows(queries.ROOTS, people=list(pair))}
        around = Neighbours(snapshot, self._vault).around((), roots)
        if around is None:
            raise UsageError(
                "too many fragments hang together here",
                place=" and ".join(pair),
                remedy="block the identifier that they share, in `[input.blocked]`",
            )
        around.rulings[pair] = ruling
        return around, around.grouped(self.rules, around.fragments())

    def _two(self, snapshot: Snapshot, one: str, other: str) -> Pair:
        """The roots of two people."""
        found = [
            find_root(snapshot, self._vault, who, self.region, self.rules) for who in (one, other)
        ]
        if found[0] == found[1]:
            raise UsageError(
                f"`{one}` and `{other}` are one person already",
                remedy=f"see `safeconduct profile show {found[0]}`",
            )
        return min(found), max(found)

    def _within(self, snapshot: Snapshot, one: str, other: str) -> Pair:
        """Two fragments of one person."""
        found = [self._fragment(snapshot, who) for who in (one, other)]
        roots = dict(snapshot.rows(queries.ROOTS, people=found))
        if found[0] == found[1] or roots[found[0]] != roots[found[1]]:
            are = "one fragment" if found[0] == found[1] else "two people already"
            raise UsageError(
                f"`{one}` and `{other}` are {are}",
                remedy="name two fragments of one person: see `safeconduct profile show`",
            )
        return min(found), max(found)

    def _fragment(self, snapshot: Snapshot, who: str) -> str:
        """The fragment of that id, or the one gathered under that identifier."""
        if ":" not in who:
            if not snapshot.rows(queries.ROOTS, people=[who]):
                raise UsageError(
                    f"there is no fragment `{who}`", remedy="see `safeconduct profile show`"
                )
            return who
        ns, _, value = who.partition(":")
        identifier = normalise(ns, value, self.region) or Identifier(ns, value)
        refs = [identifier_ref(self._vault, identifier)]
        gathered = [one for _, _, one, _ in snapshot.rows(queries.ANCHORED, refs=refs)]
        if len(gathered) != 1:
            raise UsageError(
                f"`{who}` gathers {len(gathered)} fragments",
                remedy="name the fragment by its id: see `safeconduct profile show`",
            )
        return str(gathered[0])
