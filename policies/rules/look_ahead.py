"""Look-ahead: what is worth little makes way for what is worth more and is due soon."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.proposal import Upcoming
from domain.verdict import EVERYONE, Audience, Finding
from policies.question import Question, Speaker, stamp


class LookAhead(Speaker):
    """A contact of low priority waits for a scheduled one of higher priority within a horizon.

    Only for one that would itself pass the guard today: what is scheduled and could not be sent
    keeps nobody back. Contacts without a limit of scope are all low; exempt ones never are.
    """

    __slots__ = ("below", "exempt", "horizon", "journeys", "purposes", "reason")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        horizon: timedelta,
        below: float | None,
        journeys: frozenset[str] | None,
        purposes: frozenset[str] | None,
        exempt: frozenset[str],
        reason: str,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.horizon = horizon
        self.below = below
        self.journeys = journeys
        self.purposes = purposes
        self.exempt = exempt
        self.reason = reason

    @property
    def names(self) -> Mapping[str, frozenset[str]]:
        """What it names, for the check that all of it exists."""
        return {} if self.journeys is None else {"journeys": self.journeys}

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The priority against those of the scheduled contacts that it makes way for."""
        found = self._blockers(question, question.at) if self._concerns(question) else []
        return {
            "priority": question.candidate.priority,
            "scheduled": {one.candidate.action.name: one.candidate.priority for one in found},
            "horizon_seconds": self.horizon.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Holds what would take the place of something better."""
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        return self.hold(
            "lower_priority",
            self.reason,
            "time",
            read=self.reads(question),
            counterfactual=f"wait until {stamp(clear)}, or cancel what is scheduled",
            clears_at=clear,
        )

    def clears_at(self, question: Question, at: datetime) -> datetime:
        """When the last of those it makes way for is due."""
        if not question.ahead or not self._concerns(question):
            return at
        return max((one.due_at for one in self._blockers(question, at)), default=at)

    def _concerns(self, question: Question) -> bool:
        candidate = question.candidate
        if question.kind != "contact" or question.mandatory or question.urgent:
            return False
        if question.purpose in self.exempt:
            return False
        return (
            (self.below is None or candidate.priority < self.below)
            and (self.journeys is None or candidate.journey in self.journeys)
            and (self.purposes is None or question.purpose in self.purposes)
        )

    def _blockers(self, question: Question, at: datetime) -> list[Upcoming]:
        own = question.candidate.priority
        return [
            one
            for one in question.ahead
            if at < one.due_at <= at + self.horizon and one.candidate.priority > own
        ]
