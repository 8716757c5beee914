"""Rules that keep teams from talking across each other: one of a set, and nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from domain.verdict import EVERYONE, Audience, Finding
from policies.question import Question, Speaker, stamp

Among = Literal["actions", "journeys", "teams"]
AMONG: tuple[Among, ...] = ("actions", "journeys", "teams")


class Exclusive(Speaker):
    """Of a set of actions, journeys or teams only one may contact a person within a window.

    `members` are the parts of the set, each of one name or of several that go together. A journey
    that is under way keeps its place: the others wait until it has ended, the first to be entered
    being the one that stays.
    """

    __slots__ = ("_part_of", "among", "members", "reason", "within")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        among: Among,
        members: Sequence[frozenset[str]],
        within: timedelta,
        reason: str,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.among = among
        self.members = tuple(members)
        self.within = within
        self.reason = reason
        self._part_of = {name: n for n, part in enumerate(members) for name in part}

    @property
    def names(self) -> Mapping[Among, frozenset[str]]:
        """What it names, for the check that all of it exists."""
        return {self.among: frozenset(self._part_of)}

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Which other part of the set has the customer's ear, and since when."""
        taken = self._taken(question)
        return {
            "set": [sorted(part) for part in self.members],
            "among": self.among,
            "taken_by": taken[0] if taken else None,
            "since": taken[1] if taken else None,
            "window_seconds": self.within.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what would talk across another part of the set."""
        taken = self._taken(question)
        if taken is None:
            return self.passed
        by, _, until = taken
        need = f"wait until `{by}` has ended" if until is None else f"wait until {stamp(until)}"
        return self.forbid(
            "exclusive",
            f"{self.reason}: `{by}`",
            read=self.reads(question),
            counterfactual=need,
            clears_at=until,
        )

    def _taken(self, question: Question) -> tuple[str, datetime, datetime | None] | None:
        """Who has the place, since when and until when, if another part of the set has it."""
        context, candidate = question.context, question.candidate
        if not (context.told or context.instances) or question.kind != "contact":
            return None
        if question.mandatory or question.urgent:
            return None
        own = self._part_of.get(
            {
                "actions": candidate.action.name,
                "journeys": candidate.journey,
                "teams": candidate.team,
            }[self.among]
        )
        if own is None:
            return None
        journey = self._earlier_journey(question, own) if self.among == "journeys" else None
        return journey or self._contact_of_another(question, own)

    def _earlier_journey(
        self, question: Question, own: int
    ) -> tuple[str, datetime, datetime | None] | None:
        running = [
            (instance.entered_at, self._part_of[instance.journey], instance.journey)
            for instance in question.context.instances
            if instance.journey in self._part_of
            and instance.state == "active"
            and instance.ends_at > question.at
        ]
        first = min(running, default=None)
        if first is None or first[1] == own:
            return None
        return first[2], first[0], None

    def _contact_of_another(
        self, question: Question, own: int
    ) -> tuple[str, datetime, datetime | None] | None:
        made = [
            (told.at, name)
            for told in question.context.told
            for name in (
                {"actions": told.action, "journeys": told.journey, "teams": told.team}[self.among],
            )
            if name is not None
            and self._part_of.get(name, own) != own
            and told.at + self.within > question.at
        ]
        if not made:
            return None
        at, name = max(made)
        return name, at, at + self.within


class SameCreative(Speaker):
    """The same words reach a person at most once within a window.

    It is a frequency cap of one on each creative, and has its code: waiting clears it.
    """

    __slots__ = ("purposes", "reason", "within")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        within: timedelta,
        purposes: frozenset[str],
        reason: str,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.within = within
        self.purposes = purposes
        self.reason = reason

    def reads(self, question: Question) -> Mapping[str, Any]:
        """When these very words were last sent, against the window."""
        return {
            "creative": question.candidate.action.creative,
            "last": self._last(question),
            "limit": 1,
            "window_seconds": self.within.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Forbids saying the same thing again."""
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        return self.forbid(
            "frequency_cap",
            self.reason,
            read=self.reads(question),
            counterfactual=f"say something else, or wait until {stamp(clear)}",
            clears_at=clear,
        )

    def clears_at(self, question: Question, at: datetime) -> datetime:
        """When these words were last sent long enough ago."""
        if not question.context.told or question.kind != "contact":
            return at
        if not question.mixed and question.purpose not in self.purposes:
            return at
        last = self._last(question)
        return at if last is None else max(at, last + self.within)

    def _last(self, question: Question) -> datetime | None:
        creative = question.candidate.action.creative
        return max(
            (
                told.at
                for told in question.context.told
                if creative is not None and told.creative == creative
            ),
            default=None,
        )
