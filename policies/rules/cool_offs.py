"""Cool-offs: no promotion for a while after something happened, whoever's promotion it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from domain.verdict import EVERYONE, Audience, Finding
from policies.question import Question, Speaker, stamp


class CoolOff(Speaker):
    """Nothing for these purposes within `lasts` of one of the events, by the events' own time.

    With `match`, a property of events, only what was bought, returned or complained about counts:
    the last such event about the thing that the event at hand is about. Where either names no
    such thing, it counts all the same.
    """

    __slots__ = ("after", "lasts", "match", "purposes", "reason")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        after: frozenset[str],
        lasts: timedelta,
        purposes: frozenset[str],
        match: str = "",
        reason: str,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.after = after
        self.lasts = lasts
        self.purposes = purposes
        self.match = match
        self.reason = reason

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The last of these events, and how long it keeps promotions away."""
        last = self._last(question)
        return {
            "after": sorted(self.after),
            "match": self.match or None,
            "last": last,
            "cool_off_seconds": self.lasts.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what comes too soon after."""
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        return self.forbid(
            "cool_off",
            self.reason,
            read=self.reads(question),
            counterfactual=f"wait until {stamp(clear)}",
            clears_at=clear,
        )

    def clears_at(self, question: Question, at: datetime) -> datetime:
        """When the last of these events is long enough ago."""
        if not question.context.occurrences or not self._concerns(question):
            return at
        last = self._last(question)
        return at if last is None else max(at, last + self.lasts)

    def _concerns(self, question: Question) -> bool:
        # A promotion inside an exempt message is one, whatever purposes are declared.
        if not question.mixed and question.purpose not in self.purposes:
            return False
        gives = question.candidate.action.tool == "offer"
        return gives or question.kind in ("contact", "presentation")

    def _last(self, question: Question) -> datetime | None:
        return max(
            (
                seen.at
                for seen in question.context.occurrences
                if seen.event in self.after and seen.match == self.match
            ),
            default=None,
        )
